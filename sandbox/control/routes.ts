import { z } from 'zod';
import { UnknownFaultError } from '../faults/catalogue.ts';
import type { FaultDefinition } from '../faults/definition.ts';
import type { Call } from '../http/call.ts';
import type { Reply } from '../http/reply.ts';
import { json } from '../http/reply.ts';
import type { Sandbox } from '../sandbox-handle.ts';
import { VendorSettingError } from '../vendor-settings.ts';
import { whyControlIsRefused } from './foreign-page.ts';
import {
  dialectChange,
  faultRule,
  jobEnding,
  jobsQuery,
  ledgerQuery,
  limitsChange,
  resetOptions,
  speedChange,
} from './schemas.ts';

type Handler = (call: Call, sandbox: Sandbox, id: string) => Promise<Reply> | Reply;

/** Every control route; `:id` takes one segment. sandbox/README.md is checked against these keys. */
export const controlRoutes: Readonly<Record<string, Handler>> = {
  'GET /_control/health': () => json(200, { ok: true }),

  'GET /_control/faults': (_call, { faults }) =>
    json(200, {
      armed: faults.armed(),
      table: faults.table().map(({ vendor, definition }) => ({ vendor, ...tableLine(definition) })),
    }),
  'POST /_control/faults': async (call, { faults }) => json(201, faults.arm(await body(call, faultRule))),
  'DELETE /_control/faults': (_call, { faults }) => {
    for (const rule of faults.armed()) faults.disarm(rule.id);
    return json(200, { armed: [] });
  },
  'DELETE /_control/faults/:id': (_call, { faults }, id) =>
    faults.disarm(id) ? json(200, { armed: faults.armed() }) : problem(404, `no armed fault '${id}'`),

  'GET /_control/ledger': (call, { ledger }) => {
    const filter = query(call, ledgerQuery);
    return json(200, { summary: ledger.summary(), entries: ledger.entries(filter) });
  },
  'DELETE /_control/ledger': (_call, { ledger }) => {
    ledger.clear();
    return json(200, { summary: ledger.summary() });
  },
  'GET /_control/ledger/summary': (_call, { ledger }) => json(200, ledger.summary()),
  'GET /_control/ledger/creates': (call, { ledger }) => {
    const { by, ...filter } = query(call, ledgerQuery.extend({ by: z.enum(['dataId', 'source']).default('dataId') }));
    return json(200, { by, groups: ledger.creates(by, filter) });
  },
  'GET /_control/ledger/lookups/:id': (_call, { ledger }, id) => json(200, { jobId: id, lookups: ledger.lookups(id) }),

  'GET /_control/jobs': (call, sandbox) => json(200, sandbox.jobs(query(call, jobsQuery))),
  'GET /_control/jobs/:id': (_call, sandbox, id) => {
    const view = sandbox.job(id);
    return view === null ? problem(404, `no job '${id}'`) : json(200, view);
  },
  'POST /_control/jobs/:id/finish': async (call, sandbox, id) => {
    const ending = await body(call, jobEnding);
    if (sandbox.finishJob(id, ending)) return json(200, sandbox.job(id));
    return sandbox.job(id) === null ? problem(404, `no job '${id}'`) : problem(409, `job '${id}' has ended already`);
  },

  'GET /_control/settings': (_call, sandbox) => json(200, { speed: sandbox.speed, vendors: sandbox.settings() }),
  'POST /_control/dialect': async (call, sandbox) => {
    const { dialect, vendor } = await body(call, dialectChange);
    sandbox.setDialect(dialect, vendor);
    return json(200, sandbox.settings());
  },
  'POST /_control/limits': async (call, sandbox) => {
    const { vendor, ...settings } = await body(call, limitsChange);
    sandbox.setLimits(settings, vendor);
    return json(200, sandbox.settings());
  },
  'POST /_control/speed': async (call, sandbox) => {
    sandbox.setSpeed((await body(call, speedChange)).speed);
    return json(200, { speed: sandbox.speed });
  },
  'POST /_control/reset': async (call, sandbox) => {
    await sandbox.reset(await body(call, resetOptions));
    return json(200, { ok: true });
  },
};

interface Route {
  readonly method: string;
  readonly parts: readonly string[];
  readonly handler: Handler;
}

function compile([key, handler]: [string, Handler]): Route {
  const [method = '', pattern = ''] = key.split(' ');
  return { method, parts: pattern.split('/').slice(1), handler };
}

const compiled = Object.entries(controlRoutes).map(compile);
const compiledForVendors = new WeakMap<Sandbox, readonly Route[]>();

/** The routes of the vendors that this sandbox plays. */
function vendorRoutes(sandbox: Sandbox): readonly Route[] {
  const known = compiledForVendors.get(sandbox);
  if (known !== undefined) return known;
  const routes = Object.entries(sandbox.vendorControls()).map(([key, control]) =>
    compile([key, async (call, _sandbox, id) => control(await body(call, z.unknown()), call, id)]),
  );
  compiledForVendors.set(sandbox, routes);
  return routes;
}

/** Answers `/`, `/healthz` and everything below `/_control`. */
export async function controlReply(call: Call, sandbox: Sandbox): Promise<Reply> {
  if (call.path === '/healthz') return json(200, { ok: true });
  const refusal = whyControlIsRefused(call);
  if (refusal !== undefined) return problem(403, refusal);
  if (call.path === '/') return index(call, sandbox);
  try {
    for (const { method, parts, handler } of [...compiled, ...vendorRoutes(sandbox)]) {
      if (method !== call.method || parts.length !== call.segments.length) continue;
      if (!parts.every((part, at) => part.startsWith(':') || part === call.segments[at])) continue;
      const idAt = parts.findIndex((part) => part.startsWith(':'));
      return await handler(call, sandbox, call.segments[idAt] ?? '');
    }
  } catch (error) {
    if (error instanceof z.ZodError) return problem(400, 'the request does not fit', z.flattenError(error));
    if (error instanceof UnknownFaultError || error instanceof VendorSettingError) return problem(400, error.message);
    throw error;
  }
  return problem(404, `nothing at ${call.method} ${call.path}; vendors: ${sandbox.vendors.join(', ')}`);
}

function index(call: Call, sandbox: Sandbox): Reply {
  return json(200, {
    what: 'jobferry vendor sandbox',
    vendors: Object.fromEntries(sandbox.vendors.map((name) => [name, sandbox.baseUrl(name)])),
    control: [...Object.keys(controlRoutes), ...Object.keys(sandbox.vendorControls())],
    self: call.origin,
  });
}

function tableLine({ name, summary, routes, scope, argument, markerTimes, effect }: FaultDefinition) {
  return { name, summary, kind: effect.kind, routes, scope, argument: argument ?? null, markerTimes };
}

async function body<T extends z.ZodType>(call: Call, schema: T): Promise<z.infer<T>> {
  const text = await call.text();
  let value: unknown = {};
  if (text.trim() !== '') {
    try {
      value = JSON.parse(text);
    } catch {
      throw new VendorSettingError('the body is not JSON');
    }
  }
  return schema.parse(value);
}

function query<T extends z.ZodType>(call: Call, schema: T): z.infer<T> {
  return schema.parse(Object.fromEntries(call.query));
}

function problem(status: number, error: string, details?: unknown): Reply {
  return json(status, { sandbox: { error, ...(details === undefined ? {} : { details }) } });
}
