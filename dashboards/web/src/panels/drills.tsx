// The page of drills (演练): what is raised on purpose, when and of what; who commands plans, changes and ends them.
import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { askEvery } from "../api/again";
import { api } from "../api/client";
import type { Drill, DrillState, RuleEntry } from "../api/types";
import { langOf, nameOf, pick, t } from "../i18n";
import { aheadText, leadText, whole } from "../i18n/format";
import { devices, drillAlerts, registerVersion } from "../state/city";
import { byTurn, noteDrills } from "../state/drills";
import { shiftText } from "../state/duty";
import { type Failure, failureOf } from "../state/failure";
import { may, renewals } from "../state/session";
import { desk, now, selectDevice } from "../state/view";
import { AlarmRow } from "./alarm";
import { EndDrill } from "./drill-end";
import { DrillForm } from "./drill-form";
import { divisionName } from "./part";
import { Trouble } from "./trouble";

const EVERY_MS = 10_000;
const EVERY_RULES_MS = 300_000;
/** Devices that are spelt out; of more it says how many. */
const N_SPELT = 60;
/** Alarms that are listed; of more it says how many. */
const N_ALARMS = 50;

/** What is being done with a drill as it was shown then: it stays that one, whatever the list becomes meanwhile. */
type Asked = { what: "edit" | "end"; drill: Drill } | { what: "new"; drill: null } | null;

export function Drills() {
  const [turn, setTurn] = useState(0);
  const { drills, failure } = useDrills(turn);
  const rules = useRules();
  const [chosen, setChosen] = useState<string | null>(null);
  const [asked, setAsked] = useState<Asked>(null);
  const shown = drills?.find(({ id }) => id === chosen) ?? drills?.[0] ?? null;
  const done = (id: string | null = null) => {
    setAsked(null);
    if (id !== null) setChosen(id);
    setTurn((n) => n + 1);
  };
  return (
    <div class="drills" data-testid="drills-page">
      {failure ? <Trouble failure={failure} said="drills.failed" test="drills-trouble" /> : null}
      <section class="drills-all" aria-labelledby="drills-all">
        <div class="duty-line">
          <h3 id="drills-all">{t("drills.all")}</h3>
          {may("duty") ? (
            <button
              type="button"
              class="primary"
              data-testid="drill-add"
              onClick={() => setAsked({ what: "new", drill: null })}
            >
              {t("drills.add")}
            </button>
          ) : null}
        </div>
        {drills === null ? <p class="empty">{failure ? "" : t("drills.loading")}</p> : null}
        {drills?.length === 0 ? <p class="empty">{t("drills.none")}</p> : null}
        {drills?.map((each) => (
          <DrillCard
            key={each.id}
            drill={each}
            isChosen={each.id === shown?.id}
            choose={() => setChosen(each.id)}
          />
        ))}
      </section>
      {shown ? (
        <Details
          key={shown.id}
          drill={shown}
          rules={rules}
          edit={() => {
            setChosen(shown.id);
            setAsked({ what: "edit", drill: shown });
          }}
          end={() => {
            setChosen(shown.id);
            setAsked({ what: "end", drill: shown });
          }}
        />
      ) : null}
      {asked?.what === "end" ? <EndDrill drill={asked.drill} done={done} /> : null}
      {asked && asked.what !== "end" ? <DrillForm drill={asked.drill} rules={rules} done={done} /> : null}
    </div>
  );
}

function useDrills(turn: number) {
  const [drills, setDrills] = useState<Drill[] | null>(null);
  const [failure, setFailure] = useState<Failure | null>(null);
  useEffect(
    () =>
      askEvery(
        EVERY_MS,
        () => api.drills(),
        (told) => {
          noteDrills(told);
          setDrills([...told].sort(byTurn));
          setFailure(null);
        },
        (error) => setFailure(failureOf(error)),
      ),
    [turn, renewals.value],
  );
  return { drills, failure };
}

/** The rules that may be seen, each once; null until they are known. */
function useRules(): readonly RuleEntry[] | null {
  const [rules, setRules] = useState<readonly RuleEntry[] | null>(null);
  useEffect(
    () =>
      askEvery(
        EVERY_RULES_MS,
        () => api.ruleFiles(),
        (files) => setRules(files.flatMap((file) => file.rules)),
      ),
    [renewals.value],
  );
  return rules;
}

/** A shape of its own for each, beside the word. */
const SHAPES: Record<DrillState, string> = { on: "▶", planned: "…", over: "■" };

function State({ of }: { of: DrillState }) {
  return (
    <span class={`tag drill-state is-${of}`} data-testid="drill-state">
      <b aria-hidden="true">{SHAPES[of]}</b> {t(`drills.state_${of}`)}
    </span>
  );
}

/** How long until it begins or ends; nothing of what is over. */
function untilText({ state, from, to }: Drill): string {
  const left = Date.parse(state === "on" ? to : from) - now.value;
  if (state === "over") return "";
  return t(state === "on" ? "drills.ends_in" : "drills.begins_in", { ahead: aheadText(left) });
}

const spanText = ({ from, to }: Drill) => shiftText({ from, to, name: null });

/** What it is about in one line: how many of what, and where. */
function aboutText({ devices: of = [], rules = [], division }: Drill): string {
  return [
    of.length > 0 ? t("drills.n_devices", { n: whole(of.length) }) : t("drills.all_devices"),
    rules.length > 0 ? t("drills.n_rules", { n: whole(rules.length) }) : t("drills.all_rules"),
    division ? divisionName(division) : t("accounts.whole_city"),
  ].join(" · ");
}

type CardProps = { drill: Drill; isChosen: boolean; choose: () => void };

function DrillCard({ drill, isChosen, choose }: CardProps) {
  const about = aboutText(drill);
  return (
    <article
      class={`duty-card drill-card${isChosen ? " is-chosen" : ""}${drill.state === "over" ? " is-off" : ""}`}
      data-testid={`drill-${drill.id}`}
    >
      <header class="duty-line">
        <button
          type="button"
          class="duty-pick"
          aria-pressed={isChosen}
          lang={langOf(drill.name)}
          data-testid={`drill-pick-${drill.id}`}
          onClick={choose}
        >
          {drill.name}
        </button>
        <State of={drill.state} />
      </header>
      <p class="drill-when">
        {spanText(drill)} <small>{untilText(drill)}</small>
      </p>
      <p class="hint" lang={langOf(about)}>
        {about}
      </p>
      {drill.open > 0 ? <p class="drill-open">{t("drills.open", { n: whole(drill.open) })}</p> : null}
    </article>
  );
}

type DetailsProps = {
  drill: Drill;
  rules: readonly RuleEntry[] | null;
  edit: () => void;
  end: () => void;
};

function Details({ drill, rules, edit, end }: DetailsProps) {
  const { from, to, division } = drill;
  const place = division ? divisionName(division) : t("accounts.whole_city");
  return (
    <section class="drill-details" aria-labelledby="drill-name" data-testid="drill-details">
      <div class="duty-line">
        <h3 id="drill-name" lang={langOf(drill.name)}>
          {drill.name}
        </h3>
        <State of={drill.state} />
        {may("duty") && drill.state !== "over" ? (
          <>
            <button type="button" class="quiet" data-testid="drill-edit" onClick={edit}>
              {t("drills.edit")}
            </button>
            <button type="button" class="quiet drill-stop" data-testid="drill-end" onClick={end}>
              {t(drill.state === "on" ? "drills.end" : "drills.call_off")}
            </button>
          </>
        ) : null}
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls is reached by the keyboard */}
      <section class="drill-body" tabIndex={0} aria-labelledby="drill-name">
        <p class="drill-hint">{t("drills.hint")}</p>
        <dl class="drill-facts">
          <dt>{t("drills.when")}</dt>
          <dd>
            {spanText(drill)} · {leadText(Math.round((Date.parse(to) - Date.parse(from)) / 60_000) * 60)}
            {untilText(drill) ? ` · ${untilText(drill)}` : ""}
          </dd>
          <dt>{t("drills.division")}</dt>
          <dd lang={langOf(place)}>{place}</dd>
          <dt>{t("drills.id")}</dt>
          <dd>
            <code>{drill.id}</code>
          </dd>
        </dl>
        <AboutDevices ids={drill.devices ?? []} />
        <AboutRules ids={drill.rules ?? []} rules={rules} />
        {drill.state === "over" ? null : <Raised drill={drill} />}
      </section>
    </section>
  );
}

function Named({
  name,
  n,
  all,
  children,
}: {
  name: string;
  n: number;
  all: string;
  children: ComponentChildren;
}) {
  return (
    <section class="drill-part">
      <h4>
        {name} {n > 0 ? <b>{whole(n)}</b> : null}
      </h4>
      {n === 0 ? <p class="hint">{all}</p> : children}
    </section>
  );
}

const toMap = () => {
  desk.value = null;
};

function AboutDevices({ ids }: { ids: readonly string[] }) {
  void registerVersion.value;
  return (
    <Named name={t("drills.devices")} n={ids.length} all={t("drills.all_devices")}>
      <ul class="drill-names" data-testid="drill-devices">
        {ids.slice(0, N_SPELT).map((id) => {
          const device = devices.get(id);
          const name = device ? nameOf(device) : id;
          return (
            <li key={id}>
              {device ? (
                <button
                  type="button"
                  class="quiet"
                  title={t("alarms.show", { name })}
                  lang={langOf(name)}
                  onClick={() => {
                    selectDevice(id);
                    toMap();
                  }}
                >
                  {name}
                </button>
              ) : (
                <code title={t("device.missing", { id })}>{id}</code>
              )}
            </li>
          );
        })}
      </ul>
      {ids.length > N_SPELT ? (
        <p class="hint">{t("drills.more", { n: whole(ids.length - N_SPELT) })}</p>
      ) : null}
    </Named>
  );
}

function AboutRules({ ids, rules }: { ids: readonly string[]; rules: readonly RuleEntry[] | null }) {
  return (
    <Named name={t("drills.rules")} n={ids.length} all={t("drills.all_rules")}>
      <ul class="drill-rules" data-testid="drill-rules">
        {ids.slice(0, N_SPELT).map((id) => {
          const rule = rules?.find((each) => each.id === id);
          const [name, sentence] = rule ? [pick(rule.name), pick(rule.sentence)] : [id, ""];
          return (
            <li key={id}>
              <b lang={langOf(name)}>{name}</b> <small lang={langOf(sentence)}>{sentence}</small>
            </li>
          );
        })}
      </ul>
      {ids.length > N_SPELT ? (
        <p class="hint">{t("drills.more", { n: whole(ids.length - N_SPELT) })}</p>
      ) : null}
    </Named>
  );
}

/** What was raised in it and goes on. */
function Raised({ drill }: { drill: Drill }) {
  const own = drillAlerts.value.filter((alert) => alert.drill === drill.id);
  return (
    <Named name={t("drills.raised")} n={own.length} all={t("drills.raised_none")}>
      <ol class="drill-alarms" data-testid="drill-alarms">
        {own.slice(0, N_ALARMS).map((alert) => (
          <AlarmRow key={alert.id} alert={alert} leave={toMap} />
        ))}
      </ol>
      {own.length > N_ALARMS ? (
        <p class="hint">{t("drills.more", { n: whole(own.length - N_ALARMS) })}</p>
      ) : null}
    </Named>
  );
}
