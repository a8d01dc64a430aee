//! The newest value of every series, by division, kind, box, device and quantity.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use onemap_model::scope::Permission;
use onemap_model::{DeviceId, DivisionCode, Quantity, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::api::limit;
use crate::api::rows::{self, More, Rows, Turns};
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::{Bbox, Params};
use crate::views::{Views, condition_name, quality_names};

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
                return Ok(More::No(None));
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
                return Ok(More::No(last.map(|last: u32| last.to_string())));
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
        Ok(More::Yes)
    };
    Ok(rows::answer(views, turns, limit, around, piece))
}
