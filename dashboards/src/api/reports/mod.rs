//! Reports (日报, 月报): what a Beijing day or month came to, as JSON, CSV, or a page that prints.
//!
//! All three say the same: a report is one JSON value, and the tables of the others point into it.

mod csv;
mod figures;
mod html;
mod layout;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use onemap_model::{DivisionCode, Timestamp};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::auth::Caller;
use crate::error::Problem;
use crate::request::Params;
use crate::views::Views;

/// Reports are made one after another: a month of a large ledger is some seconds of one core.
static TURN: Semaphore = Semaphore::const_new(1);
/// How long one waits for its turn.
const WAIT: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Format {
    Json,
    Html,
    Csv,
}

/// The language of a page or a table; JSON has both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Lang {
    /// 中文
    #[default]
    Zh,
    /// English
    En,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Daily {
    date: Option<String>,
    division: Option<DivisionCode>,
    format: Option<Format>,
    #[serde(default)]
    lang: Lang,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Monthly {
    month: Option<String>,
    division: Option<DivisionCode>,
    format: Option<Format>,
    #[serde(default)]
    lang: Lang,
}

/// A day or a month of Beijing.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Period {
    is_month: bool,
    /// `2026-11-28` or `2026-11`.
    name: String,
    from: Timestamp,
    to: Timestamp,
}

/// The report of a Beijing day.
pub(crate) async fn daily(
    State(views): State<Arc<Views>>,
    caller: Caller,
    headers: HeaderMap,
    Params(query): Params<Daily>,
) -> Result<Response, Problem> {
    let date = query
        .date
        .unwrap_or_else(|| views.now().to_string().chars().take(10).collect());
    let period = Period::day(&date)?;
    answer(
        views,
        caller,
        (&headers, query.format, query.lang),
        period,
        query.division,
    )
    .await
}

/// The report of a Beijing month.
pub(crate) async fn monthly(
    State(views): State<Arc<Views>>,
    caller: Caller,
    headers: HeaderMap,
    Params(query): Params<Monthly>,
) -> Result<Response, Problem> {
    let month = query
        .month
        .unwrap_or_else(|| views.now().to_string().chars().take(7).collect());
    let period = Period::month(&month)?;
    answer(
        views,
        caller,
        (&headers, query.format, query.lang),
        period,
        query.division,
    )
    .await
}

impl Period {
    fn day(date: &str) -> Result<Self, Problem> {
        let bad = || {
            Problem::bad_request(
                "bad_date",
                format!("date={date}: a date like 2026-11-23 is needed"),
            )
        };
        let from = midnight(date).ok_or_else(bad)?;
        Ok(Self {
            is_month: false,
            name: date.to_owned(),
            from,
            to: from + Duration::from_secs(86_400),
        })
    }

    fn month(month: &str) -> Result<Self, Problem> {
        let bad = || {
            Problem::bad_request(
                "bad_month",
                format!("month={month}: a month like 2026-11 is needed"),
            )
        };
        let from = midnight(&format!("{month}-01")).ok_or_else(bad)?;
        // The 28th is in every month, and five days later is the next one.
        let later = midnight(&format!("{month}-28")).ok_or_else(bad)? + Duration::from_secs(5 * 86_400);
        let next: String = later.to_string().chars().take(7).collect();
        Ok(Self {
            is_month: true,
            name: month.to_owned(),
            from,
            to: midnight(&format!("{next}-01")).ok_or_else(bad)?,
        })
    }
}

/// The beginning of a Beijing date that is written with ten characters.
fn midnight(date: &str) -> Option<Timestamp> {
    let is_plain = date.len() == 10 && date.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    is_plain.then(|| Timestamp::parse(&format!("{date}T00:00:00+08:00")).ok())?
}

async fn answer(
    views: Arc<Views>,
    caller: Caller,
    (headers, format, lang): (&HeaderMap, Option<Format>, Lang),
    period: Period,
    division: Option<DivisionCode>,
) -> Result<Response, Problem> {
    if period.from > views.now() {
        let code = if period.is_month { "bad_month" } else { "bad_date" };
        return Err(Problem::bad_request(code, format!("{} lies ahead", period.name)));
    }
    let format = format.unwrap_or_else(|| accepted(headers));
    let scope = caller.scope().clone();
    let busy = |_| Problem::unavailable("other reports are being made; ask again");
    let turn = tokio::time::timeout(WAIT, TURN.acquire()).await.map_err(busy)?;
    let turn = turn.expect("the turn of reports is never closed");
    let name = format!("onemap-{}", period.name);
    // The turn is the work's: who hangs up does not end it.
    let made = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        figures::report(&views, &scope, &period, division.as_ref())
    });
    let report = made
        .await
        .map_err(|e| Problem::internal(&e))?
        .map_err(|e| Problem::internal(&e))?;
    Ok(rendered(&report, format, lang, &name))
}

fn rendered(report: &Value, format: Format, lang: Lang, name: &str) -> Response {
    match format {
        Format::Json => Json(report).into_response(),
        Format::Csv => {
            let disposition = format!("attachment; filename=\"{name}.csv\"");
            let heads = [
                (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
                (header::CONTENT_DISPOSITION, disposition),
            ];
            (heads, csv::render(report, lang)).into_response()
        }
        Format::Html => {
            let heads = [
                (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
                (header::CONTENT_SECURITY_POLICY, html::csp().to_owned()),
            ];
            (heads, html::render(report, lang)).into_response()
        }
    }
}

/// What a caller that names no format accepts: a browser a page, others JSON.
fn accepted(headers: &HeaderMap) -> Format {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let first = accept.unwrap_or_default().split(',').find_map(|kind| {
        match kind.split(';').next().unwrap_or_default().trim() {
            "text/html" => Some(Format::Html),
            "text/csv" => Some(Format::Csv),
            "application/json" => Some(Format::Json),
            _ => None,
        }
    });
    first.unwrap_or(Format::Json)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn periods_are_days_and_months_of_beijing() {
        let day = Period::day("2026-11-28").unwrap();
        assert_eq!(day.from.to_string(), "2026-11-28T00:00:00+08:00");
        assert_eq!(day.to - day.from, 86_400_000);
        for (month, days) in [("2026-11", 30), ("2026-12", 31), ("2028-02", 29), ("2026-02", 28)] {
            let period = Period::month(month).unwrap();
            assert_eq!(period.to - period.from, days * 86_400_000, "{month}");
        }
        for bad in [
            "2026-1-1",
            "2026-02-30",
            "28.11.2026",
            "",
            "2026-11-28T00",
            "２０２６-11",
        ] {
            assert!(Period::day(bad).is_err(), "{bad}");
        }
        for bad in ["2026-13", "2026", "2026-1", "2026-11-01", ""] {
            assert!(Period::month(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_first_format_that_is_known_is_taken() {
        for (accept, want) in [
            ("text/html,application/xhtml+xml,*/*;q=0.8", Format::Html),
            ("text/csv", Format::Csv),
            ("application/json, text/html", Format::Json),
            ("*/*", Format::Json),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            assert_eq!(accepted(&headers), want, "{accept}");
        }
    }
}
