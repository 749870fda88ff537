import { styleText } from 'node:util';
import { loadSettings } from '../../config/load-config.ts';
import { describeDuration } from '../../core/describe.ts';
import { printableLine } from '../../core/printable.ts';
import { redactText } from '../../core/redact.ts';
import type { SubmissionStatus } from '../../queues/submission-reader.ts';
import { adapters } from '../vendor-modules.ts';
import { exitCodes } from '../exit-codes.ts';
import { openProducer } from '../open-producer.ts';
import { findVendor } from '../operation-name.ts';
import { complain } from '../report-error.ts';

export async function status(vendor: string, submissionId: string, flags: { json?: boolean }): Promise<number> {
  findVendor(vendor);
  const producer = openProducer(loadSettings(process.env, adapters));
  try {
    const found = await producer.status(vendor, submissionId);
    if (found === undefined) {
      complain(
        `${vendor} knows no submission ${JSON.stringify(submissionId)}; settled ones are forgotten after a while`,
      );
      return exitCodes.notSucceeded;
    }
    process.stdout.write(flags.json === true ? `${JSON.stringify(found)}\n` : describe(found));
    return exitCodes.ok;
  } finally {
    await producer.close();
  }
}

function describe(found: SubmissionStatus): string {
  const now = Date.now();
  const rows: [string, string | null][] = [
    ['submission', shown(`${found.submissionId} (${found.vendor}.${found.operation})`)],
    ['state', shown(found.state)],
    ['error', found.error === null ? null : shown(`${found.error.code}: ${found.error.message}`)],
    ['progress', found.progress === null ? null : `${found.progress.done} of ${found.progress.total}`],
    ['look-ups', String(found.polls)],
    ['enqueued', ago(found.enqueuedAt, now)],
    ['submitted', ago(found.submittedAt, now)],
    ['settled', ago(found.settledAt, now)],
    ['next', found.settledAt === null ? ago(found.nextAt, now) : null],
    [
      found.acceptedAt === null ? 'accept by' : 'deadline',
      found.settledAt === null ? ago(found.deadlineAt, now) : null,
    ],
    ...found.vendorJobs
      .slice(0, 20)
      .map((job, index): [string, string] => [
        index === 0 ? 'vendor jobs' : '',
        shown(`${job.id}  ${job.outcome ?? job.status}`),
      ]),
    ['', found.vendorJobs.length > 20 ? `and ${found.vendorJobs.length - 20} more; --json shows all` : null],
  ];
  const lines = rows.flatMap(([name, value]) => (value === null ? [] : [`${name.padEnd(12)} ${value}`]));
  const log = found.log.map((line) => `  ${shown(line)}`);
  return `${[...lines, ...(log.length === 0 ? [] : ['log', ...log])].join('\n')}\n`;
}

/** What vendors and producers wrote, fit for a terminal. */
function shown(text: string): string {
  return printableLine(redactText(text));
}

function ago(iso: string | null, now: number): string | null {
  if (iso === null) return null;
  const ms = Date.parse(iso) - now;
  const distance = ms < 0 ? `${describeDuration(-ms)} ago` : `in ${describeDuration(ms)}`;
  return `${iso}  ${process.stdout.isTTY ? styleText('dim', distance) : distance}`;
}
