import { join } from 'node:path';
import { ensureBuilt } from './build.mjs';
import { ensureInstalled } from './ensure-installed.mjs';
import { projectDir, runInForeground } from './tool.mjs';

await ensureInstalled();
if (!(await ensureBuilt())) process.exit(1);
const commandFile = join(projectDir, 'dist', 'cli', 'main.js');
process.exitCode = await runInForeground(process.execPath, [commandFile, 'dev', ...process.argv.slice(2)]);
