import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it, vi } from 'vitest';
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
import { decideOnSubmit } from '../../src/core/decide.ts';
import { saysOfVendor } from '../../src/core/module-fault.ts';
import type { LimitReport, VendorHttp } from '../../src/ports/vendor-adapter.ts';
import { defineVendor } from '../../src/vendors/define-vendor.ts';
import { HttpClient } from '../../src/vendors/http/client.ts';
import { readRetryAfter } from '../../src/vendors/http/retry-after.ts';
import { plainClient as client, type PlainAccount } from '../helpers/plain-vendor.ts';

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

const reply = z.object({ ok: z.boolean() });
const ask = (http: HttpClient<PlainAccount>, rest: object = {}): Promise<unknown> =>
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

  it.each([
    [
      'throws',
      () => {
        throw new TypeError('no such part');
      },
    ],
    ['rejects', () => Promise.reject(new VendorContractError('the form has changed'))],
  ])('whose body %s was not sent, and says nothing of the vendor', async (_how, body) => {
    let requests = 0;
    const http = client(await listen(() => (requests += 1)));
    const error: unknown = await ask(http, { method: 'POST', body }).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ name: 'VendorUnavailableError', taken: 'no' });
    expect(decideOnSubmit(error)).toBe('resend');
    expect(saysOfVendor(error), 'nor may it hold the account').toBe(false);
    const refusal = new VendorRejectedError('no such file');
    await expect(ask(http, { body: () => Promise.reject(refusal) })).rejects.toBe(refusal);
    expect(requests).toBe(0);
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

  it('is smaller by default where it tells how work stands', async () => {
    const http = adapter(await listen(json(200, { ok: true, text: 'x'.repeat(1_500_000) })), []);
    await expect(get(http.forScope('status'))).rejects.toThrow('larger than 1048576 bytes');
    await expect(get(http.forScope('submit'))).resolves.toBeDefined();
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

describe('the time of a request', () => {
  const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

  it('is one for its credential, itself and its replay', async () => {
    let asked = 0;
    let obtained = 0;
    const url = await listen((request, response) => {
      asked += 1;
      // The second credential is good; the answer to it takes longer than is left.
      if (request.headers.authorization === 'Bearer t1') return json(401, {})(request, response);
      setTimeout(() => json(200, { ok: true })(request, response), 900).unref();
    });
    const http = client(url, async () => {
      await sleep(150);
      return { token: `t${(obtained += 1)}` };
    });
    const startedAt = performance.now();
    await expect(ask(http, { timeoutMs: 900 })).rejects.toMatchObject({
      taken: 'maybe',
      message: expect.stringContaining('900 ms') as string,
    });
    expect(performance.now() - startedAt).toBeLessThan(1_150);
    expect(asked).toBe(2);
  });

  it('that ran out before it was written leaves it untaken', async () => {
    let asked = 0;
    const url = await listen(() => void (asked += 1));
    const http = client(url, async () => {
      await sleep(1_000);
      return { token: 'late' };
    });
    const startedAt = performance.now();
    const waiting = Array.from({ length: 3 }, () =>
      expect(ask(http, { timeoutMs: 300 })).rejects.toMatchObject({
        name: 'VendorUnavailableError',
        taken: 'no',
        message: expect.stringContaining('no credential within 200 ms') as string,
      }),
    );
    await Promise.all(waiting);
    expect(performance.now() - startedAt).toBeLessThan(800);
    expect(asked).toBe(0);
  });

  it('that is nearly used up sends nothing: it would be cut off half-way', async () => {
    const seen: string[] = [];
    const url = await listen((request, response) => {
      seen.push(request.headers.authorization ?? '');
      json(401, {})(request, response);
    });
    let obtained = 0;
    const http = client(url, async () => {
      obtained += 1;
      if (obtained > 1) await sleep(550);
      return { token: `t${obtained}` };
    });
    await expect(ask(http, { timeoutMs: 600 })).rejects.toMatchObject({ taken: 'no' });
    expect(seen).toEqual(['Bearer t1']);
  });

  it('goes on while the machine stands still: the wall clock counts too', async () => {
    let asked = 0;
    const http = client(await listen(() => void (asked += 1)));
    const spy = vi.spyOn(Date, 'now');
    try {
      const asking = ask(http, { body: async () => ({ body: (spy.mockReturnValue(Date.now() + 25_000), 'x') }) });
      await expect(asking).rejects.toMatchObject({ taken: 'no' });
    } finally {
      spy.mockRestore();
    }
    expect(asked).toBe(0);
  });
});
