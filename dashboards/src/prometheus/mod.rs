//! `/prometheus/api/v1`: the read side of Prometheus's HTTP API over the history, so that Grafana takes onemap for
//! a Prometheus.
//!
//! A series is one of the history: its name is the quantity, its labels say whose it is ([`select`]). The language
//! is read by `promql-parser`; [`eval`] and what it calls evaluate it without clock or I/O. [`ask`] and [`browse`]
//! are the HTTP rim.

mod aggregate;
mod answer;
mod apart;
mod ask;
mod binary;
mod browse;
mod eval;
mod fault;
mod functions;
mod grid;
mod labels;
mod meter;
mod params;
mod query;
mod select;
#[cfg(test)]
mod tests;
mod window;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::get;

pub(crate) use apart::Turns;
pub(crate) use fault::{Fault, FaultKind};

use crate::views::Views;

/// Largest form of a query.
const MAX_FORM: usize = 64 << 10;

/// What answers below `/prometheus`; the caller has a scope.
pub(crate) fn routes() -> Router<Arc<Views>> {
    let both = Router::new()
        .route("/prometheus/api/v1/query", get(ask::query).post(ask::query))
        .route(
            "/prometheus/api/v1/query_range",
            get(ask::query_range).post(ask::query_range),
        )
        .route(
            "/prometheus/api/v1/query_exemplars",
            get(ask::exemplars).post(ask::exemplars),
        )
        .route(
            "/prometheus/api/v1/format_query",
            get(ask::format_query).post(ask::format_query),
        )
        .route(
            "/prometheus/api/v1/series",
            get(browse::series).post(browse::series),
        )
        .route(
            "/prometheus/api/v1/labels",
            get(browse::labels).post(browse::labels),
        )
        .route("/prometheus/api/v1/label/{name}/values", get(browse::values))
        .route("/prometheus/api/v1/metadata", get(browse::metadata))
        .route("/prometheus/api/v1/rules", get(browse::rules))
        .route("/prometheus/api/v1/alerts", get(browse::alerts))
        .route("/prometheus/api/v1/status/buildinfo", get(browse::build_info));
    both.layer(DefaultBodyLimit::max(MAX_FORM))
}
