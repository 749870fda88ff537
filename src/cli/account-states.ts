import type { AccountBoard } from '../queues/account-board.ts';

/** What `/readyz` tells of accounts: who is held and why, who was told to slow down. */
export async function readAccountStates(accounts: AccountBoard): Promise<object[]> {
  const now = Date.now();
  const states = await accounts.readAll();
  return [...states].flatMap(([account, { holds, throttledUntil }]) => {
    const throttled = Object.entries(throttledUntil).flatMap(([scope, until]) =>
      until !== undefined && until > now ? [{ scope, until: new Date(until).toISOString() }] : [],
    );
    const held = Object.entries(holds).map(([part, { reason, message, since, until, origin }]) => ({
      ...(part === 'account' ? {} : { scope: part }),
      reason,
      message,
      since: iso(since),
      nextProbeAt: iso(until),
      ...(origin === undefined ? {} : { origin: { ...origin, at: iso(origin.at) } }),
    }));
    if (held.length === 0 && throttled.length === 0) return [];
    return [{ account, ...(held.length === 0 ? {} : { held }), ...(throttled.length === 0 ? {} : { throttled }) }];
  });
}

function iso(epochMs: number): string | null {
  return Number.isFinite(epochMs) ? new Date(epochMs).toISOString() : null;
}
