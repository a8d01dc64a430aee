// The log of a desk: lines of people and of the server in one order, and the form by which a person writes.
import type { RefObject } from "preact";
import { useState } from "preact/hooks";
import { api } from "../api/client";
import type { DutyDesk, DutyKind, DutyLine, DutyLog } from "../api/types";
import { langOf, pick, t } from "../i18n";
import { moment } from "../i18n/format";
import { corrections } from "../state/duty";
import { type Failure, failureOf } from "../state/failure";
import { may } from "../state/session";
import { now } from "../state/view";
import { DrillTag } from "./alarm";
import { HandedWords } from "./duty-handover";
import { SeverityBadge } from "./marks";
import { Trouble } from "./trouble";

const KINDS = ["note", "call", "instruction"] as const satisfies readonly DutyKind[];
const MOST = 4_000;

type Props = { desk: DutyDesk; log: DutyLog; again: () => void; list: RefObject<HTMLElement | null> };

export function Log({ desk, log, again, list }: Props) {
  const [corrects, setCorrects] = useState<number | null>(null);
  const corrected = corrections(log.items);
  return (
    <>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls is reached by the keyboard */}
      <section class="duty-lines" ref={list} tabIndex={0} aria-label={t("duty.log")}>
        {log.items.length === 0 ? <p class="empty">{t("duty.log_none")}</p> : null}
        {log.items.length > 0 ? (
          <table class="desk-table" data-testid="duty-lines">
            <thead>
              <tr>
                <th scope="col">{t("duty.time")}</th>
                <th scope="col">{t("duty.kind")}</th>
                <th scope="col">{t("duty.who")}</th>
                <th scope="col">{t("duty.what")}</th>
              </tr>
            </thead>
            <tbody>
              {log.items.map((line) => (
                <Line
                  key={line.source + line.id}
                  line={line}
                  by={line.source === "entry" ? corrected.get(line.id) : undefined}
                  correct={() => setCorrects(line.id)}
                />
              ))}
            </tbody>
          </table>
        ) : null}
        {log.next === null ? null : <p class="hint">{t("duty.log_cut", { n: log.items.length })}</p>}
      </section>
      {may("handle_alerts") ? (
        <Write desk={desk} corrects={corrects} clear={() => setCorrects(null)} again={again} />
      ) : null}
    </>
  );
}

type LineProps = { line: DutyLine; by: number | undefined; correct: () => void };

function Line({ line, by, correct }: LineProps) {
  const isEntry = line.source === "entry";
  const mayCorrect = isEntry && by === undefined && may("handle_alerts");
  return (
    <tr class={isEntry ? "is-entry" : undefined} data-testid={`duty-line-${line.kind}`}>
      <td>
        <time dateTime={line.at}>{moment(Date.parse(line.at), now.value)}</time>
      </td>
      <td>{t(`dutykind.${line.kind}`)}</td>
      <td lang={isEntry ? langOf(line.name) : undefined}>{isEntry ? line.name : t("duty.system")}</td>
      <td>
        <Words line={line} />
        {isEntry && line.corrects !== null ? (
          <small>{t("duty.correcting", { n: line.corrects })}</small>
        ) : null}
        {by === undefined ? null : <small>{t("duty.corrected", { n: by })}</small>}
        {mayCorrect && isEntry && line.handed === null && line.handover === null ? (
          <button type="button" class="quiet" data-testid={`duty-correct-${line.id}`} onClick={correct}>
            {t("duty.correct")}
          </button>
        ) : null}
      </td>
    </tr>
  );
}

function Words({ line }: { line: DutyLine }) {
  if (line.source === "entry") {
    return (
      <>
        <p class="duty-text" lang={langOf(line.text)}>
          {line.text}
        </p>
        {line.handed ? <HandedWords handed={line.handed} /> : null}
      </>
    );
  }
  if (line.source === "warnings") return <p class="duty-text">{line.identifier}</p>;
  const words = pick(line.message);
  return (
    <p class="duty-text">
      <SeverityBadge severity={line.severity} /> <DrillTag of={line.drill} />{" "}
      <b>{line.device_name ?? line.device}</b> <span lang={langOf(words)}>{words}</span>
    </p>
  );
}

type WriteProps = { desk: DutyDesk; corrects: number | null; clear: () => void; again: () => void };

function Write({ desk, corrects, clear, again }: WriteProps) {
  const [kind, setKind] = useState<(typeof KINDS)[number]>("note");
  const [text, setText] = useState("");
  const [failure, setFailure] = useState<Failure | null>(null);
  const [busy, setBusy] = useState(false);
  const send = async (event: Event) => {
    event.preventDefault();
    if (!text.trim()) return;
    setBusy(true);
    setFailure(null);
    try {
      const named = corrects === null ? {} : { corrects };
      await api.writeDuty(desk.id, { kind, text: text.trim(), ...named });
      setText("");
      clear();
      again();
    } catch (error) {
      setFailure(failureOf(error));
    }
    setBusy(false);
  };
  return (
    <form class="desk-form duty-write" onSubmit={send} noValidate>
      <label class="field">
        <span>{t("duty.kind")}</span>
        <select
          value={kind}
          data-testid="duty-kind"
          onChange={(event) => setKind(event.currentTarget.value as (typeof KINDS)[number])}
        >
          {KINDS.map((each) => (
            <option key={each} value={each}>
              {t(`dutykind.${each}`)}
            </option>
          ))}
        </select>
      </label>
      <label class="field">
        <span>
          {t("duty.text")}
          {corrects === null ? "" : ` · ${t("duty.correcting", { n: corrects })}`}
        </span>
        <textarea
          rows={2}
          value={text}
          maxLength={MOST}
          data-testid="duty-text"
          onInput={(event) => setText(event.currentTarget.value)}
        />
      </label>
      <div class="duty-line">
        {corrects === null ? null : (
          <button type="button" class="quiet" onClick={clear}>
            {t("duty.cancel")}
          </button>
        )}
        <button type="submit" class="primary" disabled={busy || !text.trim()} data-testid="duty-write">
          {t("duty.write")}
        </button>
      </div>
      {failure ? <Trouble failure={failure} test="duty-write-trouble" /> : null}
    </form>
  );
}
