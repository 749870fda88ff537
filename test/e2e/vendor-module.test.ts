import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { ensureCli, projectDir, Stage } from './support.ts';

vi.mock('jobferry/conformance', () => import('../../src/conformance/index.ts'));
const { acmeCases } = await import('../../examples/own-vendor/acme-double.ts');

const acmeModule = path.join('examples', 'own-vendor', 'acme.ts');
const poll = { initialDelayMs: 60, factor: 1.5, maxDelayMs: 250, deadlineMs: 20_000 };

let stage: Stage;
beforeAll(() => ensureCli(), 150_000);
beforeEach(() => {
  stage = new Stage();
});
afterEach(() => stage.close());

/** Writes a module into a folder that has no packages of its own. */
function moduleFile(name: string, text: string): string {
  const file = path.join(stage.folder, 'vendors', name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, text);
  return file;
}

/** A vendor whose submit throws an error class of the library, as a module outside the checkout sees it. */
function throwing(name: string, error: string): string {
  return `
    import { defineVendor, VendorRejectedError, VendorUnavailableError } from 'jobferry';
    import * as z from 'zod';
    interface Typed { only: 'TypeScript' }
    const account = z.strictObject({ apiKey: z.string(), baseUrl: z.string().default('http://127.0.0.1:9') });
    const go = {
      summary: 'Goes nowhere.',
      input: z.strictObject({}),
      resend: 'none' as const,
      async submit(): Promise<never> { throw ${error}; },
    };
    const typed: Typed = { only: 'TypeScript' };
    export default defineVendor({ name: '${name}', summary: typed.only, account, lookups: {}, operations: { go } });
  `;
}

describe('jobferry worker --vendor-module', () => {
  it('works for a vendor of one TypeScript file', async () => {
    const double = await acmeCases.double();
    try {
      const env = { ...stage.env, ACME_API_KEY: 'k', ACME_BASE_URL: double.baseUrl };
      const worker = await stage.worker(env, ['--vendor-module', acmeModule]);
      expect(worker.stdout).toContain('working for acme');
      await stage.consume();
      await stage.queue('acme.submit').add('render', { input: { script: 'dawn' }, poll }, { jobId: 'film-1' });
      const event = await stage.event('film-1');
      expect(event.data).toMatchObject({
        outcome: 'succeeded',
        vendorJobs: [{ id: 'film_1', status: 'done', result: { url: 'https://films.example/film_1' } }],
      });
      await stage.queue('acme.submit').add('publish', { input: { renderId: 'film_1' }, poll }, { jobId: 'public-1' });
      expect((await stage.event('public-1')).data.outcome).toBe('succeeded');
    } finally {
      await double.close();
    }
  });

  it('takes the errors of a module that stands elsewhere for what they are, and several modules', async () => {
    const rejecting = moduleFile('rejecting.ts', throwing('rejecting', "new VendorRejectedError('not you')"));
    const doubtful = moduleFile(
      'doubtful.mts',
      throwing('doubtful', "new VendorUnavailableError('hm', { taken: 'maybe' })"),
    );
    const env = { ...stage.env, REJECTING_API_KEY: 'k', DOUBTFUL_API_KEY: 'k' };
    await stage.worker(env, ['--vendor-module', rejecting, '--vendor-module', doubtful]);
    await stage.consume();
    await stage.queue('rejecting.submit').add('go', { input: {} }, { jobId: 'r-1' });
    await stage.queue('doubtful.submit').add('go', { input: {} }, { jobId: 'd-1' });
    expect((await stage.event('r-1')).data).toMatchObject({ outcome: 'rejected', error: { code: 'vendor_rejected' } });
    expect((await stage.event('d-1')).data).toMatchObject({ outcome: 'unconfirmed' });
  });

  it.each([
    ['is missing', 'missing.ts', undefined, 'there is no such file'],
    ['throws', 'throws.ts', "throw new Error('no\\nway');", 'cannot be loaded: no'],
    ['is no code', 'broken.ts', 'const = ;', 'cannot be loaded: '],
    [
      'imports what is not there',
      'lonely.ts',
      "import 'no-such-package';",
      "cannot be loaded: Cannot find module 'no-such-package'",
    ],
    [
      'exports no vendor',
      'empty.ts',
      'export const vendor = { name: "x" };',
      'exports no vendor; export what defineVendor returns',
    ],
    ['contradicts itself', 'bad.ts', throwing('Not-A-Name', 'null'), 'the name must match'],
    [
      'takes a name that is taken',
      'taken.ts',
      throwing('knowhere', 'null'),
      'the name "knowhere" is taken by another vendor',
    ],
  ])('ends with 78 and one line when a module %s', async (_what, name, text, message) => {
    const file = text === undefined ? path.join(stage.folder, name) : moduleFile(name, text);
    const { code, stderr } = await stage.run(['worker', '--vendor-module', file]);
    expect(stderr).toContain(`--vendor-module ${file}: `);
    expect(stderr).toContain(message);
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(code).toBe(78);
  });
});

describe('other commands with --vendor-module', () => {
  it('vendors lists it, and prints an operation’s JSON Schema', async () => {
    const { stdout, code } = await stage.run(['vendors', 'acme', '--vendor-module', acmeModule]);
    expect(code).toBe(0);
    expect(stdout).toContain('acme.render');
    expect(stdout).toContain('ACME_API_KEY');
    const schema = await stage.run(['vendors', 'acme.render', '--json', '--vendor-module', acmeModule]);
    expect(JSON.parse(schema.stdout)).toMatchObject({ required: ['script'], additionalProperties: false });
  });

  it('submit checks the input and enqueues; status and cancel know the vendor', async () => {
    const args = ['submit', 'acme.render', '--vendor-module', acmeModule, '--input', '-', '--id', 'film-2'];
    expect((await stage.run(args, { input: '{}' })).stderr).toContain('input.script');
    expect((await stage.run(args, { input: '{"script":"dusk"}' })).code).toBe(0);
    const job = await stage.queue('acme.submit').getJob('film-2');
    expect(job?.data).toMatchObject({ input: { script: 'dusk' } });
    const status = await stage.run(['status', 'acme', 'film-2', '--json', '--vendor-module', acmeModule]);
    expect(JSON.parse(status.stdout)).toMatchObject({ submissionId: 'film-2', vendor: 'acme' });
    const { code } = await stage.run(['cancel', 'acme', 'film-2', '--vendor-module', acmeModule]);
    expect(code).toBe(0);
  });

  it('without it, the vendor is unknown', async () => {
    const { code, stderr } = await stage.run(['vendors', 'acme']);
    expect(stderr).toContain('is no vendor');
    expect(code).toBe(64);
  });
});

describe('the example’s own conformance test', () => {
  it('passes under node:test', async () => {
    const file = path.join(projectDir, 'examples', 'own-vendor', 'acme.conformance.test.ts');
    const run = stage.node(['--import', 'tsx', '--test', '--test-reporter', 'tap', file], stage.env);
    const { code, stdout } = await run.ended(100_000);
    expect(stdout).toContain('# fail 0');
    expect(Number(/# pass (\d+)/.exec(stdout)?.[1])).toBeGreaterThan(30);
    expect(code).toBe(0);
  }, 110_000);
});
