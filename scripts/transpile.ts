import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

export const projectDir = fileURLToPath(new URL('..', import.meta.url));

/**
 * Compiles the sources of some folders as a release would be compiled, for processes that are started from them: a
 * loader that compiles on the fly slows their start, wraps functions to keep their names, and maps every stack.
 * @param folders - relative to the project; each keeps its place below `outDir`, so that imports between them hold.
 */
export function transpile(folders: readonly string[], outDir: string): void {
  for (const folder of folders) {
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
}
