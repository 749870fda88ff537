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
  readonly #createRoutes: readonly string[];
  readonly #routes: readonly string[];

  /**
   * @param routes - the vendor's route names.
   * @param createRoutes - those that create jobs; by default the first one.
   */
  constructor(
    definitions: readonly FaultDefinition[],
    routes: readonly [string, ...string[]],
    createRoutes: readonly string[] = [routes[0]],
  ) {
    this.#byName = new Map(definitions.map((definition) => [definition.name, definition]));
    this.#createRoutes = createRoutes;
    this.#routes = routes;
  }

  get definitions(): readonly FaultDefinition[] {
    return [...this.#byName.values()];
  }

  get createRoutes(): readonly string[] {
    return this.#createRoutes;
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
      routes: this.#routesOf(definition, wish.route),
      skip: wish.skip ?? 0,
      remaining: strikes(wish.times ?? (defaultTimes === 'table' ? definition.markerTimes : 1)),
    };
  }

  #routesOf(definition: FaultDefinition, asked: string | undefined): readonly string[] {
    const fitting = definition.routes === 'any' ? this.#routes : definition.routes;
    if (asked === undefined) {
      if (definition.routes === 'any') return this.#createRoutes;
      // A job's fault is picked up wherever such jobs are made, whatever route it shows at later.
      return definition.scope === 'job' ? definition.routes : [definition.routes[0]];
    }
    if (fitting.includes(asked)) return [asked];
    throw new UnknownFaultError(
      definition.scope === 'job'
        ? `fault '${definition.name}' belongs to a job: it takes no route but '${fitting.join("', '")}'`
        : `fault '${definition.name}' fits the routes ${fitting.join(', ')}, got '${asked}'`,
    );
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
