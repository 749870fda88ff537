#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import type { EraseFlags } from './commands/erase.ts';
import type { ResolveFlags } from './commands/resolve.ts';
import type { SubmitFlags } from './commands/submit.ts';
import { CommandError, exitCodes } from './exit-codes.ts';
import { complain, reportError } from './report-error.ts';

/** Commander takes the outermost brackets of an argument for its own. */
const operationArgument = '<vendor>.<operation>';

/**
 * The command line. Only commander is loaded here: what a command needs comes with its own module, so that `--help`
 * does not wait for BullMQ.
 */
function buildProgram(done: (exitCode: number) => void): Command {
  const program = new Command('jobferry')
    .description('Carries work to asynchronous vendor APIs and brings the results back.')
    .version(readVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .showSuggestionAfterError(true)
    .exitOverride()
    .configureOutput({
      outputError: (text) => complain(text.replace(/^error: /, '').trim()),
    })
    .hook('preAction', async (_program, command) => {
      if (command.name() === 'sandbox') return;
      const { useVendorModules } = await import('./vendor-modules.ts');
      await useVendorModules(command.opts<{ vendorModule?: string[] }>().vendorModule);
    })
    .addHelpText('after', '\nQueues, job data, events, environment and exit codes: README.md and docs/.');

  program
    .command('dev')
    .description('run everything on this machine: Redis, vendor sandbox, workers, board, and a few documents')
    .option('--no-demo', 'send no documents')
    .option('--speed <n>', 'how fast the sandbox works; 1 is realistic', parseSpeed, 4)
    .action(async (options: { demo: boolean; speed: number }) => {
      const { dev } = await import('./commands/dev.ts');
      done(await dev(options));
    });

  program
    .command('worker')
    .description('take submissions and poll their vendors, until SIGTERM')
    .option('--vendors <names>', 'only these, separated by commas', parseNames)
    .option('--stages <names>', 'submit, poll or both, separated by commas', parseStages, ['submit', 'poll'] as const)
    .option('--concurrency <n>', 'jobs at a time, for each vendor and stage', parseInteger(1, 2_000))
    .addOption(vendorModule())
    .action(async (options: { vendors?: string[]; stages: Stage[]; concurrency?: number }) => {
      const { worker } = await import('./commands/worker.ts');
      done(await worker(options));
    });

  program
    .command('board')
    .description('serve the board, /healthz, /readyz and /metrics')
    .addOption(vendorModule())
    .action(async () => {
      const { board } = await import('./commands/board.ts');
      done(await board());
    });

  program
    .command('submit')
    .description('enqueue one submission')
    .argument(`<${operationArgument}>`, 'such as knowhere.parse')
    .usage(`[options] ${operationArgument}`)
    // Required, which the command says itself: commander would name it before an option that is misspelled.
    .option('--input <file>', 'JSON file with the operation’s input, required; - reads standard input')
    .option('--id <id>', 'your idempotency key, which becomes the submission id')
    .option('--account <name>', 'which configured credentials to use')
    .option('--metadata <json>', 'an object that the completion event echoes', parseJson)
    .option('--poll <json>', 'how to poll, such as {"deadlineMs":60000}', parseJson)
    .option('--reply-to <queue>', 'the queue that gets the completion event')
    .option('--wait', 'follow it to its end; exits 0 on succeeded, 1 on any other outcome')
    .option('--json', 'print JSON, also on a terminal')
    .addOption(vendorModule())
    .action(async (operation: string, options: Omit<SubmitFlags, 'input'> & { input?: string }) => {
      const { input } = options;
      if (input === undefined) {
        throw new CommandError(exitCodes.usage, "required option '--input <file>' not specified");
      }
      const { submit } = await import('./commands/submit.ts');
      done(await submit(operation, { ...options, input }));
    });

  program
    .command('status')
    .description('tell how a submission stands')
    .argument('<vendor>')
    .argument('<submissionId>')
    .option('--json', 'print JSON')
    .addOption(vendorModule())
    .action(async (vendor: string, submissionId: string, options: { json?: boolean }) => {
      const { status } = await import('./commands/status.ts');
      done(await status(vendor, submissionId, options));
    });

  program
    .command('cancel')
    .description('ask for a submission to be canceled')
    .argument('<vendor>')
    .argument('<submissionId>')
    .addOption(vendorModule())
    .action(async (vendor: string, submissionId: string) => {
      const { cancel } = await import('./commands/cancel.ts');
      done(await cancel(vendor, submissionId));
    });

  program
    .command('retry')
    .description('start a settled submission anew, under a new id')
    .argument('<vendor>')
    .argument('<submissionId>')
    .option('--force', 'also what succeeded, or was retried before')
    .addOption(vendorModule())
    .action(async (vendor: string, submissionId: string, options: { force?: boolean }) => {
      const { retry } = await import('./commands/retry.ts');
      done(await retry(vendor, submissionId, options));
    });

  program
    .command('erase')
    .description('remove what is kept of one settled submission: its jobs, its event, its artifacts here')
    .argument('<vendor>')
    .argument('<submissionId>')
    .option('--yes', 'without asking')
    .option('--force', 'also an event that no consumer has taken')
    .addOption(vendorModule())
    .action(async (vendor: string, submissionId: string, options: EraseFlags) => {
      const { erase } = await import('./commands/erase.ts');
      done(await erase(vendor, submissionId, options));
    });

  program
    .command('resolve')
    .description('decide on a submission of unknown fate that waits for a person')
    .argument('<vendor>')
    .argument('<submissionId>')
    .option('--adopt <vendorJobId>', 'the vendor took it: this is its job')
    .option('--resend', 'the vendor did not take it: send it again')
    .option('--give-up', 'end it as unconfirmed')
    .addOption(vendorModule())
    .action(async (vendor: string, submissionId: string, options: ResolveFlags) => {
      const { resolve } = await import('./commands/resolve.ts');
      done(await resolve(vendor, submissionId, options));
    });

  program
    .command('vendors')
    .description('list vendors and operations, or one operation’s input')
    .argument(`[${operationArgument}]`, 'such as knowhere.parse')
    .option('--json', 'print JSON; for one operation the JSON Schema of its input')
    .addOption(vendorModule())
    .action(async (name: string | undefined, options: { json?: boolean }) => {
      const { vendors } = await import('./commands/vendors.ts');
      done(await vendors(name, options));
    });

  program
    .command('vendor-jobs')
    .description('list all jobs that a vendor has recorded for an account, where the vendor offers such a list')
    .argument('<vendor>', 'such as sharely')
    .option('--account <name>', 'which configured credentials to use (default: default)')
    .option('--json', 'print one JSON object a line')
    .addOption(vendorModule())
    .action(async (vendor: string, options: { account?: string; json?: boolean }) => {
      const { vendorJobs } = await import('./commands/vendor-jobs.ts');
      done(await vendorJobs(vendor, options));
    });

  program
    .command('sandbox')
    .description('run the vendor sandbox alone')
    .option('--port <n>', 'where to listen (default: 4010, or a free one)', parseInteger(0, 65_535))
    .option('--speed <n>', 'how fast the vendors work; 1 is realistic', parseSpeed, 1)
    .addOption(new Option('--dialect <name>', 'play the documentation or the implementation').choices(['doc', 'impl']))
    .action(async (options: { port?: number; speed: number; dialect?: 'doc' | 'impl' }) => {
      const { sandbox } = await import('./commands/sandbox.ts');
      done(await sandbox(options));
    });

  return program;
}

type Stage = 'submit' | 'poll';

function vendorModule(): Option {
  return new Option(
    '--vendor-module <file>',
    'a vendor of your own, in TypeScript or JavaScript; repeatable',
  ).argParser((file: string, before: string[] = []) => [...before, file]);
}

function readVersion(): string {
  const path = new URL('../../package.json', import.meta.url);
  return (JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version;
}

function parseInteger(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,7}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && value <= max) return value;
    throw new InvalidArgumentError(`expected a whole number from ${min} to ${max}.`);
  };
}

function parseSpeed(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && value >= 0.001 && value <= 1e9) return value;
  throw new InvalidArgumentError('expected a number from 0.001 to 1e9.');
}

function parseNames(text: string): string[] {
  const names = text.split(',').map((name) => name.trim());
  if (names.every((name) => name !== '')) return [...new Set(names)];
  throw new InvalidArgumentError('expected names separated by commas.');
}

function parseStages(text: string): Stage[] {
  const names = parseNames(text);
  if (names.every((name) => name === 'submit' || name === 'poll')) return names;
  throw new InvalidArgumentError('expected submit, poll or both, separated by a comma.');
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new InvalidArgumentError(`it is not valid JSON: ${(error as Error).message}.`);
  }
}

async function run(argv: readonly string[]): Promise<number> {
  let exitCode: number = exitCodes.ok;
  try {
    const program = buildProgram((code) => {
      exitCode = code;
    });
    if (argv.length === 0) {
      program.outputHelp({ error: true });
      return exitCodes.usage;
    }
    await program.parseAsync(argv, { from: 'user' });
    return exitCode;
  } catch (error) {
    // Commander has said what is wrong; help and version end here too, with 0.
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
    return reportError(error);
  }
}

// `jobferry vendors | head -1` closes our output early, which is no fault.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(exitCodes.ok);
  process.exit(exitCodes.internal);
});
process.stderr.on('error', () => undefined);

process.exitCode = await run(process.argv.slice(2));
// Whatever a library forgot to close must not keep a finished command alive.
setTimeout(() => process.exit(), 1_000).unref();
