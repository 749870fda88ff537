import { readFileSync, rmSync } from 'node:fs';
import type { Build } from './build.ts';
import { Child } from './child.ts';
import type { Audit } from './evidence.ts';
import type { VendorFault } from './vendor-faults.ts';

/** Of its event loop: one in which it hears the question, one for what came by then, and one to spare. */
const turnsToCatchUp = 3;

/** The sandbox in a process of its own, on a line to the controller. */
export class VendorProcess {
  readonly child: Child;
  #lastQuestion = 0;

  constructor(build: Build, env: Record<string, string>) {
    this.child = new Child(build.child('vendor'), env, ['--max-old-space-size=4096']);
  }

  listen(): Promise<number> {
    return this.#ask('listen');
  }

  arm(faults: readonly VendorFault[], seed: number): Promise<void> {
    return this.#ask('arm', { faults, seed });
  }

  disarm(): Promise<void> {
    return this.#ask('disarm');
  }

  /**
   * Until it has read all that had reached it: a busy vendor handles requests after the connection they came on was cut,
   * and its ledger shows them as answered.
   */
  async hasCaughtUp(): Promise<void> {
    for (let turns = 0; turns < turnsToCatchUp; turns += 1) await this.#ask('turn');
  }

  /** @param file - carries it over: a long run's ledger is too much for the line */
  async audit(file: string): Promise<Audit> {
    await this.#ask('audit', file);
    const audit = JSON.parse(readFileSync(file, 'utf8')) as Audit;
    rmSync(file);
    return audit;
  }

  async #ask<T>(ask: string, given: unknown = null): Promise<T> {
    const id = (this.#lastQuestion += 1);
    const { process } = this.child;
    return new Promise((resolve, reject) => {
      const onMessage = (message: unknown): void => {
        const answer = message as { id: number; value?: T; error?: string };
        if (answer.id !== id) return;
        process.off('message', onMessage);
        if (answer.error === undefined) resolve(answer.value as T);
        else reject(new Error(answer.error));
      };
      process.on('message', onMessage);
      this.child.send({ id, ask, with: given });
    });
  }
}
