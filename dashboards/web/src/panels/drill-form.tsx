// The form of a drill: its name, from when until when, where, and the devices or rules that it is about.
import { useEffect, useRef, useState } from "preact/hooks";
import { api } from "../api/client";
import type { Drill, RuleEntry } from "../api/types";
import { langOf, type MessageKey, named, nameOf, pick, t } from "../i18n";
import { devices, registerVersion, serverNow } from "../state/city";
import { districtOf } from "../state/divisions";
import { type Choice, type Draft, draftOf, lackOf, MOST_NAME, newId, specOf } from "../state/drills";
import { type Failure, failureOf } from "../state/failure";
import { sessionNow } from "../state/session";
import { ChooseFrom } from "./choose-from";
import { divisionName } from "./part";
import { Trouble } from "./trouble";

const TIMES = ["from", "to"] as const;

type Props = {
  drill: Drill | null;
  rules: readonly RuleEntry[] | null;
  /** Told the id of what was saved; nothing where nothing was. */
  done: (id?: string) => void;
};

export function DrillForm({ drill, rules, done }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const own = sessionNow()?.division ?? null;
  const [draft, setDraft] = useState(() => draftOf(drill, serverNow(), own));
  const [lack, setLack] = useState<MessageKey | null>(null);
  const [failure, setFailure] = useState<Failure | null>(null);
  const [busy, setBusy] = useState(false);
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  const set = (part: Partial<Draft>) => {
    setDraft((before) => ({ ...before, ...part }));
    setLack(null);
  };
  const send = async (event: Event) => {
    event.preventDefault();
    const missing = lackOf(draft, drill, serverNow());
    setLack(missing);
    setFailure(null);
    if (missing !== null) return;
    const spec = specOf(draft, drill);
    const id = drill?.id ?? newId(draft.from, crypto.getRandomValues(new Uint16Array(1))[0] ?? 0);
    setBusy(true);
    try {
      await api.putDrill(id, spec);
      done(id);
    } catch (error) {
      setFailure(failureOf(error));
      setBusy(false);
    }
  };
  return (
    <dialog
      ref={dialog}
      class="dialog duty-dialog drill-dialog"
      aria-labelledby="drill-form-title"
      data-testid="drill-form"
      onClose={() => done()}
    >
      <form onSubmit={send} noValidate>
        <h2 id="drill-form-title">{t(drill ? "drills.edit" : "drills.add")}</h2>
        <p class="hint">{t("drills.hint")}</p>
        <div class="drill-fields">
          <label class="field is-wide">
            <span>{t("drills.name")}</span>
            <input
              type="text"
              value={draft.name}
              maxLength={MOST_NAME}
              autocomplete="off"
              data-testid="drill-name"
              aria-invalid={lack === "drills.lack_name"}
              onInput={(event) => set({ name: event.currentTarget.value })}
            />
          </label>
          {TIMES.map((which) => (
            <label class="field" key={which}>
              <span>{t(`drills.${which}`)}</span>
              <input
                type="datetime-local"
                value={draft[which]}
                readOnly={which === "from" && drill?.state === "on"}
                data-testid={`drill-${which}`}
                onInput={(event) => set({ [which]: event.currentTarget.value })}
              />
            </label>
          ))}
          <Division draft={draft} own={own} set={(division) => set({ division })} />
        </div>
        <div class="drill-choices">
          <ChooseFrom
            label={t("drills.devices")}
            none={t("drills.all_devices")}
            hint={t("overview.search_hint")}
            choices={deviceChoices()}
            chosen={draft.devices}
            set={(chosen) => set({ devices: chosen })}
            test="drill-choose-devices"
          />
          <ChooseFrom
            label={t("drills.rules")}
            none={t("drills.all_rules")}
            hint={t("drills.rules_hint")}
            choices={ruleChoices(rules ?? [])}
            chosen={draft.rules}
            set={(chosen) => set({ rules: chosen })}
            test="drill-choose-rules"
          />
        </div>
        {lack ? (
          <p class="trouble" role="alert" data-testid="drill-lack">
            {t(lack)}
          </p>
        ) : null}
        {failure ? <Trouble failure={failure} test="drill-form-trouble" /> : null}
        <div class="dialog-acts">
          <button type="button" class="quiet" onClick={() => done()}>
            {t("duty.cancel")}
          </button>
          <button type="submit" class="primary" disabled={busy} data-testid="drill-save">
            {t("duty.save")}
          </button>
        </div>
      </form>
    </dialog>
  );
}

function deviceChoices(): Choice[] {
  void registerVersion.value;
  return [...devices.values()]
    .filter(({ state }) => state !== "retired")
    .map((device) => ({
      id: device.id,
      name: nameOf(device),
      more: `${device.name} ${device.name_en ?? ""} ${named("kind", device.kind)}`,
    }));
}

const ruleChoices = (rules: readonly RuleEntry[]): Choice[] =>
  rules.map(({ id, name, severity }) => ({
    id,
    name: pick(name),
    more: `${name.zh} ${name.en} ${t(`severity.${severity}`)}`,
  }));

type DivisionProps = { draft: Draft; own: string | null; set: (division: string) => void };

/** The whole city or one of the districts that devices lie in; who sees one division only has that. */
function Division({ draft, own, set }: DivisionProps) {
  const districts = [...devices.values()].flatMap(({ division }) => (division ? [districtOf(division)] : []));
  const offered = own === null ? ["", ...new Set(districts)].sort() : [own];
  const choices = offered.includes(draft.division) ? offered : [...offered, draft.division];
  return (
    <label class="field">
      <span>{t("drills.division")}</span>
      <select
        value={draft.division}
        data-testid="drill-division"
        onChange={(event) => set(event.currentTarget.value)}
      >
        {choices.map((code) => {
          const name = code ? divisionName(code) : t("accounts.whole_city");
          return (
            <option key={code} value={code} lang={langOf(name)}>
              {name}
            </option>
          );
        })}
      </select>
    </label>
  );
}
