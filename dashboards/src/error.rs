//! What a client sees when something is wrong: RFC 9457 problem documents. Status codes are chosen
//! here only.

mod said;

use axum::Json;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use onemap_model::Timestamp;
use onemap_store::engine::StoreError;
use onemap_store::history::HistoryError;
use serde_json::{Value, json};

use crate::prometheus::{Fault, FaultKind};
pub(crate) use said::clipped;

/// Bytes of what the router says of a request that are read at most.
const MAX_WORDS: usize = 256 << 10;

/// Member of a problem document that says how long to wait.
const RETRY_AFTER_S: &str = "retry_after_s";

/// A refused or failed request.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    /// Members of its own, beside those that every problem has.
    extra: Vec<(&'static str, Value)>,
    /// What a 401 asks for.
    scheme: &'static str,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: clipped(&detail.into()).into_owned(),
            extra: Vec::new(),
            scheme: "Bearer",
        }
    }
    /// What the router or a reader of requests says in plain text, or without a word; `None` for another status.
    fn plain(status: StatusCode, words: &str) -> Option<Self> {
        let (code, otherwise) = match status {
            StatusCode::BAD_REQUEST => ("bad_request", "the request cannot be read"),
            StatusCode::NOT_FOUND => ("unknown_path", "nothing answers here"),
            StatusCode::METHOD_NOT_ALLOWED => (
                "method_not_allowed",
                "this path does not take this method: see `allow`",
            ),
            StatusCode::REQUEST_TIMEOUT => ("timed_out", "the request did not arrive in time"),
            StatusCode::LENGTH_REQUIRED => ("length_required", "the body's length is not said"),
            StatusCode::PAYLOAD_TOO_LARGE => ("too_large", "the body is larger than what is taken here"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => ("unsupported_media_type", "the body is of another type"),
            StatusCode::UNPROCESSABLE_ENTITY => ("bad_body", "the body cannot be read"),
            _ => return None,
        };
        let detail = if words.trim().is_empty() {
            otherwise
        } else {
            words.trim()
        };
        Some(Self::new(status, code, detail))
    }
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }
    /// 400: a parameter or body that cannot be read.
    pub(crate) fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }
    /// 401: nobody, or a token nobody holds.
    pub(crate) fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "a valid bearer token or session is needed (onemap token create --role viewer)",
        )
    }
    /// 401: a bearer token that has ended by itself.
    pub(crate) fn expired(at: Timestamp) -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "token_expired",
            format!("this token has ended at {at}: whoever made it makes another (onemap token create)"),
        )
    }
    /// 401 at a door that takes another credential than the API's: `detail` says which and where, `scheme` names it
    /// in the head.
    pub(crate) fn wrong_credential(scheme: &'static str, detail: impl Into<String>) -> Self {
        Self {
            scheme,
            ..Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
        }
    }
    /// 401 with a reason of its own.
    pub(crate) fn unauthorized_by(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, detail)
    }
    /// 403: known, but not allowed.
    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }
    /// 403 with a reason of its own.
    pub(crate) fn forbidden_by(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, detail)
    }
    /// 404.
    pub(crate) fn not_found(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }
    /// 409: the thing is in another state than the request needs.
    pub(crate) fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }
    /// The same with its words in Chinese beside the English ones.
    pub(crate) fn in_chinese(mut self, detail: impl Into<String>) -> Self {
        let said: String = detail.into();
        self.extra.push(("detail_zh", clipped(&said).into_owned().into()));
        self
    }
    /// 413: larger than what is taken at once.
    pub(crate) fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
    }
    /// 408: what was waited for did not come in time.
    pub(crate) fn timed_out(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "timed_out", detail)
    }
    /// 429: the caller's share is used up for now.
    pub(crate) fn too_many_requests(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, code, detail)
    }
    /// 429 that says how long to wait, in whole seconds.
    pub(crate) fn too_soon(code: &'static str, detail: impl Into<String>, wait: std::time::Duration) -> Self {
        let seconds = wait.as_secs_f64().ceil().max(1.0) as u64;
        Self {
            extra: vec![(RETRY_AFTER_S, seconds.into())],
            ..Self::too_many_requests(code, detail)
        }
    }
    /// 422: readable, but not right; `errors` lists each fault.
    pub(crate) fn unprocessable(code: &'static str, detail: impl Into<String>, mut errors: Value) -> Self {
        clip_texts(&mut errors);
        Self {
            extra: vec![("errors", errors)],
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
        }
    }
    /// 507: the disk has no room for it.
    pub(crate) fn no_room(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INSUFFICIENT_STORAGE, "no_room", detail)
    }
    /// 503: the journal cannot take it now; nothing was kept, try again.
    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
    }
    /// 503 with a reason of its own.
    pub(crate) fn unavailable_by(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail)
    }
    /// 502: another server that this one asked did not answer as it should.
    pub(crate) fn bad_gateway(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, "bad_gateway", detail)
    }
    /// 503 while the history's engine does not answer in full, 501 for what it has no way to answer.
    pub(crate) fn store(error: &StoreError) -> Self {
        match error {
            StoreError::Busy { .. } | StoreError::Unavailable { .. } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "history_unavailable",
                format!("values before the embedded span come from another engine: {error}"),
            ),
            StoreError::Unsupported { .. } => Self::new(
                StatusCode::NOT_IMPLEMENTED,
                "history_unsupported",
                error.to_string(),
            ),
            StoreError::History(error) => Self::history(error),
            error => Self::internal(error),
        }
    }
    /// 503 while the history is opened again after a write that failed, else 500.
    pub(crate) fn history(error: &HistoryError) -> Self {
        match error {
            HistoryError::Closed => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "history_unavailable",
                error.to_string(),
            ),
            _ => Self::internal(error),
        }
    }
    /// 500, logged with its whole chain; the client sees only that it happened.
    pub(crate) fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut chain = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            chain = format!("{chain}: {cause}");
            source = cause.source();
        }
        tracing::error!(error = %chain, "a request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the server could not answer; its log says why",
        )
    }
}

/// Says of each fault in a list no more than [`clipped`] does.
fn clip_texts(value: &mut Value) {
    match value {
        Value::String(text) => *text = clipped(text).into_owned(),
        Value::Array(all) => all.iter_mut().for_each(clip_texts),
        Value::Object(all) => all.values_mut().for_each(clip_texts),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Makes a problem document of what the router itself answers (no such method, a path that cannot be read): everybody
/// reads one kind of error. Answers that have a type of their own stay as they are.
pub(crate) async fn of_router(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let is_plain = match response.headers().get(header::CONTENT_TYPE) {
        None => true,
        Some(kind) => kind.as_bytes().starts_with(b"text/plain"),
    };
    if !is_plain || Problem::plain(response.status(), "").is_none() {
        return response;
    }
    let (parts, body) = response.into_parts();
    // An answer that breaks off, or is longer than any word of the router, leaves the status to speak.
    let words = to_bytes(body, MAX_WORDS).await.unwrap_or_default();
    let words = String::from_utf8_lossy(&words);
    let Some(problem) = Problem::plain(parts.status, &words) else {
        return parts.status.into_response();
    };
    let mut answer = problem.into_response();
    for (name, value) in &parts.headers {
        if ![header::CONTENT_TYPE, header::CONTENT_LENGTH].contains(name) {
            answer.headers_mut().append(name, value.clone());
        }
    }
    answer
}

/// A refused or failed query in the shape that Prometheus's clients read.
impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let status = match self.kind {
            FaultKind::BadData => StatusCode::BAD_REQUEST,
            FaultKind::Execution => StatusCode::UNPROCESSABLE_ENTITY,
            FaultKind::Timeout | FaultKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            FaultKind::Forbidden => StatusCode::FORBIDDEN,
            FaultKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let body = json!({"status": "error", "errorType": self.kind.name(), "error": clipped(&self.text)});
        (status, Json(body)).into_response()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("error"),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
        });
        let stated = self.extra.iter().find(|(name, _)| *name == RETRY_AFTER_S);
        let wait = match stated {
            Some((_, seconds)) => HeaderValue::from_str(&seconds.to_string()).ok(),
            None if [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS]
                .contains(&self.status) =>
            {
                Some(HeaderValue::from_static("2"))
            }
            None => None,
        };
        for (name, value) in self.extra {
            body[name] = value;
        }
        let scheme = self.scheme;
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
        }
        if let Some(wait) = wait {
            headers.insert(header::RETRY_AFTER, wait);
        }
        response
    }
}
