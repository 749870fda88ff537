import { isEventTime } from '../core/event-time.ts';
import type { Json, JsonObject } from '../core/json.ts';
import {
  vendorJobStatuses,
  type ErrorInfo,
  type VendorJob,
  type VendorJobOutcome,
  type VendorJobStatus,
} from '../core/submission.ts';
import type {
  ConfirmReply,
  LookupAnswer,
  LookupJob,
  ReconcileReply,
  ResendSafety,
  SubmitReply,
  VendorRef,
  VendorReport,
} from '../ports/vendor-adapter.ts';
import { moduleFault } from '../core/module-fault.ts';

/** Ids can be addresses. */
const maxIdLength = 8_192;
/** Of one value that goes into the record, and of all that one step returns; characters of its JSON, about. */
const maxValueSize = 1_048_576;
const maxReplySize = 33_554_432;
const maxDepth = 64;
const outcomes: readonly VendorJobOutcome[] = ['succeeded', 'failed', 'canceled', 'lost'];

/**
 * Reads what a step of a vendor module returned. All of it goes into the record, so all of it is copied and has to be
 * what the port says: plain JSON of bounded size.
 * Everything here throws a `VendorContractError` that names the step, the place and the fault.
 */
export class ModuleReader {
  readonly #step: string;
  #read = 0;

  /** @param step - such as `acme render: submit` */
  constructor(step: string) {
    this.#step = step;
  }

  snapshot(value: unknown): Json | undefined {
    return value === undefined ? undefined : this.#json(value, '');
  }

  submitReply(value: unknown): SubmitReply {
    const { jobs, more } = this.#object(value, '');
    return {
      jobs: this.#list(jobs, 'jobs', (ref, path) => this.#ref(ref, path)),
      ...this.#optional('more', more, '', (flag, path) => this.#boolean(flag, path)),
    };
  }

  reconcileReply(value: unknown): ReconcileReply {
    const { found, reason } = this.#object(value, '');
    switch (found) {
      case 'absent':
        return { found };
      case 'unusable':
      case 'unknowable':
        return { found, reason: this.#text(reason, 'reason') };
      default:
        if (typeof found === 'object' && found !== null) return { found: this.submitReply(found) };
        return this.#fail('found', "the jobs, 'absent', 'unusable' or 'unknowable'", found);
    }
  }

  vendorJobs(value: unknown, path = ''): VendorJob[] {
    return this.#list(value, path, (job, at) => this.#job(job, at));
  }

  confirmReply(value: unknown): ConfirmReply {
    const { kind, jobs: given, ...rest } = this.#object(value, '');
    const jobs = this.#optional('jobs', given, '', (list, path) => this.vendorJobs(list, path));
    switch (kind) {
      case 'confirmed':
        return {
          kind,
          ...this.#optional('drop', rest['drop'], '', (ids, path) =>
            this.#list(ids, path, (id, at) => this.#id(id, at)),
          ),
          ...jobs,
        };
      case 'not-yet':
        return {
          kind,
          reason: this.#text(rest['reason'], 'reason'),
          ...this.#optional('afterMs', rest['afterMs'], '', (ms, path) => this.#number(ms, path)),
          ...jobs,
        };
      case 'contradicted':
        return { kind, error: this.#error(rest['error'], 'error'), ...jobs };
      case 'next':
        return {
          kind,
          stage: this.#id(rest['stage'], 'stage'),
          ...this.#optional('carry', rest['carry'], '', (carry, path) => this.#json(carry, path)),
          ...jobs,
        };
      default:
        return this.#fail('kind', "'confirmed', 'not-yet', 'contradicted' or 'next'", kind);
    }
  }

  /** A vendor job whose report is at fault has a look-up that fails; the others of the request have theirs. */
  lookupAnswers(value: unknown, jobs: readonly LookupJob[]): Map<string, LookupAnswer> {
    if (!(value instanceof Map)) return this.#fail('', 'a Map', value);
    const answers = new Map<string, LookupAnswer>();
    for (const { id } of jobs) {
      const answer: unknown = value.get(id);
      if (answer === undefined) continue;
      answers.set(id, this.#answer(answer));
    }
    return answers;
  }

  /** Each report has a reader of its own, so that the bound on what is read holds for one report, not for all of them. */
  #answer(answer: unknown): LookupAnswer {
    if (typeof answer === 'function') {
      return (job) => {
        const report = (answer as (job: LookupJob) => unknown)(job);
        return report === undefined ? undefined : new ModuleReader(this.#step).#report(report);
      };
    }
    try {
      return new ModuleReader(this.#step).#report(answer);
    } catch (error) {
      return () => {
        throw error;
      };
    }
  }

  safety(value: unknown): ResendSafety {
    return this.#oneOf(value, ['safe', 'lookup', 'none'], '');
  }

  /** A time that has to pass, ms. */
  wait(value: unknown): number {
    const ms = this.#number(value, '');
    return ms >= 0 ? ms : this.#fail('', 'a number from 0', value);
  }

  #report(value: unknown): VendorReport {
    const wire = this.#object(value, 'report');
    return {
      status: this.#status(wire['status'], 'report.status'),
      ...this.#optional('vendorStatus', wire['vendorStatus'], 'report', (text, path) => this.#text(text, path)),
      ...this.#optional('progress', wire['progress'], 'report', (progress, path) => this.#progress(progress, path)),
      ...this.#optional('result', wire['result'], 'report', (json, path) => this.#json(json, path)),
      ...this.#optional('error', wire['error'], 'report', (error, path) => this.#error(error, path)),
      ...this.#optional('completedAt', wire['completedAt'], 'report', (at, path) => this.#time(at, path)),
      ...this.#optional('pollAfterMs', wire['pollAfterMs'], 'report', (ms, path) => this.#number(ms, path)),
      ...this.#optional('extra', wire['extra'], 'report', (extra, path) => this.#jsonObject(extra, path)),
      ...this.#optional('notice', wire['notice'], 'report', (text, path) => this.#text(text, path)),
    };
  }

  #ref(value: unknown, path: string): VendorRef {
    const wire = this.#object(value, path);
    return {
      id: this.#id(wire['id'], `${path}.id`),
      kind: this.#text(wire['kind'], `${path}.kind`),
      ...this.#optional('vendorStatus', wire['vendorStatus'], path, (text, at) => this.#text(text, at)),
      ...this.#optional('status', wire['status'], path, (status, at) => this.#status(status, at)),
      ...this.#optional('extra', wire['extra'], path, (extra, at) => this.#jsonObject(extra, at)),
      ...this.#optional('result', wire['result'], path, (json, at) => this.#json(json, at)),
      ...this.#optional('error', wire['error'], path, (error, at) => this.#error(error, at)),
    };
  }

  #job(value: unknown, path: string): VendorJob {
    const wire = this.#object(value, path);
    const { id, kind, status = 'pending', ...rest } = { ...this.#ref(value, path) };
    return {
      id,
      kind,
      status,
      ...rest,
      ...this.#optional('outcome', wire['outcome'], path, (outcome, at) => this.#oneOf(outcome, outcomes, at)),
      ...this.#optional('completedAt', wire['completedAt'], path, (time, at) => this.#time(time, at)),
      ...this.#optional('progress', wire['progress'], path, (progress, at) => this.#progress(progress, at)),
      ...this.#optional('missingSince', wire['missingSince'], path, (time, at) => this.#number(time, at)),
      ...this.#optional('refused', wire['refused'], path, (refused, at) => this.#refused(refused, at)),
    };
  }

  #refused(value: unknown, path: string): NonNullable<VendorJob['refused']> {
    const { since, error } = this.#object(value, path);
    return { since: this.#number(since, `${path}.since`), error: this.#error(error, `${path}.error`) };
  }

  #error(value: unknown, path: string): ErrorInfo {
    const { code, message, details } = this.#object(value, path);
    return {
      code: this.#text(code, `${path}.code`),
      message: this.#text(message, `${path}.message`),
      ...this.#optional('details', details, path, (json, at) => this.#json(json, at)),
    };
  }

  #progress(value: unknown, path: string): { done: number; total: number } {
    const { done, total } = this.#object(value, path);
    return { done: this.#number(done, `${path}.done`), total: this.#number(total, `${path}.total`) };
  }

  #status(value: unknown, path: string): VendorJobStatus {
    return this.#oneOf(value, vendorJobStatuses, path);
  }

  #optional<Name extends string, T>(
    name: Name,
    value: unknown,
    path: string,
    read: (value: unknown, path: string) => T,
  ): { [key in Name]?: T } {
    if (value === undefined) return {};
    return { [name]: read(value, path === '' ? name : `${path}.${name}`) } as { [key in Name]?: T };
  }

  #list<T>(value: unknown, path: string, read: (value: unknown, path: string) => T): T[] {
    if (!Array.isArray(value)) return this.#fail(path, 'a list', value);
    return value.map((item: unknown, index) => read(item, `${path}[${index}]`));
  }

  #object(value: unknown, path: string): Record<string, unknown> {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      return this.#fail(path, 'an object', value);
    if (typeof (value as { then?: unknown }).then === 'function') return this.#fail(path, 'no promise', value);
    return value as Record<string, unknown>;
  }

  #id(value: unknown, path: string): string {
    const id = this.#text(value, path);
    if (id.length === 0 || id.length > maxIdLength)
      return this.#fail(path, `a text of 1 to ${maxIdLength} characters`, value);
    return id;
  }

  #text(value: unknown, path: string): string {
    if (typeof value !== 'string') return this.#fail(path, 'a text', value);
    if (value.length > maxValueSize) this.#tooLarge(path, maxValueSize);
    this.#count(value.length);
    return value;
  }

  #boolean(value: unknown, path: string): boolean {
    return typeof value === 'boolean' ? value : this.#fail(path, 'true or false', value);
  }

  #number(value: unknown, path: string): number {
    return typeof value === 'number' && Number.isFinite(value) ? value : this.#fail(path, 'a finite number', value);
  }

  #time(value: unknown, path: string): number {
    const at = this.#number(value, path);
    return isEventTime(at) ? at : this.#fail(path, 'a time of the years 1 to 9999, epoch ms', value);
  }

  #oneOf<T extends string>(value: unknown, known: readonly T[], path: string): T {
    if (known.includes(value as T)) return value as T;
    return this.#fail(path, `one of ${known.join(', ')}`, value);
  }

  #jsonObject(value: unknown, path: string): JsonObject {
    this.#object(value, path);
    return this.#json(value, path) as JsonObject;
  }

  #json(value: unknown, path: string): Json {
    let size = 0;
    const count = (characters: number): void => {
      size += characters;
      if (size > maxValueSize) this.#tooLarge(path, maxValueSize);
      this.#count(characters);
    };
    const copy = (item: unknown, at: () => string, depth: number): Json => {
      switch (typeof item) {
        case 'string':
          count(item.length + 2);
          return item;
        case 'boolean':
          count(5);
          return item;
        case 'number':
          if (!Number.isFinite(item)) return this.#fail(at(), 'a finite number', item);
          count(8);
          return item;
        case 'object':
          break;
        default:
          return this.#fail(at(), 'plain JSON', item);
      }
      if (item === null) return null;
      // A circle is endlessly deep.
      if (depth >= maxDepth)
        throw moduleFault(this.#step, `${placed('more', path)} than ${maxDepth} levels of nesting`);
      count(2);
      if (Array.isArray(item))
        return item.map((one: unknown, index) => copy(one, () => `${at()}[${index}]`, depth + 1));
      const prototype: unknown = Object.getPrototypeOf(item);
      if (prototype !== null && Object.getPrototypeOf(prototype) !== null) return this.#fail(at(), 'plain JSON', item);
      const entries: [string, Json][] = [];
      for (const [key, one] of Object.entries(item)) {
        if (one === undefined) continue;
        count(key.length + 4);
        entries.push([key, copy(one, () => (at() === '' ? key : `${at()}.${key}`), depth + 1)]);
      }
      return Object.fromEntries(entries);
    };
    return copy(value, () => path, 0);
  }

  #count(characters: number): void {
    this.#read += characters;
    if (this.#read > maxReplySize) this.#tooLarge('', maxReplySize);
  }

  #tooLarge(path: string, limit: number): never {
    throw moduleFault(this.#step, `${placed('more', path)} than ${limit} characters`);
  }

  #fail(path: string, expected: string, got: unknown): never {
    throw moduleFault(this.#step, `${placed(describe(got), path)}; expected ${expected}`);
  }
}

function placed(what: string, path: string): string {
  return path === '' ? what : `at ${path} ${what}`;
}

function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (Array.isArray(value)) return 'a list';
  switch (typeof value) {
    case 'string':
      return `the text ${JSON.stringify(value.slice(0, 40))}`;
    case 'number':
    case 'boolean':
      return String(value);
    case 'bigint':
      return 'a BigInt';
    case 'function':
      return 'a function';
    case 'symbol':
      return 'a symbol';
    default: {
      const name: unknown = (value as { constructor?: { name?: unknown } }).constructor?.name;
      return typeof name === 'string' && name !== 'Object' && name !== '' ? `a ${name.slice(0, 40)}` : 'an object';
    }
  }
}
