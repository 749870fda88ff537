import type { Call } from './call.ts';

/** The token of an `Authorization: Bearer …` header; undefined where there is none. */
export function bearerToken(call: Call): string | undefined {
  return /^Bearer (\S+)$/i.exec(call.header('authorization') ?? '')?.[1];
}
