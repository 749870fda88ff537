import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

export const projectDir = fileURLToPath(new URL('../../', import.meta.url));
const outDir = path.join(projectDir, '.jobferry', 'bench-build');

/**
 * Compiles the sources and the child processes as a release would be compiled. A loader that compiles on the fly wraps
 * functions to keep their names and maps every stack, and both would be measured too.
 * @returns the path of a compiled child by its name.
 */
export function buildChildren(): (name: string) => string {
  rmSync(outDir, { recursive: true, force: true });
  for (const folder of ['src', 'bench/lib', 'bench/children']) {
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
  return (name) => path.join(outDir, 'bench', 'children', `${name}.js`);
}
