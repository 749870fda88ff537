import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { isAlive } from '../../scripts/process-alive.ts';
import { projectDir, transpile } from '../../scripts/transpile.ts';

const buildsDir = path.join(projectDir, '.jobferry');
const namePattern = /^bench-build-(\d+)$/;

export interface Build {
  /** The compiled child of that name. */
  child: (name: string) => string;
  remove: () => void;
}

/**
 * Compiles the sources and the child processes: a loader that compiles on the fly would be measured too. Into a folder
 * of its own per run, so that two runs do not disturb each other.
 */
export function buildChildren(): Build {
  removeAbandoned();
  const outDir = path.join(buildsDir, `bench-build-${process.pid}`);
  transpile(['src', 'bench/lib', 'bench/children'], outDir);
  return {
    child: (name) => path.join(outDir, 'bench', 'children', `${name}.js`),
    remove: () => rmSync(outDir, { recursive: true, force: true }),
  };
}

/** A run that was interrupted leaves its folder behind. */
function removeAbandoned(): void {
  mkdirSync(buildsDir, { recursive: true });
  for (const name of readdirSync(buildsDir)) {
    const pid = namePattern.exec(name)?.[1];
    if (pid !== undefined && !isAlive(Number(pid)))
      rmSync(path.join(buildsDir, name), { recursive: true, force: true });
  }
}
