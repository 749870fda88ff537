import { vendorJobStatuses } from '../core/submission.ts';
import type { Lookup, Operation, ResendSafety } from '../ports/vendor-adapter.ts';

const resendWords: readonly ResendSafety[] = ['safe', 'lookup', 'none'];

/**
 * Checks what types check as well, because a vendor may be written in JavaScript, and a module that is loaded loses its
 * types: a slip shows when it is loaded and not at the first lost answer.
 * @throws Error naming the first contradiction
 */
export function checkDeclaration({
  lookups,
  operations,
}: {
  lookups: Readonly<Record<string, Pick<Lookup, 'look'> & Partial<Lookup>>>;
  operations: Readonly<Record<string, Operation>>;
}): void {
  for (const [name, { maxBatch = 1 }] of Object.entries(lookups)) {
    if (typeof maxBatch === 'number' && (!Number.isInteger(maxBatch) || maxBatch < 1))
      throw new Error(`look-up ${name}: maxBatch must be a whole number from 1`);
  }
  for (const [name, operation] of Object.entries(operations)) {
    const fail = (message: string): never => {
      throw new Error(`operation ${name}: ${message}`);
    };
    const { resend, jobKind } = operation;
    if (typeof resend !== 'function' && !resendWords.includes(resend))
      fail(`\`resend\` is ${JSON.stringify(resend)}; it can be ${resendWords.join(', ')}`);
    if (resend !== 'none' && resend !== 'safe' && operation.reconcile === undefined)
      fail('a resend that needs a look-up needs `reconcile`');
    if (jobKind !== undefined && !Object.hasOwn(lookups, jobKind))
      fail(`\`jobKind\` is ${JSON.stringify(jobKind)}; its look-ups are ${Object.keys(lookups).join(', ')}`);
  }
}

/** @throws Error naming the first word that stands for nothing that a vendor job can be */
export function checkStatusWords(words: Readonly<Record<string, unknown>>): void {
  for (const [word, status] of Object.entries(words)) {
    if (!(vendorJobStatuses as readonly unknown[]).includes(status)) {
      const known = vendorJobStatuses.join(', ');
      throw new Error(`statusWords: ${JSON.stringify(word)} stands for ${JSON.stringify(status)}; it can be ${known}`);
    }
  }
}
