// What forecasts say and how far they may be believed: which lead is told, what is old, where skill ends. Pure.
import type {
  Exceedance,
  Forecast,
  Forecaster,
  ForecastLead,
  ForeseenSeries,
  SilentLead,
} from "../api/types";

/** What the server's own forecasts have as their source. */
export const OWN = "onemap";
/** A forecast whose grid is not known is taken to be hourly, as the server does when it scores it. */
const STEP_S = 3_600;
/** A forecast that was issued longer ago than so many steps is old. */
const N_FRESH_STEPS = 2;

/**
 * Seconds after which the next forecast is to be expected. The server issues one each step; others issue more
 * rarely than the grid that they compute on, but not more rarely than their leads lie apart.
 */
export function stepOf({ source, step_s, leads }: Pick<Forecast, "source" | "step_s" | "leads">): number {
  const step = step_s > 0 ? step_s : STEP_S;
  if (source === OWN) return step;
  let before = 0;
  let least = Infinity;
  for (const { lead_s } of leads) {
    least = Math.min(least, lead_s - before);
    before = lead_s;
  }
  return Number.isFinite(least) ? Math.max(step, least) : step;
}

/** Whether a forecast is one of the past: issued longer than two steps ago, or of times that have all passed. */
export function isOld(forecast: Forecast, now: number): boolean {
  const age = now - Date.parse(forecast.issued_at);
  return age > N_FRESH_STEPS * stepOf(forecast) * 1000 || upcoming(forecast, now).length === 0;
}

/** Whether a forecast says of every lead that nothing can be said. */
export const isSilent = ({ leads }: Pick<Forecast, "leads">): boolean => leads.length === 0;

/** Leads of times that are still to come, the nearest first. */
export const upcoming = ({ leads }: Pick<Forecast, "leads">, now: number): ForecastLead[] =>
  leads.filter(({ at }) => Date.parse(at) > now);

/** The lead that is told in words, and what it says of the lowest threshold. */
export type Told = { lead: ForecastLead; crossing: Exceedance | null };

/**
 * The lead that matters: the one at which the lowest threshold is most likely exceeded, of several the nearest; where
 * nothing is said of thresholds the one that is furthest from the value at the origin, of several the last. Null when
 * all of them have passed.
 */
export function toldOf(forecast: Pick<Forecast, "leads" | "at_origin">, now: number): Told | null {
  const change = ({ median }: ForecastLead) => Math.abs(median - (forecast.at_origin ?? median));
  let told: Told | null = null;
  for (const lead of upcoming(forecast, now)) {
    const crossing = lead.exceed[0] ?? null;
    if (told === null) told = { lead, crossing };
    else if (crossing === null) {
      if (told.crossing === null && change(lead) >= change(told.lead)) told = { lead, crossing };
    } else if (told.crossing === null || crossing.probability > told.crossing.probability)
      told = { lead, crossing };
  }
  return told;
}

/** The value at a level, straight between the levels that are given; null beyond the outermost. */
export function quantile({ quantiles }: Pick<ForecastLead, "quantiles">, level: number): number | null {
  // Levels such as 0.1 + 0.2 are meant as what they are near to.
  const near = 1e-9;
  for (const [i, [p, value]] of quantiles.entries()) {
    if (Math.abs(p - level) <= near) return value;
    const before = quantiles[i - 1];
    if (p > level) {
      if (before === undefined) return null;
      const [q, low] = before;
      return low + ((value - low) * (level - q)) / (p - q);
    }
  }
  return null;
}

/** The middle interval that holds a share of all outcomes; null where the forecast does not reach so far out. */
export function interval(lead: Pick<ForecastLead, "quantiles">, share: number): [number, number] | null {
  const low = quantile(lead, (1 - share) / 2);
  const high = quantile(lead, (1 + share) / 2);
  return low === null || high === null ? null : [low, high];
}

/** Leads without skill: all, those behind the last that has some, or some between others. */
export type Silence = {
  how: "all" | "after" | "some";
  /** The last lead with something to say, seconds; 0 for `all`. */
  last_s: number;
  leads: SilentLead[];
};

/** Where nothing is foreseen, by the forecast; without one by what training has shown. Null when nowhere. */
export function silenceOf(forecast: Forecast | null, forecaster: Forecaster | null): Silence | null {
  const trained = forecaster?.trained?.leads ?? [];
  const silent: SilentLead[] =
    forecast?.silent ?? trained.flatMap(({ lead_s, silent: why }) => (why === null ? [] : [{ lead_s, why }]));
  if (silent.length === 0) return null;
  const spoken = forecast
    ? forecast.leads.map(({ lead_s }) => lead_s)
    : trained.filter(({ silent: why }) => why === null).map(({ lead_s }) => lead_s);
  const last_s = Math.max(0, ...spoken);
  const how = spoken.length === 0 ? "all" : silent.every(({ lead_s }) => lead_s > last_s) ? "after" : "some";
  return { how, last_s, leads: silent };
}

/** A series by its key, `device/quantity/ch`; null for what is none, such as a model's own parts. */
export function seriesOfKey(key: string): { device: string; quantity: string; ch: number } | null {
  const parts = key.split("/");
  const ch = Number(parts.pop());
  const quantity = parts.pop();
  const device = parts.join("/");
  return device && quantity && Number.isInteger(ch) ? { device, quantity, ch } : null;
}

/** Which series a table tells of, by whom it is foreseen, and what is known of that. */
export type Row = {
  series: Forecast["series"];
  source: string;
  name: string;
  /** Null where nothing was issued yet. */
  forecast: Forecast | null;
  /** Of the server's own; null while it is not known. */
  forecaster: Forecaster | null;
};

/** A series by its place; its number may still be missing. */
export const keyOf = ({ device, quantity, ch }: Omit<Forecast["series"], "id" | "unit">) =>
  `${device}/${quantity}/${ch}`;

/** A row for each forecast, and one for each series that the server foresees and has issued nothing of yet. */
export function rowsOf(
  forecasts: readonly Forecast[],
  foreseen: readonly ForeseenSeries[],
  deviceName: (id: string) => string,
): Row[] {
  const forecasters = new Map(foreseen.map((each) => [keyOf(each.series), each.forecaster]));
  const rows: Row[] = forecasts.map((forecast) => ({
    series: forecast.series,
    source: forecast.source,
    name: deviceName(forecast.series.device),
    forecast,
    forecaster: forecast.source === OWN ? (forecasters.get(keyOf(forecast.series)) ?? null) : null,
  }));
  const issued = new Set(rows.filter(({ source }) => source === OWN).map(({ series }) => keyOf(series)));
  for (const { series, forecaster } of foreseen)
    if (!issued.has(keyOf(series)))
      rows.push({ series, source: OWN, name: deviceName(series.device), forecast: null, forecaster });
  return rows;
}

/** How likely a threshold is exceeded by a forecast of now; null where that is not known. */
export function chanceOf(forecast: Forecast | null, now: number): number | null {
  if (forecast === null || isOld(forecast, now)) return null;
  return toldOf(forecast, now)?.crossing?.probability ?? null;
}

/** The most likely first; what is not known after all that is, never as a zero. Alike ones by name, then source. */
export function inOrderOfChance(rows: readonly Row[], now: number): Row[] {
  const chances = new Map(rows.map((row) => [row, chanceOf(row.forecast, now) ?? -1]));
  const at = (row: Row) => chances.get(row) ?? -1;
  return [...rows].sort(
    (a, b) => at(b) - at(a) || a.name.localeCompare(b.name, "zh-CN") || a.source.localeCompare(b.source),
  );
}

/** The newest forecast of each source, the server's own first. */
export function bySource(newestFirst: readonly Forecast[]): Forecast[] {
  const found = new Map<string, Forecast>();
  for (const forecast of newestFirst) if (!found.has(forecast.source)) found.set(forecast.source, forecast);
  const rank = ({ source }: Forecast) => (source === OWN ? 0 : 1);
  return [...found.values()].sort((a, b) => rank(a) - rank(b) || a.source.localeCompare(b.source));
}
