import { ConfigError } from '../core/errors.ts';
import { defaultResultQueue } from '../queues/names.ts';
import type { RedisConnection } from '../queues/connection.ts';

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
  /** Where to listen. Without a login only a loopback address is accepted. */
  host?: string;
  /** Login; both or neither. */
  user?: string;
  password?: string;
  log?: (message: string, fields?: object) => void;
  /** What is to be told of accounts on `/readyz`, such as those that are held. */
  accountStates?: () => Promise<readonly object[]>;
  /** Further Prometheus text for `/metrics`. */
  extraMetrics?: () => Promise<string>;
}

export interface Login {
  user: string;
  password: string;
}

export interface ResolvedBoardOptions {
  host: string;
  login: Login | undefined;
  resultQueues: readonly string[];
}

/**
 * Checks what decides who can reach the board.
 * @throws ConfigError naming the variables at fault.
 */
export function resolveBoardOptions(options: BoardOptions): ResolvedBoardOptions {
  const user = options.user === '' ? undefined : options.user;
  const password = options.password === '' ? undefined : options.password;
  if ((user === undefined) !== (password === undefined)) {
    throw new ConfigError([
      {
        path: user === undefined ? 'JOBFERRY_BOARD_USER' : 'JOBFERRY_BOARD_PASSWORD',
        message: 'JOBFERRY_BOARD_USER and JOBFERRY_BOARD_PASSWORD are set together or not at all, got only one of them',
      },
    ]);
  }
  if (user?.includes(':') === true) {
    throw new ConfigError([
      { path: 'JOBFERRY_BOARD_USER', message: 'must not contain a colon, which ends the name in HTTP Basic' },
    ]);
  }
  const login = user === undefined || password === undefined ? undefined : { user, password };
  const host = options.host ?? (login === undefined ? '127.0.0.1' : '0.0.0.0');
  if (login === undefined && !isLoopbackName(host)) {
    throw new ConfigError([
      {
        path: 'JOBFERRY_BOARD_USER',
        message: `listening on ${host} needs JOBFERRY_BOARD_USER and JOBFERRY_BOARD_PASSWORD; without them the board stays on loopback`,
      },
    ]);
  }
  return { host, login, resultQueues: options.resultQueues ?? [defaultResultQueue] };
}

/** True for names that only this machine's own resolver and loopback interface can answer for. */
export function isLoopbackName(name: string): boolean {
  const host = name.toLowerCase().replace(/^\[|\]$/g, '');
  return host === 'localhost' || host.endsWith('.localhost') || host === '::1' || /^127(?:\.\d{1,3}){3}$/.test(host);
}
