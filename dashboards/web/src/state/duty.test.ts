import { describe, expect, it } from "vitest";
import type { DutyLine, RosterShift } from "../api/types";
import {
  corrections,
  minuteText,
  RosterFault,
  readShifts,
  readStandby,
  readSteps,
  shiftsText,
  shiftText,
  standbyText,
  stepsText,
} from "./duty";

describe("a roster in a form", () => {
  it("comes back as it was", () => {
    const steps = [
      { after_min: 0, post: "值班员" },
      { after_min: 10, post: "带班 领导" },
    ];
    const shifts: RosterShift[] = [
      {
        from: "2026-11-28T08:00:00+08:00",
        to: "2026-11-28T20:00:00+08:00",
        name: "白班",
        posts: { 值班员: ["王队", "赵工"] },
      },
      {
        from: "2026-11-28T20:00:00+08:00",
        to: "2026-11-29T08:00:00+08:00",
        posts: { 值班员: ["李工"], 带班领导: ["陈处"] },
      },
    ];
    const standby = { 主任: ["陈主任"], 值班员: ["甲", "乙"] };
    expect(readSteps(stepsText(steps))).toEqual(steps);
    expect(readShifts(shiftsText(shifts))).toEqual(shifts);
    expect(readStandby(standbyText(standby))).toEqual(standby);
    expect([readSteps(""), readShifts(" \n"), readStandby("")]).toEqual([[], [], {}]);
  });

  it("takes the marks of both keyboards, and names the line that it cannot read", () => {
    expect(readStandby("值班员：王队，赵工； 主任: 陈")).toEqual({ 值班员: ["王队", "赵工"], 主任: ["陈"] });
    for (const [read, line] of [
      [readSteps, "值班员"],
      [readShifts, "2026-11-28 08:00 | 白班 | 值班员: 王"],
      [readShifts, "2026-11-28 08:00 - 2026-11-28 20:00 | 白班 | 王"],
      [readStandby, ": 王"],
    ] as const) {
      expect(() => read(line), line).toThrow(RosterFault);
    }
  });
});

describe("a shift in words", () => {
  it("says its second day where it is another, in Beijing time", () => {
    const day = { from: "2026-11-28T00:00:00Z", to: "2026-11-28T12:00:00Z", name: "白班" };
    expect(shiftText(day)).toBe("白班 11-28 08:00–20:00");
    expect(shiftText({ from: day.to, to: "2026-11-29T00:00:00Z", name: null })).toBe(
      "11-28 20:00–11-29 08:00",
    );
    expect(minuteText("nothing")).toBe("nothing");
  });
});

it("the last correction of an entry stands for it", () => {
  const entry = (id: number, corrects: number | null) => ({ source: "entry", id, corrects }) as DutyLine;
  expect([...corrections([entry(3, null), entry(5, 3), entry(7, 3)])]).toEqual([[3, 7]]);
});
