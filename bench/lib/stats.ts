export interface Summary {
  median: number;
  min: number;
  max: number;
  rounds: number[];
}

export function median(values: readonly number[]): number {
  return percentile(values, 0.5);
}

/** Linear between the two neighbours; 0 of nothing. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (sorted.length - 1) * share;
  const low = sorted[Math.floor(at)] ?? 0;
  const high = sorted[Math.ceil(at)] ?? low;
  return low + (high - low) * (at - Math.floor(at));
}

export function summarise(rounds: readonly number[], digits = 1): Summary {
  return {
    median: round(median(rounds), digits),
    min: round(Math.min(...rounds), digits),
    max: round(Math.max(...rounds), digits),
    rounds: rounds.map((value) => round(value, digits)),
  };
}

/** For many short rounds on a machine with neighbours: the middle half, which a disturbance now and then leaves alone. */
export interface Spread {
  median: number;
  quartiles: [low: number, high: number];
  rounds: number[];
}

export function spread(rounds: readonly number[], digits: number): Spread {
  return {
    median: round(median(rounds), digits),
    quartiles: [round(percentile(rounds, 0.25), digits), round(percentile(rounds, 0.75), digits)],
    rounds: rounds.map((value) => round(value, digits)),
  };
}

export function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}

/** Least squares: the slope of y over x, and how uncertain it is (one standard error). */
export function slope(points: readonly (readonly [number, number])[]): { slope: number; standardError: number } {
  const n = points.length;
  if (n < 3) return { slope: 0, standardError: Number.POSITIVE_INFINITY };
  const meanX = points.reduce((sum, [x]) => sum + x, 0) / n;
  const meanY = points.reduce((sum, [, y]) => sum + y, 0) / n;
  const sxx = points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
  const sxy = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0);
  const steepness = sxy / sxx;
  const rest = points.reduce((sum, [x, y]) => sum + (y - meanY - steepness * (x - meanX)) ** 2, 0);
  return { slope: steepness, standardError: Math.sqrt(rest / (n - 2) / sxx) };
}
