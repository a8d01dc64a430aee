//! What lies along a line, with its heights.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use onemap_model::crs::Crs;
use onemap_spatial::query::{Found, SectionLine};

use crate::api::map::answered;
use crate::api::map::asked::{Asked, out_of_domain, region_problem};
use crate::api::map::features::{Features, member};
use crate::api::map::nearest::millimetres;
use crate::auth::Caller;
use crate::error::Problem;
use crate::views::Views;

/// Most things of one section.
const N_MOST: usize = 10_000;
/// Up to this length a section is made at once, metres.
const LIGHT_M: f64 = 500.0;

pub(crate) async fn get(
    State(views): State<Arc<Views>>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let scope = caller.scope();
    let mut asked = Asked::of_query(query.as_deref())?;
    let crs = asked.crs()?;
    let line = asked.text("line")?;
    let positions = positions(line.as_deref().unwrap_or_default(), crs)?;
    let width_m = asked.number("width_m")?.unwrap_or(0.0);
    let filter = asked.filter(scope, views.now())?;
    asked.done()?;
    let line = SectionLine::new(&positions, width_m).map_err(region_problem)?;
    let length_m = line.length_m();
    answered(
        move |_| length_m <= LIGHT_M,
        views,
        move |views, city| {
            let crossings = city.section(&line, &filter);
            if crossings.len() > N_MOST {
                return Err(Problem::bad_request(
                    "too_many_things",
                    format!(
                        "{} things lie along this line, at most {N_MOST}; take a shorter one, or kind=",
                        crossings.len()
                    ),
                ));
            }
            let things: Vec<Found<'_>> = crossings.iter().map(|crossing| crossing.found).collect();
            let mut head = Vec::new();
            member(&mut head, "length_m", &millimetres(length_m));
            member(&mut head, "numberReturned", &things.len());
            let mut features = Features::new(views, crs, &head);
            features.extend(&things, |i, out| {
                let stretches = crossings[i]
                    .stretches
                    .iter()
                    .map(|stretch| stretch.map(millimetres));
                let stretches: Vec<[f64; 2]> = stretches.collect();
                member(out, "along_m", &stretches);
                member(out, "offset_m", &millimetres(crossings[i].offset_m));
            });
            Ok(features.finish())
        },
    )
    .await
}

/// `lon,lat;lon,lat…`, to WGS 84.
fn positions(line: &str, crs: Crs) -> Result<Vec<(f64, f64)>, Problem> {
    let wrong = || Problem::bad_request("bad_line", "line= is lon,lat;lon,lat with two positions or more");
    if line.is_empty() {
        return Err(wrong());
    }
    line.split(';')
        .map(|position| {
            let mut numbers = position.split(',').map(|n| n.trim().parse::<f64>());
            match (numbers.next(), numbers.next(), numbers.next()) {
                (Some(Ok(x)), Some(Ok(y)), None) => crs.read(x, y).map_err(out_of_domain),
                _ => Err(wrong()),
            }
        })
        .collect()
}
