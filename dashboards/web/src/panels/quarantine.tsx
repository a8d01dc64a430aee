// The quarantine: what was refused, why, from whom, with its bytes.
import { signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import { askEvery } from "../api/again";
import { api } from "../api/client";
import type { QuarantineItem, SpeltLine } from "../api/types";
import { named, t } from "../i18n";
import { stamp, whole } from "../i18n/format";
import { system } from "../state/city";
import { type Failure, failureOf } from "../state/failure";
import { may, renewals } from "../state/session";
import { now, quarantineOpen } from "../state/view";
import { Icon } from "./marks";
import { Trouble } from "./trouble";

const REFRESH_MS = 10_000;
/** Bytes of a payload that are shown; the API has them all. */
const SHOWN_CHARS = 600;

const reason = signal<string | null>(null);

export function Quarantine() {
  return quarantineOpen.value && may("quarantine") ? <Drawer /> : null;
}

function Drawer() {
  const [items, setItems] = useState<QuarantineItem[] | null>(null);
  const [failure, setFailure] = useState<Failure | null>(null);
  useEffect(
    () =>
      askEvery(
        REFRESH_MS,
        api.quarantine,
        (list) => {
          setItems(list);
          setFailure(null);
        },
        (error) => setFailure(failureOf(error)),
      ),
    [renewals.value],
  );
  const leave = () => {
    quarantineOpen.value = false;
  };
  const counted = Object.entries(system.value?.refused ?? {}).sort(([, a], [, b]) => b - a);
  const listed = (items ?? []).filter((item) => reason.value === null || item.reason === reason.value);
  return (
    <aside
      class="panel drawer"
      aria-labelledby="quarantine-title"
      data-testid="quarantine-drawer"
      onKeyDown={(event) => {
        if (event.key === "Escape") leave();
      }}
    >
      <header class="drawer-head">
        <span class="drawer-glyph">
          <Icon name="inbox" />
        </span>
        <div>
          <h2 id="quarantine-title">{t("quarantine.title")}</h2>
          <p class="drawer-id">{t("quarantine.lead")}</p>
        </div>
      </header>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard */}
      <section class="drawer-body" tabIndex={0} aria-labelledby="quarantine-title">
        {counted.length > 0 ? <Reasons counted={counted} /> : null}
        {failure ? <Trouble failure={failure} said="quarantine.failed" /> : null}
        {items !== null && listed.length === 0 ? <p class="empty">{t("quarantine.none")}</p> : null}
        <ol class="refused" data-testid="quarantine-list">
          {listed.map((item) => (
            <Refused key={item.id} item={item} />
          ))}
        </ol>
      </section>
      <button
        type="button"
        class="quiet icon-only drawer-close"
        aria-label={t("quarantine.close")}
        data-testid="drawer-close"
        onClick={leave}
      >
        <Icon name="close" />
      </button>
    </aside>
  );
}

/** By what the list is narrowed. The counts are of the whole city: who sees a part of it is told none, and sees all. */
function Reasons({ counted }: { counted: readonly [string, number][] }) {
  return (
    <fieldset class="chips">
      <legend>{t("quarantine.counts")}</legend>
      <button
        type="button"
        aria-pressed={reason.value === null}
        onClick={() => {
          reason.value = null;
        }}
      >
        {t("quarantine.all")}
      </button>
      {counted.map(([name, n]) => (
        <button
          key={name}
          type="button"
          aria-pressed={reason.value === name}
          onClick={() => {
            reason.value = reason.value === name ? null : name;
          }}
        >
          {named("refusal", name)} <b>{whole(n)}</b>
        </button>
      ))}
    </fieldset>
  );
}

/** What becomes of an entry: read again with the profile of now, or done with. */
function Acts({ item }: { item: QuarantineItem }) {
  const [failure, setFailure] = useState<Failure | null>(null);
  const [done, setDone] = useState(false);
  const act = (work: (id: number | string, note: string) => Promise<unknown>) => () => {
    setFailure(null);
    work(item.id, t("quarantine.note")).then(
      () => setDone(true),
      (error) => setFailure(failureOf(error)),
    );
  };
  if (item.state && item.state !== "open") {
    return (
      <p class="refused-settled">
        <span class="tag">{t(`quarantine.state_${item.state}`)}</span> {item.settled?.by} {item.settled?.note}
      </p>
    );
  }
  return (
    <div class="evidence-acts">
      <button type="button" disabled={done || item.readmissible === false} onClick={act(api.readmit)}>
        {t("quarantine.readmit")}
      </button>
      <button type="button" class="quiet" disabled={done} onClick={act(api.discard)}>
        {t("quarantine.discard")}
      </button>
      {failure ? <Trouble failure={failure} said="quarantine.act_failed" /> : null}
    </div>
  );
}

function Refused({ item }: { item: QuarantineItem }) {
  const facts: [string, string | null][] = [
    [t("quarantine.device"), item.device],
    [t("quarantine.source"), item.source],
    [t("quarantine.peer"), item.peer],
    [t("quarantine.topic"), item.topic],
  ];
  const bytes = item.payload ?? item.payload_hex;
  return (
    <li class="refused-item">
      <header>
        <b>{named("refusal", item.reason, item.reason_zh)}</b>
        <time>{stamp(Date.parse(item.at), now.value)}</time>
      </header>
      {item.detail ? <p class="refused-detail">{item.detail}</p> : null}
      <dl class="facts">
        {facts.map(([what, value]) =>
          value ? (
            <div key={what}>
              <dt>{what}</dt>
              <dd>{value}</dd>
            </div>
          ) : null,
        )}
      </dl>
      <figure>
        <figcaption>
          {t(item.payload === null ? "quarantine.as_hex" : "quarantine.as_text")} ·{" "}
          {t("quarantine.bytes", { n: whole(item.size) })}
        </figcaption>
        <pre>{bytes.length > SHOWN_CHARS ? `${bytes.slice(0, SHOWN_CHARS)}…` : bytes}</pre>
      </figure>
      {(item.frames ?? []).map((line) => (
        <Spelt key={line.at} line={line} />
      ))}
      <Acts item={item} />
    </li>
  );
}

/** A frame field by field, or what is wrong with the bytes and where. */
export function Spelt({ line }: { line: SpeltLine }) {
  if (!line.ok) {
    return (
      <p class="refused-detail">
        {t("quarantine.fault", { at: whole(line.at) })} <code>{line.error}</code> {line.detail}
      </p>
    );
  }
  return (
    <details>
      <summary>{t("quarantine.frame", { at: whole(line.at) })}</summary>
      <pre>{JSON.stringify(line.frame, null, 1)}</pre>
    </details>
  );
}
