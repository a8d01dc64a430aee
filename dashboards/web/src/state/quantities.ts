// The dictionary of quantities, fetched once per snapshot, and how a value is written.
import { signal } from "@preact/signals";
import type { QuantityEntry } from "../api/types";
import { lang, pick, t } from "../i18n";
import { decimal, unitText } from "../i18n/format";

export const quantities = signal<ReadonlyMap<string, QuantityEntry>>(new Map());

/** The name of a quantity in the present language; its stable name when the dictionary lacks it. */
export function quantityName(name: string): string {
  const entry = quantities.value.get(name);
  return entry ? pick(entry) : name;
}

/** Series in the order of the dictionary, then by channel: the same order for every device. */
export function inOrder<T extends { quantity: string; ch: number }>(series: readonly T[]): T[] {
  const rank = new Map([...quantities.value.keys()].map((name, i) => [name, i]));
  const at = (name: string) => rank.get(name) ?? rank.size;
  return [...series].sort((a, b) => at(a.quantity) - at(b.quantity) || a.ch - b.ch);
}

export const isState = (name: string) => (quantities.value.get(name)?.states?.length ?? 0) > 0;
export const unitOf = (name: string) => unitText(quantities.value.get(name)?.unit ?? "");

/** A value without its unit: a state by its name, a number with the quantity's decimals. */
export function valueText(quantity: string, value: number | string | null): string {
  if (value === null) return t("device.no_value");
  if (value === "void" && quantity.startsWith("aqi")) return t("device.void");
  if (typeof value === "string") return quantity === "aqi_primary" ? pollutantNames(value) : value;
  const entry = quantities.value.get(quantity);
  const state = entry?.states?.find((s) => s.code === value);
  if (state) return lang.value === "zh" ? state.zh : state.en;
  return decimal(value, entry?.decimals ?? 2);
}

/** Primary pollutants as the index names them (`pm2_5,o3`, or `none`) by what the city calls them. */
function pollutantNames(value: string): string {
  if (value === "none") return t("device.no_primary");
  return value
    .split(",")
    .map(quantityName)
    .join(lang.value === "zh" ? "、" : ", ");
}

/** Which of several series of one quantity: what is worked out by hour or day says so, others have a number. */
export function channelText(quantity: string, ch: number): string {
  if (quantity.startsWith("aqi") && ch === 20) return t("device.of_hour");
  if (quantity.startsWith("aqi") && ch === 30) return t("device.of_day");
  return ch > 0 ? t("device.channel", { n: ch }) : "";
}

/** A value with its unit. */
export function valueWithUnit(quantity: string, value: number | string | null): string {
  const unit = unitOf(quantity);
  const text = valueText(quantity, value);
  return unit && typeof value === "number" ? `${text} ${unit}` : text;
}
