//! Series, and what one of them holds: raw, reviewed, every version, or in steps.

mod judged;

use std::ops::ControlFlow;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use onemap_model::{DeviceId, DivisionCode, Quality, Quantity, Timestamp, Value};
use onemap_store::engine::StoreError;
use onemap_store::history::{SeriesId, Step, Version, Which};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::api::query::agg::{agg, looks_back};
use crate::api::query::basis::{self, Basis};
use crate::api::query::fill::{Fill, Filling};
use crate::api::query::kept::KeptRow;
use crate::api::query::marks::Marks;
use crate::api::query::page::Given;
use crate::api::query::shape::{Marked, Shape};
use crate::api::query::span::Span;
use crate::api::query::tag::Tagging;
use crate::api::query::walk::Chosen;
use crate::api::rows::{self, More, Rows, Turns};
use crate::api::{limit, time};
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::{Params, parse_step};
use crate::views::{Views, quality_names};

const POISON: &str = "no holder of this lock panics";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SeriesQuery {
    division: Option<DivisionCode>,
    kind: Option<String>,
    device: Option<String>,
    quantity: Option<Quantity>,
    limit: Option<usize>,
    after: Option<u32>,
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
    let scope = caller.scope().clone();
    let limit = limit(query.limit, 1000)?;
    let mut all = None;
    let mut last = None;
    let piece = move |views: &Views, n: usize, rows: &mut Rows| {
        let all = all.get_or_insert_with(|| views.history.all_series().into_iter());
        let register = views.register.read().expect(POISON);
        let (division, kind) = (query.division.as_ref(), query.kind.as_deref());
        for _ in 0..n {
            let Some(info) = all.next() else {
                return Ok(More::No(None));
            };
            let device = &info.key.device;
            let wanted = query.after.is_none_or(|after| info.id.0 > after)
                && query.device.as_deref().is_none_or(|d| device.as_str() == d)
                && query.quantity.is_none_or(|q| info.key.quantity == q)
                && register.asked_for(&scope, device, division, kind).is_some();
            if !wanted {
                continue;
            }
            if rows.is_full() {
                return Ok(More::No(last.map(|last: u32| last.to_string())));
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
        Ok(More::Yes)
    };
    rows::answer(views, turns.of_lists(), limit, Default::default(), piece).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ValuesQuery {
    from: Option<String>,
    to: Option<String>,
    step: Option<String>,
    agg: Option<String>,
    fill: Option<Fill>,
    max_gap: Option<String>,
    limit: Option<usize>,
    after: Option<String>,
    #[serde(default)]
    shape: Shape,
    #[serde(default)]
    revisions: bool,
    known_at: Option<String>,
    quality: Option<String>,
    basis: Option<Basis>,
}

impl ValuesQuery {
    /// Refuses what means nothing beside or without `step=`.
    fn check(&self) -> Result<(), Problem> {
        let without = [
            ("agg", self.agg.is_some()),
            ("fill", self.fill.is_some()),
            ("max_gap", self.max_gap.is_some()),
        ];
        let with = [
            ("limit", self.limit.is_some()),
            ("after", self.after.is_some()),
            ("revisions", self.revisions),
            ("shape", self.shape != Shape::Rows),
        ];
        if self.revisions && self.shape == Shape::Columns {
            let why = "revisions= lists every version as a row: leave shape= out";
            return Err(Problem::bad_request("bad_parameter", why));
        }
        if self.step.is_some() {
            Basis::of_one(self.basis, "steps are")?;
        }
        if self.revisions {
            Basis::only_raw(self.basis, "every version (revisions=) is")?;
        }
        if self.shape == Shape::Columns {
            Basis::only_raw(self.basis, "columns (shape=) are")?;
        }
        let (which, needs) = match self.step {
            None => (&without[..], "is for steps: say step= too"),
            Some(_) => (&with[..], "is for single values: leave step= out"),
        };
        match which.iter().find(|(_, is_said)| *is_said) {
            Some((name, _)) => Err(Problem::bad_request("bad_parameter", format!("{name}= {needs}"))),
            None => Ok(()),
        }
    }
}

pub(crate) async fn values(
    State(views): State<Arc<Views>>,
    Extension(turns): Extension<Turns>,
    caller: Caller,
    Path(id): Path<u32>,
    uri: Uri,
    headers: HeaderMap,
    Params(query): Params<ValuesQuery>,
) -> Result<Response, Problem> {
    let scope = caller.scope();
    let id = SeriesId(id);
    // Before anything of the series is read.
    let changes = views.changes.of(id);
    let info = views
        .history
        .series(id)
        .filter(|info| views.device(scope, info.key.device.as_str()).is_some())
        .ok_or_else(|| Problem::not_found("unknown_series", format!("no series has the id {}", id.0)))?;
    query.check()?;
    let span = Span::parse(query.from.as_deref(), query.to.as_deref(), views.now())?;
    let marks = Marks::parse(query.quality.as_deref())?;
    let known_at = query
        .known_at
        .as_deref()
        .map(|t| time("known_at", t))
        .transpose()?;
    let basis = query.basis.unwrap_or(Basis::Raw);
    // A change is against the value before the first step, wherever that is.
    let first = match &query.step {
        Some(_) if looks_back(agg(query.agg.as_deref())?) => Timestamp::from_ms(i64::MIN),
        _ => span.from,
    };
    let keys = vec![info.key.clone()];
    let reviewed = basis::reviewed(&views, basis, keys, (first, span.to), known_at).await?;
    let reviewed = reviewed.into_iter().next().unwrap_or_default();
    // Where older values were let go, the answer says so: it is not that nothing was measured.
    let kept = KeptRow::of(&views, [id], span.from);
    let tag = span.is_fixed.then(|| {
        let mut tagging = Tagging::new(&views, &uri.to_string());
        tagging.text(&KeptRow::fields(kept));
        tagging.text(&format!("{:?}", reviewed.positions().collect::<Vec<_>>()));
        tagging.series(changes, &info, span.to);
        tagging.tag()
    });
    if let Some(tag) = &tag
        && tag.is_known(&headers)
    {
        return Ok(tag.unchanged());
    }
    let series = json!({"id": id.0, "device": info.key.device, "quantity": info.key.quantity,
                        "ch": info.key.channel, "unit": info.key.quantity.definition().unit});
    let around = |kept| {
        (
            format!("\"from\":{},{}", json!(span.from), KeptRow::fields(kept)),
            format!(",\"series\":{series},\"to\":{}", json!(span.to)),
        )
    };
    let mut response = match &query.step {
        Some(step) => {
            let step = parse_step(step)?;
            let agg = agg(query.agg.as_deref())?;
            let filling = Filling::of(query.fill, query.max_gap.as_deref(), step)?;
            span.check_steps(step, 1)?;
            span.check_points(std::iter::once(&info))?;
            let steps = turns.once_noting(views.clone(), move |views| {
                let takes = |quality: Quality| marks.takes(quality);
                let takes = marks.filter(&takes);
                let which = Which { known_at, takes };
                let span = (span.from, span.to);
                views
                    .archive
                    .downsample_found(id, span, step, agg, which, &reviewed)
            });
            let (steps, missing) = steps.await?;
            // Once more: it may have been raised before they were read.
            let kept = KeptRow::of(&views, [id], span.from);
            rows::told(steps_page(&steps, filling, kept, &around(kept)), &missing)
        }
        None => {
            let limit = query.shape.limit(query.limit)?;
            let given = query.after.as_deref().map(str::parse).transpose()?;
            let chosen = Chosen {
                from: span.from,
                to: span.to,
                marks,
                known_at,
                revisions: query.revisions,
                received: false,
            };
            let around = around(kept);
            match basis {
                Basis::Raw => {
                    let pieces = pieces(id, chosen, given, query.shape);
                    rows::answer(views, turns, limit, around, pieces).await?
                }
                basis => {
                    let pieces = judged::pieces(id, chosen, given, reviewed, basis == Basis::All);
                    rows::answer(views, turns, limit, around, pieces).await?
                }
            }
        }
    };
    if let Some(tag) = tag {
        tag.put(&mut response);
    }
    Ok(response)
}

#[derive(Serialize)]
struct StepRow {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    filled: bool,
    #[serde(skip_serializing_if = "is_zero")]
    flagged: u64,
    n: u64,
    t: Timestamp,
    v: Option<f64>,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

fn steps_page(
    steps: &[Step],
    filling: Filling,
    kept: Option<KeptRow>,
    (head, tail): &(String, String),
) -> Vec<u8> {
    let values: Vec<Option<f64>> = steps.iter().map(|step| step.value).collect();
    let shown = steps.iter().zip(filling.fill(&values));
    let items: Vec<StepRow> = shown
        .filter_map(|(step, shown)| {
            let is_hidden = KeptRow::hides(kept, step.start, step.n);
            let shown = shown.map(|shown| if is_hidden { (None, false) } else { shown });
            shown.map(|(v, filled)| StepRow {
                filled,
                flagged: step.n_flagged,
                n: step.n,
                t: step.start,
                v,
            })
        })
        .collect();
    let items = serde_json::to_string(&items).expect("rows have text keys only");
    format!("{{{head}\"items\":{items},\"next\":null{tail}}}").into_bytes()
}

#[derive(Serialize)]
struct VersionRow {
    position: Option<u64>,
    quality: Vec<&'static str>,
    received_at: Timestamp,
    t: Timestamp,
    v: Value,
}

#[derive(Serialize)]
struct PointRow {
    quality: Vec<&'static str>,
    t: Timestamp,
    v: Value,
}

/// A block of single values by columns.
#[derive(Default, Serialize)]
struct PointColumns {
    /// Milliseconds since 1970.
    t: Vec<i64>,
    v: Vec<Value>,
    quality: Marked,
}

/// Single values of a series on their way out.
fn pieces(
    id: SeriesId,
    chosen: Chosen,
    mut given: Option<Given>,
    shape: Shape,
) -> impl FnMut(&Views, usize, &mut Rows) -> Result<More, StoreError> + Send {
    move |views, n, rows| {
        let mut n_left = n.min(rows.n_left());
        let mut columns = PointColumns::default();
        if shape == Shape::Columns {
            columns.t.reserve(n_left);
            columns.v.reserve(n_left);
        }
        let mut take = |version: Version| {
            if n_left == 0 {
                return ControlFlow::Break(());
            }
            n_left -= 1;
            let (t, v) = (version.measured_at, version.value);
            if shape == Shape::Columns {
                columns.quality.note(columns.t.len(), version.quality);
                columns.t.push(t.ms());
                columns.v.push(v);
                return ControlFlow::Continue(());
            }
            let quality = quality_names(version.quality);
            match chosen.revisions {
                true => rows.push(&VersionRow {
                    position: version.position,
                    quality,
                    received_at: version.received_at,
                    t,
                    v,
                }),
                false => rows.push(&PointRow { quality, t, v }),
            }
            ControlFlow::Continue(())
        };
        let is_all = chosen.walk(views, id, &mut given, &mut take)?;
        rows.push_block(&columns, columns.t.len());
        Ok(match (is_all, rows.is_full()) {
            (true, _) => More::No(None),
            (false, true) => More::No(given.map(|given| given.to_string())),
            (false, false) => More::Yes,
        })
    }
}
