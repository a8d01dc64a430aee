// How good forecasts were: up to which lead they are worth more than the present value. Pure.
import type { LeadScores } from "../api/types";

/** Fewer scored forecasts than these say nothing of skill. */
export const N_ENOUGH = 20;

export const isEnough = ({ n }: { n: number }) => n >= N_ENOUGH;

/** Where skill ends: not known yet, nowhere any, or at a lead. */
export type SkillEnd = { known: "few" } | { known: "none" } | { known: "lead"; lead_s: number };

/**
 * The longest lead up to which forecasts were better than persistence, of leads with enough records. A lead behind
 * one without skill does not count: its luck is no skill.
 */
export function skillEnd(leads: readonly Pick<LeadScores, "lead_s" | "n" | "skill">[]): SkillEnd {
  const judged = leads.filter((lead) => isEnough(lead) && lead.skill !== null);
  if (judged.length === 0) return { known: "few" };
  let end: number | null = null;
  for (const { lead_s, skill } of [...judged].sort((a, b) => a.lead_s - b.lead_s)) {
    if (skill === null || skill <= 0) break;
    end = lead_s;
  }
  return end === null ? { known: "none" } : { known: "lead", lead_s: end };
}

/** The 80 % interval holds what it promises between these shares. */
const HELD: readonly [number, number] = [0.75, 0.85];

/** Whether an 80 % interval held what it promises: it caught too little, about as much, or more than it says. */
export function coverageState(coverage: number): "narrow" | "held" | "wide" {
  const [least, most] = HELD;
  return coverage < least ? "narrow" : coverage > most ? "wide" : "held";
}
