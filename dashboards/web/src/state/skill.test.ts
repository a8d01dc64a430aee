import { describe, expect, it } from "vitest";
import { coverageState, isEnough, type SkillEnd, skillEnd } from "./skill";

/** Hours ahead, records, persistence index. */
type Row = [number, number, number | null];

describe("where skill ends", () => {
  const cases: [string, Row[], SkillEnd][] = [
    ["not known without records", [], { known: "few" }],
    ["not known with 19 of them", [[1, 19, 0.9]], { known: "few" }],
    [
      "at the longest lead with skill",
      [
        [1, 20, 0.6],
        [3, 20, 0.1],
        [6, 20, -0.1],
      ],
      { known: "lead", lead_s: 3 * 3600 },
    ],
    [
      "at no lead behind one without",
      [
        [1, 99, 0.6],
        [3, 99, 0],
        [6, 99, 0.4],
      ],
      { known: "lead", lead_s: 3600 },
    ],
    [
      "nowhere",
      [
        [1, 99, -0.2],
        [3, 99, 0.3],
      ],
      { known: "none" },
    ],
    [
      "beside leads with too few",
      [
        [1, 5, -1],
        [3, 40, 0.2],
        [6, 7, 0.9],
      ],
      { known: "lead", lead_s: 3 * 3600 },
    ],
    [
      "whatever the order",
      [
        [6, 20, -1],
        [1, 20, 0.5],
      ],
      { known: "lead", lead_s: 3600 },
    ],
    ["not known where persistence cannot be beaten", [[1, 50, null]], { known: "few" }],
  ];
  it.each(cases)("%s", (_, rows, end) => {
    expect(skillEnd(rows.map(([hours, n, skill]) => ({ lead_s: hours * 3600, n, skill })))).toEqual(end);
  });
});

describe("coverage", () => {
  it("holds between 75 and 85 of a hundred", () => {
    expect([0.74, 0.75, 0.8, 0.85, 0.86].map(coverageState)).toEqual([
      "narrow",
      "held",
      "held",
      "held",
      "wide",
    ]);
    expect([19, 20].map((n) => isEnough({ n }))).toEqual([false, true]);
  });
});
