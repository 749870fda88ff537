import { randomBytes } from 'node:crypto';
import { clip } from '../../../core/json.ts';
import type { Context } from '../account.ts';
import type { ParseInput } from '../input.ts';

/** A label that people recognise and no other submission has. */
export function uniqueDataId(submissionId: string): string {
  return `${clip(submissionId.replace(/[^A-Za-z0-9._-]/g, '-'), 90).replace('…', '')}.${randomBytes(8).toString('hex')}`;
}

/** The label of a submit: the caller's own, or the one that its preflight saved. */
export function dataIdOf(context: Context<ParseInput>): string {
  const snapshot = context.snapshot as { dataId?: string } | undefined;
  const dataId = context.input.dataId ?? snapshot?.dataId;
  if (dataId === undefined) throw new Error('the label of this submit was not saved');
  return dataId;
}
