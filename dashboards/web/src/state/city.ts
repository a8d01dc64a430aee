// The city as the server last told it: devices, latest values, alarms, counts, contact.
//
// One snapshot by plain requests, then the live stream on top. Events that arrive while a snapshot is
// being fetched wait and are applied after it. Changes are gathered and shown at most five times a
// second. Every list is bounded: a wall runs for months.
import { computed, signal } from "@preact/signals";
import { ApiError, api } from "../api/client";
import { type LiveHandlers, openLive } from "../api/live";
import type {
  Alert,
  Condition,
  Counts,
  Device,
  LatestItem,
  LiveDevices,
  LiveMoves,
  LiveValues,
  SystemState,
} from "../api/types";
import { followCards, wishCards } from "./cards";
import { noteAlert, seedTicker, showNoted } from "./events";
import { type Failure, failureOf } from "./failure";
import { quantities } from "./quantities";
import { realOf } from "./tally";
import { byNeed, byReturn, isOfDrill, SEVERITIES } from "./triage";

/** Changes reach the screen at most this often. */
const FLUSH_MS = 200;
/** All alarms are put in order at each change: the more there are, the less often, up to once a second. */
const alertsRest = () => Math.min(1_000, alerts.peek().size / 10);
/** Open alarms kept in memory (about 30 MB), so that no grave one hides behind many newer ones. */
const MAX_OPEN_ALERTS = 20_000;
/** Shelved alarms kept, which are those that somebody put aside by hand. */
const MAX_SHELVED_ALERTS = 1_000;
/** Ended alarms kept for the charts' marks. */
const MAX_ENDED_ALERTS = 200;
/** Live events kept while a snapshot is fetched; when more come, another snapshot follows. */
const MAX_WAITING = 20_000;
const SYSTEM_EVERY_MS = 15_000;
const RETRY_SNAPSHOT_MS = 2_000;

const CONDITIONS: readonly Condition[] = ["normal", "abnormal", "unknown"];
const QUALITIES = [
  "resent",
  "suspect",
  "stamped_here",
  "stamped_sent",
  "revised",
  "maintenance",
  "calibration",
  "stuck",
  "jump",
  "clock_off",
  "backfill",
  "derived",
];

export type Contact = "connecting" | "live" | "lost";

/** Whether the picture is alive. Anything but `live` means that the present state is not known. */
export const contact = signal<Contact>("connecting");
/** Server time of the last event, ms. */
export const lastEventAt = signal<number | null>(null);
/** Server time minus this machine's time, ms: ages are told by the server's clock. */
export const clockOffset = signal(0);
export const system = signal<SystemState | null>(null);
export const counts = signal<Counts | null>(null);
export const lag = signal(0);
/** Why the last snapshot failed, or null. */
export const snapshotError = signal<Failure | null>(null);
export const loaded = signal(false);

/** Raised when devices are other ones (not when their state changed). */
export const registerVersion = signal(0);
/** Raised when the state of some device changed. */
export const statusVersion = signal(0);
/** Raised when some device moved. */
export const movesVersion = signal(0);
/** Raised when some value changed. */
export const valuesVersion = signal(0);
export const alerts = signal<ReadonlyMap<string, Alert>>(new Map());

export const devices = new Map<string, Device>();
export const latest = new Map<number, LatestItem>();
const deviceOfSeries = new Map<number, string>();

/** Milliseconds now by the server's clock. */
export const serverNow = () => Date.now() + clockOffset.peek();

export const openAlerts = computed(() =>
  [...alerts.value.values()].filter((a) => a.state === "open" && !a.shelved).sort(byNeed),
);
/** Open ones that somebody put aside, the next to come back first. */
export const shelvedAlerts = computed(() =>
  [...alerts.value.values()].filter((a) => a.state === "open" && a.shelved).sort(byReturn),
);
/** Those of drills, which call nobody; shelved ones are not among them. */
export const drillAlerts = computed(() => openAlerts.value.filter(isOfDrill));
/** How many real ones are open of each severity; `atLeast` when there are more than are kept. */
export const openBySeverity = computed(() => {
  const atLeast = openAlerts.value.length >= MAX_OPEN_ALERTS;
  const n = { critical: 0, major: 0, minor: 0, notice: 0 };
  for (const alert of openAlerts.value) if (!isOfDrill(alert)) n[alert.severity] += 1;
  return SEVERITIES.map((severity) => ({ severity, n: n[severity], atLeast }));
});
/** How many real alarms are open, and how many of these nobody has. The server counts all, drills among them. */
export const realCounts = computed(() => {
  const nobodys = (of: readonly Alert[]) => of.filter(({ acknowledged }) => acknowledged === null).length;
  const [all, drills, told] = [openAlerts.value, drillAlerts.value, counts.value];
  const [nAll, nDrill] = [nobodys(all), nobodys(drills)];
  return {
    open: realOf(told?.alerts_open ?? 0, all.length, drills.length),
    unacknowledged: realOf(told?.alerts_unacknowledged ?? 0, nAll, nDrill),
  };
});
/** Raised when an alarm came that was over when it was found. */
export const pastVersion = signal(0);

type Sink = (changed: ReadonlySet<string>) => void;
let mapSink: Sink | null = null;
let moveSink: Sink | null = null;

/** Where a device is: where it says so itself, else where the register has it. */
export const placeOf = (device: Device) => device.moved_to ?? device.position ?? null;

/** Who draws where devices are; called at most five times a second with those that moved. */
export function onMoves(sink: Sink | null): void {
  moveSink = sink;
}
/** Who draws device states; called at most five times a second with the changed devices. */
export function onDeviceStates(sink: Sink | null): void {
  mapSink = sink;
}

const dirty = {
  devices: new Set<string>(),
  moves: new Set<string>(),
  values: false,
  alerts: new Map<string, Alert>(),
};
let flushTimer: ReturnType<typeof setTimeout> | undefined;
let flushedAt = 0;
let alertsShownAt = 0;

function flushSoon(): void {
  if (flushTimer !== undefined) return;
  // The first change after a quiet time shows at once, the next ones together.
  flushTimer = setTimeout(flush, Math.max(0, flushedAt + FLUSH_MS - performance.now()));
}

function flush(): void {
  flushTimer = undefined;
  flushedAt = performance.now();
  if (dirty.alerts.size > 0) {
    if (flushedAt - alertsShownAt < alertsRest()) flushSoon();
    else showAlerts();
  }
  if (dirty.devices.size > 0) {
    mapSink?.(dirty.devices);
    dirty.devices.clear();
    statusVersion.value += 1;
  }
  if (dirty.moves.size > 0) {
    moveSink?.(dirty.moves);
    dirty.moves.clear();
    movesVersion.value += 1;
  }
  if (dirty.values) {
    dirty.values = false;
    valuesVersion.value += 1;
  }
}

function showAlerts(): void {
  alertsShownAt = performance.now();
  alerts.value = bounded(new Map([...alerts.value, ...dirty.alerts]));
  dirty.alerts.clear();
  showNoted();
  wishCards();
}

/** Drops the oldest ended alarms, then the least urgent open ones, beyond the limits. */
function bounded(all: Map<string, Alert>): Map<string, Alert> {
  const ended = [...all.values()].filter((a) => a.state !== "open");
  if (ended.length > MAX_ENDED_ALERTS) {
    const endOf = (a: Alert) => Date.parse(a.past?.until ?? a.ended_at ?? a.raised_at);
    ended.sort((a, b) => endOf(a) - endOf(b));
    for (const alert of ended.slice(0, ended.length - MAX_ENDED_ALERTS)) all.delete(alert.id);
  }
  const open = [...all.values()].filter((a) => a.state === "open");
  if (open.length > MAX_OPEN_ALERTS) {
    for (const alert of open.sort(byNeed).slice(MAX_OPEN_ALERTS)) all.delete(alert.id);
  }
  return all;
}

/** Takes an alarm as the server now tells it. */
export function takeAlert(alert: Alert): void {
  noteAlert(dirty.alerts.get(alert.id) ?? alerts.value.get(alert.id), alert, serverNow());
  dirty.alerts.set(alert.id, alert);
  if (alert.past) pastVersion.value += 1;
  flushSoon();
}

function takeValues({ v }: LiveValues): void {
  let foreign = false;
  for (const [series, value, measured, state, bits] of v) {
    const id = deviceOfSeries.get(series);
    const item = latest.get(series);
    if (id === undefined) {
      foreign = true;
      continue;
    }
    const measured_at = new Date(measured).toISOString();
    const ref = devices.get(id)?.series.find((s) => s.id === series);
    latest.set(series, {
      series,
      device: id,
      quantity: ref?.quantity ?? item?.quantity ?? "",
      ch: ref?.ch ?? item?.ch ?? 0,
      value,
      measured_at,
      received_at: new Date(serverNow()).toISOString(),
      quality: QUALITIES.filter((_, bit) => (bits >> bit) & 1),
      state: CONDITIONS[state] ?? "unknown",
      stale: false,
    });
    const device = devices.get(id);
    if (device) device.last_measured = measured_at;
    dirty.values = true;
  }
  if (foreign) reloadSoon();
  flushSoon();
}

function takeDevices({ d }: LiveDevices): void {
  for (const [id, status, stale, received] of d) {
    const device = devices.get(id);
    if (!device) {
      reloadSoon();
      continue;
    }
    const condition = typeof status === "number" ? (CONDITIONS[status] ?? "unknown") : status;
    if (received !== null) device.last_received = new Date(received).toISOString();
    // Most rows only say that the device was heard again: nothing to draw.
    if (device.status === condition && device.stale === (stale === 1)) continue;
    device.status = condition;
    device.stale = stale === 1;
    if (device.stale) for (const ref of device.series) markStale(ref.id, device);
    dirty.devices.add(id);
  }
  flushSoon();
}

function takeMoves({ m }: LiveMoves): void {
  for (const [id, lon, lat, measured] of m) {
    const device = devices.get(id);
    if (!device) {
      reloadSoon();
      continue;
    }
    device.moved_to = { lon, lat, measured_at: new Date(measured).toISOString() };
    dirty.moves.add(id);
  }
  flushSoon();
}

/** A value of a stale device is stale itself once it is older than three of the device's periods. */
function markStale(series: number, device: Device): void {
  const item = latest.get(series);
  const limit = (device.cadence_s ?? 0) * 3_000;
  if (item && serverNow() - Date.parse(item.received_at) >= limit) {
    latest.set(series, { ...item, stale: true });
    dirty.values = true;
  }
}

let instance: string | null = null;
/** The stream speaks; the picture is live only once a snapshot taken since then is in place. */
let streamAlive = false;
let loading = false;
let again = false;
let waiting: (() => void)[] = [];
let reloadTimer: ReturnType<typeof setTimeout> | undefined;

function reloadSoon(delay = 1_000): void {
  if (reloadTimer !== undefined) return;
  reloadTimer = setTimeout(() => {
    reloadTimer = undefined;
    void loadSnapshot();
  }, delay);
}

/** Fetches everything anew. Runs once at a time; a call meanwhile runs it again afterwards. */
async function loadSnapshot(): Promise<void> {
  if (loading) {
    again = true;
    return;
  }
  loading = true;
  try {
    const [state, dictionary, deviceItems, latestItems, open, shelved, ended] = await Promise.all([
      api.system(),
      api.quantities(),
      api.devices(),
      api.latest(),
      api.openAlerts(MAX_OPEN_ALERTS),
      api.shelvedAlerts(MAX_SHELVED_ALERTS),
      api.endedAlerts(50),
    ]);
    system.value = state;
    counts.value = state.counts;
    clockOffset.value = Date.parse(state.now) - Date.now();
    quantities.value = new Map(dictionary.map((q) => [q.name, q]));
    devices.clear();
    deviceOfSeries.clear();
    for (const device of deviceItems) {
      devices.set(device.id, device);
      for (const ref of device.series) deviceOfSeries.set(ref.id, device.id);
    }
    latest.clear();
    for (const item of latestItems) {
      latest.set(item.series, item);
      deviceOfSeries.set(item.series, item.device);
    }
    alerts.value = bounded(new Map([...ended, ...shelved, ...open].map((a) => [a.id, a])));
    wishCards();
    seedTicker([...ended, ...open]);
    dirty.devices.clear();
    dirty.moves.clear();
    dirty.alerts.clear();
    snapshotError.value = null;
    loaded.value = true;
    loading = false;
    const held = waiting;
    waiting = [];
    for (const apply of held) apply();
    if (streamAlive) contact.value = "live";
    registerVersion.value += 1;
    statusVersion.value += 1;
    valuesVersion.value += 1;
  } catch (error) {
    loading = false;
    waiting = [];
    snapshotError.value = failureOf(error);
    endOn401(error);
    reloadSoon(RETRY_SNAPSHOT_MS);
  }
  if (again) {
    again = false;
    void loadSnapshot();
  }
}

function orWait(apply: () => void): void {
  if (!loading) apply();
  else if (waiting.length < MAX_WAITING) waiting.push(apply);
  else again = true;
}

let onSessionEnded: (() => void) | null = null;

function endOn401(error: unknown): void {
  if (error instanceof ApiError && error.status === 401) onSessionEnded?.();
}

/** Clocks closer than this count as equal: network delay is not a clock error. */
const CLOCK_SLACK_MS = 1_500;

function heard(t: number): void {
  lastEventAt.value = t;
  const offset = t - Date.now();
  if (Math.abs(offset - clockOffset.peek()) > CLOCK_SLACK_MS) clockOffset.value = offset;
}

/** Follows the city until the returned function is called. `sessionEnded` runs when the server answers 401. */
export function follow(sessionEnded: () => void): () => void {
  onSessionEnded = sessionEnded;
  const handlers: LiveHandlers = {
    hello(data) {
      heard(data.t);
      if (instance !== data.instance || contact.value === "lost") void loadSnapshot();
      instance = data.instance;
    },
    values(data) {
      heard(data.t);
      orWait(() => takeValues(data));
    },
    devices(data) {
      heard(data.t);
      orWait(() => takeDevices(data));
    },
    moves(data) {
      heard(data.t);
      orWait(() => takeMoves(data));
    },
    alert: (data) => orWait(() => takeAlert(data)),
    register: () => reloadSoon(),
    resync: () => reloadSoon(),
    beat(data) {
      heard(data.t);
      counts.value = data.counts;
      lag.value = data.lag;
    },
    contact(alive) {
      streamAlive = alive;
      if (!alive) contact.value = "lost";
      else contact.value = loading || !loaded.value ? "connecting" : "live";
    },
    failed() {
      api.session().catch(endOn401);
    },
  };
  const stopLive = openLive(handlers);
  const stopCards = followCards();
  const poll = setInterval(() => {
    if (contact.value === "live")
      api.system().then(
        (state) => {
          system.value = state;
        },
        endOn401, // a dead server is told by the stream's own watch
      );
  }, SYSTEM_EVERY_MS);
  return () => {
    stopLive();
    stopCards();
    clearInterval(poll);
    onSessionEnded = null;
    clearTimeout(reloadTimer);
    reloadTimer = undefined;
    instance = null;
  };
}
