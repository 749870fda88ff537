import { ConfigError } from '../core/errors.ts';
import type { Fault } from '../core/json.ts';
import { defaultResultQueue } from '../queues/names.ts';
import type { RedisConnection } from '../queues/connection.ts';
import { TrustedProxies } from './client-address.ts';

export interface BoardOptions {
  /** Shared with others and not closed by the board. */
  connection: RedisConnection;
  /** BullMQ's key prefix. */
  prefix: string;
  /** Whose `<vendor>.submit` and `<vendor>.poll` are shown. */
  vendors: readonly string[];
  /** Queues of completion events; `results` when none is given. */
  resultQueues?: readonly string[];
  /** 0 takes any free port. */
  port: number;
  /** Where to listen; loopback unless given. Without a login only a loopback address is accepted. */
  host?: string;
  /** Login that may change things; both or neither. */
  user?: string | undefined;
  password?: string | undefined;
  /** A further login that sees everything and changes nothing; both or neither. */
  readerUser?: string | undefined;
  readerPassword?: string | undefined;
  /** True for a board on which no login changes anything. */
  isReadOnly?: boolean;
  /** Addresses and ranges of proxies whose `X-Forwarded-For` is believed. */
  trustedProxies?: readonly string[];
  /** What went wrong, or may. */
  log?: (message: string, fields?: object) => void;
  /** What people did here: logins, and each change that was made or refused. */
  record?: (message: string, fields: object) => void;
  /** What is to be told of accounts on `/readyz`, such as those that are held. */
  accountStates?: () => Promise<readonly object[]>;
  /** Further Prometheus text for `/metrics`. */
  extraMetrics?: () => Promise<string>;
}

export interface Login {
  user: string;
  password: string;
  /** False for a login for reading only. */
  mayChange: boolean;
}

export interface ResolvedBoardOptions {
  host: string;
  /** None, and everybody on this machine may come in. */
  logins: readonly Login[];
  resultQueues: readonly string[];
  proxies: TrustedProxies;
}

/** For a password that goes over a network, where it can be guessed from outside. */
const minPasswordLength = 12;

/**
 * Checks what decides who can reach the board.
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
        'needs JOBFERRY_BOARD_USER and JOBFERRY_BOARD_PASSWORD beside it; JOBFERRY_BOARD_READ_ONLY=true makes a board that nothing can be changed on',
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
      // The first word is a short one: after a name like this, a longer one is redacted as if it were the secret.
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

/** True for names that only this machine's own resolver and loopback interface can answer for. */
export function isLoopbackName(name: string): boolean {
  const host = name.toLowerCase().replace(/^\[|\]$/g, '');
  return host === 'localhost' || host.endsWith('.localhost') || host === '::1' || /^127(?:\.\d{1,3}){3}$/.test(host);
}
