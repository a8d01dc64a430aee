//! Entities get other codes: `POST /api/v1/entities/recode`. A thing stays the same thing with its history, its old code is
//! still found, and what points to it follows. All that one request changes goes into the journal in one list, by who asked.

mod plan;
mod rows;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use onemap_model::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{act_problem, behind};
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::{Params, Unread};
use crate::views::Views;

/// Entities and devices that one request changes.
const N_MOST: usize = 20_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// When the new codes were given, RFC 3339; now when absent.
    at: Option<String>,
    /// Only says what would be changed.
    #[serde(default)]
    dry_run: bool,
}

/// Takes a CSV of `old`, `new` and, where they are needed, `kind`, `class` and `division`. Good lines are taken, the others
/// are told.
pub(crate) async fn post(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Params(asked): Params<Asked>,
    body: Unread,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope();
    if !scope.is_whole() {
        return Err(Problem::forbidden(
            "codes are given for the whole city: who is of a division or of departments changes none",
        ));
    }
    let now = views.now();
    let at = match asked.at.as_deref().map(Timestamp::parse) {
        None => now,
        Some(Ok(at)) if at <= now => at,
        Some(Ok(_)) => return Err(Problem::bad_request("bad_time", "at= lies in the future")),
        Some(Err(error)) => return Err(Problem::bad_request("bad_time", format!("at=: {error}"))),
    };
    let bytes = body.read().await?;
    let text = String::from_utf8(bytes.into()).map_err(|e| {
        Problem::bad_request("bad_body", format!("the body is not UTF-8: {}", e.utf8_error()))
    })?;
    let reader = views.clone();
    let plan = tokio::task::spawn_blocking(move || plan::of(&reader, &text, at))
        .await
        .map_err(|e| Problem::internal(&e))?;
    if plan.n_recoded == 0 && plan.n_already == 0 {
        let detail = format!("none of {} lines could be taken", plan.errors.len());
        return Err(Problem::unprocessable("bad_codes", detail, plan.errors.into()));
    }
    let [n_entities, n_devices] = plan.n_followed;
    let n = plan.changes.len();
    if n > N_MOST {
        return Err(Problem::too_large(format!(
            "{n} entities and devices would be changed, at most {N_MOST} at once: give the file in parts"
        )));
    }
    let mut position = Value::Null;
    if !asked.dry_run && n > 0 {
        let recorded = views.acts.record_register(scope, now, plan.changes).await;
        let last = recorded.map_err(act_problem)?;
        views.applied(last).await.map_err(behind)?;
        position = last.into();
    }
    Ok(Json(json!({
        "recoded": plan.n_recoded, "already": plan.n_already, "at": at.to_string(),
        "followed": {"entities": n_entities, "devices": n_devices},
        "refused": plan.errors.len(), "errors": plan.errors, "position": position,
    })))
}
