//! Readings in over HTTP, and series out: latest, raw and stepped.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};
use onemap_model::scope::Permission;
use onemap_model::{DeviceId, DivisionCode, Quality, Quantity, Refusal, Scope, SeriesKey, Timestamp};
use onemap_store::history::{Agg, SeriesId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::api::keep::Arrived;
use crate::api::rows::{self, More, Rows, Turns};
use crate::api::{limit, time};
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::{Bbox, Params, Unread, parse_step};
use crate::views::{Views, condition_name, quality_names};

const POISON: &str = "no holder of this lock panics";
const DAY: Duration = Duration::from_secs(86_400);
/// Steps of one stepped answer.
const MAX_STEPS: i64 = 100_000;

/// Only what the door must know; the pipeline decodes the rest.
#[derive(Deserialize)]
struct Posted<'a> {
    device: String,
    #[serde(borrow)]
    readings: Vec<&'a serde_json::value::RawValue>,
}

/// Device and number of readings, of JSON or (by its first byte) CBOR.
fn posted(body: &[u8]) -> Result<(String, usize), (Refusal, String)> {
    if onemap_wire::cbor::is_cbor(body) {
        let (device, n) = onemap_wire::native::cbor::posted(body)
            .map_err(|broken| (Refusal::BrokenCbor, broken.to_string()))?;
        let device = device.ok_or((Refusal::WrongShape, "missing field `device`".to_owned()))?;
        return Ok((device, n));
    }
    match serde_json::from_slice::<Posted<'_>>(body) {
        Ok(posted) => Ok((posted.device, posted.readings.len())),
        Err(fault) => Err((Refusal::BrokenJson, fault.to_string())),
    }
}

/// Keeps posted readings; the answer comes when they are durable. What single readings are worth is
/// decided by the pipeline: refused ones are in the quarantine.
pub(crate) async fn post(
    State(views): State<Arc<Views>>,
    ConnectInfo(peer): ConnectInfo<std::net::SocketAddr>,
    caller: Caller,
    body: Unread,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let scope = caller.require(Permission::WriteReadings)?;
    let body = body.read().await?;
    let peer = peer.to_string();
    let mut arrived = Arrived {
        device: "",
        peer: &peer,
        topic: onemap_wire::decode::HTTP_READINGS,
        payload: &body,
    };
    // A body that cannot be read is refused by its status, counted, and its first bytes are kept.
    let (device, n_readings) = match posted(&body) {
        Ok(posted) => posted,
        Err((refusal, detail)) => {
            arrived.refuse(&views, refusal, &detail).await?;
            return Err(Problem::bad_request("bad_body", detail));
        }
    };
    let device = views
        .device(scope, &device)
        .ok_or_else(|| Problem::not_found("unknown_device", format!("no device is called `{device}`")))?;
    arrived.device = device.id.as_str();
    let position = arrived.keep(&views).await?;
    Ok((
        StatusCode::ACCEPTED,
        Json(json!({"position": position, "readings": n_readings})),
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LatestQuery {
    division: Option<DivisionCode>,
    kind: Option<String>,
    bbox: Option<String>,
    device: Option<String>,
    quantity: Option<Quantity>,
    limit: Option<usize>,
    after: Option<u32>,
}

/// One row of the latest values. The members stand by their names, as in every other answer.
#[derive(Serialize)]
struct LatestRow<'a> {
    ch: u16,
    device: &'a DeviceId,
    division: Option<&'a DivisionCode>,
    kind: &'a str,
    measured_at: Timestamp,
    quality: Vec<&'static str>,
    quantity: Quantity,
    received_at: Timestamp,
    series: u32,
    stale: bool,
    state: &'static str,
    unit: &'a str,
    value: &'a onemap_model::Value,
}

pub(crate) async fn latest(
    State(views): State<Arc<Views>>,
    Extension(turns): Extension<Turns>,
    caller: Caller,
    Params(query): Params<LatestQuery>,
) -> Result<Response, Problem> {
    let scope = caller.require(Permission::View)?.clone();
    let bbox = query.bbox.as_deref().map(Bbox::parse).transpose()?;
    let limit = limit(query.limit, super::MAX_LIMIT)?;
    let now = views.now();
    let position = views.progress.borrow().applied;
    let around = (
        format!("\"as_of\":{},", json!(now)),
        format!(",\"position\":{position}"),
    );
    let mut values = None;
    let mut last = None;
    let piece = move |views: &Views, n: usize, rows: &mut Rows| {
        let values = values.get_or_insert_with(|| views.latest.snapshot_all().into_iter());
        let register = views.register.read().expect(POISON);
        let seen = views.seen.read().expect(POISON);
        let watch = views.watch.read().expect(POISON);
        for _ in 0..n {
            let Some((id, latest)) = values.next() else {
                return More::No(None);
            };
            if query.after.is_some_and(|after| id.0 <= after) {
                continue;
            }
            let Some(key) = views.history.series_key(id) else {
                continue;
            };
            let asked = register.asked_for(
                &scope,
                &key.device,
                query.division.as_ref(),
                query.kind.as_deref(),
            );
            let Some((device, division)) = asked else {
                continue;
            };
            let wanted = query.device.as_deref().is_none_or(|d| key.device.as_str() == d)
                && query.quantity.is_none_or(|q| key.quantity == q)
                && bbox.is_none_or(|b| device.position.is_some_and(|p| b.holds(p.lon(), p.lat())));
            if !wanted {
                continue;
            }
            if rows.is_full() {
                return More::No(last.map(|last: u32| last.to_string()));
            }
            let heard = seen.get(&key.device).copied();
            let stale = Views::series_stale(&watch, &key, register.cadence_s(device), heard, now);
            let state = Views::shown(views.condition(id), stale);
            rows.push(&LatestRow {
                ch: key.channel,
                device: &key.device,
                division,
                kind: &device.kind,
                measured_at: latest.measured_at,
                quality: quality_names(latest.quality),
                quantity: key.quantity,
                received_at: latest.received_at,
                series: id.0,
                stale,
                state: condition_name(state),
                unit: &key.quantity.definition().unit,
                value: &latest.value,
            });
            last = Some(id.0);
        }
        More::Yes
    };
    Ok(rows::answer(views, turns, limit, around, piece))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SeriesQuery {
    device: Option<String>,
    quantity: Option<Quantity>,
    limit: Option<usize>,
    after: Option<u32>,
}

fn visible(views: &Views, scope: &Scope, key: &SeriesKey) -> bool {
    views.device(scope, key.device.as_str()).is_some()
}

/// One row of the series.
#[derive(Serialize)]
struct SeriesRow<'a> {
    ch: u16,
    device: &'a DeviceId,
    first: Timestamp,
    id: u32,
    last: Timestamp,
    quantity: Quantity,
    unit: &'a str,
}

pub(crate) async fn series(
    State(views): State<Arc<Views>>,
    Extension(turns): Extension<Turns>,
    caller: Caller,
    Params(query): Params<SeriesQuery>,
) -> Result<Response, Problem> {
    let scope = caller.require(Permission::View)?.clone();
    let limit = limit(query.limit, 1000)?;
    let mut all = None;
    let mut last = None;
    let piece = move |views: &Views, n: usize, rows: &mut Rows| {
        let all = all.get_or_insert_with(|| views.history.all_series().into_iter());
        for _ in 0..n {
            let Some(info) = all.next() else {
                return More::No(None);
            };
            let wanted = query.after.is_none_or(|after| info.id.0 > after)
                && query
                    .device
                    .as_deref()
                    .is_none_or(|d| info.key.device.as_str() == d)
                && query.quantity.is_none_or(|q| info.key.quantity == q)
                && visible(views, &scope, &info.key);
            if !wanted {
                continue;
            }
            if rows.is_full() {
                return More::No(last.map(|last: u32| last.to_string()));
            }
            rows.push(&SeriesRow {
                ch: info.key.channel,
                device: &info.key.device,
                first: info.first,
                id: info.id.0,
                last: info.last,
                quantity: info.key.quantity,
                unit: &info.key.quantity.definition().unit,
            });
            last = Some(info.id.0);
        }
        More::Yes
    };
    Ok(rows::answer(views, turns, limit, Default::default(), piece))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ValuesQuery {
    from: Option<String>,
    to: Option<String>,
    step: Option<String>,
    agg: Option<String>,
    limit: Option<usize>,
    after: Option<String>,
    #[serde(default)]
    revisions: bool,
    known_at: Option<String>,
    quality: Option<String>,
}

/// Which marks a value may carry to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marks {
    Any,
    /// None that says something about what was measured; late, resent and revised values are good.
    Good,
    Judgeable,
    With(Quality),
    Without(Quality),
}

impl Marks {
    /// `good`, `judgeable`, the name of a mark, or that name after `!`.
    pub(crate) fn parse(text: Option<&str>) -> Result<Self, Problem> {
        let named = |name: &str| {
            Quality::named(name).ok_or_else(|| {
                Problem::bad_request(
                    "bad_quality",
                    format!("quality={name}: use good, judgeable, a mark like suspect, or !suspect"),
                )
            })
        };
        Ok(match text {
            None => Self::Any,
            Some("good") => Self::Good,
            Some("judgeable") => Self::Judgeable,
            Some(name) => match name.strip_prefix('!') {
                Some(name) => Self::Without(named(name)?),
                None => Self::With(named(name)?),
            },
        })
    }
    pub(crate) fn takes(self, quality: Quality) -> bool {
        const HARMLESS: Quality =
            Quality(Quality::RESENT.0 | Quality::REVISED.0 | Quality::BACKFILL.0 | Quality::STAMPED_HERE.0);
        match self {
            Self::Any => true,
            Self::Good => quality.without(HARMLESS) == Quality::GOOD,
            Self::Judgeable => quality.judgeable(),
            Self::With(mark) => quality.has(mark),
            Self::Without(mark) => !quality.has(mark),
        }
    }
}

#[derive(Serialize)]
struct StepRow {
    n: u64,
    t: Timestamp,
    v: Option<f64>,
}

#[derive(Serialize)]
struct VersionRow {
    position: Option<u64>,
    quality: Vec<&'static str>,
    received_at: Timestamp,
    t: Timestamp,
    v: onemap_model::Value,
}

#[derive(Serialize)]
struct PointRow {
    quality: Vec<&'static str>,
    t: Timestamp,
    v: onemap_model::Value,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Items {
    Steps(Vec<StepRow>),
    Versions(Vec<VersionRow>),
    Points(Vec<PointRow>),
}

/// What a series holds, as it is answered.
#[derive(Serialize)]
struct Page {
    from: Timestamp,
    items: Items,
    next: Option<String>,
    series: Value,
    to: Timestamp,
}

impl Page {
    fn written(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("pages have text keys only")
    }
}

pub(crate) async fn values(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<u32>,
    Params(query): Params<ValuesQuery>,
) -> Result<Response, Problem> {
    let scope = caller.require(Permission::View)?;
    let id = SeriesId(id);
    let unknown = || Problem::not_found("unknown_series", format!("no series has the id {}", id.0));
    let key = views.history.series_key(id).ok_or_else(unknown)?;
    if !visible(&views, scope, &key) {
        return Err(unknown());
    }
    let now = views.now();
    let to = query
        .to
        .as_deref()
        .map_or(Ok(now + Duration::from_secs(1)), |t| time("to", t))?;
    let from = query
        .from
        .as_deref()
        .map_or(Ok(to.saturating_sub(DAY)), |t| time("from", t))?;
    if from > to {
        return Err(Problem::bad_request("bad_range", "from is after to"));
    }
    let info = json!({"id": id.0, "device": key.device, "quantity": key.quantity, "ch": key.channel,
                      "unit": key.quantity.definition().unit});
    let page = move |items: Items, next| Page {
        from,
        items,
        next,
        series: info,
        to,
    };
    let marks = Marks::parse(query.quality.as_deref())?;
    if let Some(step) = &query.step {
        if marks != Marks::Any {
            return Err(Problem::bad_request(
                "bad_quality",
                "quality= chooses single values; a step takes all of them",
            ));
        }
        let step = parse_step(step)?;
        let agg = agg(query.agg.as_deref())?;
        if (to - from) / step.as_millis() as i64 > MAX_STEPS {
            return Err(Problem::bad_request(
                "too_many_steps",
                format!("more than {MAX_STEPS} steps; take a longer one"),
            ));
        }
        let made = blocking(views, move |views| {
            let steps = views.history.downsample(id, from, to, step, agg)?;
            let items = steps.iter().map(|s| StepRow {
                n: s.n,
                t: s.start,
                v: s.value,
            });
            Ok(page(Items::Steps(items.collect()), None).written())
        });
        return made.await.map(rows::json);
    }
    let limit = limit(query.limit, super::MAX_LIMIT)?;
    let after = query.after.as_deref().map(|t| time("after", t)).transpose()?;
    let known_at = query
        .known_at
        .as_deref()
        .map(|t| time("known_at", t))
        .transpose()?;
    let from = after.map_or(from, |after| from.max(after + Duration::from_millis(1)));
    if query.revisions {
        let made = blocking(views, move |views| {
            let versions = views.history.versions(id, from, to)?;
            let items = versions
                .into_iter()
                .filter(|v| {
                    known_at.is_none_or(|known_at| v.received_at <= known_at) && marks.takes(v.quality)
                })
                .map(|v| VersionRow {
                    position: v.position,
                    quality: quality_names(v.quality),
                    received_at: v.received_at,
                    t: v.measured_at,
                    v: v.value,
                });
            Ok(page(Items::Versions(items.collect()), None).written())
        });
        return made.await.map(rows::json);
    }
    let made = blocking(views, move |views| {
        let mut items = Vec::new();
        let mut last = from;
        let mut more = false;
        let mut take = |point: onemap_store::history::Point| {
            if !marks.takes(point.quality) {
                return ControlFlow::Continue(());
            }
            if items.len() == limit {
                more = true;
                return ControlFlow::Break(());
            }
            last = point.measured_at;
            items.push(PointRow {
                quality: quality_names(point.quality),
                t: point.measured_at,
                v: point.value,
            });
            ControlFlow::Continue(())
        };
        match known_at {
            None => views.history.scan(id, from, to, &mut take)?,
            Some(known_at) => views.history.scan_known_at(id, from, to, known_at, &mut take)?,
        }
        Ok(page(Items::Points(items), more.then(|| last.ms().to_string())).written())
    });
    made.await.map(rows::json)
}

fn agg(name: Option<&str>) -> Result<Agg, Problem> {
    Ok(match name.unwrap_or("mean") {
        "mean" => Agg::Mean,
        "min" => Agg::Min,
        "max" => Agg::Max,
        "sum" => Agg::Sum,
        "count" => Agg::Count,
        "first" => Agg::First,
        "last" => Agg::Last,
        other => {
            return Err(Problem::bad_request(
                "bad_agg",
                format!("agg={other}: use mean, min, max, sum, count, first or last"),
            ));
        }
    })
}

/// Runs a disk read away from the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    views: Arc<Views>,
    read: impl FnOnce(&Views) -> Result<T, onemap_store::history::HistoryError> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(move || read(&views)).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Problem::internal(&error)),
        Err(error) => Err(Problem::internal(&error)),
    }
}
