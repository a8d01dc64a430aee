//! The newest value of every series, by division, kind, box, device and quantity.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use onemap_ingest::admit::DeviceWatch;
use onemap_model::scope::Permission;
use onemap_model::{Device, DeviceId, DivisionCode, Quantity, Timestamp, Value};
use onemap_rules::Condition;
use onemap_store::history::SeriesId;
use onemap_store::latest::LatestValue;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::api::query::shape::{Marked, Shape};
use crate::api::rows::{self, More, Rows, Turns};
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::{Bbox, Params};
use crate::views::{Seen, Views, condition_name, quality_names};

const POISON: &str = "no holder of this lock panics";

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
    #[serde(default)]
    shape: Shape,
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
    value: &'a Value,
}

/// A block of rows by columns.
#[derive(Default, Serialize)]
struct LatestColumns {
    series: Vec<u32>,
    /// Measured, milliseconds since 1970.
    t: Vec<i64>,
    v: Vec<Value>,
    state: Vec<&'static str>,
    quality: Marked,
}

impl LatestColumns {
    fn n(&self) -> usize {
        self.series.len()
    }
    fn push(&mut self, id: SeriesId, latest: LatestValue, state: Condition) {
        let row = self.n();
        self.quality.note(row, latest.quality);
        self.series.push(id.0);
        self.t.push(latest.measured_at.ms());
        self.v.push(latest.value);
        self.state.push(condition_name(state));
    }
}

/// What all series of a device share.
struct Sender<'a> {
    device: &'a Arc<Device>,
    division: Option<&'a DivisionCode>,
    cadence_s: u32,
    seen: Option<Seen>,
    watched: Option<&'a DeviceWatch>,
}

pub(crate) async fn latest(
    State(views): State<Arc<Views>>,
    Extension(turns): Extension<Turns>,
    caller: Caller,
    Params(query): Params<LatestQuery>,
) -> Result<Response, Problem> {
    let scope = caller.require(Permission::View)?.clone();
    let bbox = query.bbox.as_deref().map(Bbox::parse).transpose()?;
    let limit = query.shape.limit(query.limit)?;
    let now = views.now();
    let position = views.progress.borrow().applied;
    let around = (
        format!("\"as_of\":{},", json!(now)),
        format!(",\"position\":{position}"),
    );
    let mut values = None;
    let mut last = None;
    let piece = move |views: &Views, n: usize, rows: &mut Rows| {
        let values = values.get_or_insert_with(|| {
            let mut all = views.latest.snapshot_all();
            let after = query
                .after
                .map_or(0, |after| all.partition_point(|(id, _)| id.0 <= after));
            all.drain(..after);
            all.into_iter()
        });
        let register = views.register.read().expect(POISON);
        let seen = views.seen.read().expect(POISON);
        let watch = views.watch.read().expect(POISON);
        let conditions = views.conditions.read().expect(POISON);
        // `None` when its device was not asked for, or is none of the caller's.
        let sender = |id: &DeviceId| {
            let wanted = query.device.as_deref().is_none_or(|d| id.as_str() == d);
            let (division, kind) = (query.division.as_ref(), query.kind.as_deref());
            let asked = wanted
                .then(|| register.asked_for(&scope, id, division, kind))
                .flatten();
            asked
                .filter(|(device, _)| {
                    bbox.is_none_or(|b| device.position.is_some_and(|p| b.holds(p.lon(), p.lat())))
                })
                .map(|(device, division)| Sender {
                    device,
                    division,
                    cadence_s: register.cadence_s(device),
                    seen: seen.get(id).copied(),
                    watched: watch.of(id.as_str()),
                })
        };
        // The series of a device mostly stand together.
        let mut at_hand: Option<(DeviceId, Option<Sender<'_>>)> = None;
        let mut columns = LatestColumns::default();
        let mut more = More::Yes;
        for _ in 0..n {
            let Some((id, latest)) = values.next() else {
                more = More::No(None);
                break;
            };
            let Some(key) = views.history.series_key(id) else {
                continue;
            };
            let sender = match &mut at_hand {
                Some((device, sender)) if *device == key.device => sender,
                other => &mut other.insert((key.device.clone(), sender(&key.device))).1,
            };
            let Some(sender) = sender else { continue };
            if query.quantity.is_some_and(|q| key.quantity != q) {
                continue;
            }
            if rows.n_left() == columns.n() {
                more = More::No(last.map(|last: u32| last.to_string()));
                break;
            }
            last = Some(id.0);
            let stale = Views::series_stale(sender.watched, &key, sender.cadence_s, sender.seen, now);
            let condition = conditions.get(id.index()).copied().unwrap_or(Condition::Unknown);
            let state = Views::shown(condition, stale);
            if query.shape == Shape::Columns {
                columns.push(id, latest, state);
                continue;
            }
            rows.push(&LatestRow {
                ch: key.channel,
                device: &key.device,
                division: sender.division,
                kind: &sender.device.kind,
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
        }
        rows.push_block(&columns, columns.n());
        Ok(more)
    };
    rows::answer(views, turns.of_lists(), limit, around, piece).await
}
