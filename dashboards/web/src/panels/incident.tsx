// A card of several alarms: what, where and why they are one; it opens into its alarms, a page at a time.
import { useEffect, useState } from "preact/hooks";
import { ApiError, api } from "../api/client";
import type { Alert, Card } from "../api/types";
import { langOf, pick, t } from "../i18n";
import { age, stamp, whole } from "../i18n/format";
import { bondOf, FIRST_PAGE, nextPage, type Pages, pageBefore, rangeOf, wishCards } from "../state/cards";
import { alerts, contact, devices, registerVersion } from "../state/city";
import { type Failure, failureOf } from "../state/failure";
import { isForeseen } from "../state/rules";
import { levelOf, SEVERITIES } from "../state/triage";
import { boxWanted, now, wall } from "../state/view";
import { AlarmRow, Condition, DrillTag } from "./alarm";
import { placeName } from "./alarms";
import { ForeseenBadge, Icon, SeverityBadge, SeverityMark } from "./marks";
import { Trouble } from "./trouble";

/** Alarms of one page. */
const N_ROWS = 20;

export function IncidentCard({ card, isWhole }: { card: Card; isWhole: boolean }) {
  const [isOpen, setOpen] = useState(false);
  const headline = pick(card.headline);
  const newest = Date.parse(card.changed_at);
  const words = <span lang={langOf(headline)}>{headline}</span>;
  const rows = `rows-${card.id}`;
  return (
    <li
      class={`alarm incident sev-${card.severity}${card.acknowledged ? " is-acknowledged" : ""}${isWhole ? "" : " is-cut"}${isOpen ? " is-open" : ""}`}
      data-testid={`card-${card.id}`}
      data-severity={card.severity}
      data-device={card.members?.[0]?.device}
      data-alarms={card.counts.alerts}
      data-acknowledged={card.acknowledged ? "true" : "false"}
    >
      <div class="alarm-body">
        <div class="alarm-head">
          <SeverityBadge severity={card.severity} />
          <span class="only-read">{t("severity.level", { n: levelOf(card.severity) })}</span>
          <Bond card={card} />
          <b class="incident-n">{t("card.alerts", { n: whole(card.counts.alerts) })}</b>
        </div>
      </div>
      <div class="alarm-side">
        <time class="alarm-age" title={t("card.times", timesOf(card, true))}>
          {age(newest, now.value)}
        </time>
        <span class="incident-fold" aria-hidden="true">
          {wall ? null : <Icon name={isOpen ? "up" : "down"} />}
        </span>
      </div>
      <div class="alarm-words">
        <h3 class="incident-line">
          {wall ? (
            words
          ) : (
            <button
              type="button"
              class="alarm-open"
              aria-expanded={isOpen}
              aria-controls={isOpen ? rows : undefined}
              data-testid="card-open"
              onClick={() => setOpen(!isOpen)}
            >
              {words}
            </button>
          )}
        </h3>
        <Lead card={card} />
        <Tally card={card} />
        <p class="incident-times">{t("card.times", timesOf(card, false))}</p>
      </div>
      {isOpen ? (
        <div class="incident-rows" id={rows}>
          <Rows card={card} />
        </div>
      ) : null}
    </li>
  );
}

/** When the oldest was raised and the newest changed, as ages or as times. */
function timesOf(card: Card, exact: boolean): { oldest: string; newest: string } {
  const said = (text: string) => (exact ? stamp : age)(Date.parse(text), now.value);
  return { oldest: said(card.raised_at), newest: said(card.changed_at) };
}

function Bond({ card }: { card: Card }) {
  void registerVersion.value;
  const bond = bondOf(card, (id) => devices.get(id));
  if (bond === null) return null;
  return (
    <span class="tag incident-bond" title={t("card.bond_hint")} data-testid="card-bond">
      {t(`card.bond_${bond}`)}
    </span>
  );
}

/** What leads the others says what is wrong, and where. */
function Lead({ card }: { card: Card }) {
  const [first] = card.members ?? [];
  const lead = first && alerts.value.get(first.id);
  const division = (first && devices.get(first.device)?.division) ?? lead?.division ?? null;
  const place = placeName(division);
  const message = lead ? pick(lead.message) : "";
  return (
    <>
      <p class="alarm-place">
        {lead && isForeseen(lead) ? <ForeseenBadge /> : null}
        <span lang={langOf(place)}>{place}</span>
        <DrillTag of={card.drill} />
        <Condition of={card.condition} />
      </p>
      {message && card.kind !== "gateway" ? (
        <p class="alarm-message" lang={langOf(message)}>
          {message}
        </p>
      ) : null}
    </>
  );
}

/** How many are of which severity, taken, and not known any more. */
function Tally({ card: { counts, condition } }: { card: Card }) {
  const kinds = SEVERITIES.filter((severity) => counts[severity] > 0);
  return (
    <p class="incident-tally">
      {kinds.length > 1
        ? kinds.map((severity) => (
            <span key={severity} class={`sev-${severity}`} title={t(`severity.${severity}`)}>
              <SeverityMark severity={severity} />
              <span class="only-read">{t(`severity.${severity}`)}</span>
              {whole(counts[severity])}
            </span>
          ))
        : null}
      {counts.devices > 1 ? <span>{t("card.devices", { n: whole(counts.devices) })}</span> : null}
      <span class={counts.acknowledged === 0 ? "is-waiting" : ""} data-testid="card-acknowledged">
        {t("card.acknowledged", { n: whole(counts.acknowledged), of: whole(counts.alerts) })}
      </span>
      {counts.unknown > 0 && condition !== "unknown" ? (
        <span class="state-unknown">{t("card.unknown", { n: whole(counts.unknown) })}</span>
      ) : null}
    </p>
  );
}

function Rows({ card }: { card: Card }) {
  const [pages, setPages] = useState<Pages>(FIRST_PAGE);
  const { items, failure } = usePage(card, pages, setPages);
  const { from, to } = rangeOf(pages, N_ROWS, items.length);
  const n = card.counts.alerts;
  return (
    <>
      {failure ? <Trouble failure={failure} said="card.failed" test="card-trouble" /> : null}
      <ol aria-label={t("card.list", { name: pick(card.headline) })} data-testid="card-rows">
        {items.map((alert) => (
          <AlarmRow key={alert.id} alert={alerts.value.get(alert.id) ?? alert} />
        ))}
      </ol>
      <div class="incident-foot">
        {n > N_ROWS ? (
          <>
            <span role="status">{t("card.range", { from: whole(from), to: whole(to), n: whole(n) })}</span>
            <button
              type="button"
              class="quiet"
              disabled={pages.after.length === 0}
              data-testid="card-before"
              onClick={() => setPages(pageBefore(pages))}
            >
              {t("card.before")}
            </button>
            <button
              type="button"
              class="quiet"
              disabled={pages.next === null}
              data-testid="card-next"
              onClick={() => setPages(nextPage(pages))}
            >
              {t("card.next")}
            </button>
          </>
        ) : null}
        {card.bounds ? (
          <button
            type="button"
            class="quiet incident-where"
            onClick={() => {
              boxWanted.value = card.bounds;
            }}
          >
            {t("card.where")}
          </button>
        ) : null}
      </div>
    </>
  );
}

/** The alarms of a page, fetched anew when the card changed. */
function usePage(card: Card, pages: Pages, setPages: (pages: Pages) => void) {
  const [items, setItems] = useState<readonly Alert[]>([]);
  const [failure, setFailure] = useState<Failure | null>(null);
  const after = pages.after.at(-1);
  const state = JSON.stringify([card.changed_at, card.counts]);
  useEffect(() => {
    let over = false;
    api.card(card.id, { limit: N_ROWS, after }).then(
      (page) => {
        if (over) return;
        setItems(page.items);
        setFailure(null);
        if (page.next !== pages.next) setPages({ after: pages.after, next: page.next });
      },
      (error) => {
        if (over) return;
        // The alarm that this page began behind has left: from the beginning.
        if (error instanceof ApiError && error.code === "bad_after") return setPages(FIRST_PAGE);
        if (error instanceof ApiError && error.status === 404) wishCards();
        setFailure(failureOf(error));
      },
    );
    return () => {
      over = true;
    };
  }, [card.id, after, state, contact.value === "live"]);
  return { items, failure };
}
