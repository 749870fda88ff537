import { createHash, randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Logger } from '../../src/ports/logger.ts';
import type { Operation, VendorAdapter } from '../../src/ports/vendor-adapter.ts';
import { sharely } from '../../src/vendors/sharely/adapter.ts';

/**
 * A small Sharely over a real socket: enough state to read a resource back, a ledger of what came in, and replies that
 * a test can put in place of its own. It shares no code with the adapter.
 */

export const organizationId = '0a8d7c1e-5b1f-4c5e-9a51-5d0a3f1b2c3d';
export const workspaceId = '11111111-2222-4333-8444-555555555555';
export const apiKey = 'sk-sharely-test-0123456789';

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- whatever a test puts in or takes out
export type Wire = any;

export interface Call {
  method: string;
  path: string;
  query: URLSearchParams;
  headers: IncomingMessage['headers'];
  /** Parsed JSON; undefined where there is none. */
  body: Wire;
}

export type Reply = { status: number; json?: unknown; text?: string; headers?: Record<string, string> } | 'cut';
/** @returns undefined to leave the call to the server's own state. */
type Script = (call: Call) => Reply | undefined;

interface Role {
  id: string;
  name: string;
  description: string | null;
  customerRoleId: string | null;
  createdAt: string;
  updatedAt: string;
}
interface Item {
  id: string;
  title: string;
  description: string | null;
  type: string;
  status: string;
  createdAt: string;
  processedAt?: string;
  roles: Set<string>;
  children: string[];
  bytes?: number;
  sha256?: string;
}
interface Workflow {
  id: string;
  looks: number;
  runId: string;
  finish: () => void;
}

const codes: Record<string, number> = {
  UNSPECIFIED: 0,
  RUNNING: 1,
  COMPLETED: 2,
  FAILED: 3,
  CANCELLED: 4,
  CANCELED: 4,
  TERMINATED: 5,
  CONTINUED_AS_NEW: 6,
  TIMED_OUT: 7,
  PAUSED: 8,
};

export class ScriptedSharely {
  readonly calls: Call[] = [];
  readonly roles = new Map<string, Role>();
  readonly items = new Map<string, Item>();
  readonly taxonomies = new Map<string, { id: string; name: string; published: boolean }>();
  readonly workflows = new Map<string, Workflow>();
  /** Where a submit's answer carries its workflow. */
  shape: 'workflowId' | 'workflowIds' | 'none' | '204' = 'workflowId';
  /** The names a workflow goes through, one per look; the last one stays. */
  statuses: string[] = ['RUNNING', 'COMPLETED'];
  /** False: workflows complete and change nothing. */
  isEffective = true;
  /** What an uploaded item says of itself, one per read; the last one stays. */
  itemStatuses: string[] = ['PROCESSED'];
  tokenLifeMs = 86_400_000;
  /** Rewrites the rows of a background-jobs answer. */
  rewriteRows: (rows: Wire[], ids: string[]) => unknown = (rows) => rows;
  exchanges = 0;
  /** Those that the key opens. */
  readonly workspaces = new Set([workspaceId]);
  readonly #tokens = new Set<string>();
  readonly #scripts: { matches: RegExp; script: Script; left: number }[] = [];
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => void this.#serve(request, response));
  }

  static async start(): Promise<ScriptedSharely> {
    const sharely = new ScriptedSharely();
    await new Promise<void>((resolve) => sharely.#server.listen(0, '127.0.0.1', resolve));
    return sharely;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get env(): Record<string, string> {
    return {
      SHARELY_API_KEY: apiKey,
      SHARELY_ORGANIZATION_ID: organizationId,
      SHARELY_WORKSPACE_ID: workspaceId,
      SHARELY_BASE_URL: this.url,
    };
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** @param matches - `POST /role$`, tested against method and path below the workspace */
  script(matches: RegExp, script: Script | Reply, times = Number.POSITIVE_INFINITY): void {
    this.#scripts.push({ matches, script: typeof script === 'function' ? script : () => script, left: times });
  }

  unscript(): void {
    this.#scripts.length = 0;
  }

  /** Calls whose method and path below the workspace match. */
  sent(matches: RegExp): Call[] {
    return this.calls.filter((call) => matches.test(describe(call)));
  }

  revokeTokens(): void {
    this.#tokens.clear();
  }

  addRole(values: Partial<Role> = {}): Role {
    const at = new Date().toISOString();
    const role = {
      id: randomUUID(),
      name: 'Reader',
      description: null,
      customerRoleId: null,
      createdAt: at,
      updatedAt: at,
      ...values,
    };
    this.roles.set(role.id, role);
    return role;
  }

  addItem(values: Partial<Item> = {}): Item {
    const item: Item = {
      id: randomUUID(),
      title: 'Item',
      description: null,
      type: 'FILE',
      status: 'COMPLETED',
      createdAt: new Date().toISOString(),
      roles: new Set(),
      children: [],
      ...values,
    };
    this.items.set(item.id, item);
    return item;
  }

  addWorkflow(finish: () => void = () => undefined): Workflow {
    const workflow = { id: randomUUID(), looks: 0, runId: randomUUID(), finish };
    this.workflows.set(workflow.id, workflow);
    return workflow;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://localhost');
    const call: Call = {
      method: request.method ?? '',
      path: url.pathname,
      query: url.searchParams,
      headers: request.headers,
      body: undefined,
    };
    try {
      if (/^multipart\//.test(request.headers['content-type'] ?? '')) call.body = await readMultipart(request);
      else call.body = await readJson(request);
    } catch {
      response.destroy();
      return;
    }
    this.calls.push(call);
    const reply = this.#reply(call);
    if (reply === 'cut') {
      response.destroy();
      return;
    }
    const text = reply.text ?? (reply.json === undefined ? '' : JSON.stringify(reply.json));
    response.writeHead(reply.status, {
      'x-api-version': 'v1',
      ...(text === '' ? {} : { 'content-type': 'application/json' }),
      ...reply.headers,
    });
    response.end(text);
  }

  #reply(call: Call): Reply {
    const scripted = this.#scripts.find((one) => one.left > 0 && one.matches.test(describe(call)));
    if (scripted !== undefined) {
      scripted.left -= 1;
      const reply = scripted.script(call);
      if (reply !== undefined) return reply;
    }
    return this.handle(call);
  }

  /** What the server itself makes of a call; also for scripts that let it work and then spoil the answer. */
  handle(call: Call): Reply {
    const match = /^(\/v1)?\/workspaces\/([^/]+)(?:\/(.*))?$/.exec(call.path);
    if (match === null) return notFound();
    const [, prefix, workspace, rest = ''] = match;
    if (prefix === undefined) return this.#exchange(call, workspace ?? '');
    const [, token = ''] = /^Bearer (.+)$/.exec(call.headers.authorization ?? '') ?? [];
    if (!this.#tokens.has(`${workspace} ${token}`) && token !== 'ready-token')
      return refuse(401, 'Invalid or expired token');
    if (call.headers['organizationid'] !== organizationId) return refuse(400, 'organizationid is missing');
    return this.#route(call, rest);
  }

  #exchange(call: Call, workspace: string): Reply {
    this.exchanges += 1;
    if (call.headers['x-api-key'] !== apiKey) return refuse(401, 'Invalid API key');
    if (!this.workspaces.has(workspace)) return refuse(404, 'Workspace not found');
    const claims = { exp: Math.floor((Date.now() + this.tokenLifeMs) / 1_000), jti: randomUUID() };
    const token = [{ alg: 'HS256' }, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'));
    const text = `${token.join('.')}.c2ln`;
    this.#tokens.add(`${workspace} ${text}`);
    return { status: 200, json: { token: text } };
  }

  #route(call: Call, rest: string): Reply {
    const [kind, id = '', sub] = rest.split('/').map(decodeURIComponent);
    const { method, body } = call;
    switch (kind) {
      case '':
      case undefined:
        return { status: 200, json: { id: workspaceId, organizationId, rbacStatus: 'ACTIVE' } };
      case 'background-jobs':
        return this.#backgroundJobs(body);
      case 'role':
        return this.#role(method, id, sub, body);
      case 'knowledge':
        return this.#knowledge(call, id, sub);
      case 'taxonomy':
        if (method === 'GET') return { status: 200, json: [...this.taxonomies.values()] };
        return this.#publish(id);
      default:
        return notFound();
    }
  }

  #backgroundJobs(body: Wire): Reply {
    const ids = body?.jobIds as string[] | undefined;
    if (!Array.isArray(ids) || ids.length === 0) {
      return { status: 200, json: [...this.workflows.values()].map(({ id }) => ({ workflowId: id })) };
    }
    const rows = ids.flatMap((id) => {
      const workflow = this.workflows.get(id);
      if (workflow === undefined) return [];
      const name = this.statuses[Math.min(workflow.looks, this.statuses.length - 1)] ?? 'RUNNING';
      workflow.looks += 1;
      if (name === 'COMPLETED') workflow.finish();
      return [{ workflowId: id, status: { code: codes[name] ?? 99, name }, runId: workflow.runId }];
    });
    return { status: 200, json: this.rewriteRows(rows, ids) };
  }

  /** The answer to an accepted submit, in the shape of the day. */
  #accepted(status: number, json: object, effect: () => void): Reply {
    const apply = (): void => {
      if (this.isEffective) effect();
    };
    if (this.shape === 'none' || this.shape === '204') {
      apply();
      return this.shape === '204' ? { status: 204 } : { status, json };
    }
    const { id } = this.addWorkflow(apply);
    return { status, json: { ...json, ...(this.shape === 'workflowId' ? { workflowId: id } : { workflowIds: [id] }) } };
  }

  #role(method: string, id: string, sub: string | undefined, body: Wire): Reply {
    if (method === 'GET' && id === '')
      return { status: 200, json: { roles: [...this.roles.values()], total: this.roles.size } };
    if (method === 'GET') {
      const found =
        id === 'by-customer-role-id'
          ? [...this.roles.values()].find((role) => role.customerRoleId === sub)
          : this.roles.get(id);
      return found === undefined ? notFound() : { status: 200, json: found };
    }
    if (method === 'POST') {
      const existing = [...this.roles.values()].find(
        (role) => body.customerRoleId !== undefined && role.customerRoleId === body.customerRoleId,
      );
      if (existing !== undefined && id !== 'upsert') return refuseOld(409, 'Conflict', 'customerRoleId is taken');
      const role = existing ?? this.addRole({});
      Object.assign(role, body);
      return this.#accepted(
        existing === undefined ? 201 : 200,
        { role, created: existing === undefined },
        () => undefined,
      );
    }
    const role = this.roles.get(id);
    if (role === undefined) return refuseOld(404, 'Not Found', 'Role not found');
    if (method === 'PUT') {
      const changed = { ...role, ...body };
      return this.#accepted(200, { role: changed }, () => this.roles.set(id, changed));
    }
    return this.#accepted(200, { message: 'Role deletion started' }, () => this.roles.delete(id));
  }

  #knowledge(call: Call, id: string, sub: string | undefined): Reply {
    const { method, body } = call;
    if (method === 'POST' && id === 'file') return this.#upload(call);
    if (method === 'GET' && id === '') {
      const offset = Number(call.query.get('offset') ?? 0);
      const limit = Number(call.query.get('limit') ?? 100);
      const all = [...this.items.values()];
      return { status: 200, json: { knowledge: all.slice(offset, offset + limit).map(show), total: all.length } };
    }
    const item = this.items.get(id);
    if (item === undefined) return notFound();
    if (sub === 'role') {
      if (method === 'GET')
        return { status: 200, json: [...item.roles].map((role) => ({ id: role, name: 'r', metadata: {} })) };
      const ids = body.roleIds as string[];
      return this.#accepted(200, { success: true }, () => {
        for (const role of ids) {
          if (method === 'POST') item.roles.add(role);
          else item.roles.delete(role);
        }
      });
    }
    if (method === 'GET') {
      const next = item.status === 'queued' ? this.itemStatuses.shift() : undefined;
      const shown = next ?? item.status;
      if (this.itemStatuses.length === 0 && next !== undefined) item.status = next;
      return {
        status: 200,
        json: { ...show(item), status: shown, children: item.children.map((child) => ({ id: child })) },
      };
    }
    if (sub !== 'children' && item.children.length > 0) return refuse(400, 'The item has children');
    return this.#accepted(200, {}, () => {
      this.items.delete(id);
      for (const child of item.children) this.items.delete(child);
    });
  }

  #upload({ body }: Call): Reply {
    const item = this.addItem({
      title: body.fields.title,
      description: body.fields.description ?? null,
      status: 'queued',
      bytes: body.bytes,
      sha256: body.sha256,
    });
    return this.#accepted(201, { id: item.id, knowledgeId: item.id, type: 'FILE', status: 'queued' }, () => undefined);
  }

  #publish(id: string): Reply {
    const taxonomy = this.taxonomies.get(id);
    if (taxonomy === undefined) return notFound();
    return this.#accepted(200, {}, () => {
      taxonomy.published = true;
    });
  }
}

/** The newer of the two shapes. */
export function refuse(status: number, error: string): Reply {
  return { status, json: { error, errorId: 'e7a1b0c2-0000-4000-8000-000000000001' } };
}

/** The older one. */
export function refuseOld(status: number, error: string, message: string, details?: object): Reply {
  return { status, json: { error, message, ...(details === undefined ? {} : { details }) } };
}

function notFound(): Reply {
  return refuse(404, 'Not found');
}

function describe(call: Call): string {
  return `${call.method} ${call.path.replace(/^(?:\/v1)?\/workspaces\/[^/]+/, '')}`;
}

function show({ roles: _roles, children: _children, ...item }: Item): object {
  return item;
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString('utf8');
  return text === '' ? undefined : (JSON.parse(text) as unknown);
}

/** Reads the fields and hashes the file, which has to come last, without keeping it. */
async function readMultipart(request: IncomingMessage): Promise<unknown> {
  const [, boundary = ''] = /boundary=(.+)$/.exec(request.headers['content-type'] ?? '') ?? [];
  const end = Buffer.from(`\r\n--${boundary}--\r\n`);
  const fields: Record<string, string> = {};
  const hash = createHash('sha256');
  let head = Buffer.alloc(0);
  let tail = Buffer.alloc(0);
  let fileName: string | undefined;
  let bytes = 0;
  const take = (chunk: Buffer): void => {
    tail = Buffer.concat([tail, chunk]);
    const sure = tail.length - end.length;
    if (sure <= 0) return;
    hash.update(tail.subarray(0, sure));
    bytes += sure;
    tail = Buffer.from(tail.subarray(sure));
  };
  for await (const chunk of request) {
    if (fileName !== undefined) {
      take(chunk as Buffer);
      continue;
    }
    head = Buffer.concat([head, chunk as Buffer]);
    const text = head.toString('latin1');
    const file = /filename="([^"]*)"\r\n[^]*?\r\n\r\n/.exec(text);
    if (file === null) continue;
    fileName = file[1];
    for (const part of text.slice(0, file.index).split(`--${boundary}\r\n`)) {
      const field = /name="([^"]+)"\r\n\r\n([^]*)\r\n$/.exec(part);
      if (field !== null) fields[field[1] ?? ''] = Buffer.from(field[2] ?? '', 'latin1').toString('utf8');
    }
    take(head.subarray(file.index + file[0].length));
  }
  if (!tail.equals(end)) throw new Error('the body does not end in its boundary');
  return { fields, fileName, bytes, sha256: hash.digest('hex') };
}

/** The adapter with its graces shortened, so that a test need not sit them out. */
export function hurried(graces: { graceMs?: number; confirmGraceMs?: number }): VendorAdapter {
  const operations = Object.entries<Operation>(sharely.operations).map(([name, one]) => [name, { ...one, ...graces }]);
  return { ...sharely, operations: Object.fromEntries(operations) as typeof sharely.operations };
}

/** Polls that follow each other fast. */
export const fastPoll = { initialDelayMs: 50, factor: 1.2, maxDelayMs: 300, deadlineMs: 20_000 };

/** A logger that keeps what it is told. */
export function keepingLogger(): Logger & {
  lines: { level: string; fields: Record<string, unknown>; message: string }[];
} {
  const lines: { level: string; fields: Record<string, unknown>; message: string }[] = [];
  const at = (level: string) => (fields: object, message: string) => {
    lines.push({ level, fields: { ...fields }, message });
  };
  const logger = {
    lines,
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: () => logger,
  };
  return logger;
}
