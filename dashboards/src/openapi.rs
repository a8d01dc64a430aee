//! `/api/openapi.json`: made from one table, which a test holds against that of who may ask what, and that one against the router.

mod accounts;
mod dialects;
mod map;
mod ogc;
mod prometheus;

use axum::Json;
use serde_json::{Map, Value, json};

/// One operation: method, path, what it does, query parameters, statuses besides 401.
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
        "Say of the values of a series in a span that they are valid, invalid, replaced by a value, or (withdrawn) not reviewed.",
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
        "get",
        "/api/v1/alerts",
        "Alerts, newest first.",
        &["state", "division", "limit", "after"],
        &[200, 400],
    ),
    Operation(
        "get",
        "/api/v1/alerts/{id}",
        "One alert with its story.",
        &[],
        &[200, 404],
    ),
    Operation(
        "post",
        "/api/v1/alerts/{id}/ack",
        "Acknowledge with name, note and expiry.",
        &[],
        &[200, 400, 403, 404, 409],
    ),
    Operation(
        "post",
        "/api/v1/alerts/{id}/close",
        "Close by hand with a reason.",
        &[],
        &[200, 400, 403, 404, 409],
    ),
    Operation(
        "get",
        "/api/v1/alerts/{id}/evidence",
        "What the alert rests on, as a signed tar file that stock tools verify: story, rule, frames, values, rows of the audit (docs/audit.md).",
        &[],
        &[200, 403, 404, 503],
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
        "ThingsBoard's one-way RPC: answered when the device has it.",
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
        "Put a rule file (YAML); its own tests run first.",
        &[],
        &[200, 403, 422],
    ),
    Operation(
        "delete",
        "/api/v1/rules/{file}",
        "Take a rule file away.",
        &[],
        &[200, 403, 404],
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
        &[200, 201, 400, 403, 413, 422, 503],
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
        &[201, 400, 403, 422],
    ),
    Operation(
        "post",
        "/api/v1/persons/resolve",
        "What is known of the person with a number, for a purpose that is kept.",
        &[],
        &[200, 400, 403, 404, 422],
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
    ("post", "/api/v1/setup"),
    ("post", "/api/v1/setup/look"),
    ("get", "/api/v1/{token}/rpc"),
    ("post", "/api/v1/{token}/rpc"),
    ("post", "/api/v1/{token}/rpc/{id}"),
    ("get", "/api/openapi.json"),
    ("post", "/api/v1/provision"),
    ("get", "/health/live"),
    ("get", "/health/ready"),
    ("get", "/metrics"),
];

pub(crate) async fn document() -> Json<Value> {
    Json(build())
}

/// Every operation.
fn operations() -> impl Iterator<Item = &'static Operation> {
    OPERATIONS
        .iter()
        .chain(accounts::OPERATIONS)
        .chain(dialects::OPERATIONS)
        .chain(ogc::OPERATIONS)
        .chain(map::OPERATIONS)
        .chain(prometheus::OPERATIONS)
}

fn build() -> Value {
    let mut paths = Map::new();
    for Operation(method, path, summary, query, statuses) in operations() {
        let mut parameters: Vec<Value> = path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
            .collect();
        parameters.extend(
            query
                .iter()
                .map(|name| json!({"name": name, "in": "query", "schema": {"type": "string"}})),
        );
        let open = dialects::is_open(path) || OPEN.contains(&(*method, *path));
        let mut responses: Map<String, Value> = statuses
            .iter()
            .map(|status| (status.to_string(), response(path, *status)))
            .collect();
        if !open || *path == "/api/v1/session" {
            responses.insert("401".to_owned(), response("", 401));
        }
        let mut operation = json!({"summary": summary, "parameters": parameters, "responses": responses});
        if open {
            operation["security"] = json!([]);
        }
        let entry = paths.entry((*path).to_owned()).or_insert_with(|| json!({}));
        entry[*method] = operation;
    }
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
            "schemas": {
                "Problem": {
                    "type": "object",
                    "required": ["type", "title", "status", "code", "detail"],
                    "properties": {
                        "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"},
                        "code": {"type": "string"}, "detail": {"type": "string"}, "errors": {"type": "array"},
                    },
                },
                "PrometheusError": {
                    "type": "object",
                    "required": ["status", "errorType", "error"],
                    "properties": {
                        "status": {"const": "error"}, "errorType": {"type": "string"}, "error": {"type": "string"},
                    },
                },
            },
        },
    })
}

fn response(path: &str, status: u16) -> Value {
    let text = axum::http::StatusCode::from_u16(status)
        .ok()
        .and_then(|s| s.canonical_reason())
        .unwrap_or("");
    if status < 400 {
        return json!({"description": text});
    }
    // A form over its size is refused before anybody looks what it asks.
    if prometheus::is_own(path) && status != 413 {
        let schema = json!({"schema": {"$ref": "#/components/schemas/PrometheusError"}});
        return json!({"description": text, "content": {"application/json": schema}});
    }
    let schema = json!({"schema": {"$ref": "#/components/schemas/Problem"}});
    json!({"description": text, "content": {"application/problem+json": schema}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_of_the_router_is_described_and_no_other() {
        let routed: std::collections::BTreeSet<_> = crate::access::routes().collect();
        let described: std::collections::BTreeSet<_> =
            operations().map(|o| (o.0.to_uppercase(), o.1)).collect();
        assert_eq!(routed, described);
        assert!(routed.iter().any(|(_, path)| *path == crate::limits::SPOOLED));
        assert_eq!(build()["openapi"], "3.1.0");
    }
}
