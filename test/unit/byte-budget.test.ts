import { expect, test } from 'vitest';
import { ByteBudget } from '../../src/vendors/http/byte-budget.ts';

const { signal } = new AbortController();

async function isDone(promise: Promise<unknown>): Promise<boolean> {
  return Promise.race([promise.then(() => true), new Promise<boolean>((resolve) => setTimeout(resolve, 5, false))]);
}

test('answers wait while all of them together hold too much, and go on when one is read', async () => {
  const budget = new ByteBudget(10);
  const [first, second, third] = [budget.open(), budget.open(), budget.open()];
  await first.take(6, signal);
  const more = second.take(6, signal);
  const another = third.take(1, signal);
  expect(await isDone(more)).toBe(false);
  expect(await isDone(another)).toBe(false);
  first.close();
  expect(await isDone(more)).toBe(true);
  expect(await isDone(another)).toBe(true);
});

test('the oldest never waits, however much it holds', async () => {
  const budget = new ByteBudget(10);
  const [first, second] = [budget.open(), budget.open()];
  const waiting = second.take(9, signal);
  expect(await isDone(first.take(50, signal))).toBe(true);
  const more = second.take(1, signal);
  first.close();
  expect(await isDone(Promise.all([waiting, more]))).toBe(true);
});

test('an answer that is given up waits no longer and gives back what it held', async () => {
  const budget = new ByteBudget(10);
  const [first, second, third] = [budget.open(), budget.open(), budget.open()];
  await first.take(8, signal);
  const late = new AbortController();
  const waiting = second.take(8, late.signal);
  late.abort(new Error('too late'));
  await expect(waiting).rejects.toThrow('too late');
  second.close();
  expect(await isDone(third.take(2, signal))).toBe(true);
});
