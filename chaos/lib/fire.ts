import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'bullmq';
import type { CompletionEvent } from '../../src/core/completion-event.ts';
import { hashFields } from '../../src/queues/keys.ts';
import { checkpoints } from '../../src/workers/engine.ts';
import type { Build } from './build.ts';
import { check, type Verdict } from './check.ts';
import { Child } from './child.ts';
import type { Audit, Leftover, Told } from './evidence.ts';
import { parentQueue } from './loads.ts';
import type { FireOptions } from './options.ts';
import { Outsiders } from './outsiders.ts';
import { fingerprint, Parents } from './parents.ts';
import { Producer } from './producer.ts';
import { Random } from './random.ts';
import { RecoveryWatch, type Sample } from './recovery.ts';
import { prefix, Scene, stageQueues } from './scene.ts';
import { Strikes, type Burning, type StruckFault } from './strikes.ts';
import { Crew, type Departure } from './workers.ts';

/** When the wrong key is mended, as a share of the burn. */
const mendedAt = 0.4;
const progressMs = 30_000;
const mostPoints = 4_000;
/** How far the clock of a worker is off from its start, ms. */
const skewMs = 40_000;

/** How long the jobs of one dead process lay idle, and what burned meanwhile. */
export interface Recovery extends Sample {
  during: Burning['kind'][];
}

export interface FireReport {
  verdict: Verdict;
  faults: StruckFault[];
  /** Faults for which no worker was there to be struck. */
  missed: number;
  diedAt: Record<string, number>;
  kills: number;
  workersStarted: number;
  /** How workers that were told to stop ended. */
  departures: Departure[];
  recovery: Recovery[];
  abandoned: number;
  /** Submissions that the producer pushed once more after Redis lost its last writes. */
  pushedAgain: number;
  /** How often and how long this process stood still, and the machine with it, perhaps. */
  standstills: { count: number; longestMs: number };
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
 * Sets fire to a whole installation, worker processes, Redis and vendors, puts it out, and looks at what is left.
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
  readonly #build: Build;
  readonly #folder: string;
  readonly #startedAt = Date.now();
  readonly #scene: Scene;
  readonly #producer: Producer;
  readonly #strikes: Strikes;
  readonly #told = new Map<string, Told[]>();
  readonly #timeline: FireReport['timeline'] = [];
  readonly #timers: NodeJS.Timeout[] = [];
  #crew: Crew | undefined;
  #recovery: RecoveryWatch | undefined;
  #collector: Worker | undefined;
  #parents: Parents | undefined;
  #outsiders: Outsiders | undefined;

  constructor(options: FireOptions, build: Build, folder: string) {
    this.#options = options;
    this.#build = build;
    this.#folder = folder;
    const scene = new Scene(options, build, folder);
    this.#scene = scene;
    const { accounts, queues } = scene;
    const countSettled = (): number => this.#told.size;
    const targets = { queues, flows: () => scene.flows, reader: () => scene.reader };
    this.#producer = new Producer(targets, { ...options, accounts, countSettled });
    this.#strikes = new Strikes(options, scene, this.#producer, this.#startedAt);
  }

  async run(): Promise<FireReport> {
    const { crew, recovery } = await this.#light();
    const litAt = this.#now();
    this.#keepTime();
    await Promise.all([this.#producer.submitAll(), this.#strikes.strikeAll()]);
    await this.#scene.vendor.disarm();
    await this.#strikes.putOut();
    this.#sayProgress('out');
    const lastFaultAt = this.#now();
    const isSettled = await this.#until(() => this.#isOver(), this.#options.settleMs);
    const settledAfterMs = isSettled ? this.#now() - lastFaultAt : null;
    this.#sayEnd(settledAfterMs);
    // Whoever still wants to say something twice may do so.
    await sleep(2_000);
    this.#sample();
    recovery.stop();
    const { verdict, vendor } = await this.#check();
    const strikes = this.#strikes;
    const standstills = strikes.windowsOf('machine').map(({ from, to }) => to - from);
    return {
      verdict,
      vendor,
      settledAfterMs,
      faults: strikes.faults.toSorted((one, other) => one.at - other.at),
      missed: strikes.missed,
      diedAt: Object.fromEntries(checkpoints.map((point) => [point, strikes.diedAt.get(point) ?? 0])),
      kills: strikes.kills,
      workersStarted: crew.started,
      departures: strikes.departures,
      recovery: recovery.samples.map((sample) => ({ ...sample, during: this.#burningDuring(sample) })),
      abandoned: recovery.abandoned.length,
      pushedAgain: strikes.pushedAgain,
      standstills: { count: standstills.length, longestMs: Math.max(0, ...standstills) },
      timeline: this.#timeline,
      durationMs: this.#now() - litAt,
    };
  }

  async end(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    this.#strikes.stop();
    this.#recovery?.stop();
    await this.#crew?.close();
    await this.#collector?.close(true).catch(() => undefined);
    await this.#parents?.close();
    await this.#outsiders?.close();
    await this.#scene.close();
  }

  #now(): number {
    return Date.now() - this.#startedAt;
  }

  async #light(): Promise<{ crew: Crew; recovery: RecoveryWatch }> {
    const { workers, redis, seed, say } = this.#options;
    const scene = this.#scene;
    await scene.open(this.#options);
    this.#collector = new Worker('results', async ({ data }: { data: CompletionEvent }) => this.#collect(data), {
      connection: scene.connect(),
      prefix,
      concurrency: 50,
    });
    this.#collector.on('error', () => undefined);
    this.#parents = new Parents(() => scene.connect(), prefix);
    this.#outsiders = new Outsiders(scene.direct, scene.redis.port, this.#producer);
    const env = scene.workerEnv(this.#options);
    const clocks = new Random(seed + 2);
    const crew = new Crew(() => {
      // Every third machine has another time, by less than what work is still taken with.
      const clockMs = clocks.next() < 1 / 3 ? Math.round(clocks.between(-skewMs, skewMs)) : 0;
      return new Child(this.#build.child('worker'), { ...env, CHAOS_CLOCK_MS: String(clockMs) });
    }, this.#strikes);
    this.#crew = crew;
    const recovery = new RecoveryWatch(scene.direct, prefix, stageQueues, () => crew.able.length);
    this.#recovery = recovery;
    this.#strikes.begin(crew, recovery, this.#outsiders);
    for (let count = 0; count < workers; count += 1) crew.start();
    await this.#until(() => crew.able.length === workers, 30_000);
    say(`${workers} workers, Redis (${redis}) and the vendors are up; seed ${seed}`);
    return { crew, recovery };
  }

  #keepTime(): void {
    const { burnMs } = this.#options;
    const every = (ms: number, act: () => void): void => void this.#timers.push(setInterval(act, ms));
    every(Math.max(250, burnMs / mostPoints), () => this.#sample());
    if (burnMs > 4 * progressMs) every(progressMs, () => this.#sayProgress('burning'));
    this.#timers.push(setTimeout(() => this.#scene.mendKey(), burnMs * mendedAt));
  }

  #collect(event: CompletionEvent): void {
    const told = toTold(event);
    const before = this.#told.get(event.subject);
    if (before === undefined) this.#told.set(event.subject, [told]);
    else before.push(told);
  }

  #sample(): void {
    this.#timeline.push({ at: this.#now(), submitted: this.#producer.submissions.size, settled: this.#told.size });
  }

  #sayProgress(what: string): void {
    const { faults, kills } = this.#strikes;
    const memory = Math.round(process.memoryUsage.rss() / 1_048_576);
    const counts = `${this.#producer.submissions.size} submitted, ${this.#told.size} settled`;
    this.#options.say(
      `${Math.round(this.#now() / 1_000)} s, ${what}: ${counts}, ${faults.length} faults, ${kills} deaths; controller ${memory} MB`,
    );
  }

  #sayEnd(settledAfterMs: number | null): void {
    const missing = this.#producer.submissions.size - this.#told.size;
    this.#options.say(
      settledAfterMs === null
        ? `NOT settled: ${missing} without an event`
        : `settled ${settledAfterMs / 1_000} s after the last fault`,
    );
  }

  // The end.

  async #check(): Promise<Pick<FireReport, 'verdict' | 'vendor'>> {
    const strikes = this.#strikes;
    const leftovers = await this.#leftovers();
    const audit = await this.#scene.vendor.audit(path.join(this.#folder, 'audit.json'));
    const verdict = check({
      submissions: this.#producer.submissions,
      deliveries: this.#told,
      audit,
      leftovers,
      parents: (await this.#parents?.ends(this.#producer.submissions.values())) ?? new Map(),
      pauses: strikes.windowsOf('pause'),
      lost: strikes.lost,
      vendorTrouble: strikes.windowsOf('vendor-cut', 'vendor-delay', 'vendor-down', 'vendor-frozen'),
      standstill: strikes.windowsOf('freeze', 'freeze-at', 'freeze-long', 'block', 'machine', 'blind'),
      interruptions: strikes.interruptions,
    });
    const { requests, byRoute, byStatus, byFault } = audit;
    return { verdict, vendor: { requests, byRoute, byStatus, byFault } };
  }

  #burningDuring({ since, ms }: Sample): Burning['kind'][] {
    const kinds = this.#strikes.burning.filter(({ from, to }) => from <= since + ms && to >= since);
    return [...new Set(kinds.map(({ kind }) => kind))];
  }

  async #isOver(): Promise<boolean> {
    if (this.#producer.submissions.size > this.#told.size) return false;
    return (await this.#leftovers().catch(() => undefined))?.length === 0;
  }

  async #leftovers(): Promise<Leftover[]> {
    const leftovers: Leftover[] = [];
    for (const queue of [...stageQueues, 'results', parentQueue]) {
      for (const [place, ids] of await this.#places(queue)) {
        for (const jobId of ids) {
          if (place === 'failed' && (queue === parentQueue || this.#mayFail(jobId))) continue;
          const record = await this.#scene.direct.hget(`${prefix}:${queue}:${jobId}`, hashFields.record);
          leftovers.push({ queue, jobId, place, record });
        }
      }
    }
    return leftovers;
  }

  async #places(queue: string): Promise<[string, string[]][]> {
    const { direct } = this.#scene;
    const places: [string, string[]][] = [];
    for (const place of ['wait', 'active', 'paused']) {
      places.push([place, await direct.lrange(`${prefix}:${queue}:${place}`, 0, -1)]);
    }
    for (const place of ['delayed', 'prioritized', 'failed', 'waiting-children']) {
      places.push([place, await direct.zrange(`${prefix}:${queue}:${place}`, '0', '-1')]);
    }
    return places;
  }

  /** A submit job that a parent or a deduplication waits for fails where its submission does not succeed. */
  #mayFail(id: string): boolean {
    const submitted = this.#producer.submissions.get(id);
    const [told] = this.#told.get(id) ?? [];
    if (submitted === undefined || told === undefined || told.outcome === 'succeeded') return false;
    return submitted.parent !== undefined || submitted.isDeduplicated === true || submitted.twinOf !== undefined;
  }

  async #until(probe: () => boolean | Promise<boolean>, withinMs: number): Promise<boolean> {
    const end = Date.now() + withinMs;
    for (;;) {
      if (await probe()) return true;
      if (Date.now() > end) return false;
      await sleep(250);
    }
  }
}

/** A long run's events would not fit into memory: what the checks need, and a fingerprint of the rest. */
function toTold(event: CompletionEvent): Told {
  const { outcome, vendorJobs, error, timings, polls } = event.data;
  return {
    at: Date.now(),
    eventId: event.id,
    content: fingerprint(event),
    data: fingerprint(event.data),
    outcome,
    vendorJobs: vendorJobs.map(({ id, status }) => ({ id, status })),
    because: error === null ? '' : `${error.code}: ${error.message.slice(0, 160)}`,
    enqueuedAt: Date.parse(timings.enqueuedAt),
    submittedAt: timings.submittedAt === null ? null : Date.parse(timings.submittedAt),
    settledAt: Date.parse(timings.settledAt),
    polls,
  };
}
