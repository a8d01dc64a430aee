//! Many series as one line: by division, kind or device, in steps.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use onemap_model::scope::Permission;
use onemap_model::{DivisionCode, EntityKind, Quality, Quantity};
use onemap_store::history::{Across, Agg, GroupStep, Member, Over, Which};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::readings::{Marks, blocking};
use crate::api::time;
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::{Params, parse_step};
use crate::views::Views;

const POISON: &str = "no holder of this lock panics";
/// Groups times steps of one answer.
const MAX_CELLS: i64 = 100_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AggregateQuery {
    quantity: Quantity,
    ch: Option<u16>,
    #[serde(default)]
    group_by: GroupBy,
    level: Option<usize>,
    division: Option<DivisionCode>,
    kind: Option<String>,
    from: Option<String>,
    to: Option<String>,
    step: Option<String>,
    agg: Option<String>,
    #[serde(default)]
    weight: Weight,
    quality: Option<String>,
    #[serde(default)]
    fill: Fill,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum GroupBy {
    #[default]
    Division,
    Kind,
    Device,
    None,
}

/// Whose mean a mean is.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Weight {
    #[default]
    Series,
    Points,
}

/// What stands in a step without a value.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Fill {
    /// Nothing: a gap stays a gap.
    #[default]
    None,
    /// The value before it, if there is one.
    Previous,
    Zero,
}

/// Groups of series, step by step. Each series is aggregated by itself first, so that `weight=series` gives
/// every station the same say.
pub(crate) async fn show(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Params(query): Params<AggregateQuery>,
) -> Result<Json<Value>, Problem> {
    let scope = caller.require(Permission::View)?;
    let now = views.now();
    let to = match &query.to {
        Some(text) => time("to", text)?,
        None => now + Duration::from_secs(1),
    };
    let from = match &query.from {
        Some(text) => time("from", text)?,
        None => to.saturating_sub(Duration::from_secs(86_400)),
    };
    if from > to {
        return Err(Problem::bad_request("bad_range", "from is after to"));
    }
    let step = parse_step(query.step.as_deref().unwrap_or("1h"))?;
    let across = across(query.agg.as_deref(), query.weight)?;
    let marks = Marks::parse(query.quality.as_deref())?;
    let level = query.level.unwrap_or(6);
    if !matches!(level, 6 | 9 | 12) {
        return Err(Problem::bad_request(
            "bad_level",
            format!("level={level}: 6 for counties, 9 for streets, 12 for communities"),
        ));
    }
    let groups: BTreeMap<String, Vec<Member>> = {
        let register = views.register.read().expect(POISON);
        let mut groups = BTreeMap::<String, Vec<Member>>::new();
        for info in views.history.all_series() {
            let key = &info.key;
            if key.quantity != query.quantity || query.ch.is_some_and(|ch| key.channel != ch) {
                continue;
            }
            let asked =
                register.asked_for(scope, &key.device, query.division.as_ref(), query.kind.as_deref());
            let Some((device, division)) = asked else {
                continue;
            };
            let group = match query.group_by {
                GroupBy::Division => division.map_or("", |d| shortened(d.as_str(), level)).to_owned(),
                GroupBy::Kind => device.kind.to_string(),
                GroupBy::Device => key.device.to_string(),
                GroupBy::None => String::new(),
            };
            groups.entry(group).or_default().push(info.id.into());
        }
        groups
    };
    let n_steps = (to - from).max(0) / step.as_millis() as i64 + 1;
    if n_steps.saturating_mul(groups.len().max(1) as i64) > MAX_CELLS {
        return Err(Problem::bad_request(
            "too_many_steps",
            format!(
                "{} groups of {n_steps} steps are more than {MAX_CELLS} values; take a longer step or fewer groups",
                groups.len()
            ),
        ));
    }
    let (names, series): (Vec<String>, Vec<Vec<Member>>) = groups.into_iter().unzip();
    let sizes: Vec<usize> = series.iter().map(Vec::len).collect();
    let steps = blocking(views.clone(), move |views| {
        let takes = |quality: Quality| marks.takes(quality);
        let takes: Option<&dyn Fn(Quality) -> bool> = (marks != Marks::Any).then_some(&takes);
        let which = Which {
            known_at: None,
            takes,
        };
        views.history.aggregate(&series, (from, to), step, across, which)
    })
    .await?;
    let register = views.register.read().expect(POISON);
    let groups: Vec<Value> = names
        .iter()
        .zip(sizes)
        .zip(steps)
        .map(|((name, n_series), steps)| {
            let title = (query.group_by == GroupBy::Division)
                .then(|| DivisionCode::new(name).ok())
                .flatten()
                .and_then(|code| {
                    let divisions = register.view.with_code(code.as_str());
                    divisions
                        .filter(|e| e.kind == EntityKind::Division)
                        .map(|e| e.name.clone())
                        .next()
                });
            json!({
                "group": (!name.is_empty()).then_some(name), "name": title, "series": n_series,
                "items": items(&steps, query.fill),
            })
        })
        .collect();
    Ok(Json(json!({
        "quantity": query.quantity, "unit": query.quantity.definition().unit,
        "from": from, "to": to, "step_s": step.as_secs(), "groups": groups,
    })))
}

fn items(steps: &[GroupStep], fill: Fill) -> Vec<Value> {
    let mut before = None;
    let each = steps.iter().map(|step| {
        let value = match (step.value, fill) {
            (None, Fill::Previous) => before,
            (None, Fill::Zero) => Some(0.0),
            (value, _) => value,
        };
        before = value.or(before);
        let mut item = json!({"t": step.start, "v": value, "n": step.n, "series": step.n_series});
        if step.value.is_none() && value.is_some() {
            item["filled"] = true.into();
        }
        item
    });
    each.collect()
}

/// The division of that many digits that a code lies in; a shorter code as it is.
fn shortened(code: &str, level: usize) -> &str {
    &code[..level.min(code.len())]
}

fn across(agg: Option<&str>, weight: Weight) -> Result<Across, Problem> {
    let agg = agg.unwrap_or("mean");
    if let Some(p) = agg.strip_prefix('p')
        && let Ok(p @ 0.0..=100.0) = p.parse::<f64>()
    {
        return Ok(Across {
            each: Agg::Mean,
            over: Over::Percentile(p / 100.0),
        });
    }
    let (each, over) = match (agg, weight) {
        ("mean", Weight::Series) => (Agg::Mean, Over::Mean),
        ("mean", Weight::Points) => (Agg::Mean, Over::MeanOfPoints),
        ("min", _) => (Agg::Min, Over::Min),
        ("max", _) => (Agg::Max, Over::Max),
        ("sum", _) => (Agg::Sum, Over::Sum),
        ("count", _) => (Agg::Count, Over::Sum),
        (other, _) => {
            return Err(Problem::bad_request(
                "bad_agg",
                format!("agg={other}: use mean, min, max, sum, count, or a percentile like p95"),
            ));
        }
    };
    Ok(Across { each, over })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use onemap_model::Timestamp;

    use super::*;

    #[test]
    fn a_gap_is_filled_only_as_asked_and_says_so() {
        let step = |i: i64, value| GroupStep {
            start: Timestamp::from_ms(i),
            value,
            n: 0,
            n_series: 0,
        };
        let steps = [step(0, None), step(1, Some(2.0)), step(2, None)];
        let values = |fill| {
            let of = |item: &Value| (item["v"].as_f64(), item["filled"].as_bool().unwrap_or(false));
            items(&steps, fill).iter().map(of).collect::<Vec<_>>()
        };
        let said = (Some(2.0), false);
        assert_eq!(values(Fill::None), [(None, false), said, (None, false)]);
        assert_eq!(values(Fill::Previous), [(None, false), said, (Some(2.0), true)]);
        assert_eq!(values(Fill::Zero), [(Some(0.0), true), said, (Some(0.0), true)]);
    }

    #[test]
    fn aggregates_have_names() {
        for (agg, weight, over) in [
            (None, Weight::Series, Over::Mean),
            (Some("mean"), Weight::Points, Over::MeanOfPoints),
            (Some("p95"), Weight::Series, Over::Percentile(0.95)),
        ] {
            let each = Agg::Mean;
            assert_eq!(across(agg, weight).unwrap(), Across { each, over });
        }
        for bad in ["p", "p101", "pNaN", "median", "first", ""] {
            assert!(across(Some(bad), Weight::Series).is_err(), "{bad}");
        }
        assert_eq!(shortened("630102003", 6), "630102");
        assert_eq!(shortened("630102", 9), "630102");
    }
}
