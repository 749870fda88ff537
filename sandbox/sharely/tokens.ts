import { createHmac, randomBytes, randomUUID } from 'node:crypto';
import type { SharelySettings } from './settings.ts';

/** What a token stands for. */
export interface TokenGrant {
  readonly workspaceId: string;
  readonly apiKey: string;
  readonly roleId: string | null;
  readonly expiresAtMs: number;
}

/** Gives out access tokens (JWTs) and knows which of them are good. */
export class Tokens {
  readonly #secret = randomBytes(32);
  readonly #grants = new Map<string, TokenGrant>();

  /** A fresh token; two exchanges never give the same one. */
  issue(grant: Omit<TokenGrant, 'expiresAtMs'>, seconds: number, exp: SharelySettings['tokenExp']): string {
    const nowMs = Date.now();
    const expiresAtMs = nowMs + seconds * 1_000;
    const claims = {
      jti: randomUUID(),
      workspaceId: grant.workspaceId,
      ...(grant.roleId === null ? {} : { roleId: grant.roleId }),
      iat: Math.floor(nowMs / 1_000),
      ...(exp === 'present' ? { exp: Math.floor(expiresAtMs / 1_000) } : {}),
      ...(exp === 'unreadable' ? { exp: 'tomorrow' } : {}),
    };
    const unsigned = `${encoded({ alg: 'HS256', typ: 'JWT' })}.${encoded(claims)}`;
    const token = `${unsigned}.${createHmac('sha256', this.#secret).update(unsigned).digest('base64url')}`;
    this.#grants.set(token, { ...grant, expiresAtMs });
    return token;
  }

  /** What a token stands for; null when it is unknown, revoked or expired. */
  grant(token: string): TokenGrant | null {
    const grant = this.#grants.get(token);
    return grant === undefined || Date.now() >= grant.expiresAtMs ? null : grant;
  }

  /** Kills every token given out so far, or those of one role. @returns how many were alive */
  revoke(roleId?: string): number {
    let count = 0;
    for (const [token, grant] of this.#grants) {
      if (roleId !== undefined && grant.roleId !== roleId) continue;
      if (this.grant(token) !== null) count += 1;
      this.#grants.delete(token);
    }
    return count;
  }
}

function encoded(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}
