import { AccountHeldError, VendorContractError, VendorUnavailableError } from '../../core/errors.ts';
import type { Credential, HttpOptions, HttpRequest, VendorHttp } from '../../ports/vendor-adapter.ts';
import { notSent } from './not-sent.ts';
import type { TimeBudget } from './time-budget.ts';

const renewBeforeMs = 60_000;
/** Realms come from submissions, so their number has a bound. */
const maxRealms = 1_000;

/** What requests of one realm are signed with. */
interface CredentialSlot {
  readonly realm: string;
  credential: Credential | undefined;
  renewal: Promise<void> | undefined;
  /** Grows with each renewal: tells a request that failed with an older credential that there is a newer one. */
  generation: number;
}

/**
 * What the requests of one account are signed with, shared by all jobs of a process.
 *
 * - A credential is obtained when it is first needed, and again shortly before it expires.
 * - A 401 renews it once for all requests that fail together, and replays each once.
 * - Where a vendor's credentials are good for a part of the account only (a workspace), each realm has its own.
 */
export class Credentials<Account> {
  readonly #http: HttpOptions<Account>;
  readonly #client: VendorHttp;
  readonly #refreshAccount: (() => Promise<unknown>) | undefined;
  readonly #slots = new Map<string, CredentialSlot>();
  #account: Account;

  /**
   * @param client - makes the request for a credential
   * @param refreshAccount - reads the account's secrets anew (a rotated key file) before credentials are renewed
   */
  constructor(
    http: HttpOptions<Account>,
    account: Account,
    client: VendorHttp,
    refreshAccount: (() => Promise<unknown>) | undefined,
  ) {
    this.#http = http;
    this.#account = account;
    this.#client = client;
    this.#refreshAccount = refreshAccount;
  }

  /** The account, with its secrets as they were last read. */
  get account(): Account {
    return this.#account;
  }

  /**
   * Sends a request with the credential of its realm, and once more with a fresh one where the first was refused.
   * @throws VendorUnavailableError, taken `no`, where there is no credential in time; what `send` throws
   */
  async signed<Reply>(
    request: HttpRequest<unknown>,
    budget: TimeBudget,
    send: (credential: Credential | undefined) => Promise<Reply>,
  ): Promise<Reply> {
    const slot = this.#slot(request.realm);
    if (this.#isDue(slot)) await this.#renewInTime(slot, slot.generation, request, budget);
    const { generation, credential } = slot;
    try {
      return await send(credential);
    } catch (error) {
      if (!(error instanceof AccountHeldError) || !this.#isRenewable(slot, error.httpStatus)) throw error;
      // Nothing was taken in by a 401, so the replay is safe for any request.
      await this.#renewInTime(slot, generation, request, budget);
      return send(slot.credential);
    }
  }

  #slot(realm = ''): CredentialSlot {
    let slot = this.#slots.get(realm);
    if (slot === undefined) {
      const oldest = this.#slots.keys().next().value;
      if (oldest !== undefined && this.#slots.size >= maxRealms) this.#slots.delete(oldest);
      slot = { realm, credential: undefined, renewal: undefined, generation: 0 };
      this.#slots.set(realm, slot);
    }
    return slot;
  }

  #isDue({ credential }: CredentialSlot): boolean {
    if (this.#http.credential === undefined) return false;
    if (credential === undefined) return true;
    const { expiresAt } = credential;
    return expiresAt !== undefined && expiresAt - renewBeforeMs <= Date.now();
  }

  /** True when a request that was refused with this status may go through with a fresh credential. */
  #isRenewable({ credential }: CredentialSlot, status: number | undefined): boolean {
    if (status === undefined || !(this.#http.renewOn ?? [401]).includes(status)) return false;
    if (this.#refreshAccount !== undefined) return true;
    return this.#http.credential !== undefined && credential?.fixed !== true;
  }

  /** The renewal itself goes on for those that have more time. */
  async #renewInTime(
    slot: CredentialSlot,
    seenGeneration: number,
    request: HttpRequest<unknown>,
    budget: TimeBudget,
  ): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(notSent(request, budget, 'no credential')), budget.untilSendMs());
    });
    try {
      await Promise.race([this.#renew(slot, seenGeneration), late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Renews once, however many ask: those that failed with an older credential wait for the same renewal. */
  async #renew(slot: CredentialSlot, seenGeneration: number): Promise<void> {
    if (seenGeneration !== slot.generation) return;
    slot.renewal ??= this.#obtain(slot).finally(() => {
      slot.renewal = undefined;
    });
    await slot.renewal;
  }

  async #obtain(slot: CredentialSlot): Promise<void> {
    const account = await this.#refreshAccount?.();
    if (account !== undefined) this.#account = account as Account;
    try {
      slot.credential = await this.#http.credential?.(this.#account, this.#client, slot.realm);
    } catch (error) {
      throw withoutDoubt(error);
    }
    slot.generation += 1;
  }
}

/** While credentials are obtained, nothing of the request itself is out: its fate is never in doubt. */
function withoutDoubt(error: unknown): unknown {
  if (!(error instanceof VendorUnavailableError) && !(error instanceof VendorContractError)) return error;
  const { httpStatus, details } = error;
  const retryAfterMs = error instanceof VendorUnavailableError ? error.retryAfterMs : undefined;
  return new VendorUnavailableError(`credentials could not be obtained: ${error.message}`, {
    taken: 'no',
    cause: error,
    ...(httpStatus === undefined ? {} : { httpStatus }),
    ...(details === undefined ? {} : { details }),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}
