//! Security events: newest first by pages, or oldest first as lines, which a collector follows.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{limit_up_to, list, time};
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::Params;
use crate::security::{Filter, Kind, N_SHOWN, Order};
use crate::views::Views;

/// Events of a page when no number is asked for.
const N_USUAL: usize = 100;

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Format {
    #[default]
    Json,
    Ndjson,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    kind: Option<Kind>,
    actor: Option<String>,
    from: Option<String>,
    to: Option<String>,
    limit: Option<usize>,
    after: Option<u64>,
    #[serde(default)]
    format: Format,
}

/// Events are of no division and no department: they are shown to who sees the whole city.
pub(crate) async fn list_events(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Params(query): Params<Query>,
) -> Result<Response, Problem> {
    if !caller.scope().is_whole() {
        return Err(Problem::forbidden("security events are of the whole city"));
    }
    let limit = limit_up_to(N_SHOWN, query.limit, N_USUAL)?;
    let at = |name, text: &Option<String>| text.as_deref().map(|text| time(name, text)).transpose();
    let filter = Filter {
        kind: query.kind,
        actor: query.actor,
        from: at("from", &query.from)?,
        to: at("to", &query.to)?,
        after: query.after,
    };
    match query.format {
        Format::Json => {
            let (events, has_more) = views.security.list(&filter, Order::NewestFirst, limit);
            let last = events.last().filter(|_| has_more);
            let next = last.map(|event| event.seq.to_string());
            let items: Vec<Value> = events.iter().map(|event| json!(&**event)).collect();
            Ok(list(items, next).into_response())
        }
        Format::Ndjson => {
            let (events, _) = views.security.list(&filter, Order::OldestFirst, limit);
            let lines: String = events
                .iter()
                .map(|event| format!("{}\n", json!(&**event)))
                .collect();
            Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], lines).into_response())
        }
    }
}
