import type { RedisMode } from './redis.ts';
import { vendorFaults, type VendorFault } from './vendor-faults.ts';

/** How many of each fault a run takes; every count is struck, in an order that the seed decides. */
export interface FaultCounts {
  /** SIGKILL at any moment. */
  kill: number;
  /** SIGKILL at a named place between two writes; the places take turns. */
  'die-at': number;
  /** SIGSTOP past the lock, then SIGCONT. */
  freeze: number;
  /** SIGSTOP at a named place, past the lock. */
  'freeze-at': number;
  /** SIGSTOP between the intent and the request, until everybody else believes that the request can not come any more. */
  'freeze-long': number;
  /** The worker's event loop hangs. */
  block: number;
  /** SIGTERM, and a new worker beside it. */
  roll: number;
  /** kill -9 of Redis, and a restart. */
  'redis-kill': number;
  /** Connections of all workers to Redis are reset. */
  'redis-cut': number;
  /** Everything between the workers and Redis is late. */
  'redis-delay': number;
  /** Connections of all workers to the vendor are reset. */
  'vendor-cut': number;
  'vendor-delay': number;
  /** Nobody answers at the vendor's address. */
  'vendor-down': number;
  /** The vendor takes connections and says nothing. */
  'vendor-frozen': number;
  /** An older BullMQ client pauses a queue, and one of any version resumes it. */
  pause: number;
  /** A foreign client writes over the progress and the data of jobs. */
  touch: number;
  /** Delayed jobs of all queues are promoted, as a board's button does. */
  promote: number;
  /** Poll jobs are removed by hand. */
  remove: number;
  /** What is completed and failed is cleaned out of all queues. */
  clean: number;
  /** A worker's wall clock is set: by seconds, or by minutes to a day and back. */
  clock: number;
}
export type FaultKind = keyof FaultCounts;

export interface FireOptions {
  name: string;
  /** Where the results go. */
  out: string | undefined;
  seed: number;
  submissions: number;
  workers: number;
  /** Knowhere's accounts that take turns. */
  accounts: number;
  redis: RedisMode;
  /** How long submissions and faults go on, ms. */
  burnMs: number;
  /** How long everything may take to settle afterwards, ms. */
  settleMs: number;
  faults: FaultCounts;
  vendorFaults: readonly VendorFault[];
  speed: number;
  /** The protection that is switched off, where the run is to fail. */
  control: 'no-intent' | undefined;
  /** How the engine looks for a lost submit, in the run's shorter times. */
  reconcile: { absenceMs: number; inFlightMs: number; minAbsentLooks: number };
  say: (line: string) => void;
}

const standard: Omit<FireOptions, 'name' | 'out' | 'seed' | 'say' | 'control'> = {
  submissions: 2_000,
  workers: 4,
  accounts: 4,
  redis: 'always',
  burnMs: 100_000,
  settleMs: 120_000,
  speed: 12,
  vendorFaults,
  reconcile: { absenceMs: 6_000, inFlightMs: 12_000, minAbsentLooks: 4 },
  faults: {
    kill: 16,
    'die-at': 30,
    freeze: 2,
    'freeze-at': 4,
    'freeze-long': 1,
    block: 2,
    roll: 4,
    'redis-kill': 3,
    'redis-cut': 4,
    'redis-delay': 2,
    'vendor-cut': 4,
    'vendor-delay': 2,
    'vendor-down': 2,
    'vendor-frozen': 1,
    pause: 5,
    touch: 4,
    promote: 4,
    remove: 3,
    clean: 2,
    clock: 4,
  },
};

const forms = {
  standard,
  quick: {
    ...standard,
    submissions: 300,
    workers: 3,
    accounts: 2,
    burnMs: 18_000,
    settleMs: 70_000,
    reconcile: { absenceMs: 4_000, inFlightMs: 8_000, minAbsentLooks: 4 },
    faults: {
      kill: 3,
      'die-at': 10,
      freeze: 1,
      'freeze-at': 1,
      'freeze-long': 0,
      block: 1,
      roll: 1,
      'redis-kill': 1,
      'redis-cut': 1,
      'redis-delay': 0,
      'vendor-cut': 1,
      'vendor-delay': 1,
      'vendor-down': 1,
      'vendor-frozen': 0,
      pause: 2,
      touch: 1,
      promote: 1,
      remove: 1,
      clean: 1,
      clock: 2,
    },
  },
  full: {
    ...standard,
    submissions: 50_000,
    workers: 4,
    accounts: 20,
    burnMs: 2_400_000,
    settleMs: 300_000,
    faults: {
      kill: 500,
      'die-at': 550,
      freeze: 30,
      'freeze-at': 60,
      'freeze-long': 10,
      block: 30,
      roll: 60,
      'redis-kill': 20,
      'redis-cut': 60,
      'redis-delay': 20,
      'vendor-cut': 60,
      'vendor-delay': 20,
      'vendor-down': 20,
      'vendor-frozen': 10,
      pause: 40,
      touch: 40,
      promote: 40,
      remove: 30,
      clean: 10,
      clock: 40,
    },
  },
} satisfies Record<string, Omit<FireOptions, 'name' | 'out' | 'seed' | 'say' | 'control'>>;

export type Form = keyof typeof forms;

export const usage = `npm run chaos -- [options]
  --quick             50 to 80 s: what the tests run
  --full              50,000 submissions, 1,000 kills, 20 kills of Redis: 40 minutes of fire
  --seed <n>          repeats the same faults in the same order (default: from the clock)
  --submissions <n>   how many
  --workers <n>       worker processes (default 4; quick: 3)
  --redis <mode>      always (default), everysec, or loss: each kill takes the last second along
  --seconds <n>       how long submissions and faults go on
  --faults <list>     only these, such as kill=10,redis-kill=2
  --out <folder>      where the results go (default chaos/results)
  --control no-intent switches the intent off; the run must then find violations
  --name <name>       of the files in chaos/results`;

/** @throws Error with a message for the person at the terminal */
export function readOptions(args: readonly string[], say: (line: string) => void): FireOptions {
  const given = new Map<string, string>();
  let form: Form = 'standard';
  for (let at = 0; at < args.length; at += 1) {
    const word = args[at] ?? '';
    if (word === '--quick' || word === '--full') form = word === '--quick' ? 'quick' : 'full';
    else if (
      [
        '--seed',
        '--submissions',
        '--workers',
        '--redis',
        '--seconds',
        '--control',
        '--name',
        '--faults',
        '--out',
      ].includes(word)
    ) {
      at += 1;
      given.set(word, args[at] ?? '');
    } else if (word !== '--') throw new Error(`not known: ${word}\n${usage}`);
  }
  const count = (name: string, fallback: number): number => {
    const text = given.get(name);
    if (text === undefined) return fallback;
    if (!/^\d{1,9}$/.test(text) || Number(text) === 0) throw new Error(`${name} takes a number from 1 on\n${usage}`);
    return Number(text);
  };
  const redis = given.get('--redis') ?? 'always';
  if (redis !== 'everysec' && redis !== 'always' && redis !== 'loss') throw new Error(`--redis: ${redis}?\n${usage}`);
  const control = given.get('--control');
  if (control !== undefined && control !== 'no-intent') throw new Error(`--control: ${control}?\n${usage}`);
  const seed = count('--seed', 1 + (Date.now() % 1_000_000));
  const label = [form, ...(redis === 'always' ? [] : [redis]), ...(control === undefined ? [] : [control])].join('-');
  return fireOptions(form, {
    name: given.get('--name') ?? label,
    seed,
    submissions: count('--submissions', forms[form].submissions),
    workers: count('--workers', forms[form].workers),
    burnMs: given.has('--seconds') ? count('--seconds', 0) * 1_000 : forms[form].burnMs,
    ...(given.has('--faults') ? { faults: readFaults(given.get('--faults') ?? '') } : {}),
    out: given.get('--out'),
    redis,
    control,
    say,
  });
}

/** A form with some things changed. */
export function fireOptions(
  form: Form,
  changes: Partial<FireOptions> & Pick<FireOptions, 'name' | 'seed' | 'say'>,
): FireOptions {
  const options = { control: undefined, out: undefined, ...forms[form], ...changes };
  if (options.redis === 'always') return options;
  // A push repeated after a loss is recognised by its completed job, which a clean removes.
  return { ...options, faults: { ...options.faults, clean: 0 } };
}

function readFaults(text: string): FaultCounts {
  const counts = Object.fromEntries(Object.keys(standard.faults).map((kind) => [kind, 0])) as unknown as FaultCounts;
  for (const part of text.split(',')) {
    const match = /^([a-z-]+)=(\d{1,6})$/.exec(part);
    if (match === null || !Object.hasOwn(counts, match[1] ?? '')) throw new Error(`--faults: ${part}?\n${usage}`);
    counts[match[1] as FaultKind] = Number(match[2]);
  }
  return counts;
}
