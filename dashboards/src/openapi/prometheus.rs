//! Operations of Prometheus's HTTP API.

use super::Operation;

pub(super) const OPERATIONS: &[Operation] = &[
    Operation(
        "get",
        "/prometheus/api/v1/query",
        "The value of a PromQL expression at one time. warnings names the quantities of which earlier values were asked for than are kept, and damaged rows that are left out.",
        &["query", "time", "step", "timeout", "limit", "quality"],
        &[200, 400, 403, 413, 422, 503],
    ),
    Operation(
        "post",
        "/prometheus/api/v1/query",
        "The value of a PromQL expression at one time. warnings names the quantities of which earlier values were asked for than are kept, and damaged rows that are left out.",
        &["query", "time", "step", "timeout", "limit", "quality"],
        &[200, 400, 403, 413, 422, 503],
    ),
    Operation(
        "get",
        "/prometheus/api/v1/query_range",
        "The values of a PromQL expression at times of one step. warnings names the quantities of which earlier values were asked for than are kept, and damaged rows that are left out.",
        &["query", "start", "end", "step", "timeout", "limit", "quality"],
        &[200, 400, 403, 413, 422, 503],
    ),
    Operation(
        "post",
        "/prometheus/api/v1/query_range",
        "The values of a PromQL expression at times of one step. warnings names the quantities of which earlier values were asked for than are kept, and damaged rows that are left out.",
        &["query", "start", "end", "step", "timeout", "limit", "quality"],
        &[200, 400, 403, 413, 422, 503],
    ),
    Operation(
        "get",
        "/prometheus/api/v1/query_exemplars",
        "Exemplars: there are none.",
        &["query"],
        &[200, 400, 403],
    ),
    Operation(
        "post",
        "/prometheus/api/v1/query_exemplars",
        "Exemplars: there are none.",
        &["query"],
        &[200, 400, 403],
    ),
    Operation(
        "get",
        "/prometheus/api/v1/format_query",
        "An expression as it is read, laid out.",
        &["query"],
        &[200, 400, 403],
    ),
    Operation(
        "post",
        "/prometheus/api/v1/format_query",
        "An expression as it is read, laid out.",
        &["query"],
        &[200, 400, 403],
    ),
    Operation(
        "get",
        "/prometheus/api/v1/series",
        "Label sets of the series that match.",
        &["match[]", "start", "end", "limit"],
        &[200, 400, 403, 413],
    ),
    Operation(
        "post",
        "/prometheus/api/v1/series",
        "Label sets of the series that match.",
        &["match[]", "start", "end", "limit"],
        &[200, 400, 403, 413],
    ),
    Operation(
        "get",
        "/prometheus/api/v1/labels",
        "Names of labels.",
        &["match[]", "start", "end", "limit"],
        &[200, 400, 403, 413],
    ),
    Operation(
        "post",
        "/prometheus/api/v1/labels",
        "Names of labels.",
        &["match[]", "start", "end", "limit"],
        &[200, 400, 403, 413],
    ),
    Operation(
        "get",
        "/prometheus/api/v1/label/{name}/values",
        "Values of a label.",
        &["match[]", "start", "end", "limit"],
        &[200, 400, 403],
    ),
    Operation(
        "get",
        "/prometheus/api/v1/metadata",
        "What the quantities are that have a series.",
        &["metric", "limit"],
        &[200, 400, 403],
    ),
    Operation(
        "get",
        "/prometheus/api/v1/rules",
        "Rules in PromQL: there are none.",
        &[],
        &[200, 403],
    ),
    Operation(
        "get",
        "/prometheus/api/v1/alerts",
        "Open alerts, as firing ones.",
        &[],
        &[200, 403],
    ),
    Operation(
        "get",
        "/prometheus/api/v1/status/buildinfo",
        "Which version of the API is spoken.",
        &[],
        &[200, 403],
    ),
];

/// Whose errors are Prometheus's and no problem documents.
pub(super) fn is_own(path: &str) -> bool {
    path.starts_with("/prometheus/")
}
