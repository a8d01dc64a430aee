//! Air quality index of a station, hour by hour or day by day, with the limits of its class.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use onemap_model::{Quantity, Timestamp};
use onemap_standards::air::{
    AirIndex, AirLimit, Averaging, Class, DAY_MS, Judged, Pollutant, StationHours, Year, day_value, limits,
    standards, year_standards,
};
use onemap_standards::hour::{Came, HOUR_MS, Make};
use onemap_store::engine::StoreError;
use serde::{Deserialize, Serialize};

use super::asked::{Asked, Question};
use crate::api::dust::DustTimes;
use crate::api::query::basis::Basis;
use crate::api::query::kept::KeptRow;
use crate::api::rows::{self, Turns};
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::Params;
use crate::views::Views;

/// A millisecond.
const MOMENT: Duration = Duration::from_millis(1);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AirQuery {
    device: String,
    from: Option<String>,
    to: Option<String>,
    #[serde(default)]
    by: By,
    class: Option<u8>,
    ch: Option<u16>,
    known_at: Option<String>,
    basis: Option<Basis>,
}

/// What one item is of.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum By {
    #[default]
    Hour,
    /// From 0 to 24 h, Beijing time.
    Day,
    /// A calendar year of days.
    Year,
}

#[derive(Serialize)]
struct Answer<'a> {
    by: By,
    class: Class,
    basis: Basis,
    device: &'a str,
    from: Timestamp,
    items: Items,
    #[serde(flatten)]
    kept: Option<KeptRow>,
    /// Hours with a reviewed value.
    reviewed_hours: usize,
    to: Timestamp,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Items {
    Periods(Vec<Item>),
    Years(Vec<YearItem>),
}

/// A year.
#[derive(Serialize)]
struct YearItem {
    /// The end of it.
    end: Timestamp,
    /// The edition of the limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<&'static str>,
    /// Whether the rules of the year were compared with the text of their standard.
    rules_verified: bool,
    values: BTreeMap<Pollutant, YearValue>,
    #[serde(flatten)]
    came: Came,
}

/// A pollutant's year; mean and percentile are judged when it is valid.
#[derive(Serialize)]
struct YearValue {
    #[serde(flatten)]
    year: Year,
    #[serde(skip_serializing_if = "Option::is_none")]
    mean_judged: Option<Judged>,
    #[serde(skip_serializing_if = "Option::is_none")]
    percentile_judged: Option<Judged>,
}

/// An hour or a day.
#[derive(Serialize)]
struct Item {
    /// Sand and dust were named in it.
    dust: bool,
    /// The end of it.
    end: Timestamp,
    /// Null when nothing of it is valid: then it is unknown, not clean.
    aqi: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    level_zh: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    level_en: Option<&'static str>,
    primary: Vec<Pollutant>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    exceeding: Vec<Pollutant>,
    iaqi: BTreeMap<Pollutant, u16>,
    missing: Vec<Pollutant>,
    /// The edition of the index that holds then.
    #[serde(skip_serializing_if = "Option::is_none")]
    standard: Option<&'static str>,
    /// The edition of the limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<&'static str>,
    values: BTreeMap<Pollutant, Judgement>,
    #[serde(flatten)]
    came: Came,
}

/// A pollutant's concentration, ug/m3, of CO mg/m3.
#[derive(Clone, Copy, Serialize)]
struct Value {
    value: f64,
    /// Hours of a day, or of its ozone the means of eight hours, that it is made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<usize>,
    /// Whether as much was measured as the standard wants; what is not valid makes no index and exceeds no limit.
    valid: bool,
    #[serde(skip)]
    came: Came,
}

/// A value with what the law says of it, when it is valid.
#[derive(Serialize)]
struct Judgement {
    #[serde(flatten)]
    value: Value,
    #[serde(flatten)]
    judged: Option<Judged>,
}

impl By {
    /// In ms.
    fn length(self) -> i64 {
        match self {
            Self::Hour => HOUR_MS,
            Self::Day | Self::Year => DAY_MS,
        }
    }

    /// Over how long the law has a limit for it.
    fn averaging(self, pollutant: Pollutant) -> Averaging {
        match (self, pollutant) {
            (Self::Hour, _) => Averaging::Hour,
            (Self::Day | Self::Year, Pollutant::O3) => Averaging::EightHours,
            (Self::Day | Self::Year, _) => Averaging::Day,
        }
    }
}

pub(crate) async fn show(
    State(views): State<Arc<Views>>,
    Extension(turns): Extension<Turns>,
    caller: Caller,
    Params(query): Params<AirQuery>,
) -> Result<Response, Problem> {
    let scope = caller.scope();
    let class =
        Class::try_from(query.class.unwrap_or(2)).map_err(|why| Problem::bad_request("bad_class", why))?;
    let question = Question {
        device: &query.device,
        from: query.from.as_deref(),
        to: query.to.as_deref(),
        channel: query.ch,
        known_at: query.known_at.as_deref(),
        basis: query.basis,
    };
    let asked = Asked::of(&views, scope, &question, &Pollutant::ALL.map(Pollutant::quantity)).await?;
    let span = (asked.span.from, asked.span.to);
    let dust = DustTimes::of(&views, &asked.device, span, asked.known_at).await?;
    let made = turns.once_noting(views, move |views| {
        let station = Station {
            asked: &asked,
            class,
            dust: &dust,
        };
        let items = match query.by {
            By::Hour => Items::Periods(station.by_hour(views, asked.ends(HOUR_MS, 0))?),
            By::Day => Items::Periods(station.by_day(views, asked.ends(DAY_MS, 0))?),
            By::Year => Items::Years(station.by_year(views)?),
        };
        let answer = Answer {
            by: query.by,
            class,
            basis: asked.basis,
            device: asked.device.id.as_str(),
            from: asked.span.from,
            items,
            kept: asked.kept(views),
            reviewed_hours: asked.n_reviewed(),
            to: asked.span.to,
        };
        Ok(serde_json::to_vec(&answer).expect("answers have text keys only"))
    });
    let (answer, missing) = made.await?;
    Ok(rows::told(answer, &missing))
}

/// A station that is asked about, and how strict the place is.
struct Station<'a> {
    asked: &'a Asked,
    class: Class,
    dust: &'a DustTimes,
}

impl Station<'_> {
    /// Hours of all pollutants from before a first end to a last one.
    fn hours(&self, views: &Views, start: i64, last: i64) -> Result<StationHours, StoreError> {
        // How much of an hour is enough has not changed between editions; the last one's is asked for.
        let law = limits().at(Timestamp::from_ms(last));
        let hour_minutes = law.map_or(60, |law| law.validity.hour_minutes);
        let mut all = StationHours::new();
        for pollutant in Pollutant::ALL {
            if let Some(quantity) = Quantity::named(pollutant.quantity()) {
                let span = (start, last);
                let said = self
                    .asked
                    .hours(views, quantity, span, Make::Mean, hour_minutes)?;
                all.insert(pollutant, said);
            }
        }
        Ok(all)
    }

    fn by_hour(&self, views: &Views, (first, last): (i64, i64)) -> Result<Vec<Item>, StoreError> {
        let hours = self.hours(views, first - HOUR_MS, last)?;
        let items = (first..=last).step_by(HOUR_MS as usize).map(|end| {
            let values = hours.iter().filter_map(|(pollutant, hours)| {
                let hour = hours.get(&end)?;
                let value = Value {
                    value: hour.value,
                    n: None,
                    valid: hour.is_valid,
                    came: hour.came,
                };
                Some((*pollutant, value))
            });
            self.item(Timestamp::from_ms(end), By::Hour, values.collect())
        });
        Ok(items.collect())
    }

    fn by_day(&self, views: &Views, (first, last): (i64, i64)) -> Result<Vec<Item>, StoreError> {
        let hours = self.hours(views, first - DAY_MS, last)?;
        let items = (first..=last).step_by(DAY_MS as usize).map(|end| {
            let at = Timestamp::from_ms(end);
            let law = limits().at(at);
            let values = hours.iter().filter_map(|(pollutant, hours)| {
                let law = law?;
                let limit = law.limit(Pollutant::O3, Averaging::EightHours, self.class);
                let (day, came) = day_value(*pollutant, hours, end, limit, &law.validity)?;
                let value = Value {
                    value: day.value,
                    n: Some(day.n),
                    valid: day.is_valid,
                    came,
                };
                Some((*pollutant, value))
            });
            self.item(at, By::Day, values.collect())
        });
        Ok(items.collect())
    }

    /// The calendar years that lie whole within the span.
    fn by_year(&self, views: &Views) -> Result<Vec<YearItem>, StoreError> {
        let span = self.asked.span;
        let mut items = Vec::new();
        let mut begin = year_after(span.from);
        while let Some((start, end)) = begin.and_then(|start| Some((start, year_after(start + MOMENT)?)))
            && end <= span.to
        {
            items.push(self.year(views, (start, end))?);
            begin = Some(end);
        }
        Ok(items)
    }

    fn year(&self, views: &Views, (start, end): (Timestamp, Timestamp)) -> Result<YearItem, StoreError> {
        let hours = self.hours(views, start.ms(), end.ms())?;
        // The edition of its last moment: the next begins with the next year.
        let last = end.saturating_sub(MOMENT);
        let (law, rules) = (limits().at(last), year_standards().at(last));
        let dust = self.dust.days(start, last);
        let mut came = Came::default();
        let mut values = BTreeMap::new();
        for (pollutant, hours) in &hours {
            let (Some(law), Some(rules)) = (law, rules) else {
                continue;
            };
            let mut days = Vec::new();
            for day_end in (start.ms() + DAY_MS..=end.ms()).step_by(DAY_MS as usize) {
                // Each day by the edition of its own time.
                let Some(then) = limits().at(Timestamp::from_ms(day_end)) else {
                    continue;
                };
                let limit = then.limit(Pollutant::O3, Averaging::EightHours, self.class);
                let day = day_value(*pollutant, hours, day_end, limit, &then.validity);
                if let Some((day, day_came)) = day.filter(|(day, _)| day.is_valid) {
                    came = came.with(day_came);
                    days.push((Timestamp::from_ms(day_end), day.value));
                }
            }
            if days.is_empty() {
                continue;
            }
            let year = rules.year_of(*pollutant, days, &dust, &law.validity);
            let judge = |averaging, value: Option<f64>| {
                let value = value.filter(|_| year.is_valid)?;
                law.judge(*pollutant, averaging, self.class, value)
            };
            let value = YearValue {
                mean_judged: judge(Averaging::Year, year.mean),
                percentile_judged: judge(By::Year.averaging(*pollutant), year.percentile),
                year,
            };
            values.insert(*pollutant, value);
        }
        Ok(YearItem {
            end,
            limits: law.map(|law| law.edition.id.as_str()),
            rules_verified: rules.is_some_and(|rules| rules.edition.verified),
            values,
            came: self.asked.came(came, (start.ms(), end.ms())),
        })
    }

    fn item(&self, end: Timestamp, by: By, values: BTreeMap<Pollutant, Value>) -> Item {
        let valid = values.iter().filter(|(_, value)| value.valid);
        let said: BTreeMap<Pollutant, f64> = valid
            .map(|(pollutant, value)| (*pollutant, value.value))
            .collect();
        let edition = standards().at(end);
        let index = edition.and_then(|edition| match by {
            By::Hour => standards().hourly(edition, &said),
            By::Day | By::Year => standards().daily(edition, &said),
        });
        let level = index.as_ref().map(|index| standards().level(index.aqi));
        let law = limits().at(end);
        let came = values
            .values()
            .fold(Came::default(), |all, value| all.with(value.came));
        let judged = values.into_iter().map(|(pollutant, value)| {
            let judge =
                |law: &AirLimit| law.judge(pollutant, by.averaging(pollutant), self.class, value.value);
            let judged = law.filter(|_| value.valid).and_then(judge);
            (pollutant, Judgement { value, judged })
        });
        let values = judged.collect();
        let index = index.unwrap_or_else(nothing);
        Item {
            dust: self.dust.between(end.ms() - by.length(), end.ms()),
            end,
            aqi: level.map(|_| index.aqi),
            level: level.map(|level| level.level),
            level_zh: level.map(|level| level.zh.as_str()),
            level_en: level.map(|level| level.en.as_str()),
            primary: index.primary,
            exceeding: index.exceeding,
            iaqi: index.iaqi,
            missing: index.missing,
            standard: edition.map(|edition| edition.edition.id.as_str()),
            limits: law.map(|law| law.edition.id.as_str()),
            values,
            came: self.asked.came(came, (end.ms() - by.length(), end.ms())),
        }
    }
}

/// The first beginning of a year of the Beijing calendar that is not before a time.
fn year_after(at: Timestamp) -> Option<Timestamp> {
    // Times are written in Beijing time: `2026-01-01T…`.
    let year: i64 = at.to_string().get(..4)?.parse().ok()?;
    let begins = |year: i64| Timestamp::parse(&format!("{year:04}-01-01T00:00:00+08:00")).ok();
    let this = begins(year)?;
    if at <= this { Some(this) } else { begins(year + 1) }
}

/// The index of no concentration.
fn nothing() -> AirIndex {
    AirIndex {
        aqi: 0,
        level: 0,
        standard: String::new(),
        primary: Vec::new(),
        exceeding: Vec::new(),
        iaqi: BTreeMap::new(),
        missing: Pollutant::ALL.to_vec(),
    }
}
