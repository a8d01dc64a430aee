// The map's style: night palette, local vector tiles, one local font, states by feature-state.
//
// Shapes are layout and cannot follow feature-state, so each state has its own layer and feature-state
// turns its opacity. `global-state` carries what holds for the whole map: `k` (size of the screen
// against the design), `lang`, `lost` (no contact: everything is unknown), `kind`, `district`.

import fontUrl from "@fontsource/noto-sans-sc/files/noto-sans-sc-chinese-simplified-400-normal.woff2?url";
import type {
  ExpressionSpecification,
  LayerSpecification,
  SourceSpecification,
  StyleSpecification,
} from "maplibre-gl";
import type { TileInfo } from "../api/types";
import { TILE_LAYERS, type TileInfos, type TileLayer } from "../state/layers";
import { NIGHT, SEVERITY, STATE } from "./palette";

export const FONT = "Noto Sans SC";

/** The layer that takes clicks and hover: every device, whatever its state. */
export const HIT_LAYER = "device-hit";

type Expression = ExpressionSpecification;
const k = (size: number): Expression => ["*", size, ["global-state", "k"]];
const byZoom = (...stops: [zoom: number, size: number][]): Expression =>
  ["interpolate", ["linear"], ["zoom"], ...stops.flatMap(([zoom, size]) => [zoom, k(size)])] as Expression;

const NAME: Expression = [
  "case",
  ["all", ["==", ["global-state", "lang"], "en"], ["!=", ["coalesce", ["get", "name_en"], ""], ""]],
  ["get", "name_en"],
  ["coalesce", ["get", "name"], ""],
];

const LOST: Expression = ["global-state", "lost"];
const STATUS: Expression = ["coalesce", ["feature-state", "status"], "unknown"];
const shownWhen = (condition: Expression): Expression => ["case", condition, 1, 0];
const NORMAL = shownWhen(["all", ["!", LOST], ["==", STATUS, "normal"]]);
const ABNORMAL = shownWhen(["all", ["!", LOST], ["==", STATUS, "abnormal"]]);
const UNKNOWN = shownWhen(["any", LOST, ["==", STATUS, "unknown"]]);
/** An unknown device shows its question mark; the hatching is for values that are shown and old. */
const STALE = shownWhen([
  "all",
  ["!", LOST],
  ["!=", STATUS, "unknown"],
  ["to-boolean", ["feature-state", "stale"]],
]);
const SELECTED = shownWhen(["to-boolean", ["feature-state", "selected"]]);

const OF_KIND: Expression = [
  "any",
  ["==", ["global-state", "kind"], ""],
  ["==", ["get", "kind"], ["global-state", "kind"]],
];

const SEVERITY_COLOUR: Expression = [
  "match",
  ["get", "severity"],
  "critical",
  SEVERITY.critical,
  "major",
  SEVERITY.major,
  "minor",
  SEVERITY.minor,
  SEVERITY.notice,
];

const halo = { "text-halo-color": NIGHT.halo, "text-halo-width": 1.4 };

/** The base map, from the ground up. `sourceLayer` names the layer inside each tile. */
function baseLayers(sourceLayer: (layer: TileLayer) => string): LayerSpecification[] {
  const of = (layer: TileLayer) => ({ source: layer, "source-layer": sourceLayer(layer) });
  const level = (name: string): Expression => ["==", ["get", "level"], name];
  return [
    { id: "ground", type: "background", paint: { "background-color": NIGHT.outside } },
    {
      id: "district-fill",
      type: "fill",
      ...of("divisions"),
      filter: level("district"),
      paint: {
        "fill-color": [
          "match",
          ["%", ["to-number", ["slice", ["to-string", ["get", "code"]], 4, 6], 0], 3],
          0,
          NIGHT.districts[0] ?? NIGHT.ground,
          1,
          NIGHT.districts[1] ?? NIGHT.ground,
          NIGHT.districts[2] ?? NIGHT.ground,
        ],
        "fill-antialias": false,
      },
    },
    {
      id: "district-marked-fill",
      type: "fill",
      ...of("divisions"),
      filter: ["all", level("district"), ["==", ["get", "code"], ["global-state", "district"]]],
      paint: { "fill-color": NIGHT.marked, "fill-opacity": 0.08 },
    },
    {
      id: "water",
      type: "line",
      ...of("water"),
      layout: { "line-cap": "round", "line-join": "round" },
      paint: {
        "line-color": ["case", ["<=", ["coalesce", ["get", "rank"], 2], 2], NIGHT.water, NIGHT.waterMinor],
        "line-width": byZoom([8, 1.2], [11, 2.4], [15, 7]),
      },
    },
    {
      id: "road-minor",
      type: "line",
      ...of("roads"),
      minzoom: 10.5,
      filter: ["!", ["in", ["get", "class"], ["literal", ["motorway", "trunk", "primary"]]]],
      layout: { "line-cap": "round", "line-join": "round" },
      paint: { "line-color": NIGHT.minorRoad, "line-width": byZoom([10, 0.6], [13, 1.6], [16, 5]) },
    },
    {
      id: "road-major",
      type: "line",
      ...of("roads"),
      filter: ["in", ["get", "class"], ["literal", ["motorway", "trunk", "primary"]]],
      layout: { "line-cap": "round", "line-join": "round" },
      paint: {
        "line-color": [
          "match",
          ["get", "class"],
          "motorway",
          NIGHT.motorway,
          "trunk",
          NIGHT.trunk,
          NIGHT.primary,
        ],
        "line-width": byZoom([8, 0.8], [11, 1.8], [14, 4], [16, 7]),
      },
    },
    {
      id: "street-line",
      type: "line",
      ...of("divisions"),
      filter: level("street"),
      minzoom: 11,
      paint: { "line-color": NIGHT.streetLine, "line-width": k(0.8) },
    },
    {
      id: "district-line",
      type: "line",
      ...of("divisions"),
      filter: level("district"),
      paint: { "line-color": NIGHT.districtLine, "line-width": k(1), "line-dasharray": [4, 2.5] },
    },
    {
      id: "city-glow",
      type: "line",
      ...of("divisions"),
      filter: level("city"),
      paint: { "line-color": NIGHT.cityGlow, "line-width": k(9), "line-blur": k(9), "line-opacity": 0.55 },
    },
    {
      id: "city-line",
      type: "line",
      ...of("divisions"),
      filter: level("city"),
      paint: { "line-color": NIGHT.cityLine, "line-width": k(1.6) },
    },
    {
      id: "district-marked",
      type: "line",
      ...of("divisions"),
      filter: ["all", level("district"), ["==", ["get", "code"], ["global-state", "district"]]],
      paint: { "line-color": NIGHT.marked, "line-width": k(2.2) },
    },
    {
      id: "fence-fill",
      type: "fill",
      ...of("fences"),
      filter: ["==", ["geometry-type"], "Polygon"],
      paint: { "fill-color": NIGHT.fence, "fill-opacity": 0.06 },
    },
    {
      id: "fence-line",
      type: "line",
      ...of("fences"),
      layout: { "line-join": "round" },
      paint: {
        "line-color": NIGHT.fence,
        "line-width": byZoom([9, 1], [12, 1.6], [15, 2.4]),
        "line-dasharray": [2, 1.4],
        "line-opacity": 0.9,
      },
    },
    {
      id: "water-name",
      type: "symbol",
      ...of("water"),
      minzoom: 9,
      layout: {
        "symbol-placement": "line",
        "text-field": NAME,
        "text-font": [FONT],
        "text-size": k(13),
        "text-letter-spacing": 0.12,
        "symbol-spacing": 420,
      },
      paint: { "text-color": NIGHT.waterText, "text-halo-color": NIGHT.halo, "text-halo-width": 2.2 },
    },
    {
      id: "road-name",
      type: "symbol",
      ...of("roads"),
      minzoom: 12,
      layout: {
        "symbol-placement": "line",
        "text-field": NAME,
        "text-font": [FONT],
        "text-size": k(11),
        "symbol-spacing": 380,
      },
      paint: { "text-color": NIGHT.roadText, ...halo },
    },
    {
      id: "place-name",
      type: "symbol",
      ...of("places"),
      minzoom: 9.2,
      filter: [
        "all",
        ["!=", ["get", "class"], "city"],
        ["<=", ["coalesce", ["get", "rank"], 3], ["step", ["zoom"], 4, 11, 5, 12.5, 9]],
      ],
      layout: {
        "text-field": NAME,
        "text-font": [FONT],
        "text-size": ["interpolate", ["linear"], ["zoom"], 9, k(11), 14, k(13)],
        "symbol-sort-key": ["coalesce", ["get", "rank"], 9],
        "text-max-width": 8,
        "text-padding": 6,
        "text-anchor": "top",
        "text-offset": [0, 0.7],
      },
      paint: { "text-color": NIGHT.placeText, "text-opacity": 0.85, ...halo },
    },
    {
      id: "fence-name",
      type: "symbol",
      ...of("fences"),
      minzoom: 14.5,
      layout: {
        "text-field": NAME,
        "text-font": [FONT],
        "text-size": k(12),
        "symbol-placement": "line",
        "symbol-spacing": 420,
      },
      paint: { "text-color": NIGHT.fence, ...halo },
    },
    {
      id: "district-name",
      type: "symbol",
      source: "district-names",
      maxzoom: 12.5,
      layout: {
        "text-field": NAME,
        "text-font": [FONT],
        "text-size": ["interpolate", ["linear"], ["zoom"], 8, k(13), 11, k(17)],
        "text-letter-spacing": 0.2,
        "text-max-width": 7,
        "text-padding": 4,
      },
      paint: { "text-color": NIGHT.districtText, "text-halo-color": NIGHT.halo, "text-halo-width": 1.6 },
    },
  ];
}

/** What devices stand on, by the worst of their states; what none stands on is a plain dot, near by only. */
function standingLayers(sourceLayer: (layer: TileLayer) => string): LayerSpecification[] {
  const isPoint: Expression = ["==", ["geometry-type"], "Point"];
  const disc = byZoom([8, 3.2], [12, 4.5], [16, 7]);
  const own = ["components", "hazards"] as const;
  return own.flatMap((layer): LayerSpecification[] => {
    const of = { source: layer, "source-layer": sourceLayer(layer) };
    return [
      {
        id: `${layer}-plain`,
        type: "circle",
        ...of,
        minzoom: 14,
        filter: ["all", isPoint, ["!", ["has", "state"]]],
        paint: { "circle-radius": byZoom([14, 1.8], [17, 3.4]), "circle-color": NIGHT.stateless },
      },
      {
        id: `${layer}-normal`,
        type: "circle",
        ...of,
        filter: ["all", isPoint, ["==", ["get", "state"], "normal"]],
        paint: {
          "circle-radius": disc,
          "circle-color": STATE.normal,
          "circle-stroke-color": NIGHT.halo,
          "circle-stroke-width": k(1),
          "circle-opacity": ["case", LOST, 0, 1],
          "circle-stroke-opacity": ["case", LOST, 0, 1],
        },
      },
      {
        // Without contact nothing is known to be normal any more.
        id: `${layer}-marked`,
        type: "symbol",
        ...of,
        filter: [
          "all",
          isPoint,
          ["has", "state"],
          ["any", LOST, ["in", ["get", "state"], ["literal", ["abnormal", "unknown"]]]],
        ],
        layout: {
          "icon-image": ["case", LOST, "unknown", ["get", "state"]],
          "icon-size": byZoom([8, 0.4], [12, 0.6], [16, 0.9]),
          "icon-allow-overlap": true,
          "icon-ignore-placement": true,
          "symbol-sort-key": ["match", ["get", "state"], "abnormal", 1, 0],
        },
      },
    ];
  });
}

/** Devices by state, alarms with ring and name, the selected one. */
function deviceLayers(): LayerSpecification[] {
  const disc = byZoom([8, 4.5], [10, 6], [12, 9], [15, 12]);
  const icon24 = byZoom([8, 0.46], [10, 0.56], [12, 0.82], [15, 1.06]);
  const overlap = { "icon-allow-overlap": true, "icon-ignore-placement": true };
  return [
    {
      id: HIT_LAYER,
      type: "circle",
      source: "devices",
      filter: OF_KIND,
      paint: {
        "circle-radius": byZoom([8, 7], [12, 11], [15, 14]),
        "circle-opacity": 0.01,
        "circle-color": NIGHT.ground,
      },
    },
    {
      id: "device-normal",
      type: "circle",
      source: "devices",
      filter: OF_KIND,
      paint: {
        "circle-radius": disc,
        "circle-color": STATE.normal,
        "circle-stroke-color": NIGHT.halo,
        "circle-stroke-width": k(1.4),
        "circle-opacity": NORMAL,
        "circle-stroke-opacity": NORMAL,
      },
    },
    {
      id: "device-glyph",
      type: "symbol",
      source: "devices",
      filter: OF_KIND,
      minzoom: 10.8,
      layout: {
        "icon-image": ["get", "glyph"],
        "icon-size": byZoom([10, 0.36], [12, 0.5], [15, 0.68]),
        ...overlap,
      },
      paint: { "icon-opacity": NORMAL },
    },
    {
      id: "device-unknown",
      type: "symbol",
      source: "devices",
      filter: OF_KIND,
      layout: { "icon-image": "unknown", "icon-size": icon24, ...overlap },
      paint: { "icon-opacity": UNKNOWN },
    },
    {
      id: "device-stale",
      type: "symbol",
      source: "devices",
      filter: OF_KIND,
      layout: { "icon-image": "stale", "icon-size": icon24, ...overlap },
      paint: { "icon-opacity": STALE },
    },
    {
      id: "alarm-ring",
      type: "circle",
      source: "alarming",
      filter: OF_KIND,
      paint: {
        "circle-radius": byZoom([8, 10.5], [10, 13], [12, 17.5], [15, 22]),
        "circle-opacity": ["case", LOST, 0, 0.12],
        "circle-color": SEVERITY_COLOUR,
        "circle-stroke-color": SEVERITY_COLOUR,
        "circle-stroke-width": k(1.6),
        "circle-stroke-opacity": ["case", LOST, 0.25, ["case", ["get", "acknowledged"], 0.55, 1]],
      },
    },
    {
      id: "device-abnormal",
      type: "symbol",
      source: "devices",
      filter: OF_KIND,
      layout: {
        "icon-image": "abnormal",
        "icon-size": byZoom([8, 0.5], [10, 0.62], [12, 0.86], [15, 1.1]),
        ...overlap,
      },
      paint: { "icon-opacity": ABNORMAL },
    },
    {
      id: "device-selected",
      type: "circle",
      source: "devices",
      paint: {
        "circle-radius": byZoom([8, 14], [12, 21], [15, 26]),
        "circle-opacity": 0,
        "circle-stroke-color": "#ffffff",
        "circle-stroke-width": k(2),
        "circle-stroke-opacity": SELECTED,
      },
    },
    {
      id: "alarm-name",
      type: "symbol",
      source: "alarming",
      filter: OF_KIND,
      layout: {
        "text-field": ["get", "label"],
        "text-font": [FONT],
        "text-size": byZoom([8, 12], [12, 13], [15, 14]),
        "text-variable-anchor": ["left", "right", "top", "bottom"],
        "text-radial-offset": 1.5,
        "text-justify": "auto",
        "text-max-width": 14,
        "text-padding": 3,
        "symbol-sort-key": ["get", "order"],
      },
      paint: {
        "text-color": ["case", LOST, "#9fb0c3", NIGHT.text],
        "text-halo-color": NIGHT.halo,
        "text-halo-width": 2,
      },
    },
  ];
}

const emptyPoints = (): SourceSpecification => ({
  type: "geojson",
  data: { type: "FeatureCollection", features: [] },
  promoteId: "id",
});

function tiles(layer: TileLayer, info: TileInfo | undefined): SourceSpecification {
  return {
    type: "vector",
    tiles: [tileUrl(layer)],
    minzoom: info?.minzoom ?? 0,
    maxzoom: info?.maxzoom ?? 14,
  };
}

/** Tiles always come from the host of this page, whatever the layer's own description says. */
export const tileUrl = (layer: TileLayer) => `${location.origin}/tiles/${layer}/{z}/{x}/{y}.mvt`;

export function makeStyle(infos: TileInfos): StyleSpecification {
  const sourceLayer = (layer: TileLayer) => infos[layer]?.vector_layers?.[0]?.id ?? layer;
  return {
    version: 8,
    "font-faces": { [FONT]: new URL(fontUrl, location.href).href },
    state: {
      k: { default: 1 },
      lang: { default: "zh" },
      lost: { default: false },
      kind: { default: "" },
      district: { default: "" },
    },
    transition: { duration: 0, delay: 0 },
    sources: {
      ...Object.fromEntries(TILE_LAYERS.map((layer) => [layer, tiles(layer, infos[layer])])),
      "district-names": emptyPoints(),
      devices: emptyPoints(),
      alarming: emptyPoints(),
    },
    layers: [...baseLayers(sourceLayer), ...standingLayers(sourceLayer), ...deviceLayers()],
  };
}
