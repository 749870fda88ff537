import { z } from 'zod';

/** A bad value for one of a vendor's settings; the message says what would do. */
export class VendorSettingError extends Error {
  override readonly name = 'VendorSettingError';
}

/** A vendor's settings: those in force, and those that it started with. */
export class VendorSettings<T extends object> {
  readonly #initial: T;
  readonly #changed: (current: T, change: Record<string, unknown>) => T;
  #current: T;

  /**
   * @param changed - the settings after a change; throws VendorSettingError when a name or value does not fit
   * @param given - what the sandbox was started with
   */
  constructor(
    defaults: T,
    changed: (current: T, change: Record<string, unknown>) => T,
    given: Record<string, unknown> = {},
  ) {
    this.#changed = changed;
    this.#initial = changed(defaults, given);
    this.#current = this.#initial;
  }

  /** In force now; JSON-safe. */
  get current(): T {
    return this.#current;
  }

  /**
   * Changes some settings.
   * @throws VendorSettingError when a name or value does not fit; then nothing has changed
   */
  change(change: Record<string, unknown>): void {
    this.#current = this.#changed(this.#current, change);
  }

  /** Back to the settings at start. */
  reset(): void {
    this.#current = this.#initial;
  }
}

/**
 * The fields of a change.
 * @throws VendorSettingError on an unknown name or value
 */
export function readChange<T>(fields: z.ZodType<T>, change: Record<string, unknown>): T {
  const parsed = fields.safeParse(change);
  if (!parsed.success) throw new VendorSettingError(z.prettifyError(parsed.error));
  return parsed.data;
}
