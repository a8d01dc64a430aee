// The strip at the bottom: what happened last, newest first. It stands still; only new events move it.
import { alertDevice, langOf, pick, t } from "../i18n";
import { stamp } from "../i18n/format";
import { ticker } from "../state/events";
import { isForeseen } from "../state/rules";
import type { EdgeName } from "../state/triage";
import { now } from "../state/view";
import { DrillTag } from "./alarm";
import { ForeseenBadge, SeverityMark } from "./marks";

const EDGE_ICONS: Record<EdgeName, string> = {
  raised: "M12 20V5M6 11l6-6 6 6",
  cleared: "M5 12.5l4.5 4.5L19 7.5",
  lost: "M4 12h4M11 12h2M16 12h4",
  found: "M4 12h16M15 7l5 5-5 5",
  worsened: "M6 13l6-6 6 6M6 19l6-6 6 6",
  eased: "M6 5l6 6 6-6M6 11l6 6 6-6",
  acknowledged: "M12 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM4.5 20c1-4 4-6 7.5-6s6.5 2 7.5 6",
  acknowledgement_expired: "M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17zM12 7.5V12l3 2.5",
  shelved: "M5 5h14v6H5zM5 11h14v8H5zM10 8h4",
  unshelved: "M5 11h14v8H5zM12 9V3M9 6l3-3 3 3",
  shelf_expired: "M5 11h14v8H5zM12 3v5M12 8h3",
  assigned:
    "M9 5a3.4 3.4 0 1 0 0 6.8A3.4 3.4 0 0 0 9 5zM3 19c.6-3.4 3-5 6-5s5.4 1.6 6 5M16 9h5M19 6.5L21.5 9 19 11.5",
  closed: "M5 5h14v14H5zM9 12h6",
  drill_over: "M12 4v9M12 17.5v.5M4.5 20.5h15",
  withdrawn: "M19 6v7a4 4 0 0 1-4 4H5M9 13l-4 4 4 4",
};

export function Ticker() {
  const events = ticker.value;
  return (
    <section class="panel ticker" aria-labelledby="ticker-title">
      <h2 id="ticker-title" class="ticker-title">
        {t("ticker.title")}
      </h2>
      {events.length === 0 ? (
        <p class="empty">{t("ticker.none")}</p>
      ) : (
        <ol class="ticker-list" data-testid="ticker">
          {events.map(({ key, at, edge, alert }) => {
            const device = alertDevice(alert);
            const rule = pick(alert.rule_name);
            return (
              <li key={key} class={`event event-${edge}`}>
                <span class="event-head">
                  <SeverityMark severity={alert.severity} />
                  <span class="only-read">{t(`severity.${alert.severity}`)}</span>
                  <time>{stamp(at, now.value)}</time>
                  <span class="event-edge">
                    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
                      <path d={EDGE_ICONS[edge]} />
                    </svg>
                    {t(`edge.${edge}`)}
                  </span>
                </span>
                <span class="event-text">
                  <span class="event-rule">
                    {isForeseen(alert) ? <ForeseenBadge /> : null}
                    <DrillTag of={alert.drill} />
                    <span lang={langOf(rule)}>{rule}</span>
                  </span>
                  <span class="event-device" lang={langOf(device)}>
                    {device}
                  </span>
                </span>
              </li>
            );
          })}
        </ol>
      )}
    </section>
  );
}
