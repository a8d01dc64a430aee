//! What a device said in each hour: its own hour value, or mean, level or total of what it said within the hour.
//!
//! An hour is without its beginning and with its end, and is called by its end.

use std::collections::{BTreeMap, BTreeSet};

use onemap_model::{Quality, Timestamp};
use serde::Serialize;

use crate::decimal::tidy;

/// Milliseconds of an hour.
pub const HOUR_MS: i64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;
/// Channel of hour values (HJ 212 gives them a channel of their own), and of what is worked out for an hour.
pub const OF_HOURS: u16 = 20;
/// Channel of day values.
pub const OF_DAYS: u16 = 30;
/// Channel of the minute data of HJ 212: each value is of a period of its own, of some minutes.
const OF_MINUTES: u16 = 10;
/// Where a device says hour means, the first that said something speaks for its hour: the channel of hours,
/// that of devices with one channel, the minute data of HJ 212.
pub const CHANNELS: [u16; 3] = [OF_HOURS, 0, OF_MINUTES];

/// What was said of one hour.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Hour {
    /// Mean, level or total.
    pub value: f64,
    /// Whether enough of the hour was measured.
    pub is_valid: bool,
    /// How it came.
    pub came: Came,
}

/// How values came that something is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Came {
    /// One of them came late: after newer ones, or out of a backlog or an import.
    pub late: bool,
    /// One of them replaced another.
    pub revised: bool,
    /// One of them was corrected.
    pub corrected: bool,
    /// A person has reviewed one of them.
    pub reviewed: bool,
}

impl Came {
    /// Both.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self {
            late: self.late || other.late,
            revised: self.revised || other.revised,
            corrected: self.corrected || other.corrected,
            reviewed: self.reviewed || other.reviewed,
        }
    }
    /// All of these hours.
    pub fn of<'a>(hours: impl Iterator<Item = &'a Hour>) -> Self {
        hours.fold(Self::default(), |all, hour| all.with(hour.came))
    }
}

/// What becomes of the values of one hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Make {
    /// Their mean.
    Mean,
    /// The level of their mean energy, dB.
    Level,
    /// Their sum.
    Total,
}

/// What people found of a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Found {
    /// Nothing: it is what was sent.
    Sent(f64),
    /// It was corrected.
    Corrected(f64),
    /// It was reviewed, so that it counts whatever its marks.
    Reviewed(f64),
    /// It was reviewed, and is none.
    Invalid,
    /// It was corrected to what it cannot be, and is none.
    Implausible,
}

/// Hours of one series in the making.
pub struct Hours {
    make: Make,
    /// Each value is an hour's.
    is_of_hours: bool,
    /// Each value is of as long as lies between two of them, whatever their device's cadence.
    is_of_minutes: bool,
    newest: Option<i64>,
    /// Shortest time between two values that follow one another, ms.
    step: Option<i64>,
    sums: BTreeMap<i64, Sum>,
    reviewed: BTreeSet<i64>,
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

/// The end of the hour that a time belongs to, both in ms.
pub fn end_of(at: Timestamp) -> i64 {
    (at.ms() + HOUR_MS - 1).div_euclid(HOUR_MS) * HOUR_MS
}

impl Hours {
    /// None yet.
    pub fn new(make: Make) -> Self {
        Self {
            make,
            is_of_hours: false,
            is_of_minutes: false,
            newest: None,
            step: None,
            sums: BTreeMap::new(),
            reviewed: BTreeSet::new(),
        }
    }

    /// None yet, of a channel: what stands on [`OF_HOURS`] are hours, and minute data of HJ 212 have a period of their own,
    /// however often their device says something else.
    pub fn of_channel(make: Make, channel: u16) -> Self {
        Self {
            is_of_hours: channel == OF_HOURS,
            is_of_minutes: channel == OF_MINUTES,
            ..Self::new(make)
        }
    }

    /// Takes a value that was measured at a time. Values that may not be judged by, and numbers that are none, are
    /// left out.
    pub fn add(&mut self, at: Timestamp, number: f64, quality: Quality) {
        self.add_found(at, Found::Sent(number), quality);
    }

    /// As [`Hours::add`], with what people found of the value.
    pub fn add_found(&mut self, at: Timestamp, found: Found, quality: Quality) {
        let mut came = Came {
            late: quality.has(Quality::RESENT),
            revised: quality.has(Quality::REVISED),
            ..Came::default()
        };
        let number = match found {
            Found::Sent(number) => Some(number).filter(|_| quality.judgeable()),
            Found::Corrected(number) => {
                came.corrected = true;
                Some(number).filter(|_| quality.judgeable())
            }
            Found::Reviewed(number) => {
                came.reviewed = true;
                Some(number)
            }
            Found::Invalid => {
                came.reviewed = true;
                None
            }
            Found::Implausible => None,
        };
        if came.reviewed {
            self.reviewed.insert(end_of(at));
        }
        let Some(number) = number.filter(|number| number.is_finite()) else {
            return;
        };
        let number = match self.make {
            Make::Level => 10f64.powf(number / 10.0),
            Make::Mean | Make::Total => number,
        };
        if let Some(step) = self
            .newest
            .map(|newest| at.ms() - newest)
            .filter(|step| *step > 0)
        {
            self.step = Some(self.step.map_or(step, |least| least.min(step)));
        }
        self.newest = self.newest.max(Some(at.ms()));
        let end = end_of(at);
        self.sums.entry(end).or_default().add(at, number, came, end);
    }

    /// Ends of the hours with a value that was reviewed.
    pub fn reviewed(&self) -> &BTreeSet<i64> {
        &self.reviewed
    }

    /// Ends of the hours of which a review left nothing.
    pub fn left_out(&self) -> impl Iterator<Item = i64> + '_ {
        let all = self.reviewed.iter().copied();
        all.filter(|end| !self.sums.contains_key(end))
    }

    /// The hours by their ends in ms. `cadence_s` are the seconds from one value to the next, 0 when nobody said;
    /// `hour_minutes` the minutes of an hour that it needs to be valid.
    pub fn finish(self, cadence_s: u32, hour_minutes: usize) -> impl Iterator<Item = (i64, Hour)> {
        let make = self.make;
        let cadence_s = match (self.is_of_hours, self.is_of_minutes) {
            (true, _) => 3600,
            // One value alone does not say of how long it is.
            (_, true) => u32::try_from(self.step.unwrap_or(0) / 1000)
                .unwrap_or(u32::MAX)
                .min(3599),
            _ => cadence_s,
        };
        let sums = self.sums.into_iter();
        sums.map(move |(end, sum)| (end, sum.hour(make, cadence_s, hour_minutes)))
    }
}

/// Hours of several channels by their ends in ms, as [`Hours::finish`]: of each hour the first channel that said
/// something speaks; what a review left without a value is not another channel's to say. The ends of the hours with
/// reviewed values go to `reviewed`.
pub fn of_channels(
    channels: impl IntoIterator<Item = Hours>,
    cadence_s: u32,
    hour_minutes: usize,
    reviewed: &mut BTreeSet<i64>,
) -> BTreeMap<i64, Hour> {
    let (mut all, mut left_out) = (BTreeMap::new(), BTreeSet::new());
    for said in channels {
        reviewed.extend(said.reviewed());
        let without: Vec<i64> = said.left_out().collect();
        for (end, hour) in said.finish(cadence_s, hour_minutes) {
            if !left_out.contains(&end) {
                all.entry(end).or_insert(hour);
            }
        }
        left_out.extend(without);
    }
    all
}

impl Sum {
    fn add(&mut self, at: Timestamp, number: f64, came: Came, end: i64) {
        self.sum += number;
        self.n += 1;
        let into = (at.ms() - 1 - (end - HOUR_MS)) / MINUTE_MS;
        self.minutes |= 1 << into.clamp(0, 59);
        self.is_at_end = at.ms() == end;
        self.came = self.came.with(came);
    }

    fn hour(&self, make: Make, cadence_s: u32, hour_minutes: usize) -> Hour {
        // One value at the end of an hour stands for the hour, unless its device is known to say more of them.
        let is_hour_value = self.n == 1 && self.is_at_end && !(1..3600).contains(&cadence_s);
        let spoken = u64::from(self.minutes.count_ones());
        let minutes = match u64::from(cadence_s) {
            // What is said once an hour, and not at its end, is a moment of it.
            0 | 3600.. => spoken,
            // Several values within a minute stand for no more than it.
            cadence => (u64::from(self.n) * cadence / 60).min(spoken * cadence.div_ceil(60)),
        } as usize;
        let mean = tidy(self.sum / f64::from(self.n));
        Hour {
            value: match make {
                Make::Mean => mean,
                Make::Level => 10.0 * mean.log10(),
                Make::Total => tidy(self.sum),
            },
            is_valid: is_hour_value || minutes >= hour_minutes,
            came: self.came,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour(cadence_s: u32, said: &[(i64, f64)]) -> Hour {
        let mut hours = Hours::new(Make::Mean);
        for (minute, value) in said {
            let at = Timestamp::from_ms(minute * MINUTE_MS);
            hours.add(at, *value, Quality::GOOD);
            hours.add(at, 900.0, Quality::SUSPECT);
            hours.add(at, f64::NAN, Quality::GOOD);
        }
        let made: Vec<_> = hours.finish(cadence_s, 45).collect();
        assert_eq!((made.len(), made[0].0), (1, HOUR_MS));
        made[0].1
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
            (90, (1..=40).map(|i| ((i * 3 + 1) / 2, 10.0)).collect(), true),
            // A moment of the hour, and a backlog of one minute.
            (3600, vec![(20, 10.0)], false),
            (60, vec![(20, 10.0); 60], false),
        ] {
            let found = hour(cadence_s, &said);
            assert_eq!(
                (found.value, found.is_valid),
                (10.0, want),
                "{cadence_s}: {said:?}"
            );
        }
    }

    #[test]
    fn the_channel_of_hours_has_hours_whatever_the_cadence() {
        for (channel, is_valid) in [(OF_HOURS, true), (0, false)] {
            let mut hours = Hours::of_channel(Make::Mean, channel);
            hours.add(Timestamp::from_ms(HOUR_MS), 10.0, Quality::GOOD);
            let made: Vec<bool> = hours.finish(60, 45).map(|(_, hour)| hour.is_valid).collect();
            assert_eq!(made, [is_valid], "{channel}");
        }
    }

    #[test]
    fn minute_data_are_of_as_long_as_lies_between_them() {
        for (cadence_s, step, n, is_valid) in [
            (0, 10, 6, true),
            (3600, 10, 5, true),
            (3600, 10, 4, false),
            (3600, 10, 1, false),
            (60, 5, 8, false),
            (60, 5, 9, true),
        ] {
            let mut hours = Hours::of_channel(Make::Mean, OF_MINUTES);
            for i in 1..=n {
                hours.add(Timestamp::from_ms(i * step * MINUTE_MS), 10.0, Quality::GOOD);
            }
            let made: Vec<bool> = hours
                .finish(cadence_s, 45)
                .map(|(_, hour)| hour.is_valid)
                .collect();
            assert_eq!(made, [is_valid], "{cadence_s} {step} {n}");
        }
    }

    #[test]
    fn what_people_found_goes_before_marks() {
        let at = |hour: i64| Timestamp::from_ms(hour * HOUR_MS);
        let mut hours = Hours::new(Make::Mean);
        let (good, doubtful) = (Quality::GOOD, Quality::SUSPECT);
        for (hour, found, quality) in [
            (1, Found::Sent(1.0), good),
            (2, Found::Sent(2.0), doubtful),
            (3, Found::Corrected(3.0), doubtful),
            (4, Found::Corrected(4.0), good),
            (5, Found::Reviewed(5.0), doubtful),
            (6, Found::Invalid, good),
            (7, Found::Reviewed(f64::NAN), good),
            (8, Found::Implausible, good),
        ] {
            hours.add_found(at(hour), found, quality);
        }
        let ends = |ends: Vec<i64>| ends.iter().map(|end| end / HOUR_MS).collect::<Vec<_>>();
        assert_eq!(ends(hours.reviewed().iter().copied().collect()), [5, 6, 7]);
        assert_eq!(ends(hours.left_out().collect()), [6, 7]);
        let said: Vec<(i64, f64, bool, bool)> = hours
            .finish(3600, 45)
            .map(|(end, hour)| (end / HOUR_MS, hour.value, hour.came.corrected, hour.came.reviewed))
            .collect();
        assert_eq!(
            said,
            [
                (1, 1.0, false, false),
                (4, 4.0, true, false),
                (5, 5.0, false, true)
            ]
        );
    }
}
