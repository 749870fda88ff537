import { isDeepStrictEqual } from 'node:util';
import {
  AccountHeldError,
  JobferryError,
  StepTimeoutError,
  VendorRejectedError,
  VendorUnavailableError,
} from '../../core/errors.ts';
import { copyJson } from '../../core/json.ts';
import type { Look } from '../../core/looks.ts';
import { toSafeErrorInfo } from '../../core/safe-error.ts';
import type { Lookup, LookupAnswer, LookupContext, LookupJob, VendorReport } from '../../ports/vendor-adapter.ts';
import type { AccountGate } from './account-gate.ts';
import { isModuleFault, saysOfVendor } from '../../core/module-fault.ts';
import { Slots } from './slots.ts';

interface Waiting {
  job: LookupJob;
  resolve: (look: Look) => void;
}

/** What became of one vendor job in a request, for all who wait for it. */
type Finding =
  /** Undefined where the answer leaves it out. */
  { kind: 'answer'; answer: LookupAnswer | undefined } | Exclude<Look, { kind: 'report' }>;

/** Hands out what is known of a vendor job as soon as it is known. */
type Tell = (job: LookupJob, finding: Finding) => void;

interface Failed {
  kind: 'failed';
  error: unknown;
  /** One of the jobs asked for may be at fault. */
  mayBlameOne?: boolean;
}

type Answer =
  { kind: 'reports'; reports: ReadonlyMap<string, LookupAnswer> } | Failed | Extract<Look, { kind: 'not-admitted' }>;

interface Culprit {
  /** When it was found, epoch ms. */
  since: number;
  /** Stays out of shared requests until then, epoch ms. */
  until: number;
  /** The vendor does not know it; it is not asked again before, epoch ms. */
  askAgainAt: number;
  message: string;
}

/** How long a look-up waits for company, ms: due times meet within a tick or two, and a person sees no difference. */
const gatherMs = 15;
/** How long a culprit stays out of shared requests, ms. */
const quarantineMs = 600_000;
/** An id that the vendor does not know is asked for this rarely, ms: often enough to see one that shows up late. */
const askAgainMs = 8_000;
const quarantineSize = 10_000;
/** Requests of one look-up at a time. A submission of thousands without a batch must not become as many sockets. */
const maxInFlight = 32;
/**
 * The same for vendor jobs that spoiled a request before, which have slots of their own: those whose look-ups never end
 * must not take all of them.
 */
const maxSuspectsInFlight = 8;
/** Culprits that are searched for one at a time; where there are more, plain halving costs less. */
const searchedSingly = 2;

/**
 * Coalesces the look-ups of many submissions of one account into as few requests as the vendor allows.
 *
 *   batch ──answered──► everyone told
 *     ├──404──► halved until the culprits stand alone; the others are told from the halves
 *     ├──refused otherwise──► halved the same way; when both halves are answered, batches were too large
 *     ├──500, or the module throws──► once more ──again──► halved the same way; when both halves fail, it is the vendor or
 *     │                               the module: everyone is told so
 *     ├──never ends──► everyone told that it failed, and each asked alone the next time
 *     └──anything else──► everyone told that it failed
 *
 * A culprit is asked alone from then on, so it spoils no second batch.
 *
 * Submissions that wait for one vendor job share the request, never each other's notes: an answer is read for each of
 * them where the look-up returns a function, and holds for equal notes only where it returns a report.
 */
export class LookupGate<Account> {
  readonly #lookup: Lookup<Account>;
  readonly #context: Omit<LookupContext<Account>, 'now'>;
  readonly #gate: AccountGate;
  readonly #waiting = new Map<string, Waiting[]>();
  readonly #culprits = new Map<string, Culprit>();
  readonly #now: () => number;
  /** As declared; lower once the vendor showed that it takes fewer. */
  #maxBatch: number;
  readonly #hasBatches: boolean;
  /** Shrinks while whole batches answer 500, so that several culprits come apart from poll to poll without a storm. */
  #batchLimit: number;
  readonly #slots = new Slots(maxInFlight);
  readonly #suspectSlots = new Slots(maxSuspectsInFlight);

  constructor(
    lookup: Lookup<Account>,
    context: Omit<LookupContext<Account>, 'now'>,
    gate: AccountGate,
    now: () => number,
  ) {
    this.#lookup = lookup;
    this.#context = context;
    this.#gate = gate;
    this.#now = now;
    const maxBatch = typeof lookup.maxBatch === 'number' ? lookup.maxBatch : lookup.maxBatch(context.account);
    this.#maxBatch = Math.max(1, Math.floor(maxBatch));
    this.#hasBatches = this.#maxBatch > 1;
    this.#batchLimit = this.#maxBatch;
  }

  /** Asks for one vendor job, in company where there is some. Never rejects. */
  async look({ id, extra }: LookupJob): Promise<Look> {
    try {
      const job = { id, extra: copyJson(extra) };
      const culprit = this.#culprit(id);
      if (culprit !== undefined && this.#now() < culprit.askAgainAt)
        return { kind: 'missing', message: culprit.message };
      const key = this.#lookup.batchKey?.(job) ?? '';
      return await new Promise<Look>((resolve) => {
        const one = { job, resolve };
        if (culprit !== undefined) void this.#askFor([one], this.#suspectSlots);
        else if (this.#hasBatches) this.#gather(key, one);
        else void this.#askFor([one], this.#slots);
      });
    } catch (error) {
      return { kind: 'failed', error };
    }
  }

  #gather(key: string, one: Waiting): void {
    const batch = this.#waiting.get(key);
    if (batch === undefined) {
      this.#waiting.set(key, [one]);
      setTimeout(() => this.#flush(key), gatherMs);
      return;
    }
    batch.push(one);
    if (batch.length >= this.#batchLimit) this.#flush(key);
  }

  #flush(key: string): void {
    const batch = this.#waiting.get(key);
    if (batch === undefined) return;
    this.#waiting.delete(key);
    for (let from = 0; from < batch.length; from += this.#batchLimit) {
      void this.#askFor(batch.slice(from, from + this.#batchLimit), this.#slots);
    }
  }

  /** Asks for the first of each id, and once more for those whom its answer says nothing of. Never rejects. */
  async #askFor(waiting: readonly Waiting[], slots: Slots): Promise<void> {
    try {
      for (let open = waiting; open.length > 0;) {
        const rest: Waiting[] = [];
        const byId = groupById(open);
        const jobs = [...byId.values()].flatMap(([first]) => (first === undefined ? [] : [first.job]));
        await this.#ask(jobs, slots, (asked, finding) => {
          for (const one of byId.get(asked.id) ?? []) {
            const look = readFor(one.job, asked, finding);
            if (look === undefined) rest.push(one);
            else one.resolve(look);
          }
        });
        open = rest;
      }
    } catch (error) {
      // Those who know already hear nothing of this.
      for (const { resolve } of waiting) resolve({ kind: 'failed', error });
    }
  }

  async #ask(jobs: readonly LookupJob[], slots: Slots, tell: Tell): Promise<void> {
    let answer = await this.#request(jobs, slots);
    if (jobs.length > 1 && mayBlameOne(answer)) {
      answer = await this.#request(jobs, slots);
      if (mayBlameOne(answer)) return this.#halve(jobs, tell);
    }
    return this.#apply(jobs, answer, tell, 0);
  }

  /** @param found - culprits found in this batch so far */
  async #apply(jobs: readonly LookupJob[], answer: Answer, tell: Tell, found: number): Promise<void> {
    if (answer.kind === 'reports') {
      for (const job of jobs) {
        const report = answer.reports.get(job.id);
        if (report !== undefined) this.#culprits.delete(job.id);
        tell(job, { kind: 'answer', answer: report });
      }
      return;
    }
    const [only, ...others] = jobs;
    if (only === undefined) return;
    if (!isRefusal(answer)) {
      if (this.#hasBatches && others.length === 0 && mayBlameOne(answer)) this.#quarantine(only.id);
      for (const job of jobs) tell(job, answer);
      return;
    }
    if (others.length === 0) this.#blame(only, answer.error, tell);
    else if (!isUnknown(answer.error)) await this.#split(jobs, tell);
    else await this.#narrow(jobs, answer, tell, found);
  }

  /**
   * A batch was refused: finds a culprit with one request per halving. A half that is answered leaves the culprit to
   * the other one, which needs no request of its own; halves not asked yet go together into one request at the end.
   */
  async #narrow(
    jobs: readonly LookupJob[],
    refusal: { error: VendorRejectedError },
    tell: Tell,
    found: number,
  ): Promise<void> {
    let suspects = jobs;
    let { error } = refusal;
    const deferred: LookupJob[] = [];
    while (suspects.length > 1) {
      const [left, right] = halves(suspects);
      const answer = await this.#request(left);
      if (isRefusal(answer)) {
        ({ error } = answer);
        suspects = left;
        if (found < searchedSingly) deferred.push(...right);
        else await this.#apply(right, await this.#request(right), tell, found + 1);
      } else if (answer.kind === 'reports') {
        await this.#apply(left, answer, tell, found);
        suspects = right;
      } else {
        for (const job of [...suspects, ...deferred]) tell(job, answer);
        return;
      }
    }
    const [culprit] = suspects;
    if (culprit !== undefined) this.#blame(culprit, error, tell);
    if (deferred.length > 0) await this.#apply(deferred, await this.#request(deferred), tell, found + 1);
  }

  /** A batch was refused, and not for an id that is unknown: one of its jobs may be at fault, or their number. */
  async #split(jobs: readonly LookupJob[], tell: Tell): Promise<void> {
    const sides = [];
    for (const side of halves(jobs)) sides.push({ side, answer: await this.#request(side) });
    if (sides.every(({ answer }) => answer.kind === 'reports')) {
      this.#maxBatch = Math.min(this.#maxBatch, Math.ceil(jobs.length / 2));
      this.#batchLimit = Math.min(this.#batchLimit, this.#maxBatch);
    }
    for (const { side, answer } of sides) await this.#apply(side, answer, tell, 0);
  }

  /** A batch answered 500 time and again: one of its jobs may be at fault, or the vendor is down. */
  async #halve(jobs: readonly LookupJob[], tell: Tell): Promise<void> {
    // Both are asked before either is halved further: a half that works shows that the vendor does.
    const sides = [];
    for (const side of halves(jobs)) sides.push({ side, answer: await this.#request(side) });
    const isDown = sides.every(({ answer }) => mayBlameOne(answer));
    if (isDown) this.#batchLimit = Math.max(1, Math.floor(Math.min(jobs.length, this.#batchLimit) / 2));
    for (const { side, answer } of sides) {
      if (isDown) await this.#apply(side, answer, tell, 0);
      else if (mayBlameOne(answer) && side.length > 1) await this.#halve(side, tell);
      else await this.#apply(side, answer, tell, 0);
    }
  }

  /** One admitted request. */
  async #request(jobs: readonly LookupJob[], slots = this.#slots): Promise<Answer> {
    await slots.take();
    try {
      const [only] = jobs.length === 1 ? jobs : [];
      const admission = await this.#gate.admit('status', only === undefined ? {} : { vendorJob: only.id });
      if (!admission.admitted) {
        const { admitted: _, ...refusal } = admission;
        return { kind: 'not-admitted', ...refusal };
      }
      let answer: Answer;
      try {
        const reports = await this.#lookup.look(jobs, { ...this.#context, now: this.#now() });
        this.#batchLimit = Math.min(this.#maxBatch, this.#batchLimit * 2);
        answer = { kind: 'reports', reports };
      } catch (error) {
        answer = { kind: 'failed', error, mayBlameOne: canBeOfOne(error) };
        // Which of them it was, the next look-ups tell.
        if (error instanceof StepTimeoutError) for (const job of jobs) this.#quarantine(job.id);
      }
      const error = answer.kind === 'failed' ? answer.error : undefined;
      if (error !== undefined && !saysOfVendor(error)) {
        await this.#gate.abandon(admission);
        return answer;
      }
      const { isOwnFault } = await this.#gate.settle(admission, error);
      if (isOwnFault && error instanceof AccountHeldError && error.reason === 'forbidden')
        return { kind: 'failed', error: ofOneVendorJob(error) };
      return answer;
    } catch (error) {
      // Redis, not the vendor: nothing was asked.
      return { kind: 'not-admitted', until: this.#now() + 1_000, why: toSafeErrorInfo(error) };
    } finally {
      slots.giveBack();
    }
  }

  /** The vendor refuses this one vendor job. */
  #blame(job: LookupJob, error: VendorRejectedError, tell: Tell): void {
    if (!isUnknown(error)) {
      if (this.#hasBatches) this.#quarantine(job.id);
      tell(job, { kind: 'refused', error, passedAt: this.#gate.passedAt('status') });
      return;
    }
    if (this.#hasBatches) this.#quarantine(job.id, { askAgainAt: this.#now() + askAgainMs, message: error.message });
    tell(job, { kind: 'missing', message: error.message });
  }

  #culprit(id: string): Culprit | undefined {
    const culprit = this.#culprits.get(id);
    const now = this.#now();
    // Found after now: the clock was set back since, and its times would last for as long as that step.
    if (culprit === undefined || (culprit.since <= now && culprit.until > now)) return culprit;
    this.#culprits.delete(id);
    return undefined;
  }

  #quarantine(id: string, unknown: Omit<Culprit, 'since' | 'until'> = { askAgainAt: 0, message: '' }): void {
    if (this.#culprits.size >= quarantineSize) {
      const oldest = this.#culprits.keys().next().value;
      if (oldest !== undefined) this.#culprits.delete(oldest);
    }
    const since = this.#now();
    this.#culprits.set(id, { since, until: since + quarantineMs, ...unknown });
  }
}

/**
 * What a finding says to one of those who wait for the vendor job.
 * @param asked - with whose notes it was asked for
 * @returns undefined where it says nothing to this one
 */
function readFor(job: LookupJob, asked: LookupJob, finding: Finding): Look | undefined {
  if (finding.kind !== 'answer') return finding;
  const { answer } = finding;
  try {
    if (typeof answer === 'function') return toLook(job.id, answer(job));
  } catch (error) {
    return { kind: 'failed', error };
  }
  // With other notes the look-up might have asked for something else, and read it otherwise.
  return isDeepStrictEqual(job.extra, asked.extra) ? toLook(job.id, answer) : undefined;
}

function toLook(id: string, report: VendorReport | undefined): Look {
  if (report !== undefined) return { kind: 'report', report };
  return { kind: 'missing', message: `the vendor's answer leaves ${id} out` };
}

function groupById(waiting: readonly Waiting[]): Map<string, Waiting[]> {
  const byId = new Map<string, Waiting[]>();
  for (const one of waiting) {
    const known = byId.get(one.job.id);
    if (known === undefined) byId.set(one.job.id, [one]);
    else known.push(one);
  }
  return byId;
}

function halves(jobs: readonly LookupJob[]): [LookupJob[], LookupJob[]] {
  const middle = Math.ceil(jobs.length / 2);
  return [jobs.slice(0, middle), jobs.slice(middle)];
}

/** A right that is lacking while others of the account pass is lacking for the vendor job that was asked for. */
function ofOneVendorJob({ message, httpStatus, vendorCode, details }: AccountHeldError): VendorRejectedError {
  return new VendorRejectedError(message, {
    code: vendorCode ?? 'vendor_forbidden',
    ...(httpStatus === undefined ? {} : { httpStatus }),
    ...(details === undefined ? {} : { details }),
  });
}

/** The vendor says that it does not know a job. */
function isUnknown(error: VendorRejectedError): boolean {
  return error.httpStatus === 404 || error.httpStatus === 410;
}

/** A refusal of a batch is the fault of one of its jobs. */
function isRefusal(answer: Answer): answer is Failed & { error: VendorRejectedError } {
  return answer.kind === 'failed' && answer.error instanceof VendorRejectedError;
}

/** A failure of a batch may be. */
function mayBlameOne(answer: Answer): boolean {
  return answer.kind === 'failed' && answer.mayBlameOne === true;
}

/** A 500, and whatever breaks the module itself, can come from what one vendor job holds. */
function canBeOfOne(error: unknown): boolean {
  if (!(error instanceof JobferryError) || isModuleFault(error)) return true;
  return error instanceof VendorUnavailableError && error.httpStatus === 500;
}
