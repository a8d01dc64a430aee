// Some of many: those that are chosen stand as tags, one line finds others by their words.
import { useId, useMemo, useState } from "preact/hooks";
import { langOf, t } from "../i18n";
import { whole } from "../i18n/format";
import { type Choice, found, MOST_NAMED } from "../state/drills";

/** Hits that are spelt out; more words make them fewer. */
const N_HITS = 8;
/** Chosen ones that are spelt out. */
const N_TAGS = 24;

type Props = {
  label: string;
  /** What it means that none is chosen. */
  none: string;
  /** By what they are found. */
  hint: string;
  choices: readonly Choice[];
  chosen: readonly string[];
  set: (chosen: readonly string[]) => void;
  /** Its name for tests. */
  test: string;
};

export function ChooseFrom({ label, none, hint, choices, chosen, set, test }: Props) {
  const id = useId();
  const [text, setText] = useState("");
  const names = useMemo(() => new Map(choices.map((each) => [each.id, each.name])), [choices]);
  const hits = found(choices, chosen, text);
  const room = MOST_NAMED - chosen.length;
  const add = (of: readonly Choice[]) => {
    set([...chosen, ...of.slice(0, room).map((each) => each.id)]);
    setText("");
  };
  return (
    <fieldset class="field choose-from" aria-label={label} data-testid={test}>
      <legend>
        {label} <b>{chosen.length > 0 ? whole(chosen.length) : ""}</b>
        {chosen.length > 1 ? (
          <button type="button" class="quiet" data-testid={`${test}-clear`} onClick={() => set([])}>
            {t("drills.drop_all")}
          </button>
        ) : null}
      </legend>
      <div class="departments-line" data-testid={`${test}-chosen`}>
        {chosen.length === 0 ? <span class="hint">{none}</span> : null}
        {chosen.slice(0, N_TAGS).map((each) => {
          const name = names.get(each) ?? each;
          return (
            <span key={each} class="department" title={each} lang={langOf(name)}>
              {name}
              <button
                type="button"
                aria-label={t("drills.drop", { name })}
                onClick={() => set(chosen.filter((other) => other !== each))}
              >
                ×
              </button>
            </span>
          );
        })}
        {chosen.length > N_TAGS ? (
          <span class="hint">{t("drills.more", { n: whole(chosen.length - N_TAGS) })}</span>
        ) : null}
      </div>
      <label class="only-read" for={`${id}-find`}>
        {t("drills.find", { what: label })}
      </label>
      <input
        id={`${id}-find`}
        type="text"
        autocomplete="off"
        value={text}
        placeholder={hint}
        data-testid={`${test}-find`}
        onInput={(event) => setText(event.currentTarget.value)}
        onKeyDown={(event) => {
          // An empty line lets Enter send the form and Escape leave it.
          if (!text.trim() || (event.key !== "Enter" && event.key !== "Escape")) return;
          event.preventDefault();
          const [first] = hits;
          if (event.key === "Escape") setText("");
          else if (first) add([first]);
        }}
      />
      <p class="only-read" role="status">
        {text.trim() ? t("drills.found", { n: whole(hits.length) }) : ""}
      </p>
      {text.trim() ? (
        <div class="choose-hits">
          {hits.length === 0 ? <p class="hint">{t("drills.found_none")}</p> : null}
          <ul>
            {hits.slice(0, N_HITS).map((hit) => (
              <li key={hit.id}>
                <button
                  type="button"
                  data-testid={`${test}-hit`}
                  disabled={room <= 0}
                  onClick={() => add([hit])}
                >
                  <span lang={langOf(hit.name)}>{hit.name}</span> <code>{hit.id}</code>
                </button>
              </li>
            ))}
          </ul>
          {hits.length > 1 && hits.length <= room ? (
            <button type="button" class="quiet" data-testid={`${test}-all`} onClick={() => add(hits)}>
              {t("drills.add_all", { n: whole(hits.length) })}
            </button>
          ) : null}
        </div>
      ) : null}
    </fieldset>
  );
}
