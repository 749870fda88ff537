import {
  Worker,
  type BackendFactory,
  type Job,
  type LockManagerWorkerContext,
  type Processor,
  type RedisQueueBackend,
  type WorkerOptions,
} from 'bullmq';
import { jobFields } from '../queues/bullmq-internals/layout.ts';
import { SteadyLockManager } from '../queues/bullmq-internals/locks.ts';
import { readFetch, writeFetch } from '../queues/bullmq-internals/scripts.ts';
import type { RedisConnection } from '../queues/connection.ts';
import { shrinkData, type JobHash } from '../queues/job-hash.ts';

/** How long a worker waits after Redis gave it no job but an error. */
const refusedPauseMs = 1_000;

/**
 * A BullMQ worker that keeps what BullMQ reads past: the fields of a job's hash as they are stored. It also accepts jobs
 * whose fields are malformed, so that they are refused once instead of being taken again forever.
 */
export class TolerantWorker extends Worker {
  readonly #hashes = new WeakMap<Job, JobHash>();
  /** By job id: fetched, and not yet made a job of. */
  readonly #fetched = new Map<string, JobHash>();

  constructor(
    name: string,
    processor: Processor,
    options: WorkerOptions,
    backendFactory: BackendFactory<RedisQueueBackend>,
  ) {
    super(name, processor, options, backendFactory);
    this.#watchFetches(this.getBackend());
  }

  /** The fields of a job's hash, as they were when this worker took it. */
  hashOf(job: Job): JobHash {
    return this.#hashes.get(job) ?? {};
  }

  #watchFetches(backend: RedisQueueBackend): void {
    const execute = backend.execCommand.bind(backend);
    backend.execCommand = async (client, command, args) => {
      const reply: unknown = await execute(client, command, args);
      const fetched = readFetch(command, reply);
      if (fetched === undefined) return reply;
      this.#fetched.set(fetched.jobId, shrinkData(fetched.hash));
      return writeFetch(fetched, await this.#mend(fetched.jobId, fetched.hash));
    };
  }

  /** What BullMQ may read without stumbling. Stored options that are not JSON would break its scripts as well. */
  async #mend(jobId: string, hash: JobHash): Promise<JobHash> {
    // The engine reads data and progress from the hash; BullMQ would parse them again, however large they are.
    const mended: Record<string, string | undefined> = { ...hash, [jobFields.data]: '{}', [jobFields.progress]: '0' };
    if (hash[jobFields.opts] !== undefined && !isJsonObject(hash[jobFields.opts])) {
      mended[jobFields.opts] = '{}';
      await (this.opts.connection as RedisConnection).eval(mendOptions, 1, this.toKey(jobId));
    }
    if (!isJsonObject(hash[jobFields.parent])) delete mended[jobFields.parent];
    return mended;
  }

  protected override createLockManager(): void {
    this.lockManager = new SteadyLockManager(this as unknown as LockManagerWorkerContext, {
      lockRenewTime: this.opts.lockRenewTime ?? (this.opts.lockDuration ?? 30_000) / 2,
      lockDuration: this.opts.lockDuration ?? 30_000,
      workerId: this.id,
      ...(this.opts.name === undefined ? {} : { workerName: this.opts.name }),
    });
  }

  protected override createJob(data: Parameters<Worker['createJob']>[0], jobId: string): Job {
    const job = super.createJob(data, jobId);
    this.#hashes.set(job, this.#fetched.get(jobId) ?? {});
    this.#fetched.delete(jobId);
    return job;
  }

  protected override async moveToActive(token: string, name?: string): Promise<Job> {
    // A wait that began before the pause ends with a job all the same.
    if (this.isPaused()) return undefined as unknown as Job;
    try {
      return await super.moveToActive(token, name);
    } catch (error) {
      // BullMQ asks again at once: a Redis that is full would be asked thousands of times a second.
      await this.delay(refusedPauseMs);
      throw error;
    }
  }
}

/** Of a job that is gone by now nothing must be left behind: a hash without a name would keep its id from being used. */
const mendOptions = `if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], '${jobFields.opts}', '{}') end`;

function isJsonObject(text: string | undefined): boolean {
  try {
    const value: unknown = JSON.parse(text ?? '');
    return typeof value === 'object' && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}
