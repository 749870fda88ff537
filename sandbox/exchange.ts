import { UnknownFaultError } from './faults/catalogue.ts';
import type { ActiveFault } from './faults/definition.ts';
import type { FaultBoard, FaultContext, Strike } from './faults/fault-board.ts';
import type { Call } from './http/call.ts';
import { BodyTooLargeError } from './http/call.ts';
import type { Reply } from './http/reply.ts';
import { json } from './http/reply.ts';
import { send, untilGone } from './http/send.ts';
import { fill, type Ledger } from './ledger.ts';
import type { LedgerEntry } from './ledger-entry.ts';
import type { Admission, VendorDouble } from './vendor-double.ts';

interface Frame {
  readonly faults: FaultBoard;
  readonly ledger: Ledger;
  readonly log: (line: string) => void;
}

/**
 * Takes one vendor request through its stations: entry in the ledger, admission, choice of faults, the vendor's own
 * work, what the faults make of its answer, sending, end of the entry.
 */
export async function serveVendor(call: Call, double: VendorDouble, frame: Frame): Promise<void> {
  const { ledger, faults, log } = frame;
  const entry = ledger.open(double.name, call);
  try {
    const admission = await double.admit(call);
    const strike = faults.strike(contextOf(call, double, admission), admission.faults);
    note(entry, call, admission, strike);
    const reply = await answered(call, double, admission, strike);
    fill(entry, call);
    if (reply === 'cut') call.cut();
    else if (reply === 'hang') await untilGone(call);
    else await paced(call, reply, strike.others);
  } catch (error) {
    if (!call.isLost) await send(call, mishap(error));
  } finally {
    ledger.close(entry, call);
    const struck = call.faultNames.map((name) => ` [${name}]`).join('');
    log(`${double.name} ${call.method} ${call.path} → ${entry.status ?? entry.end}${struck}`);
  }
}

/** The sandbox's own trouble, in a shape that no vendor uses. */
export function mishap(error: unknown): Reply {
  if (error instanceof UnknownFaultError) return json(400, { sandbox: { error: error.message } });
  if (error instanceof BodyTooLargeError) {
    return json(413, { sandbox: { error: error.message } }, { connection: 'close' });
  }
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return json(500, { sandbox: { error: 'the sandbox itself failed', message } });
}

/** What goes out: the vendor's answer, or what the striking fault puts in its place. */
async function answered(
  call: Call,
  double: VendorDouble,
  admission: Admission,
  { answer, others }: Strike,
): Promise<Reply | 'cut' | 'hang'> {
  const work = async () => double.handle(call, admission, { active: others });
  if (answer === null) return work();
  const { effect, argument } = answer;
  // "After" faults let the vendor do everything and lose only its answer.
  if ('when' in effect && effect.when === 'after') await work();
  switch (effect.kind) {
    case 'cut':
    case 'hang':
      return effect.kind;
    case 'refuse':
      return double.refuse(effect.refusal(argument), call, admission);
    case 'replace':
      return effect.reply(argument);
    case 'deform':
      return effect.deform(await work(), argument);
    case 'pace':
    case 'vendor':
      return work();
    default:
      return effect satisfies never;
  }
}

async function paced(call: Call, reply: Reply, others: readonly ActiveFault[]): Promise<void> {
  let firstByteMs = 0;
  let bodyMs: number | undefined;
  for (const { effect, argument } of others) {
    if (effect.kind !== 'pace') continue;
    if (effect.pace === 'first-byte') firstByteMs += Number(argument);
    else bodyMs = (bodyMs ?? 0) + Number(argument);
  }
  if (firstByteMs > 0) await call.pause(firstByteMs);
  await send(call, reply, bodyMs);
}

function contextOf(call: Call, double: VendorDouble, admission: Admission): FaultContext {
  const { route, jobId, jobIds, source, dataId, apiKey } = admission;
  const texts = source === null && dataId === null ? '' : `${source ?? ''} ${dataId ?? ''}`;
  return { vendor: double.name, route, method: call.method, jobId, jobIds, source: texts, apiKey };
}

/** Filled in before the work, so that requests in flight can be distinguished. */
function note(entry: LedgerEntry, call: Call, admission: Admission, { answer, others }: Strike): void {
  const { route } = admission;
  entry.route = route;
  entry.kind = admission.kind ?? (route === 'create' || route === 'lookup' ? route : 'other');
  entry.dataId = admission.dataId;
  entry.source = admission.source;
  call.jobId = admission.jobId;
  call.jobIds = admission.jobIds ?? null;
  if (answer !== null) call.faultNames.push(answer.name);
  for (const { name } of others) call.faultNames.push(name);
  fill(entry, call);
}
