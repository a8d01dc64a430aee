// What a person does with an alarm: who, why, for how long. The server records it; the screen only asks.
import { useEffect, useRef, useState } from "preact/hooks";
import { api } from "../api/client";
import type { Alert } from "../api/types";
import { alertDevice, langOf, pick, t } from "../i18n";
import { moment } from "../i18n/format";
import { takeAlert } from "../state/city";
import { type Failure, failureOf } from "../state/failure";
import { actorOf } from "../state/self";
import { may, sessionNow } from "../state/session";
import { actsOn, type Verb } from "../state/triage";
import { type Act, act, now } from "../state/view";
import { SeverityBadge } from "./marks";
import { Trouble } from "./trouble";

type Minutes = 30 | 60 | 240 | 480 | 1440 | 10080;
/** For how long something is said; what runs out by itself only. */
const MINUTES: Partial<Record<Verb, readonly Minutes[]>> = {
  acknowledge: [30, 60, 240, 480],
  shelve: [60, 240, 480, 1440, 10080],
};
/** What cannot be done without a reason. */
const NEEDS_REASON: readonly Verb[] = ["shelve", "close"];

type Said = { name: string; note: string; minutes: Minutes; to: string };

const SEND: Record<Verb, (id: string, said: Said) => Promise<Alert>> = {
  acknowledge: (id, { name, note, minutes }) => api.acknowledge(id, { name, note, minutes }),
  assign: (id, { name, note, to }) => api.assign(id, { name, note, to }),
  shelve: (id, { name, note, minutes }) => api.shelve(id, { name, note, minutes }),
  unshelve: (id, { name, note }) => api.unshelve(id, { name, note }),
  close: (id, { name, note }) => api.close(id, { name, note }),
};
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
  const [minutes, setMinutes] = useState<Minutes>(60);
  const [to, setTo] = useState(alert.assigned?.to ?? "");
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
    if (verb === "assign" && !to.trim()) return setLack(t("act.to_missing"));
    if (NEEDS_REASON.includes(verb) && !why) return setLack(t("act.note_missing"));
    setBusy(true);
    setLack(null);
    try {
      const told = await SEND[verb](alert.id, { name: who, note: why, minutes, to: to.trim() });
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
  const title = t(`act.${verb}_title`);
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
        {verb === "assign" ? (
          <label class="field">
            <span>{t("act.to")}</span>
            <input
              type="text"
              value={to}
              maxLength={40}
              required
              data-testid="act-to"
              aria-invalid={lack !== null && !to.trim()}
              onInput={(event) => setTo(event.currentTarget.value)}
            />
          </label>
        ) : null}
        <label class="field">
          <span>{t("act.note")}</span>
          <textarea
            rows={2}
            value={note}
            maxLength={400}
            placeholder={t(`act.note_${verb}_hint`)}
            data-testid="act-note"
            onInput={(event) => setNote(event.currentTarget.value)}
          />
        </label>
        <HowLong verb={verb} minutes={minutes} choose={setMinutes} />
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
            {t(`act.submit_${verb}`)}
          </button>
        </div>
      </form>
    </dialog>
  );
}

type HowLongProps = { verb: Verb; minutes: Minutes; choose: (minutes: Minutes) => void };

function HowLong({ verb, minutes, choose }: HowLongProps) {
  const choices = MINUTES[verb];
  if (choices === undefined) return null;
  const isShelf = verb === "shelve";
  return (
    <fieldset class="field">
      <legend>
        {t(isShelf ? "act.until_shelve" : "act.until")} ·{" "}
        <span data-testid="act-ends">
          {t("act.ends", { time: moment(now.value + minutes * 60_000, now.value) })}
        </span>
      </legend>
      <div class={isShelf ? "choices is-five" : "choices"}>
        {choices.map((each) => (
          <label key={each} class="choice">
            <input
              type="radio"
              name="minutes"
              checked={minutes === each}
              data-testid={`act-minutes-${each}`}
              onChange={() => choose(each)}
            />
            <span>{t(`act.minutes_${each}`)}</span>
          </label>
        ))}
      </div>
      <small class="hint">{t(isShelf ? "act.until_shelve_hint" : "act.until_hint")}</small>
    </fieldset>
  );
}
