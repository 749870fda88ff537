import type { Server } from 'node:http';
import type { FaultBoard } from './faults/fault-board.ts';
import type { Ledger } from './ledger.ts';
import type { JobEnding, JobFilter, JobView, VendorControl, VendorDouble } from './vendor-double.ts';
import { VendorSettingError } from './vendor-settings.ts';
import type { WorkClock } from './work-clock.ts';

/** How the sandbox starts. Everything is optional. */
export interface SandboxOptions {
  /** 0 or absent: any free port. */
  port?: number;
  /** Address to listen on. Default `127.0.0.1`: nothing else can reach it. */
  host?: string;
  /** Knowhere: play the documentation (`doc`) or the implementation (`impl`, default). */
  dialect?: 'doc' | 'impl';
  /** Work speed, 0.001 to 1e9. 1 is realistic; 20 is twenty times faster. Links, rate windows and waits are not scaled. */
  speed?: number;
  /** Which vendors to play. Default: all. */
  vendors?: string[];
  /** Vendor settings by vendor name, as `POST /_control/limits` takes them. */
  settings?: Record<string, Record<string, unknown>>;
  /** Most ledger entries kept. Default 200,000. */
  ledgerLimit?: number;
  /** Gets one line per request. Default: silence. */
  log?: (line: string) => void;
}

interface Parts {
  readonly host: string;
  readonly port: number;
  readonly clock: WorkClock;
  readonly ledger: Ledger;
  readonly faults: FaultBoard;
  readonly doubles: readonly VendorDouble[];
  readonly server: Server;
  readonly initialSpeed: number;
}

/** A running sandbox. Everything here is also a control route, for programs in another process. */
export class Sandbox {
  /** Origin, e.g. `http://127.0.0.1:4010`. Control routes are below `/_control`. */
  readonly url: string;
  readonly port: number;
  /** What the sandbox was asked. */
  readonly ledger: Ledger;
  /** Arms and disarms faults. */
  readonly faults: FaultBoard;
  readonly #parts: Parts;
  #closing: Promise<void> | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.port = parts.port;
    this.ledger = parts.ledger;
    this.faults = parts.faults;
    this.url = `http://${reachable(parts.host)}:${parts.port}`;
  }

  /** Names of the vendors played. */
  get vendors(): readonly string[] {
    return this.#parts.doubles.map((double) => double.name);
  }

  /** Base URL of a vendor, e.g. `http://127.0.0.1:4010/knowhere`. */
  baseUrl(vendor: string): string {
    return `${this.url}/${this.#double(vendor).basePaths[0]}`;
  }

  /** To be given as `KNOWHERE_BASE_URL`. */
  get knowhereUrl(): string {
    return this.baseUrl('knowhere');
  }

  /** To be given as `FINI_BASE_URL`. */
  get finiUrl(): string {
    return this.baseUrl('fini');
  }

  /** To be given as `SHARELY_BASE_URL`. */
  get sharelyUrl(): string {
    return this.baseUrl('sharely');
  }

  /** Control routes that belong to one vendor alone. */
  vendorControls(): Readonly<Record<string, VendorControl>> {
    return Object.assign({}, ...this.#parts.doubles.map((double) => double.controlRoutes ?? {})) as Readonly<
      Record<string, VendorControl>
    >;
  }

  /** Jobs of all vendors, newest first within a vendor. `total` counts all that match. */
  jobs(filter: JobFilter = {}): { total: number; jobs: JobView[] } {
    const parts = this.#parts.doubles
      .filter((double) => filter.vendor === undefined || filter.vendor === double.name)
      .map((double) => double.jobs(filter));
    return {
      total: parts.reduce((sum, part) => sum + part.total, 0),
      jobs: parts.flatMap((part) => part.jobs).slice(0, filter.limit ?? 100),
    };
  }

  /** One job, or null. */
  job(jobId: string): JobView | null {
    for (const double of this.#parts.doubles) {
      const view = double.job(jobId);
      if (view !== null) return view;
    }
    return null;
  }

  /** Ends a job by hand; false when there is no such job or it has ended already. */
  finishJob(jobId: string, ending: JobEnding): boolean {
    return this.#parts.doubles.some((double) => double.finish(jobId, ending));
  }

  /**
   * Which text of a vendor's contract is played from now on.
   * @param vendor - default: the first one played
   */
  setDialect(dialect: 'doc' | 'impl', vendor?: string): void {
    this.setLimits({ dialect }, vendor);
  }

  /** Work speed from now on. */
  setSpeed(speed: number): void {
    this.#parts.clock.setSpeed(speed);
  }

  get speed(): number {
    return this.#parts.clock.speed;
  }

  /**
   * Changes a vendor's rate limits and lifetimes; the vendors' pages list the names.
   * @param vendor - default: the first one played
   * @throws VendorSettingError on a name or value that does not fit
   */
  setLimits(settings: Record<string, unknown>, vendor?: string): void {
    this.#double(vendor ?? this.vendors[0] ?? '').settings.change(settings);
  }

  /** Settings in force, by vendor. */
  settings(): Record<string, Record<string, unknown>> {
    return Object.fromEntries(this.#parts.doubles.map(({ name, settings }) => [name, { ...settings.current }]));
  }

  /** Back to the state at start: no jobs, no faults, an empty ledger, first speed and settings. */
  async reset(options: { seed?: number | undefined } = {}): Promise<void> {
    this.faults.reset(options.seed);
    this.ledger.clear();
    this.setSpeed(this.#parts.initialSpeed);
    for (const { settings } of this.#parts.doubles) settings.reset();
    await Promise.all(this.#parts.doubles.map((double) => double.clear()));
  }

  /** Ends every connection, hanging ones included, and removes what was uploaded. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const { server, doubles } = this.#parts;
    const closed = new Promise<void>((resolve) => {
      server.close(() => {
        resolve();
      });
    });
    server.closeAllConnections();
    await closed;
    await Promise.all(doubles.map((double) => double.clear()));
  }

  #double(vendor: string): VendorDouble {
    const double = this.#parts.doubles.find((candidate) => candidate.name === vendor);
    if (double === undefined) {
      throw new VendorSettingError(`the sandbox plays ${this.vendors.join(', ')}, not '${vendor}'`);
    }
    return double;
  }
}

function reachable(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  if (host === '::') return '[::1]';
  return host.includes(':') ? `[${host}]` : host;
}
