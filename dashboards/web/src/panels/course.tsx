// The chart in a device's drawer: range, data, live end, limits and alarms of one series.
import { useEffect, useRef, useState } from "preact/hooks";
import { askEvery } from "../api/again";
import { api } from "../api/client";
import type { Device, SeriesPoint, SeriesRef } from "../api/types";
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
import { clock, minute } from "../i18n/format";
import { SEVERITY } from "../map/palette";
import { alerts, latest, serverNow, valuesVersion } from "../state/city";
import { type Failure, failureOf } from "../state/failure";
import { isState, quantities, quantityName, unitOf, valueText, valueWithUnit } from "../state/quantities";
import { renewals } from "../state/session";
import { scale } from "../state/view";
import { failureWords } from "./trouble";

/** An hour of one value a second; older ones leave as new ones come. */
const MAX_POINTS = 3_700;
const REFETCH_MS = 60_000;

type Loaded = { range: Range; values: SeriesPoint[] };
type Status = { state: "loading" } | { state: "failed"; failure: Failure } | { state: "there"; data: Loaded };

export function Course({ device, series }: { device: Device; series: SeriesRef }) {
  const [range, setRange] = useState<Range | null>(null);
  const [status, setStatus] = useState<Status>({ state: "loading" });

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
      : step === "60s"
        ? (`chart.${how}_1m` as const)
        : (`chart.${how}_5m` as const);
  return (
    <section class="course" aria-label={t("chart.title", { quantity: quantityName(series.quantity) })}>
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
        <Canvas device={device} series={series} data={data} />
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
        {t(means)} · {t("chart.gap_note")}
      </p>
    </section>
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

function Canvas({ device, series, data }: { device: Device; series: SeriesRef; data: Loaded }) {
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

  useEffect(() => {
    if (!chart) return;
    const to = serverNow();
    const own = [...alerts.value.values()].filter((alert) => alert.series.id === series.id);
    const limits = new Map<number, string>();
    for (const { threshold } of own)
      if (threshold !== null)
        limits.set(threshold, t("chart.threshold", { value: valueWithUnit(series.quantity, threshold) }));
    const entry = quantities.value.get(series.quantity);
    chart.show({
      points,
      from: to - RANGE_MS[data.range],
      to,
      unit: unitOf(series.quantity),
      decimals: entry?.decimals ?? 2,
      stepped: isState(series.quantity),
      thresholds: isState(series.quantity) ? [] : [...limits].map(([value, text]) => ({ value, text })),
      alarms: own
        .map((alert) => ({
          from: Date.parse(alert.raised_at),
          to: alert.ended_at ? Date.parse(alert.ended_at) : to,
          colour: SEVERITY[alert.severity],
        }))
        .filter((alarm) => alarm.to > to - RANGE_MS[data.range]),
      stateNames: new Map((entry?.states ?? []).map((state) => [state.code, pick(state)])),
      aria,
      scale: scale.value,
      clock,
      minute,
      valueText: (value) => valueText(series.quantity, value),
    });
  }, [chart, last, data, alerts.value, lang.value, scale.value, aria]);

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
