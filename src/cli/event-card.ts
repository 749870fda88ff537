import type { CompletionEvent } from '../core/completion-event.ts';
import { printableLine } from '../core/printable.ts';
import { redactText } from '../core/redact.ts';

/** The most vendor jobs that a card lists. */
const maxVendorJobs = 5;

/**
 * How a submission ended, for people: one line each for its vendor jobs, its files and where the whole event is.
 * @param queue - the results queue that has the event
 */
export function describeEvent({ id, data }: CompletionEvent, queue: string): string[] {
  const jobs = data.vendorJobs.map((job) => `${job.id}  ${job.status}`);
  const more = jobs.length - maxVendorJobs;
  const artifacts = data.vendorJobs.flatMap(({ result }) => describeArtifact(result) ?? []);
  const rows: [string, string][] = [
    ...under(jobs.length === 1 ? 'vendor job' : 'vendor jobs', jobs.slice(0, maxVendorJobs)),
    ...(more > 0 ? [['', `and ${more} more`] as [string, string]] : []),
    ...under('downloaded', artifacts),
    ['event', `${id} in the queue "${queue}"; --json prints it`],
    ...(data.outcome === 'succeeded'
      ? []
      : [['story', `jobferry status ${data.vendor} ${data.submissionId}`] as [string, string]]),
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, text]) => `  ${name.padEnd(width)}  ${printableLine(redactText(text))}`);
}

function describeArtifact(result: unknown): string | undefined {
  const { artifact } = (result ?? {}) as { artifact?: { path?: unknown; bytes?: unknown; verified?: unknown } };
  if (typeof artifact?.path !== 'string') return undefined;
  return `${artifact.path}  ${Number(artifact.bytes)} bytes${artifact.verified === true ? ', checksum right' : ''}`;
}

/** The name stands before the first only. */
function under(name: string, texts: readonly string[]): [string, string][] {
  return texts.map((text, index) => [index === 0 ? name : '', text]);
}
