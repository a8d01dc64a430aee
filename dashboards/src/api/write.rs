//! InfluxDB's write calls: line protocol at `/api/v2/write` and, as 1.x has it, at `/write`.
//!
//! Answers are InfluxDB's, because its clients read them: 204 when everything is durable; 400 with the first
//! bad lines when some were not taken (the good ones are kept). What is said here is checked again by the
//! pipeline, which quarantines the lines that were not taken, and refuses for ranges, ages and the like what was
//! acknowledged here: the header `onemap-position` says by which position the quarantine has it.

use std::io::Read as _;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use foldhash::{HashMap, HashMapExt as _};
use onemap_model::scope::Permission;
use onemap_model::{Device, ProfileId, Refusal, Scope};
use onemap_wire::Profile;
use onemap_wire::line::{Params, Precision, Reader};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::keep::Arrived;
use crate::error::{Problem, clipped};
use crate::request::Unread;
use crate::views::Views;

/// Largest body, before and after it is unpacked.
pub(crate) const MAX_BODY: usize = 8 << 20;
/// Bad lines that one answer spells out.
const N_SAID: usize = 5;

/// Whose error texts are spoken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    V1,
    V2,
}

impl Dialect {
    fn fail(self, status: StatusCode, code: &str, message: &str, line: Option<usize>) -> Response {
        let message = clipped(message);
        let body = match self {
            Dialect::V1 => json!({"error": message}),
            Dialect::V2 => {
                let mut body = json!({"code": code, "message": message});
                if let Some(line) = line {
                    body["line"] = line.into();
                }
                body
            }
        };
        let mut response = (status, Json(body)).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        response
    }
    fn invalid(self, message: &str) -> Response {
        self.fail(StatusCode::BAD_REQUEST, "invalid", message, None)
    }
    fn unauthorized(self) -> Response {
        let message =
            "unauthorized access: a device's token, or an access token that may write readings, is needed";
        let mut response = self.fail(StatusCode::UNAUTHORIZED, "unauthorized", message, None);
        let basic = HeaderValue::from_static("Token");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, basic);
        response
    }
    /// A body that could not be read.
    fn unread(self, problem: &Problem) -> Response {
        let code = match problem.status() {
            StatusCode::PAYLOAD_TOO_LARGE => "request too large",
            _ => "invalid",
        };
        self.fail(problem.status(), code, problem.detail(), None)
    }
    fn unavailable(self) -> Response {
        let message = "the journal cannot take it now; nothing was kept, try again";
        self.fail(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message, None)
    }
}

/// Parameters of both calls; organisation, bucket, database and the like mean nothing here.
#[derive(Default, Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    precision: String,
    /// Password of 1.x: the token.
    #[serde(default)]
    p: Option<String>,
    /// Statement of 1.x.
    #[serde(default)]
    q: Option<String>,
}

/// Who writes.
enum Writer {
    Device(Arc<Device>),
    Scope(Scope),
}

fn tokens<'a>(headers: &'a HeaderMap, asked: &'a Asked) -> Vec<String> {
    let mut tokens = Vec::new();
    let text = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    if let Some((scheme, rest)) = text.and_then(|text| text.split_once(' ')) {
        let rest = rest.trim();
        // 1.x says `user:password`, where the password is the token.
        let mut add = |text: &str| {
            tokens.push(text.to_owned());
            if let Some((_, password)) = text.split_once(':') {
                tokens.push(password.to_owned());
            }
        };
        if scheme.eq_ignore_ascii_case("token") || scheme.eq_ignore_ascii_case("bearer") {
            add(rest);
        } else if scheme.eq_ignore_ascii_case("basic")
            && let Ok(decoded) = STANDARD.decode(rest)
            && let Ok(text) = String::from_utf8(decoded)
        {
            add(&text);
        }
    }
    tokens.extend(asked.p.clone());
    tokens
}

#[expect(
    clippy::result_large_err,
    reason = "an answer is made once a request and moved once"
)]
fn writer(views: &Views, headers: &HeaderMap, asked: &Asked, dialect: Dialect) -> Result<Writer, Response> {
    for token in tokens(headers, asked) {
        if let Some(id) = views.keys.device(&token) {
            let register = views.register.read().map_err(|_| dialect.unavailable())?;
            if let Some(device) = register.view.devices.get(&id) {
                return Ok(Writer::Device(device.clone()));
            }
        }
        if let Some(scope) = views.keys.access(&token) {
            if scope.may(Permission::WriteReadings) {
                return Ok(Writer::Scope(scope));
            }
            let message = format!("the role {} may not write readings", scope.role.name());
            return Err(dialect.fail(StatusCode::FORBIDDEN, "forbidden", &message, None));
        }
    }
    views.counters.refuse(Refusal::WrongToken);
    Err(dialect.unauthorized())
}

/// `/api/v2/write`.
pub(crate) async fn v2(
    State(views): State<Arc<Views>>,
    ConnectInfo(peer): ConnectInfo<std::net::SocketAddr>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    body: Unread,
) -> Response {
    let mut kept = None;
    let written = write(&views, peer, &asked, &headers, body, (Dialect::V2, &mut kept)).await;
    taken(written, kept)
}

/// `/write` of 1.x.
pub(crate) async fn v1(
    State(views): State<Arc<Views>>,
    ConnectInfo(peer): ConnectInfo<std::net::SocketAddr>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    body: Unread,
) -> Response {
    let mut kept = None;
    let written = write(&views, peer, &asked, &headers, body, (Dialect::V1, &mut kept)).await;
    taken(written, kept)
}

/// Where the body stands in the journal: what is refused of it later is in the quarantine by that.
const POSITION: HeaderName = HeaderName::from_static("onemap-position");

fn taken(written: Result<(), Response>, kept: Option<u64>) -> Response {
    let mut response = match written {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(response) => response,
    };
    response
        .headers_mut()
        .extend(kept.map(|position| (POSITION, HeaderValue::from(position))));
    response
}

async fn write(
    views: &Arc<Views>,
    peer: std::net::SocketAddr,
    asked: &Asked,
    headers: &HeaderMap,
    body: Unread,
    (dialect, kept): (Dialect, &mut Option<u64>),
) -> Result<(), Response> {
    // Before the body is read: who holds no token fills no memory.
    let writer = writer(views, headers, asked, dialect)?;
    let precision = Precision::named(&asked.precision)
        .ok_or_else(|| dialect.invalid(&format!("precision `{}` is not known", asked.precision)))?;
    let body = body.read().await.map_err(|problem| dialect.unread(&problem))?;
    let peer = peer.to_string();
    let (device, division, departments) = match &writer {
        Writer::Device(device) => (device.id.as_str(), None, &[][..]),
        Writer::Scope(scope) => (
            "",
            scope.division.as_ref().map(|d| d.as_str()),
            &scope.departments[..],
        ),
    };
    let params = Params {
        precision,
        division,
        departments: departments.to_vec(),
        tags: views.line_tags.iter().map(String::as_str).collect(),
    };
    let topic = params.topic();
    let mut arrived = Arrived {
        device,
        peer: &peer,
        topic: &topic,
        payload: &body,
    };
    let unpacked = match headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"identity") => body.clone(),
        Some(b"gzip") => match unpack(body.clone()).await {
            Ok(unpacked) => unpacked,
            Err((status, message)) => {
                let refusal = match status {
                    StatusCode::PAYLOAD_TOO_LARGE => Refusal::OverSize,
                    _ => Refusal::BrokenLine,
                };
                let noted = arrived.refuse(views, refusal, message).await;
                noted.map_err(|_| dialect.unavailable())?;
                return Err(dialect.fail(status, "invalid", message, None));
            }
        },
        Some(_) => return Err(dialect.invalid("a body is plain or packed with gzip")),
    };
    arrived.payload = &unpacked;
    let judged = judge(views, &writer, &params, &unpacked);
    if judged.n_lines > 0 {
        // A problem here is the journal's: full, failed or stopping.
        let position = arrived.keep(views).await;
        *kept = Some(position.map_err(|_: Problem| dialect.unavailable())?);
    }
    if let Some(first) = judged.mistimed() {
        let message = format!(
            "{0} of {0} lines not taken: counted in `{1}` every timestamp lies outside the years 1990 to 2100; is `precision` right?",
            judged.n_lines,
            precision.name()
        );
        return Err(dialect.fail(StatusCode::BAD_REQUEST, "invalid", &message, Some(first)));
    }
    let Some((first, _)) = judged.bad.first() else {
        return Ok(());
    };
    let said: Vec<&str> = judged.bad.iter().map(|(_, text)| text.as_str()).collect();
    let message = format!(
        "partial write: {} of {} lines not taken: {}{}",
        judged.n_bad,
        judged.n_lines,
        said.join("; "),
        if judged.n_bad > said.len() { "; …" } else { "" },
    );
    Err(dialect.fail(StatusCode::BAD_REQUEST, "invalid", &message, Some(*first)))
}

/// Unpacks gzip, bounded: a small body can claim to be a very large one.
async fn unpack(body: Bytes) -> Result<Bytes, (StatusCode, &'static str)> {
    let unpack = move || {
        let mut out = Vec::new();
        let mut reader = flate2::read::MultiGzDecoder::new(&body[..]).take(MAX_BODY as u64 + 1);
        match reader.read_to_end(&mut out) {
            Ok(_) if out.len() > MAX_BODY => {
                Err((StatusCode::PAYLOAD_TOO_LARGE, "the unpacked body is over 8 MiB"))
            }
            Ok(_) => Ok(out.into()),
            Err(_) => Err((StatusCode::BAD_REQUEST, "the body is not gzip")),
        }
    };
    tokio::task::spawn_blocking(unpack)
        .await
        .unwrap_or(Err((StatusCode::SERVICE_UNAVAILABLE, "the server is stopping")))
}

#[derive(Default)]
struct Judged {
    n_lines: usize,
    n_bad: usize,
    /// The first few: line and what is wrong with it.
    bad: Vec<(usize, String)>,
    /// The first line whose stamp is of another precision, as it looks.
    unlikely: Option<usize>,
    /// A line has a stamp of the request's precision, or none.
    has_likely: bool,
}

impl Judged {
    fn stamp(&mut self, line: usize, stamp: Option<i64>, precision: Precision) {
        match stamp {
            Some(stamp) if !precision.is_likely(stamp) => {
                self.unlikely.get_or_insert(line);
            }
            _ => self.has_likely = true,
        }
    }
    /// The first line, when not one stamp is of the request's precision.
    fn mistimed(&self) -> Option<usize> {
        self.unlikely.filter(|_| !self.has_likely)
    }
    fn bad(&mut self, line: usize, text: impl FnOnce() -> String) {
        self.n_bad += 1;
        if self.bad.len() < N_SAID {
            self.bad.push((line, text()));
        }
    }
}

/// What the pipeline will say of the lines: broken ones, those whose device is not there for the writer, and those
/// with a value that its quantity cannot hold. Ranges, ages and the like are the pipeline's alone.
fn judge(views: &Views, writer: &Writer, params: &Params<'_>, payload: &[u8]) -> Judged {
    let mut judged = Judged::default();
    let mut known: HashMap<String, Option<Arc<Device>>> = HashMap::new();
    let mut profiles = Profiles {
        views,
        read: HashMap::new(),
    };
    let mut reader = Reader::new(payload);
    while let Some((place, line)) = reader.next_line() {
        judged.n_lines += 1;
        let line = match line {
            Ok(line) => line,
            Err(bad) => {
                judged.bad(place.number, || bad.to_string());
                continue;
            }
        };
        judged.stamp(place.number, line.stamp, params.precision);
        let tagged = params.tags.iter().find_map(|tag| line.tag(tag));
        let found = match (writer, tagged) {
            (Writer::Device(device), _) if !device.is_gateway => Some(device),
            (Writer::Device(gateway), None) => Some(gateway),
            (Writer::Scope(_), None) => {
                judged.bad(place.number, || {
                    format!(
                        "line {}: no tag `{}` names a device",
                        place.number,
                        params.tags.join("`, `")
                    )
                });
                continue;
            }
            (writer, Some(name)) => {
                if !known.contains_key(name) {
                    let found = match writer {
                        Writer::Scope(scope) => views.device(scope, name),
                        Writer::Device(gateway) => spoken_for(views, gateway, name),
                    };
                    known.insert(name.to_owned(), found);
                }
                let found = known.get(name).and_then(Option::as_ref);
                if found.is_none() {
                    let shown: String = name.chars().take(64).collect();
                    judged.bad(place.number, || {
                        format!(
                            "line {}: no device is called `{}`",
                            place.number,
                            shown.escape_debug()
                        )
                    });
                }
                found
            }
        };
        let Some(device) = found else { continue };
        if let Some(fault) = line.fault(place.number, params.precision, || profiles.of(device)) {
            judged.bad(place.number, || fault.detail);
        }
    }
    judged
}

/// Profiles of one request's devices, read when a line asks for them.
struct Profiles<'v> {
    views: &'v Views,
    read: HashMap<ProfileId, Option<Profile>>,
}

impl Profiles<'_> {
    /// A device's profile; `None` also when it is not there, where the pipeline refuses all of its lines.
    fn of(&mut self, device: &Device) -> Option<&Profile> {
        let id = device.profile.as_ref()?;
        if !self.read.contains_key(id) {
            let text = self.views.register.read().ok()?.view.profiles.get(id)?.clone();
            self.read.insert(id.clone(), Profile::parse(id, &text).ok());
        }
        self.read.get(id)?.as_ref()
    }
}

/// The device of which a gateway's line speaks: itself or a child.
fn spoken_for(views: &Views, gateway: &Arc<Device>, name: &str) -> Option<Arc<Device>> {
    if name == gateway.id.as_str() {
        return Some(gateway.clone());
    }
    let register = views.register.read().ok()?;
    let child = register.view.child(gateway.id.as_str(), name)?;
    (!views.keys.is_revoked(&child.id)).then(|| child.clone())
}

/// `/query` of 1.x: clients make their database before they write; anything else is not answered here.
pub(crate) async fn query(
    State(views): State<Arc<Views>>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    body: Unread,
) -> Response {
    if let Err(response) = writer(&views, &headers, &asked, Dialect::V1) {
        return response;
    }
    let statement = match asked.q {
        Some(statement) => statement,
        None => match body.read().await {
            Ok(body) => String::from_utf8_lossy(&body).into_owned(),
            Err(problem) => return Dialect::V1.unread(&problem),
        },
    };
    let statement = statement.trim_start_matches("q=").replace(['+', '"'], " ");
    let mut words = statement.split_whitespace().map(str::to_ascii_uppercase);
    if (words.next().as_deref(), words.next().as_deref()) == (Some("CREATE"), Some("DATABASE")) {
        return Json(json!({"results": [{"statement_id": 0}]})).into_response();
    }
    Dialect::V1.invalid("only CREATE DATABASE is answered here; read by /api/v1/series or /prometheus")
}

/// `/ping`, which clients call before they write.
pub(crate) async fn ping() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let version = HeaderValue::from_static(concat!("v2-onemap-", env!("CARGO_PKG_VERSION")));
    response.headers_mut().insert("x-influxdb-version", version);
    response
        .headers_mut()
        .insert("x-influxdb-build", HeaderValue::from_static("onemap"));
    response
}

/// `/health` as InfluxDB 2 has it.
pub(crate) async fn health(State(views): State<Arc<Views>>) -> (StatusCode, Json<Value>) {
    let why = views.not_ready();
    let (status, word) = match why.is_empty() {
        true => (StatusCode::OK, "pass"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "fail"),
    };
    let message = match why.is_empty() {
        true => "ready for writes".to_owned(),
        false => why.join("; "),
    };
    let body = json!({"name": "influxdb", "message": message, "status": word, "checks": [],
                      "version": concat!("v2-onemap-", env!("CARGO_PKG_VERSION"))});
    (status, Json(body))
}
