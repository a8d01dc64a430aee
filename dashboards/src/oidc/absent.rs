//! The answers of a server that was built without OpenID Connect.

use axum::Json;
use serde_json::{Value, json};

use super::absent;
use crate::error::Problem;
use crate::request::NoParams;

/// By what somebody may come in, beside a password and a token.
pub(crate) async fn ways(_: NoParams) -> Json<Value> {
    Json(json!({"oidc": null}))
}

/// Nobody goes to a provider.
pub(crate) async fn begin() -> Problem {
    absent()
}

/// Nobody comes from one.
pub(crate) async fn callback() -> Problem {
    absent()
}

/// Nobody has come so far.
pub(crate) async fn finish() -> Problem {
    absent()
}
