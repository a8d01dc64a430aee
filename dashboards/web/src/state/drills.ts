// Drills (演练) as people plan them: their order, what a form lacks, what is sent. Pure but for the names.
import { signal } from "@preact/signals";
import { api } from "../api/client";
import type { Drill, DrillSpec, DrillState } from "../api/types";
import type { MessageKey } from "../i18n/zh";
import { minuteText } from "./duty";

/** As the server has them: characters of a name, devices or rules of one drill, the longest one. */
export const MOST_NAME = 64;
export const MOST_NAMED = 1_000;
export const MOST_MS = 3 * 86_400_000;
const FIRST_LENGTH_MS = 2 * 3_600_000;

const ORDER: readonly DrillState[] = ["on", "planned", "over"];

/** What is on before what is to come before what is over; within these what ends, begins or ended nearest to now. */
export function byTurn(a: Drill, b: Drill): number {
  const ms = (text: string) => Date.parse(text);
  const near = { on: ms(a.to) - ms(b.to), planned: ms(a.from) - ms(b.from), over: ms(b.to) - ms(a.to) };
  return ORDER.indexOf(a.state) - ORDER.indexOf(b.state) || near[a.state] || (a.id < b.id ? -1 : 1);
}

/** What stands in the form: times as `2026-11-28T14:00` of Beijing, no division is the whole city. */
export type Draft = {
  name: string;
  division: string;
  from: string;
  to: string;
  devices: readonly string[];
  rules: readonly string[];
};

/** `2026-11-28T14:00` of Beijing. */
export const fieldTime = (iso: string) => minuteText(iso).replace(" ", "T");

const ofField = (text: string) => `${text}:00+08:00`;

/** A drill as it is, or one that begins now and lasts two hours. */
export function draftOf(drill: DrillSpec | null, now: number, division: string | null): Draft {
  const iso = (ms: number) => new Date(ms).toISOString();
  return {
    name: drill?.name ?? "",
    division: (drill ? drill.division : division) ?? "",
    from: fieldTime(drill?.from ?? iso(now)),
    to: fieldTime(drill?.to ?? iso(now + FIRST_LENGTH_MS)),
    devices: drill?.devices ?? [],
    rules: drill?.rules ?? [],
  };
}

/** The drill that the form says. A time that was not changed stays what it was, with its seconds. */
export function specOf(draft: Draft, held: DrillSpec | null): DrillSpec {
  const time = (text: string, was: string | undefined) =>
    was !== undefined && fieldTime(was) === text ? was : ofField(text);
  return {
    name: draft.name.trim(),
    ...(draft.division ? { division: draft.division } : {}),
    devices: [...draft.devices],
    rules: [...draft.rules],
    from: time(draft.from, held?.from),
    to: time(draft.to, held?.to),
  };
}

/** What the form lacks, the first of it; null when it can be sent. */
export function lackOf(draft: Draft, held: DrillSpec | null, now: number): MessageKey | null {
  const { name, from, to } = specOf(draft, held);
  const [begins, ends] = [Date.parse(from), Date.parse(to)];
  if (!name) return "drills.lack_name";
  if (Number.isNaN(begins) || Number.isNaN(ends)) return "drills.lack_time";
  if (ends <= begins) return "drills.lack_order";
  if (ends - begins > MOST_MS) return "drills.lack_length";
  if (ends <= now) return "drills.lack_past";
  if (draft.devices.length + draft.rules.length === 0) return "drills.lack_what";
  if (Math.max(draft.devices.length, draft.rules.length) > MOST_NAMED) return "drills.lack_fewer";
  return null;
}

/** An id for a new drill by the day and minute that it begins, `drill-20261128-1400-3f9c`; `salt` tells two apart. */
export const newId = (from: string, salt: number) =>
  `drill-${from.slice(0, 16).replaceAll("-", "").replaceAll(":", "").replace("T", "-")}-${(salt & 0xffff).toString(16).padStart(4, "0")}`;

/** What can be chosen: its id, its name, and more words that it is found by. */
export type Choice = { id: string; name: string; more: string };

/** Those not chosen yet that have all words of `text`, in any of theirs; none while nothing is asked for. */
export function found(choices: readonly Choice[], chosen: readonly string[], text: string): Choice[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return [];
  const held = new Set(chosen);
  return choices.filter(({ id, name, more }) => {
    const said = `${id} ${name} ${more}`.toLowerCase();
    return !held.has(id) && words.every((word) => said.includes(word));
  });
}

/** Names of drills by their ids, as far as they were asked for. */
export const drillNames = signal<ReadonlyMap<string, string>>(new Map());

/** What an answer did not hold, or had no answer, is asked for again after this long. */
export const AGAIN_MS = 60_000;
let askNext = -Infinity;

/** Keeps the names of drills that were told. */
export function noteDrills(drills: readonly Drill[]): void {
  const names = new Map(drills.map(({ id, name }) => [id, name]));
  if (JSON.stringify([...names]) !== JSON.stringify([...drillNames.peek()])) drillNames.value = names;
}

/** A drill's name, or its id until the name is known; `now` in milliseconds that never run backwards. */
export function drillName(id: string, now = performance.now()): string {
  const name = drillNames.value.get(id);
  if (name !== undefined) return name;
  if (now >= askNext) {
    askNext = now + AGAIN_MS;
    // Without an answer the id stands for it.
    void api.drills().then(noteDrills, () => undefined);
  }
  return id;
}
