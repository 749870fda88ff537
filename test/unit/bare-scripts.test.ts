import { describe, expect, it } from 'vitest';
import { bareScript } from '../../bench/lib/bare-scripts.ts';
import type { RedisConnection } from '../../src/queues/connection.ts';
import { RecordStore } from '../../src/queues/record-store.ts';

/** The engine's own scripts. */
function scriptsOfEngine(): Map<string, string> {
  const scripts = new Map<string, string>();
  const connection = { defineCommand: (name: string, { lua }: { lua: string }) => scripts.set(name, lua) };
  void new RecordStore(connection as unknown as RedisConnection, 'p');
  return scripts;
}

function without(name: string, ...out: string[]): string {
  return bareScript(name, scriptsOfEngine().get(name) ?? '', new Set(out));
}

describe('a script without a protection', () => {
  it('is the engine’s own one where nothing is taken out', () => {
    for (const name of scriptsOfEngine().keys()) expect(() => without(name), name).not.toThrow();
  });

  it('lacks that protection, and keeps the others', () => {
    expect(without('jobferrySave')).toContain("redis.call('GET', KEYS[2]) ~= ARGV[1]");
    expect(without('jobferrySave', 'fence')).not.toContain("redis.call('GET', KEYS[2])");
    expect(without('jobferrySave', 'fence')).toContain('list(KEYS[5]');
    expect(without('jobferrySave', 'list')).not.toContain('list(KEYS[5]');
    expect(without('jobferryBegin', 'list')).not.toContain('list(KEYS[5]');
    expect(without('jobferryNote', 'cancel')).not.toContain('asked');
  });

  it('is refused where the engine’s script has changed since', () => {
    const lua = (scriptsOfEngine().get('jobferrySave') ?? '').replace("'progress', ARGV[3]", "'progress', ARGV[9]");
    expect(() => bareScript('jobferrySave', lua, new Set(['fence']))).toThrow(
      /jobferrySave has changed at .*ARGV\[9\]/,
    );
    const longer = `${scriptsOfEngine().get('jobferryNote') ?? ''}\nredis.call('DEL', KEYS[1])`;
    expect(() => bareScript('jobferryNote', longer, new Set())).toThrow(/has changed/);
  });
});
