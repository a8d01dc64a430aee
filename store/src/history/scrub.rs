//! Every row is read again within days, so that damage is found while there is something to repair it from.
//!
//! A pass goes through the keyspaces in slices: each looks at a snapshot of its own for a moment, at a row's
//! checksum, form and content, and notes how far it came, so that a restart goes on there. What was found
//! stays known until a later pass finds the row sound, or gone.

use std::ops::{Bound, ControlFlow};
use std::time::Duration;

use fjall::{Keyspace, OwnedWriteBatch, PersistMode, Readable, Snapshot};
use onemap_model::Timestamp;
use serde::{Deserialize, Serialize};

use super::disk::Disk;
use super::memory::unpoisoned;
use super::verify::{Fault, Verified, check, partition_named};
use super::{History, HistoryError, SeriesId, chunk};
use crate::canonical::hex;

/// Where it is kept how far the pass is.
const SCRUB: &[u8] = b"scrub";
/// Faults that are kept with their place; the others are counted.
const N_FAULTS: usize = 200;
/// Bytes of a slice at least: a small history is through at once.
const MIN_SLICE: u64 = 1 << 20;
/// Reads in a row that fail before the rest of a keyspace is left to the next pass.
const N_UNREAD: u32 = 64;
const DAY: Duration = Duration::from_secs(86_400);

/// How far the pass over all rows is, and which rows are known to be damaged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Scrubbed {
    /// When the pass began that is under way, or the last one; `None` before the first.
    pub began: Option<Timestamp>,
    /// The keyspace that it has come to; `None` when it has ended.
    pub keyspace: Option<String>,
    /// In hexadecimal: the last key that was read there.
    key: String,
    /// Rows read in this pass.
    pub rows: u64,
    /// Bytes of their keys and contents.
    pub bytes: u64,
    /// When the last whole pass ended; `None` before.
    pub ended: Option<Timestamp>,
    /// Passes that came to their end.
    pub passes: u64,
    /// Damaged rows, as far as is known.
    pub n_faults: u64,
    /// The first two hundred of them.
    pub faults: Vec<Known>,
    /// Those over, in this pass and in the last.
    more: (u64, u64),
}

/// A damaged row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// What and where it is.
    #[serde(flatten)]
    pub fault: Fault,
    /// Its key in hexadecimal.
    pub key: String,
    /// When it was first found.
    pub found: Timestamp,
    /// Beginning of the last pass that found it.
    seen: Option<Timestamp>,
}

impl Scrubbed {
    fn begin(&mut self, now: Timestamp) {
        self.began = Some(now);
        (self.rows, self.bytes, self.more.0) = (0, 0, 0);
        self.key.clear();
    }

    /// Notes what a row is like: `None` is sound.
    fn note(&mut self, (keyspace, key): (&str, &[u8]), now: Timestamp, fault: Option<Fault>) {
        if self.faults.is_empty() && fault.is_none() {
            return;
        }
        let key = hex(key);
        let is_it = |known: &Known| known.fault.keyspace == keyspace && known.key == key;
        match (self.faults.iter().position(is_it), fault) {
            (None, None) => return,
            (Some(i), None) => {
                self.faults.remove(i);
            }
            (Some(i), Some(fault)) => {
                self.faults[i].fault = fault;
                self.faults[i].seen = self.began;
            }
            (None, Some(fault)) => {
                let Fault { what, series, at, .. } = &fault;
                tracing::error!(keyspace, ?series, ?at, "a row of the history is damaged: {what}");
                if self.faults.len() < N_FAULTS {
                    self.faults.push(Known {
                        fault,
                        key,
                        found: now,
                        seen: self.began,
                    });
                } else {
                    self.more.0 += 1;
                }
            }
        }
        self.count();
    }

    /// What this pass did not find is whole again, or gone.
    fn end(&mut self, now: Timestamp) {
        let began = self.began;
        self.faults.retain(|known| known.seen == began);
        self.keyspace = None;
        self.key.clear();
        self.ended = Some(now);
        self.passes += 1;
        self.more.1 = self.more.0;
        self.count();
    }

    fn count(&mut self) {
        self.n_faults = self.faults.len() as u64 + self.more.0.max(self.more.1);
    }
}

impl History {
    /// How far the pass over all rows is.
    pub fn scrubbed(&self) -> Scrubbed {
        unpoisoned(self.scrubbed.lock()).clone()
    }

    /// Goes on with the pass over all rows by as much as belongs to `since`, so that a whole pass takes `days`
    /// days and at least one week's keyspace is read in a day; begins the next pass when it is due. `pace` is
    /// told the bytes of each row; it may sleep, and ends the slice by breaking off.
    ///
    /// # Errors
    /// [`HistoryError::Closed`], or [`HistoryError::Write`] when it cannot be noted how far it came. Rows that
    /// cannot be read are faults.
    pub fn scrub(
        &self,
        now: Timestamp,
        since: Duration,
        days: u32,
        pace: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<(), HistoryError> {
        let _one = unpoisoned(self.scrubbing.lock());
        let disk = self.disk()?;
        let mut keyspaces = disk.keyspaces()?;
        keyspaces.sort_by(|(a, _), (b, _)| place(a).cmp(&place(b)));
        let mut state = self.scrubbed();
        // No longer than there are weeks: at least one of them a day.
        let n_days = u64::from(days).min(disk.n_partitions()).max(1);
        let length = DAY * u32::try_from(n_days).unwrap_or(u32::MAX);
        if state.keyspace.is_none() {
            if state.began.is_some_and(|began| now.since(began) < length) {
                return Ok(());
            }
            state.begin(now);
        }
        let all = disk.db.disk_space().unwrap_or(0) as f64;
        let share = since.as_secs_f64() / length.as_secs_f64();
        let mut slice = Slice {
            history: self,
            disk: &disk,
            snapshot: disk.db.snapshot(),
            now,
            left: ((all * share) as u64).max(MIN_SLICE),
            pace,
            state,
        };
        let mut done = ControlFlow::Continue(());
        let reached = slice.state.keyspace.clone();
        for (name, keyspace) in &keyspaces {
            if done.is_break() {
                break;
            }
            if reached
                .as_ref()
                .is_some_and(|reached| place(name) < place(reached))
            {
                continue;
            }
            if slice.state.keyspace.as_ref() != Some(name) {
                slice.state.keyspace = Some(name.clone());
                slice.state.key.clear();
            }
            done = slice.rows(name, keyspace);
        }
        let mut state = slice.state;
        disk.is_to_stay()?;
        if done.is_continue() {
            state.end(now);
            tracing::info!(
                rows = state.rows,
                bytes = state.bytes,
                damaged = state.n_faults,
                "every row of the history was read"
            );
        }
        let row = serde_json::to_vec(&state).unwrap_or_default();
        let mut batch =
            OwnedWriteBatch::with_capacity(disk.db.clone(), 1).durability(Some(PersistMode::Buffer));
        batch.insert(&disk.meta, SCRUB, chunk::seal(SCRUB, row));
        let _writer = unpoisoned(self.writer.lock());
        self.wrote(batch.commit())?;
        *unpoisoned(self.scrubbed.lock()) = state;
        Ok(())
    }
}

/// Part of a pass.
struct Slice<'a> {
    history: &'a History,
    disk: &'a Disk,
    snapshot: Snapshot,
    now: Timestamp,
    /// Bytes that it may read.
    left: u64,
    pace: &'a mut dyn FnMut(u64) -> ControlFlow<()>,
    state: Scrubbed,
}

impl Slice<'_> {
    /// The rows of a keyspace from where the pass is.
    fn rows(&mut self, name: &str, keyspace: &Keyspace) -> ControlFlow<()> {
        let mut from = match unhex(&self.state.key) {
            key if key.is_empty() => Bound::Unbounded,
            key => Bound::Excluded(key),
        };
        let (mut before, mut n_unread) = (None, 0);
        loop {
            let mut failed = None;
            for row in self.snapshot.range(keyspace, (from.clone(), Bound::Unbounded)) {
                match row.into_inner() {
                    Ok((key, row)) => {
                        n_unread = 0;
                        let what = check(&mut Verified::default(), name, &mut before, &key, &row);
                        let fault = what.map(|what| self.history.fault(name, &key, what));
                        self.state.note((name, &key), self.now, fault);
                        self.read(&key, (key.len() + row.len()) as u64)?;
                    }
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                }
            }
            let Some(error) = failed else {
                return ControlFlow::Continue(());
            };
            // What lies behind is looked for from the next series on.
            let next = self.next_series(&from);
            let key = match &next {
                Some(next) => next.saturating_sub(1).to_be_bytes().to_vec(),
                None => Vec::new(),
            };
            let what = format!("it cannot be read from here on: {error}");
            let fault = self.history.fault(name, &key, what);
            self.state.note((name, &key), self.now, Some(fault));
            n_unread += 1;
            match next {
                Some(next) if n_unread < N_UNREAD && !matches!(name, "series" | "meta") => {
                    from = Bound::Included(next.to_be_bytes().to_vec());
                }
                _ => return ControlFlow::Continue(()),
            }
        }
    }

    fn read(&mut self, key: &[u8], n_bytes: u64) -> ControlFlow<()> {
        self.state.key = hex(key);
        self.state.rows += 1;
        self.state.bytes += n_bytes;
        self.left = self.left.saturating_sub(n_bytes);
        if self.left == 0 || self.disk.is_to_stay().is_err() {
            return ControlFlow::Break(());
        }
        (self.pace)(n_bytes)
    }

    /// The series behind the last one that was read, or asked for, if there is one.
    fn next_series(&self, asked: &Bound<Vec<u8>>) -> Option<u32> {
        let number = |key: &[u8]| key.first_chunk::<4>().map(|id| u32::from_be_bytes(*id));
        let asked = match asked {
            Bound::Included(key) | Bound::Excluded(key) => number(key),
            Bound::Unbounded => Some(0),
        };
        let read = number(&unhex(&self.state.key));
        let next = asked.max(read)?.checked_add(1)?;
        let is_given = self.history.series_key(SeriesId(next)).is_some();
        is_given.then_some(next)
    }
}

/// The order of a pass: what is small and of all weeks first.
fn place(keyspace: &str) -> (i64, &str) {
    match partition_named(keyspace) {
        Some(partition) => (partition, keyspace),
        None => (i64::MIN, keyspace),
    }
}

/// How far the pass was at the last slice.
pub(super) fn read(disk: &Disk) -> Result<Scrubbed, HistoryError> {
    let Some(row) = disk.meta.get(SCRUB).map_err(HistoryError::reading)? else {
        return Ok(Scrubbed::default());
    };
    let state = chunk::unseal(SCRUB, &row).and_then(|row| serde_json::from_slice(row).ok());
    if state.is_none() {
        disk.report_damage("row of the scrub", SCRUB);
    }
    Ok(state.unwrap_or_default())
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = |i: usize| {
        text.get(i..i + 2)
            .and_then(|two| u8::from_str_radix(two, 16).ok())
    };
    (0..text.len()).step_by(2).map_while(digits).collect()
}
