import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { ConfigError } from '../core/errors.ts';
import type { Fault } from '../core/json.ts';
import { hideFields } from '../core/redact.ts';
import type { VendorAdapter } from '../ports/vendor-adapter.ts';
import { whyPrefixIsUnfit, type RedisTarget } from '../queues/connection.ts';
import { defaultPrefix } from '../queues/names.ts';
import { readRedisEnvironment, type RedisEnvironment } from '../queues/redis-environment.ts';
import { nameAccounts, readAccounts, type ConfiguredAccount } from './accounts.ts';
import { locateConfiguration, readConfiguration, type ConfigFile } from './config-file.ts';
import type { Environment } from './environment.ts';
import { refuseFoundAddresses } from './found-file.ts';
import { refusePlainHttp } from './plain-http.ts';
import { secretFilesOf, warnOfOpenFiles } from './secret-files.ts';
import { readSecretVariable } from './secret-variable.ts';

/** The settings from environment and file without vendors' secrets, checked once, frozen. */
export interface Settings {
  /** Undefined when `REDIS_URL` is not set. */
  redis: RedisTarget | undefined;
  prefix: string;
  /** By vendor: the accounts that environment and file name, even if their secrets cannot be read here. */
  accountNames: ReadonlyMap<string, readonly string[]>;
  filesDir: string | undefined;
  artifactsDir: string;
  allowPrivateUrls: boolean;
  port: number;
  healthPort: number | undefined;
  /** The address that serves a worker's health and metrics. */
  healthHost: string;
  board: BoardConfig;
  logLevel: string;
  concurrency: ConfigFile['concurrency'];
  retention: ConfigFile['retention'];
  replyTo: ConfigFile['replyTo'];
  maxResultBytes: number;
  reconcile: ConfigFile['reconcile'];
  ambiguity: ConfigFile['ambiguity'];
  /** The configuration file that was read; undefined when there is none. */
  configFile: string | undefined;
  /** Warnings to log at start, one line each. */
  warnings: readonly string[];
}

/** All settings, with the vendors' credentials. */
export interface Config extends Settings {
  /** Every known vendor, with the accounts that have credentials. */
  vendors: readonly { adapter: VendorAdapter; accounts: readonly ConfiguredAccount[] }[];
  /** How long a step of a vendor module may show no activity, ms; not in the file, for tests only. */
  stepLimitMs?: number;
  /** After how long a turn outside such a step counts as hung, ms; for tests only. */
  hungAfterMs?: number;
}

/** Where the board listens, and its logins; checked when it starts. */
export interface BoardConfig {
  host: string;
  user: string | undefined;
  password: string | undefined;
  readerUser: string | undefined;
  readerPassword: string | undefined;
  isReadOnly: boolean;
  trustedProxies: readonly string[];
}

const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'];

/**
 * Reads environment and configuration file.
 * @throws ConfigError with every fault at once
 */
export function loadConfig(env: Environment, adapters: readonly VendorAdapter[], cwd = process.cwd()): Config {
  const faults: Fault[] = [];
  const file = readConfiguration(env, cwd, faults);
  const settings = readSettings(file, env, adapters, cwd, faults);
  const { file: filePath, isNamed } = locateConfiguration(env, cwd);
  if (!isNamed) faults.push(...refuseFoundAddresses(filePath, file.accounts, adapters, env));
  const vendors = adapters.map((adapter) => ({ adapter, accounts: readAccounts(adapter, file, env, faults) }));
  faults.push(...refusePlainHttp(vendors, settings.allowPrivateUrls));
  if (faults.length > 0) throw new ConfigError(faults);
  return Object.freeze({ ...settings, vendors });
}

/**
 * Reads the same for a command that sends no vendor request and therefore needs no vendor secret.
 * @throws ConfigError with every fault at once
 */
export function loadSettings(env: Environment, adapters: readonly VendorAdapter[], cwd = process.cwd()): Settings {
  const faults: Fault[] = [];
  const settings = readSettings(readConfiguration(env, cwd, faults), env, adapters, cwd, faults);
  if (faults.length > 0) throw new ConfigError(faults);
  return Object.freeze(settings);
}

function readSettings(
  file: ConfigFile,
  env: Environment,
  adapters: readonly VendorAdapter[],
  cwd: string,
  faults: Fault[],
): Settings {
  const filePath = locateConfiguration(env, cwd).file;
  hideFields(file.redact.fields);
  const known = new Set(adapters.map((adapter) => adapter.name));
  for (const vendor of Object.keys(file.accounts)) {
    if (!known.has(vendor))
      faults.push({ path: `accounts.${vendor}`, message: `no such vendor; known: ${[...known].join(', ')}` });
  }
  const { target: redis, secretFiles } = readRedis(env, cwd, faults);
  return {
    redis,
    prefix: readPrefix(env, redis, faults),
    accountNames: new Map(adapters.map((adapter) => [adapter.name, nameAccounts(adapter, file, env)])),
    filesDir: readFolder(env, 'JOBFERRY_FILES_DIR', cwd, faults),
    artifactsDir: path.resolve(cwd, env['JOBFERRY_ARTIFACTS_DIR'] ?? path.join('.jobferry', 'artifacts')),
    allowPrivateUrls: readBoolean(env, 'JOBFERRY_ALLOW_PRIVATE_URLS', faults),
    port: readPort(env, 'PORT', faults) ?? 3_000,
    healthPort: readPort(env, 'JOBFERRY_HEALTH_PORT', faults),
    healthHost: readHost(env, 'JOBFERRY_HEALTH_HOST', faults),
    board: readBoard(env, faults),
    logLevel: readLogLevel(env, faults),
    concurrency: file.concurrency,
    retention: file.retention,
    replyTo: file.replyTo,
    maxResultBytes: file.results.maxBytes,
    reconcile: file.reconcile,
    ambiguity: file.ambiguity,
    configFile: existsSync(filePath) ? filePath : undefined,
    warnings: warnOfOpenFiles([...secretFiles, ...secretFilesOf(file.accounts)]),
  };
}

/** @throws ConfigError if `REDIS_URL` is not set: a worker that guessed could take the jobs of another installation. */
export function requireRedis(config: Settings): RedisTarget {
  if (config.redis !== undefined) return config.redis;
  throw new ConfigError([
    {
      path: 'REDIS_URL',
      message: 'is not set, nor is REDIS_URL_FILE; expected redis://host:port (`jobferry dev` starts its own Redis)',
    },
  ]);
}

function readRedis(env: Environment, cwd: string, faults: Fault[]): RedisEnvironment {
  try {
    return readRedisEnvironment(env, cwd);
  } catch (error) {
    if (error instanceof ConfigError) faults.push(...error.faults);
    else throw error;
    return { target: undefined, secretFiles: [] };
  }
}

function readPrefix(env: Environment, redis: RedisTarget | undefined, faults: Fault[]): string {
  const prefix = env['JOBFERRY_PREFIX'] ?? defaultPrefix;
  if (!/^[A-Za-z0-9._{}-]{1,64}$/.test(prefix)) {
    faults.push({ path: 'JOBFERRY_PREFIX', message: `${JSON.stringify(prefix)} must match ^[A-Za-z0-9._{}-]{1,64}$` });
  } else {
    const message = whyPrefixIsUnfit(prefix, redis);
    if (message !== undefined) faults.push({ path: 'JOBFERRY_PREFIX', message });
  }
  return prefix;
}

function readFolder(env: Environment, name: string, cwd: string, faults: Fault[]): string | undefined {
  const value = env[name];
  if (value === undefined || value === '') return undefined;
  const folder = path.resolve(cwd, value);
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true)
    faults.push({ path: name, message: `${folder} is not a folder` });
  return folder;
}

function readBoolean(env: Environment, name: string, faults: Fault[]): boolean {
  const value = env[name] ?? '';
  if (/^(true|1|yes)$/i.test(value)) return true;
  if (!/^(false|0|no|)$/i.test(value))
    faults.push({ path: name, message: `expected true or false, got ${JSON.stringify(value)}` });
  return false;
}

function readPort(env: Environment, name: string, faults: Fault[]): number | undefined {
  const value = env[name];
  if (value === undefined || value === '') return undefined;
  const port = /^\d{1,5}$/.test(value) ? Number(value) : Number.NaN;
  if (port >= 0 && port <= 65_535) return port;
  faults.push({ path: name, message: `expected a port from 0 to 65535, got ${JSON.stringify(value)}` });
  return undefined;
}

function readHost(env: Environment, name: string, faults: Fault[]): string {
  const value = env[name] ?? '';
  if (value === '') return '127.0.0.1';
  if (!/^[A-Za-z0-9._:-]{1,253}$/.test(value))
    faults.push({ path: name, message: `expected an address to listen on, got ${JSON.stringify(value)}` });
  return value;
}

function readBoard(env: Environment, faults: Fault[]): BoardConfig {
  const login = (variable: string): [string | undefined, string | undefined] => {
    const user = env[`${variable}_USER`] === '' ? undefined : env[`${variable}_USER`];
    const before = faults.length;
    const password = readSecretVariable(env, `${variable}_PASSWORD`, faults);
    if (faults.length > before || (user === undefined) === (password === undefined)) return [user, password];
    const [missing, given] = user === undefined ? ['_USER', '_PASSWORD'] : ['_PASSWORD', '_USER'];
    faults.push({ path: `${variable}${missing}`, message: `is not set, but ${variable}${given} is` });
    return [user, password];
  };
  const [user, password] = login('JOBFERRY_BOARD');
  const [readerUser, readerPassword] = login('JOBFERRY_BOARD_READER');
  return {
    host: readHost(env, 'JOBFERRY_BOARD_HOST', faults),
    user,
    password,
    readerUser,
    readerPassword,
    isReadOnly: readBoolean(env, 'JOBFERRY_BOARD_READ_ONLY', faults),
    trustedProxies: (env['JOBFERRY_TRUSTED_PROXY'] ?? '')
      .split(',')
      .map((entry) => entry.trim())
      .filter((entry) => entry !== ''),
  };
}

function readLogLevel(env: Environment, faults: Fault[]): string {
  const level = env['LOG_LEVEL'] ?? 'info';
  if (!logLevels.includes(level))
    faults.push({
      path: 'LOG_LEVEL',
      message: `expected one of ${logLevels.join(', ')}, got ${JSON.stringify(level)}`,
    });
  return level;
}
