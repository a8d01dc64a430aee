// The page of who audits or keeps the security: what happened at the doors, and the evidence of an alarm.
import { useEffect, useState } from "preact/hooks";
import { api } from "../api/client";
import type { Page, SecurityEvent } from "../api/types";
import { langOf, named, t } from "../i18n";
import { dated, whole } from "../i18n/format";
import { type Failure, failureOf } from "../state/failure";
import { seesAll } from "../state/self";
import { may, renewals, sessionEnded, sessionNow } from "../state/session";
import { NEWEST, newer, older, shownOf, type Trail } from "../state/trail";
import { Field } from "./field";
import { usePack } from "./pack";
import { Trouble } from "./trouble";

/** Kinds of security events, as the server names them. */
const KINDS = [
  "login",
  "logout",
  "login_failed",
  "second_factor_failed",
  "login_locked",
  "wrong_token",
  "denied",
  "changed",
  "limited",
  "device_denied",
  "started",
  "stopped",
] as const;
/** Kinds that somebody has to look at; the others are told for the record. */
const WARNINGS: ReadonlySet<string> = new Set([
  "login_failed",
  "second_factor_failed",
  "login_locked",
  "wrong_token",
  "denied",
  "limited",
  "device_denied",
]);
const N_PAGE = 100;

export function Audit() {
  const session = sessionNow();
  return (
    <>
      {may("evidence") ? <EvidenceForm /> : null}
      {session && seesAll(session) ? (
        <Events />
      ) : (
        <p class="hint" data-testid="events-whole">
          {t("audit.whole_city_only")}
        </p>
      )}
    </>
  );
}

/** Who audits sees no alarms: whose evidence is wanted is said by its id. */
function EvidenceForm() {
  const [id, setId] = useState("");
  const { making, failure, take } = usePack();
  return (
    <form
      class="desk-form audit-evidence"
      onSubmit={(event) => {
        event.preventDefault();
        if (id.trim()) void take(id.trim());
      }}
    >
      <Field
        label={t("audit.alert")}
        value={id}
        set={setId}
        test="audit-alert"
        placeholder={t("audit.alert_hint")}
      />
      <button
        type="submit"
        class="primary"
        aria-busy={making}
        aria-disabled={making || !id.trim()}
        data-testid="audit-take"
      >
        {making ? t("alarms.evidence_making") : t("alarms.evidence")}
      </button>
      <div class="hint">
        <p>{t("alarms.evidence_hint")}</p>
        {may("audit") ? <p>{t("audit.heads")}</p> : null}
      </div>
      {failure ? <Trouble failure={failure} test="audit-trouble" /> : null}
    </form>
  );
}

type Told = { page: Page<SecurityEvent> } | { failure: Failure };

/** The newest first, a page at a time; a page stands still while it is read. */
function Events() {
  const [kind, setKind] = useState("");
  const [actor, setActor] = useState("");
  const [trail, setTrail] = useState<Trail>(NEWEST);
  const [asked, setAsked] = useState(0);
  const [told, setTold] = useState<Told | null>(null);
  const after = shownOf(trail);
  const by = actor.trim();
  useEffect(() => {
    let isShown = true;
    const failed = (error: unknown) => {
      if (!isShown) return;
      const failure = failureOf(error);
      setTold({ failure });
      if (failure.key === "failed.session") void sessionEnded();
    };
    // A name that is being typed is asked for once.
    const ask = setTimeout(
      () => {
        api
          .securityEvents({ kind, actor: by, after, limit: N_PAGE })
          .then((page) => isShown && setTold({ page }), failed);
      },
      by ? TYPED_MS : 0,
    );
    return () => {
      isShown = false;
      clearTimeout(ask);
    };
  }, [kind, by, after, asked, renewals.value]);
  const page = told && "page" in told ? told.page : null;
  const next = page?.next ?? null;
  return (
    <>
      <div class="desk-form audit-filter">
        <label class="field">
          <span>{t("audit.kind")}</span>
          <select
            value={kind}
            data-testid="events-kind"
            onChange={(event) => {
              setKind(event.currentTarget.value);
              setTrail(NEWEST);
            }}
          >
            <option value="">{t("audit.all_kinds")}</option>
            {KINDS.map((each) => (
              <option key={each} value={each}>
                {t(`event.${each}`)}
              </option>
            ))}
          </select>
        </label>
        <Field
          label={t("audit.actor")}
          value={actor}
          set={(text) => {
            setActor(text);
            setTrail(NEWEST);
          }}
          test="events-actor"
          placeholder={t("audit.actor_hint")}
        />
        <div class="audit-pages">
          <button
            type="button"
            class="quiet"
            data-testid="events-newest"
            onClick={() => {
              setTrail(NEWEST);
              setAsked((n) => n + 1);
            }}
          >
            {t("audit.newest")}
          </button>
          <button
            type="button"
            class="quiet"
            disabled={after === null}
            data-testid="events-newer"
            onClick={() => setTrail(newer)}
          >
            {t("audit.newer")}
          </button>
          <span class="audit-page" role="status" data-testid="events-page">
            {t("audit.page", { n: whole(trail.length) })}
          </span>
          <button
            type="button"
            class="quiet"
            disabled={next === null}
            data-testid="events-older"
            onClick={() => setTrail((before) => older(before, next))}
          >
            {t("audit.older")}
          </button>
        </div>
      </div>
      {told && "failure" in told ? <Trouble failure={told.failure} test="events-trouble" /> : null}
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard */}
      <section class="table-scroll" tabIndex={0} aria-label={t("audit.events")}>
        <table class="desk-table audit-table" data-testid="events">
          <thead>
            <tr>
              <th scope="col">{t("audit.time")}</th>
              <th scope="col">{t("audit.kind")}</th>
              <th scope="col">{t("audit.actor")}</th>
              <th scope="col">{t("audit.peer")}</th>
              <th scope="col">{t("audit.subject")}</th>
              <th scope="col">{t("audit.detail")}</th>
              <th scope="col" class="is-number">
                {t("audit.times")}
              </th>
            </tr>
          </thead>
          <tbody>
            {(page?.items ?? []).map((event) => (
              <Row key={event.seq} event={event} />
            ))}
          </tbody>
        </table>
        {page?.items.length === 0 ? <p class="empty">{t("audit.none")}</p> : null}
      </section>
    </>
  );
}

/** A name is asked for this long after its last letter. */
const TYPED_MS = 300;

function Row({ event }: { event: SecurityEvent }) {
  return (
    <tr data-testid={`event-${event.seq}`} data-kind={event.kind}>
      <td class="is-time">
        <time dateTime={event.at}>{dated(Date.parse(event.at))}</time>
      </td>
      <td>
        <span class={WARNINGS.has(event.kind) ? "tag is-warning" : "tag"}>{named("event", event.kind)}</span>
      </td>
      <td lang={langOf(event.actor ?? "")}>{event.actor ?? "–"}</td>
      <td>{event.peer ?? "–"}</td>
      <td lang={langOf(event.subject)}>
        <code>{event.subject}</code>
      </td>
      <td lang={langOf(event.detail)}>{event.detail || "–"}</td>
      <td class="is-number">{whole(event.n)}</td>
    </tr>
  );
}
