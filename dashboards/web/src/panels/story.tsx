// What happened to an alarm, oldest first: raised, worsened, eased, what people said of it.
import { useEffect, useState } from "preact/hooks";
import { api } from "../api/client";
import type { Alert, Transition } from "../api/types";
import { langOf, named, pick, t } from "../i18n";
import { moment, stamp } from "../i18n/format";
import { type Failure, failureOf } from "../state/failure";
import { now } from "../state/view";
import { Icon, SeverityBadge } from "./marks";
import { Trouble } from "./trouble";

/** Edges after which the alarm is of another severity. */
const TELLS_SEVERITY = ["raised", "worsened", "eased", "drill_over", "past"];

export function Story({ alert }: { alert: Alert }) {
  const [isOpen, setOpen] = useState(false);
  const id = `story-${alert.id}`;
  return (
    <section class="why" data-testid="story">
      <button
        type="button"
        class="why-head"
        aria-expanded={isOpen}
        aria-controls={isOpen ? id : undefined}
        data-testid="story-open"
        onClick={() => setOpen(!isOpen)}
      >
        <Icon name={isOpen ? "up" : "down"} />
        {t("alarms.story")}
      </button>
      {isOpen ? (
        <div id={id} class="why-body">
          <Told alert={alert} />
        </div>
      ) : null}
    </section>
  );
}

function Told({ alert }: { alert: Alert }) {
  const [history, setHistory] = useState<readonly Transition[]>([]);
  const [failure, setFailure] = useState<Failure | null>(null);
  // Words of people do not always move the time of the last change.
  const said = [alert.acknowledged?.at, alert.shelved?.at, alert.assigned?.at].join();
  useEffect(() => {
    let over = false;
    api.story(alert.id).then(
      (told) => {
        if (over) return;
        setHistory(told);
        setFailure(null);
      },
      (error) => {
        if (!over) setFailure(failureOf(error));
      },
    );
    return () => {
      over = true;
    };
  }, [alert.id, alert.changed_at, said]);
  return (
    <>
      {failure ? <Trouble failure={failure} said="alarms.story_failed" test="story-trouble" /> : null}
      <ol class="story" data-testid="story-edges">
        {history.map((step) => (
          <Step key={step.id} step={step} />
        ))}
      </ol>
    </>
  );
}

function Step({ step }: { step: Transition }) {
  const act = step.act;
  // Who was called stands in the sentence, with how many more wait.
  const words =
    step.edge === "paged"
      ? pick({ zh: step.message_zh, en: step.message_en })
      : act
        ? [
            act.name,
            act.to ? t("alarms.story_to", { to: act.to }) : "",
            act.until ? t("alarms.story_until", { until: moment(Date.parse(act.until), now.value) }) : "",
            act.note,
          ]
            .filter(Boolean)
            .join(" · ")
        : "";
  return (
    <li class={`event-${step.edge}`} data-edge={step.edge}>
      <time>{stamp(Date.parse(step.at), now.value)}</time>
      <b class="event-edge">{named("edge", step.edge)}</b>
      {TELLS_SEVERITY.includes(step.edge) ? <SeverityBadge severity={step.severity} /> : null}
      <span lang={langOf(words)}>{words}</span>
    </li>
  );
}
