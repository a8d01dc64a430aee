//! What stands over, on and under a point.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use onemap_model::{EntityCode, EntityKind};
use onemap_spatial::query::Found;
use onemap_store::register::name_on;

use crate::api::map::asked::{Asked, region_problem};
use crate::api::map::features::{Features, json, member};
use crate::api::map::nearest::millimetres;
use crate::api::map::{POISON, answered};
use crate::auth::Caller;
use crate::error::Problem;
use crate::views::Views;

/// Most things of one column.
const N_MOST: usize = 10_000;
/// Up to this radius a column is made at once, metres.
const LIGHT_M: f64 = 200.0;

pub(crate) async fn get(
    State(views): State<Arc<Views>>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let scope = caller.scope();
    let mut asked = Asked::of_query(query.as_deref())?;
    let crs = asked.crs()?;
    let position = asked.wanted_position(crs)?;
    let radius_m = asked.number("radius_m")?;
    let filter = asked.filter(scope, views.now())?;
    asked.done()?;
    let is_light = move |_: &_| radius_m.unwrap_or(0.0) <= LIGHT_M;
    answered(is_light, views, move |views, city| {
        let column = city.column(position, radius_m, &filter).map_err(region_problem)?;
        if column.stack.len() > N_MOST {
            return Err(Problem::bad_request(
                "too_many_things",
                format!(
                    "{} things stand in this column, at most {N_MOST}; take a smaller radius_m=",
                    column.stack.len()
                ),
            ));
        }
        let things: Vec<Found<'_>> = column.stack.iter().map(|stacked| stacked.found).collect();
        let mut head = Vec::new();
        member(&mut head, "numberReturned", &things.len());
        head.extend_from_slice(b"\"areas\":[");
        let divisions = column
            .divisions
            .iter()
            .map(|code| (EntityKind::Division, "division", code.as_str()));
        let grids = column
            .grids
            .iter()
            .map(|grid| (EntityKind::Grid, "grid", &**grid.code()));
        for (i, (kind, name, code)) in grids.chain(divisions).enumerate() {
            if i > 0 {
                head.push(b',');
            }
            let register = views.register.read().expect(POISON);
            let card = register.view.entities.card(&kind, &EntityCode::from(code));
            drop(register);
            head.push(b'{');
            member(&mut head, "kind", &name);
            member(&mut head, "code", &code);
            head.extend_from_slice(b"\"name\":");
            json(&mut head, &card.as_ref().map_or("", |card| name_on(card)));
            head.push(b'}');
        }
        head.extend_from_slice(b"],");
        let mut features = Features::new(views, crs, &head);
        features.extend(&things, |i, out| {
            member(out, "distance_m", &millimetres(column.stack[i].distance_m));
        });
        Ok(features.finish())
    })
    .await
}
