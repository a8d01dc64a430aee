//! Operations of forecasts.

use super::Operation;

pub(super) const OPERATIONS: &[Operation] = &[
    Operation(
        "get",
        "/api/v1/forecasts",
        "The newest forecast of each series and source, by series.",
        &["limit", "after"],
        &[200, 400, 403],
    ),
    Operation(
        "get",
        "/api/v1/forecasters",
        "The series that the server foresees, with their models or why there is none.",
        &["limit", "after"],
        &[200, 400, 403],
    ),
    Operation(
        "post",
        "/api/v1/forecasts",
        "Hand in forecasts of others, with the time at which they were issued; they are kept as they are.",
        &[],
        &[201, 400, 403, 404, 413, 503],
    ),
    Operation(
        "get",
        "/api/v1/forecasts/{series}",
        "Forecasts of a series as they were issued, newest first.",
        &["source", "from", "to", "known_at", "limit", "after"],
        &[200, 400, 403, 404],
    ),
    Operation(
        "post",
        "/api/v1/forecasts/{series}/train",
        "Train the model of a series that the server foresees now, and not in the night.",
        &[],
        &[202, 403, 404, 409],
    ),
    Operation(
        "get",
        "/api/v1/skill",
        "How good the forecasts of a series were, from what was issued and what came, by source and lead.",
        &["series", "source", "from", "to", "threshold"],
        &[200, 400, 403, 404, 501, 503],
    ),
];
