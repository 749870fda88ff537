import { Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { createLogger, LogOutput } from '../../src/cli/logging.ts';
import { parseStrictly } from '../helpers/parse-strictly.ts';

/** Takes one chunk and finishes it when it is told to, as a full pipe does. */
class StuckPipe extends Writable {
  readonly lines: string[] = [];
  #done: (() => void) | undefined;
  #isOpen = false;

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.lines.push(chunk.toString());
    if (this.#isOpen) done();
    else this.#done = done;
  }

  open(): void {
    this.#isOpen = true;
    this.#done?.();
  }
}

describe('a log that nothing reads', () => {
  it('holds a megabyte of lines, drops and counts the rest, and says so when it is read again', async () => {
    const pipe = new StuckPipe();
    const output = new LogOutput(pipe);
    const logger = createLogger('info', output);
    for (let index = 0; index < 3_000; index += 1) logger.info({ index, text: 'x'.repeat(1_000) }, 'line');
    const { dropped } = output;
    expect(dropped).toBeGreaterThan(1_500);
    expect(pipe.writableLength).toBeLessThanOrEqual(1_048_576);
    pipe.open();
    await new Promise((resolve) => pipe.end(resolve));
    const lines = pipe.lines.map((line) => JSON.parse(line) as { msg: string; dropped?: number });
    expect(lines.at(-1)).toMatchObject({ level: 'warn', msg: 'log lines were dropped: nothing read them', dropped });
    expect(lines).toHaveLength(3_000 - dropped + 1);
  });

  it('is no reason to stop when its reader is gone', () => {
    const pipe = new StuckPipe();
    const output = new LogOutput(pipe);
    pipe.emit('error', new Error('EPIPE'));
    expect(() => output.write('line\n')).not.toThrow();
    expect(pipe.lines).toEqual([]);
  });
});

describe('a log line', () => {
  it('has each field once: the line’s own wins over that of its logger, and none is taken for one of pino’s', () => {
    const lines: string[] = [];
    const logger = createLogger('info', { write: (line) => void lines.push(line) })
      .child({ vendor: 'knowhere', account: 'default', apiKey: 'hidden' })
      .child({ stage: 'poll', account: 'eu' });
    logger.info({ account: 'knowhere/eu', level: 3, time: 'now', msg: 'other', n: undefined }, 'account held');
    logger.debug({}, 'not written');
    const parsed = lines.map((line) => parseStrictly(line));
    expect(parsed).toMatchObject([
      {
        level: 'info',
        vendor: 'knowhere',
        stage: 'poll',
        account: 'knowhere/eu',
        apiKey: '[redacted]',
        level_: 3,
        time_: 'now',
        msg_: 'other',
        msg: 'account held',
      },
    ]);
    expect(() => parseStrictly('{"account":"a","account":"b"}')).toThrow('twice');
  });
});
