// Tests a small client of a slow vendor API against the vendor sandbox. Run: node --test examples/testing-with-the-sandbox
import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startSandbox } from 'jobferry/sandbox';

let sandbox;
before(async () => (sandbox = await startSandbox({ speed: 1000 })));
afterEach(() => sandbox.reset());
after(() => sandbox.close());

/** The code under test: submit, wait when throttled, look until the end. */
async function parse(baseUrl, sourceUrl) {
  const headers = { authorization: 'Bearer sk_test', 'content-type': 'application/json' };
  const body = JSON.stringify({ source_type: 'url', source_url: sourceUrl });
  let answer = await fetch(`${baseUrl}/v1/jobs`, { method: 'POST', headers, body });
  while (answer.status === 429) {
    const seconds = Number(answer.headers.get('retry-after'));
    if (!(seconds > 0)) throw new Error('quota used up');
    await sleep(seconds * 1000);
    answer = await fetch(`${baseUrl}/v1/jobs`, { method: 'POST', headers, body });
  }
  const { job_id: id } = await answer.json();
  for (;;) {
    const look = await fetch(`${baseUrl}/v1/jobs/${id}`, { headers });
    if (look.ok) {
      const job = await look.json();
      if (job.status === 'done' || job.status === 'failed') return job;
    }
    await sleep(10);
  }
}

test('a document goes through', async () => {
  const job = await parse(sandbox.knowhereUrl, 'https://example.com/report.pdf');
  assert.equal(job.status, 'done');
  const zip = await fetch(job.result_url);
  assert.equal(zip.headers.get('content-type'), 'application/zip');
});

test('a throttled submit waits as told, and makes one job', async () => {
  const url = 'https://example.com/report.pdf?sandbox=rate-limited--1';
  assert.equal((await parse(sandbox.knowhereUrl, url)).status, 'done');
  const [first, second] = sandbox.ledger.entries({ route: 'create' });
  assert.ok(second.atMs - first.atMs >= 1000);
  assert.equal(sandbox.jobs().total, 1);
});

test('look-ups survive a server error, and a failed job is told apart', async () => {
  sandbox.faults.arm({ fault: 'server-error', argument: 503, route: 'lookup', times: 2 });
  sandbox.faults.arm({ fault: 'fail', argument: 'INVALID_ARGUMENT' });
  const job = await parse(sandbox.knowhereUrl, 'https://example.com/broken.pdf');
  assert.deepEqual([job.status, job.error.code], ['failed', 'INVALID_ARGUMENT']);
  assert.ok(sandbox.ledger.lookups(job.job_id).length >= 3);
});
