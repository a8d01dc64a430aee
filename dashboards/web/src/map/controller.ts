// The map as an object: what the screen tells it, what it tells the screen. The only module that runs MapLibre.
import "maplibre-gl/dist/maplibre-gl.css";
import {
  type GeoJSONSource,
  Map as MapLibre,
  type MapMouseEvent,
  setWorkerUrl,
  type VectorTileSource,
} from "maplibre-gl";
import workerUrl from "maplibre-gl/dist/maplibre-gl-worker.mjs?worker&url";
import type { Alert, BaseMap, Device } from "../api/types";
import { placeOf } from "../state/city";
import { learnLayers, TILE_LAYERS, type TileInfos } from "../state/layers";
import { addBase, isBase, removeBase } from "./base-map";
import { imageOf } from "./glyphs";
import { addImages } from "./images";
import { HIT_LAYER, makeStyle, tileUrl } from "./style";

setWorkerUrl(workerUrl);

/** Where the map stands until devices are known: the middle of the city. */
const START = { center: [101.75, 36.64] as [number, number], zoom: 9.6 };
const CLOSE_UP_ZOOM = 13.2;
/** Changes of states gather this long before the tiles that show them are asked for. */
const STANDING_MS = 500;

export type Box = [west: number, south: number, east: number, north: number];
export type MapEvents = {
  pick(device: string): void;
  hover(device: string | null, x: number, y: number): void;
  /** The base map's tiles do not come. */
  baseFailed(): void;
};
export type GlobalState = { k: number; lang: string; lost: boolean; kind: string; district: string };

/** What the map draws for one alarming device. */
export type Alarming = { device: Device; alert: Alert; label: string; order: number };
export type NamedPoint = { id: string; name: string; name_en: string; at: [number, number] };

export class MapController {
  private readonly map: MapLibre;
  private readonly ready: Promise<void>;
  private selected: string | null = null;
  /** Devices that the map has. */
  private readonly placed = new Set<string>();
  private tileErrors = false;
  private gone = false;
  private standingTimer: ReturnType<typeof setTimeout> | undefined;

  private constructor(container: HTMLElement, infos: TileInfos, title: string, on: MapEvents) {
    this.map = new MapLibre({
      container,
      style: makeStyle(infos),
      ...START,
      minZoom: 7,
      maxZoom: 17,
      attributionControl: false,
      dragRotate: false,
      pitchWithRotate: false,
      touchPitch: false,
      fadeDuration: 0,
      locale: { "Map.Title": title },
    });
    this.map.touchZoomRotate.disableRotation();
    this.map.keyboard.disableRotation();
    this.ready = new Promise((resolve) => {
      this.map.once("style.load", () => {
        addImages(this.map);
        resolve();
      });
    });
    // For tests: whether everything asked for is drawn.
    this.map.on("movestart", () => {
      container.dataset.idle = "false";
    });
    this.map.on("idle", () => {
      container.dataset.idle = "true";
    });
    this.map.on("error", (event) => {
      const { error } = event;
      if ("sourceId" in event && isBase(event.sourceId)) {
        console.info("base map:", error.message);
        on.baseFailed();
        return;
      }
      // Tiles that failed are asked for again when contact is back.
      this.tileErrors = true;
      console.info("map:", error.message);
    });
    this.map.on("click", (event) => {
      const id = this.at(event);
      if (id) on.pick(id);
    });
    this.map.on("mousemove", (event) => {
      const id = this.at(event);
      this.map.getCanvas().classList.toggle("is-over-device", id !== null);
      on.hover(id, event.point.x, event.point.y);
    });
    this.map.on("mouseout", () => on.hover(null, 0, 0));
    this.map.on("movestart", () => on.hover(null, 0, 0));
  }

  /** Asks the server about its tile layers and starts the map. Throws when the browser has no WebGL 2. */
  static async start(container: HTMLElement, title: string, on: MapEvents): Promise<MapController> {
    // Without a layer's description the usual zoom range is assumed.
    const infos = await learnLayers();
    const controller = new MapController(container, infos, title, on);
    await controller.ready;
    return controller;
  }

  private source(name: string): GeoJSONSource | undefined {
    return this.map.getSource<GeoJSONSource>(name);
  }

  /** The device under the pointer that is nearest to it. */
  private at(event: MapMouseEvent): string | null {
    const { x, y } = event.point;
    const reach = 4;
    const found = this.map.queryRenderedFeatures(
      [
        [x - reach, y - reach],
        [x + reach, y + reach],
      ],
      { layers: [HIT_LAYER] },
    );
    let nearest: { id: string; distance: number } | null = null;
    for (const feature of found) {
      if (feature.geometry.type !== "Point") continue;
      const [lon = 0, lat = 0] = feature.geometry.coordinates;
      const point = this.map.project([lon, lat]);
      const distance = Math.hypot(point.x - x, point.y - y);
      if (!nearest || distance < nearest.distance)
        nearest = { id: String(feature.properties.id ?? ""), distance };
    }
    return nearest?.id || null;
  }

  /** Places every device and its state anew. */
  setDevices(devices: Iterable<Device>): void {
    if (this.gone) return;
    const all = [...devices];
    this.placed.clear();
    this.source("devices")?.setData({
      type: "FeatureCollection",
      features: all.flatMap((device) => {
        const at = placeOf(device);
        if (!at) return [];
        this.placed.add(device.id);
        return [
          {
            type: "Feature" as const,
            geometry: { type: "Point" as const, coordinates: [at.lon, at.lat] },
            properties: { id: device.id, kind: device.kind, glyph: imageOf(device.kind) },
          },
        ];
      }),
    });
    this.map.removeFeatureState({ source: "devices" });
    for (const device of all) this.setStatus(device);
    if (this.selected) this.map.setFeatureState({ source: "devices", id: this.selected }, { selected: true });
  }

  /** Puts devices where they are now; one that was nowhere comes onto the map. */
  move(devices: readonly Device[]): void {
    if (this.gone) return;
    const moved = devices.flatMap((device) => {
      const at = placeOf(device);
      return at ? [{ device, coordinates: [at.lon, at.lat] }] : [];
    });
    const isNew = ({ device }: { device: Device }) => !this.placed.has(device.id);
    const geometry = (coordinates: number[]) => ({ type: "Point" as const, coordinates });
    this.source("devices")?.updateData({
      update: moved
        .filter((one) => !isNew(one))
        .map(({ device, coordinates }) => ({ id: device.id, newGeometry: geometry(coordinates) })),
      add: moved.filter(isNew).map(({ device, coordinates }) => ({
        type: "Feature" as const,
        geometry: geometry(coordinates),
        properties: { id: device.id, kind: device.kind, glyph: imageOf(device.kind) },
      })),
    });
    for (const one of moved.filter(isNew)) {
      this.placed.add(one.device.id);
      this.setStatus(one.device);
    }
  }

  /** Asks for the fences again: some may be other ones. */
  refreshFences(): void {
    if (!this.gone) this.map.getSource<VectorTileSource>("fences")?.setTiles([tileUrl("fences")]);
  }

  /** Shows a device's present state. */
  setStatus(device: Device): void {
    if (this.gone) return;
    this.map.setFeatureState(
      { source: "devices", id: device.id },
      { status: device.status, stale: device.stale },
    );
    if (device.entity) this.refreshStanding();
  }

  /** Asks soon for the tiles of what devices stand on: a state may be another one. Many changes ask once. */
  private refreshStanding(): void {
    this.standingTimer ??= setTimeout(() => {
      this.standingTimer = undefined;
      if (this.gone) return;
      for (const layer of ["components", "hazards"] as const)
        this.map.getSource<VectorTileSource>(layer)?.setTiles([tileUrl(layer)]);
    }, STANDING_MS);
  }

  /** Rings and names for devices with open alarms, most urgent first; the caller says of how many at most. */
  setAlarming(items: readonly Alarming[]): void {
    if (this.gone) return;
    this.source("alarming")?.setData({
      type: "FeatureCollection",
      features: items.flatMap(({ device, alert, label, order }) => {
        const at = placeOf(device);
        if (!at) return [];
        return [
          {
            type: "Feature" as const,
            geometry: { type: "Point" as const, coordinates: [at.lon, at.lat] },
            properties: {
              id: device.id,
              kind: device.kind,
              severity: alert.severity,
              acknowledged: alert.acknowledged !== null,
              label,
              order,
            },
          },
        ];
      }),
    });
  }

  setDistrictNames(points: readonly NamedPoint[]): void {
    if (this.gone) return;
    this.source("district-names")?.setData({
      type: "FeatureCollection",
      features: points.map(({ id, name, name_en, at }) => ({
        type: "Feature",
        geometry: { type: "Point", coordinates: at },
        properties: { id, name, name_en },
      })),
    });
  }

  setGlobal(state: Partial<GlobalState>): void {
    if (this.gone) return;
    for (const [name, value] of Object.entries(state)) this.map.setGlobalStateProperty(name, value);
  }

  /** Draws a base map under everything, or none. */
  setBase(base: BaseMap | null): void {
    if (this.gone) return;
    removeBase(this.map);
    if (base) addBase(this.map, base);
  }

  select(id: string | null): void {
    if (this.gone || id === this.selected) return;
    if (this.selected)
      this.map.setFeatureState({ source: "devices", id: this.selected }, { selected: false });
    this.selected = id;
    if (id) this.map.setFeatureState({ source: "devices", id }, { selected: true });
  }

  /** Brings a point into the free part of the map; `covered` CSS pixels at its right are under a drawer. */
  flyTo(at: [number, number], covered: number): void {
    if (this.gone) return;
    this.map.flyTo({
      center: at,
      zoom: Math.max(this.map.getZoom(), CLOSE_UP_ZOOM),
      offset: [-covered / 2, 0],
      duration: 900,
    });
  }

  /** Shows a box whole, leaving `margin` CSS pixels around it. */
  fit(box: Box, margin: number, animate = true): void {
    if (this.gone) return;
    this.map.fitBounds(box, { padding: margin, duration: animate ? 700 : 0, maxZoom: 14 });
  }

  zoomBy(step: number): void {
    if (!this.gone) this.map.zoomTo(this.map.getZoom() + step, { duration: 200 });
  }

  /** Asks again for tiles that failed while the server was away. */
  retryTiles(): void {
    if (this.gone || !this.tileErrors) return;
    this.tileErrors = false;
    for (const layer of TILE_LAYERS) this.map.getSource<VectorTileSource>(layer)?.setTiles([tileUrl(layer)]);
  }

  end(): void {
    this.gone = true;
    clearTimeout(this.standingTimer);
    this.map.remove();
  }
}
