import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { describe, expect, it, vi } from 'vitest';
import { ConfigError, createProducer, startWorkers, type CompletionEvent } from '../../src/index.ts';
import { silentLogger, type Logger } from '../../src/ports/logger.ts';
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

  it('leaves no connection behind where it cannot start', async () => {
    const server = createServer((socket) => void open.add(socket.on('close', () => open.delete(socket))));
    const open = new Set<Socket>();
    const { hostname, port } = new URL(redisUrl());
    server.on('connection', (socket) => {
      const upstream = connect(Number(port), hostname);
      socket.on('error', () => upstream.destroy());
      upstream.on('error', () => socket.destroy());
      socket.pipe(upstream).pipe(socket);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const broken = { ...acme, lookups: { job: undefined as never } };
      const started = startWorkers({
        redisUrl: `redis://127.0.0.1:${(server.address() as AddressInfo).port}`,
        vendors: [broken],
        env: { ACME_API_KEY: 'k', JOBFERRY_PREFIX: freshPrefix() },
      });
      await expect(started).rejects.toThrow(TypeError);
      await until(() => open.size === 0);
    } finally {
      for (const socket of open) socket.destroy();
      server.close();
    }
  });

  it.each([
    [
      'throws',
      () => {
        throw new Error('no size for this account');
      },
    ],
    ['is no number', () => Number.NaN],
  ])('works, with one vendor job a request, where maxBatch %s', async (_what, maxBatch) => {
    const double = await acmeCases.double();
    const prefix = freshPrefix();
    const events: CompletionEvent[] = [];
    const lookups = Object.fromEntries(
      Object.entries(acme.lookups).map(([kind, lookup]) => [kind, { ...lookup, maxBatch }]),
    );
    const errors: unknown[] = [];
    const logger: Logger = { ...silentLogger, error: (details) => errors.push(details), child: () => logger };
    const workers = await startWorkers({
      redisUrl: redisUrl(),
      vendors: [{ ...acme, lookups }],
      env: { ACME_API_KEY: 'k', ACME_BASE_URL: double.baseUrl, JOBFERRY_PREFIX: prefix },
      logger,
      onEvent: (event) => events.push(event),
    });
    const producer = createProducer({ vendors: { acme }, redisUrl: redisUrl(), prefix });
    try {
      expect(errors).toEqual([{ lookup: expect.any(String), fault: expect.any(String) }]);
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
