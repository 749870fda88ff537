import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { sharely } from '../../src/vendors/sharely/adapter.ts';
import { Harness, until, type HarnessOptions } from '../helpers/harness.ts';
import {
  apiKey,
  fastPoll as poll,
  hurried,
  organizationId,
  refuse,
  ScriptedSharely,
  workspaceId,
} from '../helpers/scripted-sharely.ts';

describe('access tokens of Sharely', () => {
  let vendor: ScriptedSharely;
  let harness: Harness | undefined;

  beforeEach(async () => {
    vendor = await ScriptedSharely.start();
  });

  afterEach(async () => {
    await harness?.stop();
    harness = undefined;
    await vendor.close();
  });

  async function start(options: HarnessOptions = {}): Promise<Harness> {
    harness = await Harness.start({ env: vendor.env, adapters: [sharely], ...options });
    return harness;
  }

  async function createRoles(on: Harness, count: number) {
    const ids = await Promise.all(
      Array.from({ length: count }, (_, index) =>
        on.submit('sharely', 'role.create', { name: `Role ${index}` }, { poll }),
      ),
    );
    return Promise.all(ids.map((id) => on.event(id)));
  }

  it('exchanges the key once for many submissions that start together', async () => {
    const on = await start();
    const events = await createRoles(on, 30);
    expect(events.map((event) => event.data.outcome)).toEqual(Array(30).fill('succeeded'));
    expect(vendor.exchanges).toBe(1);
    expect(vendor.sent(/^POST \/role$/)).toHaveLength(30);
  });

  it('exchanges the key once for 30 submissions on an expired token, and replays each', async () => {
    const on = await start({ change: (config) => ({ ...config, concurrency: { ...config.concurrency, submit: 30 } }) });
    await createRoles(on, 1);
    expect(vendor.exchanges).toBe(1);
    vendor.revokeTokens();
    const events = await createRoles(on, 30);
    expect(events.map((event) => event.data.outcome)).toEqual(Array(30).fill('succeeded'));
    expect(vendor.exchanges).toBe(2);
    expect(vendor.roles.size).toBe(31);
  });

  it('sends key, token and organization where they belong, and nowhere else', async () => {
    const on = await start();
    await createRoles(on, 1);
    const [exchange, ...rest] = vendor.calls;
    expect(exchange?.path).toBe(`/workspaces/${workspaceId}/generate-access-key-token`);
    expect(exchange?.headers['x-api-key']).toBe(apiKey);
    expect(exchange?.headers.authorization).toBeUndefined();
    expect(exchange?.body).toEqual({});
    for (const call of rest) {
      expect(call.path).toMatch(/^\/v1\/workspaces\//);
      expect(call.headers['organizationid']).toBe(organizationId);
      expect(call.headers.authorization).toMatch(/^Bearer eyJ/);
      expect(call.headers['x-api-key']).toBeUndefined();
    }
  });

  it('renews a token 60 s before it ends', async () => {
    vendor.tokenLifeMs = 63_000;
    const on = await start();
    const [event] = await createRoles(on, 1);
    expect(vendor.exchanges).toBe(1);
    const begun = Date.parse(event?.data.timings.enqueuedAt ?? '');
    await until(() => Date.now() - begun > 3_500);
    await createRoles(on, 1);
    expect(vendor.exchanges).toBe(2);
    // Nobody had to be refused for it.
    expect(vendor.sent(/^POST \/role$/)).toHaveLength(2);
  });

  it('does not exchange for every request when its clock says that tokens are over', async () => {
    vendor.tokenLifeMs = -3_600_000;
    const on = await start();
    await createRoles(on, 5);
    expect(vendor.exchanges).toBe(1);
  });

  it.each([401, 403])('renews once after a %i and replays the call', async (status) => {
    const on = await start();
    vendor.script(/^POST \/role$/, refuse(status, 'token expired'), 1);
    const [event] = await createRoles(on, 1);
    expect(event?.data.outcome).toBe('succeeded');
    expect(vendor.exchanges).toBe(2);
    expect(vendor.sent(/^POST \/role$/)).toHaveLength(2);
  });

  it.each([401, 403])('waits at a second %i and ends no submission', async (status) => {
    const on = await start();
    vendor.script(/ \/(role|background-jobs)/, refuse(status, 'missing role'));
    const ids = await Promise.all(
      Array.from({ length: 8 }, (_, index) => on.submit('sharely', 'role.create', { name: `R${index}` }, { poll })),
    );
    await until(async () => {
      const records = await Promise.all(ids.map((id) => on.record('sharely', id)));
      return records.every((record) => record?.includes(status === 401 ? 'vendor_unauthorized' : 'vendor_forbidden'));
    });
    const sent = vendor.sent(/^POST \/role$/).length;
    // All that were under way together, and each replay; not one try per submission and moment.
    expect(sent).toBeLessThanOrEqual(16);
    expect(on.events).toHaveLength(0);
    vendor.unscript();
    const events = await Promise.all(ids.map((id) => on.event(id)));
    expect(events.map((event) => event.data.outcome)).toEqual(Array(8).fill('succeeded'));
    expect(vendor.roles.size).toBe(8);
  });

  it('holds the account when the key itself is refused', async () => {
    const on = await start({ env: { ...vendor.env, SHARELY_API_KEY: 'sk-sharely-wrong' } });
    const id = await on.submit('sharely', 'role.create', { name: 'R' }, { poll: { ...poll, submitWithinMs: 3_000 } });
    const event = await on.event(id);
    expect(event.data).toMatchObject({ outcome: 'expired', error: { code: 'not_submitted_in_time' } });
    expect(event.data.error?.details).toMatchObject({ lastError: { code: 'vendor_unauthorized' } });
    expect(JSON.stringify(event)).not.toContain('sk-sharely');
    expect(vendor.sent(/role/)).toHaveLength(0);
  });

  it.each([
    ['answers 503', refuse(503, 'busy')],
    ['is cut', 'cut'],
    ['answers no token', { status: 200, json: { token: '' } }],
    ['answers HTML', { status: 200, text: '<html>', headers: { 'content-type': 'text/html' } }],
  ] as const)('leaves no submit in doubt when the exchange %s', async (_, reply) => {
    const on = await start();
    vendor.script(/generate-access-key-token/, reply, 1);
    // Without customerRoleId a create in doubt would end as unconfirmed.
    const [event] = await createRoles(on, 1);
    expect(event?.data.outcome).toBe('succeeded');
    expect(vendor.roles.size).toBe(1);
  });

  it('uses a ready token as it is, and holds the account at its first 401', async () => {
    const { SHARELY_API_KEY: _key, ...env } = vendor.env;
    const on = await start({ env: { ...env, SHARELY_ACCESS_TOKEN: 'ready-token' } });
    const [event] = await createRoles(on, 1);
    expect(event?.data.outcome).toBe('succeeded');
    vendor.script(/^POST \/role$/, refuse(401, 'expired'), 1);
    const id = await on.submit('sharely', 'role.create', { name: 'R' }, { poll });
    await until(async () => (await on.record('sharely', id))?.includes('vendor_unauthorized'));
    expect(vendor.sent(/^POST \/role$/)).toHaveLength(2);
    expect((await on.event(id)).data.outcome).toBe('succeeded');
    expect(vendor.exchanges).toBe(0);
  });

  it('rejects a submission for a workspace that is closed to the account, and holds nobody else', async () => {
    const on = await start();
    const foreign = randomUUID();
    const id = await on.submit('sharely', 'role.create', { name: 'R', workspaceId: foreign }, { poll });
    const event = await on.event(id);
    expect(event.data.outcome).toBe('rejected');
    expect(event.data.error?.message).toContain(foreign);
    const [other] = await createRoles(on, 1);
    expect(other?.data.outcome).toBe('succeeded');
  });

  it('expires a watch in a closed workspace without touching other submissions', async () => {
    const on = await start({ adapters: [hurried({ graceMs: 100 })] });
    const deadline = { ...poll, deadlineMs: 1_500 };
    const input = { workflowIds: ['a', 'b'], workspaceId: randomUUID() };
    const id = await on.submit('sharely', 'watch', input, { poll: deadline });
    const [other] = await createRoles(on, 1);
    expect(other?.data.outcome).toBe('succeeded');
    expect((await on.event(id)).data.outcome).toBe('expired');
  });
});
