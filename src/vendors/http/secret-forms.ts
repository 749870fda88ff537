import { formsOf } from '../../core/redact.ts';

/** Tokens come from the vendor, one after the other, so what is kept of them has a bound. */
const maxSecrets = 1_000;

/** How secrets can be quoted, worked out once for each: they change seldom, and every answer is searched for them. */
export class SecretForms {
  readonly #known = new Map<string, readonly string[]>();

  /** @param secrets - fields of an account and the token; what is not a text is no secret. */
  of(secrets: readonly unknown[]): readonly string[] {
    return secrets.flatMap((secret) => {
      if (typeof secret !== 'string') return [];
      let forms = this.#known.get(secret);
      if (forms === undefined) {
        if (this.#known.size >= maxSecrets) this.#known.clear();
        this.#known.set(secret, (forms = formsOf(secret)));
      }
      return forms;
    });
  }
}
