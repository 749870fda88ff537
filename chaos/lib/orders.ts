import type { Checkpoint } from '../../src/workers/engine.ts';

/** What a worker process is told to do the next time it passes a place between two writes. */
export interface Order {
  kind: 'die-at' | 'freeze-at';
  point: Checkpoint;
  /** Passes to let go by first. */
  skip: number;
}

export type FromWorker =
  { kind: 'ready' } | { kind: 'lock-owner'; id: string } | { kind: 'dying' | 'freezing'; point: Checkpoint };
