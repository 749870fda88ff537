import type { RedisConnection } from './connection.ts';

/** A Lua script whose keys, arguments and replies have names, in Lua and in TypeScript alike. */
export interface Script<Key extends string, Arg extends string, Reply extends string> {
  readonly keys: readonly Key[];
  readonly args: readonly Arg[];
  readonly replies: readonly Reply[];
  readonly lua: string;
}

/**
 * Declares a script. In `lua`, every key and argument is a local of its name. The script answers `{ name }` or
 * `{ name, value }`, where `name` is one of `replies`.
 * @example script({ keys: ['job'], args: ['at'], replies: ['noted'], lua: `HSET(job, 'at', at) return {'noted'}` })
 */
export function script<const Key extends string, const Arg extends string, const Reply extends string>(
  declared: Script<Key, Arg, Reply>,
): Script<Key, Arg, Reply> {
  return declared;
}

type Command<S> =
  S extends Script<infer Key, infer Arg, infer Reply>
    ? (
        keys: Readonly<Record<Key, string>>,
        args: Readonly<Record<Arg, string | number>>,
      ) => Promise<readonly [reply: Reply, value?: string]>
    : never;

/** One typed command per script. */
export type Commands<Scripts> = { readonly [Name in keyof Scripts]: Command<Scripts[Name]> };

type AnyScript = Script<string, string, string>;
type Run = (...given: (string | number)[]) => Promise<[reply: string, value?: string]>;

/**
 * Makes scripts known to a connection.
 * @param scripts - by the name of their command in Redis' own logs; all connections may share one name.
 */
export function defineScripts<Scripts extends Readonly<Record<string, AnyScript>>>(
  redis: RedisConnection,
  scripts: Scripts,
): Commands<Scripts> {
  const commands = Object.entries(scripts).map(([name, { keys, args, replies, lua }]) => {
    redis.defineCommand(name, { numberOfKeys: keys.length, lua: `${bind(keys, 'KEYS')}${bind(args, 'ARGV')}${lua}` });
    const run = (redis as unknown as Readonly<Record<string, Run>>)[name];
    const command = async (
      named: Readonly<Record<string, string>>,
      given: Readonly<Record<string, string | number>>,
    ): Promise<readonly [string, string?]> => {
      const values = [...keys.map((key) => named[key] ?? ''), ...args.map((arg) => given[arg] ?? '')];
      // Called as a method: ioredis finds its connection there.
      const answer = await run?.apply(redis, values);
      if (answer === undefined || !replies.includes(answer[0]))
        throw new Error(`${name} answered ${JSON.stringify(answer)}; it can answer ${replies.join(', ')}`);
      return answer;
    };
    return [name, command] as const;
  });
  return Object.fromEntries(commands) as unknown as Commands<Scripts>;
}

function bind(names: readonly string[], from: 'KEYS' | 'ARGV'): string {
  if (names.length === 0) return '';
  return `local ${names.join(', ')} = ${names.map((_name, at) => `${from}[${at + 1}]`).join(', ')}\n`;
}
