import { randomUUID } from 'node:crypto';
import { AccountHeldError, VendorThrottledError, VendorUnavailableError } from '../core/errors.ts';
import { describeDuration } from '../core/describe.ts';
import { redactText } from '../core/redact.ts';
import { backoffMs, floorHint } from '../core/poll-schedule.ts';
import type { ErrorInfo } from '../core/submission.ts';
import type { Clock } from '../ports/clock.ts';
import type { Logger } from '../ports/logger.ts';
import type { LimitReport, Scope } from '../ports/vendor-adapter.ts';
import type { AccountBoard, AccountState, HeldPart, Hold } from '../queues/account-board.ts';

export type Admission =
  | { admitted: true; scope: Scope; /** Names the probe that this is. */ probe?: string }
  /** Come back then; nothing was sent and no slot is held meanwhile. */
  | { admitted: false; until: number; why: ErrorInfo };

const refreshMs = 100;
/**
 * A probe is one worker's for this long, and longer while that worker lives: one that dies with it must not keep the
 * account held for the time that a request may take.
 */
const probeMs = 6_000;
const probeRenewalMs = 2_000;
/** However long the work of the one that probes takes, others get their turn after this. */
const longestProbeMs = 120_000;
/** Failures in a row after which the vendor counts as down. */
const breakerThreshold = 5;
const holdBackoff = { baseMs: 2_000, maxMs: 60_000 };
const breakerBackoff = { baseMs: 1_000, maxMs: 30_000 };
const unthrottled = Number.POSITIVE_INFINITY;

/**
 * The door in front of one vendor account. Every vendor request passes it, in every worker.
 *
 *   open ──(429)──► throttled until the hint ──► reopening: one request, then twice as many with each success ──► open
 *   open ──(401, 403, 402)──► held ──(one probe at a time, of all workers, works)──► open
 *   open ──(5 failures in a row of one scope)──► that scope held as unavailable ──(as above)──► open
 *
 * What is throttled or held is shared by all workers through Redis and read at most ten times a second; a job that is not
 * admitted is told when to come back and costs nothing until then.
 */
export class AccountGate {
  readonly #board: AccountBoard;
  readonly #name: string;
  readonly #clock: Clock;
  readonly #logger: Logger;
  #state: AccountState = { holds: {}, throttledUntil: {} };
  #readAt = Number.NEGATIVE_INFINITY;
  #reading: Promise<void> | undefined;
  readonly #failuresInARow: Record<Scope, number> = { submit: 0, status: 0 };
  readonly #inFlight: Record<Scope, number> = { submit: 0, status: 0 };
  readonly #window: Record<Scope, number> = { submit: unthrottled, status: unthrottled };
  readonly #renewals = new Map<Admission, NodeJS.Timeout>();

  /** @param name - `<vendor>/<account>` */
  constructor(board: AccountBoard, name: string, clock: Clock, logger: Logger) {
    this.#board = board;
    this.#name = name;
    this.#clock = clock;
    this.#logger = logger;
  }

  /** Asks for leave to send one request. An admission must be given back to `settle`. */
  async admit(scope: Scope): Promise<Admission> {
    await this.#refresh();
    const now = this.#clock.now();
    const throttledUntil = this.#state.throttledUntil[scope] ?? 0;
    if (throttledUntil > now) {
      const wait = describeDuration(throttledUntil - now);
      const why = { code: 'vendor_throttled', message: `the vendor asked for ${wait} of quiet` };
      return { admitted: false, until: now + floorHint(throttledUntil - now, this.#clock.random()), why };
    }
    const hold = this.#holdOn(scope);
    if (hold !== undefined) {
      const why = { code: holdCode(hold), message: hold.message };
      if (hold.until > now) return { admitted: false, until: hold.until + this.#clock.random() * 1_000, why };
      const probe = randomUUID();
      if (!(await this.#board.takeProbe(this.#name, probe, probeMs))) {
        return { admitted: false, until: now + 500 + this.#clock.random() * 1_500, why };
      }
      // What is known here can be a moment old, and the probe before this one may have failed since.
      await this.#read();
      const still = this.#holdOn(scope);
      if (still === undefined || still.until > this.#clock.now()) {
        await this.#board.returnProbe(this.#name, probe);
        return this.admit(scope);
      }
      this.#inFlight[scope] += 1;
      const admission = { admitted: true, scope, probe } as const;
      const renew = (): void => {
        if (this.#clock.now() - now > longestProbeMs) this.#endRenewal(admission);
        else void this.#board.renewProbe(this.#name, probe, probeMs).catch(() => undefined);
      };
      this.#renewals.set(admission, setInterval(renew, probeRenewalMs).unref());
      return admission;
    }
    if (this.#inFlight[scope] >= this.#window[scope]) {
      const why = {
        code: 'vendor_throttled',
        message: 'the account is reopening slowly after the vendor asked to slow down',
      };
      return { admitted: false, until: now + 200 + this.#clock.random() * 400, why };
    }
    this.#inFlight[scope] += 1;
    return { admitted: true, scope };
  }

  /**
   * Tells how an admitted request went.
   * @param error - undefined when the vendor answered as it should, a refusal of this one request included.
   */
  async settle(admission: Admission & { admitted: true }, error: unknown): Promise<void> {
    const { scope } = admission;
    this.#inFlight[scope] -= 1;
    this.#endRenewal(admission);
    if (error instanceof VendorThrottledError) {
      // A probe that is throttled was let in: the account works again.
      if (admission.probe !== undefined) await this.#release(scope);
      await this.#throttle(scope, error.retryAfterMs ?? backoffMs(3, this.#clock.random()), error.message);
    } else if (error instanceof AccountHeldError) {
      await this.#hold('account', error.reason, error.message);
    } else if (error instanceof VendorUnavailableError) {
      await this.#onUnavailable(admission, error.message);
    } else {
      this.#failuresInARow[scope] = 0;
      this.#window[scope] = this.#window[scope] >= 64 ? unthrottled : this.#window[scope] * 2;
      await this.#release(scope);
    }
    if (admission.probe !== undefined) await this.#board.returnProbe(this.#name, admission.probe);
  }

  /** Gives an admission back unused. */
  async abandon(admission: Admission & { admitted: true }): Promise<void> {
    this.#inFlight[admission.scope] -= 1;
    this.#endRenewal(admission);
    if (admission.probe !== undefined) await this.#board.returnProbe(this.#name, admission.probe);
  }

  /** When a job whose request was just refused should come back, epoch ms. */
  retryAt(scope: Scope): number {
    const now = this.#clock.now();
    const throttled = (this.#state.throttledUntil[scope] ?? 0) - now;
    const held = (this.#holdOn(scope)?.until ?? 0) - now;
    if (throttled <= 0 && held <= 0) return now + backoffMs(1, this.#clock.random());
    return now + floorHint(Math.max(throttled, held), this.#clock.random());
  }

  /** Heeds what an answer's headers say: an empty budget is waited for before the vendor has to refuse. */
  async onLimits(report: LimitReport): Promise<void> {
    if (report.remaining > 0 || report.resetMs <= 0) return;
    const scopes: Scope[] = report.scope === undefined ? ['submit', 'status'] : [report.scope];
    for (const scope of scopes) await this.#throttle(scope, report.resetMs, 'the budget of this window is used up');
  }

  #endRenewal(admission: Admission): void {
    clearInterval(this.#renewals.get(admission));
    this.#renewals.delete(admission);
  }

  async #throttle(scope: Scope, waitMs: number, message: string): Promise<void> {
    const now = this.#clock.now();
    this.#window[scope] = 1;
    const until = now + Math.min(waitMs, 3_600_000);
    if (until <= (this.#state.throttledUntil[scope] ?? 0)) return;
    this.#state.throttledUntil[scope] = until;
    this.#logger.warn(
      { account: this.#name, scope, waitMs: until - now, reason: redactText(message) },
      'account throttled',
    );
    await this.#board.throttle(this.#name, scope, until);
  }

  async #onUnavailable({ scope, probe }: Admission & { admitted: true }, message: string): Promise<void> {
    this.#failuresInARow[scope] += 1;
    const { account } = this.#state.holds;
    // Whether the key works by now is as unknown as before.
    if (account !== undefined) await this.#hold('account', account.reason, account.message);
    else if (probe !== undefined || this.#failuresInARow[scope] >= breakerThreshold)
      await this.#hold(scope, 'unavailable', message);
  }

  async #hold(part: HeldPart, reason: Hold['reason'], message: string): Promise<void> {
    const now = this.#clock.now();
    const before = this.#state.holds[part];
    // Requests that were under way when the hold began fail too; only a probe, after its time, counts as another try.
    if (before !== undefined && before.until > now) return;
    const tries = (before?.tries ?? 0) + 1;
    const backoff = reason === 'unavailable' ? breakerBackoff : holdBackoff;
    const hold: Hold = {
      reason,
      message: redactText(message),
      since: before?.since ?? now,
      until: now + backoffMs(tries, this.#clock.random(), backoff),
      tries,
    };
    this.#state.holds[part] = hold;
    const log = {
      account: this.#name,
      ...(part === 'account' ? {} : { scope: part }),
      reason,
      tries,
      nextProbeInMs: Math.round(hold.until - now),
      error: hold.message,
    };
    this.#logger[reason === 'unavailable' ? 'warn' : 'error'](log, 'account held: its jobs wait');
    await this.#board.hold(this.#name, part, hold);
  }

  /** A request of this scope was let in: what held it is over. */
  async #release(scope: Scope): Promise<void> {
    this.#failuresInARow[scope] = 0;
    const { holds } = this.#state;
    const parts = (['account', scope] as const).filter((part) => holds[part] !== undefined);
    if (parts.length === 0) return;
    for (const part of parts) {
      const hold = holds[part];
      if (hold === undefined) continue;
      delete holds[part];
      const heldForMs = Math.round(this.#clock.now() - hold.since);
      this.#logger.info(
        { account: this.#name, ...(part === 'account' ? {} : { scope: part }), reason: hold.reason, heldForMs },
        'account works again',
      );
    }
    await this.#board.release(this.#name, parts);
  }

  /** What stops requests of this scope, the one that lasts longer first. */
  #holdOn(scope: Scope): Hold | undefined {
    const { account, [scope]: own } = this.#state.holds;
    if (account === undefined || own === undefined) return account ?? own;
    return own.until > account.until ? own : account;
  }

  async #refresh(): Promise<void> {
    if (this.#clock.now() - this.#readAt < refreshMs) return;
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined;
    });
    await this.#reading;
  }

  async #read(): Promise<void> {
    const states = await this.#board.readAll();
    this.#state = states.get(this.#name) ?? { holds: {}, throttledUntil: {} };
    this.#readAt = this.#clock.now();
  }
}

function holdCode(hold: Hold): string {
  const codes = {
    unauthorized: 'vendor_unauthorized',
    forbidden: 'vendor_forbidden',
    quota: 'vendor_quota_exhausted',
    unavailable: 'vendor_unavailable',
  };
  return codes[hold.reason];
}
