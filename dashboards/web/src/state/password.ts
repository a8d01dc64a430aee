// Changing the own password: what is wrong before it is sent, and what the server's refusal means. Pure.
import { ApiError } from "../api/client";

/** Characters of a password; the server says the same. */
export const LEAST = 12;

export type Draft = {
  password: string;
  fresh: string;
  again: string;
  code: string;
};

export type Fault = "missing" | "short" | "differs" | "same" | "code";

/** What the form lacks, first things first; null when it may be sent. `asksCode`: the account has a second factor. */
export function faultOf({ password, fresh, again, code }: Draft, asksCode: boolean): Fault | null {
  if (!password) return "missing";
  if ([...fresh].length < LEAST) return "short";
  if (fresh !== again) return "differs";
  if (fresh === password) return "same";
  return asksCode && !code.trim() ? "code" : null;
}

export type Refusal = Fault | "wrong" | "weak" | "ended" | "other";

/** Why the server did not change it. */
export function refusalOf(error: unknown): Refusal {
  if (!(error instanceof ApiError)) return "other";
  const by: Record<string, Refusal> = {
    wrong_login: "wrong",
    code_needed: "code",
    weak_password: "weak",
    unauthorized: "ended",
  };
  return by[error.code] ?? "other";
}
