/** One thing that a fire showed and that must not be. */
export interface Violation {
  /** As numbered in docs/fire-test.md. */
  invariant: 1 | 2 | 3 | 4 | 5 | 6 | 7;
  submission: string;
  what: string;
}
