//! Hours and days of stations whose index is to be worked out, for the first time or again.
//!
//! Made of the journal alone and kept in the checkpoint, so that a replay works the same hours out at the same ticks.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use foldhash::HashMap;
use onemap_model::{DeviceId, Timestamp};
use onemap_standards::air::DAY_MS;
use onemap_standards::hour::HOUR_MS;

/// How long after the end of an hour, or after what came later than that, the hour is worked out: what belongs to one
/// hour comes in several messages.
pub(super) const SETTLE_MS: i64 = 20_000;
/// Days end at a midnight of Beijing.
const MIDNIGHT_MS: i64 = 16 * HOUR_MS;
/// Layout of [`Open::encode`].
const FORMAT: u8 = 1;

/// Hours (or days) by number, as runs of neighbours: an import opens a year of them.
#[derive(Clone, Debug, Default, PartialEq)]
struct Runs(Vec<(i64, i64)>);

impl Runs {
    /// Whether it was not in before.
    fn insert(&mut self, n: i64) -> bool {
        let i = self.0.partition_point(|(_, last)| *last < n - 1);
        let Some(run) = self.0.get_mut(i) else {
            self.0.push((n, n));
            return true;
        };
        if (run.0..=run.1).contains(&n) {
            return false;
        }
        if n + 1 < run.0 {
            self.0.insert(i, (n, n));
            return true;
        }
        (run.0, run.1) = (run.0.min(n), run.1.max(n));
        let joins = self.0.get(i + 1).is_some_and(|next| next.0 == self.0[i].1 + 1);
        if joins {
            let (_, last) = self.0.remove(i + 1);
            self.0[i].1 = last;
        }
        true
    }

    fn first(&self) -> Option<i64> {
        self.0.first().map(|(first, _)| *first)
    }

    /// Takes numbers off the front, as many as `most` and none behind `last`.
    fn take(&mut self, last: i64, most: usize) -> Vec<i64> {
        let mut taken = Vec::new();
        while let Some(run) = self.0.first_mut() {
            let room = (most - taken.len()) as i64 - 1;
            let until = run.1.min(last).min(run.0.saturating_add(room));
            if until < run.0 {
                break;
            }
            taken.extend(run.0..=until);
            run.0 = until + 1;
            if run.0 > run.1 {
                self.0.remove(0);
            }
        }
        taken
    }
}

/// What is open of one station.
#[derive(Debug, Default, PartialEq)]
struct Station {
    /// When there is something to work out, ms.
    due: i64,
    hours: Runs,
    days: Runs,
}

impl Station {
    /// When the first hour or day that nothing more comes for has settled.
    fn next(&self) -> Option<i64> {
        let hour = self.hours.first().map(|n| n * HOUR_MS);
        let day = self.days.first().map(end_of_day);
        let first = hour.into_iter().chain(day).min()?;
        Some(first + SETTLE_MS)
    }
}

/// What is open of all stations.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Open {
    stations: HashMap<DeviceId, Station>,
    by_due: BTreeSet<(i64, DeviceId)>,
    n_hours: u64,
}

/// What is to be worked out: ends of hours and of days in ms, in order.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Work {
    pub(super) hours: Vec<i64>,
    pub(super) days: Vec<i64>,
}

impl Open {
    /// Opens the hour that ends at `end` (ms), and with it its day.
    pub(super) fn touch(&mut self, station: &DeviceId, end: i64, now: Timestamp) {
        let n = end.div_euclid(HOUR_MS);
        let open = match self.stations.get_mut(station) {
            Some(open) => open,
            None => self.stations.entry(station.clone()).or_insert(Station {
                due: i64::MAX,
                ..Station::default()
            }),
        };
        if !open.hours.insert(n) {
            return;
        }
        self.n_hours += 1;
        let due = end.max(now.ms()) + SETTLE_MS;
        if due < open.due {
            self.by_due.remove(&(open.due, station.clone()));
            open.due = due;
            self.by_due.insert((due, station.clone()));
        }
    }

    /// Opens the hours that end from one time to another (ms).
    pub(super) fn touch_all(&mut self, station: &DeviceId, (first, last): (i64, i64), now: Timestamp) {
        for end in (first..=last).step_by(HOUR_MS as usize) {
            self.touch(station, end, now);
        }
    }

    /// Hours that are open, those included that are not over.
    pub(super) fn n_hours(&self) -> u64 {
        self.n_hours
    }

    /// The first station of which something is due.
    pub(super) fn due(&self, now: Timestamp) -> Option<DeviceId> {
        let (due, station) = self.by_due.first()?;
        (*due <= now.ms()).then(|| station.clone())
    }

    /// What is to be worked out of a station that is due: no more than `most` hours of those that are over. Their days
    /// follow when no hour is left that is over.
    pub(super) fn take(&mut self, station: &DeviceId, now: Timestamp, most: usize) -> Work {
        let Some(open) = self.stations.get_mut(station) else {
            return Work::default();
        };
        self.by_due.remove(&(open.due, station.clone()));
        let hours = open.hours.take(now.ms().div_euclid(HOUR_MS), most);
        self.n_hours -= hours.len() as u64;
        for n in &hours {
            open.days.insert(day_of(n * HOUR_MS));
        }
        let mut days = Vec::new();
        let is_over = |n: i64| n * HOUR_MS <= now.ms();
        if open.hours.first().is_some_and(is_over) {
            // The rest is due at once.
            open.due = now.ms();
        } else {
            days = open.days.take(day_of(now.ms() + 1) - 1, usize::MAX >> 1);
            open.due = open.next().unwrap_or(i64::MAX);
        }
        if open.due == i64::MAX {
            self.stations.remove(station);
        } else {
            self.by_due.insert((open.due, station.clone()));
        }
        Work {
            hours: hours.into_iter().map(|n| n * HOUR_MS).collect(),
            days: days.into_iter().map(end_of_day).collect(),
        }
    }

    /// Its bytes, for the checkpoint; equal for equal contents. Nothing when nothing is open.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut stations: Vec<_> = self.stations.iter().collect();
        stations.sort_unstable_by(|a, b| a.0.cmp(b.0));
        let mut out = vec![FORMAT];
        for (id, station) in stations {
            out.extend((id.as_str().len() as u16).to_le_bytes());
            out.extend(id.as_str().as_bytes());
            out.extend(station.due.to_le_bytes());
            for runs in [&station.hours, &station.days] {
                out.extend((runs.0.len() as u32).to_le_bytes());
                for (first, last) in &runs.0 {
                    out.extend(first.to_le_bytes());
                    out.extend(last.to_le_bytes());
                }
            }
        }
        out
    }

    /// What was encoded.
    ///
    /// # Errors
    /// Bytes that are none of this version's.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let Some((&FORMAT, mut rest)) = bytes.split_first() else {
            bail!("open hours are not of format {FORMAT}");
        };
        let mut open = Self::default();
        while !rest.is_empty() {
            let length = u16::from_le_bytes(some(&mut rest)?);
            let (id, behind) = rest.split_at_checked(length.into()).context("an id ends early")?;
            rest = behind;
            let id = DeviceId::new(std::str::from_utf8(id)?)?;
            let mut station = Station {
                due: i64::from_le_bytes(some(&mut rest)?),
                ..Station::default()
            };
            for runs in [&mut station.hours, &mut station.days] {
                for _ in 0..u32::from_le_bytes(some(&mut rest)?) {
                    let first = i64::from_le_bytes(some(&mut rest)?);
                    runs.0.push((first, i64::from_le_bytes(some(&mut rest)?)));
                }
            }
            let hours = station
                .hours
                .0
                .iter()
                .map(|(first, last)| last.abs_diff(*first) + 1);
            open.n_hours += hours.sum::<u64>();
            open.by_due.insert((station.due, id.clone()));
            open.stations.insert(id, station);
        }
        Ok(open)
    }
}

fn some<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N]> {
    let (some, behind) = rest.split_first_chunk().context("the bytes end early")?;
    *rest = behind;
    Ok(*some)
}

/// The number of the day that a time belongs to: without its beginning and with its end.
fn day_of(ms: i64) -> i64 {
    (ms - MIDNIGHT_MS + DAY_MS - 1).div_euclid(DAY_MS)
}

fn end_of_day(n: i64) -> i64 {
    n * DAY_MS + MIDNIGHT_MS
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(&format!("2026-11-{text}+08:00")).unwrap()
    }
    fn ends(work: &[i64]) -> Vec<String> {
        work.iter()
            .map(|ms| Timestamp::from_ms(*ms).to_string())
            .collect()
    }

    #[test]
    fn an_hour_is_due_when_it_is_over_and_again_when_something_comes() {
        let (mut open, a) = (Open::default(), DeviceId::new("a").unwrap());
        let nine = at("25T09:00:00").ms();
        open.touch(&a, nine, at("25T08:10:00"));
        open.touch(&a, nine, at("25T08:59:59"));
        assert_eq!(open.due(at("25T09:00:19")), None);
        assert_eq!(open.due(at("25T09:00:20")), Some(a.clone()));
        open.touch(&a, nine + HOUR_MS, at("25T09:00:20"));
        let work = open.take(&a, at("25T09:00:20"), 100);
        assert_eq!(ends(&work.hours), ["2026-11-25T09:00:00+08:00"]);
        assert!(work.days.is_empty());
        // Late.
        open.touch(&a, nine, at("25T09:30:00"));
        assert_eq!(open.due(at("25T09:30:19")), None);
        assert_eq!(open.take(&a, at("25T09:30:20"), 100).hours, [nine]);
        assert_eq!(open.take(&a, at("25T10:00:20"), 100).hours, [nine + HOUR_MS]);
        // The day when it is over.
        assert_eq!(open.due(at("26T00:00:19")), None);
        let work = open.take(&open.due(at("26T00:00:20")).unwrap(), at("26T00:00:20"), 100);
        assert_eq!(
            (work.hours.len(), ends(&work.days)),
            (0, vec!["2026-11-26T00:00:00+08:00".to_owned()])
        );
        assert_eq!(open, Open::default());
    }

    #[test]
    fn a_year_is_taken_in_pieces() {
        let (mut open, a) = (Open::default(), DeviceId::new("a").unwrap());
        let (now, end) = (at("25T09:00:00"), at("25T00:00:00").ms());
        for i in 0..48 {
            open.touch(&a, end - i * HOUR_MS, now);
        }
        let open = &mut Open::decode(&open.encode()).unwrap();
        let later = at("25T09:00:20");
        let (mut hours, mut days) = (Vec::new(), Vec::new());
        while let Some(a) = open.due(later) {
            let work = open.take(&a, later, 10);
            assert!(work.hours.len() <= 10);
            hours.extend(work.hours);
            days.extend(work.days);
        }
        assert_eq!(
            hours,
            (0..48).rev().map(|i| end - i * HOUR_MS).collect::<Vec<_>>()
        );
        assert_eq!(days, [end - DAY_MS, end]);
    }

    proptest! {
        #[test]
        fn runs_are_a_set(numbers in prop::collection::vec(-20i64..20, 0..60), last in -20i64..20, most in 1usize..9) {
            let (mut runs, mut set) = (Runs::default(), BTreeSet::new());
            for n in numbers {
                prop_assert_eq!(runs.insert(n), set.insert(n));
            }
            let all: Vec<i64> = runs.0.iter().flat_map(|(first, last)| *first..=*last).collect();
            prop_assert_eq!(&all, &set.iter().copied().collect::<Vec<_>>());
            prop_assert!(runs.0.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
            let want: Vec<i64> = set.iter().copied().filter(|n| *n <= last).take(most).collect();
            prop_assert_eq!(runs.take(last, most), want);
        }
    }
}
