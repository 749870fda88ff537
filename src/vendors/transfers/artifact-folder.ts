import { createHash } from 'node:crypto';
import path from 'node:path';

/** Where the downloaded results of one submission lie, absolute. */
export function artifactFolder(
  artifactsDir: string,
  { vendor, account, submissionId }: { vendor: string; account: string; submissionId: string },
): string {
  return path.resolve(artifactsDir, safeName(vendor), safeName(account), safeName(submissionId));
}

/** A name from outside made into one path segment. */
export function safeName(name: string): string {
  const cleaned = name.replace(/[^A-Za-z0-9._-]/g, '_').replace(/^\.+/, '_');
  if (cleaned === name && name.length <= 120) return name;
  const suffix = createHash('sha256').update(name).digest('hex').slice(0, 12);
  return `${cleaned.slice(0, 100)}-${suffix}`;
}
