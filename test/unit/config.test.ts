import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadConfig, loadSettings, requireRedis } from '../../src/config/load-config.ts';
import { ConfigError } from '../../src/core/errors.ts';
import { parseRedisUrl } from '../../src/queues/connection.ts';
import { knowhere } from '../../src/vendors/knowhere/adapter.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'jobferry-config-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const load = (env: Record<string, string>): ReturnType<typeof loadConfig> => loadConfig(env, [knowhere], folder);
const faultsOf = (env: Record<string, string>): string[] => {
  try {
    load(env);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as ConfigError).faults.map((fault) => `${fault.path}: ${fault.message}`);
  }
  return [];
};
const write = (config: unknown): void =>
  writeFileSync(path.join(folder, 'jobferry.config.json'), JSON.stringify(config));

describe('configuration', () => {
  it('starts no vendor without its credentials', () => {
    expect(load({}).vendors[0]!.accounts).toEqual([]);
    expect(load({ KNOWHERE_BASE_URL: 'https://example.com' }).vendors[0]!.accounts).toEqual([]);
  });

  it('takes the default account from the environment', () => {
    const { accounts } = load({ KNOWHERE_API_KEY: 'sk_1' }).vendors[0]!;
    expect(accounts).toMatchObject([
      { name: 'default', account: { apiKey: 'sk_1', baseUrl: 'https://api.knowhereto.ai' } },
    ]);
  });

  it('takes further accounts from the file, their secrets by name, and reads secret files again', async () => {
    const key = path.join(folder, 'key');
    writeFileSync(key, 'sk_file\n');
    write({
      accounts: {
        knowhere: { eu: { apiKey: { file: key } }, us: { apiKey: { env: 'US' }, poll: { maxDelayMs: 5_000 } } },
      },
    });
    const { accounts } = load({ US: 'sk_us', KNOWHERE_API_KEY: 'sk_1' }).vendors[0]!;
    expect(accounts.map((account) => account.name).sort()).toEqual(['default', 'eu', 'us']);
    const eu = accounts.find((account) => account.name === 'eu')!;
    expect(eu.account).toMatchObject({ apiKey: 'sk_file' });
    writeFileSync(key, 'sk_rotated');
    expect(await eu.refresh!()).toMatchObject({ apiKey: 'sk_rotated' });
    expect(accounts.find((account) => account.name === 'us')).toMatchObject({
      account: { apiKey: 'sk_us' },
      poll: { maxDelayMs: 5_000 },
    });
  });

  it('tells every fault at once, each with its name', () => {
    write({
      accounts: { knowhere: { eu: { apiKey: 'sk_written_down' }, us: { apiKey: { env: 'NOPE' } } }, nobody: {} },
      retention: { submissionsSeconds: 0 },
    });
    const faults = faultsOf({
      REDIS_URL: 'http://localhost',
      JOBFERRY_PREFIX: 'a:b',
      PORT: '70000',
      LOG_LEVEL: 'loud',
      JOBFERRY_ALLOW_PRIVATE_URLS: 'maybe',
      JOBFERRY_BOARD_USER: 'me',
      JOBFERRY_FILES_DIR: '/nowhere/at/all',
      KNOWHERE_API_KEY: 'sk_1',
      KNOWHERE_BASE_URL: 'ftp://x',
    });
    for (const name of [
      'REDIS_URL',
      'JOBFERRY_PREFIX',
      'PORT',
      'LOG_LEVEL',
      'JOBFERRY_ALLOW_PRIVATE_URLS',
      'JOBFERRY_BOARD_PASSWORD',
      'JOBFERRY_FILES_DIR',
      'KNOWHERE_BASE_URL',
    ]) {
      expect(faults.filter((fault) => fault.startsWith(name))).toHaveLength(1);
    }
    expect(faults.join('\n')).toContain('retention.submissionsSeconds');
    expect(faults.join('\n')).not.toContain('sk_written_down');
  });

  it('refuses a secret that is written down, an unset variable and a vendor that nobody knows', () => {
    write({ accounts: { knowhere: { eu: { apiKey: 'sk_x' }, us: { apiKey: { env: 'NOPE' } } }, nobody: {} } });
    const faults = faultsOf({});
    expect(faults).toHaveLength(3);
    expect(faults.join('\n')).toMatch(/accounts\.knowhere\.eu\.apiKey.*secret/);
    expect(faults.join('\n')).toContain('NOPE is not set');
    expect(faults.join('\n')).toContain('accounts.nobody');
  });

  it('gives the base URL of the environment to every account that names none', () => {
    write({
      accounts: {
        knowhere: { bulk: { apiKey: { env: 'BULK' } }, eu: { apiKey: { env: 'BULK' }, baseUrl: 'https://eu.example' } },
      },
    });
    const file = path.join(folder, 'jobferry.config.json');
    const env = { KNOWHERE_API_KEY: 'sk_1', BULK: 'sk_2', JOBFERRY_CONFIG: file };
    const addresses = (more: Record<string, string>): Record<string, string> =>
      Object.fromEntries(
        load({ ...env, ...more }).vendors[0]!.accounts.map(({ name, account }) => [
          name,
          knowhere.http.baseUrl(account as never),
        ]),
      );
    const real = 'https://api.knowhereto.ai';
    expect(addresses({})).toEqual({ default: real, bulk: real, eu: 'https://eu.example' });
    const staging = 'https://staging.example';
    expect(addresses({ KNOWHERE_BASE_URL: staging })).toEqual({
      default: staging,
      bulk: staging,
      eu: 'https://eu.example',
    });
    // Wrong for three accounts, it is one fault, and that of the variable.
    expect(faultsOf({ ...env, KNOWHERE_BASE_URL: 'ftp://x' })).toEqual([expect.stringMatching(/^KNOWHERE_BASE_URL: /)]);
  });

  it('gives the key of the environment to the account `default` alone, and what the file adds to it', () => {
    write({ accounts: { knowhere: { default: { poll: { maxDelayMs: 5_000 } }, eu: {} } } });
    expect(faultsOf({ KNOWHERE_API_KEY: 'sk_1' })).toEqual([
      expect.stringMatching(/^accounts\.knowhere\.eu\.apiKey: /),
    ]);
    write({ accounts: { knowhere: { default: { poll: { maxDelayMs: 5_000 } } } } });
    expect(load({ KNOWHERE_API_KEY: 'sk_1' }).vendors[0]!.accounts).toMatchObject([
      { name: 'default', account: { apiKey: 'sk_1' }, poll: { maxDelayMs: 5_000 } },
    ]);
    // Without a key anywhere the vendor is not started, which is no fault.
    expect(load({}).vendors[0]!.accounts).toEqual([]);
  });

  it('needs no secret to look, and names the accounts', () => {
    write({ accounts: { knowhere: { eu: { apiKey: { file: '/nowhere/key' } }, us: { apiKey: { env: 'NOPE' } } } } });
    const settings = loadSettings({ KNOWHERE_API_KEY: 'sk_1', PORT: '1234' }, [knowhere], folder);
    expect(settings).toMatchObject({ port: 1_234, prefix: 'bull' });
    expect(settings.accountNames.get('knowhere')).toEqual(['default', 'eu', 'us']);
    expect(JSON.stringify(settings)).not.toContain('sk_1');
    expect(faultsOf({})).toEqual([
      'accounts.knowhere.eu.apiKey: /nowhere/key cannot be read: ENOENT',
      'accounts.knowhere.us.apiKey: the environment variable NOPE is not set',
    ]);
    expect(() => loadSettings({ PORT: 'x' }, [knowhere], folder)).toThrow(ConfigError);
  });

  it('refuses a file that was named and is not there', () => {
    expect(faultsOf({ JOBFERRY_CONFIG: 'nowhere.json' })).toHaveLength(1);
    writeFileSync(path.join(folder, 'jobferry.config.json'), '{');
    expect(faultsOf({}).join()).toContain('not valid JSON at line 1, column 2');
  });

  it('does not guess a Redis', () => {
    expect(() => requireRedis(load({}))).toThrow(/REDIS_URL/);
  });

  it('wants a hash tag for a cluster', () => {
    expect(faultsOf({ REDIS_URL: 'redis+cluster://a:1,b:2' })).toHaveLength(1);
    expect(faultsOf({ REDIS_URL: 'redis+cluster://a:1,b:2', JOBFERRY_PREFIX: '{bull}' })).toEqual([]);
  });
});

describe('who reaches the board and health', () => {
  it('is this machine, unless a host is given', () => {
    expect(load({})).toMatchObject({ healthHost: '127.0.0.1', board: { host: '127.0.0.1', isReadOnly: false } });
    expect(load({ JOBFERRY_BOARD_USER: 'ops', JOBFERRY_BOARD_PASSWORD: 'pw' }).board.host).toBe('127.0.0.1');
    const given = load({
      JOBFERRY_HEALTH_HOST: '0.0.0.0',
      JOBFERRY_BOARD_HOST: '::',
      JOBFERRY_BOARD_READ_ONLY: 'true',
    });
    expect(given).toMatchObject({ healthHost: '0.0.0.0', board: { host: '::', isReadOnly: true } });
    expect(faultsOf({ JOBFERRY_BOARD_HOST: 'http://x/', JOBFERRY_HEALTH_HOST: 'a b' })).toHaveLength(2);
  });

  it('takes proxies as a list, and a login for reading only in one piece', () => {
    const { board } = load({
      JOBFERRY_TRUSTED_PROXY: '10.0.0.7, 172.16.0.0/12',
      JOBFERRY_BOARD_READER_USER: 'look',
      JOBFERRY_BOARD_READER_PASSWORD: 'reader',
    });
    expect(board).toMatchObject({
      trustedProxies: ['10.0.0.7', '172.16.0.0/12'],
      readerUser: 'look',
      readerPassword: 'reader',
    });
    expect(faultsOf({ JOBFERRY_BOARD_READER_USER: 'look' })).toEqual([
      'JOBFERRY_BOARD_READER_PASSWORD: is not set, but JOBFERRY_BOARD_READER_USER is',
    ]);
  });

  it('reads passwords and the Redis URL of files, and says what is wrong with a file, not what is in it', () => {
    const file = (name: string, text: string): string => {
      writeFileSync(path.join(folder, name), text);
      return path.join(folder, name);
    };
    const config = load({
      JOBFERRY_BOARD_USER: 'ops',
      JOBFERRY_BOARD_PASSWORD_FILE: file('board', 'pass word\n'),
      JOBFERRY_BOARD_READER_USER: 'look',
      JOBFERRY_BOARD_READER_PASSWORD_FILE: file('reader', 'reader\n'),
      REDIS_URL_FILE: file('redis', 'redis://u:p@h:1\n'),
    });
    expect(config.board).toMatchObject({ password: 'pass word', readerPassword: 'reader' });
    expect(config.redis).toMatchObject({ options: { host: 'h', password: 'p' } });
    const faults = faultsOf({
      JOBFERRY_BOARD_USER: 'ops',
      JOBFERRY_BOARD_PASSWORD: 'x',
      JOBFERRY_BOARD_PASSWORD_FILE: file('board', 'SECRET'),
      JOBFERRY_BOARD_READER_USER: 'look',
      JOBFERRY_BOARD_READER_PASSWORD_FILE: file('lines', 'SECRET\nSECRET'),
      REDIS_URL_FILE: path.join(folder, 'nowhere'),
    });
    expect(faults).toEqual([
      expect.stringMatching(/^REDIS_URL_FILE: .*nowhere cannot be read: ENOENT$/),
      expect.stringMatching(/^JOBFERRY_BOARD_PASSWORD_FILE: is set, and JOBFERRY_BOARD_PASSWORD too/),
      expect.stringMatching(/^JOBFERRY_BOARD_READER_PASSWORD_FILE: .*lines has more than one line$/),
    ]);
    expect(faultsOf({ REDIS_URL_FILE: file('empty', '\n') })).toEqual([expect.stringMatching(/empty is empty$/)]);
  });
});

describe('REDIS_URL', () => {
  it.each([
    ['redis://localhost', { kind: 'single', options: { host: 'localhost', port: 6379 } }],
    [
      'redis://u:p%40ss@h:1/2',
      { kind: 'single', options: { host: 'h', port: 1, db: 2, username: 'u', password: 'p@ss' } },
    ],
    ['rediss://:secret@h', { kind: 'single', options: { host: 'h', password: 'secret', tls: {} } }],
    ['redis://[::1]:7000', { kind: 'single', options: { host: '::1', port: 7000 } }],
    [
      'redis+sentinel://a,b:26380/main/1',
      {
        kind: 'sentinel',
        options: {
          name: 'main',
          db: 1,
          sentinels: [
            { host: 'a', port: 26379 },
            { host: 'b', port: 26380 },
          ],
        },
      },
    ],
    [
      'redis+cluster://a:1,b:2',
      {
        kind: 'cluster',
        nodes: [
          { host: 'a', port: 1 },
          { host: 'b', port: 2 },
        ],
      },
    ],
  ])('%s', (url, expected) => {
    expect(parseRedisUrl(url)).toMatchObject(expected);
  });

  it.each([
    '',
    'localhost',
    'redis://',
    'redis://a,b',
    'redis://h:99999',
    'redis://h/x',
    'redis+sentinel://a',
    'redis://:%zz@h',
  ])('refuses %j without telling it', (url) => {
    expect(() => parseRedisUrl(url)).toThrow(ConfigError);
  });
});
