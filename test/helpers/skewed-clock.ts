/** For the environment of a child process: its wall clock is `offsetMs` ahead of the machine's, from its first line on. */
export function skewedClock(offsetMs: number): Record<string, string> {
  const shift = `
const real = Date;
const now = () => real.now() + ${offsetMs};
globalThis.Date = class extends real {
  constructor(...args) { args.length === 0 ? super(now()) : super(...args); }
  static now() { return now(); }
};`;
  return { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(shift)}` };
}
