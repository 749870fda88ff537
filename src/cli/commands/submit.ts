import { readFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { loadSettings, requireRedis, type Settings } from '../../config/load-config.ts';
import type { JsonObject } from '../../core/json.ts';
import type { Submitted } from '../../producers/producer.ts';
import { defaultResultQueue } from '../../queues/names.ts';
import { adapters } from '../vendor-modules.ts';
import { CommandError, exitCodes } from '../exit-codes.ts';
import { EventReader, followSubmission } from '../follow-submission.ts';
import { openProducer } from '../open-producer.ts';
import { findOperation } from '../operation-name.ts';
import { complain } from '../report-error.ts';
import { openWaitView } from '../wait-view.ts';

export interface SubmitFlags {
  input: string;
  id?: string;
  account?: string;
  metadata?: unknown;
  poll?: unknown;
  replyTo?: string;
  wait?: boolean;
  json?: boolean;
}

/** Enqueues one submission and, when asked to, follows it to its end. */
export async function submit(name: string, flags: SubmitFlags): Promise<number> {
  const { adapter, operationName } = findOperation(name);
  const config = loadSettings(process.env, adapters);
  requireRedis(config);
  requireAccount(config, adapter.name, flags.account);
  const input = await readInput(flags.input);
  const producer = openProducer(config);
  try {
    const submitted = await producer.submit(adapter.name, operationName, {
      input,
      ...(flags.id === undefined ? {} : { id: flags.id }),
      ...(flags.account === undefined ? {} : { account: flags.account }),
      ...(flags.metadata === undefined ? {} : { metadata: flags.metadata as JsonObject }),
      ...(flags.poll === undefined ? {} : { poll: flags.poll as object }),
      ...(flags.replyTo === undefined ? {} : { replyTo: flags.replyTo }),
    });
    if (!submitted.created) complain(describeKnown(submitted));
    if (flags.wait !== true) {
      const line = flags.json === true ? JSON.stringify(submitted) : submitted.submissionId;
      process.stdout.write(`${line}\n`);
      return exitCodes.ok;
    }
    return await wait(config, adapter.name, submitted.submissionId, flags, (vendor, id) => producer.status(vendor, id));
  } finally {
    await producer.close();
  }
}

function describeKnown({ submissionId, ignored = [] }: Submitted): string {
  const kept = ignored.length === 0 ? '' : `; the first ${ignored.join(' and ')} of it stays`;
  return `${submissionId} was submitted before: nothing was enqueued${kept}`;
}

/**
 * Refuses an account that the configuration does not name: a worker would reject its submissions. `default` may come
 * from the environment of a worker, and where no account is named at all the workers alone know.
 */
function requireAccount(config: Settings, vendor: string, account: string | undefined): void {
  const known = config.accountNames.get(vendor) ?? [];
  if (account === undefined || account === 'default' || known.length === 0 || known.includes(account)) return;
  const message = `--account: ${vendor} has no account ${JSON.stringify(account)}; configured: ${known.join(', ')}`;
  throw new CommandError(exitCodes.usage, message);
}

async function readInput(source: string): Promise<unknown> {
  let json: string;
  try {
    json = source === '-' ? await text(process.stdin) : readFileSync(source, 'utf8');
  } catch (error) {
    const reasons: Record<string, string> = { ENOENT: 'there is no such file', EISDIR: 'it is a folder' };
    const { code = 'error' } = error as NodeJS.ErrnoException;
    throw new CommandError(exitCodes.badInput, `--input: ${source} cannot be read: ${reasons[code] ?? code}`);
  }
  try {
    return JSON.parse(json.replace(/^\uFEFF/, '')) as unknown;
  } catch (error) {
    const place = source === '-' ? 'standard input' : source;
    throw new CommandError(exitCodes.badInput, `--input: ${place} is not valid JSON: ${(error as Error).message}`);
  }
}

type ReadStatus = Parameters<typeof followSubmission>[0]['status'];

async function wait(
  config: Settings,
  vendor: string,
  submissionId: string,
  flags: SubmitFlags,
  status: ReadStatus,
): Promise<number> {
  const stop = new AbortController();
  let exitOnStop = 130;
  const onSignal = (signal: NodeJS.Signals): void => {
    exitOnStop = signal === 'SIGTERM' ? 143 : 130;
    stop.abort();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  const queue = flags.replyTo ?? defaultResultQueue;
  const events = new EventReader(requireRedis(config), config.prefix, queue);
  const view = await openWaitView(submissionId, queue, flags.json !== true && process.stdout.isTTY);
  try {
    const event = await followSubmission({
      vendor,
      submissionId,
      status,
      events,
      onChange: (one) => view.change(one),
      onTrouble: (reason) => view.trouble(reason),
      signal: stop.signal,
      account: flags.account,
      metadata: flags.metadata as JsonObject | undefined,
    });
    if (event === undefined) {
      view.stop();
      complain(`${vendor} no longer knows submission ${submissionId}, and its event is gone: the outcome is not known`);
      return exitCodes.notSucceeded;
    }
    view.end(event);
    return event.data.outcome === 'succeeded' ? exitCodes.ok : exitCodes.notSucceeded;
  } catch (error) {
    view.stop();
    if (!stop.signal.aborted) throw error;
    complain(`no longer waiting; the submission goes on: jobferry status ${vendor} ${submissionId}`);
    return exitOnStop;
  } finally {
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
    await events.close();
  }
}
