import { describe, expect, it } from "vitest";
import type { Forecast } from "../api/types";
import { aheadOf, endOfAxis, pastOf } from "./ahead";

const HOUR = 3_600_000;
const start = Date.UTC(2026, 10, 27, 4);
const at = (hours: number) => new Date(start + hours * HOUR).toISOString();

const lead = (origin: number, hours: number, median: number) => ({
  at: at(origin + hours),
  lead_s: hours * 3600,
  value: median,
  median,
  quantiles: [
    [0.1, median - 0.4],
    [0.2, median - 0.2],
    [0.3, median - 0.1],
    [0.7, median + 0.1],
    [0.8, median + 0.3],
    [0.9, median + 0.8],
  ] as [number, number][],
  exceed: [],
});

type Issued = Pick<Forecast, "origin" | "taken_at" | "at_origin" | "leads">;

const issued = (origin: number, hours: number[], taken = origin + 0.1): Issued => ({
  origin: at(origin),
  taken_at: at(taken),
  at_origin: 2,
  leads: hours.map((each) => lead(origin, each, 2 + each / 10)),
});

describe("what is drawn of a forecast", () => {
  it("begins at the value of its origin and ends where the axis does", () => {
    const ahead = aheadOf(issued(0, [1, 3, 6]), start + 3 * HOUR);
    expect(ahead.median).toEqual([
      [start, 2],
      [start + HOUR, 2.1],
      [start + 3 * HOUR, 2.3],
    ]);
    expect(ahead.band80.map(([t]) => t)).toEqual([start, start + HOUR, start + 3 * HOUR]);
    expect(ahead.band80[0]).toEqual([start, 2, 2]);
    const [, low, high] = ahead.band80[1] ?? [0, 0, 0];
    expect([low, high]).toEqual([expect.closeTo(1.7), expect.closeTo(2.9)]);
    // Half of all outcomes lie between the 25th and the 75th percentile, straight between those given.
    const [, low50, high50] = ahead.band50[1] ?? [0, 0, 0];
    expect([low50, high50]).toEqual([expect.closeTo(1.95), expect.closeTo(2.3)]);
  });

  it("has no band where none was said, and no beginning that is not known", () => {
    const plain = { ...issued(0, [1]), at_origin: null };
    for (const each of plain.leads) each.quantiles = [];
    const ahead = aheadOf(plain, start + 9 * HOUR);
    expect(ahead).toEqual({ median: [[start + HOUR, 2.1]], band50: [], band80: [] });
  });
});

describe("the end of the axis", () => {
  const cases: [string, Issued | null, number, number, number][] = [
    ["is now without a forecast", null, 0, 6, 0],
    ["is the last lead that the past has room for", issued(0, [1, 3, 6, 24]), 0, 6, 6],
    ["is the first lead where even that is far", issued(0, [12, 24]), 0, 6, 12],
    ["is now when all leads have passed", issued(0, [1, 3]), 4, 6, 4],
  ];
  it.each(cases)("%s", (_, forecast, now, range, end) => {
    expect(endOfAxis(forecast, start + now * HOUR, range * HOUR)).toBe(start + end * HOUR);
  });
});

describe("what was foreseen at the time", () => {
  it("stands at the times that it spoke of, by one lead, and breaks where some are missing", () => {
    const past = pastOf(
      [issued(9, [1, 3]), issued(2, [1, 3]), issued(1, [1, 3]), issued(0, [3])],
      3600,
      3600,
    );
    expect(past.line).toEqual([
      [start + 2 * HOUR, 2.1],
      [start + 3 * HOUR, 2.1],
      [start + 3 * HOUR + 1, null],
      [start + 10 * HOUR, 2.1],
    ]);
    expect(past.band.map((spans) => spans.map(([t]) => (t - start) / HOUR))).toEqual([[2, 3]]);
  });

  it("is nothing that was taken in after its time, and of two of one time the one issued last", () => {
    const corrected = issued(1, [1], 1.5);
    corrected.leads = [lead(1, 1, 5)];
    const past = pastOf([corrected, issued(1, [1]), issued(0, [1], 1)], 3600, 3600);
    expect(past.line).toEqual([[start + 2 * HOUR, 5]]);
  });
});
