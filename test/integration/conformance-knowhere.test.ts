import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, it } from 'vitest';
import { conformance, type ConformanceOptions, type OperationCases } from '../../src/conformance/index.ts';
import { knowhere } from '../../src/vendors/knowhere/adapter.ts';
import { redisUrl } from '../helpers/redis.ts';
import { sandboxDouble, type SandboxDouble } from './vendor-adapter.contract.ts';

type Cases = OperationCases<SandboxDouble>;
const create = 'POST /v1/jobs';
const look = 'GET /v1/jobs/*';
const put = 'PUT /_storage/uploads/*/*';
const get = 'GET /_storage/results/*';

function play(dialect: 'doc' | 'impl'): Promise<SandboxDouble> {
  return sandboxDouble({
    vendor: 'knowhere',
    options: { dialect },
    routes: { [create]: 'create', [look]: 'lookup', [put]: 'upload', [get]: 'result' },
    own(fault, { argument, route }) {
      if (fault === 'empty') return { fault: 'foreign-json', route: 'lookup' };
      if (fault === 'gone') return { fault: 'gone-after', argument: 0 };
      if (fault === 'unknown-status') return { fault: 'unknown-status' };
      if (fault === 'odd-word') return { fault: 'field-is', argument: 'status=null', route: 'lookup' };
      if (fault === 'other-case') return { fault: 'field-case', argument: 'status', route: 'lookup' };
      if (fault === 'empty-error') return { fault: 'field-is', argument: 'error={}', route: 'lookup' };
      if (fault === 'text-error') return { fault: 'field-is', argument: `error="${argument}"`, route: 'lookup' };
      if (fault === 'link-dead') return { fault: route === put ? 'upload-expired' : 'result-expired' };
      if (fault === 'page-for-file') return { fault: 'result-not-zip' };
      if (fault !== 'ends-as') return undefined;
      return argument === 'failed' ? { fault: 'fail' } : 'nothing-to-do';
    },
  });
}

const fromUrl: Cases = {
  title: 'url',
  input: ({ n }) => ({ sourceType: 'url', sourceUrl: `https://example.com/${n}.pdf` }),
  submit: create,
  made: ({ sandbox }) => sandbox.jobs().total,
};
const fromFile: Cases = {
  title: 'file',
  async input({ filesDir, n }) {
    await writeFile(path.join(filesDir, `${n}.md`), `# ${n}`);
    return { sourceType: 'file', file: `${n}.md` };
  },
  submit: create,
  upload: put,
};
const downloaded: Cases = {
  title: 'url, result downloaded and verified',
  input: ({ n }) => ({ sourceType: 'url', sourceUrl: `https://example.com/${n}.pdf`, download: true }),
  submit: create,
  result: get,
};
const watch: Cases = {
  async input({ double, n }) {
    const reply = await fetch(`${double.baseUrl}/v1/jobs`, {
      method: 'POST',
      headers: { authorization: 'Bearer sk_test', 'content-type': 'application/json' },
      body: JSON.stringify({ source_type: 'url', source_url: `https://example.com/watched-${n}.pdf` }),
    });
    return { jobIds: [((await reply.json()) as { job_id: string }).job_id] };
  },
};

const common: Pick<ConformanceOptions<SandboxDouble>, 'adapter' | 'redisUrl' | 'env' | 'lookups'> = {
  adapter: knowhere,
  redisUrl,
  env: ({ baseUrl }) => ({ KNOWHERE_API_KEY: 'sk_test', KNOWHERE_BASE_URL: baseUrl }),
  lookups: {
    job: {
      via: 'parse',
      title: 'url',
      route: look,
      ends: { done: 'succeeded', failed: 'failed' },
      notApplicable: { 'shared-job': 'every create has a job of its own' },
    },
  },
};

describe('the deployed dialect', () => {
  const lostLink = 'the upload link of a lost create is lost with it, and what can never run is made anew';
  conformance(
    {
      ...common,
      double: () => play('impl'),
      operations: {
        parse: [
          fromUrl,
          {
            ...fromFile,
            afterDoubt: { outcome: 'succeeded', submits: 2, because: lostLink },
            notApplicable: { 'upload-link-dead': 'the deployed dialect shows no other link' },
          },
          downloaded,
        ],
        watch,
      },
    },
    { describe, it },
  );
});

describe('the documented dialect', () => {
  const noList = { outcome: 'unconfirmed', submits: 1, because: 'the documentation knows no job list' } as const;
  conformance(
    {
      ...common,
      double: () => play('doc'),
      operations: {
        parse: [
          { ...fromUrl, afterDoubt: noList },
          { ...fromFile, afterDoubt: noList },
          { ...downloaded, afterDoubt: noList },
        ],
        watch,
      },
    },
    { describe, it },
  );
});
