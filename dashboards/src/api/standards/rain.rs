//! Rain days of a gauge, from 8 to 8 h, with their grade.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use onemap_model::{Quantity, Timestamp};
use onemap_standards::hour::{Came, HOUR_MS, Make};
use onemap_standards::rain::{Grade, standards};
use serde::{Deserialize, Serialize};

use super::asked::{Asked, Question};
use crate::api::query::basis::Basis;
use crate::api::query::kept::KeptRow;
use crate::api::rows::{self, Turns};
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::Params;
use crate::views::Views;

/// Totals of an hour go before totals of shorter periods.
const QUANTITIES: [&str; 2] = ["rain_1h", "rain"];
const DAY_MS: i64 = 24 * HOUR_MS;
/// Hydrological days begin at this hour.
const BEGIN_H: i64 = 8;
/// An hour's total needs all of it.
const HOUR_MINUTES: usize = 60;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RainQuery {
    device: String,
    from: Option<String>,
    to: Option<String>,
    ch: Option<u16>,
    known_at: Option<String>,
    basis: Option<Basis>,
}

#[derive(Serialize)]
struct Answer<'a> {
    basis: Basis,
    device: &'a str,
    from: Timestamp,
    items: Vec<Item>,
    #[serde(flatten)]
    kept: Option<KeptRow>,
    /// Hours with a reviewed value.
    reviewed_hours: usize,
    to: Timestamp,
}

#[derive(Serialize)]
struct Item {
    end: Timestamp,
    /// Null when nothing was said: unknown, not dry.
    mm: Option<f64>,
    n_hours: usize,
    /// All 24 hours are there; without them more may have fallen.
    is_whole: bool,
    grade: Option<Grade>,
    #[serde(skip_serializing_if = "Option::is_none")]
    standard: Option<&'static str>,
    #[serde(flatten)]
    came: Came,
}

pub(crate) async fn show(
    State(views): State<Arc<Views>>,
    Extension(turns): Extension<Turns>,
    caller: Caller,
    Params(query): Params<RainQuery>,
) -> Result<Response, Problem> {
    let scope = caller.scope();
    let question = Question {
        device: &query.device,
        from: query.from.as_deref(),
        to: query.to.as_deref(),
        channel: query.ch,
        known_at: query.known_at.as_deref(),
        basis: query.basis,
    };
    let asked = Asked::of(&views, scope, &question, &QUANTITIES).await?;
    let made = turns.once_noting(views, move |views| {
        let (first, last) = asked.ends(DAY_MS, BEGIN_H);
        let mut hours = BTreeMap::new();
        for quantity in QUANTITIES.iter().filter_map(|name| Quantity::named(name)) {
            // What a review left of the hour's total is not to be made good by shorter ones.
            let reviewed: BTreeSet<i64> = asked.reviewed_ends();
            let said = asked.hours(views, quantity, (first - DAY_MS, last), Make::Total, HOUR_MINUTES)?;
            for (end, hour) in said {
                if !reviewed.contains(&end) {
                    hours.entry(end).or_insert(hour);
                }
            }
        }
        let items = (first..=last).step_by(DAY_MS as usize).map(|end| {
            let at = Timestamp::from_ms(end);
            let law = standards().at(at);
            let of_day = hours.range(end - DAY_MS + 1..=end);
            let said = of_day
                .clone()
                .map(|(end, hour)| (Timestamp::from_ms(*end), hour.value));
            let day = law.and_then(|law| law.day(at, said));
            let n_valid = of_day.clone().filter(|(_, hour)| hour.is_valid).count();
            Item {
                end: at,
                mm: day.as_ref().map(|day| day.mm),
                n_hours: n_valid,
                is_whole: n_valid == 24,
                grade: day.and_then(|day| day.grade),
                standard: law.map(|law| law.edition.id.as_str()),
                came: asked.came(
                    Came::of(of_day.clone().map(|(_, hour)| hour)),
                    (end - DAY_MS, end),
                ),
            }
        });
        let answer = Answer {
            basis: asked.basis,
            device: asked.device.id.as_str(),
            from: asked.span.from,
            items: items.collect(),
            kept: asked.kept(views),
            reviewed_hours: asked.n_reviewed(),
            to: asked.span.to,
        };
        Ok(serde_json::to_vec(&answer).expect("answers have text keys only"))
    });
    let (answer, missing) = made.await?;
    Ok(rows::told(answer, &missing))
}
