import type { BoundFault } from '../faults/definition.ts';
import { traitOf } from '../faults/traits.ts';
import type { Knowledge, WorkflowEffect } from './model.ts';
import type { SharelyParts } from './parts.ts';

/** The status word of knowledge under way: of a fault, or of the settings. */
export function runningStatus({ settings }: SharelyParts, faults: readonly BoundFault[]): string {
  return traitOf(faults, 'knowledge-runs-as') ?? settings().knowledgeStatus.running;
}

/** Ends the processing of knowledge with the status word of a fault or of the settings. */
export function finishProcessing({ settings }: SharelyParts, item: Knowledge, faults: readonly BoundFault[]): void {
  const { done, failed } = settings().knowledgeStatus;
  const word = traitOf(faults, 'knowledge-ends-as') ?? done;
  item.status = word;
  item.updatedAtMs = Date.now();
  if (word !== failed && !/FAIL|ERROR/i.test(word)) item.processedAtMs = item.updatedAtMs;
}

/** What a processing workflow does: nothing is half processed, and an end without the work is a failure. */
export function processingEffect(parts: SharelyParts, item: Knowledge, faults: readonly BoundFault[]): WorkflowEffect {
  return {
    apply: (share) => {
      if (share === 'all') finishProcessing(parts, item, faults);
    },
    fail: () => {
      // Contradictions stay as they are: the workflow says COMPLETED, the item is never seen to be done.
      if (traitOf(faults, 'completed-without-effect') !== undefined) return;
      if (traitOf(faults, 'vanish') !== undefined) return;
      item.status = parts.settings().knowledgeStatus.failed;
      item.updatedAtMs = Date.now();
    },
  };
}
