// The page of forecasts: what is foreseen, the likeliest exceedance first, and how good it proved to be.
import { useEffect, useState } from "preact/hooks";
import { askEvery } from "../api/again";
import { api } from "../api/client";
import type { Forecast, Forecaster } from "../api/types";
import { langOf, t } from "../i18n";
import { age, moment, percent, whole } from "../i18n/format";
import { devices, registerVersion } from "../state/city";
import { type Failure, failureOf } from "../state/failure";
import { askForeseen, type ForeseenList } from "../state/foreseen";
import {
  chanceOf,
  inOrderOfChance,
  isOld,
  isSilent,
  keyOf,
  OWN,
  type Row,
  rowsOf,
  toldOf,
} from "../state/foresight";
import {
  bandText,
  between,
  expectedText,
  leadsText,
  noneText,
  oldText,
  refitText,
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

const rowKey = ({ series, source }: Row) => `${keyOf(series)}/${source}`;

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
  const inOrder = (of: ForeseenList | null) =>
    inOrderOfChance(rowsOf(items, of?.items ?? [], deviceName), now.value);
  const { list, failure } = useForeseen((before) => inOrder(before).slice(0, n));
  const rows = inOrder(list);
  const shown = rows.slice(0, n);
  const row = rows.find((each) => rowKey(each) === chosen) ?? rows[0] ?? null;
  const nWithout = rows.filter(({ forecast }) => forecast === null || isOld(forecast, now.value)).length;
  const trouble = told && "failure" in told ? told.failure : failure;
  return (
    <div class="forecasts">
      <div class="forecasts-list">
        {trouble ? <Trouble failure={trouble} test="forecasts-trouble" /> : null}
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
                  key={rowKey(each)}
                  row={each}
                  isChosen={each === row}
                  choose={() => setChosen(rowKey(each))}
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
        {list && !list.isWhole ? <p class="hint">{t("forecasts.never")}</p> : null}
      </div>
      {row ? <SkillOf key={rowKey(row)} row={row} /> : <p class="empty">{t("forecasts.pick")}</p>}
    </div>
  );
}

/** What the server foresees its series by, and why that is not known; null before the first answer. */
function useForeseen(shown: (list: ForeseenList | null) => readonly Row[]): {
  list: ForeseenList | null;
  failure: Failure | null;
} {
  const [list, setList] = useState<ForeseenList | null>(null);
  const [failure, setFailure] = useState<Failure | null>(null);
  const issued = list?.isWhole
    ? []
    : shown(list).flatMap(({ forecast, source }) => (forecast && source === OWN ? [forecast.series] : []));
  const wanted = issued.map(keyOf).sort().join();
  useEffect(
    () =>
      askEvery(
        EVERY_MS,
        () => askForeseen(issued),
        (told) => {
          setList(told);
          setFailure(null);
        },
        // The last answer stays, and the page says that it may be another one by now.
        (error) => setFailure(failureOf(error)),
      ),
    [wanted, renewals.value],
  );
  return { list, failure };
}

type LineProps = { row: Row; isChosen: boolean; choose: () => void };

function Line({ row, isChosen, choose }: LineProps) {
  const { series, source, name, forecast, forecaster } = row;
  const at = now.value;
  const isUnknown = forecast === null || isOld(forecast, at);
  const device = devices.get(series.device);
  const channel = channelText(series.quantity, series.ch);
  const place = placeName(device?.division ?? null);
  const leads = forecaster?.leads_s ?? forecast?.leads.map(({ lead_s }) => lead_s) ?? [];
  return (
    <tr
      class={`${isUnknown ? "is-off" : ""}${isChosen ? " is-chosen" : ""}`}
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
        {forecast === null || isUnknown ? (
          <Nothing forecast={forecast} forecaster={forecaster} />
        ) : (
          <Expected forecast={forecast} forecaster={forecaster} />
        )}
      </td>
      <td class="is-number">
        <Chance row={row} />
      </td>
      <td>
        {forecast === null ? (
          <span class="state-unknown">{t("forecasts.never_issued")}</span>
        ) : (
          <>
            <span class="forecasts-nowrap">{moment(Date.parse(forecast.issued_at), at)}</span>
            <small>
              {isUnknown
                ? t(isSilent(forecast) ? "foresight.silent_tag" : "foresight.old_tag")
                : age(Date.parse(forecast.issued_at), at)}
            </small>
          </>
        )}
      </td>
      <td>
        <Model row={row} />
      </td>
      <td>
        {leadsText(leads)}
        <small>
          <Ends forecast={forecast} forecaster={forecaster} />
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

type OfNone = { forecast: Forecast | null; forecaster: Forecaster | null };

/** An old forecast says nothing of now, and none says nothing at all. */
function Nothing({ forecast, forecaster }: OfNone) {
  return (
    <>
      <span class="state-unknown">{t("forecasts.unknown_chance")}</span>
      <small>
        {forecaster !== null && (forecast === null || forecaster.why_not !== null)
          ? noneText(forecaster, now.value, deviceName)
          : forecast && oldText(forecast, now.value)}
      </small>
    </>
  );
}

function Chance({ row: { series, forecast, forecaster } }: { row: Row }) {
  const chance = chanceOf(forecast, now.value);
  const crossing = forecast && (toldOf(forecast, now.value)?.crossing ?? null);
  const threshold =
    crossing?.threshold ??
    forecast?.leads.flatMap(({ exceed }) => exceed).find((each) => each !== undefined)?.threshold ??
    forecaster?.threshold ??
    null;
  if (threshold === null) return <small>{t("forecasts.no_threshold")}</small>;
  return (
    <>
      {chance === null ? (
        <span class="state-unknown">{t("forecasts.unknown_chance")}</span>
      ) : (
        <b class={crossing?.warns ? "forecasts-chance is-warning" : "forecasts-chance"}>{percent(chance)}</b>
      )}
      <small>{t("forecasts.above", { threshold: valueWithUnit(series.quantity, threshold) })}</small>
      {chance !== null && crossing?.warns ? <small class="is-warning">{t("foresight.warns")}</small> : null}
    </>
  );
}

/** By what a series is foreseen, and from which inputs. */
function Model({ row: { source, forecast, forecaster } }: { row: Row }) {
  if (source !== OWN) {
    const model = forecast?.model ?? "";
    return (
      <>
        <span lang={langOf(source)}>{sourceName(source)}</span>
        <small lang={langOf(model)}>{model || t("forecasts.of_others")}</small>
      </>
    );
  }
  const trained = forecaster?.trained ?? null;
  const inputs = (forecaster?.inputs ?? []).map((key) => seriesName(key, deviceName));
  const words = inputs.join(between()) || t("forecasts.no_inputs");
  return (
    <>
      <span>{t("foresight.own")}</span>
      <small class="forecasts-nowrap">
        {trained
          ? t("forecasts.trained", { time: moment(Date.parse(trained.at), now.value) })
          : forecaster
            ? t("forecasts.untrained")
            : "–"}
      </small>
      {trained?.refit_at ? (
        <small title={t("forecasts.refit_hint")} class="forecasts-nowrap" data-testid="refit">
          {refitText(Date.parse(trained.refit_at), now.value)}
        </small>
      ) : null}
      {forecaster ? (
        <small class="forecasts-inputs" lang={langOf(words)}>
          {words}
        </small>
      ) : null}
    </>
  );
}
