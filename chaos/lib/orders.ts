import type { Checkpoint } from '../../src/workers/engine.ts';

/** What a worker process is told to do the next time it passes a place between two writes. */
export interface Order {
  kind: 'die-at' | 'freeze-at';
  point: Checkpoint;
  /** Passes to let go by first. */
  skip: number;
}

/** `block`: its event loop hangs for so long; `clock`: its clock is so far ahead of the machine's from now on. */
export type ToWorker = Order | { kind: 'block'; ms: number } | { kind: 'clock'; ms: number };

export type FromWorker =
  { kind: 'ready' } | { kind: 'lock-owner'; id: string } | { kind: 'dying' | 'freezing'; point: Checkpoint };
