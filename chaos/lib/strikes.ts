import { setTimeout as sleep } from 'node:timers/promises';
import { checkpoints, type Checkpoint } from '../../src/workers/engine.ts';
import type { Window } from './evidence.ts';
import type { FaultKind, FireOptions } from './options.ts';
import type { Outsiders } from './outsiders.ts';
import type { Producer } from './producer.ts';
import { Random } from './random.ts';
import type { RecoveryWatch } from './recovery.ts';
import type { Scene } from './scene.ts';
import type { Crew, Departure, WorkerProcess } from './workers.ts';

export interface StruckFault {
  /** Since the start, ms. */
  at: number;
  kind: FaultKind;
  note?: string;
}

/** A time in which something burned. `machine`: this process stood still, and the others with it, perhaps. */
export interface Burning extends Window {
  kind: FaultKind | 'machine' | 'blind';
}

interface Draws {
  a: number;
  b: number;
  c: number;
}

const lockMs = 5_000;
const hangMs = 6_000;
/** How long clients of Redis need to be themselves again after a cut, ms. */
const afterCutMs = 1_000;
/** How far faults may be ahead of the submissions, as a share of the run. */
const allowedLead = 0.1;
const hourMs = 3_600_000;
const lagTickMs = 100;
const lagMs = 1_000;

/** Strikes the faults of a run, in the order that its seed decides, and remembers when what burned. */
export class Strikes {
  readonly faults: StruckFault[] = [];
  readonly burning: Burning[] = [];
  /** By submission: how often a process that held its job died, froze, was rolled or lost Redis. */
  readonly interruptions = new Map<string, number>();
  /** Times of which Redis forgot what it was told. */
  readonly lost: Window[] = [];
  readonly departures: Departure[] = [];
  readonly diedAt = new Map<Checkpoint, number>();
  /** Faults for which no worker was there to be struck. */
  missed = 0;
  kills = 0;
  pushedAgain = 0;
  readonly #startedAt: number;
  readonly #options: FireOptions;
  readonly #random: Random;
  readonly #scene: Scene;
  readonly #producer: Producer;
  readonly #atWork = new Set<Promise<void>>();
  readonly #lagTimer: NodeJS.Timeout;
  #crew!: Crew;
  #recovery!: RecoveryWatch;
  #outsiders!: Outsiders;
  #redisBusy: Promise<unknown> = Promise.resolve();
  #vendorBusy: Promise<unknown> = Promise.resolve();
  #queuesBusy: Promise<unknown> = Promise.resolve();

  constructor(options: FireOptions, scene: Scene, producer: Producer, startedAt: number) {
    this.#options = options;
    this.#random = new Random(options.seed);
    this.#scene = scene;
    this.#producer = producer;
    this.#startedAt = startedAt;
    let before = Date.now();
    this.#lagTimer = setInterval(() => {
      const now = Date.now();
      if (now - before > lagMs) this.burning.push({ kind: 'machine', from: before, to: now });
      before = now;
    }, lagTickMs);
  }

  /** @param crew - whom to strike */
  begin(crew: Crew, recovery: RecoveryWatch, outsiders: Outsiders): void {
    this.#crew = crew;
    this.#recovery = recovery;
    this.#outsiders = outsiders;
  }

  stop(): void {
    clearInterval(this.#lagTimer);
  }

  async strikeAll(): Promise<void> {
    const { faults, burnMs } = this.#options;
    const deck = this.#random.shuffle(
      (Object.keys(faults) as FaultKind[]).flatMap((kind) => Array.from({ length: faults[kind] }, () => kind)),
    );
    const gap = (burnMs - 3_000) / Math.max(1, deck.length);
    const from = Date.now() + 2_000;
    for (const [index, kind] of deck.entries()) {
      const at = from + gap * (index + this.#random.next() * 0.8);
      await sleep(Math.max(0, at - Date.now()));
      // Where submissions fall behind, faults wait for them: as many for each submission, however slow the machine.
      while (this.#producer.share < index / deck.length - allowedLead) await sleep(100);
      // Drawn here, in order, so that what happens meanwhile changes no later draw.
      const draws = { a: this.#random.next(), b: this.#random.next(), c: this.#random.below(1_000_000) };
      this.#track(this.#strike(kind, draws));
    }
    await sleep(Math.max(0, from + burnMs - 3_000 - Date.now()));
  }

  /** No fault begins from here on; those under way come to their end. */
  async putOut(): Promise<void> {
    while (this.#atWork.size > 0) await Promise.all(this.#atWork);
    await this.#outsiders.resumeAll();
    // Orders that were never carried out die with their process.
    for (const worker of this.#crew.able.filter((one) => one.order !== undefined)) worker.child.signal('SIGKILL');
  }

  windowsOf(...kinds: readonly Burning['kind'][]): Window[] {
    return this.burning.filter(({ kind }) => kinds.includes(kind));
  }

  // What workers tell.

  onDeath(worker: WorkerProcess, at: number): void {
    this.kills += 1;
    this.#track(
      (async (): Promise<void> => {
        const held = await this.#heldBy(worker.owners);
        this.#recovery.watch(held, at);
      })(),
    );
  }

  onDying(point: Checkpoint): void {
    this.diedAt.set(point, (this.diedAt.get(point) ?? 0) + 1);
    this.#mark('die-at', point);
  }

  onFreezing(worker: WorkerProcess, point: Checkpoint): void {
    const kind = worker.freezeMs > 20_000 ? 'freeze-long' : 'freeze-at';
    this.#mark(kind, point);
    this.#track(this.#thaw(kind, worker, worker.freezeMs));
  }

  async #strike(kind: FaultKind, draws: Draws): Promise<void> {
    switch (kind) {
      case 'kill':
      case 'freeze':
      case 'block':
      case 'clock':
      case 'roll': {
        const worker = await this.#victim(draws.c);
        if (worker === undefined) return;
        this.#mark(kind);
        return this.#strikeWorker(kind, worker, draws);
      }
      case 'die-at':
      case 'freeze-at':
      case 'freeze-long': {
        const worker = await this.#victim(draws.c, true);
        if (worker !== undefined) this.#order(kind, worker, draws);
        return;
      }
      case 'redis-kill':
      case 'redis-cut':
      case 'redis-delay':
        await (this.#redisBusy = this.#redisBusy.then(() => this.#strikeRedis(kind, draws)));
        return;
      case 'vendor-cut':
      case 'vendor-delay':
      case 'vendor-down':
      case 'vendor-frozen':
        await (this.#vendorBusy = this.#vendorBusy.then(() => this.#strikeVendor(kind, draws)));
        return;
      case 'pause':
      case 'clean':
        await (this.#queuesBusy = this.#queuesBusy.then(() => this.#strikeQueues(kind, draws)));
        return;
      case 'touch':
      case 'promote':
      case 'remove':
        return this.#strikeQueues(kind, draws);
      default:
        return kind satisfies never;
    }
  }

  async #strikeWorker(
    kind: 'kill' | 'freeze' | 'block' | 'clock' | 'roll',
    worker: WorkerProcess,
    draws: Draws,
  ): Promise<void> {
    switch (kind) {
      case 'clock':
        return this.#setClock(worker, draws);
      case 'kill':
        worker.child.signal('SIGKILL');
        return;
      case 'freeze':
        worker.isFrozen = true;
        worker.child.signal('SIGSTOP');
        return this.#thaw(kind, worker, lockMs + 2_000 + draws.a * 4_000);
      case 'block':
        worker.hangsUntil = Date.now() + hangMs + 500;
        worker.child.send({ kind: 'block', ms: hangMs });
        this.burning.push({ kind, from: Date.now(), to: worker.hangsUntil });
        await sleep(500);
        await this.#heldBy(worker.owners);
        return;
      case 'roll':
        await this.#heldBy(worker.owners);
        this.departures.push(await this.#crew.roll(worker));
    }
  }

  /** By seconds, for good; or by minutes to a day, and set back some seconds later. */
  async #setClock(worker: WorkerProcess, { a, b }: Draws): Promise<void> {
    const sign = b < 0.5 ? -1 : 1;
    if (a < 0.5) return worker.child.send({ kind: 'clock', ms: sign * (5_000 + a * 70_000) });
    worker.child.send({ kind: 'clock', ms: sign * (hourMs / 30 + (a - 0.5) * 48 * hourMs) });
    await sleep(4_000 + b * 3_000);
    worker.child.send({ kind: 'clock', ms: 0 });
  }

  #order(kind: 'die-at' | 'freeze-at' | 'freeze-long', worker: WorkerProcess, draws: Draws): void {
    const { inFlightMs, absenceMs } = this.#options.reconcile;
    if (kind === 'die-at') {
      worker.give({ kind, point: this.#leastHit(), skip: Math.floor(draws.a * 3) });
      return;
    }
    const isLong = kind === 'freeze-long';
    worker.freezeMs = isLong ? inFlightMs + absenceMs + 9_000 : lockMs + 3_000 + draws.a * 3_000;
    const point = isLong ? 'intent-saved' : (checkpoints[draws.c % checkpoints.length] ?? 'intent-saved');
    worker.give({ kind: 'freeze-at', point, skip: Math.floor(draws.b * 3) });
  }

  /** The place that was hit least so far, so that all are hit alike. */
  #leastHit(): Checkpoint {
    const hits = (point: Checkpoint): number =>
      (this.diedAt.get(point) ?? 0) + this.#crew.all.filter((one) => one.order?.point === point).length;
    return checkpoints.toSorted((one, other) => hits(one) - hits(other))[0] ?? 'intent-saved';
  }

  async #strikeRedis(kind: 'redis-kill' | 'redis-cut' | 'redis-delay', draws: Draws): Promise<void> {
    const { redisProxy } = this.#scene;
    this.#mark(kind);
    const burning: Burning = { kind, from: Date.now(), to: Number.POSITIVE_INFINITY };
    this.burning.push(burning);
    await this.#heldBy();
    switch (kind) {
      case 'redis-kill':
        await this.#killRedis(300 + draws.a * 2_500);
        break;
      case 'redis-cut': {
        const random = new Random(draws.c);
        const share = draws.a < 0.5 ? 1 : 0.5;
        redisProxy.cut(() => random.next() < share);
        break;
      }
      case 'redis-delay':
        redisProxy.delayMs = 50 + draws.a * 250;
        await sleep(2_000 + draws.b * 3_000);
        // Data on its way must not be overtaken by data that is not delayed.
        redisProxy.cut();
        redisProxy.delayMs = 0;
    }
    burning.to = Date.now() + afterCutMs;
  }

  async #killRedis(awayMs: number): Promise<void> {
    const { redis } = this.#scene;
    const { at, lostFrom } = await redis.kill();
    await sleep(awayMs);
    await redis.start();
    if (lostFrom === at) return;
    this.lost.push({ from: lostFrom, to: Date.now() });
    this.pushedAgain += await this.#producer.pushAgain(lostFrom);
  }

  /** What people and programs do that take our queues for theirs. */
  async #strikeQueues(kind: 'pause' | 'touch' | 'promote' | 'remove' | 'clean', { c }: Draws): Promise<void> {
    const random = new Random(c);
    const at = Date.now();
    const onRemoval = (id: string): void => {
      const submitted = this.#producer.submissions.get(id);
      if (submitted !== undefined) submitted.removedAt = Date.now();
    };
    const burning: Burning = { kind, from: at, to: Number.POSITIVE_INFINITY };
    this.burning.push(burning);
    const note = await this.#outsiders[kind](random, onRemoval);
    burning.to = Date.now();
    if (note === undefined) this.missed += 1;
    else this.#mark(kind, note, at);
  }

  async #strikeVendor(
    kind: 'vendor-cut' | 'vendor-delay' | 'vendor-down' | 'vendor-frozen',
    draws: Draws,
  ): Promise<void> {
    const { vendorProxy, vendor } = this.#scene;
    this.#mark(kind);
    const burning: Burning = { kind, from: Date.now(), to: Number.POSITIVE_INFINITY };
    this.burning.push(burning);
    switch (kind) {
      case 'vendor-cut':
        vendorProxy.cut();
        break;
      case 'vendor-delay':
        vendorProxy.delayMs = 200 + draws.a * 1_300;
        await sleep(2_000 + draws.b * 3_000);
        vendorProxy.cut();
        vendorProxy.delayMs = 0;
        break;
      case 'vendor-down':
        await vendorProxy.goDown();
        await sleep(2_000 + draws.a * 4_000);
        await vendorProxy.comeBack();
        break;
      case 'vendor-frozen':
        vendor.child.signal('SIGSTOP');
        await sleep(2_000 + draws.a * 4_000);
        vendor.child.signal('SIGCONT');
    }
    await vendor.hasCaughtUp();
    burning.to = Date.now();
  }

  /** @param isForOrder - one that has no order yet: a second one would replace the first */
  async #victim(draw: number, isForOrder = false): Promise<WorkerProcess | undefined> {
    const end = Date.now() + 4_000;
    for (;;) {
      const able = this.#crew.able.filter((worker) => !isForOrder || worker.order === undefined);
      const isLate = Date.now() > end;
      // On a busy machine workers take long to start: the last one at work is spared for a while, so that work goes on.
      if (able.length > 0 && (this.#crew.able.length > 1 || isLate)) return able[draw % able.length];
      if (isLate) {
        this.missed += 1;
        return undefined;
      }
      await sleep(50);
    }
  }

  async #thaw(kind: 'freeze' | 'freeze-at' | 'freeze-long', worker: WorkerProcess, afterMs: number): Promise<void> {
    this.burning.push({ kind, from: Date.now(), to: Date.now() + afterMs });
    await this.#heldBy(worker.owners);
    await sleep(afterMs);
    worker.child.signal('SIGCONT');
    worker.isFrozen = false;
  }

  /** Notes whose turn was interrupted. With Redis away nobody can see who that is. */
  async #heldBy(owners?: readonly string[]): ReturnType<RecoveryWatch['heldBy']> {
    try {
      const held = await this.#recovery.heldBy(owners);
      for (const { jobId } of held) this.interruptions.set(jobId, (this.interruptions.get(jobId) ?? 0) + 1);
      return held;
    } catch {
      this.burning.push({ kind: 'blind', from: Date.now() - lockMs, to: Date.now() + lockMs });
      return [];
    }
  }

  #track(work: Promise<void>): void {
    const guarded = work.catch((error: unknown) => this.#options.say(`a fault went wrong: ${String(error)}`));
    this.#atWork.add(guarded);
    void guarded.finally(() => this.#atWork.delete(guarded));
  }

  #mark(kind: FaultKind, note?: string, at = Date.now()): void {
    this.faults.push({ at: at - this.#startedAt, kind, ...(note === undefined ? {} : { note }) });
  }
}
