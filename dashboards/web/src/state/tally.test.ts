import { describe, expect, it } from "vitest";
import type { Card } from "../api/types";
import { realCards, realOf } from "./tally";

describe("real alarms", () => {
  it("are what the server counts without drills, and never fewer than are held", () => {
    // told, held, of drills among these, real
    for (const [told, known, drills, real] of [
      [0, 0, 0, 0],
      [12, 12, 3, 9],
      // A server that leaves drills out itself.
      [9, 12, 3, 9],
      // More are open than are held here.
      [30_000, 20_000, 100, 29_900],
      // The stream brought some that the last beat did not count.
      [4, 6, 1, 5],
      [2, 2, 2, 0],
    ] as const)
      expect(realOf(told, known, drills), `${told} ${known} ${drills}`).toBe(real);
  });
});

describe("real cards", () => {
  const cards = (...drills: (string | null)[]) => drills.map((drill) => ({ drill }) as Card);

  it("stand before those of drills", () => {
    expect(realCards({ items: cards(null, null, "d1"), total: 3 })).toBe(2);
    expect(realCards({ items: cards("d1"), total: 7 })).toBe(0);
    expect(realCards({ items: [], total: 0 })).toBe(0);
  });

  it("are all where none of a drill is listed yet", () => {
    expect(realCards({ items: cards(null, null), total: 50 })).toBe(50);
  });
});
