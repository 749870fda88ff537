import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Call } from '../http/call.ts';

/** What a link says of itself, once its signature holds. */
export type LinkCheck =
  { readonly kind: 'good'; readonly serial: string } | { readonly kind: 'expired' } | { readonly kind: 'forged' };

/**
 * Makes and checks links that look like presigned S3 links. The signature covers method, path, life and the signed
 * header, not the host: a client behind a port mapping reaches us under another name, and that is not a forgery.
 */
export class LinkSigner {
  readonly #secret = randomBytes(32);
  #serial = 0;

  /**
   * @param path - absolute path, percent-encoded, e.g. `/knowhere/_storage/results/result_job_1.zip`
   * @param contentType - a header that the request must carry exactly so; null when none is signed
   */
  sign(method: 'GET' | 'PUT', path: string, expiresAtMs: number, contentType: string | null): string {
    const issuedAtMs = Date.now();
    const stamp = new Date(issuedAtMs).toISOString().replace(/[-:]|\.\d+/g, '');
    this.#serial += 1;
    // Serial and exact end of life: links of one second stay distinct, and short lives can be tested.
    const serial = `${this.#serial}-${Math.round(expiresAtMs)}`;
    const query = [
      'X-Amz-Algorithm=AWS4-HMAC-SHA256',
      `X-Amz-Credential=SANDBOX%2F${stamp.slice(0, 8)}%2Fus-east-1%2Fs3%2Faws4_request`,
      `X-Amz-Date=${stamp}`,
      `X-Amz-Expires=${Math.max(1, Math.ceil((expiresAtMs - issuedAtMs) / 1000))}`,
      `X-Amz-SignedHeaders=${contentType === null ? 'host' : 'content-type%3Bhost'}`,
      `x-link=${serial}`,
    ].join('&');
    return `${path}?${query}&X-Amz-Signature=${this.#signature(method, path, query, contentType)}`;
  }

  /** @param contentType - the header as the request carries it; ignored when the link signs none */
  check(call: Call, method: 'GET' | 'PUT', contentType: string | null): LinkCheck {
    const match = /^\?(.*)&X-Amz-Signature=([0-9a-f]{64})$/.exec(call.search);
    const serial = call.query.get('x-link');
    if (match === null || serial === null || call.method !== method) return { kind: 'forged' };
    const [, query = '', given = ''] = match;
    const signsType = query.includes('SignedHeaders=content-type');
    const expected = this.#signature(method, call.path, query, signsType ? (contentType ?? '') : null);
    // Expiry first, as S3 has it; the number itself is under the signature.
    if (Date.now() > Number(serial.split('-')[1])) return { kind: 'expired' };
    const isGood = timingSafeEqual(Buffer.from(given, 'hex'), Buffer.from(expected, 'hex'));
    return isGood ? { kind: 'good', serial } : { kind: 'forged' };
  }

  #signature(method: string, path: string, query: string, contentType: string | null): string {
    const text = `${method}\n${path}\n${query}\n${contentType ?? ''}`;
    return createHmac('sha256', this.#secret).update(text).digest('hex');
  }
}
