// Accounts of people: who may come in, as what, for which division and departments.
import { useEffect, useState } from "preact/hooks";
import { api } from "../api/client";
import type { Account, AccountFacts, Link } from "../api/types";
import { langOf, named, t } from "../i18n";
import { stamp } from "../i18n/format";
import { devices } from "../state/city";
import { departmentsOf, draftOf, knownDepartments } from "../state/departments";
import { type Failure, failureOf } from "../state/failure";
import { access, may } from "../state/session";
import { now } from "../state/view";
import { DepartmentsField } from "./departments";
import { Field } from "./field";
import { Trouble } from "./trouble";

const ROLES = [
  "viewer",
  "officer",
  "operator",
  "commander",
  "integrator",
  "system_admin",
  "security_admin",
  "audit_admin",
] as const;

/** What the page of accounts holds under its heading. */
export function Accounts() {
  const [all, setAll] = useState<Account[] | null>(null);
  const [failure, setFailure] = useState<Failure | null>(null);
  const [link, setLink] = useState<{ of: string; link: Link } | null>(null);
  /** Whose departments are being set. */
  const [editing, setEditing] = useState<string | null>(null);
  const own = access.value.state === "in" ? access.value.session.account?.id : undefined;

  const load = () => api.accounts().then(setAll, (error) => setFailure(failureOf(error)));
  useEffect(() => {
    void load();
  }, []);

  /** Whether it is done. */
  const run = async (work: () => Promise<unknown>): Promise<boolean> => {
    setFailure(null);
    try {
      await work();
      await load();
      return true;
    } catch (error) {
      setFailure(failureOf(error));
      return false;
    }
  };
  const known = knownDepartments(all ?? [], devices.values());
  const toLink = (of: string) => async () => setLink({ of, link: (await api.linkAccount(of)).link });

  return (
    <>
      {failure ? <Trouble failure={failure} test="accounts-trouble" /> : null}
      {link ? <LinkBox of={link.of} link={link.link} leave={() => setLink(null)} /> : null}
      {may("tokens") ? (
        <NewAccount
          known={known}
          add={(account) =>
            run(async () => setLink({ of: account.id, link: (await api.addAccount(account)).link }))
          }
        />
      ) : null}
      <div class="table-scroll">
        <table class="desk-table accounts-table">
          <thead>
            <tr>
              <th scope="col">{t("login.account")}</th>
              <th scope="col">{t("setup.name")}</th>
              <th scope="col">{t("accounts.role")}</th>
              <th scope="col">{t("accounts.division")}</th>
              <th scope="col">{t("accounts.departments")}</th>
              <th scope="col">{t("accounts.state")}</th>
              <th scope="col">{t("accounts.second")}</th>
              <th scope="col">{t("accounts.sessions")}</th>
              <th scope="col">{t("accounts.acts")}</th>
            </tr>
          </thead>
          <tbody>
            {(all ?? []).map((account) => (
              <tr
                key={account.id}
                data-testid={`account-${account.id}`}
                class={account.disabled ? "is-off" : ""}
              >
                <td>{account.id}</td>
                <td>{account.name || "–"}</td>
                <td>{named("role", account.role)}</td>
                <td>{account.division ?? t("accounts.whole_city")}</td>
                <td>
                  {editing === account.id ? (
                    <EditDepartments
                      account={account}
                      known={known}
                      leave={() => setEditing(null)}
                      save={async (departments) => {
                        if (await run(() => api.patchAccount(account.id, { departments }))) setEditing(null);
                      }}
                    />
                  ) : (
                    <Departments names={account.departments} />
                  )}
                </td>
                <td>{state(account)}</td>
                <td>
                  {account.has_second
                    ? t("accounts.has_second")
                    : account.needs_second
                      ? t("accounts.lacks_second")
                      : "–"}
                </td>
                <td>{account.sessions}</td>
                <td class="acts">
                  {/* A link would replace one's own password and second factor, and opens nothing that is disabled. */}
                  {may("tokens") && account.id !== own && !account.disabled ? (
                    <button
                      type="button"
                      class="quiet"
                      data-testid={`link-${account.id}`}
                      onClick={() => run(toLink(account.id))}
                    >
                      {t("accounts.link")}
                    </button>
                  ) : null}
                  {may("tokens") && account.id !== own ? (
                    <button
                      type="button"
                      class="quiet"
                      aria-label={`${t("accounts.departments")}: ${account.id}`}
                      data-testid={`departments-${account.id}`}
                      onClick={() => setEditing(account.id)}
                    >
                      {t("accounts.departments")}
                    </button>
                  ) : null}
                  {account.sessions > 0 ? (
                    <button
                      type="button"
                      class="quiet"
                      onClick={() => run(() => api.logOutAccount(account.id))}
                    >
                      {t("accounts.log_out")}
                    </button>
                  ) : null}
                  {account.id === own ? null : (
                    <button
                      type="button"
                      class="quiet"
                      onClick={() => run(() => api.patchAccount(account.id, { disabled: !account.disabled }))}
                    >
                      {account.disabled ? t("accounts.enable") : t("accounts.disable")}
                    </button>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
        {all?.length === 0 ? <p class="hint">{t("accounts.none")}</p> : null}
      </div>
    </>
  );
}

function state(account: Account): string {
  if (account.disabled) return t("accounts.disabled");
  if (!account.has_password && account.subject) return t("accounts.linked");
  if (!account.has_password) {
    return account.link_ends
      ? t("accounts.invited", { time: stamp(Date.parse(account.link_ends), now.value) })
      : t("accounts.lapsed");
  }
  return t("accounts.active");
}

/** The departments that an account sees; none stands for all. */
function Departments({ names }: { names: readonly string[] }) {
  if (names.length === 0) return <>{t("accounts.all_departments")}</>;
  return (
    <span class="departments-line">
      {names.map((name) => (
        <span key={name} class="department" lang={langOf(name)}>
          {name}
        </span>
      ))}
    </span>
  );
}

type EditProps = {
  account: Account;
  known: ReadonlySet<string>;
  save: (departments: string[]) => Promise<void>;
  leave: () => void;
};

function EditDepartments({ account, known, save, leave }: EditProps) {
  const [draft, setDraft] = useState(draftOf(account.departments));
  return (
    <form
      class="departments-edit"
      onSubmit={(event) => {
        event.preventDefault();
        void save(departmentsOf(draft, known));
      }}
    >
      <DepartmentsField draft={draft} set={setDraft} known={known} test="edit-departments" />
      <button type="submit" class="primary" data-testid="edit-departments-save">
        {t("accounts.save")}
      </button>
      <button type="button" class="quiet" onClick={leave}>
        {t("act.cancel")}
      </button>
    </form>
  );
}

type NewProps = { add: (account: AccountFacts) => Promise<boolean>; known: ReadonlySet<string> };

function NewAccount({ add, known }: NewProps) {
  const [id, setId] = useState("");
  const [name, setName] = useState("");
  const [role, setRole] = useState<string>("viewer");
  const [division, setDivision] = useState("");
  const [draft, setDraft] = useState(draftOf([]));
  const send = async (event: Event) => {
    event.preventDefault();
    if (!id.trim()) return;
    const added = await add({
      id: id.trim(),
      name: name.trim(),
      role,
      division: division.trim() || null,
      departments: departmentsOf(draft, known),
    });
    // What was refused stays to be corrected.
    if (!added) return;
    setId("");
    setName("");
    setDraft(draftOf([]));
  };
  return (
    <form class="desk-form accounts-new" onSubmit={send}>
      <Field label={t("login.account")} value={id} set={setId} test="new-id" />
      <Field label={t("setup.name")} value={name} set={setName} test="new-name" />
      <label class="field">
        <span>{t("accounts.role")}</span>
        <select value={role} data-testid="new-role" onChange={(e) => setRole(e.currentTarget.value)}>
          {ROLES.map((each) => (
            <option key={each} value={each}>
              {named("role", each)}
            </option>
          ))}
        </select>
      </label>
      <Field
        label={t("accounts.division_hint")}
        value={division}
        set={setDivision}
        test="new-division"
        placeholder="630104"
        numeric
      />
      <DepartmentsField draft={draft} set={setDraft} known={known} test="new-departments" />
      <button type="submit" class="primary" data-testid="new-submit">
        {t("accounts.add")}
      </button>
    </form>
  );
}

function LinkBox({ of, link, leave }: { of: string; link: Link; leave: () => void }) {
  const whole = `${location.origin}${link.path}`;
  return (
    <div class="link-box" role="status">
      <p>{t("accounts.link_of", { who: of, time: stamp(Date.parse(link.ends), now.value) })}</p>
      <code data-testid="new-link">{whole}</code>
      <button type="button" class="quiet" onClick={() => void navigator.clipboard?.writeText(whole)}>
        {t("accounts.copy")}
      </button>
      <button type="button" class="quiet" onClick={leave}>
        {t("accounts.done")}
      </button>
    </div>
  );
}
