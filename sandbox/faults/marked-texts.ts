import type { FaultCatalogue } from './catalogue.ts';
import type { BoundFault } from './definition.ts';
import type { FaultBoard } from './fault-board.ts';
import { markedWords, markersIn, mayHoldMarkers } from './marker.ts';

const NONE: readonly BoundFault[] = [];

/** Reads one vendor's markers, for creates that may make several jobs: each job answers for its own text. */
export class MarkedTexts {
  readonly #vendor: string;
  readonly #board: FaultBoard;
  readonly #catalogue: FaultCatalogue;

  constructor(vendor: string, board: FaultBoard, catalogue: FaultCatalogue) {
    this.#vendor = vendor;
    this.#board = board;
    this.#catalogue = catalogue;
  }

  /**
   * The faults that a text asks for; the same objects each time, so that strikes are counted per text.
   * @throws UnknownFaultError on a marker that fits nothing
   */
  of(text: string): readonly BoundFault[] {
    return this.ofNames(markedWords(text));
  }

  /**
   * The faults that the names of one job ask for: URL, file name, id. Each counts whole, blanks included.
   * @throws UnknownFaultError on a marker that fits nothing
   */
  ofNames(names: readonly string[]): readonly BoundFault[] {
    const marked = names.filter(mayHoldMarkers);
    const wishes = marked.flatMap(markersIn);
    return wishes.length === 0 ? NONE : this.#board.forMarkedText(this.#vendor, marked.join('\n'), wishes);
  }

  /** Faults of these texts that strike the creating request itself. */
  ofRequest(texts: readonly string[]): readonly BoundFault[] {
    const found: BoundFault[] = [];
    for (const text of texts) {
      for (const fault of this.of(text)) {
        if (fault.definition.scope === 'request' && this.#isAtCreate(fault) && !found.includes(fault))
          found.push(fault);
      }
    }
    return found;
  }

  /** Faults of a text that strike at other routes, in separate copies: those are counted per job. */
  forLater(text: string): BoundFault[] {
    return this.later(this.of(text));
  }

  /** As `forLater`, of faults that were read already. */
  later(faults: readonly BoundFault[]): BoundFault[] {
    return faults
      .filter((fault) => fault.definition.scope === 'request' && !this.#isAtCreate(fault))
      .map((fault) => ({ ...fault }));
  }

  #isAtCreate(fault: BoundFault): boolean {
    return fault.routes.some((route) => this.#catalogue.createRoutes.includes(route));
  }
}
