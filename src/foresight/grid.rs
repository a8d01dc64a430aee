//! From values of the history to series on a grid.

use std::ops::ControlFlow;

use anyhow::{Result, ensure};
use onemap_dashboards::views::Views;
use onemap_forecast::series::{Aligned, Amounts, Foretold, Kind, Series};
use onemap_model::{Calendar, Quantity, SeriesKey, Timestamp};
use onemap_store::history::Point;
use onemap_store::ledger::{ForecastFilter, LedgerForecast};
use onemap_store::reviewed::{Best, Reviewed};

use crate::config::{AheadPart, GaugePart, MOST_STEPS};

/// Reviews and corrections of a series that are looked at; with more nothing is made of it.
const MOST_ACTS: usize = 100_000;

/// A forecast of others is asked for so long after it was known; then it is as if there were none.
const FRESH_MS: i64 = 24 * 3_600_000;
/// What came later than this after it was issued is of an archive, and counts as known when it was issued.
const ARCHIVED_MS: i64 = 12 * 3_600_000;
/// Forecasts that are read at once.
const READ_ROWS: usize = 2_000;
const BEIJING_MS: i64 = 8 * 3_600_000;

fn kind(quantity: Quantity) -> Kind {
    match quantity.is_amount() {
        true => Kind::Amount,
        false => Kind::State,
    }
}

/// The marks of a grid: whole steps of the clock; of days where the quantity's day ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marks {
    step_ms: i64,
    offset_ms: i64,
}

impl Marks {
    pub(super) fn of(quantity: Quantity, step_s: u32) -> Self {
        let step_ms = i64::from(step_s) * 1000;
        let begins = match quantity.definition().calendar {
            Calendar::Eight => 0,
            _ => -BEIJING_MS,
        };
        Self {
            step_ms,
            offset_ms: begins.rem_euclid(step_ms),
        }
    }
    /// The newest mark that is not behind a time.
    pub(super) fn before(self, at: Timestamp) -> i64 {
        let ms = at.ms() - self.offset_ms;
        ms - ms.rem_euclid(self.step_ms) + self.offset_ms
    }
}

/// Values by mark: a step has the newest state of the time that ends with it, and the sum of its amounts.
pub(super) struct Column {
    values: Vec<f64>,
    kind: Kind,
    start_ms: i64,
    step_ms: i64,
}

impl Column {
    /// Empty, from the first mark to the last, both in.
    pub(super) fn new(kind: Kind, step_ms: i64, (first_ms, last_ms): (i64, i64)) -> Self {
        let n = usize::try_from((last_ms - first_ms) / step_ms + 1).unwrap_or(0);
        Self {
            values: vec![f64::NAN; n],
            kind,
            start_ms: first_ms,
            step_ms,
        }
    }
    /// Takes a value; in the order of times.
    pub(super) fn put(&mut self, at_ms: i64, value: f64) {
        // The mark at or behind the time.
        let behind = at_ms - self.start_ms + self.step_ms - 1;
        let step = usize::try_from(behind.div_euclid(self.step_ms)).ok();
        let Some(slot) = step.and_then(|step| self.values.get_mut(step)) else {
            return;
        };
        *slot = match self.kind {
            Kind::State => value,
            _ if slot.is_nan() => value,
            _ => *slot + value,
        };
    }
}

/// The target, its inputs and what others foresee over a span from mark to mark, both in. Measured values are as people found
/// them, where they said something of them; what is only doubted is in it, as it is for whoever cleans the series to see.
///
/// # Errors
/// When the history cannot be read.
pub(super) fn aligned(views: &Views, part: &GaugePart, span: (i64, i64)) -> Result<Aligned> {
    let step_ms = i64::from(part.step_s) * 1000;
    let of = |key: &SeriesKey| {
        let found = found(views, key, times(step_ms, span))?;
        let values = column(views, key, step_ms, span, |point| judged(&found, point))?;
        Ok(Series {
            name: key.to_string(),
            kind: kind(key.quantity),
            values,
            foretold: Foretold::default(),
        })
    };
    let measured = std::iter::once(&part.target).chain(&part.inputs).map(of);
    let mut series: Vec<Series> = measured.collect::<Result<_>>()?;
    let n = series[0].values.len();
    for ahead in &part.ahead {
        series.push(Series {
            name: ahead.to_string(),
            kind: Kind::Foretold,
            values: vec![f64::NAN; n],
            foretold: Foretold::new(n, foretold(views, ahead, step_ms, span)?),
        });
    }
    Ok(Aligned {
        start_ms: span.0,
        step_ms,
        series,
    })
}

/// What others foresaw of a series at the marks of a span, in the order in which it became known.
///
/// # Errors
/// When the ledger cannot be read.
fn foretold(views: &Views, ahead: &AheadPart, step_ms: i64, span: (i64, i64)) -> Result<Vec<Amounts>> {
    let filter = ForecastFilter {
        series: Some(ahead.series.to_string()),
        source: Some(ahead.source.clone()),
        // One that was issued a while after the newest value that it knows is looked for, too.
        from: Some(Timestamp::from_ms(span.0 - 3 * FRESH_MS)),
        to: Some(Timestamp::from_ms(span.1 + 1)),
        known_at: None,
    };
    let (mut found, mut before) = (Vec::new(), None);
    loop {
        let rows = views.ledger.forecasts(&filter, before, READ_ROWS)?;
        before = rows.last().map(|row| row.seq);
        let is_end = rows.len() < READ_ROWS;
        found.extend(rows);
        if is_end {
            break;
        }
    }
    found.sort_by_key(|row| (known_ms(row), row.seq));
    Ok(found.iter().map(|row| amounts(row, step_ms, span.0)).collect())
}

/// From when on a forecast of others counts.
fn known_ms(row: &LedgerForecast) -> i64 {
    let (taken, issued) = (row.at.ms(), row.forecast.issued_at.ms());
    match taken - issued > ARCHIVED_MS {
        true => issued,
        false => taken.max(issued),
    }
}

/// A forecast of amounts by step of a grid that begins at `start_ms`. A lead has the amount since the one before it, the first
/// since the origin; one that reaches over several steps is spread evenly.
fn amounts(row: &LedgerForecast, step_ms: i64, start_ms: i64) -> Amounts {
    let step_of = |ms: i64| (ms - start_ms + step_ms - 1).div_euclid(step_ms);
    let known_from = step_of(known_ms(row));
    let known_until = known_from + (FRESH_MS / step_ms).max(1);
    // What was over when it became known is asked of nobody.
    let first = known_from + 1;
    let mut from_ms = row.forecast.origin.ms();
    let end_ms = row.forecast.leads.last().map_or(from_ms, |lead| lead.at.ms());
    let last = ((end_ms - start_ms).div_euclid(step_ms)).min(known_until + i64::from(MOST_STEPS));
    let mut amounts = vec![0.0; usize::try_from(last - first + 1).unwrap_or(0)];
    for lead in &row.forecast.leads {
        let to_ms = lead.at.ms();
        for step in step_of(from_ms + 1).max(first)..=step_of(to_ms).min(last) {
            let ends_ms = start_ms + step * step_ms;
            let shared_ms = to_ms.min(ends_ms) - from_ms.max(ends_ms - step_ms);
            amounts[(step - first) as usize] += lead.value * shared_ms as f64 / (to_ms - from_ms) as f64;
        }
        from_ms = to_ms;
    }
    Amounts {
        known_from,
        known_until,
        first,
        amounts,
    }
}

/// What is said of the values of a series in a span.
///
/// # Errors
/// When the ledger cannot be read.
fn found(views: &Views, key: &SeriesKey, span: (Timestamp, Timestamp)) -> Result<Reviewed> {
    let acts = views.ledger.series_acts_of(key, span, None, MOST_ACTS + 1)?;
    ensure!(
        acts.len() <= MOST_ACTS,
        "{key} has more than {MOST_ACTS} reviews and corrections in its history"
    );
    Ok(Reviewed::of(acts))
}

/// A value that may be judged by; `None` for what is none.
fn judged(found: &Reviewed, point: &Point) -> Option<f64> {
    match found.best(point.measured_at, &point.value) {
        Best::Raw | Best::Doubted(..) if !point.quality.judgeable() => None,
        Best::Raw => point.value.number(),
        Best::Corrected(value) => Some(value).filter(|_| point.quality.judgeable()),
        Best::Reviewed(value, _) | Best::Doubted(value, _) => value.number(),
        Best::Invalid(_) | Best::Implausible(_) => None,
    }
}

/// A series over a span from mark to mark as it was sent, whatever was said of it; NaN where nothing was.
///
/// # Errors
/// When the history cannot be read.
pub(super) fn sent(views: &Views, key: &SeriesKey, step_ms: i64, span: (i64, i64)) -> Result<Vec<f64>> {
    column(views, key, step_ms, span, |point| {
        point.value.number().filter(|_| point.quality.judgeable())
    })
}

/// From behind the mark before the first to the last.
fn times(step_ms: i64, (first_ms, last_ms): (i64, i64)) -> (Timestamp, Timestamp) {
    let from = Timestamp::from_ms(first_ms - step_ms + 1);
    (from, Timestamp::from_ms(last_ms + 1))
}

/// A series by mark, of what `read` takes of its points.
fn column(
    views: &Views,
    key: &SeriesKey,
    step_ms: i64,
    span: (i64, i64),
    read: impl Fn(&Point) -> Option<f64>,
) -> Result<Vec<f64>> {
    let mut column = Column::new(kind(key.quantity), step_ms, span);
    if let Some(id) = views.history.series_id(key) {
        let (from, to) = times(step_ms, span);
        views.archive.scan(id, from, to, &mut |point: Point| {
            if let Some(value) = read(&point) {
                column.put(point.measured_at.ms(), value);
            }
            ControlFlow::Continue(())
        })?;
    }
    Ok(column.values)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    const HOUR: i64 = 3_600_000;

    #[test]
    fn a_day_ends_where_its_quantity_says() {
        let midnight = Timestamp::from_ms(1_763_827_200_000); // 2025-11-23T00:00+08:00
        let day = |name: &str, at: Timestamp| {
            let mark = Marks::of(Quantity::named(name).unwrap(), 86_400).before(at);
            (mark - midnight.ms()) / HOUR
        };
        let at = |hours: i64| Timestamp::from_ms(midnight.ms() + hours * HOUR);
        assert_eq!(day("pm2_5", at(23)), 0);
        assert_eq!(day("pm2_5", at(24)), 24);
        assert_eq!(day("water_level", at(7)), -16);
        assert_eq!(day("water_level", at(8)), 8);
        let hour = Marks::of(Quantity::named("pm2_5").unwrap(), 3_600);
        assert_eq!(hour.before(at(5)), at(5).ms());
        assert_eq!(hour.before(Timestamp::from_ms(at(6).ms() - 1)), at(5).ms());
    }

    #[test]
    fn what_others_foresaw_counts_from_when_it_was_known() {
        let row = |taken: i64, issued: i64, origin: i64, leads: &[(i64, f64)]| {
            let time = Timestamp::from_ms;
            let leads = leads
                .iter()
                .map(|(at, value)| json!({"at": time(*at), "value": value}));
            let forecast = json!({
                "series": {"device": "rain-1", "quantity": "rain"}, "source": "气象台",
                "issued_at": time(issued), "origin": time(origin), "leads": leads.collect::<Vec<_>>(),
            });
            LedgerForecast {
                seq: 1,
                position: 1,
                at: time(taken),
                forecast: serde_json::from_value(forecast).unwrap(),
            }
        };
        // Hours of a grid that begins at hour 100; issued at 101:20, there at 101:40, of the time from 101:00 on.
        let start = 100 * HOUR;
        let at = |hours: f64| start + (hours * HOUR as f64) as i64;
        let six_hours = [(at(3.0), 4.0), (at(4.0), 1.0), (at(7.5), 7.0)];
        let told = amounts(&row(at(1.66), at(1.33), at(1.0), &six_hours), HOUR, start);
        assert_eq!((told.known_from, told.known_until, told.first), (2, 26, 3));
        // Half of the first lead is over by then; the last is spread over three hours and a half, of which the last is not whole.
        assert_eq!(told.amounts, [2.0, 1.0, 2.0, 2.0, 2.0]);
        // Of an archive that came a month later.
        let told = amounts(&row(at(800.0), at(1.33), at(1.0), &six_hours), HOUR, start);
        assert_eq!(told.known_from, 2);
        // Longer than a model looks ahead.
        let year = amounts(
            &row(at(1.0), at(1.0), at(1.0), &[(at(9_000.0), 9.0)]),
            HOUR,
            start,
        );
        assert_eq!(year.amounts.len(), 24 + MOST_STEPS as usize);
        // All over before it came.
        let late = amounts(&row(at(9.0), at(1.0), at(1.0), &six_hours), HOUR, start);
        assert_eq!((late.known_from, late.amounts.len()), (9, 0));
    }

    #[test]
    fn no_value_is_known_before_its_time() {
        let mut states = Column::new(Kind::State, 10, (0, 20));
        let mut amounts = Column::new(Kind::Amount, 10, (0, 20));
        for (at, value) in [
            (-10, 9.0),
            (-9, 1.0),
            (0, 2.0),
            (1, 3.0),
            (10, 4.0),
            (11, 5.0),
            (21, 6.0),
        ] {
            states.put(at, value);
            amounts.put(at, value);
        }
        assert_eq!(states.values, [2.0, 4.0, 5.0]);
        assert_eq!(amounts.values, [3.0, 7.0, 5.0]);
    }
}
