// When a historical event was, in words.
import type { Past } from "../api/types";
import { t } from "../i18n";
import { beijingDay, minute, moment, span } from "../i18n/format";

/** `11/26 03:10 – 04:25（1 小时）`; the second day only where it is another one. */
export function pastSpan({ from, until }: Pick<Past, "from" | "until">, now: number): string {
  const [begun, ended] = [Date.parse(from), Date.parse(until)];
  const end = beijingDay(begun) === beijingDay(ended) ? minute(ended) : moment(ended, now);
  return t("past.span", { from: moment(begun, now), to: end, span: span(ended - begun) });
}
