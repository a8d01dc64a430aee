//! The gap ledger: what was expected of each device, what came and what is lost; and the rates that are
//! asked of networks.
//!
//! Definitions stand in docs/api.md. One report is one device at one time. 传输有效率 is what air networks
//! report: valid reports of those that should have been. 到报率 and 及时率 are those of hydrology: what came
//! at all, and what came in time.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use onemap_model::{Device, DivisionCode, Timestamp};
use onemap_store::gaps::{Expectation, HourCounts, HourRow, N_DAYS_KEPT};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::devices::find;
use crate::api::quarantine::date;
use crate::api::{limit, list};
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::Params;
use crate::views::Views;

const POISON: &str = "no holder of this lock panics";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum GroupBy {
    #[default]
    Device,
    Division,
    Kind,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Format {
    #[default]
    Json,
    Csv,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    device: Option<String>,
    division: Option<DivisionCode>,
    kind: Option<String>,
    /// A Beijing date; today when no time is given at all.
    day: Option<String>,
    /// First and last Beijing date, both inside.
    from: Option<String>,
    to: Option<String>,
    group_by: Option<GroupBy>,
    /// Digits of the division code to group by: 6 county, 9 street, 12 community.
    level: Option<usize>,
    #[serde(default)]
    format: Format,
    limit: Option<usize>,
    after: Option<String>,
}

/// The ledger by hour of one device and day, or by day of devices, divisions or kinds.
pub(crate) async fn show(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Params(query): Params<Query>,
) -> Result<Response, Problem> {
    let scope = caller.scope().clone();
    let now = views.now();
    let days = days(&query, now)?;
    let by_hour = query.from.is_none() && query.to.is_none() && query.group_by.is_none();
    if let (Some(id), true, Format::Json) = (&query.device, by_hour, query.format) {
        let device = find(&views, &scope, id)?;
        return Ok(hours(&views, &device, *days.start(), now).into_response());
    }
    let limit = limit(query.limit, 1000)?;
    if query
        .level
        .is_some_and(|level| ![2, 4, 6, 9, 12].contains(&level))
    {
        return Err(Problem::bad_request(
            "bad_level",
            "level is 2, 4, 6, 9 or 12 digits of a division code",
        ));
    }
    let group_by = query.group_by.unwrap_or_default();
    let (format, after) = (query.format, query.after.clone());
    let rows = tokio::task::spawn_blocking(move || gather(&views, &scope, &query, group_by, days, now))
        .await
        .map_err(|e| Problem::internal(&e))?;
    let mut rows: Vec<_> = rows
        .into_iter()
        .filter(|((key, day), _)| {
            after
                .as_deref()
                .is_none_or(|after| place(key, *day).as_str() > after)
        })
        .collect();
    let next = (rows.len() > limit).then(|| {
        rows.truncate(limit);
        rows.last().map(|((key, day), _)| place(key, *day))
    });
    Ok(match format {
        Format::Json => {
            let items = rows
                .iter()
                .map(|((key, day), totals)| totals.json(group_by.name(), key, *day))
                .collect();
            list(items, next.flatten()).into_response()
        }
        Format::Csv => csv(group_by.name(), &rows),
    })
}

/// Where a row stands in the order of all rows.
fn place(key: &str, day: i64) -> String {
    format!("{key}@{}", date(day))
}

impl GroupBy {
    fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Division => "division",
            Self::Kind => "kind",
        }
    }
}

fn days(query: &Query, now: Timestamp) -> Result<std::ops::RangeInclusive<i64>, Problem> {
    let read = |name: &str, text: &Option<String>| -> Result<Option<i64>, Problem> {
        let Some(text) = text else { return Ok(None) };
        let day = Timestamp::parse(&format!("{text}T00:00:00+08:00")).map_err(|_| {
            Problem::bad_request(
                "bad_day",
                format!("{name}={text}: a date like 2026-11-23 is needed"),
            )
        })?;
        Ok(Some(day.beijing_day()))
    };
    let (day, from, to) = (
        read("day", &query.day)?,
        read("from", &query.from)?,
        read("to", &query.to)?,
    );
    if day.is_some() && (from.is_some() || to.is_some()) {
        return Err(Problem::bad_request("bad_day", "either day, or from and to"));
    }
    let to = day.or(to).unwrap_or_else(|| now.beijing_day());
    let from = day.or(from).unwrap_or(to);
    if from > to || to - from >= N_DAYS_KEPT {
        return Err(Problem::bad_request(
            "bad_range",
            format!("from is not after to, and at most {N_DAYS_KEPT} days are asked for: as many are kept"),
        ));
    }
    Ok(from..=to)
}

/// The 24 hours of a device's day. Nothing is expected of it before it was first heard live.
fn rows_of(views: &Views, device: &Device, cadence_s: u32, day: i64, now: Timestamp) -> Vec<HourRow> {
    let expectation = Expectation {
        cadence_s,
        since: Some(views.gaps.heard(&device.id).unwrap_or(now)),
        until: None,
    };
    views.gaps.day(&device.id, day, &expectation, now)
}

fn hours(views: &Views, device: &Device, day: i64, now: Timestamp) -> Json<Value> {
    let (cadence_s, limit) = {
        let register = views.register.read().expect(POISON);
        (register.cadence_s(device), register.silence_limit(device))
    };
    let rows = rows_of(views, device, cadence_s, day, now);
    let mut totals = Totals::default();
    let hours: Vec<Value> = rows
        .iter()
        .map(|row| {
            totals.add(row);
            let mut hour = counts_json(&row.counts, row.expected, row.lost);
            hour["hour"] = row.hour.into();
            hour
        })
        .collect();
    let mut item = totals.json("device", device.id.as_str(), day);
    item["cadence_s"] = cadence_s.into();
    item["silence_limit_s"] = limit.as_secs().into();
    item["hours"] = hours.into();
    list(vec![item], None)
}

/// Sums over the hours of a day, and over devices.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Totals {
    n_devices: u32,
    expected: u32,
    lost: u32,
    /// Reports up to what was expected of their device in their hour: the numerators of the rates, so
    /// that one that sends too much does not hide another's silence.
    arrived: u32,
    valid: u32,
    in_time: u32,
    counts: HourCounts,
}

impl Totals {
    fn add(&mut self, row: &HourRow) {
        let c = &row.counts;
        self.expected += row.expected;
        self.lost += row.lost;
        self.arrived += c.received.min(row.expected);
        self.valid += c.received.saturating_sub(c.doubtful).min(row.expected);
        self.in_time += c.received.saturating_sub(c.overdue).min(row.expected);
        self.counts.add(c);
    }
    fn join(&mut self, other: &Self) {
        self.expected += other.expected;
        self.lost += other.lost;
        self.arrived += other.arrived;
        self.valid += other.valid;
        self.in_time += other.in_time;
        self.counts.add(&other.counts);
    }
    fn rate(&self, n: u32) -> Option<f64> {
        // Four decimals: 传输有效率 is given in percent with two.
        (self.expected > 0).then(|| (f64::from(n) / f64::from(self.expected) * 1e4).round() / 1e4)
    }
    fn rates(&self) -> [(&'static str, Option<f64>); 3] {
        [
            ("transmission_rate", self.rate(self.valid)),
            ("arrival_rate", self.rate(self.arrived)),
            ("timely_rate", self.rate(self.in_time)),
        ]
    }
    fn json(&self, group: &str, key: &str, day: i64) -> Value {
        let mut item = counts_json(&self.counts, self.expected, self.lost);
        item[group] = key.into();
        item["day"] = date(day).into();
        if self.n_devices > 0 {
            item["devices"] = self.n_devices.into();
        }
        for (name, rate) in self.rates() {
            item[name] = json!(rate);
        }
        item
    }
}

fn counts_json(c: &HourCounts, expected: u32, lost: u32) -> Value {
    json!({"expected": expected, "received": c.received, "late": c.late, "duplicate": c.duplicate,
           "revised": c.revised, "refused": c.refused, "doubtful": c.doubtful, "overdue": c.overdue,
           "lost": lost})
}

fn gather(
    views: &Views,
    scope: &onemap_model::Scope,
    query: &Query,
    group_by: GroupBy,
    days: std::ops::RangeInclusive<i64>,
    now: Timestamp,
) -> BTreeMap<(String, i64), Totals> {
    let devices: Vec<(Arc<Device>, Option<DivisionCode>, u32)> = {
        let register = views.register.read().expect(POISON);
        let wanted = register.view.devices.iter().filter(|(id, device)| {
            let division = register.divisions.get(id.as_str());
            scope.covers(device.belongs(division))
                && query.device.as_deref().is_none_or(|d| id.as_str() == d)
                && query.kind.as_deref().is_none_or(|kind| *device.kind == *kind)
                && query
                    .division
                    .as_ref()
                    .is_none_or(|d| division.is_some_and(|own| d.covers(own)))
        });
        wanted
            .map(|(id, device)| {
                let division = register.divisions.get(id.as_str()).cloned();
                (device.clone(), division, register.cadence_s(device))
            })
            .collect()
    };
    let mut groups: BTreeMap<(String, i64), Totals> = BTreeMap::new();
    for (device, division, cadence_s) in devices {
        let key = match group_by {
            GroupBy::Device => device.id.to_string(),
            GroupBy::Kind => device.kind.to_string(),
            GroupBy::Division => {
                let code = division.as_ref().map_or("", DivisionCode::as_str);
                let level = query.level.unwrap_or(code.len()).min(code.len());
                code[..level].to_owned()
            }
        };
        for day in days.clone() {
            let totals = groups.entry((key.clone(), day)).or_default();
            totals.n_devices += u32::from(group_by != GroupBy::Device);
            for row in rows_of(views, &device, cadence_s, day, now) {
                totals.add(&row);
            }
        }
    }
    groups
}

/// Devices times days of which the arrival is counted: some seconds of one core.
const MOST_DEVICE_DAYS: usize = 700_000;

/// What arrived of what was expected in days, of what a scope sees of a division; `None` where the days are no longer kept,
/// or where it is more than is counted at once.
pub(crate) fn arrival(
    views: &Views,
    scope: &onemap_model::Scope,
    division: Option<&DivisionCode>,
    days: std::ops::RangeInclusive<i64>,
    now: Timestamp,
) -> Option<Value> {
    let n_days = usize::try_from(days.end() - days.start() + 1).ok()?;
    let n_devices = views.register.read().expect(POISON).view.devices.len();
    if *days.start() <= now.beijing_day() - N_DAYS_KEPT || n_devices.saturating_mul(n_days) > MOST_DEVICE_DAYS
    {
        return None;
    }
    let query = Query {
        division: division.cloned(),
        ..Query::default()
    };
    let mut whole = Totals::default();
    for totals in gather(views, scope, &query, GroupBy::Division, days, now).into_values() {
        whole.join(&totals);
    }
    let mut out = json!({"expected": whole.expected, "received": whole.counts.received, "lost": whole.lost,
                         "late": whole.counts.late, "refused": whole.counts.refused});
    for (name, rate) in whole.rates() {
        out[name] = json!(rate);
    }
    Some(out)
}

/// A header and a line for each row; keys are quoted, because a kind may hold a comma.
fn csv(group: &str, rows: &[((String, i64), Totals)]) -> Response {
    let mut out = format!(
        "{group},day,devices,expected,received,late,duplicate,revised,refused,doubtful,overdue,lost,transmission_rate,arrival_rate,timely_rate\r\n"
    );
    for ((key, day), totals) in rows {
        let c = &totals.counts;
        let rates = totals
            .rates()
            .map(|(_, rate)| rate.map_or(String::new(), |rate| rate.to_string()))
            .join(",");
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "\"{}\",{},{},{},{},{},{},{},{},{},{},{},{rates}\r\n",
            key.replace('"', "\"\""),
            date(*day),
            totals.n_devices.max(1),
            totals.expected,
            c.received,
            c.late,
            c.duplicate,
            c.revised,
            c.refused,
            c.doubtful,
            c.overdue,
            totals.lost
        );
    }
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"ledger.csv\""),
    ];
    (headers, out).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_sends_too_much_does_not_hide_another_s_silence() {
        let hour = |expected, received, doubtful, overdue| HourRow {
            hour: 0,
            expected,
            counts: HourCounts {
                received,
                doubtful,
                overdue,
                ..HourCounts::default()
            },
            lost: expected.saturating_sub(received),
        };
        let mut totals = Totals::default();
        totals.add(&hour(60, 120, 0, 0));
        totals.add(&hour(60, 30, 3, 6));
        let rates = totals.rates().map(|(_, rate)| rate);
        assert_eq!(rates, [Some(0.725), Some(0.75), Some(0.7)]);
        assert_eq!((totals.counts.received, totals.lost), (150, 30));
        assert_eq!(Totals::default().rates().map(|(_, rate)| rate), [None; 3]);
    }
}
