// Who is logged in: the button that says so, and behind it what this person is and sees, and another password.
import { useEffect, useRef, useState } from "preact/hooks";
import type { Session } from "../api/types";
import { langOf, named, t } from "../i18n";
import { type Draft, type Fault, faultOf, LEAST, type Refusal, refusalOf } from "../state/password";
import { actorOf } from "../state/self";
import { changePassword, sessionEnded, sessionNow, troubleOf } from "../state/session";
import { whoOpen } from "../state/view";
import { Field } from "./field";
import { troubleWords } from "./login";
import { Icon } from "./marks";
import { divisionName } from "./part";

export function WhoButton() {
  const session = sessionNow();
  if (!session) return null;
  const name = actorOf(session) ?? session.actor;
  const role = named("role", session.role);
  return (
    <button
      type="button"
      class="quiet who"
      title={t("who.open", { name, role })}
      aria-haspopup="dialog"
      data-testid="who-open"
      onClick={() => {
        whoOpen.value = true;
      }}
    >
      <Icon name="person" />
      <span class="only-read">{t("who.title")}</span>
      <span class="who-words">
        <b lang={langOf(name)}>{name}</b>
        <small>{role}</small>
      </span>
    </button>
  );
}

export function WhoDialog() {
  const session = sessionNow();
  return whoOpen.value && session ? <Who session={session} /> : null;
}

function Who({ session }: { session: Session }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [password, setPassword] = useState<"kept" | "asked" | "changed">("kept");
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  const leave = () => {
    whoOpen.value = false;
  };
  return (
    <dialog ref={dialog} class="dialog" aria-labelledby="who-title" data-testid="who-dialog" onClose={leave}>
      <div class="dialog-body">
        <h2 id="who-title">{t("who.title")}</h2>
        <Facts session={session} />
        {password === "changed" ? (
          <p class="hint" role="status" data-testid="who-changed">
            {t("who.changed")}
          </p>
        ) : null}
        {password === "asked" ? (
          <PasswordForm
            account={session.account?.id ?? ""}
            hasSecond={session.account?.has_second ?? false}
            done={() => setPassword("changed")}
            leave={() => setPassword("kept")}
          />
        ) : (
          <div class="dialog-acts">
            {session.account ? (
              <button
                type="button"
                class="primary"
                data-testid="password-open"
                onClick={() => setPassword("asked")}
              >
                {t("who.password")}
              </button>
            ) : null}
            <button type="button" class="quiet" data-testid="who-close" onClick={leave}>
              {t("who.close")}
            </button>
          </div>
        )}
      </div>
    </dialog>
  );
}

function Facts({ session }: { session: Session }) {
  const { account, division, departments } = session;
  const facts: [string, string, string][] = account
    ? [
        ["name", t("setup.name"), account.name || "–"],
        ["account", t("login.account"), account.id],
      ]
    : [["token", t("login.token"), session.actor]];
  facts.push(
    ["role", t("accounts.role"), named("role", session.role)],
    ["division", t("accounts.division"), division ? divisionName(division) : t("accounts.whole_city")],
    [
      "departments",
      t("accounts.departments"),
      departments.length ? departments.join(t("who.between")) : t("accounts.all_departments"),
    ],
  );
  return (
    <dl class="facts who-facts">
      {facts.map(([key, what, value]) => (
        <div key={key}>
          <dt>{what}</dt>
          <dd lang={langOf(value)} data-testid={`who-${key}`}>
            {value}
          </dd>
        </div>
      ))}
    </dl>
  );
}

type FormProps = { account: string; hasSecond: boolean; done: () => void; leave: () => void };

function PasswordForm({ account, hasSecond, done, leave }: FormProps) {
  const [draft, setDraft] = useState<Draft>({ password: "", fresh: "", again: "", code: "" });
  const [asksCode, setAsksCode] = useState(hasSecond);
  const [trouble, setTrouble] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const set = (part: keyof Draft) => (value: string) => setDraft((before) => ({ ...before, [part]: value }));
  const send = async (event: Event) => {
    event.preventDefault();
    const fault = faultOf(draft, asksCode);
    if (fault) return setTrouble(faultWords(fault));
    setBusy(true);
    setTrouble(null);
    try {
      await changePassword(draft.password, draft.fresh, asksCode ? draft.code.trim() : "");
      done();
    } catch (error) {
      const why = refusalOf(error);
      if (why === "ended") await sessionEnded();
      if (why === "code") setAsksCode(true);
      setTrouble(refusalWords(why, error));
      set("code")(""); // a code opens once
      setBusy(false);
    }
  };
  return (
    <form class="who-password" onSubmit={send} noValidate>
      {/* Whose password it is, for what keeps passwords. */}
      <input type="text" value={account} autocomplete="username" readOnly hidden />
      <Field
        label={t("who.password_now")}
        value={draft.password}
        set={set("password")}
        test="password-now"
        type="password"
        autocomplete="current-password"
      />
      <Field
        label={t("setup.password", { n: LEAST })}
        value={draft.fresh}
        set={set("fresh")}
        test="password-new"
        type="password"
        autocomplete="new-password"
      />
      <Field
        label={t("setup.again")}
        value={draft.again}
        set={set("again")}
        test="password-again"
        type="password"
        autocomplete="new-password"
      />
      {asksCode ? (
        <Field
          label={t("login.code")}
          value={draft.code}
          set={set("code")}
          test="password-code"
          autocomplete="one-time-code"
          placeholder="000000"
          numeric
        />
      ) : null}
      {trouble ? (
        <p class="trouble" role="alert" data-testid="password-trouble">
          {trouble}
        </p>
      ) : (
        <p class="hint">{t("who.password_hint")}</p>
      )}
      <div class="dialog-acts">
        <button type="button" class="quiet" onClick={leave}>
          {t("act.cancel")}
        </button>
        <button type="submit" class="primary" disabled={busy} data-testid="password-submit">
          {t("who.password_submit")}
        </button>
      </div>
    </form>
  );
}

function faultWords(fault: Fault): string {
  switch (fault) {
    case "missing":
      return t("who.password_missing");
    case "short":
      return t("setup.short", { n: LEAST });
    case "differs":
      return t("setup.differs");
    case "same":
      return t("who.password_same");
    case "code":
      return t("setup.code_missing");
  }
}

function refusalWords(why: Refusal, error: unknown): string {
  switch (why) {
    case "wrong":
      return t("who.password_wrong");
    case "weak":
      return t("who.password_weak");
    case "ended":
    case "other":
      return troubleWords(troubleOf(error));
    default:
      return faultWords(why);
  }
}
