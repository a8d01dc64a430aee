// The left panel: how much of the city is known, by district and by kind of device; finding a device.
import { computed, signal } from "@preact/signals";
import { langOf, named, nameOf, t } from "../i18n";
import { decimal, span, whole } from "../i18n/format";
import { counts, devices, lag, registerVersion, statusVersion, system } from "../state/city";
import { districtOf, divisions, learnDivisions } from "../state/divisions";
import { sessionNow } from "../state/session";
import { now, selectDevice, selectedDistrict, selectedKind, wall } from "../state/view";
import { Icon, KindGlyph, StateMark } from "./marks";
import { partName } from "./part";

type Tally = { normal: number; abnormal: number; unknown: number; total: number };

/** Devices whose district is not known stand under this key. */
const OUTSIDE = "";
const MAX_FOUND = 8;

function tally(keyOf: (device: { kind: string; division?: string | null }) => string): Map<string, Tally> {
  const groups = new Map<string, Tally>();
  for (const device of devices.values()) {
    if (device.state === "retired") continue;
    const key = keyOf(device);
    const group = groups.get(key) ?? { normal: 0, abnormal: 0, unknown: 0, total: 0 };
    group[device.status] += 1;
    group.total += 1;
    groups.set(key, group);
  }
  return groups;
}

const byDistrict = computed(() => {
  void registerVersion.value;
  void statusVersion.value;
  const groups = tally((device) => (device.division ? districtOf(device.division) : OUTSIDE));
  void learnDivisions([...groups.keys()].filter((code) => code !== OUTSIDE));
  return [...groups].sort(([a], [b]) => (a === OUTSIDE ? 1 : b === OUTSIDE ? -1 : a < b ? -1 : 1));
});

const byKind = computed(() => {
  void registerVersion.value;
  void statusVersion.value;
  return [...tally((device) => device.kind)].sort(([a, x], [b, y]) => y.total - x.total || (a < b ? -1 : 1));
});

export function Overview() {
  return (
    <section class="panel overview" aria-labelledby="overview-title">
      <Title />
      {wall ? null : <Search />}
      <Known />
      <div class="tally-head" aria-hidden="true">
        <h3>{t("overview.by_district")}</h3>
        <StateMark state="normal" />
        <StateMark state="abnormal" />
        <StateMark state="unknown" />
      </div>
      <ul class="tally last-known" aria-label={t("overview.by_district")} data-testid="by-district">
        {byDistrict.value.map(([code, group]) => {
          const division = divisions.value.get(code);
          const name = code === OUTSIDE ? t("overview.outside") : division ? nameOf(division) : code;
          const marked = selectedDistrict.value === code;
          return (
            <TallyRow
              key={code}
              id={code || "outside"}
              name={name}
              group={group}
              pressed={marked}
              onPick={
                division?.bounds
                  ? () => {
                      selectedDistrict.value = marked ? null : code;
                    }
                  : null
              }
            />
          );
        })}
      </ul>
      <div class="tally-head" aria-hidden="true">
        <h3>{t("overview.by_kind")}</h3>
        <StateMark state="normal" />
        <StateMark state="abnormal" />
        <StateMark state="unknown" />
      </div>
      <ul class="tally last-known" aria-label={t("overview.by_kind")} data-testid="by-kind">
        {byKind.value.map(([kind, group]) => (
          <TallyRow
            key={kind}
            id={kind}
            kind={kind}
            name={named("kind", kind)}
            group={group}
            pressed={selectedKind.value === kind}
            onPick={() => {
              selectedKind.value = selectedKind.value === kind ? null : kind;
            }}
          />
        ))}
      </ul>
      <Path />
    </section>
  );
}

/** The whole city's, or that of what the session sees. */
function Title() {
  const session = sessionNow();
  const part = session && partName(session);
  const title = part ? t("overview.title_of", { part }) : t("overview.title");
  return (
    <h2 id="overview-title" class="panel-title" data-testid="overview-title">
      <span class="panel-of" title={title} lang={langOf(title)}>
        {title}
      </span>
    </h2>
  );
}

/** How the data come here: how much is kept, how far behind the picture is, since when. */
function Path() {
  const state = system.value;
  const facts: [string, string][] = [
    [t("path.series"), whole(counts.value?.series ?? 0)],
    [t("path.records"), state ? whole(state.journal.last) : "–"],
    [t("path.lag"), whole(lag.value)],
    [t("path.running"), state ? span(now.value - Date.parse(state.started_at)) : "–"],
  ];
  return (
    <dl class="path last-known" aria-label={t("path.label")}>
      {facts.map(([what, value]) => (
        <div key={what}>
          <dt>{what}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** The share of devices whose state is known at all. */
function Known() {
  void registerVersion.value;
  void statusVersion.value;
  const all = [...tally(() => "all").values()][0];
  if (!all) return <p class="empty">{t("overview.no_devices")}</p>;
  const known = ((all.normal + all.abnormal) / all.total) * 100;
  return (
    <div class="known last-known" title={t("overview.online_hint")}>
      <div class="known-figure">
        <span class="known-label">{t("overview.online")}</span>
        <b>
          {decimal(known, 1)}
          <small>%</small>
        </b>
        <span class="known-total">
          {t("state.total")} <b data-testid="count-devices">{whole(all.total)}</b>
        </span>
      </div>
      <Bar group={all} />
    </div>
  );
}

function Bar({ group }: { group: Tally }) {
  const part = (n: number) => ({ flexGrow: String(n) });
  return (
    <span class="bar" aria-hidden="true">
      {group.abnormal > 0 ? <i class="bar-abnormal" style={part(group.abnormal)} /> : null}
      {group.unknown > 0 ? <i class="bar-unknown" style={part(group.unknown)} /> : null}
      {group.normal > 0 ? <i class="bar-normal" style={part(group.normal)} /> : null}
    </span>
  );
}

const TALLIED = ["normal", "abnormal", "unknown"] as const;

function tallyClass(state: (typeof TALLIED)[number], n: number): string {
  if (state === "normal") return "tally-n";
  return n === 0 ? "tally-n is-zero" : `tally-n state-${state}`;
}

type RowProps = {
  id: string;
  name: string;
  kind?: string;
  group: Tally;
  pressed: boolean;
  onPick: (() => void) | null;
};

function TallyRow({ id, name, kind, group, pressed, onPick }: RowProps) {
  const inner = (
    <>
      <span class="tally-name" lang={langOf(name)}>
        {kind ? <KindGlyph kind={kind} /> : null}
        <span>{name}</span>
      </span>
      {TALLIED.map((state) => (
        <span key={state} class={tallyClass(state, group[state])}>
          <span class="only-read">{t(`state.${state}`)}</span>
          {whole(group[state])}
        </span>
      ))}
      <Bar group={group} />
    </>
  );
  return (
    <li data-testid={`tally-${id}`}>
      {wall || onPick === null ? (
        <div class="tally-row">{inner}</div>
      ) : (
        <button type="button" class="tally-row" aria-pressed={pressed} onClick={onPick}>
          {inner}
        </button>
      )}
    </li>
  );
}

const wanted = signal("");

const found = computed(() => {
  void registerVersion.value;
  const text = wanted.value.trim().toLowerCase();
  if (!text) return null;
  const hits = [];
  for (const device of devices.values()) {
    const words = [device.id, device.name, device.name_en ?? "", named("kind", device.kind)];
    if (words.some((word) => word.toLowerCase().includes(text))) hits.push(device);
  }
  return hits;
});

/** The way to any device without the map: also the keyboard's way. */
function Search() {
  const hits = found.value;
  void statusVersion.value;
  return (
    <search class="search">
      <label class="search-box">
        <Icon name="search" />
        <span class="only-read">{t("overview.search")}</span>
        <input
          type="search"
          value={wanted.value}
          placeholder={`${t("overview.search")} · ${t("overview.search_hint")}`}
          autocomplete="off"
          data-testid="search"
          onInput={(event) => {
            wanted.value = event.currentTarget.value;
          }}
          onKeyDown={(event) => {
            if (event.key === "Escape") wanted.value = "";
          }}
        />
      </label>
      {hits === null ? null : (
        <div class="search-hits">
          <p role="status">
            {hits.length ? t("overview.results", { n: whole(hits.length) }) : t("overview.none")}
          </p>
          <ul>
            {hits.slice(0, MAX_FOUND).map((device) => (
              <li key={device.id}>
                <button
                  type="button"
                  data-testid={`hit-${device.id}`}
                  onClick={() => {
                    wanted.value = "";
                    selectDevice(device.id);
                  }}
                >
                  <StateMark state={device.status} />
                  <span lang={langOf(nameOf(device))}>{nameOf(device)}</span>
                  <small>{device.id}</small>
                </button>
              </li>
            ))}
          </ul>
        </div>
      )}
    </search>
  );
}
