// From forecasts to what is drawn of them: bands and lines by time. Pure.
import type { Forecast, ForecastLead } from "../api/types";
import { interval } from "../state/foresight";

/** `[ms, value]` */
export type At = [number, number];
/** `[ms, low, high]` */
export type Span = [number, number, number];

/** What is foreseen: the median, and the intervals that hold half and 80 % of all outcomes. */
export type Ahead = { median: At[]; band50: Span[]; band80: Span[] };

/** How far the axis reaches ahead of now at most, as a share of what it shows of the past. */
const MOST_AHEAD = 1;

/** The course that a forecast foresees, from the value at its origin on. */
export function aheadOf(forecast: Pick<Forecast, "origin" | "at_origin" | "leads">, until: number): Ahead {
  const start = Date.parse(forecast.origin);
  const known = forecast.at_origin;
  const leads = forecast.leads.filter(({ at }) => Date.parse(at) <= until);
  const first: At[] = known === null ? [] : [[start, known]];
  const band = (share: number): Span[] => {
    const found = leads.flatMap((lead): Span[] => spanAt(lead, share));
    return found.length > 0 && known !== null ? [[start, known, known], ...found] : found;
  };
  return {
    median: [...first, ...leads.map(({ at, median }): At => [Date.parse(at), median])],
    band50: band(0.5),
    band80: band(0.8),
  };
}

function spanAt(lead: ForecastLead, share: number): Span[] {
  const found = interval(lead, share);
  return found === null ? [] : [[Date.parse(lead.at), ...found]];
}

/** Where the axis ends: at the last lead, but not further ahead than the past is shown; always the first lead. */
export function endOfAxis(forecast: Pick<Forecast, "leads"> | null, now: number, range_ms: number): number {
  const ahead = (forecast?.leads ?? []).map(({ at }) => Date.parse(at)).filter((at) => at > now);
  const [first] = ahead;
  if (first === undefined) return now;
  return Math.max(first, ...ahead.filter((at) => at - now <= range_ms * MOST_AHEAD));
}

/**
 * What was foreseen at the time, for one lead: the median and the 80 % interval at the times that it spoke of, oldest
 * first. What was taken in after its time was no forecast and is left out. A break where one is missing.
 */
export function pastOf(
  issued: readonly Pick<Forecast, "leads" | "taken_at">[],
  lead_s: number,
  step_s: number,
): { line: [number, number | null][]; band: Span[][] } {
  const spoken = issued.flatMap((forecast) => {
    const lead = forecast.leads.find((each) => each.lead_s === lead_s);
    return lead && Date.parse(lead.at) > Date.parse(forecast.taken_at) ? [lead] : [];
  });
  // Two of one time: that which was issued last, the list's first.
  const byTime = new Map<number, ForecastLead>();
  for (const lead of spoken) {
    const at = Date.parse(lead.at);
    if (!byTime.has(at)) byTime.set(at, lead);
  }
  const line: [number, number | null][] = [];
  const band: Span[][] = [];
  let before: number | null = null;
  for (const [at, lead] of [...byTime].sort(([a], [b]) => a - b)) {
    const isBreak = before !== null && at - before > step_s * 3_000;
    if (isBreak && before !== null) line.push([before + 1, null]);
    if (isBreak || band.length === 0) band.push([]);
    line.push([at, lead.median]);
    band.at(-1)?.push(...spanAt(lead, 0.8));
    before = at;
  }
  return { line, band: band.filter((spans) => spans.length > 1) };
}
