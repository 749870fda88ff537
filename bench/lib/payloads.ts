/** Submit jobs of knowhere.parse as services send them, in several sizes. */

export interface Poll {
  initialDelayMs: number;
  factor: number;
  maxDelayMs: number;
  deadlineMs: number;
}

export interface SubmitData {
  input: { sourceType: 'url'; sourceUrl: string; fileName: string };
  poll: Poll;
  metadata: Record<string, string | number>;
}

/** As small as the schema allows, so that engines are measured and not their waits. */
export const shortestPoll: Poll = { initialDelayMs: 50, factor: 1, maxDelayMs: 50, deadlineMs: 1_800_000 };

/**
 * @param bytes - how long the JSON shall be: the presigned address grows up to the length that storage services give
 * theirs, the rest goes into the metadata.
 */
export function payload(index: number, bytes: number, poll: Poll = shortestPoll): SubmitData {
  const data: SubmitData = {
    input: {
      sourceType: 'url',
      sourceUrl: `https://files.example.com/in/${String(index).padStart(7, '0')}.pdf`,
      fileName: 'invoice.pdf',
    },
    poll,
    metadata: { orderId: index, tenant: 'acme' },
  };
  const missing = bytes - JSON.stringify(data).length;
  if (missing > 20) {
    const signature = Math.min(missing, 1_200);
    data.input.sourceUrl += `?sig=${filler(index, signature - 5)}`;
    const rest = bytes - JSON.stringify(data).length - 10;
    if (rest > 0) data.metadata['note'] = filler(index + 1, rest);
  }
  return data;
}

/** Base64-like text that differs from job to job. */
function filler(seed: number, length: number): string {
  let text = '';
  for (let state = seed + 1; text.length < length;) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    text += state.toString(36);
  }
  return text.slice(0, length);
}
