import * as z from 'zod';
import { AccountHeldError, VendorContractError, VendorRejectedError } from '../../core/errors.ts';
import { clip } from '../../core/json.ts';
import type { Credential, HttpReply, HttpRequest, StepContext, VendorHttp } from '../../ports/vendor-adapter.ts';
import { expiryOf } from './token.ts';
import { tokenReply } from './wire.ts';

/** What goes into a header as it is: no blanks, no line breaks. */
const headerSafe = z.string().regex(/^[\x21-\x7e]{1,16384}$/, 'must be printable ASCII without blanks');

export const account = z
  .strictObject({
    apiKey: headerSafe.optional().describe('Starts with sk-sharely-; exchanged for access tokens.'),
    accessToken: headerSafe.optional().describe('An existing access token instead of a key; it is never renewed.'),
    organizationId: z.guid('must be a UUID').describe('Sent in the header `organizationid` of every call.'),
    workspaceId: z.guid('must be a UUID').describe('The workspace of submissions that do not name one.'),
    baseUrl: z.url({ protocol: /^https?$/ }).default('https://api.sharely.ai'),
    statusBatchSize: z
      .number()
      .int()
      .min(1)
      .max(500)
      .default(50)
      .describe('Workflows per status request. The vendor documents no limit; too many may be refused.'),
  })
  .superRefine(({ apiKey, accessToken }, context) => {
    if (apiKey === undefined && accessToken === undefined) {
      context.addIssue({ code: 'custom', path: ['apiKey'], message: 'is needed, or an access token' });
    }
    if (apiKey !== undefined && accessToken !== undefined) {
      context.addIssue({ code: 'custom', path: ['accessToken'], message: 'can not stand beside an API key' });
    }
  });
export type SharelyAccount = z.output<typeof account>;

/** What a step of this vendor is given, whatever its input. */
export type Context<Input = unknown> = StepContext<SharelyAccount, Input>;

/**
 * Exchanges the API key for a token that is bound to no role. Tokens belong to a workspace, which is why each
 * workspace has one of its own.
 */
export async function obtainToken(account: SharelyAccount, http: VendorHttp, realm: string): Promise<Credential> {
  if (account.accessToken !== undefined) return { token: account.accessToken, fixed: true };
  const workspaceId = realm === '' ? account.workspaceId : realm;
  try {
    const { body } = await http.request({
      method: 'POST',
      // The one endpoint that is not below /v1.
      path: `workspaces/${encodeURIComponent(workspaceId)}/generate-access-key-token`,
      headers: { 'x-api-key': account.apiKey ?? '' },
      json: {},
      reply: tokenReply,
      anonymous: true,
    });
    return { token: body.token, expiresAt: expiryOf(body.token, Date.now()) };
  } catch (error) {
    // Without a token no job of the account can be sent: that is not the fault of the one that asked first.
    if (error instanceof VendorRejectedError) throw heldBecause(error);
    throw error;
  }
}

/**
 * One request to a workspace, signed with that workspace's token.
 *
 * A workspace that a submission names may be closed to the account. The vendor answers that like a bad token, which
 * would hold every job of the account; so the account's own workspace is asked whose fault it is.
 * @throws VendorRejectedError when only this workspace refuses the account
 */
export async function call<Reply>(
  { account, http }: { account: SharelyAccount; http: VendorHttp },
  workspaceId: string,
  request: HttpRequest<Reply>,
): Promise<HttpReply<Reply>> {
  const path = `v1/workspaces/${encodeURIComponent(workspaceId)}/${request.path}`;
  try {
    return await http.request({ ...request, path, realm: workspaceId });
  } catch (error) {
    if (!(error instanceof AccountHeldError) || error.reason === 'quota') throw error;
    if (workspaceId.toLowerCase() === account.workspaceId.toLowerCase()) throw error;
    if (!(await isWelcome(account, http))) throw error;
    throw new VendorRejectedError(`workspace ${workspaceId} is closed to this account: ${error.message}`, {
      ...(error.httpStatus === undefined ? {} : { httpStatus: error.httpStatus }),
      ...(error.details === undefined ? {} : { details: error.details }),
    });
  }
}

async function isWelcome(account: SharelyAccount, http: VendorHttp): Promise<boolean> {
  const { workspaceId } = account;
  try {
    const path = `v1/workspaces/${encodeURIComponent(workspaceId)}`;
    await http.request({ method: 'GET', path, realm: workspaceId, reply: z.unknown() });
    return true;
  } catch {
    return false;
  }
}

/** Reads a resource; undefined when the vendor does not know it, deleted ones included. */
export async function readOrGone<Reply>(
  context: Context,
  workspaceId: string,
  path: string,
  reply: z.ZodType<Reply>,
): Promise<Reply | undefined> {
  try {
    const { body } = await call(context, workspaceId, { method: 'GET', path, reply });
    return body;
  } catch (error) {
    if (error instanceof VendorRejectedError && error.httpStatus === 404) return undefined;
    throw error;
  }
}

/**
 * Reads a role or a knowledge item by its id; undefined when the vendor does not know it.
 * @throws VendorContractError for an answer about another one, which says nothing of this
 */
export async function readById<Reply extends { id: string }>(
  context: Context,
  workspaceId: string,
  kind: 'role' | 'knowledge',
  id: string,
  reply: z.ZodType<Reply>,
): Promise<Reply | undefined> {
  const found = await readOrGone(context, workspaceId, `${kind}/${encodeURIComponent(id)}`, reply);
  if (found !== undefined) mustBe(kind, id, found);
  return found;
}

export function mustBe(kind: string, id: string, found: { id: string }): void {
  if (found.id.toLowerCase() === id.toLowerCase()) return;
  throw new VendorContractError(`asked for ${kind} ${id}, got ${clip(found.id, 60)}`);
}

function heldBecause(error: VendorRejectedError): AccountHeldError {
  return new AccountHeldError('unauthorized', `the vendor gives no access token: ${error.message}`, {
    cause: error,
    ...(error.httpStatus === undefined ? {} : { httpStatus: error.httpStatus }),
    ...(error.details === undefined ? {} : { details: error.details }),
  });
}
