/** Time and chance, so that tests can hold both still. */
export interface Clock {
  /** Epoch ms. */
  now(): number;
  /** 0 ≤ r < 1. */
  random(): number;
}
