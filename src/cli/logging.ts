import { Writable } from 'node:stream';
import pino, { type DestinationStream } from 'pino';
import pretty from 'pino-pretty';
import { printableLine } from '../core/printable.ts';
import { redactText, redactValue } from '../core/redact.ts';
import type { Logger } from '../ports/logger.ts';

/**
 * The logger of a process: JSON lines on stdout, or readable lines where stdout is a terminal.
 * Adapters and engine keep secrets out of what they log; what still looks like one goes here, at the last door.
 * @param output - takes the finished lines instead of stdout.
 */
export function createLogger(level: string, output?: DestinationStream): Logger {
  const destination = process.stdout.isTTY
    ? pretty({
        sync: true,
        colorize: process.env['NO_COLOR'] === undefined,
        translateTime: 'SYS:HH:MM:ss.l',
        // What every line of a submission begins with, instead of four fields at its end.
        messageFormat: (line, messageKey) =>
          `${describeSubject(line)}${(line[messageKey] as string | undefined) ?? ''}`,
        ignore: 'pid,hostname,vendor,stage,operation,submissionId',
        // By default `error`, which is a text here, would get lines of its own.
        errorLikeObjectKeys: ['err'],
        singleLine: true,
        // Standard output's own number: pino-pretty writes there at once, so no line is lost at exit.
        ...(output === undefined || output instanceof LogOutput
          ? { destination: 1 }
          : { destination: toWritable(output) }),
      })
    : (output ?? new LogOutput());
  const logger = pino(
    {
      level,
      timestamp: pino.stdTimeFunctions.isoTime,
      // A number says nothing to who reads the lines.
      formatters: {
        level: (label) => ({ level: label }),
        log: (fields) =>
          redactValue(
            Object.fromEntries(
              Object.entries(fields).map(([key, value]) => [
                key,
                value instanceof Error ? pino.stdSerializers.err(value) : value,
              ]),
            ),
          ) as Record<string, unknown>,
      },
      hooks: {
        logMethod(args, method) {
          method.apply(this, args.map((arg) => (typeof arg === 'string' ? redactText(arg) : arg)) as typeof args);
        },
      },
    },
    destination,
  );
  if (destination instanceof LogOutput) {
    destination.onReadAgain = (dropped) => logger.warn({ dropped }, 'log lines were dropped: nothing read them');
  }
  return withFields(logger, {});
}

/**
 * Merges the fields of a child into its lines. pino writes both texts one after the other, so a field that both have
 * would stand in the line twice, and each reader of it would take another one.
 */
function withFields(logger: pino.Logger, bound: Readonly<Record<string, unknown>>): Logger {
  const write =
    (level: 'debug' | 'info' | 'warn' | 'error') =>
    (fields: object, message: string): void => {
      if (logger.isLevelEnabled(level)) logger[level](apartFromPino({ ...bound, ...fields }), message);
    };
  return {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    child: (fields) => withFields(logger, { ...bound, ...fields }),
  };
}

const fieldsOfPino: ReadonlySet<string> = new Set(['level', 'time', 'pid', 'hostname', 'msg']);

/** Fields that pino writes itself get another name. */
function apartFromPino(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [fieldsOfPino.has(name) ? `${name}_` : name, value]),
  );
}

/** How much of the log may wait for its reader, bytes. */
const maxWaitingBytes = 1_048_576;

/**
 * Standard output for log lines. A pipe without a reader fills up, and a synchronous write to it then blocks; here
 * lines wait in memory up to a bound, and beyond it they are dropped and counted.
 */
export class LogOutput implements DestinationStream {
  /** Lines dropped since the process began. */
  dropped = 0;
  /** Told how many lines were dropped once the log is read again. */
  onReadAgain: (dropped: number) => void = () => undefined;
  readonly #output: Writable;
  #droppedNow = 0;
  #isClosed = false;

  constructor(output: Writable = process.stdout) {
    this.#output = output;
    // A worker goes on without its log; the command's own listener would end it.
    output.removeAllListeners('error');
    output.on('error', () => (this.#isClosed = true));
  }

  write(line: string): void {
    if (this.#isClosed) return;
    if (this.#output.writableLength + line.length > maxWaitingBytes) {
      if (this.#droppedNow === 0) this.#output.once('drain', () => this.#onDrain());
      this.#droppedNow += 1;
      this.dropped += 1;
      return;
    }
    this.#output.write(line);
  }

  #onDrain(): void {
    const dropped = this.#droppedNow;
    this.#droppedNow = 0;
    this.onReadAgain(dropped);
  }
}

/** `knowhere.parse invoice-2291: ` */
function describeSubject(line: Record<string, unknown>): string {
  const { vendor, operation, submissionId } = line as Record<string, string | undefined>;
  const name = [vendor, operation].filter((part) => part !== undefined).join('.');
  const subject = [name, submissionId].filter((part) => part !== undefined && part !== '').join(' ');
  // The operation is the name of a job that any client of Redis may have put there.
  return subject === '' ? '' : `${printableLine(subject)}: `;
}

function toWritable(output: DestinationStream): Writable {
  return new Writable({
    write(chunk: Buffer, _encoding, done) {
      output.write(chunk.toString());
      done();
    },
  });
}
