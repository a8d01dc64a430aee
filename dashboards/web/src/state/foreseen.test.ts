import { afterEach, describe, expect, it } from "vitest";
import { type Loopback, problem, serve } from "../api/loopback";
import type { Forecaster } from "../api/types";
import { AGAIN_AFTER_NONE_MS, askForeseen } from "./foreseen";

const series = (id: number | null, device: string) => ({
  id,
  device,
  quantity: "water_level",
  ch: 0,
  unit: "m",
});
const forecaster: Forecaster = {
  inputs: [],
  step_s: 3600,
  leads_s: [3600],
  threshold: null,
  trained: null,
  why_not: null,
};

describe("what is foreseen", () => {
  let server: Loopback | undefined;
  afterEach(() => server?.end());

  it("is the whole list, page by page", async () => {
    server = await serve(({ searchParams }) =>
      searchParams.get("after") === null
        ? { body: { items: [{ series: series(1, "a"), forecaster }], next: "a/water_level/0" } }
        : { body: { items: [{ series: series(null, "b"), forecaster }], next: null } },
    );
    const { items, isWhole } = await askForeseen([series(7, "c")], 0);
    expect(items.map((each) => each.series.device)).toEqual(["a", "b"]);
    expect(isWhole).toBe(true);
    expect(server.asked).toEqual([
      "/api/v1/forecasters?limit=500",
      "/api/v1/forecasters?limit=500&after=a%2Fwater_level%2F0",
    ]);
  });

  it("is not known while the list cannot be had", async () => {
    server = await serve(() => problem(503, "behind"));
    await expect(askForeseen([series(7, "c")], 0)).rejects.toMatchObject({ status: 503 });
    expect(server.asked).toHaveLength(1);
  });

  it("is asked for one by one of a server without the list, which is looked for once in a while", async () => {
    let isOld = true;
    server = await serve(({ pathname }) => {
      if (pathname === "/api/v1/forecasters")
        return isOld ? problem(404, "unknown_path") : { body: { items: [], next: null } };
      const isOwn = pathname === "/api/v1/forecasts/7";
      return { body: { items: [], next: null, forecaster: isOwn ? forecaster : null } };
    });
    const shown = [series(7, "c"), series(8, "others"), series(null, "none")];
    const told = await askForeseen(shown, 0);
    expect(told).toEqual({ items: [{ series: series(7, "c"), forecaster }], isWhole: false });
    await askForeseen(shown, AGAIN_AFTER_NONE_MS - 1);
    const lists = () => server?.asked.filter((path) => path.startsWith("/api/v1/forecasters")).length;
    expect(lists()).toBe(1);
    isOld = false;
    expect(await askForeseen(shown, AGAIN_AFTER_NONE_MS)).toEqual({ items: [], isWhole: true });
    expect(lists()).toBe(2);
  });
});
