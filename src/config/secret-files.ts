import { statSync } from 'node:fs';
import path from 'node:path';
import { secretReference, type ConfigFile } from './config-file.ts';

/** A file that holds a secret, and the place that names it. */
export interface SecretFile {
  path: string;
  file: string;
}

/** The files that accounts of the configuration name for their secrets. */
export function secretFilesOf(accounts: ConfigFile['accounts']): SecretFile[] {
  return Object.entries(accounts).flatMap(([vendor, named]) =>
    Object.entries(named).flatMap(([account, fields]) =>
      Object.entries(fields).flatMap(([field, value]) => {
        const { data } = secretReference.safeParse(value);
        return data === undefined || !('file' in data)
          ? []
          : [{ path: `accounts.${vendor}.${account}.${field}`, file: data.file }];
      }),
    ),
  );
}

/** Where container engines put secrets: only the container sees the mount, and its files usually have mode 444. */
const containerSecrets = '/run/secrets/';

/** One line per secret file that users other than its owner can read. Unreadable files are reported elsewhere. */
export function warnOfOpenFiles(files: readonly SecretFile[]): string[] {
  if (process.platform === 'win32') return [];
  return files.flatMap(({ path: named, file }) => {
    const absolute = path.resolve(file);
    if (absolute.startsWith(containerSecrets)) return [];
    const mode = statSync(absolute, { throwIfNoEntry: false })?.mode ?? 0;
    if ((mode & 0o077) === 0) return [];
    const shown = (mode & 0o777).toString(8);
    return [
      `${named}: group or others can read ${absolute} (mode ${shown}); \`chmod 600\` keeps the secret to its owner`,
    ];
  });
}
