import { ConfigError } from '../core/errors.ts';
import type { Fault } from '../core/json.ts';
import { defaultResultQueue } from '../queues/names.ts';
import type { RedisConnection } from '../queues/connection.ts';
import { TrustedProxies } from './client-address.ts';

export interface BoardOptions {
  /** A shared connection, which the board does not close. */
  connection: RedisConnection;
  /** BullMQ's key prefix. */
  prefix: string;
  /** The vendors whose `<vendor>.submit` and `<vendor>.poll` are shown. */
  vendors: readonly string[];
  /** The results queues. Default: `results`. */
  resultQueues?: readonly string[];
  /** 0 uses any free port. */
  port: number;
  /** The address to listen on. Default: loopback. Without a login only a loopback address is accepted. */
  host?: string;
  /** The login that can make changes; set both or neither. */
  user?: string | undefined;
  password?: string | undefined;
  /** A second login that can only read; set both or neither. */
  readerUser?: string | undefined;
  readerPassword?: string | undefined;
  /** If true, no login can make changes. */
  isReadOnly?: boolean;
  /** Addresses and ranges of proxies whose `X-Forwarded-For` is trusted. */
  trustedProxies?: readonly string[];
  /** Receives errors and warnings. */
  log?: (message: string, fields?: object) => void;
  /** Receives what people do: logins, and each change that was made or refused. */
  record?: (message: string, fields: object) => void;
  /** What `/readyz` reports about accounts, such as those that are held. */
  accountStates?: () => Promise<readonly object[]>;
  /** Further Prometheus text for `/metrics`. */
  extraMetrics?: () => Promise<string>;
}

export interface Login {
  user: string;
  password: string;
  /** False for a read-only login. */
  mayChange: boolean;
}

export interface ResolvedBoardOptions {
  host: string;
  /** If empty, every user of this machine has access. */
  logins: readonly Login[];
  resultQueues: readonly string[];
  proxies: TrustedProxies;
}

/** For passwords of a board that other machines can reach, and therefore guess. */
const minPasswordLength = 12;

/**
 * Checks the options that decide who can reach the board.
 * @throws ConfigError naming the variables at fault.
 */
export function resolveBoardOptions(options: BoardOptions): ResolvedBoardOptions {
  const faults: Fault[] = [];
  const operator = readLogin(options.user, options.password, 'JOBFERRY_BOARD', true, faults);
  const reader = readLogin(options.readerUser, options.readerPassword, 'JOBFERRY_BOARD_READER', false, faults);
  const logins = [operator, reader].filter((login) => login !== undefined);
  const host = options.host ?? '127.0.0.1';
  if (reader !== undefined && operator === undefined && faults.length === 0) {
    faults.push({
      path: 'JOBFERRY_BOARD_READER_USER',
      message:
        'also needs JOBFERRY_BOARD_USER and JOBFERRY_BOARD_PASSWORD; JOBFERRY_BOARD_READ_ONLY=true makes the whole board read-only',
    });
  }
  if (reader !== undefined && reader.user === operator?.user) {
    faults.push({ path: 'JOBFERRY_BOARD_READER_USER', message: 'must differ from JOBFERRY_BOARD_USER' });
  }
  if (!isLoopbackName(host)) {
    if (logins.length === 0 && faults.length === 0) {
      faults.push({
        path: 'JOBFERRY_BOARD_USER',
        message: `listening on ${host} needs JOBFERRY_BOARD_USER and JOBFERRY_BOARD_PASSWORD; without them the board stays on loopback`,
      });
    }
    for (const { password, mayChange } of logins) {
      if (password.length >= minPasswordLength) continue;
      // The first word must be short: after such a name, redaction takes a longer word for the secret.
      const message = `is too short: listening on ${host} needs at least ${minPasswordLength} characters`;
      faults.push({ path: mayChange ? 'JOBFERRY_BOARD_PASSWORD' : 'JOBFERRY_BOARD_READER_PASSWORD', message });
    }
  }
  if (faults.length > 0) throw new ConfigError(faults);
  return {
    host,
    logins,
    resultQueues: options.resultQueues ?? [defaultResultQueue],
    proxies: new TrustedProxies(options.trustedProxies ?? []),
  };
}

function readLogin(
  givenUser: string | undefined,
  givenPassword: string | undefined,
  variable: string,
  mayChange: boolean,
  faults: Fault[],
): Login | undefined {
  const user = givenUser === '' ? undefined : givenUser;
  const password = givenPassword === '' ? undefined : givenPassword;
  if (user === undefined && password === undefined) return undefined;
  if (user === undefined || password === undefined) {
    faults.push({
      path: user === undefined ? `${variable}_USER` : `${variable}_PASSWORD`,
      message: `is missing: ${variable}_USER and ${variable}_PASSWORD are set together or not at all, got only one of them`,
    });
    return undefined;
  }
  if (user.includes(':')) {
    faults.push({ path: `${variable}_USER`, message: 'must not contain a colon, which ends the name in HTTP Basic' });
  }
  return { user, password, mayChange };
}

/** True for addresses and names that only this machine can reach. */
export function isLoopbackName(name: string): boolean {
  const host = name.toLowerCase().replace(/^\[|\]$/g, '');
  return host === 'localhost' || host.endsWith('.localhost') || host === '::1' || /^127(?:\.\d{1,3}){3}$/.test(host);
}
