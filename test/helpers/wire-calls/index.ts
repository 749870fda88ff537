import { finiCalls, finiErrors, finiSilent } from './fini.ts';
import { knowhereCalls, knowhereErrors, knowhereSilent } from './knowhere.ts';
import { sharelyCalls, sharelyErrors, sharelySilent } from './sharely.ts';
import type { WireCall } from './wire-call.ts';

/** Every request that the adapters make. A test fails when a step, a request or a wire schema is missing here. */
export const wireCalls: readonly WireCall[] = [...knowhereCalls, ...finiCalls, ...sharelyCalls];

/** Bodies of error answers, by vendor. */
export const errorBodies: Readonly<Record<string, readonly unknown[]>> = {
  knowhere: knowhereErrors,
  fini: finiErrors,
  sharely: sharelyErrors,
};

/** Steps that make no request, by vendor; each is run once to show it. */
export const silentSteps: Readonly<Record<string, readonly { step: string; context: object }[]>> = {
  knowhere: knowhereSilent,
  fini: finiSilent,
  sharely: sharelySilent,
};
