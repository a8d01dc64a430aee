// Language: which one is on, and the words for a key.
import { signal } from "@preact/signals";
import { en } from "./en";
import { type MessageKey, zh } from "./zh";

export type { MessageKey } from "./zh";
export type Lang = "zh" | "en";

const dictionaries = { zh, en };
const STORED_AS = "onemap.lang";

function stored(): Lang {
  try {
    return localStorage.getItem(STORED_AS) === "en" ? "en" : "zh";
  } catch {
    return "zh";
  }
}

/** The language of the screen; Chinese unless the user chose otherwise. */
export const lang = signal<Lang>(typeof localStorage === "undefined" ? "zh" : stored());

export function setLang(next: Lang): void {
  lang.value = next;
  try {
    localStorage.setItem(STORED_AS, next);
  } catch {
    // Storage is switched off: the choice holds until the page is closed.
  }
}

/** Puts values into `{name}` places. */
export function fill(text: string, values: Record<string, string | number>): string {
  return text.replace(/\{(\w+)\}/g, (place, name: string) => String(values[name] ?? place));
}

/** The words for a key in the present language. */
export function t(key: MessageKey, values?: Record<string, string | number>): string {
  const text = dictionaries[lang.value][key];
  return values ? fill(text, values) : text;
}

/** The words for a key made at run time (kinds, refusals); `fallback` when the dictionary has none. */
export function named(
  prefix: "kind" | "refusal" | "quality" | "role" | "event" | "edge",
  name: string,
  fallback?: string,
): string {
  const dictionary: Partial<Record<string, string>> = dictionaries[lang.value];
  return dictionary[`${prefix}.${name}`] ?? fallback ?? name.replaceAll("_", " ");
}

/** The side of a text in both languages; the other one when the wanted one is empty. */
export function pick(text: { zh: string; en: string }): string {
  return lang.value === "zh" ? text.zh || text.en : text.en || text.zh;
}

/** A name in the present language; Chinese when it has no English one. */
export function nameOf(thing: { name: string; name_en?: string | null }): string {
  return lang.value === "en" && thing.name_en ? thing.name_en : thing.name;
}

/** The name of the device an alarm is about; its id when the register no longer holds it. */
export function alertDevice(alert: {
  device_name: string | null;
  device_name_en?: string | null;
  series: { device: string };
}): string {
  return nameOf({ name: alert.device_name || alert.series.device, name_en: alert.device_name_en });
}

/** The `lang` attribute for a text that may be Chinese on an English screen. */
export function langOf(text: string): string | undefined {
  return lang.value === "en" && /\p{Script=Han}/u.test(text) ? "zh-CN" : undefined;
}
