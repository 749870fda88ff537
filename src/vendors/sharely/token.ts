/** How long a token counts as good when it does not say so itself, ms. */
export const unreadableLifeMs = 300_000;
/** The engine renews this long before the end. */
const renewedBeforeMs = 60_000;
/** A token that would be renewed at once is in use for a while all the same. */
const shortestUseMs = 10_000;

/**
 * When a Sharely access token ends: the `exp` of the JWT, read and not verified, because only the vendor can do that.
 * A token whose `exp` is near or past by our clock is taken all the same: a clock that differs must not cost an
 * exchange per request, and a 401 renews the token in any case.
 * @returns epoch ms; five minutes from now when the token can not be read.
 * @see docs/vendors/sharely.md
 */
export function expiryOf(token: string, now: number): number {
  const exp = readExp(token);
  if (exp === undefined) return now + unreadableLifeMs;
  return exp - renewedBeforeMs > now ? exp : now + renewedBeforeMs + shortestUseMs;
}

function readExp(token: string): number | undefined {
  const [, payload, ...rest] = token.split('.');
  if (payload === undefined || rest.length === 0) return undefined;
  let claims: unknown;
  try {
    claims = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'));
  } catch {
    return undefined;
  }
  if (typeof claims !== 'object' || claims === null) return undefined;
  const { exp } = claims as { exp?: unknown };
  // Seconds by the standard; whatever Date can not hold is no time.
  if (typeof exp !== 'number' || !(exp > 0) || exp > 8.64e12) return undefined;
  return exp * 1_000;
}
