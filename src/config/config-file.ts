import { readFileSync } from 'node:fs';
import path from 'node:path';
import * as z from 'zod';
import type { Fault } from '../core/json.ts';
import { findJsonFault } from './json-fault.ts';
import { defaultReplyPatterns, replyPatternPattern } from '../queues/reply-queues.ts';
import { pollOverrides, toFaults } from '../queues/submit-job.ts';
import type { Environment } from './environment.ts';

/** A secret by its name, never by its value: `{ "env": "VARIABLE" }` or `{ "file": "/run/secrets/key" }`. */
export const secretReference = z.union([
  z.strictObject({ env: z.string().min(1).describe('an environment variable') }),
  z.strictObject({ file: z.string().min(1).describe('a file; it is read again when the vendor refuses the key') }),
]);
export type SecretReference = z.output<typeof secretReference>;

const seconds = z.number().int().min(1).max(31_536_000);

/** The content of the configuration file. Every field has a default; the file itself may be missing. */
export const configFile = z.strictObject({
  $schema: z.string().optional(),
  accounts: z
    .record(
      z.string(),
      z.record(
        z.string().regex(/^[A-Za-z0-9._-]{1,64}$/, 'account names match ^[A-Za-z0-9._-]{1,64}$'),
        z.looseObject({ poll: pollOverrides.optional().describe('Poll defaults of this account.') }),
      ),
    )
    .default({})
    .describe('Vendor → account name → its fields. Secrets are named: { "env": "…" } or { "file": "…" }.'),
  concurrency: z
    .strictObject({
      submit: z.number().int().min(1).max(1_000).default(20).describe('Parallel submit jobs per vendor and process.'),
      poll: z.number().int().min(1).max(2_000).default(100).describe('Parallel poll jobs per vendor and process.'),
    })
    .prefault({}),
  retention: z
    .strictObject({
      submissionsSeconds: seconds
        .default(86_400)
        .describe('How long settled submissions are kept. Until then the same id is not submitted twice.'),
      eventsSeconds: seconds.default(86_400).describe('How long consumed completion events are kept.'),
      unreadEventsSeconds: seconds
        .optional()
        .describe(
          'How long completion events wait for a consumer. Default: forever. Older events are lost, and each removal is logged with its count.',
        ),
    })
    .prefault({}),
  replyTo: z
    .strictObject({
      allow: z
        .array(z.string().regex(replyPatternPattern, `must match ${replyPatternPattern.source}`))
        .max(100)
        .default([...defaultReplyPatterns])
        .describe(
          'The queues that submissions may name in `replyTo`; `*` matches any characters. `results` is always allowed: it receives the events of submissions that name no queue, or one that is not allowed.',
        ),
    })
    .prefault({}),
  redact: z
    .strictObject({
      fields: z
        .array(z.string().min(1).max(100))
        .max(200)
        .default([])
        .describe(
          'Names of further fields whose values are hidden in logs and on the board. Case, dashes and underscores are ignored.',
        ),
    })
    .prefault({}),
  results: z
    .strictObject({
      maxBytes: z
        .number()
        .int()
        .min(1_024)
        .default(2_147_483_648)
        .describe('Size limit for downloaded results, bytes.'),
    })
    .prefault({}),
  ambiguity: z
    .record(
      z.string().regex(/^[a-z0-9-]+\.[A-Za-z0-9.]+$/, 'names an operation: <vendor>.<operation>'),
      z.enum(['settle', 'wait']),
    )
    .default({})
    .describe(
      'What happens, per operation, when it cannot be determined whether the vendor took a submit: `settle` (the default) ends it as `unconfirmed`; `wait` keeps it until a person runs `jobferry resolve` or until `submitWithinMs` has passed.',
    ),
  reconcile: z
    .strictObject({
      absenceMs: z
        .number()
        .int()
        .min(0)
        .max(3_600_000)
        .default(35_000)
        .describe('How long a lost submit must stay absent from the vendor’s list before it is sent again, ms.'),
      inFlightMs: z
        .number()
        .int()
        .min(0)
        .max(3_600_000)
        .default(35_000)
        .describe(
          'How long a submit of a worker that died may still reach the vendor, ms. It grows in proportion where an operation allows the vendor more than 30 s to answer.',
        ),
      minAbsentLooks: z
        .number()
        .int()
        .min(1)
        .max(50)
        .default(4)
        .describe('How many look-ups must find a lost submit absent before it is sent again.'),
    })
    .prefault({}),
  vendorModules: z
    .array(z.string().min(1))
    .default([])
    .describe(
      'Your own vendors, which every command loads: TypeScript or JavaScript files, relative to this file, that export what `defineVendor` returns.',
    ),
});
export type ConfigFile = z.output<typeof configFile>;

/** Where the configuration is: the file that `JOBFERRY_CONFIG` names, or `jobferry.config.json` of the working folder. */
export function locateConfiguration(env: Environment, cwd: string): { file: string; isNamed: boolean } {
  const given = env['JOBFERRY_CONFIG'] === '' ? undefined : env['JOBFERRY_CONFIG'];
  return { file: path.resolve(cwd, given ?? 'jobferry.config.json'), isNamed: given !== undefined };
}

/**
 * Reads the configuration file, which may be missing unless `JOBFERRY_CONFIG` names it.
 * @returns the configuration, its `vendorModules` as absolute paths
 */
export function readConfiguration(env: Environment, cwd: string, faults: Fault[]): ConfigFile {
  const { file, isNamed } = locateConfiguration(env, cwd);
  const config = readConfigFile(file, isNamed, faults);
  return {
    ...config,
    vendorModules: config.vendorModules.map((module) => path.resolve(path.dirname(file), module)),
  };
}

/** @param mustExist - true when the path was given, false for the default path. */
function readConfigFile(file: string, mustExist: boolean, faults: Fault[]): ConfigFile {
  const fallback = configFile.parse({});
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    const isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    if (isMissing && !mustExist) return fallback;
    faults.push({
      path: 'JOBFERRY_CONFIG',
      message: `${file} cannot be read: ${(error as NodeJS.ErrnoException).code ?? 'error'}`,
    });
    return fallback;
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    const { line, column } = findJsonFault(text);
    faults.push({ path: file, message: `is not valid JSON at line ${line}, column ${column}` });
    return fallback;
  }
  const parsed = configFile.safeParse(json);
  if (parsed.success) return parsed.data;
  faults.push(...toFaults(parsed.error).map((fault) => ({ path: `${file}: ${fault.path}`, message: fault.message })));
  return fallback;
}
