import { afterEach, describe, expect, it } from "vitest";
import { type Loopback, problem, serve } from "../api/loopback";
import {
  AGAIN_AFTER_FAILURE_MS,
  AGAIN_AFTER_REFUSAL_MS,
  boundsOf,
  centroidOf,
  districtOf,
  divisions,
  learnDivisions,
} from "./divisions";

const square = (x: number, y: number, side: number) => [
  [
    [x, y],
    [x + side, y],
    [x + side, y + side],
    [x, y + side],
    [x, y],
  ],
];

describe("districts", () => {
  it("are the first six digits of any code", () => {
    expect(districtOf("630102001003")).toBe("630102");
  });

  it("have the box of all their parts and their name on the largest", () => {
    const geometry = { type: "MultiPolygon", coordinates: [square(0, 0, 1), square(10, 10, 4)] };
    expect(boundsOf(geometry)).toEqual([0, 0, 14, 14]);
    expect(centroidOf(geometry)).toEqual([12, 12]);
  });

  it("may lack a geometry", () => {
    for (const none of [null, undefined, {}, { type: "Polygon", coordinates: [] }]) {
      expect(boundsOf(none)).toBeNull();
      expect(centroidOf(none)).toBeNull();
    }
  });
});

const ITEMS = "/ogc/collections/divisions/items";
/** A page of divisions, the first of so many. */
const page = (n: number, ...names: string[]) => ({
  body: {
    numberMatched: n,
    features: names.map((name) => ({ properties: { name, name_en: "" }, geometry: null })),
  },
});

describe("names of districts", () => {
  let server: Loopback | undefined;
  afterEach(() => server?.end());

  it("are those of the division with the code", async () => {
    server = await serve(({ searchParams }) =>
      searchParams.get("code") === "630103" ? page(1, "城中区") : page(0),
    );
    await learnDivisions(["630103"], 0);
    expect(divisions.value.get("630103")).toMatchObject({ name: "城中区", label: null });
    await learnDivisions(["630103"], AGAIN_AFTER_REFUSAL_MS);
    expect(server.asked).toEqual([`${ITEMS}?code=630103&limit=1`]);
  });

  it("are asked for without a refusal where the register has no divisions, once in a while", async () => {
    server = await serve(() => page(0));
    for (let now = 0; now < AGAIN_AFTER_REFUSAL_MS; now += 1_000) await learnDivisions(["630198"], now);
    expect(server.asked).toEqual([`${ITEMS}?code=630198&limit=1`, `${ITEMS}?limit=1`]);
    await learnDivisions(["630198"], AGAIN_AFTER_REFUSAL_MS);
    expect(server.asked).toHaveLength(4);
    expect(divisions.value.has("630198")).toBe(false);
  });

  it("are those of the division that had the code before, not of a grid with the same", async () => {
    server = await serve(({ pathname, searchParams }) => {
      if (pathname === ITEMS) return searchParams.has("code") ? page(0) : page(7, "别的区");
      if (searchParams.get("kind") !== "division") return problem(409, "ambiguous_code");
      return { body: { code: "630106", name: "湟中区", name_en: "Huangzhong", geometry: null } };
    });
    await learnDivisions(["630122"], 0);
    expect(divisions.value.get("630122")).toMatchObject({ name: "湟中区" });
    expect(server.asked.at(-1)).toBe("/api/v1/entities/630122?kind=division");
  });

  it("that were refused are not asked for with each snapshot, but once in a while", async () => {
    server = await serve(() => problem(404, "unknown_entity"));
    for (let now = 0; now < AGAIN_AFTER_REFUSAL_MS; now += 1_000) await learnDivisions(["630199"], now);
    expect(server.asked).toHaveLength(1);
    await learnDivisions(["630199"], AGAIN_AFTER_REFUSAL_MS);
    expect(server.asked).toHaveLength(2);
  });

  it("come soon when the server was only busy or nobody was logged in", async () => {
    for (const [code, status] of [
      ["630105", 503],
      ["630106", 401],
      ["630121", 429],
    ] as const) {
      let busy = true;
      server = await serve(() => (busy ? problem(status, "not_now") : page(1, "某区")));
      await learnDivisions([code], 0);
      await learnDivisions([code], AGAIN_AFTER_FAILURE_MS - 1);
      expect(server.asked, `${status}`).toHaveLength(1);
      busy = false;
      await learnDivisions([code], AGAIN_AFTER_FAILURE_MS);
      expect(divisions.value.get(code)?.name).toBe("某区");
      await server.end();
    }
  });

  it("are asked for once, however many ask before the answer", async () => {
    server = await serve(() => page(1, "湟中区"));
    await Promise.all([0, 1, 2, 3].map((now) => learnDivisions(["630123"], now)));
    expect(server.asked).toHaveLength(1);
  });
});
