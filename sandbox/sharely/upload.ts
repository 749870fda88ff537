import { randomUUID } from 'node:crypto';
import type { Call } from '../http/call.ts';

import { addKnowledge, knowledgeText } from './estate.ts';
import type { Knowledge } from './model.ts';
import { MultipartError, MultipartReader, type Part } from './multipart.ts';
import { drawnFaults, type Handler, refused, type SharelyParts, startedReply, startWorkflow } from './parts.ts';
import { finishProcessing, processingEffect, runningStatus } from './processing.ts';
import { json } from '../http/reply.ts';
import type { StoredFile } from './upload-files.ts';

/** An upload whose file has been announced, but not read. */
interface Announced {
  readonly reader: MultipartReader | null;
  readonly file: Part | null;
  readonly fields: Map<string, string>;
  readonly problem: string | null;
}

const announced = new WeakMap<Call, Promise<Announced>>();

/**
 * Reads an upload up to the beginning of its file, so that faults can be chosen by its name and by the fields before it.
 * The rest is read by the handler, or thrown away once an answer is out.
 */
export function announceUpload(call: Call): Promise<Announced> {
  let upload = announced.get(call);
  if (upload === undefined) {
    upload = readFields(call, null, new Map());
    announced.set(call, upload);
  }
  return upload;
}

/** POST /knowledge/file: multipart; in the background with `status=BACKGROUND_START`, else done with the answer. */
export const uploadKnowledge: Handler = async (parts, request) => {
  const { call, workspace, faults } = request;
  const settings = parts.settings();
  const upload = await announceUpload(call);
  const { reader, file, fields } = upload;
  if (reader === null || file === null) return refused(parts, 400, upload.problem ?? 'file is required');
  const cut = faults.active.find(({ name }) => name === 'upload-cut');
  let stored: StoredFile;
  try {
    stored = await parts.files.store(
      (sink) => reader.content(sink),
      settings.maxUploadBytes,
      (bytes) => {
        if (cut === undefined || bytes < Number(cut.argument)) return;
        call.cut();
        throw new Error('the upload was cut by a fault');
      },
    );
    const after = await readFields(call, reader, fields);
    if (after.problem !== null) return refused(parts, 400, after.problem);
  } catch (error) {
    if (error instanceof MultipartError) return refused(parts, 400, error.message);
    throw error;
  }
  if (stored.bytes > settings.maxUploadBytes) return refused(parts, 413, 'File is too large');
  const fileName = file.fileName ?? 'file';
  const title = fields.get('title') ?? fileName;
  const description = fields.get('description') ?? null;
  const described = { title, description, file: { name: fileName, ...stored } };
  const text = knowledgeText(described);
  const workflowFaults = drawnFaults(parts, request, text);
  const item = addKnowledge(workspace, {
    ...described,
    type: 'FILE',
    language: fields.get('language') ?? null,
    status: runningStatus(parts, workflowFaults),
    faults: parts.marks.forLater(text),
  });
  const uploadId = settings.uploadIds === 'different' ? randomUUID() : item.id;
  workspace.uploads.set(uploadId, item);
  if (fields.get('status') === 'BACKGROUND_START') {
    const effect = processingEffect(parts, item, workflowFaults);
    const workflow = startWorkflow(parts, request, item.id, title, workflowFaults, effect);
    return startedReply(parts, workflow, shownUpload(parts, item, uploadId));
  }
  call.jobCreated = true;
  finishProcessing(parts, item, workflowFaults);
  // The vendor's own sample says PROCESSED where the read route says COMPLETED.
  const status = item.status === settings.knowledgeStatus.done ? 'PROCESSED' : item.status;
  return json(settings.replyStatus['knowledge-upload'], { ...shownUpload(parts, item, uploadId), status });
};

function shownUpload({ settings }: SharelyParts, item: Knowledge, uploadId: string): Record<string, unknown> {
  const { uploadIds } = settings();
  return {
    ...(uploadIds === 'only-knowledge-id' ? {} : { id: uploadId }),
    ...(uploadIds === 'only-id' ? {} : { knowledgeId: item.id }),
    title: item.title,
    type: item.type,
    status: item.status,
  };
}

/** Reads fields up to the next file or the end. */
async function readFields(call: Call, begun: MultipartReader | null, fields: Map<string, string>): Promise<Announced> {
  let reader = begun;
  try {
    if (reader === null) {
      const fresh = new MultipartReader(call);
      reader = fresh;
      call.response.once('finish', () => {
        fresh.drain().catch(() => undefined);
      });
    }
    for (let part = await reader.next(); part !== null; part = await reader.next()) {
      const isFile = part.name === 'file' && part.fileName !== null;
      if (isFile && begun === null) return { reader, file: part, fields, problem: null };
      if (isFile) return { reader, file: null, fields, problem: 'only one file is allowed' };
      fields.set(part.name, await reader.text());
    }
    return { reader, file: null, fields, problem: null };
  } catch (error) {
    if (!(error instanceof MultipartError)) throw error;
    return { reader, file: null, fields, problem: error.message };
  }
}
