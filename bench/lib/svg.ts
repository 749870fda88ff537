/** Pictures for the documentation, written by hand: they bring their own background, so they read well on any page. */

export interface Bar {
  label: string;
  value: number;
  /** Shown behind the bar; the value when left out. */
  text?: string;
  /** Drawn as a thin line over the bar's end. */
  range?: readonly [low: number, high: number];
  color?: Color;
}

export interface BarGroup {
  title?: string;
  bars: readonly Bar[];
}

export type Color = 'a' | 'b' | 'c';

const style = `<style>
  .card { fill: #ffffff; stroke: #d5dae1 } .text { fill: #1d2530 } .soft { fill: #5b6673 } .rule { stroke: #d5dae1 }
  text { stroke: #ffffff; stroke-width: 4px; paint-order: stroke; stroke-linejoin: round }
  .a { fill: #2563c9 } .b { fill: #8a94a3 } .c { fill: #c2792b } .whisker { stroke: #1d2530 }
  .line-a { stroke: #2563c9 } .line-b { stroke: #8a94a3 } .line-c { stroke: #c2792b }
  text { font-family: system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; font-size: 13px }
  .title { font-size: 16px; font-weight: 600 } .note { font-size: 12px } .group { font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    .card { fill: #161b22; stroke: #323a45 } .text { fill: #e6eaf0 } .soft { fill: #9aa5b3 } .rule { stroke: #323a45 }
    text { stroke: #161b22 }
    .a { fill: #6aa5ff } .b { fill: #7d8794 } .c { fill: #e2a04f } .whisker { stroke: #e6eaf0 }
    .line-a { stroke: #6aa5ff } .line-b { stroke: #7d8794 } .line-c { stroke: #e2a04f }
  }
</style>`;

const width = 760;
const margin = 24;

/** Horizontal bars in groups, one scale for all. */
export function barChart(chart: {
  title: string;
  subtitle: string;
  groups: readonly BarGroup[];
  /** A goal or limit, as a vertical line. */
  mark?: { value: number; label: string };
  notes?: readonly string[];
}): string {
  const bars = chart.groups.flatMap((group) => group.bars);
  const labelWidth = Math.min(300, Math.max(...bars.map((bar) => bar.label.length)) * 7.2 + 14);
  const left = margin + labelWidth;
  const room = width - margin - left - 150;
  const top = Math.max(...bars.map((bar) => bar.range?.[1] ?? bar.value), chart.mark?.value ?? 0, Number.EPSILON);
  const scale = (value: number): number => (Math.max(0, value) / top) * room;
  const parts: string[] = [];
  let y = 78;
  const firstY = y;
  for (const group of chart.groups) {
    if (group.title !== undefined) {
      parts.push(text(margin, y + 13, group.title, 'text group'));
      y += 24;
    }
    for (const bar of group.bars) {
      const end = left + scale(bar.value);
      const shown = bar.text ?? String(bar.value);
      const textAt = Math.max(end, bar.range === undefined ? 0 : left + scale(bar.range[1])) + 8;
      parts.push(text(margin, y + 15, bar.label, 'text'));
      parts.push(
        `<rect class="${bar.color ?? 'b'}" x="${f(left)}" y="${f(y)}" width="${f(Math.max(1, end - left))}" height="20" rx="2"/>`,
      );
      if (bar.range !== undefined) {
        const [from, to] = bar.range.map((value) => left + scale(value)) as [number, number];
        parts.push(
          `<path class="whisker" d="M${f(from)} ${y + 10}H${f(to)}M${f(from)} ${y + 6}v8M${f(to)} ${y + 6}v8"/>`,
        );
      }
      parts.push(text(textAt, y + 15, shown, 'text'));
      y += 27;
    }
    y += 12;
  }
  if (chart.mark !== undefined) {
    const x = left + scale(chart.mark.value);
    // Behind everything else, whose text keeps clear of it by its outline.
    parts.unshift(`<path class="whisker" stroke-dasharray="4 3" d="M${f(x)} ${firstY - 4}V${y - 8}"/>`);
    parts.push(text(x + 5, firstY - 8, chart.mark.label, 'soft note'));
  }
  return frame(chart, parts, y);
}

export interface Line {
  label: string;
  points: readonly (readonly [x: number, y: number])[];
  color: Color;
}

/** Lines over a common x axis, y from zero. */
export function lineChart(chart: {
  title: string;
  subtitle: string;
  lines: readonly Line[];
  xLabel: string;
  yLabel: string;
  notes?: readonly string[];
}): string {
  const points = chart.lines.flatMap((line) => line.points);
  const right = Math.max(...points.map(([x]) => x), 1);
  const top = niceCeiling(Math.max(...points.map(([, y]) => y), 1));
  const [left, upper, plotWidth, plotHeight] = [margin + 46, 92, width - 2 * margin - 190, 230];
  const toX = (x: number): number => left + (x / right) * plotWidth;
  const toY = (y: number): number => upper + plotHeight - (y / top) * plotHeight;
  const parts: string[] = [text(margin, upper - 12, chart.yLabel, 'soft note')];
  for (let step = 0; step <= 4; step += 1) {
    const value = (top / 4) * step;
    parts.push(`<path class="rule" d="M${left} ${f(toY(value))}h${plotWidth}"/>`);
    parts.push(text(left - 8, toY(value) + 4, number(value), 'soft note', 'end'));
    parts.push(
      text(toX((right / 4) * step), upper + plotHeight + 18, number((right / 4) * step), 'soft note', 'middle'),
    );
  }
  parts.push(text(left + plotWidth / 2, upper + plotHeight + 38, chart.xLabel, 'soft note', 'middle'));
  for (const line of chart.lines) {
    const path = line.points.map(([x, y], index) => `${index === 0 ? 'M' : 'L'}${f(toX(x))} ${f(toY(y))}`).join('');
    parts.push(`<path class="line-${line.color}" fill="none" stroke-width="2.5" d="${path}"/>`);
    const last = line.points.at(-1);
    if (last !== undefined) parts.push(text(toX(last[0]) + 8, toY(last[1]) + 4, line.label, 'text'));
  }
  return frame(chart, parts, upper + plotHeight + 56);
}

function frame(
  chart: { title: string; subtitle: string; notes?: readonly string[] },
  parts: string[],
  y: number,
): string {
  const notes = (chart.notes ?? []).map((note, index) => text(margin, y + 12 + index * 18, note, 'soft note'));
  const height = y + notes.length * 18 + 14;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${f(height)}" width="${width}" height="${f(height)}" role="img" aria-label="${escape(chart.title)}">`,
    style,
    `<rect class="card" x="0.5" y="0.5" width="${width - 1}" height="${f(height - 1)}" rx="8"/>`,
    text(margin, 32, chart.title, 'text title'),
    text(margin, 52, chart.subtitle, 'soft note'),
    ...parts,
    ...notes,
    '</svg>',
    '',
  ].join('\n');
}

function text(x: number, y: number, content: string, className: string, anchor = 'start'): string {
  const anchored = anchor === 'start' ? '' : ` text-anchor="${anchor}"`;
  return `<text class="${className}" x="${f(x)}" y="${f(y)}"${anchored}>${escape(content)}</text>`;
}

function escape(content: string): string {
  return content.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;');
}

function f(value: number): string {
  return String(Math.round(value * 10) / 10);
}

function number(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

function niceCeiling(value: number): number {
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 5, 8, 10].map((step) => step * unit).find((step) => step >= value * 1.05) ?? value * 2;
}
