// Forecasts in words: one sentence for what is expected, where skill ends and why, why nothing is foreseen.
import type { Forecast, Forecaster, ForecastLead } from "../api/types";
import { lang, t } from "../i18n";
import { age, aheadText, beijingDay, beijingHour, leadText, moment, percent } from "../i18n/format";
import { interval, isSilent, OWN, type Silence, seriesOfKey, toldOf, upcoming } from "./foresight";
import { channelText, quantityName, valueText, valueWithUnit } from "./quantities";

/** The hour at which a night is over. */
const NIGHT_ENDS_H = 6;

/** The name of a device in the present language. */
export type DeviceName = (id: string) => string;

/** `2.31 m`, a median with its unit. */
export const expectedText = (quantity: string, lead: ForecastLead) => valueWithUnit(quantity, lead.median);

/** `1.90–2.80`, the 80 % interval; null where the forecast gives none. */
export function bandText(quantity: string, lead: ForecastLead): { low: string; high: string } | null {
  const found = interval(lead, 0.8);
  return found && { low: valueText(quantity, found[0]), high: valueText(quantity, found[1]) };
}

/** What is expected, in one sentence; null when the forecast speaks only of times that have passed. */
export function sentence(forecast: Forecast, now: number): string | null {
  const told = toldOf(forecast, now);
  if (told === null) return null;
  const { quantity } = forecast.series;
  const at = Date.parse(told.lead.at);
  const band = bandText(quantity, told.lead);
  return [
    t("foresight.expected", {
      ahead: aheadText(at - now),
      at: moment(at, now),
      value: expectedText(quantity, told.lead),
    }),
    band ? t("foresight.band", band) : "",
    told.crossing
      ? t("foresight.crossing", {
          threshold: valueWithUnit(quantity, told.crossing.threshold),
          chance: percent(told.crossing.probability),
        })
      : "",
  ].join("");
}

/** What stands between the things of a list. */
export const between = () => (lang.value === "zh" ? "、" : ", ");

/** Several leads, the unit said once where they share it: `1、3、6 小时`. */
export function leadsText(leads_s: readonly number[]): string {
  const texts = leads_s.map(leadText);
  const parts = texts.map((text) => /^(\S+)(\s.*)$/.exec(text));
  const unit = parts[0]?.[2];
  if (unit === undefined || parts.some((part) => part?.[2] !== unit)) return texts.join(between());
  return parts.map((part) => part?.[1]).join(between()) + unit;
}

/** Where skill ends, and why by lead. */
export function silenceText(silence: Silence): { words: string; why: string } {
  const leads = leadsText(silence.leads.map(({ lead_s }) => lead_s));
  const words =
    silence.how === "all"
      ? t("foresight.all_silent")
      : silence.how === "after"
        ? t("foresight.after", { lead: leadText(silence.last_s) })
        : t("foresight.some_silent", { leads });
  const why = silence.leads
    .map(({ lead_s, why: reason }) =>
      t("foresight.lead_why", { lead: leadText(lead_s), why: silenceWhy(reason) }),
    )
    .join("\n");
  return { words, why };
}

/** Why a lead is silent, from the server's words; these where they are others. */
export function silenceWhy(text: string): string {
  const rows = /^(\d+) rows are too few to learn from$/.exec(text);
  if (rows) return t("foresight.why_rows", { n: rows[1] ?? "" });
  const days = /^(\d+) days without a flood are too short to learn from for this lead$/.exec(text);
  if (days) return t("foresight.why_quiet", { n: days[1] ?? "" });
  if (text === "the series did not change in training") return t("foresight.why_constant");
  const skill = /^no better than the present value in training \(skill (\S+)\)$/.exec(text);
  return skill ? t("foresight.why_no_skill", { skill: skill[1] ?? "" }) : text;
}

/** A series by its key in words; the key itself where it names none. */
export function seriesName(key: string, deviceName: DeviceName): string {
  // What others foresee of it: `device/quantity/channel (source)`.
  const foreseen = /^(.*\/\d+) \((.+)\)$/.exec(key);
  if (foreseen)
    return t("foresight.foreseen_by", {
      series: seriesName(foreseen[1] ?? "", deviceName),
      source: foreseen[2] ?? "",
    });
  const series = seriesOfKey(key);
  if (series === null) return key;
  const channel = channelText(series.quantity, series.ch);
  return [deviceName(series.device), quantityName(series.quantity), channel].filter(Boolean).join(" ");
}

/** Whether it is training that failed, by the server's words, and not the last step. */
export const isOfTraining = (text: string): boolean =>
  /^\S+ has no values yet$|^\d+ values since \S+ are too few/.test(text);

/** Why nothing is foreseen, from the server's words; these where they are others. */
export function whyNotText(text: string, now: number, deviceName: DeviceName): string {
  const time = (stamp = "") => {
    const at = Date.parse(stamp);
    return Number.isNaN(at) ? stamp : moment(at, now);
  };
  const noValue = /^no value of (\S+) at (\S+)$/.exec(text);
  if (noValue)
    return t("foresight.why_no_value", {
      series: seriesName(noValue[1] ?? "", deviceName),
      time: time(noValue[2]),
    });
  const noValues = /^(\S+) has no values yet$/.exec(text);
  if (noValues) return t("foresight.why_no_values", { series: seriesName(noValues[1] ?? "", deviceName) });
  const few = /^(\d+) values since (\S+) are too few: (\d+) are needed$/.exec(text);
  if (few) return t("foresight.why_few_values", { n: few[1] ?? "", time: time(few[2]), least: few[3] ?? "" });
  if (text === "its first model is being trained") return t("foresight.waits_training");
  // A forecast has to have a lead: without any it is none.
  return /: leads are 1 to \d+, not 0$/.test(text) ? t("foresight.why_all_silent") : text;
}

/** What is said of a forecast that is none of now: that it is old, all of its times have passed, or it has nothing to say. */
export function oldText(forecast: Forecast, now: number): string {
  const issued = age(Date.parse(forecast.issued_at), now);
  if (isSilent(forecast)) return t("foresight.silent", { age: issued });
  return t(upcoming(forecast, now).length === 0 ? "foresight.passed" : "foresight.old", { age: issued });
}

/** Why a series that the server foresees has no forecast of now. */
export function noneText(forecaster: Forecaster, now: number, deviceName: DeviceName): string {
  if (forecaster.why_not !== null) return whyNotText(forecaster.why_not, now, deviceName);
  return t(forecaster.trained === null ? "foresight.waits_training" : "foresight.waits_mark");
}

/** When a model was last solved again on newer values: the last night's is told as that. */
export function refitText(at: number, now: number): string {
  const isOfLastNight = beijingDay(at) === beijingDay(now) && beijingHour(at) < NIGHT_ENDS_H;
  return t(isOfLastNight ? "forecasts.refit_last_night" : "forecasts.refit", { time: moment(at, now) });
}

/** A remark of the forecast's maker. */
export function noteText(text: string, deviceName: DeviceName): string {
  const gone = /^without (.+), which says nothing now$/.exec(text);
  return gone ? t("foresight.without", { name: seriesName(gone[1] ?? "", deviceName) }) : text;
}

/** Who made a forecast. */
export const sourceName = (source: string) => (source === OWN ? t("foresight.own") : source);
