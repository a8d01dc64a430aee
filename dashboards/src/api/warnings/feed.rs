//! The feed of what holds (`/feeds/cap.atom`) and each message (`/feeds/cap/{id}.xml`).
//!
//! A feed holds messages that are in force, newest first: no drafts, nothing that is over, replaced or cancelled, and
//! exercises and tests only where they are asked for. With `since` it holds all that was sent after that time,
//! cancellations too, so that who was away learns of them.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, body::Body};
use onemap_cap::feed::{Entry, Outgoing};
use onemap_cap::{Alert, FEED_MEDIA_TYPE, MEDIA_TYPE};
use onemap_model::{Belongs, Scope, Timestamp, WarningStanding};
use onemap_store::ledger::WarningMessage;
use serde::Deserialize;

use super::{POISON, now};
use crate::api::quarantine::read;
use crate::api::query::tag::{Tag, Tagging};
use crate::api::time;
use crate::error::Problem;
use crate::request::{NoParams, Params};
use crate::views::Views;

/// Messages of a feed of what was sent since a time.
const MOST_SINCE: usize = 100;
/// The year of tag URIs (RFC 4151): when the sender's name was the sender's. It stays.
const TAG_YEAR: &str = "2026";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    standing: Option<String>,
    since: Option<String>,
}

/// Who reads: everybody where the feed is public, else by the token.
enum Reader {
    Everybody,
    Of(Scope),
}

impl Reader {
    fn of(views: &Views, scope: Option<Extension<Scope>>) -> Result<Self, Problem> {
        match scope {
            _ if views.warnings.settings.public => Ok(Self::Everybody),
            Some(Extension(scope)) => Ok(Self::Of(scope)),
            None => Err(Problem::unauthorized()),
        }
    }
    fn sees(&self, thing: Belongs<'_>) -> bool {
        match self {
            Self::Everybody => true,
            Self::Of(scope) => scope.covers(thing),
        }
    }
}

fn standing(asked: Option<&str>) -> Result<WarningStanding, Problem> {
    match asked {
        None | Some("actual") => Ok(WarningStanding::Actual),
        Some("exercise") => Ok(WarningStanding::Exercise),
        Some("test") => Ok(WarningStanding::Test),
        Some(other) => {
            let text = format!("standing=`{other}`: actual, exercise or test");
            Err(Problem::bad_request("bad_standing", text))
        }
    }
}

/// Where others reach this server: as configured, else as the caller wrote it.
fn base(views: &Views, headers: &HeaderMap) -> String {
    if let Some(url) = &views.warnings.settings.url {
        return url.clone();
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let scheme = match text("x-forwarded-proto") {
        Some("https") => "https",
        _ => "http",
    };
    let is_host = |host: &&str| {
        let is_part =
            |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']');
        !host.is_empty() && host.bytes().all(is_part)
    };
    let host = text("host").filter(is_host).unwrap_or("localhost");
    format!("{scheme}://{host}")
}

/// Documents of a feed, and whatever is of it besides.
struct Chosen {
    documents: Vec<(String, Arc<str>)>,
    updated: Timestamp,
}

/// What holds.
fn in_force(views: &Views, reader: &Reader, standing: WarningStanding) -> Chosen {
    let now = now(views);
    let book = views.warnings.book.read().expect(POISON);
    let is_seen = |belongs| reader.sees(belongs);
    let held = book.active(now).into_iter().filter(|message| {
        message.standing == standing && is_seen(onemap_alerts::warnings::belongs(&message.content))
    });
    Chosen {
        documents: held.map(|m| (m.identifier.clone(), m.document.clone())).collect(),
        updated: book.changed_at(now),
    }
}

/// What was sent after a time, the newest first.
async fn sent_since(
    views: &Arc<Views>,
    reader: Reader,
    standing: WarningStanding,
    since: Timestamp,
) -> Result<Chosen, Problem> {
    let rows = read(views, move |views| {
        let mut all = views.ledger.warning_messages(None, 10 * MOST_SINCE)?;
        let is_wanted = |message: &WarningMessage| {
            message.sent > since
                && message.standing == standing.name()
                && reader.sees(Belongs::of(message.division.as_ref(), &message.department))
        };
        all.retain(is_wanted);
        all.truncate(MOST_SINCE);
        Ok(all)
    });
    let rows: Vec<WarningMessage> = rows.await?;
    let updated = rows.iter().map(|row| row.sent).max().unwrap_or(since);
    let document = |row: WarningMessage| (row.identifier, row.document.into());
    Ok(Chosen {
        documents: rows.into_iter().map(document).collect(),
        updated,
    })
}

/// `/feeds/cap.atom`.
pub(crate) async fn atom(
    State(views): State<Arc<Views>>,
    scope: Option<Extension<Scope>>,
    headers: HeaderMap,
    Params(query): Params<Query>,
) -> Result<Response, Problem> {
    let reader = Reader::of(&views, scope)?;
    let standing = standing(query.standing.as_deref())?;
    let since = query
        .since
        .as_deref()
        .map(|text| time("since", text))
        .transpose()?;
    let chosen = match since {
        None => in_force(&views, &reader, standing),
        Some(since) => sent_since(&views, reader, standing, since).await?,
    };
    let base = base(&views, &headers);
    let mut tagging = Tagging::new(&views, "cap.atom");
    tagging.text(&base);
    tagging.text(standing.name());
    tagging.text(&since.map(|since| since.to_string()).unwrap_or_default());
    tagging.text(&chosen.updated.to_string());
    chosen.documents.iter().for_each(|(name, _)| tagging.text(name));
    let (tag, last) = (tagging.tag(), http_date(chosen.updated));
    if is_known(&tag, &last, &headers) {
        return Ok(tag.unchanged());
    }
    let since = since.map(|since| since.ms().to_string());
    let body = written(&views, &base, standing, since.as_deref(), &chosen)?;
    Ok(answer(FEED_MEDIA_TYPE, body, &tag, &last))
}

fn written(
    views: &Views,
    base: &str,
    standing: WarningStanding,
    since: Option<&str>,
    chosen: &Chosen,
) -> Result<String, Problem> {
    let settings = &views.warnings.settings;
    let sender = settings
        .sender
        .as_ref()
        .map_or("onemap.invalid", |sender| &sender.name);
    let name = match settings.sender_name.as_str() {
        "" => sender,
        name => name,
    };
    let mut read = Vec::new();
    for (identifier, document) in &chosen.documents {
        let message = onemap_cap::read(document.as_bytes()).map_err(|error| Problem::internal(&error))?;
        let alert: Alert = message.alert;
        let id = format!("tag:{},{TAG_YEAR}:{identifier}", alert.sender);
        read.push((id, format!("{base}/feeds/cap/{identifier}.xml"), alert));
    }
    let entries: Vec<Entry<'_>> = read
        .iter()
        .map(|(id, href, alert)| Entry { id, href, alert })
        .collect();
    let (kind, title) = match standing {
        WarningStanding::Actual => ("warnings", format!("{name} 预警信息")),
        WarningStanding::Exercise => ("exercises", format!("{name} 演练信息")),
        WarningStanding::Test => ("tests", format!("{name} 测试信息")),
    };
    let mut asked = Vec::new();
    if standing != WarningStanding::Actual {
        asked.push(format!("standing={}", standing.name()));
    }
    asked.extend(since.map(|since| format!("since={since}")));
    let asked = match asked.is_empty() {
        true => String::new(),
        false => format!("?{}", asked.join("&")),
    };
    let feed = Outgoing {
        id: &format!("tag:{sender},{TAG_YEAR}:{kind}"),
        title: &title,
        author: name,
        self_href: &format!("{base}/feeds/cap.atom{asked}"),
        updated: chosen.updated,
        language: "zh-CN",
    };
    onemap_cap::feed::write(&feed, &entries).map_err(|error| Problem::internal(&error))
}

/// `/feeds/cap/{id}.xml`.
pub(crate) async fn document(
    State(views): State<Arc<Views>>,
    scope: Option<Extension<Scope>>,
    headers: HeaderMap,
    Path(file): Path<String>,
    _: NoParams,
) -> Result<Response, Problem> {
    let reader = Reader::of(&views, scope)?;
    let unknown = || {
        Problem::not_found(
            "unknown_message",
            format!("no message of ours is called `{file}`"),
        )
    };
    let name = file.strip_suffix(".xml").ok_or_else(unknown)?.to_owned();
    let row = read(&views, move |views| views.ledger.warning_message(&name));
    let row = row
        .await?
        .filter(|row| reader.sees(Belongs::of(row.division.as_ref(), &row.department)));
    let row = row.ok_or_else(unknown)?;
    let tag = Tag::of_answer(&row.identifier, row.document.as_bytes(), "");
    let last = http_date(row.sent);
    if is_known(&tag, &last, &headers) {
        return Ok(tag.unchanged());
    }
    Ok(answer(MEDIA_TYPE, row.document, &tag, &last))
}

/// Whether the asker has it: by its tag, where he names one, else by the very time that he was told.
fn is_known(tag: &Tag, last: &str, headers: &HeaderMap) -> bool {
    match headers.contains_key(header::IF_NONE_MATCH) {
        true => tag.is_known(headers),
        false => headers
            .get(header::IF_MODIFIED_SINCE)
            .is_some_and(|value| value.as_bytes() == last.as_bytes()),
    }
}

fn answer(kind: &'static str, body: String, tag: &Tag, last: &str) -> Response {
    let mut response = Body::from(body).into_response();
    tag.put(&mut response);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Ok(last) = HeaderValue::from_str(last) {
        headers.insert(header::LAST_MODIFIED, last);
    }
    response
}

/// A time as HTTP has it, the second that it is in.
fn http_date(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_millisecond(at.ms()).unwrap_or_default();
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
