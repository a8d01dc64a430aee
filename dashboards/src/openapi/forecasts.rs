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
];
