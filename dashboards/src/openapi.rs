//! `/api/openapi.json`: made from one table, which a test holds against that of who may ask what, and that one against
//! the router; what parameters, bodies and answers look like stands in `openapi/shapes`.

mod accounts;
mod alerts;
mod dialects;
mod forecasts;
mod map;
mod notation;
mod ogc;
mod prometheus;
mod warnings;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde_json::{Map, Value, json};

use notation::{Described, Shapes};

/// One operation: method, path, what it does, query parameters, statuses besides those that all of its kind may come to.
struct Operation(
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static [u16],
);

const OPERATIONS: &[Operation] = &[
    Operation(
        "post",
        "/api/v1/tokens",
        "Make a bearer token for a role, perhaps of a division and of departments within the maker's own; it stands in this answer only.",
        &[],
        &[201, 400, 403],
    ),
    Operation(
        "get",
        "/api/v1/tokens",
        "Bearer tokens that open, by id, with role, division and departments, without their texts.",
        &[],
        &[200, 403],
    ),
    Operation(
        "delete",
        "/api/v1/tokens/{id}",
        "End a bearer token, the sessions that it opened and their live streams.",
        &[],
        &[204, 403, 404],
    ),
    Operation(
        "get",
        "/api/v1/system",
        "State of the system: journal, cursors, counts, refusals.",
        &[],
        &[200],
    ),
    Operation(
        "get",
        "/api/v1/security/events",
        "Security events, of the newest 10,000, newest first: log-ins and those that failed, wrong tokens, what was denied, changes of tokens and accounts, limits, devices that were not let in. As ndjson oldest first: after the number of the last line more follow.",
        &["kind", "actor", "from", "to", "limit", "after", "format"],
        &[200, 400, 403],
    ),
    Operation(
        "get",
        "/api/v1/digest",
        "Digests of latest, history and transitions with their journal position.",
        &[],
        &[200, 403],
    ),
    Operation(
        "get",
        "/api/v1/history/stat",
        "What the history holds and takes, by week and class; of a division or departments their series alone.",
        &[],
        &[200, 403],
    ),
    Operation(
        "get",
        "/api/v1/history/verify",
        "Reads every row of the history and compares them; faults with keyspace, series and time, of a division or departments those of their series.",
        &[],
        &[200, 403],
    ),
    Operation(
        "post",
        "/api/v1/backup",
        "Begin a backup of everything that is kept into a folder of the server's machine.",
        &[],
        &[202, 400, 403, 409],
    ),
    Operation(
        "get",
        "/api/v1/backup",
        "How the backup goes, or how the last one went.",
        &[],
        &[200, 403],
    ),
    Operation(
        "get",
        "/api/v1/devices",
        "Devices with their state.",
        &[
            "division", "kind", "bbox", "state", "status", "gateway", "profile", "q", "limit", "after",
        ],
        &[200, 400],
    ),
    Operation(
        "get",
        "/api/v1/devices/summary",
        "How many devices are in each lifecycle and status.",
        &[
            "division", "kind", "bbox", "state", "status", "gateway", "profile", "q",
        ],
        &[200, 400],
    ),
    Operation(
        "post",
        "/api/v1/devices/import",
        "Register devices from CSV; faults by line and column, tokens of new ones in this answer only.",
        &["dry_run", "replace"],
        &[200, 400, 403],
    ),
    Operation(
        "patch",
        "/api/v1/devices/{id}",
        "Change the stated fields of a device (RFC 7396).",
        &[],
        &[200, 400, 403, 404],
    ),
    Operation(
        "post",
        "/api/v1/devices/{id}/maintenance",
        "Put a device under maintenance, with its end and a note.",
        &[],
        &[200, 400, 403, 404, 409],
    ),
    Operation(
        "post",
        "/api/v1/devices/{id}/retire",
        "Take a device out of use: its token ends, its connections are cut.",
        &[],
        &[200, 403, 404],
    ),
    Operation(
        "post",
        "/api/v1/devices/{id}/activate",
        "Take a device into use again.",
        &[],
        &[200, 403, 404],
    ),
    Operation(
        "delete",
        "/api/v1/devices/{id}/token",
        "End a device's tokens.",
        &[],
        &[204, 403, 404],
    ),
    Operation(
        "get",
        "/api/v1/profiles/{id}/provisioning",
        "Whether devices may register themselves with a profile.",
        &[],
        &[200, 403, 404],
    ),
    Operation(
        "post",
        "/api/v1/profiles/{id}/provisioning",
        "A new key and secret by which devices register themselves; shown in this answer only.",
        &[],
        &[201, 403, 404],
    ),
    Operation(
        "delete",
        "/api/v1/profiles/{id}/provisioning",
        "Devices may no longer register themselves with a profile.",
        &[],
        &[204, 403, 404],
    ),
    Operation(
        "post",
        "/api/v1/provision",
        "A device registers itself (ThingsBoard provisioning).",
        &[],
        &[200, 400],
    ),
    Operation(
        "post",
        "/api/v1/devices",
        "Register a device, or replace a known one; a new one's token stands in this answer only.",
        &["replace"],
        &[200, 201, 400, 403, 409],
    ),
    Operation(
        "get",
        "/api/v1/devices/{id}/hydrology",
        "Datum, rating curves, ice seasons and stages of a hydrological station, and what of them holds now.",
        &[],
        &[200, 404],
    ),
    Operation(
        "put",
        "/api/v1/devices/{id}/hydrology",
        "Replace datum, rating curves, ice seasons and stages of a hydrological station.",
        &[],
        &[200, 400, 403, 404, 503],
    ),
    Operation(
        "delete",
        "/api/v1/devices/{id}/hydrology",
        "Take datum, rating curves, ice seasons and stages of a device away.",
        &[],
        &[200, 403, 404, 503],
    ),
    Operation(
        "post",
        "/api/v1/hydrology/import",
        "What is known of many hydrological stations, from CSV: datums, points of rating curves, ice seasons, stages. Of each device the kinds that the file has are replaced; bad lines are named by line and column, and their devices stay as they were.",
        &["dry_run"],
        &[200, 400, 403, 413, 503],
    ),
    Operation("get", "/api/v1/devices/{id}", "One device.", &[], &[200, 404]),
    Operation(
        "post",
        "/api/v1/devices/{id}/token",
        "A new token for a device, or the password of a field station; the old one ends at once or after its grace.",
        &[],
        &[201, 400, 403, 404, 409],
    ),
    Operation(
        "get",
        "/api/v1/quantities",
        "The dictionary of quantities.",
        &[],
        &[200],
    ),
    Operation("get", "/api/v1/profiles", "Device profiles.", &[], &[200]),
    Operation(
        "put",
        "/api/v1/profiles/{id}",
        "Put a profile (YAML).",
        &[],
        &[200, 400, 403, 422],
    ),
    Operation(
        "get",
        "/api/v1/ledger",
        "Gap ledger: by hour of a device and Beijing day, or by day of devices, divisions or kinds.",
        &[
            "device", "division", "kind", "day", "from", "to", "group_by", "level", "format", "limit",
            "after",
        ],
        &[200, 400, 404],
    ),
    Operation(
        "post",
        "/api/v1/readings/import",
        "Store old readings by the backfill lane; answered with what became of them.",
        &[],
        &[200, 400, 403, 404, 503],
    ),
    Operation(
        "post",
        "/api/v1/readings",
        "Keep readings; answered when they are durable.",
        &[],
        &[202, 400, 403, 404, 503],
    ),
    Operation(
        "get",
        "/api/v1/latest",
        "Newest value of every series, as rows or as blocks of columns.",
        &[
            "division", "kind", "bbox", "device", "quantity", "limit", "after", "shape",
        ],
        &[200, 400],
    ),
    Operation(
        "get",
        "/api/v1/series",
        "Series.",
        &["division", "kind", "device", "quantity", "limit", "after"],
        &[200, 400],
    ),
    Operation(
        "get",
        "/api/v1/series/{id}/values",
        "Values of a series, single or stepped; basis is raw, corrected (else raw), best (reviewed, else corrected, else raw) or, of single values, all three side by side; agg is mean, min, max, sum, count, first, last, delta, increase, rate or a percentile like p98; fill is none, null, previous, linear or zero. An answer that begins before what retention keeps has kept_from and rollups_from, one that damaged rows are missing from damaged. With from and to it carries a strong ETag.",
        &[
            "from",
            "to",
            "step",
            "agg",
            "fill",
            "max_gap",
            "limit",
            "after",
            "shape",
            "revisions",
            "known_at",
            "quality",
            "basis",
        ],
        &[200, 304, 400, 404, 501, 503],
    ),
    Operation(
        "get",
        "/api/v1/reviews",
        "Reviews of values, newest first; the last that covers a time holds.",
        &[
            "device", "division", "quantity", "ch", "from", "to", "limit", "after",
        ],
        &[200, 400, 404],
    ),
    Operation(
        "post",
        "/api/v1/reviews",
        "Say of the values of a series in a span that they are valid, invalid, replaced by a value, doubted, or (withdrawn) not reviewed.",
        &[],
        &[201, 400, 403, 404, 503],
    ),
    Operation(
        "get",
        "/api/v1/corrections",
        "Corrections of series, newest first, withdrawn ones too; the last that covers a time and is not withdrawn holds.",
        &[
            "device", "division", "quantity", "ch", "from", "to", "limit", "after",
        ],
        &[200, 400, 404],
    ),
    Operation(
        "post",
        "/api/v1/corrections",
        "Correct a series from a measuring time on: value x factor + offset. What that makes outside of the quantity's plausible range is no value.",
        &[],
        &[201, 400, 403, 404, 503],
    ),
    Operation(
        "post",
        "/api/v1/corrections/{id}/withdraw",
        "Withdraw a correction.",
        &[],
        &[200, 400, 403, 404, 409, 503],
    ),
    Operation(
        "get",
        "/api/v1/dust",
        "Times of sand and dust as they were named, newest first, withdrawn ones too; of a device also those of the divisions that it lies in.",
        &["device", "division", "from", "to", "limit", "after"],
        &[200, 400, 404],
    ),
    Operation(
        "post",
        "/api/v1/dust",
        "Name a time of sand and dust in a division (not by who is of departments) or at a device, with the notice that says so.",
        &[],
        &[201, 400, 403, 404, 503],
    ),
    Operation(
        "post",
        "/api/v1/dust/{id}/withdraw",
        "Withdraw a time of sand and dust.",
        &[],
        &[200, 400, 403, 404, 409, 503],
    ),
    Operation(
        "get",
        "/api/v1/aggregate",
        "Series of one quantity grouped by division, kind, device or entity, in steps; gaps stay gaps unless fill says otherwise. basis is raw, corrected (else raw) or best (reviewed, else corrected, else raw). An answer that begins before what retention keeps has kept_from and rollups_from, one that damaged rows are missing from damaged. With from and to it carries a strong ETag.",
        &[
            "quantity",
            "ch",
            "group_by",
            "level",
            "entity_kind",
            "division",
            "kind",
            "from",
            "to",
            "step",
            "agg",
            "across",
            "weight",
            "weights",
            "quality",
            "known_at",
            "fill",
            "max_gap",
            "basis",
        ],
        &[200, 304, 400, 501, 503],
    ),
    Operation(
        "get",
        "/api/v1/standards/air",
        "Air quality index of a station by hour or day, or its means and percentiles by year (HJ 663, without particles on days of sand and dust): by the edition of each period, with its values, the limits of GB 3095 and what came late or was replaced.",
        &["device", "from", "to", "by", "class", "ch", "known_at", "basis"],
        &[200, 400, 403, 404, 501, 503],
    ),
    Operation(
        "get",
        "/api/v1/standards/noise",
        "Ld, Ln and Ldn of a point by day (GB 3096), with the limits of its zone where all hours are there.",
        &["device", "zone", "from", "to", "ch", "known_at", "basis"],
        &[200, 400, 403, 404, 501, 503],
    ),
    Operation(
        "get",
        "/api/v1/standards/rain",
        "Rain days of a gauge, from 8 to 8 h, with their grade (GB/T 28592).",
        &["device", "from", "to", "ch", "known_at", "basis"],
        &[200, 400, 403, 404, 501, 503],
    ),
    Operation(
        "get",
        "/api/v1/standards/stage",
        "Levels of a station against its own warning and guaranteed stages, over its datum, with the flow of its rating curve; with level that of one level.",
        &[
            "device", "level", "at", "from", "to", "known_at", "basis", "limit", "after",
        ],
        &[200, 400, 403, 404, 501, 503],
    ),
    Operation(
        "get",
        "/api/v1/standards/water",
        "Class of a section of surface water by day and its worst items (GB 3838); body is river or lake, aim the class it should have.",
        &["device", "body", "aim", "from", "to", "ch", "known_at", "basis"],
        &[200, 400, 403, 404, 501, 503],
    ),
    Operation(
        "get",
        "/api/v1/export",
        "Readings as a file: format is csv, lineprotocol, ndjson or parquet; device and quantity take several, with commas. The header kept-from says from when on values are kept, where the question begins before. What damaged rows take from it stands behind the last row.",
        &[
            "format",
            "device",
            "quantity",
            "ch",
            "division",
            "kind",
            "from",
            "to",
            "revisions",
            "known_at",
            "quality",
        ],
        &[200, 400, 404, 429, 501, 503],
    ),
    Operation(
        "post",
        "/api/v1/commands",
        "Order a command; answered when it is durable. The same Idempotency-Key is the same command. Stations of HJ 212 and SL 651 take the methods of their standards (docs/protocols.md).",
        &[],
        &[200, 201, 400, 403, 404, 409, 429],
    ),
    Operation(
        "get",
        "/api/v1/commands",
        "Commands, newest first.",
        &["device", "state", "from", "to", "limit", "after"],
        &[200, 400],
    ),
    Operation(
        "get",
        "/api/v1/commands/{id}",
        "One command with its facts; wait_s waits for its end.",
        &["wait_s"],
        &[200, 404],
    ),
    Operation(
        "post",
        "/api/v1/commands/{id}/cancel",
        "Take back a command that was not sent.",
        &[],
        &[200, 403, 404, 409],
    ),
    Operation(
        "post",
        "/api/rpc/oneway/{device}",
        "ThingsBoard's one-way RPC: answered when the device has it, without a body; with persistent at once, with the command's number.",
        &[],
        &[200, 400, 403, 404, 408, 409, 429],
    ),
    Operation(
        "post",
        "/api/rpc/twoway/{device}",
        "ThingsBoard's two-way RPC: answered with the device's answer.",
        &[],
        &[200, 400, 403, 404, 408, 409, 429],
    ),
    Operation(
        "get",
        "/api/v1/{token}/rpc",
        "A device fetches its next command (long poll, timeout in ms).",
        &["timeout"],
        &[200, 401, 408],
    ),
    Operation(
        "post",
        "/api/v1/{token}/rpc",
        "A device asks the server (getServerTime, getDevice, getSessionLimits).",
        &[],
        &[200, 400, 401],
    ),
    Operation(
        "post",
        "/api/v1/{token}/rpc/{id}",
        "A device answers a command.",
        &[],
        &[200, 401, 503],
    ),
    Operation("get", "/api/v1/rules", "Rule files.", &[], &[200]),
    Operation(
        "put",
        "/api/v1/rules/{file}",
        "Put a rule file (YAML); its own tests run first. Devices that it names have to be there, or are waited for with `unknown=wait`. 422 names each fault with line and column, in English (`message`) and Chinese (`message_zh`). Where rules need a second person (`[alerts] rules_need_approval`) it is proposed, with the name of the person and what for: 202.",
        &["name", "note", "unknown"],
        &[200, 202, 400, 403, 409, 422],
    ),
    Operation(
        "delete",
        "/api/v1/rules/{file}",
        "Take a rule file away, or propose that (202) as with PUT.",
        &["name", "note"],
        &[200, 202, 400, 403, 404, 409],
    ),
    Operation(
        "get",
        "/api/v1/rules/proposals",
        "Rule files that wait for a second person, and the last that are decided, newest first; whether such are needed.",
        &[],
        &[200, 400, 403],
    ),
    Operation(
        "get",
        "/api/v1/rules/proposals/{id}",
        "One proposal: who, when and what for, its text, the text that was in force, and the rules that it adds, changes or removes.",
        &[],
        &[200, 400, 403, 404],
    ),
    Operation(
        "delete",
        "/api/v1/rules/proposals/{id}",
        "Who proposed it withdraws it.",
        &[],
        &[200, 400, 403, 404, 409],
    ),
    Operation(
        "post",
        "/api/v1/rules/proposals/{id}/approve",
        "A second person agrees, by another token or account and another name: the file is checked once more and put in force. 409 when the file changed since it was proposed.",
        &[],
        &[200, 400, 403, 404, 409, 422],
    ),
    Operation(
        "post",
        "/api/v1/rules/proposals/{id}/reject",
        "Do not agree, with a reason.",
        &[],
        &[200, 400, 403, 404, 409],
    ),
    Operation(
        "get",
        "/api/v1/quarantine",
        "What was refused, with its bytes and what became of it; frames of HJ 212, SL 651 and GB/T 26875.3 spelt out, passwords of stations only for who may register devices.",
        &[
            "reason", "device", "source", "topic", "text", "state", "from", "to", "position", "limit",
            "after",
        ],
        &[200, 400, 403],
    ),
    Operation(
        "get",
        "/api/v1/quarantine/counts",
        "Entries by reason and Beijing day.",
        &["from", "to"],
        &[200, 400, 403],
    ),
    Operation(
        "get",
        "/api/v1/quarantine/{id}",
        "One entry with all its bytes as text, hex and base64, and of a field protocol its frames.",
        &[],
        &[200, 403, 404],
    ),
    Operation(
        "post",
        "/api/v1/quarantine/{id}/readmit",
        "Read an entry again with the profile of now.",
        &[],
        &[200, 400, 403, 404, 409, 503],
    ),
    Operation(
        "post",
        "/api/v1/quarantine/{id}/discard",
        "Be done with an entry; it stays for the audit.",
        &[],
        &[200, 400, 403, 404, 503],
    ),
    Operation(
        "post",
        "/api/v1/quarantine/readmit",
        "Read entries again: by reason, device, from, to or ids.",
        &[],
        &[200, 400, 403, 404, 503],
    ),
    Operation(
        "post",
        "/api/v1/quarantine/discard",
        "Be done with entries: by reason, device, from, to or ids.",
        &[],
        &[200, 400, 403, 404, 503],
    ),
    Operation(
        "post",
        "/api/v1/entities",
        "One entity or a GeoJSON FeatureCollection.",
        &[],
        &[201, 400, 403, 422],
    ),
    Operation(
        "post",
        "/api/v1/entities/batch",
        "An array of entities.",
        &[],
        &[201, 400, 403, 422],
    ),
    Operation(
        "get",
        "/api/v1/entities/export",
        "Entities as a file that an import takes back as they are: format is geojson, geojsonseq, csv, flatgeobuf or gpkg (one layer a kind); never persons.",
        &[
            "format", "kind", "class", "division", "stratum", "z", "at", "bbox", "crs",
        ],
        &[200, 400, 403, 429, 503],
    ),
    Operation(
        "post",
        "/api/v1/entities/import",
        "A file of entities or persons: GeoJSON, GeoJSON sequence, CSV, GeoPackage or FlatGeobuf, perhaps gzip.",
        &[
            "name", "format", "kind", "crs", "encoding", "source", "division", "layer", "map", "progress",
        ],
        &[200, 201, 400, 403, 413, 422, 503, 507],
    ),
    Operation(
        "post",
        "/api/v1/entities/recode",
        "Other codes for entities: CSV of old, new and where needed kind, class, division. Old codes are still found, what points to them follows.",
        &["at", "dry_run"],
        &[200, 400, 403, 413, 422],
    ),
    Operation(
        "post",
        "/api/v1/persons",
        "Make a person known: a pseudonym, the last four and a grid cell are kept.",
        &[],
        &[201, 400, 403, 422, 503],
    ),
    Operation(
        "post",
        "/api/v1/persons/resolve",
        "What is known of the person with a number, for a purpose that is kept.",
        &[],
        &[200, 400, 403, 404, 422, 503],
    ),
    Operation(
        "get",
        "/api/v1/persons/resolutions",
        "Who asked for which person, and why.",
        &["after"],
        &[200, 403],
    ),
    Operation(
        "get",
        "/api/v1/persons/counts",
        "How many persons are where: in whole k, no group of fewer than k ([persons] k), counted at most once a minute.",
        &["by"],
        &[200, 400, 403, 503],
    ),
    Operation(
        "get",
        "/api/v1/persons/key",
        "Which key persons have, and how many wait to be carried over to it.",
        &[],
        &[200, 403, 503],
    ),
    Operation(
        "post",
        "/api/v1/persons/key",
        "Give persons another key: what stands for their numbers changes, and what is known of them is sealed anew.",
        &[],
        &[201, 403, 409, 503],
    ),
    Operation(
        "get",
        "/api/v1/devices/{id}/frames",
        "The newest frames of a field station (HJ 212, SL 651, GB/T 26875.3) since the server started, spelt out, newest first; passwords only for who may register devices.",
        &["limit"],
        &[200, 400, 403, 404],
    ),
    Operation(
        "get",
        "/api/v1/entities/{code}",
        "One entity, also by a code that it had before; kind chooses where several kinds have the code.",
        &["kind"],
        &[200, 400, 404, 409],
    ),
    Operation(
        "get",
        "/api/v1/geocode",
        "The place of an address: level, confidence, code, position, division, alternatives; near is lon,lat.",
        &["q", "limit", "near"],
        &[200, 400, 403, 503],
    ),
    Operation(
        "post",
        "/api/v1/geocode",
        "Places of many addresses: a JSON list of texts, or text with one a line; at most 10,000.",
        &["limit", "near"],
        &[200, 400, 403, 413, 503],
    ),
    Operation(
        "get",
        "/api/v1/geocode/suggest",
        "Names while they are typed: Chinese, pinyin, initials.",
        &["q", "limit", "near"],
        &[200, 400, 403, 503],
    ),
    Operation(
        "get",
        "/api/v1/reverse",
        "The address of a position: grid, community, street, district, nearest door, place and road with distance and side.",
        &["lon", "lat", "crs"],
        &[200, 400, 403, 503],
    ),
    Operation(
        "get",
        "/api/v1/live",
        "Live push for screens (text/event-stream).",
        &[],
        &[200],
    ),
    Operation(
        "get",
        "/feeds/alerts",
        "Every alert transition, resumable (text/event-stream).",
        &["after"],
        &[200, 400],
    ),
    Operation("get", "/api/openapi.json", "This document.", &[], &[200]),
    Operation("get", "/health/live", "The process answers.", &[], &[200]),
    Operation("get", "/health/ready", "Ready, or why not.", &[], &[200, 503]),
    Operation("get", "/metrics", "Prometheus text.", &[], &[200]),
];

/// Paths that need neither token nor session.
const OPEN: &[(&str, &str)] = &[
    ("post", "/api/v1/session"),
    ("get", "/api/v1/session/ways"),
    ("get", "/api/v1/session/oidc"),
    ("post", "/api/v1/session/oidc"),
    ("get", "/api/v1/session/oidc/callback"),
    ("post", "/api/v1/setup"),
    ("post", "/api/v1/setup/look"),
    ("get", "/api/v1/{token}/rpc"),
    ("post", "/api/v1/{token}/rpc"),
    ("post", "/api/v1/{token}/rpc/{id}"),
    ("get", "/api/openapi.json"),
    ("post", "/api/v1/provision"),
    ("get", "/health/live"),
    ("get", "/health/ready"),
];

pub(crate) async fn document() -> Response {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(build().to_string()));
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.clone()).into_response()
}

/// Every operation.
fn operations() -> impl Iterator<Item = &'static Operation> {
    OPERATIONS
        .iter()
        .chain(accounts::OPERATIONS)
        .chain(alerts::OPERATIONS)
        .chain(dialects::OPERATIONS)
        .chain(ogc::OPERATIONS)
        .chain(map::OPERATIONS)
        .chain(forecasts::OPERATIONS)
        .chain(warnings::OPERATIONS)
        .chain(prometheus::OPERATIONS)
}

/// What parameters, bodies and answers look like.
fn shapes() -> Shapes {
    let mut shapes = Shapes::default();
    for text in [
        include_str!("openapi/shapes/common.txt"),
        include_str!("openapi/shapes/people.txt"),
        include_str!("openapi/shapes/server.txt"),
        include_str!("openapi/shapes/devices.txt"),
        include_str!("openapi/shapes/readings.txt"),
        include_str!("openapi/shapes/alerts.txt"),
        include_str!("openapi/shapes/warnings.txt"),
        include_str!("openapi/shapes/map.txt"),
        include_str!("openapi/shapes/forecasts.txt"),
        include_str!("openapi/shapes/ogc.txt"),
        include_str!("openapi/shapes/prometheus.txt"),
        include_str!("openapi/shapes/dialects.txt"),
    ] {
        shapes.read(text).expect("a test reads these files");
    }
    shapes
}

fn build() -> Value {
    let shapes = shapes();
    let mut paths = Map::new();
    for operation in operations() {
        let Operation(method, path, ..) = operation;
        let key = ((*method).to_owned(), (*path).to_owned());
        let described = shapes
            .operations
            .get(&key)
            .expect("a test holds the tables together");
        let entry = paths.entry((*path).to_owned()).or_insert_with(|| json!({}));
        entry[*method] = operation.describe(described, &shapes.parameters);
    }
    let mut schemas = shapes.schemas;
    schemas.insert(
        "Problem".to_owned(),
        json!({
            "type": "object",
            "required": ["type", "title", "status", "code", "detail"],
            "properties": {
                "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"},
                "code": {"type": "string"}, "detail": {"type": "string"}, "detail_zh": {"type": "string"},
                "errors": {"type": "array", "items": {"$ref": "#/components/schemas/ProblemFault"}}, "retry_after_s": {"type": "integer", "minimum": 1},
            },
            "additionalProperties": false,
        }),
    );
    schemas.insert(
        "ProblemFault".to_owned(),
        json!({
            "type": "object",
            "description": "One of the faults of a 422, with its place: `line` and `column` of a file, `at` or `field` of another body. Faults of rules are told in both languages.",
            "required": ["message"],
            "properties": {
                "line": {"type": "integer", "minimum": 0}, "column": {"type": ["integer", "string"]},
                "at": {"type": "string"}, "field": {"type": "string"}, "code": {"type": ["string", "null"]},
                "message": {"type": "string"}, "message_zh": {"type": "string"},
            },
        }),
    );
    schemas.insert(
        "PrometheusError".to_owned(),
        json!({
            "type": "object",
            "required": ["status", "errorType", "error"],
            "properties": {
                "status": {"const": "error"}, "errorType": {"type": "string"}, "error": {"type": "string"},
            },
            "additionalProperties": false,
        }),
    );
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "onemap",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "City sensing and one-map operations",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"bearer": []}, {"session": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "onemap_session"},
            },
            "schemas": schemas,
        },
    })
}

impl Operation {
    /// Whether neither token nor session is needed.
    fn is_open(&self) -> bool {
        dialects::is_open(self.1) || OPEN.contains(&(self.0, self.1))
    }

    /// Names of the parameters in the path.
    fn in_path(&self) -> impl Iterator<Item = &'static str> {
        self.1
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }

    /// Statuses of refusals: those of the table, and those that every operation of its kind may come to.
    fn refusals(&self, described: &Described) -> BTreeSet<u16> {
        let own = described.gives.iter().map(|(status, _)| *status);
        let mut all: BTreeSet<u16> = self
            .4
            .iter()
            .copied()
            .chain(own)
            .filter(|status| *status >= 400)
            .collect();
        // More requests than a share has, more connections than there are places, bodies that are more than the
        // server holds.
        all.extend([429, 503]);
        if !self.3.is_empty() || self.in_path().next().is_some() || !described.takes.is_empty() {
            all.insert(400);
        }
        if !self.is_open() || self.1 == "/api/v1/session" {
            all.extend([401, 403]);
        }
        if !described.takes.is_empty() {
            all.extend([408, 413]);
        }
        all
    }

    fn describe(&self, described: &Described, by_name: &BTreeMap<String, Value>) -> Value {
        let Operation(_, path, summary, query, _) = self;
        let own = |name: &str| described.parameters.iter().find(|(own, ..)| own == name);
        let mut parameters: Vec<Value> = Vec::new();
        for name in self.in_path() {
            let schema = own(name).map(|(.., schema)| schema.clone());
            let schema = schema.unwrap_or_else(|| json!({"type": "string", "minLength": 1}));
            parameters.push(json!({"name": name, "in": "path", "required": true, "schema": schema}));
        }
        for name in *query {
            let own = own(name);
            let schema = own.map(|(.., schema)| schema).or_else(|| by_name.get(*name));
            let schema = schema.expect("a test holds the tables together");
            let mut parameter = json!({"name": name, "in": "query", "schema": schema});
            if own.is_some_and(|(_, is_needed, _)| *is_needed) {
                parameter["required"] = true.into();
            }
            parameters.push(parameter);
        }
        let mut responses = Map::new();
        for (status, content) in described.gives.iter().filter(|(status, _)| *status < 400) {
            let entry = responses.entry(status.to_string());
            let response = entry.or_insert_with(|| json!({"description": reason(*status)}));
            if let Some((media, schema)) = content {
                response["content"][media] = json!({ "schema": schema });
            }
        }
        for status in self.refusals(described) {
            let mut response = refusal(path, status);
            for (own, content) in &described.gives {
                if let Some((media, schema)) = content.as_ref().filter(|_| *own == status) {
                    response["content"][media] = json!({ "schema": schema });
                }
            }
            responses.insert(status.to_string(), response);
        }
        let mut operation = json!({"summary": summary, "parameters": parameters, "responses": responses});
        if !described.takes.is_empty() {
            let content: Map<_, _> = described
                .takes
                .iter()
                .map(|(media, schema)| (media.clone(), json!({ "schema": schema })))
                .collect();
            operation["requestBody"] = json!({"required": !described.is_optional, "content": content});
        }
        if self.is_open() {
            operation["security"] = json!([]);
        }
        operation
    }
}

fn reason(status: u16) -> &'static str {
    let status = axum::http::StatusCode::from_u16(status).ok();
    status.and_then(|status| status.canonical_reason()).unwrap_or("")
}

/// A refusal: a problem document; of Prometheus's API in its clients' shape, but for what is refused before anybody
/// looks what is asked.
fn refusal(path: &str, status: u16) -> Value {
    let problem = json!({"schema": {"$ref": "#/components/schemas/Problem"}});
    let mut response =
        json!({"description": reason(status), "content": {"application/problem+json": problem}});
    if prometheus::is_own(path) && status != 413 {
        response["content"]["application/json"] =
            json!({"schema": {"$ref": "#/components/schemas/PrometheusError"}});
    }
    let wait = json!({"type": "integer", "minimum": 1});
    match status {
        401 => {
            let header = json!({"required": true, "schema": {"type": "string"}});
            response["headers"] = json!({ "WWW-Authenticate": header });
        }
        429 => response["headers"] = json!({"Retry-After": {"required": true, "schema": wait}}),
        503 => response["headers"] = json!({"Retry-After": {"schema": wait}}),
        _ => {}
    }
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_route_of_the_router_is_described_and_no_other() {
        let routed: BTreeSet<_> = crate::access::routes().collect();
        let described: BTreeSet<_> = operations().map(|o| (o.0.to_uppercase(), o.1)).collect();
        assert_eq!(routed, described);
        assert!(routed.iter().any(|(_, path)| *path == crate::limits::SPOOLED));
        assert_eq!(build()["openapi"], "3.1.0");
    }

    #[test]
    fn every_operation_has_its_shapes_and_they_name_what_is_there() {
        let shapes = shapes();
        let operations: BTreeMap<_, _> = operations()
            .map(|o| ((o.0.to_owned(), o.1.to_owned()), o))
            .collect();
        let shaped: BTreeSet<_> = shapes.operations.keys().collect();
        assert_eq!(operations.keys().collect::<BTreeSet<_>>(), shaped);
        for (key, described) in &shapes.operations {
            let operation = operations[key];
            let is_known =
                |name: &str| operation.3.contains(&name) || operation.in_path().any(|own| own == name);
            for (name, ..) in &described.parameters {
                assert!(is_known(name), "{key:?} has no parameter {name}");
            }
            for name in operation.3 {
                let has_shape = described.parameters.iter().any(|(own, ..)| own == name);
                assert!(
                    has_shape || shapes.parameters.contains_key(*name),
                    "{key:?}: what is {name}?"
                );
            }
            let given: BTreeSet<u16> = described.gives.iter().map(|(status, _)| *status).collect();
            let listed: BTreeSet<u16> = operation.4.iter().copied().collect();
            let fine =
                |all: &BTreeSet<u16>| all.iter().copied().filter(|s| *s < 400).collect::<BTreeSet<_>>();
            assert_eq!(fine(&given), fine(&listed), "{key:?}");
            for (status, content) in &described.gives {
                let has_body = !matches!(status, 204 | 302..=304);
                let is_bare = [
                    "/rpc/{id}",
                    "/telemetry",
                    "/attributes",
                    "/claim",
                    "/oneway/{device}",
                ];
                let is_bare = is_bare.iter().any(|end| key.1.ends_with(end)) && key.0 == "post";
                assert!(content.is_some() == has_body || is_bare, "{key:?} {status}");
            }
            let is_body_sent = matches!(&*key.0, "put" | "patch");
            assert!(
                !is_body_sent || !described.takes.is_empty(),
                "{key:?} takes no body"
            );
        }
        let document = build();
        let text = document.to_string();
        for name in text.split("#/components/schemas/").skip(1) {
            let name = name.split('"').next().unwrap();
            assert!(
                document["components"]["schemas"][name].is_object(),
                "{name} is nowhere"
            );
        }
        let unused: Vec<_> = shapes
            .schemas
            .keys()
            .filter(|n| !text.contains(&format!("schemas/{n}\"")))
            .collect();
        assert!(unused.is_empty(), "{unused:?}");
    }
}
