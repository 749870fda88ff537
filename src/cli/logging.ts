import { Writable } from 'node:stream';
import pino, { type DestinationStream } from 'pino';
import pretty from 'pino-pretty';
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
        ...(output === undefined ? { destination: 1 } : { destination: toWritable(output) }),
      })
    : (output ?? pino.destination({ fd: 1, sync: true }));
  return pino(
    {
      level,
      timestamp: pino.stdTimeFunctions.isoTime,
      // A number says nothing to who reads the lines.
      formatters: {
        level: (label) => ({ level: label }),
        bindings: (fields) => redactValue(fields) as Record<string, unknown>,
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
}

/** `knowhere.parse invoice-2291: ` */
function describeSubject(line: Record<string, unknown>): string {
  const { vendor, operation, submissionId } = line as Record<string, string | undefined>;
  const name = [vendor, operation].filter((part) => part !== undefined).join('.');
  const subject = [name, submissionId].filter((part) => part !== undefined && part !== '').join(' ');
  return subject === '' ? '' : `${subject}: `;
}

function toWritable(output: DestinationStream): Writable {
  return new Writable({
    write(chunk: Buffer, _encoding, done) {
      output.write(chunk.toString());
      done();
    },
  });
}
