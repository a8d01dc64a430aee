// Which rules look ahead: an alarm of theirs tells of what is foreseen and not of what was measured.
import { signal } from "@preact/signals";
import { api } from "../api/client";
import type { Alert } from "../api/types";

/** Ids of rules that look ahead; none of those that may not be seen. */
export const rulesAhead = signal<ReadonlySet<string>>(new Set());

/** What gave no answer is asked again after this long. */
export const AGAIN_AFTER_FAILURE_MS = 60_000;
/** A rule that stood in no answer (taken away, another version, not to be seen) is looked for again after this long. */
export const AGAIN_AFTER_ABSENCE_MS = 600_000;
/** Rules that are remembered as absent, at most. */
const MOST_ABSENT = 1_000;

type Ruled = Pick<Alert, "rule" | "rule_version">;
const keyOf = ({ rule, rule_version }: Ruled) => `${rule}@${rule_version}`;

/** Versions of rules that the last answer held. */
let known: ReadonlySet<string> = new Set();
/** When a version that stood in no answer may be asked for next, on the page's own clock. */
const absent = new Map<string, number>();
/** When the rules may be asked for at all; never while an answer is awaited. */
let askNext = -Infinity;

/** Asks for the rules when that of an alarm is not known; `now` in milliseconds that never run backwards. */
export async function learnRules(alert: Ruled, now = performance.now()): Promise<void> {
  const key = keyOf(alert);
  if (known.has(key) || now < askNext || now < (absent.get(key) ?? -Infinity)) return;
  askNext = Infinity;
  try {
    const rules = (await api.ruleFiles()).flatMap((file) => file.rules);
    known = new Set(rules.map(({ id, version }) => keyOf({ rule: id, rule_version: version })));
    if (absent.size >= MOST_ABSENT) absent.clear();
    if (!known.has(key)) absent.set(key, now + AGAIN_AFTER_ABSENCE_MS);
    const ahead = rules.filter(({ looks_ahead }) => looks_ahead).map(({ id }) => id);
    if (ahead.join() !== [...rulesAhead.peek()].join()) rulesAhead.value = new Set(ahead);
    askNext = -Infinity;
  } catch {
    // Without the rules no alarm is marked; it says all in its words.
    askNext = now + AGAIN_AFTER_FAILURE_MS;
  }
}

/** Whether an alarm tells of what is foreseen; false while its rule is not known. */
export function isForeseen(alert: Ruled): boolean {
  void learnRules(alert);
  return rulesAhead.value.has(alert.rule);
}
