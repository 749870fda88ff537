import { operation } from '../account.ts';
import { watchInput } from '../input.ts';
import { confirmResults } from './results.ts';
import { toRef } from './vendor-ref.ts';

export const watch = operation({
  summary: 'Watches jobs that were started elsewhere.',
  input: watchInput,
  resend: 'safe',
  adopts: true,
  poll: { initialDelayMs: 1_000, factor: 1.5, maxDelayMs: 30_000, deadlineMs: 1_800_000 },
  graceMs: 30_000,
  async submit({ input }) {
    return { jobs: input.jobIds.map((id) => toRef(id, undefined, undefined)) };
  },
  confirm: (context) => confirmResults(context, context.input.download),
});
