// Numbers, units, times and ages as people read them. All times are Beijing time.
import { type Lang, lang, t } from ".";

const ZONE = "Asia/Shanghai";
const DAY_MS = 86_400_000;
const DAY_S = 86_400;
const HOUR_S = 3_600;
const BEIJING_MS = 8 * 3_600_000;

const locale = (of: Lang) => (of === "zh" ? "zh-CN" : "en-GB");
const dateFormats = new Map<string, Intl.DateTimeFormat>();
const numberFormats = new Map<string, Intl.NumberFormat>();

function dateFormat(name: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = `${lang.value}/${name}`;
  let format = dateFormats.get(key);
  if (!format) {
    format = new Intl.DateTimeFormat(locale(lang.value), { timeZone: ZONE, hourCycle: "h23", ...options });
    dateFormats.set(key, format);
  }
  return format;
}

/** `14:05:09` */
export const clock = (ms: number) =>
  dateFormat("clock", { hour: "2-digit", minute: "2-digit", second: "2-digit" }).format(ms);
/** `14:05` */
export const minute = (ms: number) => dateFormat("minute", { hour: "2-digit", minute: "2-digit" }).format(ms);
/** `2026年11月23日 星期一` or `Monday, 23 November 2026` */
export const longDate = (ms: number) =>
  dateFormat("date", { year: "numeric", month: "long", day: "numeric", weekday: "long" }).format(ms);
/** `11/23 14:05:09`, only the clock when it is the same Beijing day as `now`. */
export function stamp(ms: number, now: number): string {
  if (beijingDay(ms) === beijingDay(now)) return clock(ms);
  return dateFormat("stamp", {
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
  }).format(ms);
}

/** `14:05`, and `11/23 14:05` when it is another Beijing day than that of `now`. */
export function moment(ms: number, now: number): string {
  if (beijingDay(ms) === beijingDay(now)) return minute(ms);
  return dateFormat("moment", {
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
  }).format(ms);
}

/** `2026/11/23 14:05:09`, for what is kept. */
export const dated = (ms: number) =>
  dateFormat("dated", {
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
  }).format(ms);

/** The Beijing calendar day as `2026-11-23`. */
export function beijingDay(ms: number): string {
  return new Date(ms + BEIJING_MS).toISOString().slice(0, 10);
}

/** The hour of the Beijing day, 0 to 23. */
export const beijingHour = (ms: number) => new Date(ms + BEIJING_MS).getUTCHours();

/** A number with a fixed count of decimals. */
export function decimal(value: number, decimals: number): string {
  const key = `${lang.value}/${decimals}`;
  let format = numberFormats.get(key);
  if (!format) {
    format = new Intl.NumberFormat(locale(lang.value), {
      minimumFractionDigits: decimals,
      maximumFractionDigits: decimals,
    });
    numberFormats.set(key, format);
  }
  return format.format(value);
}

/** A whole number with grouping. */
export const whole = (value: number) => decimal(value, 0);

/** Milliseconds of an RFC 3339 time; `NaN` for a text that is none. */
export const parseTime = (text: string) => Date.parse(text);

/** A span of time in its largest fitting unit. */
export function span(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return t("age.seconds", { n: seconds });
  if (seconds < 3600) return t("age.minutes", { n: Math.floor(seconds / 60) });
  if (ms < DAY_MS) return t("age.hours", { n: Math.floor(seconds / 3600) });
  return t("age.days", { n: Math.floor(ms / DAY_MS) });
}

/** A lead as it was chosen: `15 分钟`, `3 小时`, `1.5 小时`, `2 天`. */
export function leadText(seconds: number): string {
  if (seconds < HOUR_S || seconds % 60 !== 0) return t("age.minutes", { n: tidy(seconds / 60, 1) });
  if (seconds >= 2 * DAY_S && seconds % DAY_S === 0) return t("age.days", { n: seconds / DAY_S });
  return seconds % (HOUR_S / 2) === 0 || seconds >= 10 * HOUR_S
    ? t("age.hours", { n: tidy(seconds / HOUR_S, 1) })
    : t("age.minutes", { n: seconds / 60 });
}

/** A time that is to come, as one says it: minutes up to an hour and a half, then half hours, then half days. */
export function aheadText(ms: number): string {
  const minutes = Math.max(1, Math.round(ms / 60_000));
  if (minutes < 90 && minutes !== 60) return t("age.minutes", { n: minutes });
  const halves = (unit: number) => Math.round((ms / unit) * 2) / 2;
  if (ms < 2 * DAY_MS) return t("age.hours", { n: halves(HOUR_S * 1000) });
  return t("age.days", { n: halves(DAY_MS) });
}

/** A number without the zeros at its end. */
const tidy = (value: number, decimals: number) => Number(value.toFixed(decimals));

/** A probability: `64 %`, and never certain when it is not. */
export function percent(share: number): string {
  const text = whole(share * 100);
  if (share > 0 && share < 0.005) return "<1 %";
  if (share < 1 && share > 0.995) return ">99 %";
  return `${text} %`;
}

/** How long ago; a time ahead of `now` by a little counts as now. */
export function age(ms: number, now: number): string {
  const passed = now - ms;
  return passed < 2_000 ? t("age.now") : t("age.ago", { age: span(passed) });
}

const UNITS: Record<string, string> = {
  "ug/m3": "µg/m³",
  "mg/m3": "mg/m³",
  "m3/s": "m³/s",
  "m3/h": "m³/h",
  m3: "m³",
  Cel: "°C",
  deg: "°",
  "uS/cm": "µS/cm",
  "1/cm3": "/cm³",
  "W/m2": "W/m²",
};

/** A unit as printed. */
export const unitText = (unit: string) => UNITS[unit] ?? unit;
