import { decideOnSubmit } from '../../core/decide.ts';
import { JobferryError, VendorRejectedError, VendorUnavailableError } from '../../core/errors.ts';
import { clip } from '../../core/json.ts';
import { ModuleFault } from '../../core/module-fault.ts';
import { redactText, withoutForms } from '../../core/redact.ts';
import type { HttpRequest, RequestBody } from '../../ports/vendor-adapter.ts';
import type { ByteBudget } from './byte-budget.ts';
import type { RawReply } from './json-body.ts';
import { networkCode } from './network-code.ts';
import { notSent } from './not-sent.ts';
import { OutgoingRequest } from './outgoing-request.ts';
import { readText } from './read-text.ts';
import { requestLine } from './request-line.ts';
import type { TimeBudget } from './time-budget.ts';
import { send } from './transport.ts';

/** What one exchange takes from its account. */
export interface ExchangeOptions {
  /** @throws where the account's base URL is none */
  url(): URL;
  /** Headers that authorise the request. */
  headers(): Record<string, string>;
  /** How the secrets that were sent can be quoted. */
  secretForms(): readonly string[];
  bytes: ByteBudget;
  maxBytes: number;
}

/**
 * Sends one request and reads all of its answer, whatever the status, within the request's time and bounds.
 *
 * A request that fails before it is written to a socket was not taken, whatever the error; any later one may have been.
 * @throws VendorRejectedError, VendorUnavailableError, VendorContractError
 */
export async function exchange(
  request: HttpRequest<unknown>,
  options: ExchangeOptions,
  budget: TimeBudget,
): Promise<RawReply> {
  let url: URL;
  try {
    url = options.url();
  } catch (cause) {
    throw new VendorRejectedError('the request has no valid address; check the base URL of the account', { cause });
  }
  const extra = await makeBody(request);
  // One bound for all of it: a time of the library's own ends with the headers, and a body can drip for ever.
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
  const reader = options.bytes.open();
  try {
    const headers = {
      accept: 'application/json',
      ...options.headers(),
      ...extra?.headers,
      ...request.headers,
    };
    const { method, json } = request;
    const response = await send(outgoing, url, { method, headers, json, body: extra?.body }, end.signal);
    const text = await readText(response, options.maxBytes, reader, end.signal);
    // The one answer that is asked for a secret is left alone.
    const isSecret = request.anonymous === true && response.ok;
    const forms = options.secretForms();
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
      throw new VendorUnavailableError(`${requestLine(request)} did not answer within ${budget.totalMs} ms`, {
        taken: 'maybe',
        cause,
      });
    }
    const why = networkCode(cause) ?? withoutForms(describe(cause), options.secretForms());
    // The host, because a wrong address shows by it.
    throw new VendorUnavailableError(`${requestLine(request)} at ${url.host} failed: ${why}`, {
      taken: outgoing.isSent ? 'maybe' : 'no',
      cause,
    });
  } finally {
    reader.close();
    clearTimeout(timer);
    request.signal?.removeEventListener('abort', onAbort);
  }
}

/** Nothing is sent before the body is there: where it cannot be made, no submit is in doubt. */
async function makeBody(
  request: HttpRequest<unknown>,
): Promise<{ body: RequestBody; headers?: Record<string, string> } | undefined> {
  try {
    return await request.body?.();
  } catch (error) {
    if (decideOnSubmit(error) !== 'reconcile') throw error;
    const message = `${requestLine(request)} was not sent: its body could not be made: ${describe(error)}`;
    throw new VendorUnavailableError(message, { taken: 'no', cause: new ModuleFault(message, { cause: error }) });
  }
}

function describe(error: unknown): string {
  return redactText(clip(error instanceof Error ? error.message : String(error), 200));
}
