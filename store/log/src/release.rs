//! Removing old segments.

use std::time::SystemTime;

use crate::{
    Log, LogError,
    catalog::Catalog,
    segment::{self, ms_since_1970},
    shared::lock,
};

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Released {
    /// Segments removed.
    pub segments: usize,
    /// Records in them.
    pub records: u64,
    /// Their bytes on disk.
    pub bytes: u64,
    /// Records of lasting kinds copied to `carry.log` first.
    pub carried: u64,
    /// Position of the first record now kept in a segment.
    pub first: u64,
}

impl Log {
    /// Removes, oldest first, the closed segments whose last record is at or before `floor` and that
    /// were closed before the given time. Their records of the lasting kinds are carried over first.
    /// Readers that have a removed segment open read it to its end. Blocks: call it from a thread.
    ///
    /// # Errors
    /// When a segment cannot be read for carrying over, or the file system refuses; that segment and
    /// all behind it are still there.
    pub fn release(&self, floor: u64, closed_before: SystemTime) -> Result<Released, LogError> {
        let closed_before = ms_since_1970(closed_before);
        self.release_while(floor, |_, closed_ms| closed_ms < closed_before)
    }

    /// Removes, oldest first, closed segments whose last record is at or before `floor` until the log
    /// takes at most `max_bytes` on disk, like [`Log::release`]. The active segment stays.
    ///
    /// # Errors
    /// As [`Log::release`].
    pub fn release_to_size(&self, floor: u64, max_bytes: u64) -> Result<Released, LogError> {
        self.release_while(floor, |catalog, _| catalog.total_bytes() > max_bytes)
    }

    fn release_while(&self, floor: u64, due: impl Fn(&Catalog, i64) -> bool) -> Result<Released, LogError> {
        let shared = self.shared();
        let mut carry = lock(&shared.upkeep);
        let mut released = Released::default();
        loop {
            let catalog = lock(&shared.catalog);
            let oldest = catalog.oldest_closed();
            let oldest = oldest.filter(|(_, last, closed_ms)| *last <= floor && due(&catalog, *closed_ms));
            let Some((oldest, last, _)) = oldest else {
                released.first = catalog.first();
                return Ok(released);
            };
            let path = catalog.path(&oldest);
            drop(catalog);

            released.carried += carry.take_over(&oldest, last, shared.config.lasting_kinds)?;
            let mut catalog = lock(&shared.catalog);
            catalog.carry_bytes = carry.bytes;
            catalog.carry_last = carry.last;
            catalog.carry_records = carry.n_records;
            catalog.drop_oldest();
            let total_bytes = catalog.total_bytes();
            drop(catalog);
            segment::remove(&path)?;
            // One by one: after a power cut there must be no gap between the segments that are left.
            segment::sync_dir(&shared.config.dir)?;
            released.segments += 1;
            released.records += last + 1 - oldest.base;
            released.bytes += oldest.bytes;
            shared.made_room(total_bytes);
        }
    }
}
