import type { SubmitReply } from '../../../ports/vendor-adapter.ts';
import { operation } from '../account.ts';
import { watchInput } from '../input.ts';
import { toExtra } from '../runs.ts';

export const watch = operation({
  summary: 'Watches knowledge jobs or documents that were started elsewhere.',
  input: watchInput,
  resend: 'safe',
  adopts: true,
  poll: { initialDelayMs: 1_000, factor: 1.5, maxDelayMs: 30_000, deadlineMs: 7_200_000 },
  graceMs: 30_000,
  async submit({ input }): Promise<SubmitReply> {
    const jobs = (input.jobIds ?? []).map((id) => ({ id, kind: 'job' }));
    // What the record shows now is what was asked about, whenever it began.
    const extra = toExtra({ watched: true });
    const documents = (input.documentIds ?? []).map((id) => ({ id, kind: 'document', extra }));
    return { jobs: [...jobs, ...documents] };
  },
});
