import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import {
  conformanceCases,
  scriptedVendor,
  type ConformanceDouble,
  type ConformanceOptions,
} from '../../src/conformance/index.ts';
import { LinkExpiredError, StepFailedError } from '../../src/core/errors.ts';
import type { ConfirmReply, StepContext } from '../../src/ports/vendor-adapter.ts';
import { defineVendor, statusWords } from '../../src/vendors/define-vendor.ts';
import { redisUrl } from '../helpers/redis.ts';

/** A vendor of one's own that takes files and gives files back, well made or with one slip. */

type Slip = 'keeps its upload link' | 'gives up on its result' | 'takes any bytes';

const order = z.object({ id: z.string(), state: z.string(), upload: z.string(), result: z.string() });
const toStatus = statusWords({ printed: 'succeeded', jammed: 'failed' });
const file = z.strictObject({ file: z.string().describe('What to print, below the files folder.') });
const account = z.strictObject({ apiKey: z.string().min(1), baseUrl: z.url().default('https://press.example') });
type Context = StepContext<z.output<typeof account>, z.output<typeof file>>;

function press(slip?: Slip) {
  const read = async ({ http, jobs }: Context) =>
    (await http.request({ method: 'GET', path: `v1/orders/${jobs[0]?.id}`, reply: order })).body;
  const send = async (context: Context, url: string) => {
    const link = { url, headers: {}, vendorUrl: context.account.baseUrl };
    await context.transfers.upload(link, context.input.file, context.signal);
    return [];
  };
  const fetchResult = async (context: Context): Promise<ConfirmReply> => {
    const { result: url } = await read(context);
    const { submissionId, accountName } = context;
    const of = { vendor: 'press', account: accountName, submissionId, fileName: 'print.pdf', sha256: undefined };
    const startsWith = slip === 'takes any bytes' ? {} : { startsWith: '%PDF' };
    const { path: result } = await context.transfers.download({ url, ...of, ...startsWith }, context.signal);
    return { kind: 'confirmed', jobs: context.jobs.map((job) => ({ ...job, result: { path: result } })) };
  };
  return defineVendor({
    name: 'press',
    summary: 'Prints files.',
    account,
    lookups: {
      order: {
        async look([job], { http }) {
          const { body } = await http.request({ method: 'GET', path: `v1/orders/${job?.id}`, reply: order });
          return new Map([[body.id, { status: toStatus(body.state), vendorStatus: body.state }]]);
        },
      },
    },
    operations: {
      print: {
        summary: 'Prints a file.',
        input: file,
        resend: 'none',
        async submit({ http }) {
          const { body } = await http.request({ method: 'POST', path: 'v1/orders', reply: order });
          return { jobs: [{ id: body.id, kind: 'order', extra: { upload: body.upload } }] };
        },
        async prepare(context) {
          const [job] = context.jobs;
          return send(context, job?.extra?.['upload'] as string).catch(async (error: unknown) => {
            if (!(error instanceof StepFailedError) || slip === 'keeps its upload link') throw error;
            return send(context, (await read(context)).upload);
          });
        },
        confirm: async (context) =>
          fetchResult(context).catch((error: unknown) => {
            if (!(error instanceof LinkExpiredError)) throw error;
            if (slip === 'gives up on its result') throw new StepFailedError('result_unavailable', error.message);
            return { kind: 'not-yet', reason: error.message };
          }),
      },
    },
  });
}

/** Orders that wait for their file and are printed with it; each look gives fresh links. */
async function pressDouble(): Promise<ConformanceDouble> {
  const orders = new Map<string, { id: string; bytes: string | undefined }>();
  let links = 0;
  const show = ({ id, bytes }: { id: string; bytes: string | undefined }) => {
    links += 1;
    const link = (what: string) => `${double.baseUrl}/storage/${what}/${id}/${links}`;
    return { id, state: bytes === undefined ? 'waiting' : 'printed', upload: link('in'), result: link('out') };
  };
  const double: ConformanceDouble = await scriptedVendor({
    statuses: { route: 'GET /v1/orders/*', id: 'id', word: 'state' },
    routes: {
      'POST /v1/orders': () => {
        const made = { id: `order_${orders.size + 1}`, bytes: undefined };
        orders.set(made.id, made);
        return { status: 201, json: show(made) };
      },
      'GET /v1/orders/*': ({ params: [id = ''] }) => {
        const found = orders.get(id);
        return found && { json: show(found) };
      },
      'PUT /storage/in/*/*': ({ params: [id = ''], text }) => {
        orders.set(id, { id, bytes: text });
        return { status: 200 };
      },
      'GET /storage/out/*/*': ({ params: [id = ''] }) => {
        return { body: `%PDF ${orders.get(id)?.bytes}`, headers: { 'content-type': 'application/pdf' } };
      },
    },
  });
  return double;
}

const cases: Pick<ConformanceOptions, 'operations' | 'lookups' | 'double'> = {
  double: pressDouble,
  operations: {
    print: {
      async input({ filesDir, n }) {
        await writeFile(path.join(filesDir, `${n}.txt`), `page ${n}`);
        return { file: `${n}.txt` };
      },
      submit: 'POST /v1/orders',
      upload: 'PUT /storage/in/*/*',
      result: 'GET /storage/out/*/*',
    },
  },
  lookups: { order: { via: 'print', route: 'GET /v1/orders/*', ends: { printed: 'succeeded', jammed: 'failed' } } },
};

async function runCase(name: string, slip?: Slip): Promise<void> {
  const found = conformanceCases({ adapter: press(slip), redisUrl, ...cases }).find((one) => one.name === name);
  if (found === undefined) throw new Error(`there is no case ${name}`);
  await found.run();
}

const names = {
  upload: 'takes a fresh link where that of the upload is dead',
  late: 'waits for a result that the storage shows late',
  dead: 'takes a fresh link where that of the result is dead',
  page: 'takes no page for the file of the result',
};

describe('the cases of files', { concurrent: true, timeout: 60_000 }, () => {
  it.each(Object.values(names))('hold for an adapter that is well made: %s', async (name) => {
    await runCase(name);
  });

  it.each<[string, Slip, string | RegExp]>([
    [names.upload, 'keeps its upload link', /ended as failed.*expected succeeded/],
    [names.late, 'gives up on its result', /ended as failed.*expected succeeded/],
    [names.dead, 'gives up on its result', /ended as failed.*expected succeeded/],
    [names.page, 'takes any bytes', /the page stands in for the file/],
  ])('find one that does not: %s', async (name, slip, said) => {
    await expect(runCase(name, slip)).rejects.toThrow(said);
  });
});
