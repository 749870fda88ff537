import { once } from 'node:events';
import type { Call } from './call.ts';
import type { Reply } from './reply.ts';

const FILLER_CHUNK_BYTES = 65_536;

/** Writes a reply in the way its delivery says. Resolves when there is nothing left to do for the call. */
export async function send(call: Call, reply: Reply, dripMs?: number): Promise<void> {
  const { response } = call;
  if (response.destroyed || response.headersSent) return;
  const body = typeof reply.body === 'string' ? Buffer.from(reply.body, 'utf8') : reply.body;
  const delivery = reply.delivery ?? { kind: 'whole' };
  const bodiless = call.method === 'HEAD' || reply.status === 204 || reply.status === 304;
  if (bodiless) {
    response.writeHead(reply.status, reply.headers);
    response.end();
    return;
  }
  const length = { 'content-length': String(body.length) };
  switch (delivery.kind) {
    case 'whole':
      response.writeHead(reply.status, { ...reply.headers, ...length });
      if (dripMs === undefined || body.length === 0) response.end(body);
      else await drip(call, body, dripMs);
      return;
    case 'cut-at':
      response.writeHead(reply.status, { ...reply.headers, ...length });
      // Flushed first: a reset right after the write would throw the bytes away on some systems.
      await new Promise<void>((resolve) => {
        response.write(body.subarray(0, delivery.bytes), () => {
          resolve();
        });
      });
      await call.pause(20);
      call.cut();
      return;
    case 'hang-at':
      response.writeHead(reply.status, { ...reply.headers, ...length });
      response.write(body.subarray(0, delivery.bytes));
      await untilGone(call);
      return;
    case 'padded':
      response.writeHead(reply.status, reply.headers);
      response.write(body.subarray(0, delivery.at));
      await pad(call, delivery.bytes, delivery.filler);
      response.end(body.subarray(delivery.at));
      return;
    default:
      delivery satisfies never;
  }
}

/** Waits until the client gives up or the sandbox closes. */
export function untilGone(call: Call): Promise<void> {
  return new Promise((resolve) => {
    if (call.gone.aborted) resolve();
    call.gone.addEventListener(
      'abort',
      () => {
        resolve();
      },
      { once: true },
    );
  });
}

/** Spreads the body evenly over `totalMs`, in at most fifty pieces. */
async function drip(call: Call, body: Buffer, totalMs: number): Promise<void> {
  const pieces = Math.min(50, body.length);
  const size = Math.ceil(body.length / pieces);
  for (let at = 0; at < body.length && !call.gone.aborted; at += size) {
    call.response.write(body.subarray(at, at + size));
    await call.pause(totalMs / pieces);
  }
  call.response.end();
}

async function pad(call: Call, bytes: number, filler: string): Promise<void> {
  const chunk = Buffer.alloc(FILLER_CHUNK_BYTES, filler);
  for (let left = bytes; left > 0 && !call.gone.aborted; left -= chunk.length) {
    const flowing = call.response.write(left < chunk.length ? chunk.subarray(0, left) : chunk);
    if (flowing) continue;
    await once(call.response, 'drain', { signal: call.gone }).catch(() => undefined);
  }
}
