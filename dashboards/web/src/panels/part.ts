// What part of the city a session sees, in words.
import type { Session } from "../api/types";
import { nameOf, t } from "../i18n";
import { divisions, learnDivisions } from "../state/divisions";
import { partOf } from "../state/self";
import { may } from "../state/session";

/** A division's name, or its code until the name is known; who may see no map is told the code. */
export function divisionName(code: string): string {
  if (may("view")) void learnDivisions([code]);
  const division = divisions.value.get(code);
  return division ? nameOf(division) : code;
}

/** `城西区 · 水务局`; null for the whole city. */
export const partName = (session: Session): string | null =>
  partOf(session, {
    division: session.division && divisionName(session.division),
    between: t("who.between"),
    more: (names, n) => t("who.more_departments", { names, n }),
  });
