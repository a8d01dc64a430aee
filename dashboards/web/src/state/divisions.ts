// Names and extents of the districts that devices lie in, asked once per code from the register.
import { signal } from "@preact/signals";
import { ApiError, api } from "../api/client";
import type { Entity } from "../api/types";

export type Division = {
  code: string;
  name: string;
  name_en: string;
  bounds: [number, number, number, number] | null;
  /** Where its name stands on the map. */
  label: [number, number] | null;
};

export const divisions = signal<ReadonlyMap<string, Division>>(new Map());

/** What could not be answered is asked again after this long. */
export const AGAIN_AFTER_FAILURE_MS = 5_000;
/** What the server refused (no such district, not for this session) may be imported or allowed later. */
export const AGAIN_AFTER_REFUSAL_MS = 600_000;
/** When each district may be asked for next, on the page's own clock. */
const askNext = new Map<string, number>();

/** The district (county level, six digits) of a division code. */
export const districtOf = (code: string) => code.slice(0, 6);

/** Smallest and largest longitude and latitude in a GeoJSON geometry; null when it holds none. */
export function boundsOf(geometry: unknown): [number, number, number, number] | null {
  const box: [number, number, number, number] = [Infinity, Infinity, -Infinity, -Infinity];
  const walk = (part: unknown): void => {
    if (!Array.isArray(part)) return;
    const [lon, lat] = part as unknown[];
    if (typeof lon === "number" && typeof lat === "number") {
      box[0] = Math.min(box[0], lon);
      box[1] = Math.min(box[1], lat);
      box[2] = Math.max(box[2], lon);
      box[3] = Math.max(box[3], lat);
    } else for (const inner of part) walk(inner);
  };
  walk((geometry as { coordinates?: unknown } | null)?.coordinates);
  return Number.isFinite(box[0]) ? box : null;
}

type Ring = [number, number][];

/** The centre of gravity of a polygon's largest ring; null for anything that is not a polygon. */
export function centroidOf(geometry: unknown): [number, number] | null {
  const { type, coordinates } = (geometry ?? {}) as { type?: string; coordinates?: unknown };
  const polygons = (
    type === "Polygon" ? [coordinates] : type === "MultiPolygon" ? coordinates : []
  ) as Ring[][];
  let best: { area: number; at: [number, number] } | null = null;
  for (const [ring] of polygons) {
    if (!ring) continue;
    let area = 0;
    let x = 0;
    let y = 0;
    for (let i = 0; i + 1 < ring.length; i += 1) {
      const [ax, ay] = ring[i] ?? [0, 0];
      const [bx, by] = ring[i + 1] ?? [0, 0];
      const cross = ax * by - bx * ay;
      area += cross;
      x += (ax + bx) * cross;
      y += (ay + by) * cross;
    }
    if (area !== 0 && (!best || Math.abs(area) > best.area))
      best = { area: Math.abs(area), at: [x / (3 * area), y / (3 * area)] };
  }
  return best?.at ?? null;
}

/** Whether the same question would be answered alike: not when nobody is logged in, or the server is busy or away. */
const isRefusal = (error: unknown) =>
  error instanceof ApiError &&
  error.status >= 400 &&
  error.status < 500 &&
  ![401, 408, 429].includes(error.status);

/**
 * Asks for what is not known yet; `now` in milliseconds that never run backwards. Settles when the server has answered.
 * Other things of the register may have the same code.
 */
export async function learnDivisions(codes: Iterable<string>, now = performance.now()): Promise<void> {
  const due = [...codes].filter((code) => now >= (askNext.get(code) ?? -Infinity));
  for (const code of due) askNext.set(code, Infinity);
  await Promise.all(due.map((code) => learn(code, now)));
}

/** A division by its code, else by one that it had before. Null where the register has no divisions at all. */
async function division(code: string): Promise<Omit<Entity, "code"> | null> {
  const { found } = await api.divisionsOf(code);
  if (found) return { ...found.properties, geometry: found.geometry };
  const { n } = await api.divisionsOf();
  return n > 0 ? api.division(code) : null;
}

async function learn(code: string, now: number): Promise<void> {
  try {
    const entity = await division(code);
    if (entity === null) {
      askNext.set(code, now + AGAIN_AFTER_REFUSAL_MS);
      return;
    }
    const known = {
      code,
      name: entity.name,
      name_en: entity.name_en ?? "",
      bounds: boundsOf(entity.geometry),
      label: centroidOf(entity.geometry),
    };
    divisions.value = new Map([...divisions.value, [code, known]]);
  } catch (error) {
    askNext.set(code, now + (isRefusal(error) ? AGAIN_AFTER_REFUSAL_MS : AGAIN_AFTER_FAILURE_MS));
  }
}
