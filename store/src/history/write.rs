//! Appending: what is new, late, a repetition or a revision.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use onemap_model::{DeviceId, Quality, Reading, SeriesKey, Timestamp, Value};

use super::checkpoint::Made;
use super::memory::{Place, unpoisoned};
use super::point::{Kept, Kind, Outcome, same};
use super::reports::Reports;
use super::revisions::{self, Pending, Replaced};
use super::series::DeviceIndex;
use super::versions::Versions;
use super::{History, HistoryError, SeriesId, growth};

/// Points that look-ups below the frontier keep unpacked, about 40 MB. Past it all are dropped and
/// unpacked again when wanted.
const N_WINDOW_POINTS: usize = 1_000_000;
/// Windows of one series that are kept.
const N_WINDOWS: usize = 8;

/// What only the one writer needs.
#[derive(Default)]
pub(super) struct Writer {
    /// Changed since the last checkpoint, each once.
    pub(super) dirty: Vec<SeriesId>,
    /// Entered in the dictionary since the last checkpoint.
    pub(super) entered: Vec<(SeriesId, SeriesKey)>,
    /// Whose reading came last: most frames have several of one device.
    at_hand: Option<(DeviceId, DeviceIndex)>,
    /// What each device reported lately, over all its series.
    reports: Vec<Reports>,
    pub(super) windows: Windows,
    pub(super) versions: Versions,
    pub(super) growth: growth::Rows,
    /// Checkpoints that the disk has, to know of one that failed whether it is among them.
    pub(super) n_batches: u64,
    /// A checkpoint that failed: what is to be done when it is on the disk all the same.
    pub(super) failed: Option<Made>,
}

/// Sizes that only the writer changes and anyone may look at, also while a checkpoint runs.
#[derive(Default)]
pub(super) struct Sizes {
    pub(super) n_chunks: AtomicU64,
    pub(super) chunk_bytes: AtomicU64,
    /// Points put in since the last checkpoint.
    pub(super) unsaved: AtomicU64,
}

impl Writer {
    /// The reports of a device.
    pub(super) fn reports(&mut self, device: DeviceIndex) -> &mut Reports {
        let device = device as usize;
        if self.reports.len() <= device {
            self.reports.resize(device + 1, Reports::default());
        }
        &mut self.reports[device]
    }
}

/// Ranges of time of which it is known what the chunks have, so that a burst of late points does not
/// unpack a chunk for each. Forgotten for a series whenever a checkpoint changes its chunks.
#[derive(Default)]
pub(super) struct Windows {
    by_series: HashMap<SeriesId, Vec<(i64, i64, Vec<Kept>)>>,
    n_points: usize,
}

impl Windows {
    fn find(&self, id: SeriesId, at: i64) -> Option<Option<Kept>> {
        let windows = self.by_series.get(&id)?;
        let (_, _, points) = windows
            .iter()
            .rev()
            .find(|(from, to, _)| (*from..=*to).contains(&at))?;
        Some(
            points
                .binary_search_by_key(&at, |p| p.at)
                .ok()
                .map(|i| points[i].clone()),
        )
    }
    fn keep(&mut self, id: SeriesId, window: (i64, i64, Vec<Kept>)) {
        if self.n_points + window.2.len() > N_WINDOW_POINTS {
            self.by_series.clear();
            self.n_points = 0;
        }
        self.n_points += window.2.len();
        let windows = self.by_series.entry(id).or_default();
        if windows.len() >= N_WINDOWS {
            self.n_points -= windows.remove(0).2.len();
        }
        windows.push(window);
    }
    pub(super) fn forget_all(&mut self) {
        *self = Self::default();
    }
    pub(super) fn forget(&mut self, id: SeriesId) {
        for (_, _, points) in self.by_series.remove(&id).unwrap_or_default() {
            self.n_points -= points.len();
        }
    }
}

impl History {
    /// Takes readings in journal order and says what became of each.
    ///
    /// They are in memory and readable at once, durable with the next [`History::checkpoint`].
    /// Giving a reading again, as a replay does, is a [`Kind::Duplicate`] and changes nothing.
    ///
    /// # Errors
    /// [`HistoryError::Read`] when a late reading's place cannot be read from disk; the readings
    /// before it are kept, and giving all of them again later is harmless, though they are duplicates then
    /// ([`History::append_rest`] tells what they were). [`HistoryError::Unmended`] after a checkpoint that failed.
    pub fn append(&self, readings: &[Reading]) -> Result<Vec<Outcome>, HistoryError> {
        let mut outcomes = Vec::with_capacity(readings.len());
        self.append_rest(readings, &mut outcomes, false)?;
        Ok(outcomes)
    }

    /// [`History::append`], but for those at the front that have their outcome already; each outcome is pushed as
    /// it comes. After an error a call with the same `outcomes` goes on with the reading that failed.
    ///
    /// An earlier value of a time once more takes its correction back, unless it was marked as resent; with
    /// `corrects`, of who says values by hand, also then.
    ///
    /// # Errors
    /// As [`History::append`]; nothing of the reading that failed is kept.
    pub fn append_rest(
        &self,
        readings: &[Reading],
        outcomes: &mut Vec<Outcome>,
        corrects: bool,
    ) -> Result<(), HistoryError> {
        let mut writer = unpoisoned(self.writer.lock());
        if writer.failed.is_some() {
            return Err(HistoryError::Unmended);
        }
        for reading in readings.iter().skip(outcomes.len()) {
            outcomes.push(self.append_one(&mut writer, reading, corrects)?);
        }
        Ok(())
    }

    fn append_one(
        &self,
        writer: &mut Writer,
        reading: &Reading,
        corrects: bool,
    ) -> Result<Outcome, HistoryError> {
        let (id, device) = self.series_for(writer, &reading.series);
        let at = reading.measured_at.ms();
        if self.is_closed(reading.series.quantity, at) {
            // Who admits readings refuses it by name; here it is not brought back to life.
            return Ok(Outcome {
                series: id,
                kind: Kind::Duplicate,
                late: true,
                quality: reading.quality,
                received_at: second_of(reading.received_at),
                first_of_report: false,
            });
        }
        if let Some(outcome) = self.append_newest(writer, reading, id, device) {
            return Ok(outcome);
        }
        let (late, place) = self
            .memory
            .read(id, |series| (series.is_late(at), series.place(at)))
            .unwrap_or((false, Place::Known(None)));
        let mut outcome = Outcome {
            series: id,
            kind: if late { Kind::Late } else { Kind::New },
            late,
            quality: reading.quality,
            received_at: second_of(reading.received_at),
            first_of_report: false,
        };
        if late {
            outcome.quality = outcome.quality.with(Quality::RESENT);
        }
        let before = self.find_at(writer, id, at, place)?;
        let replaced = match before {
            None => {
                outcome.first_of_report = self.is_first_of_report(writer, id, device, at)?;
                None
            }
            Some(shown) => {
                let (n_earlier, said_at) = self.earlier(writer, id, &shown, &reading.value)?;
                // An earlier value again is a correction back when its record is not older than that of the shown one,
                // else a replay; and no correction when its device sends again what it had said.
                let is_again = !corrects && reading.quality.has(Quality::RESENT);
                let is_replay = said_at.is_some_and(|shown_by| is_again || reading.position < shown_by);
                if is_replay || same(&shown.value, &reading.value) {
                    outcome.kind = Kind::Duplicate;
                    return Ok(outcome);
                }
                outcome.kind = Kind::Revision;
                outcome.quality = outcome.quality.with(Quality::REVISED);
                outcome.received_at = reading.received_at;
                writer.versions.replaced(id, at, &shown.value, reading.position);
                Some(Replaced {
                    ordinal: n_earlier as u32,
                    point: shown,
                    by: reading.position,
                })
            }
        };
        let point = Kept {
            at,
            received: outcome.received_at.ms(),
            value: reading.value.clone(),
            quality: outcome.quality.0,
        };
        let fresh = replaced.is_none();
        let was_clean = self.memory.write(id, |series| {
            if let Some(replaced) = replaced {
                series
                    .aside_mut()
                    .replaced
                    .insert((at, replaced.ordinal), replaced);
            }
            series.put(point, fresh, self.seal_at, self.cared_to());
            !std::mem::replace(&mut series.dirty, true)
        });
        if was_clean {
            writer.dirty.push(id);
        }
        self.sizes.unsaved.fetch_add(1, Ordering::Relaxed);
        writer.reports(device).note(at);
        Ok(outcome)
    }

    /// Appends a reading that is newer than all of its series, of whose time is remembered whether the device
    /// said it before: what nearly every reading is. It needs no look at what was there, and gives what the
    /// long way would.
    fn append_newest(
        &self,
        writer: &mut Writer,
        reading: &Reading,
        id: SeriesId,
        device: DeviceIndex,
    ) -> Option<Outcome> {
        let at = reading.measured_at.ms();
        if at < self.closing.load(Ordering::Acquire) {
            return None;
        }
        let first_of_report = writer.reports(device).is_first(at)?;
        let received_at = second_of(reading.received_at);
        let was_clean = self.memory.write(id, |series| {
            if series.n > 0 && at <= series.last {
                return None;
            }
            let point = Kept {
                at,
                received: received_at.ms(),
                value: reading.value.clone(),
                quality: reading.quality.0,
            };
            series.put(point, true, self.seal_at, self.cared_to());
            Some(!std::mem::replace(&mut series.dirty, true))
        })?;
        if was_clean {
            writer.dirty.push(id);
        }
        self.sizes.unsaved.fetch_add(1, Ordering::Relaxed);
        writer.reports(device).note(at);
        Some(Outcome {
            series: id,
            kind: Kind::New,
            late: false,
            quality: reading.quality,
            received_at,
            first_of_report,
        })
    }

    /// The number of a series, given now if it is new.
    fn series_for(&self, writer: &mut Writer, key: &SeriesKey) -> (SeriesId, DeviceIndex) {
        {
            let dictionary = unpoisoned(self.dictionary.read());
            if let Some((_, device)) = writer
                .at_hand
                .as_ref()
                .filter(|(device, _)| *device == key.device)
                && let Some(id) = dictionary.find_of(*device, key)
            {
                return (id, *device);
            }
            if let Some(found) = dictionary.find(key) {
                writer.at_hand = Some((key.device.clone(), found.1));
                return found;
            }
        }
        let mut dictionary = unpoisoned(self.dictionary.write());
        let id = dictionary.next();
        dictionary.enter(id, Some(key.clone()));
        writer.entered.push((id, key.clone()));
        let kept = unpoisoned(self.floors.read()).of(key.quantity).raw;
        if kept > i64::MIN {
            self.memory.write(id, |series| series.kept.0 = kept);
        }
        dictionary
            .find(key)
            .expect("the series was entered in the line before")
    }

    /// The shown value of a time, from where it is to be looked for.
    fn find_at(
        &self,
        writer: &mut Writer,
        id: SeriesId,
        at: i64,
        place: Place,
    ) -> Result<Option<Kept>, HistoryError> {
        if let Place::Known(point) = place {
            return Ok(point);
        }
        if let Some(known) = writer.windows.find(id, at) {
            return Ok(known);
        }
        let disk = self.disk()?;
        let snapshot = disk.db.snapshot();
        let window = disk.window(&snapshot, id, at)?;
        writer.windows.keep(id, window);
        Ok(writer.windows.find(id, at).flatten())
    }

    /// How many values `shown` replaced; and when `value` was one of them, the position of the record that brought
    /// the shown one. Only a revised point has any.
    fn earlier(
        &self,
        writer: &mut Writer,
        id: SeriesId,
        shown: &Kept,
        value: &Value,
    ) -> Result<(usize, Option<u64>), HistoryError> {
        if !shown.is_revised() {
            return Ok((0, None));
        }
        if let Some(found) = writer.versions.find(id, shown.at, value) {
            return Ok(found);
        }
        let (first, last) = ((shown.at, 0), (shown.at, u32::MAX));
        let look = |earlier: &mut dyn Iterator<Item = &Replaced>| {
            let (mut said, mut shown_by) = (false, 0);
            let n = earlier
                .inspect(|replaced| {
                    said |= same(&replaced.point.value, value);
                    shown_by = replaced.by;
                })
                .count();
            (n, said.then_some(shown_by))
        };
        // With the first version at hand none of this time is on disk.
        let at_hand = self.memory.read(id, |series| {
            let replaced = &series.aside().replaced;
            let has_first = replaced.contains_key(&first);
            let own = || replaced.range(first..=last).map(|(_, r)| r);
            has_first.then(|| {
                writer.versions.keep(id, shown.at, own());
                look(&mut own())
            })
        });
        if let Some(found) = at_hand.flatten() {
            return Ok(found);
        }
        let pending: Pending = self
            .memory
            .read(id, |series| {
                let own = series.aside().replaced.range(first..=last);
                own.map(|(key, replaced)| (*key, replaced.clone())).collect()
            })
            .unwrap_or_default();
        let disk = self.disk()?;
        let snapshot = disk.db.snapshot();
        let mut loaded = revisions::load(&disk, &snapshot, id, (shown.at, shown.at), &pending)?;
        let loaded = loaded.remove(&shown.at).unwrap_or_default();
        writer.versions.keep(id, shown.at, loaded.iter());
        Ok(look(&mut loaded.iter()))
    }

    /// Whether no series of the device has a value for this time yet. What is closing counts no longer, kept or
    /// gone, remembered or not.
    fn is_first_of_report(
        &self,
        writer: &mut Writer,
        id: SeriesId,
        device: DeviceIndex,
        at: i64,
    ) -> Result<bool, HistoryError> {
        if at >= self.closing.load(Ordering::Acquire)
            && let Some(is_first) = writer.reports(device).is_first(at)
        {
            return Ok(is_first);
        }
        let siblings = unpoisoned(self.dictionary.read()).of_device(device).to_vec();
        for sibling in siblings {
            let quantity = self.series_key(sibling).map(|key| key.quantity);
            if sibling == id || quantity.is_some_and(|quantity| self.is_closed(quantity, at)) {
                continue;
            }
            let place = self.memory.read(sibling, |series| series.place(at));
            if let Some(place) = place
                && self.find_at(writer, sibling, at, place)?.is_some()
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The second of a time: what is kept of when the first value of a time was received. Milliseconds of it
/// would take half as much room again as everything else of a point.
fn second_of(received_at: Timestamp) -> Timestamp {
    Timestamp::from_ms(received_at.ms().div_euclid(1000) * 1000)
}
