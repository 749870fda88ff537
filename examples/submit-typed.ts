/**
 * Submits from TypeScript, typed by operation, and watches one submission. While `npm start` runs:
 *   REDIS_URL=redis://127.0.0.1:6379 npx tsx examples/submit-typed.ts
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { disconnect, InvalidSubmissionError, status, submit } from 'jobferry/client';

const run = Date.now().toString(36);

const { submissionId } = await submit('knowhere', 'parse', {
  id: `contract-${run}`, // left out, a unique one is made
  input: { sourceType: 'url', sourceUrl: 'https://example.com/contract.pdf', parsingParams: { model: 'base' } },
  poll: { initialDelayMs: 500, maxDelayMs: 5_000, deadlineMs: 600_000 },
  metadata: { customer: 'c-42' },
});
console.log(`submitted ${submissionId}`);

// What can be checked is checked before anything is sent; the error names every fault.
try {
  await submit('knowhere', 'parse', { input: { sourceType: 'url', sourceUrl: 'ftp://example.com/contract.pdf' } });
} catch (error) {
  if (!(error instanceof InvalidSubmissionError)) throw error;
  for (const { path, message } of error.faults) console.log(`refused: ${path} ${message}`);
}

// For a look now and then. To act on the end of submissions, read their events: examples/read-events.ts
const giveUpAt = Date.now() + 60_000;
for (let shown = ''; Date.now() < giveUpAt; await sleep(300)) {
  const now = await status('knowhere', submissionId);
  if (now !== undefined && now.state !== shown) console.log(now.state);
  shown = now?.state ?? shown;
  if (now?.phase === 'settled') break;
}
await disconnect();
