// What a device's series will be: asked for beside its course, told in words below the chart.
import { useEffect, useState } from "preact/hooks";
import { askEvery } from "../api/again";
import { api } from "../api/client";
import type { Forecast, Forecaster, SeriesRef } from "../api/types";
import { RANGE_MS, type Range } from "../chart/course";
import { langOf, nameOf, t } from "../i18n";
import { leadText, moment, whole } from "../i18n/format";
import { devices, serverNow } from "../state/city";
import { type Failure, failureOf } from "../state/failure";
import { bySource, isOld, OWN, seriesOfKey, silenceOf, stepOf, toldOf } from "../state/foresight";
import {
  between,
  noneText,
  noteText,
  oldText,
  sentence,
  seriesName,
  silenceText,
  sourceName,
} from "../state/foresight-words";
import { unitOf, valueText } from "../state/quantities";
import { renewals } from "../state/session";
import { now } from "../state/view";
import { failureWords } from "./trouble";

const EVERY_MS = 30_000;
const SOURCES_EVERY_MS = 300_000;
/** So many of the newest forecasts are looked through for who else makes some. */
const N_LOOKED_AT = 60;
/** Forecasts that are laid over the course at most, the newest. */
export const N_PAST = 1_500;
/** Inputs that are named as having moved a forecast. */
const N_MOVED = 3;

/** What is foreseen of a series; `failure` when that is not known. */
export type Foresight = {
  sources: string[];
  source: string;
  forecast: Forecast | null;
  forecaster: Forecaster | null;
  failure: Failure | null;
};

/** The name of a device, its id when the register does not hold it. */
export const deviceName = (id: string): string => {
  const device = devices.get(id);
  return device ? nameOf(device) : id;
};

/** What is foreseen of a series, by a source; null before the first answer, and for a series that nobody foresees. */
export function useForesight(series: number, chosen: string | null): Foresight | null {
  const [sources, setSources] = useState<string[] | null>(null);
  const [told, setTold] = useState<Omit<Foresight, "sources"> | null>(null);
  useEffect(
    () =>
      askEvery(
        SOURCES_EVERY_MS,
        () => api.forecastsOf(series, { limit: N_LOOKED_AT }),
        (page) => setSources(bySource(page.items).map(({ source }) => source)),
        // What failed is told by what is asked below.
        () => setSources((before) => before ?? []),
      ),
    [series, renewals.value],
  );
  const source = sources === null ? null : (chosen ?? sources[0] ?? OWN);
  useEffect(() => {
    if (source === null) return;
    return askEvery(
      EVERY_MS,
      () => api.forecastsOf(series, { source }),
      ({ items, forecaster }) => setTold({ source, forecast: items[0] ?? null, forecaster, failure: null }),
      (error) => setTold({ source, forecast: null, forecaster: null, failure: failureOf(error) }),
    );
  }, [series, source, renewals.value]);
  if (told === null || sources === null) return null;
  const isForeseen = told.forecast !== null || told.forecaster !== null || sources.length > 0;
  return isForeseen || told.failure ? { ...told, sources } : null;
}

/** Forecasts as they were issued whose times lie in a range; null until they are there, and while none are wanted. */
export function usePast(
  series: number,
  source: string,
  range: Range | null,
  lead_s: number | null,
): Forecast[] | null {
  const [issued, setIssued] = useState<{ of: string; items: Forecast[] } | null>(null);
  const of = `${series}/${source}/${range}/${lead_s}`;
  useEffect(() => {
    if (range === null || lead_s === null) return;
    const ask = () => {
      const from = new Date(serverNow() - RANGE_MS[range] - lead_s * 1000).toISOString();
      return api.forecastsOf(series, { source, from, limit: N_PAST });
    };
    // The last answer stays while the server is away; the banner tells of contact.
    return askEvery(EVERY_MS, ask, ({ items }) => setIssued({ of, items }));
  }, [of, renewals.value]);
  return issued?.of === of && lead_s !== null ? issued.items : null;
}

type Props = {
  series: SeriesRef;
  foresight: Foresight;
  choose: (source: string) => void;
  past: {
    lead_s: number | null;
    leads: readonly number[];
    n: number | null;
    set: (lead_s: number | null) => void;
  };
};

export function ForesightWords({ series, foresight, choose, past }: Props) {
  const { forecast, forecaster, failure, sources, source } = foresight;
  return (
    <section class="foresight" aria-label={t("foresight.title")} data-testid="foresight">
      {failure ? (
        <p class="state-unknown" data-testid="foresight-failed">
          {t("foresight.failed", { why: failureWords(failure) })}
        </p>
      ) : forecast ? (
        <Issued forecast={forecast} forecaster={forecaster} />
      ) : (
        <>
          <p class="foresight-none state-unknown" data-testid="foresight-none">
            {t("foresight.none", {
              why: forecaster ? noneText(forecaster, now.value, deviceName) : t("foresight.none_issued"),
            })}
          </p>
          <Ends forecast={null} forecaster={forecaster} />
        </>
      )}
      <div class="foresight-choices">
        {sources.length > 1 ? (
          <fieldset class="segments">
            <legend class="only-read">{t("foresight.source")}</legend>
            {sources.map((each) => (
              <button
                key={each}
                type="button"
                lang={langOf(each)}
                aria-pressed={each === source}
                data-testid={`foresight-source-${each}`}
                onClick={() => choose(each)}
              >
                {sourceName(each)}
              </button>
            ))}
          </fieldset>
        ) : null}
        {past.leads.length > 0 ? <Past series={series} past={past} /> : null}
      </div>
    </section>
  );
}

function Issued({ forecast, forecaster }: { forecast: Forecast; forecaster: Forecaster | null }) {
  const old = isOld(forecast, now.value);
  const issued = Date.parse(forecast.issued_at);
  const words = sentence(forecast, now.value);
  const told = toldOf(forecast, now.value);
  const whyNot = forecaster?.why_not != null && forecast.source === OWN ? forecaster : null;
  return (
    <>
      {old ? (
        <p class="foresight-old state-stale" data-testid="foresight-old">
          {oldText(forecast, now.value)}
        </p>
      ) : null}
      {words ? (
        <p class={`foresight-line${old ? " is-old" : ""}`} data-testid="foresight-line">
          {words}
          {told?.crossing?.warns && !old ? <span class="tag is-warning">{t("foresight.warns")}</span> : null}
        </p>
      ) : null}
      {whyNot ? (
        <p class="state-unknown">
          {t("foresight.not_now", { why: noneText(whyNot, now.value, deviceName) })}
        </p>
      ) : null}
      <p class="foresight-about">
        <Ends forecast={forecast} forecaster={forecaster} />
        <span lang={langOf(forecast.source)}>
          {t("foresight.issued", {
            source: [sourceName(forecast.source), forecast.source === OWN ? "" : forecast.model]
              .filter(Boolean)
              .join(" "),
            time: moment(issued, now.value),
          })}
        </span>
        {told && !old ? <Moved forecast={forecast} lead_s={told.lead.lead_s} /> : null}
        {forecast.notes.map((note) => (
          <span key={note} class="state-stale">
            {noteText(note, deviceName)}
          </span>
        ))}
      </p>
    </>
  );
}

/** Up to where there is skill; why not further in its title. */
export function Ends({ forecast, forecaster }: { forecast: Forecast | null; forecaster: Forecaster | null }) {
  const silence = silenceOf(forecast, forecaster);
  if (silence === null) return null;
  const { words, why } = silenceText(silence);
  return (
    <span class="foresight-ends" title={why} data-testid="foresight-ends">
      {words}
      <span class="only-read"> {why}</span>
    </span>
  );
}

/** The series that moved a lead most, and by how much. */
function Moved({ forecast, lead_s }: { forecast: Forecast; lead_s: number }) {
  const { quantity } = forecast.series;
  const inputs = forecast.influences
    .filter((each) => each.lead_s === lead_s && seriesOfKey(each.input) !== null)
    .map(({ input, by }) => ({ input, by, text: valueText(quantity, Math.abs(by)) }))
    // What rounds to nothing has moved nothing.
    .filter(({ text }) => Number(text) !== 0)
    .slice(0, N_MOVED)
    .map(({ input, by, text }) =>
      t("foresight.moved_by", {
        input: seriesName(input, deviceName),
        by: `${by < 0 ? "−" : "+"}${text}`,
      }),
    );
  if (inputs.length === 0) return null;
  return <span>{t("foresight.moved", { inputs: `${inputs.join(between())} (${unitOf(quantity)})` })}</span>;
}

function Past({ series, past }: Pick<Props, "series" | "past">) {
  const isOn = past.lead_s !== null;
  return (
    <>
      <button
        type="button"
        class="quiet foresight-past"
        aria-pressed={isOn}
        data-testid="past"
        onClick={() => past.set(isOn ? null : (past.leads[0] ?? null))}
      >
        {t("foresight.past")}
      </button>
      {isOn ? (
        <fieldset class="segments" key={series.id}>
          <legend class="only-read">{t("foresight.past_lead")}</legend>
          {past.leads.map((lead_s) => (
            <button
              key={lead_s}
              type="button"
              aria-pressed={lead_s === past.lead_s}
              data-testid={`past-${lead_s}`}
              onClick={() => past.set(lead_s)}
            >
              {leadText(lead_s)}
            </button>
          ))}
        </fieldset>
      ) : null}
      {isOn && past.n === 0 ? (
        <small>{t("foresight.past_none", { lead: leadText(past.lead_s ?? 0) })}</small>
      ) : null}
      {isOn && past.n !== null && past.n >= N_PAST ? (
        <small>{t("foresight.past_cut", { n: whole(N_PAST) })}</small>
      ) : null}
    </>
  );
}

/** Seconds between the forecasts of a source. */
export const stepOfIssued = (forecast: Forecast | null, issued: readonly Forecast[]): number => {
  const one = forecast ?? issued[0];
  return one ? stepOf(one) : 3_600;
};
