// The page of forecasts: what is foreseen, the likeliest exceedance first, and how good it proved to be.
import { useEffect, useState } from "preact/hooks";
import { askEvery } from "../api/again";
import { api } from "../api/client";
import type { Forecast, Forecaster } from "../api/types";
import { langOf, t } from "../i18n";
import { age, moment, percent, whole } from "../i18n/format";
import { devices, registerVersion } from "../state/city";
import { type Failure, failureOf } from "../state/failure";
import { chanceOf, inOrderOfChance, isOld, OWN, type Row, toldOf } from "../state/foresight";
import {
  bandText,
  between,
  expectedText,
  leadsText,
  noneText,
  oldText,
  seriesName,
  sourceName,
} from "../state/foresight-words";
import { channelText, quantityName, valueWithUnit } from "../state/quantities";
import { renewals } from "../state/session";
import { now } from "../state/view";
import { placeName } from "./alarms";
import { deviceName, Ends } from "./foresight";
import { SkillOf } from "./skill";
import { Trouble } from "./trouble";

const EVERY_MS = 30_000;
/** Forecasts that are fetched at most. */
const MOST = 2_000;
/** Rows that are shown at once, and so many more when they are asked for. */
const N_SHOWN = 40;
/** Forecasters are asked for one by one, so many at a time. */
const N_AT_ONCE = 4;

const keyOf = ({ series, source }: Forecast) => `${series.device}/${series.quantity}/${series.ch}/${source}`;

export function Forecasts() {
  const [told, setTold] = useState<{ items: Forecast[] } | { failure: Failure } | null>(null);
  const [n, setN] = useState(N_SHOWN);
  const [chosen, setChosen] = useState<string | null>(null);
  void registerVersion.value;
  useEffect(
    () =>
      askEvery(
        EVERY_MS,
        () => api.newestForecasts(MOST),
        (items) => setTold({ items }),
        (error) => setTold({ failure: failureOf(error) }),
      ),
    [renewals.value],
  );
  const items = told && "items" in told ? told.items : [];
  const rows = inOrderOfChance(
    items.map((forecast) => ({ forecast, name: deviceName(forecast.series.device) })),
    now.value,
  );
  const shown = rows.slice(0, n);
  const forecasters = useForecasters(shown);
  const row = rows.find(({ forecast }) => keyOf(forecast) === chosen) ?? rows[0] ?? null;
  const nWithout = rows.filter(({ forecast }) => isOld(forecast, now.value)).length;
  return (
    <div class="forecasts">
      <div class="forecasts-list">
        {told && "failure" in told ? <Trouble failure={told.failure} test="forecasts-trouble" /> : null}
        {told && "items" in told ? (
          <p class="hint" role="status" data-testid="forecasts-count">
            {t("forecasts.count", { n: whole(rows.length) })}
            {nWithout > 0 ? (
              <b class="state-unknown"> · {t("forecasts.without", { n: whole(nWithout) })}</b>
            ) : null}
          </p>
        ) : null}
        {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard */}
        <section class="forecasts-scroll" tabIndex={0} aria-label={t("forecasts.title")}>
          <table class="desk-table forecasts-table" data-testid="forecasts-table">
            <thead>
              <tr>
                <th scope="col">{t("forecasts.series")}</th>
                <th scope="col">{t("forecasts.expected")}</th>
                <th scope="col" class="is-number">
                  {t("forecasts.chance")}
                </th>
                <th scope="col">{t("forecasts.issued")}</th>
                <th scope="col">{t("forecasts.model")}</th>
                <th scope="col">{t("forecasts.leads")}</th>
              </tr>
            </thead>
            <tbody>
              {shown.map((each) => (
                <Line
                  key={keyOf(each.forecast)}
                  row={each}
                  forecaster={forecasters.get(each.forecast.series.id ?? -1) ?? null}
                  isChosen={each === row}
                  choose={() => setChosen(keyOf(each.forecast))}
                />
              ))}
            </tbody>
          </table>
          {told && "items" in told && rows.length === 0 ? <p class="empty">{t("forecasts.none")}</p> : null}
          {rows.length > n ? (
            <button
              type="button"
              class="quiet"
              data-testid="forecasts-more"
              onClick={() => setN(n + N_SHOWN)}
            >
              {t("forecasts.more", { n: whole(Math.min(N_SHOWN, rows.length - n)) })}
            </button>
          ) : null}
        </section>
        <p class="hint">{t("forecasts.never")}</p>
      </div>
      {row ? (
        <SkillOf
          key={keyOf(row.forecast)}
          forecast={row.forecast}
          forecaster={forecasters.get(row.forecast.series.id ?? -1) ?? null}
        />
      ) : (
        <p class="empty">{t("forecasts.pick")}</p>
      )}
    </div>
  );
}

/** What the server foresees the shown series by, by the series' number. */
function useForecasters(rows: readonly Row[]): ReadonlyMap<number, Forecaster> {
  const [found, setFound] = useState<ReadonlyMap<number, Forecaster>>(new Map());
  const wanted = [...new Set(rows.flatMap(({ forecast }) => forecast.series.id ?? []))].sort((a, b) => a - b);
  useEffect(() => {
    const ask = async () => {
      const all = new Map<number, Forecaster>();
      const waiting = [...wanted];
      const worker = async () => {
        for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) {
          const { forecaster } = await api.forecastsOf(id);
          if (forecaster) all.set(id, forecaster);
        }
      };
      await Promise.all(Array.from({ length: N_AT_ONCE }, worker));
      return all;
    };
    // The last answer stays while the server is away; the list says that it cannot be had.
    return askEvery(EVERY_MS, ask, setFound);
  }, [wanted.join(), renewals.value]);
  return found;
}

type LineProps = { row: Row; forecaster: Forecaster | null; isChosen: boolean; choose: () => void };

function Line({ row: { forecast, name }, forecaster, isChosen, choose }: LineProps) {
  const { series, source } = forecast;
  const at = now.value;
  const old = isOld(forecast, at);
  const own = source === OWN;
  const device = devices.get(series.device);
  const channel = channelText(series.quantity, series.ch);
  const place = placeName(device?.division ?? null);
  return (
    <tr
      class={`${old ? "is-off" : ""}${isChosen ? " is-chosen" : ""}`}
      data-testid={`forecast-${series.device}`}
    >
      <th scope="row">
        <button
          type="button"
          class="forecasts-pick"
          aria-pressed={isChosen}
          data-testid={`pick-${series.device}-${source}`}
          onClick={choose}
        >
          <span lang={langOf(name)}>{name}</span>
          <small lang={langOf(place ?? "")}>
            {[quantityName(series.quantity), channel, place].filter(Boolean).join(" · ")}
          </small>
        </button>
      </th>
      <td>
        {old ? (
          <Nothing forecast={forecast} forecaster={own ? forecaster : null} />
        ) : (
          <Expected forecast={forecast} forecaster={own ? forecaster : null} />
        )}
      </td>
      <td class="is-number">
        <Chance forecast={forecast} />
      </td>
      <td>
        <span class="forecasts-nowrap">{moment(Date.parse(forecast.issued_at), at)}</span>
        <small>{old ? t("foresight.old_tag") : age(Date.parse(forecast.issued_at), at)}</small>
      </td>
      <td>
        <Model forecast={forecast} forecaster={own ? forecaster : null} />
      </td>
      <td>
        {leadsText(own && forecaster ? forecaster.leads_s : forecast.leads.map(({ lead_s }) => lead_s))}
        <small>
          <Ends forecast={forecast} forecaster={own ? forecaster : null} />
        </small>
      </td>
    </tr>
  );
}

type OfForecast = { forecast: Forecast; forecaster: Forecaster | null };

function Expected({ forecast, forecaster }: OfForecast) {
  const told = toldOf(forecast, now.value);
  if (told === null) return <>–</>;
  const { quantity } = forecast.series;
  const band = bandText(quantity, told.lead);
  return (
    <>
      <b class="forecasts-nowrap">{expectedText(quantity, told.lead)}</b>
      <small>
        {moment(Date.parse(told.lead.at), now.value)}
        {band ? ` · ${t("chart.band", band)}` : ""}
      </small>
      {forecaster?.why_not != null ? (
        <small class="state-unknown">
          {t("foresight.not_now", { why: noneText(forecaster, now.value, deviceName) })}
        </small>
      ) : null}
    </>
  );
}

/** An old forecast says nothing of now. */
function Nothing({ forecast, forecaster }: OfForecast) {
  return (
    <>
      <span class="state-unknown">{t("forecasts.unknown_chance")}</span>
      <small>
        {forecaster?.why_not != null
          ? noneText(forecaster, now.value, deviceName)
          : oldText(forecast, now.value)}
      </small>
    </>
  );
}

function Chance({ forecast }: { forecast: Forecast }) {
  const chance = chanceOf(forecast, now.value);
  const crossing = toldOf(forecast, now.value)?.crossing ?? null;
  const threshold =
    crossing ?? forecast.leads.flatMap(({ exceed }) => exceed).find((each) => each !== undefined) ?? null;
  if (threshold === null) return <small>{t("forecasts.no_threshold")}</small>;
  return (
    <>
      {chance === null ? (
        <span class="state-unknown">{t("forecasts.unknown_chance")}</span>
      ) : (
        <b class={crossing?.warns ? "forecasts-chance is-warning" : "forecasts-chance"}>{percent(chance)}</b>
      )}
      <small>
        {t("forecasts.above", { threshold: valueWithUnit(forecast.series.quantity, threshold.threshold) })}
      </small>
      {chance !== null && crossing?.warns ? <small class="is-warning">{t("foresight.warns")}</small> : null}
    </>
  );
}

/** By what a series is foreseen, and from which inputs. */
function Model({ forecast, forecaster }: OfForecast) {
  if (forecast.source !== OWN)
    return (
      <>
        <span lang={langOf(forecast.source)}>{sourceName(forecast.source)}</span>
        <small lang={langOf(forecast.model)}>{forecast.model || t("forecasts.of_others")}</small>
      </>
    );
  const trained = forecaster?.trained ?? null;
  const inputs = (forecaster?.inputs ?? []).map((key) => seriesName(key, deviceName));
  const words = inputs.join(between()) || t("forecasts.no_inputs");
  return (
    <>
      <span class="forecasts-nowrap">
        {trained
          ? t("forecasts.trained", { time: moment(Date.parse(trained.at), now.value) })
          : forecaster
            ? t("forecasts.untrained")
            : "–"}
      </span>
      {forecaster ? (
        <small class="forecasts-inputs" lang={langOf(words)}>
          {words}
        </small>
      ) : null}
    </>
  );
}
