// The page of the duty: desks with their roster, the log of the shift, and how one shift hands over to the next.
import { useEffect, useRef, useState } from "preact/hooks";
import { askEvery } from "../api/again";
import { api } from "../api/client";
import type { DutyDesk, DutyLog, HandoverState } from "../api/types";
import { lang, langOf, t } from "../i18n";
import { beijingDay, moment } from "../i18n/format";
import { serverNow } from "../state/city";
import { peopleOf, shiftText } from "../state/duty";
import { type Failure, failureOf } from "../state/failure";
import { may, renewals } from "../state/session";
import { now } from "../state/view";
import { HandOver } from "./duty-handover";
import { Log } from "./duty-log";
import { DeskForm } from "./duty-roster";
import { Trouble } from "./trouble";

const EVERY_MS = 15_000;
const N_LINES = 500;

type Open = "edit" | "new" | "hand" | null;

export function Duty() {
  const [turn, setTurn] = useState(0);
  const { desks, failure } = useDesks(turn);
  const [chosen, setChosen] = useState<string | null>(null);
  const [open, setOpen] = useState<Open>(null);
  const shown = desks?.find(({ id }) => id === chosen) ?? desks?.[0] ?? null;
  const again = () => {
    setOpen(null);
    setTurn((n) => n + 1);
  };
  return (
    <div class="duty" data-testid="duty-page">
      {failure ? <Trouble failure={failure} said="duty.failed" test="duty-trouble" /> : null}
      <section class="duty-desks" aria-labelledby="duty-desks">
        <div class="duty-line">
          <h3 id="duty-desks">{t("duty.desks")}</h3>
          {may("duty") ? (
            <button type="button" class="quiet" data-testid="duty-add" onClick={() => setOpen("new")}>
              {t("duty.add")}
            </button>
          ) : null}
          <Reports />
        </div>
        {desks === null ? <p class="empty">{failure ? "" : t("duty.loading")}</p> : null}
        {desks?.length === 0 ? <p class="empty">{t("duty.none")}</p> : null}
        {desks?.map((each) => (
          <DeskCard
            key={each.id}
            desk={each}
            isChosen={each.id === shown?.id}
            choose={() => setChosen(each.id)}
            edit={() => {
              setChosen(each.id);
              setOpen("edit");
            }}
          />
        ))}
      </section>
      {shown ? (
        <DeskLog key={shown.id} desk={shown} turn={turn} again={again} hand={() => setOpen("hand")} />
      ) : null}
      {open === "new" ? <DeskForm desk={null} done={again} /> : null}
      {open === "edit" && shown ? <DeskForm desk={shown} done={again} /> : null}
      {open === "hand" && shown ? <HandOver desk={shown} done={again} /> : null}
    </div>
  );
}

function useDesks(turn: number) {
  const [desks, setDesks] = useState<DutyDesk[] | null>(null);
  const [failure, setFailure] = useState<Failure | null>(null);
  useEffect(
    () =>
      askEvery(
        EVERY_MS,
        () => api.desks(),
        (told) => {
          setDesks(told);
          setFailure(null);
        },
        (error) => setFailure(failureOf(error)),
      ),
    [turn, renewals.value],
  );
  return { desks, failure };
}

function Reports() {
  const day = beijingDay(serverNow());
  const of = (path: string) => `/api/v1/reports/${path}&format=html&lang=${lang.value}`;
  return (
    <span class="duty-reports">
      <a href={of(`daily?date=${day}`)} target="_blank" rel="noreferrer" data-testid="duty-daily">
        {t("duty.daily")}
      </a>
      <a
        href={of(`monthly?month=${day.slice(0, 7)}`)}
        target="_blank"
        rel="noreferrer"
        data-testid="duty-monthly"
      >
        {t("duty.monthly")}
      </a>
    </span>
  );
}

type CardProps = { desk: DutyDesk; isChosen: boolean; choose: () => void; edit: () => void };

function DeskCard({ desk, isChosen, choose, edit }: CardProps) {
  const onDuty = Object.entries(desk.on_duty);
  return (
    <article class={`duty-card${isChosen ? " is-chosen" : ""}`} data-testid={`duty-desk-${desk.id}`}>
      <header class="duty-line">
        <button
          type="button"
          class="duty-pick"
          aria-pressed={isChosen}
          lang={langOf(desk.name)}
          data-testid={`duty-pick-${desk.id}`}
          onClick={choose}
        >
          {desk.name}
        </button>
        {desk.handover ? <Handover state={desk.handover} /> : null}
        {may("duty") ? (
          <button type="button" class="quiet" data-testid={`duty-edit-${desk.id}`} onClick={edit}>
            {t("duty.edit")}
          </button>
        ) : null}
      </header>
      <dl>
        <dt>{t("duty.now")}</dt>
        <dd>
          {desk.shift ? shiftText(desk.shift) : t("duty.no_shift")}
          <People of={onDuty} />
        </dd>
        <dt>{t("duty.next")}</dt>
        <dd>
          {desk.next_shift ? shiftText(desk.next_shift) : t("duty.no_shift")}
          <People of={peopleOf(desk, desk.next_shift)} />
        </dd>
        {desk.standby && Object.keys(desk.standby).length > 0 ? (
          <>
            <dt>{t("duty.standby")}</dt>
            <dd>
              <People of={Object.entries(desk.standby)} />
            </dd>
          </>
        ) : null}
        <dt>{t("duty.steps")}</dt>
        <dd>{desk.steps.map(({ after_min, post }) => t("duty.step", { n: after_min, post })).join(" → ")}</dd>
      </dl>
      {desk.waiting > 0 ? <p class="duty-waiting">{t("duty.waiting", { n: desk.waiting })}</p> : null}
      <LastHandover desk={desk} />
    </article>
  );
}

function People({ of }: { of: [string, string[]][] }) {
  return (
    <>
      {of.map(([post, people]) => (
        <span class="duty-people" key={post}>
          <small>{post}</small> {people.length > 0 ? people.join("、") : t("duty.nobody")}
        </span>
      ))}
    </>
  );
}

const STATES = {
  done: "duty.done",
  late: "duty.late",
  waiting: "duty.state_waiting",
  missing: "duty.missing",
} as const;
/** A shape of its own for each, beside the word. */
const SHAPES: Record<HandoverState, string> = { done: "✓", late: "✓", waiting: "…", missing: "!" };

function Handover({ state }: { state: HandoverState }) {
  return (
    <span class={`tag duty-state is-${state}`} data-testid="duty-state">
      <b aria-hidden="true">{SHAPES[state]}</b> {t(STATES[state])}
    </span>
  );
}

function LastHandover({ desk: { last_handover } }: { desk: DutyDesk }) {
  if (!last_handover) return null;
  const said = (at: string) => moment(Date.parse(at), now.value);
  const { taken } = last_handover;
  return (
    <p class="hint">
      {t("duty.handed_by", { name: last_handover.name, time: said(last_handover.at) })}
      {taken ? ` · ${t("duty.taken_by", { name: taken.name, time: said(taken.at) })}` : null}
    </p>
  );
}

type LogProps = { desk: DutyDesk; turn: number; again: () => void; hand: () => void };

function DeskLog({ desk, turn, again, hand }: LogProps) {
  const [log, setLog] = useState<DutyLog | null>(null);
  const [failure, setFailure] = useState<Failure | null>(null);
  const shift = desk.shift ? "current" : undefined;
  const latest = useRef<HTMLElement>(null);
  useEffect(
    () =>
      askEvery(
        EVERY_MS,
        () => api.dutyLog(desk.id, { shift, limit: N_LINES }),
        (told) => {
          setLog(told);
          setFailure(null);
        },
        (error) => setFailure(failureOf(error)),
      ),
    [desk.id, shift, turn, renewals.value],
  );
  const n = log?.items.length ?? 0;
  useEffect(() => {
    latest.current?.scrollTo({ top: latest.current.scrollHeight });
  }, [n]);
  return (
    <section class="duty-log" aria-labelledby="duty-log">
      <div class="duty-line">
        <h3 id="duty-log">
          {t("duty.log")}
          <small>
            {desk.shift ? t("duty.log_of", { shift: shiftText(desk.shift) }) : t("duty.log_last")}
          </small>
        </h3>
        {may("handle_alerts") ? (
          <button type="button" class="primary" data-testid="duty-hand" onClick={hand}>
            {t("duty.handover")}
          </button>
        ) : null}
      </div>
      {failure ? <Trouble failure={failure} said="duty.failed" test="duty-log-trouble" /> : null}
      {log ? (
        <Log desk={desk} log={log} again={again} list={latest} />
      ) : (
        <p class="empty">{t("duty.loading")}</p>
      )}
    </section>
  );
}
