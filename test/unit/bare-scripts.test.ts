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
    expect(without('jobferrySave')).toContain("redis.call('GET', lock) ~= token");
    expect(without('jobferrySave', 'fence')).not.toContain("redis.call('GET', lock)");
    expect(without('jobferrySave', 'fence')).toContain('list(underWay, submissionId');
    expect(without('jobferrySave', 'list')).not.toContain('list(underWay, submissionId');
    expect(without('jobferryBegin', 'list')).not.toContain('list(underWay, submissionId');
    expect(without('jobferryNote', 'cancel')).not.toContain('asked');
  });

  it('is refused where the engine’s script has changed since', () => {
    const lua = (scriptsOfEngine().get('jobferrySave') ?? '').replace("'progress', progress)", "'progress', token)");
    expect(() => bareScript('jobferrySave', lua, new Set(['fence']))).toThrow(
      /jobferrySave has changed at .*'progress', token/,
    );
    const longer = `${scriptsOfEngine().get('jobferryNote') ?? ''}\nredis.call('DEL', job)`;
    expect(() => bareScript('jobferryNote', longer, new Set())).toThrow(/has changed/);
  });
});
