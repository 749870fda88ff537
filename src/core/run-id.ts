/** A submission that was started anew by a person: `invoice-7`, then `invoice-7#2`, `invoice-7#3` … */
const runPattern = /^(.+)#([2-9]|[1-9]\d{1,5})$/;

/** The id of the first run, and which run this id names. */
export function readRun(submissionId: string): { first: string; run: number } {
  const match = runPattern.exec(submissionId);
  return match?.[1] === undefined ? { first: submissionId, run: 1 } : { first: match[1], run: Number(match[2]) };
}

export function nameRun(first: string, run: number): string {
  return `${first}#${run}`;
}
