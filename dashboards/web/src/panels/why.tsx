// Why an alarm is what it is: the four panels, the conditions of its rule one by one, and what they rest on.
import { useEffect, useState } from "preact/hooks";
import { askEvery } from "../api/again";
import { ApiError, api } from "../api/client";
import type { Alert, ExplainPanel, Explanation } from "../api/types";
import { langOf, nameOf, pick, t } from "../i18n";
import { stamp } from "../i18n/format";
import { devices } from "../state/city";
import { type Failure, failureOf } from "../state/failure";
import { quantityName, valueWithUnit } from "../state/quantities";
import { renewals } from "../state/session";
import { now } from "../state/view";
import { amountText, type Holding, holdingOf, newestInputs, PANELS, seriesOf } from "../state/why";
import { Icon, StateMark } from "./marks";
import { failureWords } from "./trouble";

/** The engine's state moves between the edges of an alarm. */
const EVERY_MS = 15_000;

export function Why({ alert, startsOpen }: { alert: Alert; startsOpen: boolean }) {
  const [isOpen, setOpen] = useState(startsOpen);
  const id = `why-${alert.id}`;
  return (
    <section class="why" data-testid="why">
      <button
        type="button"
        class="why-head"
        aria-expanded={isOpen}
        aria-controls={isOpen ? id : undefined}
        data-testid="why-open"
        onClick={() => setOpen(!isOpen)}
      >
        <Icon name={isOpen ? "up" : "down"} />
        {t("why.title")}
      </button>
      {isOpen ? (
        <div id={id} class="why-body">
          <Answer alert={alert} />
        </div>
      ) : null}
    </section>
  );
}

function Answer({ alert }: { alert: Alert }) {
  const { told, failure } = useExplanation(alert);
  return (
    <>
      {failure ? (
        <p class="why-none state-unknown" role="status" data-testid="why-trouble">
          {isMissing(failure) ? t("why.missing") : t("why.failed", { why: failureWords(failure.failure) })}
        </p>
      ) : null}
      {told ? <Told alert={alert} told={told} /> : failure ? null : <p class="hint">{t("why.loading")}</p>}
    </>
  );
}

type Failed = { failure: Failure; code: string };

/** An older server has no such answer, which is no fault of the alarm. */
const isMissing = ({ code }: Failed) => code === "unknown_route" || code === "not_found";

function useExplanation({ id, changed_at }: Alert): { told: Explanation | null; failure: Failed | null } {
  const [told, setTold] = useState<Explanation | null>(null);
  const [failure, setFailure] = useState<Failed | null>(null);
  useEffect(() => {
    const stop = askEvery(
      EVERY_MS,
      () => api.explain(id),
      (answer) => {
        setTold(answer);
        setFailure(null);
      },
      (error) => {
        setFailure({ failure: failureOf(error), code: error instanceof ApiError ? error.code : "" });
        // What is not there will not be there in a quarter of a minute.
        if (error instanceof ApiError && error.status === 404) stop();
      },
    );
    return stop;
  }, [id, changed_at, renewals.value]);
  return { told, failure };
}

function Told({ alert, told }: { alert: Alert; told: Explanation }) {
  const sentence = told.sentence ? pick(told.sentence) : "";
  const why = told.why ? pick(told.why) : "";
  const at = stamp(Date.parse(told.at), now.value);
  return (
    <>
      <div class="panels4">
        {PANELS.map((name) => (
          <Panel key={name} name={name} panel={told.panels[name]} />
        ))}
      </div>
      {sentence ? (
        <p class="why-line">
          <span>{t("why.rule")}</span>
          <span lang={langOf(sentence)}>{sentence}</span>
        </p>
      ) : null}
      {told.rule_changed ? <p class="why-changed">{t("why.rule_changed")}</p> : null}
      {told.clause ? (
        <p class="why-line">
          <span>{t("why.clause")}</span>
          <span lang={langOf(told.clause.text)}>{told.clause.text}</span>
        </p>
      ) : null}
      <p class="why-progress">
        <b class={`state-${told.condition}`}>
          <StateMark state={told.condition} />
          {t(`why.progress_${told.progress}`)}
        </b>
        {told.since ? (
          <span>{t("why.since", { time: stamp(Date.parse(told.since), now.value) })}</span>
        ) : null}
        <span lang={langOf(why)}>{why}</span>
        <small>{t(told.by === "engine" ? "why.by_engine" : "why.by_record", { time: at })}</small>
      </p>
      <Facts told={told} />
      <Inputs alert={alert} inputs={told.inputs} />
    </>
  );
}

function Panel({ name, panel }: { name: (typeof PANELS)[number]; panel: ExplainPanel | undefined }) {
  const text = panel ? pick(panel.text) : "";
  return (
    <section
      class={panel?.is ? "panel4" : "panel4 is-none"}
      aria-label={`${t(`why.${name}`)} ${t(`why.${name}_of`)}`}
      data-testid={`panel-${name}`}
    >
      <h4>
        {t(`why.${name}`)} <small>{t(`why.${name}_of`)}</small>
        {panel?.is ? null : <span class="tag">{t("why.has_not")}</span>}
      </h4>
      <p lang={langOf(text)}>{text}</p>
    </section>
  );
}

/** The conditions of the rule; what is not known has a mark of its own. */
function Facts({ told: { facts } }: { told: Explanation }) {
  if (facts.length === 0) return null;
  return (
    <div>
      <h4>{t("why.facts")}</h4>
      <ul class="why-facts" data-testid="why-facts">
        {facts.map((fact) => {
          const words = pick(fact.sentence);
          const holding = holdingOf(fact.holds);
          return (
            <li key={fact.sentence.zh} class={`is-${holding}`} data-holds={holding}>
              <span class={`why-holds${holding === "holds_unknown" ? " state-unknown" : ""}`}>
                <HoldingMark holding={holding} />
                {t(`why.${holding}`)}
              </span>
              <span lang={langOf(words)}>{words}</span>
              {fact.amount === null || fact.amount === undefined ? null : <b>{amountText(fact.amount)}</b>}
            </li>
          );
        })}
      </ul>
    </div>
  );
}

/** A full circle holds, an empty one does not; neither says that something is well. */
function HoldingMark({ holding }: { holding: Holding }) {
  if (holding === "holds_unknown") return <StateMark state="unknown" />;
  return (
    <svg class="mark" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <circle
        cx="12"
        cy="12"
        r="8"
        fill={holding === "holds" ? "currentColor" : "none"}
        stroke="currentColor"
        stroke-width="2.4"
      />
    </svg>
  );
}

function Inputs({ alert, inputs }: { alert: Alert; inputs: Explanation["inputs"] }) {
  if (inputs.length === 0) return null;
  return (
    <div>
      <h4>{t("why.inputs")}</h4>
      <ul class="why-inputs">
        {newestInputs(inputs).map((input) => {
          const other = seriesOf(input.of);
          const quantity = other?.quantity ?? alert.series.quantity;
          const device = other && devices.get(other.device);
          const name = device ? nameOf(device) : (other?.device ?? "");
          return (
            <li key={`${input.position}/${input.measured_at}/${quantity}/${name}`}>
              <time>{stamp(Date.parse(input.measured_at), now.value)}</time>
              <span lang={langOf(name)}>{[name, quantityName(quantity)].filter(Boolean).join(" · ")}</span>
              <b>{valueWithUnit(quantity, input.value)}</b>
            </li>
          );
        })}
      </ul>
    </div>
  );
}
