import { createHash } from 'node:crypto';
import { JobferryError, originOf, VendorContractError, type RequestOrigin } from '../../core/errors.ts';
import { clip } from '../../core/json.ts';
import { redactText, withoutForms } from '../../core/redact.ts';
import { requestTimeoutMs } from '../../core/request-time.ts';
import type {
  Credential,
  ErrorReply,
  HttpReply,
  HttpRequest,
  LimitReport,
  Scope,
  ScopedHttp,
  VendorAdapter,
  VendorHttp,
} from '../../ports/vendor-adapter.ts';
import { ByteBudget } from './byte-budget.ts';
import { Credentials } from './credentials.ts';
import { meaningOf, toError } from './error-table.ts';
import { exchange } from './exchange.ts';
import { parseBody, parseLeniently, type RawReply } from './json-body.ts';
import { requestLine } from './request-line.ts';
import { readRetryAfter } from './retry-after.ts';
import { SecretForms } from './secret-forms.ts';
import { TimeBudget } from './time-budget.ts';

const defaultMaxBytes = 8 * 1024 * 1024;
/** Of one answer that tells how work stands: many of them are read at a time. */
const statusMaxBytes = 1024 * 1024;
/** Of all answers of one account that are read at a time. */
const maxBytesAtATime = 64 * 1024 * 1024;

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
 * - No retry of its own: whether something may be sent again is the engine's decision (`error-table.ts`).
 * - No redirect is followed, so credentials reach no other host (`transport.ts`).
 * - Replies are read up to a bound after decompression, within the request's time (`exchange.ts`, `read-text.ts`).
 * - One bound holds for the credential, the connection, the request and its replay: others wait no longer for it to land.
 * - A request that fails before it is written to a socket was not taken (`outgoing-request.ts`).
 * - What an answer quotes of the secrets that were sent is taken out of it: nothing that is kept or logged holds them.
 * - A 401 renews the credential once for all requests that fail together and replays each once (`credentials.ts`).
 */
export class HttpClient<Account> implements VendorHttp, ScopedHttp {
  readonly #adapter: VendorAdapter<Account>;
  readonly #options: HttpClientOptions;
  readonly #credentials: Credentials<Account>;
  readonly #forms = new SecretForms();
  readonly #bytes = new ByteBudget(maxBytesAtATime);

  constructor(adapter: VendorAdapter<Account>, account: Account, options: HttpClientOptions = {}) {
    this.#adapter = adapter;
    this.#options = options;
    this.#credentials = new Credentials(adapter.http, account, this, options.refreshAccount);
  }

  forScope(scope: Scope, timeoutMs = requestTimeoutMs): VendorHttp {
    const maxBytes = scope === 'status' ? statusMaxBytes : defaultMaxBytes;
    return { request: (request) => this.#request({ timeoutMs, maxBytes, ...request }, scope) };
  }

  async request<Reply>(request: HttpRequest<Reply>): Promise<HttpReply<Reply>> {
    return this.#request(request, undefined);
  }

  async #request<Reply>(request: HttpRequest<Reply>, scope: Scope | undefined): Promise<HttpReply<Reply>> {
    const budget = new TimeBudget(request.timeoutMs ?? requestTimeoutMs);
    const send = (credential: Credential | undefined): Promise<HttpReply<Reply>> =>
      this.#send(request, credential, scope, budget);
    try {
      if (request.anonymous === true) return await send(undefined);
      return await this.#credentials.signed(request, budget, send);
    } catch (error) {
      // Where credentials could not be obtained, the cause is the request for them.
      if (error instanceof JobferryError) error.origin ??= originOf(error) ?? this.#originOf(request);
      throw error;
    }
  }

  async #send<Reply>(
    request: HttpRequest<Reply>,
    credential: Credential | undefined,
    scope: Scope | undefined,
    budget: TimeBudget,
  ): Promise<HttpReply<Reply>> {
    const { http } = this.#adapter;
    const reply = await exchange(
      request,
      {
        url: () => this.#url(request),
        headers: () => (request.anonymous === true ? {} : http.headers(this.#credentials.account, credential)),
        secretForms: () => this.#secretForms(credential),
        bytes: this.#bytes,
        maxBytes: request.maxBytes ?? defaultMaxBytes,
      },
      budget,
    );
    try {
      return this.#read(request, reply, scope);
    } catch (error) {
      if (error instanceof JobferryError) throw error;
      // Nesting that overflows the stack, a number that is none: an answer that breaks its reader is a broken answer.
      throw new VendorContractError(`${answered(request, reply)} with a body that cannot be read`, {
        httpStatus: reply.status,
        cause: error,
      });
    }
  }

  #read<Reply>(request: HttpRequest<Reply>, reply: RawReply, scope: Scope | undefined): HttpReply<Reply> {
    const { status, headers } = reply;
    this.#readLimits(reply, scope);
    if (status < 200 || status > 299) throw this.#toError(request, reply);
    const parsed = request.reply.safeParse(parseBody(reply, answered(request, reply)));
    if (!parsed.success) {
      const first = parsed.error.issues[0];
      throw new VendorContractError(
        `${answered(request, reply)} with an unexpected body: ${first?.path.join('.') ?? ''} ${first?.message ?? ''}`,
        { httpStatus: status },
      );
    }
    return { status, headers, body: parsed.data };
  }

  #readLimits({ status, headers }: RawReply, scope: Scope | undefined): void {
    const limits = this.#adapter.http.readLimits?.({ status, headers, now: this.#now() });
    if (limits === undefined) return;
    // Vendors count creates apart from look-ups, so a refused create says nothing of the budget that polls draw on.
    const ofRequest = status === 429 && scope !== undefined ? { scope } : {};
    this.#options.onLimits?.({ ...ofRequest, ...limits });
  }

  #toError(request: HttpRequest<unknown>, { status, headers, text }: RawReply): Error {
    const reply: ErrorReply = {
      method: request.method,
      path: request.path,
      status,
      headers,
      body: parseLeniently(text),
      retryAfterMs: readRetryAfter(headers, this.#now()),
      meaning: meaningOf(status),
      answered: answered(request, { status }),
    };
    return toError(reply, this.#adapter.http.readError?.(reply) ?? {});
  }

  #now(): number {
    return this.#options.now?.() ?? Date.now();
  }

  #url(request: HttpRequest<unknown>): URL {
    const base = this.#adapter.http.baseUrl(this.#credentials.account);
    const url = new URL(request.path, base.endsWith('/') ? base : `${base}/`);
    for (const [name, value] of Object.entries(request.query ?? {})) {
      if (value !== undefined) url.searchParams.set(name, String(value));
    }
    return url;
  }

  /** The secrets of the account, as they are declared. */
  #secrets(): unknown[] {
    const fields = this.#credentials.account as Readonly<Record<string, unknown>>;
    return this.#adapter.secrets.map((name) => fields[name]);
  }

  #secretForms(credential: Credential | undefined): readonly string[] {
    return this.#forms.of([...this.#secrets(), credential?.token]);
  }

  #originOf(request: HttpRequest<unknown>): RequestOrigin {
    const key = this.#secrets().find((secret) => typeof secret === 'string');
    let host = 'unknown';
    try {
      ({ host } = this.#url(request));
    } catch {
      // Said by the error itself.
    }
    return {
      request: clip(redactText(withoutForms(requestLine(request), this.#secretForms(undefined))), 200),
      host,
      ...(key === undefined ? {} : { key: createHash('sha256').update(key).digest('hex').slice(0, 8) }),
    };
  }
}

function answered(request: HttpRequest<unknown>, { status }: { status: number }): string {
  return `${requestLine(request)} answered ${status}`;
}
