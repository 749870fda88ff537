import { rmSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline/promises';
import { loadSettings, requireRedis } from '../../config/load-config.ts';
import { RedisUnavailableError } from '../../core/errors.ts';
import { openFailFastConnection } from '../../queues/connection.ts';
import { eraseSubmission } from '../../queues/erase-submission.ts';
import { artifactFolder } from '../../vendors/transfers/artifact-folder.ts';
import { describeTarget } from '../await-redis.ts';
import { CommandError, exitCodes } from '../exit-codes.ts';
import { findVendor } from '../operation-name.ts';
import { complain, noteRedisTrouble } from '../report-error.ts';
import { adapters } from '../vendor-modules.ts';

export interface EraseFlags {
  yes?: boolean;
  force?: boolean;
}

/** Removes what is kept of one settled submission, and says what it cannot reach. */
export async function erase(vendor: string, submissionId: string, flags: EraseFlags): Promise<number> {
  findVendor(vendor);
  const config = loadSettings(process.env, adapters);
  const target = requireRedis(config);
  if (flags.yes !== true) await confirm(`Erase ${vendor} ${submissionId}? What is removed cannot be brought back.`);
  const redis = openFailFastConnection(target, (error) => noteRedisTrouble(describeTarget(target), error));
  try {
    const force = flags.force === true;
    const result = await eraseSubmission(redis, config.prefix, vendor, submissionId, { force }).catch(
      (error: unknown) => {
        throw new RedisUnavailableError(`Redis: ${(error as Error).message}`, { cause: error });
      },
    );
    switch (result.kind) {
      case 'under-way':
        complain(`${submissionId} is not over yet; \`jobferry cancel ${vendor} ${submissionId}\` ends it`);
        return exitCodes.notSucceeded;
      case 'event-unread':
        complain(`its event waits in ${result.queue} for a consumer; --force erases it unread`);
        return exitCodes.notSucceeded;
      case 'unknown':
        complain(`${vendor} knows no submission ${JSON.stringify(submissionId)}`);
        return exitCodes.notSucceeded;
      case 'erased': {
        const removed = [...result.removed];
        for (const account of result.accounts) {
          const folder = artifactFolder(config.artifactsDir, { vendor, account, submissionId });
          if (removeFolder(folder)) removed.push(path.relative(process.cwd(), folder));
        }
        process.stdout.write(
          `${submissionId}: removed from ${removed.join(', ')}\n` +
            'Not reached: logs, backups and copies of Redis, artifacts on other machines, other runs of it, and the vendor.\n',
        );
        return exitCodes.ok;
      }
    }
  } finally {
    redis.disconnect();
  }
}

function removeFolder(folder: string): boolean {
  try {
    rmSync(folder, { recursive: true });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

/** @throws CommandError where the answer is not yes, or nothing can be asked */
async function confirm(question: string): Promise<void> {
  if (!process.stdin.isTTY) throw new CommandError(exitCodes.usage, 'nothing can be asked here: give --yes');
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await terminal.question(`${question} [y/N] `);
    if (!/^y(?:es)?$/i.test(answer.trim())) throw new CommandError(exitCodes.notSucceeded, 'nothing was erased');
  } finally {
    terminal.close();
  }
}
