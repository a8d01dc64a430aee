import { afterEach, describe, expect, it, vi } from "vitest";
import { ApiError, api } from "../api/client";
import { type Loopback, problem, serve } from "../api/loopback";
import type { Drill, DrillSpec } from "../api/types";
import {
  AGAIN_MS,
  byTurn,
  draftOf,
  drillName,
  drillNames,
  fieldTime,
  found,
  lackOf,
  newId,
  specOf,
} from "./drills";
import { failureOf } from "./failure";

const now = Date.parse("2026-11-28T14:00:30+08:00");

const spec = (more: Partial<DrillSpec> = {}): DrillSpec => ({
  name: "汛前演练",
  division: "630102",
  devices: ["ztw-02"],
  rules: ["river-rapid-rise"],
  from: "2026-11-28T06:00:12.345Z",
  to: "2026-11-28T16:00:00+08:00",
  ...more,
});

describe("the order of drills", () => {
  it("is what is on, what comes next, what was over last", () => {
    const drill = (id: string, state: Drill["state"], from: string, to: string): Drill => ({
      ...spec({ from: `2026-11-${from}:00:00+08:00`, to: `2026-11-${to}:00:00+08:00` }),
      id,
      state,
      open: 0,
    });
    const drills = [
      drill("over-long-ago", "over", "01T08", "01T09"),
      drill("over", "over", "27T08", "27T09"),
      drill("next-week", "planned", "30T08", "30T09"),
      drill("tomorrow", "planned", "29T08", "30T20"),
      drill("on-till-late", "on", "28T08", "28T20"),
      drill("on", "on", "28T09", "28T16"),
    ];
    const order = ["on", "on-till-late", "tomorrow", "next-week", "over", "over-long-ago"];
    expect(drills.sort(byTurn).map(({ id }) => id)).toEqual(order);
  });
});

describe("a drill in a form", () => {
  it("comes back as it was, with the seconds of times that nobody changed", () => {
    const held = spec();
    expect(specOf(draftOf(held, now, null), held)).toEqual(held);
    const longer = { ...draftOf(held, now, null), to: "2026-11-28T18:30" };
    expect(specOf(longer, held)).toEqual({ ...held, to: "2026-11-28T18:30:00+08:00" });
  });

  it("begins now by the clock of Beijing and with the division of who plans it", () => {
    expect(draftOf(null, now, "630102")).toEqual({
      name: "",
      division: "630102",
      from: "2026-11-28T14:00",
      to: "2026-11-28T16:00",
      devices: [],
      rules: [],
    });
    expect(draftOf(null, now, null).division).toBe("");
    expect("division" in specOf(draftOf(null, now, null), null)).toBe(false);
    expect(fieldTime("2026-11-28T23:30:00Z")).toBe("2026-11-29T07:30");
  });

  it("says what it lacks, and can be sent when it lacks nothing", () => {
    const draft = draftOf(spec(), now, null);
    const many = Array.from({ length: 1_001 }, (_, i) => `d${i}`);
    for (const [change, lack] of [
      [{}, null],
      [{ name: "  " }, "drills.lack_name"],
      [{ from: "" }, "drills.lack_time"],
      [{ to: "tomorrow" }, "drills.lack_time"],
      [{ to: draft.from }, "drills.lack_order"],
      [{ from: "2026-11-28T14:00", to: "2026-12-01T14:00" }, null],
      [{ from: "2026-11-28T14:00", to: "2026-12-01T14:01" }, "drills.lack_length"],
      [{ from: "2026-11-28T13:00", to: "2026-11-28T14:00" }, "drills.lack_past"],
      [{ devices: [], rules: [] }, "drills.lack_what"],
      [{ devices: [] }, null],
      [{ rules: [] }, null],
      [{ devices: many }, "drills.lack_fewer"],
      [{ rules: many }, "drills.lack_fewer"],
    ] as const)
      expect(lackOf({ ...draft, ...change }, null, now), JSON.stringify(change).slice(0, 80)).toBe(lack);
  });

  it("has an id by its day and minute that the server takes for one", () => {
    expect(newId("2026-11-28T14:05", 0x3f9c)).toBe("drill-20261128-1405-3f9c");
    expect(newId("2026-11-28T14:05", 7)).toMatch(/^[\w.:-]{1,64}$/);
  });
});

describe("what can be chosen", () => {
  const choices = [
    { id: "river-0001", name: "湟水河·寺寨乡 水位站", more: "Huangshui gauge 河道水位站" },
    { id: "river-0002", name: "北川河·桥头镇 水位站", more: "Beichuan gauge 河道水位站" },
    { id: "smoke-0001", name: "八一路 烟感", more: "Smoke 烟感探测器" },
  ];
  const ids = (text: string, chosen: string[] = []) => found(choices, chosen, text).map(({ id }) => id);

  it("is found by all words of its id, name or kind, and not twice", () => {
    expect(ids("")).toEqual([]);
    expect(ids("  ")).toEqual([]);
    expect(ids("河道水位站")).toEqual(["river-0001", "river-0002"]);
    expect(ids("GAUGE 桥头")).toEqual(["river-0002"]);
    expect(ids("river-", ["river-0001"])).toEqual(["river-0002"]);
    expect(ids("nothing")).toEqual([]);
  });
});

describe("drills and the server", () => {
  let server: Loopback | undefined;
  afterEach(async () => {
    await server?.end();
    server = undefined;
  });

  it("tell refusals in words of their own", async () => {
    for (const [status, code, key] of [
      [400, "bad_drill", "failed.bad_drill"],
      [403, "forbidden", "failed.forbidden"],
      [404, "unknown_drill", "failed.unknown_drill"],
      [409, "known_drill", "failed.known_drill"],
      [409, "too_many_drills", "failed.too_many_drills"],
      [409, "drill_gone", "failed.unknown_drill"],
    ] as const) {
      server = await serve(() => problem(status, code));
      const error = await api.putDrill("d1", spec()).catch((e: unknown) => e);
      expect(error).toBeInstanceOf(ApiError);
      expect(failureOf(error).key, code).toBe(key);
      await server.end();
    }
    server = undefined;
  });

  it("name a drill by its id until its name is known, and ask once", async () => {
    server = await serve(() => ({ body: { items: [{ ...spec(), id: "d1", state: "on", open: 1 }] } }));
    expect(drillName("d1", 0)).toBe("d1");
    expect(drillName("d1", 1)).toBe("d1");
    await vi.waitFor(() => expect(drillNames.value.get("d1")).toBe("汛前演练"));
    expect([drillName("d1", 2), drillName("gone", 3)]).toEqual(["汛前演练", "gone"]);
    expect(server.asked).toEqual(["/api/v1/drills"]);
    expect(drillName("gone", AGAIN_MS + 1)).toBe("gone");
    await vi.waitFor(() => expect(server?.asked.length).toBe(2));
  });
});
