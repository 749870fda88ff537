import { styleText } from 'node:util';
import ora from 'ora';
import type { CompletionEvent } from '../core/completion-event.ts';
import { describeDuration } from '../core/describe.ts';
import { printableLine } from '../core/printable.ts';
import { redactText } from '../core/redact.ts';
import type { SubmissionStatus } from '../queues/submission-reader.ts';
import { describeEvent } from './event-card.ts';
import { complain } from './report-error.ts';

/** Shows how a submission gets on. */
export interface WaitView {
  change(status: SubmissionStatus): void;
  trouble(reason: string | undefined): void;
  end(event: CompletionEvent): void;
  /** Without an end: the terminal is left as it was. */
  stop(): void;
}

/**
 * A spinner on a terminal, and a short card at the end; elsewhere a JSON line per change, the completion event last.
 * @param queue - the results queue that gets the event
 */
export async function openWaitView(submissionId: string, queue: string, isTerminal: boolean): Promise<WaitView> {
  return isTerminal ? openSpinner(submissionId, queue) : jsonLines;
}

const jsonLines: WaitView = {
  change(status) {
    const { submissionId, vendor, operation, state, phase, progress, polls, nextAt } = status;
    print(JSON.stringify({ submissionId, vendor, operation, state, phase, progress, polls, nextAt }));
  },
  trouble(reason) {
    complain(reason === undefined ? 'Redis answers again' : `REDIS_URL: ${reason}; trying until it does`);
  },
  end: (event) => print(JSON.stringify(event)),
  stop: () => undefined,
};

function openSpinner(submissionId: string, queue: string): WaitView {
  const startedAt = performance.now();
  let status: SubmissionStatus | undefined;
  let trouble: string | undefined;
  const describe = (): string => {
    const elapsed = describeDuration(Math.floor((performance.now() - startedAt) / 1_000) * 1_000).replace(
      '0 ms',
      '0 s',
    );
    const parts = [trouble ?? printableLine(redactText(status?.state ?? 'enqueued')), elapsed];
    const nextInMs = Date.parse(status?.nextAt ?? '') - Date.now();
    if (trouble === undefined && status?.phase === 'polling' && nextInMs > 500) {
      parts.push(`next look in ${Math.ceil(nextInMs / 1_000)} s`);
    }
    return `${submissionId}  ${parts[0]}  ${styleText('dim', parts.slice(1).join(' · '))}`;
  };
  // Left to itself, ora would put the terminal into raw mode and take Ctrl+C from us.
  const spinner = ora({ text: describe(), stream: process.stdout, discardStdin: false }).start();
  const ticker = setInterval(() => (spinner.text = describe()), 250);
  return {
    change(next) {
      status = next;
      spinner.text = describe();
    },
    trouble(reason) {
      trouble = reason === undefined ? undefined : 'Redis does not answer; trying until it does';
      spinner.text = describe();
    },
    end(event) {
      clearInterval(ticker);
      const { outcome, error, polls } = event.data;
      const facts = [
        describeDuration(performance.now() - startedAt),
        `${polls} ${polls === 1 ? 'look-up' : 'look-ups'}`,
      ];
      const why = error === null ? '' : `: ${printableLine(redactText(error.message))}`;
      const line = `${submissionId}  ${outcome}${why}  ${styleText('dim', facts.join(' · '))}`;
      if (outcome === 'succeeded') spinner.succeed(line);
      else spinner.fail(line);
      for (const row of describeEvent(event, queue)) print(row);
    },
    stop() {
      clearInterval(ticker);
      spinner.stop();
    },
  };
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
