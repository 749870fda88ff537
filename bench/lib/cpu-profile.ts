/** Reads what `node --cpu-prof` writes. */

interface ProfileNode {
  id: number;
  callFrame: { functionName: string; url: string; lineNumber: number };
  children?: number[];
}

export interface CpuProfile {
  nodes: ProfileNode[];
  samples: number[];
  timeDeltas: number[];
}

export interface ProfileEntry {
  name: string;
  /** Share of the time that the process was not idle. */
  share: number;
}

/** Time by what the code at the top of the stack belongs to, and by function. Idle time is left out. */
export function selfTimes(profile: CpuProfile): { byArea: ProfileEntry[]; byFunction: ProfileEntry[] } {
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
  const areas = new Map<string, number>();
  const functions = new Map<string, number>();
  let total = 0;
  profile.samples.forEach((id, index) => {
    const frame = nodes.get(id)?.callFrame;
    const delta = profile.timeDeltas[index] ?? 0;
    if (frame === undefined || frame.functionName === '(idle)' || delta < 0) return;
    total += delta;
    const area = areaOf(frame.url, frame.functionName);
    areas.set(area, (areas.get(area) ?? 0) + delta);
    const file = frame.url.split('/').slice(-2).join('/');
    const place = frame.url === '' ? '' : ` ${file}:${frame.lineNumber + 1}`;
    const name = `${frame.functionName === '' ? '(anonymous)' : frame.functionName}${place}`;
    functions.set(name, (functions.get(name) ?? 0) + delta);
  });
  const sort = (times: Map<string, number>): ProfileEntry[] =>
    [...times].map(([name, time]) => ({ name, share: time / total })).sort((a, b) => b.share - a.share);
  return { byArea: sort(areas), byFunction: sort(functions) };
}

/**
 * Time below the outermost frame whose function has one of the names: what a whole step costs, all that it calls
 * included. Work that is put off (promises, sockets) is counted where it runs.
 */
export function inclusiveTimes(profile: CpuProfile, names: readonly string[]): ProfileEntry[] {
  const parents = new Map<number, number>();
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
  for (const node of profile.nodes) for (const child of node.children ?? []) parents.set(child, node.id);
  const times = new Map<string, number>(names.map((name) => [name, 0]));
  let total = 0;
  profile.samples.forEach((id, index) => {
    const delta = profile.timeDeltas[index] ?? 0;
    if (nodes.get(id)?.callFrame.functionName === '(idle)' || delta < 0) return;
    total += delta;
    const seen = new Set<string>();
    for (let at: number | undefined = id; at !== undefined; at = parents.get(at)) {
      const name = nodes.get(at)?.callFrame.functionName;
      if (name !== undefined && times.has(name)) seen.add(name);
    }
    for (const name of seen) times.set(name, (times.get(name) ?? 0) + delta);
  });
  return [...times].map(([name, time]) => ({ name, share: time / total })).sort((a, b) => b.share - a.share);
}

function areaOf(url: string, functionName: string): string {
  if (functionName === '(garbage collector)') return 'garbage collector';
  if (functionName === '(program)') return 'native code of node';
  const inPackage = /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1];
  if (inPackage !== undefined) return inPackage;
  const room = /bench-build-\d+\/src\/([^/]+)/.exec(url)?.[1];
  if (room !== undefined) return `jobferry ${room}`;
  if (url.startsWith('node:internal/deps/undici')) return 'fetch (undici of node)';
  if (/^node:(net|internal\/(stream|net|timers|js_stream))/.test(url)) return 'sockets and streams of node';
  return url.startsWith('node:') ? 'rest of node' : 'native functions';
}
