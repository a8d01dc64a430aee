// The right panel: alarms in the order in which they need a person.
import { signal } from "@preact/signals";
import type { RefObject } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Alert } from "../api/types";
import { alertDevice, langOf, nameOf, pick, t } from "../i18n";
import { age, minute, stamp, whole } from "../i18n/format";
import { contact, counts, openAlerts } from "../state/city";
import { districtOf, divisions, learnDivisions } from "../state/divisions";
import { isForeseen } from "../state/rules";
import { may } from "../state/session";
import { actsOn, levelOf } from "../state/triage";
import { act, now, selectDevice, wall } from "../state/view";
import { ForeseenBadge, SeverityBadge, StateMark } from "./marks";

/** Cards shown at once: more than a person can take in. */
const N_CARDS = 20;
/** A wall has no scrolling; it shows what fits. */
const N_WALL_CARDS = 9;

const shown = signal(wall ? N_WALL_CARDS : N_CARDS);

export function Alarms() {
  const all = openAlerts.value;
  const total = Math.max(all.length, counts.value?.alerts_open ?? 0);
  const cards = all.slice(0, shown.value);
  const list = useRef<HTMLOListElement>(null);
  const nWhole = useWhole(list, cards.map(({ id }) => id).join());
  const rest = total - Math.min(cards.length, nWhole);
  const unacknowledged = all.filter((a) => a.acknowledged === null).length;
  return (
    <section class="panel alarms" aria-labelledby="alarms-title" id="alarms" tabIndex={-1}>
      <h2 id="alarms-title" class="panel-title">
        {t("alarms.title")}
        <b class="panel-count" data-testid="alerts-open">
          {whole(total)}
        </b>
        <span class="panel-note">
          {unacknowledged > 0
            ? `${t("alarms.unacknowledged")} ${whole(unacknowledged)} · ${t("alarms.order")}`
            : t("alarms.order")}
        </span>
      </h2>
      {all.length === 0 ? (
        <p class="empty">{contact.value === "live" ? t("alarms.none") : t("alarms.none_lost")}</p>
      ) : (
        <ol
          class="alarm-list last-known"
          ref={list}
          data-testid="alarm-list"
          tabIndex={wall ? undefined : 0}
          aria-labelledby="alarms-title"
        >
          {cards.map((alert, i) => (
            <AlarmCard key={alert.id} alert={alert} isWhole={i < nWhole} />
          ))}
          {rest > 0 && !wall ? (
            <li class="alarm-rest">
              {cards.length === all.length ? (
                t("alarms.rest", { n: whole(rest) })
              ) : (
                <button
                  type="button"
                  class="quiet"
                  onClick={() => {
                    shown.value += N_CARDS;
                  }}
                >
                  {t("alarms.more", { n: whole(Math.min(rest, N_CARDS)) })}
                </button>
              )}
            </li>
          ) : null}
        </ol>
      )}
      {wall && all.length > 0 ? (
        <p class="alarm-rest" data-testid="alarm-rest">
          {rest > 0 ? t("alarms.rest", { n: whole(rest) }) : "\u00a0"}
        </p>
      ) : null}
    </section>
  );
}

/** How many cards of a wall stand whole in its list, which nobody scrolls; all where somebody can. */
function useWhole(list: RefObject<HTMLOListElement | null>, cards: string): number {
  const [n, setN] = useState(Infinity);
  useEffect(() => {
    const element = list.current;
    if (!wall || element === null) return;
    const measure = () => {
      const end = element.getBoundingClientRect().bottom;
      const over = [...element.children].findIndex((card) => card.getBoundingClientRect().bottom > end);
      setN(over < 0 ? Infinity : over);
    };
    // Words and the window may become larger or smaller at any time.
    const sizes = new ResizeObserver(measure);
    sizes.observe(element);
    for (const card of element.children) sizes.observe(card);
    return () => sizes.disconnect();
  }, [cards]);
  return n;
}

/** The district's name, or its code until the name is known. */
export function placeName(code: string | null): string {
  if (!code) return t("overview.outside");
  const district = districtOf(code);
  void learnDivisions([district]);
  const division = divisions.value.get(district);
  return division ? nameOf(division) : district;
}

function AlarmCard({ alert, isWhole }: { alert: Alert; isWhole: boolean }) {
  const raised = Date.parse(alert.raised_at);
  const name = alertDevice(alert);
  const place = placeName(alert.division);
  const rule = pick(alert.rule_name);
  const done = alert.acknowledged;
  const heading = <span lang={langOf(rule)}>{rule}</span>;
  return (
    <li
      class={`alarm sev-${alert.severity}${done ? " is-acknowledged" : ""}${isWhole ? "" : " is-cut"}`}
      data-testid={`alarm-${alert.id}`}
      data-severity={alert.severity}
      data-device={alert.series.device}
      data-acknowledged={done ? "true" : "false"}
    >
      <div class="alarm-body">
        <div class="alarm-head">
          <SeverityBadge severity={alert.severity} />
          <span class="only-read">{t("severity.level", { n: levelOf(alert.severity) })}</span>
          <h3 class="alarm-rule">
            {wall ? (
              heading
            ) : (
              <button
                type="button"
                class="alarm-open"
                aria-label={`${rule} · ${t("alarms.show", { name })}`}
                data-testid="alarm-open"
                onClick={() => selectDevice(alert.series.device, alert.series.id)}
              >
                {heading}
              </button>
            )}
          </h3>
        </div>
        <p class="alarm-place">
          {isForeseen(alert) ? <ForeseenBadge /> : null}
          <span class="alarm-name" lang={langOf(name)}>
            {name}
          </span>
          <span class="alarm-district" lang={langOf(place)}>
            {place}
          </span>
          {alert.condition === "abnormal" ? null : (
            <span class={`alarm-condition state-${alert.condition}`}>
              <StateMark state={alert.condition} />
              {t(alert.condition === "unknown" ? "alarms.condition_unknown" : "alarms.condition_normal")}
            </span>
          )}
        </p>
      </div>
      <div class="alarm-side">
        <time class="alarm-age" title={t("alarms.raised", { time: stamp(raised, now.value) })}>
          {age(raised, now.value)}
        </time>
        {done ? null : wall || !actsOn(alert, may).includes("acknowledge") ? (
          <span class="alarm-waiting">{t("alarms.unacknowledged")}</span>
        ) : (
          <button
            type="button"
            class="alarm-acknowledge"
            data-testid="alarm-acknowledge"
            aria-label={`${t("alarms.acknowledge")}: ${rule}, ${name}`}
            onClick={() => {
              act.value = { verb: "acknowledge", alert };
            }}
          >
            {t("alarms.acknowledge")}
          </button>
        )}
      </div>
      <div class="alarm-words">
        <p class="alarm-message" lang={langOf(pick(alert.message))}>
          {pick(alert.message)}
        </p>
        {done ? (
          <p class="alarm-ack" data-testid="alarm-acknowledged" lang={langOf(done.name + done.note)}>
            {t("alarms.acknowledged", { name: done.name, until: minute(Date.parse(done.until)) })}
            {done.note ? ` · ${done.note}` : ""}
          </p>
        ) : null}
      </div>
    </li>
  );
}
