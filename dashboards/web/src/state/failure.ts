// Why something did not come about, so that it can be said in the reader's language. Pure.
import { ApiError } from "../api/client";
import type { MessageKey } from "../i18n/zh";

export type Failure = {
  /** What the screen says; null when it has no words of its own, and says the server's. */
  key: Extract<MessageKey, `failed.${string}`> | null;
  /** What the server said, in English. */
  detail: string;
  /** The same in Chinese; empty when the server says it in English only. */
  detailZh: string;
  /** Seconds to wait before the next try; 0 when none are said. */
  wait: number;
};

/** Problems by the name that the server gives them. */
const BY_CODE: Partial<Record<string, Failure["key"]>> = {
  forbidden: "failed.forbidden",
  unauthorized: "failed.session",
  token_expired: "failed.session",
  unknown_alert: "failed.unknown_alert",
  alert_ended: "failed.alert_ended",
  not_shelved: "failed.not_shelved",
  unknown_card: "failed.unknown_card",
  unknown_device: "failed.unknown_device",
  unknown_series: "failed.unknown_device",
  unknown_entry: "failed.unknown_entry",
  not_readmissible: "failed.not_readmissible",
  unknown_account: "failed.unknown_account",
  known_account: "failed.known_account",
  bad_account: "failed.bad_account",
  account_disabled: "failed.account_disabled",
  last_of_role: "failed.last_of_role",
  unknown_division: "failed.unknown_division",
  unknown_desk: "failed.unknown_desk",
  known_desk: "failed.known_desk",
  bad_desk: "failed.bad_desk",
  bad_entry: "failed.bad_entry",
  not_handed_over: "failed.handover_stale",
  handover_stale: "failed.handover_stale",
  handover_taken: "failed.handover_taken",
  own_handover: "failed.own_handover",
  unknown_drill: "failed.unknown_drill",
  drill_gone: "failed.unknown_drill",
  known_drill: "failed.known_drill",
  too_many_drills: "failed.too_many_drills",
  bad_drill: "failed.bad_drill",
  no_room: "failed.no_room",
  history_unavailable: "failed.unavailable",
};

/** What a status says of a problem whose name is not known here; 0 is no answer at all. */
const BY_STATUS: Partial<Record<number, Failure["key"]>> = {
  0: "failed.away",
  401: "failed.session",
  403: "failed.forbidden",
  408: "failed.late",
  500: "failed.internal",
  502: "failed.unavailable",
  503: "failed.unavailable",
  504: "failed.unavailable",
};

export function failureOf(error: unknown): Failure {
  const detail = error instanceof Error ? error.message : String(error);
  if (!(error instanceof ApiError)) return { key: null, detail, detailZh: "", wait: 0 };
  const { code, status, wait, zh } = error;
  const key = BY_CODE[code] ?? (status === 429 ? limited(wait) : (BY_STATUS[status] ?? null));
  return { key, detail, detailZh: zh, wait };
}

const limited = (wait: number) => (wait > 0 ? "failed.limited" : "failed.limited_for_now");
