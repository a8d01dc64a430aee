import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Loopback, problem, serve } from "../api/loopback";
import { t } from "../i18n";
import { credits, creditsOf, layers, learnLayers, wordsOf } from "./layers";

let server: Loopback | undefined;
beforeEach(() => {
  layers.value = {};
});
afterEach(() => server?.end());

describe("whose data the map shows", () => {
  it("is what its layers name, each source once and in their order", () => {
    expect(
      creditsOf({
        places: { attribution: "GeoNames · © OpenStreetMap contributors" },
        divisions: { attribution: "西宁市自然资源和规划局 2026" },
        roads: { attribution: "© OpenStreetMap contributors" },
        fences: {},
      }),
    ).toEqual(["西宁市自然资源和规划局 2026", "© OpenStreetMap contributors", "GeoNames"]);
  });

  it("is text, whatever a source is called", () => {
    expect(creditsOf({ water: { attribution: "&lt;img src=&quot;x&quot;&gt; &amp;lt; Co." } })).toEqual([
      '<img src="x"> &lt; Co.',
    ]);
  });

  it("is nothing when nothing is named", () => {
    expect(creditsOf({ water: {}, roads: { attribution: "" } })).toEqual([]);
  });

  it("is asked of the server, and again when the register is another one", async () => {
    let source = "示意 hand-drawn, not surveyed";
    server = await serve(({ pathname }) =>
      pathname === "/tiles/water.json"
        ? { body: { attribution: source, minzoom: 5 } }
        : { body: { minzoom: 0 } },
    );
    expect((await learnLayers()).water?.minzoom).toBe(5);
    expect(credits.value).toEqual([source]);
    source = "青海省水利厅";
    await learnLayers();
    expect(credits.value).toEqual(["青海省水利厅"]);
  });

  it("stays what it was while a layer gives no answer", async () => {
    server = await serve(({ pathname }) => ({ body: { attribution: pathname } }));
    await learnLayers();
    const before = credits.value;
    expect(before).toHaveLength(7);
    await server.end();
    server = await serve(({ pathname }) =>
      pathname === "/tiles/water.json" ? { body: {} } : problem(503, "unavailable"),
    );
    await learnLayers();
    expect(credits.value).toEqual(before.filter((source) => source !== "/tiles/water.json"));
  });

  it("has its licence beside it where the source asks for that", () => {
    const key = wordsOf("GeoNames");
    expect(key && t(key)).toBe("GeoNames（CC BY 4.0）");
    expect(wordsOf("青海省水利厅")).toBeUndefined();
  });
});
