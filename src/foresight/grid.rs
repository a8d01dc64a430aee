//! From values of the history to series on a grid.

use std::ops::ControlFlow;

use anyhow::{Result, ensure};
use onemap_dashboards::views::Views;
use onemap_forecast::series::{Aligned, Kind, Series};
use onemap_model::{Calendar, Quantity, SeriesKey, Timestamp};
use onemap_store::history::Point;
use onemap_store::reviewed::{Best, Reviewed};

/// Reviews and corrections of a series that are looked at; with more nothing is made of it.
const MOST_ACTS: usize = 100_000;

/// Amounts of the step that ends with their stamp; all else is a state, running totals too.
const AMOUNTS: [&str; 6] = [
    "rain",
    "evaporation",
    "rain_1min",
    "rain_10min",
    "rain_30min",
    "rain_1h",
];
const BEIJING_MS: i64 = 8 * 3_600_000;

fn kind(quantity: Quantity) -> Kind {
    match AMOUNTS.contains(&quantity.name()) {
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

/// The target and its inputs over a span from mark to mark, both in: as people found them, where they said
/// something of them. What is only doubted is in it, as it is for whoever cleans the series to see.
///
/// # Errors
/// When the history cannot be read.
pub(super) fn aligned(
    views: &Views,
    (target, inputs): (&SeriesKey, &[SeriesKey]),
    step_ms: i64,
    span: (i64, i64),
) -> Result<Aligned> {
    let of = |key: &SeriesKey| {
        let found = found(views, key, times(step_ms, span))?;
        let values = column(views, key, step_ms, span, |point| judged(&found, point))?;
        Ok(Series {
            name: key.to_string(),
            kind: kind(key.quantity),
            values,
        })
    };
    let series = std::iter::once(target)
        .chain(inputs)
        .map(of)
        .collect::<Result<_>>()?;
    Ok(Aligned {
        start_ms: span.0,
        step_ms,
        series,
    })
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
