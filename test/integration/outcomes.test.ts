import { createHash } from 'node:crypto';
import { readFile, readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { CloudEvent } from 'cloudevents';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { completionEvent } from '../../src/core/completion-event.ts';
import { until } from '../helpers/harness.ts';
import { quickPoll, startKnowhere, urlInput, type KnowhereRig } from '../helpers/knowhere.ts';

describe('knowhere, beyond the happy path', () => {
  let rig: KnowhereRig;

  beforeAll(async () => {
    rig = await startKnowhere();
    await writeFile(path.join(rig.harness.folder, 'a.md'), '# A\n');
  });
  afterAll(() => rig.stop());
  beforeEach(() => rig.sandbox.reset());

  const parseFile = (rest: object = {}): Promise<string> =>
    rig.harness.submit('knowhere', 'parse', { sourceType: 'file', file: 'a.md', ...rest }, { poll: quickPoll });
  const download = (marker: string): Promise<string> =>
    rig.harness.submit('knowhere', 'parse', { ...urlInput(`d.pdf${marker}`), download: true }, { poll: quickPoll });

  it('speaks CloudEvents', async () => {
    const event = await rig.harness.event(
      await rig.harness.submit('knowhere', 'parse', urlInput(), { poll: quickPoll }),
    );
    expect(completionEvent.parse(event)).toEqual(event);
    expect(new CloudEvent(event).validate()).toBe(true);
    const { enqueuedAt, submittedAt, settledAt } = event.data.timings;
    expect(Date.parse(enqueuedAt)).toBeLessThanOrEqual(Date.parse(submittedAt!));
    expect(Date.parse(submittedAt!)).toBeLessThanOrEqual(Date.parse(settledAt));
    expect(event.time).toBe(settledAt);
  });

  it('gives numbered jobs the id <vendor>-<n>', async () => {
    const job = await rig.harness.push('knowhere', 'parse', { input: urlInput(), poll: quickPoll });
    const event = await rig.harness.event(`knowhere-${job.id}`);
    expect(event.id).toMatch(new RegExp(`^knowhere\\.knowhere-${job.id}\\.`));
    expect(event).toMatchObject({ data: { outcome: 'succeeded' } });
  });

  it('takes the same id once, whether its submission waits or is over', async () => {
    const data = { input: urlInput(), poll: quickPoll };
    await rig.harness.push('knowhere', 'parse', data, { jobId: 'once' });
    await rig.harness.push('knowhere', 'parse', data, { jobId: 'once' });
    await until(() => rig.created().length > 0);
    await rig.harness.push('knowhere', 'parse', data, { jobId: 'once' });
    await rig.harness.event('once');
    await rig.harness.push('knowhere', 'parse', data, { jobId: 'once' });
    await rig.harness.push('knowhere', 'parse', { input: 'nonsense' }, { jobId: 'once' });
    await until(
      async () => (await rig.harness.queue('knowhere.submit').getJobCountByTypes('wait', 'active', 'delayed')) === 0,
    );
    expect(rig.creates()).toHaveLength(1);
    expect(
      new Set(rig.harness.events.filter((event) => event.subject === 'once').map((event) => event.data.outcome)),
    ).toEqual(new Set(['succeeded']));
  });

  it('leaves a log with one line per step, without link signatures', async () => {
    // By look-ups and not by the clock: on a busy machine the first one would find it done.
    rig.sandbox.faults.arm({ fault: 'done-after', argument: 3 });
    const id = await parseFile();
    await rig.harness.event(id);
    const log = await rig.harness.logs('knowhere', id);
    expect(log[0]).toMatch(/^accepted at \+.*: job_/);
    expect(log.some((line) => line.startsWith('prepared at'))).toBe(true);
    expect(log.some((line) => /^poll 1 at \+/.test(line))).toBe(true);
    expect(log.at(-1)).toMatch(/^succeeded at/);
    expect(log.join('\n')).not.toMatch(/Signature|X-Amz/i);
    const record = await rig.harness.record('knowhere', id);
    expect(record).not.toContain('uploadUrl');
  });

  it('watches vendor jobs started elsewhere, ending mixed as partial', async () => {
    const start = async (name: string): Promise<string> => {
      const reply = await fetch(`${rig.sandbox.knowhereUrl}/v1/jobs`, {
        method: 'POST',
        headers: { authorization: 'Bearer sk_other', 'content-type': 'application/json' },
        body: JSON.stringify({ source_type: 'url', source_url: `https://example.com/${name}` }),
      });
      return ((await reply.json()) as { job_id: string }).job_id;
    };
    const jobIds = [await start('good.pdf'), await start('bad.pdf?sandbox=fail--NOT_FOUND')];
    const event = await rig.harness.event(
      await rig.harness.submit('knowhere', 'watch', { jobIds }, { poll: quickPoll }),
    );
    expect(event.data).toMatchObject({ outcome: 'partial', error: { code: 'partial_failure' } });
    expect(event.data.vendorJobs.map((job) => [job.id, job.outcome])).toEqual([
      [jobIds[0], 'succeeded'],
      [jobIds[1], 'failed'],
    ]);
    expect(rig.creates()).toHaveLength(2);
  });

  it.each(['upload-cut', 'server-error--503--at-upload'])('repeats an upload after %s', async (fault) => {
    const [name = '', argument] = fault.split('--');
    rig.sandbox.faults.arm({ fault: name, route: 'upload', ...(argument === undefined ? {} : { argument }) });
    const event = await rig.harness.event(await parseFile());
    expect(event.data.outcome).toBe('succeeded');
    expect(rig.creates()).toHaveLength(1);
  });

  it.each([
    ['upload-expired', 'upload_expired'],
    ['upload-signature', 'upload_refused'],
  ])('ends as failed when the storage refuses the upload for good: %s', async (fault, code) => {
    rig.sandbox.faults.arm({ fault, times: 'always' });
    const event = await rig.harness.event(await parseFile());
    expect(event.data).toMatchObject({ outcome: 'failed', error: { code } });
  });

  it.each(['result-expired', 'result-corrupt'])('fetches a fresh link after %s', async (fault) => {
    rig.sandbox.faults.arm({ fault });
    const event = await rig.harness.event(await download(''));
    expect(event.data.error).toBeNull();
    const { artifact } = event.data.vendorJobs[0]?.result as {
      artifact: { path: string; bytes: number; sha256: string; verified: boolean };
    };
    expect(artifact.verified).toBe(true);
    const bytes = await readFile(artifact.path);
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(artifact.sha256);
    expect(await readdir(path.dirname(artifact.path))).toEqual([path.basename(artifact.path)]);
  });

  it('takes a result without a checksum, and says that it is not verified', async () => {
    const event = await rig.harness.event(await download('?sandbox=no-checksum'));
    expect(event.data.vendorJobs[0]?.result).toMatchObject({ checksum: null, artifact: { verified: false } });
  });

  it.each(['checksum-other-place', 'checksum-upper-case', 'checksum-both-places'])(
    'reads the checksum wherever it is: %s',
    async (fault) => {
      const event = await rig.harness.event(await download(`?sandbox=${fault}`));
      expect(event.data.vendorJobs[0]?.result).toMatchObject({ artifact: { verified: true } });
    },
  );

  it('refuses a result with the wrong checksum and keeps nothing of it', async () => {
    const event = await rig.harness.event(await download('?sandbox=wrong-checksum'));
    expect(event.data).toMatchObject({ outcome: 'failed', error: { code: 'checksum_mismatch' } });
    const folder = path.join(rig.harness.artifactsDir, 'knowhere', 'default', event.subject);
    expect(await readdir(folder)).toEqual([]);
  });
});

describe('results from addresses that are not public', () => {
  it('are refused, redirects included', async () => {
    const rig = await startKnowhere({ env: { JOBFERRY_ALLOW_PRIVATE_URLS: 'false' } });
    try {
      const id = await rig.harness.submit('knowhere', 'parse', { ...urlInput(), download: true }, { poll: quickPoll });
      const event = await rig.harness.event(id);
      expect(event.data).toMatchObject({ outcome: 'failed', error: { code: 'address_refused' } });
    } finally {
      await rig.stop();
    }
  });

  it('but a vendor on a private address may take uploads there', async () => {
    const rig = await startKnowhere({ env: { JOBFERRY_ALLOW_PRIVATE_URLS: 'false' } });
    try {
      await writeFile(path.join(rig.harness.folder, 'a.md'), '# A\n');
      const id = await rig.harness.submit(
        'knowhere',
        'parse',
        { sourceType: 'file', file: 'a.md' },
        { poll: quickPoll },
      );
      expect((await rig.harness.event(id)).data.outcome).toBe('succeeded');
    } finally {
      await rig.stop();
    }
  });

  it('are refused above the size limit', async () => {
    const rig = await startKnowhere({ change: (config) => ({ ...config, maxResultBytes: 100 }) });
    try {
      const id = await rig.harness.submit('knowhere', 'parse', { ...urlInput(), download: true }, { poll: quickPoll });
      const event = await rig.harness.event(id);
      expect(event.data).toMatchObject({ outcome: 'failed', error: { code: 'result_too_large' } });
    } finally {
      await rig.stop();
    }
  });
});
