// How good the forecasts of a series were, as issued, by lead and by what the series did; and a model trained anew.
import { useEffect, useState } from "preact/hooks";
import { askEvery } from "../api/again";
import { api } from "../api/client";
import type { LeadScores, Skill, SourceSkill } from "../api/types";
import { langOf, type MessageKey, t } from "../i18n";
import { decimal, leadText, minute, percent, whole } from "../i18n/format";
import { serverNow } from "../state/city";
import { type Failure, failureOf } from "../state/failure";
import { OWN, type Row } from "../state/foresight";
import { isOfTraining, sourceName, whyNotText } from "../state/foresight-words";
import { quantities, quantityName, unitOf, valueWithUnit } from "../state/quantities";
import { may, renewals } from "../state/session";
import { coverageState, isEnough, N_ENOUGH, skillEnd } from "../state/skill";
import { desk, showCourse } from "../state/view";
import { deviceName } from "./foresight";
import { failureWords, Trouble } from "./trouble";

const EVERY_MS = 60_000;
const TRAINING_EVERY_MS = 5_000;

export function SkillOf({ row: { series, source, forecaster } }: { row: Row }) {
  const name = deviceName(series.device);
  return (
    <section class="skill" aria-labelledby="skill-title" data-testid="skill">
      <header class="skill-head">
        <div>
          <h3 id="skill-title" lang={langOf(name)}>
            {name} · {quantityName(series.quantity)}
          </h3>
          <p class="hint">
            {t("skill.title")} · <span lang={langOf(source)}>{sourceName(source)}</span>
          </p>
        </div>
        <div class="skill-acts">
          <button
            type="button"
            class="quiet"
            data-testid="skill-device"
            onClick={() => {
              showCourse(series.device, series.id);
              desk.value = null;
            }}
          >
            {t("forecasts.show_device")}
          </button>
          {source === OWN && forecaster && series.id !== null && may("rules") ? (
            <Retrain series={series.id} trainedAt={forecaster.trained?.at ?? null} />
          ) : null}
        </div>
      </header>
      {series.id === null ? (
        <p class="empty">{t("skill.none")}</p>
      ) : (
        <Scores series={series.id} quantity={series.quantity} source={source} />
      )}
    </section>
  );
}

/** A model is trained behind what is already under way: what has become of it is asked for until it is there. */
function Retrain({ series, trainedAt }: { series: number; trainedAt: string | null }) {
  const [before, setBefore] = useState<{ at: string | null; why: string | null } | null>(null);
  const [done, setDone] = useState<string | null>(null);
  const [failed, setFailed] = useState<string | null>(null);
  const isAsked = before !== null && done === null && failed === null;
  useEffect(() => {
    if (!isAsked || before === null) return;
    return askEvery(
      TRAINING_EVERY_MS,
      () => api.forecastsOf(series),
      ({ forecaster }) => {
        const at = forecaster?.trained?.at ?? null;
        const why = forecaster?.why_not ?? null;
        if (at !== null && at !== before.at) setDone(at);
        else if (why !== null && why !== before.why && isOfTraining(why))
          setFailed(whyNotText(why, serverNow(), deviceName));
      },
      (error) => setFailed(failureWords(failureOf(error))),
    );
  }, [isAsked, series, before]);
  return (
    <>
      <button
        type="button"
        class="primary"
        aria-busy={isAsked}
        aria-disabled={isAsked}
        data-testid="retrain"
        onClick={() => {
          if (isAsked) return;
          setFailed(null);
          setDone(null);
          api.train(series).then(
            ({ forecaster }) =>
              setBefore({ at: forecaster.trained?.at ?? trainedAt, why: forecaster.why_not }),
            (error) => setFailed(failureWords(failureOf(error))),
          );
        }}
      >
        {t("forecasts.retrain")}
      </button>
      <small role="status" data-testid="retrain-state">
        {failed !== null
          ? t("forecasts.retrain_failed", { why: failed })
          : done
            ? t("forecasts.retrained", { time: minute(Date.parse(done)) })
            : isAsked
              ? t("forecasts.retrain_asked")
              : ""}
      </small>
    </>
  );
}

type Told = { skill: Skill } | { failure: Failure } | null;

function Scores({ series, quantity, source }: { series: number; quantity: string; source: string }) {
  const [told, setTold] = useState<Told>(null);
  useEffect(
    () =>
      askEvery(
        EVERY_MS,
        () => api.skill(series, source),
        (skill) => setTold({ skill }),
        (error) => setTold({ failure: failureOf(error) }),
      ),
    [series, source, renewals.value],
  );
  if (told === null) return <p class="empty">{t("skill.loading")}</p>;
  if ("failure" in told) return <Trouble failure={told.failure} test="skill-trouble" />;
  const { skill } = told;
  const [own] = skill.sources;
  if (!own || own.leads.length === 0) return <p class="empty">{t("skill.none")}</p>;
  const n = whole(skill.forecasts);
  return (
    <>
      <End skill={own} />
      <p class="hint">
        {skill.threshold === null
          ? t("skill.about_plain", { n })
          : t("skill.about", { n, threshold: valueWithUnit(quantity, skill.threshold) })}
        {skill.cut ? t("skill.cut") : ""}
        {own.median_lead_s === null
          ? ""
          : ` · ${t("skill.warned_ahead", { lead: leadText(own.median_lead_s) })}`}
      </p>
      <Table quantity={quantity} leads={own.leads} />
    </>
  );
}

/** Up to where forecasts proved better than the present value. */
function End({ skill }: { skill: SourceSkill }) {
  const end = skillEnd(skill.leads);
  const words =
    end.known === "few"
      ? t("skill.ends_few", { n: N_ENOUGH })
      : end.known === "none"
        ? t("skill.ends_none")
        : t("skill.ends", { lead: leadText(end.lead_s) });
  return (
    <p
      class={`skill-end${end.known === "lead" ? "" : " state-unknown"}`}
      title={t("skill.ends_hint", { n: N_ENOUGH })}
      data-testid="skill-end"
    >
      {words}
    </p>
  );
}

type Measure = {
  key: "mae" | "rmse" | "index" | "crps" | "pod" | "far" | "csi" | "brier";
  of: (scores: LeadScores) => number | null;
  /** Written with the quantity's decimals; others have two. */
  isOfUnit: boolean;
};

const MEASURES: readonly Measure[] = [
  { key: "mae", of: ({ mae }) => mae, isOfUnit: true },
  { key: "rmse", of: ({ rmse }) => rmse, isOfUnit: true },
  { key: "index", of: ({ skill }) => skill, isOfUnit: false },
  { key: "crps", of: ({ crps }) => crps, isOfUnit: true },
  { key: "pod", of: ({ pod }) => pod, isOfUnit: false },
  { key: "far", of: ({ far }) => far, isOfUnit: false },
  { key: "csi", of: ({ csi }) => csi, isOfUnit: false },
  { key: "brier", of: ({ brier }) => brier, isOfUnit: false },
];

function Table({ quantity, leads }: { quantity: string; leads: readonly LeadScores[] }) {
  const [chosen, setChosen] = useState<number | null>(null);
  const end = skillEnd(leads);
  const lead = leads.find(({ lead_s }) => lead_s === chosen) ?? leads[0];
  const decimals = quantities.value.get(quantity)?.decimals ?? 2;
  const unit = unitOf(quantity) || "1";
  const text = (value: number | null, isOfUnit: boolean) =>
    value === null ? "–" : decimal(value, isOfUnit ? decimals : 2);
  return (
    <>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard */}
      <section class="skill-scroll" tabIndex={0} aria-label={t("skill.title")}>
        <table class="desk-table skill-table" data-testid="skill-table">
          <thead>
            <tr>
              <th scope="col">{t("skill.lead")}</th>
              <th scope="col" class="is-number">
                {t("skill.n")}
              </th>
              {MEASURES.map(({ key }) => (
                <th scope="col" class="is-number" key={key} title={t(`skill.${key}_hint`, { unit })}>
                  {t(`skill.${key}`)}
                </th>
              ))}
              <th scope="col" title={t("skill.coverage_hint")}>
                {t("skill.coverage")}
              </th>
            </tr>
          </thead>
          <tbody>
            {leads.map((scores) => (
              <tr
                key={scores.lead_s}
                class={`${isEnough(scores) ? "" : "is-off"}${scores === lead ? " is-chosen" : ""}${end.known === "lead" && end.lead_s === scores.lead_s ? " is-skill-end" : ""}`}
                data-testid={`skill-${scores.lead_s}`}
              >
                <th scope="row">
                  <button
                    type="button"
                    class="skill-pick"
                    aria-pressed={scores === lead}
                    onClick={() => setChosen(scores.lead_s)}
                  >
                    {leadText(scores.lead_s)}
                  </button>
                </th>
                <td
                  class="is-number"
                  title={t("skill.n_hint", {
                    late: whole(scores.late),
                    pending: whole(scores.pending),
                    missing: whole(scores.missing),
                    no_origin: whole(scores.no_origin),
                  })}
                >
                  {whole(scores.n)}
                </td>
                {MEASURES.map(({ key, of, isOfUnit }) => (
                  <td class="is-number" key={key}>
                    {text(of(scores), isOfUnit)}
                  </td>
                ))}
                <td>
                  <Coverage name={leadText(scores.lead_s)} of={scores} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
      {lead ? <States lead={lead} text={text} /> : null}
    </>
  );
}

type StatesProps = { lead: LeadScores; text: (value: number | null, isOfUnit: boolean) => string };

/** The same by what the series did when a forecast was made. */
function States({ lead, text }: StatesProps) {
  const rows = [...lead.by_state, { ...lead, state: "all" as const }];
  return (
    <section class="skill-states">
      <h4>{t("skill.by_state", { lead: leadText(lead.lead_s) })}</h4>
      <table class="desk-table skill-table" data-testid="skill-states">
        <thead>
          <tr>
            <th scope="col">{t("skill.state")}</th>
            {(["n", "mae", "rmse", "index"] as const).map((key) => (
              <th scope="col" class="is-number" key={key}>
                {t(`skill.${key}`)}
              </th>
            ))}
            <th scope="col">{t("skill.coverage")}</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.state} class={isEnough(row) ? "" : "is-off"}>
              <th scope="row">{t(`skill.state_${row.state}`)}</th>
              <td class="is-number">{whole(row.n)}</td>
              <td class="is-number">{text(row.mae, true)}</td>
              <td class="is-number">{text(row.rmse, true)}</td>
              <td class="is-number">{text(row.skill, false)}</td>
              <td>
                <Coverage name={t(`skill.state_${row.state}`)} of={row} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

/** How much of what came lay in the 80 % interval, beside what it promises. */
function Coverage({ name, of }: { name: string; of: { n: number; coverage80: number | null } }) {
  if (of.coverage80 === null || !isEnough(of)) return <small>{t("skill.few")}</small>;
  const state = coverageState(of.coverage80);
  const verdict = t(`skill.coverage_${state}` satisfies MessageKey);
  const share = percent(of.coverage80);
  return (
    <span
      class={`coverage is-${state}`}
      role="img"
      aria-label={t("skill.coverage_aria", { state: name, n: whole(of.n), share, verdict })}
    >
      <span class="coverage-bar">
        <i style={{ width: `${Math.round(of.coverage80 * 100)}%` }} />
      </span>
      <b>{share}</b>
      <small>{verdict}</small>
    </span>
  );
}
