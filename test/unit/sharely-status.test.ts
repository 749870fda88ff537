import { describe, expect, it } from 'vitest';
import { readKnowledgeState, readStatus, wordOf } from '../../src/vendors/sharely/status.ts';

describe('status of a workflow', () => {
  it.each([
    ['UNSPECIFIED', 0, 'running', false],
    ['RUNNING', 1, 'running', true],
    ['COMPLETED', 2, 'succeeded', true],
    ['FAILED', 3, 'failed', true],
    ['CANCELLED', 4, 'canceled', true],
    ['TERMINATED', 5, 'failed', true],
    ['CONTINUED_AS_NEW', 6, 'running', true],
    ['TIMED_OUT', 7, 'failed', true],
    ['PAUSED', 8, 'running', false],
  ] as const)('%s (%i) is %s', (name, code, status, isDocumented) => {
    expect(readStatus(name, code)).toEqual({ status, isDocumented, isCodeRight: true });
  });

  it('accepts the spelling CANCELED', () => {
    expect(readStatus('CANCELED', 4)).toEqual({ status: 'canceled', isDocumented: true, isCodeRight: true });
  });

  it('takes a word of no documentation for running, whatever its code says', () => {
    expect(readStatus('MIGRATING', 2)).toMatchObject({ status: 'running', isDocumented: false });
    expect(readStatus('constructor', 2)).toMatchObject({ status: 'running', isDocumented: false });
  });

  it('believes the name where the code says something else, and notices', () => {
    expect(readStatus('RUNNING', 2)).toEqual({ status: 'running', isDocumented: true, isCodeRight: false });
    expect(readStatus('COMPLETED', 3)).toEqual({ status: 'succeeded', isDocumented: true, isCodeRight: false });
  });

  it.each([
    [1, 'RUNNING'],
    [2, 'COMPLETED'],
    [3, 'FAILED'],
    [4, 'CANCELLED'],
    [5, 'TERMINATED'],
    [6, 'CONTINUED_AS_NEW'],
    [7, 'TIMED_OUT'],
  ])('without a name has code %i stand for %s', (code, word) => {
    expect(wordOf({ code })).toBe(word);
    expect(wordOf({ code, name: 'other' })).toBe('other');
  });

  it.each([0, 8, 9, -1, 2.5])('takes the code %d alone for running: no documentation has it', (code) => {
    expect(readStatus(wordOf({ code }) ?? '', code)).toMatchObject({ status: 'running', isDocumented: false });
    expect(wordOf({})).toBeUndefined();
  });

  it('does without a code', () => {
    expect(readStatus('FAILED', undefined)).toMatchObject({ status: 'failed', isCodeRight: true });
  });
});

describe('status of a knowledge item', () => {
  it.each([
    [{ status: 'PROCESSED' }, 'done'],
    [{ status: 'COMPLETED' }, 'done'],
    [{ status: 'completed' }, 'done'],
    [{ status: 'INDEXING', processedAt: '2026-11-22T06:00:00Z' }, 'done'],
    [{ status: 'FAILED' }, 'failed'],
    [{ status: 'PROCESSING_ERROR', processedAt: '2026-11-22T06:00:00Z' }, 'failed'],
    [{ status: 'BACKGROUND_START' }, 'waiting'],
    [{ status: 'NOT_COMPLETED' }, 'waiting'],
    [{}, 'waiting'],
  ] as const)('%j is %s', (item, state) => {
    expect(readKnowledgeState(item)).toBe(state);
  });
});
