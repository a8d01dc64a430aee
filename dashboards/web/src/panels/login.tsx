// The door: an account with its password and second factor, a token, or the word of a provider (统一身份认证), for a
// session.
import { useEffect, useState } from "preact/hooks";
import { api } from "../api/client";
import type { Ways } from "../api/types";
import { lang, setLang, t } from "../i18n";
import type { Failure } from "../state/failure";
import { access, CODE_NEEDED, finishSso, logIn, logInAs, type Trouble } from "../state/session";
import { Field } from "./field";
import { failureWords } from "./trouble";

/** What a door shows around its fields. */
export function Doorway({
  children,
  onSubmit,
}: {
  children: preact.ComponentChildren;
  onSubmit: (event: Event) => void;
}) {
  return (
    <main class="login">
      <form class="login-box" onSubmit={onSubmit}>
        <svg class="brand-mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
          <path class="brand-line" d="M3 22.5l7.5-5.5 5.5 3.5L28 10" />
          <circle class="brand-dot" cx="10.5" cy="17" r="3.4" />
          <path class="brand-peak" d="M22 3.5l5 8.8H17z" />
        </svg>
        <h1>{t("app.title")}</h1>
        <p class="login-sub">onemap · {t("app.subtitle")}</p>
        {children}
        <button
          type="button"
          class="quiet lang-switch"
          title={t("strip.language_label")}
          onClick={() => setLang(lang.value === "zh" ? "en" : "zh")}
        >
          <span lang={lang.value === "zh" ? "en" : "zh-CN"}>{t("strip.language")}</span>
        </button>
      </form>
    </main>
  );
}

export function troubleWords(trouble: Trouble): string {
  switch (trouble.why) {
    case "wrong":
      return t("login.wrong_account");
    case "code":
      return t("login.code_needed");
    case "wait":
      return t("login.wait", { n: trouble.failure.wait });
    case "second":
      return t("login.second_needed");
    case "other":
      return t("act.failed", { why: failureWords(trouble.failure) });
  }
}

/** What became of a log-in by a provider, in words. */
export function ssoWords(sso: string): string {
  switch (sso) {
    case "oidc_state":
    case "oidc_late":
    case "oidc_again":
    case "oidc_nonce":
      return t("sso.again");
    case "oidc_denied":
      return t("sso.denied");
    case "oidc_away":
    case "oidc_busy":
      return t("sso.away");
    case "oidc_unknown":
      return t("sso.unknown");
    case "oidc_not_linked":
      return t("sso.not_linked");
    case "oidc_disabled":
      return t("sso.disabled");
    case "second_factor_needed":
      return t("login.second_needed");
    case "too_many_guesses":
      return t("sso.wait");
    default:
      return t("sso.wrong", { why: sso.replace(/^oidc_/, "").slice(0, 32) });
  }
}

export function Login({ why, sso }: { why: "wrong" | Failure | null; sso?: string }) {
  // A token that was in the address and is nobody's is answered where tokens are entered.
  const [byToken, setByToken] = useState(why !== null);
  if (sso === CODE_NEEDED) return <SecondOnly />;
  return byToken ? (
    <ByToken why={why} leave={() => setByToken(false)} />
  ) : (
    <ByAccount sso={sso} leave={() => setByToken(true)} />
  );
}

/** The provider has let in; the account's own second factor is still to be shown. */
function SecondOnly() {
  const [code, setCode] = useState("");
  const [trouble, setTrouble] = useState<Trouble | null>(null);
  const [busy, setBusy] = useState(false);
  const send = async (event: Event) => {
    event.preventDefault();
    if (!code.trim()) return;
    setBusy(true);
    setTrouble(await finishSso(code.trim()));
    setBusy(false);
    setCode("");
  };
  return (
    <Doorway onSubmit={send}>
      <p class="hint">{t("login.code_needed")}</p>
      <Field
        label={t("login.code")}
        value={code}
        set={setCode}
        test="sso-code"
        autocomplete="one-time-code"
        placeholder="000000"
        numeric
      />
      {trouble ? (
        <p class="trouble" role="alert" data-testid="login-trouble">
          {troubleWords(trouble)}
        </p>
      ) : null}
      <button type="submit" class="primary" disabled={busy} data-testid="sso-submit">
        {t("login.submit")}
      </button>
      <button
        type="button"
        class="link"
        onClick={() => {
          access.value = { state: "out", why: null };
        }}
      >
        {t("login.by_account")}
      </button>
    </Doorway>
  );
}

/** The provider's button, where there is one. Without an answer there is none: a password opens all the same. */
function SsoButton() {
  const [way, setWay] = useState<Ways["oidc"]>(null);
  useEffect(() => {
    let isShown = true;
    api.ways().then(
      (ways) => isShown && setWay(ways.oidc),
      () => undefined,
    );
    return () => {
      isShown = false;
    };
  }, []);
  if (way === null) return null;
  return (
    <a class="quiet sso" href={way.href} data-testid="login-sso">
      {lang.value === "zh" ? way.name.zh : way.name.en}
    </a>
  );
}

function ByAccount({ sso, leave }: { sso?: string; leave: () => void }) {
  const [account, setAccount] = useState("");
  const [password, setPassword] = useState("");
  const [code, setCode] = useState("");
  const [asksCode, setAsksCode] = useState(false);
  const [trouble, setTrouble] = useState<Trouble | null>(null);
  const [busy, setBusy] = useState(false);
  const send = async (event: Event) => {
    event.preventDefault();
    if (!account.trim() || !password) return;
    setBusy(true);
    const told = await logInAs(account.trim(), password, code.trim());
    setBusy(false);
    setTrouble(told);
    if (told?.why === "code") setAsksCode(true);
    setCode("");
  };
  return (
    <Doorway onSubmit={send}>
      <Field
        label={t("login.account")}
        value={account}
        set={setAccount}
        test="login-account"
        autocomplete="username"
      />
      <Field
        label={t("login.password")}
        value={password}
        set={setPassword}
        test="login-password"
        type="password"
        autocomplete="current-password"
      />
      {asksCode ? (
        <Field
          label={t("login.code")}
          value={code}
          set={setCode}
          test="login-code"
          autocomplete="one-time-code"
          placeholder="000000"
          numeric
        />
      ) : null}
      {trouble ? (
        <p class={trouble.why === "code" ? "hint" : "trouble"} role="alert" data-testid="login-trouble">
          {troubleWords(trouble)}
        </p>
      ) : sso ? (
        <p class="trouble" role="alert" data-testid="sso-trouble">
          {ssoWords(sso)}
        </p>
      ) : null}
      <button type="submit" class="primary" disabled={busy} data-testid="login-submit">
        {t("login.submit")}
      </button>
      <SsoButton />
      <button type="button" class="link" data-testid="login-by-token" onClick={leave}>
        {t("login.by_token")}
      </button>
    </Doorway>
  );
}

function ByToken({ why, leave }: { why: "wrong" | Failure | null; leave: () => void }) {
  const [token, setToken] = useState("");
  const [busy, setBusy] = useState(false);
  const send = async (event: Event) => {
    event.preventDefault();
    if (!token.trim()) return;
    setBusy(true);
    await logIn(token.trim());
    setBusy(false);
  };
  return (
    <Doorway onSubmit={send}>
      <label class="field">
        <span>{t("login.token")}</span>
        <input
          type="password"
          value={token}
          autocomplete="off"
          placeholder={t("login.lead")}
          data-testid="login-token"
          onInput={(event) => setToken(event.currentTarget.value)}
        />
      </label>
      {why ? (
        <p class="trouble" role="alert" data-testid="login-trouble">
          {why === "wrong" ? t("login.wrong") : t("act.failed", { why: failureWords(why) })}
        </p>
      ) : null}
      <button type="submit" class="primary" disabled={busy} data-testid="login-submit">
        {t("login.submit")}
      </button>
      <p class="hint">{t("login.hint")}</p>
      <button type="button" class="link" onClick={leave}>
        {t("login.by_account")}
      </button>
    </Doorway>
  );
}
