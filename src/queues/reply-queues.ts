import { ownKeySpace } from './keys.ts';
import { defaultResultQueue, isStageQueue } from './names.ts';

/**
 * The queues that completion events may go to without a word in the configuration. A submission names its queue itself, and
 * the workers' rights in Redis reach further than those of who pushed it: without a list, an event would be a way to put
 * jobs into the queues of other applications.
 */
export const defaultReplyPatterns: readonly string[] = ['results', 'results-*', 'results.*', '*-results', '*.results'];

/** What a pattern is made of: a queue name's characters, and `*` for any number of them. */
export const replyPatternPattern = /^[A-Za-z0-9._*-]{1,128}$/;

/** Which queues submissions may name in `replyTo`. */
export interface ReplyRules {
  /** Every known vendor, started or not: none of their queues may be replied to. */
  vendors: readonly string[];
  /** Patterns of allowed queues. Undefined where the configuration is not known: then the workers decide. */
  allow: readonly string[] | undefined;
}

/**
 * Why no event may be sent to a queue; undefined when it may. `results` always may: it is where refusals are told.
 * @param queue - a name of the right form (`resultQueuePattern`)
 */
export function whyReplyIsRefused(queue: string, { vendors, allow }: ReplyRules): string | undefined {
  if (isStageQueue(queue, vendors)) return `${JSON.stringify(queue)} is a queue that carries submissions`;
  if (queue === ownKeySpace) return `${JSON.stringify(queue)} is where the product keeps its own keys`;
  if (allow === undefined || queue === defaultResultQueue || allow.some((pattern) => fits(queue, pattern)))
    return undefined;
  return `${JSON.stringify(queue)} is not a queue that the configuration allows (replyTo.allow: ${allow.join(', ')})`;
}

/** Whether a name fits a pattern with `*` for any number of characters. Looks at each piece once, from the left. */
function fits(name: string, pattern: string): boolean {
  const [head = '', ...rest] = pattern.split('*');
  const tail = rest.pop();
  if (tail === undefined) return name === head;
  if (!name.startsWith(head) || !name.endsWith(tail)) return false;
  const end = name.length - tail.length;
  let at = head.length;
  for (const piece of rest) {
    const found = name.indexOf(piece, at);
    if (found < 0) return false;
    at = found + piece.length;
  }
  return at <= end;
}
