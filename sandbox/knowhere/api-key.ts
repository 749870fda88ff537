/**
 * The user that a key belongs to; null when the vendor would not know the key. Any `sk_…` key will do except `sk_bad…`.
 * Limits and jobs are kept per user: `sk_user-anna_…` is anna's, every other key the default user's.
 */
export function userOf(apiKey: string | undefined): string | null {
  if (apiKey === undefined || !/^sk_.+/.test(apiKey) || apiKey.startsWith('sk_bad')) return null;
  return /^sk_user-([^_]+)/.exec(apiKey)?.[1] ?? 'default';
}
