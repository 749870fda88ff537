import { describe, expect, it } from 'vitest';
import { silentLogger } from '../../src/ports/logger.ts';
import type { HttpRequest, StepContext, Transfers } from '../../src/ports/vendor-adapter.ts';
import { adapters } from '../../src/vendors/catalogue.ts';
import { requestTimeoutMs } from '../../src/core/request-time.ts';
import { defaultReconcile } from '../../src/workers/engine.ts';
import { sendWithinMs } from '../../src/workers/steps/submit.ts';
import { wireCalls } from '../helpers/wire-calls/index.ts';

/**
 * Another worker that finds an intent without an answer waits as long as the submit may still land, and then looks for it.
 * So a submit must not take longer than that: from its intent to its request, and its request, with all that belongs to it.
 */
describe('an answer that is the only way to the id', () => {
  it.each([
    'knowhere.parse',
    'fini.knowledge.generate',
    'fini.knowledge.bulkGenerate',
    'fini.knowledge.refreshChanged',
  ])('%s: a minute and more is waited for it', (name) => {
    const [vendor = '', ...operation] = name.split('.');
    const found = adapters.find((adapter) => adapter.name === vendor)?.operations[operation.join('.')];
    expect(found?.submitTimeoutMs).toBeGreaterThanOrEqual(75_000);
  });
});

describe('the longest way of a submit to the vendor', () => {
  const submits = wireCalls.filter(({ step }) => step.endsWith('.submit'));
  const operations = adapters.flatMap((adapter) =>
    Object.entries(adapter.operations)
      .filter(([, operation]) => operation.adopts !== true)
      .map(([name, operation]) => ({ name: `${adapter.name}.${name}`, adapter, operation, key: name })),
  );

  it.each(operations)('$name: others wait longer', async ({ adapter, operation, key }) => {
    const calls = submits.filter((call) => call.adapter.name === adapter.name && call.step === `${key}.submit`);
    expect(calls.length).toBeGreaterThan(0);
    for (const call of calls) {
      for (const size of [1, 5_000_000, 50_000_000_000]) {
        const given = call.context?.('http://127.0.0.1:1') ?? {};
        const seen = { mark: 'm', ...(given.snapshot as object | undefined), size };
        const snapshot = operation.inFlightMs === undefined ? given.snapshot : seen;
        const requests: HttpRequest<unknown>[] = [];
        const context = {
          submissionId: 's-1',
          account: adapter.account.parse({ ...call.account, baseUrl: 'http://127.0.0.1:1' }),
          accountName: 'default',
          part: 0,
          jobs: [],
          now: Date.now(),
          attempt: 1,
          doubts: 0,
          enqueuedAt: Date.now(),
          logger: silentLogger,
          signal: new AbortController().signal,
          claim: async () => true,
          // A file that has grown since the submit was prepared.
          transfers: {
            openFile: async () => ({ size: size * 2, close: async () => undefined }),
          } as unknown as Transfers,
          ...given,
          input: operation.input.parse(given.input),
          snapshot,
          http: {
            request: async (request: HttpRequest<unknown>) => {
              requests.push(request);
              throw new Error('seen');
            },
          },
        } as unknown as StepContext<unknown, unknown>;
        await expect(operation.submit(context)).rejects.toThrow('seen');
        const [request] = requests;
        // A look-up before the create would take time of its own: that is what `preflight` is for.
        expect(request?.method, call.step).not.toBe('GET');
        const allowedMs = operation.submitTimeoutMs ?? requestTimeoutMs;
        const landsWithinMs = defaultReconcile.inFlightMs * (allowedMs / requestTimeoutMs);
        const waitedMs = Math.max(landsWithinMs, operation.inFlightMs?.(snapshot) ?? 0);
        expect(sendWithinMs + (request?.timeoutMs ?? allowedMs)).toBeLessThanOrEqual(waitedMs);
      }
    }
  });
});
