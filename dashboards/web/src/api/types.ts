// The shapes of the HTTP API (docs/api.md), as the screen reads them.

/** Three states; unknown is a state of its own and never counts as normal. */
export type Condition = "normal" | "abnormal" | "unknown";
export type Severity = "critical" | "major" | "minor" | "notice";
/** Text in both languages. */
export type Bilingual = { zh: string; en: string };

export type Page<T> = { items: T[]; next: string | null };

export type Counts = {
  devices: number;
  normal: number;
  abnormal: number;
  unknown: number;
  stale: number;
  alerts_open: number;
  alerts_unacknowledged: number;
  alerts_shelved?: number;
  series: number;
};

export type SystemState = {
  version: string;
  instance: string;
  demo: boolean;
  now: string;
  started_at: string;
  journal: { last: number };
  counts: Counts;
  refused: Record<string, number>;
};

export type SeriesRef = { id: number; quantity: string; ch: number };

export type Device = {
  id: string;
  name: string;
  name_en?: string;
  kind: string;
  position?: { lon: number; lat: number; height_m?: number | null } | null;
  /** Where a moving device says that it is; `position` stays what the register says. */
  moved_to?: { lon: number; lat: number; measured_at: string };
  division?: string | null;
  setting: "urban" | "rural";
  gateway?: string | null;
  state: "active" | "provisioned" | "maintenance" | "retired";
  cadence_s?: number;
  department?: string;
  demo?: boolean;
  status: Condition;
  stale: boolean;
  last_received: string | null;
  last_measured: string | null;
  series: SeriesRef[];
  lifecycle?: Lifecycle;
  is_gateway?: boolean;
  /** What it stands on or in, by kind and code. */
  entity?: string | null;
  maintenance?: { until?: string | null; note?: string } | null;
  /** How far the device's clock is ahead of the server's; null while it is not known. */
  clock?: { ahead_ms: number; bound_ms: number; off: boolean } | null;
};

export type Lifecycle = "provisioned" | "active" | "silent" | "maintenance" | "retired";

/** What only the answer about one device holds. */
export type DeviceDetail = Device & {
  connected: boolean;
  gateway_connected: boolean | null;
  connections: { client_id: string; peer: string; since: string }[];
  last_peer: string | null;
  firmware: string | number | null;
  children: string[];
  fences: FenceStay[];
};

/** A fence that a device is in; `unknown` when it has not said where it is for too long. */
export type FenceStay = {
  code: string;
  name: string;
  name_en?: string;
  since: string;
  last_seen: string;
  state: "inside" | "unknown";
};

export type CommandState = "created" | "sent" | "received" | "executed" | "failed" | "expired" | "cancelled";

export type CommandItem = {
  id: number;
  device: string;
  method: string;
  state: CommandState;
  state_zh: string;
  state_en: string;
  final: boolean;
  created_at: string;
  expires_at: string;
  state_at: string;
  attempts: number;
  by: { actor: string; role: string };
};

export type QuantityEntry = {
  name: string;
  zh: string;
  en: string;
  unit: string;
  family: string;
  decimals: number;
  states?: { code: number; zh: string; en: string }[];
};

export type LatestItem = {
  series: number;
  device: string;
  quantity: string;
  ch: number;
  value: number | string | null;
  measured_at: string;
  received_at: string;
  quality: string[];
  state: Condition;
  stale: boolean;
};

export type Acknowledgement = { actor: string; name: string; note: string; at: string; until: string };

export type Assignment = { actor: string; name: string; to: string; note: string; at: string };

/** When what was found late was, and the value that was farthest out. */
export type Past = { from: string; until: string; peak: number | null };

export type Alert = {
  id: string;
  rule: string;
  rule_version: string;
  rule_name: Bilingual;
  severity: Severity;
  state: "open" | "cleared" | "closed" | "withdrawn";
  condition: Condition;
  acknowledged: Acknowledgement | null;
  /** Put aside for a while, with the reason; it goes on. */
  shelved?: Acknowledgement | null;
  /** Who is to see to it. */
  assigned?: Assignment | null;
  /** The drill in which it was raised: nobody is called. */
  drill?: string | null;
  /** It was over when it was found, in data that came late: nobody was called. */
  past?: Past | null;
  series: { id: number | null; device: string; quantity: string; ch: number };
  /** Null when the register no longer holds the device. */
  device_name: string | null;
  device_name_en?: string | null;
  position: { lon: number; lat: number } | null;
  division: string | null;
  raised_at: string;
  changed_at?: string;
  ended_at: string | null;
  message: Bilingual;
  advice: Bilingual;
  inputs: { position: number; measured_at: string; value: number }[];
  value: number | null;
  threshold: number | null;
};

/** What happened to an alarm once, as the ledger has it. */
export type Transition = {
  seq: number;
  id: string;
  edge: string;
  at: string;
  severity: Severity;
  message_zh: string;
  message_en: string;
  act?: { actor: string; name: string; note: string; until?: string | null; to?: string | null } | null;
};

/** How many alarms of a card are what. */
export type CardCounts = {
  alerts: number;
  devices: number;
  critical: number;
  major: number;
  minor: number;
  notice: number;
  abnormal: number;
  unknown: number;
  normal: number;
  acknowledged: number;
  unacknowledged: number;
};

/** An alarm as the list of cards spells it out. */
export type CardMember = {
  id: string;
  rule: string;
  rule_name: Bilingual;
  severity: Severity;
  condition: Condition;
  acknowledged: boolean;
  device: string;
  quantity: string;
  device_name: string | null;
  device_name_en: string | null;
  raised_at: string;
  changed_at: string;
  value: number | null;
};

/** Open alarms of one incident. `members` are the first ten, and only in the list. */
export type Card = {
  id: string;
  kind: "gateway" | "place" | "series";
  cause: { id: string; zh: string; en: string };
  gateway: string | null;
  headline: Bilingual;
  severity: Severity;
  condition: Condition;
  acknowledged: boolean;
  counts: CardCounts;
  raised_at: string;
  changed_at: string;
  /** How often a series of it was raised within an hour, from three on. */
  chatter: number | null;
  /** The network that makes its devices one. */
  network?: { medium: string; zh: string; en: string } | null;
  /** The drill in which all of it was raised. */
  drill?: string | null;
  bounds: [number, number, number, number] | null;
  position: { lon: number; lat: number } | null;
  members?: CardMember[];
};

/** Cards, what needs somebody first. The figures count all that the caller sees, not only what is listed. */
export type CardList = { items: Card[]; total: number; alerts: number; shelved: number };
export type CardPage = { card: Card; items: Alert[]; next: string | null };

/** One of the four panels of an alarm; `is` false says in its text why there is nothing. */
export type ExplainPanel = { is: boolean; text: Bilingual };

/** Why an alarm is what it is. */
export type Explanation = {
  at: string;
  /** What the engine holds now, or what the record says of an alarm that it holds no more. */
  by: "engine" | "record";
  rule: string;
  rule_version: string;
  /** The rule is another one by now than the one that raised it. */
  rule_changed?: boolean;
  /** What the rule says, and why it stands as it does; null where the rule is gone. */
  sentence: Bilingual | null;
  why?: Bilingual;
  progress: "pending" | "raised" | "clearing" | "closed" | "quiet" | "ended";
  since: string | null;
  condition: Condition;
  /** Without a position they come from the history. */
  inputs: { measured_at: string; value: number; position?: number; of?: SeriesName | string }[];
  /** Conditions of the rule; `holds` is null where it is not known. An amount is a value, a change, or how many agree. */
  facts: { sentence: Bilingual; holds: boolean | null; amount: number | null }[];
  clause: { text: string } | null;
  panels: Record<"evidence" | "place" | "forecast" | "control", ExplainPanel>;
};

export type SeriesName = { device: string; quantity: string; ch: number };

/** Alarms of a series and rule, with the names that the register and the rules have for them. */
type Offender = {
  rule: string;
  rule_name?: Bilingual | null;
  series: SeriesName;
  device_name?: string | null;
  device_name_en?: string | null;
};

/** How much a desk had to look at; `mean` and `most` are alarms in ten minutes, shares lie in 0 to 1. */
export type DeskLoad = {
  division: string | null;
  n_raised: number;
  mean: number;
  most: number;
  most_at: string;
  flood_share: number;
};
export type Chattering = Offender & {
  /** Most alarms within an hour. */
  index: number;
  deadband: number | null;
  unit: string;
};
export type BadActor = Offender & { n_raised: number; share: number };

/** Alarm load of a span of time. */
export type AlarmLoad = {
  from: string;
  to: string;
  n_raised: number;
  desks: DeskLoad[];
  chattering: Chattering[];
  bad_actors: BadActor[];
};

/** A rule as the list of rule files has it: `sentence` says its condition in words. */
export type RuleEntry = {
  id: string;
  version: string;
  looks_ahead: boolean;
  name: Bilingual;
  severity: Severity;
  sentence: Bilingual;
};

export type LedgerHour = {
  hour: number;
  expected: number;
  received: number;
  late: number;
  duplicate: number;
  revised: number;
  refused: number;
  lost: number;
};
export type LedgerDay = { device: string; day: string; hours: LedgerHour[] };

/** A frame of a field protocol spelt out, or bytes that are none: what, and at which byte. */
export type SpeltLine = { ok: boolean; at: number; error?: string; detail?: string; frame?: unknown };

/** A frame that a field station sent. */
export type StationFrame = {
  position: number;
  at: string;
  source: string;
  peer: string;
  size: number;
  payload: string | null;
  payload_hex: string;
  frames: SpeltLine[] | null;
};

export type QuarantineItem = {
  id: string | number;
  at: string;
  reason: string;
  reason_zh: string;
  source: string;
  device: string | null;
  peer: string | null;
  topic: string | null;
  size: number;
  payload: string | null;
  payload_hex: string;
  /** Passwords of stations in the bytes stand as `*`. */
  masked?: boolean;
  detail: string;
  frames?: SpeltLine[] | null;
  state?: "open" | "readmitted" | "refused" | "discarded";
  readmissible?: boolean;
  settled?: { by: string; note: string; readings?: number | null } | null;
};

export type SeriesInfo = { id: number; first: string | null; last: string | null };
/** One value of a series; `v` is null where a step holds no reading. */
export type SeriesPoint = { t: string; v: number | null; n?: number; quality?: string[] };

export type Session = {
  actor: string;
  role: string;
  division: string | null;
  /** Only what these own; all when there are none. */
  departments: string[];
  /** Permissions of the role. */
  may: string[];
  /** Null when a token opened the session. */
  account: { id: string; name: string; has_second: boolean } | null;
};

/** What happened at the doors of the server; `n` is how often alike since the last event that says so. */
export type SecurityEvent = {
  seq: number;
  at: string;
  kind: string;
  actor: string | null;
  peer: string | null;
  subject: string;
  detail: string;
  n: number;
};

/** A provider of OpenID Connect, if there is one: what its button says and where it leads. */
export type Ways = { oidc: { name: Bilingual; href: string } | null };

/** Who an account is for, what it may do and see; no division is the whole city, no department all of them. */
export type AccountFacts = {
  id: string;
  name: string;
  role: string;
  division: string | null;
  departments: string[];
};
/** Somebody who logs in with a password, or by the word of a provider. */
export type Account = AccountFacts & {
  disabled: boolean;
  has_password: boolean;
  has_second: boolean;
  needs_second: boolean;
  link_ends: string | null;
  /** Whom the provider speaks of. */
  subject: { issuer: string; sub: string } | null;
  sessions: number;
};
/** By which a password is set. */
export type Link = { path: string; key: string; ends: string };
/** What a link is for. */
export type SetupLook = {
  account: { id: string; name: string; division: string | null } | null;
  role: string;
  second: "needed" | "optional";
  secret: string;
  uri: string | null;
};

/** An entity of the map, as far as the screen needs it. */
export type Entity = { code: string; name: string; name_en?: string | null; geometry?: unknown };

/** Divisions as OGC API - Features gives them. */
export type DivisionPage = {
  numberMatched: number;
  features: { properties: { name: string; name_en?: string | null }; geometry: unknown }[];
};

/** What a vector tile layer says about itself (TileJSON 3). */
export type TileInfo = {
  minzoom?: number;
  maxzoom?: number;
  vector_layers?: { id: string }[];
  /** Sources of what the layer holds, between ` · `, escaped for HTML. */
  attribution?: string;
};

/** A base map of the configuration; `tiles` are paths on this server, the lowest picture first. */
export type BaseMap = {
  name: string;
  name_en: string;
  type: "raster" | "vector";
  tiles: string[];
  vector_layers: string[];
  min_zoom: number;
  max_zoom: number;
  attribution: string;
};

/** Live push. Value rows are `[series, value, measured ms, state, quality bits]`. */
export type LiveHello = { t: number; version: string; instance: string };
export type LiveValues = { t: number; v: [number, number | string | null, number, number, number][] };
export type LiveDevices = { t: number; d: [string, Condition | number, number, number | null][] };
/** Rows are `[device, longitude, latitude, measured ms]`. */
export type LiveMoves = { t: number; m: [string, number, number, number][] };
export type LiveBeat = { t: number; lag: number; counts: Counts };

/** How likely a value is over a threshold; `warns` when its maker finds that enough to warn. */
export type Exceedance = { threshold: number; probability: number; warns: boolean };

/** What is said of one time, `lead_s` after the origin. Quantiles are `[probability, value]`, both ascending. */
export type ForecastLead = {
  at: string;
  lead_s: number;
  value: number;
  median: number;
  quantiles: [number, number][];
  exceed: Exceedance[];
};

/** Where a forecaster has nothing to say, and why. */
export type SilentLead = { lead_s: number; why: string };

export type Regime = "rising" | "wet" | "steady";

/** A forecast as it was issued. */
export type Forecast = {
  seq: number;
  /** When the server took it. */
  taken_at: string;
  /** `onemap` for the server's own. */
  source: string;
  model: string;
  series: { id: number | null; device: string; quantity: string; ch: number; unit: string };
  issued_at: string;
  /** The time of the newest value that it knows; leads are counted from it. */
  origin: string;
  at_origin: number | null;
  /** Seconds of the grid that it was made on; 0 is not known. */
  step_s: number;
  regime: Regime | null;
  leads: ForecastLead[];
  silent: SilentLead[];
  influences: { lead_s: number; input: string; by: number }[];
  notes: string[];
};

/** What the server foresees a series by. */
export type Forecaster = {
  /** Other series, `device/quantity/ch`. */
  inputs: string[];
  step_s: number;
  leads_s: number[];
  threshold: number | null;
  trained: {
    model: string;
    at: string;
    /** When it was last solved again on newer values, with what training chose. */
    refit_at?: string;
    first: string;
    last: string;
    values: number;
    leads: {
      lead_s: number;
      rows: number;
      skill: number | null;
      mae_skill: number | null;
      silent: string | null;
    }[];
  } | null;
  /** Why nothing is foreseen now. */
  why_not: string | null;
};

/** A series that the server foresees; it has no number before its first value. */
export type ForeseenSeries = { series: Forecast["series"]; forecaster: Forecaster };

/** Forecasts of a series, newest first; the forecaster is null where the server foresees nothing itself. */
export type SeriesForecasts = Page<Forecast> & { forecaster: Forecaster | null };

type Scores = {
  n: number;
  rmse: number | null;
  /** 1 − MSE/MSE of persistence. */
  skill: number | null;
  mae: number | null;
  mae_skill: number | null;
  /** Share of what came that lay in the 80 % interval. */
  coverage80: number | null;
};

/** How good the forecasts of one lead were; what cannot be said is null. */
export type LeadScores = Scores & {
  lead_s: number;
  rmse_persistence: number | null;
  mae_persistence: number | null;
  crps: number | null;
  pod: number | null;
  far: number | null;
  csi: number | null;
  brier: number | null;
  late: number;
  pending: number;
  missing: number;
  no_origin: number;
  by_state: (Scores & { state: Regime })[];
};

export type SourceSkill = { source: string; median_lead_s: number | null; leads: LeadScores[] };

/** Scores of what was issued of a series; `cut` when only the newest forecasts were looked at. */
export type Skill = {
  threshold: number | null;
  forecasts: number;
  cut: boolean;
  sources: SourceSkill[];
};

/** A shift of a roster, as it is written. */
export type RosterShift = { from: string; to: string; name?: string; posts: Record<string, string[]> };

/** A shift as desks and entries name it; `date` is Beijing's. */
export type DutyShift = { from: string; to: string; date: string; name: string | null };

type DutyHand = { id: number; at: string; by: string; name: string };

export type HandoverState = "done" | "late" | "waiting" | "missing";

/** What is said of a desk. */
export type Roster = {
  name: string;
  division?: string;
  severity: Severity;
  rules?: string[];
  steps: { after_min: number; post: string }[];
  remind_min?: number;
  handover_min?: number;
  shifts?: RosterShift[];
  standby?: Record<string, string[]>;
};

export type DutyDesk = Roster & {
  id: string;
  on_duty: Record<string, string[]>;
  waiting: number;
  paged_at: string | null;
  shift: DutyShift | null;
  next_shift: DutyShift | null;
  /** How the shift of now took over; null where there is none, or nobody to take over from. */
  handover: HandoverState | null;
  last_handover: (DutyHand & { shift: DutyShift | null; taken: DutyHand | null }) | null;
};

type Until = { name: string; until: string };

/** What was handed over, as it was then. */
export type Handed = {
  n_open: number;
  n_waiting: number;
  n_shelved: number;
  n_paged: number;
  alerts: {
    id: string;
    name_zh: string;
    name_en: string;
    severity: Severity;
    device: string;
    device_name: string;
    raised_at: string;
    acknowledged?: Until;
    shelved?: Until;
    paged: boolean;
  }[];
  warnings: { id: number; event_zh: string; event_en: string; expires: string }[];
  set_aside?: { consumer: string; n: number }[];
};

export type DutyKind = "note" | "call" | "instruction" | "handover" | "takeover";

/** A line of a duty log: what a person wrote, or what the server says itself. */
export type DutyLine =
  | {
      source: "entry";
      id: number;
      at: string;
      kind: DutyKind;
      name: string;
      text: string;
      corrects: number | null;
      handover: number | null;
      handed: Handed | null;
    }
  | {
      source: "alerts";
      id: number;
      at: string;
      kind:
        | "alert_raised"
        | "alert_worsened"
        | "alert_cleared"
        | "alert_closed"
        | "alert_withdrawn"
        | "alert_paged"
        | "gateway_dark"
        | "gateway_back";
      severity: Severity;
      device: string;
      device_name: string | null;
      message: { zh: string; en: string };
      /** The drill that it was raised in. */
      drill?: string;
    }
  | {
      source: "warnings";
      id: number;
      at: string;
      kind: "warning_issued" | "warning_updated" | "warning_cancelled";
      identifier: string;
    };

/** What a drill is: alarms of what it names, raised while it is on, call nobody. Each part narrows it. */
export type DrillSpec = {
  name: string;
  division?: string;
  devices?: string[];
  rules?: string[];
  from: string;
  to: string;
};

export type DrillState = "planned" | "on" | "over";

/** A drill as it is listed; `open` counts the alarms raised in it that go on. */
export type Drill = DrillSpec & { id: string; state: DrillState; open: number };

export type DutyLog = {
  from: string;
  to: string;
  shift: DutyShift | null;
  items: DutyLine[];
  next: string | null;
};
