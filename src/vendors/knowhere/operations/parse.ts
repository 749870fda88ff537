import { InvalidSubmissionError } from '../../../core/errors.ts';
import type { SubmitReply } from '../../../ports/vendor-adapter.ts';
import { operation } from '../account.ts';
import { carriesExtension, fileNameOf, parseInput, toCreateBody } from '../input.ts';
import { createReply } from '../wire.ts';
import { dataIdOf, uniqueDataId } from './data-id.ts';
import { findInList } from './find-in-list.ts';
import { confirmResults } from './results.ts';
import { toUpload, uploadFile } from './upload.ts';
import { toRef } from './vendor-ref.ts';

export const parse = operation({
  summary: 'Parses a document, from a public URL or an uploaded file, into chunks and Markdown.',
  input: parseInput,
  // The vendor has no idempotency key; a lost create is found again in the job list by its data_id.
  resend: 'lookup',
  // The vendor asks the source for its type meanwhile, and both of its clients wait for a minute.
  submitTimeoutMs: 90_000,
  poll: { initialDelayMs: 2_000, factor: 1.5, maxDelayMs: 30_000, deadlineMs: 1_800_000 },
  graceMs: 30_000,

  async preflight({ input, transfers, submissionId }) {
    if (input.sourceType === 'file') {
      if (!carriesExtension(fileNameOf(input))) {
        throw new InvalidSubmissionError([
          { path: 'input.fileName', message: 'must carry an extension, such as .pdf' },
        ]);
      }
      const file = await transfers.openFile(input.file);
      await file.close();
    }
    return { dataId: input.dataId ?? uniqueDataId(submissionId) };
  },

  async submit(context): Promise<SubmitReply> {
    const { body } = await context.http.request({
      method: 'POST',
      path: 'v1/jobs',
      json: toCreateBody(context.input, dataIdOf(context)),
      reply: createReply,
    });
    // With a label of the caller's own, another submission may carry the same: say whose job this is.
    if (context.input.dataId !== undefined) await context.claim(body.job_id);
    const upload = context.input.sourceType === 'file' ? toUpload(body) : undefined;
    return { jobs: [toRef(body.job_id, body.status, upload)] };
  },

  reconcile: findInList,

  prepare: uploadFile,

  confirm: (context) => confirmResults(context, context.input.download),
});
