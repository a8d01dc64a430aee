// The marks for states and severities: a shape of its own for each, never colour alone.
import type { ComponentChildren } from "preact";
import type { Condition, Severity } from "../api/types";
import { t } from "../i18n";
import { glyphOf } from "../map/glyphs";
import { levelOf } from "../state/triage";

export function StateMark({ state }: { state: Condition | "stale" }) {
  return (
    <svg class={`mark mark-${state}`} viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      {SHAPES[state]}
    </svg>
  );
}

const SHAPES: Record<Condition | "stale", ComponentChildren> = {
  normal: <circle cx="12" cy="12" r="7.5" fill="currentColor" />,
  abnormal: (
    <>
      <circle cx="12" cy="12" r="10.6" fill="none" stroke="currentColor" stroke-width="1.6" />
      <path d="M12 3.8l7.2 12.6H4.8z" fill="currentColor" />
    </>
  ),
  unknown: (
    <>
      <rect
        x="3.5"
        y="3.5"
        width="17"
        height="17"
        rx="2"
        fill="none"
        stroke="currentColor"
        stroke-width="2"
      />
      <path
        d="M9.2 9.6a2.9 2.9 0 1 1 3.8 2.7c-.7.3-1 .8-1 1.6"
        fill="none"
        stroke="currentColor"
        stroke-width="2"
      />
      <circle cx="12" cy="17.2" r="1.3" fill="currentColor" />
    </>
  ),
  stale: (
    <>
      <circle
        cx="12"
        cy="12"
        r="9"
        fill="none"
        stroke="currentColor"
        stroke-width="1.8"
        stroke-dasharray="3.4 2.6"
      />
      <path
        d="M5.5 14.5l9-9M7.5 18l10.5-10.5M12 19.5l7-7"
        stroke="currentColor"
        stroke-width="1.8"
        fill="none"
      />
    </>
  ),
};

/** Octagon 1, diamond 2, pentagon 3, circle 4. */
const SEVERITY_SHAPES: Record<Severity, string> = {
  critical: "M8.2 1.5h7.6l6.7 6.7v7.6l-6.7 6.7H8.2L1.5 15.8V8.2z",
  major: "M12 .8L23.2 12 12 23.2.8 12z",
  minor: "M12 1.2l10.8 8-4.1 13H5.3L1.2 9.2z",
  notice: "M12 1.5a10.5 10.5 0 1 0 0 21 10.5 10.5 0 0 0 0-21z",
};

export function SeverityMark({ severity }: { severity: Severity }) {
  return (
    <svg class={`mark sev-${severity}`} viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={SEVERITY_SHAPES[severity]} fill="currentColor" />
      <text class="mark-number" x="12" y="12.5" text-anchor="middle" dominant-baseline="central">
        {levelOf(severity)}
      </text>
    </svg>
  );
}

/** Of what is raised on purpose: a hollow dashed ring, none of the shapes of a severity. */
export function DrillMark() {
  return (
    <svg class="mark" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <circle
        cx="12"
        cy="12"
        r="9.5"
        fill="none"
        stroke="currentColor"
        stroke-width="2.2"
        stroke-dasharray="4 3.4"
      />
    </svg>
  );
}

/** Shape, number and word of a severity. */
export function SeverityBadge({ severity }: { severity: Severity }) {
  return (
    <span class={`severity sev-${severity}`}>
      <SeverityMark severity={severity} />
      <span>{t(`severity.${severity}`)}</span>
    </span>
  );
}

/** That an alarm tells of what is foreseen and not of what was measured. */
export function ForeseenBadge() {
  return (
    <span class="tag is-foreseen" title={t("alarms.foreseen_hint")} data-testid="foreseen-badge">
      {t("alarms.foreseen")}
    </span>
  );
}

/** Shape and word of a state. */
export function StateBadge({ state }: { state: Condition | "stale" }) {
  return (
    <span class={`state state-${state}`}>
      <StateMark state={state} />
      <span>{t(`state.${state}`)}</span>
    </span>
  );
}

export function KindGlyph({ kind }: { kind: string }) {
  return (
    <svg class="glyph" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={glyphOf(kind)} />
    </svg>
  );
}

/** Line drawings for buttons. */
const ICONS = {
  close: "M5 5l14 14M19 5L5 19",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  home: "M4 11l8-7 8 7M6.5 9.5V20h11V9.5",
  up: "M6 15l6-6 6 6",
  down: "M6 9l6 6 6-6",
  inbox: "M4 13l3-8h10l3 8v6H4zM4 13h5l1 2.5h4l1-2.5h5",
  core: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5M12 9.2a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.6z",
  search: "M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zM15.5 15.5L20 20",
  person: "M12 4.5a3.8 3.8 0 1 0 0 7.6 3.8 3.8 0 0 0 0-7.6zM4.5 20c.6-3.8 3.6-5.6 7.5-5.6s6.9 1.8 7.5 5.6",
  out: "M14 4H5v16h9M10 12h11M17 8l4 4-4 4",
} as const;

export function Icon({ name }: { name: keyof typeof ICONS }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={ICONS[name]} />
    </svg>
  );
}
