import type { ResendSafety } from '../../src/ports/vendor-adapter.ts';
import type { Slip } from './careless-module.ts';

/** One kind of submission that a run pushes. Every source and label carries the submission's id: the ledger tells whose. */
export interface Load {
  name: string;
  vendor: Vendor;
  operation: string;
  /** Of a thousand submissions. */
  share: number;
  /** What the adapter declares for it; the checker holds the product to it. */
  resend: ResendSafety;
  /** Knowhere's two steps: a job whose upload link was lost can never be begun. */
  isFile?: boolean;
  /** The vendor never ends it, or its module cannot report it, and the deadline is near: it must end as `expired`. */
  deadlineMs?: number;
  /** Nothing is ever sent for it: it must end as `rejected`. */
  isRejected?: boolean;
  /** Of the account whose key is wrong for a while. */
  isHeld?: boolean;
  input(id: string): object;
}

export const vendors = ['knowhere', 'fini', 'sharely'] as const;
export type Vendor = (typeof vendors)[number];

/** The account whose key is wrong at first. */
export const heldAccount = 'locked';
/** The file that every worker uploads. */
export const documentFile = 'doc.md';
/** Longer than any run needs: nothing may end by it. */
const usualDeadlineMs = 3_600_000;
const nearDeadlineMs = 12_000;

/** A free text that asks the sandbox for a fault of its job. */
const workflowFails = '.fault-workflow-ends-as--FAILED';

export const loads: readonly Load[] = [
  ...knowhereLoads(),
  {
    name: 'ingest',
    vendor: 'fini',
    operation: 'documents.ingest',
    share: 75,
    resend: 'lookup',
    input: (id) => ({ source: 'web', documentIdsToAdd: [`https://example.com/${id}.html`] }),
  },
  {
    name: 'ingest stalled',
    vendor: 'fini',
    operation: 'documents.ingest',
    share: 10,
    resend: 'lookup',
    deadlineMs: nearDeadlineMs,
    input: (id) => ({
      source: 'web',
      documentIdsToAdd: [`https://example.com/${id}.html?sandbox=in-progress-forever`],
    }),
  },
  {
    name: 'ingest, garbled',
    vendor: 'fini',
    operation: 'documents.ingest',
    share: 8,
    resend: 'lookup',
    input: (id) => ({ source: 'web', documentIdsToAdd: [`https://example.com/${id}.html?${slip('submit-garbles')}`] }),
  },
  {
    name: 'generate',
    vendor: 'fini',
    operation: 'knowledge.generate',
    share: 65,
    resend: 'none',
    input: (id) => ({ origin: 'generated', candidateKnowledge: `${id}: refunds take five days.` }),
  },
  // Asked for together with those of others.
  {
    name: 'generate, look throws',
    vendor: 'fini',
    operation: 'knowledge.generate',
    share: 8,
    resend: 'none',
    deadlineMs: nearDeadlineMs,
    input: (id) => ({ origin: 'generated', candidateKnowledge: `${id}: refunds take ages. ${slip('look-throws')}` }),
  },
  {
    name: 'role',
    vendor: 'sharely',
    operation: 'role.create',
    share: 45,
    resend: 'lookup',
    input: (id) => ({ name: `Role ${id}`, customerRoleId: id }),
  },
  {
    name: 'role without id',
    vendor: 'sharely',
    operation: 'role.create',
    share: 30,
    resend: 'none',
    input: (id) => ({ name: `Role ${id}` }),
  },
  {
    name: 'role, preflight hangs',
    vendor: 'sharely',
    operation: 'role.create',
    share: 6,
    resend: 'lookup',
    isRejected: true,
    input: (id) => ({ name: `Role ${id} ${slip('preflight-hangs')}`, customerRoleId: id }),
  },
  {
    name: 'upsert',
    vendor: 'sharely',
    operation: 'role.upsert',
    share: 40,
    resend: 'safe',
    input: (id) => ({ name: `Role ${id}`, customerRoleId: id }),
  },
  {
    name: 'upsert that fails',
    vendor: 'sharely',
    operation: 'role.upsert',
    share: 5,
    resend: 'safe',
    input: (id) => ({ name: `Role ${id}`, customerRoleId: id, description: `Editors ${workflowFails}` }),
  },
  {
    name: 'upload',
    vendor: 'sharely',
    operation: 'knowledge.upload',
    share: 25,
    resend: 'lookup',
    input: (id) => ({ file: documentFile, title: `Handbook ${id}` }),
  },
  {
    name: 'upload that fails',
    vendor: 'sharely',
    operation: 'knowledge.upload',
    share: 5,
    resend: 'lookup',
    input: (id) => ({ file: documentFile, title: `Handbook ${id}`, description: `Policy ${workflowFails}` }),
  },
];

function knowhereLoads(): Load[] {
  const parse = { vendor: 'knowhere', operation: 'parse', resend: 'lookup' } as const;
  const url = (id: string, query = ''): object => ({
    sourceType: 'url',
    sourceUrl: `https://example.com/${id}.pdf${query}`,
  });
  return [
    { ...parse, name: 'url', share: 392, input: (id) => url(id) },
    // Some callers label the vendor's job themselves.
    { ...parse, name: 'label', share: 80, input: (id) => ({ ...url(id), dataId: id }) },
    {
      ...parse,
      name: 'file',
      share: 130,
      isFile: true,
      input: (id) => ({ sourceType: 'file', file: documentFile, fileName: `${id}.md` }),
    },
    { ...parse, name: 'held', share: 30, isHeld: true, input: (id) => url(id) },
    { ...parse, name: 'url, submit hangs', share: 10, input: (id) => url(id, `?${slip('submit-hangs')}`) },
    ...(['confirm-hangs', 'confirm-waits'] as const).map((fault) => ({
      ...{ ...parse, name: `url, ${fault.replace('-', ' ')}`, share: 8, deadlineMs: nearDeadlineMs },
      input: (id: string) => url(id, `?${slip(fault)}`),
    })),
    { ...parse, name: 'stalled', share: 20, deadlineMs: nearDeadlineMs, input: (id) => url(id, '?sandbox=stall') },
  ];
}

function slip(fault: Slip): string {
  return `slip=${fault}`;
}

const shares = loads.reduce((sum, load) => sum + load.share, 0);

/** @param draw - 0 ≤ draw < 1 */
export function loadOf(draw: number): Load {
  let left = draw * shares;
  for (const load of loads) {
    left -= load.share;
    if (left < 0) return load;
  }
  throw new Error(`no load for ${draw}`);
}

export function nameOf(count: number): string {
  return `s-${String(count).padStart(6, '0')}`;
}

/** Behind all numbers that a run gives. */
export function twinOf(id: string): string {
  return `s-${900_000 + Number(id.slice(2))}`;
}

/** What becomes of a parent in a flow when its submission does not succeed; `fail`: `failParentOnFailure`, and so on. */
export type ParentRule = 'fail' | 'ignore' | 'remove';

/** Who waits for a submission: in a flow a parent, by a deduplication id everybody else under it. */
export interface Bond {
  parent?: ParentRule;
  isDeduplicated?: boolean;
}

const parentRules: readonly ParentRule[] = ['fail', 'ignore', 'remove'];

/** @param draw - 0 ≤ draw < 1: 6 % are children in a flow, 3 % have a deduplication id */
export function bondOf(draw: number): Bond {
  const parent = parentRules[Math.floor(draw / 0.02)];
  if (parent !== undefined) return { parent };
  return draw < 0.09 ? { isDeduplicated: true } : {};
}

/** The queue of the parents. */
export const parentQueue = 'reports';
export function parentOf(id: string): string {
  return `report-${id}`;
}

/** The submission that a text of the vendor's names. */
export function submissionOf(text: string | null): string | undefined {
  return text === null ? undefined : /s-\d{6}/.exec(text)?.[0];
}

/** The job data of a submission: what any BullMQ client would push. */
export function dataOf(load: Load, id: string, accounts: readonly string[]): object {
  return {
    input: load.input(id),
    ...accountOf(load, id, accounts),
    poll: { initialDelayMs: 600, factor: 1.6, maxDelayMs: 2_500, deadlineMs: load.deadlineMs ?? usualDeadlineMs },
    metadata: { id },
  };
}

/** Knowhere's list of jobs is searched from ten minutes back: an account's share of a long run must stay searchable. */
function accountOf(load: Load, id: string, accounts: readonly string[]): { account?: string } {
  if (load.vendor !== 'knowhere') return {};
  if (load.isHeld === true) return { account: heldAccount };
  const account = accounts[Number(id.slice(2)) % accounts.length];
  return account === undefined ? {} : { account };
}
