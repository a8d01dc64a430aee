//! How long a station's minute data (2051) stand for: what it said (1063), was set to (1064), or what its records show.
//!
//! A record bears the start of its minutes and not their number, so a wrong number stamps its end wrongly: of a station of
//! five minutes taken for one of ten each record would end in the future.

use std::time::Duration;

use onemap_model::Timestamp;
use serde::{Deserialize, Serialize};

use super::readings::MINUTE_DATA;
use super::request::MINUTE_INTERVALS;

/// So many distances between records one after another have to agree.
const N_AGREEING: usize = 3;
/// Clocks may differ by so much.
const SKEW: Duration = Duration::from_secs(60);
const MINUTE: Duration = Duration::from_secs(60);

/// What is known of the minute data of one station. Kept as it is serialised.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MinuteData {
    /// Minutes, one of [`MINUTE_INTERVALS`]; `None` is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    minutes: Option<u32>,
    /// Whether the station said it or was set to it; else its records showed it.
    #[serde(skip_serializing_if = "is_false")]
    stated: bool,
    /// Records that start before this are of the interval before (of [`MINUTE_DATA`], where none was known).
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<u32>,
    /// Starts of the last records, while these are to show it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    starts: Vec<Timestamp>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(flag: &bool) -> bool {
    !flag
}

fn of_minutes(minutes: u32) -> Duration {
    MINUTE * minutes
}

/// Minutes that a station can be set to.
fn allowed(minutes: i64) -> Option<u32> {
    let minutes = u32::try_from(minutes).ok()?;
    MINUTE_INTERVALS.contains(&minutes).then_some(minutes)
}

impl MinuteData {
    /// The station said at `at` that its interval is so long (1063). Numbers that the standard does not have are not taken.
    pub fn told(&mut self, minutes: i64, at: Timestamp) {
        if let Some(minutes) = allowed(minutes) {
            // Since when it has another than it had is not said.
            let is_known = self.stated.then_some(at);
            self.state(minutes, is_known);
        }
    }

    /// The station did at `at` as it was told (1064).
    pub fn set(&mut self, minutes: i64, at: Timestamp) {
        if let Some(minutes) = allowed(minutes) {
            self.state(minutes, Some(at));
        }
    }

    /// Whether the station said it or was set to it.
    pub fn is_stated(&self) -> bool {
        self.stated
    }

    fn state(&mut self, minutes: u32, since: Option<Timestamp>) {
        if self.minutes != Some(minutes) {
            (self.before, self.since) = (since.and(self.minutes), since);
        }
        (self.minutes, self.stated) = (Some(minutes), true);
        self.starts.clear();
    }

    /// How long a record stands for that starts at `start` and came at `received_at` (`None`: long ago, or asked for).
    ///
    /// Where nothing is known of then it is [`MINUTE_DATA`]; but a record that would then end after it came is of the longest
    /// interval that had ended by then.
    pub fn length(&self, start: Timestamp, received_at: Option<Timestamp>) -> Duration {
        if let Some(minutes) = self.minutes {
            let is_before = self
                .since
                .is_some_and(|since| start + of_minutes(minutes) <= since);
            match (is_before, self.before) {
                (false, _) => return of_minutes(minutes),
                (true, Some(before)) => return of_minutes(before),
                (true, None) => {}
            }
        }
        let Some(received_at) = received_at.filter(|at| start + MINUTE_DATA > *at + SKEW) else {
            return MINUTE_DATA;
        };
        let whole_minutes = start.ms().div_euclid(60_000);
        let is_possible = |minutes: &u32| {
            start + of_minutes(*minutes) <= received_at && whole_minutes % i64::from(*minutes) == 0
        };
        let ended = MINUTE_INTERVALS.into_iter().rev().find(is_possible);
        ended.map_or(MINUTE, of_minutes)
    }

    /// Takes note of a live record that starts at `start` and came at `received_at`; gives whether there is anything new to
    /// keep. Three equal distances, of a length that a station can be set to, show the interval. What was stated or shown
    /// is doubted once a record comes before it can have ended, or a whole interval after.
    pub fn sees(&mut self, start: Timestamp, received_at: Timestamp) -> bool {
        if self.starts.is_empty()
            && let Some(minutes) = self.minutes
        {
            let end = start + self.length(start, Some(received_at));
            let is_early = end > received_at + SKEW;
            let is_late = received_at >= end + of_minutes(minutes);
            if !is_early && !is_late {
                return false;
            }
        }
        match self.starts.last() {
            // A packet of the same set, or one that was late.
            Some(last) if start <= *last => return false,
            Some(last) if allowed((start.ms() - last.ms()) / 60_000).is_none() => self.starts.clear(),
            _ => {}
        }
        self.starts.push(start);
        let distances: Vec<i64> = self
            .starts
            .windows(2)
            .map(|pair| pair[1].ms() - pair[0].ms())
            .collect();
        let Some([first, rest @ ..]) = distances.get(distances.len().saturating_sub(N_AGREEING)..) else {
            return true;
        };
        let is_agreed = rest.len() + 1 == N_AGREEING && rest.iter().all(|other| other == first);
        let shown =
            allowed(first / 60_000).filter(|minutes| is_agreed && i64::from(*minutes) * 60_000 == *first);
        if let Some(minutes) = shown {
            // It held for the first of them already.
            let since = self.starts[self.starts.len() - 1 - N_AGREEING];
            if self.minutes != Some(minutes) {
                let since = self.minutes.map(|_| since);
                (self.before, self.since, self.stated) = (since.and(self.minutes), since, false);
            }
            self.minutes = Some(minutes);
            self.starts.clear();
        } else if self.starts.len() > N_AGREEING {
            self.starts.remove(0);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64, seconds: i64) -> Timestamp {
        Timestamp::from_ms(1_795_392_000_000 + minutes * 60_000 + seconds * 1000)
    }

    /// Lengths in minutes that records get that start every `minutes` and come so many seconds after their end.
    fn lengths(data: &mut MinuteData, starts: std::ops::Range<i64>, minutes: i64, delay: i64) -> Vec<u64> {
        let one = |n: i64| {
            let (start, received_at) = (at(n * minutes, 0), at((n + 1) * minutes, delay));
            let _ = data.sees(start, received_at);
            data.length(start, Some(received_at)).as_secs() / 60
        };
        starts.map(one).collect()
    }

    #[test]
    fn records_of_any_interval_end_when_they_came() {
        for minutes in MINUTE_INTERVALS
            .into_iter()
            .map(i64::from)
            .filter(|minutes| *minutes <= 10)
        {
            let mut data = MinuteData::default();
            let seen = lengths(&mut data, 0..12, minutes, 3);
            assert!(
                seen.iter().skip(3).all(|length| *length as i64 == minutes),
                "{minutes}: {seen:?}"
            );
            assert!(
                seen.iter().all(|length| *length as i64 <= minutes),
                "{minutes}: {seen:?}"
            );
            assert_eq!(data.minutes.map(i64::from), Some(minutes));
            assert_eq!((data.since, data.stated), (None, false));
        }
        // Longer ones are taken for ten minutes until three distances have shown it.
        let mut data = MinuteData::default();
        assert_eq!(lengths(&mut data, 0..6, 30, 3), [10, 10, 10, 30, 30, 30]);
    }

    #[test]
    fn a_gap_and_packets_of_one_set_show_nothing() {
        let mut data = MinuteData::default();
        for start in [0, 5, 5, 15, 20, 25] {
            data.sees(at(start, 0), at(start + 5, 3));
            assert_eq!(data.minutes, None);
        }
        data.sees(at(30, 0), at(35, 3));
        assert_eq!(data.minutes, Some(5));
        assert!(!data.sees(at(35, 0), at(40, 3)));
    }

    #[test]
    fn what_is_set_holds_from_then_on() {
        let mut data = MinuteData::default();
        data.set(5, at(60, 0));
        let length = |data: &MinuteData, start| data.length(at(start, 0), None).as_secs() / 60;
        assert_eq!(
            (length(&data, 50), length(&data, 55), length(&data, 60)),
            (10, 10, 5)
        );
        // Nothing is known of before, but that it had ended.
        assert_eq!(data.length(at(55, 0), Some(at(60, 5))), Duration::from_secs(300));
        data.set(20, at(120, 0));
        assert_eq!(
            (length(&data, 60), length(&data, 100), length(&data, 120)),
            (5, 5, 20)
        );
        // Said again it is no news; a number that no station has is not taken.
        let before = data.clone();
        data.told(20, at(130, 0));
        data.told(7, at(130, 0));
        data.set(0, at(130, 0));
        assert_eq!(data, before);
        let kept = serde_json::to_value(&data).ok();
        assert_eq!(
            kept.and_then(|kept| serde_json::from_value(kept).ok()),
            Some(data)
        );
        // What is said first holds for what came before, too.
        let mut data = MinuteData::default();
        data.told(5, at(60, 0));
        assert_eq!(length(&data, 0), 5);
    }

    #[test]
    fn a_station_that_was_set_by_hand_is_seen_through() {
        let mut data = MinuteData::default();
        data.set(10, at(0, 0));
        lengths(&mut data, 0..6, 10, 3);
        assert_eq!(data.minutes, Some(10));
        // From the hour on it sends each five minutes.
        let seen = lengths(&mut data, 12..24, 5, 3);
        assert_eq!(data.minutes, Some(5));
        assert!(seen.ends_with(&[5; 6]), "{seen:?}");
        let length = |data: &MinuteData, start| data.length(at(start, 0), None).as_secs() / 60;
        assert_eq!((length(&data, 30), length(&data, 70)), (10, 5));
        // And every half an hour later.
        let seen = lengths(&mut data, 4..10, 30, 3);
        assert_eq!((data.minutes, seen.last()), (Some(30), Some(&30)));
    }
}
