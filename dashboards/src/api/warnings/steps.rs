//! Steps of a warning's life, as people take them.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use onemap_alerts::Alert;
use onemap_model::{
    Act, Family, Scope, Severity, Timestamp, Verb, WarningAbout, WarningApproval, WarningColour,
    WarningContent, WarningKind, WarningStanding, WarningStep, WarningWords,
};
use onemap_rules::{Prospect, When};
use onemap_store::ledger::ForecastFilter;
use serde::Deserialize;
use serde_json::Value;

use super::{POISON, after_step, area, problem, seen};
use crate::api::alerts::found;
use crate::api::quarantine::read;
use crate::api::{act_problem, behind};
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::{Body, NoParams};
use crate::views::Views;

/// How long a warning holds that is proposed from an alert.
const PROPOSED: Duration = Duration::from_secs(24 * 3600);
/// Longest headline that is proposed, in characters.
const HEADLINE: usize = 150;

/// Takes a step: looked at first, then recorded, and folded before the answer. Gives its journal position.
async fn take(views: &Arc<Views>, scope: &Scope, step: WarningStep) -> Result<u64, Problem> {
    let at = views.now();
    let act = Act {
        at,
        by: scope.clone(),
        verb: Verb::Warning(Box::new(step)),
    };
    {
        let book = views.warnings.book.read().expect(POISON);
        book.check(&act).map_err(|refused| problem(&refused))?;
    }
    let recorded = views.acts.record_act(scope, at, act.verb).await;
    let position = recorded.map_err(act_problem)?;
    views.applied(position).await.map_err(behind)?;
    Ok(position)
}

/// What the server adds to what a person wrote: names of the sender, whose it is, outlines of divisions.
///
/// # Errors
/// 404 `unknown_device` where it is about a device that the scope does not see, 400 `bad_about` where that is not measured by
/// numbers.
fn completed(views: &Views, scope: &Scope, mut content: WarningContent) -> Result<WarningContent, Problem> {
    if let Some(about) = &content.about {
        let device = about.device.as_str();
        if views.device(scope, device).is_none() {
            let told = format!("about: no device is called `{device}`");
            return Err(Problem::not_found("unknown_device", told));
        }
        if about.quantity.is_state() {
            let told = format!("about: {} has states, and none is above another", about.quantity);
            return Err(Problem::bad_request("bad_about", told));
        }
    }
    let settings = &views.warnings.settings;
    for (words, name) in [
        (&mut content.zh, &settings.sender_name),
        (&mut content.en, &settings.sender_name_en),
    ] {
        if words.sender_name.is_empty() {
            words.sender_name.clone_from(name);
        }
    }
    if content.division.is_none() {
        content.division.clone_from(&scope.division);
    }
    if let ([department], true) = (&*scope.departments, content.department.is_empty()) {
        content.department.clone_from(department);
    }
    area::outline(&views.register.read().expect(POISON), &mut content);
    Ok(content)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct New {
    name: String,
    content: WarningContent,
}

/// Drafts a warning by hand.
pub(crate) async fn post(
    State(views): State<Arc<Views>>,
    caller: Caller,
    _: NoParams,
    Body(body): Body<New>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let mut content = completed(&views, caller.scope(), body.content)?;
    content.alert = None;
    let name = body.name;
    let id = take(&views, caller.scope(), WarningStep::Draft { name, content }).await?;
    Ok((StatusCode::CREATED, after_step(&views, id)?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FromAlert {
    name: String,
}

/// Drafts a warning from an alert.
pub(crate) async fn propose(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
    _: NoParams,
    Body(body): Body<FromAlert>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let alert = found(&views, caller.scope(), &id)?;
    if alert.past.is_some() {
        let text = format!(
            "alert {id} is a historical event: it was over before anybody could know, and there is nothing to warn of"
        );
        return Err(Problem::conflict("alert_past", text)
            .in_chinese(format!("告警 {id} 是历史事件，发现时已结束，无可预警")));
    }
    let mut content = proposed(&views, &alert);
    if let Some((asked, above)) = looks_ahead(&views, &alert) {
        "Likely".clone_into(&mut content.certainty);
        content.onset = foreseen(&views, &alert, asked, above).await?;
    }
    let content = completed(&views, caller.scope(), content)?;
    let name = body.name;
    let id = take(&views, caller.scope(), WarningStep::Draft { name, content }).await?;
    Ok((StatusCode::CREATED, after_step(&views, id)?))
}

/// The colour that is proposed for a severity: one grade each. The authority decides.
fn colour_of(severity: Severity) -> WarningColour {
    match severity {
        Severity::Critical => WarningColour::Red,
        Severity::Major => WarningColour::Orange,
        Severity::Minor => WarningColour::Yellow,
        Severity::Notice => WarningColour::Blue,
    }
}

fn category_of(family: Family) -> &'static str {
    match family {
        Family::Hydrology | Family::Weather => "Met",
        Family::Safety => "Safety",
        Family::Energy | Family::Technical => "Infra",
        _ => "Env",
    }
}

/// What an alert's rule says of the alert's own series, in whatever is put together; what it denies is left out.
fn said_of_own(views: &Views, alert: &Alert) -> Vec<When> {
    fn affirmed(when: &When) -> Vec<&When> {
        match when {
            When::All(parts) | When::Any(parts) => parts.iter().flat_map(affirmed).collect(),
            When::Not(_) => Vec::new(),
            fact => vec![fact],
        }
    }
    let Some(rule) = views.rule(&alert.rule) else {
        return Vec::new();
    };
    let device = &alert.series.device;
    let division = views
        .register
        .read()
        .expect(POISON)
        .divisions
        .get(device)
        .cloned();
    let rule = rule.of_device(device, division.as_ref()).unwrap_or(rule);
    let series = &alert.series;
    let is_own = |fact: &&When| {
        fact.quantity() == Some(series.quantity)
            && fact.channel().is_none_or(|channel| channel == series.channel)
    };
    affirmed(&rule.when).into_iter().filter(is_own).cloned().collect()
}

/// Whose forecast an alert rests on, and beyond what: its rule looks ahead, and no value that was measured is beyond a limit of
/// its own.
fn looks_ahead(views: &Views, alert: &Alert) -> Option<(Prospect, f64)> {
    let said = said_of_own(views, alert);
    let is_measured = |fact: &When| match (fact, alert.value) {
        (When::Above(limit), Some(value)) => value > limit.raise,
        (When::Below(limit), Some(value)) => value < limit.raise,
        _ => false,
    };
    if said.iter().any(is_measured) {
        return None;
    }
    said.into_iter().find_map(|fact| match fact {
        When::Forecast(asked) => {
            let limit = known_limit(alert, asked.limit.raise)?;
            Some((asked, limit))
        }
        _ => None,
    })
}

/// A limit; of one that is the gauge's own stage what the alert was raised by.
fn known_limit(alert: &Alert, raise: f64) -> Option<f64> {
    match raise.is_nan() {
        true => alert.threshold,
        false => Some(raise),
    }
}

/// From when on the newest forecast says that it is so: the first of its times that is yet to come and beyond the limit.
async fn foreseen(
    views: &Arc<Views>,
    alert: &Alert,
    asked: Prospect,
    limit: f64,
) -> Result<Option<Timestamp>, Problem> {
    let filter = ForecastFilter {
        series: Some(alert.series.to_string()),
        source: Some(asked.source.to_string()),
        ..ForecastFilter::default()
    };
    let newest = read(views, move |views| views.ledger.forecasts(&filter, None, 1)).await?;
    let leads = newest.into_iter().flat_map(|row| row.forecast.leads);
    let is_beyond = |value: f64| {
        if asked.is_above {
            value > limit
        } else {
            value < limit
        }
    };
    let now = views.now();
    let mut ahead = leads.filter(|lead| lead.at > now && is_beyond(lead.middle()));
    Ok(ahead.next().map(|lead| lead.at))
}

/// What an alert's rule waits for, where that is a value of its series above a limit, measured or foreseen; of several the
/// lowest measured one, else the lowest that is foreseen.
fn about(views: &Views, alert: &Alert) -> Option<WarningAbout> {
    let said = said_of_own(views, alert);
    let measured = said.iter().filter_map(|fact| match fact {
        When::Above(limit) => known_limit(alert, limit.raise),
        _ => None,
    });
    let ahead = said.iter().filter_map(|fact| match fact {
        When::Forecast(asked) if asked.is_above => known_limit(alert, asked.limit.raise),
        _ => None,
    });
    let above = measured
        .min_by(f64::total_cmp)
        .or_else(|| ahead.min_by(f64::total_cmp))?;
    let series = &alert.series;
    Some(WarningAbout {
        device: series.device.clone(),
        quantity: series.quantity,
        ch: series.channel,
        above,
    })
}

/// What a warning from an alert says first: the alert's sentence and advice; what only people know (the code of the
/// event) is left out and stands among the draft's faults.
fn proposed(views: &Views, alert: &Alert) -> WarningContent {
    let register = views.register.read().expect(POISON);
    let belongs = onemap_alerts::Whose::belongs(&*register, alert);
    let division = belongs.division.cloned();
    let colour = colour_of(alert.severity);
    let cut = |text: &str| text.chars().take(HEADLINE).collect::<String>();
    let (zh_colour, en_colour) = match colour {
        WarningColour::Blue => ("蓝色", "Blue"),
        WarningColour::Yellow => ("黄色", "Yellow"),
        WarningColour::Orange => ("橙色", "Orange"),
        WarningColour::Red => ("红色", "Red"),
    };
    let words = |event: String, message: &str, advice: &str| WarningWords {
        event,
        sender_name: String::new(),
        headline: cut(message),
        description: message.to_owned(),
        instruction: advice.to_owned(),
    };
    let areas = division.iter().map(|code| area::of_division(&register, code));
    WarningContent {
        standing: match alert.drill {
            Some(_) => WarningStanding::Exercise,
            None => WarningStanding::Actual,
        },
        colour,
        event_code: String::new(),
        categories: vec![category_of(alert.series.quantity.definition().family).to_owned()],
        urgency: "Expected".to_owned(),
        certainty: "Observed".to_owned(),
        response_types: vec!["Monitor".to_owned()],
        effective: None,
        onset: Some(alert.raised_at),
        expires: views.now() + PROPOSED,
        zh: words(
            format!("{}{zh_colour}预警", alert.rule_name.zh),
            &alert.message.zh,
            &alert.advice.zh,
        ),
        en: words(
            format!("{en_colour} warning: {}", alert.rule_name.en),
            &alert.message.en,
            &alert.advice.en,
        ),
        areas: areas.collect(),
        web: None,
        contact: None,
        alert: Some(alert.id),
        about: about(views, alert),
        division,
        department: register
            .department_of(alert.series.device.as_str())
            .trim()
            .to_owned(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Edited {
    name: String,
    #[serde(default)]
    revision: Option<u64>,
    content: WarningContent,
}

/// Changes a draft.
pub(crate) async fn put(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<u64>,
    _: NoParams,
    Body(body): Body<Edited>,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope();
    let before = seen(&views, scope, id)?;
    let mut content = body.content;
    // Looked at here and not where it is folded: what was issued before this was refused stays as it is.
    if before.from_drill && content.standing != WarningStanding::Exercise {
        let text =
            format!("warning {id} was drafted from an alert of a drill: it is an exercise and stays one");
        let problem = Problem::conflict("drill_warning", text);
        return Err(problem.in_chinese(format!("预警 {id} 由演练告警拟制，只能是演练，不能转为正式预警")));
    }
    keep_what_stays(&mut content, before.content());
    let step = WarningStep::Edit {
        warning: id,
        revision: body.revision,
        name: body.name,
        content: completed(&views, scope, content)?,
    };
    take(&views, scope, step).await?;
    after_step(&views, id)
}

/// Whose a warning is, and of which alert, stays where nothing else is said.
fn keep_what_stays(content: &mut WarningContent, before: Option<&WarningContent>) {
    let Some(before) = before else { return };
    content.alert = before.alert;
    if content.about.is_none() {
        content.about.clone_from(&before.about);
    }
    if content.division.is_none() {
        content.division.clone_from(&before.division);
    }
    if content.department.is_empty() {
        content.department.clone_from(&before.department);
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reasoned {
    name: String,
    note: String,
}

/// Gives a draft up.
pub(crate) async fn delete(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<u64>,
    _: NoParams,
    Body(body): Body<Reasoned>,
) -> Result<Json<Value>, Problem> {
    seen(&views, caller.scope(), id)?;
    let Reasoned { name, note } = body;
    let step = WarningStep::Drop {
        warning: id,
        name,
        note,
    };
    take(&views, caller.scope(), step).await?;
    after_step(&views, id)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Approved {
    revision: u64,
    authority: String,
    name: String,
    number: String,
    #[serde(default)]
    at: Option<Timestamp>,
}

/// Records the authority's approval, by which the draft is issued.
pub(crate) async fn approve(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<u64>,
    _: NoParams,
    Body(body): Body<Approved>,
) -> Result<Json<Value>, Problem> {
    seen(&views, caller.scope(), id)?;
    let issuer = views.warnings.settings.issuer().ok_or_else(|| {
        Problem::conflict(
            "no_sender",
            "nobody is configured who issues warnings: [alerts.warnings] sender and organisation",
        )
    })?;
    let approval = WarningApproval {
        authority: body.authority,
        name: body.name,
        number: body.number,
        at: body.at.unwrap_or_else(|| views.now()),
    };
    let step = WarningStep::Approve {
        warning: id,
        revision: body.revision,
        approval,
        issuer,
    };
    let position = take(&views, caller.scope(), step).await?;
    let is_done = {
        let book = views.warnings.book.read().expect(POISON);
        let issued = book.get(id).map(|warning| &warning.issued);
        issued.is_some_and(|all| all.iter().any(|message| message.position == position))
    };
    match is_done {
        true => after_step(&views, id),
        false => Err(Problem::conflict(
            "draft_changed",
            "the draft was changed, approved or rejected at the same moment",
        )),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rejected {
    revision: u64,
    name: String,
    note: String,
}

/// Does not approve a draft.
pub(crate) async fn reject(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<u64>,
    _: NoParams,
    Body(body): Body<Rejected>,
) -> Result<Json<Value>, Problem> {
    seen(&views, caller.scope(), id)?;
    let step = WarningStep::Reject {
        warning: id,
        revision: body.revision,
        name: body.name,
        note: body.note,
    };
    take(&views, caller.scope(), step).await?;
    after_step(&views, id)
}

/// Drafts what takes the place of what was issued.
pub(crate) async fn update(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<u64>,
    _: NoParams,
    Body(body): Body<New>,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope();
    let before = seen(&views, scope, id)?;
    let mut content = body.content;
    // Looked at here and not where it is folded: what was issued before this was refused stays as it is.
    if before.from_drill && content.standing != WarningStanding::Exercise {
        let text =
            format!("warning {id} was drafted from an alert of a drill: it is an exercise and stays one");
        let problem = Problem::conflict("drill_warning", text);
        return Err(problem.in_chinese(format!("预警 {id} 由演练告警拟制，只能是演练，不能转为正式预警")));
    }
    keep_what_stays(&mut content, before.content());
    revise(&views, scope, id, WarningKind::Update, body.name, content).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ending {
    name: String,
    zh: String,
    en: String,
}

/// Drafts the end of what was issued.
pub(crate) async fn cancel(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<u64>,
    _: NoParams,
    Body(body): Body<Ending>,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope();
    let before = seen(&views, scope, id)?;
    let not_issued = || Problem::conflict("not_issued", format!("nothing of warning {id} is issued"));
    let last = before.issued.last().ok_or_else(not_issued)?;
    let cut = |text: String| text.chars().take(HEADLINE).collect::<String>();
    let mut content = last.content.clone();
    for (words, headline, why, instruction) in [
        (
            &mut content.zh,
            format!("解除{}", last.content.zh.event),
            body.zh,
            "预警已解除。",
        ),
        (
            &mut content.en,
            format!("Cancelled: {}", last.content.en.event),
            body.en,
            "The warning is over.",
        ),
    ] {
        words.headline = cut(headline);
        words.description = why;
        words.instruction = instruction.to_owned();
    }
    revise(&views, scope, id, WarningKind::Cancel, body.name, content).await
}

async fn revise(
    views: &Arc<Views>,
    scope: &Scope,
    warning: u64,
    kind: WarningKind,
    name: String,
    content: WarningContent,
) -> Result<Json<Value>, Problem> {
    let step = WarningStep::Revise {
        warning,
        kind,
        name,
        content: completed(views, scope, content)?,
    };
    take(views, scope, step).await?;
    after_step(views, warning)
}
