import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';

/** A process of its own on a line to the controller; it ends when the line is cut. */
export class Child {
  readonly process: ChildProcess;
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null; at: number }>;

  constructor(file: string, env: Record<string, string>, nodeArgs: readonly string[] = []) {
    this.process = fork(file, [], {
      execArgv: [...nodeArgs],
      env: { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '', NODE_ENV: 'production', ...env },
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    this.process.on('error', () => undefined);
    this.exited = once(this.process, 'exit').then(([code, signal]) => ({
      code: code as number | null,
      signal: signal as NodeJS.Signals | null,
      at: Date.now(),
    }));
  }

  get isAlive(): boolean {
    return this.process.exitCode === null && this.process.signalCode === null;
  }

  onMessage(handler: (message: unknown) => void): void {
    this.process.on('message', handler);
  }

  send(message: object): void {
    if (this.isAlive && this.process.connected) this.process.send(message, () => undefined);
  }

  signal(signal: NodeJS.Signals): void {
    if (this.isAlive) this.process.kill(signal);
  }

  /** Ends it for good, a frozen one included. */
  async end(): Promise<void> {
    this.signal('SIGKILL');
    await this.exited;
  }
}
