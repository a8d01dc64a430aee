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

describe("names of districts", () => {
  let server: Loopback | undefined;
  afterEach(() => server?.end());

  it("are those of the division when a grid has the same code", async () => {
    server = await serve(({ pathname, searchParams }) => {
      if (pathname !== "/api/v1/entities/630103") return problem(404, "unknown_entity");
      if (searchParams.get("kind") !== "division") return problem(409, "ambiguous_code");
      return { body: { code: "630103", name: "城中区", name_en: "Chengzhong", geometry: null } };
    });
    await learnDivisions(["630103"], 0);
    expect(divisions.value.get("630103")).toMatchObject({ name: "城中区", label: null });
    await learnDivisions(["630103"], AGAIN_AFTER_REFUSAL_MS);
    expect(server.asked).toEqual(["/api/v1/entities/630103?kind=division"]);
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
      server = await serve(() => (busy ? problem(status, "not_now") : { body: { code, name: "某区" } }));
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
    server = await serve(() => ({ body: { code: "630122", name: "湟中区" } }));
    await Promise.all([0, 1, 2, 3].map((now) => learnDivisions(["630122"], now)));
    expect(server.asked).toHaveLength(1);
  });
});
