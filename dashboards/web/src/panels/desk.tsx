// The pages beside the map: of who administers and sees no map the whole screen, else a panel over the map.
import { lang, setLang, t } from "../i18n";
import { type Desk, deskShown, desksOf } from "../state/desk";
import { logOut, may } from "../state/session";
import { desk } from "../state/view";
import { Accounts } from "./accounts";
import { Audit } from "./audit";
import { Drills } from "./drills";
import { Duty } from "./duty";
import { Forecasts } from "./forecasts";
import { Load } from "./load";
import { WhoButton } from "./who";

/** `alone` without a map behind it. */
export function DeskPage({ alone }: { alone: boolean }) {
  const desks = desksOf(may);
  const shown = deskShown(desks, desk.value, alone);
  if (shown === null) return null;
  return (
    <section class={`desk${alone ? " is-alone" : ""}`} aria-labelledby="desk-title" data-testid={shown}>
      <header class="desk-head">
        <div>
          <h2 id="desk-title">{t(`${shown}.title`)}</h2>
          <p class="hint">{t(`${shown}.lead`)}</p>
        </div>
        <div class="strip-buttons">
          {desks.length > 1 ? <Choice desks={desks} shown={shown} /> : null}
          {alone ? <Own /> : <Back />}
        </div>
      </header>
      <Body desk={shown} />
    </section>
  );
}

function Body({ desk: shown }: { desk: Desk }) {
  if (shown === "accounts") return <Accounts />;
  if (shown === "audit") return <Audit />;
  if (shown === "duty") return <Duty />;
  if (shown === "drills") return <Drills />;
  return shown === "load" ? <Load /> : <Forecasts />;
}

function Choice({ desks, shown }: { desks: readonly Desk[]; shown: Desk }) {
  return (
    <nav class="segments" aria-label={t("desk.choice")}>
      {desks.map((each) => (
        <button
          key={each}
          type="button"
          aria-pressed={each === shown}
          data-testid={`desk-${each}`}
          onClick={() => {
            desk.value = each;
          }}
        >
          {t(`${each}.title`)}
        </button>
      ))}
    </nav>
  );
}

function Own() {
  return (
    <>
      <WhoButton />
      <button
        type="button"
        class="quiet lang-switch"
        title={t("strip.language_label")}
        data-testid="lang-switch"
        onClick={() => setLang(lang.value === "zh" ? "en" : "zh")}
      >
        <span lang={lang.value === "zh" ? "en" : "zh-CN"}>{t("strip.language")}</span>
      </button>
      <button type="button" class="quiet" data-testid="log-out" onClick={() => void logOut()}>
        {t("strip.log_out")}
      </button>
    </>
  );
}

function Back() {
  return (
    <button
      type="button"
      class="quiet"
      data-testid="desk-close"
      onClick={() => {
        desk.value = null;
      }}
    >
      {t("desk.close")}
    </button>
  );
}
