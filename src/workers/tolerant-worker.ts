import {
  Worker,
  type BackendFactory,
  type Job,
  type LockManagerWorkerContext,
  type Processor,
  type RedisQueueBackend,
  type WorkerOptions,
} from 'bullmq';
import { SteadyLockManager } from '../queues/bullmq-internals.ts';
import type { RedisConnection } from '../queues/connection.ts';
import { shrinkData, type JobHash } from '../queues/job-hash.ts';

/** How long a worker waits after Redis gave it no job but an error. */
const refusedPauseMs = 1_000;
/** The commands of BullMQ that hand a job to a worker: first in their reply stand the fields of its hash. */
const fetchingCommands: ReadonlySet<string> = new Set(['moveToActive', 'moveToFinished']);

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
      if (!fetchingCommands.has(command) || !Array.isArray(reply) || !Array.isArray(reply[0])) return reply;
      const [fields, jobId, ...rest] = reply as [string[], string, ...unknown[]];
      const hash: Record<string, string> = {};
      for (let at = 0; at + 1 < fields.length; at += 2) hash[fields[at] ?? ''] = fields[at + 1] ?? '';
      this.#fetched.set(jobId, shrinkData(hash));
      return [await this.#mend(jobId, hash), jobId, ...rest];
    };
  }

  /** What BullMQ may read without stumbling. Stored options that are not JSON would break its scripts as well. */
  async #mend(jobId: string, hash: JobHash): Promise<string[]> {
    // The engine reads data and progress from the hash; BullMQ would parse them again, however large they are.
    const mended: Record<string, string | undefined> = { ...hash, data: '{}', progress: '0' };
    if (hash['opts'] !== undefined && !isJsonObject(hash['opts'])) {
      mended['opts'] = '{}';
      await (this.opts.connection as RedisConnection).eval(mendOptions, 1, this.toKey(jobId));
    }
    if (!isJsonObject(hash['parent'])) delete mended['parent'];
    return Object.entries(mended).flatMap(([field, value]) => (value === undefined ? [] : [field, value]));
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
const mendOptions = "if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], 'opts', '{}') end";

function isJsonObject(text: string | undefined): boolean {
  try {
    const value: unknown = JSON.parse(text ?? '');
    return typeof value === 'object' && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}
