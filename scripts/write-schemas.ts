/**
 * Writes the JSON Schemas of what other programs push and read into `schemas/`, from the schemas that the product
 * itself checks with. `--check` only tells whether they are up to date.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { publicSchemas } from '../src/public-schemas.ts';

const folder = fileURLToPath(new URL('../schemas/', import.meta.url));
const isCheck = process.argv.includes('--check');
const stale: string[] = [];
mkdirSync(folder, { recursive: true });
for (const [name, schema] of Object.entries(publicSchemas())) {
  const file = `${folder}${name}`;
  const text = `${JSON.stringify(schema, null, 2)}\n`;
  if (readIfThere(file) === text) continue;
  stale.push(name);
  if (!isCheck) writeFileSync(file, text);
}
console.log(
  stale.length === 0 ? 'schemas are up to date' : `${isCheck ? 'out of date' : 'written'}: ${stale.join(', ')}`,
);
process.exitCode = isCheck && stale.length > 0 ? 1 : 0;

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
