import type { Reply } from '../http/reply.ts';

/** A refusal in words that every vendor can put into its own envelope. */
export interface Refusal {
  readonly status: number;
  /** What is wrong, as the vendors' own codes distinguish it. */
  readonly reason:
    | 'invalid'
    | 'unauthenticated'
    | 'payment-required'
    | 'forbidden'
    | 'not-found'
    | 'conflict'
    | 'rate-limited'
    | 'quota-exceeded'
    | 'internal'
    | 'unavailable'
    /** A proxy in front of the vendor answered: HTML, no envelope. */
    | 'gateway';
  /** Where the answer says how long to wait, and how long that is. */
  readonly hint?: { readonly seconds: number; readonly inHeader: boolean; readonly inBody: boolean };
}

/** What a fault does to a call. */
export type FaultEffect =
  /** Answers with a refusal; the vendor's own code runs first only when `when` is `after`. */
  | { readonly kind: 'refuse'; readonly when: 'before' | 'after'; readonly refusal: (argument: string) => Refusal }
  /** Ends the connection without an answer. */
  | { readonly kind: 'cut'; readonly when: 'before' | 'after' }
  /** Never answers. */
  | { readonly kind: 'hang'; readonly when: 'before' | 'after' }
  /** Changes the bytes of the true answer. */
  | { readonly kind: 'deform'; readonly deform: (reply: Reply, argument: string) => Reply }
  /** Puts any answer in the place of the vendor's, before the vendor did anything. */
  | { readonly kind: 'replace'; readonly reply: (argument: string) => Reply }
  /** Delays the first byte, or spreads the body, by the argument in ms. */
  | { readonly kind: 'pace'; readonly pace: 'first-byte' | 'body' }
  /** The vendor's own code asks for this fault by name and acts on it. */
  | { readonly kind: 'vendor' };

/** One line of the fault table. The docs list is checked against these. */
export interface FaultDefinition {
  /** Kebab-case, unique over all vendors. */
  readonly name: string;
  /** One or two sentences for users. */
  readonly summary: string;
  readonly effect: FaultEffect;
  /** Routes that it fits; `any` means every route. The first one (for `any`: every create route) is the default. */
  readonly routes: 'any' | readonly [string, ...string[]];
  /**
   * `request`: strikes requests of its route, a counted number of times.
   * `job`: is picked up by a create of any of its routes and then belongs to the job made by it.
   */
  readonly scope: 'request' | 'job';
  /** What the argument means, and its default. Absent: takes none. */
  readonly argument?: {
    readonly meaning: string;
    readonly default: string;
    readonly kind: 'integer' | 'word';
    /** The only words it takes, when they are a closed set. */
    readonly words?: readonly string[];
  };
  /** How often a marker strikes when it does not say. Conditions that pass strike once, verdicts on a document stay. */
  readonly markerTimes: 1 | 'always';
}

/** A fault with its argument, bound to routes, with strikes left. */
export interface BoundFault {
  readonly definition: FaultDefinition;
  readonly argument: string;
  /** Where it strikes: one route, or all routes that create. */
  readonly routes: readonly string[];
  /** Matching requests to let pass first. */
  skip: number;
  /** Strikes left; Infinity for always. */
  remaining: number;
}

/** A fault that strikes the present call. */
export interface ActiveFault {
  readonly name: string;
  readonly argument: string;
  readonly effect: FaultEffect;
}
