import { createHash } from 'node:crypto';
import { hostname } from 'node:os';
import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { closedPort } from '../helpers/knowhere.ts';
import { parseStrictly } from '../helpers/parse-strictly.ts';
import { ScriptedVendor } from '../helpers/scripted-vendor.ts';
import { ensureCli, Stage, until } from './support.ts';

let stage: Stage;
let vendor: ScriptedVendor;
beforeAll(() => ensureCli(), 150_000);
beforeEach(async () => {
  stage = new Stage();
  vendor = await ScriptedVendor.start();
});
afterEach(async () => {
  await stage.close();
  await vendor.close();
});

it('a held account is on the board’s /readyz, with where the hold comes from and without the key', async () => {
  const apiKey = 'sk_the-key-of-this-test';
  vendor.on('POST /v1/jobs', { status: 401, json: { error: { code: 'UNAUTHENTICATED', message: 'bad key' } } });
  const port = await closedPort();
  const env = { ...stage.env, KNOWHERE_API_KEY: apiKey, KNOWHERE_BASE_URL: vendor.url, PORT: String(port) };
  const worker = await stage.worker(env);
  const board = stage.cli(['board'], env);
  await board.says(/board on/);
  const readyz = async (): Promise<{ text: string; accounts: { account: string; held?: object[] }[] }> => {
    const text = await (await fetch(`http://127.0.0.1:${port}/readyz`)).text();
    return { text, ...(JSON.parse(text) as { accounts: { account: string }[] }) };
  };
  expect((await readyz()).accounts).toEqual([]);

  const input = { sourceType: 'url', sourceUrl: 'https://example.com/a.pdf' };
  await stage.queue('knowhere.submit').add('parse', { input }, { jobId: 'refused' });
  const { text, accounts } = await until(async () => {
    const answer = await readyz();
    return answer.accounts.length === 0 ? undefined : answer;
  });
  const iso = expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/) as string;
  expect(accounts).toEqual([
    {
      account: 'knowhere/default',
      held: [
        {
          reason: 'unauthorized',
          message: expect.any(String) as string,
          since: iso,
          nextProbeAt: iso,
          origin: {
            worker: `${hostname()}/${worker.pid}`,
            request: 'POST /v1/jobs',
            host: new URL(vendor.url).host,
            key: createHash('sha256').update(apiKey).digest('hex').slice(0, 8),
            submission: 'refused',
            at: iso,
          },
        },
      ],
    },
  ]);
  await until(() => worker.stdout.includes('account held'));
  for (const line of worker.stdout.trimEnd().split('\n').slice(0, -1)) parseStrictly(line);
  for (const told of [text, worker.stdout, board.stdout]) expect(told).not.toContain(apiKey);
});
