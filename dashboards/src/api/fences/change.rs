//! Fences are entities of the register; here they are set and taken off by their code.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use onemap_model::EntityKind;
use onemap_model::record::Register;
use serde_json::{Map, Value};

use super::shown;
use crate::api::entities::keep_one;
use crate::api::{act_problem, behind};
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::{Body, NoParams};
use crate::views::Views;

/// What a fence wants; in the entity these stand among its attributes.
const RULES: [&str; 3] = ["device_kinds", "dwell_s", "hysteresis_m"];

/// Sets a fence: the same act as an entity of kind `fence`, whose `code` and `kind` need not be said again and whose
/// rules may stand beside its name.
pub(crate) async fn put(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(code): Path<String>,
    _: NoParams,
    Body(mut body): Body<Map<String, Value>>,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope();
    for (name, value) in [("code", Value::from(&*code)), ("kind", "fence".into())] {
        if body.get(name).is_some_and(|stated| *stated != value) {
            let message = format!("`{name}` is not {value}, by which the fence is called here");
            return Err(Problem::bad_request("bad_body", message));
        }
        body.insert(name.to_owned(), value);
    }
    let mut attributes = match body.remove("attributes") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(attributes)) => attributes,
        Some(_) => return Err(Problem::bad_request("bad_body", "`attributes` is an object")),
    };
    for name in RULES {
        if let Some(value) = body.remove(name)
            && attributes.insert(name.to_owned(), value).is_some()
        {
            let message = format!("`{name}` is stated twice, beside the attributes and among them");
            return Err(Problem::bad_request("bad_body", message));
        }
    }
    body.insert("attributes".to_owned(), attributes.into());
    let entity = serde_json::from_value(Value::Object(body))
        .map_err(|error| Problem::bad_request("bad_body", error.to_string()))?;
    keep_one(&views, scope, entity).await?;
    shown(&views, scope, &code).map(Json)
}

/// Takes a fence off; who is in it leaves it silently, and its events stay.
pub(crate) async fn delete(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(code): Path<String>,
    _: NoParams,
) -> Result<StatusCode, Problem> {
    let scope = caller.scope();
    shown(&views, scope, &code)?;
    let change = vec![Register::EntityRemoved {
        kind: EntityKind::Fence,
        code,
    }];
    let recorded = views.acts.record_register(scope, views.now(), change).await;
    let position = recorded.map_err(act_problem)?;
    views.applied(position).await.map_err(behind)?;
    Ok(StatusCode::NO_CONTENT)
}
