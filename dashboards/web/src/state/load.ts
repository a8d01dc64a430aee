// Alarm load in the grades that ISA-18.2 and EEMUA 191 have for it. Pure.
import type { DeskLoad } from "../api/types";

export const RANGES = ["8h", "24h", "7d"] as const;
export type LoadRange = (typeof RANGES)[number];

const HOUR_MS = 3_600_000;
const RANGE_MS: Record<LoadRange, number> = { "8h": 8 * HOUR_MS, "24h": 24 * HOUR_MS, "7d": 168 * HOUR_MS };
/** The server counts in full ten minutes. */
const STEP_MS = 600_000;

/** The span of a range up to the ten minutes that hold `now`, those included, as RFC 3339. */
export function spanOf(range: LoadRange, now: number): { from: string; to: string } {
  const to = Math.ceil(now / STEP_MS) * STEP_MS;
  return { from: new Date(to - RANGE_MS[range]).toISOString(), to: new Date(to).toISOString() };
}

export type Grade = "calm" | "busy" | "over";

/** Alarms in ten minutes that a desk bears for long, and those that it can just manage. */
const BEARABLE = 1;
const MANAGEABLE = 2;
/** Share of the time in flood that is aimed at, and the one from which a desk sees mostly floods' alarms. */
const FLOOD_AIM = 0.01;
const FLOOD_OVER = 0.05;

const grade = (value: number, fair: number, most: number): Grade =>
  value <= fair ? "calm" : value <= most ? "busy" : "over";

/** What a desk's mean rate is called. */
export const rateGrade = ({ mean }: Pick<DeskLoad, "mean">): Grade => grade(mean, BEARABLE, MANAGEABLE);

/** What its share of floods is called. */
export const floodGrade = ({ flood_share }: Pick<DeskLoad, "flood_share">): Grade =>
  grade(flood_share, FLOOD_AIM, FLOOD_OVER);

/** So many alarms in ten minutes are more than a person can take in. */
const FLOOD = 10;
export const isFlood = (most: number): boolean => most >= FLOOD;

/** The busiest desk first. */
export const byLoad = (a: DeskLoad, b: DeskLoad): number =>
  b.mean - a.mean || b.most - a.most || ((a.division ?? "~") < (b.division ?? "~") ? -1 : 1);
