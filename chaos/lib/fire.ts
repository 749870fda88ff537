import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import type { CompletionEvent } from '../../src/core/completion-event.ts';
import { SubmissionReader } from '../../src/queues/submission-reader.ts';
import { checkpoints, type Checkpoint } from '../../src/workers/engine.ts';
import type { Build } from './build.ts';
import { check, type Delivery, type Leftover, type Submitted, type Verdict, type Window } from './check.ts';
import { Child } from './child.ts';
import type { FaultKind, FireOptions } from './options.ts';
import type { Audit } from './orders.ts';
import { TcpProxy } from './proxy.ts';
import { Random } from './random.ts';
import { RecoveryWatch, type Sample } from './recovery.ts';
import { MortalRedis } from './redis.ts';
import { Crew, type WorkerProcess } from './workers.ts';

const prefix = 'fire';
const stageQueues = ['knowhere.submit', 'knowhere.poll'] as const;
const lockMs = 5_000;

export interface StruckFault {
  /** Since the start, ms. */
  at: number;
  kind: FaultKind;
  note?: string;
}

export interface FireReport {
  verdict: Verdict;
  faults: StruckFault[];
  /** Faults for which no worker was there to be struck. */
  missed: number;
  diedAt: Record<string, number>;
  kills: number;
  workersStarted: number;
  /** Exit codes of workers that were told to stop. */
  rollExits: (number | null)[];
  recovery: Sample[];
  abandoned: number;
  timeline: { at: number; submitted: number; settled: number }[];
  vendor: Pick<Audit, 'requests' | 'byRoute' | 'byStatus' | 'byFault'>;
  /** From the last fault until everything was settled, ms; null when it never was. */
  settledAfterMs: number | null;
  durationMs: number;
}

export function faultCounts(report: FireReport): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { kind } of report.faults) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
}

/**
 * Sets fire to a whole installation, worker processes, Redis and vendor, puts it out, and looks at what is left.
 * @param folder - for logs and data; removed by the caller
 */
export async function runFire(options: FireOptions, build: Build): Promise<FireReport> {
  const folder = mkdtempSync(path.join(tmpdir(), 'jobferry-fire-'));
  const fire = new Fire(options, build, folder);
  try {
    return await fire.run();
  } finally {
    await fire.end();
    if (process.env['CHAOS_KEEP'] === undefined) rmSync(folder, { recursive: true, force: true });
    else options.say(`kept ${folder}`);
  }
}

class Fire {
  readonly #options: FireOptions;
  readonly #random: Random;
  readonly #build: Build;
  readonly #folder: string;
  readonly #startedAt = Date.now();
  readonly #submissions = new Map<string, Submitted>();
  /** What each was pushed with. */
  readonly #data = new Map<string, object>();
  readonly #deliveries = new Map<string, Delivery[]>();
  readonly #interruptions = new Map<string, number>();
  readonly #faults: StruckFault[] = [];
  readonly #lost: Window[] = [];
  readonly #vendorTrouble: Window[] = [];
  readonly #diedAt = new Map<Checkpoint, number>();
  readonly #timeline: FireReport['timeline'] = [];
  readonly #rollExits: (number | null)[] = [];
  readonly #atWork = new Set<Promise<void>>();
  readonly #closers: (() => unknown)[] = [];
  #missed = 0;
  #kills = 0;
  #redisBusy: Promise<unknown> = Promise.resolve();
  #vendorBusy: Promise<unknown> = Promise.resolve();
  #redis!: MortalRedis;
  #redisProxy!: TcpProxy;
  #vendorProxy!: TcpProxy;
  #vendor!: Child;
  #crew!: Crew;
  #direct!: Redis;
  #recovery!: RecoveryWatch;
  #queue!: Queue;
  #reader!: SubmissionReader;

  constructor(options: FireOptions, build: Build, folder: string) {
    this.#options = options;
    this.#build = build;
    this.#folder = folder;
    this.#random = new Random(options.seed);
  }

  async run(): Promise<FireReport> {
    await this.#light();
    const burnt = this.#now();
    const sampler = setInterval(() => this.#sample(), 250);
    this.#closers.push(() => clearInterval(sampler));
    await Promise.all([this.#submitAll(), this.#strikeAll()]);
    await this.#putOut();
    const lastFaultAt = this.#now();
    const isSettled = await this.#settles();
    const settledAfterMs = isSettled ? this.#now() - lastFaultAt : null;
    this.#options.say(
      isSettled
        ? `settled ${(settledAfterMs ?? 0) / 1_000} s after the last fault`
        : `NOT settled: ${this.#submissions.size - this.#deliveries.size} without an event`,
    );
    // Whoever still wants to say something twice may do so.
    await sleep(2_000);
    this.#sample();
    this.#recovery.stop();
    const leftovers = await this.#leftovers();
    const failedJobs = await this.#failedJobs();
    const audit = await this.#audit();
    const verdict = check({
      submissions: this.#submissions,
      deliveries: this.#deliveries,
      audit,
      leftovers,
      failedJobs,
      lost: this.#lost,
      vendorTrouble: this.#vendorTrouble,
      interruptions: this.#interruptions,
    });
    return {
      verdict,
      faults: this.#faults.toSorted((one, other) => one.at - other.at),
      missed: this.#missed,
      diedAt: Object.fromEntries(checkpoints.map((point) => [point, this.#diedAt.get(point) ?? 0])),
      kills: this.#kills,
      workersStarted: this.#crew.started,
      rollExits: this.#rollExits,
      recovery: this.#recovery.samples,
      abandoned: this.#recovery.abandoned.length,
      timeline: this.#timeline,
      vendor: {
        requests: audit.requests,
        byRoute: audit.byRoute,
        byStatus: audit.byStatus,
        byFault: audit.byFault,
      },
      settledAfterMs,
      durationMs: this.#now() - burnt,
    };
  }

  async end(): Promise<void> {
    for (const close of this.#closers.reverse()) {
      // One that can not be closed must not keep the others.
      await Promise.resolve(close()).catch(() => undefined);
    }
  }

  #now(): number {
    return Date.now() - this.#startedAt;
  }

  async #light(): Promise<void> {
    const { seed, speed, vendorFaults, workers, control, say } = this.#options;
    const folders = { files: path.join(this.#folder, 'files'), artifacts: path.join(this.#folder, 'artifacts') };
    for (const folder of Object.values(folders)) mkdirSync(folder);
    writeFileSync(path.join(folders.files, 'doc.md'), '# A document\n\nOf two lines.\n');

    this.#redis = new MortalRedis(path.join(this.#folder, 'redis'), this.#options.redis);
    await this.#redis.start();
    this.#closers.push(() => this.#redis.stop());
    this.#vendor = new Child(this.#build.child('vendor'), { CHAOS_SPEED: String(speed) }, [
      '--max-old-space-size=4096',
    ]);
    this.#closers.push(() => this.#vendor.end());
    const vendorPort = await this.#ask<number>('listen');
    await this.#ask('arm', { faults: vendorFaults, seed });
    this.#redisProxy = await TcpProxy.open(() => this.#redis.port);
    this.#vendorProxy = await TcpProxy.open(() => vendorPort);
    this.#closers.push(
      () => this.#redisProxy.close(),
      () => this.#vendorProxy.close(),
    );

    this.#direct = this.#connect({ commandTimeout: 1_000 });
    this.#recovery = new RecoveryWatch(this.#direct, prefix, stageQueues);
    const collecting = this.#connect();
    const collector = new Worker('results', async ({ data }: { data: CompletionEvent }) => this.#collect(data), {
      connection: collecting,
      prefix,
      concurrency: 50,
    });
    collector.on('error', () => undefined);
    this.#queue = new Queue('knowhere.submit', { connection: this.#connect(), prefix, skipMetasUpdate: true });
    this.#queue.on('error', () => undefined);
    this.#reader = new SubmissionReader(this.#connect(), prefix);
    this.#closers.push(() => collector.close(true));

    const env = {
      REDIS_URL: `redis://127.0.0.1:${this.#redisProxy.port}`,
      JOBFERRY_PREFIX: prefix,
      JOBFERRY_FILES_DIR: folders.files,
      JOBFERRY_ARTIFACTS_DIR: folders.artifacts,
      JOBFERRY_ALLOW_PRIVATE_URLS: 'true',
      JOBFERRY_CONFIG: path.join(this.#folder, 'config.json'),
      KNOWHERE_API_KEY: 'sk_fire',
      KNOWHERE_BASE_URL: `http://127.0.0.1:${this.#vendorProxy.port}/knowhere`,
      CHAOS_LOG: path.join(this.#folder, 'workers.log'),
      ...(control === undefined ? {} : { CHAOS_CONTROL: control }),
    };
    writeFileSync(env.JOBFERRY_CONFIG, JSON.stringify({ reconcile: this.#options.reconcile }));
    this.#crew = new Crew(() => new Child(this.#build.child('worker'), env), {
      onDeath: (worker, at) => this.#track(this.#onDeath(worker, at)),
      onDying: (point) => {
        this.#diedAt.set(point, (this.#diedAt.get(point) ?? 0) + 1);
        this.#mark('die-at', point);
      },
      onFreezing: (worker, point) => {
        this.#mark(worker.freezeMs > 20_000 ? 'freeze-long' : 'freeze-at', point);
        this.#track(this.#thaw(worker, worker.freezeMs));
      },
    });
    this.#closers.push(() => this.#crew.close());
    for (let count = 0; count < workers; count += 1) this.#crew.start();
    await this.#until(() => this.#crew.able.length === workers, 30_000);
    say(`${workers} workers, Redis (${this.#options.redis}) and the vendor are up; seed ${seed}`);
  }

  #connect(more: { commandTimeout?: number } = {}): Redis {
    const redis = new Redis(this.#redis.url, {
      maxRetriesPerRequest: null,
      retryStrategy: () => 200,
      ...more,
    });
    redis.on('error', () => undefined);
    this.#closers.push(() => redis.disconnect());
    return redis;
  }

  // Producers and consumers.

  /** Pushes all submissions the way any BullMQ client does, evenly over the burn. */
  async #submitAll(): Promise<void> {
    const { submissions, burnMs } = this.#options;
    const random = new Random(this.#options.seed + 1);
    const pushing = new Set<Promise<void>>();
    const from = Date.now();
    for (let count = 0; count < submissions;) {
      const due = Math.min(submissions, Math.ceil(((Date.now() - from) / (burnMs * 0.92)) * submissions));
      for (; count < due; count += 1) {
        const id = `s-${String(count).padStart(6, '0')}`;
        const draw = random.next();
        const push = this.#push(id, draw).then(async () => {
          if (random.next() < 0.05) {
            // A caller that is not sure whether its push came through pushes again.
            await sleep(random.between(0, 8_000));
            await this.#push(id, draw);
          }
          if (random.next() < 0.02) await this.#cancel(id, random.between(0, 5_000));
        });
        pushing.add(push);
        void push.finally(() => pushing.delete(push));
      }
      await sleep(50);
    }
    await Promise.all(pushing);
  }

  async #push(id: string, draw: number): Promise<void> {
    const isFile = draw < 0.15;
    const input = isFile
      ? { sourceType: 'file', file: 'doc.md', fileName: `${id}.md` }
      : {
          sourceType: 'url',
          sourceUrl: `https://example.com/${id}.pdf`,
          // Some callers label the vendor's job themselves.
          ...(draw > 0.9 ? { dataId: id } : {}),
        };
    const poll = { initialDelayMs: 400, factor: 1.4, maxDelayMs: 2_500, deadlineMs: 1_200_000 };
    const data = { input, poll, metadata: { draw } };
    this.#data.set(id, data);
    await this.#queue.add('parse', data, { jobId: id });
    // What counts is what Redis has confirmed.
    if (!this.#submissions.has(id)) this.#submissions.set(id, { id, isFile, pushedAt: Date.now() });
  }

  async #cancel(id: string, afterMs: number): Promise<void> {
    await sleep(afterMs);
    const result = await this.#reader.cancel('knowhere', id, Date.now());
    const submitted = this.#submissions.get(id);
    if (result === 'requested' && submitted !== undefined) submitted.cancelRequestedAt = Date.now();
  }

  #collect(event: CompletionEvent): void {
    const id = event.subject;
    const got = this.#deliveries.get(id);
    if (got === undefined) this.#deliveries.set(id, [{ at: Date.now(), event }]);
    else got.push({ at: Date.now(), event });
  }

  #sample(): void {
    this.#timeline.push({ at: this.#now(), submitted: this.#submissions.size, settled: this.#deliveries.size });
  }

  // Faults.

  async #strikeAll(): Promise<void> {
    const { faults, burnMs } = this.#options;
    const deck = this.#random.shuffle(
      (Object.keys(faults) as FaultKind[]).flatMap((kind) => Array.from({ length: faults[kind] }, () => kind)),
    );
    const gap = (burnMs - 3_000) / Math.max(1, deck.length);
    const from = Date.now() + 2_000;
    for (const [index, kind] of deck.entries()) {
      const at = from + gap * (index + this.#random.next() * 0.8);
      await sleep(Math.max(0, at - Date.now()));
      // Drawn here, in order, so that what happens meanwhile changes no later draw.
      const draws = { a: this.#random.next(), b: this.#random.next(), c: this.#random.below(1_000_000) };
      this.#track(this.#strike(kind, draws));
    }
    await sleep(Math.max(0, from + burnMs - 3_000 - Date.now()));
  }

  #track(work: Promise<void>): void {
    const guarded = work.catch((error: unknown) => this.#options.say(`a fault went wrong: ${String(error)}`));
    this.#atWork.add(guarded);
    void guarded.finally(() => this.#atWork.delete(guarded));
  }

  #mark(kind: FaultKind, note?: string): void {
    this.#faults.push({ at: this.#now(), kind, ...(note === undefined ? {} : { note }) });
  }

  async #strike(kind: FaultKind, draws: { a: number; b: number; c: number }): Promise<void> {
    const { reconcile } = this.#options;
    switch (kind) {
      case 'kill': {
        const worker = await this.#victim(draws.c);
        if (worker === undefined) return;
        this.#mark(kind);
        worker.child.signal('SIGKILL');
        return;
      }
      case 'die-at': {
        const worker = await this.#victim(draws.c, true);
        // The place that was hit least so far, so that all are hit alike.
        const hits = (point: Checkpoint): number =>
          (this.#diedAt.get(point) ?? 0) + this.#crew.all.filter((one) => one.order?.point === point).length;
        const [point] = checkpoints.toSorted((one, other) => hits(one) - hits(other));
        if (worker !== undefined && point !== undefined) {
          worker.give({ kind, point, skip: Math.floor(draws.a * 3) });
        }
        return;
      }
      case 'freeze': {
        const worker = await this.#victim(draws.c);
        if (worker === undefined) return;
        this.#mark(kind);
        worker.isFrozen = true;
        worker.child.signal('SIGSTOP');
        await this.#thaw(worker, lockMs + 2_000 + draws.a * 4_000);
        return;
      }
      case 'freeze-at':
      case 'freeze-long': {
        const worker = await this.#victim(draws.c, true);
        if (worker === undefined) return;
        const isLong = kind === 'freeze-long';
        worker.freezeMs = isLong
          ? reconcile.inFlightMs + reconcile.absenceMs + 9_000
          : lockMs + 3_000 + draws.a * 3_000;
        const point = isLong ? 'intent-saved' : (checkpoints[draws.c % checkpoints.length] ?? 'intent-saved');
        worker.give({ kind: 'freeze-at', point, skip: Math.floor(draws.b * 3) });
        return;
      }
      case 'block': {
        const worker = await this.#victim(draws.c);
        if (worker === undefined) return;
        this.#mark(kind);
        worker.child.send({ kind: 'block', ms: 6_000 });
        await sleep(500);
        await this.#noteInterrupted(worker.owners);
        return;
      }
      case 'roll': {
        const worker = await this.#victim(draws.c);
        if (worker === undefined) return;
        this.#mark(kind);
        await this.#noteInterrupted(worker.owners);
        this.#rollExits.push(await this.#crew.roll(worker));
        return;
      }
      case 'redis-kill':
        return this.#oneByOne('redis', () => this.#killRedis(300 + draws.a * 2_500));
      case 'redis-cut':
        return this.#oneByOne('redis', async () => {
          this.#mark(kind);
          await this.#noteInterrupted();
          const random = new Random(draws.c);
          const share = draws.a < 0.5 ? 1 : 0.5;
          this.#redisProxy.cut(() => random.next() < share);
        });
      case 'redis-delay':
        return this.#oneByOne('redis', async () => {
          this.#mark(kind);
          await this.#noteInterrupted();
          this.#redisProxy.delayMs = 50 + draws.a * 250;
          await sleep(2_000 + draws.b * 3_000);
          // Data on its way must not be overtaken by data that is not delayed.
          this.#redisProxy.cut();
          this.#redisProxy.delayMs = 0;
        });
      case 'vendor-cut':
        return this.#vendorTroubled(kind, async () => {
          this.#vendorProxy.cut();
        });
      case 'vendor-delay':
        return this.#vendorTroubled(kind, async () => {
          this.#vendorProxy.delayMs = 200 + draws.a * 1_300;
          await sleep(2_000 + draws.b * 3_000);
          this.#vendorProxy.cut();
          this.#vendorProxy.delayMs = 0;
        });
      case 'vendor-down':
        return this.#vendorTroubled(kind, async () => {
          await this.#vendorProxy.goDown();
          await sleep(2_000 + draws.a * 4_000);
          await this.#vendorProxy.comeBack();
        });
      case 'vendor-frozen':
        return this.#vendorTroubled(kind, async () => {
          this.#vendor.signal('SIGSTOP');
          await sleep(2_000 + draws.a * 4_000);
          this.#vendor.signal('SIGCONT');
        });
      default:
        return kind satisfies never;
    }
  }

  /** @param isForOrder - one that has no order yet: a second one would replace the first */
  async #victim(draw: number, isForOrder = false): Promise<WorkerProcess | undefined> {
    const end = Date.now() + 4_000;
    for (;;) {
      const able = this.#crew.able.filter((worker) => !isForOrder || worker.order === undefined);
      if (able.length > 0) return able[draw % able.length];
      if (Date.now() > end) {
        this.#missed += 1;
        return undefined;
      }
      await sleep(50);
    }
  }

  async #onDeath(worker: WorkerProcess, at: number): Promise<void> {
    this.#kills += 1;
    const held = await this.#recovery.heldBy(worker.owners).catch(() => []);
    this.#recovery.watch(held, at);
    for (const { jobId } of held) this.#interrupted(jobId);
  }

  async #thaw(worker: WorkerProcess, afterMs: number): Promise<void> {
    await this.#noteInterrupted(worker.owners);
    await sleep(afterMs);
    worker.child.signal('SIGCONT');
    worker.isFrozen = false;
  }

  async #killRedis(awayMs: number): Promise<void> {
    await this.#noteInterrupted();
    this.#mark('redis-kill');
    this.#recovery.spoil();
    const { at, lostFrom } = await this.#redis.kill();
    await sleep(awayMs);
    await this.#redis.start();
    this.#recovery.spoil();
    if (lostFrom === at) return;
    this.#lost.push({ from: lostFrom, to: Date.now() });
    // A producer whose Redis lost a second pushes what it pushed last once more; who is known does not notice.
    for (const { id, pushedAt } of [...this.#submissions.values()]) {
      if (pushedAt < lostFrom - 1_000 || pushedAt > Date.now()) continue;
      await this.#queue.add('parse', this.#data.get(id), { jobId: id });
    }
  }

  async #vendorTroubled(kind: FaultKind, trouble: () => Promise<void>): Promise<void> {
    return this.#oneByOne('vendor', async () => {
      this.#mark(kind);
      const window = { from: Date.now(), to: Number.POSITIVE_INFINITY };
      this.#vendorTrouble.push(window);
      await trouble();
      window.to = Date.now();
    });
  }

  /** Faults of one thing wait for each other: a Redis that is down can not be killed. */
  async #oneByOne(thing: 'redis' | 'vendor', fault: () => Promise<void>): Promise<void> {
    if (thing === 'redis') await (this.#redisBusy = this.#redisBusy.then(fault));
    else await (this.#vendorBusy = this.#vendorBusy.then(fault));
  }

  async #noteInterrupted(owners?: readonly string[]): Promise<void> {
    const held = await this.#recovery.heldBy(owners).catch(() => []);
    for (const { jobId } of held) this.#interrupted(jobId);
  }

  #interrupted(jobId: string): void {
    this.#interruptions.set(jobId, (this.#interruptions.get(jobId) ?? 0) + 1);
  }

  // The end.

  /** No fault begins from here on; those under way come to their end. */
  async #putOut(): Promise<void> {
    await this.#ask('disarm');
    while (this.#atWork.size > 0) await Promise.all(this.#atWork);
    // Orders that were never carried out die with their process.
    for (const worker of this.#crew.able.filter((one) => one.order !== undefined)) worker.child.signal('SIGKILL');
    this.#options.say(
      `${this.#faults.length} faults struck, ${this.#submissions.size} submitted, ${this.#deliveries.size} settled so far`,
    );
  }

  async #settles(): Promise<boolean> {
    return this.#until(
      async () => this.#submissions.size <= this.#deliveries.size && (await this.#leftovers()).length === 0,
      this.#options.settleMs,
    );
  }

  async #leftovers(): Promise<Leftover[]> {
    const leftovers: Leftover[] = [];
    for (const queue of [...stageQueues, 'results']) {
      const base = `${prefix}:${queue}`;
      const places: [string, string[]][] = [];
      for (const place of ['wait', 'active', 'paused']) {
        places.push([place, await this.#direct.lrange(`${base}:${place}`, 0, -1)]);
      }
      for (const place of ['delayed', 'prioritized', 'failed']) {
        places.push([place, await this.#direct.zrange(`${base}:${place}`, '0', '-1')]);
      }
      for (const [place, ids] of places) {
        for (const jobId of ids) {
          const record = await this.#direct.hget(`${base}:${jobId}`, 'progress');
          leftovers.push({ queue, jobId, place, record });
        }
      }
    }
    return leftovers;
  }

  async #failedJobs(): Promise<number> {
    const counts = await Promise.all(stageQueues.map((queue) => this.#direct.zcard(`${prefix}:${queue}:failed`)));
    return counts.reduce((sum, count) => sum + count, 0);
  }

  async #audit(): Promise<Audit> {
    const file = path.join(this.#folder, 'audit.json');
    await this.#ask('audit', file);
    return JSON.parse(readFileSync(file, 'utf8')) as Audit;
  }

  async #until(probe: () => boolean | Promise<boolean>, withinMs: number): Promise<boolean> {
    const end = Date.now() + withinMs;
    for (;;) {
      if (await probe()) return true;
      if (Date.now() > end) return false;
      await sleep(250);
    }
  }

  #lastQuestion = 0;

  async #ask<T>(ask: string, given: unknown = null): Promise<T> {
    const id = (this.#lastQuestion += 1);
    const { process } = this.#vendor;
    return new Promise((resolve, reject) => {
      const onMessage = (message: unknown): void => {
        const answer = message as { id: number; value?: T; error?: string };
        if (answer.id !== id) return;
        process.off('message', onMessage);
        if (answer.error === undefined) resolve(answer.value as T);
        else reject(new Error(answer.error));
      };
      process.on('message', onMessage);
      this.#vendor.send({ id, ask, with: given });
    });
  }
}
