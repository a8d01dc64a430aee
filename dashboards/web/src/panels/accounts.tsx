// Accounts of people: who may come in, as what, for which division and departments.
import { useEffect, useState } from "preact/hooks";
import { api } from "../api/client";
import type { Account, Link } from "../api/types";
import { lang, named, setLang, t } from "../i18n";
import { stamp } from "../i18n/format";
import { access, logOut, may } from "../state/session";
import { accountsOpen, now } from "../state/view";
import { Field } from "./field";

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

/** The page of who administers and sees no map, or a panel over the map. */
export function Accounts({ alone }: { alone: boolean }) {
  const [all, setAll] = useState<Account[] | null>(null);
  const [trouble, setTrouble] = useState<string | null>(null);
  const [link, setLink] = useState<{ of: string; link: Link } | null>(null);
  const own = access.value.state === "in" ? access.value.session.account?.id : undefined;

  const load = () =>
    api
      .accounts()
      .then(setAll, (error) => setTrouble(error instanceof Error ? error.message : String(error)));
  useEffect(() => {
    void load();
  }, []);

  const run = async (work: () => Promise<unknown>) => {
    setTrouble(null);
    try {
      await work();
      await load();
    } catch (error) {
      setTrouble(error instanceof Error ? error.message : String(error));
    }
  };
  const toLink = (of: string) => async () => setLink({ of, link: (await api.linkAccount(of)).link });

  return (
    <section
      class={`accounts${alone ? " is-alone" : ""}`}
      aria-labelledby="accounts-title"
      data-testid="accounts"
    >
      <header class="accounts-head">
        <div>
          <h2 id="accounts-title">{t("accounts.title")}</h2>
          <p class="hint">{t("accounts.lead")}</p>
        </div>
        <div class="strip-buttons">
          {alone ? (
            <>
              <button
                type="button"
                class="quiet lang-switch"
                title={t("strip.language_label")}
                onClick={() => setLang(lang.value === "zh" ? "en" : "zh")}
              >
                <span lang={lang.value === "zh" ? "en" : "zh-CN"}>{t("strip.language")}</span>
              </button>
              <button type="button" class="quiet" data-testid="log-out" onClick={() => void logOut()}>
                {t("strip.log_out")}
              </button>
            </>
          ) : (
            <button
              type="button"
              class="quiet"
              data-testid="accounts-close"
              onClick={() => {
                accountsOpen.value = false;
              }}
            >
              {t("accounts.close")}
            </button>
          )}
        </div>
      </header>
      {trouble ? (
        <p class="trouble" role="alert" data-testid="accounts-trouble">
          {trouble}
        </p>
      ) : null}
      {link ? <LinkBox of={link.of} link={link.link} leave={() => setLink(null)} /> : null}
      {may("tokens") ? (
        <NewAccount
          add={(account) =>
            run(async () => setLink({ of: account.id, link: (await api.addAccount(account)).link }))
          }
        />
      ) : null}
      <div class="table-scroll">
        <table class="accounts-table">
          <thead>
            <tr>
              <th scope="col">{t("login.account")}</th>
              <th scope="col">{t("setup.name")}</th>
              <th scope="col">{t("accounts.role")}</th>
              <th scope="col">{t("accounts.division")}</th>
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
                <td>{bounds(account)}</td>
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
                  {may("tokens") ? (
                    <button type="button" class="quiet" onClick={() => run(toLink(account.id))}>
                      {t("accounts.link")}
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
    </section>
  );
}

function state(account: Account): string {
  if (account.disabled) return t("accounts.disabled");
  if (!account.has_password) {
    return account.link_ends
      ? t("accounts.invited", { time: stamp(Date.parse(account.link_ends), now.value) })
      : t("accounts.lapsed");
  }
  return t("accounts.active");
}

/** Division and departments. */
function bounds(account: Account): string {
  return [account.division ?? t("accounts.whole_city"), ...account.departments].join(" · ");
}

function NewAccount({ add }: { add: (account: Parameters<typeof api.addAccount>[0]) => Promise<void> }) {
  const [id, setId] = useState("");
  const [name, setName] = useState("");
  const [role, setRole] = useState<string>("viewer");
  const [division, setDivision] = useState("");
  const [departments, setDepartments] = useState("");
  const send = async (event: Event) => {
    event.preventDefault();
    if (!id.trim()) return;
    await add({
      id: id.trim(),
      name: name.trim(),
      role,
      division: division.trim() || null,
      departments: departments
        .split(/[,，、;；]/)
        .map((name) => name.trim())
        .filter(Boolean),
    });
    setId("");
    setName("");
  };
  return (
    <form class="accounts-new" onSubmit={send}>
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
      <Field
        label={t("accounts.departments_hint")}
        value={departments}
        set={setDepartments}
        test="new-departments"
      />
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
