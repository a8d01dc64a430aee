//! Which segments there are and how far each may be read.
//!
//! The commit thread, the compressor and releases change it; readers look into it when they come to an
//! end, never per record. It has a lock of its own, so that none of them holds up an append.

use std::{collections::VecDeque, ops::RangeInclusive, path::PathBuf};

use crate::segment::{self, Form};

/// Bytes between two places a reader of the active segment can start at.
const PLACE_SPACING_BYTES: u64 = 256 << 10;

/// One segment on disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    /// Position of its first record.
    pub(crate) base: u64,
    pub(crate) form: Form,
    /// Durable bytes, header included.
    pub(crate) bytes: u64,
    pub(crate) created_ms: i64,
}

/// All segments, oldest first; the last one is active, the others are closed.
#[derive(Debug)]
pub(crate) struct Catalog {
    dir: PathBuf,
    segments: VecDeque<Segment>,
    total_bytes: u64,
    /// Position of the last durable record.
    pub(crate) durable: u64,
    /// (position, byte) of some record borders of the active segment.
    places: Vec<(u64, u64)>,
    /// How much of `carry.log` counts, and the position of its last record.
    pub(crate) carry_bytes: u64,
    pub(crate) carry_last: u64,
    pub(crate) carry_records: u64,
}

impl Catalog {
    /// A catalog of closed segments; the active one is added by [`Catalog::begin`].
    pub(crate) fn new(dir: PathBuf, closed: Vec<Segment>) -> Self {
        Self {
            dir,
            total_bytes: closed.iter().map(|s| s.bytes).sum(),
            segments: closed.into(),
            durable: 0,
            places: Vec::new(),
            carry_bytes: 0,
            carry_last: 0,
            carry_records: 0,
        }
    }

    /// Closes the active segment, if there is one, and makes `segment` the active one.
    pub(crate) fn begin(&mut self, segment: Segment) {
        self.total_bytes += segment.bytes;
        self.segments.push_back(segment);
        self.places.clear();
    }

    /// Records up to `last` are durable in the first `bytes` of the active segment.
    pub(crate) fn grow(&mut self, bytes: u64, last: u64) {
        if let Some(active) = self.segments.back_mut() {
            self.total_bytes += bytes - active.bytes;
            active.bytes = bytes;
        }
        self.durable = last;
        self.note_place(last + 1, bytes);
    }

    /// Remembers a record border of the active segment, if it is far enough from the last.
    pub(crate) fn note_place(&mut self, position: u64, at_byte: u64) {
        let last = self.places.last().map_or(0, |(_, at)| *at);
        if at_byte >= last + PLACE_SPACING_BYTES {
            self.places.push((position, at_byte));
        }
    }

    /// The last known border in the active segment at or before a position.
    pub(crate) fn place(&self, position: u64) -> Option<(u64, u64)> {
        let n = self.places.partition_point(|(p, _)| *p <= position);
        n.checked_sub(1).map(|i| self.places[i])
    }

    /// Position of the first record kept in a segment.
    pub(crate) fn first(&self) -> u64 {
        self.segments.front().map_or(self.durable + 1, |s| s.base)
    }

    pub(crate) fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    pub(crate) fn n_segments(&self) -> usize {
        self.segments.len()
    }

    /// The segment that holds, or will hold, a position at or behind the first, and whether it is
    /// the active one.
    pub(crate) fn holding(&self, position: u64) -> Option<(Segment, bool)> {
        let n = self.segments.partition_point(|s| s.base <= position);
        let i = n.checked_sub(1)?;
        Some((self.segments[i], n == self.segments.len()))
    }

    pub(crate) fn path(&self, segment: &Segment) -> PathBuf {
        segment::path(&self.dir, segment.base, segment.form)
    }

    /// The last position of the closed segment that begins with `base`, if it is still there.
    pub(crate) fn last_of(&self, base: u64) -> Option<u64> {
        let i = self.segments.binary_search_by_key(&base, |s| s.base).ok()?;
        Some(self.segments.get(i + 1)?.base - 1)
    }

    /// First and last positions of the closed segments that begin behind `after`, oldest first.
    pub(crate) fn closed_after(&self, after: u64) -> Vec<RangeInclusive<u64>> {
        let begins = self.segments.iter().map(|s| s.base);
        let spans = begins.clone().zip(begins.skip(1));
        spans
            .filter(|(base, next)| *base > after && next > base)
            .map(|(base, next)| base..=next - 1)
            .collect()
    }

    /// The active segment's base and durable bytes.
    pub(crate) fn active(&self) -> Option<Segment> {
        self.segments.back().copied()
    }

    /// The oldest segment, its last position and its closing time, if it is closed.
    pub(crate) fn oldest_closed(&self) -> Option<(Segment, u64, i64)> {
        let next = self.segments.get(1)?;
        Some((self.segments[0], next.base - 1, next.created_ms))
    }

    /// Forgets the oldest segment.
    pub(crate) fn drop_oldest(&mut self) {
        if let Some(oldest) = self.segments.pop_front() {
            self.total_bytes -= oldest.bytes;
        }
    }

    /// The oldest closed segment in plain form with a base of at least `from`.
    #[cfg(feature = "compress")]
    pub(crate) fn oldest_plain(&self, from: u64) -> Option<Segment> {
        let closed = self.segments.len().saturating_sub(1);
        let mut closed = self.segments.iter().take(closed);
        closed.find(|s| s.base >= from && s.form == Form::Plain).copied()
    }

    /// Notes that a segment is now packed; false when it is gone.
    #[cfg(feature = "compress")]
    pub(crate) fn set_packed(&mut self, base: u64, bytes: u64) -> bool {
        let Ok(i) = self.segments.binary_search_by_key(&base, |s| s.base) else {
            return false;
        };
        self.total_bytes = self.total_bytes - self.segments[i].bytes + bytes;
        self.segments[i].bytes = bytes;
        self.segments[i].form = Form::Packed;
        true
    }
}
