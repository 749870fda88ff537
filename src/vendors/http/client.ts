import { createHash } from 'node:crypto';
import ky from 'ky';
import {
  AccountHeldError,
  JobferryError,
  originOf,
  VendorContractError,
  VendorRejectedError,
  VendorThrottledError,
  VendorUnavailableError,
  type RequestOrigin,
} from '../../core/errors.ts';
import { decideOnSubmit } from '../../core/decide.ts';
import { clip } from '../../core/json.ts';
import { ModuleFault } from '../../core/module-fault.ts';
import { clamp } from '../../core/poll-schedule.ts';
import { formsOf, redactText, withoutForms } from '../../core/redact.ts';
import { requestTimeoutMs } from '../../core/request-time.ts';
import type {
  Credential,
  ErrorReply,
  HttpReply,
  HttpRequest,
  LimitReport,
  RequestBody,
  Scope,
  ScopedHttp,
  VendorAdapter,
  VendorHttp,
} from '../../ports/vendor-adapter.ts';
import { ByteBudget, type Reader } from './byte-budget.ts';
import { OutgoingRequest } from './outgoing-request.ts';

const defaultMaxBytes = 8 * 1024 * 1024;
/** Of one answer that tells how work stands: many of them are read at a time. */
const statusMaxBytes = 1024 * 1024;
/** Of all answers of one account that are read at a time. */
const maxBytesAtATime = 64 * 1024 * 1024;
const renewBeforeMs = 60_000;
/**
 * A clone of a request reads its stream along and keeps all of it in memory. ky clones every request, and by the
 * standard so does fetch, unless it is told to follow no redirect and has no window to ask.
 */
const uncloned = { redirect: 'error', window: null, duplex: 'half' } as const;
/** Realms come from submissions, so their number has a bound. */
const maxRealms = 1_000;

interface HttpClientOptions {
  /** Told whenever headers announce what is left of a budget. */
  onLimits?: (report: LimitReport) => void;
  /** Reads the account's secrets anew (a rotated key file) before credentials are renewed. */
  refreshAccount?: () => Promise<unknown>;
  /** The time that an answer's dates are compared with, epoch ms; the machine's own when left out. */
  now?: () => number;
}

/**
 * One account's way to its vendor, shared by all jobs of a process.
 *
 * - No retry of its own: whether something may be sent again is the engine's decision.
 * - No redirect is followed, so credentials reach no other host.
 * - Replies are read up to a bound after decompression, within the request's time.
 * - One bound holds for the credential, the connection, the request and its replay: others wait no longer for it to land.
 * - A request that fails before it is written to a socket was not taken, whatever the error; any later one may have been.
 * - What an answer quotes of the secrets that were sent is taken out of it: nothing that is kept or logged holds them.
 * - A 401 renews the credential once for all requests that fail together and replays each once.
 * - Where a vendor's credentials are good for a part of the account only (a workspace), each realm has its own.
 */
export class HttpClient<Account> implements VendorHttp, ScopedHttp {
  readonly #adapter: VendorAdapter<Account>;
  readonly #options: HttpClientOptions;
  #account: Account;
  readonly #credentials = new Map<string, CredentialSlot>();
  readonly #forms = new Map<string, readonly string[]>();
  readonly #bytes = new ByteBudget(maxBytesAtATime);

  constructor(adapter: VendorAdapter<Account>, account: Account, options: HttpClientOptions = {}) {
    this.#adapter = adapter;
    this.#account = account;
    this.#options = options;
  }

  forScope(scope: Scope, timeoutMs = requestTimeoutMs): VendorHttp {
    const maxBytes = scope === 'status' ? statusMaxBytes : defaultMaxBytes;
    return { request: (request) => this.#request({ timeoutMs, maxBytes, ...request }, scope) };
  }

  async request<Reply>(request: HttpRequest<Reply>): Promise<HttpReply<Reply>> {
    return this.#request(request, undefined);
  }

  async #request<Reply>(request: HttpRequest<Reply>, scope: Scope | undefined): Promise<HttpReply<Reply>> {
    try {
      return await this.#requestSigned(request, scope);
    } catch (error) {
      // Where credentials could not be obtained, the cause is the request for them.
      if (error instanceof JobferryError) error.origin ??= originOf(error) ?? this.#originOf(request);
      throw error;
    }
  }

  async #requestSigned<Reply>(request: HttpRequest<Reply>, scope: Scope | undefined): Promise<HttpReply<Reply>> {
    const budget = new TimeBudget(request.timeoutMs ?? requestTimeoutMs);
    if (request.anonymous === true) return this.#send(request, undefined, scope, budget);
    const slot = this.#slot(request.realm);
    if (this.#needsCredential(slot)) await this.#renewInTime(slot, slot.generation, request, budget);
    const { generation, credential } = slot;
    try {
      return await this.#send(request, credential, scope, budget);
    } catch (error) {
      if (!(error instanceof AccountHeldError) || !this.#isRenewable(slot, error.httpStatus)) throw error;
      // Nothing was taken in by a 401, so the replay is safe for any request.
      await this.#renewInTime(slot, generation, request, budget);
      return this.#send(request, slot.credential, scope, budget);
    }
  }

  #now(): number {
    return this.#options.now?.() ?? Date.now();
  }

  #slot(realm = ''): CredentialSlot {
    let slot = this.#credentials.get(realm);
    if (slot === undefined) {
      const oldest = this.#credentials.keys().next().value;
      if (oldest !== undefined && this.#credentials.size >= maxRealms) this.#credentials.delete(oldest);
      slot = { realm, credential: undefined, renewal: undefined, generation: 0 };
      this.#credentials.set(realm, slot);
    }
    return slot;
  }

  #needsCredential({ credential }: CredentialSlot): boolean {
    if (this.#adapter.http.credential === undefined) return false;
    if (credential === undefined) return true;
    const { expiresAt } = credential;
    return expiresAt !== undefined && expiresAt - renewBeforeMs <= Date.now();
  }

  /** True when a request that was refused with this status may go through with a fresh credential. */
  #isRenewable({ credential }: CredentialSlot, status: number | undefined): boolean {
    if (status === undefined || !(this.#adapter.http.renewOn ?? [401]).includes(status)) return false;
    if (this.#options.refreshAccount !== undefined) return true;
    return this.#adapter.http.credential !== undefined && credential?.fixed !== true;
  }

  /** Renews once, however many ask: those that failed with an older credential wait for the same renewal. */
  async #renew(slot: CredentialSlot, seenGeneration: number): Promise<void> {
    if (seenGeneration !== slot.generation) return;
    slot.renewal ??= this.#obtain(slot).finally(() => {
      slot.renewal = undefined;
    });
    await slot.renewal;
  }

  /** The renewal itself goes on for those that have more time. */
  async #renewInTime<Reply>(
    slot: CredentialSlot,
    seenGeneration: number,
    request: HttpRequest<Reply>,
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

  async #obtain(slot: CredentialSlot): Promise<void> {
    const account = await this.#options.refreshAccount?.();
    if (account !== undefined) this.#account = account as Account;
    try {
      slot.credential = await this.#adapter.http.credential?.(this.#account, this, slot.realm);
    } catch (error) {
      throw withoutDoubt(error);
    }
    slot.generation += 1;
  }

  async #send<Reply>(
    request: HttpRequest<Reply>,
    credential: Credential | undefined,
    scope: Scope | undefined,
    budget: TimeBudget,
  ): Promise<HttpReply<Reply>> {
    const reply = await this.#exchange(request, credential, budget);
    try {
      return this.#read(request, reply, scope);
    } catch (error) {
      if (error instanceof JobferryError) throw error;
      // Nesting that overflows the stack, a number that is none: an answer that breaks its reader is a broken answer.
      throw new VendorContractError(`${where(request)} answered ${reply.status} with a body that can not be read`, {
        httpStatus: reply.status,
        cause: error,
      });
    }
  }

  #read<Reply>(request: HttpRequest<Reply>, reply: RawReply, scope: Scope | undefined): HttpReply<Reply> {
    const limits = this.#adapter.http.readLimits?.({ status: reply.status, headers: reply.headers, now: this.#now() });
    if (limits !== undefined) {
      // Vendors count creates apart from look-ups, so a refused create says nothing of the budget that polls draw on.
      const ofRequest = reply.status === 429 && scope !== undefined ? { scope } : {};
      this.#options.onLimits?.({ ...ofRequest, ...limits });
    }
    if (reply.status < 200 || reply.status > 299) throw this.#toError(request, reply);
    const parsed = request.reply.safeParse(this.#parseBody(request, reply));
    if (!parsed.success) {
      const first = parsed.error.issues[0];
      throw new VendorContractError(
        `${where(request)} answered ${reply.status} with an unexpected body: ${first?.path.join('.') ?? ''} ${first?.message ?? ''}`,
        { httpStatus: reply.status },
      );
    }
    return { status: reply.status, headers: reply.headers, body: parsed.data };
  }

  async #exchange<Reply>(
    request: HttpRequest<Reply>,
    credential: Credential | undefined,
    budget: TimeBudget,
  ): Promise<RawReply> {
    let url: URL;
    try {
      url = this.#url(request);
    } catch (cause) {
      throw new VendorRejectedError('the request has no valid address; check the base URL of the account', { cause });
    }
    const extra = await makeBody(request);
    // One bound for all of it: ky's own timeout ends with the headers, and a body can drip for ever.
    const end = new AbortController();
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      end.abort();
    }, budget.leftMs());
    const onAbort = (): void => end.abort();
    request.signal?.addEventListener('abort', onAbort, { once: true });
    if (request.signal?.aborted === true) end.abort();
    const outgoing = new OutgoingRequest(() => budget.untilSendMs() > 0);
    let json: string | undefined;
    const reader = this.#bytes.open();
    try {
      const init = {
        method: request.method,
        headers: {
          accept: 'application/json',
          ...(request.anonymous === true ? {} : this.#adapter.http.headers(this.#account, credential)),
          ...extra?.headers,
          ...request.headers,
        },
        redirect: 'manual',
      } as const;
      const response = await (extra === undefined
        ? ky(url, {
            ...init,
            ...(request.json === undefined ? {} : { json: request.json }),
            stringifyJson: (value) => (json = JSON.stringify(value)),
            retry: 0,
            timeout: false,
            throwHttpErrors: false,
            // ky speaks of Node's own requests, which undici's fetch does not know. The signal goes past ky, which would
            // combine it with one of its own for every request.
            fetch: (input) =>
              outgoing.fetch(url, {
                ...init,
                headers: [...(input as Request).headers],
                ...(json === undefined ? {} : { body: json }),
                signal: end.signal,
              }),
          })
        : outgoing.fetch(url, { ...init, ...uncloned, signal: end.signal, body: extra.body }));
      const text = await readText(response, request.maxBytes ?? defaultMaxBytes, reader, end.signal);
      // The one answer that is asked for a secret is left alone.
      const isSecret = request.anonymous === true && response.ok;
      const forms = this.#secretForms(credential);
      return {
        status: response.status,
        headers: response.headers,
        type: withoutForms(response.headers.get('content-type') ?? '', forms),
        text: isSecret ? text : withoutForms(text, forms),
      };
    } catch (cause) {
      if (cause instanceof JobferryError) throw cause;
      outgoing.giveUp();
      if (budget.untilSendMs() <= 0 && !outgoing.isSent) throw notSent(request, budget, 'no connection', cause);
      if (isLate) {
        throw new VendorUnavailableError(`${where(request)} did not answer within ${budget.totalMs} ms`, {
          taken: 'maybe',
          cause,
        });
      }
      const code = networkCode(cause);
      const why = code ?? withoutForms(describe(cause), this.#secretForms(credential));
      // The host, because a wrong address shows by it.
      throw new VendorUnavailableError(`${where(request)} at ${url.host} failed: ${why}`, {
        taken: outgoing.isSent ? 'maybe' : 'no',
        cause,
      });
    } finally {
      reader.close();
      clearTimeout(timer);
      request.signal?.removeEventListener('abort', onAbort);
    }
  }

  /** How the secrets that sign a request can be quoted; they change seldom, so it is worked out once for each. */
  #secretForms(credential: Credential | undefined): readonly string[] {
    const fields = this.#account as Readonly<Record<string, unknown>>;
    const secrets = [...this.#adapter.secrets.map((name) => fields[name]), credential?.token];
    return secrets.flatMap((secret) => {
      if (typeof secret !== 'string') return [];
      let forms = this.#forms.get(secret);
      if (forms === undefined) {
        if (this.#forms.size >= maxRealms) this.#forms.clear();
        this.#forms.set(secret, (forms = formsOf(secret)));
      }
      return forms;
    });
  }

  #originOf<Reply>(request: HttpRequest<Reply>): RequestOrigin {
    const fields = this.#account as Readonly<Record<string, unknown>>;
    const key = this.#adapter.secrets.map((name) => fields[name]).find((secret) => typeof secret === 'string');
    let host = 'unknown';
    try {
      ({ host } = this.#url(request));
    } catch {
      // Said by the error itself.
    }
    return {
      request: clip(redactText(withoutForms(where(request), this.#secretForms(undefined))), 200),
      host,
      ...(key === undefined ? {} : { key: createHash('sha256').update(key).digest('hex').slice(0, 8) }),
    };
  }

  #url<Reply>(request: HttpRequest<Reply>): URL {
    const base = this.#adapter.http.baseUrl(this.#account);
    const url = new URL(request.path, base.endsWith('/') ? base : `${base}/`);
    for (const [name, value] of Object.entries(request.query ?? {})) {
      if (value !== undefined) url.searchParams.set(name, String(value));
    }
    return url;
  }

  #parseBody<Reply>(request: HttpRequest<Reply>, reply: RawReply): unknown {
    if (reply.text === '') return undefined;
    const { type } = reply;
    if (!/\bjson\b/i.test(type)) {
      throw new VendorContractError(
        `${where(request)} answered ${reply.status} with ${type === '' ? 'no content type' : clip(type, 80)} instead of JSON`,
        {
          httpStatus: reply.status,
        },
      );
    }
    if (isNestedDeeper(reply.text, maxDepth)) {
      throw new VendorContractError(
        `${where(request)} answered ${reply.status} with JSON nested deeper than ${maxDepth} levels`,
        {
          httpStatus: reply.status,
        },
      );
    }
    try {
      return JSON.parse(reply.text) as unknown;
    } catch (cause) {
      throw new VendorContractError(`${where(request)} answered ${reply.status} with malformed JSON`, {
        httpStatus: reply.status,
        cause,
      });
    }
  }

  /** The common table of error answers; the adapter may know better. */
  #toError<Reply>(request: HttpRequest<Reply>, reply: RawReply): Error {
    const { status, headers } = reply;
    const body = parseLeniently(reply.text);
    const retryAfterMs = readRetryAfter(headers, this.#now());
    const errorReply: ErrorReply = { method: request.method, path: request.path, status, headers, body, retryAfterMs };
    const own = this.#adapter.http.classify?.(errorReply);
    if (own !== undefined) return own;
    const message = `${where(request)} answered ${status}: ${errorText(body)}`;
    const hint = retryAfterMs === undefined ? {} : { retryAfterMs };
    switch (status) {
      case 401:
        return new AccountHeldError('unauthorized', message, { httpStatus: status });
      case 403:
        return new AccountHeldError('forbidden', message, { httpStatus: status });
      case 402:
        return new AccountHeldError('quota', message, { httpStatus: status });
      case 408:
        return new VendorUnavailableError(message, { taken: 'maybe', httpStatus: status, ...hint });
      case 425:
      case 429:
        return new VendorThrottledError(message, { httpStatus: status, ...hint });
      default:
    }
    if (status >= 500) return new VendorUnavailableError(message, { taken: 'maybe', httpStatus: status, ...hint });
    if (status >= 400) return new VendorRejectedError(message, { httpStatus: status });
    return new VendorContractError(`${message} (redirects are not followed)`, { httpStatus: status });
  }
}

/** What requests of one realm are signed with. */
interface CredentialSlot {
  readonly realm: string;
  credential: Credential | undefined;
  renewal: Promise<void> | undefined;
  /** Grows with each renewal: tells a request that failed with an older credential that there is a newer one. */
  generation: number;
}

interface RawReply {
  status: number;
  headers: Headers;
  /** The content type, fit to be quoted. */
  type: string;
  text: string;
}

/** A request is not started with less of its time left: it would be cut off half-way, and its fate be unknown. */
const leastShare = 1 / 3;

/** The time of one request, its credential and its replay included. */
class TimeBudget {
  readonly totalMs: number;
  readonly #startedAt = performance.now();
  readonly #startedOn = Date.now();

  constructor(totalMs: number) {
    this.totalMs = totalMs;
  }

  leftMs(): number {
    return Math.max(0, this.totalMs - this.#spentMs());
  }

  /** How long the request may still wait for a credential or a connection. */
  untilSendMs(): number {
    return Math.max(0, this.totalMs * (1 - leastShare) - this.#spentMs());
  }

  /** One clock stands still while the machine is suspended, the other can be set back. */
  #spentMs(): number {
    return Math.max(performance.now() - this.#startedAt, Date.now() - this.#startedOn);
  }
}

function notSent(request: HttpRequest<unknown>, budget: TimeBudget, why: string, cause?: unknown): Error {
  const allowedMs = Math.round(budget.totalMs * (1 - leastShare));
  return new VendorUnavailableError(`${where(request)} was not sent: ${why} within ${allowedMs} ms`, {
    taken: 'no',
    ...(cause === undefined ? {} : { cause }),
  });
}

/** Nothing is sent before the body is there: where it cannot be made, no submit is in doubt. */
async function makeBody(
  request: HttpRequest<unknown>,
): Promise<{ body: RequestBody; headers?: Record<string, string> } | undefined> {
  try {
    return await request.body?.();
  } catch (error) {
    if (decideOnSubmit(error) !== 'reconcile') throw error;
    const message = `${where(request)} was not sent: its body could not be made: ${describe(error)}`;
    throw new VendorUnavailableError(message, { taken: 'no', cause: new ModuleFault(message, { cause: error }) });
  }
}

/** The error code at the root of a failed fetch: `ECONNREFUSED`, `UND_ERR_SOCKET` … */
export function networkCode(error: unknown): string | undefined {
  for (let cause = error, depth = 0; cause instanceof Error && depth < 8; cause = cause.cause, depth += 1) {
    const code = (cause as { code?: unknown }).code;
    // OpenSSL 3 names some with a slash: ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE.
    if (typeof code === 'string' && /^[A-Z][A-Z0-9_/]+$/.test(code)) return code;
    // Several addresses were tried and each failed in its own way.
    if (cause instanceof AggregateError && cause.errors.length > 0) return networkCode(cause.errors[0]);
  }
  return undefined;
}

/**
 * The wait that an answer's headers ask for, ms: `Retry-After` in seconds or as a date, in this order of trust before
 * `RateLimit-Reset` and `X-RateLimit-Reset`, which vendors fill with a unix time or with seconds.
 */
export function readRetryAfter(headers: Headers, now: number): number | undefined {
  const retryAfter = headers.get('retry-after')?.trim();
  if (retryAfter !== undefined && retryAfter !== '') {
    if (/^\d+(\.\d+)?$/.test(retryAfter)) return clamp(Number(retryAfter) * 1_000, 0, 86_400_000);
    const date = /[A-Za-z]/.test(retryAfter) ? Date.parse(retryAfter) : Number.NaN;
    if (Number.isFinite(date)) return clamp(date - now, 0, 86_400_000);
  }
  return readReset(headers.get('ratelimit-reset') ?? headers.get('x-ratelimit-reset'), now);
}

/** A `RateLimit-Reset`: a unix time when it is one, else seconds from now; ms from now. */
export function readReset(text: string | null, now: number): number | undefined {
  if (text === null || !/^\d{1,13}(\.\d+)?$/.test(text.trim())) return undefined;
  const seconds = Number(text);
  const unixMs = seconds > 1e11 ? seconds : seconds * 1_000;
  const ms = seconds > 1e8 ? unixMs - now : seconds * 1_000;
  return ms < 0 ? 0 : clamp(ms, 0, 86_400_000);
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

async function readText(response: Response, maxBytes: number, reader: Reader, signal: AbortSignal): Promise<string> {
  const announced = Number(response.headers.get('content-length') ?? 0);
  if (announced > maxBytes) {
    await response.body?.cancel();
    throw tooLarge(maxBytes, response.status);
  }
  if (response.body === null) return '';
  // A length that was announced and is within bounds is kept to by HTTP itself; only what is unpacked here can grow.
  if (announced > 0 && response.headers.get('content-encoding') === null) {
    await reader.take(announced, signal);
    return response.text();
  }
  const decoder = new TextDecoder();
  let text = '';
  let bytes = 0;
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    bytes += chunk.byteLength;
    if (bytes > maxBytes) throw tooLarge(maxBytes, response.status);
    await reader.take(chunk.byteLength, signal);
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

/** After a submit the vendor may have taken it, whatever the size of what it answered. */
function tooLarge(maxBytes: number, httpStatus: number): VendorContractError {
  return new VendorContractError(`the answer is larger than ${maxBytes} bytes`, { httpStatus });
}

/** Whatever walks a body by recursion, ours or a library's, must not be led to the end of the stack. */
const maxDepth = 200;

function isNestedDeeper(text: string, levels: number): boolean {
  let depth = 0;
  let isText = false;
  for (let at = 0; at < text.length; at += 1) {
    const character = text.charCodeAt(at);
    if (isText) {
      if (character === 0x5c) at += 1;
      else if (character === 0x22) isText = false;
    } else if (character === 0x22) isText = true;
    else if (character === 0x5b || character === 0x7b) {
      depth += 1;
      if (depth > levels) return true;
    } else if (character === 0x5d || character === 0x7d) depth -= 1;
  }
  return false;
}

function parseLeniently(text: string): unknown {
  if (isNestedDeeper(text, maxDepth)) return clip(text, 500);
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return clip(text, 500);
  }
}

/** What an error body says, from the envelopes that vendors use. */
function errorText(body: unknown): string {
  if (typeof body === 'string') return redactText(clip(body.replace(/\s+/g, ' ').trim(), 200)) || 'no body';
  if (typeof body !== 'object' || body === null) return 'no body';
  const { message, error } = body as { message?: unknown; error?: unknown };
  const candidates = [message, error, (error as { message?: unknown } | null | undefined)?.message];
  const said = candidates.find((candidate) => typeof candidate === 'string' && candidate !== '');
  return redactText(clip(typeof said === 'string' ? said : JSON.stringify(body), 300));
}

function where(request: { method: string; path: string }): string {
  return `${request.method} /${request.path}`;
}

function describe(error: unknown): string {
  return redactText(clip(error instanceof Error ? error.message : String(error), 200));
}
