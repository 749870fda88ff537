import { rmSync } from 'node:fs';
import path from 'node:path';
import { projectDir, transpile } from '../../scripts/transpile.ts';

export interface Build {
  /** The compiled child of that name. */
  child(name: string): string;
  remove(): void;
}

/**
 * Compiles sources and children once: workers die by the hundred here. A folder of its own per run, so that two runs do
 * not disturb each other.
 */
export function build(): Build {
  const outDir = path.join(projectDir, '.jobferry', `chaos-build-${process.pid}`);
  transpile(['src', 'sandbox', 'bench/lib', 'chaos/children', 'chaos/lib'], outDir);
  return {
    child: (name) => path.join(outDir, 'chaos', 'children', `${name}.js`),
    remove: () => rmSync(outDir, { recursive: true, force: true }),
  };
}
