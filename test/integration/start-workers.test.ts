import { describe, expect, it, vi } from 'vitest';
import { ConfigError, createProducer, startWorkers, type CompletionEvent } from '../../src/index.ts';
import { until } from '../helpers/harness.ts';
import { freshPrefix, redisUrl } from '../helpers/redis.ts';

vi.mock('jobferry', () => import('../../src/index.ts'));
vi.mock('jobferry/conformance', () => import('../../src/conformance/index.ts'));
const { acme } = await import('../../examples/own-vendor/acme.ts');
const { acmeCases } = await import('../../examples/own-vendor/acme-double.ts');

describe('startWorkers', () => {
  it('works for a vendor of the caller’s own, beside a producer that knows its types', async () => {
    const double = await acmeCases.double();
    const prefix = freshPrefix();
    const events: CompletionEvent[] = [];
    const workers = await startWorkers({
      redisUrl: redisUrl(),
      vendors: [acme],
      env: { ACME_API_KEY: 'k', ACME_BASE_URL: double.baseUrl, JOBFERRY_PREFIX: prefix },
      onEvent: (event) => events.push(event),
    });
    const producer = createProducer({ vendors: { acme }, redisUrl: redisUrl(), prefix });
    try {
      expect(workers.queues).toEqual(['acme.submit', 'acme.poll']);
      const poll = { initialDelayMs: 60, maxDelayMs: 250 };
      const { submissionId } = await producer.submit('acme', 'render', { input: { script: 'noon' }, poll });
      const event = await until(() => events.find((one) => one.subject === submissionId));
      expect(event.data.outcome).toBe('succeeded');
    } finally {
      await producer.close();
      await workers.close();
      await double.close();
    }
  });

  it('refuses to start without Redis or without credentials, and says what to set', async () => {
    await expect(startWorkers({ vendors: [acme], env: { ACME_API_KEY: 'k' } })).rejects.toThrow('REDIS_URL');
    const without = startWorkers({ vendors: [acme], redisUrl: redisUrl(), env: {} });
    await expect(without).rejects.toThrow(ConfigError);
    await expect(without).rejects.toThrow('ACME_API_KEY');
  });
});
