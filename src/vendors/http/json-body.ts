import { VendorContractError } from '../../core/errors.ts';
import { clip } from '../../core/json.ts';

/** An answer as it was read: bounded, and without what it quotes of our secrets. */
export interface RawReply {
  status: number;
  headers: Headers;
  /** The content type, fit to be quoted. */
  type: string;
  text: string;
}

/** Whatever walks a body by recursion, ours or a library's, must not be led to the end of the stack. */
const maxDepth = 200;

/**
 * The JSON of a 2xx answer; undefined where it has no body.
 * @param answered - the request and its status, for messages
 * @throws VendorContractError for anything else
 */
export function parseBody({ status: httpStatus, type, text }: RawReply, answered: string): unknown {
  if (text === '') return undefined;
  if (!/\bjson\b/i.test(type)) {
    const got = type === '' ? 'no content type' : clip(type, 80);
    throw new VendorContractError(`${answered} with ${got} instead of JSON`, { httpStatus });
  }
  if (isNestedDeeper(text, maxDepth)) {
    throw new VendorContractError(`${answered} with JSON nested deeper than ${maxDepth} levels`, { httpStatus });
  }
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new VendorContractError(`${answered} with malformed JSON`, { httpStatus, cause });
  }
}

/** The JSON of an error answer, or the text where it is none, clipped. */
export function parseLeniently(text: string): unknown {
  if (isNestedDeeper(text, maxDepth)) return clip(text, 500);
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return clip(text, 500);
  }
}

function isNestedDeeper(text: string, levels: number): boolean {
  let depth = 0;
  let isText = false;
  for (let at = 0; at < text.length; at += 1) {
    const character = text.charCodeAt(at);
    if (isText) {
      if (character === 0x5c) at += 1;
      else if (character === 0x22) isText = false;
    } else if (character === 0x22) isText = true;
    else if (character === 0x5b || character === 0x7b) {
      depth += 1;
      if (depth > levels) return true;
    } else if (character === 0x5d || character === 0x7d) depth -= 1;
  }
  return false;
}
