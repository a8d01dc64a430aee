//! The screen's session: a token once, then a cookie.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use onemap_model::DivisionCode;
use onemap_model::record::Register;
use onemap_model::scope::{Permission, Role};
use onemap_store::ledger::TokenHash;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{act_problem, behind};
use crate::auth::{Caller, new_token, session_cookie};
use crate::error::Problem;
use crate::request::Body;
use crate::views::Views;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    token: String,
}

pub(crate) async fn begin(
    State(views): State<Arc<Views>>,
    Body(login): Body<Login>,
) -> Result<Response, Problem> {
    let scope = views
        .keys
        .access(login.token.trim())
        .ok_or_else(Problem::unauthorized)?;
    let id = views
        .keys
        .begin(scope, views.now())
        .map_err(|e| Problem::internal(&e))?;
    let cookie = format!("onemap_session={id}; HttpOnly; SameSite=Strict; Path=/");
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

pub(crate) async fn show(State(views): State<Arc<Views>>, Caller(scope): Caller) -> Json<Value> {
    Json(json!({
        "actor": scope.actor, "role": scope.role, "division": scope.division, "demo": views.demo,
    }))
}

pub(crate) async fn end(State(views): State<Arc<Views>>, headers: HeaderMap) -> Response {
    if let Some(id) = session_cookie(&headers) {
        views.keys.end(id);
    }
    let gone = "onemap_session=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0";
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, gone)]).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewToken {
    /// What it is called in the audit; the role's name when absent.
    name: Option<String>,
    role: Role,
    division: Option<DivisionCode>,
}

/// Makes a bearer token; its text is in this answer only.
pub(crate) async fn token(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Body(new): Body<NewToken>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let scope = caller.require(Permission::Tokens)?;
    if new.role == Role::Admin && scope.role != Role::Admin {
        return Err(Problem::forbidden(
            "an admin token is made on the server's own machine only",
        ));
    }
    if !scope.covers(new.division.as_ref()) {
        return Err(Problem::forbidden(
            "a token cannot see more than its maker's division",
        ));
    }
    let text = new_token().map_err(|e| Problem::internal(&e))?;
    let change = Register::AccessToken {
        name: new.name.unwrap_or_else(|| new.role.name().to_owned()),
        sha256: TokenHash::of(&text).to_string(),
        role: new.role,
        division: new.division,
    };
    let position = views
        .acts
        .record_register(scope, views.now(), vec![change])
        .await
        .map_err(act_problem)?;
    views.applied(position).await.map_err(behind)?;
    Ok((StatusCode::CREATED, Json(json!({"token": text}))))
}
