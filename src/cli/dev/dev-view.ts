import { styleText } from 'node:util';
import ora, { type Ora } from 'ora';
import { describeDuration } from '../../core/describe.ts';
import { clip } from '../../core/json.ts';
import { printableLine } from '../../core/printable.ts';
import { redactText } from '../../core/redact.ts';
import type { CompletionEvent } from '../../core/completion-event.ts';

const isTerminal = process.stdout.isTTY;

/**
 * What `jobferry dev` shows: lines, and on a terminal below them a block that tells how the submissions under way get
 * on. Where there is no terminal, every change is a line of its own.
 */
export class DevView {
  readonly #open = new Map<string, string>();
  #nameWidth = 0;
  #spinner: Ora | undefined;

  line(text = ''): void {
    this.#spinner?.clear();
    process.stdout.write(`${text}\n`);
    this.#spinner?.render();
  }

  /** Rows of names and what they stand for. */
  table(rows: readonly (readonly [name: string, value: string])[]): void {
    const width = Math.max(...rows.map(([name]) => name.length));
    for (const [name, value] of rows) this.line(`  ${styled('dim', name.padEnd(width))}  ${value}`);
  }

  /** Log lines come in the middle of the block, too. */
  readonly logOutput = { write: (text: string): void => this.line(text.replace(/\n$/, '')) };

  /** Announces what will be shown, so that columns stay where they are. */
  expect(submissionIds: readonly string[]): void {
    this.#nameWidth = Math.max(0, ...submissionIds.map((id) => id.length));
  }

  change(submissionId: string, state: string): void {
    const shown = printableLine(redactText(state));
    if (this.#open.get(submissionId) === shown) return;
    this.#open.set(submissionId, shown);
    if (!isTerminal) this.line(`  … ${submissionId.padEnd(this.#nameWidth)}  ${shown}`);
    else this.#draw();
  }

  settle(event: CompletionEvent): void {
    this.#open.delete(event.data.submissionId);
    this.line(this.#describeEvent(event));
    this.#draw();
  }

  drop(submissionId: string, why: string): void {
    this.#open.delete(submissionId);
    this.line(`  ? ${submissionId.padEnd(this.#nameWidth)}  ${why}`);
    this.#draw();
  }

  /** Ends the block; lines may still follow. */
  stop(): void {
    this.#open.clear();
    this.#draw();
  }

  #draw(): void {
    if (!isTerminal) return;
    if (this.#open.size === 0) {
      this.#spinner?.stop();
      this.#spinner = undefined;
      return;
    }
    const rows = [...this.#open].map(([id, state]) => fit(`${id.padEnd(this.#nameWidth)}  ${state}`, 4));
    const text = rows.join('\n    ');
    if (this.#spinner === undefined) {
      // Left to itself, ora would put the terminal into raw mode and take Ctrl+C from us.
      this.#spinner = ora({ text, indent: 2, stream: process.stdout, discardStdin: false }).start();
    } else this.#spinner.text = text;
  }

  #describeEvent(event: CompletionEvent): string {
    const { submissionId, outcome, polls, timings } = event.data;
    const took = describeDuration(Date.parse(timings.settledAt) - Date.parse(timings.enqueuedAt));
    const isGood = outcome === 'succeeded';
    const facts = `${polls} ${polls === 1 ? 'look-up ' : 'look-ups'}  ${took.padStart(6)}`;
    const nameWidth = Math.max(this.#nameWidth, submissionId.length);
    const detail = fit(describeDetail(event), 7 + nameWidth + 2 + 11 + 2 + facts.length + 2);
    return [
      `  ${styled(isGood ? 'green' : 'red', isGood ? '✔' : '✖')} ${submissionId.padEnd(this.#nameWidth)}`,
      styled(isGood ? 'green' : 'red', outcome.padEnd(11)),
      facts,
      styled('dim', detail),
    ]
      .join('  ')
      .trimEnd();
  }
}

/** What matters most about how it ended, in a few words. */
function describeDetail(event: CompletionEvent): string {
  const { error, vendorJobs, outcome } = event.data;
  if (error !== null) return redactText(`${error.code}: ${error.message}`).replace(/\s+/g, ' ');
  if (outcome !== 'succeeded') return '';
  const result = vendorJobs[0]?.result as { artifact?: { verified: boolean }; resultUrl?: string } | null | undefined;
  if (result?.artifact !== undefined)
    return result.artifact.verified ? 'result downloaded, checksum right' : 'result downloaded';
  return result?.resultUrl === undefined ? '' : 'result link in the event';
}

/** Cuts a line to what the terminal has room for beside `used` columns. */
function fit(text: string, used: number): string {
  return isTerminal ? clip(text, Math.max(20, process.stdout.columns - used - 1)) : text;
}

export function styled(style: Parameters<typeof styleText>[0], text: string): string {
  return isTerminal && process.env['NO_COLOR'] === undefined ? styleText(style, text) : text;
}
