//! The screen's session: a token once, then a cookie.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use onemap_model::DivisionCode;
use onemap_model::record::Register;
use onemap_model::scope::{Permission, Role};
use onemap_store::ledger::TokenHash;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{act_problem, behind, list};
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
    let id = views
        .keys
        .begin(login.token.trim(), views.now())
        .map_err(|e| Problem::internal(&e))?
        .ok_or_else(Problem::unauthorized)?;
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
    let sha256 = TokenHash::of(&text);
    let change = Register::AccessToken {
        name: new.name.unwrap_or_else(|| new.role.name().to_owned()),
        sha256: sha256.to_string(),
        role: new.role,
        division: new.division,
    };
    let position = views
        .acts
        .record_register(scope, views.now(), vec![change])
        .await
        .map_err(act_problem)?;
    views.applied(position).await.map_err(behind)?;
    Ok((
        StatusCode::CREATED,
        Json(json!({"token": text, "id": id_of(&sha256)})),
    ))
}

/// Hexadecimal digits of a token's id: the first of its hash, which open nothing.
const N_ID_DIGITS: usize = 16;

fn id_of(sha256: &TokenHash) -> String {
    let mut digits = sha256.to_string();
    digits.truncate(N_ID_DIGITS);
    digits
}

/// Bearer tokens that open, without their texts.
pub(crate) async fn tokens(State(views): State<Arc<Views>>, caller: Caller) -> Result<Json<Value>, Problem> {
    let scope = caller.require(Permission::Tokens)?;
    let all = views.keys.access_tokens();
    let seen = all.iter().filter(|token| scope.covers(token.division.as_ref()));
    let items = seen
        .map(|token| {
            json!({
                "id": id_of(&token.sha256), "name": token.name, "role": token.role,
                "division": token.division, "created": token.created,
            })
        })
        .collect();
    Ok(list(items, None))
}

/// Ends a bearer token, the sessions that it opened and their streams.
pub(crate) async fn revoke(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let scope = caller.require(Permission::Tokens)?;
    let all = views.keys.access_tokens();
    let found = all
        .iter()
        .find(|token| scope.covers(token.division.as_ref()) && id_of(&token.sha256) == id);
    let token = found.ok_or_else(|| {
        Problem::not_found(
            "unknown_token",
            "no access token of this id opens (onemap token list)",
        )
    })?;
    if token.role == Role::Admin && scope.role != Role::Admin {
        return Err(Problem::forbidden("an admin token is ended by an admin only"));
    }
    let change = Register::AccessTokenRevoked {
        sha256: token.sha256.to_string(),
    };
    let position = views
        .acts
        .record_register(scope, views.now(), vec![change])
        .await
        .map_err(act_problem)?;
    views.applied(position).await.map_err(behind)?;
    Ok(StatusCode::NO_CONTENT)
}
