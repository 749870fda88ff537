import type { AccountBoard } from '../queues/account-board.ts';

/** What `/readyz` tells of accounts: who is held and why, who was told to slow down. */
export async function readAccountStates(accounts: AccountBoard): Promise<object[]> {
  const now = Date.now();
  const states = await accounts.readAll();
  return [...states].flatMap(([account, { hold, throttledUntil }]) => {
    const throttled = Object.entries(throttledUntil).flatMap(([scope, until]) =>
      until !== undefined && until > now ? [{ scope, until: new Date(until).toISOString() }] : [],
    );
    if (hold === undefined && throttled.length === 0) return [];
    const held =
      hold === undefined
        ? undefined
        : { reason: hold.reason, message: hold.message, since: iso(hold.since), nextProbeAt: iso(hold.until) };
    return [{ account, ...(held === undefined ? {} : { held }), ...(throttled.length === 0 ? {} : { throttled }) }];
  });
}

function iso(epochMs: number): string | null {
  return Number.isFinite(epochMs) ? new Date(epochMs).toISOString() : null;
}
