import { writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import path from 'node:path';
import { Queue } from 'bullmq';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startSandbox } from '../../sandbox/index.ts';
import { redisUrl } from '../helpers/redis.ts';
import { control, ensureCli, Stage } from './support.ts';

let stage: Stage;
beforeAll(() => ensureCli(), 150_000);
beforeEach(() => {
  stage = new Stage();
});
afterEach(() => stage.close());

describe('help and usage', () => {
  it('prints help quickly, from any folder', async () => {
    const help = stage.cli(['--help'], {}, stage.folder);
    const { code, stdout, ms } = await help.ended();
    expect(code).toBe(0);
    for (const command of ['dev', 'worker', 'board', 'submit', 'status', 'cancel', 'vendors', 'sandbox']) {
      expect(stdout).toMatch(new RegExp(`^  ${command} `, 'm'));
    }
    // Measured at 0.1 s on an idle machine; loading BullMQ alone would add 0.3 s.
    expect(ms).toBeLessThan(1_500);
  });

  it('names the argument of submit and vendors as it is written', async () => {
    const submit = await stage.run(['submit', '--help'], { env: {} });
    expect(submit.stdout).toMatch(/^Usage: jobferry submit \[options\] <vendor>\.<operation>$/m);
    expect(submit.stdout).toMatch(/^ {2}<vendor>\.<operation> /m);
    const vendors = await stage.run(['vendors', '--help'], { env: {} });
    expect(vendors.stdout).toMatch(/^Usage: jobferry vendors \[options\] \[<vendor>\.<operation>\]$/m);
    expect(vendors.stdout).toMatch(/^ {2}<vendor>\.<operation> /m);
  });

  it('prints the version', async () => {
    expect((await stage.run(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  it.each([
    [['submit', 'knowhere.parse'], "required option '--input <file>' not specified"],
    [['worker', '--stages', 'sumbit'], "option '--stages <names>' argument 'sumbit' is invalid"],
    [['worker', '--concurrency', '0'], "option '--concurrency <n>' argument '0' is invalid"],
    [['sandbox', '--speed', 'fast'], "option '--speed <n>' argument 'fast' is invalid"],
    [['sandbox', '--dialect', 'x'], "option '--dialect <name>' argument 'x' is invalid"],
    [['status', 'knowhere'], "missing required argument 'submissionId'"],
    [['submit', 'knowhere.nope', '--input', '-'], 'argument <vendor>.<operation>: knowhere has no operation "nope"'],
    [['status', 'nobody', 'x'], 'argument <vendor>: "nobody" is no vendor'],
    [['wrk'], "unknown command 'wrk'"],
    [['board', '--nope'], "unknown option '--nope'"],
    [['submit', 'knowhere.parse', '--inptu', 'x'], "unknown option '--inptu' (Did you mean --input?)"],
    [['submit'], "missing required argument '<vendor>.<operation>'"],
  ])('names the argument at fault: %j', async (args, line) => {
    const { code, stdout, stderr } = await stage.run(args);
    expect(stderr).toMatch(/^jobferry: [^\n]+\n$/);
    expect(stderr).toContain(`jobferry: ${line}`);
    expect(stdout).toBe('');
    expect(code).toBe(64);
  });

  it('ends quietly when nobody reads on', async () => {
    const vendors = stage.cli(['vendors', '--json']);
    vendors.child.stdout?.destroy();
    const { code, stderr } = await vendors.ended();
    expect([code, stderr]).toEqual([0, '']);
  });
});

describe('configuration faults', () => {
  const redis = { REDIS_URL: 'redis://127.0.0.1:1' };

  it.each<[string, string[], Record<string, string>, string[]]>([
    [
      'no Redis for a worker',
      ['worker'],
      { KNOWHERE_API_KEY: 'sk_x' },
      ['REDIS_URL: is not set, nor is REDIS_URL_FILE; '],
    ],
    ['no Redis for the board', ['board'], {}, ['REDIS_URL: is not set, nor is REDIS_URL_FILE; ']],
    ['no Redis for status', ['status', 'knowhere', 'x'], {}, ['REDIS_URL: is not set, nor is REDIS_URL_FILE; ']],
    ['no credentials at all', ['worker'], redis, ['KNOWHERE_API_KEY']],
    [
      'a vendor without credentials',
      ['worker', '--vendors', 'knowhere'],
      redis,
      ['--vendors: knowhere has no credentials; set KNOWHERE_API_KEY'],
    ],
    ['an unknown vendor', ['worker', '--vendors', 'nobody'], redis, ['--vendors: "nobody" is no vendor; known: ']],
    [
      'every fault at once',
      ['worker'],
      { REDIS_URL: 'http://x', PORT: '99999', LOG_LEVEL: 'loud', JOBFERRY_ALLOW_PRIVATE_URLS: 'perhaps' },
      ['REDIS_URL: ', 'PORT: ', 'LOG_LEVEL: ', 'JOBFERRY_ALLOW_PRIVATE_URLS: '],
    ],
    [
      'a short password beyond this machine',
      ['board'],
      { ...redis, JOBFERRY_BOARD_HOST: '0.0.0.0', JOBFERRY_BOARD_USER: 'me', JOBFERRY_BOARD_PASSWORD: 'short' },
      ['JOBFERRY_BOARD_PASSWORD: is too short: listening on 0.0.0.0 needs at least 12 characters'],
    ],
    ['a user without a password', ['board'], { ...redis, JOBFERRY_BOARD_USER: 'me' }, ['JOBFERRY_BOARD_PASSWORD: ']],
    [
      'a file that is not there',
      ['worker'],
      { ...redis, KNOWHERE_API_KEY: 'sk_x', JOBFERRY_CONFIG: '/nowhere.json' },
      ['JOBFERRY_CONFIG: /nowhere.json cannot be read: ENOENT'],
    ],
    ['dev as well', ['dev'], { JOBFERRY_PREFIX: 'a:b' }, ['JOBFERRY_PREFIX: ']],
  ])('%s: one line each, exit code 78', async (_name, args, env, lines) => {
    const { code, stdout, stderr } = await stage.run(args, { env });
    const said = stderr.trimEnd().split('\n').sort();
    expect(said).toHaveLength(lines.length);
    for (const [index, line] of lines.sort().entries()) {
      expect(said[index]?.startsWith(`jobferry: ${line}`), `${said[index]} begins with ${line}`).toBe(true);
    }
    expect(stdout).toBe('');
    expect(code).toBe(78);
  });

  it('names the variable when a port is taken, and does not tell secrets', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => taken.once('listening', resolve));
    const port = String((taken.address() as AddressInfo).port);
    try {
      const board = await stage.run(['board'], { env: { ...stage.env, PORT: port } });
      expect([board.code, board.stderr]).toEqual([78, `jobferry: PORT: port ${port} is taken by another process\n`]);
      const env = { ...stage.env, REDIS_URL: 'redis://me:hunter2secret@127.0.0.1:1/x' };
      const { stderr } = await stage.run(['board'], { env });
      expect(stderr).toMatch(/^jobferry: REDIS_URL: /);
      expect(stderr).not.toContain('hunter2');
    } finally {
      taken.close();
    }
  });
});

describe('vendors', () => {
  it('lists operations, with what starts their vendor and how safe a resend is', async () => {
    const { code, stdout } = await stage.run(['vendors'], { env: {} });
    expect(code).toBe(0);
    expect(stdout).toContain('KNOWHERE_API_KEY');
    expect(stdout).toMatch(/knowhere\.parse +\S/);
    expect(stdout).toContain('after a lost answer: looked up at the vendor');
    const listed = JSON.parse((await stage.run(['vendors', '--json'], { env: {} })).stdout);
    expect(listed[0]).toMatchObject({
      vendor: 'knowhere',
      startedBy: ['KNOWHERE_API_KEY'],
      operations: [
        { operation: 'knowhere.parse', resend: 'lookup' },
        { operation: 'knowhere.watch', resend: 'safe' },
      ],
    });
  });

  it('prints an operation’s input as JSON Schema, strict and described', async () => {
    const { code, stdout } = await stage.run(['vendors', 'knowhere.parse', '--json'], { env: {} });
    expect(code).toBe(0);
    const schema = JSON.parse(stdout);
    expect(schema.$schema).toContain('json-schema.org');
    const [url, file] = schema.oneOf ?? schema.anyOf;
    expect(url).toMatchObject({ type: 'object', additionalProperties: false, required: ['sourceType', 'sourceUrl'] });
    expect(file.required).toEqual(['sourceType', 'file']);
    expect(file.properties.download).toMatchObject({ type: 'boolean', default: false });
    expect(file.properties.file.description).toContain('JOBFERRY_FILES_DIR');
    const { stdout: text } = await stage.run(['vendors', 'knowhere.parse'], { env: {} });
    expect(text).toMatch(/^ {2}sourceUrl +string +\(required\) Public address/m);
    expect(text).toMatch(/^ {2}parsingParams\.model +"base" \| "advanced"/m);
  });
});

describe('vendor-jobs', () => {
  const workspaceId = '6f1c2a34-0000-4000-8000-000000000001';

  it('lists what the vendor has recorded for a workspace, and says where a vendor has no such list', async () => {
    const sandbox = await startSandbox();
    try {
      const env = {
        SHARELY_BASE_URL: sandbox.sharelyUrl,
        SHARELY_API_KEY: 'sk-sharely-test',
        SHARELY_ORGANIZATION_ID: workspaceId,
        SHARELY_WORKSPACE_ID: workspaceId,
      };
      const seed = { workspaceId, count: 2, operation: 'role-delete', source: '.fault-workflow-stays-as--RUNNING' };
      await control(sandbox.url, '_control/sharely/workflows', seed);
      const [, gone] = sandbox.jobs({ vendor: 'sharely' }).jobs.map((job) => job.id);
      await control(sandbox.url, `_control/sharely/workflows/${gone}`, { status: 'TERMINATED' });

      const json = await stage.run(['vendor-jobs', 'sharely', '--json'], { env });
      expect(json).toMatchObject({ code: 0, stderr: '' });
      const rows = json.stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Record<string, unknown>);
      expect(rows).toHaveLength(2);
      expect(rows.find((row) => row['id'] === gone)).toEqual({
        vendor: 'sharely',
        account: 'default',
        id: gone,
        status: 'failed',
        vendorStatus: 'TERMINATED',
        details: { runId: expect.any(String) },
      });
      const text = await stage.run(['vendor-jobs', 'sharely'], { env });
      expect(text.stdout).toMatch(new RegExp(`^${gone} {2}TERMINATED {2}runId [0-9a-f-]{36}$`, 'm'));
      expect(text.stdout).toMatch(/ {2}RUNNING {5}runId /);

      const { code, stderr } = await stage.run(['vendor-jobs', 'fini'], { env });
      expect(code).toBe(64);
      expect(stderr).toBe('jobferry: argument <vendor>: fini has no list of its jobs; those that have one: sharely\n');
      const elsewhere = await stage.run(['vendor-jobs', 'sharely', '--account', 'eu'], { env });
      expect([elsewhere.code, elsewhere.stderr]).toEqual([
        64,
        'jobferry: option --account: sharely has no account "eu"; it has default\n',
      ]);
    } finally {
      await sandbox.close();
    }
  });
});

describe('submit, status and cancel without a worker', () => {
  const input = JSON.stringify({ sourceType: 'url', sourceUrl: 'https://example.com/a.pdf' });

  it('enqueues what any BullMQ client can read', async () => {
    const file = path.join(stage.folder, 'input.json');
    await writeFile(file, input);
    const args = ['submit', 'knowhere.parse', '--input', file, '--id', 'a-1', '--account', 'second'];
    const more = ['--metadata', '{"n":1}', '--poll', '{"deadlineMs":60000}', '--reply-to', 'results-mine', '--json'];
    const { code, stdout } = await stage.run([...args, ...more]);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual({ submissionId: 'a-1', created: true });
    const job = await stage.queue('knowhere.submit').getJob('a-1');
    expect(job?.name).toBe('parse');
    expect(job?.data).toEqual({
      input: JSON.parse(input),
      account: 'second',
      metadata: { n: 1 },
      poll: { deadlineMs: 60_000 },
      replyTo: 'results-mine',
    });
  });

  it('says that an id was submitted before, and refuses it for other input', async () => {
    const args = ['submit', 'knowhere.parse', '--input', '-', '--id', 'twice', '--json'];
    await stage.queue('knowhere.submit').add('parse', { input: JSON.parse(input) }, { jobId: 'twice' });
    const again = await stage.run([...args, '--metadata', '{"n":1}'], { input });
    expect([again.code, JSON.parse(again.stdout)]).toEqual([
      0,
      { submissionId: 'twice', created: false, ignored: ['metadata'] },
    ]);
    expect(again.stderr).toBe(
      'jobferry: twice was submitted before: nothing was enqueued; the first metadata of it stays\n',
    );
    const other = JSON.stringify({ sourceType: 'url', sourceUrl: 'https://example.com/b.pdf' });
    const { code, stdout, stderr } = await stage.run(args, { input: other });
    expect([code, stdout, stderr]).toEqual([
      1,
      '',
      'jobferry: twice was submitted before with another input.sourceUrl: give what is new an id of its own\n',
    ]);
  });

  it('prints the id that was made', async () => {
    const { stdout } = await stage.run(['submit', 'knowhere.parse', '--input', '-'], { input });
    expect(stdout).toMatch(/^s-[0-9a-f-]{36}\n$/);
    expect(await stage.queue('knowhere.submit').getJob(stdout.trim())).toBeDefined();
  });

  it('tells every fault of an input with its path, and enqueues nothing', async () => {
    const bad = JSON.stringify({ sourceType: 'file', file: 7, extra: true });
    const args = ['submit', 'knowhere.parse', '--input', '-', '--id', '17', '--poll', '{"initialDelayMs":"x"}'];
    const { code, stderr, stdout } = await stage.run(args, { input: bad });
    expect(code).toBe(65);
    expect(stdout).toBe('');
    const paths = stderr
      .trimEnd()
      .split('\n')
      .map((line) => /^jobferry: ([^:]+): /.exec(line)?.[1]);
    expect(paths.sort()).toEqual(['id', 'input.extra', 'input.file', 'poll.initialDelayMs']);
    expect(await stage.queue('knowhere.submit').getJobCounts()).toMatchObject({ waiting: 0 });
  });

  it.each([
    ['/no/such.json', '', '--input: /no/such.json cannot be read: there is no such file'],
    ['-', '{"a":', '--input: standard input is not valid JSON: '],
    ['-', '', '--input: standard input is not valid JSON: '],
  ])('says why %s %j is no input', async (source, text, line) => {
    const { code, stderr } = await stage.run(['submit', 'knowhere.parse', '--input', source], { input: text });
    expect(code).toBe(65);
    expect(stderr.startsWith(`jobferry: ${line}`)).toBe(true);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
  });

  it('needs no secret of a vendor to submit and to look; a worker does, and names what is missing', async () => {
    const file = path.join(stage.folder, 'config.json');
    const missing = path.join(stage.folder, 'knowhere-eu');
    const accounts = {
      knowhere: { eu: { apiKey: { file: missing } }, bulk: { apiKey: { env: 'KNOWHERE_BULK_KEY' } } },
    };
    await writeFile(file, JSON.stringify({ accounts }));
    const env = { ...stage.env, JOBFERRY_CONFIG: file };
    const args = ['submit', 'knowhere.parse', '--input', '-', '--id', 'eu-1', '--account'];
    expect((await stage.run([...args, 'eu'], { env, input })).code).toBe(0);
    expect((await stage.run(['status', 'knowhere', 'eu-1'], { env })).code).toBe(0);
    const board = stage.cli(['board'], { ...env, PORT: '0' });
    await board.says(/board on/);

    const unknown = await stage.run([...args, 'nope'], { env, input });
    expect([unknown.code, unknown.stderr]).toEqual([
      64,
      'jobferry: --account: knowhere has no account "nope"; configured: eu, bulk\n',
    ]);
    const worker = await stage.run(['worker'], { env });
    expect(worker.code).toBe(78);
    expect(worker.stderr.trimEnd().split('\n')).toEqual([
      `jobferry: accounts.knowhere.eu.apiKey: ${missing} cannot be read: ENOENT`,
      'jobferry: accounts.knowhere.bulk.apiKey: the environment variable KNOWHERE_BULK_KEY is not set',
    ]);
  });

  it('gives up within seconds when Redis is away', async () => {
    const env = { ...stage.env, REDIS_URL: 'redis://127.0.0.1:1' };
    const { code, stderr, ms } = await stage.run(['submit', 'knowhere.parse', '--input', '-'], { env, input });
    expect(code).toBe(69);
    expect(stderr).toMatch(/^jobferry: REDIS_URL: 127\.0\.0\.1:1 is not reachable: .*ECONNREFUSED.*\n$/);
    expect(ms).toBeLessThan(6_000);
  });

  it('shows a waiting submission, cancels it, and does not know others', async () => {
    await stage.run(['submit', 'knowhere.parse', '--input', '-', '--id', 'b-1'], { input });
    const { code, stdout } = await stage.run(['status', 'knowhere', 'b-1']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^state +waiting to be sent$/m);
    expect((await stage.run(['cancel', 'knowhere', 'b-1'])).code).toBe(0);
    const status = JSON.parse((await stage.run(['status', 'knowhere', 'b-1', '--json'])).stdout);
    expect(status).toMatchObject({ submissionId: 'b-1', state: 'waiting to be sent, cancel requested' });
    for (const command of ['status', 'cancel']) {
      const unknown = await stage.run([command, 'knowhere', 'nope']);
      expect(unknown.code).toBe(1);
      expect(unknown.stderr).toMatch(/^jobferry: knowhere knows no submission "nope"[^\n]*\n$/);
    }
  });

  it('shows the name of a job that any client wrote without doing what it says', async () => {
    const queue = new Queue('knowhere.submit', { connection: { url: redisUrl() }, prefix: stage.prefix });
    const name = 'parse\u001b[2J\u001b]52;c;ZWNobw==\u0007\nstate        succeeded\u202e';
    await queue.add(name, { input: {} }, { jobId: 'hostile' });
    await queue.close();
    const { stdout } = await stage.run(['status', 'knowhere', 'hostile']);
    expect(stdout).toMatch(/^[\x20-\x7e\n]*$/);
    expect(stdout.match(/^state .*$/gm)).toEqual(['state        waiting to be sent']);
  });
});
