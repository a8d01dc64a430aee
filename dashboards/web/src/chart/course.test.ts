import { describe, expect, it } from "vitest";
import { firstRange, fromSteps, roundAxis, summary, withGaps } from "./course";

const at = (seconds: number) => new Date(Date.UTC(2026, 10, 23) + seconds * 1000).toISOString();
const ms = (seconds: number) => Date.UTC(2026, 10, 23) + seconds * 1000;

describe("raw values", () => {
  it("break where more than three periods passed without one", () => {
    const points = withGaps(
      [
        { t: at(0), v: 1 },
        { t: at(30), v: 2 },
        { t: at(61), v: 3 },
      ],
      10,
    );
    expect(points).toEqual([
      [ms(0), 1],
      [ms(30), 2],
      [ms(30) + 1, null],
      [ms(61), 3],
    ]);
  });

  it("break after ten minutes when the period is not known", () => {
    expect(
      withGaps(
        [
          { t: at(0), v: 1 },
          { t: at(600), v: 2 },
        ],
        0,
      ),
    ).toHaveLength(2);
    expect(
      withGaps(
        [
          { t: at(0), v: 1 },
          { t: at(601), v: 2 },
        ],
        0,
      ),
    ).toHaveLength(3);
  });

  it("skip a time that is none", () => {
    expect(withGaps([{ t: "yesterday", v: 1 }], 10)).toEqual([]);
  });
});

describe("steps", () => {
  const steps = (...values: (number | null)[]) =>
    values.map((v, i) => ({ t: at(i * 300), v, n: v === null ? 0 : 1 }));

  it("keep an empty step as a break", () => {
    expect(fromSteps(steps(1, 2, null, 4), 5).map(([, v]) => v)).toEqual([1, 2, null, 4]);
  });

  it("do not tear apart a series that reports more rarely than the step", () => {
    expect(fromSteps(steps(1, null, null, 2), 900).map(([, v]) => v)).toEqual([1, 2]);
  });
});

describe("what a reader who cannot see the line is told", () => {
  it("counts values and breaks and finds the ends", () => {
    expect(
      summary([
        [0, 5],
        [1, null],
        [2, -3],
      ]),
    ).toEqual({ n: 2, gaps: 1, min: -3, max: 5 });
    expect(summary([])).toEqual({ n: 0, gaps: 0, min: null, max: null });
  });
});

describe("axes", () => {
  it("hold every value between round ends that are whole steps apart", () => {
    for (const values of [
      [1.2, 2.68, 2.5],
      [612, 33],
      [0],
      [-3, -2.9],
      [101.3],
      [0.0004, 0.0009],
      [-5, 1e6],
    ]) {
      const { min, max, interval } = roundAxis(values);
      expect(min).toBeLessThanOrEqual(Math.min(...values));
      expect(max).toBeGreaterThanOrEqual(Math.max(...values));
      const steps = (max - min) / interval;
      expect(Math.abs(steps - Math.round(steps))).toBeLessThan(1e-6);
      expect(steps).toBeGreaterThanOrEqual(1);
      expect(steps).toBeLessThanOrEqual(7);
    }
  });

  it("start at zero when the values come near it", () => {
    expect(roundAxis([33, 612]).min).toBe(0);
    expect(roundAxis([2650, 2651]).min).toBeGreaterThan(2600);
  });

  it("exist without any value", () => {
    expect(roundAxis([])).toEqual({ min: 0, max: 1, interval: 0.25 });
  });
});

describe("the range shown first", () => {
  it("is a day, or an hour for a series younger than two hours", () => {
    const now = ms(0);
    expect(firstRange(now - 7_199_000, now)).toBe("1h");
    expect(firstRange(now - 7_200_000, now)).toBe("24h");
    expect(firstRange(null, now)).toBe("24h");
  });
});
