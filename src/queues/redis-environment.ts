import { readFileSync } from 'node:fs';
import path from 'node:path';
import { createSecureContext } from 'node:tls';
import { ConfigError } from '../core/errors.ts';
import type { Fault } from '../core/json.ts';
import { parseRedisUrl, type RedisTarget, type RedisTls } from './connection.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** What the environment says of Redis. Files are read once: a process is started anew where a certificate is. */
export interface RedisEnvironment {
  /** Undefined where neither `REDIS_URL` nor `REDIS_URL_FILE` is set. */
  target: RedisTarget | undefined;
  /** Files with something secret in them, by the variable that names them. */
  secretFiles: readonly { path: string; file: string }[];
}

const tlsVariables = {
  ca: 'JOBFERRY_REDIS_TLS_CA',
  cert: 'JOBFERRY_REDIS_TLS_CERT',
  key: 'JOBFERRY_REDIS_TLS_KEY',
} as const;

/**
 * Reads `REDIS_URL` or the file that `REDIS_URL_FILE` names, and the PEM files of `JOBFERRY_REDIS_TLS_CA` (the authority to
 * trust instead of the usual ones), `JOBFERRY_REDIS_TLS_CERT` and `JOBFERRY_REDIS_TLS_KEY` (the client's own certificate).
 * @throws ConfigError with every fault; what stands in the files is in no message
 */
export function readRedisEnvironment(env: Environment, cwd = process.cwd()): RedisEnvironment {
  const faults: Fault[] = [];
  const given = (name: string): string | undefined => (env[name] === '' ? undefined : env[name]);
  const read = (name: string): string | undefined => {
    const file = given(name);
    if (file === undefined) return undefined;
    try {
      const text = readFileSync(path.resolve(cwd, file), 'utf8').trim();
      if (text === '') faults.push({ path: name, message: `${path.resolve(cwd, file)} is empty` });
      return text === '' ? undefined : text;
    } catch (error) {
      const reason = (error as NodeJS.ErrnoException).code ?? 'error';
      faults.push({ path: name, message: `${path.resolve(cwd, file)} cannot be read: ${reason}` });
      return undefined;
    }
  };

  if (given('REDIS_URL') !== undefined && given('REDIS_URL_FILE') !== undefined)
    faults.push({ path: 'REDIS_URL_FILE', message: 'is set, and REDIS_URL too: set one of them' });
  const url = given('REDIS_URL') ?? read('REDIS_URL_FILE');
  const tls: RedisTls = {};
  for (const [option, name] of Object.entries(tlsVariables) as [keyof RedisTls, string][]) {
    const text = read(name);
    if (text !== undefined) tls[option] = text;
  }
  faults.push(...faultsOfTls(tls, url, faults.length > 0));
  let target: RedisTarget | undefined;
  try {
    if (url !== undefined) target = parseRedisUrl(url, tls);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    faults.push(...error.faults);
  }
  if (faults.length > 0) throw new ConfigError(faults);
  const secretFiles = ['REDIS_URL_FILE', tlsVariables.key].flatMap((name) => {
    const file = given(name);
    return file === undefined ? [] : [{ path: name, file: path.resolve(cwd, file) }];
  });
  return { target, secretFiles };
}

function faultsOfTls(tls: RedisTls, url: string | undefined, isIncomplete: boolean): Fault[] {
  if (Object.keys(tls).length === 0 || isIncomplete) return [];
  if (url !== undefined && !url.startsWith('rediss')) {
    return [{ path: 'REDIS_URL', message: 'is not encrypted: certificates need rediss:// (or rediss+sentinel://, …)' }];
  }
  if ((tls.cert === undefined) !== (tls.key === undefined)) {
    const [missing, there] = tls.cert === undefined ? (['cert', 'key'] as const) : (['key', 'cert'] as const);
    return [{ path: tlsVariables[missing], message: `is not set, but ${tlsVariables[there]} is` }];
  }
  // Each by itself first, so that the fault names the right file. OpenSSL's own words quote nothing of it, and say little.
  for (const [option, name] of Object.entries(tlsVariables) as [keyof RedisTls, string][]) {
    if (tls[option] !== undefined && !isUsable({ [option]: tls[option] }))
      return [{ path: name, message: 'is not a PEM file of the kind that is needed' }];
  }
  if (tls.key !== undefined && !isUsable(tls))
    return [{ path: tlsVariables.key, message: `is not the key of ${tlsVariables.cert}` }];
  return [];
}

function isUsable(tls: RedisTls): boolean {
  // A file without any certificate passes as an authority, and nothing would then be trusted.
  if (tls.ca !== undefined && !tls.ca.includes('-----BEGIN CERTIFICATE-----')) return false;
  try {
    createSecureContext(tls);
    return true;
  } catch {
    return false;
  }
}

/** The same environment with the URL itself in place of the file that holds it. @throws ConfigError */
export function withRedisUrl<Env extends Environment>(env: Env, redisUrl = env['REDIS_URL']): Env {
  const file = env['REDIS_URL_FILE'] ?? '';
  if (file === '' || (redisUrl ?? '') !== '') return { ...env, REDIS_URL: redisUrl, REDIS_URL_FILE: undefined };
  try {
    return { ...env, REDIS_URL: readFileSync(file, 'utf8').trim(), REDIS_URL_FILE: undefined };
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? 'error';
    throw new ConfigError([{ path: 'REDIS_URL_FILE', message: `${file} cannot be read: ${reason}` }]);
  }
}
