// The door: a token for a session.
import { useState } from "preact/hooks";
import { lang, setLang, t } from "../i18n";
import { logIn } from "../state/session";

export function Login({ why }: { why: string | null }) {
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
    <main class="login">
      <form class="login-box" onSubmit={send}>
        <svg class="brand-mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
          <path class="brand-line" d="M3 22.5l7.5-5.5 5.5 3.5L28 10" />
          <circle class="brand-dot" cx="10.5" cy="17" r="3.4" />
          <path class="brand-peak" d="M22 3.5l5 8.8H17z" />
        </svg>
        <h1>{t("app.title")}</h1>
        <p class="login-sub">onemap · {t("app.subtitle")}</p>
        <label class="field">
          <span>{t("login.token")}</span>
          <input
            type="password"
            value={token}
            autocomplete="current-password"
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
