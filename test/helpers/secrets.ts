import { randomBytes } from 'node:crypto';

/** Something that must not be found, and what it is called where it is found all the same. */
export interface Needle {
  what: string;
  /** Key, token and password; an upload link's signature; a result link's, which has one place where it may stand. */
  kind: 'secret' | 'upload' | 'result';
  forms: readonly string[];
}

/** What makes a secret recognisable in any text. */
export function newMark(): string {
  return randomBytes(12).toString('hex');
}

/**
 * A mark in every shape in which it may leak. Told apart from how the product hides them: no code is shared.
 */
export function needle(what: string, kind: Needle['kind'], mark: string): Needle {
  const base64 = ['', 'a', 'ab'].flatMap((before) => {
    const text = Buffer.from(`${before}${mark}yz`).toString('base64');
    // Whole groups that hold nothing but the mark.
    return [text.slice(before === '' ? 0 : 4, Math.floor((before.length + mark.length) / 3) * 4)];
  });
  const hex = Buffer.from(mark).toString('hex');
  return { what, kind, forms: [...new Set([mark, encodeURIComponent(mark), hex, ...base64])] };
}

export interface Finding {
  where: string;
  what: string;
  around: string;
}

/** Looks for all of them in a text. */
export function findIn(where: string, text: string, needles: readonly Needle[]): Finding[] {
  return needles.flatMap(({ what, forms }) =>
    forms.flatMap((form) => {
      const at = text.indexOf(form);
      return at < 0 ? [] : [{ where, what, around: text.slice(Math.max(0, at - 120), at + 20) }];
    }),
  );
}
