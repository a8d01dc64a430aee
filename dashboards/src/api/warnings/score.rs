//! What became of warnings, found from what was measured; never kept, so that what comes late counts.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::{Extension, Json};
use onemap_alerts::warnings::score::{Course, Held, Outcome, Table, Verdict, verdict};
use onemap_alerts::warnings::{MOST_OVER, Warning};
use onemap_model::{Scope, Timestamp, WarningAbout, WarningStanding};
use onemap_store::engine::StoreError;
use onemap_store::history::Point;
use serde::Deserialize;
use serde_json::{Value, json};

use super::POISON;
use crate::api::rows::Turns;
use crate::api::time;
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::Params;
use crate::views::Views;

/// Series with their thresholds that one question looks at, those that were warned of last.
const MOST_COURSES: usize = 100;
/// So long before a warning an event is looked for that goes on.
const BEFORE: Duration = Duration::from_secs(3 * 86_400);
/// Values that are less far apart say what was between, however often a device reports.
const LEAST_PATIENCE: Duration = Duration::from_secs(3600);
const LONGEST: Duration = Duration::from_secs(366 * 86_400);
const YEAR_MS: i64 = 365 * 86_400_000;

/// A series of a device that the scope sees, beside a threshold.
///
/// # Errors
/// When the history cannot be read.
fn course(
    views: &Views,
    scope: &Scope,
    about: &WarningAbout,
    (from, to): (Timestamp, Timestamp),
) -> Result<Option<Course>, StoreError> {
    let Some(device) = views.device(scope, about.device.as_str()) else {
        return Ok(None);
    };
    let limit = views.register.read().expect(POISON).silence_limit(&device);
    let mut course = Course::new(about.above, limit.max(LEAST_PATIENCE));
    let Some(id) = views.history.series_id(&about.series()) else {
        return Ok(Some(course));
    };
    let mut take = |point: Point| {
        if point.quality.judgeable()
            && let Some(value) = point.value.number()
        {
            course.see(point.measured_at, value);
        }
        ControlFlow::Continue(())
    };
    let from = Timestamp::from_ms(from.ms() - i64::try_from(BEFORE.as_millis()).unwrap_or(0));
    // Up to and with the last moment.
    views
        .archive
        .scan(id, from, Timestamp::from_ms(to.ms() + 1), &mut take)?;
    Ok(Some(course))
}

fn outcome_zh(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pending => "生效中，尚未评定",
        Outcome::Hit => "命中",
        Outcome::Late => "迟报",
        Outcome::FalseAlarm => "空报",
        Outcome::Unknown => "无法评定",
    }
}

fn shown(about: Option<&WarningAbout>, held: (Timestamp, Timestamp), verdict: &Verdict) -> Value {
    let event = verdict.event;
    json!({
        "outcome": verdict.outcome, "outcome_zh": outcome_zh(verdict.outcome), "reason": verdict.reason, "about": about,
        "sent": held.0, "until": held.1, "begun": event.map(|event| event.begun), "last": event.map(|event| event.last),
        "peak": event.map(|event| event.peak), "lead_s": verdict.lead_ms.map(|ms| ms as f64 / 1000.0),
    })
}

/// What became of one warning; `null` of what was never issued, and of exercises and tests.
pub(super) async fn of(
    views: &Arc<Views>,
    turns: &Turns,
    scope: &Scope,
    warning: &Warning,
) -> Result<Value, Problem> {
    let Some((sent, until)) = times(warning) else {
        return Ok(Value::Null);
    };
    let Some((about, held)) = warning.held() else {
        return Ok(shown(None, (sent, until), &Verdict::unknown("no_about")));
    };
    let now = views.now();
    let (scope, asked) = (scope.clone(), about.clone());
    let read = move |views: &Views| course(views, &scope, &asked, (held.sent, held.until.min(now)));
    let course = turns.once(views.clone(), read).await?;
    let verdict = course.map_or(Verdict::unknown("no_series"), |course| {
        verdict(&held, &course, now)
    });
    Ok(shown(Some(about), (sent, until), &verdict))
}

/// From when to when a warning holds that is the real thing.
fn times(warning: &Warning) -> Option<(Timestamp, Timestamp)> {
    let is_actual = warning.issued.first()?.standing == WarningStanding::Actual;
    is_actual.then(|| warning.in_force()).flatten()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    from: Option<String>,
    to: Option<String>,
}

/// What became of warnings by kind of event.
pub(crate) async fn show(
    State(views): State<Arc<Views>>,
    Extension(turns): Extension<Turns>,
    caller: Caller,
    Params(query): Params<Query>,
) -> Result<Json<Value>, Problem> {
    let to = query.to.as_deref();
    let to = to.map_or(Ok(views.now()), |text| time("to", text))?;
    let from = match query.from.as_deref() {
        Some(text) => time("from", text)?,
        None => Timestamp::from_ms(to.ms().saturating_sub(YEAR_MS)),
    };
    if to <= from || to.since(from) > LONGEST {
        return Err(Problem::bad_request(
            "bad_range",
            "`to` lies behind `from`, by at most 366 days",
        ));
    }
    let scope = caller.scope().clone();
    let (warnings, is_cut) = {
        let book = views.warnings.book.read().expect(POISON);
        let seen = book
            .newest_first()
            .filter(|warning| scope.covers(warning.belongs()) && times(warning).is_some());
        // What is over for longest is not held any more.
        let seen: Vec<Warning> = seen.cloned().collect();
        let is_full = book.newest_first().count() >= MOST_OVER;
        let oldest = seen.last().and_then(times);
        (seen, is_full && oldest.is_none_or(|(sent, _)| sent > from))
    };
    let scored = turns.once(views, move |views| table(views, &scope, &warnings, (from, to)));
    let (mut answer, is_more) = scored.await?;
    answer["cut"] = json!(is_cut || is_more);
    Ok(Json(answer))
}

/// The answer, and whether more was warned of than is looked at.
fn table(
    views: &Views,
    scope: &Scope,
    warnings: &[Warning],
    (from, to): (Timestamp, Timestamp),
) -> Result<(Value, bool), StoreError> {
    let now = views.now();
    let within = |at: Timestamp| from <= at && at < to;
    let mut by_series: BTreeMap<String, Vec<Held>> = BTreeMap::new();
    // What was warned of last comes first, and says of which kind it is.
    let mut abouts: Vec<(&WarningAbout, String)> = Vec::new();
    for (warning, (about, held)) in warnings.iter().filter_map(|w| Some((w, w.held()?))) {
        by_series
            .entry(about.series().to_string())
            .or_default()
            .push(held);
        if !abouts.iter().any(|(known, _)| *known == about) {
            abouts.push((about, event_code(warning)));
        }
    }
    let is_more = abouts.len() > MOST_COURSES;
    abouts.truncate(MOST_COURSES);
    let (mut total, mut kinds) = (Table::default(), BTreeMap::<String, Table>::new());
    let mut verdicts = BTreeMap::<u64, Verdict>::new();
    for (about, code) in &abouts {
        let Some(held) = by_series.get(&about.series().to_string()) else {
            continue;
        };
        let sent = held.iter().filter(|held| within(held.sent));
        let first = sent.clone().map(|held| held.sent).fold(from, Ord::min);
        let last = sent.map(|held| held.until).fold(to, Ord::max).min(now);
        let Some(course) = course(views, scope, about, (first, last))? else {
            continue;
        };
        let mut table = Table::default();
        table.take(held, &course, (from, to), now);
        total.add(&table);
        kinds.entry(code.clone()).or_default().add(&table);
        for warning in warnings {
            if let Some((_, held)) = warning.held().filter(|(own, _)| own == about) {
                verdicts.insert(warning.id, verdict(&held, &course, now));
            }
        }
    }
    let mut rows = Vec::new();
    for warning in warnings {
        let Some(times) = times(warning).filter(|(sent, _)| within(*sent)) else {
            continue;
        };
        let about = warning.held().map(|(about, _)| about);
        let told = verdicts.remove(&warning.id);
        let told = told.unwrap_or(Verdict::unknown(if about.is_some() {
            "no_series"
        } else {
            "no_about"
        }));
        // What has no series, or is about nothing that is measured, stands in no table yet.
        if matches!(told.reason, Some("no_series" | "no_about")) {
            total.unknown += 1;
            kinds.entry(event_code(warning)).or_default().unknown += 1;
        }
        rows.push(
            json!({"id": warning.id, "event_code": event_code(warning), "score": shown(about, times, &told)}),
        );
    }
    let kinds = kinds.iter().map(|(code, table)| {
        let of = |warning: &&Warning| event_code(warning) == *code;
        let words = warnings.iter().find(of).and_then(Warning::content);
        json!({"event_code": code, "zh": words.map_or("", |c| &c.zh.event), "en": words.map_or("", |c| &c.en.event),
               "table": figures(table)})
    });
    let answer = json!({
        "from": from, "to": to, "total": figures(&total), "kinds": kinds.collect::<Vec<Value>>(), "warnings": rows,
    });
    Ok((answer, is_more))
}

fn event_code(warning: &Warning) -> String {
    let first = warning.issued.first();
    first.map_or(String::new(), |issued| issued.content.event_code.clone())
}

fn figures(table: &Table) -> Value {
    let mut value = json!(table);
    value["pod"] = json!(table.pod());
    value["far"] = json!(table.far());
    value["csi"] = json!(table.csi());
    value["median_lead_s"] = json!(table.median_lead_ms().map(|ms| ms as f64 / 1000.0));
    value
}
