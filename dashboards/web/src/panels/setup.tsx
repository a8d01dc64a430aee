// Who has a link sets the account's password and its second factor here, and is in.
import { useEffect, useState } from "preact/hooks";
import { encode } from "uqr";
import { ApiError, api } from "../api/client";
import type { SetupLook } from "../api/types";
import { named, t } from "../i18n";
import { failureOf } from "../state/failure";
import { LEAST } from "../state/password";
import { access } from "../state/session";
import { Field } from "./field";
import { Doorway } from "./login";
import { failureWords } from "./trouble";

export function Setup({ linkKey }: { linkKey: string }) {
  const [look, setLook] = useState<SetupLook | null>(null);
  const [id, setId] = useState("");
  const [name, setName] = useState("");
  const [password, setPassword] = useState("");
  const [again, setAgain] = useState("");
  const [code, setCode] = useState("");
  const [trouble, setTrouble] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);

  useEffect(() => {
    api.setupLook(linkKey).then(setLook, (error) => setTrouble(words(error)));
  }, [linkKey]);

  if (look === null)
    return (
      <Doorway onSubmit={(event) => event.preventDefault()}>
        {trouble === null ? null : (
          <>
            <p class="trouble" role="alert" data-testid="setup-trouble">
              {trouble}
            </p>
            <button
              type="button"
              class="primary"
              onClick={() => {
                access.value = { state: "out", why: null };
              }}
            >
              {t("setup.to_login")}
            </button>
          </>
        )}
      </Doorway>
    );

  const isFirst = look.account === null;
  const who = isFirst ? id.trim() : (look.account?.id ?? "");
  const uri =
    look.uri ??
    `otpauth://totp/onemap:${encodeURIComponent(who || "onemap")}?secret=${look.secret}&issuer=onemap`;
  const send = async (event: Event) => {
    event.preventDefault();
    if (!who) return setTrouble(t("setup.id_missing"));
    if ([...password].length < LEAST) return setTrouble(t("setup.short", { n: LEAST }));
    if (password !== again) return setTrouble(t("setup.differs"));
    if (look.second === "needed" && !code.trim()) return setTrouble(t("setup.code_missing"));
    setBusy(true);
    setTrouble(null);
    try {
      await api.setup({
        key: linkKey,
        password,
        ...(code.trim() ? { code: code.trim() } : {}),
        ...(isFirst ? { id: who, name: name.trim() } : {}),
      });
      access.value = { state: "in", session: await api.session() };
    } catch (error) {
      setTrouble(words(error));
      setBusy(false);
    }
  };
  return (
    <Doorway onSubmit={send}>
      <p class="setup-who">
        {isFirst
          ? t("setup.first")
          : t("setup.who", { who: look.account?.name || who, role: named("role", look.role) })}
      </p>
      {isFirst ? (
        <div class="pair">
          <Field label={t("login.account")} value={id} set={setId} test="setup-id" autocomplete="username" />
          <Field label={t("setup.name")} value={name} set={setName} test="setup-name" autocomplete="name" />
        </div>
      ) : null}
      <Field
        label={t("setup.password", { n: LEAST })}
        value={password}
        set={setPassword}
        test="setup-password"
        type="password"
        autocomplete="new-password"
      />
      <Field
        label={t("setup.again")}
        value={again}
        set={setAgain}
        test="setup-again"
        type="password"
        autocomplete="new-password"
      />
      <fieldset class="field second">
        <legend>{look.second === "needed" ? t("setup.second_needed") : t("setup.second_optional")}</legend>
        <div class="second-body">
          <Qr text={uri} />
          <div class="second-words">
            <p class="hint">{t("setup.scan")}</p>
            <code class="secret" data-testid="setup-secret">
              {look.secret.match(/.{4}/g)?.join(" ")}
            </code>
            <Field
              label={t("login.code")}
              value={code}
              set={setCode}
              test="setup-code"
              autocomplete="one-time-code"
              placeholder="000000"
            />
          </div>
        </div>
      </fieldset>
      {trouble ? (
        <p class="trouble" role="alert" data-testid="setup-trouble">
          {trouble}
        </p>
      ) : null}
      <button type="submit" class="primary" disabled={busy} data-testid="setup-submit">
        {t("setup.submit")}
      </button>
    </Doorway>
  );
}

/** The text as a QR code, dark on white with its quiet border. */
function Qr({ text }: { text: string }) {
  const { data, size } = encode(text, { border: 2 });
  let path = "";
  data.forEach((row, y) => {
    row.forEach((dark, x) => {
      if (dark) path += `M${x} ${y}h1v1h-1z`;
    });
  });
  return (
    <svg
      class="qr"
      viewBox={`0 0 ${size} ${size}`}
      role="img"
      aria-label={t("setup.qr")}
      shapeRendering="crispEdges"
    >
      <rect width={size} height={size} fill="#fff" />
      <path d={path} fill="#000" />
    </svg>
  );
}

function words(error: unknown): string {
  if (error instanceof ApiError) {
    if (error.code === "unknown_link") return t("setup.link_ended");
    if (error.code === "wrong_code") return t("setup.wrong_code");
    if (error.code === "code_needed") return t("setup.code_missing");
  }
  return failureWords(failureOf(error));
}
