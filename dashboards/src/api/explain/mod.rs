//! Why an alert was raised, and why a rule says nothing: now from the engine, for a time that is past from the history.

mod panels;
mod then;

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use onemap_alerts::Alert;
use onemap_model::alert::Input;
use onemap_model::{Quantity, RuleId, Scope, SeriesKey};
use onemap_rules::{Explanation, Rule};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::alerts::found;
use crate::api::time;
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::Params;
use crate::stand::{Question, Stand};
use crate::views::Views;

const POISON: &str = "no holder of this lock panics";

/// Why an alert is there: what its rule says, what it was compared with, and the four panels.
pub(crate) async fn alert(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let alert = found(&views, caller.scope(), &id)?;
    let stand = ask(&views, alert.series.clone(), Some(alert.rule.clone())).await?;
    // The engine speaks of this alert as long as it is open there; behind that of what came after it.
    let told = stand.rules.into_iter().find(|told| told.alert == Some(alert.id));
    let rule = views.rule(&alert.rule);
    let mut answer = match &told {
        Some(told) => explained(&views, caller.scope(), told, rule.as_deref()),
        None => recorded(&views, caller.scope(), &alert, rule.as_deref()),
    };
    answer["alert"] = json!(alert.id);
    answer["at"] = json!(stand.at);
    answer["by"] = json!(if told.is_some() { "engine" } else { "record" });
    answer["message"] = json!(alert.message);
    answer["severity"] = json!(alert.severity);
    // What the rule is now is not what it was raised by.
    answer["rule_changed"] = json!(
        rule.as_ref()
            .is_none_or(|rule| rule.version != alert.rule_version)
    );
    answer["rule_version"] = json!(alert.rule_version);
    let scope = caller.scope().clone();
    let panels = tokio::task::spawn_blocking(move || panels::of(&views, &scope, &alert, rule.as_deref()))
        .await
        .map_err(|e| Problem::internal(&e))??;
    answer["panels"] = panels;
    Ok(Json(answer))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WhyQuery {
    device: String,
    quantity: Quantity,
    #[serde(default)]
    ch: u16,
    rule: Option<RuleId>,
    at: Option<String>,
}

/// How the rules, or one of them, stand to a series, now or at a time that is past: why, and why not.
pub(crate) async fn why(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Params(query): Params<WhyQuery>,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope().clone();
    let unknown = || {
        let told = format!("no device is called `{}`", query.device);
        Problem::not_found("unknown_device", told)
    };
    let device = views.device(&scope, &query.device).ok_or_else(unknown)?;
    let series = SeriesKey {
        device: device.id.clone(),
        quantity: query.quantity,
        channel: query.ch,
    };
    let at = query.at.as_deref().map(|text| time("at", text)).transpose()?;
    let now = views.now();
    let (by, stand) = match at.filter(|at| *at < now) {
        None if at.is_some_and(|at| at > now) => {
            return Err(Problem::bad_request("bad_time", "at: that is yet to come"));
        }
        None => ("engine", ask(&views, series.clone(), query.rule.clone()).await?),
        Some(at) => {
            let (views, series, rule) = (views.clone(), series.clone(), query.rule.clone());
            let past = tokio::task::spawn_blocking(move || then::stood(&views, &series, rule.as_ref(), at));
            ("history", past.await.map_err(|e| Problem::internal(&e))??)
        }
    };
    let rules = stand.rules.iter().map(|told| {
        let rule = views.rule(&told.rule);
        let mut row = explained(&views, &scope, told, rule.as_deref());
        row["alert"] = json!(told.alert.filter(|_| by == "engine"));
        row
    });
    Ok(Json(json!({
        "at": stand.at, "by": by,
        "series": {"device": series.device, "quantity": series.quantity, "ch": series.channel},
        "rules": rules.collect::<Vec<Value>>(),
        "aside": stand.aside.as_ref().map(|aside| {
            let mut told = serde_json::to_value(aside).expect("reasons have text keys only");
            told["sentence"] = json!(aside.sentence());
            told
        }),
    })))
}

/// Asks the engine, which answers between two batches.
async fn ask(views: &Views, series: SeriesKey, rule: Option<RuleId>) -> Result<Stand, Problem> {
    let (answer, told) = tokio::sync::oneshot::channel();
    let question = Question::Stand { series, rule, answer };
    let gone = || Problem::unavailable("the pipeline has stopped");
    views.questions.send(question).await.map_err(|_| gone())?;
    told.await.map_err(|_| gone())
}

fn explained(views: &Views, scope: &Scope, told: &Explanation, rule: Option<&Rule>) -> Value {
    let unit = rule.and_then(Rule::quantity).map(|q| &*q.definition().unit);
    json!({
        "rule": told.rule, "rule_version": told.version, "name": rule.map(|rule| &rule.name),
        "severity": rule.map(|rule| rule.severity), "clause": rule.and_then(|rule| rule.clause.as_ref()),
        "sentence": told.sentence, "progress": told.progress, "since": told.since, "condition": told.condition,
        "threshold": told.threshold, "unit": unit, "why": told.why, "facts": told.facts,
        "inputs": seen_inputs(views, scope, &told.inputs),
    })
}

/// Of an alert that the engine has done with, what it was raised on and what became of it.
fn recorded(views: &Views, scope: &Scope, alert: &Alert, rule: Option<&Rule>) -> Value {
    let same = rule.filter(|rule| rule.version == alert.rule_version);
    let quantity = alert.series.quantity;
    json!({
        "rule": alert.rule, "name": alert.rule_name, "clause": same.and_then(|rule| rule.clause.as_ref()),
        "sentence": same.map(Rule::sentence), "progress": if alert.is_open() { "closed" } else { "ended" },
        "since": alert.ended_at.unwrap_or(alert.raised_at), "condition": alert.condition,
        "threshold": alert.threshold, "unit": quantity.definition().unit, "why": alert.message,
        "facts": [], "inputs": seen_inputs(views, scope, &alert.inputs),
    })
}

/// The values that something rests on; of other devices only those that the scope sees. Without a journal position where
/// they come from the history.
fn seen_inputs(views: &Views, scope: &Scope, inputs: &[Input]) -> Vec<Value> {
    let is_seen = |input: &&Input| {
        let other = input.of.as_ref();
        other.is_none_or(|other| views.device(scope, other.device.as_str()).is_some())
    };
    let shown = inputs.iter().filter(is_seen).map(|input| {
        let mut row = serde_json::to_value(input).expect("inputs have text keys only");
        if input.position == 0
            && let Some(row) = row.as_object_mut()
        {
            row.remove("position");
        }
        row
    });
    shown.collect()
}
