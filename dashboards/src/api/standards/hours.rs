//! What a device said in each hour: its own hour value, or mean, level or total of what it said within the hour.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use onemap_model::{Quality, Quantity, Timestamp};
use onemap_store::engine::StoreError;
use onemap_store::history::{Point, SeriesId, SeriesInfo, Which};
use serde::Serialize;

use crate::views::Views;

pub(super) const HOUR_MS: i64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;
/// Where a device says hour means: HJ 212 gives them a channel of their own, others have one channel; last the
/// minute data of HJ 212.
const CHANNELS: [u16; 3] = [20, 0, 10];

/// What was said of one hour.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Hour {
    /// Mean, level or total.
    pub(super) value: f64,
    /// Whether enough of the hour was measured.
    pub(super) is_valid: bool,
    /// How it came.
    pub(super) came: Came,
}

/// How values came that something is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Came {
    /// One of them came late: after newer ones, or out of a backlog or an import.
    pub(super) late: bool,
    /// One of them replaced another.
    pub(super) revised: bool,
}

impl Came {
    /// Both.
    #[must_use]
    pub(super) fn with(self, other: Self) -> Self {
        Self {
            late: self.late || other.late,
            revised: self.revised || other.revised,
        }
    }
    /// All of these hours.
    pub(super) fn of<'a>(hours: impl Iterator<Item = &'a Hour>) -> Self {
        hours.fold(Self::default(), |all, hour| all.with(hour.came))
    }
}

/// What becomes of the values of one hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Make {
    /// Their mean.
    Mean,
    /// The level of their mean energy, dB.
    Level,
    /// Their sum.
    Total,
}

/// Which values, how their device measures, and how much of an hour is enough.
pub(super) struct Said<'a> {
    pub(super) series: &'a [SeriesInfo],
    pub(super) quantity: Quantity,
    pub(super) channel: Option<u16>,
    pub(super) known_at: Option<Timestamp>,
    /// Seconds from one value to the next; 0 when nobody said.
    pub(super) cadence_s: u32,
    /// Minutes of an hour that it needs.
    pub(super) hour_minutes: usize,
}

/// An hour in the making.
#[derive(Default)]
struct Sum {
    sum: f64,
    n: u32,
    /// Minutes of the hour in which something was said, a bit each.
    minutes: u64,
    is_at_end: bool,
    came: Came,
}

impl Sum {
    fn add(&mut self, point: &Point, number: f64, end: i64) {
        self.sum += number;
        self.n += 1;
        let into = (point.measured_at.ms() - 1 - (end - HOUR_MS)) / MINUTE_MS;
        self.minutes |= 1 << into.clamp(0, 59);
        self.is_at_end = point.measured_at.ms() == end;
        self.came = self.came.with(Came {
            late: point.quality.has(Quality::RESENT),
            revised: point.quality.has(Quality::REVISED),
        });
    }

    fn hour(&self, make: Make, cadence_s: u32, hour_minutes: usize) -> Hour {
        // One value at the end of an hour stands for the hour, unless its device is known to say more of them.
        let is_hour_value = self.n == 1 && self.is_at_end && !(1..3600).contains(&cadence_s);
        let minutes = match cadence_s {
            0 => self.minutes.count_ones() as usize,
            cadence => (u64::from(self.n) * u64::from(cadence) / 60) as usize,
        };
        let mean = self.sum / f64::from(self.n);
        Hour {
            value: match make {
                Make::Mean => mean,
                Make::Level => 10.0 * mean.log10(),
                Make::Total => self.sum,
            },
            is_valid: is_hour_value || minutes >= hour_minutes,
            came: self.came,
        }
    }
}

impl Said<'_> {
    /// The hours by their ends in ms, those that end after `from` and not after `to`. Of each hour the first channel that
    /// said something speaks. Values that may not be judged by are left out.
    pub(super) fn hours(
        &self,
        views: &Views,
        (from, to): (Timestamp, Timestamp),
        make: Make,
    ) -> Result<BTreeMap<i64, Hour>, StoreError> {
        let mut all = BTreeMap::new();
        let channels = self.channel.map_or(CHANNELS.to_vec(), |channel| vec![channel]);
        for channel in channels {
            let is_it =
                |info: &&SeriesInfo| info.key.quantity == self.quantity && info.key.channel == channel;
            let Some(info) = self.series.iter().find(is_it) else {
                continue;
            };
            for (end, sum) in self.sums(views, info.id, (from, to), make)? {
                let hour = || sum.hour(make, self.cadence_s, self.hour_minutes);
                all.entry(end).or_insert_with(hour);
            }
        }
        Ok(all)
    }

    fn sums(
        &self,
        views: &Views,
        id: SeriesId,
        (from, to): (Timestamp, Timestamp),
        make: Make,
    ) -> Result<BTreeMap<i64, Sum>, StoreError> {
        let mut sums: BTreeMap<i64, Sum> = BTreeMap::new();
        let takes = |quality: Quality| quality.judgeable();
        let which = Which {
            known_at: self.known_at,
            takes: Some(&takes),
        };
        // An hour is without its beginning and with its end.
        let (first, behind) = (Timestamp::from_ms(from.ms() + 1), Timestamp::from_ms(to.ms() + 1));
        views.archive.scan_of(id, first, behind, which, &mut |point| {
            if let Some(number) = point.value.number().filter(|number| number.is_finite()) {
                let end = (point.measured_at.ms() + HOUR_MS - 1).div_euclid(HOUR_MS) * HOUR_MS;
                let number = match make {
                    Make::Level => 10f64.powf(number / 10.0),
                    Make::Mean | Make::Total => number,
                };
                sums.entry(end).or_default().add(&point, number, end);
            }
            ControlFlow::Continue(())
        })?;
        Ok(sums)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use onemap_model::Value;

    fn hour(cadence_s: u32, said: &[(i64, f64)]) -> Hour {
        let mut sum = Sum::default();
        for (minute, value) in said {
            let point = Point {
                measured_at: Timestamp::from_ms(minute * MINUTE_MS),
                value: Value::Number(*value),
                quality: Quality::GOOD,
            };
            sum.add(&point, *value, HOUR_MS);
        }
        sum.hour(Make::Mean, cadence_s, 45)
    }

    #[test]
    fn an_hour_needs_45_minutes_or_its_own_value() {
        let each = |step: i64, n: i64| -> Vec<(i64, f64)> { (1..=n).map(|i| (i * step, 10.0)).collect() };
        for (cadence_s, said, want) in [
            (3600, vec![(60, 10.0)], true),
            (0, vec![(60, 10.0)], true),
            // A device of minutes that said one of them.
            (60, vec![(60, 10.0)], false),
            (0, vec![(59, 10.0)], false),
            (60, each(1, 45), true),
            (60, each(1, 44), false),
            (0, each(1, 45), true),
            (0, each(1, 44), false),
            (300, each(5, 9), true),
            (300, each(5, 8), false),
        ] {
            let found = hour(cadence_s, &said);
            assert_eq!(
                (found.value, found.is_valid),
                (10.0, want),
                "{cadence_s}: {said:?}"
            );
        }
    }
}
