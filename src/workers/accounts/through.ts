import { saysOfVendor } from '../../core/module-fault.ts';
import type { Refusals } from '../../core/submission.ts';
import type { Scope, VendorHttp } from '../../ports/vendor-adapter.ts';
import type { AccountRuntime } from '../engine.ts';
import type { Admission, Asker } from './account-gate.ts';

/** How a request of an account went. */
export type Passage<Value> =
  /** Nothing was asked. */
  | ({ kind: 'not-admitted' } & Omit<Extract<Admission, { admitted: false }>, 'admitted'>)
  | { kind: 'done'; value: Value }
  | ({ kind: 'failed' } & Failure);

export interface Failure {
  error: unknown;
  /** The request was refused while others of its account and scope pass: the account is not at fault. */
  isOwnFault: boolean;
  /** For the record of a submission whose submit was refused. */
  refused?: Refusals;
}

interface Traveler<Value> {
  scope: Scope;
  asker: Asker;
  /** How long one request may take, ms, where `work` names no time of its own. */
  timeoutMs?: number;
  /** Whether an error tells how the account is; where it comes from the vendor, when left out. */
  tellsOfAccount?: (error: unknown) => boolean;
  /** Whether work that ended well shows that the account works; it does, when left out. */
  showsThatItWorks?: (value: Value, isAsked: boolean) => boolean;
}

/**
 * The only way to a vendor: waits for no admission, does the work, and tells the account's gate how it went.
 * @param work - is given the account's client; its errors come back as values
 * @throws what the gate throws while nothing was asked yet, when Redis is away
 */
export async function through<Value>(
  { gate, http }: AccountRuntime,
  { scope, asker, timeoutMs, tellsOfAccount = saysOfVendor, showsThatItWorks = () => true }: Traveler<Value>,
  work: (http: VendorHttp) => Promise<Value>,
): Promise<Passage<Value>> {
  const admission = await gate.admit(scope, asker);
  if (!admission.admitted) {
    const { admitted: _, ...refusal } = admission;
    return { kind: 'not-admitted', ...refusal };
  }
  let isAsked = false;
  const client = http.forScope(scope, timeoutMs);
  const watched: VendorHttp = {
    request: (request) => {
      isAsked = true;
      return client.request(request);
    },
  };
  let value: Value;
  try {
    value = await work(watched);
  } catch (error) {
    if (tellsOfAccount(error)) return { kind: 'failed', error, ...(await gate.settle(admission, error)) };
    await gate.abandon(admission);
    return { kind: 'failed', error, isOwnFault: false };
  }
  if (showsThatItWorks(value, isAsked)) await gate.settle(admission, undefined);
  else await gate.abandon(admission);
  return { kind: 'done', value };
}
