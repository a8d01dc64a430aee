// One alarm in the list: alone on its card, shelved, or a row among those of an incident.
import type { Alert, Card, CardMember } from "../api/types";
import { alertDevice, langOf, pick, t } from "../i18n";
import { age, moment, stamp } from "../i18n/format";
import { alerts, devices } from "../state/city";
import { drillName } from "../state/drills";
import { isForeseen } from "../state/rules";
import { may } from "../state/session";
import { actsOn, levelOf } from "../state/triage";
import { act, now, selectDevice, wall } from "../state/view";
import { placeName } from "./alarms";
import { ForeseenBadge, SeverityBadge, SeverityMark, StateMark } from "./marks";

/** What a list of cards spells out, as an alarm that nobody has told more of yet. */
function fromMember(member: CardMember): Alert {
  const device = devices.get(member.device);
  const nothing = { zh: "", en: "" };
  return {
    ...member,
    rule_version: "",
    state: "open",
    acknowledged: null,
    series: { id: null, device: member.device, quantity: member.quantity, ch: 0 },
    position: device?.position ?? null,
    division: device?.division ?? null,
    ended_at: null,
    message: nothing,
    advice: nothing,
    inputs: [],
    threshold: null,
  };
}

/** A card of one alarm. */
export function LoneCard({ card, isWhole }: { card: Card; isWhole: boolean }) {
  const [member] = card.members ?? [];
  if (member === undefined) return null;
  const known = alerts.value.get(member.id);
  // What the stream has not brought yet cannot be acted on: who has it is not known.
  return (
    <AlarmCard
      alert={known ?? fromMember(member)}
      isKnown={known !== undefined}
      card={card}
      isWhole={isWhole}
    />
  );
}

type AlarmCardProps = { alert: Alert; isKnown?: boolean; card?: Card; isWhole: boolean };

export function AlarmCard({ alert, isKnown = true, card, isWhole }: AlarmCardProps) {
  const raised = Date.parse(alert.raised_at);
  const name = alertDevice(alert);
  const place = placeName(alert.division);
  const rule = pick(alert.rule_name);
  const isDone = alert.acknowledged !== null || (!isKnown && card?.acknowledged === true);
  const heading = <span lang={langOf(rule)}>{rule}</span>;
  return (
    <li
      class={`alarm sev-${alert.severity}${isDone || alert.shelved ? " is-acknowledged" : ""}${isWhole ? "" : " is-cut"}`}
      data-testid={`alarm-${alert.id}`}
      data-severity={alert.severity}
      data-device={alert.series.device}
      data-alarms="1"
      data-acknowledged={isDone ? "true" : "false"}
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
          <DrillTag of={alert.drill ?? card?.drill} />
          <Condition of={alert.condition} />
          {card?.chatter ? <span class="tag">{t("card.chatter", { n: card.chatter })}</span> : null}
        </p>
      </div>
      <div class="alarm-side">
        <time class="alarm-age" title={t("alarms.raised", { time: stamp(raised, now.value) })}>
          {age(raised, now.value)}
        </time>
        <Act alert={alert} isKnown={isKnown} isDone={isDone} about={`${rule}, ${name}`} />
      </div>
      <div class="alarm-words">
        <p class="alarm-message" lang={langOf(pick(alert.message))}>
          {pick(alert.message)}
        </p>
        <Words alert={alert} />
      </div>
    </li>
  );
}

/** That it was raised on purpose; nothing of what is real. */
export function DrillTag({ of }: { of: string | null | undefined }) {
  if (!of) return null;
  return (
    <span
      class="tag tag-drill"
      title={t("alarms.drill_hint", { name: drillName(of) })}
      data-testid="drill-tag"
    >
      {t("alarms.drill")}
    </span>
  );
}

/** That it was over when it was found: history, of which nobody was told. */
export function PastTag({ of }: { of: Alert["past"] }) {
  if (!of) return null;
  return (
    <span class="tag tag-past" title={t("past.hint")} data-testid="past-tag">
      {t("past.tag")}
    </span>
  );
}

/** That nothing is known of now, or that it is over and not cleared; nothing while it is as it was raised. */
export function Condition({ of }: { of: Alert["condition"] }) {
  if (of === "abnormal") return null;
  return (
    <span class={`alarm-condition state-${of}`}>
      <StateMark state={of} />
      {t(of === "unknown" ? "alarms.condition_unknown" : "alarms.condition_normal")}
    </span>
  );
}

type ActProps = { alert: Alert; isKnown: boolean; isDone: boolean; about: string };

/** What is nearest at hand: to acknowledge, or to bring back. */
function Act({ alert, isKnown, isDone, about }: ActProps) {
  const verb = alert.shelved ? "unshelve" : "acknowledge";
  if (isDone && !alert.shelved) return null;
  if (wall || !isKnown || !actsOn(alert, may).includes(verb))
    return alert.shelved ? null : <span class="alarm-waiting">{t("alarms.unacknowledged")}</span>;
  return (
    <button
      type="button"
      class="alarm-acknowledge"
      data-testid={`alarm-${verb}`}
      aria-label={`${t(`alarms.${verb}`)}: ${about}`}
      onClick={() => {
        act.value = { verb, alert };
      }}
    >
      {t(`alarms.${verb}`)}
    </button>
  );
}

/** Who has taken, shelved or got an alarm, with their words. */
export function Words({ alert }: { alert: Alert }) {
  const at = now.value;
  const { acknowledged, shelved, assigned } = alert;
  const until = (text: string) => moment(Date.parse(text), at);
  const lines = [
    shelved && {
      test: "alarm-shelved",
      said: t("alarms.shelved", { name: shelved.name, until: until(shelved.until) }),
      note: shelved.note,
    },
    acknowledged && {
      test: "alarm-acknowledged",
      said: t("alarms.acknowledged", { name: acknowledged.name, until: until(acknowledged.until) }),
      note: acknowledged.note,
    },
    assigned && {
      test: "alarm-assigned",
      said: t("alarms.assigned", { to: assigned.to, name: assigned.name, time: until(assigned.at) }),
      note: assigned.note,
    },
  ];
  return (
    <>
      {lines.map((line) =>
        line ? (
          <p key={line.test} class="alarm-ack" data-testid={line.test} lang={langOf(line.said + line.note)}>
            {line.said}
            {line.note ? ` · ${line.note}` : ""}
          </p>
        ) : null,
      )}
    </>
  );
}

/** An alarm among those of an incident; `leave` goes from the page that it stands on to the map. */
export function AlarmRow({ alert, leave }: { alert: Alert; leave?: () => void }) {
  const name = alertDevice(alert);
  const rule = pick(alert.rule_name);
  const raised = Date.parse(alert.raised_at);
  return (
    <li class={`row sev-${alert.severity}`} data-testid={`row-${alert.id}`} data-device={alert.series.device}>
      <SeverityMark severity={alert.severity} />
      <span class="only-read">{t(`severity.${alert.severity}`)}</span>
      <button
        type="button"
        class="row-open"
        title={t("alarms.show", { name })}
        data-testid="alarm-open"
        onClick={() => {
          selectDevice(alert.series.device, alert.series.id);
          leave?.();
        }}
      >
        <span class="row-name" lang={langOf(name)}>
          {name}
        </span>
        <span class="row-rule" lang={langOf(rule)}>
          {rule}
        </span>
      </button>
      <span class="row-marks">
        {alert.condition === "abnormal" ? null : (
          <span class={`state-${alert.condition}`}>
            <StateMark state={alert.condition} />
            <span class="only-read">
              {t(alert.condition === "unknown" ? "alarms.condition_unknown" : "alarms.condition_normal")}
            </span>
          </span>
        )}
        {alert.acknowledged ? <span class="row-done">{t("edge.acknowledged")}</span> : null}
        <time title={t("alarms.raised", { time: stamp(raised, now.value) })}>{age(raised, now.value)}</time>
      </span>
    </li>
  );
}
