import type { Arena, Contestant } from './arena.ts';
import { payload } from './payloads.ts';

export interface Round {
  perSecond: number;
  workerCpuMs: number;
  redisCpuMs: number;
}

/** On a busy machine a process can stand still past its lock; the job is then taken and looked up once more. */
const repeatedShare = 0.01;

/**
 * Pushes submissions and waits for their events.
 * @param ids - begins the submission ids; each is good for one round of one contestant.
 * @throws Error when the vendor saw other than one create of each, or fewer look-ups than `looks`, or clearly more
 */
export async function measureRound(
  arena: Arena,
  contestant: Contestant,
  ids: string,
  settings: { submissions: number; looks: number; payloadBytes: number },
): Promise<Round> {
  const { submissions, looks, payloadBytes } = settings;
  await contestant.setLooks(looks);
  const before = await contestant.eventCount();
  const [workerCpu, redisCpu] = [await contestant.worker.ask<number>('cpu'), await arena.serverCpu()];
  const startedAt = performance.now();
  await contestant.submit(ids, submissions, (index) => payload(index, payloadBytes));
  await contestant.eventsReach(before + submissions);
  const seconds = (performance.now() - startedAt) / 1_000;
  const { creates, lookUps } = await arena.vendor.ask<{ creates: number; lookUps: number }>('counts');
  const due = submissions * looks;
  const isRight = creates === submissions && lookUps >= due && lookUps <= due * (1 + repeatedShare);
  if (contestant.kind !== 'bullmq' && !isRight) {
    throw new Error(`${contestant.name} made ${creates} creates and ${lookUps} look-ups`);
  }
  const perLifecycle = 1_000 / submissions;
  return {
    perSecond: submissions / seconds,
    workerCpuMs: ((await contestant.worker.ask<number>('cpu')) - workerCpu) * perLifecycle,
    redisCpuMs: ((await arena.serverCpu()) - redisCpu) * perLifecycle,
  };
}
