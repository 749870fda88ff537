/** What the command's exit codes mean; beyond 1 they are those of `sysexits.h`. */
export const exitCodes = {
  ok: 0,
  /** The work itself did not end well: an outcome other than `succeeded`, or a submission that is not known. */
  notSucceeded: 1,
  usage: 64,
  badInput: 65,
  /** Redis does not answer, or the vendor that the command asks. */
  unavailable: 69,
  internal: 70,
  config: 78,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** Ends the command with a line of its own and this exit code. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  readonly exitCode: ExitCode;

  constructor(exitCode: ExitCode, message: string) {
    super(message);
    this.exitCode = exitCode;
  }
}
