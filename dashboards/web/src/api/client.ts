// Requests to the server this page came from. Every failure is an ApiError with the server's own words.
import type {
  Account,
  AccountFacts,
  AlarmLoad,
  Alert,
  BaseMap,
  CardList,
  CardPage,
  CommandItem,
  Device,
  DeviceDetail,
  DivisionPage,
  Drill,
  DrillSpec,
  DutyDesk,
  DutyKind,
  DutyLine,
  DutyLog,
  Entity,
  Explanation,
  Forecast,
  Forecaster,
  ForeseenSeries,
  LatestItem,
  LedgerDay,
  Link,
  Page,
  QuantityEntry,
  QuarantineItem,
  Roster,
  RuleEntry,
  SecurityEvent,
  SeriesForecasts,
  SeriesInfo,
  SeriesPoint,
  Session,
  SetupLook,
  Skill,
  StationFrame,
  SystemState,
  TileInfo,
  Transition,
  Ways,
} from "./types";

/** The server said no, or could not be reached (`status` 0). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    /** The problem's own name. */
    readonly code: string = "",
    /** Seconds to wait before the next try. */
    readonly wait: number = 0,
    /** The same in Chinese, where the server says it. */
    readonly zh: string = "",
  ) {
    super(message);
  }
}

/** A request that takes longer than this has failed: a screen must not wait in silence. */
const TIMEOUT_MS = 15_000;
/** A file is made first: the frames and values of a day are read for it. */
const FILE_TIMEOUT_MS = 120_000;

async function ask(path: string, init?: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, {
      ...init,
      credentials: "same-origin",
      headers: { accept: "application/json", ...init?.headers },
      signal: init?.signal ?? AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch (cause) {
    throw new ApiError(0, cause instanceof Error ? cause.message : String(cause));
  }
  if (!response.ok && response.status !== 304) throw await problem(response);
  return response;
}

async function request<T>(path: string, init?: RequestInit): Promise<T> {
  const response = await ask(path, init);
  if (response.status === 204) return undefined as T;
  return (await response.json()) as T;
}

/** A file as the server made it; its name is the caller's. A broken transfer is an ApiError, too. */
async function file(path: string): Promise<Blob> {
  const response = await ask(path, {
    headers: { accept: "*/*" },
    signal: AbortSignal.timeout(FILE_TIMEOUT_MS),
  });
  try {
    return await response.blob();
  } catch (cause) {
    throw new ApiError(0, cause instanceof Error ? cause.message : String(cause));
  }
}

/** An RFC 9457 problem, or the status line when the body is something else. */
async function problem(response: Response): Promise<ApiError> {
  try {
    const told = (await response.json()) as {
      title?: string;
      detail?: string;
      detail_zh?: string;
      code?: string;
      retry_after_s?: number;
    };
    const words = [told.title, told.detail].filter(Boolean).join(": ") || response.statusText;
    return new ApiError(response.status, words, told.code, told.retry_after_s, told.detail_zh);
  } catch {
    return new ApiError(response.status, `${response.status} ${response.statusText}`);
  }
}

function post<T>(path: string, body: unknown): Promise<T> {
  return request<T>(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
}

function put<T>(path: string, body: unknown): Promise<T> {
  return request<T>(path, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
}

function query(path: string, params: Record<string, string | number | undefined>): string {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(params)) if (value !== undefined) search.set(key, String(value));
  const text = search.toString();
  return text ? `${path}?${text}` : path;
}

/** Reads pages until the end or until `most` items are there. */
async function pages<T>(path: string, params: Record<string, string | number>, most: number): Promise<T[]> {
  const items: T[] = [];
  let after: string | undefined;
  do {
    const page: Page<T> = await request(query(path, { ...params, after }));
    items.push(...page.items);
    after = page.next ?? undefined;
  } while (after !== undefined && items.length < most);
  return items;
}

const enc = encodeURIComponent;

/** An answer with its tag; null in place of what has not changed since `tag`. */
export type Tagged<T> = { body: T; tag: string | null };

async function askIfChanged<T>(path: string, tag: string | null): Promise<Tagged<T> | null> {
  // The browser's own store is left out: it would answer in the place of a 304.
  const response = await ask(path, {
    cache: "no-store",
    headers: tag === null ? {} : { "if-none-match": tag },
  });
  if (response.status === 304) return null;
  return { body: (await response.json()) as T, tag: response.headers.get("etag") };
}

export const api = {
  logIn: (token: string) => post<void>("/api/v1/session", { token }),
  logInAs: (account: string, password: string, code: string) =>
    post<void>("/api/v1/session", { account, password, ...(code ? { code } : {}) }),
  /** By what somebody may come in, beside a password and a token. */
  ways: () => request<Ways>("/api/v1/session/ways"),
  finishSso: (code: string) => post<void>("/api/v1/session/oidc", { code }),
  changePassword: (change: { password: string; new_password: string; code?: string }) =>
    post<void>("/api/v1/session/password", change),
  setupLook: (key: string, id?: string) =>
    post<SetupLook>("/api/v1/setup/look", { key, ...(id ? { id } : {}) }),
  setup: (setup: { key: string; password: string; code?: string; id?: string; name?: string }) =>
    post<void>("/api/v1/setup", setup),
  accounts: () => pages<Account>("/api/v1/accounts", {}, 10_000),
  addAccount: (account: AccountFacts) => post<{ account: Account; link: Link }>("/api/v1/accounts", account),
  patchAccount: (id: string, patch: Partial<Omit<AccountFacts, "id">> & { disabled?: boolean }) =>
    request<Account>(`/api/v1/accounts/${enc(id)}`, {
      method: "PATCH",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(patch),
    }),
  linkAccount: (id: string) => post<{ link: Link }>(`/api/v1/accounts/${enc(id)}/link`, {}),
  logOutAccount: (id: string) => post<void>(`/api/v1/accounts/${enc(id)}/logout`, {}),
  removeAccount: (id: string) => request<void>(`/api/v1/accounts/${enc(id)}`, { method: "DELETE" }),
  logOut: () => request<void>("/api/v1/session", { method: "DELETE" }),
  session: () => request<Session>("/api/v1/session"),
  system: () => request<SystemState>("/api/v1/system"),
  quantities: () => pages<QuantityEntry>("/api/v1/quantities", {}, 10_000),
  devices: () => pages<Device>("/api/v1/devices", {}, 50_000),
  device: (id: string) => request<DeviceDetail>(`/api/v1/devices/${enc(id)}`),
  commandsOf: (device: string) =>
    request<Page<CommandItem>>(query("/api/v1/commands", { device, limit: 5 })).then((page) => page.items),
  latest: () => pages<LatestItem>("/api/v1/latest", {}, 200_000),
  latestOf: (device: string) => pages<LatestItem>("/api/v1/latest", { device }, 1_000),
  openAlerts: (most: number) => pages<Alert>("/api/v1/alerts", { state: "open", limit: 1_000 }, most),
  shelvedAlerts: (most: number) => pages<Alert>("/api/v1/alerts", { state: "shelved", limit: 1_000 }, most),
  /** What was over when it was found, newest first; one page. */
  pastAlerts: (limit: number) => request<Page<Alert>>(query("/api/v1/alerts", { state: "past", limit })),
  endedAlerts: (limit: number) => pages<Alert>("/api/v1/alerts", { state: "ended", limit }, limit),
  ruleFiles: () => pages<{ rules: RuleEntry[] }>("/api/v1/rules", {}, 10_000),
  acknowledge: (id: string, act: { name: string; note: string; minutes: number }) =>
    post<Alert>(`/api/v1/alerts/${enc(id)}/ack`, act),
  close: (id: string, act: { name: string; note: string }) =>
    post<Alert>(`/api/v1/alerts/${enc(id)}/close`, act),
  shelve: (id: string, act: { name: string; note: string; minutes: number }) =>
    post<Alert>(`/api/v1/alerts/${enc(id)}/shelve`, act),
  unshelve: (id: string, act: { name: string; note: string }) =>
    post<Alert>(`/api/v1/alerts/${enc(id)}/unshelve`, act),
  assign: (id: string, act: { name: string; to: string; note: string }) =>
    post<Alert>(`/api/v1/alerts/${enc(id)}/assign`, act),
  /** The open alarms by incident, the first `limit`; null when nothing changed since the answer with this tag. */
  cards: (limit: number, tag: string | null) =>
    askIfChanged<CardList>(query("/api/v1/alerts/cards", { limit }), tag),
  /** Alarms of one card behind the alarm `after`. */
  card: (id: string, of: { limit: number; after?: string }) =>
    request<CardPage>(query(`/api/v1/alerts/cards/${enc(id)}`, of)),
  /** What happened to an alarm, oldest first. */
  story: (id: string) =>
    request<{ history: Transition[] }>(`/api/v1/alerts/${enc(id)}`).then(({ history }) => history),
  explain: (id: string) => request<Explanation>(`/api/v1/alerts/${enc(id)}/explain`),
  desks: () => request<{ items: DutyDesk[] }>("/api/v1/duty").then(({ items }) => items),
  putDesk: (id: string, roster: Roster) => put<DutyDesk>(`/api/v1/duty/${enc(id)}`, roster),
  removeDesk: (id: string) => request<unknown>(`/api/v1/duty/${enc(id)}`, { method: "DELETE" }),
  /** The log of the shift of now, or where the roster has none of the last 12 hours, oldest first. */
  dutyLog: (id: string, of: { shift?: string; limit: number; after?: string }) =>
    request<DutyLog>(query(`/api/v1/duty/${enc(id)}/log`, of)),
  writeDuty: (id: string, entry: { kind: DutyKind; text: string; corrects?: number }) =>
    post<DutyLine>(`/api/v1/duty/${enc(id)}/log`, entry),
  handOver: (id: string, text: string) => post<DutyLine>(`/api/v1/duty/${enc(id)}/handover`, { text }),
  takeOver: (id: string, handover: number, text: string) =>
    post<DutyLine>(`/api/v1/duty/${enc(id)}/takeover`, { handover, text }),
  drills: () => request<{ items: Drill[] }>("/api/v1/drills").then(({ items }) => items),
  putDrill: (id: string, drill: DrillSpec) => put<Drill>(`/api/v1/drills/${enc(id)}`, drill),
  endDrill: (id: string) => request<unknown>(`/api/v1/drills/${enc(id)}`, { method: "DELETE" }),
  load: (from: string, to: string) => request<AlarmLoad>(query("/api/v1/alerts/load", { from, to })),
  /** Makes the pack of what an alert rests on; each time is an act in the audit. */
  evidence: (id: string) => file(`/api/v1/alerts/${enc(id)}/evidence`),
  /** Newest first; `after` is the `next` of the page before, an empty kind or actor is all of them. */
  securityEvents: (of: { kind: string; actor: string; after: string | null; limit: number }) =>
    request<Page<SecurityEvent>>(
      query("/api/v1/security/events", {
        kind: of.kind || undefined,
        actor: of.actor || undefined,
        after: of.after ?? undefined,
        limit: of.limit,
      }),
    ),
  ledger: (device: string, day: string) => pages<LedgerDay>("/api/v1/ledger", { device, day }, 10),
  readmit: (id: number | string, note: string) => post<unknown>(`/api/v1/quarantine/${id}/readmit`, { note }),
  discard: (id: number | string, note: string) => post<unknown>(`/api/v1/quarantine/${id}/discard`, { note }),
  frames: (id: string) => request<{ items: StationFrame[] }>(`/api/v1/devices/${enc(id)}/frames?limit=8`),
  quarantine: () => pages<QuarantineItem>("/api/v1/quarantine", {}, 200),
  seriesOf: (device: string, quantity: string) =>
    pages<SeriesInfo>("/api/v1/series", { device, quantity }, 100),
  rawValues: (series: number, from: string, most: number) =>
    pages<SeriesPoint>(`/api/v1/series/${series}/values`, { from, limit: 5_000 }, most),
  steps: (series: number, from: string, step: string, agg: "mean" | "min" | "max") =>
    pages<SeriesPoint>(`/api/v1/series/${series}/values`, { from, step, agg }, 5_000),
  /** The newest of each series and source, by series. */
  newestForecasts: (most: number) => pages<Forecast>("/api/v1/forecasts", { limit: 500 }, most),
  /** Newest first; the newest one when nothing else is asked for. `from` bounds the origin. */
  forecastsOf: (series: number, of: { source?: string; from?: string; limit?: number } = {}) =>
    request<SeriesForecasts>(query(`/api/v1/forecasts/${series}`, of)),
  /** The series that the server foresees, also those of which nothing was issued yet. */
  forecasters: (most: number) => pages<ForeseenSeries>("/api/v1/forecasters", { limit: 500 }, most),
  train: (series: number) => post<{ forecaster: Forecaster }>(`/api/v1/forecasts/${series}/train`, {}),
  /** Of one source, for the threshold of its newest forecast. */
  skill: (series: number, source: string) => request<Skill>(query("/api/v1/skill", { series, source })),
  /** Also by a code that it had before; 404 where there is none. */
  division: (code: string) => request<Entity>(query(`/api/v1/entities/${enc(code)}`, { kind: "division" })),
  /** Those that have a code, else all; `n` counts them. No division is no fault. */
  divisionsOf: (code?: string) =>
    request<DivisionPage>(query("/ogc/collections/divisions/items", { code, limit: 1 })).then((page) => ({
      n: page.numberMatched,
      found: page.features[0] ?? null,
    })),
  baseMaps: () => request<{ items: BaseMap[] }>("/api/v1/basemaps"),
  tileInfo: (layer: string) => request<TileInfo>(`/tiles/${enc(layer)}.json`),
};
