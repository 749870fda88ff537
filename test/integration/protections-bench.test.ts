import { expect, it } from 'vitest';
import { protections, takeOut } from '../../bench/lib/without.ts';
import { quickPoll, startKnowhere, urlInput } from '../helpers/knowhere.ts';

// It changes the engine for the whole process, which is this file's own.
it('the engine that the protections are measured against still carries a submission to its event', async () => {
  takeOut(protections);
  const rig = await startKnowhere();
  try {
    await rig.harness.push('knowhere', 'parse', { input: urlInput(), poll: quickPoll }, { jobId: 'bare' });
    expect((await rig.harness.event('bare')).data.outcome).toBe('succeeded');
  } finally {
    await rig.stop();
  }
}, 30_000);
