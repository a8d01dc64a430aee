//! Whether a history is whole: every row is read, and what rows say of one another is compared.
//!
//! Two passes. The first goes through the keyspaces row by row: checksums, the form of keys, chunks that
//! hold what their header says, in order, without overlap, inside their week. The second goes through the
//! series: their extent, their replaced values, and their rollups against the points they were made of.
//! Both look at one snapshot and wait for nobody; a scrub is the first pass alone, over days.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use fjall::{Keyspace, Readable, Snapshot};
use onemap_model::Timestamp;
use serde::{Deserialize, Serialize};

use super::chunk::{self, Header, Numbers, is_flagged, partition_range, read_key, unseal};
use super::disk::Disk;
use super::growth::{self, Growth};
use super::memory::{Series, unpoisoned};
use super::point::Kept;
use super::read::View;
use super::rollup::{Day, Held, day_of, day_range};
use super::{History, HistoryError, SeriesId, revisions};

/// Faults that are spelt out; the others are counted.
const N_FAULTS: usize = 1000;

/// One thing that is not as it was written, or not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The keyspace: `c2915` is the week of that number since 1970.
    pub keyspace: String,
    /// Number of the series, where the row belongs to one.
    pub id: Option<u32>,
    /// Its name, where it is known.
    pub series: Option<String>,
    /// Time of the first point that is affected.
    pub at: Option<Timestamp>,
    /// What is wrong.
    pub what: String,
}

/// What a look at every row has found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Journal position that the rows stand for.
    pub cursor: u64,
    /// Rows read.
    pub rows: u64,
    /// Bytes of their keys and contents.
    pub bytes: u64,
    /// Series.
    pub series: u64,
    /// Points in chunks.
    pub points: u64,
    /// Rollups that were compared with their points.
    pub rollups: u64,
    /// Replaced values.
    pub revisions: u64,
    /// Whether it was gone through to the end.
    pub complete: bool,
    /// Faults found.
    pub n_faults: u64,
    /// The first thousand of them.
    pub faults: Vec<Fault>,
}

impl Verified {
    fn fault(&mut self, fault: Fault) {
        self.n_faults += 1;
        if self.faults.len() < N_FAULTS {
            self.faults.push(fault);
        }
    }
}

impl History {
    /// Reads every row and compares them. Appending goes on meanwhile; `is_over` ends it early, and
    /// [`Verified::complete`] says so.
    ///
    /// # Errors
    /// [`HistoryError::Read`] when the series cannot be walked. A row that cannot be read is a fault.
    pub fn verify(&self, is_over: &dyn Fn() -> bool) -> Result<Verified, HistoryError> {
        let disk = self.disk()?;
        let mut found = self.verify_rows(&disk, is_over)?;
        if !found.complete {
            return Ok(found);
        }
        let ids: Vec<SeriesId> = unpoisoned(self.dictionary.read())
            .iter()
            .map(|(id, _)| id)
            .collect();
        for id in ids {
            if is_over() {
                found.complete = false;
                return Ok(found);
            }
            self.verify_series(&disk, id, &mut found)?;
        }
        Ok(found)
    }

    /// The first pass.
    fn verify_rows(&self, disk: &Disk, is_over: &dyn Fn() -> bool) -> Result<Verified, HistoryError> {
        let keyspaces = disk.keyspaces()?;
        let (snapshot, cursor) = {
            // So that cursor and rows are of one moment.
            let _writer = unpoisoned(self.writer.lock());
            (disk.db.snapshot(), self.cursor())
        };
        let mut pass = Pass {
            history: self,
            disk,
            snapshot: &snapshot,
            is_over,
            found: Verified {
                cursor,
                series: unpoisoned(self.dictionary.read()).iter().count() as u64,
                ..Verified::default()
            },
        };
        let done = pass.all(&keyspaces);
        pass.found.complete = done.is_continue();
        Ok(pass.found)
    }

    /// What is told of a row in which something is wrong.
    pub(super) fn fault(&self, keyspace: &str, key: &[u8], what: String) -> Fault {
        let (id, at) = match (keyspace, read_key(key)) {
            ("series" | "meta" | "growth", _) => (None, None),
            ("heads", _) => (<[u8; 4]>::try_from(key).ok().map(u32::from_be_bytes), None),
            ("rollups" | "due", Some((id, day, _))) => (Some(id), Some(day_range(day).0)),
            (_, Some((id, at, _))) => (Some(id), Some(at)),
            (_, None) => (None, None),
        };
        let series = match (keyspace, id) {
            ("series" | "meta", _) => Some(String::from_utf8_lossy(key).into_owned()),
            (_, Some(id)) => self.series_key(SeriesId(id)).map(|key| key.to_string()),
            _ => None,
        };
        Fault {
            keyspace: keyspace.to_owned(),
            id,
            series,
            at: at.map(Timestamp::from_ms),
            what,
        }
    }

    fn verify_series(&self, disk: &Disk, id: SeriesId, found: &mut Verified) -> Result<(), HistoryError> {
        let look = |s: &Series| (s.n, s.first, s.last, s.n_stale, s.is_trimmed());
        let looked = self.memory.read(id, look);
        let Some(view) = View::of(disk, &self.memory, id) else {
            return Ok(());
        };
        let again = self.memory.read(id, look);
        let name = self.series_key(id).map(|key| key.to_string());
        let fault = |keyspace: &str, at: Option<i64>, what: String| Fault {
            keyspace: keyspace.to_owned(),
            id: Some(id.0),
            series: name.clone(),
            at: at.map(Timestamp::from_ms),
            what,
        };
        let (mut n, mut first, mut last) = (0u64, None, None);
        let mut revised = BTreeSet::new();
        let mut days: Vec<(i64, Day)> = Vec::new();
        view.walk(disk, (i64::MIN, i64::MAX), &mut |points| {
            for point in points {
                n += 1;
                first = first.or(Some(point.at));
                last = Some(point.at);
                if point.is_revised() {
                    revised.insert(point.at);
                }
                let day = day_of(point.at);
                if days.last().is_none_or(|(last, _)| *last != day) {
                    days.push((day, Day::default()));
                }
                if let Some((_, held)) = days.last_mut() {
                    let number = point.value.number().map(Numbers::one);
                    held.hour_mut(point.at)
                        .add(1, u64::from(is_flagged(point)), number.as_ref());
                }
            }
            ControlFlow::Continue(())
        })?;
        // What was appended between the two looks is in one of them only.
        if looked == again
            && let Some((said, said_first, said_last, _, true)) = looked
        {
            if said != n {
                found.fault(fault(
                    "heads",
                    first,
                    format!("the series should have {said} points and has {n}"),
                ));
            }
            if said > 0 && n > 0 && (first, last) != (Some(said_first), Some(said_last)) {
                let what = "its first and last time are not those that its head says".to_owned();
                found.fault(fault("heads", first, what));
            }
        }
        self.verify_revisions(disk, &view, &revised, found, &fault)?;
        self.verify_rollups(disk, &view, &days, found, &fault)
    }

    fn verify_revisions(
        &self,
        disk: &Disk,
        view: &View,
        revised: &BTreeSet<i64>,
        found: &mut Verified,
        fault: &dyn Fn(&str, Option<i64>, String) -> Fault,
    ) -> Result<(), HistoryError> {
        let all = (i64::MIN, i64::MAX);
        let replaced = revisions::load(disk, &view.snapshot, view.id, all, &view.replaced)?;
        for (at, versions) in &replaced {
            found.revisions += versions.len() as u64;
            if *at >= view.from && !revised.contains(at) {
                let what = "a replaced value of a time that shows no revision".to_owned();
                found.fault(fault("revisions", Some(*at), what));
            }
            if (0u32..).zip(versions).any(|(i, version)| version.ordinal != i) {
                let what = "one of the values that were replaced is missing".to_owned();
                found.fault(fault("revisions", Some(*at), what));
            }
        }
        for at in revised.iter().filter(|at| !replaced.contains_key(at)) {
            let what = "the value that a revision replaced is missing".to_owned();
            found.fault(fault("revisions", Some(*at), what));
        }
        Ok(())
    }

    fn verify_rollups(
        &self,
        disk: &Disk,
        view: &View,
        days: &[(i64, Day)],
        found: &mut Verified,
        fault: &dyn Fn(&str, Option<i64>, String) -> Fault,
    ) -> Result<(), HistoryError> {
        let id = view.id.0;
        let rows = chunk::key(id, i64::MIN, 0)..=chunk::key(id, i64::MAX, u32::MAX);
        for row in view.snapshot.range(&disk.rollups, rows) {
            let (key, row) = row.into_inner().map_err(HistoryError::reading)?;
            let Some((_, day, _)) = read_key(&key) else {
                continue;
            };
            // Damage was told by the first pass.
            let Some(rollup) = unseal(&key, &row).and_then(Day::decode) else {
                continue;
            };
            // Of days whose values are gone the hours are all there is.
            if view.stale.contains(&day) || (view.kept > i64::MIN && day < day_of(view.kept)) {
                continue;
            }
            let at = Some(day_range(day).0);
            let made = days.binary_search_by_key(&day, |(day, _)| *day).ok();
            let empty = Day::default();
            let want = made.map_or(&empty, |i| &days[i].1);
            found.rollups += 1;
            if !rollup.hours.iter().zip(&want.hours).all(|(a, b)| same_hour(a, b)) {
                let what = "the hours of the day are not those of its points".to_owned();
                found.fault(fault("rollups", at, what));
            }
        }
        Ok(())
    }
}

/// One pass over every row of a snapshot.
struct Pass<'a> {
    history: &'a History,
    disk: &'a Disk,
    snapshot: &'a Snapshot,
    is_over: &'a dyn Fn() -> bool,
    found: Verified,
}

impl Pass<'_> {
    fn all(&mut self, keyspaces: &[(String, Keyspace)]) -> ControlFlow<()> {
        keyspaces
            .iter()
            .try_for_each(|(name, keyspace)| self.rows(name, keyspace))
    }

    fn rows(&mut self, name: &str, keyspace: &Keyspace) -> ControlFlow<()> {
        let mut before = None;
        for row in self.snapshot.iter(keyspace) {
            let (key, row) = match row.into_inner() {
                Ok(row) => row,
                Err(error) => {
                    self.found.fault(Fault {
                        keyspace: name.to_owned(),
                        id: None,
                        series: None,
                        at: None,
                        what: format!("it cannot be read from here on: {error}"),
                    });
                    return ControlFlow::Continue(());
                }
            };
            let n_bytes = (key.len() + row.len()) as u64;
            self.found.rows += 1;
            self.found.bytes += n_bytes;
            if let Some(what) = check(&mut self.found, name, &mut before, &key, &row) {
                let fault = self.history.fault(name, &key, what);
                self.found.fault(fault);
            }
            if (self.is_over)() || self.disk.is_to_stay().is_err() {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }
}

const DAMAGED: &str = "its checksum does not fit";

/// What is wrong with a row of a keyspace, by what it says of itself; `before` is of the row before it.
pub(super) fn check(
    found: &mut Verified,
    keyspace: &str,
    before: &mut Option<(u32, i64)>,
    key: &[u8],
    row: &[u8],
) -> Option<String> {
    let damaged = || DAMAGED.to_owned();
    match keyspace {
        "series" => unseal(key, row).is_none().then(damaged),
        "heads" => match unseal(key, row).map(Series::read) {
            None => Some(damaged()),
            Some(None) => Some("it is no head of a series".to_owned()),
            Some(Some(series)) if series.n > 0 && series.first > series.last => {
                Some("the series begins after its end".to_owned())
            }
            Some(Some(_)) => None,
        },
        "growth" => match unseal(key, row).map(Growth::decode) {
            None => Some(damaged()),
            Some(None) => Some("it is no growth of heads".to_owned()),
            Some(Some(_)) => growth::number_of(key)
                .is_none()
                .then(|| "it has no number".to_owned()),
        },
        "revisions" => (!revisions::is_row(key, row)).then(damaged),
        "rollups" => match unseal(key, row).map(Day::decode) {
            None => Some(damaged()),
            Some(None) => Some("it is no day in hours".to_owned()),
            Some(Some(_)) => None,
        },
        "due" => (!row.is_empty()).then(|| "a mark of a day holds something".to_owned()),
        // The number of the layout alone has no checksum: older programs look at it.
        "meta" => (key != b"format" && unseal(key, row).is_none()).then(damaged),
        chunks => check_chunk(found, partition_named(chunks)?, before, key, row),
    }
}

/// The number of a keyspace of chunks.
pub(super) fn partition_named(keyspace: &str) -> Option<i64> {
    keyspace.strip_prefix('c')?.parse().ok()
}

/// What is wrong with a chunk; `before` is the series and the last time of the one before it.
fn check_chunk(
    found: &mut Verified,
    partition: i64,
    before: &mut Option<(u32, i64)>,
    key: &[u8],
    row: &[u8],
) -> Option<String> {
    let (Some((id, ..)), Some((header, block))) = (read_key(key), chunk::open(key, row)) else {
        return Some(DAMAGED.to_owned());
    };
    let follows = before.is_none_or(|(series, last)| series != id || last < header.first);
    *before = Some((id, header.last));
    let Some(points) = chunk::points(block) else {
        return Some("its block cannot be unpacked".to_owned());
    };
    found.points += points.len() as u64;
    if !follows {
        return Some("it overlaps the chunk before it".to_owned());
    }
    let (start, end) = partition_range(partition);
    if header.first < start || header.last > end {
        return Some("it reaches out of its week".to_owned());
    }
    if points.windows(2).any(|pair| pair[0].at >= pair[1].at) {
        return Some("its points are not in order".to_owned());
    }
    (!holds(&header, &points)).then(|| "its header does not say what its points say".to_owned())
}

fn holds(header: &Header, points: &[Kept]) -> bool {
    let mut held = Held::default();
    for point in points {
        let number = point.value.number().map(Numbers::one);
        held.add(1, u64::from(is_flagged(point)), number.as_ref());
    }
    let ends = points.first().zip(points.last()).map(|(a, b)| (a.at, b.at));
    let said = Held {
        n: header.n,
        n_flagged: header.n_flagged,
        numbers: header.numbers.clone(),
    };
    let same_ends = match (&said.numbers, &held.numbers) {
        (Some(a), Some(b)) => same(a.first, b.first) && same(a.last, b.last),
        _ => true,
    };
    ends == Some((header.first, header.last)) && same_hour(&said, &held) && same_ends
}

/// Sums may differ by how they were added up.
fn same_hour(a: &Held, b: &Held) -> bool {
    let numbers = match (&a.numbers, &b.numbers) {
        (None, None) => true,
        (Some(a), Some(b)) => {
            let most = a.sum.abs().max(a.min.abs().max(a.max.abs()) * a.n as f64);
            let sums = same(a.sum, b.sum) || (a.sum - b.sum).abs() <= 1e-9 * most.max(1.0);
            a.n == b.n && same(a.min, b.min) && same(a.max, b.max) && sums
        }
        _ => false,
    };
    (a.n, a.n_flagged) == (b.n, b.n_flagged) && numbers
}

fn same(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan())
}
