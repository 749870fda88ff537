import { VendorRejectedError, VendorUnavailableError, type JobferryError } from '../core/errors.ts';
import type { Lookup, LookupContext, LookupJob, VendorReport } from '../ports/vendor-adapter.ts';
import type { AccountGate } from './account-gate.ts';
import type { ErrorInfo } from '../core/submission.ts';

/** What one look-up says of one vendor job. */
export type Look =
  | { kind: 'report'; report: VendorReport }
  /** The vendor answered and did not mention it, or says that it does not know it. */
  | { kind: 'missing'; message: string }
  | { kind: 'failed'; error: unknown }
  /** Nothing was asked: the account is throttled or held. */
  | { kind: 'not-admitted'; until: number; why: ErrorInfo };

interface Waiting {
  job: LookupJob;
  resolve: (look: Look) => void;
}

/** How long a look-up waits for company, ms: due times meet within a tick or two, and a person sees no difference. */
const gatherMs = 15;
/** How long a culprit stays out of shared requests, ms. */
const quarantineMs = 600_000;
const quarantineSize = 10_000;

/**
 * Coalesces the look-ups of many submissions of one account into as few requests as the vendor allows.
 *
 * A batch that the vendor refuses is halved until the culprits stand alone; the others get their answers from the
 * halves. A culprit is asked alone from then on, so it spoils no second batch.
 */
export class LookupGate<Account> {
  readonly #lookup: Lookup<Account>;
  readonly #context: LookupContext<Account>;
  readonly #gate: AccountGate;
  readonly #waiting = new Map<string, Waiting[]>();
  readonly #culprits = new Map<string, number>();
  readonly #now: () => number;

  constructor(lookup: Lookup<Account>, context: LookupContext<Account>, gate: AccountGate, now: () => number) {
    this.#lookup = lookup;
    this.#context = context;
    this.#gate = gate;
    this.#now = now;
  }

  /** Asks for one vendor job, in company where there is some. Never rejects. */
  async look(job: LookupJob): Promise<Look> {
    if (this.#lookup.maxBatch === 1 || this.#isCulprit(job.id)) {
      return (await this.#ask([job])).get(job.id) ?? missing(job.id);
    }
    return new Promise<Look>((resolve) => {
      const key = this.#lookup.batchKey?.(job) ?? '';
      const batch = this.#waiting.get(key);
      if (batch === undefined) {
        this.#waiting.set(key, [{ job, resolve }]);
        setTimeout(() => this.#flush(key), gatherMs);
        return;
      }
      batch.push({ job, resolve });
      if (batch.length >= this.#lookup.maxBatch) this.#flush(key);
    });
  }

  #flush(key: string): void {
    const batch = this.#waiting.get(key);
    if (batch === undefined) return;
    this.#waiting.delete(key);
    for (let from = 0; from < batch.length; from += this.#lookup.maxBatch) {
      const chunk = batch.slice(from, from + this.#lookup.maxBatch);
      const ids = new Map(chunk.map(({ job }) => [job.id, job]));
      void this.#ask([...ids.values()]).then((looks) => {
        for (const { job, resolve } of chunk) resolve(looks.get(job.id) ?? missing(job.id));
      });
    }
  }

  /** One admitted request, narrowed down where the vendor refuses the batch. */
  async #ask(jobs: readonly LookupJob[]): Promise<ReadonlyMap<string, Look>> {
    const all = (look: Look): Map<string, Look> => new Map(jobs.map((job) => [job.id, look]));
    let outcome: { reports: ReadonlyMap<string, VendorReport> } | { error: unknown };
    try {
      const admission = await this.#gate.admit('status');
      if (!admission.admitted) return all({ kind: 'not-admitted', until: admission.until, why: admission.why });
      try {
        outcome = { reports: await this.#lookup.look(jobs, this.#context) };
      } catch (error) {
        outcome = { error };
      }
      await this.#gate.settle(admission, 'error' in outcome ? outcome.error : undefined);
    } catch (error) {
      // Redis, not the vendor.
      return all({ kind: 'failed', error });
    }
    if ('reports' in outcome) {
      const { reports } = outcome;
      return new Map(
        jobs.map((job) => {
          const report = reports.get(job.id);
          return [job.id, report === undefined ? missing(job.id) : { kind: 'report', report }];
        }),
      );
    }
    const { error } = outcome;
    const [only, ...others] = jobs;
    if (only === undefined) return new Map();
    if (others.length === 0) {
      if (!isGone(error)) return all({ kind: 'failed', error });
      this.#quarantine(only.id);
      return all({ kind: 'missing', message: (error as JobferryError).message });
    }
    if (!blamesAJob(error)) return all({ kind: 'failed', error });
    const half = Math.ceil(jobs.length / 2);
    const left = await this.#ask(jobs.slice(0, half));
    const right = await this.#ask(jobs.slice(half));
    return new Map([...left, ...right]);
  }

  #isCulprit(id: string): boolean {
    const until = this.#culprits.get(id);
    if (until === undefined) return false;
    if (until > this.#now()) return true;
    this.#culprits.delete(id);
    return false;
  }

  #quarantine(id: string): void {
    if (this.#lookup.maxBatch === 1) return;
    if (this.#culprits.size >= quarantineSize) {
      const oldest = this.#culprits.keys().next().value;
      if (oldest !== undefined) this.#culprits.delete(oldest);
    }
    this.#culprits.set(id, this.#now() + quarantineMs);
  }
}

function missing(id: string): Look {
  return { kind: 'missing', message: `the vendor's answer leaves ${id} out` };
}

/** The vendor says of a single job that it does not know it. */
function isGone(error: unknown): boolean {
  return error instanceof VendorRejectedError && (error.httpStatus === 404 || error.httpStatus === 410);
}

/** A refusal of a batch is the fault of one of its jobs; a 500 to a batch may be. */
function blamesAJob(error: unknown): boolean {
  return error instanceof VendorRejectedError || (error instanceof VendorUnavailableError && error.httpStatus === 500);
}
