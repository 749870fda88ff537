import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Answer } from './serve.ts';

/** A process of its own that answers questions; see serve.ts. */
export class Child {
  readonly #process: ChildProcess;
  readonly #waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  #lastId = 0;

  /** @param file - compiled JavaScript, so that no loader stands between the measured code and the engine. */
  constructor(file: string, options: { nodeArgs?: readonly string[]; env?: Record<string, string> } = {}) {
    this.#process = fork(file, [], {
      execArgv: [...(options.nodeArgs ?? [])],
      env: { ...process.env, NODE_OPTIONS: '', ...options.env },
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    this.#process.on('message', (message) => {
      const reply = message as Answer;
      const waiting = this.#waiting.get(reply.id);
      this.#waiting.delete(reply.id);
      if ('error' in reply) waiting?.reject(new Error(reply.error));
      else waiting?.resolve(reply.value);
    });
    this.#process.once('exit', (code, signal) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`${file} ended with ${code ?? signal}`));
      this.#waiting.clear();
    });
  }

  ask<Value>(question: string, given: unknown = null): Promise<Value> {
    const id = (this.#lastId += 1);
    return new Promise<Value>((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as (value: unknown) => void, reject });
      this.#process.send({ id, ask: question, with: given });
    });
  }

  /** Lets the child end by itself, as it does when the line is cut. */
  async end(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const exited = once(this.#process, 'exit');
    this.#process.disconnect();
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), 10_000);
    await exited;
    clearTimeout(timer);
  }
}
