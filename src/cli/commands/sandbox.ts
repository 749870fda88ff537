import { startSandbox, type Sandbox } from 'jobferry/sandbox';
import { exitCodes } from '../exit-codes.ts';
import { listenNear } from '../ports-in-use.ts';
import { untilSignal } from '../shutdown.ts';

const usualPort = 4_010;

export async function sandbox(flags: { port?: number; speed: number; dialect?: 'doc' | 'impl' }): Promise<number> {
  const { server, isElsewhere } = await listenNear('--port', flags.port, usualPort, (port) =>
    startSandbox({ port, speed: flags.speed, ...(flags.dialect === undefined ? {} : { dialect: flags.dialect }) }),
  );
  const signal = untilSignal();
  const lines = [
    ...(isElsewhere ? [`Port ${usualPort} is taken, so this is ${server.port}.`] : []),
    ...describeSandbox(server),
    'Any key of the vendor’s form is good: sk_…, fini_…, sk-sharely-…. Faults, limits and the ledger: sandbox/README.md',
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
  await signal;
  await server.close();
  return exitCodes.ok;
}

function describeSandbox(server: Sandbox): string[] {
  const rows = [
    ...server.vendors.map((vendor) => [`${vendor.toUpperCase()}_BASE_URL`, server.baseUrl(vendor)] as const),
    ['control', `${server.url}/_control`] as const,
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, url]) => `${name.padEnd(width)}  ${url}`);
}
