import { describe, expect, it } from "vitest";
import { NEWEST, newer, older, shownOf } from "./trail";

describe("pages that go back in time", () => {
  it("begin with the newest and lead back to it", () => {
    const second = older(NEWEST, "901");
    const third = older(second, "801");
    expect([NEWEST, second, third].map(shownOf)).toEqual([null, "901", "801"]);
    expect(newer(third)).toEqual(second);
    expect(newer(newer(third))).toEqual(NEWEST);
  });

  it("end on both sides", () => {
    const second = older(NEWEST, "901");
    expect(older(second, null)).toEqual(second);
    expect(newer(NEWEST)).toEqual(NEWEST);
  });
});
