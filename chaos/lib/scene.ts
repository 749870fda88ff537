import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { FlowProducer, Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { SubmissionReader } from '../../src/queues/submission-reader.ts';
import type { Build } from './build.ts';
import { documentFile, heldAccount, vendors, type Vendor } from './loads.ts';
import type { FireOptions } from './options.ts';
import { TcpProxy } from './proxy.ts';
import { MortalRedis } from './redis.ts';
import { VendorProcess } from './vendor-process.ts';

export const prefix = 'fire';
export const stageQueues = vendors.flatMap((vendor) => [`${vendor}.submit`, `${vendor}.poll`]);
const wrongKey = 'sk_badlocked';

/** Everything that a run needs besides its workers: Redis, the vendors, the lines to both, and ways past the lines. */
export class Scene {
  readonly redis: MortalRedis;
  readonly vendor: VendorProcess;
  readonly queues = new Map<Vendor, Queue>();
  /** Knowhere's accounts that take turns. */
  readonly accounts: readonly string[];
  redisProxy!: TcpProxy;
  vendorProxy!: TcpProxy;
  /** Past the proxy; commands fail when Redis is away. */
  direct!: Redis;
  reader!: SubmissionReader;
  flows!: FlowProducer;
  readonly #folder: string;
  readonly #keyFile: string;
  readonly #closers: (() => unknown)[] = [];

  constructor(options: FireOptions, build: Build, folder: string) {
    this.#folder = folder;
    this.#keyFile = path.join(folder, 'locked.key');
    this.accounts = Array.from({ length: options.accounts }, (_, number) => `a${number}`);
    this.redis = new MortalRedis(path.join(folder, 'redis'), options.redis);
    this.vendor = new VendorProcess(build, { CHAOS_SPEED: String(options.speed), CHAOS_WRONG_KEY: wrongKey });
    this.#closers.push(() => this.vendor.child.end());
  }

  async open({ seed, vendorFaults }: FireOptions): Promise<void> {
    await this.redis.start();
    this.#closers.push(() => this.redis.stop());
    const vendorPort = await this.vendor.listen();
    await this.vendor.arm(vendorFaults, seed);
    this.redisProxy = await TcpProxy.open(() => this.redis.port);
    this.#closers.push(() => this.redisProxy.close());
    this.vendorProxy = await TcpProxy.open(() => vendorPort);
    this.#closers.push(() => this.vendorProxy.close());
    this.direct = this.connect({ commandTimeout: 1_000 });
    for (const vendor of vendors) {
      const queue = new Queue(`${vendor}.submit`, { connection: this.connect(), prefix, skipMetasUpdate: true });
      queue.on('error', () => undefined);
      this.#closers.push(() => queue.close());
      this.queues.set(vendor, queue);
    }
    this.flows = new FlowProducer({ connection: this.connect(), prefix });
    this.flows.on('error', () => undefined);
    this.#closers.push(() => this.flows.close());
    this.reader = new SubmissionReader(this.connect(), prefix);
    this.#closers.push(() => this.reader.close());
  }

  /** A connection past the proxy. */
  connect(more: { commandTimeout?: number } = {}): Redis {
    const redis = new Redis(this.redis.url, { maxRetriesPerRequest: null, retryStrategy: () => 200, ...more });
    redis.on('error', () => undefined);
    this.#closers.push(() => redis.disconnect());
    return redis;
  }

  /** What worker processes are started with. */
  workerEnv({ control, reconcile }: FireOptions): Record<string, string> {
    const inFolder = (name: string): string => path.join(this.#folder, name);
    for (const name of ['files', 'artifacts']) mkdirSync(inFolder(name));
    writeFileSync(inFolder(`files/${documentFile}`), '# A document\n\nOf two lines.\n');
    writeFileSync(this.#keyFile, wrongKey);
    const address = `http://127.0.0.1:${this.vendorProxy.port}`;
    const keys = Object.fromEntries(this.accounts.map((name) => [`KEY_${name}`, `sk_user-${name}_fire`]));
    const baseUrl = `${address}/knowhere`;
    const knowhere = Object.fromEntries(
      this.accounts.map((name) => [name, { apiKey: { env: `KEY_${name}` }, baseUrl }]),
    );
    const config = {
      reconcile,
      concurrency: { submit: 10, poll: 40 },
      accounts: { knowhere: { ...knowhere, [heldAccount]: { apiKey: { file: this.#keyFile }, baseUrl } } },
    };
    writeFileSync(inFolder('config.json'), JSON.stringify(config));
    return {
      ...keys,
      REDIS_URL: `redis://127.0.0.1:${this.redisProxy.port}`,
      JOBFERRY_PREFIX: prefix,
      JOBFERRY_FILES_DIR: inFolder('files'),
      JOBFERRY_ARTIFACTS_DIR: inFolder('artifacts'),
      JOBFERRY_ALLOW_PRIVATE_URLS: 'true',
      JOBFERRY_CONFIG: inFolder('config.json'),
      FINI_API_KEY: 'fini_fire',
      FINI_BASE_URL: `${address}/fini`,
      SHARELY_API_KEY: 'sk-sharely-fire',
      SHARELY_BASE_URL: `${address}/sharely`,
      SHARELY_WORKSPACE_ID: '6f1c2a34-0000-4000-8000-000000000001',
      SHARELY_ORGANIZATION_ID: '6f1c2a34-0000-4000-8000-000000000002',
      CHAOS_LOG: inFolder('workers.log'),
      ...(control === undefined ? {} : { CHAOS_CONTROL: control }),
    };
  }

  /** Somebody mends the key. */
  mendKey(): void {
    writeFileSync(this.#keyFile, `sk_user-${heldAccount}_fire`);
  }

  /** The last opened goes first. One that can not be closed must not keep the others. */
  async close(): Promise<void> {
    for (const close of this.#closers.reverse()) {
      await Promise.resolve()
        .then(close)
        .catch(() => undefined);
    }
  }
}
