//! The newest value of every series, by division, kind, box, device and quantity.

use std::ops::ControlFlow;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use onemap_ingest::admit::DeviceWatch;
use onemap_model::{Device, DeviceId, DivisionCode, Quantity, SeriesKey, Timestamp, Value};
use onemap_rules::Condition;
use onemap_store::history::SeriesId;
use onemap_store::latest::LatestValue;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::api::fences::newest_json;
use crate::api::query::shape::{Marked, Shape};
use crate::api::rows::{self, More, Rows, Turns};
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::{Bbox, Params};
use crate::views::{Pace, Seen, Views, condition_name, place_of, quality_names};

/// Series from which on a piece is made by two threads, half of it each.
const N_APART: usize = 1024;
/// Series that a piece in columns looks at: some two milliseconds, in which the fold may wait for a lock. A piece
/// costs its own wake-ups and a thread, as much as five hundred rows of it.
const N_IN_COLUMNS: usize = 16 << 10;

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
    /// Where its device is, when that says so itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    moved_to: Option<&'a serde_json::Value>,
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
    fn with_room(n: usize) -> Self {
        Self {
            series: Vec::with_capacity(n),
            t: Vec::with_capacity(n),
            v: Vec::with_capacity(n),
            state: Vec::with_capacity(n),
            quality: Marked::default(),
        }
    }
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
    pace: Pace,
    seen: Option<Seen>,
    moved_to: Option<serde_json::Value>,
    watched: Option<&'a DeviceWatch>,
}

/// A series that was asked for, as it is shown.
struct Shown<'a> {
    id: SeriesId,
    key: &'a SeriesKey,
    sender: &'a Sender<'a>,
    latest: LatestValue,
    stale: bool,
    state: Condition,
}

impl Shown<'_> {
    fn row(&self) -> LatestRow<'_> {
        LatestRow {
            ch: self.key.channel,
            device: &self.key.device,
            division: self.sender.division,
            kind: &self.sender.device.kind,
            measured_at: self.latest.measured_at,
            moved_to: self.sender.moved_to.as_ref(),
            quality: quality_names(self.latest.quality),
            quantity: self.key.quantity,
            received_at: self.latest.received_at,
            series: self.id.0,
            stale: self.stale,
            state: condition_name(self.state),
            unit: &self.key.quantity.definition().unit,
            value: &self.latest.value,
        }
    }
}

/// Whether two names are one: those of the series of a device are the same text in memory.
fn is_one(a: &DeviceId, b: &DeviceId) -> bool {
    std::ptr::eq(a.as_str(), b.as_str()) || a == b
}

/// The two halves of a list.
fn halves<T>(mut all: Vec<T>) -> (Vec<T>, Vec<T>) {
    let newer = all.split_off(all.len() / 2);
    (all, newer)
}

pub(crate) async fn latest(
    State(views): State<Arc<Views>>,
    Extension(turns): Extension<Turns>,
    caller: Caller,
    Params(query): Params<LatestQuery>,
) -> Result<Response, Problem> {
    let scope = caller.scope().clone();
    let bbox = query.bbox.as_deref().map(Bbox::parse).transpose()?;
    let limit = query.shape.limit(query.limit)?;
    let now = views.now();
    let position = views.progress.borrow().applied;
    let around = (
        format!("\"as_of\":{},", json!(now)),
        format!(",\"position\":{position}"),
    );
    let mut looked_at = query.after.map(SeriesId);
    let mut last = None;
    let piece = move |views: &Views, n: usize, rows: &mut Rows| {
        let n = match query.shape {
            Shape::Columns => N_IN_COLUMNS,
            Shape::Rows => n,
        };
        let values = views.latest.some_after(looked_at, n);
        let mut more = match values.last() {
            Some((id, _)) if values.len() == n => {
                looked_at = Some(*id);
                More::Yes
            }
            _ => More::No(None),
        };
        let register = views.register.read().expect(POISON);
        let seen = views.seen.read().expect(POISON);
        let watch = views.watch.read().expect(POISON);
        let moving = views.moving.read().expect(POISON);
        let names = views.history.numbers();
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
                    bbox.is_none_or(|b| place_of(&moving, device).is_some_and(|(lon, lat)| b.holds(lon, lat)))
                })
                .map(|(device, division)| Sender {
                    device,
                    division,
                    pace: register.pace(device),
                    seen: seen.get(id).copied(),
                    moved_to: moving.newest(id.as_str()).as_ref().map(newest_json),
                    watched: watch.of(id.as_str()),
                })
        };
        // Those that were asked for, in their order, until `take` says that there is no room.
        let each = |values: Vec<(SeriesId, LatestValue)>,
                    take: &mut dyn FnMut(Shown<'_>) -> ControlFlow<()>| {
            // The series of a device mostly stand together.
            let mut at_hand: Option<(&DeviceId, Option<Sender<'_>>)> = None;
            for (id, latest) in values {
                let Some(key) = names.key(id) else { continue };
                let sender = match &mut at_hand {
                    Some((device, sender)) if is_one(device, &key.device) => sender,
                    other => &mut other.insert((&key.device, sender(&key.device))).1,
                };
                let Some(sender) = sender else { continue };
                if query.quantity.is_some_and(|q| key.quantity != q) {
                    continue;
                }
                let stale = Views::series_stale(sender.watched, key, sender.pace, sender.seen, now);
                let condition = conditions.get(id.index()).copied().unwrap_or(Condition::Unknown);
                let shown = Shown {
                    id,
                    key,
                    sender,
                    latest,
                    stale,
                    state: Views::shown(condition, stale),
                };
                if take(shown).is_break() {
                    return;
                }
            }
        };
        if query.shape == Shape::Columns && (N_APART..=rows.n_left()).contains(&values.len()) {
            let columns_of = |values: Vec<(SeriesId, LatestValue)>| {
                let mut columns = LatestColumns::with_room(values.len());
                each(values, &mut |shown| {
                    columns.push(shown.id, shown.latest, shown.state);
                    ControlFlow::Continue(())
                });
                columns
            };
            let (older, newer) = halves(values);
            let newer = std::thread::scope(|scope| {
                let newer = scope.spawn(|| {
                    let columns = columns_of(newer);
                    rows::Block::of(&columns, columns.n())
                });
                let columns = columns_of(older);
                rows.push_block(&columns, columns.n());
                newer.join()
            });
            rows.push_made(newer.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            // All of these were looked at.
            last = looked_at.map(|id| id.0);
            return Ok(more);
        }
        let mut columns = LatestColumns::default();
        each(values, &mut |shown| {
            if rows.n_left() == columns.n() {
                more = More::No(last.map(|last: u32| last.to_string()));
                return ControlFlow::Break(());
            }
            last = Some(shown.id.0);
            match query.shape {
                Shape::Columns => columns.push(shown.id, shown.latest, shown.state),
                Shape::Rows => rows.push(&shown.row()),
            }
            ControlFlow::Continue(())
        });
        rows.push_block(&columns, columns.n());
        Ok(more)
    };
    rows::answer(views, turns.of_lists(), limit, around, piece).await
}
