// Any service pushes work with nothing but BullMQ. While `npm start` runs: node examples/push-from-another-service.mjs
import { Queue } from 'bullmq';

const connection = { url: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379' };
const queue = new Queue('knowhere.submit', { connection, prefix: process.env.JOBFERRY_PREFIX ?? 'bull' });
const job = await queue.add(
  'parse',
  { input: { sourceType: 'url', sourceUrl: 'https://example.com/a.pdf' }, metadata: { orderId: 17 } },
  { jobId: process.argv[2] ?? 'invoice-2291' }, // your idempotency key: adding it again does nothing
);
console.log(`pushed ${job.id}; its completion event will come with the subject ${job.id} in the queue "results"`);
await queue.close();
