import { Worker, type Job } from 'bullmq';
import { completionEvent, type CompletionEvent } from '../core/completion-event.ts';
import type { Outcome } from '../core/submission.ts';
import { openConnection, parseRedisUrl, requireFitPrefix, type RedisTls } from '../queues/connection.ts';
import { defaultPrefix, defaultResultQueue } from '../queues/names.ts';

/** Events of one outcome, or of any. */
export type EventOf<O extends Outcome> = CompletionEvent & { type: `jobferry.submission.${O}`; data: { outcome: O } };

/** A handler for every event, or one per outcome, with `otherwise` for the rest. */
export type CompletionHandler =
  | ((event: CompletionEvent) => Promise<void> | void)
  | ({ [O in Outcome]?: (event: EventOf<O>) => Promise<void> | void } & {
      otherwise?: (event: CompletionEvent) => Promise<void> | void;
    });

export interface OnCompletionOptions {
  redisUrl: string;
  /** For `rediss://`: the certificate authority to trust, and a client certificate with its key, as PEM texts. */
  tls?: RedisTls;
  /** The results queue. Default: `results`. */
  queue?: string;
  /** BullMQ's key prefix. Default: `bull`. */
  prefix?: string;
  /** How many events are handled in parallel. Default: 10. */
  concurrency?: number;
  /** Called with errors: of the connection, of handlers, and for jobs that are not completion events. */
  onError?: (error: Error) => void;
}

/**
 * Consumes completion events. If a handler throws, it gets the event again, with growing delays, ten times in all.
 *
 * Delivery is at least once: the same `id` may come twice. Make handlers repeatable, or remember ids that are done
 * (examples/read-events.ts).
 * @returns a handle whose `close` lets running handlers finish.
 */
export async function onCompletion(
  handler: CompletionHandler,
  options: OnCompletionOptions,
): Promise<{ close(): Promise<void> }> {
  const onError = options.onError ?? (() => undefined);
  const { redisUrl, tls, prefix = defaultPrefix } = options;
  const redis = parseRedisUrl(redisUrl, tls);
  requireFitPrefix(prefix, redis);
  const connection = openConnection(redis, onError);
  const worker = new Worker(
    options.queue ?? defaultResultQueue,
    async (job: Job) => {
      await dispatch(handler, readEvent(job.data));
    },
    { connection, prefix, concurrency: options.concurrency ?? 10 },
  );
  worker.on('error', onError);
  worker.on('failed', (_job, error) => onError(error));
  await worker.waitUntilReady();
  return {
    async close() {
      await worker.close();
      connection.disconnect();
    },
  };
}

/** @throws ZodError for data that is not a completion event. */
function readEvent(data: unknown): CompletionEvent {
  const event = completionEvent.parse(data);
  // Unchanged, because a schema's copy would omit keys such as `__proto__`.
  event.data.metadata = (data as CompletionEvent).data.metadata;
  return event;
}

async function dispatch(handler: CompletionHandler, event: CompletionEvent): Promise<void> {
  if (typeof handler === 'function') return handler(event);
  const chosen = handler[event.data.outcome] as ((event: CompletionEvent) => Promise<void> | void) | undefined;
  await (chosen ?? handler.otherwise)?.(event);
}
