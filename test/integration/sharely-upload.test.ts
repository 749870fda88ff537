import { createHash } from 'node:crypto';
import { open, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Harness } from '../helpers/harness.ts';
import {
  fastPoll as poll,
  hurried,
  refuse,
  ScriptedSharely,
  type Call,
  type Reply,
} from '../helpers/scripted-sharely.ts';

const mebibyte = 1_048_576;

describe('knowledge.upload', () => {
  let vendor: ScriptedSharely;
  let harness: Harness;

  beforeEach(async () => {
    vendor = await ScriptedSharely.start();
    vendor.shape = 'none';
    harness = await Harness.start({
      env: vendor.env,
      adapters: [hurried({ graceMs: 600, confirmGraceMs: 500 })],
      change: (config) => ({
        ...config,
        reconcile: { ...config.reconcile, absenceMs: 300, minAbsentLooks: 2, gapsMs: [100] },
      }),
    });
    await writeFile(path.join(harness.folder, 'harbour.md'), '# Harbour\n\nFerries leave at six.\n');
  });

  afterEach(async () => {
    await harness.stop();
    await vendor.close();
  });

  async function run(input: object = {}, rest: object = {}) {
    const id = await harness.submit('sharely', 'knowledge.upload', { file: 'harbour.md', ...input }, { poll, ...rest });
    return (await harness.event(id, 60_000)).data;
  }

  const uploads = () => vendor.sent(/^POST \/knowledge\/file$/);
  const item = () => [...vendor.items.values()][0];

  function takenAndCut(call: Call): Reply {
    vendor.handle(call);
    return 'cut';
  }

  it('sends the file and its fields, and follows the record until it is processed', async () => {
    vendor.itemStatuses = ['queued', 'INDEXING', 'PROCESSED'];
    const data = await run({ title: 'Harbour "rules" – ä', description: 'Times', language: 'en' });
    expect(data).toMatchObject({ outcome: 'succeeded', error: null });
    expect(data.polls).toBeGreaterThanOrEqual(3);
    expect(data.vendorJobs).toMatchObject([
      { id: item()?.id, status: 'PROCESSED', result: { knowledge: { id: item()?.id, status: 'PROCESSED' } } },
    ]);
    const { body, headers } = uploads()[0] as Call;
    expect(body).toMatchObject({ fileName: 'harbour.md', bytes: 33 });
    expect(body.fields).toMatchObject({ title: 'Harbour "rules" – ä', language: 'en', status: 'BACKGROUND_START' });
    expect(body.fields.description).toMatch(/^\[jobferry:t-[0-9a-f]+\.[0-9a-f]{12}\] Times$/);
    expect(Number(headers['content-length'])).toBeGreaterThan(33);
    expect(headers['transfer-encoding']).toBeUndefined();
  });

  it('takes the file name for the title where none is given', async () => {
    await run();
    expect(uploads()[0]?.body.fields).toMatchObject({ title: 'harbour.md' });
    expect(uploads()[0]?.body.fields.language).toBeUndefined();
  });

  it('confirms at once what the answer calls processed', async () => {
    vendor.script(/^POST \/knowledge\/file$/, (call) => {
      vendor.handle(call);
      const made = item();
      if (made !== undefined) made.status = 'PROCESSED';
      return { status: 201, json: { id: made?.id, knowledgeId: made?.id, type: 'FILE', status: 'PROCESSED' } };
    });
    const data = await run();
    expect(data).toMatchObject({ outcome: 'succeeded', polls: 0 });
    expect(vendor.sent(/^GET \/knowledge\/.+/)).toHaveLength(1);
  });

  it('follows a workflow where there is one, and the record after it', async () => {
    vendor.shape = 'workflowId';
    vendor.itemStatuses = ['queued', 'PROCESSED'];
    const data = await run();
    expect(data).toMatchObject({ outcome: 'succeeded', vendorJobs: [{ status: 'COMPLETED' }] });
    expect(data.vendorJobs[0]?.result).toMatchObject({ knowledge: { status: 'PROCESSED' } });
    expect(vendor.sent(/^GET \/knowledge\/.+/).length).toBeGreaterThanOrEqual(2);
  });

  it('is done by processedAt, whatever the status word', async () => {
    vendor.script(/^GET \/knowledge\/.+/, () => ({
      status: 200,
      json: { id: item()?.id, status: 'INDEXED', processedAt: '2026-11-22T06:00:00Z' },
    }));
    expect(await run()).toMatchObject({ outcome: 'succeeded' });
  });

  it('fails when the record names a failure', async () => {
    vendor.itemStatuses = ['queued', 'PROCESSING_FAILED'];
    const data = await run();
    expect(data).toMatchObject({ outcome: 'failed', error: { code: 'vendor_job_failed' } });
    expect(data.error?.details).toMatchObject({ knowledgeId: item()?.id, status: 'PROCESSING_FAILED' });
  });

  it('fails when the record contradicts a COMPLETED workflow', async () => {
    vendor.shape = 'workflowId';
    vendor.itemStatuses = ['ERROR'];
    const data = await run();
    expect(data).toMatchObject({ outcome: 'failed', error: { code: 'outcome_contradicted' } });
  });

  it('fails when there is no record under a COMPLETED workflow', async () => {
    vendor.shape = 'workflowId';
    vendor.script(/^GET \/knowledge\/.+/, refuse(404, 'Not found'));
    expect(await run()).toMatchObject({ outcome: 'failed', error: { code: 'outcome_contradicted' } });
  });

  it('is lost when the record vanishes, past its grace', async () => {
    vendor.script(/^GET \/knowledge\/.+/, refuse(404, 'Not found'));
    expect(await run()).toMatchObject({ outcome: 'lost', error: { code: 'vendor_job_lost' } });
  });

  it('expires with a record that never gets there', async () => {
    vendor.itemStatuses = Array<string>(1_000).fill('QUEUED');
    const data = await run({}, { poll: { ...poll, deadlineMs: 1_500 } });
    expect(data).toMatchObject({ outcome: 'expired', vendorJobs: [{ status: 'QUEUED', outcome: null }] });
  });

  it.each([
    ['missing', 'nothing.md', 'does not exist'],
    ['outside the folder', '../harbour.md', 'must not contain'],
    ['absolute', '/etc/hostname', 'absolute'],
  ])('rejects a file that is %s, and sends nothing', async (_, file, message) => {
    const data = await run({ file });
    expect(data).toMatchObject({ outcome: 'rejected', error: { code: 'invalid_submission' } });
    expect(data.error?.message).toContain(message);
    expect(vendor.calls).toHaveLength(0);
  });

  it('rejects what the vendor finds too large', async () => {
    vendor.script(/^POST \/knowledge\/file$/, refuse(413, 'File too large'));
    expect(await run()).toMatchObject({ outcome: 'rejected', error: { details: { httpStatus: 413 } } });
  });

  it('sends the whole file anew after a 401', async () => {
    vendor.script(/^POST \/knowledge\/file$/, refuse(401, 'expired'), 1);
    expect(await run()).toMatchObject({ outcome: 'succeeded' });
    expect(uploads().map((call) => call.body.bytes)).toEqual([33, 33]);
  });

  describe('of unknown fate', () => {
    it('is found by its mark among others, and adopted', async () => {
      for (let index = 0; index < 600; index += 1)
        vendor.addItem({ title: 'harbour.md', description: `[other ${index}]` });
      vendor.script(/^POST \/knowledge\/file$/, takenAndCut, 1);
      const data = await run();
      expect(data).toMatchObject({ outcome: 'succeeded' });
      expect(uploads()).toHaveLength(1);
      expect(vendor.items.size).toBe(601);
      expect(vendor.sent(/^GET \/knowledge$/).map((call) => call.query.get('offset'))).toContain('500');
    });

    it('is found in the record where the list tells no descriptions', async () => {
      vendor.addItem({ title: 'harbour.md', description: 'of somebody else' });
      vendor.script(/^GET \/knowledge$/, () => ({
        status: 200,
        json: { knowledge: [...vendor.items.values()].map(({ id, title, createdAt }) => ({ id, title, createdAt })) },
      }));
      vendor.script(/^POST \/knowledge\/file$/, takenAndCut, 1);
      const data = await run();
      expect(data).toMatchObject({ outcome: 'succeeded' });
      expect(uploads()).toHaveLength(1);
      expect(vendor.items.get(data.vendorJobs[0]?.id ?? '')?.description).toMatch(/^\[jobferry:/);
    });

    it('is sent again once it is surely absent', async () => {
      const old = new Date(Date.now() - 86_400_000).toISOString();
      vendor.addItem({ title: 'harbour.md', description: null, createdAt: old });
      vendor.script(/^POST \/knowledge\/file$/, 'cut', 1);
      const data = await run();
      expect(data).toMatchObject({ outcome: 'succeeded' });
      expect(uploads()).toHaveLength(2);
      // The same mark, so that either can be found.
      expect(uploads()[0]?.body.fields.description).toBe(uploads()[1]?.body.fields.description);
      expect(vendor.items.size).toBe(2);
    });

    it('is not sent again where a twin has nothing to tell it by', async () => {
      vendor.script(
        /^POST \/knowledge\/file$/,
        (call) => {
          vendor.handle(call);
          const made = item();
          if (made !== undefined) made.description = null;
          return 'cut';
        },
        1,
      );
      const data = await run();
      expect(data).toMatchObject({ outcome: 'unconfirmed', error: { code: 'submit_ambiguous' } });
      expect(uploads()).toHaveLength(1);
    });

    it('is taken for taken when the answer names no id, and is looked for', async () => {
      vendor.script(
        /^POST \/knowledge\/file$/,
        (call) => {
          vendor.handle(call);
          return { status: 201, json: { type: 'FILE' } };
        },
        1,
      );
      const data = await run();
      expect(data).toMatchObject({ outcome: 'succeeded' });
      expect(vendor.items.size).toBe(1);
    });
  });

  it('streams 100 MiB without holding them in memory', async () => {
    const hash = createHash('sha256');
    const file = await open(path.join(harness.folder, 'large.bin'), 'w');
    for (let index = 0; index < 100; index += 1) {
      const chunk = Buffer.alloc(mebibyte, index);
      hash.update(chunk);
      await file.write(chunk);
    }
    await file.close();
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    // What is held, not what waits to be collected: the double at the other end makes a lot of that.
    const held = (): number => {
      collect();
      const { heapUsed, arrayBuffers } = process.memoryUsage();
      return heapUsed + arrayBuffers;
    };
    const before = held();
    let most = before;
    let samples = 0;
    const sampler = setInterval(() => {
      most = Math.max(most, held());
      samples += 1;
    }, 150);
    const data = await run({ file: 'large.bin' });
    clearInterval(sampler);
    expect(data).toMatchObject({ outcome: 'succeeded' });
    expect(item()).toMatchObject({ bytes: 100 * mebibyte, sha256: hash.digest('hex') });
    expect(samples).toBeGreaterThan(2);
    expect((most - before) / mebibyte).toBeLessThan(45);
  });
});
