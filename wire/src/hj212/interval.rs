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
/// A record has come as it ended when it came at most so long before …
const AHEAD: Duration = Duration::from_secs(10);
/// … or after.
const BEHIND: Duration = Duration::from_secs(60);
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
    /// Where nothing is known of then it is [`MINUTE_DATA`]. A record that would then end after it came is of the longest
    /// interval that had ended by then, unless the station stated its interval: then its clock is ahead.
    pub fn length(&self, start: Timestamp, received_at: Option<Timestamp>) -> Duration {
        let known = self.minutes.and_then(|minutes| {
            let is_before = self
                .since
                .is_some_and(|since| start + of_minutes(minutes) <= since);
            if is_before { self.before } else { Some(minutes) }
        });
        let length = known.map_or(MINUTE_DATA, of_minutes);
        let is_stated = self.stated && known.is_some();
        let Some(received_at) = received_at.filter(|at| !is_stated && start + length > *at + SKEW) else {
            return length;
        };
        let whole_minutes = start.ms().div_euclid(60_000);
        let is_possible = |minutes: &u32| {
            start + of_minutes(*minutes) <= received_at && whole_minutes % i64::from(*minutes) == 0
        };
        let ended = MINUTE_INTERVALS.into_iter().rev().find(is_possible);
        ended.map_or(MINUTE, of_minutes)
    }

    /// Takes note of a live record that starts at `start` and came at `received_at`; gives whether there is anything new to
    /// keep.
    ///
    /// Only records that come as they end show anything: three distances one after another, each of a length that a station
    /// can be set to, and each record come when that length was over. What skips records, or sends a backlog, shows nothing:
    /// a distance of several intervals was not over when the record came, or long over.
    pub fn sees(&mut self, start: Timestamp, received_at: Timestamp) -> bool {
        let is_on_time = |minutes: u32| {
            let end = start + of_minutes(minutes);
            end <= received_at + AHEAD && received_at <= end + BEHIND
        };
        if self.minutes.is_some_and(is_on_time) || !MINUTE_INTERVALS.into_iter().any(is_on_time) {
            let had_doubts = self.minutes.is_some_and(is_on_time) && !self.starts.is_empty();
            if had_doubts {
                self.starts.clear();
            }
            return had_doubts;
        }
        let distance = self.starts.last().map(|last| start.ms() - last.ms());
        // A packet of the same set, or one that was late.
        if distance.is_some_and(|distance| distance <= 0) {
            return false;
        }
        let whole = distance.filter(|distance| distance % 60_000 == 0);
        let shown = whole
            .and_then(|distance| allowed(distance / 60_000))
            .filter(|minutes| is_on_time(*minutes));
        if shown.is_none() {
            self.starts.clear();
        } else if let [.., before, last] = self.starts[..]
            && distance != Some(last.ms() - before.ms())
        {
            self.starts = vec![last];
        }
        self.starts.push(start);
        if let Some(minutes) = shown.filter(|_| self.starts.len() > N_AGREEING) {
            // It held for the first of them already.
            let since = self.minutes.map(|_| self.starts[0]);
            (self.before, self.since, self.stated) = (since.and(self.minutes), since, false);
            self.minutes = Some(minutes);
            self.starts.clear();
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
    fn gaps_backlogs_and_packets_of_one_set_show_nothing() {
        let shown = |minutes: i64, starts: &[i64], delay: i64| {
            let mut data = MinuteData::default();
            for start in starts {
                data.sees(at(*start, 0), at(start + minutes, delay));
            }
            data.minutes
        };
        assert_eq!(shown(5, &[0, 5, 5, 15, 20, 25], 3), None);
        assert_eq!(shown(5, &[0, 5, 5, 15, 20, 25, 30], 3), Some(5));
        // Every second or third record is lost, each came as it ended.
        for minutes in [1, 2, 3, 5, 6, 10] {
            for (gap, delay) in [(2, 3), (3, 3), (5, 3), (2, 45), (6, 45)] {
                let starts: Vec<i64> = (0..9).map(|n| n * gap * minutes).collect();
                assert_eq!(shown(minutes, &starts, delay), None, "{minutes} {gap} {delay}");
            }
        }
        // A backlog: whatever its distances, it says nothing of when its records ended.
        for distance in [1, 5, 15] {
            let mut data = MinuteData::default();
            data.told(5, at(-60, 0));
            let before = data.clone();
            for n in 0..9 {
                assert!(!data.sees(at(n * distance, 0), at(300, n)));
            }
            assert_eq!(data, before);
        }
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
