import { loadConfig, type Config } from '../../config/load-config.ts';
import { ConfigError, JobferryError } from '../../core/errors.ts';
import { printableLine } from '../../core/printable.ts';
import { redactText } from '../../core/redact.ts';
import type { Logger } from '../../ports/logger.ts';
import { silentLogger } from '../../ports/logger.ts';
import type { ListedVendorJob, VendorAdapter } from '../../ports/vendor-adapter.ts';
import { HttpClient } from '../../vendors/http/client.ts';
import { neededVariables } from '../credentials.ts';
import { CommandError, exitCodes } from '../exit-codes.ts';
import { findVendor } from '../operation-name.ts';
import { complain } from '../report-error.ts';
import { adapters } from '../vendor-modules.ts';

/**
 * Prints the vendor's own list of jobs of one account, including those started elsewhere: one line each, or one JSON object a line.
 * @throws CommandError (usage) where the vendor has no such list or the account is not configured, (unavailable) where
 * the vendor does not answer; ConfigError where the vendor has no credentials
 */
export async function vendorJobs(vendor: string, flags: { account?: string; json?: boolean }): Promise<number> {
  const adapter = findVendor(vendor);
  if (adapter.listVendorJobs === undefined) {
    const able = adapters.filter((one) => one.listVendorJobs !== undefined).map((one) => one.name);
    const message = `argument <vendor>: ${vendor} has no list of its jobs; those that have one: ${able.join(', ')}`;
    throw new CommandError(exitCodes.usage, message);
  }
  const { name: account, account: fields, refresh } = findAccount(loadConfig(process.env, adapters), adapter, flags);
  const http = new HttpClient(adapter, fields, refresh === undefined ? {} : { refreshAccount: refresh });
  const { signal } = new AbortController();
  let jobs: readonly ListedVendorJob[];
  try {
    const context = { account: fields, http: http.forScope('status'), logger: warnings, signal, now: Date.now() };
    jobs = await adapter.listVendorJobs(context);
  } catch (error) {
    if (error instanceof JobferryError) throw new CommandError(exitCodes.unavailable, `${vendor}: ${error.message}`);
    throw error;
  }
  const lines = flags.json === true ? jobs.map((job) => JSON.stringify({ vendor, account, ...job })) : describe(jobs);
  process.stdout.write(lines.map((line) => `${line}\n`).join(''));
  return exitCodes.ok;
}

/** What the adapter warns of goes to stderr, so that the output stays a list. */
const warnings: Logger = {
  ...silentLogger,
  warn: (fields, message) => complain(`${message} ${JSON.stringify(fields)}`),
};

function findAccount(config: Config, adapter: VendorAdapter, flags: { account?: string }) {
  const accounts = config.vendors.find((one) => one.adapter.name === adapter.name)?.accounts ?? [];
  if (accounts.length === 0)
    throw new ConfigError([
      { path: neededVariables(adapter), message: `is not set: ${adapter.name} has no credentials` },
    ]);
  const wanted = flags.account ?? 'default';
  const account = accounts.find((one) => one.name === wanted);
  if (account !== undefined) return account;
  const known = accounts.map((one) => one.name).join(', ');
  const message = `option --account: ${adapter.name} has no account ${JSON.stringify(wanted)}; it has ${known}`;
  throw new CommandError(exitCodes.usage, message);
}

function describe(jobs: readonly ListedVendorJob[]): string[] {
  const words = jobs.map((job) => shown(job.vendorStatus ?? job.status));
  const idWidth = Math.max(0, ...jobs.map((job) => job.id.length));
  const wordWidth = Math.max(0, ...words.map((word) => word.length));
  return jobs.map((job, index) => {
    const details = Object.entries(job.details ?? {}).map(
      ([name, value]) => `${name} ${shown(typeof value === 'string' ? value : JSON.stringify(value))}`,
    );
    return `${shown(job.id).padEnd(idWidth)}  ${(words[index] ?? '').padEnd(wordWidth)}  ${details.join('  ')}`.trimEnd();
  });
}

/** A vendor's text moves no cursor and forges no line. */
function shown(text: string): string {
  return printableLine(redactText(text));
}
