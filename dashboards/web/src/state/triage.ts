// Which alarm needs a person first, and what changed between two pictures of an alarm. Pure.
import type { Alert, Severity } from "../api/types";

/** Worst first; the position is the level people read (1 is worst). */
export const SEVERITIES: readonly Severity[] = ["critical", "major", "minor", "notice"];

export const levelOf = (severity: Severity) => SEVERITIES.indexOf(severity) + 1;

const raised = new WeakMap<Alert, number>();

/** When it was raised, ms; read once for each alarm, for a storm is sorted five times a second. */
function raisedAt(alert: Alert): number {
  let ms = raised.get(alert);
  if (ms === undefined) {
    ms = Date.parse(alert.raised_at);
    raised.set(alert, ms);
  }
  return ms;
}

/** Whether it is of a drill: raised on purpose, and nobody is called. */
export const isOfDrill = ({ drill }: Pick<Alert, "drill">): boolean => Boolean(drill);

/** The real before drills, unacknowledged before acknowledged, then worst severity, abnormal before unknown, newest. */
export function byNeed(a: Alert, b: Alert): number {
  return (
    Number(isOfDrill(a)) - Number(isOfDrill(b)) ||
    Number(a.acknowledged !== null) - Number(b.acknowledged !== null) ||
    levelOf(a.severity) - levelOf(b.severity) ||
    Number(a.condition !== "abnormal") - Number(b.condition !== "abnormal") ||
    raisedAt(b) - raisedAt(a) ||
    (a.id < b.id ? -1 : 1)
  );
}

/** Of what is shelved: the next to come back first. */
export function byReturn(a: Alert, b: Alert): number {
  const until = (alert: Alert) => Date.parse(alert.shelved?.until ?? "");
  return until(a) - until(b) || byNeed(a, b);
}

/** What is said of an alarm in a dialog. */
export type Verb = "acknowledge" | "assign" | "shelve" | "unshelve" | "close";
export type AlertAct = Verb | "evidence";

/**
 * What a person may do with an open alarm, in the order of its buttons; `may` says which permissions are held. What was
 * over when it was found is nobody's to handle.
 */
export function actsOn(
  alert: Pick<Alert, "acknowledged" | "shelved" | "past">,
  may: (permission: string) => boolean,
): AlertAct[] {
  const acts: AlertAct[] = [];
  if (alert.past) return may("evidence") ? ["evidence"] : acts;
  const handles = may("handle_alerts");
  if (handles && !alert.acknowledged) acts.push("acknowledge");
  if (handles) acts.push("assign");
  if (may("shelve_alerts")) acts.push(alert.shelved ? "unshelve" : "shelve");
  if (handles) acts.push("close");
  if (may("evidence")) acts.push("evidence");
  return acts;
}

export type EdgeName =
  | "raised"
  | "cleared"
  | "lost"
  | "found"
  | "worsened"
  | "eased"
  | "acknowledged"
  | "acknowledgement_expired"
  | "shelved"
  | "unshelved"
  | "shelf_expired"
  | "assigned"
  | "closed"
  | "withdrawn"
  | "drill_over";

/**
 * What happened between two pictures of one alert, oldest first; `now` stands in where the alert has no time. Nothing
 * happens to what was over when it was found: it is history.
 */
export function edgesBetween(
  before: Alert | undefined,
  after: Alert,
  now: number,
): { edge: EdgeName; at: number }[] {
  const edges: { edge: EdgeName; at: number }[] = [];
  if (after.past) return edges;
  // What goes on behind its drill is real, and what was said of it in the drill is gone with the mark.
  if (before && isOfDrill(before) && !isOfDrill(after) && after.state === "open")
    return [{ edge: "drill_over", at: now }];
  if (!before) edges.push({ edge: "raised", at: Date.parse(after.raised_at) });
  if (before && before.condition !== after.condition && after.state === "open") {
    if (after.condition === "unknown") edges.push({ edge: "lost", at: now });
    else if (before.condition === "unknown" && after.condition === "abnormal")
      edges.push({ edge: "found", at: now });
  }
  const worsened = before !== undefined && levelOf(after.severity) < levelOf(before.severity);
  if (worsened) edges.push({ edge: "worsened", at: now });
  else if (before && levelOf(after.severity) > levelOf(before.severity))
    edges.push({ edge: "eased", at: now });
  if (after.acknowledged && after.acknowledged.at !== before?.acknowledged?.at)
    edges.push({ edge: "acknowledged", at: Date.parse(after.acknowledged.at) });
  // What worsens is nobody's again.
  if (before?.acknowledged && !after.acknowledged && after.state === "open" && !worsened)
    edges.push({ edge: "acknowledgement_expired", at: now });
  edges.push(...wordsBetween(before, after, now));
  if (after.state !== "open" && (before === undefined || before.state === "open"))
    edges.push({ edge: after.state, at: after.ended_at ? Date.parse(after.ended_at) : now });
  return edges;
}

/** What people said of an alarm, and what ran out, beside its acknowledgement. */
function wordsBetween(
  before: Alert | undefined,
  after: Alert,
  now: number,
): { edge: EdgeName; at: number }[] {
  const edges: { edge: EdgeName; at: number }[] = [];
  if (after.assigned && after.assigned.at !== before?.assigned?.at)
    edges.push({ edge: "assigned", at: Date.parse(after.assigned.at) });
  if (after.shelved && after.shelved.at !== before?.shelved?.at)
    edges.push({ edge: "shelved", at: Date.parse(after.shelved.at) });
  if (before?.shelved && !after.shelved && after.state === "open")
    edges.push({ edge: now < Date.parse(before.shelved.until) ? "unshelved" : "shelf_expired", at: now });
  return edges;
}
