import type { ConformanceDouble, DoubleRequest, Fault, Route, Where } from '../../src/conformance/index.ts';
import { startSandbox, type FaultRuleSpec, type Sandbox, type SandboxOptions } from '../../sandbox/index.ts';

/** The vendor sandbox as the double of the conformance suite: the suite's faults in the sandbox's words. */

export interface SandboxDouble extends ConformanceDouble {
  sandbox: Sandbox;
  /** Asks a control route of the vendor, such as `POST /_control/fini/records`. */
  control<Reply>(path: string, body: object): Promise<Reply>;
}

export interface Played {
  vendor: string;
  /** The sandbox's names of the routes that the cases name. */
  routes: Readonly<Record<Route, string>>;
  /** The faults that each vendor has in words of its own; undefined leaves it to the common ones. */
  own(
    fault: Fault,
    where: Where,
    sandbox: Sandbox,
  ): Omit<FaultRuleSpec, 'vendor' | 'times'> | 'nothing-to-do' | undefined;
  options?: SandboxOptions;
}

/** Work takes some tenths of a second. */
const speed = 60;

/** Faults that the sandbox plays the same way for every vendor. */
const common: Partial<Record<Fault, { fault: string; argument?: number }>> = {
  'bad-request': { fault: 'bad-request' },
  unauthorized: { fault: 'unauthorized' },
  forbidden: { fault: 'forbidden' },
  unavailable: { fault: 'unavailable', argument: 2 },
  'unavailable-for-long': { fault: 'unavailable', argument: 60 },
  refused: { fault: 'bad-request' },
  'rate-limited': { fault: 'rate-limited', argument: 1 },
  'rate-limited-at-once': { fault: 'rate-limited', argument: 0 },
  'rate-limited-for-long': { fault: 'rate-limited', argument: 60 },
  'link-dead': { fault: 'forbidden' },
  'file-late': { fault: 'not-found' },
  'page-for-file': { fault: 'html-page' },
  'rate-limited-without-hint': { fault: 'quota-exceeded' },
  'server-error': { fault: 'server-error' },
  'server-error-after': { fault: 'server-error-after' },
  'cut-before': { fault: 'cut-before' },
  'cut-after': { fault: 'cut-after' },
  unreadable: { fault: 'malformed-json' },
  'slow-reply': { fault: 'slow-reply', argument: 1_200 },
  'huge-reply': { fault: 'huge-body', argument: 12 },
  empty: { fault: 'rows-empty' },
  partial: { fault: 'rows-left-out', argument: 1 },
  'duplicate-rows': { fault: 'rows-duplicated' },
  'reordered-rows': { fault: 'rows-reordered' },
};

export async function sandboxDouble(played: Played): Promise<SandboxDouble> {
  const { vendor } = played;
  const sandbox = await startSandbox({ speed, vendors: [vendor], ...played.options });
  const baseUrl = sandbox.baseUrl(vendor);
  const basePath = new URL(baseUrl).pathname;
  const rules: string[] = [];
  return {
    sandbox,
    baseUrl,
    arm(fault, where) {
      const own = played.own(fault, where, sandbox);
      // How one of several jobs ends is decided once they run: until then, they must not end by themselves.
      if (fault === 'reordered-rows') sandbox.setSpeed(0.5);
      // The first of two must run when the second comes.
      if (fault === 'shared-job') sandbox.setSpeed(speed / 20);
      if (own !== undefined) {
        if (own !== 'nothing-to-do') rules.push(sandbox.faults.arm({ vendor, times: where.times, ...own }).id);
        if (where.job !== undefined) sandbox.setSpeed(speed);
        return;
      }
      const shared = fault === 'error-body' ? { fault: 'replies', argument: `400 ${where.argument}` } : common[fault];
      if (shared === undefined) throw new Error(`${vendor}: nobody says how to play ${fault}`);
      const route = played.routes[where.route];
      if (route === undefined) throw new Error(`${vendor}: nobody says what ${where.route} is to the sandbox`);
      const only = fault === 'refused' && where.job !== undefined ? { jobId: where.job } : {};
      rules.push(sandbox.faults.arm({ vendor, route, times: where.times, ...shared, ...only }).id);
    },
    requests: () =>
      sandbox.ledger.entries({ vendor }).map((entry): DoubleRequest => {
        return { method: entry.method, path: entry.path.slice(basePath.length), at: entry.atMs };
      }),
    strikes() {
      const armed = new Map(sandbox.faults.armed().map((rule) => [rule.id, rule.strikes]));
      // One that is spent is armed no more.
      return rules.reduce((sum, id) => sum + (armed.get(id) ?? 1), 0);
    },
    async control<Reply>(path: string, body: object): Promise<Reply> {
      const headers = { 'content-type': 'application/json' };
      const reply = await fetch(`${sandbox.url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
      if (!reply.ok) throw new Error(`${path}: ${reply.status} ${await reply.text()}`);
      return (await reply.json()) as Reply;
    },
    close: () => sandbox.close(),
  };
}
