/**
 * A process that uses up its file descriptors, makes a request, gives them back and makes another. Its own process,
 * because the limit holds for all of it. Prints what became of each request as a line of JSON.
 */
import { closeSync, openSync } from 'node:fs';
import * as z from 'zod';
import { plainClient } from './plain-vendor.ts';

const client = plainClient(process.argv[2] ?? '');
const ask = async (): Promise<object> => {
  try {
    await client.request({ method: 'POST', path: 'x', json: {}, reply: z.unknown(), timeoutMs: 5_000 });
    return { taken: 'yes' };
  } catch (error) {
    const { taken, message } = error as { taken?: string; message: string };
    return { taken, message };
  }
};

const held: number[] = [];
try {
  for (;;) held.push(openSync('/dev/null', 'r'));
} catch (error) {
  if ((error as NodeJS.ErrnoException).code !== 'EMFILE') throw error;
}
const starved = await ask();
for (const descriptor of held) closeSync(descriptor);
console.log(JSON.stringify([starved, await ask()]));
