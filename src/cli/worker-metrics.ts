import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Config } from '../config/load-config.ts';
import type { CompletionEvent } from '../core/completion-event.ts';
import { JobferryError } from '../core/errors.ts';
import type { Lookup, Operation, VendorAdapter } from '../ports/vendor-adapter.ts';

/** What is asked when metrics are read. */
export interface MetricSources {
  /** Which workers run at this moment. */
  queues(): Promise<readonly { queue: string; running: boolean }[]>;
  /** Undefined while it is not known. */
  clockOffsetMs(): number | undefined;
  droppedLogLines?(): number;
}

/** What a worker process counts: requests to vendors as they go out, and submissions as they end. */
export class WorkerMetrics {
  readonly #registry = new Registry();
  readonly #submits: Counter<'vendor' | 'operation' | 'result'>;
  readonly #lookups: Counter<'vendor' | 'kind' | 'result'>;
  readonly #lookupSeconds: Histogram<'vendor' | 'kind'>;
  readonly #lookedUp: Counter<'vendor' | 'kind'>;
  readonly #outcomes: Counter<'vendor' | 'operation' | 'outcome'>;
  readonly #submissionSeconds: Histogram<'vendor' | 'outcome'>;
  readonly #polls: Histogram<'vendor'>;
  readonly #running: Gauge<'queue'>;

  constructor(sources: MetricSources) {
    const registers = [this.#registry];
    collectDefaultMetrics({ register: this.#registry });
    this.#submits = new Counter({
      name: 'jobferry_submit_requests_total',
      help: 'Submit requests to vendors by result: ok, or the code of the error',
      labelNames: ['vendor', 'operation', 'result'],
      registers,
    });
    this.#lookups = new Counter({
      name: 'jobferry_lookup_requests_total',
      help: 'Status requests to vendors by result: ok, or the code of the error',
      labelNames: ['vendor', 'kind', 'result'],
      registers,
    });
    this.#lookedUp = new Counter({
      name: 'jobferry_looked_up_vendor_jobs_total',
      help: 'Vendor jobs that status requests asked for; more than requests where they are batched',
      labelNames: ['vendor', 'kind'],
      registers,
    });
    this.#lookupSeconds = new Histogram({
      name: 'jobferry_lookup_request_seconds',
      help: 'How long status requests took',
      labelNames: ['vendor', 'kind'],
      buckets: [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
      registers,
    });
    this.#outcomes = new Counter({
      name: 'jobferry_submissions_settled_total',
      help: 'Completion events delivered by this process, repeated deliveries included',
      labelNames: ['vendor', 'operation', 'outcome'],
      registers,
    });
    this.#submissionSeconds = new Histogram({
      name: 'jobferry_submission_seconds',
      help: 'From enqueueing to outcome',
      labelNames: ['vendor', 'outcome'],
      buckets: [1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600, 14_400],
      registers,
    });
    this.#polls = new Histogram({
      name: 'jobferry_submission_polls',
      help: 'Status look-ups that a submission took',
      labelNames: ['vendor'],
      buckets: [0, 1, 2, 4, 8, 16, 32, 64, 128],
      registers,
    });
    this.#running = new Gauge({
      name: 'jobferry_worker_running',
      help: '1 while the worker of the queue takes jobs',
      labelNames: ['queue'],
      registers,
      collect: async () => {
        for (const { queue, running } of await sources.queues()) this.#running.set({ queue }, running ? 1 : 0);
      },
    });
    new Gauge({
      name: 'jobferry_clock_offset_seconds',
      help: 'By how much the clock of this machine is ahead of Redis; beyond 60 either way no work is taken',
      registers,
      collect() {
        const offsetMs = sources.clockOffsetMs();
        if (offsetMs !== undefined) this.set(offsetMs / 1_000);
      },
    });
    new Gauge({
      name: 'jobferry_log_lines_dropped',
      help: 'Log lines of this process that were dropped because nothing read them',
      registers,
      collect() {
        this.set(sources.droppedLogLines?.() ?? 0);
      },
    });
  }

  async render(): Promise<string> {
    return this.#registry.metrics();
  }

  /** To be told of every event that was delivered. */
  onEvent(event: CompletionEvent): void {
    const { vendor, operation, outcome, timings, polls } = event.data;
    // The name of an operation comes from whoever pushed the job; one that does not exist must make no new series.
    this.#outcomes.inc({
      vendor,
      operation: this.#known.has(`${vendor}.${operation}`) ? operation : 'unknown',
      outcome,
    });
    const seconds = (Date.parse(timings.settledAt) - Date.parse(timings.enqueuedAt)) / 1_000;
    if (Number.isFinite(seconds)) this.#submissionSeconds.observe({ vendor, outcome }, seconds);
    this.#polls.observe({ vendor }, polls);
  }

  readonly #known = new Set<string>();

  /** The same configuration with adapters whose requests are counted. */
  count(config: Config): Config {
    const vendors = config.vendors.map(({ adapter, accounts }) => ({ adapter: this.#countAdapter(adapter), accounts }));
    return Object.freeze({ ...config, vendors });
  }

  #countAdapter(adapter: VendorAdapter): VendorAdapter {
    for (const name of Object.keys(adapter.operations)) this.#known.add(`${adapter.name}.${name}`);
    const operations = mapValues(adapter.operations, (operation, name) =>
      operation.adopts === true ? operation : this.#countOperation(adapter.name, name, operation),
    );
    const lookups = mapValues(adapter.lookups, (lookup, kind) => this.#countLookup(adapter.name, kind, lookup));
    return Object.freeze({ ...adapter, operations, lookups });
  }

  #countOperation(vendor: string, name: string, operation: Operation): Operation {
    return {
      ...operation,
      submit: async (context) => {
        try {
          const reply = await operation.submit(context);
          this.#submits.inc({ vendor, operation: name, result: 'ok' });
          return reply;
        } catch (error) {
          this.#submits.inc({ vendor, operation: name, result: codeOf(error) });
          throw error;
        }
      },
    };
  }

  #countLookup(vendor: string, kind: string, lookup: Lookup): Lookup {
    return {
      ...lookup,
      look: async (jobs, context) => {
        const end = this.#lookupSeconds.startTimer({ vendor, kind });
        this.#lookedUp.inc({ vendor, kind }, jobs.length);
        try {
          const reports = await lookup.look(jobs, context);
          this.#lookups.inc({ vendor, kind, result: 'ok' });
          return reports;
        } catch (error) {
          this.#lookups.inc({ vendor, kind, result: codeOf(error) });
          throw error;
        } finally {
          end();
        }
      },
    };
  }
}

/** Our classes, not the vendor's codes: those are without number. */
function codeOf(error: unknown): string {
  return error instanceof JobferryError ? error.name : 'other';
}

function mapValues<T>(record: Readonly<Record<string, T>>, change: (value: T, key: string) => T): Record<string, T> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(value, key)]));
}
