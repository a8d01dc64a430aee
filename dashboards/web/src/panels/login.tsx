// The door: an account with its password and second factor, or a token, for a session.
import { useState } from "preact/hooks";
import { lang, setLang, t } from "../i18n";
import { logIn, logInAs, type Trouble } from "../state/session";
import { Field } from "./field";

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
      return t("login.wait", { n: trouble.wait });
    case "second":
      return t("login.second_needed");
    case "away":
      return t("login.unreachable", { why: trouble.words });
  }
}

export function Login({ why }: { why: string | null }) {
  // A token that was in the address and is nobody's is answered where tokens are entered.
  const [byToken, setByToken] = useState(why !== null);
  return byToken ? (
    <ByToken why={why} leave={() => setByToken(false)} />
  ) : (
    <ByAccount leave={() => setByToken(true)} />
  );
}

function ByAccount({ leave }: { leave: () => void }) {
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
      ) : null}
      <button type="submit" class="primary" disabled={busy} data-testid="login-submit">
        {t("login.submit")}
      </button>
      <button type="button" class="link" data-testid="login-by-token" onClick={leave}>
        {t("login.by_token")}
      </button>
    </Doorway>
  );
}

function ByToken({ why, leave }: { why: string | null; leave: () => void }) {
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
          {why === "wrong" ? t("login.wrong") : t("login.unreachable", { why })}
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
