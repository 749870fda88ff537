import assert from 'node:assert/strict';
import type { ConformanceDouble, Fault } from './double.ts';
import { expectOutcome, expectStrike } from './expect.ts';
import { fileCases, type ConformanceCase, type FileCase } from './options.ts';
import { groupOf, notApplicable, type OperationUnderTest } from './under-test.ts';

interface FileFault {
  title: string;
  at: 'upload' | 'result';
  fault: Fault;
  /** Requests that it strikes; then all is well again. */
  times: number;
}

const faultsOfFiles: Record<FileCase, FileFault> = {
  'upload-link-dead': {
    title: 'takes a fresh link where that of the upload is dead',
    at: 'upload',
    fault: 'link-dead',
    times: 1,
  },
  'result-late': {
    title: 'waits for a result that the storage shows late',
    at: 'result',
    fault: 'file-late',
    times: 2,
  },
  'result-link-dead': {
    title: 'takes a fresh link where that of the result is dead',
    at: 'result',
    fault: 'link-dead',
    times: 1,
  },
  'page-for-result': {
    title: 'takes no page for the file of the result',
    at: 'result',
    fault: 'page-for-file',
    times: 1,
  },
};

/** What befalls files on their way, where an operation has such. All of it passes, and none of it may end one wrongly. */
export function casesOfFiles<Double extends ConformanceDouble>(test: OperationUnderTest<Double>): ConformanceCase[] {
  const { name, cases } = test;
  return fileCases.flatMap((id): ConformanceCase[] => {
    const { title, at, fault, times } = faultsOfFiles[id];
    const route = cases[at];
    if (route === undefined) return [];
    const reason = cases.notApplicable?.[id];
    if (reason !== undefined) return [notApplicable(groupOf(test), title, reason)];
    const run = (): Promise<void> =>
      test.onRig(async (rig) => {
        await rig.double.arm(fault, { operation: name, at: 'file', route, times });
        await expectOutcome(rig, await rig.submit(name, await cases.input(rig.given())), 'succeeded');
        expectStrike(rig, fault, route);
        // Nobody else downloads: asked for once, the page is what was kept.
        if (id !== 'page-for-result') return;
        assert.ok(rig.requestsTo(route).length > 1, 'the page stands in for the file');
      });
    return [{ group: groupOf(test), name: title, run }];
  });
}
