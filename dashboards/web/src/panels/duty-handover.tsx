// Hand-over and take-over of a desk, and what was handed over in words.
import { useEffect, useRef, useState } from "preact/hooks";
import { api } from "../api/client";
import type { DutyDesk, Handed } from "../api/types";
import { langOf, pick, t } from "../i18n";
import { moment } from "../i18n/format";
import { waitingOf } from "../state/duty";
import { type Failure, failureOf } from "../state/failure";
import { now } from "../state/view";
import { SeverityBadge } from "./marks";
import { Trouble } from "./trouble";

const MOST = 4_000;
/** Alarms that a line of the log spells out. */
const N_SPELT = 20;

export function HandedWords({ handed }: { handed: Handed }) {
  const { n_open, n_waiting, n_shelved, n_paged } = handed;
  const warnings = handed.warnings.map((each) => pick({ zh: each.event_zh, en: each.event_en })).join("、");
  const aside = (handed.set_aside ?? []).map(({ consumer, n }) => `${consumer} ${n}`).join("、");
  return (
    <div class="duty-handed" data-testid="duty-handed">
      <p>{t("duty.handed", { open: n_open, waiting: n_waiting, shelved: n_shelved, paged: n_paged })}</p>
      {warnings ? <p>{t("duty.handed_warnings", { names: warnings })}</p> : null}
      {aside ? <p>{t("duty.handed_aside", { names: aside })}</p> : null}
      {handed.alerts.length > 0 ? (
        <ul>
          {handed.alerts.slice(0, N_SPELT).map((each) => (
            <li key={each.id}>
              <SeverityBadge severity={each.severity} /> {each.device_name || each.device}{" "}
              {pick({ zh: each.name_zh, en: each.name_en })}
              {each.shelved ? <Until said={t("alarms.shelved")} of={each.shelved} /> : null}
              {each.acknowledged ? <Until said={t("edge.acknowledged")} of={each.acknowledged} /> : null}
            </li>
          ))}
        </ul>
      ) : null}
    </div>
  );
}

const Until = ({ said, of: { name, until } }: { said: string; of: { name: string; until: string } }) => (
  <small>{` · ${said} ${name} → ${moment(Date.parse(until), now.value)}`}</small>
);

/** One dialog for both: what waits is taken over first, by another person than who handed over. */
export function HandOver({ desk, done }: { desk: DutyDesk; done: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const waiting = waitingOf(desk);
  const [isTaking, setTaking] = useState(waiting !== null);
  const [text, setText] = useState("");
  const [handed, setHanded] = useState<Handed | null>(null);
  const [failure, setFailure] = useState<Failure | null>(null);
  const [busy, setBusy] = useState(false);
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  useEffect(() => {
    if (!waiting) return;
    const at = { shift: waiting.at, limit: 1_000 };
    api
      .dutyLog(desk.id, waiting.shift ? at : { limit: 1_000 })
      .then(({ items }) => {
        const found = items.find((line) => line.source === "entry" && line.id === waiting.id);
        if (found?.source === "entry") setHanded(found.handed);
      })
      .catch((error) => setFailure(failureOf(error)));
  }, [desk.id, waiting?.id]);

  const send = async (event: Event) => {
    event.preventDefault();
    if (!isTaking && !text.trim()) return;
    setBusy(true);
    setFailure(null);
    try {
      if (isTaking && waiting) await api.takeOver(desk.id, waiting.id, text.trim());
      else await api.handOver(desk.id, text.trim());
      done();
    } catch (error) {
      setFailure(failureOf(error));
      setBusy(false);
    }
  };
  const title = t(isTaking ? "duty.take_over" : "duty.hand_over");
  return (
    <dialog
      ref={dialog}
      class="dialog duty-dialog"
      aria-labelledby="hand-title"
      data-testid="duty-hand-dialog"
      onClose={done}
    >
      <form onSubmit={send} noValidate>
        <h2 id="hand-title">
          {title} · <span lang={langOf(desk.name)}>{desk.name}</span>
        </h2>
        {waiting ? (
          <fieldset class="segments" aria-label={t("duty.handover")}>
            {[true, false].map((each) => (
              <button
                key={String(each)}
                type="button"
                aria-pressed={isTaking === each}
                onClick={() => setTaking(each)}
              >
                {t(each ? "duty.take_over" : "duty.hand_over")}
              </button>
            ))}
          </fieldset>
        ) : null}
        <p class="hint">{t(isTaking ? "duty.take_over_hint" : "duty.hand_over_hint")}</p>
        {isTaking && waiting ? (
          <p>
            {t("duty.handed_by", { name: waiting.name, time: moment(Date.parse(waiting.at), now.value) })}
          </p>
        ) : null}
        {isTaking && handed ? <HandedWords handed={handed} /> : null}
        <label class="field">
          <span>{t("duty.text")}</span>
          <textarea
            rows={4}
            value={text}
            maxLength={MOST}
            data-testid="duty-hand-text"
            onInput={(event) => setText(event.currentTarget.value)}
          />
        </label>
        {failure ? <Trouble failure={failure} test="duty-hand-trouble" /> : null}
        <div class="dialog-acts">
          <button type="button" class="quiet" onClick={done}>
            {t("duty.cancel")}
          </button>
          <button
            type="submit"
            class="primary"
            disabled={busy || (!isTaking && !text.trim())}
            data-testid="duty-hand-submit"
          >
            {title}
          </button>
        </div>
      </form>
    </dialog>
  );
}
