import { describe, expect, it } from "vitest";
import { administers, deskShown, desksOf } from "./desk";

const holding =
  (...held: string[]) =>
  (permission: string) =>
    held.includes(permission);

describe("pages beside the map", () => {
  it("are those of the three administrators, each what is theirs", () => {
    expect(desksOf(holding("tokens", "register", "rules"))).toEqual(["accounts"]);
    expect(desksOf(holding("security"))).toEqual(["accounts", "audit"]);
    expect(desksOf(holding("audit", "evidence"))).toEqual(["audit"]);
  });

  it("administer nothing for an officer, who has evidence at the alarm", () => {
    const desks = desksOf(holding("view", "handle_alerts", "review", "evidence"));
    expect(desks.filter(administers)).toEqual([]);
  });

  it("have forecasts, the alarm load, the duty and drills for all who may view, behind what is only theirs", () => {
    expect(desksOf(holding("view"))).toEqual(["forecasts", "load", "duty", "drills"]);
    expect(desksOf(holding("view", "tokens", "audit"))).toEqual([
      "accounts",
      "audit",
      "forecasts",
      "load",
      "duty",
      "drills",
    ]);
    expect(desksOf(holding())).toEqual([]);
  });

  it("show the chosen one, without a map the first, and none that is no longer there", () => {
    expect(deskShown(["accounts", "audit"], "audit", true)).toBe("audit");
    expect(deskShown(["audit"], null, true)).toBe("audit");
    expect(deskShown(["audit"], "accounts", true)).toBe("audit");
    expect(deskShown(["accounts"], null, false)).toBeNull();
    expect(deskShown(["accounts"], "audit", false)).toBeNull();
    expect(deskShown([], null, true)).toBeNull();
  });
});
