import * as z from 'zod';
import { StepTimeoutError, toErrorInfo, VendorUnavailableError } from '../core/errors.ts';
import { copyJson } from '../core/json.ts';
import { redactText } from '../core/redact.ts';
import { requestTimeoutMs } from '../core/request-time.ts';
import type { Logger } from '../ports/logger.ts';
import type {
  HttpOptions,
  HttpReply,
  HttpRequest,
  Lookup,
  Operation,
  StepContext,
  Transfers,
  VendorAdapter,
  VendorHttp,
} from '../ports/vendor-adapter.ts';
import { ModuleReader } from './module-values.ts';
import { defaultStepLimitMs, runWatched, type StepWatch, type WatchedStep } from './step-watch.ts';

/**
 * The same adapter with a guard at each of its steps, for the engine alone:
 *
 * - what a step returns is read by what the port says, and anything else is a `VendorContractError`
 * - a step that never ends is given up (`StepTimeoutError`), and sends nothing from then on
 * - what a step is given are copies: nothing of the record can be changed through them
 *
 * @param stepLimitMs - for steps that name no limit themselves.
 */
export function checkedAdapter(
  adapter: VendorAdapter,
  { logger, stepLimitMs = defaultStepLimitMs }: { logger: Logger; stepLimitMs?: number | undefined },
): VendorAdapter {
  const { name: vendor } = adapter;
  return {
    ...adapter,
    http: checkedHttp(adapter.http, { vendor, of: 'http', step: 'credential', limitMs: stepLimitMs }, logger),
    lookups: mapValues(adapter.lookups, (lookup, of) =>
      checkedLookup({ vendor, of, limitMs: readLimit(lookup.stepLimitMs, stepLimitMs) }, lookup, logger),
    ),
    operations: mapValues(adapter.operations, (operation, of) =>
      checkedOperation({ vendor, of, limitMs: readLimit(operation.stepLimitMs, stepLimitMs) }, operation),
    ),
  };
}

type Guarded = Omit<WatchedStep, 'step'>;
type Context = StepContext<unknown, unknown>;

function checkedOperation(guarded: Guarded, operation: Operation): Operation {
  const readerOf = (step: string): ModuleReader => new ModuleReader(`${guarded.vendor} ${guarded.of}: ${step}`);
  const run = async <T>(
    step: string,
    context: Context,
    call: (context: Context) => unknown,
    read: (reader: ModuleReader, value: unknown) => T,
  ): Promise<T> => {
    const value = await runWatched({ ...guarded, step }, context, (watch, signal) =>
      call(guardContext(context, watch, signal)),
    );
    return read(readerOf(step), value);
  };
  return {
    ...operation,
    input: checkedInput(operation.input),
    ...(typeof operation.resend !== 'function'
      ? {}
      : {
          resend: (input, account) =>
            readerOf('resend').safety((operation.resend as (...given: unknown[]) => unknown)(input, account)),
        }),
    submitTimeoutMs: readLimit(operation.submitTimeoutMs, requestTimeoutMs),
    ...(operation.inFlightMs === undefined
      ? {}
      : { inFlightMs: (snapshot) => readerOf('inFlightMs').wait(operation.inFlightMs?.(copyJson(snapshot))) }),
    ...(operation.preflight === undefined
      ? {}
      : {
          preflight: (context) =>
            run(
              'preflight',
              context,
              (given) => operation.preflight?.(given),
              (reader, value) => reader.snapshot(value),
            ),
        }),
    submit: (context) =>
      run(
        'submit',
        context,
        (given) => operation.submit(given),
        (reader, value) => reader.submitReply(value),
      ),
    ...(operation.reconcile === undefined
      ? {}
      : {
          reconcile: (context, intent) =>
            run(
              'reconcile',
              context,
              (given) => operation.reconcile?.(given, { ...intent }),
              (reader, value) => reader.reconcileReply(value),
            ),
        }),
    ...(operation.giveUp === undefined
      ? {}
      : {
          giveUp: (context, error) => {
            const reply: unknown = operation.giveUp?.(withCopies(context), copyJson(error));
            if (reply instanceof Promise) reply.catch(() => undefined);
            return readerOf('giveUp').submitReply(reply);
          },
        }),
    ...(operation.prepare === undefined
      ? {}
      : {
          prepare: (context) =>
            run(
              'prepare',
              context,
              (given) => operation.prepare?.(given),
              (reader, value) => reader.vendorJobs(value),
            ),
        }),
    ...(operation.cancel === undefined
      ? {}
      : {
          cancel: (context, jobs) =>
            run(
              'cancel',
              context,
              (given) => operation.cancel?.(given, copyJson(jobs)),
              () => undefined,
            ),
        }),
    ...(operation.confirm === undefined
      ? {}
      : {
          confirm: (context) =>
            run(
              'confirm',
              context,
              (given) => operation.confirm?.(given),
              (reader, value) => reader.confirmReply(value),
            ),
        }),
  };
}

function checkedLookup(guarded: Guarded, lookup: Lookup, logger: Logger): Lookup {
  return {
    ...lookup,
    maxBatch: (account) => readMaxBatch(guarded, lookup, account, logger),
    async look(jobs, context) {
      const value = await runWatched(
        { ...guarded, step: 'look', isShared: jobs.length > 1 },
        context,
        (watch, signal) => lookup.look(jobs, { ...context, signal, http: watchedHttp(context.http, watch) }),
      );
      return new ModuleReader(`${guarded.vendor} ${guarded.of}: look`).lookupAnswers(value, jobs);
    },
  };
}

function checkedHttp(http: HttpOptions<unknown>, step: WatchedStep, logger: Logger): HttpOptions<unknown> {
  if (http.credential === undefined) return http;
  return {
    ...http,
    async credential(account, client, realm) {
      const { signal } = new AbortController();
      try {
        const credential = await runWatched(step, { signal, logger }, (watch) =>
          http.credential?.(account, watchedHttp(client, watch), realm),
        );
        return credential as Awaited<ReturnType<NonNullable<typeof http.credential>>>;
      } catch (error) {
        if (!(error instanceof StepTimeoutError)) throw error;
        // Without a credential nothing was sent.
        throw new VendorUnavailableError(error.message, { taken: 'no', cause: error });
      }
    },
  };
}

/** A schema that throws, by a refinement of its own or an asynchronous one, refuses what it was given. */
function checkedInput(schema: z.ZodType): z.ZodType {
  const safeParse: z.ZodType['safeParse'] = (data, params) => {
    try {
      return schema.safeParse(data, params);
    } catch (error) {
      const message = `could not be checked: ${error instanceof Error ? error.message : String(error)}`;
      return { success: false, error: new z.ZodError([{ code: 'custom', path: [], message, input: undefined }]) };
    }
  };
  return Object.create(schema, { safeParse: { value: safeParse } }) as z.ZodType;
}

function guardContext(context: Context, watch: StepWatch, signal: AbortSignal): Context {
  return Object.assign(withCopies(context), {
    http: watchedHttp(context.http, watch),
    transfers: watchedTransfers(context.transfers, watch),
    claim: (id: string) => watch.during(() => context.claim(id)),
    signal,
  });
}

/** A submission can have ten thousand vendor jobs: they are copied when a step reads them, not before. */
function withCopies(context: Context): Context & Record<'http' | 'transfers' | 'claim' | 'signal', unknown> {
  const { input, carry, snapshot, jobs } = context;
  return Object.defineProperties(
    { ...context },
    {
      input: lazily(() => tryCopy(input)),
      carry: lazily(() => copyJson(carry)),
      snapshot: lazily(() => copyJson(snapshot)),
      jobs: lazily(() => copyJson(jobs)),
    },
  );
}

function lazily<T>(make: () => T): PropertyDescriptor {
  let made: { value: T } | undefined;
  return { enumerable: true, configurable: true, get: () => (made ??= { value: make() }).value };
}

/** What a schema makes of an input can be more than JSON. */
function tryCopy<T>(value: T): T {
  try {
    return structuredClone(value);
  } catch {
    return value;
  }
}

function watchedHttp(http: VendorHttp, watch: StepWatch): VendorHttp {
  return {
    request<Reply>(request: HttpRequest<Reply>): Promise<HttpReply<Reply>> {
      const { body } = request;
      if (body === undefined) return watch.during(() => http.request(request));
      return watch.during(() => http.request({ ...request, body: () => watch.except(body) }));
    },
  };
}

function watchedTransfers(transfers: Transfers, watch: StepWatch): Transfers {
  return {
    async openFile(path) {
      const file = await watch.during(() => transfers.openFile(path));
      return { size: file.size, stream: () => watch.chunks(file.stream()), close: () => file.close() };
    },
    upload: (link, file, signal) => watch.during(() => transfers.upload(link, file, signal)),
    download: (request, signal) => watch.during(() => transfers.download(request, signal)),
  };
}

/** Where a module does not say how many vendor jobs go into one request, each is asked for alone. */
function readMaxBatch({ vendor, of }: Guarded, lookup: Lookup, account: unknown, logger: Logger): number {
  let fault: string;
  try {
    const maxBatch: unknown = typeof lookup.maxBatch === 'function' ? lookup.maxBatch(account) : lookup.maxBatch;
    if (typeof maxBatch === 'number' && maxBatch >= 1) return maxBatch;
    fault = `is ${String(maxBatch)}, and not a number from 1`;
  } catch (error) {
    fault = `could not be read: ${toErrorInfo(error).message}`;
  }
  logger.error({ lookup: of, fault: redactText(fault) }, `maxBatch of a look-up of ${vendor} cannot be used: 1 holds`);
  return 1;
}

function readLimit(own: unknown, fallback: number): number {
  return typeof own === 'number' && own > 0 ? own : fallback;
}

function mapValues<T>(record: Readonly<Record<string, T>>, change: (value: T, key: string) => T): Record<string, T> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(value, key)]));
}
