import type { ActiveFault, BoundFault, FaultDefinition } from './definition.ts';
import type { FaultCatalogue, FaultWish } from './catalogue.ts';
import { UnknownFaultError } from './catalogue.ts';

/** Arms a fault for coming requests. Every given field must match; absent fields match anything. */
export interface FaultRuleSpec {
  /** A name of the fault table. */
  readonly fault: string;
  readonly argument?: string | number | undefined;
  /** Vendor name, e.g. `knowhere`. Absent: every vendor that knows the fault. */
  readonly vendor?: string | undefined;
  /** A route name of the vendor. Absent: the fault's own route. */
  readonly route?: string | undefined;
  readonly method?: string | undefined;
  readonly jobId?: string | undefined;
  /** A part of the submitted source URL, file name or data id. */
  readonly source?: string | undefined;
  /** The exact API key that the request carries. */
  readonly apiKey?: string | undefined;
  /** How many matching requests to strike. Default 1. */
  readonly times?: number | 'always' | undefined;
  /** How many matching requests to let pass first. Default 0. */
  readonly skip?: number | undefined;
  /** Chance that a matching request is struck, 0 to 1, drawn from a seeded generator. Default 1. */
  readonly probability?: number | undefined;
}

/** An armed rule, as the control routes show it. */
export interface FaultRule {
  readonly id: string;
  readonly spec: FaultRuleSpec;
  readonly strikes: number;
  /** Null: no end. */
  readonly remaining: number | null;
}

/** What the board needs to know of a request. */
export interface FaultContext {
  readonly vendor: string;
  readonly route: string;
  readonly method: string;
  readonly jobId: string | null;
  /** Jobs that a batched request names. */
  readonly jobIds?: readonly string[] | undefined;
  /** Source URL, file name and data id, joined; empty when unknown. */
  readonly source: string;
  readonly apiKey: string | undefined;
}

/** The faults that strike one request. At most one of them decides the answer; pace and vendor faults add up. */
export interface Strike {
  readonly answer: ActiveFault | null;
  readonly others: readonly ActiveFault[];
}

interface ArmedRule {
  readonly id: string;
  readonly spec: FaultRuleSpec;
  /** Keyed by vendor name: two vendors may route the same fault differently. */
  readonly bound: ReadonlyMap<string, BoundFault>;
  strikes: number;
  remaining: number;
  skip: number;
}

const NO_STRIKE: Strike = { answer: null, others: [] };

/** Keeps the armed faults and decides which of them strike a request. */
export class FaultBoard {
  #rules: ArmedRule[] = [];
  #markers = new Map<string, BoundFault[]>();
  #nextId = 1;
  #random: () => number;
  readonly #catalogues = new Map<string, FaultCatalogue>();
  readonly #attach: (vendor: string, jobId: string, fault: BoundFault) => boolean;

  /**
   * @param attach - hands a job's fault to a job that exists already; false when the vendor has no such job.
   */
  constructor(attach: (vendor: string, jobId: string, fault: BoundFault) => boolean) {
    this.#attach = attach;
    this.#random = seeded(1);
  }

  /** Makes a vendor's faults known. */
  register(vendor: string, catalogue: FaultCatalogue): void {
    this.#catalogues.set(vendor, catalogue);
  }

  /**
   * Arms a fault. One that belongs to a job, with a `jobId`, goes to that job at once; else to the next jobs created.
   * @throws UnknownFaultError when the spec does not fit the table
   */
  arm(spec: FaultRuleSpec): FaultRule {
    const wish: FaultWish = {
      name: spec.fault,
      argument: spec.argument === undefined ? undefined : String(spec.argument),
      route: spec.route,
      times: spec.times,
      skip: spec.skip,
    };
    const bound = new Map<string, BoundFault>();
    let misfit: UnknownFaultError | undefined;
    for (const [vendor, catalogue] of this.#catalogues) {
      if (spec.vendor !== vendor && (spec.vendor !== undefined || !catalogue.knows(spec.fault))) continue;
      try {
        bound.set(vendor, catalogue.bind(wish, 1));
      } catch (error) {
        // Of all vendors that know the fault, one may have no such route. It is enough that some vendor has it.
        if (!(error instanceof UnknownFaultError)) throw error;
        misfit ??= error;
      }
    }
    const [first] = bound.values();
    if (first === undefined) {
      if (misfit !== undefined) throw misfit;
      throw new UnknownFaultError(
        spec.vendor === undefined
          ? `unknown fault '${spec.fault}'`
          : `unknown vendor '${spec.vendor}'; known: ${[...this.#catalogues.keys()].join(', ')}`,
      );
    }
    const rule: ArmedRule = {
      id: `fault-${this.#nextId++}`,
      spec,
      bound,
      strikes: 0,
      remaining: first.remaining,
      skip: first.skip,
    };
    if (first.definition.scope === 'job' && spec.jobId !== undefined) {
      const { jobId } = spec;
      const found = [...bound].some(([vendor, fault]) => this.#attach(vendor, jobId, fault));
      if (!found) throw new UnknownFaultError(`no vendor has a job '${jobId}'`);
      rule.strikes = 1;
      rule.remaining = 0;
    } else {
      this.#rules.push(rule);
    }
    return shown(rule);
  }

  /** Disarms one rule; false when it is not armed (any more). */
  disarm(id: string): boolean {
    const before = this.#rules.length;
    this.#rules = this.#rules.filter((rule) => rule.id !== id);
    return this.#rules.length < before;
  }

  /** The rules that can still strike, in order of arming. */
  armed(): FaultRule[] {
    return this.#rules.map(shown);
  }

  /** Every line of the fault table, by vendor. */
  table(): { vendor: string; definition: FaultDefinition }[] {
    return [...this.#catalogues].flatMap(([vendor, catalogue]) =>
      catalogue.definitions.map((definition) => ({ vendor, definition })),
    );
  }

  /** Disarms everything, forgets what markers have struck, and starts the generator anew. */
  reset(seed = 1): void {
    this.#rules = [];
    this.#markers.clear();
    this.#random = seeded(seed);
  }

  /**
   * The faults that a marked text asks of creates. Counted per text, so that `x1` strikes the first create of a
   * document and spares its repetition.
   */
  forMarkedText(vendor: string, text: string, wishes: readonly FaultWish[]): BoundFault[] {
    const key = `${vendor}\n${text}`;
    const known = this.#markers.get(key);
    if (known !== undefined) return known;
    const catalogue = this.#catalogues.get(vendor);
    const bound = catalogue === undefined ? [] : wishes.map((wish) => catalogue.bind(wish, 'table'));
    this.#markers.set(key, bound);
    return bound;
  }

  /**
   * Decides what strikes this request, and counts it. `own` are the faults of its job or its marked text. Faults that
   * belong to a job are left to `strikeJob`.
   */
  strike(context: FaultContext, own: readonly BoundFault[]): Strike {
    if (this.#rules.length === 0 && own.length === 0) return NO_STRIKE;
    let answer: ActiveFault | null = null;
    const others: ActiveFault[] = [];
    const take = (fault: BoundFault): boolean => {
      const { definition, argument } = fault;
      const active = { name: definition.name, argument, effect: definition.effect };
      if (active.effect.kind === 'pace' || active.effect.kind === 'vendor') {
        others.push(active);
        return true;
      }
      // Faults that decide the answer take turns: the second one strikes the next request.
      if (answer !== null) return false;
      answer = active;
      return true;
    };
    for (const rule of this.#rules) {
      const fault = rule.bound.get(context.vendor);
      if (fault === undefined || fault.definition.scope !== 'request') continue;
      if (!fault.routes.includes(context.route) || !fits(rule.spec, context)) continue;
      if (this.#isDue(rule) && take(fault)) {
        rule.strikes += 1;
        rule.remaining -= 1;
      }
    }
    this.#dropSpentRules();
    for (const fault of own) {
      if (fault.definition.scope !== 'request' || !fault.routes.includes(context.route) || fault.remaining <= 0)
        continue;
      if (fault.skip > 0) fault.skip -= 1;
      else if (take(fault)) fault.remaining -= 1;
    }
    return { answer, others };
  }

  /**
   * The faults that one new job gets. A create may make several: rules and markers are counted job by job, and
   * `context.source` is the text of this one job.
   */
  strikeJob(context: FaultContext, own: readonly BoundFault[]): BoundFault[] {
    const taken: BoundFault[] = [];
    const take = (fault: BoundFault): void => {
      taken.push({ ...fault, skip: 0, remaining: Number.POSITIVE_INFINITY });
    };
    for (const rule of this.#rules) {
      const fault = rule.bound.get(context.vendor);
      if (fault === undefined || fault.definition.scope !== 'job') continue;
      if (!fault.routes.includes(context.route) || !fits(rule.spec, context) || !this.#isDue(rule)) continue;
      take(fault);
      rule.strikes += 1;
      rule.remaining -= 1;
    }
    this.#dropSpentRules();
    for (const fault of own) {
      if (fault.definition.scope !== 'job' || !fault.routes.includes(context.route) || fault.remaining <= 0) continue;
      if (fault.skip > 0) {
        fault.skip -= 1;
        continue;
      }
      take(fault);
      fault.remaining -= 1;
    }
    return taken;
  }

  /** Counts a matching request against the rule's skips, then draws. */
  #isDue(rule: ArmedRule): boolean {
    if (rule.remaining <= 0) return false;
    if (rule.skip > 0) {
      rule.skip -= 1;
      return false;
    }
    return this.#random() < (rule.spec.probability ?? 1);
  }

  #dropSpentRules(): void {
    if (this.#rules.some((rule) => rule.remaining <= 0)) {
      this.#rules = this.#rules.filter((rule) => rule.remaining > 0);
    }
  }
}

function fits(spec: FaultRuleSpec, context: FaultContext): boolean {
  return (
    (spec.method === undefined || spec.method.toUpperCase() === context.method) &&
    (spec.jobId === undefined || spec.jobId === context.jobId || context.jobIds?.includes(spec.jobId) === true) &&
    (spec.source === undefined || context.source.includes(spec.source)) &&
    (spec.apiKey === undefined || spec.apiKey === context.apiKey)
  );
}

function shown(rule: ArmedRule): FaultRule {
  return {
    id: rule.id,
    spec: rule.spec,
    strikes: rule.strikes,
    remaining: Number.isFinite(rule.remaining) ? rule.remaining : null,
  };
}

/** mulberry32: small, fast, and the same draws on every run. */
function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
