import { setTimeout as sleep } from 'node:timers/promises';
import type { Checkpoint } from '../../src/workers/engine.ts';
import type { Child } from './child.ts';
import type { FromWorker, Order } from './orders.ts';

/** One worker process. */
export class WorkerProcess {
  readonly child: Child;
  /** Ids of its BullMQ workers, which its locks begin with. */
  readonly owners: string[] = [];
  isReady = false;
  isFrozen = false;
  /** Its event loop hangs until then, epoch ms. */
  hangsUntil = 0;
  /** It was told to stop: its end is no accident. */
  isLeaving = false;
  /** What it was told to do at a place that it has not come to yet. */
  order: Order | undefined;
  /** How long its next freeze at such a place takes. */
  freezeMs = 0;

  constructor(child: Child) {
    this.child = child;
  }

  get isAble(): boolean {
    const isIdle = this.isFrozen || this.isLeaving || Date.now() < this.hangsUntil;
    return this.isReady && !isIdle && this.child.isAlive;
  }

  give(order: Order): void {
    this.order = order;
    this.child.send(order);
  }
}

/** How a worker that was told to stop ended. */
export interface Departure {
  /** Null when it had to be killed. */
  code: number | null;
  ms: number;
}

export interface CrewEvents {
  onDeath(worker: WorkerProcess, at: number): void;
  onDying(point: Checkpoint): void;
  onFreezing(worker: WorkerProcess, point: Checkpoint): void;
}

/** The worker processes of a run: as many as wanted, each replaced when it is gone. */
export class Crew {
  readonly #spawn: () => Child;
  readonly #events: CrewEvents;
  readonly #workers = new Set<WorkerProcess>();
  #isClosing = false;
  started = 0;

  constructor(spawn: () => Child, events: CrewEvents) {
    this.#spawn = spawn;
    this.#events = events;
  }

  start(): WorkerProcess {
    const worker = new WorkerProcess(this.#spawn());
    this.started += 1;
    this.#workers.add(worker);
    worker.child.onMessage((message) => {
      const said = message as FromWorker;
      if (said.kind === 'ready') worker.isReady = true;
      else if (said.kind === 'lock-owner') worker.owners.push(said.id);
      else if (said.kind === 'dying') this.#events.onDying(said.point);
      else {
        worker.order = undefined;
        worker.isFrozen = true;
        this.#events.onFreezing(worker, said.point);
      }
    });
    void worker.child.exited.then(async ({ at }) => {
      this.#workers.delete(worker);
      if (worker.isLeaving || this.#isClosing) return;
      this.#events.onDeath(worker, at);
      await sleep(200);
      if (!this.#isClosing) this.start();
    });
    return worker;
  }

  /** Those that work at the moment. */
  get able(): WorkerProcess[] {
    return [...this.#workers].filter((one) => one.isAble);
  }

  get all(): WorkerProcess[] {
    return [...this.#workers];
  }

  /** SIGTERM, with a new one beside it. A supervisor would send SIGKILL after 10 s; this one waits a little longer. */
  async roll(worker: WorkerProcess): Promise<Departure> {
    worker.isLeaving = true;
    this.start();
    const from = Date.now();
    worker.child.signal('SIGTERM');
    const timer = setTimeout(() => worker.child.signal('SIGKILL'), 15_000);
    const { code, at } = await worker.child.exited;
    clearTimeout(timer);
    return { code, ms: at - from };
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    await Promise.all([...this.#workers].map((worker) => worker.child.end()));
  }
}
