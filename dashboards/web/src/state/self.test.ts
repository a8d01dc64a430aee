import { describe, expect, it } from "vitest";
import { actorOf, partOf, seesAll } from "./self";

const account = (name: string) => ({ account: { id: "li.na", name, has_second: false } });

describe("who acts", () => {
  it("is the account's name, its id when it has none, and nobody for a token", () => {
    expect(actorOf(account("李娜"))).toBe("李娜");
    expect(actorOf(account(" "))).toBe("li.na");
    expect(actorOf({ account: null })).toBeNull();
  });
});

describe("what is seen", () => {
  const words = (division: string | null) => ({
    division,
    between: "、",
    more: (names: string, n: number) => `${names}等 ${n} 个部门`,
  });
  const bounds = (division: string | null, ...departments: string[]) => ({ division, departments });

  it("is the whole city without a division and without departments only", () => {
    expect(seesAll(bounds(null))).toBe(true);
    expect(seesAll(bounds("630104"))).toBe(false);
    expect(seesAll(bounds(null, "水务局"))).toBe(false);
  });

  it("is called by its division and its departments", () => {
    expect(partOf(bounds(null), words(null))).toBeNull();
    expect(partOf(bounds("630104"), words("城西区"))).toBe("城西区");
    expect(partOf(bounds(null, "水务局", "城管局"), words(null))).toBe("水务局、城管局");
    expect(partOf(bounds("630104", "水务局"), words("城西区"))).toBe("城西区 · 水务局");
  });

  it("counts the departments of who has many", () => {
    expect(partOf(bounds(null, "甲", "乙", "丙"), words(null))).toBe("甲、乙等 3 个部门");
  });
});
