//! `/api/v1`: one file for each kind of thing.

pub(crate) mod accounts;
pub(crate) mod aggregate;
pub(crate) mod alarm_load;
pub(crate) mod alerts;
pub(crate) mod attributes;
pub(crate) mod cards;
pub(crate) mod commands;
pub(crate) mod corrections;
pub(crate) mod device_http;
pub(crate) mod devices;
mod disk;
pub(crate) mod drills;
pub(crate) mod dust;
pub(crate) mod duty;
pub(crate) mod duty_log;
mod engine;
pub(crate) mod entities;
pub(crate) mod entity_export;
pub(crate) mod entity_import;
pub(crate) mod evidence;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod feeds;
pub(crate) mod fences;
pub(crate) mod fetched;
pub(crate) mod forecasts;
pub(crate) mod geocode;
pub(crate) mod history;
pub(crate) mod hydrology;
pub(crate) mod import;
pub(crate) mod keep;
pub(crate) mod latest;
pub(crate) mod ledger;
mod listed;
pub(crate) mod map;
mod named;
pub(crate) mod numbers;
pub(crate) mod persons;
pub(crate) mod proposals;
pub(crate) mod push;
pub(crate) mod quarantine;
pub(crate) mod query;
pub(crate) mod readings;
pub(crate) mod readmit;
pub(crate) mod recode;
pub(crate) mod reports;
pub(crate) mod reviews;
pub(crate) mod rows;
pub(crate) mod rules;
pub(crate) mod security;
pub(crate) mod series;
mod series_acts;
pub(crate) mod session;
pub(crate) mod setup;
pub(crate) mod skill;
mod spelt;
pub(crate) mod standards;
mod superior;
pub(crate) mod system;
pub(crate) mod warnings;
pub(crate) mod write;

use axum::Json;
use onemap_model::{ReviewError, Scope, Timestamp, Verb};
use serde_json::{Value, json};

use crate::error::Problem;
use crate::views::Views;

/// Most rows of one page.
pub(crate) const MAX_LIMIT: usize = 100_000;

/// `{"items":…,"next":…}`.
pub(crate) fn list(items: Vec<Value>, next: Option<String>) -> Json<Value> {
    Json(json!({"items": items, "next": next}))
}

/// The page size asked for, between 1 and [`MAX_LIMIT`].
pub(crate) fn limit(asked: Option<usize>, default: usize) -> Result<usize, Problem> {
    limit_up_to(MAX_LIMIT, asked, default)
}

/// The page size asked for, between 1 and `most`.
pub(crate) fn limit_up_to(most: usize, asked: Option<usize>, default: usize) -> Result<usize, Problem> {
    match asked {
        None => Ok(default),
        Some(n) if (1..=most).contains(&n) => Ok(n),
        Some(n) => Err(Problem::bad_request(
            "bad_limit",
            format!("{n} of them are asked for: between 1 and {most} are given"),
        )),
    }
}

/// A time as RFC 3339 or milliseconds.
pub(crate) fn time(name: &str, text: &str) -> Result<Timestamp, Problem> {
    // A plus sign that was not escaped arrives as a space.
    let read = match text.parse() {
        Ok(ms) => Timestamp::given(ms),
        Err(_) => Timestamp::parse(&text.replace(' ', "+")),
    };
    read.map_err(|e| Problem::bad_request("bad_time", format!("{name}: {e}")))
}

/// A journal that cannot take a record right now.
pub(crate) fn act_problem(error: onemap_store::acts::ActError) -> Problem {
    use onemap_store::acts::ActError;
    match &error {
        ActError::Denied { .. }
        | ActError::Verb
        | ActError::Outside { .. }
        | ActError::Foreign { .. }
        | ActError::Escalation { .. } => Problem::forbidden(error.to_string()),
        ActError::Journal(_) => Problem::unavailable(error.to_string()),
        ActError::Review(fault) => review_problem(fault),
        ActError::DutyEntry(fault) => Problem::bad_request("bad_entry", fault.to_string()),
        ActError::Desk(fault) => Problem::bad_request("bad_desk", fault.to_string()),
        ActError::Drill(fault) => Problem::bad_request("bad_drill", fault.to_string()),
        ActError::Account { source, .. } => Problem::bad_request("bad_account", source.to_string()),
        _ => Problem::bad_request("bad_act", error.to_string()),
    }
}

/// A review, correction or time of dust that is none.
pub(crate) fn review_problem(fault: &ReviewError) -> Problem {
    let code = match fault {
        ReviewError::Span { .. } => "bad_range",
        ReviewError::State { .. } | ReviewError::Text { .. } | ReviewError::Derived { .. } => "bad_quantity",
        ReviewError::Factor { .. } | ReviewError::Turned { .. } => "bad_factor",
        ReviewError::Offset { .. } => "bad_offset",
        ReviewError::Value { .. } | ReviewError::Code { .. } => "bad_value",
        _ => "bad_act",
    };
    Problem::bad_request(code, fault.to_string())
}

/// Records that data leave as a file; before their first byte does.
pub(crate) async fn leaves(views: &Views, scope: &Scope, what: &str, query: &str) -> Result<(), Problem> {
    let verb = Verb::Export {
        what: what.to_owned(),
        query: query.to_owned(),
    };
    let recorded = views.acts.record_act(scope, views.now(), verb).await;
    recorded.map(|_| ()).map_err(act_problem)
}

/// Records an act and waits until it is folded; gives its journal position.
pub(crate) async fn carried_out(views: &Views, scope: &Scope, verb: Verb) -> Result<u64, Problem> {
    let recorded = views.acts.record_act(scope, views.now(), verb).await;
    let position = recorded.map_err(act_problem)?;
    views.applied(position).await.map_err(behind)?;
    Ok(position)
}

/// A record that is kept but not applied yet.
pub(crate) fn behind(error: crate::views::Behind) -> Problem {
    Problem::unavailable(error.to_string())
}
