//! Alerts: lists, one with its story, and what people do with one: acknowledge, assign, shelve, close.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use onemap_alerts::{Alert, Condition, Cursor, Filter, StateFilter};
use onemap_model::{AlertId, DivisionCode, Scope, Timestamp, Verb};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{act_problem, behind, limit, list};
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::{Body, Params};
use crate::views::Views;

const POISON: &str = "no holder of this lock panics";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    state: Option<String>,
    division: Option<DivisionCode>,
    limit: Option<usize>,
    after: Option<String>,
}

pub(crate) async fn list_alerts(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Params(query): Params<Query>,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope();
    let state = match query.state.as_deref() {
        None => StateFilter::All,
        Some(text) => text
            .parse()
            .map_err(|e| Problem::bad_request("bad_state", format!("state: {e}")))?,
    };
    let limit = limit(query.limit, 500)?;
    let after = match &query.after {
        None => None,
        Some(text) => Some(
            text.parse::<Cursor>()
                .map_err(|e| Problem::bad_request("bad_after", format!("after: {e}")))?,
        ),
    };
    let page: Vec<Alert> = {
        let register = views.register.read().expect(POISON);
        let filter = Filter {
            state,
            scope,
            whose: &*register,
            division: query.division.as_ref(),
        };
        let board = views.board.read().expect(POISON);
        board
            .list(&filter, after, limit + 1)
            .into_iter()
            .cloned()
            .collect()
    };
    let next = (page.len() > limit).then(|| Cursor::of(&page[limit - 1]).to_string());
    let items = page
        .iter()
        .take(limit)
        .map(|alert| render(&views, alert))
        .collect();
    Ok(list(items, next))
}

/// The alert as screens and lists show it, if the scope may see it.
pub(crate) fn alert_json(views: &Views, scope: &Scope, id: &AlertId) -> Option<Value> {
    seen(views, scope, id).map(|alert| render(views, &alert))
}

fn seen(views: &Views, scope: &Scope, id: &AlertId) -> Option<Alert> {
    let alert = views.board.read().expect(POISON).get(id).cloned()?;
    let register = views.register.read().expect(POISON);
    let belongs = register.recorded(alert.series.device.as_str(), alert.division.as_ref());
    scope.covers(belongs).then_some(alert)
}

pub(crate) fn render(views: &Views, alert: &Alert) -> Value {
    let register = views.register.read().expect(POISON);
    let device = register.view.devices.get(&alert.series.device);
    let belongs = register.recorded(alert.series.device.as_str(), alert.division.as_ref());
    let series = views.history.series_id(&alert.series);
    let condition = match alert.condition {
        Condition::Normal => "normal",
        Condition::Abnormal => "abnormal",
        Condition::Unknown => "unknown",
    };
    let mut shown = json!({
        "id": alert.id, "rule": alert.rule, "rule_version": alert.rule_version,
        "rule_name": alert.rule_name, "severity": alert.severity, "severity_zh": alert.severity.zh(),
        "state": alert.state, "condition": condition,
        "acknowledged": alert.acknowledged, "shelved": alert.shelved, "assigned": alert.assigned,
        "series": {"id": series.map(|id| id.0), "device": alert.series.device,
                   "quantity": alert.series.quantity, "ch": alert.series.channel},
        "device_name": device.map(|d| &*d.name), "device_name_en": device.map(|d| &*d.name_en),
        "position": device.and_then(|d| d.position), "division": belongs.division,
        "raised_at": alert.raised_at, "changed_at": alert.changed_at, "ended_at": alert.ended_at,
        "message": alert.message, "advice": alert.advice, "inputs": alert.inputs,
        "value": alert.value, "threshold": alert.threshold,
    });
    if let Some(drill) = &alert.drill {
        shown["drill"] = json!(drill);
    }
    if let Some(past) = &alert.past {
        shown["past"] = json!(past);
    }
    shown
}

/// An alert that a scope sees, by its id.
pub(crate) fn found(views: &Views, scope: &Scope, id: &str) -> Result<Alert, Problem> {
    let alert = id.parse().ok().and_then(|id| seen(views, scope, &id));
    alert.ok_or_else(|| Problem::not_found("unknown_alert", format!("no alert has the id `{id}`")))
}

fn find(views: &Views, scope: &Scope, id: &str) -> Result<(AlertId, Value), Problem> {
    let alert = found(views, scope, id)?;
    Ok((alert.id, render(views, &alert)))
}

pub(crate) async fn show(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let (id, mut alert) = find(&views, caller.scope(), &id)?;
    let history = tokio::task::spawn_blocking(move || views.ledger.transitions_of(&id))
        .await
        .map_err(|e| Problem::internal(&e))?
        .map_err(|e| Problem::internal(&e))?;
    alert["history"] = history
        .into_iter()
        .map(|told| {
            let mut row = serde_json::to_value(&told.transition).expect("transitions have text keys only");
            row["seq"] = told.seq.into();
            row
        })
        .collect();
    Ok(Json(alert))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ack {
    name: String,
    #[serde(default)]
    note: String,
    until: Option<Timestamp>,
    minutes: Option<u32>,
}

/// The longest acknowledgement, and the longest time on the shelf.
const LONGEST_WHILE: Duration = Duration::from_secs(7 * 86_400);

/// The end of a while that is given as a time or in minutes.
fn end_of(now: Timestamp, until: Option<Timestamp>, minutes: Option<u32>) -> Result<Timestamp, Problem> {
    let until = match (until, minutes) {
        (Some(until), None) => until,
        (None, Some(minutes)) => now + Duration::from_secs(u64::from(minutes) * 60),
        _ => {
            return Err(Problem::bad_request(
                "bad_expiry",
                "give either `until` or `minutes`",
            ));
        }
    };
    if until <= now || until.since(now) > LONGEST_WHILE {
        return Err(Problem::bad_request(
            "bad_expiry",
            "it ends in the future, within 7 days",
        ));
    }
    Ok(until)
}

pub(crate) async fn ack(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
    Body(body): Body<Ack>,
) -> Result<Json<Value>, Problem> {
    let until = end_of(views.now(), body.until, body.minutes)?;
    let name = checked_name(body.name)?;
    act(&views, &caller, &id, |alert| Verb::Acknowledge {
        alert,
        name,
        note: body.note,
        until,
    })
    .await
}

pub(crate) async fn shelve(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
    Body(body): Body<Ack>,
) -> Result<Json<Value>, Problem> {
    let until = end_of(views.now(), body.until, body.minutes)?;
    let name = checked_name(body.name)?;
    if body.note.trim().is_empty() {
        return Err(Problem::bad_request(
            "no_reason",
            "shelving an alert needs a reason in `note`",
        ));
    }
    act(&views, &caller, &id, |alert| Verb::Shelve {
        alert,
        name,
        note: body.note,
        until,
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Unshelve {
    name: String,
    #[serde(default)]
    note: String,
}

pub(crate) async fn unshelve(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
    Body(body): Body<Unshelve>,
) -> Result<Json<Value>, Problem> {
    let name = checked_name(body.name)?;
    let (alert, _) = find(&views, caller.scope(), &id)?;
    let is_not_shelved = |alert: &Alert| alert.is_open() && alert.shelved.is_none();
    if views
        .board
        .read()
        .expect(POISON)
        .get(&alert)
        .is_some_and(is_not_shelved)
    {
        return Err(Problem::conflict("not_shelved", "the alert is not shelved"));
    }
    act(&views, &caller, &id, |alert| Verb::Unshelve {
        alert,
        name,
        note: body.note,
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Assign {
    name: String,
    to: String,
    #[serde(default)]
    note: String,
}

pub(crate) async fn assign(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
    Body(body): Body<Assign>,
) -> Result<Json<Value>, Problem> {
    let name = checked_name(body.name)?;
    if body.to.trim().is_empty() {
        return Err(Problem::bad_request(
            "no_assignee",
            "`to` says who is to see to the alert and may not be empty",
        ));
    }
    act(&views, &caller, &id, |alert| Verb::Assign {
        alert,
        name,
        to: body.to,
        note: body.note,
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Close {
    name: String,
    note: String,
}

pub(crate) async fn close(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
    Body(body): Body<Close>,
) -> Result<Json<Value>, Problem> {
    let name = checked_name(body.name)?;
    if body.note.trim().is_empty() {
        return Err(Problem::bad_request(
            "no_reason",
            "closing an alert by hand needs a reason in `note`",
        ));
    }
    act(&views, &caller, &id, |alert| Verb::Close {
        alert,
        name,
        note: body.note,
    })
    .await
}

fn checked_name(name: String) -> Result<String, Problem> {
    if name.trim().is_empty() {
        return Err(Problem::bad_request(
            "no_name",
            "`name` says who acts and may not be empty",
        ));
    }
    Ok(name)
}

async fn act(
    views: &Arc<Views>,
    caller: &Caller,
    id: &str,
    verb: impl FnOnce(AlertId) -> Verb,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope();
    let (id, _) = find(views, scope, id)?;
    let open = views
        .board
        .read()
        .expect(POISON)
        .get(&id)
        .is_some_and(Alert::is_open);
    if !open {
        return Err(Problem::conflict("alert_ended", "the alert has ended already"));
    }
    let position = views
        .acts
        .record_act(scope, views.now(), verb(id))
        .await
        .map_err(act_problem)?;
    views.applied(position).await.map_err(behind)?;
    find(views, scope, &id.to_string()).map(|(_, alert)| Json(alert))
}
