import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { JobferryError, VendorThrottledError, VendorUnavailableError } from '../../src/core/errors.ts';
import { terminalStatuses, vendorJobStatuses } from '../../src/core/submission.ts';
import { silentLogger } from '../../src/ports/logger.ts';
import type { LimitReport, LookupJob, VendorAdapter } from '../../src/ports/vendor-adapter.ts';
import { catalogue } from '../../src/vendors/catalogue.ts';
import { HttpClient } from '../../src/vendors/http.ts';
import { mutate, seeded, type Reply } from '../helpers/fuzz.ts';

/** Replies per kind of look-up; `FUZZ_REPLIES=100000` for the long form. */
const replies = Number(process.env['FUZZ_REPLIES'] ?? 6_000);
const seed = Number(process.env['FUZZ_SEED'] ?? 20_261_122);

const uuid = '3f1c2d4e-5a6b-4c7d-8e9f-0a1b2c3d4e5f';
const other = '11111111-2222-4333-8444-555555555555';
const when = '2026-11-22T10:00:00.000Z';

interface Attack {
  name: string;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- adapters of three accounts stand in one list
  adapter: VendorAdapter<any>;
  account: Record<string, string>;
  lookup: string;
  job: LookupJob;
  bodies: unknown[];
  /** What the vendor really said, read by other means: may this reply be called a success? */
  isSuccess: (body: unknown) => boolean;
}

const own = (value: unknown, key: string): unknown =>
  typeof value === 'object' && value !== null && Object.hasOwn(value, key)
    ? (value as Record<string, unknown>)[key]
    : undefined;
const rows = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);

const attacks: Attack[] = [
  {
    name: 'knowhere, Get Job',
    adapter: catalogue.knowhere,
    account: { apiKey: 'sk_x' },
    lookup: 'job',
    job: { id: 'job_1', extra: undefined },
    bodies: ['waiting-file', 'pending', 'converting', 'running', 'done', 'failed'].map((status) => ({
      job_id: 'job_1',
      status,
      source_type: 'url',
      data_id: null,
      created_at: when,
      completed_at: when,
      progress: { total_pages: 10, processed_pages: 5 },
      error: status === 'failed' ? { code: 'X', message: 'y', details: { a: 1 } } : null,
      result: { checksum: 'a'.repeat(64) },
      result_url: 'https://example.com/r.zip?X-Amz-Signature=abc',
      result_url_expires_at: when,
      result_checksum: { algorithm: 'sha256', value: 'b'.repeat(64) },
    })),
    isSuccess: (body) => own(body, 'job_id') === 'job_1' && own(body, 'status') === 'done',
  },
  {
    name: 'fini, Check knowledge jobs',
    adapter: catalogue.fini,
    account: { apiKey: 'fini_x' },
    lookup: 'job',
    job: { id: uuid, extra: undefined },
    bodies: ['PENDING', 'IN_PROGRESS', 'COMPLETED', 'FAILED', 'ODD'].map((jobStatus) => ({
      jobs: [
        { id: other, jobStatus: 'COMPLETED', hcArticleId: null },
        { id: uuid, jobStatus, createdAt: when, startedAt: when, completedAt: when, hcArticleId: other },
      ],
    })),
    isSuccess: (body) =>
      rows(own(body, 'jobs')).some(
        (row) => String(own(row, 'id')).toLowerCase() === uuid && own(row, 'jobStatus') === 'COMPLETED',
      ),
  },
  {
    name: 'fini, record by id',
    adapter: catalogue.fini,
    account: { apiKey: 'fini_x' },
    lookup: 'document',
    job: { id: uuid, extra: { watched: true } },
    bodies: ['PENDING', 'IN_PROGRESS', 'COMPLETED', 'FAILED'].map((linkedJobStatus) => ({
      id: uuid,
      originalUrl: 'https://example.com/a',
      success: true,
      error: '',
      updatedAt: when,
      linkedJobId: other,
      linkedJobStatus,
      linkedKnowledgeId: other,
      changed: false,
    })),
    isSuccess: (body) =>
      String(own(body, 'id')).toLowerCase() === uuid &&
      own(body, 'linkedJobStatus') === 'COMPLETED' &&
      own(body, 'success') === true,
  },
  {
    name: 'sharely, background-jobs',
    adapter: catalogue.sharely,
    account: { accessToken: 'x.y.z', organizationId: other, workspaceId: other },
    lookup: 'workflow',
    job: { id: uuid, extra: undefined },
    bodies: [1, 2, 3, 4, 5, 6, 7].map((code) => [
      { workflowId: other, status: { code: 2, name: 'COMPLETED' }, runId: other },
      {
        workflowId: uuid,
        status: {
          code,
          name: ['', 'RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED', 'TERMINATED', 'CONTINUED_AS_NEW', 'TIMED_OUT'][
            code
          ],
        },
        runId: other,
      },
    ]),
    isSuccess: (body) =>
      rows(body).some(
        (row) =>
          own(row, 'workflowId') === uuid && String(own(own(row, 'status'), 'name')).toUpperCase() === 'COMPLETED',
      ),
  },
];

describe('replies from a broken or hostile vendor', () => {
  let server: Server;
  let url: string;
  let next: Reply;

  beforeAll(async () => {
    server = createServer((request, response) => {
      request.resume();
      response
        .writeHead(next.status, { ...next.headers, 'content-length': String(next.body.length) })
        .end(request.method === 'HEAD' ? undefined : next.body);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });

  it.each(attacks)(
    '$name: a report of our own words or an error of our own classes, and no success that was not said',
    async ({ adapter, account, lookup, job, bodies, isSuccess }) => {
      const random = seeded(seed);
      const limits: LimitReport[] = [];
      const parsed: unknown = adapter.account.parse({ ...account, baseUrl: url });
      const http = new HttpClient(adapter, parsed, { onLimits: (report) => limits.push(report) });
      const context = {
        account: parsed,
        http,
        now: Date.now(),
        logger: silentLogger,
        signal: new AbortController().signal,
      };
      let reports = 0;
      let errors = 0;
      let successes = 0;
      for (let round = 0; round < replies; round += 1) {
        next = mutate(random, bodies[Math.floor(random() * bodies.length)]);
        const where = `seed ${seed}, reply ${round}: ${next.status} ${next.body.toString('utf8').slice(0, 300)}`;
        try {
          const found = await adapter.lookups[lookup]!.look([job], context);
          for (const [id, report] of found) {
            reports += 1;
            expect(id, where).toBe(job.id);
            expect(vendorJobStatuses, where).toContain(report.status);
            if (report.status === 'succeeded') {
              successes += 1;
              expect(
                next.status >= 200 &&
                  next.status < 300 &&
                  isSuccess(JSON.parse(next.body.toString('utf8').replace(/^\ufeff/, ''))),
                where,
              ).toBe(true);
            }
            if (report.pollAfterMs !== undefined)
              expect(report.pollAfterMs >= 0 && report.pollAfterMs <= 86_400_000, where).toBe(true);
            if (report.completedAt !== undefined) expect(Number.isFinite(report.completedAt), where).toBe(true);
            if (report.progress !== undefined) expect(report.progress.done <= report.progress.total, where).toBe(true);
            if (terminalStatuses.has(report.status)) JSON.stringify(report);
          }
        } catch (error) {
          errors += 1;
          expect(error, where).toBeInstanceOf(JobferryError);
          if (error instanceof VendorThrottledError || error instanceof VendorUnavailableError) {
            const wait = error.retryAfterMs ?? 0;
            expect(Number.isFinite(wait) && wait >= 0 && wait <= 86_400_000, where).toBe(true);
          }
          expect((error as JobferryError).message.length, where).toBeLessThan(3_000);
        }
      }
      for (const { remaining, resetMs } of limits) {
        expect(Number.isFinite(remaining) && resetMs >= 0 && resetMs <= 86_400_000).toBe(true);
      }
      expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
      // The attack reaches all of it: none of the three is rare.
      expect(Math.min(reports, errors)).toBeGreaterThan(replies / 20);
      expect(successes).toBeGreaterThan(replies / 200);
    },
    600_000,
  );
});
