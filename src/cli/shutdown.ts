import { constants } from 'node:os';
import type { Logger } from '../ports/logger.ts';

/** Supervisors send SIGKILL after 10 s; before that we end ourselves. */
const hardLimitMs = 9_200;
/**
 * One Ctrl+C or one `kill` of a process group arrives several times when npm and shells pass it on; that is no second
 * wish to end.
 */
const sameWishMs = 700;

/** SIGHUP as well: a terminal or a connection that goes away sends it, and work must not be cut off by that. */
const endingSignals = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;
export type EndingSignal = (typeof endingSignals)[number];

/**
 * Resolves at the first SIGTERM, SIGINT or SIGHUP. From then on the process ends within 9.2 s with code 0, whatever hangs;
 * a second signal ends it at once.
 */
export async function untilSignal(onSignal: (signal: EndingSignal) => void = () => undefined): Promise<void> {
  await new Promise<void>((resolve) => {
    let firstAt: number | undefined;
    const onEach = (signal: EndingSignal): void => {
      const now = performance.now();
      if (firstAt === undefined) {
        firstAt = now;
        setTimeout(() => process.exit(0), hardLimitMs).unref();
        onSignal(signal);
        resolve();
      } else if (now - firstAt > sameWishMs) {
        process.exit(128 + constants.signals[signal]);
      }
    };
    for (const signal of endingSignals) process.on(signal, onEach);
  });
}

/**
 * What no code of ours waited for. A rejection that nobody handled, such as a command that Redis' going away cut off,
 * is told and the process goes on; an exception leaves it in an unknown state and ends it.
 */
export function surviveRejections(logger: Logger): void {
  process.on('unhandledRejection', (reason) => logger.error({ err: reason }, 'a rejection was not handled'));
  process.on('uncaughtException', (error) => {
    logger.error({ err: error }, 'unexpected error, the process ends');
    process.exit(70);
  });
}
