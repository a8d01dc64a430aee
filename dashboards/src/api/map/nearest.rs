//! What is nearest to a point.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use onemap_spatial::query::Found;

use crate::api::limit_up_to;
use crate::api::map::answered;
use crate::api::map::asked::{Asked, region_problem};
use crate::api::map::features::{Features, member};
use crate::auth::Caller;
use crate::error::Problem;
use crate::views::Views;

/// Things when none are stated, and most of them.
const N_USUAL: usize = 10;
const N_MOST: usize = 1000;
/// Up to this number the nearest are looked for at once.
const N_FEW: usize = 100;

pub(crate) async fn get(
    State(views): State<Arc<Views>>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let scope = caller.scope();
    let mut asked = Asked::of_query(query.as_deref())?;
    let crs = asked.crs()?;
    let position = asked.wanted_position(crs)?;
    let k = limit_up_to(N_MOST, asked.whole("k")?, N_USUAL)?;
    let most_m = asked.number("radius_m")?;
    if most_m.is_some_and(|metres| metres <= 0.0) {
        return Err(Problem::bad_request("bad_radius", "radius_m= is above 0"));
    }
    let filter = asked.filter(scope, views.now())?;
    asked.done()?;
    // What is rare is looked for far away, among many others.
    let is_plain = filter.class.is_none()
        && filter.z_range_m.is_none()
        && filter.division.is_none()
        && filter.scope.is_whole();
    let is_light = move |_: &_| k <= N_FEW && is_plain;
    answered(is_light, views, move |views, city| {
        let near = city
            .nearest(position, k, most_m, &filter)
            .map_err(region_problem)?;
        let things: Vec<Found<'_>> = near.iter().map(|near| near.found).collect();
        let mut head = Vec::new();
        member(&mut head, "numberReturned", &things.len());
        let mut features = Features::new(views, crs, &head);
        features.extend(&things, |i, out| {
            member(out, "distance_m", &millimetres(near[i].distance_m))
        });
        Ok(features.finish())
    })
    .await
}

/// Metres without digits that mean nothing.
pub(crate) fn millimetres(metres: f64) -> f64 {
    (metres * 1000.0).round() / 1000.0
}
