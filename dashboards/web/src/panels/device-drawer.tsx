// Everything about one device: state, alarms with their evidence, latest readings, course, today's ledger.
import { useEffect, useState } from "preact/hooks";
import { askEvery } from "../api/again";
import { api } from "../api/client";
import type {
  CommandItem,
  Device,
  DeviceDetail,
  FenceStay,
  LatestItem,
  LedgerDay,
  SeriesRef,
} from "../api/types";
import { langOf, named, nameOf, pick, t } from "../i18n";
import { age, beijingDay, decimal, span, stamp, whole } from "../i18n/format";
import {
  contact,
  devices,
  latest,
  movesVersion,
  openAlerts,
  registerVersion,
  serverNow,
  shelvedAlerts,
  statusVersion,
  valuesVersion,
} from "../state/city";
import { channelText, inOrder, quantityName, unitOf, valueText } from "../state/quantities";
import { renewals } from "../state/session";
import { now, selectDevice, selectedDevice, selectedPast, selectedSeries, wall } from "../state/view";
import { placeName } from "./alarms";
import { Course } from "./course";
import { Evidence } from "./evidence";
import { Frames } from "./frames";
import { Icon, KindGlyph, StateBadge, StateMark } from "./marks";

const LEDGER_EVERY_MS = 30_000;
const DETAIL_EVERY_MS = 10_000;

export function DeviceDrawer() {
  const id = selectedDevice.value;
  void registerVersion.value;
  void statusVersion.value;
  if (id === null) return null;
  const device = devices.get(id);
  return (
    <aside
      class={device ? "panel drawer" : "panel drawer drawer-missing"}
      aria-labelledby={device ? "device-title" : undefined}
      aria-label={device ? undefined : t("device.missing", { id })}
      data-testid="device-drawer"
      data-device={id}
      onKeyDown={(event) => {
        if (event.key === "Escape") selectDevice(null);
      }}
    >
      {device ? <Details key={id} device={device} /> : <p class="empty">{t("device.missing", { id })}</p>}
      {wall ? null : (
        <button
          type="button"
          class="quiet icon-only drawer-close"
          aria-label={t("device.close")}
          data-testid="drawer-close"
          onClick={() => selectDevice(null)}
        >
          <Icon name="close" />
        </button>
      )}
    </aside>
  );
}

function Details({ device }: { device: Device }) {
  void valuesVersion.value;
  const { detail, commands } = useDetail(device.id);
  const lost = contact.value === "lost";
  const name = nameOf(device);
  // What is shelved goes on, and stands behind what is not.
  const own = [...openAlerts.value, ...shelvedAlerts.value].filter(
    (alert) => alert.series.device === device.id,
  );
  const past = selectedPast.value;
  const first = own.find((alert) => alert.series.id === selectedSeries.value) ?? own[0];
  const series = inOrder(device.series);
  // The chosen one; else what is wrong; else the first.
  const chosen =
    series.find((ref) => ref.id === selectedSeries.value) ??
    series.find((ref) => own.some((alert) => alert.series.id === ref.id)) ??
    series[0];
  return (
    <>
      <header class="drawer-head">
        <span class="drawer-glyph">
          <KindGlyph kind={device.kind} />
        </span>
        <div>
          <h2 id="device-title" lang={langOf(name)}>
            {name}
          </h2>
          <p class="drawer-id">
            <code>{device.id}</code>
            {device.demo ? (
              <span class="demo-tag" title={t("app.demo_hint")}>
                {t("app.demo")}
              </span>
            ) : null}
          </p>
        </div>
      </header>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard */}
      <section class="drawer-body" tabIndex={0} aria-labelledby="device-title">
        <div class="drawer-states">
          <StateBadge state={lost ? "unknown" : device.status} />
          {device.stale && !lost ? <StateBadge state="stale" /> : null}
          {device.state === "active" ? null : <span class="tag">{t(`state.${device.state}`)}</span>}
          <span class="drawer-received">
            {t("device.last_received")}{" "}
            {device.last_received ? age(Date.parse(device.last_received), now.value) : t("device.never")}
          </span>
        </div>
        {lost ? null : device.status === "unknown" ? (
          <p class="drawer-why state-unknown">{t("device.unknown_reason")}</p>
        ) : device.stale ? (
          <p class="drawer-why state-stale">{t("device.stale_reason")}</p>
        ) : null}
        <Facts device={device} detail={detail} />
        <Fences fences={detail?.fences ?? []} lost={lost} />
        {past ? (
          <section aria-label={t("past.tag")}>
            <Evidence key={past.id} alert={past} isFirst />
          </section>
        ) : null}
        {own.length > 0 ? (
          <section aria-label={t("device.alarms")}>
            {own.map((alert) => (
              <Evidence key={alert.id} alert={alert} isFirst={alert === first && past === null} />
            ))}
          </section>
        ) : null}
        <Readings device={device} series={series} chosen={chosen} />
        {chosen ? <Course key={chosen.id} device={device} series={chosen} /> : null}
        <Commands commands={commands} />
        <Ledger device={device} />
        <Frames device={device.id} />
      </section>
    </>
  );
}

/** What the list of devices does not hold: who connects, firmware, children; and the latest commands. */
function useDetail(id: string): { detail: DeviceDetail | null; commands: CommandItem[] } {
  const [detail, setDetail] = useState<DeviceDetail | null>(null);
  const [commands, setCommands] = useState<CommandItem[]>([]);
  useEffect(() => {
    // The last answer stays while the server is away; the banner tells of contact.
    const stops = [
      askEvery(DETAIL_EVERY_MS, () => api.device(id), setDetail),
      askEvery(DETAIL_EVERY_MS, () => api.commandsOf(id), setCommands),
    ];
    return () => {
      for (const stop of stops) stop();
    };
  }, [id, renewals.value]);
  return { detail, commands };
}

function connectionText(detail: DeviceDetail | null): string | null {
  if (detail === null) return null;
  const newest = detail.connections.at(-1);
  if (newest) return t("device.connected_since", { time: stamp(Date.parse(newest.since), now.value) });
  if (detail.gateway_connected) return t("device.connected_through");
  return t("device.not_connected");
}

function clockText(device: Device): string | null {
  const clock = device.clock;
  if (!clock || Math.abs(clock.ahead_ms) < 1000) return null;
  const by = span(Math.abs(clock.ahead_ms));
  return t(clock.ahead_ms > 0 ? "device.clock_ahead" : "device.clock_behind", { span: by });
}

function Commands({ commands }: { commands: readonly CommandItem[] }) {
  if (commands.length === 0) return null;
  return (
    <section class="commands" data-testid="commands">
      <h3>{t("device.commands")}</h3>
      <ul>
        {commands.map((command) => (
          <li key={command.id} class={`command is-${command.state}`}>
            <code>{command.method}</code>
            <b>{pick({ zh: command.state_zh, en: command.state_en })}</b>
            <small>
              {t("device.command_by", {
                actor: command.by.actor,
                time: stamp(Date.parse(command.state_at), now.value),
              })}
            </small>
          </li>
        ))}
      </ul>
    </section>
  );
}

/** The fences that a moving device is in, or was in when it last said where it is. */
function Fences({ fences, lost }: { fences: readonly FenceStay[]; lost: boolean }) {
  if (fences.length === 0) return null;
  return (
    <section class="commands" data-testid="fences">
      <h3>{t("device.fences")}</h3>
      <ul>
        {fences.map((fence) => {
          const name = nameOf(fence);
          const since = stamp(Date.parse(fence.since), now.value);
          const seen = age(Date.parse(fence.last_seen), now.value);
          const isKnown = fence.state === "inside" && !lost;
          return (
            <li key={fence.code} class={isKnown ? "command" : "command state-unknown"}>
              <b lang={langOf(name)}>{name}</b>
              <small>
                {isKnown ? t("device.fence_inside", { since }) : t("device.fence_unknown", { since, seen })}
              </small>
            </li>
          );
        })}
      </ul>
    </section>
  );
}

function Facts({ device, detail }: { device: Device; detail: DeviceDetail | null }) {
  void movesVersion.value;
  const at = device.position;
  const moved = device.moved_to;
  const until = device.maintenance?.until;
  const facts: [string, string | null | undefined][] = [
    [t("device.lifecycle"), detail?.lifecycle ? t(`lifecycle.${detail.lifecycle}`) : null],
    [t("device.connection"), connectionText(detail)],
    [t("device.maintenance_until"), until ? stamp(Date.parse(until), now.value) : null],
    [t("device.firmware"), detail?.firmware == null ? null : String(detail.firmware)],
    [t("device.clock"), clockText(detail ?? device)],
    [t("device.children"), detail && detail.children.length > 0 ? whole(detail.children.length) : null],
    [t("device.kind"), named("kind", device.kind)],
    [t("device.division"), placeName(device.division ?? null)],
    [t("device.setting"), t(`device.${device.setting}`)],
    [t("device.cadence"), device.cadence_s ? span(device.cadence_s * 1000) : null],
    [t("device.gateway"), device.gateway],
    [t("device.department"), device.department],
    [t("device.position"), at ? `${decimal(at.lon, 3)}, ${decimal(at.lat, 3)}` : null],
    [
      t("device.moved_to"),
      moved
        ? t("device.moved_at", {
            place: `${decimal(moved.lon, 4)}, ${decimal(moved.lat, 4)}`,
            age: age(Date.parse(moved.measured_at), now.value),
          })
        : null,
    ],
  ];
  return (
    <dl class="facts">
      {facts.map(([what, value]) =>
        value ? (
          <div key={what}>
            <dt>{what}</dt>
            <dd lang={langOf(value)}>{value}</dd>
          </div>
        ) : null,
      )}
    </dl>
  );
}

type ReadingsProps = { device: Device; series: readonly SeriesRef[]; chosen: SeriesRef | undefined };

function Readings({ device, series, chosen }: ReadingsProps) {
  return (
    <section class="readings last-known">
      <h3>{t("device.values")}</h3>
      {series.length === 0 ? (
        <p class="empty">{t("device.no_values")}</p>
      ) : (
        <ul>
          {series.map((ref) => (
            <Value key={ref.id} device={device} series={ref} chosen={chosen?.id === ref.id} />
          ))}
        </ul>
      )}
    </section>
  );
}

function Value({ device, series, chosen }: { device: Device; series: SeriesRef; chosen: boolean }) {
  const item: LatestItem | undefined = latest.get(series.id);
  const lost = contact.value === "lost";
  const state = lost || !item ? "unknown" : item.state;
  const channel = channelText(series.quantity, series.ch);
  const place = channel ? ` · ${channel}` : "";
  const suffix = series.ch > 0 ? `-${series.ch}` : "";
  const unit = item && typeof item.value === "number" ? unitOf(series.quantity) : "";
  return (
    <li>
      <button
        type="button"
        class={`value${item?.stale || lost ? " is-stale" : ""}`}
        aria-pressed={chosen}
        data-testid={`series-${series.quantity}${suffix}`}
        onClick={() => {
          selectedSeries.value = series.id;
        }}
      >
        <StateMark state={state} />
        <span class="only-read">{t(`state.${state}`)}</span>
        <span class="value-name">
          {quantityName(series.quantity)}
          {place}
        </span>
        <span class="value-figure">
          <b
            data-testid={`value-${device.id}-${series.quantity}${suffix}`}
            data-value={item?.value ?? ""}
            data-measured={item?.measured_at ?? ""}
          >
            {item ? valueText(series.quantity, item.value) : "–"}
          </b>
          {unit ? <small>{unit}</small> : null}
        </span>
        <span class="value-marks">
          {item?.stale ? <span class="tag state-stale">{t("state.stale")}</span> : null}
          {item?.quality.map((mark) => (
            <span class="tag" key={mark}>
              {named("quality", mark)}
            </span>
          ))}
          {item ? (
            <time>{age(Date.parse(item.measured_at), now.value)}</time>
          ) : (
            <span>{t("device.never")}</span>
          )}
        </span>
      </button>
    </li>
  );
}

/** How complete today's data are, hour by hour. */
function Ledger({ device }: { device: Device }) {
  const [day, setDay] = useState<LedgerDay | null>(null);
  useEffect(
    () =>
      // The ledger of the last answer stays; contact is told by the banner.
      askEvery(
        LEDGER_EVERY_MS,
        () => api.ledger(device.id, beijingDay(serverNow())),
        (days) => setDay(days[0] ?? null),
      ),
    [device.id, renewals.value],
  );
  const hours = new Map(day?.hours.map((hour) => [hour.hour, hour]));
  const sum = (of: "expected" | "received" | "lost" | "late" | "refused") =>
    whole((day?.hours ?? []).reduce((total, hour) => total + hour[of], 0));
  return (
    <section class="ledger" data-testid="ledger">
      <h3>{t("device.ledger")}</h3>
      {day === null || day.hours.length === 0 ? (
        <p class="empty">{t("device.ledger_none")}</p>
      ) : (
        <>
          <ol class="ledger-hours">
            {Array.from({ length: 24 }, (_, hour) => {
              const cell = hours.get(hour);
              const expected = Math.max(cell?.expected ?? 0, cell?.received ?? 0);
              const share = cell && expected > 0 ? cell.received / expected : 0;
              const words = cell
                ? t("device.ledger_hour", { ...cell, hour })
                : t("device.ledger_hour", { hour, expected: 0, received: 0, lost: 0, late: 0, refused: 0 });
              return (
                <li key={hour} class={expected > 0 ? "is-due" : ""} title={words}>
                  <i style={{ height: `${Math.round(share * 100)}%` }} />
                  <span class="only-read">{words}</span>
                </li>
              );
            })}
          </ol>
          <div class="ledger-scale" aria-hidden="true">
            <span>00</span>
            <span>06</span>
            <span>12</span>
            <span>18</span>
            <span>24</span>
          </div>
          <p class="ledger-sum">
            {t("device.ledger_summary", {
              expected: sum("expected"),
              received: sum("received"),
              lost: sum("lost"),
              late: sum("late"),
              refused: sum("refused"),
            })}
          </p>
        </>
      )}
    </section>
  );
}
