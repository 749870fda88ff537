import { randomUUID } from 'node:crypto';
import { describe, it } from 'vitest';
import { conformance } from '../../src/conformance/index.ts';
import { fini } from '../../src/vendors/fini/adapter.ts';
import { redisUrl } from '../helpers/redis.ts';
import { sandboxDouble, type SandboxDouble } from './vendor-adapter.contract.ts';

const ingest = 'POST /v2/documents/public';
const refresh = 'POST /v2/documents/public/refresh';
const list = 'GET /v2/documents/public';
const record = 'GET /v2/documents/public/*';
const generate = 'POST /v2/knowledge/public';
const bulk = 'POST /v2/knowledge/public/bulk';
const status = 'POST /v2/knowledge/public/jobs/status';

/** Status words of records that say less than the whole end. */
const withoutSuccess = 'COMPLETED without success';
const withError = 'COMPLETED with an error text';

function play(): Promise<SandboxDouble> {
  return sandboxDouble({
    vendor: 'fini',
    routes: {
      [ingest]: 'ingest',
      [refresh]: 'refresh',
      [list]: 'list',
      [record]: 'record',
      [generate]: 'generate',
      [bulk]: 'bulk',
      [status]: 'status',
    },
    own(fault, { argument, job, route }, sandbox) {
      // A page goes by its address until its record is known.
      const jobId = route === list && job !== undefined ? sandbox.jobs({ source: job }).jobs[0]?.id : job;
      const only = jobId === undefined ? {} : { jobId };
      const at = { route: route === status ? 'status' : route === list ? 'list' : 'record' };
      if (fault === 'empty' && route === record) return { fault: 'foreign-json', route: 'record' };
      if (fault === 'gone' && route === list) return { fault: 'rows-empty', route: 'list', skip: 1 };
      if (fault === 'gone') return { fault: 'gone-after', argument: 0 };
      if (fault === 'poison') return { fault: 'poison-id', ...only };
      if (fault === 'unknown-status') return { fault: 'unknown-job-status', argument: 'ARCHIVING' };
      const word = route === status ? 'jobStatus' : 'status';
      if (fault === 'odd-word') return { fault: 'field-is', argument: `${word}=null`, ...at };
      if (fault === 'other-case') return { fault: 'field-case', argument: word, ...at };
      if (fault === 'empty-error') return { fault: 'field-is', argument: 'error={}', ...at };
      if (fault === 'text-error') return { fault: 'field-is', argument: `error="${argument}"`, ...at };
      if (fault !== 'ends-as') return undefined;
      if (argument === withoutSuccess) return { fault: 'completed-without-success', argument: 'no-success' };
      if (argument === withError) return { fault: 'completed-without-success', argument: 'error-text' };
      if (argument !== 'FAILED') return 'nothing-to-do';
      return route === status
        ? { fault: 'job-fails', argument: 'FAILED', ...only }
        : { fault: 'record-fails', ...only };
    },
  });
}

async function seed(double: SandboxDouble, fields: object = {}): Promise<string> {
  const { records } = await double.control<{ records: [{ id: string }] }>('/_control/fini/records', fields);
  return records[0].id;
}

const page = (): object => ({ source: 'web', documentIdsToAdd: [`https://example.com/${randomUUID()}`] });
const endsOfRecord = {
  COMPLETED: 'succeeded',
  FAILED: 'failed',
  [withoutSuccess]: 'failed',
  [withError]: 'failed',
} as const;

const takenByThen = 'the refresh was taken by then: its documents end as failed, and nothing is rejected';
const ownRecord = 'pages share a record only by their address; the tests of Fini have them';

conformance(
  {
    adapter: fini,
    redisUrl,
    env: ({ baseUrl }) => ({ FINI_API_KEY: 'fini_test', FINI_BASE_URL: baseUrl }),
    double: play,
    operations: {
      'documents.ingest': [
        { title: 'web', input: page, submit: ingest },
        {
          title: 'web, and the answer names no record',
          input({ double }) {
            double.sandbox.faults.arm({ fault: 'fewer-ids', argument: 1, times: 'always' });
            return page();
          },
          submit: ingest,
        },
        {
          title: 'provider records',
          input: async ({ double }) => {
            const id = await seed(double, { source: 'notion', status: null });
            return { source: 'notion', documentIdsToAdd: [id] };
          },
          submit: ingest,
        },
      ],
      'documents.refresh': {
        input: async ({ double }) => ({ documentIds: [await seed(double)] }),
        submit: refresh,
      },
      'knowledge.generate': {
        input: ({ n }) => ({ origin: 'generated', candidateKnowledge: `Fact ${n}` }),
        submit: generate,
        made: ({ sandbox }) => sandbox.jobs().total,
      },
      'knowledge.bulkGenerate': {
        input: async ({ double }) => ({ documentIds: [await seed(double), await seed(double)] }),
        submit: bulk,
      },
      'knowledge.refreshChanged': [
        {
          title: 'nothing changed',
          input: async ({ double }) => ({ documentIds: [await seed(double, { isLinked: true })] }),
          submit: refresh,
        },
        {
          title: 'the second stage',
          async input({ double }) {
            double.sandbox.faults.arm({ fault: 'content-changed', times: 'always' });
            return { documentIds: [await seed(double, { isLinked: true })] };
          },
          submit: bulk,
          afterDoubt: { outcome: 'unconfirmed', submits: 1, because: 'the vendor has no list of generation jobs' },
          notApplicable: {
            'bad-request': takenByThen,
            'odd-errors': takenByThen,
            'hostile-error': takenByThen,
          },
        },
      ],
      watch: [
        {
          title: 'jobs',
          async input({ double }) {
            const { jobs } = await double.control<{ jobs: [{ id: string }] }>('/_control/fini/jobs', {});
            return { jobIds: [jobs[0].id] };
          },
        },
        {
          title: 'documents',
          input: async ({ double }) => ({ documentIds: [await seed(double, { status: 'PENDING' })] }),
        },
      ],
    },
    lookups: {
      // A 400 of one id means, as documented, that it is not one: it is missing.
      document: {
        via: 'documents.ingest',
        title: 'web',
        route: record,
        ends: endsOfRecord,
        refused: 'lost',
        notApplicable: { 'shared-job': ownRecord },
      },
      address: {
        via: 'documents.ingest',
        title: 'web, and the answer names no record',
        route: list,
        ends: endsOfRecord,
        notApplicable: {
          'shared-job': ownRecord,
          'text-error': 'the reason is read from the record',
          poison: 'it reads the list of records, which asks for none by name',
          refused: 'it reads the list of records, which asks for none by name',
          'unavailable-for-long': 'the list is read before the submit as well, which waits as long as is asked',
        },
      },
      job: {
        via: 'knowledge.generate',
        route: status,
        ends: { COMPLETED: 'succeeded', FAILED: 'failed' },
        refused: 'lost',
        notApplicable: {
          'shared-job': 'every generation has a job of its own',
          'empty-error': 'a status row has no field for a reason',
          'text-error': 'a status row has no field for a reason',
        },
      },
    },
  },
  { describe, it },
);
