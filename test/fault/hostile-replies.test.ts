import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { decideOnSubmit, type SubmitDecision } from '../../src/core/decide.ts';
import { JobferryError, VendorThrottledError, VendorUnavailableError } from '../../src/core/errors.ts';
import { vendorJobStatuses } from '../../src/core/submission.ts';
import { silentLogger } from '../../src/ports/logger.ts';
import type {
  ConfirmReply,
  HttpReply,
  HttpRequest,
  LimitReport,
  LookupAnswer,
  LookupJob,
  ReconcileReply,
  StepContext,
  SubmitReply,
  VendorReport,
} from '../../src/ports/vendor-adapter.ts';
import { adapters } from '../../src/vendors/catalogue.ts';
import { HttpClient } from '../../src/vendors/http/client.ts';
import { FileTransfers } from '../../src/vendors/transfers/file-transfers.ts';
import { mutate, pickWild, seeded, type Reply, type Wild } from '../helpers/fuzz.ts';
import { HostileServer } from '../helpers/hostile-server.ts';
import { errorBodies, silentSteps, wireCalls } from '../helpers/wire-calls/index.ts';
import { nameOf, rows, type Good, type Served, type WireCall } from '../helpers/wire-calls/wire-call.ts';

/**
 * Every request of every adapter against answers of a broken or hostile vendor. Whatever comes: a value of our own
 * words or an error of our own classes, in bounded time and size; no success that was not said; no submit taken for
 * accepted or for refused that was neither.
 */

/** Replies in all; `FUZZ_REPLIES=120000` for the long form. */
const replies = Number(process.env['FUZZ_REPLIES'] ?? 24_000);
const seed = Number(process.env['FUZZ_SEED'] ?? 20_261_122);
const rounds = Math.ceil(replies / wireCalls.length);

const timeoutMs = 400;
/** For what a busy machine adds to a timeout. */
const slackMs = 8_000;
const dayMs = 86_400_000;
const maxValueBytes = 65_536;
/** Printable, without blanks, and something else than dots. */
const goodId = /^(?=.*[A-Za-z0-9])[\x21-\x7e]{1,8192}$/;

/** Waits a moment for what a real one waits half a minute for, and notes whether it kept to that. */
class ImpatientClient<Account> extends HttpClient<Account> {
  longestMs = 0;

  override async request<Reply>(request: HttpRequest<Reply>): Promise<HttpReply<Reply>> {
    const startedAt = performance.now();
    try {
      return await super.request({ ...request, timeoutMs });
    } finally {
      this.longestMs = Math.max(this.longestMs, performance.now() - startedAt);
    }
  }
}

/** Says which reply it was; made only when it is needed, which keeps a hundred thousand of them cheap. */
type Where = () => string;

function claim(isTrue: boolean | undefined, where: Where): void {
  if (isTrue !== true) throw new Error(where());
}

type Ended = { value: unknown } | { error: unknown };

interface Tally {
  values: number;
  errors: number;
  good: number;
  wild: number;
}

let folder: string;
let elsewhere: HostileServer;
let hasHangingRejection = false;
const requested = new Map<string, Set<string>>(adapters.map((adapter) => [adapter.name, new Set()]));
const totals: Tally = { values: 0, errors: 0, good: 0, wild: 0 };
const noteRejection = (): void => {
  hasHangingRejection = true;
};
/** What the wire modules export and the attack has reached, by name. */
const schemas = new Map<string, { safeParse: (value: unknown) => unknown }>();

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'jobferry-fuzz-'));
  await writeFile(path.join(folder, 'a.md'), '# A file\n');
  elsewhere = await HostileServer.start(() => ({ reply: toReply({ json: {} }) }));
  process.on('unhandledRejection', noteRejection);
  for (const [name, schema] of await wireSchemas()) schemas.set(name, vi.spyOn(schema, 'safeParse') && schema);
});

afterAll(async () => {
  process.off('unhandledRejection', noteRejection);
  vi.restoreAllMocks();
  await elsewhere.close();
  await rm(folder, { recursive: true, force: true });
});

/** The schemas that any vendor's `wire.ts` exports. */
async function wireSchemas(): Promise<[string, { safeParse: (value: unknown) => unknown }][]> {
  const vendors = path.join(import.meta.dirname, '../../src/vendors');
  const files = (await readdir(vendors, { recursive: true })).filter((file) => path.basename(file) === 'wire.ts');
  const found = await Promise.all(
    files.map(async (file) => {
      const exported = (await import(pathToFileURL(path.join(vendors, file)).href)) as Record<string, unknown>;
      return Object.entries(exported).flatMap(([name, value]) =>
        typeof value === 'object' && value !== null && 'safeParse' in value
          ? [[`${path.dirname(file)}: ${name}`, value as { safeParse: (value: unknown) => unknown }] as const]
          : [],
      );
    }),
  );
  return found.flat().map(([name, schema]) => [name, schema]);
}

describe.concurrent('answers of a broken or hostile vendor', () => {
  it.each(wireCalls.map((call) => [nameOf(call), call] as const))(
    '%s',
    async (_name, call) => {
      const tally = await attack(call);
      for (const key of ['values', 'errors', 'good', 'wild'] as const) totals[key] += tally[key];
      // The attack reaches all of it: neither ending is rare.
      const rarest = call.isHopeless === true ? tally.errors : Math.min(tally.values, tally.errors);
      expect(rarest, JSON.stringify(tally)).toBeGreaterThan(rounds / 50);
    },
    900_000,
  );
});

describe('the attack', () => {
  it('left no promise behind and no trace on Object.prototype', async () => {
    await new Promise((resolve) => setImmediate(resolve));
    expect(hasHangingRejection).toBe(false);
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
    console.log(`${rounds * wireCalls.length} replies over ${wireCalls.length} calls, seed ${seed}:`, totals);
  });

  it('would notice a success that was not said', async () => {
    const call = wireCalls.find(({ step }) => step === 'lookups.job');
    if (call === undefined) throw new Error('no such call');
    await expect(attack({ ...call, says: () => false })).rejects.toThrow('"status":"succeeded"');
  });

  it('reached every wire schema', () => {
    const missed = [...schemas].filter(([, schema]) => vi.mocked(schema.safeParse).mock.calls.length === 0);
    expect(missed.map(([name]) => name)).toEqual([]);
    expect(schemas.size).toBeGreaterThan(20);
  });

  it.each(adapters)('knows every step and every request of $name', (adapter) => {
    const calls = wireCalls.filter((call) => call.adapter.name === adapter.name);
    const silent = silentSteps[adapter.name] ?? [];
    const known = new Set([...calls, ...silent].map((entry) => entry.step));
    const steps = ['preflight', 'submit', 'reconcile', 'prepare', 'confirm'] as const;
    const declared = [
      ...Object.keys(adapter.lookups).map((name) => `lookups.${name}`),
      ...Object.entries(adapter.operations).flatMap(([name, operation]) =>
        steps.filter((step) => operation[step] !== undefined).map((step) => `${name}.${step}`),
      ),
      ...(adapter.http.credential === undefined ? [] : ['http.credential']),
    ];
    expect(declared.filter((step) => !known.has(step))).toEqual([]);
    const attacked = calls.map((call) => call.route);
    const foreign = [...(requested.get(adapter.name) ?? [])].filter(
      (route) => !attacked.some((pattern) => matches(pattern, route)),
    );
    // The other storage links, and the request that a fresh token is for.
    expect(foreign.filter((route) => !/\/storage\/|workspaces\/9/.test(route))).toEqual([]);
  });

  it.each(adapters)('leaves out only steps of $name that make no request', async (adapter) => {
    const server = await HostileServer.start(() => ({ reply: toReply({ json: {} }) }));
    try {
      for (const { step, context } of silentSteps[adapter.name] ?? []) {
        const example = wireCalls.find((call) => call.adapter.name === adapter.name);
        if (example === undefined) throw new Error('no call of this vendor');
        const { client, account } = openClient({ ...example, step }, server.url, []);
        await run({ ...example, step, context: () => context }, server.url, client, account, openTransfers());
      }
      expect(server.arrivals).toEqual([]);
    } finally {
      await server.close();
    }
  });
});

async function attack(call: WireCall): Promise<Tally> {
  const random = seeded(seed + hash(nameOf(call)));
  let next: Reply = toReply({});
  let wild: Wild | undefined;
  const server = await HostileServer.start((route) => {
    requested.get(call.adapter.name)?.add(route);
    if (matches(call.route, route)) return { reply: next, wild };
    const good = Object.entries(call.others?.(server.url) ?? {}).find(([pattern]) => matches(pattern, route))?.[1];
    return { reply: toReply(good ?? { status: 501, json: { message: `nothing is scripted for ${route}` } }) };
  });
  server.elsewhere = `${elsewhere.url}/${hash(nameOf(call))}`;
  const bodies = call.bodies(server.url);
  const limits: LimitReport[] = [];
  const transfers = openTransfers();
  const tally: Tally = { values: 0, errors: 0, good: 0, wild: 0 };
  try {
    for (let round = 0; round < rounds; round += 1) {
      const good = bodies[Math.floor(random() * bodies.length)];
      next = mutate(random, good, errorBodies[call.adapter.name], call.status);
      wild = pickWild(random);
      server.arrivals.length = 0;
      const { client, account } = openClient(call, server.url, limits);
      const startedAt = performance.now();
      const ended = await run(call, server.url, client, account, transfers).then(
        (value): Ended => ({ value }),
        (error: unknown): Ended => ({ error }),
      );
      const where = (): string =>
        `FUZZ_SEED=${seed}, ${nameOf(call)}, reply ${round}: ${wild ?? ''} ${next.status} ${JSON.stringify(next.headers)} ${next.body.toString('utf8').slice(0, 600)}\n→ ${show(ended)}`;
      claim(client.longestMs < timeoutMs * 3 + slackMs, where);
      claim(performance.now() - startedAt < timeoutMs * 25 + slackMs, where);
      const isReached = server.arrivals.some(({ route }) => matches(call.route, route));
      judge(call, ended, { served: toServed(next), wild, isReached, where }, tally);
    }
  } finally {
    await transfers.close();
    await server.close();
  }
  for (const { remaining, resetMs } of limits) {
    expect(Number.isFinite(remaining) && resetMs >= 0 && resetMs <= dayMs).toBe(true);
  }
  expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  const led = elsewhere.arrivals.filter(({ route }) => route.endsWith(`/${hash(nameOf(call))}`));
  if (!call.route.startsWith('GET /storage/')) expect(led, 'no redirect is followed').toEqual([]);
  for (const { headers } of led) expect(JSON.stringify(headers)).not.toMatch(/authorization|sk_x|x\.y\.z/);
  return tally;
}

function openClient(call: WireCall, url: string, limits: LimitReport[]) {
  const account: unknown = call.adapter.account.parse({ ...call.account, baseUrl: url });
  return { account, client: new ImpatientClient(call.adapter, account, { onLimits: (report) => limits.push(report) }) };
}

function openTransfers(): FileTransfers {
  return new FileTransfers({
    filesDir: folder,
    artifactsDir: path.join(folder, 'artifacts'),
    allowPrivateUrls: true,
    maxResultBytes: 1_000_000,
    idleTimeoutMs: timeoutMs,
  });
}

/** Takes one step as the engine would. */
async function run(
  call: WireCall,
  url: string,
  http: ImpatientClient<unknown>,
  account: unknown,
  transfers: FileTransfers,
): Promise<unknown> {
  // A token is asked for by whatever needs it.
  const step = call.step === 'http.credential' ? 'role.update.submit' : call.step;
  const at = step.lastIndexOf('.');
  const [owner, name] = [step.slice(0, at), step.slice(at + 1)];
  const now = Date.now();
  const { signal } = new AbortController();
  if (owner === 'lookups') {
    const jobs = call.jobs ?? [];
    const answers = await call.adapter.lookups[name]?.look(jobs, { account, http, logger: silentLogger, now, signal });
    return answers === undefined ? answers : readAnswers(jobs, answers);
  }
  const operation = call.adapter.operations[owner];
  if (operation === undefined) throw new Error(`no operation ${owner}`);
  const given = call.context?.(url) ?? {};
  const context: StepContext<unknown, unknown> = {
    submissionId: 's-1',
    account,
    accountName: 'default',
    stage: undefined,
    part: 0,
    carry: undefined,
    snapshot: undefined,
    jobs: [],
    http,
    transfers,
    now,
    deadlineAt: now + 60_000,
    attempt: 1,
    doubts: 0,
    enqueuedAt: now,
    logger: silentLogger,
    signal,
    claim: async () => true,
    ...given,
    input: operation.input.parse(given.input),
  };
  if (name === 'reconcile')
    return operation.reconcile?.(context, call.intent ?? { attempt: 1, at: now, fingerprint: '0' });
  return operation[name as 'preflight' | 'submit' | 'prepare' | 'confirm']?.(context);
}

/** What a look-up says to those who asked; an answer about a stranger stays to be found. */
function readAnswers(
  jobs: readonly LookupJob[],
  answers: ReadonlyMap<string, LookupAnswer>,
): Map<string, VendorReport | undefined> {
  const reports = [...answers].map(([id, answer]) => {
    const job = jobs.find((one) => one.id === id) ?? { id, extra: undefined };
    return [id, typeof answer === 'function' ? answer(job) : answer] as const;
  });
  return new Map(reports.filter(([, report]) => report !== undefined));
}

interface Trial {
  served: Served;
  wild: Wild | undefined;
  isReached: boolean;
  where: Where;
}

function judge(call: WireCall, ended: Ended, trial: Trial, tally: Tally): void {
  const { served, wild, isReached, where } = trial;
  if (wild !== undefined) tally.wild += 1;
  if ('error' in ended) {
    tally.errors += 1;
    judgeError(ended.error, where);
  } else {
    tally.values += 1;
    const { value } = ended;
    const json = JSON.stringify(value instanceof Map ? [...value] : value);
    claim((json?.length ?? 0) < maxValueBytes, where);
    claim(value instanceof Map || isPlain(value), where);
  }
  if (!isReached) return;
  const isWhole = wild === undefined || (call.isHeadEnough === true && !['silence', 'elsewhere'].includes(wild));
  const isFine = served.status >= 200 && served.status <= 299 && isWhole;
  const says = isFine && call.says?.(served) === true;
  const step = call.step === 'http.credential' ? 'submit' : call.step.slice(call.step.lastIndexOf('.') + 1);
  if (call.step.startsWith('lookups.')) return judgeLook(call, ended, says, where, tally);
  switch (step) {
    case 'submit':
      return judgeSubmit(call, ended, trial, tally);
    case 'preflight':
      // Only a refusal refuses: what can not be read is asked again.
      if ('error' in ended && decideOnSubmit(ended.error) === 'reject') {
        claim(says || (served.status >= 400 && served.status <= 499), where);
      }
      return;
    case 'reconcile':
      return judgeReconcile(ended, trial, says, tally);
    case 'prepare':
      if ('value' in ended) {
        tally.good += 1;
        claim(says, where);
      }
      return;
    case 'confirm':
      return judgeConfirm(call, ended, trial, tally);
    default:
      throw new Error(`nobody judges ${call.step}`);
  }
}

function judgeError(error: unknown, where: Where): void {
  if (!(error instanceof JobferryError)) throw new Error(`no error of ours: ${where()}`, { cause: error });
  if (error instanceof VendorThrottledError || error instanceof VendorUnavailableError) {
    const wait = error.retryAfterMs ?? 0;
    claim(Number.isFinite(wait) && wait >= 0 && wait <= dayMs, where);
  }
  claim(error.message.length < 3_000, where);
  claim(error.code.length <= 200, where);
  claim(JSON.stringify(error.details ?? null).length < maxValueBytes, where);
}

function judgeLook(call: WireCall, ended: Ended, says: boolean, where: Where, tally: Tally): void {
  if ('error' in ended) return;
  const asked = new Set(call.jobs?.map((job) => job.id));
  for (const [id, report] of ended.value as Map<string, VendorReport>) {
    claim(asked.has(id), where);
    claim(vendorJobStatuses.includes(report.status), where);
    claim(isPlain(report), where);
    if (report.status === 'succeeded') {
      tally.good += 1;
      claim(says, where);
    }
    const { pollAfterMs = 0, completedAt = 0, progress = { done: 0, total: 0 } } = report;
    claim(pollAfterMs >= 0 && pollAfterMs <= dayMs, where);
    claim(Number.isFinite(completedAt) && Math.abs(completedAt) <= 8.64e15, where);
    claim(progress.done >= 0 && progress.done <= progress.total && Number.isFinite(progress.total), where);
  }
}

function judgeSubmit(call: WireCall, ended: Ended, { served, wild, where }: Trial, tally: Tally): void {
  const { status, json } = served;
  if ('error' in ended) {
    claim(decisionsFor(call, served, wild).includes(decideOnSubmit(ended.error)), where);
    return;
  }
  tally.good += 1;
  const { jobs } = ended.value as SubmitReply;
  const isRead = status >= 200 && status <= 299 && (json !== undefined || call.isEmptyTaken === true);
  claim((isRead && !isBroken(wild)) || call.beganDespite?.(served) === true, where);
  claim(jobs.length <= 1_000, where);
  const named = new Set([...(call.names?.(served) ?? []), ...(call.ownIds ?? [])]);
  for (const ref of jobs) {
    claim(goodId.test(ref.id), where);
    claim(named.has(ref.id), where);
    claim(['', 'resource', ...Object.keys(call.adapter.lookups)].includes(ref.kind), where);
    // What is over at once was said to be over, or is read back before it counts.
    if (ref.status === 'succeeded') claim(ref.kind === 'resource' || call.says?.(served) === true, where);
  }
}

/** A second answer behind the first is none of it. */
function isBroken(wild: Wild | undefined): boolean {
  return wild !== undefined && wild !== 'twice';
}

/** What the engine may make of a submit that was answered like this. */
function decisionsFor(call: WireCall, served: Served, wild: Wild | undefined): SubmitDecision[] {
  const { status, json } = served;
  if (call.step === 'http.credential') {
    // While a token is fetched, the submit is not out; with one, a busy machine can lose the answer to it.
    const isOut = status >= 200 && status <= 299 && json !== undefined && wild === undefined;
    return ['resend', 'hold', 'throttle', ...(isOut ? ['reconcile' as const] : [])];
  }
  // An answer that did not come in time tells nothing, on a busy machine too.
  const unclear: SubmitDecision[] = ['reconcile', ...(call.surelyNot?.(served) === true ? ['resend' as const] : [])];
  if (wild === 'elsewhere' || status < 400 || status >= 500 || status === 408) return unclear;
  if (status === 401 || status === 402 || status === 403) return ['hold', 'reconcile'];
  if (status === 425 || status === 429) return ['throttle', 'hold', 'reconcile'];
  return ['reject', ...unclear];
}

function judgeReconcile(ended: Ended, { served, wild, where }: Trial, says: boolean, tally: Tally): void {
  if ('error' in ended) return;
  const { found } = ended.value as ReconcileReply;
  if (typeof found === 'object') {
    tally.good += 1;
    claim(says, where);
    for (const { id } of found.jobs) claim(goodId.test(id), where);
    return;
  }
  // Absent is what may be sent again: only an answer that was read in full, or the vendor's 404, says so.
  const isRead = served.status >= 200 && served.status <= 299 && served.json !== undefined && !isBroken(wild);
  const isUnknown = [400, 403, 404, 405, 410].includes(served.status);
  claim(isRead || isUnknown || found === 'unknowable', where);
  if (found === 'absent' && wild === undefined) claim(!says, where);
}

function judgeConfirm(call: WireCall, ended: Ended, { served, wild, where }: Trial, tally: Tally): void {
  if ('error' in ended) return;
  const reply = ended.value as ConfirmReply;
  const changed = new Map((reply.jobs ?? []).map((job) => [job.id, job]));
  const before = call.context?.('')?.jobs ?? [];
  const jobs = before.map((job) => changed.get(job.id) ?? job);
  if (reply.kind !== 'confirmed' || !jobs.every((job) => job.outcome === 'succeeded')) return;
  tally.good += 1;
  claim(wild === undefined && call.says?.(served), where);
}

function toReply({ status = 200, json, body, headers }: Good): Reply {
  const text = body ?? (json === undefined ? '' : JSON.stringify(json));
  return { status, headers: { 'content-type': 'application/json', ...headers }, body: Buffer.from(text) };
}

/** Nothing in it that JSON would lose or change. */
function isPlain(value: unknown): boolean {
  if (value === null || value === undefined || typeof value === 'string' || typeof value === 'boolean') return true;
  if (typeof value === 'number') return Number.isFinite(value);
  return typeof value === 'object' && Object.values(value).every(isPlain);
}

/** The same answer, read by other means. */
function toServed({ status, headers, body }: Reply): Served {
  const isBare = status === 204 || status === 304;
  return { status, body, json: isBare || headers['content-encoding'] !== undefined ? undefined : parse(body) };
}

function parse(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8').replace(/^\ufeff/, ''));
  } catch {
    return undefined;
  }
}

function show(ended: Ended): string {
  return 'error' in ended
    ? String(ended.error)
    : (JSON.stringify(ended.value instanceof Map ? [...ended.value] : ended.value)?.slice(0, 600) ?? 'undefined');
}

function matches(pattern: string, route: string): boolean {
  const escaped = pattern.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '[^/]+');
  return new RegExp(`^${escaped}$`).test(route);
}

function hash(text: string): number {
  return rows([...text]).reduce<number>((sum, character) => Math.imul(sum, 31) + String(character).charCodeAt(0), 7);
}
