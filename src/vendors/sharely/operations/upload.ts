import { randomBytes } from 'node:crypto';
import { VendorContractError } from '../../../core/errors.ts';
import { clip, type Json } from '../../../core/json.ts';
import type { Intent } from '../../../core/submission.ts';
import type { ReconcileReply, SubmitReply } from '../../../ports/vendor-adapter.ts';
import { defineOperation } from '../../define-vendor.ts';
import { parseTimestamp } from '../../timestamps.ts';
import { call, readById, type Context, type SharelyAccount } from '../account.ts';
import { knowledgeUploadInput, type KnowledgeUploadInput } from '../input.ts';
import { toKnowledgeFacts } from '../lookups.ts';
import { multipart } from './multipart.ts';
import { readKnowledgeState } from '../status.ts';
import { knowledge, knowledgeList, submitReply, type WireKnowledge } from '../wire.ts';
import { confirmGraceMs, factOf, graceMs, longPoll, settleOn, workspaceOf, type Reading } from './workflows.ts';

/**
 * knowledge.upload: a file, streamed, with background processing.
 *
 * The vendor has no idempotency key, and a repeat makes a second item. So every upload carries a mark of its own in
 * front of the description, and an upload of unknown fate is looked for by that mark. The list has no filter for it,
 * and nothing says that its rows have descriptions: items as young as the upload are read one by one.
 * @see docs/vendors/sharely.md
 */

const operation = defineOperation<SharelyAccount>();
type UploadContext = Context<KnowledgeUploadInput>;

/** Clocks differ: what may be the upload is told from what was there before by its time of creation. */
const clockSkewMs = 10 * 60_000;
const pageSize = 500;
const maxPages = 20;
/** Items that are read one by one at each look. */
const maxCandidates = 20;
/** What the slowest line that still makes sense carries, bytes per ms: 2 Mbit/s. */
const slowestBytesPerMs = 250;
const maxUploadMs = 6 * 3_600_000;

export const knowledgeUpload = operation({
  summary: 'Uploads a file as a knowledge item; the vendor processes it in the background.',
  input: knowledgeUploadInput,
  resend: 'lookup',
  poll: longPoll,
  graceMs,
  confirmGraceMs,
  inFlightMs: (snapshot) => timeoutFor(sizeIn(snapshot)) + 5_000,

  async preflight({ input, transfers, submissionId }) {
    const file = await transfers.openFile(input.file);
    await file.close();
    return { mark: newMark(submissionId), size: file.size };
  },

  async submit(context): Promise<SubmitReply> {
    const { input, transfers } = context;
    const workspaceId = workspaceOf(context);
    const file = await transfers.openFile(input.file);
    try {
      const { body } = await call(context, workspaceId, {
        method: 'POST',
        path: 'knowledge/file',
        body: async () =>
          multipart(
            {
              title: titleOf(input),
              description: [
                `[${markOf(context)}]`,
                ...(input.description === undefined ? [] : [input.description]),
              ].join(' '),
              language: input.language,
              status: 'BACKGROUND_START',
            },
            { field: 'file', fileName: fileNameOf(input), file },
          ),
        reply: submitReply,
        // As long as others wait for it, even where the file has grown since.
        timeoutMs: timeoutFor(sizeIn(context.snapshot)),
        signal: context.signal,
      });
      const knowledgeId = body.knowledgeId ?? body.id;
      const facts = { workspaceId, ...(knowledgeId === undefined ? {} : { knowledgeId }) };
      if (body.workflows.length > 0) {
        return { jobs: body.workflows.map((id) => ({ id, kind: 'workflow', extra: facts })) };
      }
      if (knowledgeId === undefined) throw new VendorContractError('the upload was answered without an id');
      return watchRecord(workspaceId, { id: knowledgeId, status: body.status });
    } finally {
      await file.close();
    }
  },

  reconcile: findByMark,

  async confirm(context) {
    // A record that was polled has been read already.
    if (context.jobs.every((job) => job.result !== undefined && job.kind === 'knowledge')) return { kind: 'confirmed' };
    return settleOn(context, () => readUpload(context));
  },
});

/** The record is what is polled where no workflow is named; it may be done by the time of the answer. */
function watchRecord(workspaceId: string, item: { id: string; status?: string | undefined }): SubmitReply {
  const isDone = readKnowledgeState({ status: item.status }) === 'done';
  const extra = { workspaceId, knowledgeId: item.id };
  return {
    jobs: [
      {
        id: item.id,
        kind: 'knowledge',
        extra,
        ...(item.status === undefined ? {} : { vendorStatus: clip(item.status, 60) }),
        ...(isDone ? { status: 'succeeded' as const } : {}),
      },
    ],
  };
}

async function readUpload(context: UploadContext): Promise<Reading> {
  const knowledgeId = factOf(context, 'knowledgeId');
  // A workflow that is over, of an upload whose item nobody named: its status is all there is to go by.
  if (typeof knowledgeId !== 'string') return { is: 'as-asked', result: { knowledge: null } };
  const item = await readById(context, workspaceOf(context), 'knowledge', knowledgeId, knowledge);
  if (item === undefined) {
    return { is: 'different', why: `there is no knowledge item ${knowledgeId}`, details: { knowledgeId } };
  }
  const word = clip(item.status ?? 'unknown', 60);
  switch (readKnowledgeState(item)) {
    case 'done':
      return { is: 'as-asked', result: { knowledge: toKnowledgeFacts(item) } };
    case 'failed': {
      const details = { knowledgeId, knowledgeStatus: word };
      return { is: 'broken', why: `knowledge item ${knowledgeId} ended as ${word}`, details };
    }
    case 'waiting':
      return { is: 'on-its-way', why: `knowledge item ${knowledgeId} stands at ${word}` };
  }
}

async function findByMark(context: UploadContext, intent: Intent): Promise<ReconcileReply> {
  const workspaceId = workspaceOf(context);
  const candidates: WireKnowledge[] = [];
  let unreadable = 0;
  for (let page = 0; ; page += 1) {
    if (page >= maxPages) {
      return {
        found: 'unknowable',
        reason: `the workspace has more than ${maxPages * pageSize} items to look through`,
      };
    }
    const { body } = await call(context, workspaceId, {
      method: 'GET',
      path: 'knowledge',
      query: { limit: pageSize, offset: page * pageSize },
      reply: knowledgeList,
      maxBytes: 32 * 1024 * 1024,
    });
    for (const row of body.knowledge) {
      const item = knowledge.safeParse(row);
      if (!item.success) {
        unreadable += 1;
        continue;
      }
      if (carriesMark(context, item.data)) return { found: watchRecord(workspaceId, item.data) };
      // A description without the mark, or with another, is somebody else's; none at all says nothing.
      if ((item.data.description ?? '') === '' && isYoung(item.data, intent)) candidates.push(item.data);
    }
    const seen = page * pageSize + body.knowledge.length;
    if (
      body.knowledge.length === 0 ||
      (body.total === undefined ? body.knowledge.length < pageSize : seen >= body.total)
    )
      break;
  }
  const reading = await readCandidates(context, workspaceId, candidates);
  // A row that makes no sense may be the very item: nothing is concluded from an absence beside it.
  if (reading.found === 'absent' && unreadable > 0) {
    throw new VendorContractError(`${unreadable} rows of the knowledge list cannot be read`);
  }
  return reading;
}

async function readCandidates(
  context: UploadContext,
  workspaceId: string,
  candidates: WireKnowledge[],
): Promise<ReconcileReply> {
  const title = titleOf(context.input);
  const likely = [...candidates].sort((a, b) => Number(b.title === title) - Number(a.title === title));
  let undescribed = 0;
  for (const { id } of likely.slice(0, maxCandidates)) {
    const item = await readById(context, workspaceId, 'knowledge', id, knowledge);
    if (item === undefined) continue;
    if (carriesMark(context, item)) return { found: watchRecord(workspaceId, item) };
    if ((item.description ?? '') === '' && item.title === title) undescribed += 1;
  }
  if (likely.length > maxCandidates) {
    return { found: 'unknowable', reason: `${likely.length} new items without a description could be it` };
  }
  if (undescribed > 0) {
    return { found: 'unknowable', reason: `${undescribed} new items have this title and no description to tell by` };
  }
  return { found: 'absent' };
}

function isYoung(item: WireKnowledge, intent: Intent): boolean {
  const createdAt = parseTimestamp(item.createdAt);
  return createdAt === undefined || createdAt >= intent.at - clockSkewMs;
}

function carriesMark(context: UploadContext, item: WireKnowledge): boolean {
  return item.description?.includes(`[${markOf(context)}]`) === true;
}

/** A mark that people recognise, and that a later submission under the same id does not share. */
function newMark(submissionId: string): string {
  const readable = submissionId.replace(/[^A-Za-z0-9._-]/g, '-').slice(0, 60);
  return `jobferry:${readable}.${randomBytes(6).toString('hex')}`;
}

function markOf(context: UploadContext): string {
  const { mark } = (context.snapshot ?? {}) as { mark?: string };
  if (mark === undefined) throw new Error('the mark of this upload was not saved');
  return mark;
}

function sizeIn(snapshot: Json | undefined): number {
  return (snapshot as { size?: number } | undefined)?.size ?? 0;
}

function timeoutFor(size: number): number {
  return Math.min(30_000 + Math.ceil(size / slowestBytesPerMs), maxUploadMs);
}

function titleOf(input: KnowledgeUploadInput): string {
  return input.title ?? fileNameOf(input).slice(0, 255);
}

function fileNameOf(input: KnowledgeUploadInput): string {
  return input.file.split(/[\\/]/).pop() ?? input.file;
}
