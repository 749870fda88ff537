import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { controlReply } from './control/routes.ts';
import { FaultBoard } from './faults/fault-board.ts';
import { mishap, serveVendor } from './exchange.ts';
import { Call } from './http/call.ts';
import { send } from './http/send.ts';
import { Ledger } from './ledger.ts';
import { Sandbox, type SandboxOptions } from './sandbox-handle.ts';
import type { VendorDouble } from './vendor-double.ts';
import { vendorDoubles } from './vendors.ts';
import { WorkClock } from './work-clock.ts';

/**
 * Starts the vendor sandbox: HTTP doubles of vendor APIs on one port, with scripted faults and a ledger.
 * @returns the running sandbox; call `close()` when done.
 * @throws RangeError on a bad speed or unknown vendor name; the system's error (`EADDRINUSE`) on a taken port
 */
export async function startSandbox(options: SandboxOptions = {}): Promise<Sandbox> {
  const host = options.host ?? '127.0.0.1';
  const log = options.log ?? (() => undefined);
  const clock = new WorkClock(options.speed ?? 1);
  const ledger = new Ledger(options.ledgerLimit);
  const doubles: VendorDouble[] = [];
  const faults = new FaultBoard(
    (vendor, jobId, fault) => doubles.find((double) => double.name === vendor)?.attachFault(jobId, fault) ?? false,
  );
  doubles.push(...vendorDoubles({ clock, faults, options }));
  for (const double of doubles) faults.register(double.name, double.catalogue);
  const byBasePath = new Map(doubles.flatMap((double) => double.basePaths.map((path) => [path, double] as const)));

  const server = createServer({ keepAliveTimeout: 30_000, requestTimeout: 0 }, (request, response) => {
    void serve(request, response);
  });
  server.on('clientError', (_error, socket) => {
    socket.destroy();
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port ?? 0, host, resolve);
  });
  const { port } = server.address() as AddressInfo;
  const sandbox = new Sandbox({ host, port, clock, ledger, faults, doubles, server, initialSpeed: clock.speed });
  log(`vendor sandbox listening on ${sandbox.url}`);
  return sandbox;

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const call = new Call(request, response);
    // A client that leaves in the middle is an ordinary event here.
    response.on('error', () => undefined);
    request.on('error', () => undefined);
    try {
      const [first = ''] = call.segments;
      const double = byBasePath.get(first);
      if (double !== undefined) await serveVendor(call, double, { faults, ledger, log });
      else await send(call, await controlReply(call, sandbox));
    } catch (error) {
      if (call.isLost) return;
      await send(call, mishap(error)).catch(() => undefined);
    }
  }
}
