import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import { certificate, key } from '../helpers/certificates.ts';
import { quickPoll, routes, startFini, uuid, type FiniRig } from '../helpers/fini.ts';
import { until } from '../helpers/harness.ts';

/** A load balancer in front of the vendor that restarts: for a while it resets every handshake, then it works. */
class LoadBalancer {
  isDown = true;
  refused = 0;
  target = 0;
  readonly #sockets = new Set<Socket>();
  readonly #tls = createTlsServer({ key, cert: certificate }, (socket) => this.#pipe(socket, this.target));
  readonly #front = createServer((socket) => {
    if (this.isDown) {
      this.refused += 1;
      socket.once('data', () => socket.resetAndDestroy());
      return;
    }
    this.#pipe(socket, (this.#tls.address() as AddressInfo).port);
  });

  async start(): Promise<string> {
    for (const server of [this.#tls, this.#front] as Server[]) {
      server.on('connection', (socket: Socket) => {
        this.#sockets.add(socket);
        socket.on('error', () => undefined).on('close', () => this.#sockets.delete(socket));
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
    }
    return `https://localhost:${(this.#front.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all([this.#tls, this.#front].map((server) => new Promise((resolve) => server.close(resolve))));
  }

  #pipe(socket: Socket, port: number): void {
    const onward = connect(port, '127.0.0.1').on('error', () => undefined);
    socket.on('error', () => undefined).on('close', () => onward.destroy());
    socket.pipe(onward).pipe(socket);
  }
}

describe('a vendor whose TLS fails for seconds', () => {
  let rig: FiniRig | undefined;
  const balancer = new LoadBalancer();
  afterEach(async () => {
    delete process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
    await rig?.stop();
    await balancer.close();
  });

  it('ends no submission, although what it took could not be asked for', { timeout: 90_000 }, async () => {
    process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0';
    const count = 20;
    rig = await startFini({ env: { FINI_BASE_URL: await balancer.start() } });
    const { vendor, harness } = rig;
    balancer.target = Number(new URL(vendor.url).port);
    let taken = 0;
    vendor.on(routes.generate, () => ({ json: { backgroundJobId: uuid((taken += 1)) } }));
    vendor.on(routes.status, ({ json }) => ({
      json: {
        jobs: (json.jobIds as string[]).map((id) => ({ id, jobStatus: 'COMPLETED', hcArticleId: `article-${id}` })),
      },
    }));
    const poll = { ...quickPoll, deadlineMs: 80_000 };
    const input = { candidateKnowledge: 'How to reset a password', origin: 'sources', documentId: uuid(7) };
    const ids = await Promise.all(
      Array.from({ length: count }, () => harness.submit('fini', 'knowledge.generate', input, { poll })),
    );
    await until(() => balancer.refused >= 5);
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    expect(harness.events).toEqual([]);
    balancer.isDown = false;

    const events = await Promise.all(ids.map((id) => harness.event(id, 60_000)));
    expect(events.map((event) => event.data.outcome)).toEqual(ids.map(() => 'succeeded'));
    expect(taken).toBe(count);
  });
});
