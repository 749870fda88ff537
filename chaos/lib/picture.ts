import { faultCounts, type FireReport } from './fire.ts';
import type { FaultKind, FireOptions } from './options.ts';
import type { StruckFault } from './strikes.ts';

/** Submissions over time, and below it a row of marks for each kind of fault. */

const rows: readonly { title: string; kinds: readonly FaultKind[]; color: string }[] = [
  { title: 'worker killed', kinds: ['kill', 'die-at'], color: 'red' },
  { title: 'worker frozen, hung', kinds: ['freeze', 'freeze-at', 'freeze-long', 'block'], color: 'violet' },
  { title: 'worker rolled', kinds: ['roll'], color: 'grey' },
  { title: 'Redis killed', kinds: ['redis-kill'], color: 'red' },
  { title: 'Redis cut, late', kinds: ['redis-cut', 'redis-delay'], color: 'violet' },
  { title: 'vendor down, frozen', kinds: ['vendor-down', 'vendor-frozen'], color: 'red' },
  { title: 'vendor cut, late', kinds: ['vendor-cut', 'vendor-delay'], color: 'violet' },
  { title: 'queue paused, cleaned', kinds: ['pause', 'clean'], color: 'red' },
  { title: 'jobs touched, promoted', kinds: ['touch', 'promote', 'remove'], color: 'violet' },
  { title: 'clock set', kinds: ['clock'], color: 'grey' },
];

const style = `<style>
  .card { fill: #ffffff; stroke: #d5dae1 } .text { fill: #1d2530 } .soft { fill: #5b6673 } .rule { stroke: #d5dae1 }
  .submitted { stroke: #8a94a3 } .settled { stroke: #2563c9 }
  .red { stroke: #c8372d } .violet { stroke: #8250c8 } .grey { stroke: #8a94a3 }
  text { font-family: system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; font-size: 12px }
  .title { font-size: 16px; font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    .card { fill: #161b22; stroke: #323a45 } .text { fill: #e6eaf0 } .soft { fill: #9aa5b3 } .rule { stroke: #323a45 }
    .submitted { stroke: #7d8794 } .settled { stroke: #6aa5ff }
    .red { stroke: #ff7b72 } .violet { stroke: #b392f0 } .grey { stroke: #7d8794 }
  }
</style>`;

const width = 890;
const left = 190;
const plotWidth = width - left - 40;
const upper = 84;
const plotHeight = 220;
const rowHeight = 20;
/** In a row of more marks than these nobody could point at one. */
const titledMarks = 100;

export function drawFire(options: FireOptions, report: FireReport): string {
  const seconds = Math.max(1, ...report.timeline.map((point) => point.at)) / 1_000;
  const most = Math.max(1, ...report.timeline.map((point) => point.submitted));
  const toX = (ms: number): number => left + (ms / 1_000 / seconds) * plotWidth;
  const toY = (count: number): number => upper + plotHeight - (count / most) * plotHeight;
  const parts: string[] = [];
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    const y = toY(most * share);
    parts.push(`<path class="rule" d="M${left} ${f(y)}h${plotWidth}"/>`);
    parts.push(text(left - 8, y + 4, Math.round(most * share).toLocaleString('en-US'), 'soft', 'end'));
  }
  for (const key of ['submitted', 'settled'] as const) {
    const path = thinned(report.timeline)
      .map((point, index) => `${index === 0 ? 'M' : 'L'}${f(toX(point.at))} ${f(toY(point[key]))}`)
      .join('');
    parts.push(`<path class="${key}" fill="none" stroke-width="2" d="${path}"/>`);
  }
  parts.push(`<path class="submitted" stroke-width="2" d="M${left} 68h18"/>`, text(left + 24, 72, 'submitted', 'text'));
  parts.push(
    `<path class="settled" stroke-width="2" d="M${left + 110} 68h18"/>`,
    text(left + 134, 72, 'settled', 'text'),
  );

  let y = upper + plotHeight + 18;
  const step = [1, 2, 5, 10, 20, 60, 120, 300, 600].find((one) => seconds / one <= 12) ?? 1_200;
  for (let at = 0; at <= seconds; at += step) parts.push(text(toX(at * 1_000), y, `${at} s`, 'soft', 'middle'));
  y += 16;
  for (const { title, kinds, color } of rows) {
    const marks = report.faults.filter((fault) => kinds.includes(fault.kind));
    parts.push(text(left - 8, y + 9, `${title} (${marks.length})`, 'soft', 'end'));
    parts.push(`<path class="rule" d="M${left} ${f(y + 5)}h${plotWidth}"/>`);
    parts.push(...drawMarks(marks, color, toX, y));
    y += rowHeight;
  }
  const struck = Object.values(faultCounts(report)).reduce((sum, count) => sum + count, 0);
  const ends = `${report.verdict.counts.settled.toLocaleString('en-US')} of ${options.submissions.toLocaleString('en-US')} settled`;
  const subtitle = `${ends}, ${struck} faults beside those of the vendor, ${report.verdict.violations.length} violations; seed ${options.seed}`;
  const heading = options.control === undefined ? 'Under fire' : `Under fire, control run: ${options.control}`;
  const height = y + 12;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${heading}: ${subtitle}">`,
    style,
    `<rect class="card" x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="8"/>`,
    text(24, 30, heading, 'text title'),
    text(24, 50, subtitle, 'soft'),
    ...parts,
    '</svg>',
    '',
  ].join('\n');
}

function drawMarks(marks: readonly StruckFault[], color: string, toX: (ms: number) => number, y: number): string[] {
  if (marks.length > titledMarks) {
    const d = marks.map(({ at }) => `M${f(toX(at))} ${f(y)}v10`).join('');
    return [`<path class="${color}" stroke-width="0.6" d="${d}"/>`];
  }
  return marks.map(({ at, kind, note }) => {
    const title = `${kind}${note === undefined ? '' : ` ${note}`} at ${(at / 1_000).toFixed(1)} s`;
    return `<path class="${color}" stroke-width="2" d="M${f(toX(at))} ${f(y)}v10"><title>${title}</title></path>`;
  });
}

/** As many points as the picture has dots, the last one included. */
function thinned<T>(points: readonly T[]): T[] {
  const step = Math.ceil(points.length / plotWidth);
  return points.filter((_, index) => index % step === 0 || index === points.length - 1);
}

function text(x: number, y: number, content: string, className: string, anchor = 'start'): string {
  const anchored = anchor === 'start' ? '' : ` text-anchor="${anchor}"`;
  return `<text class="${className}" x="${f(x)}" y="${f(y)}"${anchored}>${content}</text>`;
}

function f(value: number): string {
  return String(Math.round(value * 10) / 10);
}
