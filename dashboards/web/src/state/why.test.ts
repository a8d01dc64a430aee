import { describe, expect, it } from "vitest";
import { amountText, holdingOf, newestInputs, seriesOf } from "./why";

describe("a condition of a rule", () => {
  it("that is not known is never a no", () => {
    expect(holdingOf(true)).toBe("holds");
    expect(holdingOf(false)).toBe("holds_not");
    for (const unknown of [null, undefined]) expect(holdingOf(unknown)).toBe("holds_unknown");
  });
});

describe("an amount", () => {
  it("is told without what a computer adds to it", () => {
    expect([612, 0.1 + 0.2, 3.5, -2, 0, 1234.5678].map(amountText)).toEqual([
      "612",
      "0.3",
      "3.5",
      "-2",
      "0",
      "1234.57",
    ]);
  });
});

describe("the readings that an alarm rests on", () => {
  const at = (minute: number) => ({
    measured_at: `2026-11-28T08:${String(minute).padStart(2, "0")}:00+08:00`,
    value: minute,
    position: minute,
  });

  it("are the newest, the newest first, and not all", () => {
    const shown = newestInputs(Array.from({ length: 30 }, (_, i) => at(i)));
    expect(shown.map((input) => input.value)).toEqual([29, 28, 27, 26, 25, 24]);
    expect(newestInputs([])).toEqual([]);
  });

  it("name another series however it is written, and none when it is not one", () => {
    const key = { device: "air-1", quantity: "pm10", ch: 2 };
    expect(seriesOf(key)).toEqual(key);
    expect(seriesOf("air-1/pm10/2")).toEqual(key);
    expect(seriesOf("a/b/pm10/0")).toEqual({ device: "a/b", quantity: "pm10", ch: 0 });
    for (const none of [undefined, "", "pm10", "air-1/pm10", "air-1/pm10/x"])
      expect(seriesOf(none)).toBeNull();
  });
});
