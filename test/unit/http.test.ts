import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import * as z from 'zod';
import {
  AccountHeldError,
  originOf,
  toErrorInfo,
  VendorContractError,
  VendorRejectedError,
  VendorThrottledError,
  VendorUnavailableError,
} from '../../src/core/errors.ts';
import type { LimitReport, VendorHttp } from '../../src/ports/vendor-adapter.ts';
import { defineVendor } from '../../src/vendors/define-vendor.ts';
import { HttpClient, readRetryAfter } from '../../src/vendors/http.ts';

let server: Server | undefined;
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
});

async function listen(handler: RequestListener): Promise<string> {
  server = createServer(handler);
  await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function client(
  baseUrl: string,
  credential?: () => Promise<{ token: string; expiresAt?: number }>,
): HttpClient<{ baseUrl: string }> {
  const adapter = defineVendor({
    name: 'acme',
    summary: '',
    account: z.object({ baseUrl: z.string() }),
    environment: {},
    secrets: [],
    credentials: ['baseUrl'],
    http: {
      baseUrl: (account) => account.baseUrl,
      headers: (_account, held) => ({ authorization: `Bearer ${held?.token ?? 'static'}` }),
      ...(credential === undefined ? {} : { credential }),
    },
    lookups: {},
    operations: {},
  });
  return new HttpClient(adapter, { baseUrl });
}

const reply = z.object({ ok: z.boolean() });
const ask = (http: HttpClient<{ baseUrl: string }>, rest: object = {}): Promise<unknown> =>
  http.request({ method: 'GET', path: 'x', reply, ...rest });
const json =
  (status: number, body: unknown, headers: Record<string, string> = {}): RequestListener =>
  (_request, response) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
  };

describe('one vendor request', () => {
  it.each([
    [400, VendorRejectedError],
    [401, AccountHeldError],
    [402, AccountHeldError],
    [403, AccountHeldError],
    [404, VendorRejectedError],
    [408, VendorUnavailableError],
    [409, VendorRejectedError],
    [422, VendorRejectedError],
    [425, VendorThrottledError],
    [429, VendorThrottledError],
    [500, VendorUnavailableError],
    [503, VendorUnavailableError],
    [302, VendorContractError],
  ])('answered %i is a %o', async (status, type) => {
    const http = client(
      await listen(json(status, { error: { message: 'said so' } }, { location: 'http://127.0.0.1:9/' })),
    );
    await expect(ask(http)).rejects.toBeInstanceOf(type);
  });

  it('that never connected was not taken', async () => {
    const url = await listen(json(200, {}));
    server!.close();
    await expect(ask(client(url))).rejects.toMatchObject({
      taken: 'no',
      message: expect.stringContaining('ECONNREFUSED') as string,
    });
    await expect(ask(client('http://no-such-host.invalid'))).rejects.toMatchObject({ taken: 'no' });
  });

  it('that is cut, or gets no answer, may have been taken', async () => {
    const http = client(await listen((request) => request.socket.destroy()));
    await expect(ask(http)).rejects.toMatchObject({ name: 'VendorUnavailableError', taken: 'maybe' });
    const silent = client(await listen(() => undefined));
    const startedAt = Date.now();
    await expect(ask(silent, { timeoutMs: 300 })).rejects.toMatchObject({
      taken: 'maybe',
      message: expect.stringContaining('300 ms') as string,
    });
    expect(Date.now() - startedAt).toBeLessThan(2_000);
  });

  it('ends in time although the body drips', async () => {
    const http = client(
      await listen((_request, response) => {
        response.writeHead(200, { 'content-type': 'application/json' });
        const timer = setInterval(() => response.write(' '), 50);
        response.on('close', () => clearInterval(timer));
      }),
    );
    const startedAt = Date.now();
    await expect(ask(http, { timeoutMs: 400 })).rejects.toBeInstanceOf(VendorUnavailableError);
    expect(Date.now() - startedAt).toBeLessThan(2_000);
  });

  it('stops reading at its bound, announced, chunked or compressed', async () => {
    const huge = JSON.stringify({ ok: true, text: 'x'.repeat(3_000_000) });
    const plain = client(
      await listen((_request, response) => response.writeHead(200, { 'content-type': 'application/json' }).end(huge)),
    );
    await expect(ask(plain, { maxBytes: 1_000_000 })).rejects.toBeInstanceOf(VendorContractError);
    const bomb = gzipSync(Buffer.alloc(200_000_000, 32));
    const zipped = client(
      await listen((_request, response) =>
        response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' }).end(bomb),
      ),
    );
    const before = process.memoryUsage().rss;
    await expect(ask(zipped, { maxBytes: 1_000_000 })).rejects.toBeInstanceOf(VendorContractError);
    expect(process.memoryUsage().rss - before).toBeLessThan(150_000_000);
  });

  it('takes no credentials to another host: no redirect is followed', async () => {
    const seen: IncomingMessage[] = [];
    const other = createServer((request, response) => {
      seen.push(request);
      response.end();
    });
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const location = `http://127.0.0.1:${(other.address() as AddressInfo).port}/`;
    const http = client(await listen(json(307, {}, { location })));
    await expect(ask(http)).rejects.toBeInstanceOf(VendorContractError);
    expect(seen).toEqual([]);
    other.close();
  });

  it('obtains a credential once for many, renews it once after a 401 and replays each request once', async () => {
    let obtained = 0;
    let asked = 0;
    const http = client(
      await listen((request, response) => {
        asked += 1;
        const isGood = request.headers.authorization === 'Bearer token-2';
        json(isGood ? 200 : 401, { ok: true })(request, response);
      }),
      async () => {
        obtained += 1;
        await new Promise((resolve) => setTimeout(resolve, 50));
        return { token: `token-${obtained}` };
      },
    );
    await Promise.all(Array.from({ length: 30 }, () => ask(http)));
    expect(obtained).toBe(2);
    expect(asked).toBe(60);
  });

  it('gives up after the second 401', async () => {
    let obtained = 0;
    const http = client(await listen(json(401, {})), async () => ({ token: `t${(obtained += 1)}` }));
    await expect(ask(http)).rejects.toMatchObject({ name: 'AccountHeldError', reason: 'unauthorized' });
    expect(obtained).toBe(2);
  });
});

describe('what a refusal says beside its class', () => {
  const adapter = (baseUrl: string, limits: LimitReport[]): HttpClient<{ apiKey: string }> => {
    const vendor = defineVendor({
      name: 'acme',
      summary: '',
      account: z.object({ apiKey: z.string() }),
      environment: {},
      secrets: ['apiKey'],
      credentials: ['apiKey'],
      http: {
        baseUrl: () => baseUrl,
        headers: () => ({}),
        readLimits: ({ headers }) => ({ remaining: Number(headers.get('x-left')), resetMs: 60_000 }),
      },
      lookups: {},
      operations: {},
    });
    return new HttpClient(vendor, { apiKey: 'a-secret-key' }, { onLimits: (report) => limits.push(report) });
  };
  const get = (http: VendorHttp, path = 'x'): Promise<unknown> => http.request({ method: 'GET', path, reply });

  it('is which request, host and key it came of, and no secret', async () => {
    const url = await listen(json(403, { message: 'no' }));
    const error: unknown = await get(adapter(url, []), 'v1/a-secret-key/x').catch((thrown: unknown) => thrown);
    const key = createHash('sha256').update('a-secret-key').digest('hex').slice(0, 8);
    const origin = { request: 'GET /v1/[redacted]/x', host: new URL(url).host, key };
    expect(error).toMatchObject({ name: 'AccountHeldError', origin });
    expect(originOf(new Error('wrapped', { cause: error }))).toEqual(origin);
    expect(toErrorInfo(error)).not.toHaveProperty('origin');
  });

  it('is about the budget of the request that was refused, where a 429 tells of one', async () => {
    const limits: LimitReport[] = [];
    const http = adapter(await listen(json(429, {}, { 'x-left': '0' })), limits);
    await expect(get(http.forScope('submit'))).rejects.toBeInstanceOf(VendorThrottledError);
    await expect(get(http.forScope('status'))).rejects.toBeInstanceOf(VendorThrottledError);
    expect(limits.map(({ scope }) => scope)).toEqual(['submit', 'status']);
  });

  it('is about every budget of the account where the answer was no refusal', async () => {
    const limits: LimitReport[] = [];
    const http = adapter(await listen(json(200, { ok: true }, { 'x-left': '0' })), limits);
    await get(http.forScope('submit'));
    expect(limits).toEqual([{ remaining: 0, resetMs: 60_000 }]);
  });
});

describe('what headers ask to wait', () => {
  const now = Date.UTC(2026, 10, 22);
  it.each([
    [{ 'retry-after': '7' }, 7_000],
    [{ 'retry-after': '0' }, 0],
    [{ 'retry-after': new Date(now + 9_000).toUTCString() }, 9_000],
    [{ 'retry-after': 'Thu, 01 Jan 1970 00:00:00 GMT' }, 0],
    [{ 'retry-after': '-1' }, undefined],
    [{ 'retry-after': 'soon' }, undefined],
    [{ 'retry-after': '1e9' }, undefined],
    [{ 'retry-after': '999999999999' }, 86_400_000],
    [{ 'ratelimit-reset': String(now / 1_000 + 5) }, 5_000],
    [{ 'x-ratelimit-reset': '30' }, 30_000],
    [{ 'ratelimit-reset': '1672531200' }, 0],
    [{ 'ratelimit-reset': 'NaN' }, undefined],
    [{}, undefined],
  ])('%j', (headers, expected) => {
    expect(readRetryAfter(new Headers(headers as Record<string, string>), now)).toBe(expected);
  });
});
