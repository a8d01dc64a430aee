import { describe, expect, it } from "vitest";
import { deskShown, desksOf } from "./desk";

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

  it("are not an officer's, who has evidence at the alarm", () => {
    expect(desksOf(holding("view", "handle_alerts", "review", "evidence"))).toEqual([]);
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
