import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { silentLogger } from '../../src/ports/logger.ts';
import type { ReconcileReply } from '../../src/ports/vendor-adapter.ts';
import { HttpClient } from '../../src/vendors/http/client.ts';
import { knowhere } from '../../src/vendors/knowhere/adapter.ts';

let server: Server | undefined;
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
});

interface Page {
  ids: string[];
  total?: number;
  total_pages?: number;
}

/**
 * Looks for the label `mine` in a job list that answers these pages.
 * @param again - what its first page is when it is asked for a second time.
 */
async function look(pages: Page[], again = pages[0]): Promise<ReconcileReply> {
  let asked = 0;
  server = createServer((request, response) => {
    const page = Number(new URL(request.url ?? '', 'http://x').searchParams.get('page'));
    asked += 1;
    const { ids = [], ...rest } = (page === 1 && asked > 1 ? again : pages[page - 1]) ?? {};
    const jobs = ids.map((id) => ({ job_id: id, status: 'running', data_id: id === 'wanted' ? 'mine' : id }));
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ jobs, page, ...rest }));
  });
  await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve));
  const account = { apiKey: 'sk_x', baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
  const context = {
    submissionId: 's',
    account,
    accountName: 'default',
    input: { sourceType: 'url' as const, sourceUrl: 'https://example.com/a.pdf', download: false },
    snapshot: { dataId: 'mine' },
    http: new HttpClient(knowhere, account),
    logger: silentLogger,
    claim: () => Promise.resolve(true),
  };
  return knowhere.operations.parse.reconcile!(context as never, { attempt: 1, at: Date.now(), fingerprint: '' });
}

const full = (name: string): string[] => Array.from({ length: 100 }, (_, index) => `${name}-${index}`);

describe('a lost create in the job list', () => {
  it('is found on any page', async () => {
    const found = await look([
      { ids: full('a'), total_pages: 2 },
      { ids: ['x', 'wanted'], total_pages: 2 },
    ]);
    expect(found).toMatchObject({ found: { jobs: [{ id: 'wanted' }] } });
  });

  it('is found although the vendor gives smaller pages than asked for', async () => {
    const small = (name: string): string[] => full(name).slice(0, 20);
    const pages = [
      { ids: small('a'), total_pages: 3 },
      { ids: small('b'), total_pages: 3 },
      { ids: ['wanted'], total_pages: 3 },
    ];
    expect(await look(pages)).toMatchObject({ found: { jobs: [{ id: 'wanted' }] } });
  });

  it('is absent only when every page was read', async () => {
    expect(await look([{ ids: [], total_pages: 0 }])).toEqual({ found: 'absent' });
    expect(await look([{ ids: ['x'] }])).toEqual({ found: 'absent' });
    expect(await look([{ ids: full('a') }, { ids: full('b') }, { ids: ['x'] }])).toEqual({ found: 'absent' });
    const many = Array.from({ length: 30 }, (_, page) => ({ ids: full(`p${page}`), total_pages: 30 }));
    expect(await look(many)).toEqual({ found: 'absent' });
  });

  it.each([
    [
      'an empty page before the last',
      [
        { ids: [], total_pages: 2 },
        { ids: ['x'], total_pages: 2 },
      ],
    ],
    [
      'a short page before the last',
      [
        { ids: full('a'), total_pages: 3 },
        { ids: ['x'], total_pages: 3 },
        { ids: ['y'], total_pages: 3 },
      ],
    ],
    [
      'an empty last page',
      [
        { ids: full('a'), total_pages: 2 },
        { ids: [], total_pages: 2 },
      ],
    ],
    [
      'a last page that knows of none before it',
      [
        { ids: full('a'), total: 120, total_pages: 2 },
        { ids: [], total: 0, total_pages: 0 },
      ],
    ],
    ['fewer rows than it says', [{ ids: ['x'], total: 3, total_pages: 1 }]],
    ['an empty list that is not empty when asked again', [{ ids: [], total: 0, total_pages: 0 }], { ids: ['x'] }],
  ])('proves nothing with %s', async (_name, pages: Page[], again?: Page) => {
    await expect(look(pages, again)).rejects.toMatchObject({ name: 'VendorContractError' });
  });
});
