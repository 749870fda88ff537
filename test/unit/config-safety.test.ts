import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findJsonFault } from '../../src/config/json-fault.ts';
import { loadConfig, type Config } from '../../src/config/load-config.ts';
import { ConfigError } from '../../src/core/errors.ts';
import { parseRedisUrl } from '../../src/queues/connection.ts';
import { knowhere } from '../../src/vendors/knowhere/adapter.ts';
import { certificate, key } from '../helpers/certificates.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'jobferry-safety-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const load = (env: Record<string, string>): Config => loadConfig(env, [knowhere], folder);
function faultsOf(env: Record<string, string>): string[] {
  try {
    load(env);
    return [];
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as ConfigError).faults.map((fault) => `${fault.path}: ${fault.message}`);
  }
}
function write(name: string, content: unknown, mode = 0o600): string {
  const file = path.join(folder, name);
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
  chmodSync(file, mode);
  return file;
}

describe('a Redis URL whose password is not percent-encoded', () => {
  it.each([
    'redis://:Sec@retTail77@host',
    'redis://user:Sec@retTail77@host:6379/1',
    'redis+sentinel://user:1234/retTail77@host/mymaster',
    'redis+cluster://:Sec@retTail77@a:1,b:2',
  ])('is refused without a word of it: %s', (url) => {
    expect(() => parseRedisUrl(url)).toThrow(/percent-encode user and password/);
    expect(() => parseRedisUrl(url)).not.toThrow(/retTail77/);
  });

  it('is taken once it is', () => {
    expect(parseRedisUrl('redis://:Sec%40ret@host')).toMatchObject({ options: { password: 'Sec@ret', host: 'host' } });
  });
});

describe('Redis from files', () => {
  it('takes the URL from REDIS_URL_FILE', () => {
    const file = write('redis-url', 'redis://:secret@host:7000\n');
    expect(load({ REDIS_URL_FILE: file }).redis).toMatchObject({ options: { port: 7_000, password: 'secret' } });
    expect(faultsOf({ REDIS_URL_FILE: file, REDIS_URL: 'redis://host' }).join()).toMatch(/REDIS_URL_FILE: .*one of/);
    expect(faultsOf({ REDIS_URL_FILE: path.join(folder, 'gone') }).join()).toMatch(/gone cannot be read: ENOENT/);
  });

  it('refuses certificates that do not do, by the variable, and quotes none', () => {
    const [ca, other] = [write('ca', certificate), write('other', 'PLANTED text')];
    const url = { REDIS_URL: 'rediss://host' };
    expect(faultsOf({ ...url, JOBFERRY_REDIS_TLS_CA: ca })).toEqual([]);
    expect(faultsOf({ REDIS_URL: 'redis://host', JOBFERRY_REDIS_TLS_CA: ca }).join()).toMatch(/needs? rediss/);
    expect(faultsOf({ ...url, JOBFERRY_REDIS_TLS_CERT: ca }).join()).toMatch(/^JOBFERRY_REDIS_TLS_KEY: is not set/);
    const keyFile = write('key', key);
    for (const name of ['CA', 'CERT', 'KEY']) {
      const pair = { JOBFERRY_REDIS_TLS_CERT: ca, JOBFERRY_REDIS_TLS_KEY: keyFile };
      const faults = faultsOf({ ...url, ...pair, [`JOBFERRY_REDIS_TLS_${name}`]: other });
      expect(faults.join()).toMatch(new RegExp(`^JOBFERRY_REDIS_TLS_${name}: is not a PEM`));
      expect(faults.join()).not.toContain('PLANTED');
    }
  });
});

describe('a configuration file that was only found', () => {
  const account = (apiKey: unknown, baseUrl: string): object => ({
    accounts: { knowhere: { eu: { apiKey, baseUrl } } },
  });
  const [foreign, usual] = ['https://collector.example', 'https://api.knowhereto.ai'];

  it('sends no key of the environment to an address of its own, unless JOBFERRY_CONFIG names it', () => {
    const file = write('jobferry.config.json', account({ env: 'AWS_SECRET_ACCESS_KEY' }, foreign));
    const env = { AWS_SECRET_ACCESS_KEY: 'planted' };
    expect(faultsOf(env).join()).toMatch(/accounts\.knowhere\.eu\.baseUrl: .*AWS_SECRET_ACCESS_KEY/);
    expect(faultsOf({ ...env, JOBFERRY_CONFIG: file })).toEqual([]);
    expect(load({ ...env, JOBFERRY_CONFIG: file }).configFile).toBe(file);
  });

  it('nor the key of the default account, nor a file from elsewhere', () => {
    write('jobferry.config.json', { accounts: { knowhere: { default: { baseUrl: foreign } } } });
    expect(faultsOf({ KNOWHERE_API_KEY: 'sk_1' }).join()).toMatch(/KNOWHERE_API_KEY would be sent there/);
    mkdirSync(path.join(folder, 'work'));
    const outside = write('outside', 'sk_2');
    write('work/jobferry.config.json', account({ file: outside }, foreign));
    expect(() => loadConfig({}, [knowhere], path.join(folder, 'work'))).toThrow(ConfigError);
  });

  it('may name the vendor’s usual address, and any address for a key of its own folder', () => {
    write('jobferry.config.json', account({ env: 'KEY' }, usual));
    expect(faultsOf({ KEY: 'sk_1' })).toEqual([]);
    write('jobferry.config.json', account({ file: write('key', 'sk_1') }, foreign));
    expect(faultsOf({})).toEqual([]);
  });
});

describe('an address of a vendor in plain http', () => {
  const of = (KNOWHERE_BASE_URL: string, more: Record<string, string> = {}): string =>
    faultsOf({ KNOWHERE_API_KEY: 'sk_1', KNOWHERE_BASE_URL, ...more }).join();
  const allowed = { JOBFERRY_ALLOW_PRIVATE_URLS: 'true' };

  it.each(['http://localhost:4010/x', 'http://127.0.0.1:1', 'http://[::1]:1'])('is taken on this machine: %s', (url) =>
    expect(of(url)).toBe(''),
  );

  it.each(['http://10.0.0.7', 'http://vendor-mock:8080', 'http://vendor.internal'])(
    'is taken in a private network where that is allowed: %s',
    (url) => {
      expect(of(url)).toMatch(/plain http.*JOBFERRY_ALLOW_PRIVATE_URLS/);
      expect(of(url, allowed)).toBe('');
    },
  );

  it.each(['http://api.knowhereto.ai', 'http://93.184.216.34'])('is refused in public: %s', (url) => {
    expect(of(url, allowed)).toMatch(/plain http/);
  });
});

it('a secret file that others can read is worth a line, with its path and mode', () => {
  const [open, closed] = [write('open', 'sk_1', 0o640), write('closed', 'sk_2')];
  write('jobferry.config.json', {
    accounts: { knowhere: { a: { apiKey: { file: open } }, b: { apiKey: { file: closed } } } },
  });
  expect(load({}).warnings).toEqual([expect.stringMatching(/^accounts\.knowhere\.a\.apiKey: .*open \(mode 640\)/)]);
});

describe('a configuration that is not valid JSON', () => {
  it('is told by line and column, never by its text', () => {
    const file = write('key', 'PLANTED-secret');
    expect(faultsOf({ JOBFERRY_CONFIG: file })).toEqual([`${file}: is not valid JSON at line 1, column 1`]);
  });

  it.each([
    ['{', 1, 2],
    ['{\n  "a": 1,\n}', 3, 1],
    ['[1, 2', 1, 6],
    ['{"a" 1}', 1, 6],
    ['{"a": tru}', 1, 7],
    ['{"a": "b\\x"}', 1, 7],
    ['{}\n{}', 2, 1],
    ['[1,]', 1, 4],
    ['', 1, 1],
    ['{"a":[{"b":null},"x",-1.5e3]} x', 1, 31],
  ])('%j', (text, line, column) => {
    expect(() => JSON.parse(text) as unknown).toThrow();
    expect(findJsonFault(text)).toEqual({ line, column });
  });
});
