// The tile layers of the map as the server describes them, and whose data they hold.
import { computed, signal } from "@preact/signals";
import { api } from "../api/client";
import type { TileInfo } from "../api/types";
import type { MessageKey } from "../i18n";

/** The layers that the map draws. */
export const TILE_LAYERS = [
  "divisions",
  "water",
  "roads",
  "fences",
  "places",
  "components",
  "hazards",
] as const;
export type TileLayer = (typeof TILE_LAYERS)[number];
export type TileInfos = Partial<Record<TileLayer, TileInfo>>;

/** What changes in the register gathers this long before the layers are asked about again. */
export const LEARN_EVERY_MS = 30_000;

export const layers = signal<TileInfos>({});
/** Sources of what the layers hold, each once. */
export const credits = computed(() => creditsOf(layers.value));

let learntAt = -Infinity;
let timer: ReturnType<typeof setTimeout> | undefined;

/** Asks about every layer. One that gives no answer stays what it was said to be before. */
export async function learnLayers(): Promise<TileInfos> {
  learntAt = performance.now();
  const infos: TileInfos = {};
  await Promise.all(
    TILE_LAYERS.map(async (layer) => {
      try {
        infos[layer] = await api.tileInfo(layer);
      } catch (error) {
        console.info(`tiles of ${layer}:`, error instanceof Error ? error.message : error);
      }
    }),
  );
  layers.value = { ...layers.peek(), ...infos };
  return layers.peek();
}

/** Asks again, now or when the last time is long enough ago: the register is another one. */
export function learnLayersSoon(): void {
  timer ??= setTimeout(
    () => {
      timer = undefined;
      void learnLayers();
    },
    Math.max(0, learntAt + LEARN_EVERY_MS - performance.now()),
  );
}

/** Nobody looks any more. */
export function stopLearning(): void {
  clearTimeout(timer);
  timer = undefined;
}

/** The sources that layers name, in the order of the layers, each once and as plain text. */
export function creditsOf(infos: TileInfos): string[] {
  const sources = TILE_LAYERS.flatMap((layer) => (infos[layer]?.attribution ?? "").split(" · "));
  return [...new Set(sources.map((source) => plain(source).trim()))].filter((source) => source !== "");
}

/** What a TileJSON has escaped for libraries that show it as HTML. */
const plain = (text: string) =>
  text.replaceAll("&quot;", '"').replaceAll("&gt;", ">").replaceAll("&lt;", "<").replaceAll("&amp;", "&");

/** Sources that ask for their licence beside their name, and those of the demo; others are shown as they are named. */
const WORDS: ReadonlyMap<string, MessageKey> = new Map([
  ["GeoNames", "credit.geonames"],
  ["© OpenStreetMap contributors", "credit.openstreetmap"],
  ["示意 generated, not official boundaries", "credit.demo_divisions"],
  ["示意 hand-drawn, not surveyed", "credit.demo_lines"],
]);

/** The dictionary's words for a source, if it has some. */
export const wordsOf = (source: string): MessageKey | undefined => WORDS.get(source);
