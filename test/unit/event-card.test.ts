import { expect, it } from 'vitest';
import { describeEvent } from '../../src/cli/event-card.ts';
import type { CompletionEvent } from '../../src/core/completion-event.ts';

function event(outcome: string, vendorJobs: object[]): CompletionEvent {
  const data = { vendor: 'knowhere', submissionId: 'a-1', outcome, vendorJobs };
  return { id: 'knowhere.a-1.x', data } as unknown as CompletionEvent;
}

it('tells the vendor job, the downloaded file and where the event is', () => {
  const artifact = { path: '/data/a-1/result.zip', bytes: 1_234, sha256: 'ab', verified: true };
  const result = { artifact, resultUrl: 'https://storage.example/a?sig=secret' };
  expect(describeEvent(event('succeeded', [{ id: 'job_1', status: 'done', result }]), 'results')).toEqual([
    '  vendor job  job_1  done',
    '  downloaded  /data/a-1/result.zip  1234 bytes, checksum right',
    '  event       knowhere.a-1.x in the queue "results"; --json prints it',
  ]);
});

it('stays short with many vendor jobs, and names what tells more of a bad end', () => {
  const jobs = Array.from({ length: 40 }, (_, index) => ({ id: `job_${index}`, status: 'failed\nnow', result: null }));
  const lines = describeEvent(event('failed', jobs), 'mine');
  expect(lines).toHaveLength(8);
  expect(lines[1]).toBe('               job_1  failed\\x0anow');
  expect(lines[5]).toBe('               and 35 more');
  expect(lines[7]).toBe('  story        jobferry status knowhere a-1');
});
