// The chart in a device's drawer: range, data, live end, limits and alarms of one series.
import type { RefObject } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { askEvery } from "../api/again";
import { api } from "../api/client";
import type { Device, Forecast, SeriesPoint, SeriesRef } from "../api/types";
import { aheadOf, endOfAxis, pastOf } from "../chart/ahead";
import type { Foreseen } from "../chart/ahead-series";
import {
  firstRange,
  fromSteps,
  RANGE_MS,
  RANGE_STEP,
  RANGES,
  type Range,
  summary,
  withGaps,
} from "../chart/course";
import type { SeriesChart } from "../chart/series-chart";
import { lang, nameOf, pick, t } from "../i18n";
import { clock, leadText, minute, moment, percent, stamp } from "../i18n/format";
import { SEVERITY } from "../map/palette";
import { alerts, latest, serverNow, valuesVersion } from "../state/city";
import { type Failure, failureOf } from "../state/failure";
import { interval, isOld, OWN } from "../state/foresight";
import { isState, quantities, quantityName, unitOf, valueText, valueWithUnit } from "../state/quantities";
import { renewals } from "../state/session";
import { courseWanted, now, scale } from "../state/view";
import { type Foresight, ForesightWords, stepOfIssued, useForesight, usePast } from "./foresight";
import { failureWords } from "./trouble";

/** An hour of one value a second; older ones leave as new ones come. */
const MAX_POINTS = 3_700;
const REFETCH_MS = 60_000;

type Loaded = { range: Range; values: SeriesPoint[] };
type Status = { state: "loading" } | { state: "failed"; failure: Failure } | { state: "there"; data: Loaded };

export function Course({ device, series }: { device: Device; series: SeriesRef }) {
  const [range, setRange] = useState<Range | null>(null);
  const [status, setStatus] = useState<Status>({ state: "loading" });
  const [source, setSource] = useState<string | null>(null);
  const [pastLead, setPastLead] = useState<number | null>(null);
  const foresight = useForesight(series.id, source);
  const issued = usePast(series.id, foresight?.source ?? OWN, range, pastLead);
  const past = pastLead !== null && issued ? { issued, lead_s: pastLead } : null;
  const section = useRef<HTMLElement>(null);
  useInSight(section, series.id, status.state !== "loading" && foresight !== null);

  useEffect(() => {
    let over = false;
    api.seriesOf(device.id, series.quantity).then(
      (infos) => {
        const first = infos.find((info) => info.id === series.id)?.first;
        if (!over) setRange((chosen) => chosen ?? firstRange(first ? Date.parse(first) : null, serverNow()));
      },
      () => {
        if (!over) setRange((chosen) => chosen ?? "24h");
      },
    );
    return () => {
      over = true;
    };
  }, [device.id, series.id, series.quantity]);

  useEffect(() => {
    if (range === null) return;
    const load = async () => {
      const from = new Date(serverNow() - RANGE_MS[range]).toISOString();
      const step = RANGE_STEP[range];
      if (step) return api.steps(series.id, from, step, isState(series.quantity) ? "max" : "mean");
      return (await api.rawValues(series.id, from, 20_000)).slice(-MAX_POINTS);
    };
    setStatus({ state: "loading" });
    return askEvery(
      REFETCH_MS,
      load,
      (values) => setStatus({ state: "there", data: { range, values } }),
      (error) => setStatus({ state: "failed", failure: failureOf(error) }),
    );
  }, [range, series.id, series.quantity, renewals.value]);

  useLiveEnd(series.id, status);

  const data = status.state === "there" ? status.data : null;
  const step = range ? RANGE_STEP[range] : null;
  const how = isState(series.quantity) ? "max" : "mean";
  const means =
    step === null
      ? "chart.raw"
      : (`chart.${how}_${({ "60s": "1m", "5m": "5m", "1h": "1h" } as const)[step]}` as const);
  return (
    <section
      ref={section}
      class={foresight?.forecast ? "course is-foreseen" : "course"}
      aria-label={t("chart.title", { quantity: quantityName(series.quantity) })}
    >
      <div class="course-head">
        <h3>{t("chart.title", { quantity: quantityName(series.quantity) })}</h3>
        <fieldset class="segments">
          <legend class="only-read">{t("chart.range")}</legend>
          {RANGES.map((each) => (
            <button
              key={each}
              type="button"
              aria-pressed={range === each}
              data-testid={`range-${each}`}
              onClick={() => setRange(each)}
            >
              {t(`chart.range_${each}`)}
            </button>
          ))}
        </fieldset>
      </div>
      {data?.values.some(({ v }) => v !== null) ? (
        <Canvas device={device} series={series} data={data} foresight={foresight} past={past} />
      ) : (
        <p class="course-empty">
          {status.state === "loading"
            ? t("chart.loading")
            : status.state === "failed"
              ? t("chart.failed", { why: failureWords(status.failure) })
              : t("chart.empty")}
        </p>
      )}
      <p class="course-note">
        <span>
          {t(means)} · {t("chart.gap_note")}
        </span>
        <Keys foresight={foresight} past={past} />
      </p>
      {foresight ? (
        <ForesightWords
          series={series}
          foresight={foresight}
          choose={(each) => {
            setSource(each);
            setPastLead(null);
          }}
          past={{
            lead_s: pastLead,
            // Of the server's own also those that are silent now: they may have spoken then.
            leads: foresight.forecast
              ? ((foresight.source === OWN ? foresight.forecaster?.leads_s : null) ??
                foresight.forecast.leads.map(({ lead_s }) => lead_s))
              : [],
            n: issued?.length ?? null,
            set: setPastLead,
          }}
        />
      ) : null}
    </section>
  );
}

/** Brings a chart that is asked for into sight: at once, and again when what stands in it is there. */
function useInSight(section: RefObject<HTMLElement | null>, series: number, isThere: boolean): void {
  const isWanted = courseWanted.value === series;
  useEffect(() => {
    if (!isWanted) return;
    section.current?.scrollIntoView({ block: "nearest" });
    if (isThere) courseWanted.value = null;
  }, [isWanted, isThere]);
}

/** What is what of the forecast in the chart. */
function Keys({ foresight, past }: { foresight: Foresight | null; past: Past | null }) {
  const forecast = foresight?.forecast ?? null;
  const old = forecast !== null && isOld(forecast, now.value);
  const how = old ? " is-old" : "";
  const has = (share: number) => forecast?.leads.some((lead) => interval(lead, share) !== null);
  return (
    <>
      {forecast ? (
        <span class={`key key-ahead${how}`}>{t(old ? "chart.foreseen_old" : "chart.foreseen")}</span>
      ) : null}
      {has(0.5) ? (
        <span class={`key key-band50${how}`}>{t("chart.key_band", { share: percent(0.5) })}</span>
      ) : null}
      {has(0.8) ? (
        <span class={`key key-band80${how}`}>{t("chart.key_band", { share: percent(0.8) })}</span>
      ) : null}
      {past ? (
        <span class="key key-past">{t("chart.foreseen_past", { lead: leadText(past.lead_s) })}</span>
      ) : null}
    </>
  );
}

/** Adds what arrives live to the raw hour. Stepped ranges are fetched again every minute instead. */
function useLiveEnd(series: number, status: Status): void {
  void valuesVersion.value;
  if (status.state !== "there" || status.data.range !== "1h") return;
  const item = latest.get(series);
  const values = status.data.values;
  const last = values.at(-1);
  if (!item || typeof item.value !== "number") return;
  if (last && Date.parse(item.measured_at) <= Date.parse(last.t)) return;
  values.push({ t: item.measured_at, v: item.value });
  if (values.length > MAX_POINTS) values.splice(0, values.length - MAX_POINTS);
}

/** What is foreseen as it is drawn; null where nothing is. */
function foreseenOf(
  quantity: string,
  foresight: Foresight | null,
  past: Past | null,
  [at, to]: [number, number],
): Foreseen | null {
  const forecast = foresight?.forecast ?? null;
  if (forecast === null && past === null) return null;
  const old = forecast !== null && isOld(forecast, at);
  return {
    ahead: forecast && aheadOf(forecast, to),
    isOld: old,
    past: past && pastOf(past.issued, past.lead_s, stepOfIssued(forecast, past.issued)),
    now: at,
    to,
    words: {
      observed: t("chart.observed"),
      ahead: t(old ? "chart.foreseen_old" : "chart.foreseen"),
      past: past ? t("chart.foreseen_past", { lead: leadText(past.lead_s) }) : "",
      now: t("chart.now"),
    },
    bandText: (low, high) =>
      t("chart.band", { low: valueText(quantity, low), high: valueText(quantity, high) }),
  };
}

type Past = { issued: readonly Forecast[]; lead_s: number };
type CanvasProps = {
  device: Device;
  series: SeriesRef;
  data: Loaded;
  foresight: Foresight | null;
  past: Past | null;
};

function Canvas({ device, series, data, foresight, past }: CanvasProps) {
  const element = useRef<HTMLDivElement>(null);
  const [chart, setChart] = useState<SeriesChart | null>(null);
  void valuesVersion.value;

  useEffect(() => {
    let made: SeriesChart | null = null;
    let over = false;
    void import("../chart/series-chart").then(({ SeriesChart }) => {
      if (over || !element.current) return;
      made = new SeriesChart(element.current);
      setChart(made);
    });
    return () => {
      over = true;
      made?.end();
    };
  }, []);

  const points =
    data.range === "1h"
      ? withGaps(data.values, device.cadence_s ?? 0)
      : fromSteps(data.values, device.cadence_s ?? 0);
  const last = points.at(-1)?.[0] ?? 0;
  const { n, gaps, min, max } = summary(points);
  const aria = t("chart.aria", {
    device: nameOf(device),
    quantity: quantityName(series.quantity),
    n,
    gaps,
    min: min === null ? "–" : valueText(series.quantity, min),
    max: max === null ? "–" : valueText(series.quantity, max),
    unit: unitOf(series.quantity),
  });

  // The mark of now goes on where no values come; without a forecast the next value moves the picture.
  const minuteNow = foresight?.forecast ? Math.floor(now.value / 60_000) : 0;
  useEffect(() => {
    if (!chart) return;
    const at = serverNow();
    const from = at - RANGE_MS[data.range];
    const forecast = foresight?.forecast ?? null;
    const to = endOfAxis(forecast, at, RANGE_MS[data.range]);
    const own = [...alerts.value.values()].filter((alert) => alert.series.id === series.id);
    const limits = new Map<number, { text: string; isForeseen: boolean }>();
    for (const { threshold } of own)
      if (threshold !== null)
        limits.set(threshold, {
          text: t("chart.threshold", { value: valueWithUnit(series.quantity, threshold) }),
          isForeseen: false,
        });
    const foreseen = foresight?.forecaster?.threshold ?? null;
    for (const threshold of [
      ...(foreseen === null ? [] : [foreseen]),
      ...(forecast?.leads ?? []).flatMap(({ exceed }) => exceed.map((each) => each.threshold)),
    ])
      if (!limits.has(threshold))
        limits.set(threshold, {
          text: t("chart.foreseen_threshold", { value: valueWithUnit(series.quantity, threshold) }),
          isForeseen: true,
        });
    const entry = quantities.value.get(series.quantity);
    chart.show({
      points,
      from,
      to,
      foreseen: foreseenOf(series.quantity, foresight, past, [at, to]),
      unit: unitOf(series.quantity),
      decimals: entry?.decimals ?? 2,
      stepped: isState(series.quantity),
      thresholds: isState(series.quantity) ? [] : [...limits].map(([value, limit]) => ({ value, ...limit })),
      alarms: own
        .map((alert) => ({
          from: Date.parse(alert.past?.from ?? alert.raised_at),
          to: alert.past ? Date.parse(alert.past.until) : alert.ended_at ? Date.parse(alert.ended_at) : at,
          colour: SEVERITY[alert.severity],
        }))
        .filter((alarm) => alarm.to > from),
      stateNames: new Map((entry?.states ?? []).map((state) => [state.code, pick(state)])),
      aria,
      scale: scale.value,
      clock: data.range === "7d" ? (ms) => stamp(ms, at) : clock,
      minute: data.range === "7d" ? (ms) => moment(ms, at) : minute,
      valueText: (value) => valueText(series.quantity, value),
    });
  }, [
    chart,
    last,
    data,
    foresight?.forecast,
    foresight?.forecaster,
    past?.issued,
    minuteNow,
    alerts.value,
    lang.value,
    scale.value,
    aria,
  ]);

  return (
    <div
      class="course-canvas"
      ref={element}
      role="img"
      aria-label={aria}
      data-testid="chart"
      data-points={n}
    />
  );
}
