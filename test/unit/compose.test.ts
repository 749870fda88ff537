import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DCLinter } from 'dclint';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';

interface Service {
  command: string[];
  environment?: Record<string, string>;
  healthcheck?: { test: string[] };
  [key: string]: unknown;
}

const composeFile = fileURLToPath(new URL('../../docker-compose.yml', import.meta.url));
const { services } = parse(readFileSync(composeFile, 'utf8'), { merge: true }) as { services: Record<string, Service> };
const workers = ['submit-worker', 'poll-worker'];

function service(name: string): Service {
  const found = services[name];
  if (found === undefined) throw new Error(`docker-compose.yml has no service ${name}`);
  return found;
}

/** The value that follows an option in a command. */
function optionOf(name: string, option: string): string | undefined {
  const { command } = service(name);
  const at = command.indexOf(option);
  return at === -1 ? undefined : command[at + 1];
}

/** Order of keys and services is a matter of reading; ours tells what matters first. */
const taste = { 'service-keys-order': 0, 'services-alphabetical-order': 0, 'top-level-properties-order': 0 } as const;

/** What we use of the linter's result; its own declarations are not resolvable from an ES module. */
interface LintedFile {
  messages: { line: number; rule: string; message: string }[];
}

function lint(path: string): string[] {
  const linter = new DCLinter({ rules: taste, quiet: false, debug: false, exclude: [] });
  const files = linter.lintFiles([path], false) as LintedFile[];
  return files.flatMap(({ messages }) => messages.map(({ line, rule, message }) => `${line} ${rule}: ${message}`));
}

describe('docker-compose.yml', () => {
  test('fits the schema of the Compose specification', () => {
    expect(lint(composeFile)).toEqual([]);
  });

  test('would be told a key that the specification does not know', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'jobferry-compose-'));
    try {
      const faulty = join(folder, 'docker-compose.yml');
      await writeFile(faulty, readFileSync(composeFile, 'utf8').replace('read_only: true', 'readonly: true'));
      expect(lint(faulty).join()).toContain('invalid-schema');
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test('has the services that the README starts', () => {
    expect(Object.keys(services).sort()).toEqual(['board', 'poll-worker', 'redis', 'submit-worker']);
  });

  test.each([
    ['--maxmemory-policy', 'noeviction'],
    ['--appendonly', 'yes'],
    ['--hz', '100'],
  ])('runs Redis with %s %s', (option, value) => {
    expect(optionOf('redis', option)).toBe(value);
  });

  test('keeps the data of Redis in a volume', () => {
    expect(service('redis')['volumes']).toEqual(['redis-data:/data']);
  });

  test.each(Object.keys(services))('%s has a health check, time to stop, and no rights it does not need', (name) => {
    const { healthcheck, ...rest } = service(name);
    expect(healthcheck?.test.length).toBeGreaterThan(1);
    expect(rest).toMatchObject({
      stop_grace_period: '15s',
      read_only: true,
      cap_drop: ['ALL'],
      security_opt: ['no-new-privileges:true'],
    });
    for (const key of ['privileged', 'cap_add', 'network_mode', 'pid']) expect(rest).not.toHaveProperty(key);
  });

  test.each(workers)('%s can be scaled: nothing in it is unique on a host', (name) => {
    for (const key of ['container_name', 'ports', 'hostname']) expect(service(name)).not.toHaveProperty(key);
  });

  test('gives each stage workers of its own', () => {
    expect(workers.map((name) => optionOf(name, '--stages'))).toEqual(['submit', 'poll']);
  });

  test.each([...workers, 'board'])('%s waits for a healthy Redis', (name) => {
    expect(service(name)['depends_on']).toEqual({ redis: { condition: 'service_healthy' } });
  });

  test.each(Object.keys(services))('%s has bounds for memory and processes', (name) => {
    expect(service(name)).toMatchObject({
      mem_limit: expect.any(String) as string,
      pids_limit: expect.any(Number) as number,
    });
  });

  test('gives Redis users, and every program the address of its own', () => {
    expect(optionOf('redis', '--aclfile')).toBe('/run/secrets/redis-users');
    for (const [name, user] of [
      ['submit-worker', 'workers'],
      ['poll-worker', 'workers'],
      ['board', 'board'],
    ] as const) {
      expect(service(name).environment).toMatchObject({ REDIS_URL_FILE: `/run/secrets/redis-url-${user}` });
      expect(service(name)['secrets']).toContain(`redis-url-${user}`);
    }
  });

  test('publishes the board on loopback only, and nothing else', () => {
    const published = Object.entries(services).flatMap(([name, { ports }]) =>
      ports === undefined ? [] : [[name, ports]],
    );
    expect(published).toEqual([['board', ['127.0.0.1:3000:3000']]]);
  });

  test('has board and workers listen where others can reach them, which they do not by themselves', () => {
    expect(service('board').environment).toMatchObject({ JOBFERRY_BOARD_HOST: '0.0.0.0' });
    for (const name of workers) expect(service(name).environment).toMatchObject({ JOBFERRY_HEALTH_HOST: '0.0.0.0' });
  });

  test('passes secrets as files, never as environment', () => {
    for (const name of workers) expect(service(name)['secrets']).not.toEqual([]);
    const names = Object.values(services).flatMap(({ environment }) => Object.keys(environment ?? {}));
    expect(names.filter((name) => /KEY|TOKEN|PASSWORD|SECRET/.test(name))).toEqual([]);
  });
});
