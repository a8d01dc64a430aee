// The form of a desk: what it looks at, its steps, shifts and stand-ins; lists are written one in a line.
import { useEffect, useRef, useState } from "preact/hooks";
import { api } from "../api/client";
import type { DutyDesk, Roster, Severity } from "../api/types";
import { type MessageKey, t } from "../i18n";
import {
  RosterFault,
  readShifts,
  readStandby,
  readSteps,
  shiftsText,
  standbyText,
  stepsText,
} from "../state/duty";
import { type Failure, failureOf } from "../state/failure";
import { Trouble } from "./trouble";

const SEVERITIES: readonly Severity[] = ["critical", "major", "minor", "notice"];

type Written = {
  id: string;
  name: string;
  division: string;
  severity: Severity;
  remind: string;
  handover: string;
  steps: string;
  shifts: string;
  standby: string;
};

const written = (desk: DutyDesk | null): Written => ({
  id: desk?.id ?? "",
  name: desk?.name ?? "",
  division: desk?.division ?? "",
  severity: desk?.severity ?? "major",
  remind: String(desk?.remind_min ?? ""),
  handover: String(desk?.handover_min ?? ""),
  steps: stepsText(desk?.steps ?? []),
  shifts: shiftsText(desk?.shifts),
  standby: standbyText(desk?.standby),
});

const minutes = (text: string): number | undefined => {
  if (!text.trim()) return undefined;
  if (!/^\d{1,4}$/.test(text.trim())) throw new RosterFault(text);
  return Number(text);
};

/** What is written as the server takes it; rules of the desk stay as they are. */
function roster(of: Written, desk: DutyDesk | null): Roster {
  const [remind_min, handover_min] = [minutes(of.remind), minutes(of.handover)];
  return {
    name: of.name.trim(),
    severity: of.severity,
    steps: readSteps(of.steps),
    shifts: readShifts(of.shifts),
    standby: readStandby(of.standby),
    ...(of.division.trim() ? { division: of.division.trim() } : {}),
    ...(desk?.rules ? { rules: desk.rules } : {}),
    ...(remind_min === undefined ? {} : { remind_min }),
    ...(handover_min === undefined ? {} : { handover_min }),
  };
}

type Wide = "steps" | "shifts" | "standby";
const WIDE: readonly [Wide, MessageKey, number][] = [
  ["steps", "duty.steps_form", 3],
  ["shifts", "duty.shifts_form", 8],
  ["standby", "duty.standby_form", 2],
];
type Short = "id" | "name" | "division" | "remind" | "handover";
const SHORT: readonly [Short, MessageKey][] = [
  ["id", "duty.id"],
  ["name", "duty.name"],
  ["division", "duty.division"],
  ["remind", "duty.remind"],
  ["handover", "duty.handover_min"],
];

export function DeskForm({ desk, done }: { desk: DutyDesk | null; done: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [of, setOf] = useState(() => written(desk));
  const [lack, setLack] = useState<string | null>(null);
  const [failure, setFailure] = useState<Failure | null>(null);
  const [isSure, setSure] = useState(false);
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  const set = (key: keyof Written, text: string) => setOf((before) => ({ ...before, [key]: text }));
  const ask = async (what: () => Promise<unknown>) => {
    setLack(null);
    setFailure(null);
    try {
      await what();
      done();
    } catch (error) {
      if (error instanceof RosterFault) setLack(t("duty.bad_line", { line: error.line }));
      else setFailure(failureOf(error));
    }
  };
  const send = (event: Event) => {
    event.preventDefault();
    void ask(async () => api.putDesk(of.id.trim(), roster(of, desk)));
  };
  return (
    <dialog
      ref={dialog}
      class="dialog duty-dialog"
      aria-labelledby="roster-title"
      data-testid="duty-form"
      onClose={done}
    >
      <form onSubmit={send} noValidate>
        <h2 id="roster-title">{t(desk ? "duty.edit" : "duty.add")}</h2>
        <div class="duty-fields">
          {SHORT.map(([key, label]) => (
            <label class="field" key={key}>
              <span>{t(label)}</span>
              <input
                type="text"
                value={of[key]}
                maxLength={64}
                readOnly={key === "id" && desk !== null}
                data-testid={`duty-form-${key}`}
                onInput={(event) => set(key, event.currentTarget.value)}
              />
            </label>
          ))}
          <label class="field">
            <span>{t("duty.severity")}</span>
            <select value={of.severity} onChange={(event) => set("severity", event.currentTarget.value)}>
              {SEVERITIES.map((each) => (
                <option key={each} value={each}>
                  {t(`severity.${each}`)}
                </option>
              ))}
            </select>
          </label>
        </div>
        {WIDE.map(([key, label, rows]) => (
          <label class="field" key={key}>
            <span>{t(label)}</span>
            <textarea
              rows={rows}
              value={of[key]}
              spellcheck={false}
              data-testid={`duty-form-${key}`}
              onInput={(event) => set(key, event.currentTarget.value)}
            />
          </label>
        ))}
        {lack ? (
          <p class="trouble" role="alert">
            {lack}
          </p>
        ) : null}
        {failure ? <Trouble failure={failure} test="duty-form-trouble" /> : null}
        <div class="dialog-acts">
          {desk ? (
            <button
              type="button"
              class="quiet"
              data-testid="duty-remove"
              onClick={() => (isSure ? void ask(() => api.removeDesk(desk.id)) : setSure(true))}
            >
              {t(isSure ? "duty.remove_sure" : "duty.remove")}
            </button>
          ) : null}
          <button type="button" class="quiet" onClick={done}>
            {t("duty.cancel")}
          </button>
          <button type="submit" class="primary" data-testid="duty-save">
            {t("duty.save")}
          </button>
        </div>
      </form>
    </dialog>
  );
}
