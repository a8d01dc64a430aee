import { describe, expect, it } from "vitest";
import type { DeskLoad } from "../api/types";
import { byLoad, floodGrade, isFlood, rateGrade, spanOf } from "./load";

const desk = (division: string | null, mean: number, most = 1): DeskLoad => ({
  division,
  n_raised: 1,
  mean,
  most,
  most_at: "2026-11-28T08:00:00+08:00",
  flood_share: 0,
});

describe("the span of the alarm load", () => {
  it("is of full ten minutes, the present ones included", () => {
    const now = Date.parse("2026-11-28T08:47:31Z");
    expect(spanOf("8h", now)).toEqual({ from: "2026-11-28T00:50:00.000Z", to: "2026-11-28T08:50:00.000Z" });
    expect(spanOf("7d", now).from).toBe("2026-11-21T08:50:00.000Z");
    // On the mark itself nothing of the next ten minutes has come yet.
    expect(spanOf("24h", Date.parse("2026-11-28T08:50:00Z")).to).toBe("2026-11-28T08:50:00.000Z");
  });
});

describe("the grades of a desk", () => {
  it("are those of ISA-18.2, borders included in the better one", () => {
    expect([0, 1, 1.01, 2, 2.01].map((mean) => rateGrade({ mean }))).toEqual([
      "calm",
      "calm",
      "busy",
      "busy",
      "over",
    ]);
    expect([0, 0.01, 0.03, 0.05, 0.2].map((flood_share) => floodGrade({ flood_share }))).toEqual([
      "calm",
      "calm",
      "busy",
      "busy",
      "over",
    ]);
  });

  it("call ten in ten minutes a flood", () => {
    expect([9, 10].map(isFlood)).toEqual([false, true]);
  });

  it("put the busiest first and what lies nowhere last of its like", () => {
    const order = [desk(null, 1), desk("630104", 1), desk("630102", 3), desk("630103", 1, 9)].sort(byLoad);
    expect(order.map((each) => each.division)).toEqual(["630102", "630103", "630104", null]);
  });
});
