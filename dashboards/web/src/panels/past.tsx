// Historical events (历史事件): what was over when it was found in data that came late. A list of its own, and nobody's call.
import { useEffect, useState } from "preact/hooks";
import { askEvery } from "../api/again";
import { ApiError, api } from "../api/client";
import type { Alert, Page } from "../api/types";
import { alertDevice, langOf, pick, t } from "../i18n";
import { whole } from "../i18n/format";
import { pastVersion } from "../state/city";
import { type Failure, failureOf } from "../state/failure";
import { pastSpan } from "../state/past";
import { valueWithUnit } from "../state/quantities";
import { renewals } from "../state/session";
import { now, selectDevice } from "../state/view";
import { DrillTag, PastTag } from "./alarm";
import { placeName } from "./alarms";
import { SeverityBadge } from "./marks";
import { Trouble } from "./trouble";

/** A stream of late data tells of many at once; the list need not follow each. */
const EVERY_MS = 30_000;
const N_ROWS = 20;
const N_MOST = 1_000;

export function PastList() {
  const [n, setN] = useState(N_ROWS);
  const { page, failure, isMissing } = usePast(n);
  if (isMissing) return <p class="empty state-unknown">{t("past.missing")}</p>;
  if (failure && page === null) return <Trouble failure={failure} said="past.failed" test="past-trouble" />;
  if (page === null) return <p class="empty">{t("past.loading")}</p>;
  return (
    <>
      {failure ? <Trouble failure={failure} said="past.failed" test="past-trouble" /> : null}
      <p class="past-lead">{t("past.hint")}</p>
      {page.items.length === 0 ? <p class="empty">{t("past.none")}</p> : null}
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls is reached by the keyboard */}
      <ol class="alarm-list past-list" tabIndex={0} aria-label={t("past.list")} data-testid="past-list">
        {page.items.map((alert) => (
          <PastCard key={alert.id} alert={alert} />
        ))}
        {page.next === null ? null : (
          <li class="alarm-rest">
            {n < N_MOST ? (
              <button
                type="button"
                class="quiet"
                data-testid="past-more"
                onClick={() => setN(Math.min(N_MOST, n + N_ROWS))}
              >
                {t("alarms.more", { n: whole(Math.min(N_ROWS, N_MOST - n)) })}
              </button>
            ) : (
              t("past.cut", { n: whole(n) })
            )}
          </li>
        )}
      </ol>
    </>
  );
}

function usePast(limit: number) {
  const [page, setPage] = useState<Page<Alert> | null>(null);
  const [failure, setFailure] = useState<Failure | null>(null);
  const [isMissing, setMissing] = useState(false);
  // One question, however many came since the last one.
  const version = useSettled(pastVersion.value);
  useEffect(() => {
    const stop = askEvery(
      EVERY_MS,
      () => api.pastAlerts(limit),
      (told) => {
        setPage(told);
        setFailure(null);
      },
      (error) => {
        const isUnknown = error instanceof ApiError && error.code === "bad_state";
        setMissing(isUnknown);
        setFailure(failureOf(error));
        if (isUnknown) stop();
      },
    );
    return stop;
  }, [limit, version, renewals.value]);
  return { page, failure, isMissing };
}

const SETTLES_MS = 2_000;

/** The value as it was when it last stood still for a while, or had not for as long. */
function useSettled(value: number): number {
  const [settled, setSettled] = useState(value);
  const isBehind = settled !== value;
  useEffect(() => {
    if (!isBehind) return;
    const later = setTimeout(() => setSettled(pastVersion.peek()), SETTLES_MS);
    return () => clearTimeout(later);
  }, [isBehind]);
  return settled;
}

function PastCard({ alert }: { alert: Alert }) {
  const name = alertDevice(alert);
  const place = placeName(alert.division);
  const rule = pick(alert.rule_name);
  return (
    <li
      class={`alarm is-past sev-${alert.severity}`}
      data-testid={`past-${alert.id}`}
      data-device={alert.series.device}
    >
      <div class="alarm-body">
        <div class="alarm-head">
          <SeverityBadge severity={alert.severity} />
          <h3 class="alarm-rule">
            <button
              type="button"
              class="alarm-open"
              aria-label={`${rule} · ${t("alarms.show", { name })}`}
              data-testid="past-open"
              onClick={() => selectDevice(alert.series.device, alert.series.id, alert)}
            >
              <span lang={langOf(rule)}>{rule}</span>
            </button>
          </h3>
        </div>
        <p class="alarm-place">
          <span class="alarm-name" lang={langOf(name)}>
            {name}
          </span>
          <span class="alarm-district" lang={langOf(place)}>
            {place}
          </span>
          <PastTag of={alert.past} />
          <DrillTag of={alert.drill} />
        </p>
      </div>
      <div class="alarm-words">
        <PastFacts alert={alert} />
      </div>
    </li>
  );
}

/** From when until when it was, and how far it went. */
export function PastFacts({ alert }: { alert: Alert }) {
  const { past, series } = alert;
  if (!past) return null;
  return (
    <p class="past-facts" data-testid="past-facts">
      <span>{pastSpan(past, now.value)}</span>
      {/* Of a rule about a fence it is a longitude, which says nothing here. */}
      {past.peak === null || series.quantity === "longitude" ? null : (
        <span>
          {t("past.peak")} <b>{valueWithUnit(series.quantity, past.peak)}</b>
        </span>
      )}
    </p>
  );
}
