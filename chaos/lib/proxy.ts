import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { once } from 'node:events';

/** A TCP relay on loopback whose connections can be cut, delayed and refused while they are in use. */
export class TcpProxy {
  /** How late each piece of data goes on, both ways, ms. */
  delayMs = 0;
  /** How late each piece of an answer goes on beyond that, ms. */
  answerDelayMs = 0;
  readonly port: number;
  readonly #target: () => number;
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  #server: Server;

  private constructor(server: Server, target: () => number) {
    this.#server = server;
    this.#target = target;
    this.port = (server.address() as AddressInfo).port;
    server.on('connection', (socket) => this.#relay(socket));
  }

  /** @param target - the port behind, asked anew for every connection */
  static async open(target: () => number): Promise<TcpProxy> {
    return new TcpProxy(await listen(0), target);
  }

  /** Resets connections; what was under way in them is lost. @returns how many were cut. */
  cut(isChosen: () => boolean = () => true): number {
    let count = 0;
    for (const [near, far] of this.#pairs) {
      if (!isChosen()) continue;
      count += 1;
      reset(near);
      reset(far);
    }
    return count;
  }

  /** From now on nobody answers at this port, and every connection is reset. */
  async goDown(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.cut();
    await closed;
  }

  async comeBack(): Promise<void> {
    this.#server = await listen(this.port);
    this.#server.on('connection', (socket) => this.#relay(socket));
  }

  async close(): Promise<void> {
    if (!this.#server.listening) return;
    await this.goDown();
  }

  #relay(near: Socket): void {
    const far = connect({ host: '127.0.0.1', port: this.#target(), noDelay: true });
    near.setNoDelay(true);
    const pair = [near, far] as const;
    this.#pairs.add(pair);
    const end = (): void => {
      this.#pairs.delete(pair);
      near.destroy();
      far.destroy();
    };
    for (const [from, to] of [pair, [far, near] as const]) {
      const delayMs = (): number => this.delayMs + (from === far ? this.answerDelayMs : 0);
      from.on('data', (chunk) => pass(from, to, chunk, delayMs()));
      from.on('error', end);
      from.on('close', end);
      from.on('end', () => setTimeout(() => to.end(), delayMs()));
    }
  }
}

function pass(from: Socket, to: Socket, chunk: Buffer, delayMs: number): void {
  if (delayMs > 0) {
    // Timers of the same length fire in order, and a change of the delay is preceded by a cut.
    setTimeout(() => {
      if (!to.destroyed) to.write(chunk);
    }, delayMs);
    return;
  }
  if (to.write(chunk)) return;
  from.pause();
  to.once('drain', () => from.resume());
}

/**
 * Half-closed or not connected yet, a connection can not be reset: libuv refuses, and Node 20 then never frees the
 * handle, which makes the process spin for ever in its own clean-up after the last line of the program.
 */
function reset(socket: Socket): void {
  if (socket.writableEnded || socket.connecting) socket.destroy();
  else socket.resetAndDestroy();
}

async function listen(port: number): Promise<Server> {
  for (let attempt = 1; ; attempt += 1) {
    const server = createServer();
    try {
      server.listen(port, '127.0.0.1');
      await once(server, 'listening');
      return server;
    } catch (error) {
      // A client's outgoing connection can hold the port for a moment.
      if (attempt === 50) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
