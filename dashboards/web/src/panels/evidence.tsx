// One open alarm in the drawer of its device: what it rests on, and what a person may do with it.
import type { Alert } from "../api/types";
import { langOf, pick, t } from "../i18n";
import { stamp } from "../i18n/format";
import { valueWithUnit } from "../state/quantities";
import { isForeseen } from "../state/rules";
import { may } from "../state/session";
import { actsOn } from "../state/triage";
import { act, now, wall } from "../state/view";
import { ForeseenBadge, SeverityBadge } from "./marks";
import { usePack } from "./pack";
import { Trouble } from "./trouble";

/** What an alarm rests on and what to do about it. */
export function Evidence({ alert }: { alert: Alert }) {
  const rule = pick(alert.rule_name);
  const advice = pick(alert.advice);
  const quantity = alert.series.quantity;
  const foreseen = isForeseen(alert);
  return (
    <article class={`evidence sev-${alert.severity}`}>
      <header>
        <SeverityBadge severity={alert.severity} />
        <b lang={langOf(rule)}>{rule}</b>
        {foreseen ? <ForeseenBadge /> : null}
        <time>{stamp(Date.parse(alert.raised_at), now.value)}</time>
      </header>
      <p lang={langOf(pick(alert.message))}>{pick(alert.message)}</p>
      <p class="evidence-line">
        {/* Of a rule about a fence it is a longitude, which says nothing here. */}
        {alert.value === null || quantity === "longitude" ? null : (
          <span>
            {t(foreseen ? "alarms.value_foreseen" : "alarms.value")}{" "}
            <b>{valueWithUnit(quantity, alert.value)}</b>
          </span>
        )}
        {alert.threshold === null ? null : (
          <span>
            {t("alarms.threshold")} <b>{valueWithUnit(quantity, alert.threshold)}</b>
          </span>
        )}
        <span>
          {t("alarms.rule")} <code>{`${alert.rule} @ ${alert.rule_version}`}</code>
        </span>
        <span>
          {t("alarms.id")} <code data-testid="evidence-id">{alert.id}</code>
        </span>
      </p>
      {advice ? (
        <p class="evidence-advice">
          <span>{t("alarms.advice")}</span>
          <span lang={langOf(advice)}>{advice}</span>
        </p>
      ) : null}
      {alert.acknowledged ? (
        <p class="alarm-ack" lang={langOf(alert.acknowledged.name + alert.acknowledged.note)}>
          {t("alarms.acknowledged", {
            name: alert.acknowledged.name,
            until: stamp(Date.parse(alert.acknowledged.until), now.value),
          })}
          {alert.acknowledged.note ? ` · ${alert.acknowledged.note}` : ""}
        </p>
      ) : null}
      {wall ? null : <Acts alert={alert} />}
    </article>
  );
}

function Acts({ alert }: { alert: Alert }) {
  const acts = actsOn(alert, may);
  const pack = usePack();
  return (
    <>
      <div class="evidence-acts">
        {acts.includes("acknowledge") ? (
          <button
            type="button"
            class="primary"
            onClick={() => {
              act.value = { verb: "acknowledge", alert };
            }}
          >
            {t("alarms.acknowledge")}
          </button>
        ) : null}
        {acts.includes("close") ? (
          <button
            type="button"
            class="quiet"
            onClick={() => {
              act.value = { verb: "close", alert };
            }}
          >
            {t("alarms.close")}
          </button>
        ) : null}
        {acts.includes("evidence") ? (
          <button
            type="button"
            class="quiet"
            title={t("alarms.evidence_hint")}
            aria-busy={pack.making}
            aria-disabled={pack.making}
            data-testid="evidence-take"
            onClick={() => void pack.take(alert.id)}
          >
            {pack.making ? t("alarms.evidence_making") : t("alarms.evidence")}
          </button>
        ) : null}
      </div>
      {pack.failure ? <Trouble failure={pack.failure} test="evidence-trouble" /> : null}
    </>
  );
}
