import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { serve } from '../lib/serve.ts';

/**
 * Knowhere's create and get job, answered at once: what is measured is the way to the vendor and back, not the vendor.
 * A vendor job is named after the submission (our label without its random end), so that its look-ups can be told apart.
 */
let looksUntilDone = 3;
let isRecording = false;
let creates = 0;
let lookUps = 0;
let looks = new Map<string, number>();
/** What is done stays done, also for a worker that asks once more. */
let done = new Set<string>();
/** Job id and epoch ms, one after the other. */
let arrivals: (string | number)[] = [];

const server = createServer((request, response) => {
  if (request.method === 'POST') {
    let text = '';
    request.setEncoding('utf8');
    request.on('data', (chunk: string) => (text += chunk));
    request.on('end', () => {
      const { data_id: label } = JSON.parse(text) as { data_id: string };
      creates += 1;
      send(response, { job_id: `job_${label.split('.')[0] ?? label}`, status: 'pending', source_type: 'url' });
    });
    return;
  }
  const now = Date.now();
  const id = decodeURIComponent((request.url ?? '').split('/').pop() ?? '');
  if (isRecording) arrivals.push(id, now);
  lookUps += 1;
  const seen = (looks.get(id) ?? 0) + 1;
  if (seen >= looksUntilDone || done.has(id)) {
    looks.delete(id);
    done.add(id);
    send(response, {
      job_id: id,
      status: 'done',
      source_type: 'url',
      created_at: '2026-01-01T00:00:00Z',
      completed_at: '2026-01-01T00:00:10Z',
      result_url: `https://results.example.com/${id}.zip?X-Amz-Signature=0123456789abcdef`,
      result_url_expires_at: '2026-01-01T01:00:00Z',
      result_checksum: { algorithm: 'sha256', value: 'ab'.repeat(32) },
    });
    return;
  }
  looks.set(id, seen);
  send(response, {
    job_id: id,
    status: 'running',
    source_type: 'url',
    created_at: '2026-01-01T00:00:00Z',
    progress: { total_pages: 100, processed_pages: seen },
  });
});
// Between the rounds of others, connections would otherwise close and be opened anew within a measurement.
server.keepAliveTimeout = 600_000;

function send(response: ServerResponse, body: object): void {
  const text = JSON.stringify(body);
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  response.end(text);
}

serve({
  listen: () =>
    new Promise<string>((resolve) => {
      server.listen(0, '127.0.0.1', () => resolve(`http://127.0.0.1:${(server.address() as AddressInfo).port}`));
    }),
  begin: (given: { looks: number; record?: boolean }) => {
    looksUntilDone = given.looks;
    isRecording = given.record ?? false;
    creates = 0;
    lookUps = 0;
    looks = new Map();
    done = new Set();
    arrivals = [];
  },
  counts: () => ({ creates, lookUps }),
  arrivals: () => {
    const taken = arrivals;
    arrivals = [];
    return taken;
  },
});
