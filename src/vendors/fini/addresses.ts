/** The longest URL that is taken. Longer ones are nowhere in use, and what compares addresses sees foreign text. */
export const maxUrlLength = 2_048;

/**
 * One form for the spellings of an address that often mean one page: host case, fragment, trailing slashes. Two pages
 * can share it, so it decides only where the vendor shows no record of the exact address.
 */
export function canonicalUrl(text: string): string {
  if (text.length > maxUrlLength || !URL.canParse(text)) return text;
  const url = new URL(text);
  url.hash = '';
  const { href } = url;
  const query = href.indexOf('?');
  const end = query === -1 ? href.length : query;
  let kept = end;
  while (kept > 0 && href[kept - 1] === '/') kept -= 1;
  return href.slice(0, kept) + href.slice(end);
}

/** Finds, for addresses that come one by one, which of the wanted pages they can stand for. */
export class WantedPages<Page> {
  readonly #byForm = new Map<string, [url: string, page: Page][]>();

  /** @param pages - by the URL as it was asked for */
  constructor(pages: Iterable<readonly [url: string, page: Page]>) {
    for (const [url, page] of pages) {
      const form = canonicalUrl(url);
      const others = this.#byForm.get(form);
      if (others === undefined) this.#byForm.set(form, [[url, page]]);
      else others.push([url, page]);
    }
  }

  /** @returns `isExact` false where the address is only another spelling of the page's URL */
  at(address: string | undefined): { page: Page; isExact: boolean }[] {
    if (address === undefined) return [];
    const pages = this.#byForm.get(canonicalUrl(address)) ?? [];
    return pages.map(([url, page]) => ({ page, isExact: url === address }));
  }
}
