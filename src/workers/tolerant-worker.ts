import { Worker, type Job } from 'bullmq';

/** How long a worker waits after Redis gave it no job but an error. */
const refusedPauseMs = 1_000;

/** A BullMQ worker that also takes jobs whose data is no JSON, so that they are refused and not taken for ever. */
export class TolerantWorker extends Worker {
  protected override createJob(data: Parameters<Worker['createJob']>[0], jobId: string): Job {
    try {
      return super.createJob(data, jobId);
    } catch {
      return super.createJob({ ...data, data: JSON.stringify('this is no JSON') }, jobId);
    }
  }

  protected override async moveToActive(token: string, name?: string): Promise<Job> {
    try {
      return await super.moveToActive(token, name);
    } catch (error) {
      // BullMQ asks again at once: a Redis that is full would be asked thousands of times a second.
      await this.delay(refusedPauseMs);
      throw error;
    }
  }
}
