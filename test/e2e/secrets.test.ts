import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Queue, Worker, type JobsOptions } from 'bullmq';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CompletionEvent } from '../../src/core/completion-event.ts';
import { hashFields } from '../../src/queues/keys.ts';
import { startEmbeddedRedis, type EmbeddedRedis } from '../../src/embedded-redis/index.ts';
import { startSandbox, type Sandbox } from '../../sandbox/index.ts';
import { LeakyVendor, type Heard, type Leak } from '../helpers/leaky-vendor.ts';
import { findIn, needle, newMark, type Finding, type Needle } from '../helpers/secrets.ts';
import { ensureCli, projectDir, Stage, until, type Started } from './support.ts';

/**
 * A whole installation, with vendors that quote credentials and links wherever they can, through every way in which a
 * submission can go. Afterwards everything that it wrote, showed or sent is searched.
 */

const prefix = 'bull';
const workspaceId = '6f1c2a34-0000-4000-8000-000000000001';
const organizationId = '6f1c2a34-0000-4000-8000-000000000002';
const poll = { initialDelayMs: 50, factor: 1.2, maxDelayMs: 400, deadlineMs: 25_000 };

/** Credentials by name. Some look like what patterns know, some like nothing at all. */
const marks = new Map<string, string>();
const secret = (what: string, around: (mark: string) => string): string => {
  const mark = newMark();
  marks.set(what, mark);
  return around(mark);
};
const keys = {
  knowhere: secret('Knowhere key', (mark) => `sk_live_${mark}`),
  knowherePlain: secret('Knowhere key without a known form', (mark) => `Zm+/${mark}==`),
  knowhereHeld: secret('Knowhere key that is refused', (mark) => mark),
  fini: secret('Fini key', (mark) => `fini_${mark}`),
  finiHeld: secret('Fini key that is refused', (mark) => `"${mark}'`),
  sharely: secret('Sharely key', (mark) => `sk-sharely-${mark}`),
  sharelyHeld: secret('Sharely key that is refused', (mark) => `plain.${mark}`),
  sharelyToken: secret('Sharely access token of the configuration', (mark) => mark),
  board: secret('password of the board', (mark) => mark),
  redis: secret('password of Redis', (mark) => mark),
};

/** What people see of a leak: all of it, in a text and in fields of every kind. */
const said = ({ quotes }: Heard): string => quotes.join(' ; ');
const details = ({ headers, quotes }: Heard): object => ({
  headers: { authorization: headers.authorization ?? null, 'x-api-key': headers['x-api-key'] ?? null },
  curl: `curl -H 'Authorization: ${headers.authorization ?? ''}'`,
  quotes,
});
const knowhereError = (status: number) => (heard: Heard) => ({
  status,
  json: { error: { code: 'LEAK', message: said(heard), details: details(heard) } },
});
const finiError = (status: number) => (heard: Heard) => ({
  status,
  json: { statusCode: status, message: [said(heard), said(heard)], error: said(heard) },
});
const sharelyError = (status: number) => (heard: Heard) => ({
  status,
  json: { error: said(heard), message: said(heard), errorId: said(heard).slice(0, 190), details: details(heard) },
});
const page = (status: number) => (heard: Heard) => ({ status, text: `<html><h1>Oops</h1>${said(heard)}</html>` });
const broken = (heard: Heard): Leak => ({
  status: 200,
  text: `{"oops": ${JSON.stringify(said(heard))}, `,
  headers: { 'content-type': 'application/json' },
});
/** As S3 does it: what was signed, and the signature that came. */
const storageError = ({ quotes }: Heard): Leak => {
  const link = new URL(quotes[0] ?? 'http://x');
  const signature = link.searchParams.get('X-Amz-Signature') ?? '';
  const query = link.search.slice(1);
  return {
    status: 403,
    text: `<Error><Code>SignatureDoesNotMatch</Code><SignatureProvided>${signature}</SignatureProvided><CanonicalRequest>PUT ${link.pathname} ${query}</CanonicalRequest><Url>${link.href}</Url></Error>`,
    headers: { 'content-type': 'application/xml' },
  };
};

interface Plan {
  vendor: string;
  operation: string;
  /** The submission id. */
  id: string;
  input: object;
  account?: string;
  opts?: JobsOptions;
  /** Left out, it stays held. */
  outcome?: string;
  rules?: { route: RegExp; times?: number; isAfter?: boolean; leak: (heard: Heard) => Leak }[];
}

const parse = (id: string, rest: Partial<Plan> & { more?: object }): Plan => ({
  vendor: 'knowhere',
  operation: 'parse',
  id,
  input: { sourceType: 'url', sourceUrl: `https://example.com/${id}.pdf`, ...rest.more },
  ...rest,
});
const upload = (id: string, rest: Partial<Plan>): Plan => ({
  ...parse(id, rest),
  input: { sourceType: 'file', file: `${id}.md`, download: true },
});
const create = /^POST \/v1\/jobs$/;
const getJob = /^GET \/v1\/jobs\/job_/;
const result = /^GET \/knowhere\/_storage\/results/;

const knowherePlans: Plan[] = [
  parse('secret-k1', { outcome: 'succeeded', more: { download: true } }),
  upload('secret-k2', { outcome: 'succeeded', account: 'plain', opts: { removeOnComplete: false } }),
  upload('secret-k3', {
    outcome: 'failed',
    opts: { removeOnComplete: false },
    rules: [{ route: /^PUT /, leak: storageError }],
  }),
  parse('secret-k4', {
    outcome: 'succeeded',
    more: { download: true },
    rules: [{ route: result, times: 1, leak: storageError }],
  }),
  parse('secret-k5', {
    outcome: 'succeeded',
    more: { download: true },
    rules: [
      {
        route: result,
        times: 1,
        leak: ({ quotes }) => ({ status: 302, headers: { location: elsewhereOf(quotes[0] ?? '') } }),
      },
    ],
  }),
  parse('secret-k6', { outcome: 'failed', more: { download: true }, rules: [{ route: result, leak: storageError }] }),
  parse('secret-k7', { outcome: 'rejected', account: 'plain', rules: [{ route: create, leak: knowhereError(400) }] }),
  parse('secret-k8', {
    outcome: 'succeeded',
    rules: [{ route: create, times: 1, isAfter: true, leak: page(500) }],
  }),
  parse('secret-k9', {
    outcome: 'succeeded',
    account: 'plain',
    rules: [{ route: create, times: 1, isAfter: true, leak: broken }],
  }),
  upload('secret-k10', {
    outcome: 'failed',
    account: 'plain',
    rules: [
      {
        route: getJob,
        leak: (heard) => ({
          patch: (job) => ({
            ...job,
            status: 'failed',
            error: { code: 'LEAK', message: said(heard), details: details(heard) },
          }),
        }),
      },
    ],
  }),
  parse('secret-k11', {
    outcome: 'succeeded',
    account: 'plain',
    rules: [
      {
        route: getJob,
        times: 2,
        leak: ({ quotes }) => ({ patch: (job) => ({ ...job, status: quotes[1]?.slice(0, 99) }) }),
      },
      { route: getJob, times: 1, leak: knowhereError(403) },
      { route: getJob, times: 1, leak: page(502) },
    ],
  }),
  parse('secret-k12', { account: 'held', rules: [{ route: create, leak: knowhereError(401) }] }),
];

const generate = (id: string, rest: Partial<Plan>): Plan => ({
  vendor: 'fini',
  operation: 'knowledge.generate',
  id,
  input: { origin: 'generated', candidateKnowledge: `A text of ${id}` },
  ...rest,
});
const finiPlans: Plan[] = [
  {
    vendor: 'fini',
    operation: 'documents.ingest',
    id: 'secret-f1',
    input: { documentIdsToAdd: ['https://example.com/secret-f1'] },
    outcome: 'failed',
    rules: [
      {
        route: /^GET \/v2\/documents\/public\/[0-9a-f-]+$/,
        leak: (heard) => ({
          patch: (record) => ({ ...record, linkedJobStatus: 'FAILED', success: false, error: said(heard) }),
        }),
      },
    ],
  },
  {
    vendor: 'fini',
    operation: 'documents.ingest',
    id: 'secret-f2',
    input: { documentIdsToAdd: ['https://example.com/secret-f2'] },
    outcome: 'rejected',
    rules: [{ route: /^POST \/v2\/documents\/public$/, leak: finiError(400) }],
  },
  generate('secret-f3', {
    outcome: 'succeeded',
    rules: [
      { route: /^POST \/v2\/knowledge\/public\/jobs\/status$/, times: 1, leak: page(500) },
      { route: /^POST \/v2\/knowledge\/public\/jobs\/status$/, times: 1, leak: finiError(404) },
    ],
  }),
  generate('secret-f4', {
    outcome: 'unconfirmed',
    rules: [{ route: /^POST \/v2\/knowledge\/public$/, isAfter: true, leak: finiError(500) }],
  }),
  generate('secret-f6', {
    outcome: 'unconfirmed',
    rules: [
      {
        route: /^POST \/v2\/knowledge\/public$/,
        leak: ({ headers }) => ({
          status: 307,
          headers: { location: `${leaky.elsewhere}/stolen?key=${encodeURIComponent(headers.authorization ?? '')}` },
        }),
      },
    ],
  }),
  generate('secret-f5', {
    account: 'held',
    rules: [{ route: /^POST \/v2\/knowledge\/public$/, leak: finiError(403) }],
  }),
];

const upsert = (id: string, rest: Partial<Plan>): Plan => ({
  vendor: 'sharely',
  operation: 'role.upsert',
  id,
  input: { customerRoleId: id, name: `Role ${id}` },
  ...rest,
});
const sharelyPlans: Plan[] = [
  upsert('secret-s1', {
    outcome: 'succeeded',
    rules: [
      { route: /\/background-jobs$/, times: 1, leak: broken },
      { route: /\/background-jobs$/, times: 1, leak: sharelyError(500) },
    ],
  }),
  {
    vendor: 'sharely',
    operation: 'role.create',
    id: 'secret-s2',
    input: { name: 'Role secret-s2' },
    outcome: 'rejected',
    rules: [{ route: /^POST .*\/role$/, leak: sharelyError(400) }],
  },
  {
    vendor: 'sharely',
    operation: 'knowledge.upload',
    id: 'secret-s3',
    input: { file: 'secret-s3.md' },
    outcome: 'succeeded',
    rules: [{ route: /\/knowledge\/file$/, times: 1, isAfter: true, leak: sharelyError(500) }],
  },
  upsert('secret-s4', {
    outcome: 'succeeded',
    rules: [
      {
        route: /\/role\/upsert$/,
        times: 1,
        isAfter: true,
        leak: (heard) => ({ ...page(200)(heard), headers: { 'content-type': `text/html; ${heard.quotes[1] ?? ''}` } }),
      },
      { route: /^GET .*\/role\//, times: 1, leak: sharelyError(502) },
    ],
  }),
  upsert('secret-s5', { account: 'token', rules: [{ route: /\/role\/upsert$/, leak: sharelyError(401) }] }),
  // The workspace belongs to this submission alone, so that its exchange of the key can be told apart.
  upsert('secret-s6', { account: 'held', rules: [{ route: /generate-access-key-token$/, leak: sharelyError(401) }] }),
];
const plans = [...knowherePlans, ...finiPlans, ...sharelyPlans];
const heldWorkspace = '6f1c2a34-0000-4000-8000-0000000000aa';

let stage: Stage;
let sandbox: Sandbox;
let leaky: LeakyVendor;
let server: EmbeddedRedis;
let redis: Redis;
let worker: Started;
let board: Started;
let boardUrl: string;
let healthUrl: string;
let env: Record<string, string>;
const events = new Map<string, CompletionEvent>();
const queues: Queue[] = [];
let consumer: Worker | undefined;
let needles: Needle[];

const elsewhereOf = (link: string): string => {
  const { pathname, search } = new URL(link);
  // Only this way does the other host have what it needs to answer.
  return `${leaky.elsewhere}${pathname}${search}`;
};

beforeAll(async () => {
  await ensureCli();
  stage = new Stage();
  sandbox = await startSandbox({ speed: 500 });
  leaky = await LeakyVendor.start(sandbox);
  await prepareVendors();
  server = await startEmbeddedRedis({
    dir: path.join(stage.folder, 'redis'),
    cacheDir: path.join(projectDir, '.jobferry', 'redis'),
    appendOnly: false,
  });
  const open = new Redis(server.url);
  await open.call('CONFIG', 'SET', 'requirepass', keys.redis);
  await open.call('CONFIG', 'SET', 'rdbcompression', 'no');
  open.disconnect();
  env = environment(server.url.replace('://', `://:${keys.redis}@`));
  redis = new Redis(env['REDIS_URL'] ?? '', { maxRetriesPerRequest: null });
  worker = stage.cli(['worker'], env);
  board = stage.cli(['board'], env);
  await worker.says(/working for .*sharely/);
  boardUrl = (await board.says(/board on (http:\/\/[^"\s]+)/))[1]?.replace(/\/$/, '') ?? '';
  healthUrl = `http://127.0.0.1:${env['JOBFERRY_HEALTH_PORT'] ?? ''}`;
  await runAll();
  needles = [...[...marks].map(([what, mark]) => needle(what, 'secret', mark)), ...leaky.needles];
}, 170_000);

afterAll(async () => {
  await consumer?.close();
  await Promise.all(queues.map((queue) => queue.close()));
  redis?.disconnect();
  await stage?.close();
  await leaky?.close();
  await sandbox?.close();
  await server?.stop();
}, 30_000);

async function prepareVendors(): Promise<void> {
  for (const plan of plans) {
    for (const rule of plan.rules ?? []) leaky.rules.push({ label: plan.id, ...rule });
  }
  for (const key of [keys.knowhere, keys.knowherePlain, keys.knowhereHeld]) {
    leaky.credentials.set(key, 'sk_test');
  }
  for (const key of [keys.fini, keys.finiHeld]) leaky.credentials.set(key, 'fini_test');
  for (const key of [keys.sharely, keys.sharelyHeld]) leaky.credentials.set(key, 'sk-sharely-test');
  leaky.label(heldWorkspace, 'secret-s6');
  const made = await fetch(`${sandbox.url}/_control/sharely/tokens`, {
    method: 'POST',
    body: JSON.stringify({ workspaceId }),
  });
  const { token } = (await made.json()) as { token: string };
  leaky.credentials.set(keys.sharelyToken, token);
}

function environment(redisUrl: string): Record<string, string> {
  const files = path.join(stage.folder, 'files');
  mkdirSync(files);
  for (const name of ['secret-k2.md', 'secret-k3.md', 'secret-k10.md', 'secret-s3.md'])
    writeFileSync(path.join(files, name), '# Text\n');
  const config = path.join(stage.folder, 'jobferry.config.json');
  const sharely = { organizationId, workspaceId, baseUrl: leaky.url('sharely') };
  const accounts = {
    knowhere: {
      plain: { apiKey: { env: 'KNOWHERE_PLAIN' }, baseUrl: leaky.url('knowhere') },
      held: { apiKey: { env: 'KNOWHERE_HELD' }, baseUrl: leaky.url('knowhere') },
    },
    fini: { held: { apiKey: { env: 'FINI_HELD' }, baseUrl: leaky.url('fini') } },
    sharely: {
      token: { ...sharely, accessToken: { env: 'SHARELY_TOKEN' } },
      held: { ...sharely, workspaceId: heldWorkspace, apiKey: { env: 'SHARELY_HELD' } },
    },
  };
  const reconcile = { absenceMs: 1_000, minAbsentLooks: 2, inFlightMs: 1_000 };
  writeFileSync(config, JSON.stringify({ accounts, reconcile }));
  return {
    REDIS_URL: redisUrl,
    LOG_LEVEL: 'trace',
    JOBFERRY_CONFIG: config,
    JOBFERRY_FILES_DIR: files,
    JOBFERRY_ARTIFACTS_DIR: path.join(stage.folder, 'artifacts'),
    JOBFERRY_ALLOW_PRIVATE_URLS: 'true',
    JOBFERRY_BOARD_USER: 'ops',
    JOBFERRY_BOARD_PASSWORD: keys.board,
    JOBFERRY_HEALTH_PORT: String(20_000 + (process.pid % 10_000)),
    PORT: '0',
    KNOWHERE_API_KEY: keys.knowhere,
    KNOWHERE_BASE_URL: leaky.url('knowhere'),
    KNOWHERE_PLAIN: keys.knowherePlain,
    KNOWHERE_HELD: keys.knowhereHeld,
    FINI_API_KEY: keys.fini,
    FINI_BASE_URL: leaky.url('fini'),
    FINI_HELD: keys.finiHeld,
    SHARELY_API_KEY: keys.sharely,
    SHARELY_ORGANIZATION_ID: organizationId,
    SHARELY_WORKSPACE_ID: workspaceId,
    SHARELY_BASE_URL: leaky.url('sharely'),
    SHARELY_TOKEN: keys.sharelyToken,
    SHARELY_HELD: keys.sharelyHeld,
  };
}

function queue(name: string): Queue {
  let found = queues.find((one) => one.name === name);
  if (found === undefined) {
    found = new Queue(name, { connection: redis, prefix });
    queues.push(found);
  }
  return found;
}

async function push({ vendor, operation, id, input, account, opts }: Plan): Promise<void> {
  const data = {
    input,
    poll,
    ...(account === undefined ? {} : { account }),
  };
  await queue(`${vendor}.submit`).add(operation, data, { ...opts, jobId: id });
}

/** Every submission to its end, and those of refused accounts until they are held. */
async function runAll(): Promise<void> {
  consumer = new Worker(
    'results',
    async (job) => {
      const event = job.data as CompletionEvent;
      events.set(event.subject, event);
    },
    { connection: redis, prefix, concurrency: 50 },
  );
  await Promise.all(plans.map(push));
  await until(
    () => events.get('secret-k1'),
    40_000,
    () => 'the first event',
  );
  const jobIds = [events.get('secret-k1')?.data.vendorJobs[0]?.id ?? ''];
  await push({ vendor: 'knowhere', operation: 'watch', id: 'secret-k13', input: { jobIds, download: true } });
  const awaited = ['secret-k13', ...plans.filter((plan) => plan.outcome !== undefined).map((plan) => plan.id)];
  await until(
    () => awaited.every((id) => events.has(id)),
    60_000,
    () => `events of ${awaited.filter((id) => !events.has(id)).join(', ')}`,
  );
  const held = ['knowhere/held', 'fini/held', 'sharely/held', 'sharely/token'];
  await until(
    async () => {
      const board = JSON.stringify(await redis.hgetall(`${prefix}:jobferry:accounts`));
      return held.every((name) => board.includes(name));
    },
    20_000,
    () => 'four held accounts',
  );
}

describe('an installation whose vendors quote what they are told', () => {
  it('ends every submission as it should', () => {
    const outcomes = plans.filter((plan) => plan.outcome !== undefined).map(({ id, outcome }) => [id, outcome]);
    const found = outcomes.map(([id]) => [id, events.get(id ?? '')?.data.outcome]);
    expect(found).toEqual(outcomes);
    expect(events.get('secret-k13')?.data.outcome).toBe('succeeded');
    // Every leak has been heard: a rule that never struck shows nothing.
    expect(leaky.rules.filter((rule) => (rule.times ?? 0) > 0).map((rule) => rule.label)).toEqual([]);
  });

  it('keeps no secret in Redis, and a result link only where the contract has it', async () => {
    const { findings, excused } = await scanRedis();
    expect(findings).toEqual([]);
    // That it is found there shows that the search finds.
    expect(excused).toBeGreaterThan(4);
    await redis.call('SAVE');
    const dump = readFileSync(path.join(stage.folder, 'redis', 'dump.rdb')).toString('latin1');
    expect(dump).toContain('secret-k3');
    const unexcused = needles.filter(({ kind }) => kind !== 'result');
    expect(findIn('dump.rdb', dump, unexcused)).toEqual([]);
  });

  it('tells no secret in events, but for the result link', () => {
    const texts = [...events.values()].map((event) => JSON.stringify(withoutResultUrls(event, 'data.vendorJobs')));
    expect(texts.length).toBeGreaterThan(plans.length - 6);
    expect(texts.flatMap((text) => findIn('event', text, needles))).toEqual([]);
    // What was said without the secrets is still there to be read.
    expect(events.get('secret-k7')?.data.error?.message).toContain('[redacted]');
  });

  it('shows none on the board, at its routes and those of the worker', async () => {
    const login = { authorization: `Basic ${Buffer.from(`ops:${keys.board}`).toString('base64')}` };
    const routes = ['/', '/readyz', '/metrics', '/healthz', '/api/queues', '/api/redis/stats'];
    for (const { vendor, id } of plans) {
      for (const [name, jobId] of [
        [`${vendor}.submit`, id],
        [`${vendor}.poll`, await pollJobId(vendor, id)],
      ] as const) {
        if (jobId === undefined) continue;
        routes.push(`/queue/${name}/${jobId}`, `/api/queues/${name}/${jobId}`, `/api/queues/${name}/${jobId}/logs`);
      }
    }
    for (const name of ['knowhere.poll', 'fini.poll', 'sharely.poll', 'knowhere.submit', 'results']) {
      for (const status of ['completed', 'delayed', 'waiting']) {
        routes.push(`/api/queues?activeQueue=${name}&status=${status}&page=1&jobsPerPage=50`);
      }
    }
    const pages: (readonly [string, string])[] = [];
    // One address may hold fifty connections.
    for (let from = 0; from < routes.length; from += 20) {
      const some = routes.slice(from, from + 20);
      pages.push(
        ...(await Promise.all(some.map(async (route) => [route, await read(`${boardUrl}${route}`, login)] as const))),
      );
    }
    const own = await Promise.all(
      ['/readyz', '/metrics', '/healthz'].map(
        async (route) => [`worker ${route}`, await read(`${healthUrl}${route}`)] as const,
      ),
    );
    expect([...pages, ...own].flatMap(([route, text]) => findIn(route, text, needles))).toEqual([]);
    const all = pages.map(([, text]) => text).join('\n');
    for (const shown of ['secret-k3', 'vendor_unauthorized', 'resultUrl', 'knowhere/held'])
      expect(all).toContain(shown);
  }, 60_000);

  it('says none in logs and commands', async () => {
    const asked = ['secret-k1', 'secret-k3', 'secret-k10', 'secret-k12', 'secret-f1', 'secret-s5'];
    const said = await Promise.all(
      asked.map(async (id) => {
        const { vendor } = plans.find((plan) => plan.id === id) ?? { vendor: '' };
        const { stdout, stderr, code } = await stage.run(['status', vendor, id, '--json'], { env });
        expect([id, code, stderr]).toEqual([id, 0, '']);
        return [`status ${id}`, stdout] as [string, string];
      }),
    );
    // Wrong in ways that quote the value in many a program.
    const refused = [
      { SHARELY_API_KEY: `${keys.sharely} and more` },
      { KNOWHERE_BASE_URL: `ftp://user:${keys.knowhere}@example.com` },
      { REDIS_URL: `redis://:${keys.redis}@127.0.0.1:port` },
    ];
    for (const wrong of refused) {
      const { stdout, stderr, code } = await stage.run(['worker'], { env: { ...env, ...wrong } });
      expect(code).toBe(78);
      said.push([`worker with ${Object.keys(wrong).join()}`, stdout + stderr]);
    }
    const logs = [
      ['worker', worker.stdout],
      ['worker', worker.stderr],
      ['board', board.stdout],
      ['board', board.stderr],
    ] as const;
    expect([...said, ...logs].flatMap(([where, text]) => findIn(where, text, needles))).toEqual([]);
    expect(worker.stdout).toContain('account held');
    expect(worker.stdout).toContain('secret-k3');
  }, 60_000);

  it('sends credentials to no other host', () => {
    const hosts = new Set(leaky.arrivals.map(({ host, method }) => `${method} ${host}`));
    expect([...hosts].sort()).toEqual(['GET elsewhere', 'GET storage', 'PUT storage']);
    const credentials = needles.filter(({ kind }) => kind === 'secret');
    for (const { host, url, headers } of leaky.arrivals) {
      expect(Object.keys(headers).filter((name) => /authorization|api-key|organizationid|cookie/.test(name))).toEqual(
        [],
      );
      expect(findIn(host, `${url} ${JSON.stringify(headers)}`, credentials)).toEqual([]);
    }
    // A redirect of the API was answered with a way to steal the key, and not followed.
    expect(leaky.arrivals.filter(({ url }) => url.startsWith('/stolen'))).toEqual([]);
  });

  it('would find what is planted', async () => {
    const key = marks.get('Knowhere key') ?? '';
    const shapes = [
      key,
      Buffer.from(`Bearer sk_live_${key}`).toString('base64'),
      Buffer.from(`x${key}`).toString('base64'),
    ];
    for (const shape of shapes) {
      await redis.rpush(`${prefix}:planted`, `a ${shape} b`);
      expect((await scanRedis()).findings.map(({ where }) => where)).toContain(`${prefix}:planted`);
      await redis.del(`${prefix}:planted`);
    }
    const link = leaky.needles.find(({ kind }) => kind === 'result')?.forms[0] ?? '';
    const event = { data: { vendorJobs: [{ result: { resultUrl: link }, error: { message: link } }] } };
    expect(findIn('event', JSON.stringify(withoutResultUrls(event, 'data.vendorJobs')), needles)).toHaveLength(1);
  });
});

async function read(url: string, headers: Record<string, string> = {}): Promise<string> {
  const answer = await fetch(url, { headers });
  return `${JSON.stringify([...answer.headers])} ${await answer.text()}`;
}

async function pollJobId(vendor: string, id: string): Promise<string | undefined> {
  const keysFound = await redis.keys(`${prefix}:${vendor}.poll:*${id}`);
  return keysFound[0]?.split(':').slice(2).join(':');
}

/** Every key of every type; what the contract excuses is counted, not found. */
async function scanRedis(): Promise<{ findings: Finding[]; excused: number }> {
  const findings: Finding[] = [];
  let excused = 0;
  for (const key of await allKeys()) {
    for (const [field, value] of await contents(key)) {
      findings.push(...findIn(key, field, needles));
      const path = excusedPath(key, field);
      const text =
        path === undefined
          ? value
          : JSON.stringify(withoutResultUrls(JSON.parse(value.slice(value.indexOf('{'))), path));
      const found = findIn(`${key}${field === '' ? '' : ` ${field}`}`, text, needles);
      if (text !== value) excused += findIn(key, value, needles).length > found.length ? 1 : 0;
      findings.push(...found.map((one) => ({ ...one, where: one.where.trim() })));
    }
  }
  return { findings, excused };
}

async function allKeys(): Promise<string[]> {
  const found: string[] = [];
  let cursor = '0';
  do {
    const [next, some] = await redis.scan(cursor, 'COUNT', 1_000);
    cursor = next;
    found.push(...some);
  } while (cursor !== '0');
  return found;
}

/** Field and value; the field is empty where the type has none. */
async function contents(key: string): Promise<[string, string][]> {
  const bare = (values: string[]): [string, string][] => values.map((value) => ['', value]);
  switch (await redis.type(key)) {
    case 'string':
      return bare([(await redis.get(key)) ?? '']);
    case 'hash':
      return Object.entries(await redis.hgetall(key));
    case 'list':
      return bare(await redis.lrange(key, 0, -1));
    case 'set':
      return bare(await redis.smembers(key));
    case 'zset':
      return bare(await redis.zrange(key, '0', '-1'));
    case 'stream':
      return bare((await redis.xrange(key, '-', '+')).flatMap(([, fields]) => fields));
    default:
      return [];
  }
}

/** Where the vendor jobs stand whose result link may be told: in an event, and in the record that it is made of. */
function excusedPath(key: string, field: string): string | undefined {
  if (key.startsWith(`${prefix}:results:`) && field === 'data') return 'data.vendorJobs';
  return /^bull:knowhere\.poll:/.test(key) && field === hashFields.record ? 'jobs' : undefined;
}

function withoutResultUrls(value: unknown, at: string): unknown {
  const copy = structuredClone(value);
  const jobs = at
    .split('.')
    .reduce<unknown>((part, name) => (part as Record<string, unknown> | undefined)?.[name], copy);
  for (const job of Array.isArray(jobs) ? (jobs as { result?: { resultUrl?: unknown } }[]) : []) {
    if (typeof job.result?.resultUrl === 'string') delete job.result.resultUrl;
  }
  return copy;
}
