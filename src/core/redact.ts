import { printable } from './printable.ts';

/**
 * Keeps secrets and link signatures out of whatever people look at: logs, the board, error messages.
 * Works on text, because foreign messages are text: what looks like a credential goes, wherever it stands.
 *
 * Every pattern takes all that it looked at, or looks at a bounded piece: none can be made to read the same text
 * again and again, so the time is linear in the length whatever a stranger wrote.
 */

/** A URL of any scheme up to where text around it begins. */
const url = /([a-z][a-z0-9+.-]{0,30}:\/\/)([^\s"'<>\\`]*)/gi;
/** The same in percent-encoding, as it stands in another URL's path. */
const encodedQuery = /%3f[^\s"'<>\\`&]*/gi;
const authorization =
  /((?:proxy-)?authorization(?:\\*["'])?\s{0,8}[:=]\s{0,8}(?:\\*["'])?)(?:(?:bearer|basic|token|apikey|digest|aws4-hmac-sha256)\s{1,8})?[^\s"',;&}\\]{3,}/gi;
const cookie = /((?:set-)?cookie(?:\\*["'])?\s{0,8}[:=]\s{0,8})[^\r\n"'\\}]{3,}/gi;
const bearer = /\b(Bearer|Basic)\s{1,8}[A-Za-z0-9._~+/=-]{4,}/gi;
const knownKeys =
  /\b(?:(?:sk_|sk-|pk_|rk_|fini_|whsec_|gh[oprsu]_|github_pat_|xox[abeprs]-|AKIA|ASIA|AIza)[A-Za-z0-9._-]{3,}|(?:glpat-|dckr_pat_|hvs\.|hvb\.|ya29\.|SG\.)[A-Za-z0-9._-]{12,}|(?:npm_|hf_|dop_v1_|shp(?:at|ca|pa|ss)_)[A-Za-z0-9]{24,})/g;
/** Addresses that are a secret as a whole: whoever knows one may post. */
const webhook =
  /(\b(?:hooks\.slack\.com\/(?:services|workflows|triggers)|discord(?:app)?\.com\/api\/webhooks|api\.telegram\.org)\/)[^\s"'<>\\?#]*/gi;
const jsonWebToken = /eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)*/g;
const privateKey = /-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[^-]*(?:-----END [A-Z ]{0,40}PRIVATE KEY-----)?/g;
const namedSecret =
  /((?:api[-_]?key|access[-_]?key(?:[-_]?id)?|private[-_]?key|account[-_]?key|pass(?:word|wd|phrase)|secret|signature|credentials?|(?:[?&;]|\b)sig|(?<![a-z])(?:token|pwd|pin|otp|jwt|iban)|session[-_]?id|card[-_]?number|(?:access|refresh|session|security|auth|id|api)[-_]?token)(?:\\*["'])?\s{0,8}[:=]\s{0,8}(?:\\*["'])?)[^\s"',;&}\\]{3,}/gi;

/**
 * A text without credentials: URLs lose their query and user info, keys and tokens become `[redacted]`. What a terminal would
 * act on is written out.
 */
export function redactText(given: string): string {
  const text = printable(given);
  // A shortcut that is worth having: most texts are ids, words and numbers.
  if (text.length < 6) return text;
  return text
    .replace(privateKey, '[redacted]')
    .replace(url, redactUrl)
    .replace(webhook, '$1[redacted]')
    .replace(encodedQuery, '%3F[redacted]')
    .replace(authorization, '$1[redacted]')
    .replace(cookie, '$1[redacted]')
    .replace(bearer, '$1 [redacted]')
    .replace(jsonWebToken, '[redacted]')
    .replace(knownKeys, '[redacted]')
    .replace(namedSecret, '$1[redacted]');
}

function redactUrl(_match: string, scheme: string, rest: string): string {
  const end = rest.search(/[?#]/);
  const address = end < 0 ? rest : rest.slice(0, end);
  const slash = address.indexOf('/');
  const authority = slash < 0 ? address : address.slice(0, slash);
  const at = authority.lastIndexOf('@');
  const shown = at < 0 ? address : `[redacted]${address.slice(at)}`;
  return `${scheme}${shown}${end < 0 ? '' : '?[redacted]'}`;
}

/** Shorter ones are words that stand in many a text by chance, such as the keys of tests. */
const leastSecretLength = 8;

/**
 * The ways in which somebody who was sent a secret may quote it: as it is, as a JSON text, in percent-encoding, in hex, or
 * inside of something that is base64, where it looks different at each of three offsets.
 */
export function formsOf(secret: string): string[] {
  if (secret.length < leastSecretLength) return [];
  const inside = [0, 1, 2].flatMap((offset) => {
    const encoded = Buffer.from(' '.repeat(offset) + secret).toString('base64url');
    // What the neighbours have a share in is left out at both ends.
    const part = encoded.slice(offset === 0 ? 0 : offset + 1, -2);
    return [part, part.replaceAll('-', '+').replaceAll('_', '/')];
  });
  const hex = Buffer.from(secret).toString('hex');
  return [
    ...new Set([
      hex,
      hex.toUpperCase(),
      secret,
      JSON.stringify(secret).slice(1, -1),
      encodeURIComponent(secret),
      ...inside,
    ]),
  ];
}

/** A text without the given quotes of secrets. Needed for those that no pattern knows. */
export function withoutForms(text: string, forms: readonly string[]): string {
  return forms.reduce((left, form) => (left.includes(form) ? left.replaceAll(form, '[redacted]') : left), text);
}

/** What a field's name ends in when its value is a secret; compared without case, dashes and underscores. */
const secretNames =
  /(?:authorization|cookie|apikey|password|passwd|passphrase|secret|token|signature|privatekey|accesskey|accesskeyid|accountkey|credentials?|connectionstring|sessionid|cardnumber)$/;
/** Secret as the last word of a name: `userPin`, `card_pin`, and not `shopping`. */
const secretWords: ReadonlySet<string> = new Set(['pin', 'pwd', 'otp', 'jwt', 'iban', 'cvc', 'cvv']);
/** Further names, from the configuration of this process; plain as `plainName` makes them. */
const furtherNames = new Set<string>();

/** Hides the values of further fields, from now on and for this whole process. */
export function hideFields(names: readonly string[]): void {
  for (const name of names) furtherNames.add(plainName(name));
}

function plainName(name: string): string {
  return name.replace(/[-_\s]/g, '').toLowerCase();
}

/** True for names such as `apiKey`, `X-Api-Key`, `clientSecret`, `refresh_token`. */
export function isSecretName(name: string): boolean {
  if (name.length > 256) return false;
  const plain = plainName(name);
  if (secretNames.test(plain) || furtherNames.has(plain)) return true;
  const lastWord = name.split(/[^A-Za-z]|(?<=[a-z])(?=[A-Z])/).at(-1) ?? '';
  return secretWords.has(lastWord.toLowerCase());
}

/**
 * A copy of any JSON-like value with every text in it redacted, and the values of fields named like a secret gone.
 * Bounded: below `maxDepth` levels nothing is copied.
 */
export function redactValue(value: unknown, maxDepth = 24): unknown {
  if (typeof value === 'string') return redactText(value);
  if (typeof value !== 'object' || value === null) return value;
  if (maxDepth <= 0) return '[…]';
  if (Array.isArray(value)) return value.map((item) => redactValue(item, maxDepth - 1));
  const copy: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(value)) {
    if (key === '__proto__') continue;
    const hidden = isSecretName(key) && item !== null && item !== undefined && typeof item !== 'boolean';
    copy[redactText(key)] = hidden ? '[redacted]' : redactValue(item, maxDepth - 1);
  }
  return copy;
}
