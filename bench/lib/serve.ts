/** The child's side of the line between the conductor and its child processes: named questions, JSON answers. */

export interface Question {
  id: number;
  ask: string;
  with: unknown;
}

export type Answer = { id: number; value: unknown } | { id: number; error: string };

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- each handler knows what it is asked with
export type Handlers = Record<string, (given: any) => unknown>;

/** Answers the parent's questions until the parent is gone, and then ends. */
export function serve(handlers: Handlers): void {
  process.on('message', (message) => void answer(message as Question));
  process.once('disconnect', () => process.exit());
  // Ctrl+C reaches the whole group; the conductor ends its children in order.
  process.on('SIGINT', () => undefined);

  async function answer({ id, ask, with: given }: Question): Promise<void> {
    let reply: Answer;
    try {
      const handler = handlers[ask];
      if (handler === undefined) throw new Error(`nobody here answers ${ask}`);
      reply = { id, value: (await handler(given)) ?? null };
    } catch (error) {
      reply = { id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
    }
    process.send?.(reply);
  }
}
