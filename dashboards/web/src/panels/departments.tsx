// A field for departments: those that stand as tags, one line to add another. What is still in the line when the form is
// sent counts, too; it becomes no tag on leaving the line, which would move the button from under the pointer.
import { useId } from "preact/hooks";
import { langOf, t } from "../i18n";
import { type Draft, settled, without } from "../state/departments";

type Props = {
  draft: Draft;
  set: (draft: Draft) => void;
  known: ReadonlySet<string>;
  /** Its name for tests. */
  test: string;
};

export function DepartmentsField({ draft, set, known, test }: Props) {
  const list = useId();
  return (
    <div class="field departments">
      <label for={`${list}-line`}>{t("accounts.departments_hint")}</label>
      <div class="departments-line">
        {draft.chosen.map((name) => (
          <span key={name} class="department" lang={langOf(name)}>
            {name}
            <button
              type="button"
              aria-label={t("accounts.department_drop", { name })}
              onClick={() => set(without(draft, name))}
            >
              ×
            </button>
          </span>
        ))}
        <input
          id={`${list}-line`}
          type="text"
          list={list}
          autocomplete="off"
          value={draft.typed}
          data-testid={test}
          onInput={(event) => set({ ...draft, typed: event.currentTarget.value })}
          onKeyDown={(event) => {
            // An empty line lets Enter send the form.
            if (event.key !== "Enter" || !draft.typed.trim()) return;
            event.preventDefault();
            set(settled(draft, known));
          }}
        />
        <datalist id={list}>
          {[...known]
            .filter((name) => !draft.chosen.includes(name))
            .map((name) => (
              <option key={name} value={name} />
            ))}
        </datalist>
      </div>
    </div>
  );
}
