import type { FaultBoard } from './faults/fault-board.ts';
import type { SandboxOptions } from './sandbox-handle.ts';
import type { WorkClock } from './work-clock.ts';

/** What a vendor's double is built from. */
export interface DoubleContext {
  readonly clock: WorkClock;
  readonly faults: FaultBoard;
  readonly options: SandboxOptions;
}
