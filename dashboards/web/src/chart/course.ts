// From the values of a series to what is drawn: which steps to ask for, and where the gaps are. Pure.
import type { SeriesPoint } from "../api/types";

export type Range = "1h" | "6h" | "24h" | "7d";
export const RANGES: readonly Range[] = ["1h", "6h", "24h", "7d"];

const HOUR_MS = 3_600_000;

export const RANGE_MS: Record<Range, number> = {
  "1h": HOUR_MS,
  "6h": 6 * HOUR_MS,
  "24h": 24 * HOUR_MS,
  "7d": 168 * HOUR_MS,
};
/** The step asked from the server; an hour is shown raw. */
export const RANGE_STEP: Record<Range, "60s" | "5m" | "1h" | null> = {
  "1h": null,
  "6h": "60s",
  "24h": "5m",
  "7d": "1h",
};

/** A day, unless the series is younger than two hours: then an hour says more. */
export function firstRange(first: number | null, now: number): Range {
  return first !== null && now - first < 2 * HOUR_MS ? "1h" : "24h";
}

/**
 * Raw values with a break wherever more than three periods passed without one. A series without a known
 * period breaks after ten minutes.
 */
export function withGaps(values: readonly SeriesPoint[], cadence_s: number): [number, number | null][] {
  const longest = cadence_s > 0 ? cadence_s * 3_000 : 600_000;
  const points: [number, number | null][] = [];
  let before: number | null = null;
  for (const { t, v } of values) {
    const at = Date.parse(t);
    if (Number.isNaN(at)) continue;
    if (before !== null && at - before > longest) points.push([before + 1, null]);
    points.push([at, v]);
    before = at;
  }
  return points;
}

/**
 * Steps as the server gives them: empty ones stay breaks. A series that reports more rarely than the step
 * would be nothing but breaks, so breaks shorter than three periods are closed.
 */
export function fromSteps(values: readonly SeriesPoint[], cadence_s: number): [number, number | null][] {
  const filled = values.filter(({ v }) => v !== null);
  const longest = Math.max(cadence_s * 3_000, stepOf(values) * 1.5);
  const points: [number, number | null][] = [];
  let before: number | null = null;
  for (const { t, v } of filled) {
    const at = Date.parse(t);
    if (before !== null && at - before > longest) points.push([before + 1, null]);
    points.push([at, v]);
    before = at;
  }
  return points;
}

function stepOf(values: readonly SeriesPoint[]): number {
  const [a, b] = values;
  return a && b ? Date.parse(b.t) - Date.parse(a.t) : 0;
}

/** What a reader who cannot see the line is told. */
export function summary(points: readonly [number, number | null][]): {
  n: number;
  gaps: number;
  min: number | null;
  max: number | null;
} {
  let n = 0;
  let gaps = 0;
  let min: number | null = null;
  let max: number | null = null;
  for (const [, v] of points) {
    if (v === null) gaps += 1;
    else {
      n += 1;
      min = min === null || v < min ? v : min;
      max = max === null || v > max ? v : max;
    }
  }
  return { n, gaps, min, max };
}

/** The ends and the step of an axis with round numbers that holds all values, with about four steps. */
export function roundAxis(values: readonly number[]): { min: number; max: number; interval: number } {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (!Number.isFinite(low)) return { min: 0, max: 1, interval: 0.25 };
  // A level line gets room around it; small values that are near zero start at zero.
  if (low === high) {
    const room = Math.abs(low) * 0.1 || 1;
    low -= room;
    high += room;
  } else if (low > 0 && low < (high - low) * 0.6) low = 0;
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const interval = ([1, 2, 2.5, 5].find((step) => step * power >= rough) ?? 10) * power;
  const tidy = (n: number) => Number(n.toPrecision(12));
  return {
    min: tidy(Math.floor(low / interval + 1e-9) * interval),
    max: tidy(Math.ceil(high / interval - 1e-9) * interval),
    interval: tidy(interval),
  };
}
