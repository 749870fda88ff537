import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { AccountHeldError, originOf, VendorThrottledError, VendorUnavailableError } from '../../core/errors.ts';
import { describeDuration } from '../../core/describe.ts';
import { redactText } from '../../core/redact.ts';
import { backoffMs, clamp, floorHint, longestHintMs } from '../../core/poll-schedule.ts';
import type { ErrorInfo, Refusals } from '../../core/submission.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Logger } from '../../ports/logger.ts';
import type { LimitReport, Scope } from '../../ports/vendor-adapter.ts';
import {
  dueAfterStep,
  type AccountBoard,
  type AccountState,
  type HeldPart,
  type Hold,
  type HoldOrigin,
  type Pass,
} from '../../queues/account-board.ts';

export type Admission =
  | { admitted: true; scope: Scope; /** Names the probe that this is. */ probe?: string }
  /** Come back then; nothing was sent and no slot is held meanwhile. */
  | {
      admitted: false;
      until: number;
      why: ErrorInfo;
      /** The vendor's own hint forbids the request; what only we hold back may be waited for. */
      forbiddenByHint?: true;
    };

/** On whose behalf a request is sent. */
export interface Asker {
  submission?: string;
  /** Of a look-up that asks for one vendor job. */
  vendorJob?: string;
  /** What the submission's record says of refused submits; of look-ups each worker remembers for itself. */
  refused?: Refusals | undefined;
}

/** What became of a request beside its error. */
export interface Settled {
  /** It was refused, and others of its account and scope pass: the account is not at fault. */
  isOwnFault: boolean;
  /** For the record of a submission whose submit was refused. */
  refused?: Refusals;
}

/** What is known of an admitted request. */
interface UnderWay {
  sentAt: number;
  asker: Asker;
  probe?: { id: string; part: HeldPart; renewal: NodeJS.Timeout };
}

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
/** The pauses between probes. A right is mostly one submission's matter, so each probe by another tests something else. */
const probeBackoffs = {
  unauthorized: { baseMs: 2_000, maxMs: 60_000 },
  forbidden: { baseMs: 2_000, maxMs: 10_000 },
  quota: { baseMs: 2_000, maxMs: 60_000 },
  unavailable: { baseMs: 1_000, maxMs: 30_000 },
};
/** For how long a submission that was refused during a hold lets others probe first. Those come within a second. */
const yieldMs = 2_500;
/** A refusal beside a request that passed counts as the submission's own fault when it still stands after this. */
const togetherMs = 6_000;
/** Passes that were longer ago when a hold began were not beside the refusal that began it. */
const longestTogetherMs = 60_000;
const maxRefusals = 10_000;
/** Redis' time as workers measure it differs by less, ms. */
const stepMs = 1_000;
const workerName = `${hostname()}/${process.pid}`;
/** A busy vendor that answers one submit with 503 keeps all others waiting for no longer than this, ms. */
const longestQuietMs = 60_000;
const unthrottled = Number.POSITIVE_INFINITY;

/**
 * The door in front of one vendor account. Every vendor request passes it, in every worker.
 *
 *   open ──(429)──► throttled until the hint ──► reopening: one request, then twice as many with each success ──► open
 *   open ──(401)──► held ──(one probe at a time, of all workers, works)──► open
 *   open ──(403, 402)──► that scope held ──(as above; a submission that was refused lets others go first)──► open
 *   open ──(5 failures in a row of one scope)──► that scope held as unavailable ──(as above)──► open
 *
 * A request that is refused again after others of its scope passed is refused for itself, and holds nothing.
 *
 * What is throttled or held is shared by all workers through Redis and read at most ten times a second; a job that is not
 * admitted is told when to come back and costs nothing until then.
 */
export class AccountGate {
  readonly #board: AccountBoard;
  readonly #name: string;
  readonly #clock: Clock;
  readonly #logger: Logger;
  #state: AccountState = noState();
  /** Distance counts, in either direction: a clock that was set back must not keep old news. */
  #readAt = Number.NEGATIVE_INFINITY;
  #reading: Promise<void> | undefined;
  readonly #failuresInARow: Record<Scope, number> = { submit: 0, status: 0 };
  readonly #inFlight: Record<Scope, number> = { submit: 0, status: 0 };
  readonly #window: Record<Scope, number> = { submit: unthrottled, status: unthrottled };
  readonly #underWay = new Map<Admission, UnderWay>();
  readonly #passes: AccountState['passes'] = {};
  /** Refusals of look-ups, by who asked. */
  readonly #refusals = new Map<string, Refusals>();

  /** The latest time that was read from the clock. */
  #lastNow = Number.NEGATIVE_INFINITY;

  /** @param name - `<vendor>/<account>` */
  constructor(board: AccountBoard, name: string, clock: Clock, logger: Logger) {
    this.#board = board;
    this.#name = name;
    this.#clock = clock;
    this.#logger = logger;
  }

  /**
   * Asks for leave to send one request. An admission must be given back to `settle`.
   * @param asker - on whose behalf: what was refused during a hold lets others go first when the hold is probed.
   */
  async admit(scope: Scope, asker: Asker = {}): Promise<Admission> {
    await this.#refresh();
    const now = this.#now();
    const throttledUntil = this.#state.throttledUntil[scope] ?? 0;
    if (throttledUntil > now) {
      const wait = describeDuration(throttledUntil - now);
      const why = { code: 'vendor_throttled', message: `the vendor asked for ${wait} of quiet` };
      const until = now + floorHint(throttledUntil - now, this.#clock.random());
      const isForbidden = (this.#state.forbiddenUntil[scope] ?? 0) > now;
      return { admitted: false, until, why, ...(isForbidden ? { forbiddenByHint: true } : {}) };
    }
    const hold = this.#holdOn(scope);
    if (hold !== undefined) {
      const why = { code: holdCode(hold), message: hold.message };
      const dueAt = probeDueAt(hold, this.#refusalsOf(scope, asker));
      if (dueAt > now) return { admitted: false, until: dueAt + this.#clock.random() * 1_000, why };
      const probe = randomUUID();
      const part = this.#state.holds.account === undefined ? scope : 'account';
      if (!(await this.#board.takeProbe(this.#name, part, probe, probeMs))) {
        return { admitted: false, until: now + 500 + this.#clock.random() * 1_500, why };
      }
      // What is known here can be a moment old, and the probe before this one may have failed since.
      await this.#read();
      const still = this.#holdOn(scope);
      if (still === undefined || still.until > this.#now()) {
        await this.#note(this.#board.returnProbe(this.#name, part, probe));
        return this.admit(scope, asker);
      }
      const admission = { admitted: true, scope, probe } as const;
      const begunAt = performance.now();
      const renew = (): void => {
        if (performance.now() - begunAt > longestProbeMs) clearInterval(renewal);
        else void this.#board.renewProbe(this.#name, part, probe, probeMs).catch(() => undefined);
      };
      const renewal = setInterval(renew, probeRenewalMs).unref();
      return this.#enter(admission, { sentAt: this.#now(), asker, probe: { id: probe, part, renewal } });
    }
    if (this.#inFlight[scope] >= this.#window[scope]) {
      const why = {
        code: 'vendor_throttled',
        message: 'the account is reopening slowly after the vendor asked to slow down',
      };
      return { admitted: false, until: now + 200 + this.#clock.random() * 400, why };
    }
    return this.#enter({ admitted: true, scope }, { sentAt: now, asker });
  }

  /**
   * Tells how an admitted request went. Never rejects: a caller must not lose what it knows of its request by it.
   * @param error - undefined when the vendor answered as it should, a refusal of this one request included.
   */
  async settle(admission: Admission & { admitted: true }, error: unknown): Promise<Settled> {
    const { scope } = admission;
    const request = this.#leave(admission);
    const isProbe = request.probe !== undefined;
    let settled: Settled = { isOwnFault: false };
    if (error instanceof VendorThrottledError) {
      // A probe that is throttled was let in: the account works again.
      if (isProbe) await this.#release(scope, request);
      if (error.retryAfterMs !== undefined) await this.#forbid(scope, error.retryAfterMs);
      await this.#throttle(scope, error.retryAfterMs ?? backoffMs(3, this.#clock.random()), error);
    } else if (error instanceof AccountHeldError) {
      settled = await this.#onRefused(scope, request, error);
    } else if (error instanceof VendorUnavailableError) {
      await this.#onUnavailable(scope, request, error);
    } else {
      this.#failuresInARow[scope] = 0;
      this.#window[scope] = this.#window[scope] >= 64 ? unthrottled : this.#window[scope] * 2;
      if (error === undefined) await this.#onPassed(scope, request);
      await this.#release(scope, request);
    }
    await this.#returnProbe(request);
    return settled;
  }

  /** Gives an admission back unused. Never rejects. */
  async abandon(admission: Admission & { admitted: true }): Promise<void> {
    await this.#returnProbe(this.#leave(admission));
  }

  /** When a job whose request was just refused should come back, epoch ms. */
  retryAt(scope: Scope, refused?: Refusals): number {
    const now = this.#now();
    const throttled = (this.#state.throttledUntil[scope] ?? 0) - now;
    const hold = this.#holdOn(scope);
    const held = hold === undefined ? 0 : probeDueAt(hold, refused) - now;
    if (throttled <= 0 && held <= 0) return now + backoffMs(2, this.#clock.random());
    return now + floorHint(Math.max(throttled, held), this.#clock.random());
  }

  /** When the vendor last answered a request of this scope as it should, as far as this worker knows; epoch ms. */
  passedAt(scope: Scope): number | undefined {
    return this.#latestPass(scope)?.at;
  }

  /** Heeds what an answer's headers say: an empty budget is waited for before the vendor has to refuse. */
  async onLimits(report: LimitReport): Promise<void> {
    if (report.remaining > 0 || report.resetMs <= 0) return;
    const scopes: Scope[] = report.scope === undefined ? ['submit', 'status'] : [report.scope];
    const error = new Error('the budget of this window is used up');
    for (const scope of scopes) {
      await this.#forbid(scope, report.resetMs);
      await this.#throttle(scope, report.resetMs, error);
    }
  }

  /**
   * The time, epoch ms. Once Redis' clock was set back, what is remembered here of other times would be in the future for
   * as long as the step was, and look like what came after a refusal: it is forgotten.
   */
  #now(): number {
    const now = this.#clock.now();
    if (now < this.#lastNow - stepMs) {
      delete this.#passes.submit;
      delete this.#passes.status;
      this.#refusals.clear();
    }
    this.#lastNow = now;
    return now;
  }

  #enter(admission: Admission & { admitted: true }, request: UnderWay): Admission {
    this.#inFlight[admission.scope] += 1;
    this.#underWay.set(admission, request);
    return admission;
  }

  #leave(admission: Admission & { admitted: true }): UnderWay {
    const now = this.#now();
    const request = this.#underWay.get(admission) ?? { sentAt: now, asker: {} };
    request.sentAt = Math.min(request.sentAt, now);
    this.#underWay.delete(admission);
    this.#inFlight[admission.scope] -= 1;
    clearInterval(request.probe?.renewal);
    return request;
  }

  async #returnProbe({ probe }: UnderWay): Promise<void> {
    if (probe !== undefined) await this.#note(this.#board.returnProbe(this.#name, probe.part, probe.id));
  }

  async #throttle(scope: Scope, waitMs: number, error: Error): Promise<void> {
    this.#window[scope] = 1;
    await this.#quiet(scope, waitMs, error);
  }

  /** No request of the scope until then. */
  async #quiet(scope: Scope, waitMs: number, error: Error): Promise<void> {
    const now = this.#now();
    const until = now + Math.min(waitMs, longestHintMs);
    if (until <= (this.#state.throttledUntil[scope] ?? 0)) return;
    this.#state.throttledUntil[scope] = until;
    this.#logger.warn(
      { account: this.#name, scope, waitMs: until - now, reason: redactText(error.message), origin: originOf(error) },
      'account throttled',
    );
    await this.#note(this.#board.throttle(this.#name, scope, until));
  }

  /** Notes beside the throttle that it is the vendor's own. */
  async #forbid(scope: Scope, waitMs: number): Promise<void> {
    const until = this.#now() + Math.min(waitMs, longestHintMs);
    if (until <= (this.#state.forbiddenUntil[scope] ?? 0)) return;
    this.#state.forbiddenUntil[scope] = until;
    await this.#note(this.#board.forbid(this.#name, scope, until));
  }

  /** A refusal that may be about the account, or about this one request. */
  async #onRefused(scope: Scope, request: UnderWay, error: AccountHeldError): Promise<Settled> {
    // Other workers may have seen requests pass, or begun a hold, since this one looked.
    await this.#note(this.#read());
    const now = this.#now();
    const { reason } = error;
    const before = this.#refusalsOf(scope, request.asker);
    const isSame = before?.first.reason === reason;
    const first = isSame ? before.first : { sentAt: request.sentAt, at: now, reason };
    const refused = { at: now, first };
    this.#remember(scope, request.asker, refused);
    const origin = this.#origin(request.asker, error);
    if (reason === 'unauthorized') {
      await this.#hold('account', reason, error.message, { origin });
    } else if (isSame && this.#hasPassedFor(scope, first)) {
      this.#logger.warn(
        { account: this.#name, scope, reason, origin, error: redactText(error.message) },
        'refused while others pass: the account is not held for it',
      );
      // Nothing else shows that the scope works, where no other request comes.
      const key = keyOf(request.asker);
      if (key !== '' && key === keyOf(this.#state.holds[scope]?.origin ?? {})) await this.#end([scope]);
      return { isOwnFault: true, refused };
    } else {
      // A key that lacks a right is a key that is known.
      if (request.probe?.part === 'account' && this.#state.holds.account !== undefined) await this.#end(['account']);
      const hold = this.#state.holds[scope];
      const isNew = hold !== undefined && request.sentAt > hold.since && !wasRefusedIn(hold, before);
      await this.#hold(scope, reason, error.message, { origin, isShared: isNew });
    }
    return { isOwnFault: false, refused };
  }

  /** Whether the vendor let another request in since it first refused this one. */
  #hasPassedFor(scope: Scope, first: Refusals['first']): boolean {
    const pass = this.#latestPass(scope);
    if (pass === undefined) return false;
    if (pass.sentAt > first.at) return true;
    // Both were under way together, so the account may have lost its right in between. Then whatever is sent later is
    // refused as well; where nothing is, time has to do.
    const wasTogether = pass.at > first.sentAt;
    return wasTogether && this.#now() - first.at >= togetherMs && this.#state.holds[scope]?.isShared !== true;
  }

  #latestPass(scope: Scope): Pass | undefined {
    const known = this.#state.passes[scope];
    // One from before the clock was set back, until that is moved along with it.
    const shared = known !== undefined && known.at > this.#now() + stepMs ? undefined : known;
    const own = this.#passes[scope];
    if (own === undefined || shared === undefined) return own ?? shared;
    return { sentAt: Math.max(own.sentAt, shared.sentAt), at: Math.max(own.at, shared.at) };
  }

  /** Notes that the vendor let a request in: for other workers to see where it ends a hold, else here alone. */
  async #onPassed(scope: Scope, { asker, sentAt, probe }: UnderWay): Promise<void> {
    const at = this.#now();
    this.#passes[scope] = { sentAt: Math.max(sentAt, this.#passes[scope]?.sentAt ?? 0), at };
    this.#refusals.delete(keyOf(asker));
    const hold = this.#holdOn(scope);
    if (hold === undefined || (probe === undefined && sentAt <= hold.since)) return;
    // Before the hold ends: a death in between costs one more probe.
    await this.#note(this.#board.pass(this.#name, scope, this.#passes[scope]));
  }

  /** A hold that another worker began tells of refusals beside which a request of this one may have passed. */
  async #sharePasses(): Promise<void> {
    for (const scope of ['submit', 'status'] as const) {
      const { holds, passes } = this.#state;
      const [hold, own] = [holds[scope], this.#passes[scope]];
      if (hold === undefined || own === undefined || hold.reason === 'unavailable') continue;
      if (own.at <= hold.since - longestTogetherMs || own.at <= (passes[scope]?.at ?? 0)) continue;
      passes[scope] = own;
      await this.#note(this.#board.pass(this.#name, scope, own));
    }
  }

  #refusalsOf(scope: Scope, asker: Asker): Refusals | undefined {
    return scope === 'submit' ? asker.refused : this.#refusals.get(keyOf(asker));
  }

  /** Records keep what became of submits; look-ups leave none. */
  #remember(scope: Scope, asker: Asker, refused: Refusals): void {
    const key = keyOf(asker);
    if (scope === 'submit' || key === '') return;
    const oldest = this.#refusals.keys().next().value;
    if (oldest !== undefined && this.#refusals.size >= maxRefusals) this.#refusals.delete(oldest);
    this.#refusals.set(key, refused);
  }

  #origin(asker: Asker, error: Error): HoldOrigin {
    return {
      worker: workerName,
      ...originOf(error),
      ...(asker.submission === undefined ? {} : { submission: asker.submission }),
      ...(asker.vendorJob === undefined ? {} : { vendorJob: asker.vendorJob }),
      at: this.#now(),
    };
  }

  async #onUnavailable(scope: Scope, { probe, asker }: UnderWay, error: VendorUnavailableError): Promise<void> {
    this.#failuresInARow[scope] += 1;
    const quietMs = clamp(error.retryAfterMs ?? 0, 0, longestQuietMs);
    // A vendor that names a time has no use for other creates before it; a look-up waits for its own.
    if (scope === 'submit' && quietMs > 0) await this.#quiet(scope, quietMs, error);
    const { account, [scope]: own } = this.#state.holds;
    // Whether the key, the right or the credit is there by now is as unknown as before.
    if (account !== undefined) await this.#hold('account', account.reason, account.message, account);
    else if (own !== undefined && own.reason !== 'unavailable') {
      if (probe !== undefined) await this.#hold(scope, own.reason, own.message, own);
    } else if (probe !== undefined || this.#failuresInARow[scope] >= breakerThreshold)
      await this.#hold(scope, 'unavailable', error.message, { origin: this.#origin(asker, error) });
  }

  async #hold(
    part: HeldPart,
    reason: Hold['reason'],
    message: string,
    { origin, isShared }: { origin?: HoldOrigin; isShared?: boolean },
  ): Promise<void> {
    const now = this.#now();
    const before = this.#state.holds[part];
    // Requests that were under way when the hold began fail too; only a probe, after its time, counts as another try.
    if (before !== undefined && before.until > now) return;
    const tries = (before?.tries ?? 0) + 1;
    const hold: Hold = {
      reason,
      message: redactText(message),
      since: before?.since ?? now,
      until: now + backoffMs(tries, this.#clock.random(), probeBackoffs[reason]),
      tries,
      ...(isShared === true || before?.isShared === true ? { isShared: true } : {}),
      ...(origin === undefined ? {} : { origin }),
    };
    this.#state.holds[part] = hold;
    const log = {
      account: this.#name,
      ...(part === 'account' ? {} : { scope: part }),
      reason,
      tries,
      nextProbeInMs: Math.round(hold.until - now),
      error: hold.message,
      origin,
    };
    this.#logger[reason === 'unavailable' ? 'warn' : 'error'](
      log,
      part === 'account' ? 'account held: its jobs wait' : 'scope of an account held: its requests wait',
    );
    const pass = part === 'account' ? undefined : this.#latestPass(part);
    await this.#note(this.#board.hold(this.#name, part, hold, pass === undefined ? {} : { [part]: pass }));
  }

  /** A request of this scope was let in: what held it is over. */
  async #release(scope: Scope, { probe, sentAt }: UnderWay): Promise<void> {
    this.#failuresInARow[scope] = 0;
    const { holds } = this.#state;
    const parts = (['account', scope] as const).filter((part) => {
      const hold = holds[part];
      // What was under way when a key lost its right passes late, and shows nothing.
      return hold !== undefined && (probe !== undefined || hold.reason === 'unavailable' || sentAt > hold.since);
    });
    await this.#end(parts);
  }

  async #end(parts: readonly HeldPart[]): Promise<void> {
    if (parts.length === 0) return;
    const { holds } = this.#state;
    for (const part of parts) {
      const hold = holds[part];
      if (hold === undefined) continue;
      delete holds[part];
      const heldForMs = Math.round(this.#now() - hold.since);
      this.#logger.info(
        { account: this.#name, ...(part === 'account' ? {} : { scope: part }), reason: hold.reason, heldForMs },
        'account works again',
      );
    }
    await this.#note(this.#board.release(this.#name, parts));
  }

  /** What stops requests of this scope, the one that lasts longer first. */
  #holdOn(scope: Scope): Hold | undefined {
    const { account, [scope]: own } = this.#state.holds;
    if (account === undefined || own === undefined) return account ?? own;
    return own.until > account.until ? own : account;
  }

  /** What Redis does not take, other workers do not hear of. It changes nothing of what is known of a request. */
  async #note(bookkeeping: Promise<void>): Promise<void> {
    try {
      await bookkeeping;
    } catch (error) {
      this.#logger.warn(
        { account: this.#name, error: redactText(String(error)) },
        'what is known of the account could not be shared',
      );
    }
  }

  async #refresh(): Promise<void> {
    if (Math.abs(this.#now() - this.#readAt) < refreshMs) return;
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined;
    });
    await this.#reading;
  }

  async #read(): Promise<void> {
    const states = await this.#board.readAll();
    this.#state = dueAfterStep(states.get(this.#name) ?? noState(), this.#now());
    this.#readAt = this.#now();
    await this.#sharePasses();
  }
}

/** When this hold may be probed by one that was refused then, or by any other. */
function probeDueAt(hold: Hold, refused: Refusals | undefined): number {
  return wasRefusedIn(hold, refused) ? hold.until + yieldMs : hold.until;
}

/** Of requests that are refused together the last one's hold is what stays, and it is over no sooner than this. */
const togetherRefusedMs = 1_000;

function wasRefusedIn(hold: Hold, refused: Refusals | undefined): boolean {
  return refused !== undefined && refused.at >= hold.since - togetherRefusedMs;
}

function keyOf({ submission, vendorJob }: Pick<Asker, 'submission' | 'vendorJob'>): string {
  return submission ?? vendorJob ?? '';
}

function noState(): AccountState {
  return { holds: {}, passes: {}, throttledUntil: {}, forbiddenUntil: {} };
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
