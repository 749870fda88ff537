import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Harness, until } from '../helpers/harness.ts';
import { fastPoll as poll, hurried, keepingLogger, refuse, ScriptedSharely } from '../helpers/scripted-sharely.ts';

describe('background-jobs of Sharely', () => {
  let vendor: ScriptedSharely;
  let harness: Harness;
  let logger: ReturnType<typeof keepingLogger>;

  beforeEach(async () => {
    vendor = await ScriptedSharely.start();
    logger = keepingLogger();
    harness = await Harness.start({
      env: vendor.env,
      adapters: [hurried({ graceMs: 1_500, confirmGraceMs: 400 })],
      logger,
    });
  });

  afterEach(async () => {
    await harness.stop();
    await vendor.close();
  });

  async function run(operation: string, input: unknown, rest: object = {}) {
    return (await harness.event(await harness.submit('sharely', operation, input, { poll, ...rest }))).data;
  }

  const asked = () => vendor.sent(/^POST \/background-jobs/).map((call) => call.body.jobIds as string[]);

  describe('a terminal status', () => {
    it.each([
      ['COMPLETED', 'succeeded'],
      ['FAILED', 'failed'],
      ['TERMINATED', 'failed'],
      ['TIMED_OUT', 'failed'],
      ['CANCELLED', 'failed'],
      ['CANCELED', 'failed'],
    ])('%s ends a watched workflow as %s', async (name, outcome) => {
      vendor.statuses = ['RUNNING', name];
      const workflow = vendor.addWorkflow();
      const data = await run('watch', { workflowIds: [workflow.id] });
      expect(data.outcome).toBe(outcome);
      const [job] = data.vendorJobs;
      expect(job).toMatchObject({ id: workflow.id, status: name });
      const ids = { workflowId: workflow.id, runId: workflow.runId };
      if (outcome === 'succeeded') {
        expect(job?.result).toEqual(ids);
        return;
      }
      const isCanceled = name.startsWith('CANCEL');
      expect(job?.outcome).toBe(isCanceled ? 'canceled' : 'failed');
      expect(job?.error).toMatchObject({
        code: isCanceled ? 'vendor_job_canceled' : 'vendor_job_failed',
        details: { ...ids, status: name },
      });
      expect(logger.lines).toContainEqual(
        expect.objectContaining({ level: 'warn', fields: { ...ids, vendorStatus: name } }),
      );
    });

    it('that is bad ends the submission without a look at the resource', async () => {
      vendor.statuses = ['FAILED'];
      const { id } = vendor.addRole();
      const data = await run('role.delete', { roleId: id });
      expect(data).toMatchObject({ outcome: 'failed', error: { code: 'vendor_job_failed' } });
      expect(vendor.sent(/^GET \/role/)).toHaveLength(0);
    });

    it('that is bad for one workflow of two makes it partial', async () => {
      const [good, bad] = [vendor.addWorkflow(), vendor.addWorkflow()];
      vendor.rewriteRows = (rows) =>
        rows.map((row) => ({
          ...row,
          status: row.workflowId === bad.id ? { code: 3, name: 'FAILED' } : { code: 2, name: 'COMPLETED' },
        }));
      const data = await run('watch', { workflowIds: [good.id, bad.id] });
      expect(data.outcome).toBe('partial');
    });
  });

  it('CONTINUED_AS_NEW is followed by workflow id while the run id changes', async () => {
    const workflow = vendor.addWorkflow();
    const first = workflow.runId;
    vendor.statuses = ['RUNNING', 'CONTINUED_AS_NEW', 'RUNNING', 'COMPLETED'];
    vendor.rewriteRows = (rows) => {
      if (rows[0]?.status.name === 'CONTINUED_AS_NEW') workflow.runId = randomUUID();
      return rows;
    };
    const data = await run('watch', { workflowIds: [workflow.id] });
    expect(data.outcome).toBe('succeeded');
    expect(data.vendorJobs[0]?.result).toEqual({ workflowId: workflow.id, runId: workflow.runId });
    expect(workflow.runId).not.toBe(first);
    expect(asked().every((ids) => ids.length === 1 && ids[0] === workflow.id)).toBe(true);
  });

  it('statuses of no documentation run on, and are logged once', async () => {
    vendor.statuses = ['UNSPECIFIED', 'PAUSED', 'PAUSED', `WARMING_${randomUUID()}`, 'COMPLETED'];
    const odd = vendor.statuses[3];
    const data = await run('watch', { workflowIds: [vendor.addWorkflow().id] });
    expect(data).toMatchObject({ outcome: 'succeeded', polls: 5 });
    expect(logger.lines.filter((line) => line.fields['vendorStatus'] === odd)).toHaveLength(1);
  });

  it('a status without end ends at the deadline, as expired, with the ids that support asks for', async () => {
    vendor.statuses = ['PAUSED'];
    const { id: workflowId, runId } = vendor.addWorkflow();
    const data = await run('watch', { workflowIds: [workflowId] }, { poll: { ...poll, deadlineMs: 1_200 } });
    expect(data).toMatchObject({ outcome: 'expired', error: { code: 'deadline_exceeded' } });
    expect(data.vendorJobs).toMatchObject([{ id: workflowId, outcome: null, result: { workflowId, runId } }]);
  });

  it('rows with a code only go by it, and are logged once', async () => {
    const flows = Array.from({ length: 4 }, () => vendor.addWorkflow());
    // The last one shows a code of no documentation, then its end.
    const codes = [[2], [3], [6, 1, 7], [8, 4]];
    let looks = 0;
    vendor.rewriteRows = (_, ids) => {
      looks += 1;
      return flows.flatMap(({ id, runId }, index) => {
        const own = codes[index] ?? [];
        const code = own[Math.min(looks, own.length) - 1];
        return ids.includes(id) ? [{ workflowId: id, status: { code }, runId }] : [];
      });
    };
    const data = await run('watch', { workflowIds: flows.map((flow) => flow.id) });
    expect(data.outcome).toBe('partial');
    expect(data.vendorJobs.map(({ status, outcome }) => [status, outcome])).toEqual([
      ['COMPLETED', 'succeeded'],
      ['FAILED', 'failed'],
      ['TIMED_OUT', 'failed'],
      ['CANCELLED', 'canceled'],
    ]);
    expect(logger.lines.filter((line) => line.message.includes('without a name'))).toHaveLength(1);
  });

  it('a code that contradicts its name is logged, and the name holds', async () => {
    const code = 40 + Math.floor(Math.random() * 1e6);
    vendor.statuses = ['RUNNING', 'RUNNING', 'COMPLETED'];
    vendor.rewriteRows = (rows) => rows.map((row) => ({ ...row, status: { ...row.status, code } }));
    const data = await run('watch', { workflowIds: [vendor.addWorkflow().id] });
    expect(data).toMatchObject({ outcome: 'succeeded', polls: 3 });
    expect(logger.lines).toContainEqual(
      expect.objectContaining({ fields: expect.objectContaining({ vendorStatus: 'RUNNING', code }) }),
    );
  });

  it('a row without a readable status runs on', async () => {
    let looks = 0;
    vendor.rewriteRows = (rows) => ((looks += 1) < 3 ? rows.map((row) => ({ ...row, status: 'COMPLETED' })) : rows);
    const data = await run('watch', { workflowIds: [vendor.addWorkflow().id] });
    expect(data).toMatchObject({ outcome: 'succeeded', polls: 3 });
  });

  describe('an answer', () => {
    it('that is empty is not terminal', async () => {
      let looks = 0;
      vendor.rewriteRows = (rows) => ((looks += 1) < 4 ? [] : rows);
      const data = await run('watch', { workflowIds: [vendor.addWorkflow().id] });
      expect(data).toMatchObject({ outcome: 'succeeded' });
      expect(data.polls).toBeGreaterThanOrEqual(4);
    });

    it('that leaves one id out holds up only that one', async () => {
      const [a, b] = [vendor.addWorkflow(), vendor.addWorkflow()];
      let looks = 0;
      vendor.rewriteRows = (rows) => ((looks += 1) < 4 ? rows.filter((row) => row.workflowId !== b.id) : rows);
      const data = await run('watch', { workflowIds: [a.id, b.id] });
      expect(data.outcome).toBe('succeeded');
      // What is over is not asked for again.
      expect(asked().at(-1)).toEqual([b.id]);
    });

    it('with duplicate, re-ordered and foreign rows is read by id', async () => {
      const flows = Array.from({ length: 5 }, () => vendor.addWorkflow());
      vendor.rewriteRows = (rows) => [
        { workflowId: randomUUID(), status: { code: 3, name: 'FAILED' }, runId: 'x' },
        ...[...rows].reverse(),
        ...rows,
      ];
      const data = await run('watch', { workflowIds: flows.map((flow) => flow.id) });
      expect(data.outcome).toBe('succeeded');
      expect(data.vendorJobs.map((job) => job.result)).toEqual(
        flows.map((flow) => ({ workflowId: flow.id, runId: flow.runId })),
      );
    });

    it('with a closed and an open run of one workflow follows the open one', async () => {
      const workflow = vendor.addWorkflow();
      vendor.rewriteRows = (rows) => [
        { workflowId: workflow.id, status: { code: 6, name: 'CONTINUED_AS_NEW' }, runId: 'old' },
        ...rows,
      ];
      const data = await run('watch', { workflowIds: [workflow.id] });
      expect(data.vendorJobs[0]?.result).toMatchObject({ runId: workflow.runId });
    });

    it('in the old shape is named as such, and ends nothing', async () => {
      const workflow = vendor.addWorkflow();
      vendor.rewriteRows = (rows) => ({ jobs: rows.map((row) => ({ id: row.workflowId, status: 'COMPLETED' })) });
      const id = await harness.submit('sharely', 'watch', { workflowIds: [workflow.id] }, { poll });
      await until(async () => (await harness.record('sharely', id))?.includes('the old shape'));
      expect(await harness.record('sharely', id)).toContain('vendor_contract');
      vendor.rewriteRows = (rows) => rows.map((row) => ({ id: row.workflowId, status: 'COMPLETED' }));
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect(harness.events).toHaveLength(0);
      vendor.rewriteRows = (rows) => rows;
      expect((await harness.event(id)).data.outcome).toBe('succeeded');
    });

    it.each([
      ['500', refuse(500, 'oops')],
      ['502 without JSON', { status: 502, text: '<html>bad gateway</html>', headers: { 'content-type': 'text/html' } }],
      ['404', refuse(404, 'Workspace not found')],
      ['malformed JSON', { status: 200, text: '[{"workflowId":' }],
      ['a cut socket', 'cut'],
    ] as const)('of %s is asked for again', async (_, reply) => {
      vendor.script(/^POST \/background-jobs/, reply, 2);
      const data = await run('watch', { workflowIds: [vendor.addWorkflow().id] });
      expect(data.outcome).toBe('succeeded');
    });
  });

  describe('an id that is not visible', () => {
    it('past its grace has the resource asked: as it should be is succeeded', async () => {
      const { id } = vendor.addRole();
      vendor.rewriteRows = () => [];
      vendor.script(/^DELETE \/role/, () => {
        vendor.roles.delete(id);
        return { status: 200, json: { workflowId: randomUUID(), message: 'ok' } };
      });
      const data = await run('role.delete', { roleId: id });
      expect(data).toMatchObject({ outcome: 'succeeded', error: null });
      expect(data.vendorJobs[0]).toMatchObject({ outcome: 'succeeded', error: null, result: { deleted: true } });
    });

    it('past its grace has the resource asked: unchanged is lost', async () => {
      const { id } = vendor.addRole();
      vendor.isEffective = false;
      vendor.rewriteRows = () => [];
      const data = await run('role.delete', { roleId: id });
      const [workflow] = [...vendor.workflows.values()];
      expect(data).toMatchObject({ outcome: 'lost', error: { code: 'vendor_job_lost' } });
      expect(data.error?.message).toContain(`role ${id} still exists`);
      expect(data.error?.details).toMatchObject({ workflowId: workflow?.id });
      expect(asked().length).toBeGreaterThan(1);
    });

    it('of a watch is lost, because no resource is known', async () => {
      const data = await run('watch', { workflowIds: [randomUUID()] });
      expect(data).toMatchObject({ outcome: 'lost', error: { code: 'vendor_job_lost' } });
    });
  });

  it('shares requests between submissions, 50 ids at most, and never asks for nothing', async () => {
    vendor.statuses = ['COMPLETED'];
    const ids = Array.from({ length: 120 }, () => vendor.addWorkflow().id);
    const submissions = await Promise.all(
      [ids.slice(0, 60), ids.slice(60, 119), ids.slice(119)].map((workflowIds) =>
        harness.submit('sharely', 'watch', { workflowIds }, { poll }),
      ),
    );
    for (const id of submissions) expect((await harness.event(id)).data.outcome).toBe('succeeded');
    expect(asked().every((batch) => Array.isArray(batch) && batch.length > 0 && batch.length <= 50)).toBe(true);
    expect(asked().length).toBeLessThanOrEqual(5);
  });

  it('that six upserts share is asked for once, and each is confirmed on its own role', async () => {
    const joint = vendor.addWorkflow();
    vendor.statuses = ['COMPLETED'];
    vendor.script(/^POST \/role\/upsert/, (call) => {
      const reply = vendor.handle(call);
      if (reply === 'cut') return reply;
      return { ...reply, json: { ...(reply.json as object), workflowId: joint.id } };
    });
    // On a busy machine their submits are far apart; while the queue is paused, their look-ups all fall due.
    const lookUps = harness.queue('sharely.poll');
    await lookUps.pause();
    const inputs = [1, 2, 3, 4, 5, 6].map((n) => ({ name: `Role ${n}`, customerRoleId: `role-${n}` }));
    const ids = await Promise.all(inputs.map((input) => harness.submit('sharely', 'role.upsert', input, { poll })));
    await until(async () => (await lookUps.getJobCountByTypes('wait')) === ids.length);
    await lookUps.resume();
    const events = await Promise.all(ids.map((id) => harness.event(id)));
    for (const [at, { data }] of events.entries()) {
      expect(data).toMatchObject({
        outcome: 'succeeded',
        vendorJobs: [{ id: joint.id, result: { role: inputs[at] } }],
      });
    }
    expect(asked()).toEqual([[joint.id]]);
  });

  it('a refusal of one id that ends within the grace ends nothing', async () => {
    vendor.script(/^POST \/background-jobs/, refuse(400, 'not now'), 1);
    const data = await run('watch', { workflowIds: [vendor.addWorkflow().id] });
    expect(data.outcome).toBe('succeeded');
  });

  it('asks for 500 workflows of one submission in 10 requests', async () => {
    vendor.statuses = ['COMPLETED'];
    const workflowIds = Array.from({ length: 500 }, () => vendor.addWorkflow().id);
    const data = await run('watch', { workflowIds });
    expect(data).toMatchObject({ outcome: 'succeeded', polls: 1 });
    expect(asked()).toHaveLength(10);
  });

  it('never mixes workspaces in one request', async () => {
    const other = randomUUID();
    vendor.workspaces.add(other);
    const mine = Array.from({ length: 3 }, () => vendor.addWorkflow().id);
    const theirs = Array.from({ length: 3 }, () => vendor.addWorkflow().id);
    const submissions = await Promise.all([
      ...mine.map((id) => harness.submit('sharely', 'watch', { workflowIds: [id] }, { poll })),
      ...theirs.map((id) => harness.submit('sharely', 'watch', { workflowIds: [id], workspaceId: other }, { poll })),
    ]);
    for (const id of submissions) expect((await harness.event(id)).data.outcome).toBe('succeeded');
    for (const call of vendor.sent(/^POST \/background-jobs/)) {
      const allowed = call.path.includes(other) ? theirs : mine;
      expect(call.body.jobIds.filter((id: string) => !allowed.includes(id))).toEqual([]);
    }
  });

  it('finds an id that spoils its batch, lets the others go on, and fails it with the vendor’s word', async () => {
    const poison = 'not-a-uuid';
    const good = Array.from({ length: 40 }, () => vendor.addWorkflow().id);
    vendor.script(/^POST \/background-jobs/, (call) =>
      call.body.jobIds.includes(poison) ? refuse(400, 'jobIds must be UUIDs') : undefined,
    );
    const spoilt = await harness.submit('sharely', 'watch', { workflowIds: [poison] }, { poll });
    const others = await Promise.all(
      good.map((id) => harness.submit('sharely', 'watch', { workflowIds: [id] }, { poll })),
    );
    for (const id of others) expect((await harness.event(id)).data.outcome).toBe('succeeded');
    const { data } = await harness.event(spoilt);
    expect(data).toMatchObject({
      outcome: 'failed',
      error: { code: 'vendor_rejected', details: { httpStatus: 400, errorId: expect.any(String) } },
      vendorJobs: [{ id: poison, outcome: 'failed' }],
    });
    // Not at the first refusal: the vendor may change its mind within the grace.
    expect(asked().filter((ids) => ids.length === 1 && ids[0] === poison).length).toBeGreaterThan(1);
  });
});

it('asks in batches of the size that the account names', async () => {
  const vendor = await ScriptedSharely.start();
  const harness = await Harness.start({
    env: vendor.env,
    change: (config) => ({
      ...config,
      vendors: config.vendors.map((one) => ({
        ...one,
        accounts: one.accounts.map((entry) => ({
          ...entry,
          account: { ...(entry.account as object), statusBatchSize: 7 },
        })),
      })),
    }),
  });
  try {
    vendor.statuses = ['COMPLETED'];
    const workflowIds = Array.from({ length: 20 }, () => vendor.addWorkflow().id);
    const id = await harness.submit('sharely', 'watch', { workflowIds }, { poll });
    expect((await harness.event(id)).data.outcome).toBe('succeeded');
    expect(
      vendor
        .sent(/^POST \/background-jobs/)
        .map((call) => call.body.jobIds.length)
        .sort(),
    ).toEqual([6, 7, 7]);
  } finally {
    await harness.stop();
    await vendor.close();
  }
});
