import type { FaultWish } from './catalogue.ts';

/**
 * Reads the faults that a submitted text asks for. Two places count, in one syntax:
 *
 * - the query of a URL: `https://example.com/a.pdf?sandbox=rate-limited--2--x3,stall`
 * - a dotted part of a file name, URL path or data id: `a.fault-stall.pdf`, `order-17.fault-fail--NOT_FOUND`
 *
 * A fault is its name, then parts in any order, each behind `--`: an argument, `x3` (strike three times), `always`,
 * `skip-2` (let two pass first), `at-lookup` (strike at another route than its own).
 */
export function markersIn(text: string): FaultWish[] {
  const wishes: FaultWish[] = [];
  const { names, query } = split(text);
  for (const [, fault] of names.matchAll(/\.fault-([^./]+)/g)) {
    if (fault !== undefined) wishes.push(parsed(fault));
  }
  for (const list of new URLSearchParams(query).getAll('sandbox')) {
    for (const fault of list.split(',')) {
      if (fault.trim() !== '') wishes.push(parsed(fault.trim()));
    }
  }
  return wishes;
}

/** Whether a text can hold a marker at all: the cheap question asked of every create. */
export function mayHoldMarkers(text: string): boolean {
  return text.includes('fault-') || text.includes('sandbox=');
}

/**
 * The words of a free text that hold markers: in `Refund policy .fault-job-fails of 2026` only the marker is one, and
 * the sentence around it stays out of the fault's name.
 */
export function markedWords(text: string): string[] {
  return mayHoldMarkers(text) ? [...new Set(text.split(/\s+/).filter(mayHoldMarkers))] : [];
}

function split(text: string): { names: string; query: string } {
  const withoutFragment = text.split('#', 1)[0] ?? '';
  const mark = withoutFragment.indexOf('?');
  const names = mark === -1 ? withoutFragment : withoutFragment.slice(0, mark);
  return { names: decoded(names), query: mark === -1 ? '' : withoutFragment.slice(mark + 1) };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function parsed(fault: string): FaultWish {
  const [name = '', ...parts] = fault.split('--');
  const wish: { -readonly [K in keyof FaultWish]: FaultWish[K] } = { name };
  for (const part of parts) {
    const times = /^x(\d{1,6})$/.exec(part)?.[1];
    const skip = /^skip-(\d{1,6})$/.exec(part)?.[1];
    const route = /^at-(.+)$/.exec(part)?.[1];
    if (part === 'always') wish.times = 'always';
    else if (times !== undefined) wish.times = Number(times);
    else if (skip !== undefined) wish.skip = Number(skip);
    else if (route !== undefined) wish.route = route;
    else wish.argument = part;
  }
  return wish;
}
