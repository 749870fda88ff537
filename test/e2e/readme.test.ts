import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import ts from 'typescript';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { OwnRedis } from '../helpers/own-redis.ts';
import { ensureCli, projectDir, Stage } from './support.ts';

/**
 * The packed package in an empty project, with its dependencies linked instead of installed, and the README's snippets
 * pasted there. Only what stands for something is replaced: the address of Redis, and keys that end in an ellipsis.
 */
const stage = new Stage();
const folder = mkdtempSync(path.join(tmpdir(), 'jobferry-readme-'));
const packageDir = path.join(folder, 'node_modules', 'jobferry');
const readme = readFileSync(path.join(projectDir, 'README.md'), 'utf8');
let redis: OwnRedis;
let env: Record<string, string>;

interface Snippet {
  name: string;
  language: string;
  text: string;
}
const snippets: Snippet[] = [...readme.matchAll(/^```(\w*)\n(.*?)^```$/gms)].map(
  ([, language = '', text = ''], index) => ({ name: `snippet-${index + 1}`, language, text }),
);

function snippet(language: string, part: string): Snippet {
  const found = snippets.filter((one) => one.language === language && one.text.includes(part));
  expect(found, `the README has one ${language} snippet with ${part}`).toHaveLength(1);
  return found[0]!;
}

function toModule({ name, language, text }: Snippet): string {
  const options = { target: ts.ScriptTarget.ES2023, module: ts.ModuleKind.ESNext };
  const code = language === 'js' ? text : ts.transpile(text, options);
  const file = path.join(folder, `${name}.mjs`);
  writeFileSync(file, code);
  return file;
}

/** A snippet's lines as they are typed, after `npx` was told where the package is. */
function typed(text: string): string {
  const lines = text.replaceAll('redis://127.0.0.1:6379', redis.url).replaceAll('sk_…', 'sk_readme');
  // In place of the shell, so that what ends the shell ends the command.
  return `npx() { command="$1"; shift; exec "./node_modules/.bin/$command" "$@"; }\n${lines}`;
}

beforeAll(async () => {
  await ensureCli();
  redis = await OwnRedis.start();
  env = { REDIS_URL: redis.url, LOG_LEVEL: 'info', NODE_NO_WARNINGS: '1' };
  // `npm test` has built it.
  const npm = ['pack', '--ignore-scripts', '--silent', '--pack-destination', folder];
  const tarball = execFileSync('npm', npm, { cwd: projectDir, encoding: 'utf8' }).trim();
  expect(readme).toContain(`/${tarball} bullmq ioredis`);
  mkdirSync(path.join(folder, 'node_modules', '.bin'), { recursive: true });
  execFileSync('tar', ['-xzf', tarball, '-C', path.join(folder, 'node_modules')], { cwd: folder });
  execFileSync('mv', ['package', 'jobferry'], { cwd: path.join(folder, 'node_modules') });
  writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
  const { dependencies } = JSON.parse(readFileSync(path.join(packageDir, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
  };
  for (const name of [...Object.keys(dependencies), '@types/node']) {
    const link = path.join(folder, 'node_modules', name);
    mkdirSync(path.dirname(link), { recursive: true });
    symlinkSync(path.join(projectDir, 'node_modules', name), link);
  }
  symlinkSync('../jobferry/dist/cli/main.js', path.join(folder, 'node_modules', '.bin', 'jobferry'));
}, 150_000);

afterAll(async () => {
  await stage.close();
  await redis.stop();
  rmSync(folder, { recursive: true, force: true });
});

describe('the packed package', () => {
  it('has all that its documents link to', () => {
    const documents = readdirSync(packageDir, { recursive: true, encoding: 'utf8' }).filter((file) =>
      file.endsWith('.md'),
    );
    expect(documents).toEqual(expect.arrayContaining(['README.md', 'CHANGELOG.md', 'docs/adding-a-vendor.md']));
    const links = documents.flatMap((file) =>
      [...readFileSync(path.join(packageDir, file), 'utf8').matchAll(/\]\(([^)\s]+)\)/g)].map(([, to = '']) => ({
        file,
        to: to.replace(/#.*/, ''),
      })),
    );
    expect(links.length).toBeGreaterThan(20);
    const broken = links.filter(
      ({ file, to }) => to !== '' && !/^https?:/.test(to) && !existsSync(path.join(packageDir, path.dirname(file), to)),
    );
    expect(broken).toEqual([]);
  });

  it('can be run as a command, and required', async () => {
    expect(statSync(path.join(packageDir, 'dist', 'cli', 'main.js')).mode & 0o111).toBe(0o111);
    const file = path.join(folder, 'required.cjs');
    writeFileSync(
      file,
      `const { catalogue } = require('jobferry');
      const { startSandbox } = require('jobferry/sandbox');
      const { conformance } = require('jobferry/conformance');
      console.log(Object.keys(catalogue).join(), typeof startSandbox, typeof conformance);`,
    );
    const { stdout, stderr } = await stage.node([file], env, folder).ended();
    expect([stdout, stderr]).toEqual(['knowhere,fini,sharely function function\n', '']);
  });

  it('ends with one plain line where REDIS_URL is not set', async () => {
    const file = toModule(snippet('ts', 'await submit('));
    const { code, stderr } = await stage.node([file], { NODE_NO_WARNINGS: '1' }, folder).ended();
    expect(code).toBe(1);
    expect(stderr).toContain('ConfigError: REDIS_URL: is not set');
    expect(stderr).not.toMatch(/Symbol|undefined/);
  });
});

it('every snippet of the README compiles, operations are completed, and a slip is no operation', () => {
  const files = new Map<string, string>();
  for (const { name, language, text } of snippets) {
    if (language === 'ts') files.set(`${name}.mts`, text);
    if (language === 'js') files.set(`${name}.mjs`, text);
  }
  expect(files.size).toBe(4);
  const slips = `import { submit } from 'jobferry';
    void submit('knowhere', 'prase', { input: { sourceType: 'url', sourceUrl: 'https://example.com/a.pdf' } });
    void submit('fini', 'documents.ingets', { input: {} });
    void submit('knowhere', 'watch', { input: { jobIds: ['job_1'], jobIDs: [] } });`;
  files.set('slips.mts', slips);
  files.set(
    'required.cts',
    "import jobferry = require('jobferry');\njobferry.catalogue.fini.operations.watch.summary;",
  );
  for (const [name, text] of files) writeFileSync(path.join(folder, name), text);
  const names = [...files.keys()].map((name) => path.join(folder, name));
  const options: ts.CompilerOptions = {
    target: ts.ScriptTarget.ES2023,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    ...{ strict: true, noEmit: true, allowJs: true, checkJs: true, skipLibCheck: true, types: ['node'] },
  };
  const service = ts.createLanguageService({
    ...ts.sys,
    useCaseSensitiveFileNames: () => ts.sys.useCaseSensitiveFileNames,
    getCompilationSettings: () => options,
    getScriptFileNames: () => names,
    getScriptVersion: () => '1',
    getScriptSnapshot: (file) => {
      const text = ts.sys.readFile(file);
      return text === undefined ? undefined : ts.ScriptSnapshot.fromString(text);
    },
    getCurrentDirectory: () => folder,
    getDefaultLibFileName: (given) => ts.getDefaultLibFilePath(given),
  });
  const messages = (file: string): string[] =>
    [...service.getSyntacticDiagnostics(file), ...service.getSemanticDiagnostics(file)].map(
      ({ messageText }) => `${path.basename(file)}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`,
    );
  const slipsFile = path.join(folder, 'slips.mts');
  expect(names.filter((name) => name !== slipsFile).flatMap(messages)).toEqual([]);
  expect(messages(slipsFile)).toEqual([
    expect.stringContaining('"prase"'),
    expect.stringContaining('"documents.ingets"'),
    expect.stringContaining("'jobIDs'"),
  ]);
  const completed = service.getCompletionsAtPosition(slipsFile, slips.indexOf('prase'), undefined);
  expect(completed?.entries.map(({ name }) => name).sort()).toEqual(['parse', 'watch']);
}, 60_000);

it('every snippet of the README runs', async () => {
  expect(new Set(snippets.map(({ language }) => language))).toEqual(new Set(['sh', 'js', 'ts', 'json']));
  const lines = snippets.filter(({ language }) => language === 'sh').flatMap(({ text }) => text.trim().split('\n'));
  const jobferry = lines.filter((line) => line.startsWith('npx jobferry'));
  const exported = lines.filter((line) => line.startsWith('export ')).join('\n');
  const run = (line: string, more: Record<string, string> = {}): ReturnType<Stage['shell']> =>
    stage.shell(typed(`${exported}\n${line}`), { ...env, ...more }, folder);

  // What `npm start` has running.
  const sandbox = run('npx jobferry sandbox --port 0 --speed 50');
  const [, baseUrl = ''] = await sandbox.says(/KNOWHERE_BASE_URL +(\S+)/);
  writeFileSync(path.join(folder, 'jobferry.config.json'), snippet('json', 'accounts').text);
  const prepared = await run(snippet('sh', 'mkdir -p secrets').text).ended();
  expect([prepared.code, prepared.stderr]).toEqual([0, '']);
  const double = { KNOWHERE_BASE_URL: baseUrl, JOBFERRY_ALLOW_PRIVATE_URLS: 'true', PORT: '0' };
  const [all, poll, board] = jobferry.filter((line) => /jobferry (worker|board)/.test(line));
  const workers = [run(all!, double), run(poll!, double)];
  await Promise.all(workers.map((worker) => worker.says(/working for knowhere/)));
  await run(board!, double).says(/board on http/);

  const events = stage.node([toModule(snippet('js', 'new Worker('))], env, folder);
  const push = await stage.node([toModule(snippet('js', 'queue.add('))], env, folder).ended();
  expect([push.code, push.stderr]).toEqual([0, '']);
  await events.says(/invoice-2291 succeeded .*orderId: 17/s);
  events.kill('SIGKILL');
  await events.ended();

  const typedEvents = stage.node([toModule(snippet('ts', 'onCompletion('))], env, folder);
  const file = toModule(snippet('ts', 'await submit('));
  const submitted = await stage.node([file], env, folder).ended();
  expect([submitted.stdout, submitted.stderr]).toEqual(['invoice-2292 is enqueued\n', '']);
  expect((await stage.node([file], env, folder).ended()).stdout).toBe('invoice-2292 was submitted before\n');
  await typedEvents.says(/^invoice-2292 /m);

  const waited = await run(snippet('sh', '--wait').text).ended();
  expect([waited.code, waited.stderr]).toEqual([0, '']);
  await typedEvents.says(/^invoice-2293 /m);
  typedEvents.kill('SIGINT');
  expect((await typedEvents.ended()).code).toBe(0);

  const others = jobferry.filter((line) => !/jobferry (worker|board|submit)/.test(line));
  expect(others).toHaveLength(2);
  for (const line of others) {
    const { code, stdout, stderr } = await run(line).ended();
    expect([code, stderr], line).toEqual([0, '']);
    expect(stdout).toMatch(/invoice-2291|sourceUrl/);
  }
}, 120_000);
