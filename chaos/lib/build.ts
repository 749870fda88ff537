import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

export const projectDir = fileURLToPath(new URL('../../', import.meta.url));

export interface Build {
  /** The compiled child of that name. */
  child(name: string): string;
  remove(): void;
}

/**
 * Compiles sources and children once. Workers die by the hundred here, and a loader that compiles on the fly would make
 * each of them take seconds to be replaced. A folder of its own per run, so that two runs do not disturb each other.
 */
export function build(): Build {
  const outDir = path.join(projectDir, '.jobferry', `chaos-build-${process.pid}`);
  for (const folder of ['src', 'bench/lib', 'chaos/children', 'chaos/lib']) {
    for (const entry of readdirSync(path.join(projectDir, folder), { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || !entry.name.endsWith('.ts')) continue;
      const file = path.join(entry.parentPath, entry.name);
      const { outputText } = ts.transpileModule(readFileSync(file, 'utf8'), {
        fileName: file,
        compilerOptions: {
          target: ts.ScriptTarget.ES2023,
          module: ts.ModuleKind.ESNext,
          verbatimModuleSyntax: true,
          rewriteRelativeImportExtensions: true,
        },
      });
      const target = path.join(outDir, path.relative(projectDir, file)).replace(/\.ts$/, '.js');
      mkdirSync(path.dirname(target), { recursive: true });
      writeFileSync(target, outputText);
    }
  }
  return {
    child: (name) => path.join(outDir, 'chaos', 'children', `${name}.js`),
    remove: () => rmSync(outDir, { recursive: true, force: true }),
  };
}
