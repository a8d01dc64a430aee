// A base map of the configuration under the screen's own layers. Its tiles come from this page's host: the server
// fetches them or reads them from a file.
import type { LayerSpecification, Map as MapLibre } from "maplibre-gl";
import type { BaseMap } from "../api/types";

const PREFIX = "base-map";
/** What stays above it: own lines and names, devices, alarms. */
const BELOW = "district-marked-fill";
const VECTOR = { area: "#16263b", line: "#35506e" };

/** Whether a source, as an error of the map names it, is the base map's. */
export const isBase = (source: unknown): boolean => typeof source === "string" && source.startsWith(PREFIX);

/** The layers that draw one source: pictures as they are, vector tiles in the colours of the night. */
export function layersOf(base: BaseMap, source: string): LayerSpecification[] {
  if (base.type === "raster")
    return [{ id: source, type: "raster", source, paint: { "raster-fade-duration": 0 } }];
  return base.vector_layers.flatMap((name, i): LayerSpecification[] => [
    {
      id: `${source}-${i}-area`,
      type: "fill",
      source,
      "source-layer": name,
      filter: ["==", ["geometry-type"], "Polygon"],
      paint: { "fill-color": VECTOR.area, "fill-opacity": 0.6, "fill-antialias": false },
    },
    {
      id: `${source}-${i}-line`,
      type: "line",
      source,
      "source-layer": name,
      filter: ["==", ["geometry-type"], "LineString"],
      paint: { "line-color": VECTOR.line, "line-width": 1 },
    },
  ]);
}

/** Takes the base map away. */
export function removeBase(map: MapLibre): void {
  for (const { id } of map.getStyle().layers) if (id.startsWith(PREFIX)) map.removeLayer(id);
  for (const id of Object.keys(map.getStyle().sources)) if (isBase(id)) map.removeSource(id);
}

/** Puts a base map under the own layers. */
export function addBase(map: MapLibre, base: BaseMap): void {
  base.tiles.forEach((path, i) => {
    const source = `${PREFIX}-${i}`;
    const tiles = [`${location.origin}${path}`];
    const zooms = { minzoom: base.min_zoom, maxzoom: base.max_zoom };
    if (base.type === "raster") map.addSource(source, { type: "raster", tiles, tileSize: 256, ...zooms });
    else map.addSource(source, { type: "vector", tiles, ...zooms });
    for (const layer of layersOf(base, source)) map.addLayer(layer, BELOW);
  });
}
