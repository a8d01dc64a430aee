//! Operations of the doors that devices, Telegraf and operators' platforms use.

use super::Operation;

pub(super) const OPERATIONS: &[Operation] = &[
    Operation(
        "get",
        "/api/v1/devices/{id}/attributes",
        "Client, shared and server attributes with their times.",
        &[],
        &[200, 403, 404],
    ),
    Operation(
        "put",
        "/api/v1/devices/{id}/attributes",
        "Replace a scope (shared unless scope=server); the device is told of what changed.",
        &["scope"],
        &[200, 400, 403, 404],
    ),
    Operation(
        "patch",
        "/api/v1/devices/{id}/attributes",
        "Set what the body holds; null takes a key away.",
        &["scope"],
        &[200, 400, 403, 404],
    ),
    Operation(
        "delete",
        "/api/v1/devices/{id}/attributes",
        "Take keys away (keys=a,b).",
        &["scope", "keys"],
        &[200, 400, 403, 404],
    ),
    Operation(
        "post",
        "/api/v1/{token}/telemetry",
        "ThingsBoard device API: telemetry; 200 once durable.",
        &[],
        &[200, 400, 401, 503],
    ),
    Operation(
        "get",
        "/api/v1/{token}/attributes",
        "ThingsBoard device API: client and shared attributes.",
        &["clientKeys", "sharedKeys"],
        &[200, 400, 401],
    ),
    Operation(
        "post",
        "/api/v1/{token}/attributes",
        "ThingsBoard device API: client attributes; 200 once durable.",
        &[],
        &[200, 400, 401, 503],
    ),
    Operation(
        "post",
        "/api/v1/{token}/claim",
        "ThingsBoard device API: a request to be claimed.",
        &[],
        &[200, 400, 401, 503],
    ),
    Operation(
        "post",
        "/api/v2/write",
        "Line protocol as InfluxDB 2 takes it, plain or gzip; 204 once durable, 400 names the lines not taken.",
        &["org", "bucket", "precision"],
        &[204, 400, 401, 403, 413, 503],
    ),
    Operation(
        "post",
        "/write",
        "Line protocol as InfluxDB 1.x takes it.",
        &["db", "precision", "u", "p"],
        &[204, 400, 401, 403, 413, 503],
    ),
    Operation(
        "get",
        "/query",
        "InfluxDB 1.x: only CREATE DATABASE is answered.",
        &["q"],
        &[200, 400, 401, 403],
    ),
    Operation(
        "post",
        "/query",
        "InfluxDB 1.x: only CREATE DATABASE is answered.",
        &["q"],
        &[200, 400, 401, 403],
    ),
    Operation("get", "/ping", "InfluxDB's ping.", &[], &[204]),
    Operation("post", "/ping", "InfluxDB's ping.", &[], &[204]),
    Operation("get", "/health", "InfluxDB's health.", &[], &[200, 503]),
    Operation(
        "get",
        "/push/{source}",
        "A platform looks whether somebody is there; says `msg` back.",
        &["msg", "nonce", "signature"],
        &[200, 401, 404, 503],
    ),
    Operation(
        "post",
        "/push/{source}",
        "A callback of an operator's platform, taken apart by the source's mapping.",
        &[],
        &[200, 401, 404, 413, 503],
    ),
];

/// Those that take neither bearer token nor session: they have their own checks.
pub(super) fn is_open(path: &str) -> bool {
    path.starts_with("/api/v1/{token}/")
        || path.starts_with("/push/")
        || ["/api/v2/write", "/write", "/query", "/ping", "/health"].contains(&path)
}
