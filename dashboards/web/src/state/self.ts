// Who is logged in: in whose name acts are done, how much of the city is seen. Pure.
import type { Session } from "../api/types";

/** The name that an account's acts are done in; null for a token, whose holder says it. */
export function actorOf({ account }: Pick<Session, "account">): string | null {
  return account === null ? null : account.name.trim() || account.id;
}

type Bounds = Pick<Session, "division" | "departments">;

/** Whether nothing bounds what is seen: what is nobody's, and counts of all, are told to these only. */
export const seesAll = ({ division, departments }: Bounds) => division === null && departments.length === 0;

/** Departments that a heading names; of more it says how many. */
const N_NAMED = 2;

type Words = {
  /** `name` of the division, or null for the whole city. */
  division: string | null;
  between: string;
  /** For more departments than are named. */
  more: (names: string, n: number) => string;
};

/** What part of the city this is, `城西区 · 水务局`; null for all of it. */
export function partOf({ departments }: Bounds, { division, between, more }: Words): string | null {
  const named = departments.slice(0, N_NAMED).join(between);
  const whose = departments.length > N_NAMED ? more(named, departments.length) : named;
  return [division, whose].filter(Boolean).join(" · ") || null;
}
