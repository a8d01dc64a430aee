//! Ld, Ln and Ldn of a point, day by day, with the limits of its zone.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use onemap_model::{Quantity, Timestamp};
use onemap_standards::hour::{Came, HOUR_MS, Make};
use onemap_standards::noise::{DayNight, NoiseJudged, standards};
use serde::{Deserialize, Serialize};

use super::asked::{Asked, Question};
use crate::api::query::basis::Basis;
use crate::api::query::kept::KeptRow;
use crate::api::rows::{self, Turns};
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::Params;
use crate::views::Views;

const QUANTITY: &str = "noise_laeq";
const DAY_MS: i64 = 24 * HOUR_MS;
/// Minutes of an hour that its level needs; those of an hour of air.
const HOUR_MINUTES: usize = 45;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoiseQuery {
    device: String,
    zone: Option<String>,
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
    zone: Option<&'a str>,
}

/// A calendar day and the hours of the night in it.
#[derive(Serialize)]
struct Item {
    end: Timestamp,
    #[serde(flatten)]
    levels: DayNight,
    /// Only when all hours of the day are there.
    #[serde(skip_serializing_if = "Option::is_none")]
    day: Option<NoiseJudged>,
    /// Only when all hours of the night are there.
    #[serde(skip_serializing_if = "Option::is_none")]
    night: Option<NoiseJudged>,
    #[serde(skip_serializing_if = "Option::is_none")]
    standard: Option<&'static str>,
    #[serde(flatten)]
    came: Came,
}

pub(crate) async fn show(
    State(views): State<Arc<Views>>,
    Extension(turns): Extension<Turns>,
    caller: Caller,
    Params(query): Params<NoiseQuery>,
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
    let asked = Asked::of(&views, scope, &question, &[QUANTITY]).await?;
    if let Some(zone) = query.zone.as_deref() {
        let is_known = standards()
            .at(asked.span.to)
            .is_some_and(|law| law.zone(zone).is_some());
        if !is_known {
            let why = format!("zone={zone}: 0, 1, 2, 3, 4a or 4b (GB 3096)");
            return Err(Problem::bad_request("bad_zone", why));
        }
    }
    let made = turns.once_noting(views, move |views| {
        let (first, last) = asked.ends(DAY_MS, 0);
        let hours = match Quantity::named(QUANTITY) {
            Some(quantity) => {
                asked.hours(views, quantity, (first - DAY_MS, last), Make::Level, HOUR_MINUTES)?
            }
            None => Default::default(),
        };
        let zone = query.zone.as_deref();
        let items = (first..=last).step_by(DAY_MS as usize).map(|end| {
            let of_day = hours
                .range(end - DAY_MS + 1..=end)
                .filter(|(_, hour)| hour.is_valid);
            let at = Timestamp::from_ms(end);
            let law = standards().at(at);
            let said = of_day
                .clone()
                .map(|(end, hour)| (Timestamp::from_ms(*end), hour.value));
            let levels = law.map(|law| law.day_night(said)).unwrap_or_default();
            let limits = law.zip(zone).and_then(|(law, zone)| law.zone(zone));
            let (n_day, n_night) = law.map_or((u32::MAX, u32::MAX), |law| law.n_hours());
            let judged = |is_night, level: Option<f64>, is_whole: bool| {
                limits?.judge(is_night, level.filter(|_| is_whole)?)
            };
            Item {
                end: at,
                day: judged(false, levels.ld, levels.n_day == n_day),
                night: judged(true, levels.ln, levels.n_night == n_night),
                levels,
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
            zone,
        };
        Ok(serde_json::to_vec(&answer).expect("answers have text keys only"))
    });
    let (answer, missing) = made.await?;
    Ok(rows::told(answer, &missing))
}
