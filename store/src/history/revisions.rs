//! Replaced values: what was shown for a time before a revision.
//!
//! Keyspace `revisions`, key series | time | ordinal (the layout of a chunk key): the value as it was
//! shown, and the journal position of the record that replaced it. So the position of version *k* is
//! in the row of version *k − 1*, and a time that was never revised costs nothing here.

use std::collections::BTreeMap;

use fjall::{Readable, Snapshot};
use onemap_model::{Quality, Timestamp};

use super::block::{put_untimed, read_untimed};
use super::chunk::{key, read_key, seal, unseal};
use super::column::{Input, put_unsigned};
use super::disk::Disk;
use super::point::{Kept, Version};
use super::{HistoryError, SeriesId, missing};

/// A value that a later one of the same time replaced.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Replaced {
    /// Counts the versions of this time from 0.
    pub(super) ordinal: u32,
    pub(super) point: Kept,
    /// Journal position of the record that replaced it.
    pub(super) by: u64,
}

impl Replaced {
    /// Key and row.
    pub(super) fn encode(&self, series: SeriesId) -> ([u8; 16], Vec<u8>) {
        let key = key(series.0, self.point.at, self.ordinal);
        let mut row = Vec::new();
        put_unsigned(&mut row, self.by);
        put_untimed(&mut row, &self.point);
        (key, seal(&key, row))
    }

    /// `None` is damage.
    fn decode(key: &[u8], row: &[u8]) -> Option<Self> {
        let (_, at, ordinal) = read_key(key)?;
        let mut input = Input(unseal(key, row)?);
        let by = input.unsigned()?;
        let point = read_untimed(&mut input, at)?;
        Some(Self { ordinal, point, by })
    }
}

/// Whether key and row are a replaced value.
pub(super) fn is_row(key: &[u8], row: &[u8]) -> bool {
    Replaced::decode(key, row).is_some()
}

/// Replaced values that no checkpoint has written yet, by time and ordinal.
pub(super) type Pending = BTreeMap<(i64, u32), Replaced>;

/// Replaced values by time, oldest version first.
pub(super) type ReplacedByTime = BTreeMap<i64, Vec<Replaced>>;

/// Loads the replaced values of a series in `from..=to`, those of `pending` with them.
pub(super) fn load(
    disk: &Disk,
    snapshot: &Snapshot,
    series: SeriesId,
    (from, to): (i64, i64),
    pending: &Pending,
) -> Result<ReplacedByTime, HistoryError> {
    let mut by_time = BTreeMap::<i64, BTreeMap<u32, Replaced>>::new();
    let range = key(series.0, from, 0)..=key(series.0, to, u32::MAX);
    for row in snapshot.range(&disk.revisions, range) {
        let place = key(series.0, from, 0);
        let Some((key, row)) = disk.sound("block of revisions", &place, row.into_inner())? else {
            missing::note(&place, (from, to));
            break;
        };
        match Replaced::decode(&key, &row) {
            Some(replaced) => {
                by_time
                    .entry(replaced.point.at)
                    .or_default()
                    .insert(replaced.ordinal, replaced);
            }
            None => {
                disk.report_damage("revision", &key);
                let at = read_key(&key).map_or((from, to), |(_, at, _)| (at, at));
                missing::note(&key, at);
            }
        }
    }
    if from <= to {
        for ((at, ordinal), replaced) in pending.range((from, 0)..=(to, u32::MAX)) {
            by_time.entry(*at).or_default().insert(*ordinal, replaced.clone());
        }
    }
    Ok(by_time
        .into_iter()
        .map(|(at, versions)| (at, versions.into_values().collect()))
        .collect())
}

/// All versions of one time, oldest first, the shown one last.
pub(super) fn versions<'a>(shown: &'a Kept, replaced: &'a [Replaced]) -> impl Iterator<Item = Version> + 'a {
    let positions = std::iter::once(None).chain(replaced.iter().map(|r| Some(r.by)));
    let points = replaced.iter().map(|r| (&r.point, false)).chain([(shown, true)]);
    points.zip(positions).map(|((point, shown), position)| Version {
        measured_at: Timestamp::from_ms(point.at),
        value: point.value.clone(),
        quality: Quality(point.quality),
        received_at: Timestamp::from_ms(point.received),
        position,
        shown,
    })
}
