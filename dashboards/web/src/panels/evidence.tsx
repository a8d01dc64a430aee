// One alarm in the drawer of its device, open or found in what came late: what it rests on, and what a person may do with it.
import type { Alert } from "../api/types";
import { langOf, pick, t } from "../i18n";
import { stamp } from "../i18n/format";
import { valueWithUnit } from "../state/quantities";
import { isForeseen } from "../state/rules";
import { may } from "../state/session";
import { actsOn, type Verb } from "../state/triage";
import { act, now, wall } from "../state/view";
import { Condition, DrillTag, PastTag, Words } from "./alarm";
import { ForeseenBadge, SeverityBadge } from "./marks";
import { usePack } from "./pack";
import { PastFacts } from "./past";
import { Story } from "./story";
import { Trouble } from "./trouble";
import { Why } from "./why";

const VERBS: readonly Verb[] = ["acknowledge", "assign", "shelve", "unshelve", "close"];

/** What an alarm rests on and what to do about it; `isFirst` is the one that the drawer was opened for. */
export function Evidence({ alert, isFirst }: { alert: Alert; isFirst: boolean }) {
  const rule = pick(alert.rule_name);
  const advice = pick(alert.advice);
  const quantity = alert.series.quantity;
  const foreseen = isForeseen(alert);
  return (
    <article
      class={`evidence sev-${alert.severity}${alert.shelved ? " is-shelved" : ""}`}
      data-testid={`evidence-${alert.id}`}
    >
      <header>
        <SeverityBadge severity={alert.severity} />
        <b lang={langOf(rule)}>{rule}</b>
        {foreseen ? <ForeseenBadge /> : null}
        <PastTag of={alert.past} />
        <DrillTag of={alert.drill} />
        {alert.past ? null : <Condition of={alert.condition} />}
        {alert.past ? null : <time>{stamp(Date.parse(alert.raised_at), now.value)}</time>}
      </header>
      {alert.past ? (
        <>
          <p class="past-hint" data-testid="past-hint">
            {t("past.hint")}
          </p>
          <PastFacts alert={alert} />
        </>
      ) : null}
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
      <Words alert={alert} />
      {wall ? null : (
        <>
          <Acts alert={alert} />
          <Why alert={alert} startsOpen={isFirst} />
          <Story alert={alert} />
        </>
      )}
    </article>
  );
}

function Acts({ alert }: { alert: Alert }) {
  const acts = actsOn(alert, may);
  const pack = usePack();
  return (
    <>
      <div class="evidence-acts">
        {VERBS.filter((verb) => acts.includes(verb)).map((verb, i) => (
          <button
            key={verb}
            type="button"
            class={i === 0 ? "primary" : "quiet"}
            data-testid={`evidence-${verb}`}
            onClick={() => {
              act.value = { verb, alert };
            }}
          >
            {t(`alarms.${verb}`)}
          </button>
        ))}
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
