// The roster as people write it into a form, and what a line of the log says. Pure.
import type { DutyDesk, DutyLine, DutyShift, RosterShift } from "../api/types";

/** The places of a roster that cannot be read, each once: the line as it was written. */
export class RosterFault extends Error {
  constructor(readonly line: string) {
    super(line);
  }
}

const BEIJING = "+08:00";
const NAMES = /[、,，]/;

const linesOf = (text: string) =>
  text
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean);
const namesOf = (text: string) =>
  text
    .split(NAMES)
    .map((name) => name.trim())
    .filter(Boolean);

/** `2026-11-28 08:00` of Beijing; a time with another offset is shown in Beijing's. */
export function minuteText(iso: string): string {
  const at = new Date(Date.parse(iso) + 8 * 3_600_000);
  return Number.isNaN(at.getTime()) ? iso : at.toISOString().slice(0, 16).replace("T", " ");
}

/** Steps, one in a line: `10 带班领导`. */
export const stepsText = (steps: DutyDesk["steps"]) =>
  steps.map(({ after_min, post }) => `${after_min} ${post}`).join("\n");

export function readSteps(text: string): DutyDesk["steps"] {
  return linesOf(text).map((line) => {
    const found = /^(\d{1,4})\s+(.+)$/.exec(line);
    if (!found) throw new RosterFault(line);
    return { after_min: Number(found[1]), post: (found[2] ?? "").trim() };
  });
}

/** People of posts: `值班员: 王队、赵工; 带班领导: 李处`. */
const postsText = (posts: Record<string, string[]>) =>
  Object.entries(posts)
    .map(([post, people]) => `${post}: ${people.join("、")}`)
    .join("; ");

function readPosts(text: string, line: string): Record<string, string[]> {
  const posts: Record<string, string[]> = {};
  for (const part of text.split(/[;；]/).filter((each) => each.trim())) {
    const [post, people, ...more] = part.split(/[:：]/);
    if (!post?.trim() || people === undefined || more.length > 0) throw new RosterFault(line);
    posts[post.trim()] = namesOf(people);
  }
  return posts;
}

/** Who stands in, one post in a line. */
export const standbyText = (standby: Record<string, string[]> | undefined) =>
  Object.entries(standby ?? {})
    .map(([post, people]) => postsText({ [post]: people }))
    .join("\n");

export function readStandby(text: string): Record<string, string[]> {
  return Object.assign({}, ...linesOf(text).map((line) => readPosts(line, line)));
}

/** Shifts, one in a line: `2026-11-28 08:00 - 2026-11-28 20:00 | 白班 | 值班员: 王队`. */
export const shiftsText = (shifts: readonly RosterShift[] | undefined) =>
  (shifts ?? [])
    .map(
      ({ from, to, name, posts }) =>
        `${minuteText(from)} - ${minuteText(to)} | ${name ?? ""} | ${postsText(posts)}`,
    )
    .join("\n");

const DAY = String.raw`(\d{4}-\d{2}-\d{2}) (\d{2}:\d{2})`;
const SHIFT = new RegExp(`^${DAY}\\s*[-–—]\\s*${DAY}\\s*\\|([^|]*)\\|([^|]*)$`);

export function readShifts(text: string): RosterShift[] {
  return linesOf(text).map((line) => {
    const found = SHIFT.exec(line);
    if (!found) throw new RosterFault(line);
    const [, fromDay, fromTime, toDay, toTime, name = "", posts = ""] = found;
    const shift: RosterShift = {
      from: `${fromDay}T${fromTime}:00${BEIJING}`,
      to: `${toDay}T${toTime}:00${BEIJING}`,
      posts: readPosts(posts, line),
    };
    if (name.trim()) shift.name = name.trim();
    return shift;
  });
}

/** `白班 11-28 08:00–20:00`, with the second day where it is another. */
export function shiftText({ from, to, name }: Pick<DutyShift, "from" | "to" | "name">): string {
  const [fromDay = "", fromTime = ""] = minuteText(from).split(" ");
  const [toDay = "", toTime = ""] = minuteText(to).split(" ");
  const end = fromDay === toDay ? toTime : `${toDay.slice(5)} ${toTime}`;
  return [name, `${fromDay.slice(5)} ${fromTime}–${end}`].filter(Boolean).join(" ");
}

/** The people on a shift, post by post; of the roster's shift that begins with it. */
export function peopleOf(desk: DutyDesk, shift: DutyShift | null): [string, string[]][] {
  const found = shift && desk.shifts?.find(({ from }) => Date.parse(from) === Date.parse(shift.from));
  return Object.entries(found ? found.posts : {});
}

/** The hand-over that waits to be taken over at a desk. */
export const waitingOf = (desk: DutyDesk) =>
  desk.last_handover && desk.last_handover.taken === null ? desk.last_handover : null;

/** Of entries that were corrected the id of the last one that did. */
export function corrections(lines: readonly DutyLine[]): Map<number, number> {
  const found = new Map<number, number>();
  for (const line of lines) {
    if (line.source === "entry" && line.corrects !== null) found.set(line.corrects, line.id);
  }
  return found;
}
