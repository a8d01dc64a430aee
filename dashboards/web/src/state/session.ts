// Who is logged in. A token in the address (`#token=…`) is exchanged for a cookie and removed from it, and so is the
// key of a link that sets a password (`#setup=…`) and what became of a log-in by a provider (`#sso=…`).
import { signal } from "@preact/signals";
import { ApiError, api } from "../api/client";
import type { Session } from "../api/types";
import { type Failure, failureOf } from "./failure";

export type Access =
  | { state: "checking" }
  | { state: "setup"; key: string }
  /** `sso` is the server's word for how a log-in by a provider went, when that was tried. */
  | { state: "out"; why: "wrong" | Failure | null; sso?: string }
  | { state: "in"; session: Session };

export const access = signal<Access>({ state: "checking" });
/** Raised when a session begins while the screen stays: what was denied to the one before may be asked for anew. */
export const renewals = signal(0);

const RETRY_MS = 2_000;

/** The provider let in, and the account's second factor is still to be shown. */
export const CODE_NEEDED = "code_needed";

/** Takes a secret out of the address, so that it stays in no history and no screenshot. */
function fromAddress(name: "token" | "setup" | "sso"): string | null {
  const hash = new URLSearchParams(location.hash.slice(1));
  const secret = hash.get(name);
  if (secret === null) return null;
  hash.delete(name);
  const rest = hash.toString();
  history.replaceState(null, "", `${location.pathname}${location.search}${rest ? `#${rest}` : ""}`);
  return secret;
}

/** Finds out whether there is a session; keeps trying while the server cannot be reached. */
export async function enter(): Promise<void> {
  const key = fromAddress("setup");
  if (key !== null) {
    access.value = { state: "setup", key };
    return;
  }
  const sso = fromAddress("sso") ?? undefined;
  if (sso === CODE_NEEDED) {
    access.value = { state: "out", why: null, sso };
    return;
  }
  const token = fromAddress("token");
  if (token !== null && !(await logIn(token))) return;
  for (;;) {
    try {
      access.value = { state: "in", session: await api.session() };
      return;
    } catch (error) {
      if (is401(error)) {
        access.value = { state: "out", why: null, sso };
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

/**
 * The token of this page's log-in, in memory only. A server that was restarted knows no sessions; a wall
 * with nobody in front of it must come back by itself.
 */
let remembered: string | null = null;

/** Exchanges a token for a session. On failure `access` says why. */
export async function logIn(token: string): Promise<boolean> {
  try {
    await api.logIn(token);
    access.value = { state: "in", session: await api.session() };
    remembered = token;
    return true;
  } catch (error) {
    const why = is401(error) ? "wrong" : failureOf(error);
    access.value = { state: "out", why };
    return false;
  }
}

export type Trouble = { why: "wrong" | "code" | "wait" | "second" | "other"; failure: Failure };

/** Begins an account's session; what stood in the way, or null. */
export async function logInAs(account: string, password: string, code: string): Promise<Trouble | null> {
  try {
    await api.logInAs(account, password, code);
    access.value = { state: "in", session: await api.session() };
    remembered = null;
    return null;
  } catch (error) {
    return troubleOf(error);
  }
}

/** Shows the second factor of whom a provider has let in; what stood in the way, or null. */
export async function finishSso(code: string): Promise<Trouble | null> {
  try {
    await api.finishSso(code);
    access.value = { state: "in", session: await api.session() };
    remembered = null;
    return null;
  } catch (error) {
    const trouble = troubleOf(error);
    // Who has waited too long begins again.
    if (error instanceof ApiError && error.code.startsWith("oidc_"))
      access.value = { state: "out", why: null, sso: error.code };
    return trouble;
  }
}

export function troubleOf(error: unknown): Trouble {
  const failure = failureOf(error);
  if (!(error instanceof ApiError)) return { why: "other", failure };
  const by: Record<string, Trouble["why"]> = {
    code_needed: "code",
    wrong_login: "wrong",
    too_many_guesses: "wait",
    second_factor_needed: "second",
    second_factor_lost: "second",
  };
  return { why: by[error.code] ?? "other", failure };
}

/** The session of who is in; null for nobody. */
export const sessionNow = (): Session | null => (access.value.state === "in" ? access.value.session : null);

export const may = (permission: string): boolean =>
  access.value.state === "in" && access.value.session.may.includes(permission);

/** A change of the own password under way: it ends every session of the account, and begins this one anew. */
let changing: Promise<unknown> = Promise.resolve();

/** Another password for the own account. Throws what the server said. */
export async function changePassword(password: string, fresh: string, code: string): Promise<void> {
  const change = api.changePassword({ password, new_password: fresh, ...(code ? { code } : {}) });
  changing = change.catch(() => undefined); // told to who changes it
  await change;
  renewals.value += 1;
}

export async function logOut(): Promise<void> {
  remembered = null;
  await api.logOut().catch(() => undefined); // even when the server is away, this screen forgets
  access.value = { state: "out", why: null };
}

let renewing = false;

/**
 * The server no longer knows the session: a new one with the same token, or the door. An answer to what was asked
 * while the password changed says nothing of the session since.
 */
export async function sessionEnded(): Promise<void> {
  if (renewing || access.value.state !== "in") return;
  renewing = true;
  try {
    await changing;
    if (remembered === null) await api.session();
    else await api.logIn(remembered);
    renewals.value += 1;
  } catch (error) {
    // Any other failure is the server's; whoever noticed the end of the session asks again.
    if (is401(error)) access.value = { state: "out", why: null };
  } finally {
    renewing = false;
  }
}

const is401 = (error: unknown) => error instanceof ApiError && error.status === 401;
