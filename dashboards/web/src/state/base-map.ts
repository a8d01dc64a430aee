// Which base map is shown: one of the configuration or the own layers, and whether it failed.
import { computed, signal } from "@preact/signals";
import { api } from "../api/client";
import type { BaseMap } from "../api/types";

const KEY = "onemap.base-map";

/** The choice of before; a browser may refuse to remember. */
function remembered(): string {
  try {
    return localStorage.getItem(KEY) ?? "";
  } catch {
    return "";
  }
}

/** What there is to choose from besides the own layers. */
export const baseMaps = signal<readonly BaseMap[]>([]);
/** Name of the chosen one; empty of the own layers. */
export const chosenBase = signal(remembered());
/** Name of the one that failed and was taken away. */
export const failedBase = signal<string | null>(null);

/** The base map that is to be drawn. */
export const shownBase = computed<BaseMap | null>(() => {
  if (failedBase.value === chosenBase.value) return null;
  return baseMaps.value.find(({ name }) => name === chosenBase.value) ?? null;
});

/** Chooses one; the same again after it failed tries it again. */
export function chooseBase(name: string): void {
  failedBase.value = null;
  chosenBase.value = name;
  try {
    localStorage.setItem(KEY, name);
  } catch {
    // Then it is asked again the next time.
  }
}

export async function loadBaseMaps(): Promise<void> {
  try {
    baseMaps.value = (await api.baseMaps()).items;
  } catch (error) {
    // The own layers are there without them.
    console.info("base maps:", error);
  }
}
