// The ticker: the newest things that happened to alarms, newest first, a fixed number.
import { signal } from "@preact/signals";
import type { Alert } from "../api/types";
import { type EdgeName, edgesBetween } from "./triage";

/** More never fit on the strip. */
const MAX_EVENTS = 40;

export type TickerEvent = { key: string; at: number; edge: EdgeName; alert: Alert };

export const ticker = signal<readonly TickerEvent[]>([]);

function eventsOf(before: Alert | undefined, alert: Alert, now: number): TickerEvent[] {
  return edgesBetween(before, alert, now).map(({ edge, at }) => ({
    key: `${alert.id}/${edge}/${at}`,
    at,
    edge,
    alert,
  }));
}

function put(events: TickerEvent[]): void {
  if (events.length === 0) return;
  const known = new Map(ticker.value.map((e) => [e.key, e]));
  for (const event of events) known.set(event.key, event);
  ticker.value = [...known.values()].sort((a, b) => b.at - a.at).slice(0, MAX_EVENTS);
}

/** What was noted and is not shown yet; a storm of alarms is put in its place once. */
let noted: TickerEvent[] = [];

/** Notes what changed between two pictures of an alarm. */
export function noteAlert(before: Alert | undefined, alert: Alert, now: number): void {
  noted.push(...eventsOf(before, alert, now));
}

/** Shows what was noted. */
export function showNoted(): void {
  const events = noted;
  noted = [];
  put(events);
}

/** Fills the ticker from a snapshot: the edges that the alarms themselves tell. */
export function seedTicker(alerts: readonly Alert[]): void {
  put(alerts.flatMap((alert) => eventsOf(undefined, alert, Date.parse(alert.raised_at))));
}
