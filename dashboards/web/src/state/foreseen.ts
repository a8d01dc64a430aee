// Which series the server foresees and by what: the whole list, or, of a server that has none, those that are shown.
import { ApiError, api } from "../api/client";
import type { Forecast, ForeseenSeries } from "../api/types";

/** Without `isWhole` those are missing of which nothing was issued yet. */
export type ForeseenList = { items: ForeseenSeries[]; isWhole: boolean };

/** Series that are asked for at most. */
const MOST = 2_000;
/** Series are asked for one by one, so many at a time. */
const N_AT_ONCE = 4;
/** A server without the list may be replaced by one that has it. */
export const AGAIN_AFTER_NONE_MS = 600_000;
/** When the list may be asked for next, on the page's own clock. */
let askNext = -Infinity;

/** Asks for the list; without one for `shown`, the series whose forecasts are. Throws what the server said. */
export async function askForeseen(
  shown: readonly Forecast["series"][],
  now = performance.now(),
): Promise<ForeseenList> {
  if (now >= askNext) {
    try {
      return { items: await api.forecasters(MOST), isWhole: true };
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 404)) throw error;
      askNext = now + AGAIN_AFTER_NONE_MS;
    }
  }
  return { items: await oneByOne(shown), isWhole: false };
}

async function oneByOne(shown: readonly Forecast["series"][]): Promise<ForeseenSeries[]> {
  const items: ForeseenSeries[] = [];
  const waiting = [...shown];
  const worker = async () => {
    for (let series = waiting.pop(); series !== undefined; series = waiting.pop()) {
      if (series.id === null) continue;
      const { forecaster } = await api.forecastsOf(series.id);
      if (forecaster) items.push({ series, forecaster });
    }
  };
  await Promise.all(Array.from({ length: N_AT_ONCE }, worker));
  return items;
}
