import { describe, expect, it } from "vitest";
import { type Draft, departmentsOf, draftOf, knownDepartments, settled, without } from "./departments";

const NONE: ReadonlySet<string> = new Set();
const typed = (text: string, ...chosen: string[]): Draft => ({ chosen, typed: text });

describe("departments of an account", () => {
  it("are those that stand and the one that is still being typed", () => {
    expect(departmentsOf(typed(" 生态环境局 ", "水务局"), NONE)).toEqual(["水务局", "生态环境局"]);
    expect(departmentsOf(draftOf([]), NONE)).toEqual([]);
    expect(departmentsOf(typed("  "), NONE)).toEqual([]);
  });

  it("may be typed in a row, with either language's marks, and count once", () => {
    expect(departmentsOf(typed("水务局、应急管理局，水务局; 城管局,;"), NONE)).toEqual([
      "水务局",
      "应急管理局",
      "城管局",
    ]);
  });

  it("stay whole when they are known with such a mark in them", () => {
    const known = new Set(["住房、城乡建设局"]);
    expect(departmentsOf(typed("住房、城乡建设局"), known)).toEqual(["住房、城乡建设局"]);
    // One that stands is never taken apart by editing.
    expect(departmentsOf(typed("水务局", "甲、乙"), NONE)).toEqual(["甲、乙", "水务局"]);
  });

  it("settle and can be taken away", () => {
    const draft = settled(typed("水务局、城管局"), NONE);
    expect(draft).toEqual({ chosen: ["水务局", "城管局"], typed: "" });
    expect(without({ ...draft, typed: "应" }, "水务局")).toEqual({ chosen: ["城管局"], typed: "应" });
  });

  it("are known from accounts and devices", () => {
    const known = knownDepartments(
      [{ departments: ["水务局"] }, { departments: [] }],
      [{ department: "水务局" }, { department: "城管局" }, {}, { department: "" }],
    );
    expect([...known]).toEqual(["城管局", "水务局"]);
  });
});
