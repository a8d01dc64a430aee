// The map cell: the map itself, its controls, hover card, legend and sources.
import { effect, signal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Alert, Device } from "../api/types";
import { lang, langOf, named, nameOf, t } from "../i18n";
import { age } from "../i18n/format";
import type { Box, MapController } from "../map/controller";
import { baseMaps, chooseBase, chosenBase, failedBase, loadBaseMaps, shownBase } from "../state/base-map";
import {
  contact,
  devices,
  latest,
  movesVersion,
  onDeviceStates,
  onMoves,
  openAlerts,
  placeOf,
  registerVersion,
  serverNow,
  system,
} from "../state/city";
import { divisions } from "../state/divisions";
import { credits, learnLayersSoon, stopLearning, wordsOf } from "../state/layers";
import { inOrder, quantityName, valueWithUnit } from "../state/quantities";
import { seesAll } from "../state/self";
import { sessionNow } from "../state/session";
import { isOfDrill } from "../state/triage";
import {
  boxWanted,
  scale,
  selectDevice,
  selectedDevice,
  selectedDistrict,
  selectedKind,
  wall,
} from "../state/view";
import { Icon, SeverityMark, StateBadge, StateMark } from "./marks";

const LOST_PAINT_MS = 300;
/** Rings and names are drawn for the most urgent alarms only. */
const MAX_NAMED = 100;

type Hover = { device: string; x: number; y: number };
const hover = signal<Hover | null>(null);

/** CSS pixels of the map that an open drawer covers. */
function covered(cell: HTMLElement): number {
  const drawer = cell.querySelector(".drawer");
  return drawer ? drawer.getBoundingClientRect().width : 0;
}

/** The box around all placed devices, or the urban ones; null when there are none. */
function deviceBox(urban: boolean): Box | null {
  const box: Box = [Infinity, Infinity, -Infinity, -Infinity];
  for (const device of devices.values()) {
    const position = placeOf(device);
    if (!position || (urban && device.setting !== "urban")) continue;
    box[0] = Math.min(box[0], position.lon);
    box[1] = Math.min(box[1], position.lat);
    box[2] = Math.max(box[2], position.lon);
    box[3] = Math.max(box[3], position.lat);
  }
  return Number.isFinite(box[0]) ? box : null;
}

/** Shows all devices, or only those of the built-up city. */
function goHome(map: MapController, core = false, animate = true): void {
  const box = deviceBox(core);
  if (box) map.fit(box, 56 * scale.peek(), animate);
}

/** Joins the map to the state of the screen. Returns the end of it. */
function join(map: MapController, cell: HTMLElement): () => void {
  let placed = false;
  const ends = [
    effect(() => {
      void registerVersion.value;
      map.setDevices(devices.values());
      map.refreshFences();
      if (!placed && devices.size > 0) {
        placed = true;
        goHome(map, false, false);
      }
    }),
    effect(() => map.setGlobal({ lang: lang.value })),
    effect(() => map.setGlobal({ k: scale.value })),
    effect(() => map.setBase(shownBase.value)),
    effect(() => {
      // What was imported may be of another source.
      if (registerVersion.value > 0) learnLayersSoon();
    }),
    effect(() => {
      const lost = contact.value === "lost";
      if (contact.value === "live") map.retryTiles();
      // The banner is painted first: redrawing the map can take a slow machine a second.
      const later = setTimeout(() => map.setGlobal({ lost }), LOST_PAINT_MS);
      return () => clearTimeout(later);
    }),
    effect(() => map.setGlobal({ kind: selectedKind.value ?? "" })),
    effect(() => {
      const code = selectedDistrict.value;
      map.setGlobal({ district: code ?? "" });
      const bounds = code === null ? null : divisions.peek().get(code)?.bounds;
      if (bounds) map.fit(bounds, 40 * scale.peek());
    }),
    effect(() => {
      const names = [...divisions.value.values()];
      map.setDistrictNames(
        names.flatMap(({ code, name, name_en, label }) =>
          label ? [{ id: code, name, name_en, at: label }] : [],
        ),
      );
    }),
    effect(() => {
      void registerVersion.value;
      void movesVersion.value;
      const named = new Set<string>();
      const items = [];
      for (const alert of openAlerts.value) {
        if (items.length === MAX_NAMED) break;
        const device = devices.get(alert.series.device);
        if (!device || named.has(device.id)) continue;
        named.add(device.id);
        items.push({
          device,
          alert,
          label: callsForName(alert) ? labelOf(alert, device) : "",
          order: items.length,
        });
      }
      map.setAlarming(items);
    }),
    effect(() => {
      const box = boxWanted.value;
      if (box === null) return;
      boxWanted.value = null;
      map.fit(box, 96 * scale.peek());
    }),
    effect(() => {
      const id = selectedDevice.value;
      void registerVersion.value;
      map.select(id);
    }),
    effect(() => {
      const device = selectedDevice.value ? devices.get(selectedDevice.value) : undefined;
      const position = device ? placeOf(device) : null;
      // The drawer is laid out in the next frame; only then is its width known.
      if (position) requestAnimationFrame(() => map.flyTo([position.lon, position.lat], covered(cell)));
    }),
  ];
  onDeviceStates((changed) => {
    for (const id of changed) {
      const device = devices.get(id);
      if (device) map.setStatus(device);
    }
  });
  onMoves((moved) => {
    map.move([...moved].flatMap((id) => devices.get(id) ?? []));
  });
  return () => {
    onDeviceStates(null);
    onMoves(null);
    stopLearning();
    for (const end of ends) end();
  };
}

/** Names are for what is wrong or grave; a silent device keeps its ring and its question mark. */
const callsForName = (alert: Alert) =>
  alert.condition === "abnormal" || alert.severity === "critical" || alert.severity === "major";

/** The device's name, and that its alarm is of a drill. */
const labelOf = (alert: Alert, device: Device) =>
  isOfDrill(alert) ? `${nameOf(device)} · ${t("alarms.drill")}` : nameOf(device);

export function MapView() {
  const cell = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLDivElement>(null);
  const [map, setMap] = useState<MapController | null>(null);
  const [broken, setBroken] = useState(false);

  useEffect(() => {
    let end = () => {};
    let over = false;
    const container = canvas.current;
    const around = cell.current?.parentElement;
    if (!container || !around) return;
    void loadBaseMaps();
    import("../map/controller")
      .then(({ MapController }) =>
        MapController.start(container, t("map.title"), {
          pick: (id) => selectDevice(id),
          hover: (device, x, y) => {
            hover.value = device === null ? null : { device, x, y };
          },
          baseFailed: () => {
            failedBase.value = chosenBase.peek();
          },
        }),
      )
      .then(
        (started) => {
          if (over) return started.end();
          const leave = join(started, around);
          setMap(started);
          end = () => {
            leave();
            started.end();
          };
        },
        (error) => {
          console.error("the map did not start", error);
          setBroken(true);
        },
      );
    return () => {
      over = true;
      end();
    };
  }, []);

  const session = sessionNow();
  return (
    <div class="map" ref={cell}>
      <div class="map-canvas last-known" ref={canvas} data-testid="map" />
      {broken ? <p class="map-broken">{t("map.failed")}</p> : null}
      {wall ? null : <HoverCard />}
      {wall || !map ? null : (
        <div class="map-controls">
          <MapButton icon="plus" label={t("map.zoom_in")} onClick={() => map.zoomBy(1)} />
          <MapButton icon="minus" label={t("map.zoom_out")} onClick={() => map.zoomBy(-1)} />
          <MapButton
            icon="home"
            label={t(session && seesAll(session) ? "map.home" : "map.home_part")}
            onClick={() => {
              selectedDistrict.value = null;
              goHome(map);
            }}
          />
          <MapButton
            icon="core"
            label={t("map.core")}
            onClick={() => {
              selectedDistrict.value = null;
              goHome(map, true);
            }}
          />
          <BaseChooser />
        </div>
      )}
      <div class="map-foot">
        <BaseFailure />
        <Legend />
        <Sources />
      </div>
    </div>
  );
}

function MapButton(props: { icon: "plus" | "minus" | "home" | "core"; label: string; onClick: () => void }) {
  return (
    <button
      type="button"
      class="quiet icon-only"
      aria-label={props.label}
      title={props.label}
      onClick={props.onClick}
    >
      <Icon name={props.icon} />
    </button>
  );
}

/** Which base map lies under the own layers; there is no choice without one. */
function BaseChooser() {
  if (baseMaps.value.length === 0) return null;
  return (
    <select
      class="base-chooser"
      aria-label={t("map.base")}
      title={t("map.base")}
      data-testid="base-chooser"
      value={shownBase.value?.name ?? ""}
      onChange={(event) => chooseBase(event.currentTarget.value)}
    >
      <option value="">{t("map.base_own")}</option>
      {baseMaps.value.map((base) => (
        <option key={base.name} value={base.name}>
          {nameOf(base)}
        </option>
      ))}
    </select>
  );
}

/** A base map that fails is not a blank map in silence. */
function BaseFailure() {
  const failed = baseMaps.value.find(({ name }) => name === failedBase.value);
  if (!failed) return null;
  return (
    <p class="base-failed" role="status" data-testid="base-failed">
      {t("map.base_failed", { name: nameOf(failed) })}
    </p>
  );
}

/** Name, state and first values of the device under the pointer. */
function HoverCard() {
  const at = hover.value;
  const device = at ? devices.get(at.device) : undefined;
  if (!at || !device || device.id === selectedDevice.value) return null;
  const name = nameOf(device);
  const rows = inOrder(device.series)
    .slice(0, 3)
    .flatMap(({ id, quantity }) => {
      const item = latest.get(id);
      return item ? [{ id, quantity, item }] : [];
    });
  return (
    <div
      class={`hover-card${at.x > 520 ? " is-left" : ""}`}
      style={{ left: `${at.x}px`, top: `${at.y}px` }}
      aria-hidden="true"
    >
      <b lang={langOf(name)}>{name}</b>
      <div class="hover-row">
        <StateBadge state={contact.value === "lost" ? "unknown" : device.status} />
        {device.stale ? <StateBadge state="stale" /> : null}
        <small>{named("kind", device.kind)}</small>
      </div>
      {rows.map(({ id, quantity, item }) => (
        <div class="hover-row" key={id}>
          <span>{quantityName(quantity)}</span>
          <b>{valueWithUnit(quantity, item.value)}</b>
          <small>{age(Date.parse(item.measured_at), serverNow())}</small>
        </div>
      ))}
    </div>
  );
}

const STATES = ["normal", "abnormal", "unknown", "stale"] as const;

function Legend() {
  return (
    <section class="legend" aria-label={t("map.legend")} data-testid="legend">
      {STATES.map((state) => (
        <span key={state} class={`state-${state}`}>
          <StateMark state={state} />
          <span>{t(`state.${state}`)}</span>
        </span>
      ))}
      <span class="legend-alarm">
        <SeverityMark severity="critical" />
        <SeverityMark severity="major" />
        <SeverityMark severity="minor" />
        <SeverityMark severity="notice" />
        <span>{t("map.legend_alarm")}</span>
      </span>
    </section>
  );
}

/** Sources that are shown before somebody asks for all; a wall shows all. */
const N_SOURCES = 8;

/** Where the map's data come from and how far they can be trusted: required by their licences, always visible. */
function Sources() {
  const [isOpen, setOpen] = useState(wall);
  const demo = system.value?.demo ?? false;
  const shown = isOpen ? credits.value : credits.value.slice(0, N_SOURCES);
  const rest = credits.value.length - shown.length;
  return (
    <footer class="sources" data-testid="sources">
      {demo ? <span class="sources-note">{t("map.note")}</span> : null}
      {shown.length > 0 ? <Credits sources={shown} /> : null}
      {rest > 0 ? (
        <button type="button" class="sources-more" data-testid="sources-more" onClick={() => setOpen(true)}>
          {t("map.sources_more", { n: rest })}
        </button>
      ) : null}
      {shownBase.value ? (
        <span data-testid="base-attribution" lang={langOf(shownBase.value.attribution)}>
          {shownBase.value.attribution}
        </span>
      ) : null}
      {demo ? <span>{t("map.attribution_demo")}</span> : null}
    </footer>
  );
}

function Credits({ sources }: { sources: readonly string[] }) {
  return (
    <span data-testid="credits">
      {t("map.sources")}{" "}
      {sources.map((source, i) => {
        const known = wordsOf(source);
        const words = known ? t(known) : source;
        return (
          <span key={source} class="credit" lang={langOf(words)}>
            {words}
            {i + 1 < sources.length ? "\u00a0·\u00a0" : ""}
          </span>
        );
      })}
    </span>
  );
}
