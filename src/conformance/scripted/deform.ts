import type { ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Fault, Where } from '../double.ts';
import type { Reply } from './reply.ts';
import { hugeBytes, refusals, send, slowMs } from './send.ts';

/** Answers a request under the faults that strike it: those before the vendor's own doing, then those after it. */
export async function deform(
  response: ServerResponse,
  strikes: readonly { fault: Fault; where: Where }[],
  answer: () => Promise<Reply>,
): Promise<void> {
  for (const { fault, where } of strikes) {
    if (fault === 'cut-before') return void response.destroy();
    if (fault === 'error-body') return send(response, { status: 400 }, where.argument ?? '');
    const refusal = refusals[fault];
    if (refusal !== undefined) return send(response, refusal);
  }
  const reply = await answer();
  for (const { fault } of strikes) {
    switch (fault) {
      case 'cut-after':
        return void response.destroy();
      case 'server-error-after':
        return send(response, { status: 500, json: { message: 'out of order' } });
      case 'unreadable':
        return send(response, { ...reply, status: 200 }, '{"half": "of what it sh');
      case 'huge-reply':
        return send(response, { ...reply, status: 200 }, JSON.stringify({ padding: 'x'.repeat(hugeBytes) }));
      case 'slow-reply':
        await sleep(slowMs);
        break;
      default:
    }
  }
  send(response, reply);
}
