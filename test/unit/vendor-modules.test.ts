import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { adapters, useVendorModules } from '../../src/cli/vendor-modules.ts';
import { loadSettings } from '../../src/config/load-config.ts';
import { ConfigError } from '../../src/core/errors.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'jobferry-modules-'));
  mkdirSync(path.join(folder, 'vendors'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function module(name: string, more: { resend?: string; jobKind?: string } = {}): string {
  const file = path.join(folder, 'vendors', `${name}.ts`);
  writeFileSync(
    file,
    `import { defineVendor } from 'jobferry';
    import * as z from 'zod';
    export default defineVendor({
      name: '${name}', summary: 'Invented.',
      account: z.strictObject({ apiKey: z.string(), baseUrl: z.string().default('http://127.0.0.1:9') }),
      lookups: { transcript: { look: async () => new Map() } },
      operations: { go: {
        summary: 'Goes.', input: z.strictObject({}), resend: '${more.resend ?? 'none'}' as 'none',
        ${more.jobKind === undefined ? '' : `jobKind: '${more.jobKind}' as 'transcript',`}
        submit: async () => ({ jobs: [] }),
      } },
    });`,
  );
  return file;
}

async function faultsOf(config: object, files: string[] = []): Promise<string[]> {
  const file = path.join(folder, 'config.json');
  writeFileSync(file, JSON.stringify(config));
  try {
    await useVendorModules(files, { JOBFERRY_CONFIG: file }, folder);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.faults.map((fault) => `${fault.path}: ${fault.message}`);
  }
  return [];
}

it('knows the vendors that the configuration file lists, relative to it, and one that the option names as well', async () => {
  module('listed');
  module('named');
  const config = { vendorModules: ['./vendors/listed.ts'], accounts: { listed: { eu: { apiKey: { env: 'X' } } } } };
  expect(await faultsOf(config, ['vendors/listed.ts', 'vendors/named.ts'])).toEqual([]);
  expect(adapters.map(({ name }) => name)).toEqual(['knowhere', 'fini', 'sharely', 'listed', 'named']);
  const settings = loadSettings({ JOBFERRY_CONFIG: path.join(folder, 'config.json') }, adapters, folder);
  expect(settings.accountNames.get('listed')).toEqual(['eu']);
});

it('names the entry of the configuration file that is at fault', async () => {
  expect(await faultsOf({ vendorModules: ['./nope.ts'] })).toEqual([
    `vendorModules: ${path.join(folder, 'nope.ts')}: there is no such file`,
  ]);
});

it.each([
  ['resend', { resend: 'lookpu' }, 'operation go: `resend` is "lookpu"; it can be safe, lookup, none'],
  ['jobKind', { jobKind: 'transcrpt' }, 'operation go: `jobKind` is "transcrpt"; its look-ups are transcript'],
])('refuses a module whose %s is misspelled', async (name, more, message) => {
  const file = module(name.toLowerCase(), more);
  expect(await faultsOf({}, [file])).toEqual([expect.stringContaining(message)]);
});
