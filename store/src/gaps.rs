//! The gap ledger: per device and Beijing day, by hour, what was expected, came, and is lost.
//!
//! Counted in *reports*: one device at one time, however many quantities it speaks of, which is what
//! a cadence expects (到报率). A report belongs to the hour it was measured in (a period to the hour it
//! ends in, the end itself included), so what arrives late fills its own hour. Refusals belong to the
//! hour in which they arrived.
//!
//! What was expected is not stored: it is computed when asked for, from the cadences that the register
//! gave the device one after another ([`GapLedger::expect`]), since the oldest live report
//! ([`GapLedger::heard`]): old data that is imported or resent, or one stamp of weeks ago, opens nothing.
//! Days are kept packed, a few dozen bytes each, for 40 days.
//!
//! Of a device that reports less often than hourly one report is expected in each of its cadences, counted from Beijing
//! midnight of 1970-01-01 ([`window`]): it stands in the hour in which it came, or, when none came, in the last hour.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use foldhash::HashMap;
use std::time::Duration;

use onemap_model::{DeviceId, Quality, Reading, Timestamp};

use crate::history::{Kind, Outcome};

/// Days that are kept, the newest included.
pub const N_DAYS_KEPT: i64 = 40;
/// Kinds of counters.
const N_COUNTS: usize = 7;
/// Before the day in the name of a blob.
const BLOB: &str = "gaps/";
/// The blob of what is expected.
const EXPECTED: &str = "gaps/expected";
/// The blob of when each device was first heard.
const HEARD: &str = "gaps/heard";
/// Its first byte.
const HEARD_FORM: u8 = 1;
/// A report that comes later than this after its time is overdue. Twenty minutes is what hydrological
/// telemetry is built for (a centre has all its stations within them, SL 61).
pub const IN_TIME: Duration = Duration::from_secs(20 * 60);
const HOUR_MS: i64 = 3_600_000;
/// Beijing is eight hours ahead of UTC.
const BEIJING_MS: i64 = 8 * HOUR_MS;

/// What one hour of one device saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HourCounts {
    /// Reports with a value that was not there before, late ones included.
    pub received: u32,
    /// Of these, how many came after a newer one.
    pub late: u32,
    /// Reports that only repeated what was known.
    pub duplicate: u32,
    /// Reports that changed a value.
    pub revised: u32,
    /// Frames of which something was refused.
    pub refused: u32,
    /// Of the received, how many hold a value that may not be judged by (suspect, jump, stuck,
    /// calibration).
    pub doubtful: u32,
    /// Of the received, how many came later than [`IN_TIME`] after their time.
    pub overdue: u32,
}

impl HourCounts {
    fn columns(&mut self) -> [&mut u32; N_COUNTS] {
        [
            &mut self.received,
            &mut self.late,
            &mut self.duplicate,
            &mut self.revised,
            &mut self.refused,
            &mut self.doubtful,
            &mut self.overdue,
        ]
    }

    /// Adds another hour's counts.
    pub fn add(&mut self, other: &HourCounts) {
        let mut other = *other;
        for (own, other) in self.columns().into_iter().zip(other.columns()) {
            *own = own.saturating_add(*other);
        }
    }
}

/// One hour of the ledger as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HourRow {
    /// Beijing hour of the day, 0 to 23.
    pub hour: u8,
    /// Reports expected so far: of a running hour only its part up to now, of a running cadence of over an hour none.
    pub expected: u32,
    /// What came.
    pub counts: HourCounts,
    /// Expected and not received; 0 while the hour is running.
    pub lost: u32,
}

/// What is expected of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// Seconds between its reports where the ledger was told nothing of the device
    /// ([`GapLedger::expect`]); 0 expects nothing.
    pub cadence_s: u32,
    /// When it was first heard; `None` expects it for as long as one asks.
    pub since: Option<Timestamp>,
    /// When it was retired.
    pub until: Option<Timestamp>,
}

type Hours = [HourCounts; 24];

/// The gap ledger. One writer, any number of readers; share it in an `Arc`.
pub struct GapLedger {
    days: RwLock<Days>,
}

#[derive(Default)]
struct Days {
    /// By Beijing day (days since 1970-01-01).
    by_day: BTreeMap<i64, HashMap<DeviceId, Cell>>,
    /// Changed since the last call of [`GapLedger::encode_changed`].
    changed: BTreeSet<i64>,
    /// The day entered there last, since nearly always the next one is the same.
    last_changed: Option<i64>,
    /// Days that may hold counters which are not packed: written to since they were packed last.
    open: BTreeSet<i64>,
    /// By device: from when (ms) on it is to report every so many seconds (0 not at all), oldest first.
    /// What holds first holds for all time before, too.
    expected: HashMap<DeviceId, Vec<(i64, u32)>>,
    expected_changed: bool,
    /// By device: the oldest time (ms) of a live report.
    heard: HashMap<DeviceId, i64>,
    /// Its blob was there: a folder of before has none.
    has_heard: bool,
    heard_changed: bool,
}

/// One device's day: packed, but for the hour that was last written to.
#[derive(Default)]
struct Cell {
    packed: Box<[u8]>,
    /// Its counters rule over those that are packed.
    at_hand: Option<(u8, HourCounts)>,
}

impl Cell {
    fn hours(&self) -> Hours {
        let mut hours = unpack(&mut self.packed.iter()).unwrap_or_default();
        if let Some((hour, counts)) = self.at_hand
            && let Some(slot) = hours.get_mut(usize::from(hour))
        {
            *slot = counts;
        }
        hours
    }
    fn packed(&self) -> Box<[u8]> {
        match self.at_hand {
            Some(_) => pack(&self.hours()),
            None => self.packed.clone(),
        }
    }
    fn close(&mut self) {
        if self.at_hand.is_some() {
            self.packed = self.packed();
            self.at_hand = None;
        }
    }
    /// The counters of an hour, to be written to.
    fn hour(&mut self, hour: u8) -> &mut HourCounts {
        if self.at_hand.is_none_or(|(other, _)| other != hour) {
            self.close();
        }
        let packed = &self.packed;
        let kept = || {
            let hours = unpack(&mut packed.iter()).unwrap_or_default();
            hours.get(usize::from(hour)).copied().unwrap_or_default()
        };
        &mut self.at_hand.get_or_insert_with(|| (hour, kept())).1
    }
}

impl Days {
    /// The counters of an hour; `None` when the day is no longer kept.
    fn hour(&mut self, device: &DeviceId, at: Timestamp) -> Option<&mut HourCounts> {
        let day = at.beijing_day();
        let newest = self.by_day.keys().next_back().copied().unwrap_or(day);
        if day <= newest - N_DAYS_KEPT {
            return None;
        }
        if day > newest {
            self.forget_before(day - N_DAYS_KEPT + 1);
        }
        if self.last_changed != Some(day) {
            self.changed.insert(day);
            self.open.insert(day);
            self.last_changed = Some(day);
        }
        let cell = self.by_day.entry(day).or_default().entry(device.clone());
        Some(cell.or_default().hour(hour_of_day(at)))
    }

    fn hear(&mut self, device: &DeviceId, at: Timestamp) {
        match self.heard.get_mut(device) {
            Some(heard) if *heard <= at.ms() => return,
            Some(heard) => *heard = at.ms(),
            None => {
                self.heard.insert(device.clone(), at.ms());
            }
        }
        self.heard_changed = true;
    }

    /// Packs what was written to of days before the last but one. Not only of those that changed now: a day's last
    /// change mostly comes before its turn.
    fn pack_old(&mut self) {
        let Some((newest, _)) = self.by_day.last_key_value() else {
            return;
        };
        let still_open = self.open.split_off(&(newest - 1));
        for day in std::mem::replace(&mut self.open, still_open) {
            for cell in self
                .by_day
                .get_mut(&day)
                .into_iter()
                .flat_map(HashMap::values_mut)
            {
                cell.close();
            }
        }
    }

    fn forget_before(&mut self, first_kept: i64) {
        let kept = self.by_day.split_off(&first_kept);
        let forgotten = std::mem::replace(&mut self.by_day, kept);
        self.changed.extend(forgotten.into_keys());
        self.open = self.open.split_off(&first_kept);
        self.last_changed = None;
    }
}

impl Default for GapLedger {
    fn default() -> Self {
        Self::new()
    }
}

impl GapLedger {
    /// An empty ledger.
    pub fn new() -> Self {
        Self::decode(&[]).0
    }

    /// Counts what [`crate::history::History::append`] made of the readings of one frame. With `again`
    /// (the frame comes out of the quarantine) what only repeats is not counted: it was counted when the
    /// frame came first.
    ///
    /// Days more than 40 before the newest are not counted any more.
    pub fn note(&self, readings: &[Reading], outcomes: &[Outcome], again: bool) {
        self.note_filling(readings, outcomes, again, &[]);
    }

    /// As [`GapLedger::note`], where some reports, by the time of their readings, stand for so many of the device's
    /// cadence that did not come: they are counted as that many, and a 0 as none. So a record of ten minutes fills ten
    /// reports of a minute, and what had come of them is not counted twice.
    pub fn note_filling(
        &self,
        readings: &[Reading],
        outcomes: &[Outcome],
        again: bool,
        fills: &[(Timestamp, u32)],
    ) {
        let mut reports: Vec<(&DeviceId, Timestamp, Report)> = Vec::with_capacity(1);
        let mut first_live: Option<(&DeviceId, Timestamp)> = None;
        for (reading, outcome) in readings.iter().zip(outcomes) {
            let mut at = reading.measured_at;
            if !reading.period.is_zero() {
                at = Timestamp::from_ms(at.ms().saturating_sub(1));
            }
            if !reading.quality.has(Quality::BACKFILL) {
                let device = &reading.series.device;
                let earlier = first_live.filter(|(known, at)| *known == device && *at <= reading.measured_at);
                first_live = earlier.or(Some((device, reading.measured_at)));
            }
            let fills = fills.iter().find(|(of, _)| *of == reading.measured_at);
            let is_counted = fills.is_some() || outcome.first_of_report;
            let report = Report {
                n: fills.map_or(u32::from(outcome.first_of_report), |(_, n)| *n),
                late: is_counted && outcome.late,
                revised: outcome.kind == Kind::Revision,
                news: outcome.kind != Kind::Duplicate,
                doubtful: !outcome.quality.judgeable(),
                overdue: reading.received_at.since(reading.measured_at) > IN_TIME,
            };
            match reports.last_mut() {
                // Nearly always a frame is one report.
                Some((device, last, known)) if *last == at && **device == reading.series.device => {
                    known.add(&report);
                }
                _ => reports.push((&reading.series.device, at, report)),
            }
        }
        if reports.len() > 1 {
            reports.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
            reports.dedup_by(|next, kept| {
                let same = next.0 == kept.0 && next.1 == kept.1;
                if same {
                    kept.2.add(&next.2);
                }
                same
            });
        }
        let mut days = self.write();
        if let Some((device, at)) = first_live {
            days.hear(device, at);
        }
        for (device, at, report) in reports {
            let Some(hour) = days.hour(device, at) else {
                continue;
            };
            hour.received += report.n;
            hour.late += if report.late { report.n } else { 0 };
            hour.revised += u32::from(report.revised);
            hour.duplicate += u32::from(!report.news && !again);
            hour.doubtful += if report.doubtful { report.n } else { 0 };
            hour.overdue += if report.overdue { report.n } else { 0 };
        }
    }

    /// Learns that from `at` on a device is to report every `cadence_s` seconds, 0 not at all. What was
    /// said first of a device holds for the time before, too.
    pub fn expect(&self, device: &DeviceId, at: Timestamp, cadence_s: u32) {
        let mut days = self.write();
        let known = days.expected.get(device.as_str()).and_then(|spans| spans.last());
        if known.is_some_and(|(_, known)| *known == cadence_s) {
            return;
        }
        days.expected_changed = true;
        let oldest = at.ms().saturating_sub((N_DAYS_KEPT + 1) * 24 * HOUR_MS);
        let spans = days.expected.entry(device.clone()).or_default();
        match spans.last_mut() {
            Some(last) if last.0 >= at.ms() => last.1 = cadence_s,
            _ => spans.push((at.ms(), cadence_s)),
        }
        // What no kept day can ask for any more.
        while spans.len() > 1 && spans[1].0 <= oldest {
            spans.remove(0);
        }
    }

    /// When a device was first heard: the oldest time of a report that came live, which admission lets be a
    /// day old at most. What is imported or a backlog stamps nothing before it. A folder of before does not
    /// know it.
    pub fn heard(&self, device: &DeviceId) -> Option<Timestamp> {
        self.read().heard.get(device).copied().map(Timestamp::from_ms)
    }

    /// Whether it was kept when devices were first heard: a folder of before has nothing of it.
    pub fn knows_heard(&self) -> bool {
        self.read().has_heard
    }

    /// Learns that a device was heard, unless it knows an earlier time.
    pub fn hear(&self, device: &DeviceId, at: Timestamp) {
        self.write().hear(device, at);
    }

    /// Counts a refusal that arrived at `received_at`.
    pub fn refuse(&self, device: &DeviceId, received_at: Timestamp) {
        if let Some(hour) = self.write().hour(device, received_at) {
            hour.refused += 1;
        }
    }

    /// The 24 hours of a device's Beijing day (days since 1970-01-01) as they stand at `now`.
    ///
    /// `lost` is only said of hours that are over, and never below 0: more than expected is no loss.
    pub fn day(
        &self,
        device: &DeviceId,
        day: i64,
        expectation: &Expectation,
        now: Timestamp,
    ) -> Vec<HourRow> {
        let days = self.read();
        let hours = days
            .by_day
            .get(&day)
            .and_then(|devices| devices.get(device))
            .map_or_else(Hours::default, Cell::hours);
        let spans = days.expected.get(device.as_str()).cloned();
        let spans = spans.unwrap_or_else(|| vec![(i64::MIN, expectation.cadence_s)]);
        let rare = expectation.rare(&spans, day, now, &|day| {
            let cell = days.by_day.get(&day)?.get(device)?;
            Some(cell.hours().map(|counts| counts.received > 0))
        });
        drop(days);
        let midnight = day.saturating_mul(24 * HOUR_MS).saturating_sub(BEIJING_MS);
        (0u8..)
            .zip(hours)
            .map(|(hour, counts)| {
                let start = midnight.saturating_add(i64::from(hour) * HOUR_MS);
                let end = start.saturating_add(HOUR_MS);
                let often = expectation.within(&spans, start, end.min(now.ms()));
                let expected = often + rare[usize::from(hour)];
                let is_over = now.ms() >= end;
                HourRow {
                    hour,
                    expected,
                    counts,
                    lost: if is_over {
                        expected.saturating_sub(counts.received)
                    } else {
                        0
                    },
                }
            })
            .collect()
    }

    /// The days that have an entry of any device, oldest first.
    pub fn days(&self) -> Vec<i64> {
        self.read().by_day.keys().copied().collect()
    }

    /// The devices that have an entry on a day, by name.
    pub fn devices(&self, day: i64) -> Vec<DeviceId> {
        let days = self.read();
        let mut devices: Vec<DeviceId> = days
            .by_day
            .get(&day)
            .map(|devices| devices.keys().cloned().collect())
            .unwrap_or_default();
        devices.sort();
        devices
    }

    /// What a checkpoint has to keep: name and blob of every day that changed since the last call,
    /// and an empty blob for each that is no longer kept. Pass them as extras of the next checkpoint.
    /// Days before the last but one are packed then.
    pub fn encode_changed(&self) -> Vec<(String, Vec<u8>)> {
        let mut days = self.write();
        days.last_changed = None;
        days.pack_old();
        let expected = std::mem::take(&mut days.expected_changed).then(|| write_expected(&days.expected));
        let heard = std::mem::take(&mut days.heard_changed).then(|| write_heard(&days.heard));
        std::mem::take(&mut days.changed)
            .into_iter()
            .map(|day| {
                let mut blob = Vec::new();
                if let Some(devices) = days.by_day.get(&day) {
                    let mut rows: Vec<(&DeviceId, &Cell)> = devices.iter().collect();
                    rows.sort_by(|a, b| a.0.cmp(b.0));
                    for (device, cell) in rows {
                        let packed = cell.packed();
                        // An id has at most 64 bytes.
                        blob.push(device.as_str().len() as u8);
                        blob.extend(device.as_str().as_bytes());
                        blob.extend(&packed);
                    }
                }
                (format!("{BLOB}{day}"), blob)
            })
            .chain(expected.map(|blob| (EXPECTED.to_owned(), blob)))
            .chain(heard.map(|blob| (HEARD.to_owned(), blob)))
            .collect()
    }

    /// Reads a ledger back from the blobs of the last checkpoint
    /// ([`crate::history::History::extras`] with [`GapLedger::BLOBS`]). A damaged day is left out and
    /// its name returned.
    pub fn decode(blobs: &[(String, Vec<u8>)]) -> (Self, Vec<String>) {
        let mut days = Days::default();
        let mut damaged = Vec::new();
        for (name, blob) in blobs {
            if name == EXPECTED {
                match read_expected(blob) {
                    Some(expected) => days.expected = expected,
                    None => damaged.push(name.clone()),
                }
                continue;
            }
            if name == HEARD {
                match read_heard(blob) {
                    Some(heard) => (days.heard, days.has_heard) = (heard, true),
                    None => damaged.push(name.clone()),
                }
                continue;
            }
            let day = name.strip_prefix(BLOB).and_then(|day| day.parse::<i64>().ok());
            match day.and_then(|day| Some((day, read_day(blob)?))) {
                Some((day, devices)) => {
                    days.by_day.insert(day, devices);
                }
                None => damaged.push(name.clone()),
            }
        }
        days.heard_changed = !days.has_heard;
        let days = RwLock::new(days);
        (Self { days }, damaged)
    }

    /// What the names of the ledger's blobs begin with.
    pub const BLOBS: &'static str = BLOB;

    fn read(&self) -> RwLockReadGuard<'_, Days> {
        self.days.read().unwrap_or_else(PoisonError::into_inner)
    }
    fn write(&self) -> RwLockWriteGuard<'_, Days> {
        self.days.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The whole Beijing hours, since 1970-01-01, that hold the end of the same cadence as an hour does: first and last. For a
/// cadence of an hour and less the hour itself.
fn hours_of(cadence_s: u32, hour: i64) -> (i64, i64) {
    let cadence = i64::from(cadence_s) * 1000;
    if cadence <= HOUR_MS {
        return (hour, hour);
    }
    let n = ((hour + 1) * HOUR_MS - 1).div_euclid(cadence);
    let before = |n: i64| (n * cadence).div_euclid(HOUR_MS);
    (before(n), before(n + 1) - 1)
}

/// From when to when one report is expected of a device of this cadence, of which the hour from `start` on is a part: the
/// hour itself for all that report hourly and more often.
pub fn window(cadence_s: u32, start: Timestamp) -> (Timestamp, Timestamp) {
    let (first, last) = hours_of(cadence_s, (start.ms() + BEIJING_MS).div_euclid(HOUR_MS));
    let at = |hour: i64| Timestamp::from_ms(hour * HOUR_MS - BEIJING_MS);
    (at(first), at(last + 1))
}

impl Expectation {
    /// Spans of the device with their cadence, from and to, both ms.
    fn spans<'a>(&self, spans: &'a [(i64, u32)]) -> impl Iterator<Item = (i64, i64, u32)> + use<'a> {
        let since = self.since.map_or(i64::MIN, Timestamp::ms);
        let until = self.until.map_or(i64::MAX, Timestamp::ms);
        let ends = spans.iter().skip(1).map(|(from, _)| *from).chain([i64::MAX]);
        spans
            .iter()
            .zip(ends)
            .enumerate()
            .map(move |(i, ((from, cadence_s), end))| {
                let from = if i == 0 { i64::MIN } else { *from };
                (from.max(since), end.min(until), *cadence_s)
            })
    }

    /// Reports expected in each hour of a day of those that come less often than hourly and whose time is over; `came` gives
    /// the hours of a day in which some came. Cadences of more days than are kept expect none.
    fn rare(
        &self,
        spans: &[(i64, u32)],
        day: i64,
        now: Timestamp,
        came: &dyn Fn(i64) -> Option<[bool; 24]>,
    ) -> [u32; 24] {
        let mut expected = [0; 24];
        let mut at_hand: Option<(i64, Option<[bool; 24]>)> = None;
        let mut has_come = |hour: i64| {
            let (day, hour) = (hour.div_euclid(24), hour.rem_euclid(24));
            if at_hand.is_none_or(|(other, _)| other != day) {
                at_hand = Some((day, came(day)));
            }
            let hours = at_hand.and_then(|(_, hours)| hours);
            hours.is_some_and(|hours| hours[hour as usize])
        };
        let today = day.saturating_mul(24)..day.saturating_add(1).saturating_mul(24);
        for (from, to, cadence_s) in self.spans(spans) {
            let days = u64::from(cadence_s).div_ceil(86_400);
            if i64::from(cadence_s) * 1000 <= HOUR_MS || days > N_DAYS_KEPT.unsigned_abs() {
                continue;
            }
            let mut hour = today.start;
            while hour < today.end {
                let (first, last) = hours_of(cadence_s, hour);
                let (start, end) = (first * HOUR_MS - BEIJING_MS, (last + 1) * HOUR_MS - BEIJING_MS);
                hour = last + 1;
                if start < from || end > to.min(now.ms()) {
                    continue;
                }
                let stands_in = (first..=last).find(|hour| has_come(*hour)).unwrap_or(last);
                if today.contains(&stands_in) {
                    expected[(stands_in - today.start) as usize] += 1;
                }
            }
        }
        expected
    }

    /// Reports expected from `start` to before `end`, both ms, of those that come hourly and more often.
    fn within(&self, spans: &[(i64, u32)], start: i64, end: i64) -> u32 {
        let mut n: i64 = 0;
        for (from, to, cadence_s) in self.spans(spans) {
            if i64::from(cadence_s) * 1000 > HOUR_MS {
                continue;
            }
            let length = end.min(to).saturating_sub(start.max(from));
            if length > 0 {
                n += length.checked_div(i64::from(cadence_s) * 1000).unwrap_or(0);
            }
        }
        u32::try_from(n).unwrap_or(u32::MAX)
    }
}

/// What the readings of one frame say of one device and time.
#[derive(Default)]
struct Report {
    /// How many it counts as; 0 when it came before.
    n: u32,
    late: bool,
    revised: bool,
    news: bool,
    doubtful: bool,
    overdue: bool,
}

impl Report {
    fn add(&mut self, other: &Report) {
        self.n = self.n.max(other.n);
        self.late |= other.late;
        self.revised |= other.revised;
        self.news |= other.news;
        self.doubtful |= other.doubtful;
        self.overdue |= other.overdue;
    }
}

/// Of each device its name, how many spans, and these.
fn write_expected(expected: &HashMap<DeviceId, Vec<(i64, u32)>>) -> Vec<u8> {
    let mut rows: Vec<_> = expected.iter().collect();
    rows.sort_by(|a, b| a.0.cmp(b.0));
    let mut blob = Vec::new();
    for (device, spans) in rows {
        // An id has at most 64 bytes.
        blob.push(device.as_str().len() as u8);
        blob.extend(device.as_str().as_bytes());
        put_count(&mut blob, spans.len() as u32);
        for (from, cadence_s) in spans {
            blob.extend(from.to_le_bytes());
            put_count(&mut blob, *cadence_s);
        }
    }
    blob
}

fn read_expected(mut blob: &[u8]) -> Option<HashMap<DeviceId, Vec<(i64, u32)>>> {
    let mut expected = HashMap::default();
    while let Some((len, rest)) = blob.split_first() {
        let (name, rest) = rest.split_at_checked(usize::from(*len))?;
        let device = DeviceId::new(std::str::from_utf8(name).ok()?).ok()?;
        let mut rest = rest.iter();
        let mut spans = Vec::new();
        for _ in 0..read_count(&mut rest)? {
            let (from, after) = rest.as_slice().split_first_chunk::<8>()?;
            rest = after.iter();
            spans.push((i64::from_le_bytes(*from), read_count(&mut rest)?));
        }
        expected.insert(device, spans);
        blob = rest.as_slice();
    }
    Some(expected)
}

/// Of each device its name and when it was first heard.
fn write_heard(heard: &HashMap<DeviceId, i64>) -> Vec<u8> {
    let mut rows: Vec<_> = heard.iter().collect();
    rows.sort_by(|a, b| a.0.cmp(b.0));
    // An empty blob is one that is not kept.
    let mut blob = vec![HEARD_FORM];
    for (device, at) in rows {
        // An id has at most 64 bytes.
        blob.push(device.as_str().len() as u8);
        blob.extend(device.as_str().as_bytes());
        blob.extend(at.to_le_bytes());
    }
    blob
}

fn read_heard(blob: &[u8]) -> Option<HashMap<DeviceId, i64>> {
    let mut blob = blob.strip_prefix(&[HEARD_FORM])?;
    let mut heard = HashMap::default();
    while let Some((len, rest)) = blob.split_first() {
        let (name, rest) = rest.split_at_checked(usize::from(*len))?;
        let device = DeviceId::new(std::str::from_utf8(name).ok()?).ok()?;
        let (at, rest) = rest.split_first_chunk::<8>()?;
        heard.insert(device, i64::from_le_bytes(*at));
        blob = rest;
    }
    Some(heard)
}

fn hour_of_day(at: Timestamp) -> u8 {
    // Adding whole days keeps the hour and cannot leave the range of numbers.
    ((at.ms().rem_euclid(24 * HOUR_MS) + BEIJING_MS) / HOUR_MS % 24) as u8
}

fn put_count(out: &mut Vec<u8>, mut count: u32) {
    while count >= 0x80 {
        out.push(count as u8 | 0x80);
        count >>= 7;
    }
    out.push(count as u8);
}

fn read_count<'a>(bytes: &mut impl Iterator<Item = &'a u8>) -> Option<u32> {
    let mut count = 0u32;
    for shift in (0..32).step_by(7) {
        let byte = *bytes.next()?;
        count |= u32::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(count);
        }
    }
    None
}

/// A bit for every counter that is not all zero, then these counters by hour.
fn pack(hours: &Hours) -> Box<[u8]> {
    let mut hours = *hours;
    let mut columns = [[0; 24]; N_COUNTS];
    for (i, hour) in hours.iter_mut().enumerate() {
        for (column, count) in columns.iter_mut().zip(hour.columns()) {
            column[i] = *count;
        }
    }
    let mut out = vec![0];
    for (i, column) in columns.iter().enumerate() {
        if column.iter().any(|count| *count != 0) {
            out[0] |= 1 << i;
            column.iter().for_each(|count| put_count(&mut out, *count));
        }
    }
    out.into()
}

fn unpack<'a>(bytes: &mut impl Iterator<Item = &'a u8>) -> Option<Hours> {
    let mut hours = Hours::default();
    let present = *bytes.next()?;
    for i in (0..N_COUNTS).filter(|i| present & 1 << i != 0) {
        for hour in &mut hours {
            *hour.columns()[i] = read_count(bytes)?;
        }
    }
    Some(hours)
}

fn read_day(mut blob: &[u8]) -> Option<HashMap<DeviceId, Cell>> {
    let mut devices = HashMap::default();
    while let Some((len, rest)) = blob.split_first() {
        let (name, rest) = rest.split_at_checked(usize::from(*len))?;
        let device = DeviceId::new(std::str::from_utf8(name).ok()?).ok()?;
        let mut rest = rest.iter();
        let hours = unpack(&mut rest)?;
        let cell = Cell {
            packed: pack(&hours),
            at_hand: None,
        };
        devices.insert(device, cell);
        blob = rest.as_slice();
    }
    Some(devices)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use onemap_model::{Quantity, SeriesKey, Value};

    use super::*;
    use crate::history::{History, HistoryConfig};

    const DAY: &str = "2026-11-23";
    const EVERY_5_MIN: Expectation = Expectation {
        cadence_s: 300,
        since: None,
        until: None,
    };

    fn time(hms: &str) -> Timestamp {
        Timestamp::parse(&format!("{DAY}T{hms}+08:00")).unwrap()
    }

    /// A frame of a station that speaks of two quantities.
    fn frame(device: &str, at: Timestamp, value: f64, period: Duration) -> Vec<Reading> {
        ["pm2_5", "pm10"]
            .map(|quantity| Reading {
                series: SeriesKey {
                    device: DeviceId::new(device).unwrap(),
                    quantity: Quantity::named(quantity).unwrap(),
                    channel: 0,
                },
                measured_at: at,
                period,
                received_at: at,
                value: Value::Number(value),
                quality: Quality::GOOD,
                position: 1,
            })
            .to_vec()
    }

    struct Station {
        _dir: tempfile::TempDir,
        history: History,
        ledger: GapLedger,
    }

    impl Station {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let history = History::open(dir.path(), HistoryConfig::default()).unwrap();
            let ledger = GapLedger::new();
            Self {
                _dir: dir,
                history,
                ledger,
            }
        }
        fn says(&self, readings: &[Reading]) {
            self.ledger
                .note(readings, &self.history.append(readings).unwrap(), false);
        }
        fn hour(&self, hour: usize, now: Timestamp) -> HourRow {
            let device = DeviceId::new("air-1").unwrap();
            self.ledger.day(&device, now.beijing_day(), &EVERY_5_MIN, now)[hour]
        }
    }

    #[test]
    fn an_hour_tells_what_came_late_twice_changed_and_not_at_all() {
        let station = Station::new();
        let report = |hms: &str, value: f64| station.says(&frame("air-1", time(hms), value, Duration::ZERO));
        report("07:00:00", 1.0);
        for minute in (0..60).step_by(5).filter(|m| *m != 20 && *m != 25) {
            report(&format!("08:{minute:02}:00"), 1.0);
        }
        let row = station.hour(8, time("08:57:30"));
        assert_eq!(
            (row.expected, row.counts.received, row.lost),
            (11, 10, 0),
            "the hour is running"
        );
        report("08:20:00", 1.0); // late
        report("08:20:00", 1.0); // repeated whole
        report("08:30:00", 2.0); // revised
        station
            .ledger
            .refuse(&DeviceId::new("air-1").unwrap(), time("08:31:00"));
        let row = station.hour(8, time("09:00:00"));
        let want = HourCounts {
            received: 11,
            late: 1,
            duplicate: 1,
            revised: 1,
            refused: 1,
            ..HourCounts::default()
        };
        assert_eq!((row.counts, row.expected, row.lost), (want, 12, 1));
        assert_eq!(station.hour(7, time("09:00:00")).lost, 11);
        assert_eq!(station.hour(9, time("09:00:00")).expected, 0);
    }

    #[test]
    fn quantities_sent_one_by_one_are_one_report() {
        let station = Station::new();
        for minute in 0..3 {
            for reading in frame("air-1", time(&format!("08:0{minute}:00")), 1.0, Duration::ZERO) {
                station.says(&[reading]);
            }
        }
        // The backlog of a gateway, quantity by quantity.
        let backlog: Vec<Vec<Reading>> = (0..50)
            .map(|s| frame("air-1", time(&format!("07:00:{s:02}")), 1.0, Duration::ZERO))
            .collect();
        for quantity in 0..2 {
            for readings in &backlog {
                station.says(&readings[quantity..=quantity]);
            }
        }
        assert_eq!(station.hour(8, time("09:00:00")).counts.received, 3);
        let backlog = station.hour(7, time("09:00:00")).counts;
        assert_eq!((backlog.received, backlog.late, backlog.duplicate), (50, 50, 0));
    }

    #[test]
    fn a_period_belongs_to_the_hour_it_ends_in_and_nothing_is_expected_of_the_unregistered() {
        let station = Station::new();
        station.says(&frame("air-1", time("09:00:00"), 1.0, Duration::from_secs(3600)));
        assert_eq!(station.hour(8, time("12:00:00")).counts.received, 1);
        assert_eq!(station.hour(9, time("12:00:00")).counts.received, 0);

        let half = Expectation {
            since: Some(time("08:30:00")),
            until: Some(time("10:15:00")),
            ..EVERY_5_MIN
        };
        let device = DeviceId::new("air-1").unwrap();
        let now = time("23:59:59");
        let expected: Vec<u32> = station
            .ledger
            .day(&device, now.beijing_day(), &half, now)
            .iter()
            .map(|row| row.expected)
            .collect();
        assert_eq!(expected[7..12], [0, 6, 12, 3, 0]);
        let never = Expectation {
            cadence_s: 0,
            ..EVERY_5_MIN
        };
        let rows = station.ledger.day(&device, now.beijing_day(), &never, now);
        assert!(rows.iter().all(|row| row.expected == 0 && row.lost == 0));
    }

    #[test]
    fn of_a_cadence_over_an_hour_one_report_is_expected_in_each() {
        let hours = |cadence_s: u32| {
            let station = Station::new();
            for hms in ["00:00:00", "08:00:00", "09:30:00"] {
                station.says(&frame("air-1", time(hms), 1.0, Duration::ZERO));
            }
            let device = DeviceId::new("air-1").unwrap();
            let expectation = Expectation {
                cadence_s,
                ..EVERY_5_MIN
            };
            let now = time("23:10:00");
            let rows = station.ledger.day(&device, now.beijing_day(), &expectation, now);
            let in_hours = |of: fn(&HourRow) -> u32| -> Vec<usize> {
                let rows = rows.iter().enumerate();
                rows.flat_map(|(hour, row)| vec![hour; of(row) as usize])
                    .collect()
            };
            (in_hours(|row| row.expected), in_hours(|row| row.lost))
        };
        // Each four hours; that from 20 on is not over.
        assert_eq!(hours(4 * 3600), (vec![0, 7, 8, 15, 19], vec![7, 15, 19]));
        assert_eq!(hours(12 * 3600), (vec![0], vec![]));
        // No whole hours: at 0, 1:30, 3 …; the hours of the first four are 0, 1 to 2, 3, and 4 to 5.
        let (expected, _) = hours(5400);
        assert_eq!(expected[..5], [0, 2, 3, 5, 6]);
        assert_eq!(expected.len(), 15);
        // A day, and one of three days of which the last ends with this one: neither is over.
        assert_eq!(hours(86_400).0, Vec::<usize>::new());
        assert_eq!(hours(u32::MAX).0, Vec::<usize>::new());
        let window = |cadence_s, hms| {
            let (from, to) = window(cadence_s, time(hms));
            (
                from.since(time("00:00:00")).as_secs() / 3600,
                to.since(from).as_secs() / 3600,
            )
        };
        assert_eq!(window(300, "07:00:00"), (7, 1));
        assert_eq!(window(6 * 3600, "07:00:00"), (6, 6));
        assert_eq!(window(86_400, "07:00:00"), (0, 24));
    }

    #[test]
    fn a_daily_report_is_lost_once_its_day_is_over_and_not_before() {
        let station = Station::new();
        let device = DeviceId::new("air-1").unwrap();
        let daily = Expectation {
            cadence_s: 86_400,
            since: Some(time("08:00:00")),
            ..EVERY_5_MIN
        };
        station.says(&frame("air-1", time("08:00:00"), 1.0, Duration::ZERO));
        let day = Duration::from_secs(86_400);
        // Nothing came on the next day; on the one after it came at eight again.
        station.says(&frame("air-1", time("08:00:00") + day * 2, 1.0, Duration::ZERO));
        let of = |n: u32, now: Timestamp| {
            let rows = station.ledger.day(
                &device,
                time("08:00:00").beijing_day() + i64::from(n),
                &daily,
                now,
            );
            let sum = |of: fn(&HourRow) -> u32| rows.iter().map(of).sum::<u32>();
            (
                sum(|row| row.expected),
                sum(|row| row.counts.received),
                sum(|row| row.lost),
            )
        };
        // It was first heard within its first day.
        assert_eq!(of(0, time("00:00:00") + day * 9), (0, 1, 0));
        assert_eq!(of(1, time("23:59:59") + day), (0, 0, 0));
        assert_eq!(of(1, time("00:00:00") + day * 2), (1, 0, 1));
        assert_eq!(of(2, time("00:00:00") + day * 3), (1, 1, 0));
    }

    #[test]
    fn what_is_expected_follows_the_register() {
        let station = Station::new();
        let device = DeviceId::new("air-1").unwrap();
        let expect = |hms: &str, cadence_s: u32| station.ledger.expect(&device, time(hms), cadence_s);
        expect("08:00:00", 300);
        expect("08:30:00", 60); // faster
        expect("08:45:00", 60); // the same again
        expect("09:30:00", 0); // maintenance
        expect("10:30:00", 300); // back
        expect("11:15:00", 0); // retired
        let now = time("23:59:59");
        let since = Expectation {
            since: Some(time("07:30:00")),
            ..EVERY_5_MIN
        };
        let hours = |ledger: &GapLedger| -> Vec<u32> {
            let rows = ledger.day(&device, now.beijing_day(), &since, now);
            rows.iter().map(|row| row.expected).collect()
        };
        assert_eq!(hours(&station.ledger)[6..13], [0, 6, 6 + 30, 30, 6, 3, 0]);
        let (back, damaged) = GapLedger::decode(&station.ledger.encode_changed());
        assert!(damaged.is_empty());
        assert_eq!(hours(&back), hours(&station.ledger));
        assert!(station.ledger.encode_changed().is_empty());
    }

    #[test]
    fn a_device_is_heard_at_its_first_live_report_whatever_is_stamped_before_it() {
        let station = Station::new();
        let device = DeviceId::new("air-1").unwrap();
        let weeks_ago = time("08:00:00") + Duration::ZERO;
        let now = weeks_ago + Duration::from_secs(21 * 86_400);
        let says = |at: Timestamp, quality: Quality| {
            let mut readings = frame("air-1", at, 1.0, Duration::ZERO);
            for reading in &mut readings {
                (reading.quality, reading.received_at) = (quality, now);
            }
            station.says(&readings);
        };
        // Imported, or a stamp of weeks ago: kept and counted, and it says nothing of what was owed.
        says(weeks_ago, Quality::RESENT.with(Quality::BACKFILL));
        assert_eq!(station.ledger.heard(&device), None);
        says(now, Quality::GOOD);
        says(weeks_ago + Duration::from_secs(86_400), Quality::BACKFILL);
        says(weeks_ago + Duration::from_secs(20 * 86_400), Quality::BACKFILL);
        assert_eq!(station.ledger.heard(&device), Some(now));
        // One that was sent before and arrived after it was live, too.
        let delayed = now.saturating_sub(Duration::from_secs(5 * 60));
        says(delayed, Quality::GOOD.with(Quality::RESENT));
        assert_eq!(station.ledger.heard(&device), Some(delayed));
        let row = |ledger: &GapLedger, at: Timestamp, hour: usize| {
            let since = Expectation {
                since: ledger.heard(&device),
                ..EVERY_5_MIN
            };
            let later = now + Duration::from_secs(86_400);
            let row = ledger.day(&device, at.beijing_day(), &since, later)[hour];
            (row.counts.received, row.expected, row.lost)
        };
        let (back, damaged) = GapLedger::decode(&station.ledger.encode_changed());
        assert!(damaged.is_empty() && back.knows_heard());
        for ledger in [&station.ledger, &back] {
            assert_eq!(row(ledger, weeks_ago, 8), (1, 0, 0));
            assert_eq!(row(ledger, weeks_ago, 9), (0, 0, 0));
            assert_eq!(row(ledger, now, 6), (0, 0, 0));
            assert_eq!(row(ledger, now, 7), (1, 1, 0));
            assert_eq!(row(ledger, now, 8), (1, 12, 11));
        }
        assert!(station.ledger.encode_changed().is_empty());
    }

    #[test]
    fn doubtful_and_overdue_reports_are_counted_once_each() {
        let station = Station::new();
        let mut suspect = frame("air-1", time("08:00:00"), 1.0, Duration::ZERO);
        suspect[1].quality = Quality::SUSPECT;
        station.says(&suspect);
        let mut overdue = frame("air-1", time("08:05:00"), 1.0, Duration::ZERO);
        for reading in &mut overdue {
            reading.received_at = time("08:25:01");
        }
        station.says(&overdue);
        let counts = station.hour(8, time("09:00:00")).counts;
        assert_eq!((counts.received, counts.doubtful, counts.overdue), (2, 1, 1));
        // Out of the quarantine: what it said before is no repetition.
        let outcomes = station.history.append(&suspect).unwrap();
        station.ledger.note(&suspect, &outcomes, true);
        assert_eq!(station.hour(8, time("09:00:00")).counts, counts);
    }

    #[test]
    fn hours_keep_their_counts_whichever_is_written_to_next() {
        let mut cell = Cell::default();
        let mut wanted = Hours::default();
        for (i, hour) in [8, 8, 9, 8, 23, 0, 9, 9, 23, 8].into_iter().enumerate() {
            let counts = cell.hour(hour);
            counts.received += 1;
            counts.late += i as u32 * 100;
            wanted[usize::from(hour)].received += 1;
            wanted[usize::from(hour)].late += i as u32 * 100;
            assert_eq!(cell.hours(), wanted);
            assert_eq!(cell.packed(), pack(&wanted));
        }
        cell.close();
        assert_eq!((cell.hours(), cell.at_hand), (wanted, None));
    }

    #[test]
    fn a_record_counts_as_the_reports_that_it_stands_for() {
        let station = Station::new();
        let minutes = Duration::from_secs(600);
        station.says(&frame("air-1", time("08:05:00"), 1.0, Duration::ZERO));
        let fill = |at: &str, n: u32| {
            let record = frame("air-1", time(at), 1.0, minutes);
            let outcomes = station.history.append(&record).unwrap();
            station
                .ledger
                .note_filling(&record, &outcomes, false, &[(time(at), n)]);
        };
        // Of its two reports one had come; the next has both, and none when it comes again.
        fill("08:10:00", 1);
        fill("08:20:00", 2);
        fill("08:20:00", 0);
        let row = station.hour(8, time("09:00:00"));
        assert_eq!((row.counts.received, row.counts.duplicate, row.lost), (4, 1, 8));
    }

    #[test]
    fn a_day_that_ended_is_packed_though_nothing_changes_in_it_any_more() {
        let station = Station::new();
        let day = Duration::from_secs(86_400);
        let n_open = || {
            let days = station.ledger.read();
            let cells = days.by_day.values().flat_map(HashMap::values);
            cells.filter(|cell| cell.at_hand.is_some()).count()
        };
        let start = time("08:00:00");
        for i in 0..10u32 {
            // Each day has its checkpoint before the next one begins.
            station.says(&frame("air-1", start + day * i, 1.0, Duration::ZERO));
            station.ledger.encode_changed();
            assert!(n_open() <= 2, "{} days are open", n_open());
        }
        // Late, for a packed day.
        station.says(&frame(
            "air-1",
            start + day * 3 + Duration::from_secs(1),
            2.0,
            Duration::ZERO,
        ));
        assert_eq!(n_open(), 3);
        assert_eq!(station.ledger.encode_changed().len(), 1);
        assert_eq!(n_open(), 2);
    }

    #[test]
    fn the_ledger_comes_back_from_its_blobs_and_forgets_after_forty_days() {
        let station = Station::new();
        let day = Duration::from_secs(86_400);
        let start = time("08:00:00");
        for i in 0..45u32 {
            station.says(&frame("air-1", start + day * i, 1.0, Duration::ZERO));
        }
        // A report of a day that is forgotten, and a late one of a day that is packed.
        station.says(&frame("air-1", start, 2.0, Duration::ZERO));
        let blobs = station.ledger.encode_changed();
        assert_eq!(blobs.iter().filter(|(_, blob)| blob.is_empty()).count(), 5);
        station.says(&frame(
            "air-1",
            start + day * 20 + Duration::from_secs(1),
            1.0,
            Duration::ZERO,
        ));
        let changed = station.ledger.encode_changed();
        assert_eq!(changed.len(), 1, "only the day that changed is written again");
        assert!(changed[0].0.ends_with(char::is_numeric));

        let mut kept: BTreeMap<String, Vec<u8>> = blobs.into_iter().chain(changed).collect();
        kept.retain(|_, blob| !blob.is_empty());
        let mut kept: Vec<(String, Vec<u8>)> = kept.into_iter().collect();
        let (back, damaged) = GapLedger::decode(&kept);
        assert!(damaged.is_empty());
        assert_eq!(back.days(), station.ledger.days());
        assert_eq!(back.days().len() as i64, N_DAYS_KEPT);
        let device = DeviceId::new("air-1").unwrap();
        assert_eq!(back.devices(back.days()[0]), std::slice::from_ref(&device));
        let now = start + day * 60;
        for day in back.days() {
            let rows = |ledger: &GapLedger| ledger.day(&device, day, &EVERY_5_MIN, now);
            assert_eq!(rows(&back), rows(&station.ledger));
        }
        assert!(back.encode_changed().is_empty());

        kept[3].1.pop();
        let (back, damaged) = GapLedger::decode(&kept);
        assert_eq!(damaged, [kept[3].0.clone()]);
        assert_eq!(back.days().len() as i64, N_DAYS_KEPT - 1);
    }
}
