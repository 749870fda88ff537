import type { BoundFault, FaultDefinition } from './definition.ts';

/** A fault that was asked for in words that fit no line of the table. The message tells users what would fit. */
export class UnknownFaultError extends Error {
  override readonly name = 'UnknownFaultError';
}

/** How a fault is asked for, by a control request or by a marker. Absent parts take the table's defaults. */
export interface FaultWish {
  readonly name: string;
  readonly argument?: string | undefined;
  readonly route?: string | undefined;
  readonly times?: number | 'always' | undefined;
  readonly skip?: number | undefined;
}

/** The faults that one vendor's double knows. */
export class FaultCatalogue {
  readonly #byName: ReadonlyMap<string, FaultDefinition>;
  readonly #createRoute: string;
  readonly #routes: readonly string[];

  /**
   * @param routes - the vendor's route names; the first one is the create route.
   */
  constructor(definitions: readonly FaultDefinition[], routes: readonly [string, ...string[]]) {
    this.#byName = new Map(definitions.map((definition) => [definition.name, definition]));
    this.#createRoute = routes[0];
    this.#routes = routes;
  }

  get definitions(): readonly FaultDefinition[] {
    return [...this.#byName.values()];
  }

  get createRoute(): string {
    return this.#createRoute;
  }

  knows(name: string): boolean {
    return this.#byName.has(name);
  }

  /**
   * Binds a wish to the table.
   * @throws UnknownFaultError when name, argument or route do not fit
   */
  bind(wish: FaultWish, defaultTimes: 'table' | 1): BoundFault {
    const definition = this.#byName.get(wish.name);
    if (definition === undefined) {
      throw new UnknownFaultError(`unknown fault '${wish.name}'; known: ${[...this.#byName.keys()].join(', ')}`);
    }
    return {
      definition,
      argument: checkedArgument(definition, wish.argument),
      route: this.#route(definition, wish.route),
      skip: wish.skip ?? 0,
      remaining: strikes(wish.times ?? (defaultTimes === 'table' ? definition.markerTimes : 1)),
    };
  }

  #route(definition: FaultDefinition, asked: string | undefined): string {
    // A job's fault is picked up where jobs are made, wherever it shows later.
    if (definition.scope === 'job') {
      if (asked !== undefined && asked !== this.#createRoute) {
        throw new UnknownFaultError(
          `fault '${definition.name}' belongs to a job: it takes no route but '${this.#createRoute}'`,
        );
      }
      return this.#createRoute;
    }
    const fitting = definition.routes === 'any' ? this.#routes : definition.routes;
    const route = asked ?? (definition.routes === 'any' ? this.#createRoute : definition.routes[0]);
    if (!fitting.includes(route)) {
      throw new UnknownFaultError(`fault '${definition.name}' fits the routes ${fitting.join(', ')}, got '${route}'`);
    }
    return route;
  }
}

function strikes(times: number | 'always'): number {
  return times === 'always' ? Number.POSITIVE_INFINITY : times;
}

function checkedArgument(definition: FaultDefinition, given: string | undefined): string {
  const { argument, name } = definition;
  if (argument === undefined) {
    if (given !== undefined && given !== '')
      throw new UnknownFaultError(`fault '${name}' takes no argument, got '${given}'`);
    return '';
  }
  const value = given ?? argument.default;
  if (argument.kind === 'integer' && !/^\d{1,12}$/.test(value)) {
    throw new UnknownFaultError(`fault '${name}' takes a whole number (${argument.meaning}), got '${value}'`);
  }
  if (argument.meaning.startsWith('HTTP status') && !/^5\d\d$/.test(value)) {
    throw new UnknownFaultError(`fault '${name}' takes an ${argument.meaning}, got '${value}'`);
  }
  if (argument.words !== undefined && !argument.words.includes(value)) {
    throw new UnknownFaultError(`fault '${name}' takes one of ${argument.words.join(', ')}, got '${value}'`);
  }
  return value;
}
