import { createHash } from 'node:crypto';
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { toErrorInfo } from '../../src/core/errors.ts';
import { FileTransfers } from '../../src/vendors/transfers/file-transfers.ts';

interface Reply {
  status: number;
  body: string;
  headers?: Record<string, string>;
}

let folder: string;
let server: Server;
let origin: string;
let transfers: FileTransfers;
let reply: Reply;
let arrived: IncomingHttpHeaders[];

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'jobferry-transfers-'));
  await writeFile(path.join(folder, 'a.md'), '# A');
  server = createServer((request, response) => {
    request.resume().on('end', () => {
      arrived.push(request.headers);
      response.writeHead(reply.status, reply.headers).end(reply.body);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  transfers = new FileTransfers({
    filesDir: folder,
    artifactsDir: path.join(folder, 'artifacts'),
    allowPrivateUrls: true,
    maxResultBytes: 10_000,
  });
});
afterAll(async () => {
  await transfers.close();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await rm(folder, { recursive: true, force: true });
});
beforeEach(() => {
  arrived = [];
  reply = { status: 200, body: '' };
});

const { signal } = new AbortController();
const upload = (headers: Record<string, string>, url = `${origin}/up`): Promise<unknown> =>
  transfers.upload({ url, headers, vendorUrl: 'https://vendor.example' }, 'a.md', signal).catch(toErrorInfo);
const download = (rest: { sha256?: string; url?: string } = {}): Promise<unknown> =>
  transfers
    .download(
      {
        url: `${origin}/result`,
        vendor: 'v',
        account: 'default',
        submissionId: 's-1',
        fileName: 'r.zip',
        sha256: undefined,
        startsWith: 'PK',
        ...rest,
      },
      signal,
    )
    .catch(toErrorInfo);

describe('headers of an upload link', () => {
  it('are sent where they describe the object or belong to a storage', async () => {
    const headers = {
      'Content-Type': 'text/markdown',
      'content-md5': 'abc==',
      'x-amz-acl': 'private',
      'x-ms-blob-type': 'BlockBlob',
      'x-goog-meta-a': '1',
    };
    expect(await upload(headers)).toBeUndefined();
    expect(arrived[0]).toMatchObject(Object.fromEntries(Object.entries(headers).map(([k, v]) => [k.toLowerCase(), v])));
  });

  it.each([
    'Authorization',
    'Cookie',
    'Proxy-Authorization',
    'X-Forwarded-For',
    'Metadata-Flavor',
    'X-aws-ec2-metadata-token',
    'Metadata',
  ])('are left out where they say who asks, and named when the storage refuses: %s', async (name) => {
    reply = { status: 403, body: 'no' };
    expect(await upload({ [name]: 'a-value-of-the-vendor', 'content-type': 'text/plain' })).toMatchObject({
      code: 'upload_refused',
      message: expect.stringContaining(`headers that are never sent: ${name.toLowerCase()}`) as string,
    });
    expect(arrived).toHaveLength(1);
    expect(arrived[0]).not.toHaveProperty(name.toLowerCase());
  });

  it.each([
    ['a value with a line break', { 'content-type': 'text/plain\r\nx-evil: 1' }],
    ['a value with a zero byte', { 'content-type': 'a\0b' }],
    ['a value beyond Latin-1', { 'x-amz-meta-name': 'Ω' }],
    ['no name', { '': 'x' }],
    ['a name with a blank', { 'x amz': 'x' }],
    ['a name with a line break', { 'x-amz-a\r\nb': 'x' }],
    ['Expect', { Expect: '100-continue' }],
    ['Upgrade', { Upgrade: 'h2c' }],
    ['Keep-Alive', { 'Keep-Alive': 'timeout=5' }],
  ])('refuse the upload at once where they cannot be sent: %s', async (_what, headers) => {
    expect(await upload(headers as Record<string, string>)).toMatchObject({ code: 'upload_refused' });
    expect(arrived).toEqual([]);
  });

  it('and their values stand in no error, however the storage quotes them', async () => {
    const token = 'FwoGZXIvYXdzEBYa/+aVery<Secret>&Token==';
    const quoted = token.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
    const hex = [...Buffer.from(`x-amz-security-token:${token}`)].map((byte) => byte.toString(16)).join(' ');
    for (const body of [
      `<Error><Code>SignatureDoesNotMatch</Code><Message>no match</Message><CanonicalRequest>PUT x-amz-security-token:${quoted}</CanonicalRequest><CanonicalRequestBytes>${hex}</CanonicalRequestBytes></Error>`,
      `bad request, header was ${token}`,
      `bad request, header was ${quoted}`,
      `bad request, header was ${encodeURIComponent(token)}`,
    ]) {
      reply = { status: 403, body };
      const { message } = (await upload({ 'x-amz-security-token': token })) as { message: string };
      expect(message).toMatch(/^the storage answered 403: (SignatureDoesNotMatch: no match|bad request)/);
      expect(message).not.toMatch(/FwoGZXIv|Secret|46 77 6f/);
    }
  });
});

describe('a result', () => {
  it('without a checksum is taken only where it begins like a ZIP', async () => {
    reply = { status: 200, body: '<html>Please sign in</html>', headers: { 'content-type': 'text/html' } };
    expect(await download()).toMatchObject({ code: 'result_unavailable' });
    reply = { status: 200, body: '' };
    expect(await download()).toMatchObject({ code: 'result_unavailable' });
    expect(await readdir(path.join(folder, 'artifacts', 'v', 'default', 's-1'))).toEqual([]);
    reply = { status: 200, body: 'PK\u0003\u0004 …' };
    expect(await download()).toMatchObject({ verified: false });
  });

  it('with the right checksum is what the vendor says it is', async () => {
    reply = { status: 200, body: 'no ZIP' };
    expect(await download({ sha256: createHash('sha256').update('no ZIP').digest('hex') })).toMatchObject({
      verified: true,
    });
  });

  it('lies in folders that other users cannot list', async () => {
    reply = { status: 200, body: 'PK' };
    await download();
    for (const part of ['', 'v', 'v/default', 'v/default/s-1']) {
      expect((await stat(path.join(folder, 'artifacts', part))).mode & 0o007).toBe(0);
    }
  });
});

describe('a link of plain http', () => {
  it('leads to a name of this machine where private addresses are allowed', async () => {
    reply = { status: 200, body: 'PK' };
    expect(await download({ url: origin.replace('127.0.0.1', 'localhost') })).toMatchObject({ bytes: 2 });
  });

  it('leads nowhere else, neither first nor by redirect', async () => {
    expect(await download({ url: 'http://8.8.8.8/r' })).toMatchObject({ code: 'address_refused' });
    reply = { status: 302, body: '', headers: { location: 'http://8.8.8.8/r' } };
    expect(await download()).toMatchObject({ code: 'address_refused' });
    expect(await upload({}, 'http://8.8.8.8/up')).toMatchObject({ code: 'address_refused' });
  });
});
