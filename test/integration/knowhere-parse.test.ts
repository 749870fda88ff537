import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startSandbox, type Sandbox } from '../../sandbox/index.ts';
import { Harness } from '../helpers/harness.ts';

const poll = { initialDelayMs: 100, factor: 1.5, maxDelayMs: 400, deadlineMs: 20_000 };

describe.each(['doc', 'impl'] as const)('knowhere.parse against the %s dialect', (dialect) => {
  let sandbox: Sandbox;
  let harness: Harness;

  beforeEach(async () => {
    sandbox = await startSandbox({ dialect, speed: 50 });
    harness = await Harness.start({ env: { KNOWHERE_API_KEY: 'sk_test', KNOWHERE_BASE_URL: sandbox.knowhereUrl } });
  });

  afterEach(async () => {
    await harness.stop();
    await sandbox.close();
  });

  it('carries a URL from a foreign BullMQ job to a succeeded event', async () => {
    await harness.push(
      'knowhere',
      'parse',
      { input: { sourceType: 'url', sourceUrl: 'https://example.com/a.pdf' }, poll, metadata: { orderId: 17 } },
      { jobId: 'invoice-2291' },
    );
    const event = await harness.event('invoice-2291');
    expect(event).toMatchObject({
      id: expect.stringMatching(/^knowhere\.invoice-2291\.[a-z0-9]+$/),
      source: '/jobferry/knowhere',
      type: 'jobferry.submission.succeeded',
      data: { outcome: 'succeeded', operation: 'parse', account: 'default', error: null, metadata: { orderId: 17 } },
    });
    expect(event.data.vendorJobs).toHaveLength(1);
    expect(event.data.vendorJobs[0]).toMatchObject({ status: 'done', outcome: 'succeeded' });
    expect(event.data.vendorJobs[0]?.result).toMatchObject({ checksum: { algorithm: 'sha256' } });
    expect(event.data.polls).toBeGreaterThan(0);
  });

  it('uploads a file, downloads the result and verifies it', async () => {
    await writeFile(path.join(harness.folder, 'notes.md'), '# Notes\n\nferries carry things\n');
    const id = await harness.submit(
      'knowhere',
      'parse',
      { sourceType: 'file', file: 'notes.md', download: true },
      { poll },
    );
    const event = await harness.event(id);
    expect(event.data.error).toBeNull();
    const result = event.data.vendorJobs[0]?.result as {
      artifact: { path: string; sha256: string; verified: boolean };
    };
    expect(result.artifact.verified).toBe(true);
    const bytes = await readFile(result.artifact.path);
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(result.artifact.sha256);
  });
});
