import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, join } from 'node:path';

/** Every program of these names in the given folders, in the order in which a shell would prefer them. */
export async function findOnPath(names: string[], searchPath: string): Promise<string[]> {
  const found: string[] = [];
  for (const name of names) {
    for (const folder of searchPath.split(delimiter)) {
      if (folder === '') continue;
      const candidate = join(folder, name);
      try {
        await access(candidate, constants.X_OK);
      } catch {
        continue;
      }
      found.push(candidate);
    }
  }
  return found;
}
