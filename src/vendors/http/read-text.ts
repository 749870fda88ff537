import { VendorContractError } from '../../core/errors.ts';
import type { Reader } from './byte-budget.ts';

/**
 * Reads an answer's body up to a bound, counted after decompression.
 * @param reader - this answer's share of the account's byte budget
 * @throws VendorContractError for a body over the bound
 */
export async function readText(
  response: Response,
  maxBytes: number,
  reader: Reader,
  signal: AbortSignal,
): Promise<string> {
  const announced = Number(response.headers.get('content-length') ?? 0);
  if (announced > maxBytes) {
    await response.body?.cancel();
    throw tooLarge(maxBytes, response.status);
  }
  if (response.body === null) return '';
  // A length that was announced and is within bounds is kept to by HTTP itself; only what is unpacked here can grow.
  if (announced > 0 && response.headers.get('content-encoding') === null) {
    await reader.take(announced, signal);
    return response.text();
  }
  const decoder = new TextDecoder();
  let text = '';
  let bytes = 0;
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    bytes += chunk.byteLength;
    if (bytes > maxBytes) throw tooLarge(maxBytes, response.status);
    await reader.take(chunk.byteLength, signal);
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

/** After a submit the vendor may have taken it, whatever the size of what it answered. */
function tooLarge(maxBytes: number, httpStatus: number): VendorContractError {
  return new VendorContractError(`the answer is larger than ${maxBytes} bytes`, { httpStatus });
}
