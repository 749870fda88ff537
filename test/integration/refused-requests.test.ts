import { createHash } from 'node:crypto';
import { hostname } from 'node:os';
import { afterEach, describe, expect, it } from 'vitest';
import type { CompletionEvent } from '../../src/core/completion-event.ts';
import type { Logger } from '../../src/ports/logger.ts';
import { silentLogger } from '../../src/ports/logger.ts';
import { AccountBoard, type Hold } from '../../src/queues/account-board.ts';
import { Harness, until, type HarnessOptions } from '../helpers/harness.ts';
import { ScriptedVendor, type ScriptedCall, type ScriptedReply } from '../helpers/scripted-vendor.ts';

/** What one refused request may cost the other submissions of its account. */

const apiKey = 'sk_the-key-of-this-test';
const poll = { initialDelayMs: 200, factor: 1.2, maxDelayMs: 400, deadlineMs: 120_000 };
const account = 'knowhere/default';
const forbidden = refusal(403, 'PERMISSION_DENIED', 'the document belongs to another workspace');
const noCredit = refusal(402, 'PAYMENT_REQUIRED', 'not enough credits');
const bare429 = refusal(429, 'RESOURCE_EXHAUSTED', 'too many');

interface Rig {
  vendor: ScriptedVendor;
  harness: Harness;
  /** Documents whose create is refused, by the name that their address ends in. */
  refused: Map<string, ScriptedReply>;
  /** How every create is refused. */
  refuseAll?: ScriptedReply | undefined;
  /** Ids of vendor jobs that are over. */
  done: Set<string>;
  /** How a look-up is answered in place of the truth, by the vendor job's id. */
  looks: Map<string, ScriptedReply>;
  /** How long a create takes that the vendor lets in. */
  createMs: number;
  submit(name: string, rest?: object): Promise<string>;
  watch(...jobIds: string[]): Promise<string>;
  creates(name: string): ScriptedCall[];
  holds(): Promise<Partial<Record<string, Hold>>>;
}

let rig: Rig | undefined;
afterEach(async () => {
  await rig?.harness.stop();
  await rig?.vendor.close();
  rig = undefined;
});

async function start(options: HarnessOptions = {}): Promise<Rig> {
  const vendor = await ScriptedVendor.start();
  const harness = await Harness.start({
    env: { KNOWHERE_API_KEY: apiKey, KNOWHERE_BASE_URL: vendor.url },
    ...options,
  });
  const nameOf = (call: ScriptedCall): string => String(call.json.source_url).split('/').at(-1) ?? '';
  const made: Rig = (rig = {
    vendor,
    harness,
    refused: new Map(),
    done: new Set(),
    looks: new Map(),
    createMs: 0,
    submit: (name, rest = {}) => {
      const input = { sourceType: 'url', sourceUrl: `https://example.com/${name}` };
      return harness.submit('knowhere', 'parse', input, { poll, ...rest });
    },
    watch: (...jobIds) => harness.submit('knowhere', 'watch', { jobIds }, { poll }),
    creates: (name) => vendor.callsTo('POST /v1/jobs').filter((call) => nameOf(call) === name),
    async holds() {
      return (await new AccountBoard(harness.redis, harness.prefix).readAll()).get(account)?.holds ?? {};
    },
  });
  vendor.on('POST /v1/jobs', (call) => {
    const name = nameOf(call);
    const no = made.refuseAll ?? made.refused.get(name);
    if (no !== undefined) return no;
    return { json: { job_id: `job_${name.replace(/\W/g, '_')}`, status: 'pending' }, delayMs: made.createMs };
  });
  vendor.on('GET /v1/jobs/*', (call) => {
    const id = call.path.split('/').at(-1) ?? '';
    const done = { status: 'done', result_url: 'https://storage.example/result.zip' };
    return made.looks.get(id) ?? { json: { job_id: id, ...(made.done.has(id) ? done : { status: 'running' }) } };
  });
  return made;
}

function refusal(status: number, code: string, message: string, headers: Record<string, string> = {}): ScriptedReply {
  return { status, json: { success: false, error: { code, message, request_id: 'req_1' } }, headers };
}

const endOf = (id: string, timeoutMs?: number): Promise<CompletionEvent['data']> =>
  rig!.harness.event(id, timeoutMs).then((event) => event.data);
const elapsed = (data: CompletionEvent['data']): number =>
  Date.parse(data.timings.settledAt) - Date.parse(data.timings.enqueuedAt);

/** Four submissions whose vendor jobs run until the test says otherwise. */
async function fourRunning(on: Rig): Promise<string[]> {
  const ids = await Promise.all([1, 2, 3, 4].map((n) => on.submit(`running${n}`)));
  await until(() => [1, 2, 3, 4].every((n) => on.vendor.callsTo(`GET /v1/jobs/job_running${n}`).length > 0));
  return ids;
}
function finish(on: Rig): void {
  for (const n of [1, 2, 3, 4]) on.done.add(`job_running${n}`);
}

describe('a create that is always refused', () => {
  it.each([
    ['403', forbidden, 'PERMISSION_DENIED', 1],
    ['402', noCredit, 'PAYMENT_REQUIRED', 1],
    ['403', forbidden, 'PERMISSION_DENIED', 2],
  ] as const)(
    'by %s leaves running jobs and later submissions alone, and is rejected',
    { timeout: 60_000 },
    async (_, reply, code, groups) => {
      const on = await start({ groups });
      const running = await fourRunning(on);
      on.refused.set('foreign.pdf', reply);
      const foreign = await on.submit('foreign.pdf');
      await until(() => on.creates('foreign.pdf').length > 0);
      finish(on);
      const finishedAt = Date.now();
      for (const id of running) expect((await endOf(id)).outcome).toBe('succeeded');
      expect(Date.now() - finishedAt).toBeLessThan(2_500);

      const later = [];
      for (let n = 0; n < 6; n += 1) {
        on.done.add(`job_later${n}_pdf`);
        later.push(await on.submit(`later${n}.pdf`));
        await new Promise((resolve) => setTimeout(resolve, 500));
      }
      for (const id of later) {
        const data = await endOf(id);
        expect(data.outcome).toBe('succeeded');
        expect(elapsed(data)).toBeLessThan(7_000);
      }
      const data = await endOf(foreign, 20_000);
      expect(data).toMatchObject({ outcome: 'rejected', error: { code }, vendorJobs: [] });
      expect(elapsed(data)).toBeLessThan(15_000);
      expect(on.creates('foreign.pdf').length).toBeLessThanOrEqual(4);
      expect(await on.holds()).toEqual({});
    },
  );

  it('by a 429 without a hint leaves look-ups alone, and is not rejected', { timeout: 60_000 }, async () => {
    const on = await start();
    const running = await fourRunning(on);
    on.refused.set('bare.pdf', bare429);
    const bare = await on.submit('bare.pdf');
    await until(() => on.creates('bare.pdf').length > 0);
    finish(on);
    const finishedAt = Date.now();
    for (const id of running) expect((await endOf(id)).outcome).toBe('succeeded');
    expect(Date.now() - finishedAt).toBeLessThan(2_500);
    on.done.add('job_later_pdf').add('job_bare_pdf');
    expect((await endOf(await on.submit('later.pdf'))).outcome).toBe('succeeded');
    await until(() => on.creates('bare.pdf').length > 1);
    on.refused.clear();
    expect((await endOf(bare, 20_000)).outcome).toBe('succeeded');
  });

  it('by a 429 that says that its budget is used up leaves look-ups alone', async () => {
    const on = await start();
    const headers = {
      'retry-after': '60',
      'x-ratelimit-limit': '2',
      'x-ratelimit-remaining': '0',
      'x-ratelimit-reset': String(Math.ceil(Date.now() / 1_000) + 60),
    };
    on.refused.set('over.pdf', refusal(429, 'RESOURCE_EXHAUSTED', 'too many', headers));
    await on.submit('over.pdf');
    await until(() => on.creates('over.pdf').length > 0);
    const startedAt = Date.now();
    const watches = await Promise.all(['job_a', 'job_b', 'job_c', 'job_d'].map((id) => on.watch(id)));
    for (const id of ['job_a', 'job_b', 'job_c', 'job_d']) on.done.add(id);
    for (const id of watches) expect((await endOf(id)).outcome).toBe('succeeded');
    expect(Date.now() - startedAt).toBeLessThan(4_000);
  });

  it.each(['0', undefined])(
    'by a 429 with Retry-After %s is sent ever more seldom',
    { timeout: 30_000 },
    async (hint) => {
      const on = await start();
      on.refused.set('eager.pdf', refusal(429, 'x', 'slow down', hint === undefined ? {} : { 'retry-after': hint }));
      await on.submit('eager.pdf');
      await until(() => on.creates('eager.pdf').length > 0);
      await new Promise((resolve) => setTimeout(resolve, 6_000));
      expect(on.creates('eager.pdf').length).toBeLessThanOrEqual(6);
      expect(on.creates('eager.pdf').length).toBeGreaterThanOrEqual(2);
    },
  );

  it.each([1, 2])('ends soon where three of them meet a good one (%i workers)', { timeout: 60_000 }, async (groups) => {
    const on = await start({ groups });
    const bad = ['bad1.pdf', 'bad2.pdf', 'bad3.pdf'];
    for (const name of bad) on.refused.set(name, forbidden);
    on.done.add('job_good_pdf');
    // Under way while the others are refused.
    on.createMs = 100;
    const good = on.submit('good.pdf');
    const ids = await Promise.all(bad.map((name) => on.submit(name)));
    expect((await endOf(await good)).outcome).toBe('succeeded');
    for (const id of ids) expect(await endOf(id, 30_000)).toMatchObject({ outcome: 'rejected' });
    expect(bad.reduce((sum, name) => sum + on.creates(name).length, 0)).toBeLessThanOrEqual(9);
    await until(async () => Object.keys(await on.holds()).length === 0);
  });

  it('goes on waiting where it is alone', { timeout: 60_000 }, async () => {
    const on = await start();
    on.refused.set('alone.pdf', forbidden);
    const id = await on.submit('alone.pdf');
    await until(() => on.creates('alone.pdf').length >= 4, 40_000);
    expect(on.harness.events).toEqual([]);
    on.refused.clear();
    on.done.add('job_alone_pdf');
    expect((await endOf(id, 20_000)).outcome).toBe('succeeded');
  });
});

describe('an account whose key lost its right for a while', () => {
  it.each([1, 2])('ends no submission (%i workers)', { timeout: 90_000 }, async (groups) => {
    const on = await start({ groups });
    const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'].map((name) => `${name}.pdf`);
    for (const name of names) on.done.add(`job_${name.replace('.', '_')}`);
    on.createMs = 30;
    const early = await Promise.all(names.slice(0, 4).map((name) => on.submit(name)));
    on.refuseAll = forbidden;
    const late = await Promise.all(names.slice(4).map((name) => on.submit(name)));
    await new Promise((resolve) => setTimeout(resolve, 5_000));
    const whileRefused = on.vendor.callsTo('POST /v1/jobs').length;
    expect(whileRefused).toBeLessThanOrEqual(14);
    on.refuseAll = undefined;
    for (const id of [...early, ...late]) expect((await endOf(id, 40_000)).outcome).toBe('succeeded');
  });
});

describe('a look-up that is always refused', () => {
  it('holds up the others for a moment only, and no submit at all', { timeout: 60_000 }, async () => {
    const on = await start();
    on.looks.set('job_dear', noCredit);
    await on.watch('job_dear');
    await until(async () => Object.keys(await on.holds()).join() === 'status');
    const created = await on.submit('other.pdf');
    await until(() => on.creates('other.pdf').length > 0, 1_000);
    await until(() => on.vendor.callsTo('GET /v1/jobs/job_other_pdf').length > 3, 8_000);
    // From now on the refused one is known to be refused for itself.
    on.done.add('job_other_pdf');
    expect((await endOf(created)).outcome).toBe('succeeded');
    await until(() => on.vendor.callsTo('GET /v1/jobs/job_dear').length > 3, 15_000);
    const watches = await Promise.all(['job_a', 'job_b', 'job_c'].map((id) => on.watch(id)));
    for (const id of ['job_a', 'job_b', 'job_c']) on.done.add(id);
    for (const id of watches) expect(elapsed(await endOf(id))).toBeLessThan(4_000);
    expect(on.harness.events.some((event) => event.data.vendorJobs.some((job) => job.id === 'job_dear'))).toBe(false);
  });
});

describe('a hold', () => {
  it('says which worker, request, host, key and submission it comes from', async () => {
    const lines: object[] = [];
    const note = (fields: object): void => void lines.push(fields);
    const logger: Logger = { ...silentLogger, error: note, warn: note, child: () => logger };
    const on = await start({ logger });
    on.refuseAll = forbidden;
    const id = await on.submit('a.pdf');
    const { submit: hold } = await until(async () => {
      const holds = await on.holds();
      return holds['submit'] === undefined ? undefined : holds;
    });
    const origin = {
      worker: `${hostname()}/${process.pid}`,
      request: 'POST /v1/jobs',
      host: new URL(on.vendor.url).host,
      key: createHash('sha256').update(apiKey).digest('hex').slice(0, 8),
      submission: id,
    };
    expect(hold).toMatchObject({ reason: 'forbidden', origin });
    expect(Math.abs(Date.now() - (hold?.origin?.at ?? 0))).toBeLessThan(5_000);
    expect(lines).toContainEqual(expect.objectContaining({ account, scope: 'submit', origin: hold?.origin }));
    expect(JSON.stringify([lines, hold])).not.toContain(apiKey);
  });

  it('that the version before wrote for the whole account is read and released', { timeout: 30_000 }, async () => {
    const on = await start();
    const now = Date.now();
    const old = {
      reason: 'forbidden',
      message: 'POST /v1/jobs answered 403',
      since: now - 60_000,
      until: now + 1_000,
      tries: 6,
    };
    await on.harness.redis.hset(`${on.harness.prefix}:jobferry:accounts`, `${account}|hold`, JSON.stringify(old));
    await new Promise((resolve) => setTimeout(resolve, 200));
    on.done.add('job_a_pdf');
    const id = await on.submit('a.pdf');
    await until(async () => (await on.harness.record('knowhere', id))?.includes('vendor_forbidden'));
    expect(on.creates('a.pdf')).toHaveLength(0);
    expect((await endOf(id)).outcome).toBe('succeeded');
    expect(await on.holds()).toEqual({});
  });
});
