// The strip at the top: what this is, how many of what, who calls, whether the picture is alive, what time it is.
import { lang, setLang, t } from "../i18n";
import { clock, longDate, whole } from "../i18n/format";
import { contact, counts, drillAlerts, lag, openBySeverity, snapshotError, system } from "../state/city";
import { administers, desksOf } from "../state/desk";
import { seesAll } from "../state/self";
import { logOut, may, sessionNow } from "../state/session";
import { desk, now, openQuarantine, wall } from "../state/view";
import { DrillMark, Icon, SeverityMark, StateMark } from "./marks";
import { WhoButton } from "./who";

const STATES = ["normal", "abnormal", "unknown", "stale"] as const;

export function TopStrip() {
  return (
    <header class="strip">
      <div class="brand">
        <svg class="brand-mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
          <path class="brand-line" d="M3 22.5l7.5-5.5 5.5 3.5L28 10" />
          <circle class="brand-dot" cx="10.5" cy="17" r="3.4" />
          <path class="brand-peak" d="M22 3.5l5 8.8H17z" />
        </svg>
        <div>
          <h1>{t("app.title")}</h1>
          <p class="brand-sub">
            <span>onemap</span>
            <span>{t("app.subtitle")}</span>
            {system.value?.demo ? (
              <span class="demo-tag" title={t("app.demo_hint")} data-testid="demo-mark">
                {t("app.demo")}
              </span>
            ) : null}
          </p>
        </div>
      </div>
      <Figures />
      <div class="strip-end">
        <ContactState />
        <QuarantineButton />
        <Clock />
        {wall ? null : (
          <div class="strip-buttons">
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
            <DeskButtons />
            <button
              type="button"
              class="quiet icon-only"
              aria-label={t("strip.log_out")}
              title={t("strip.log_out")}
              data-testid="log-out"
              onClick={() => void logOut()}
            >
              <Icon name="out" />
            </button>
          </div>
        )}
      </div>
    </header>
  );
}

/** To the pages beside the map, for who has some: forecasts, and what there is to administer. */
function DeskButtons() {
  const desks = desksOf(may);
  const [first, ...others] = desks.filter(administers);
  return (
    <>
      {desks.includes("forecasts") ? (
        <button
          type="button"
          class="quiet"
          data-testid="forecasts-open"
          onClick={() => {
            desk.value = "forecasts";
          }}
        >
          {t("forecasts.title")}
        </button>
      ) : null}
      {first ? (
        <button
          type="button"
          class="quiet"
          data-testid="desk-open"
          onClick={() => {
            desk.value = first;
          }}
        >
          {others.length > 0 ? t("desk.open") : t(`${first}.title`)}
        </button>
      ) : null}
    </>
  );
}

/** Devices by state and open alarms by severity. Without contact they are last known, and say so. */
function Figures() {
  const figures = counts.value;
  return (
    <div class="figures last-known">
      <span class="figure-caption" aria-hidden="true">
        {t("strip.states")}
      </span>
      <dl class="figure-group" aria-label={t("strip.states")}>
        {STATES.map((state) => (
          <div class={`figure state-${state}`} key={state}>
            <dt>
              <StateMark state={state} />
              {t(`state.${state}`)}
            </dt>
            <dd data-testid={`count-${state}`}>{figures ? whole(figures[state]) : "–"}</dd>
          </div>
        ))}
      </dl>
      <span class="figures-rule" aria-hidden="true" />
      <span class="figure-caption" aria-hidden="true">
        {t("strip.alarms")}
      </span>
      <dl class="figure-group" aria-label={t("strip.alarms")}>
        {openBySeverity.value.map(({ severity, n, atLeast }) => (
          <div class={`figure sev-${severity}${n === 0 ? " is-zero" : ""}`} key={severity}>
            <dt>
              <SeverityMark severity={severity} />
              {t(`severity.${severity}`)}
            </dt>
            <dd data-testid={`alerts-${severity}`}>{atLeast ? `${whole(n)}+` : whole(n)}</dd>
          </div>
        ))}
        {drillAlerts.value.length > 0 ? (
          <div class="figure is-drill" title={t("strip.drill_hint")}>
            <dt>
              <DrillMark />
              {t("alarms.drill")}
            </dt>
            <dd data-testid="alerts-drill">{whole(drillAlerts.value.length)}</dd>
          </div>
        ) : null}
      </dl>
    </div>
  );
}

function ContactState() {
  const state = contact.value;
  return (
    <div class={`contact contact-${state}`} data-testid="contact" data-contact={state} role="status">
      <span class="contact-dot" aria-hidden="true" />
      <span class="contact-words">
        <span>{t(`link.${state}`)}</span>
        <small>
          {state === "live" && snapshotError.value === null ? t("link.lag", { n: whole(lag.value) }) : ""}
        </small>
      </span>
    </div>
  );
}

/** For who may look into the quarantine; how much was refused is of the whole city and told to who sees all of it. */
function QuarantineButton() {
  const session = sessionNow();
  if (!session || !may("quarantine")) return null;
  const isTold = seesAll(session);
  const refused = system.value?.refused;
  const n = refused ? whole(Object.values(refused).reduce((sum, each) => sum + each, 0)) : "–";
  const inner = (
    <>
      <Icon name="inbox" />
      <span class="quarantine-words">
        <span>{t("strip.quarantine")}</span>
        {isTold ? <b data-testid="quarantine-count">{n}</b> : null}
      </span>
    </>
  );
  if (wall) return <div class="quarantine-count">{inner}</div>;
  return (
    <button
      type="button"
      class="quiet quarantine-count"
      title={isTold ? t("strip.quarantine_open", { n }) : t("strip.quarantine_part")}
      data-testid="quarantine-open"
      onClick={openQuarantine}
    >
      {inner}
    </button>
  );
}

function Clock() {
  return (
    <div class="clock">
      <time class="clock-time" data-testid="clock">
        {clock(now.value)}
      </time>
      <span class="clock-date">{longDate(now.value)}</span>
    </div>
  );
}
