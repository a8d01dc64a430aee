import { describe, expect, it } from "vitest";
import type { BaseMap } from "../api/types";
import { addBase, isBase, layersOf, removeBase } from "./base-map";

const raster: BaseMap = {
  name: "天地图",
  name_en: "Tianditu",
  type: "raster",
  tiles: ["/basemaps/x/{z}/{x}/{y}?layer=0", "/basemaps/x/{z}/{x}/{y}?layer=1"],
  vector_layers: [],
  min_zoom: 1,
  max_zoom: 18,
  attribution: "©",
};

/** As much of a map as a base map touches. */
function fakeMap() {
  const layers: { id: string }[] = [{ id: "ground" }, { id: "district-marked-fill" }, { id: "device-hit" }];
  const sources: Record<string, unknown> = { devices: {} };
  return {
    getStyle: () => ({ layers: [...layers], sources: { ...sources } }),
    addSource: (id: string, source: unknown) => {
      sources[id] = source;
    },
    removeSource: (id: string) => delete sources[id],
    addLayer: (layer: { id: string }, before: string) =>
      layers.splice(
        layers.findIndex(({ id }) => id === before),
        0,
        layer,
      ),
    removeLayer: (id: string) =>
      layers.splice(
        layers.findIndex((layer) => layer.id === id),
        1,
      ),
  };
}

describe("a base map", () => {
  it("lies under the own layers, one picture above the other, and goes without a trace", () => {
    Object.assign(globalThis, { location: { origin: "http://here" } });
    const map = fakeMap();
    const before = JSON.stringify(map.getStyle());
    addBase(map as never, raster);
    expect(map.getStyle().layers.map(({ id }) => id)).toEqual([
      "ground",
      "base-map-0",
      "base-map-1",
      "district-marked-fill",
      "device-hit",
    ]);
    expect(map.getStyle().sources["base-map-1"]).toMatchObject({
      tiles: ["http://here/basemaps/x/{z}/{x}/{y}?layer=1"],
      minzoom: 1,
      maxzoom: 18,
    });
    removeBase(map as never);
    expect(JSON.stringify(map.getStyle())).toBe(before);
  });

  it("of vector tiles is drawn layer by layer", () => {
    const vector: BaseMap = { ...raster, type: "vector", vector_layers: ["roads", "water"] };
    const layers = layersOf(vector, "base-map-0");
    expect(layers.map(({ type }) => type)).toEqual(["fill", "line", "fill", "line"]);
  });

  it("is known by its sources", () => {
    expect([isBase("base-map-0"), isBase("devices"), isBase(undefined)]).toEqual([true, false, false]);
  });
});
