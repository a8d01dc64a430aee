// The right panel: what is wrong, by incident, in the order in which it needs a person; or what is shelved.
import { signal } from "@preact/signals";
import type { ComponentChildren, RefObject } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Card } from "../api/types";
import { nameOf, t } from "../i18n";
import { whole } from "../i18n/format";
import { cards, cardsFailure, wantCards } from "../state/cards";
import { contact, counts, drillAlerts, realCounts, shelvedAlerts } from "../state/city";
import { districtOf, divisions, learnDivisions } from "../state/divisions";
import { realCards } from "../state/tally";
import { desk, wall } from "../state/view";
import { AlarmCard, LoneCard } from "./alarm";
import { IncidentCard } from "./incident";
import { DrillMark } from "./marks";
import { PastList } from "./past";
import { Trouble } from "./trouble";

/** Cards shown at once: more than a person can take in. */
const N_CARDS = 20;
/** A wall has no scrolling; it shows what fits. */
const N_WALL_CARDS = 9;

const shown = signal(wall ? N_WALL_CARDS : N_CARDS);
type View = "open" | "shelved" | "past";
const view = signal<View>("open");
const ORDERS = { shelved: "alarms.shelved_order", past: "past.order" } as const;

/** Who is in next begins with what is open. */
export function resetAlarms(): void {
  view.value = "open";
  shown.value = wall ? N_WALL_CARDS : N_CARDS;
}

export function Alarms() {
  const chosen = view.value;
  const nDrill = drillAlerts.value.length;
  useEffect(() => resetAlarms, []);
  return (
    <section class="panel alarms" aria-labelledby="alarms-title" id="alarms" tabIndex={-1}>
      <h2 id="alarms-title" class="panel-title">
        {t("alarms.title")}
        <b class="panel-count" data-testid="alerts-open">
          {whole(realCounts.value.open)}
        </b>
        {wall && nDrill > 0 ? (
          <span class="tag tag-drill" title={t("strip.drill_hint")} data-testid="alerts-open-drill">
            {t("alarms.drill_n", { n: whole(nDrill) })}
          </span>
        ) : null}
        <span class="panel-note">{chosen === "open" ? orderNote() : t(ORDERS[chosen])}</span>
        {wall ? null : (Object.keys(PAGES) as PageName[]).map((page) => <Open page={page} key={page} />)}
      </h2>
      {wall ? null : <ViewChoice nOpen={cards.value && realCards(cards.value)} />}
      {cardsFailure.value && contact.value !== "lost" ? (
        <Trouble failure={cardsFailure.value} said="alarms.cards_failed" test="cards-trouble" />
      ) : null}
      {chosen === "past" ? <PastList /> : chosen === "shelved" ? <Shelved /> : <Cards />}
    </section>
  );
}

/** With their names where there is little room. */
const PAGES = { load: "load.short", duty: "duty.title", drills: "drills.title" } as const;
type PageName = keyof typeof PAGES;

/** To a page beside the map that has to do with alarms. */
function Open({ page }: { page: PageName }) {
  return (
    <button
      type="button"
      class="quiet load-open"
      title={t(`${page}.title`)}
      data-testid={`${page}-open`}
      onClick={() => {
        desk.value = page;
      }}
    >
      {t(PAGES[page])}
    </button>
  );
}

function orderNote(): string {
  const list = cards.value;
  const waiting = list === null ? 0 : realCounts.value.unacknowledged;
  const words = [
    waiting > 0 ? t("alarms.waiting", { n: whole(waiting) }) : "",
    wall && list ? t("alarms.as_cards", { cards: whole(realCards(list)) }) : "",
    wall || waiting === 0 ? t("alarms.order") : "",
  ];
  return words.filter(Boolean).join(" · ");
}

/** What is open by cards without those of drills, how many are put aside, and what was found late. */
function ViewChoice({ nOpen }: { nOpen: number | null }) {
  const nShelved = cards.value?.shelved ?? counts.value?.alerts_shelved ?? 0;
  const choices = [
    ["open", t("alarms.view_open"), nOpen === null ? "" : t("alarms.as_cards", { cards: whole(nOpen) })],
    ["shelved", t("alarms.view_shelved"), whole(nShelved)],
    ["past", t("past.view"), ""],
  ] as const;
  return (
    <fieldset class="segments alarm-views" aria-label={t("alarms.view")}>
      {choices.map(([name, words, n]) => (
        <button
          key={name}
          type="button"
          aria-pressed={view.value === name}
          data-testid={`alarms-${name}`}
          onClick={() => {
            view.value = name;
            shown.value = N_CARDS;
          }}
        >
          {words} {n === "" ? null : <b data-testid={`alarms-${name}-n`}>{n}</b>}
        </button>
      ))}
    </fieldset>
  );
}

function Cards() {
  const list = cards.value;
  const items = (list?.items ?? []).slice(0, shown.value);
  const total = list?.total ?? 0;
  const element = useRef<HTMLOListElement>(null);
  const nWhole = useWhole(element, items.map(({ id }) => id).join());
  if (list === null) return <p class="empty">{cardsFailure.value ? "" : t("alarms.loading")}</p>;
  if (total === 0)
    return <p class="empty">{contact.value === "live" ? t("alarms.none") : t("alarms.none_lost")}</p>;
  const rest = total - Math.min(items.length, nWhole);
  return (
    <>
      <List of={element} rest={rest} hasMore={items.length < Math.min(total, list.items.length)}>
        {items.flatMap((card, i) => [
          card.drill && !items[i - 1]?.drill ? <DrillHead key="drills" n={drillAlerts.value.length} /> : null,
          <OneCard key={card.id} card={card} isWhole={i < nWhole} />,
        ])}
      </List>
      {wall ? (
        <p class="alarm-rest" data-testid="alarm-rest">
          {rest > 0 ? t("alarms.rest", { n: whole(rest) }) : "\u00a0"}
        </p>
      ) : null}
    </>
  );
}

/** Between the real and what is raised on purpose. */
const DrillHead = ({ n }: { n: number }) => (
  <li class="alarm-part" data-testid="drill-head">
    <DrillMark /> <b>{t("alarms.drill_n", { n: whole(n) })}</b> {t("alarms.drill_part")}
  </li>
);

function OneCard({ card, isWhole }: { card: Card; isWhole: boolean }) {
  if (card.counts.alerts === 1 && card.kind !== "gateway") return <LoneCard card={card} isWhole={isWhole} />;
  return <IncidentCard card={card} isWhole={isWhole} />;
}

function Shelved() {
  const all = shelvedAlerts.value;
  const items = all.slice(0, shown.value);
  if (all.length === 0) return <p class="empty">{t("alarms.none_shelved")}</p>;
  return (
    <List rest={all.length - items.length} hasMore={items.length < all.length}>
      {items.map((alert) => (
        <AlarmCard key={alert.id} alert={alert} isWhole />
      ))}
    </List>
  );
}

type ListProps = {
  of?: RefObject<HTMLOListElement | null>;
  rest: number;
  hasMore: boolean;
  children: ComponentChildren;
};

function List({ of, rest, hasMore, children }: ListProps) {
  return (
    <ol
      class="alarm-list last-known"
      ref={of}
      data-testid="alarm-list"
      tabIndex={wall ? undefined : 0}
      aria-labelledby="alarms-title"
    >
      {children}
      {rest > 0 && !wall ? (
        <li class="alarm-rest">
          {hasMore ? (
            <button
              type="button"
              class="quiet"
              data-testid="alarms-more"
              onClick={() => {
                shown.value += N_CARDS;
                // Those after the next ones are fetched while these are read.
                wantCards(shown.value + N_CARDS);
              }}
            >
              {t("alarms.more", { n: whole(Math.min(rest, N_CARDS)) })}
            </button>
          ) : (
            t("alarms.rest", { n: whole(rest) })
          )}
        </li>
      ) : null}
    </ol>
  );
}

/** How many cards of a wall stand whole in its list, which nobody scrolls; all where somebody can. */
function useWhole(list: RefObject<HTMLOListElement | null>, ids: string): number {
  const [n, setN] = useState(Infinity);
  useEffect(() => {
    const element = list.current;
    if (!wall || element === null) return;
    const measure = () => {
      const end = element.getBoundingClientRect().bottom;
      const cards = [...element.children].filter((child) => child.matches(".alarm"));
      const over = cards.findIndex((card) => card.getBoundingClientRect().bottom > end);
      setN(over < 0 ? Infinity : over);
    };
    // Words and the window may become larger or smaller at any time.
    const sizes = new ResizeObserver(measure);
    sizes.observe(element);
    for (const card of element.children) sizes.observe(card);
    return () => sizes.disconnect();
  }, [ids]);
  return n;
}

/** The district's name, or its code until the name is known. */
export function placeName(code: string | null): string {
  if (!code) return t("overview.outside");
  const district = districtOf(code);
  void learnDivisions([district]);
  const division = divisions.value.get(district);
  return division ? nameOf(division) : district;
}
