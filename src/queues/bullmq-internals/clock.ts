import { createRedisBackend, type BackendFactory, type JobJson, type RedisQueueBackend } from 'bullmq';
import type { Clock } from '../../ports/clock.ts';
import { timePositions } from './scripts.ts';

/**
 * A backend for queues and workers that live on `clock`. BullMQ takes the time from each process's own clock: one that is
 * ahead would promote delayed jobs early for all workers, one that is behind would leave them lying.
 */
export function backendOnClock(clock: Clock): BackendFactory<RedisQueueBackend> {
  return (name, options, kind) => {
    const backend = createRedisBackend(name, options, kind);

    const execCommand = backend.execCommand.bind(backend);
    backend.execCommand = (client, command, args: unknown[]): unknown => {
      const position = timePositions[command];
      // In place: BullMQ reads the time of an end back from here.
      if (position !== undefined) args[position] = clock.now();
      return execCommand(client, command, args);
    };

    const addJob = backend.addJobToTransaction.bind(backend);
    backend.addJobToTransaction = async (client, job: JobJson, ...rest) =>
      addJob(client, { ...job, timestamp: clock.now() }, ...rest);

    // A worker compares the time of the next delayed job with its own clock, so that is what it is given.
    const moveToActive = backend.moveToActive.bind(backend);
    backend.moveToActive = async (token, workerName) => toOwnTime(await moveToActive(token, workerName), clock);
    const moveToFinished = backend.moveToFinished.bind(backend);
    backend.moveToFinished = async (jobId, args) => toOwnTime(await moveToFinished(jobId, args), clock);
    const waitForJob = backend.waitForJob.bind(backend);
    backend.waitForJob = async (blockTimeout) => {
      const marker = await waitForJob(blockTimeout);
      return marker === null ? null : { ...marker, score: ownTimeOf(marker.score, clock) };
    };
    return backend;
  };
}

/** `[job, id, rate limit, time of the next delayed job]`, the answer to a request for a job; others pass as they are. */
function toOwnTime(next: unknown[], clock: Clock): unknown[] {
  if (!Array.isArray(next) || next.length < 4) return next;
  return [...next.slice(0, 3), ownTimeOf(Number(next[3] ?? 0), clock)];
}

/** 0 means "at once" and no time. */
function ownTimeOf(at: number, clock: Clock): number {
  return at > 0 ? Math.max(1, Date.now() + at - clock.now()) : at;
}
