import { redactText } from '../core/redact.ts';
import { addressKey } from './client-address.ts';

/** The author of a request, and the rights of that login. */
export interface Visitor {
  /** Undefined if the board has no login. */
  user: string | undefined;
  address: string;
  mayChange: boolean;
}

/** The target of a request, from Bull Board's route pattern. */
export interface NamedRoute {
  route: string;
  queue?: string;
  jobId?: string;
}

/** How many logins are remembered. */
const maxSeen = 1_000;
/** A login is logged again after this time without requests, ms. */
const idleMs = 1_800_000;

/** Logs what people do on the board: one line for each change, made or refused, and one for each login. */
export class ChangeLog {
  readonly #record: (message: string, fields: object) => void;
  readonly #seen = new Map<string, number>();

  constructor(record: (message: string, fields: object) => void) {
    this.#record = record;
  }

  /** A correct login. HTTP Basic sends it with every request, so only the first one, and one after a pause, is logged. */
  noteLogin({ user, address, mayChange }: Visitor): void {
    const key = `${addressKey(address)} ${user ?? ''}`;
    const now = Date.now();
    const isNew = now - (this.#seen.get(key) ?? -Infinity) > idleMs;
    this.#seen.delete(key);
    this.#seen.set(key, now);
    const oldest = this.#seen.keys().next().value;
    if (this.#seen.size > maxSeen && oldest !== undefined) this.#seen.delete(oldest);
    if (isNew) this.#record('login on the board', { user, address, mayChange });
  }

  /** @param status - the status of the answer. */
  noteChange(visitor: Visitor, method: string, path: string, named: NamedRoute | undefined, status: number): void {
    const { user, address } = visitor;
    const { route = shown(path), queue, jobId } = named ?? {};
    this.#record(`board: change ${outcomeOf(status)}`, {
      ...(user === undefined ? {} : { user }),
      address,
      method,
      route,
      ...(queue === undefined ? {} : { queue: shown(queue) }),
      ...(jobId === undefined ? {} : { jobId: shown(jobId) }),
      status,
    });
  }
}

function outcomeOf(status: number): string {
  if (status < 400) return 'made';
  return status < 500 ? 'refused' : 'failed';
}

/** Clients can write anything into paths, names and ids. */
function shown(text: string): string {
  return redactText(text.slice(0, 300));
}
