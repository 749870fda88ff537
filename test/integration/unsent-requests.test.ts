import { spawn } from 'node:child_process';
import { channel } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import path from 'node:path';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as z from 'zod';
import { OutgoingRequest } from '../../src/vendors/http/outgoing-request.ts';
import { certificate, earlyCertificate, expiredCertificate, key } from '../helpers/certificates.ts';
import { until } from '../helpers/harness.ts';
import { plainClient } from '../helpers/plain-vendor.ts';

/**
 * A submit is in doubt only when it was written to a socket. Each failure here is real: real sockets, real handshakes,
 * and the bytes of HTTP that the vendor's side could read are counted.
 */
const servers = new Set<Server>();
const sockets = new Set<Socket>();
let heard = '';

beforeEach(() => {
  heard = '';
});

afterEach(async () => {
  delete process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
  for (const socket of sockets) socket.destroy();
  sockets.clear();
  await Promise.all([...servers].map((server) => new Promise((resolve) => server.close(resolve))));
  servers.clear();
});

async function listen(server: Server, port = 0): Promise<number> {
  servers.add(server);
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

const tcp = async (handler: (socket: Socket) => void): Promise<string> =>
  `https://localhost:${await listen(createServer(handler))}`;

const http = async (handler: RequestListener): Promise<string> =>
  `http://localhost:${await listen(createHttpServer(handler))}`;

/** @param onSecure - what happens when a handshake is done and something of HTTP was read. */
async function tls(options: TlsOptions, onData: (socket: Socket) => void = () => undefined): Promise<string> {
  const server = createTlsServer({ key, cert: certificate, ...options }, (socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      heard += chunk.toString('latin1');
      onData(socket);
    });
  });
  server.on('tlsClientError', () => undefined);
  return `https://localhost:${await listen(server)}`;
}

async function closedPort(): Promise<string> {
  const server = createServer();
  const port = await listen(server);
  servers.delete(server);
  await new Promise((resolve) => server.close(resolve));
  return `http://127.0.0.1:${port}`;
}

/** The certificates here are self-signed: for faults behind that check. */
function trustAll(): void {
  process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0';
}

async function submit(url: string, rest: { timeoutMs?: number; signal?: AbortSignal } = {}): Promise<unknown> {
  return plainClient(url)
    .request({ method: 'POST', path: 'x', json: { a: 1 }, reply: z.unknown(), ...rest })
    .then(
      () => 'answered',
      (error: unknown) => error,
    );
}

const unsent = (message: string | RegExp): object => ({
  name: 'VendorUnavailableError',
  taken: 'no',
  message: expect.stringMatching(message) as string,
});

describe('a submit that fails before it is written was not taken', () => {
  const alerts: TlsOptions = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' };
  const wantsCertificate: TlsOptions = { requestCert: true, rejectUnauthorized: true };

  it.each([
    ['the connection is reset in the handshake', () => tcp((socket) => socket.resetAndDestroy()), 'ECONNRESET'],
    [
      'the handshake is reset half-way',
      () => tcp((socket) => void socket.once('data', () => socket.resetAndDestroy())),
      'ECONNRESET',
    ],
    ['the connection is closed in the handshake', () => tcp((socket) => socket.end()), 'ECONNRESET'],
    ['the other side speaks no TLS', () => tcp((socket) => socket.end('hello there')), 'SSL'],
    ['the TLS version is refused with an alert', () => tls(alerts), 'PROTOCOL'],
    ['the certificate has expired', () => tls({ cert: expiredCertificate }), 'CERT'],
    ['the certificate is not yet valid', () => tls({ cert: earlyCertificate }), 'CERT'],
    ['the certificate is signed by nobody known', () => tls({}), 'CERT'],
    ['the port is closed', closedPort, 'ECONNREFUSED'],
    [
      'the name is not known',
      async () => 'http://no-such-host.invalid',
      'at no-such-host.invalid failed: (ENOTFOUND|EAI_AGAIN)',
    ],
    ['fetch refuses the port', async () => 'http://127.0.0.1:25', 'bad port|fetch failed'],
    ['fetch refuses the first port', async () => 'https://127.0.0.1:1', 'bad port|fetch failed'],
  ])('when %s', async (_what, start, message) => {
    const error = await submit(await start());
    expect(error).toMatchObject(unsent(message));
    expect(heard).toBe('');
  });

  it.each([
    ['TLS 1.2, which says so in the handshake', 'TLSv1.2'],
    ['TLS 1.3, which says so when the client has written already', 'TLSv1.3'],
  ] as const)('when a client certificate is wanted, by %s', async (_what, maxVersion) => {
    trustAll();
    const url = await tls({ ...wantsCertificate, maxVersion });
    expect(await submit(url)).toMatchObject(unsent('HANDSHAKE_FAILURE|CERTIFICATE_REQUIRED'));
    expect(heard).toBe('');
  });

  it('when its time runs out in the handshake, and it is not written later either', async () => {
    trustAll();
    const url = await tls({});
    const target = Number(new URL(url).port);
    let isOpen = false;
    let connected = 0;
    const gate = await tcp((socket) => {
      const hold = (): void => {
        if (!isOpen) return void setTimeout(hold, 20);
        const onward = connect(target, '127.0.0.1', () => (connected += 1)).on('error', () => undefined);
        socket.pipe(onward).pipe(socket);
      };
      hold();
    });
    expect(await submit(gate, { timeoutMs: 300 })).toMatchObject(unsent('not sent: no connection within 200 ms'));
    expect(await submit(gate, { signal: AbortSignal.timeout(200) })).toMatchObject(unsent('failed'));
    isOpen = true;
    await until(() => connected === 2);
    await until(() => sockets.size === 0);
    expect(heard).toBe('');
  });

  it('when the process has no descriptor left; the next one goes through', { timeout: 60_000 }, async () => {
    let answered = 0;
    const url = await http((_request, response) => {
      answered += 1;
      response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
    });
    const script = path.join(import.meta.dirname, '../helpers/starved-client.ts');
    const command = `ulimit -n 256; exec "${process.execPath}" --import tsx "${script}" ${url}`;
    const child = spawn('sh', ['-c', command], { stdio: ['ignore', 'pipe', 'inherit'] });
    let said = '';
    child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
    await once(child, 'close');
    expect(JSON.parse(said)).toEqual([{ taken: 'no', message: expect.any(String) as string }, { taken: 'yes' }]);
    expect(answered).toBe(1);
  });
});

describe('a submit that was written may have been taken', () => {
  it.each([
    ['closed', (socket: Socket) => socket.end()],
    ['destroyed', (socket: Socket) => socket.destroy()],
  ])('when a TLS connection is %s after it', async (_how, cut) => {
    trustAll();
    expect(await submit(await tls({}, cut))).toMatchObject({ taken: 'maybe' });
    expect(heard).toContain('POST /x');
  });

  it('when a plain connection is reset after it', async () => {
    const url = await http(({ socket }) => socket.resetAndDestroy());
    expect(await submit(url)).toMatchObject({
      taken: 'maybe',
      message: expect.stringContaining('ECONNRESET') as string,
    });
  });

  it('when no answer comes', async () => {
    const url = await http(() => undefined);
    expect(await submit(url, { timeoutMs: 300 })).toMatchObject({
      taken: 'maybe',
      message: expect.stringContaining('did not answer within 300 ms') as string,
    });
  });

  it('and counts as written before its first byte is out', async () => {
    const url = await http((_request, response) => void response.end());
    const written: number[] = [];
    let socket: Socket | undefined;
    const onConnected = (message: unknown): void => {
      ({ socket } = message as { socket: Socket });
    };
    channel('undici:client:connected').subscribe(onConnected);
    try {
      const outgoing = new OutgoingRequest(() => {
        written.push(socket?.bytesWritten ?? -1);
        return true;
      });
      expect(outgoing.isSent).toBe(false);
      await outgoing.fetch(new URL(url), { method: 'POST', body: 'x' });
      expect(outgoing.isSent).toBe(true);
      expect(written).toEqual([0]);
      expect(socket?.bytesWritten).toBeGreaterThan(50);
    } finally {
      channel('undici:client:connected').unsubscribe(onConnected);
    }
  });
});

describe('a vendor that restarts under warm connections', () => {
  it.each([
    ['closes them', (socket: Socket) => socket.end()],
    ['resets them', (socket: Socket) => socket.resetAndDestroy()],
  ])('%s: the submits after it are not in doubt', async (_how, cut) => {
    const warm = 20;
    let waiting: (() => void)[] = [];
    const handler: RequestListener = (_request, response) => {
      const answer = (): void => {
        response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
      };
      waiting.push(answer);
      if (waiting.length === warm) for (const one of waiting.splice(0)) one();
    };
    const first = createHttpServer({ keepAliveTimeout: 60_000 }, handler);
    const port = await listen(first);
    const url = `http://127.0.0.1:${port}`;
    const client = plainClient(url);
    const ask = (): Promise<unknown> =>
      client.request({ method: 'POST', path: 'x', json: {}, reply: z.unknown() }).then(
        () => 'answered',
        (error: unknown) => error,
      );
    const all = (): Promise<unknown[]> => Promise.all(Array.from({ length: warm }, ask));
    expect(new Set(await all())).toEqual(new Set(['answered']));
    expect(sockets.size).toBe(warm);

    const closed = new Promise((resolve) => first.close(resolve));
    for (const socket of sockets) cut(socket);
    await closed;
    servers.delete(first);
    // Down: nothing is in doubt. Up again: all go through.
    for (const error of await all()) expect(error).toMatchObject({ taken: 'no' });
    waiting = [];
    await listen(createHttpServer(handler), port);
    expect(new Set(await all())).toEqual(new Set(['answered']));
  });
});

describe('bodies of every form arrive whole', () => {
  it('as a form of the fetch standard, with its length', async () => {
    const seen: { type: string; length: string | undefined; body: string }[] = [];
    const url = await http((request, response) => {
      let body = '';
      request.on('data', (chunk: Buffer) => (body += chunk.toString()));
      request.on('end', () => {
        const { 'content-type': type = '', 'content-length': length } = request.headers;
        seen.push({ type, length, body });
        response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
      });
    });
    const form = new FormData();
    form.append('title', 'Tide tables');
    form.append('file', new Blob(['high water'], { type: 'text/plain' }), 'tides.txt');
    await plainClient(url).request({
      method: 'POST',
      path: 'x',
      body: async () => ({ body: form }),
      reply: z.unknown(),
    });
    const [{ type, length, body } = { type: '', length: '', body: '' }] = seen;
    expect(type).toMatch(/^multipart\/form-data; boundary=/);
    expect(Number(length)).toBe(Buffer.byteLength(body));
    expect(body).toMatch(/name="title"\r\n\r\nTide tables/);
    expect(body).toMatch(/name="file"; filename="tides.txt"\r\nContent-Type: text\/plain\r\n\r\nhigh water/);
  });
});
