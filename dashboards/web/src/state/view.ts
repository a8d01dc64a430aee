// What the user looks at: selected device, open drawers, the ticking clock, the size of the screen.
import { signal } from "@preact/signals";
import type { Alert } from "../api/types";
import { serverNow } from "./city";
import type { Desk } from "./desk";
import type { Verb } from "./triage";

const search = new URLSearchParams(location.search);

/** Wall mode: no controls, everything read from far away. */
export const wall = search.get("wall") === "1";

function deviceFromAddress(): string | null {
  return new URLSearchParams(location.hash.slice(1)).get("device");
}

/** The device whose drawer is open; also in the address (`#device=…`), so that it can be linked. */
export const selectedDevice = signal<string | null>(deviceFromAddress());
/** The series whose chart is shown; null takes the device's first. */
export const selectedSeries = signal<number | null>(null);
/** The series whose chart is to be brought into sight in the drawer; null once it is there. */
export const courseWanted = signal<number | null>(null);
/** The district (six digits) that is marked on the map. */
export const selectedDistrict = signal<string | null>(null);
/** West, south, east and north of what the map is to show as a whole; null once it does. */
export const boxWanted = signal<[number, number, number, number] | null>(null);
export const quarantineOpen = signal(false);
/** The page beside the map that was chosen: over the map, or instead of one. */
export const desk = signal<Desk | null>(null);
/** Who is logged in is told, over everything. */
export const whoOpen = signal(false);
export type Act = { verb: Verb; alert: Alert };
export const act = signal<Act | null>(null);

/** The historical event for whose sake the device is open. */
export const selectedPast = signal<Alert | null>(null);

export function selectDevice(
  id: string | null,
  series: number | null = null,
  past: Alert | null = null,
): void {
  selectedPast.value = past;
  selectedDevice.value = id;
  selectedSeries.value = series;
  courseWanted.value = null;
  if (id) quarantineOpen.value = false;
  const hash = id ? `#device=${encodeURIComponent(id)}` : "";
  if (location.hash !== hash) history.replaceState(null, "", `${location.pathname}${location.search}${hash}`);
}

/** Opens a device for the sake of one series' chart. */
export function showCourse(device: string, series: number | null): void {
  selectDevice(device, series);
  courseWanted.value = series;
}

addEventListener("hashchange", () => {
  const id = deviceFromAddress();
  if (id !== selectedDevice.value) selectDevice(id);
});

export function openQuarantine(): void {
  selectDevice(null);
  quarantineOpen.value = true;
}

/** Nothing that one session opened is there for the next one. */
export function closeAll(): void {
  quarantineOpen.value = false;
  desk.value = null;
  whoOpen.value = false;
  act.value = null;
  selectedPast.value = null;
}

/** Server time, raised once a second. */
export const now = signal(serverNow());
setInterval(() => {
  now.value = serverNow();
}, 1_000);

/** How many CSS pixels make the design's one pixel (the design is 1920 x 1080). */
export const scale = signal(1);
function measure(): void {
  const root = Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
  scale.value = Number.isFinite(root) && root > 0 ? root / 16 : 1;
}
addEventListener("resize", measure);
/** Reads the scale from the style sheet; call once after it is in place. */
export const startScale = measure;
/** The only kind of device that the map shows; null shows all. */
export const selectedKind = signal<string | null>(null);
