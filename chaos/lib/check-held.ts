import type { Evidence, VendorRequest, Window } from './evidence.ts';
import type { Violation } from './violation.ts';

/** From a request that may have shown the account to work, until all workers know better again, ms. */
const spreadMs = 2_500;
/** A probe is the request and, since keys in files can be rotated, its repetition with the key read anew. */
const requestsOfProbe = 2;
const probeWindowMs = 900;

/**
 * Invariant 6: of a held account one request at a time, of all workers, tests whether it works again.
 *
 * Before the hold is known everywhere, and after an answer that was no refusal of the key, jobs may be let in; the
 * strict rule holds from then on.
 */
export function checkHeldAccount(evidence: Evidence): { violations: Violation[]; afterLoss: Violation[] } {
  const violations: Violation[] = [];
  const afterLoss: Violation[] = [];
  const requests = evidence.audit.refused.toSorted((one, other) => one.at - other.at);
  let openUntil = (requests[0]?.at ?? 0) + spreadMs;
  requests.forEach((request, index) => {
    const others = requests
      .slice(index + 1, index + 20)
      .filter(({ at }) => at - request.at < probeWindowMs || at < request.answeredAt);
    const isStrict = request.at > openUntil;
    if (request.status !== 401) openUntil = Math.max(openUntil, request.answeredAt + spreadMs);
    if (!isStrict || others.length < requestsOfProbe || isExcused(evidence, request)) return;
    const what = `held account: ${others.length + 1} requests within ${probeWindowMs} ms, a probe has ${requestsOfProbe}`;
    const isLost = evidence.lost.some((window) => isNear(window, request));
    (isLost ? afterLoss : violations).push({ invariant: 6, submission: '', what });
  });
  return { violations, afterLoss };
}

/** A worker that stood still with a probe in its hands may come late with it; so may an answer through a bad line. */
function isExcused({ standstill, vendorTrouble }: Evidence, request: VendorRequest): boolean {
  return [...standstill, ...vendorTrouble].some((window) => isNear(window, request));
}

function isNear({ from, to }: Window, { at, answeredAt }: VendorRequest): boolean {
  return answeredAt >= from - spreadMs && at <= to + spreadMs;
}
