import { existsSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { requireRedis, type Config } from '../../config/load-config.ts';
import type { CompletionEvent } from '../../core/completion-event.ts';
import { describeDuration } from '../../core/describe.ts';
import { defaultResultQueue } from '../../queues/names.ts';
import { EventReader, followSubmission } from '../follow-submission.ts';
import { openProducer } from '../open-producer.ts';
import { demoTable, sandboxPoll, type DemoSubmission } from './demo-table.ts';
import type { DevView } from './dev-view.ts';

export interface DemoOptions {
  config: Config;
  view: DevView;
  /** Vendors that run, and whether the sandbox plays them. */
  vendors: ReadonlyMap<string, { isSandbox: boolean }>;
  signal: AbortSignal;
  /** Told of the ids before anything is sent. */
  onChosen: (ids: readonly string[]) => void;
}

/** How long canceled submissions may take to settle when the demo ends early, ms. */
const tidyMs = 1_000;

interface Chosen extends DemoSubmission {
  id: string;
  vendor: string;
  isSandbox: boolean;
}

/** Sends a few documents, shows how they get on, and sums up. Ends early, and tidily, when `signal` aborts. */
export async function runDemo(options: DemoOptions): Promise<void> {
  const { config, view, signal } = options;
  const chosen = choose(options);
  if (chosen.length === 0) return;
  options.onChosen(chosen.map(({ id }) => id));
  view.expect(chosen.map(({ id }) => id));
  const producer = openProducer(config);
  const events = new EventReader(requireRedis(config), config.prefix, defaultResultQueue);
  const startedAt = performance.now();
  try {
    for (const one of chosen) {
      await producer.submit(one.vendor, one.operation, {
        id: one.id,
        input: one.input,
        metadata: { from: 'jobferry dev' },
        ...(one.isSandbox ? { poll: sandboxPoll } : {}),
      });
      view.change(one.id, 'waiting to be sent');
    }
    const open = new Set(chosen);
    const settled = await Promise.all(
      chosen.map(async (one) => {
        const event = await follow(one).catch((error: unknown) => {
          if (signal.aborted) return undefined;
          throw error;
        });
        if (event !== undefined) {
          open.delete(one);
          view.settle(event);
        } else if (!signal.aborted) view.drop(one.id, 'is no longer known; it was removed');
        return event;
      }),
    );
    if (!signal.aborted) {
      view.line();
      view.line(`  ${summarise(settled)} in ${describeDuration(performance.now() - startedAt)}`);
      return;
    }
    // Their vendor ends with this process: left alone, they would come back as lost at the next start.
    await Promise.allSettled([...open].filter(({ isSandbox }) => isSandbox).map(cancel));
  } finally {
    view.stop();
    await Promise.all([producer.close(), events.close()]);
  }

  async function cancel({ vendor, id }: Chosen): Promise<void> {
    await producer.cancel(vendor, id);
    const giveUpAt = performance.now() + tidyMs;
    while (performance.now() < giveUpAt) {
      if ((await producer.status(vendor, id))?.phase === 'settled') return;
      await sleep(50);
    }
  }

  async function follow({ vendor, id }: Chosen): Promise<CompletionEvent | undefined> {
    return followSubmission({
      vendor,
      submissionId: id,
      status: (name, submissionId) => producer.status(name, submissionId),
      events,
      onChange: (status) => {
        if (status.phase !== 'settled') view.change(id, status.state);
      },
      onTrouble: (reason) => view.change(id, reason ?? 'Redis answers again'),
      signal,
    });
  }
}

function choose({ config, vendors, view }: DemoOptions): Chosen[] {
  const run = Date.now().toString(36).slice(-6);
  const documents = [...vendors].flatMap(([vendor, { isSandbox }]) =>
    (demoTable[vendor]?.submissions ?? [])
      .filter(({ sandboxOnly }) => isSandbox || sandboxOnly !== true)
      .map((one) => ({ ...one, vendor, isSandbox, id: `${one.name}-${run}` })),
  );
  const there = documents.filter(({ input, name }) => {
    if (typeof input['file'] !== 'string' || name === 'missing-file') return true;
    return config.filesDir !== undefined && existsSync(path.join(config.filesDir, input['file']));
  });
  if (there.length < documents.length) {
    const left = documents.filter((one) => !there.includes(one)).map(({ input }) => input['file'] as string);
    view.line(`  Left out, because JOBFERRY_FILES_DIR does not hold them: ${left.join(', ')}`);
  }
  return there;
}

/** "5 submissions: 3 succeeded, 1 failed, 1 rejected" */
function summarise(events: readonly (CompletionEvent | undefined)[]): string {
  const counts = new Map<string, number>();
  for (const event of events) {
    const outcome = event?.data.outcome ?? 'unknown';
    counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
  }
  const parts = [...counts].map(([outcome, count]) => `${count} ${outcome}`);
  return `${events.length} submissions: ${parts.join(', ')}`;
}
