// Acknowledging or closing an alarm: who, why, for how long. The server records it; the screen only asks.
import { useEffect, useRef, useState } from "preact/hooks";
import { api } from "../api/client";
import { alertDevice, langOf, pick, t } from "../i18n";
import { takeAlert } from "../state/city";
import { type Failure, failureOf } from "../state/failure";
import { actorOf } from "../state/self";
import { may, sessionNow } from "../state/session";
import { actsOn } from "../state/triage";
import { type Act, act } from "../state/view";
import { SeverityBadge } from "./marks";
import { Trouble } from "./trouble";

const MINUTES = [30, 60, 240, 480] as const;
const NAME_STORED_AS = "onemap.name";

function storedName(): string {
  try {
    return localStorage.getItem(NAME_STORED_AS) ?? "";
  } catch {
    return "";
  }
}

export function ActDialog() {
  const open = act.value;
  if (!open || !actsOn(open.alert, may).includes(open.verb)) return null;
  return <Form key={open.alert.id + open.verb} {...open} />;
}

function Form({ verb, alert }: Act) {
  const dialog = useRef<HTMLDialogElement>(null);
  const session = sessionNow();
  /** An account acts in its own name. */
  const own = session && actorOf(session);
  const [said, setSaid] = useState(storedName);
  const name = own ?? said;
  const [note, setNote] = useState("");
  const [minutes, setMinutes] = useState<(typeof MINUTES)[number]>(60);
  /** What is missing in the form. */
  const [lack, setLack] = useState<string | null>(null);
  const [failure, setFailure] = useState<Failure | null>(null);
  const [busy, setBusy] = useState(false);

  useEffect(() => {
    dialog.current?.showModal();
  }, []);

  const leave = () => {
    act.value = null;
  };

  const send = async (event: Event) => {
    event.preventDefault();
    const who = name.trim();
    const why = note.trim();
    setFailure(null);
    if (!who) return setLack(t("act.name_missing"));
    if (verb === "close" && !why) return setLack(t("act.note_missing"));
    setBusy(true);
    setLack(null);
    try {
      const told =
        verb === "acknowledge"
          ? await api.acknowledge(alert.id, { name: who, note: why, minutes })
          : await api.close(alert.id, { name: who, note: why });
      try {
        if (own === null) localStorage.setItem(NAME_STORED_AS, who);
      } catch {
        // Storage is switched off: the name is asked again next time.
      }
      takeAlert(told);
      leave();
    } catch (error) {
      setFailure(failureOf(error));
      setBusy(false);
    }
  };

  const rule = pick(alert.rule_name);
  const device = alertDevice(alert);
  const title = t(verb === "acknowledge" ? "act.acknowledge_title" : "act.close_title");
  return (
    <dialog ref={dialog} class="dialog" aria-labelledby="act-title" data-testid="act-dialog" onClose={leave}>
      <form onSubmit={send} noValidate>
        <h2 id="act-title">{title}</h2>
        <div class="dialog-about">
          <SeverityBadge severity={alert.severity} />
          <b lang={langOf(rule)}>{rule}</b>
          <span lang={langOf(device)}>{device}</span>
          <p lang={langOf(pick(alert.message))}>{pick(alert.message)}</p>
        </div>
        {own === null ? (
          <label class="field">
            <span>{t("act.name")}</span>
            <input
              type="text"
              value={name}
              maxLength={40}
              required
              autocomplete="name"
              data-testid="act-name"
              aria-invalid={lack !== null && !name.trim()}
              onInput={(event) => setSaid(event.currentTarget.value)}
            />
          </label>
        ) : (
          <p class="field">
            <span>{t("act.name")}</span>
            <b lang={langOf(own)} data-testid="act-own-name">
              {own}
            </b>
          </p>
        )}
        <label class="field">
          <span>{t("act.note")}</span>
          <textarea
            rows={2}
            value={note}
            maxLength={400}
            placeholder={t(verb === "acknowledge" ? "act.note_ack_hint" : "act.note_close_hint")}
            data-testid="act-note"
            onInput={(event) => setNote(event.currentTarget.value)}
          />
        </label>
        {verb === "acknowledge" ? (
          <fieldset class="field">
            <legend>{t("act.until")}</legend>
            <div class="choices">
              {MINUTES.map((each) => (
                <label key={each} class="choice">
                  <input
                    type="radio"
                    name="minutes"
                    checked={minutes === each}
                    data-testid={`act-minutes-${each}`}
                    onChange={() => setMinutes(each)}
                  />
                  <span>{t(`act.minutes_${each}`)}</span>
                </label>
              ))}
            </div>
            <small class="hint">{t("act.until_hint")}</small>
          </fieldset>
        ) : null}
        {lack ? (
          <p class="trouble" role="alert">
            {lack}
          </p>
        ) : null}
        {failure ? <Trouble failure={failure} test="act-trouble" /> : null}
        <div class="dialog-acts">
          <button type="button" class="quiet" onClick={leave}>
            {t("act.cancel")}
          </button>
          <button type="submit" class="primary" disabled={busy} data-testid="act-submit">
            {t(verb === "acknowledge" ? "act.submit_ack" : "act.submit_close")}
          </button>
        </div>
      </form>
    </dialog>
  );
}
