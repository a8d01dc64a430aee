//! Alarm load (告警负荷): what desks had to look at in a span, of what the caller sees.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use onemap_alerts::load;
use onemap_model::{DivisionCode, RuleId, Scope, SeriesKey, Timestamp, Transition};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::time;
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::Params;
use crate::views::Views;

const POISON: &str = "no holder of this lock panics";

/// The span where nothing is said.
const DAY_MS: i64 = 86_400_000;
/// The longest.
const LONGEST: Duration = Duration::from_secs(31 * 86_400);
/// Transitions that are read at once.
const PAGE: usize = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    from: Option<String>,
    to: Option<String>,
    division: Option<DivisionCode>,
}

pub(crate) async fn load(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Params(query): Params<Query>,
) -> Result<Json<Value>, Problem> {
    let to = query
        .to
        .as_deref()
        .map_or(Ok(views.now()), |text| time("to", text))?;
    let from = match query.from.as_deref() {
        Some(text) => time("from", text)?,
        None => Timestamp::from_ms(to.ms().saturating_sub(DAY_MS)),
    };
    if to <= from || to.since(from) > LONGEST {
        return Err(Problem::bad_request(
            "bad_range",
            "`to` lies behind `from`, by at most 31 days",
        ));
    }
    let scope = caller.scope().clone();
    let answer = tokio::task::spawn_blocking(move || {
        let transitions = seen(&views, &scope, query.division.as_ref(), from, to)?;
        Ok::<_, Problem>(shown(&views, &transitions, from, to))
    });
    answer.await.map_err(|e| Problem::internal(&e))?.map(Json)
}

/// The edges of the span that the scope sees, of a division.
fn seen(
    views: &Views,
    scope: &Scope,
    division: Option<&DivisionCode>,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<Transition>, Problem> {
    let broken = |e| Problem::internal(&e);
    let mut after = views.ledger.seq_before(from).map_err(broken)?;
    let mut found = Vec::new();
    loop {
        let page = views.ledger.transitions_after(after, PAGE).map_err(broken)?;
        let Some(last) = page.last() else {
            return Ok(found);
        };
        let is_over = last.transition.at >= to;
        after = last.seq;
        let register = views.register.read().expect(POISON);
        found.extend(page.into_iter().map(|row| row.transition).filter(|told| {
            let belongs = register.recorded(told.series.device.as_str(), told.division.as_ref());
            let lies_in = |code: &DivisionCode| belongs.division.is_some_and(|own| code.covers(own));
            told.at >= from && told.at < to && scope.covers(belongs) && division.is_none_or(lies_in)
        }));
        if is_over {
            return Ok(found);
        }
    }
}

fn shown(views: &Views, transitions: &[Transition], from: Timestamp, to: Timestamp) -> Value {
    let register = views.register.read().expect(POISON);
    let desk_of = |told: &Transition| {
        let belongs = register.recorded(told.series.device.as_str(), told.division.as_ref());
        belongs.division.cloned()
    };
    let load = load::load(from, to, transitions, desk_of);
    let named = |mut row: Value, rule: &RuleId, series: &SeriesKey| {
        let device = register.view.devices.get(&series.device);
        row["series"] = json!({"device": series.device, "quantity": series.quantity, "ch": series.channel});
        row["rule_name"] = json!(views.rule(rule).map(|rule| rule.name.clone()));
        row["device_name"] = json!(device.map(|device| &*device.name));
        row
    };
    let mut answer = json!({
        "from": load.from, "to": load.to, "n_raised": load.n_raised, "desks": load.desks,
    });
    answer["chattering"] = (load.chattering.iter())
        .map(|row| named(json!(row), &row.rule, &row.series))
        .collect();
    answer["bad_actors"] = (load.bad_actors.iter())
        .map(|row| named(json!(row), &row.rule, &row.series))
        .collect();
    answer
}
