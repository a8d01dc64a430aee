//! Class of a section of surface water, day by day, by its worst item.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use onemap_model::{Quantity, Timestamp};
use onemap_standards::decimal::tidy;
use onemap_standards::hour::{Came, HOUR_MS, Make};
use onemap_standards::water::{Body, WaterClass, Words, standards};
use serde::{Deserialize, Serialize};

use super::asked::{Asked, Question};
use crate::api::query::basis::Basis;
use crate::api::query::kept::KeptRow;
use crate::api::rows::{self, Turns};
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::Params;
use crate::views::Views;

const DAY_MS: i64 = 24 * HOUR_MS;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WaterQuery {
    device: String,
    /// River when nothing is said.
    body: Option<Body>,
    /// The class that the section should have.
    aim: Option<u8>,
    from: Option<String>,
    to: Option<String>,
    ch: Option<u16>,
    known_at: Option<String>,
    basis: Option<Basis>,
}

#[derive(Serialize)]
struct Answer<'a> {
    aim: Option<u8>,
    body: Body,
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

/// A calendar day.
#[derive(Serialize)]
struct Item {
    end: Timestamp,
    /// Null when no item with a limit was measured: unknown, not clean.
    class: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    class_zh: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quality_zh: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<WaterClass>,
    values: BTreeMap<String, Mean>,
    #[serde(flatten)]
    came: Came,
}

/// Mean of a day's hours in the quantity's unit.
#[derive(Clone, Copy, Serialize)]
struct Mean {
    value: f64,
    n: usize,
}

pub(crate) async fn show(
    State(views): State<Arc<Views>>,
    Extension(turns): Extension<Turns>,
    caller: Caller,
    Params(query): Params<WaterQuery>,
) -> Result<Response, Problem> {
    let scope = caller.scope();
    let body = query.body.unwrap_or(Body::River);
    if query.aim.is_some_and(|aim| !(1..=5).contains(&aim)) {
        return Err(Problem::bad_request("bad_aim", "aim is a class from 1 to 5"));
    }
    let question = Question {
        device: &query.device,
        from: query.from.as_deref(),
        to: query.to.as_deref(),
        channel: query.ch,
        known_at: query.known_at.as_deref(),
        basis: query.basis,
    };
    let law = standards().at(views.now());
    let names: BTreeSet<&str> = law.iter().flat_map(|law| law.item_names()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let asked = Asked::of(&views, scope, &question, &names).await?;
    let made = turns.once_noting(views, move |views| {
        let (first, last) = asked.ends(DAY_MS, 0);
        let mut hours = BTreeMap::new();
        for quantity in names.iter().filter_map(|name| Quantity::named(name)) {
            let said = asked.hours(views, quantity, (first - DAY_MS, last), Make::Mean, 0)?;
            hours.insert(quantity.name(), said);
        }
        let items = (first..=last).step_by(DAY_MS as usize).map(|end| {
            let at = Timestamp::from_ms(end);
            let (mut values, mut came) = (BTreeMap::new(), Came::default());
            for (name, hours) in &hours {
                let of_day = hours.range(end - DAY_MS + 1..=end);
                let n = of_day.clone().count();
                if n > 0 {
                    let sum: f64 = of_day.clone().map(|(_, hour)| hour.value).sum();
                    let value = tidy(sum / n as f64);
                    came = came.with(Came::of(of_day.clone().map(|(_, hour)| hour)));
                    values.insert((*name).to_owned(), Mean { value, n });
                }
            }
            let said = values
                .iter()
                .map(|(name, mean)| (name.clone(), mean.value))
                .collect();
            let found = standards()
                .at(at)
                .and_then(|law| law.class(body, query.aim, &said));
            let words: Option<&'static Words> =
                found.as_ref().and_then(|found| standards().words(found.class));
            Item {
                end: at,
                class: found.as_ref().map(|found| found.class),
                class_zh: words.map(|words| words.zh.as_str()),
                quality_zh: words.map(|words| words.quality_zh.as_str()),
                found,
                values,
                came: asked.came(came, (end - DAY_MS, end)),
            }
        });
        let answer = Answer {
            aim: query.aim,
            body,
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
