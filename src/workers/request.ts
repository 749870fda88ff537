import type { Fault, JsonObject } from '../core/json.ts';
import type { PollOptions } from '../core/poll-schedule.ts';
import type { Operation } from '../ports/vendor-adapter.ts';
import { parseForeign, parseSubmitJob, salvage, toFaults, type SalvagedJob } from '../queues/submit-job.ts';
import { findOperation, type AccountRuntime, type Engine, type VendorRuntime } from './engine.ts';

/** A submission that fits: what to do, with which account, and how to poll. */
export interface SubmissionRequest {
  operation: Operation;
  input: unknown;
  account: AccountRuntime;
  poll: PollOptions;
}

export type ReadRequest =
  { ok: true; request: SubmissionRequest; reply: SalvagedJob } | { ok: false; faults: Fault[]; reply: SalvagedJob };

/** How a submission is polled that cannot be processed for now: its deadline counts all the same. */
export type Unreadable = Extract<ReadRequest, { ok: false }> & { poll: PollOptions };

export const defaultPoll: PollOptions = {
  initialDelayMs: 2_000,
  factor: 1.5,
  maxDelayMs: 30_000,
  deadlineMs: 1_800_000,
  submitWithinMs: 86_400_000,
};

/**
 * Reads a job's name and data, whoever pushed it, and collects every fault with its path. Never throws.
 */
export function readRequest(engine: Engine, vendor: VendorRuntime, operationName: string, data: unknown): ReadRequest {
  const faults: Fault[] = [];
  const operation = findOperation(vendor.adapter, operationName);
  if (operation === undefined) {
    const known = Object.keys(vendor.adapter.operations).join(', ');
    faults.push({
      path: 'name',
      message: `${vendor.adapter.name} has no operation ${quote(operationName)}; it has ${known}`,
    });
  }
  const parsed = parseSubmitJob(data, engine.replyRules);
  if (!parsed.ok) faults.push(...parsed.faults);
  const reply = parsed.ok ? parsed.job : parsed.salvaged;

  const account = vendor.accounts.get(reply.account);
  if (account === undefined && (parsed.ok || hasNoFaultAt(parsed.faults, 'account'))) {
    const configured = [...vendor.accounts.keys()].join(', ');
    faults.push({
      path: 'account',
      message: `${quote(reply.account)} is not configured for ${vendor.adapter.name}; configured: ${configured}`,
    });
  }
  const input = operation === undefined ? undefined : readInput(operation, data, parsed.ok, faults);
  if (operation === undefined || account === undefined || !parsed.ok || faults.length > 0)
    return { ok: false, faults, reply };
  return {
    ok: true,
    request: { operation, input, account, poll: mergePoll(operation.poll, account.poll, parsed.job.poll) },
    reply,
  };
}

/** The input's own faults are told even when the data around it is at fault, so that one event names them all. */
function readInput(operation: Operation, data: unknown, dataFits: boolean, faults: Fault[]): unknown {
  if (
    !dataFits &&
    !(isObject(data) && isObject(data['input']) && faults.every((fault) => !fault.path.startsWith('input')))
  ) {
    return undefined;
  }
  // Data that is huge or hostile was refused as a whole; walking it again would help nobody.
  if (faults.some((fault) => fault.path === '' || fault.message.includes('not accepted'))) return undefined;
  const parsed = parseForeign(operation.input, (data as JsonObject)['input']);
  if (parsed.success) return parsed.data;
  faults.push(...toFaults(parsed.error, 'input'));
  return undefined;
}

/**
 * Later sources win field by field. Where a source contradicts an earlier one (a ceiling below the default first
 * wait), the other field gives way: nobody has to repeat our defaults to change one of them.
 */
export function mergePoll(
  ...sources: ({ [Key in keyof PollOptions]?: PollOptions[Key] | undefined } | undefined)[]
): PollOptions {
  const merged = { ...defaultPoll };
  for (const source of sources) {
    if (source === undefined) continue;
    for (const key of ['initialDelayMs', 'factor', 'maxDelayMs', 'deadlineMs', 'submitWithinMs'] as const) {
      const value = source[key];
      if (value !== undefined) merged[key] = value;
    }
    if (source.maxDelayMs !== undefined) merged.initialDelayMs = Math.min(merged.initialDelayMs, merged.maxDelayMs);
    merged.maxDelayMs = Math.max(merged.maxDelayMs, merged.initialDelayMs);
    if (source.deadlineMs !== undefined) merged.initialDelayMs = Math.min(merged.initialDelayMs, merged.deadlineMs);
  }
  return merged;
}

/**
 * Reads the request of a submission that was found good before. Only what the process needs is looked at, so that
 * a deploy with stricter schemas ends no submission that is under way.
 */
export function rereadRequest(
  engine: Engine,
  vendor: VendorRuntime,
  operationName: string,
  data: unknown,
): Extract<ReadRequest, { ok: true }> | Unreadable {
  const reply = salvage(data, engine.replyRules);
  const operation = findOperation(vendor.adapter, operationName);
  const account = vendor.accounts.get(reply.account);
  const faults: Fault[] = [];
  if (operation === undefined)
    faults.push({ path: 'name', message: `${quote(operationName)} is not offered by this version` });
  if (account === undefined)
    faults.push({ path: 'account', message: `${quote(reply.account)} is no longer configured` });
  const { input: given, poll: own } = (data ?? {}) as { input?: unknown; poll?: SubmissionRequest['poll'] };
  const poll = mergePoll(operation?.poll, account?.poll, own);
  if (operation === undefined || account === undefined) return { ok: false, faults, reply, poll };
  const parsed = parseForeign(operation.input, given);
  const input: unknown = parsed.success ? parsed.data : given;
  return { ok: true, request: { operation, input, account, poll }, reply };
}

function hasNoFaultAt(faults: readonly Fault[], path: string): boolean {
  return faults.every((fault) => fault.path !== path && fault.path !== '');
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}
