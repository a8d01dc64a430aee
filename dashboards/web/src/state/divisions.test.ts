import { describe, expect, it } from "vitest";
import { boundsOf, centroidOf, districtOf } from "./divisions";

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
