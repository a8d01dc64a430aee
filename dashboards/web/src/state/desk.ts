// The pages beside the map, and whose they are. Pure.

export type Desk = "accounts" | "audit" | "forecasts" | "load" | "duty" | "drills";

type May = (permission: string) => boolean;

/** The pages that who holds these permissions has, the first one first. */
export function desksOf(may: May): Desk[] {
  const desks: Desk[] = [];
  if (may("tokens") || may("security")) desks.push("accounts");
  if (may("audit") || may("security")) desks.push("audit");
  if (may("view")) desks.push("forecasts", "load", "duty", "drills");
  return desks;
}

/** Those that have to do with who may do what here, and what was done. */
export const administers = (desk: Desk): boolean => desk === "accounts" || desk === "audit";

/** The page that shows: the chosen one while it is there; over the map only that, and without a map the first. */
export function deskShown(desks: readonly Desk[], chosen: Desk | null, alone: boolean): Desk | null {
  if (chosen !== null && desks.includes(chosen)) return chosen;
  return alone ? (desks[0] ?? null) : null;
}
