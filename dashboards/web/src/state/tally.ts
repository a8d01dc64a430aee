// How many alarms are real, of figures that count drills among them. Pure.
import type { CardList } from "../api/types";

/**
 * Real alarms of `told`, which the server counts with or without drills; `known` are held here, `drills` of these are of
 * drills. Never fewer than the real ones that are held.
 */
export const realOf = (told: number, known: number, drills: number): number =>
  Math.max(known - drills, told - drills);

/**
 * Cards of real alarms. Those of drills stand behind them: where none is listed and more are there, how many of these
 * are of drills is not known, and all count.
 */
export function realCards({ items, total }: Pick<CardList, "items" | "total">): number {
  const real = items.filter(({ drill }) => !drill).length;
  return real < items.length ? real : total;
}
