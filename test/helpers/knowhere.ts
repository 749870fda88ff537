import { createServer, type AddressInfo } from 'node:net';
import type { HarnessOptions } from './harness.ts';
import { Harness } from './harness.ts';
import { startSandbox, type LedgerEntry, type Sandbox } from '../../sandbox/index.ts';

/** Poll options that let a test end in a second and still show growth. */
export const quickPoll = { initialDelayMs: 80, factor: 1.5, maxDelayMs: 300, deadlineMs: 20_000 };

export interface KnowhereRig {
  sandbox: Sandbox;
  harness: Harness;
  /** Requests that asked for something to be created, and were answered or not. */
  creates(): LedgerEntry[];
  /** Vendor jobs that really exist because of a create. */
  created(): LedgerEntry[];
  lookups(): LedgerEntry[];
  stop(): Promise<void>;
}

/** Workers, Redis and the Knowhere sandbox, all real, in one process. */
export async function startKnowhere(
  options: HarnessOptions & { dialect?: 'doc' | 'impl'; speed?: number } = {},
): Promise<KnowhereRig> {
  const sandbox = await startSandbox({
    vendors: ['knowhere'],
    dialect: options.dialect ?? 'impl',
    speed: options.speed ?? 50,
  });
  const harness = await Harness.start({
    ...options,
    env: { KNOWHERE_API_KEY: 'sk_test', KNOWHERE_BASE_URL: sandbox.knowhereUrl, ...options.env },
    change: (config) => {
      // Looking for a lost submit takes minutes by default; the order of things is the same in seconds.
      const quick = { ...config, reconcile: { absenceMs: 1_500, minAbsentLooks: 2, inFlightMs: 1_000 } };
      return options.change === undefined ? quick : options.change(quick);
    },
  });
  const entries = (route: string): LedgerEntry[] => sandbox.ledger.entries({ route });
  return {
    sandbox,
    harness,
    creates: () => entries('create'),
    created: () => entries('create').filter((entry) => entry.jobCreated),
    lookups: () => entries('lookup'),
    async stop() {
      await harness.stop();
      await sandbox.close();
    },
  };
}

export function urlInput(name = 'a.pdf'): { sourceType: 'url'; sourceUrl: string } {
  return { sourceType: 'url', sourceUrl: `https://example.com/${name}` };
}

/** A port of this machine where nothing listens. */
export async function closedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
