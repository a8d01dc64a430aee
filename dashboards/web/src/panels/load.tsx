// The page of the alarm load: how much each desk had to look at, what chatters, what costs most.
import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { askEvery } from "../api/again";
import { ApiError, api } from "../api/client";
import type { AlarmLoad, BadActor, Chattering, DeskLoad } from "../api/types";
import { langOf, nameOf, pick, t } from "../i18n";
import { decimal, moment, percent, unitText, whole } from "../i18n/format";
import { devices, serverNow } from "../state/city";
import { type Failure, failureOf } from "../state/failure";
import {
  byLoad,
  floodGrade,
  type Grade,
  isFlood,
  type LoadRange,
  RANGES,
  rateGrade,
  spanOf,
} from "../state/load";
import { channelText, quantityName } from "../state/quantities";
import { renewals } from "../state/session";
import { desk, now, selectDevice } from "../state/view";
import { placeName } from "./alarms";
import { Trouble } from "./trouble";

const EVERY_MS = 60_000;

export function Load() {
  const [range, setRange] = useState<LoadRange>("24h");
  const { load, failure, isMissing } = useLoad(range);
  return (
    <div class="load" data-testid="load-page">
      <div class="load-head">
        <fieldset class="segments" aria-label={t("load.range")}>
          {RANGES.map((each) => (
            <button
              key={each}
              type="button"
              aria-pressed={each === range}
              data-testid={`load-${each}`}
              onClick={() => setRange(each)}
            >
              {t(`load.range_${each}`)}
            </button>
          ))}
        </fieldset>
        <p role="status" data-testid="load-span">
          {load ? <Span load={load} /> : failure || isMissing ? "" : t("load.loading")}
        </p>
        {isMissing ? (
          <p class="state-unknown" data-testid="load-trouble">
            {t("load.missing")}
          </p>
        ) : failure ? (
          <Trouble failure={failure} said="load.failed" test="load-trouble" />
        ) : null}
      </div>
      {load ? (
        <>
          <div class="load-part">
            <Desks desks={load.desks} />
          </div>
          <div class="load-part">
            <Chatterers items={load.chattering} />
            <Actors items={load.bad_actors} />
          </div>
        </>
      ) : null}
    </div>
  );
}

function useLoad(range: LoadRange) {
  const [load, setLoad] = useState<AlarmLoad | null>(null);
  const [failure, setFailure] = useState<Failure | null>(null);
  const [isMissing, setMissing] = useState(false);
  useEffect(() => {
    setLoad(null);
    const stop = askEvery(
      EVERY_MS,
      () => {
        const { from, to } = spanOf(range, serverNow());
        return api.load(from, to);
      },
      (told) => {
        setLoad(told);
        setFailure(null);
      },
      (error) => {
        const isNoRoute = error instanceof ApiError && error.status === 404;
        setMissing(isNoRoute);
        setFailure(failureOf(error));
        if (isNoRoute) stop();
      },
    );
    return stop;
  }, [range, renewals.value]);
  return { load, failure, isMissing };
}

function Span({ load: { from, to, n_raised } }: { load: AlarmLoad }) {
  const at = now.value;
  return (
    <>
      {t("load.span", {
        from: moment(Date.parse(from), at),
        to: moment(Math.min(Date.parse(to), at), at),
        n: whole(n_raised),
      })}
    </>
  );
}

/** A heading, and below it a table or the words that there is nothing. */
function Listed({
  name,
  head,
  columns,
  none,
  children,
}: {
  name: string;
  head: ComponentChildren;
  /** The first is of the names; `title` tells more of a column. */
  columns: readonly { text: string; title?: string; isNumber?: boolean }[];
  /** Set when there is nothing. */
  none: string | null;
  children: ComponentChildren;
}) {
  return (
    <>
      <h3 id={`load-${name}`}>{head}</h3>
      {none ? (
        <p class="empty">{none}</p>
      ) : (
        <table class="desk-table" data-testid={`load-${name}`}>
          <thead>
            <tr>
              {columns.map(({ text, title, isNumber }) => (
                <th key={text} scope="col" class={isNumber ? "is-number" : undefined} title={title}>
                  {text}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>{children}</tbody>
        </table>
      )}
    </>
  );
}

function Desks({ desks }: { desks: readonly DeskLoad[] }) {
  return (
    <section aria-labelledby="load-desks">
      <Listed
        name="desks"
        head={t("load.desks")}
        none={desks.length === 0 ? t("load.none") : null}
        columns={[
          { text: t("load.desk") },
          { text: t("load.raised"), isNumber: true },
          { text: t("load.mean"), isNumber: true, title: t("load.mean_hint") },
          { text: t("load.most"), isNumber: true },
          { text: t("load.flood"), isNumber: true, title: t("load.flood_hint") },
        ]}
      >
        {[...desks].sort(byLoad).map((each) => (
          <DeskRow key={each.division ?? ""} desk={each} />
        ))}
      </Listed>
      <p class="hint">{t("load.mean_hint")}</p>
      <p class="hint">{t("load.flood_hint")}</p>
    </section>
  );
}

function DeskRow({ desk: each }: { desk: DeskLoad }) {
  const place = placeName(each.division);
  const rate = rateGrade(each);
  return (
    <tr data-testid={`load-desk-${each.division ?? "outside"}`} data-grade={rate}>
      <th scope="row" lang={langOf(place)}>
        {place}
      </th>
      <td class="is-number">{whole(each.n_raised)}</td>
      <td class="is-number">
        <b>{decimal(each.mean, 2)}</b>
        <GradeWord grade={rate} />
      </td>
      <td class="is-number">
        {whole(each.most)}
        {isFlood(each.most) ? <span class="tag load-flooded">{t("load.flooded")}</span> : null}
        <small>{moment(Date.parse(each.most_at), now.value)}</small>
      </td>
      <td>
        <Share share={each.flood_share} grade={floodGrade(each)} />
      </td>
    </tr>
  );
}

const GradeWord = ({ grade }: { grade: Grade }) => (
  <small class={`load-grade is-${grade}`}>{t(`load.${grade}`)}</small>
);

function Share({ share, grade = "calm" }: { share: number; grade?: Grade }) {
  return (
    <span class="load-share">
      {share > 0 && share < 0.1 ? `${decimal(share * 100, 1)} %` : percent(share)}
      <span class={`load-bar is-${grade}`} aria-hidden="true">
        <i style={{ width: `${Math.min(100, share * 100)}%` }} />
      </span>
    </span>
  );
}

type Offender = Chattering | BadActor;
const keyOf = ({ rule, series: { device, quantity, ch } }: Offender) => `${rule}/${device}/${quantity}/${ch}`;

/** Device, quantity and rule; leads to the device where the register has it. */
function Names({ of }: { of: Offender }) {
  const { device, quantity, ch } = of.series;
  const known = devices.get(device);
  const name = known ? nameOf(known) : nameOf({ name: of.device_name || device, name_en: of.device_name_en });
  const rule = of.rule_name ? pick(of.rule_name) : of.rule;
  const words = [quantityName(quantity), channelText(quantity, ch)].filter(Boolean).join(" · ");
  const inner = <span lang={langOf(name)}>{name}</span>;
  return (
    <>
      <th scope="row">
        {known ? (
          <button
            type="button"
            class="skill-pick"
            onClick={() => {
              desk.value = null;
              selectDevice(device, known.series.find((s) => s.quantity === quantity && s.ch === ch)?.id);
            }}
          >
            {inner}
          </button>
        ) : (
          inner
        )}
        <small>{words}</small>
      </th>
      <td lang={langOf(rule)}>{rule}</td>
    </>
  );
}

function Chatterers({ items }: { items: readonly Chattering[] }) {
  return (
    <section aria-labelledby="load-chattering">
      <Listed
        name="chattering"
        head={
          <>
            {t("load.chattering")}
            <small>{t("load.chattering_hint")}</small>
          </>
        }
        none={items.length === 0 ? t("load.none_chattering") : null}
        columns={[
          { text: t("load.series") },
          { text: t("load.rule") },
          { text: t("load.per_hour"), isNumber: true },
          { text: t("load.deadband"), isNumber: true, title: t("load.deadband_hint") },
        ]}
      >
        {items.map((each) => (
          <tr key={keyOf(each)}>
            <Names of={each} />
            <td class="is-number">{t("load.times", { n: whole(each.index) })}</td>
            <td class="is-number">
              {each.deadband === null ? (
                <small class="state-unknown">{t("load.no_deadband")}</small>
              ) : (
                <b>{`≥ ${each.deadband} ${unitText(each.unit)}`}</b>
              )}
            </td>
          </tr>
        ))}
      </Listed>
    </section>
  );
}

function Actors({ items }: { items: readonly BadActor[] }) {
  return (
    <section aria-labelledby="load-actors">
      <Listed
        name="actors"
        head={t("load.actors")}
        none={items.length === 0 ? t("load.none_actors") : null}
        columns={[
          { text: t("load.series") },
          { text: t("load.rule") },
          { text: t("load.raised"), isNumber: true },
          { text: t("load.share"), isNumber: true },
        ]}
      >
        {items.map((each) => (
          <tr key={keyOf(each)}>
            <Names of={each} />
            <td class="is-number">{t("load.times", { n: whole(each.n_raised) })}</td>
            <td>
              <Share share={each.share} />
            </td>
          </tr>
        ))}
      </Listed>
    </section>
  );
}
