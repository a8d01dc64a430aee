//! The engine: binds rules to series and folds records into transitions.

mod bind;
mod book;
mod entries;
mod explain;
mod slot;
mod snapshot;
mod timers;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use onemap_model::alert::Input;
use onemap_model::{
    AlertId, Device, DeviceId, DivisionCode, Observation, Quality, Quantity, RuleId, SeriesKey, Timestamp,
    Transition, Value,
};

use crate::file::{RuleError, RuleSet};
use crate::rule::{Rule, RuleInfo};
use book::{Book, Owner};
pub use entries::Condition;
use entries::{DeviceEntry, JUDGEABLE, LISTED, MAINTAINED, NEVER, NO_DEADLINE, SEEN, SILENT, SeriesEntry};
pub use explain::{Explanation, OpenAlert, Progress};
use slot::Place;
pub use snapshot::SnapshotError;
use timers::Timers;

/// When no record at all comes for longer than this, nobody was listening (the clock alone writes a
/// record a second), and the time is not held against the devices: `no_data` counts anew.
const DEAF_AFTER_MS: i64 = 10_000;

/// The rule engine.
///
/// Deterministic: the same calls in the same order give the same transitions and snapshots. Every call
/// first brings time to its `now` (which never runs backwards) and fires the deadlines on the way, so
/// transitions of a call can be about any series.
///
/// What it holds to:
/// - a reading at or before the last one of its series is late: it never raises, clears or resets; so is
///   one that is said to be resent and older than the series' patience;
/// - a series is unknown before its first reading, after three cadences of silence (record time), and
///   while its last value may not be judged; holds start anew then, an open alert is told `Lost` once;
/// - readings taken under maintenance are recorded and announce nothing; a device under maintenance
///   announces nothing at all, a retired one is withdrawn.
pub struct Engine {
    book: Book,
    /// Record time since when records have come without a long gap.
    listening_since: i64,
    files: BTreeMap<String, RuleSet>,
    /// The rules in force, by id.
    rules: BTreeMap<RuleId, Arc<Rule>>,
    /// The same by what they look at; `None` is the device as a whole.
    by_quantity: HashMap<Option<Quantity>, Vec<Arc<Rule>>>,
    devices: Vec<DeviceEntry>,
    device_index: HashMap<DeviceId, u32>,
    series: Vec<SeriesEntry>,
    timers: Timers,
    /// Series whose condition changed since the last drain.
    changed: Vec<u32>,
}

impl Default for Engine {
    fn default() -> Self {
        Self::new()
    }
}

impl Engine {
    /// An engine without rules and devices.
    pub fn new() -> Self {
        Self {
            book: Book {
                now: NEVER,
                position: 0,
                out: Vec::new(),
                open: BTreeMap::new(),
                alerts_here: HashSet::new(),
                edges_here: HashSet::new(),
            },
            listening_since: NEVER,
            files: BTreeMap::new(),
            rules: BTreeMap::new(),
            by_quantity: HashMap::new(),
            devices: Vec::new(),
            device_index: HashMap::new(),
            series: Vec::new(),
            timers: Timers::default(),
            changed: Vec::new(),
        }
    }

    /// Replaces a file of rules (`None` removes it) and returns what that changed.
    ///
    /// A rule with the same id and version keeps its state. One that is gone or changed withdraws its
    /// open alerts; the changed one starts from the last known values. When two files hold the same id,
    /// the file whose name sorts first has it ([`Engine::conflicts`] tells beforehand).
    pub fn set_file(
        &mut self,
        now: Timestamp,
        position: u64,
        name: &str,
        rules: Option<RuleSet>,
    ) -> Vec<Transition> {
        self.advance(now, position);
        match rules {
            Some(rules) => self.files.insert(name.to_owned(), rules),
            None => self.files.remove(name),
        };
        self.index_rules();
        for device in 0..self.devices.len() as u32 {
            self.bind_device(device, &crate::message::rule_changed());
        }
        std::mem::take(&mut self.book.out)
    }

    /// Takes a new or changed device from the register. From its first mention on its silence counts.
    pub fn set_device(
        &mut self,
        now: Timestamp,
        position: u64,
        device: &Device,
        division: Option<&DivisionCode>,
    ) -> Vec<Transition> {
        self.advance(now, position);
        self.register(device, division);
        std::mem::take(&mut self.book.out)
    }

    /// Folds one observation in. Its position is the transitions' position.
    pub fn observe(&mut self, now: Timestamp, seen: &Observation) -> Vec<Transition> {
        self.advance(now, seen.reading.position);
        self.take_in(seen);
        std::mem::take(&mut self.book.out)
    }

    /// Brings time to `now`: completes holds and notices silence. Call at least once a second.
    pub fn tick(&mut self, now: Timestamp, position: u64) -> Vec<Transition> {
        self.advance(now, position);
        std::mem::take(&mut self.book.out)
    }

    /// Learns that a person closed an alert: nothing more is told of it, and its rule raises on that
    /// series again only after it was normal. False when the alert is not open here.
    pub fn closed(&mut self, alert: &AlertId) -> bool {
        let slots = match self.book.open.get(alert) {
            Some(Owner::Series(i)) => &mut self.series[*i as usize].slots,
            Some(Owner::Device(i)) => &mut self.devices[*i as usize].slots,
            None => return false,
        };
        let raised = slots
            .iter_mut()
            .filter_map(|slot| slot.active.as_mut().and_then(|active| active.alert.as_mut()));
        for raised in raised.filter(|raised| raised.id == *alert) {
            raised.closed = true;
        }
        true
    }

    /// What a series is; unknown when it was never heard of.
    pub fn series_state(&self, series: &SeriesKey) -> Condition {
        let found = self.device_index.get(&series.device);
        let found = found.and_then(|device| self.find_series(*device, series.quantity, series.channel));
        found.map_or(Condition::Unknown, |i| self.series[i as usize].condition)
    }

    /// The worst of a device's series: abnormal before unknown before normal; unknown without series.
    pub fn device_state(&self, device: &DeviceId) -> Condition {
        let Some(device) = self.device_index.get(device) else {
            return Condition::Unknown;
        };
        let series = self.devices[*device as usize].series.iter();
        series
            .map(|i| &self.series[*i as usize])
            .filter(|series| series.has(SEEN) || !series.slots.is_empty())
            .map(|series| series.condition)
            .max()
            .unwrap_or(Condition::Unknown)
    }

    /// The series whose condition changed since the last call, each once, with what it is now. A
    /// restored engine begins with none: read [`Engine::series_state`] first.
    pub fn drain_state_changes(&mut self) -> Vec<(SeriesKey, Condition)> {
        let changed = std::mem::take(&mut self.changed);
        changed
            .into_iter()
            .map(|i| {
                let series = &mut self.series[i as usize];
                series.set(LISTED, false);
                (
                    series.key(&self.devices[series.device as usize]),
                    series.condition,
                )
            })
            .collect()
    }

    /// The rules in force, in the order of their ids.
    pub fn rules(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.rules.values()
    }
    /// The files that hold them, by name.
    pub fn files(&self) -> &BTreeMap<String, RuleSet> {
        &self.files
    }
    /// What the alert's life needs to know of a rule. A rule that is no longer in force is called by
    /// its id and has no advice: an alert keeps what it was raised with.
    pub fn info(&self, rule: &RuleId) -> RuleInfo {
        self.rules.get(rule).map_or_else(
            || RuleInfo {
                name: crate::rule::Texts {
                    zh: rule.as_str().to_owned(),
                    en: rule.as_str().to_owned(),
                },
                ..RuleInfo::default()
            },
            |rule| rule.info(),
        )
    }
    /// What stands against a file beside the other files: rule ids that another one has.
    pub fn conflicts(&self, name: &str, rules: &RuleSet) -> Vec<RuleError> {
        let mut errors = Vec::new();
        for (rule, place) in rules.rules().iter().zip(rules.places()) {
            let other = self
                .files
                .iter()
                .find(|(other, set)| *other != name && set.rules().iter().any(|r| r.id == rule.id));
            if let Some((other, _)) = other {
                let message = format!("file `{other}` has a rule `{}` already", rule.id);
                errors.push(RuleError {
                    message,
                    ..place.clone()
                });
            }
        }
        errors
    }

    fn advance(&mut self, now: Timestamp, position: u64) {
        let now = now.ms().max(self.book.now);
        if self.book.now == NEVER || now.saturating_sub(self.book.now) > DEAF_AFTER_MS {
            self.listening_since = now;
        }
        self.book.begin(now, position);
        while let Some((at, owner)) = self.timers.due(now) {
            match owner {
                Owner::Series(i) => self.series_is_due(i, at),
                Owner::Device(i) => self.device_is_due(i, at),
            }
        }
    }

    fn take_in(&mut self, seen: &Observation) {
        let reading = &seen.reading;
        let now = self.book.now;
        let device = match self.device_index.get(&reading.series.device) {
            Some(device) => *device,
            None => self.add_device(&reading.series.device, &seen.kind, seen.division.as_ref()),
        };
        let entry = &self.devices[device as usize];
        if entry.retired() {
            return;
        }
        if !entry.registered && (entry.kind != seen.kind || entry.division != seen.division) {
            let entry = &mut self.devices[device as usize];
            entry.kind.clone_from(&seen.kind);
            entry.division.clone_from(&seen.division);
            self.bind_device(device, &crate::message::rule_changed());
        }
        let measured = reading.measured_at.ms();
        let patience_ms = self.devices[device as usize].patience_ms();
        if reading.quality.has(Quality::RESENT) && now.saturating_sub(measured) > patience_ms {
            return;
        }
        let (quantity, channel) = (reading.series.quantity, reading.series.channel);
        let i = match self.find_series(device, quantity, channel) {
            Some(i) => i,
            None => self.insert_series(device, quantity, channel),
        };
        let series = &mut self.series[i as usize];
        if measured <= series.measured_at {
            return;
        }
        let first = !series.has(SEEN);
        series.measured_at = measured;
        series.heard_at = now;
        series.position = reading.position;
        series.value = match &reading.value {
            Value::Number(number) => *number,
            Value::Text(_) => f64::NAN,
        };
        series.set(SEEN, true);
        series.set(SILENT, false);
        series.set(JUDGEABLE, reading.quality.judgeable());
        series.set(MAINTAINED, reading.quality.has(Quality::MAINTENANCE));
        let entry = &mut self.devices[device as usize];
        entry.heard_at = now;
        let muted = series.has(MAINTAINED) || entry.in_maintenance();
        if first {
            self.first_reading(i);
        }
        self.judge_series(i, muted);
        if !muted {
            self.with_device_slots(device, |slot, book, place| slot.heard(book, place));
        }
        self.settle_series(i);
        self.settle_device(device);
    }

    /// Lets every rule of a series look at its last reading.
    fn judge_series(&mut self, i: u32, muted: bool) {
        let judged = self.series[i as usize].judged();
        self.with_series_slots(i, |slot, book, place| {
            let silence = slot.rule.silence().is_some();
            match (&judged, silence) {
                (_, true) if muted => {}
                (_, true) => slot.heard(book, place),
                (_, false) if muted => slot.calm(),
                (Some(input), false) => slot.judge(book, place, input),
                (None, false) => slot.unknown(book, place, false),
            }
        });
    }

    fn with_series_slots(&mut self, i: u32, mut work: impl FnMut(&mut entries::Slot, &mut Book, &Place<'_>)) {
        let mut slots = std::mem::take(&mut self.series[i as usize].slots);
        let series = &self.series[i as usize];
        let device = &self.devices[series.device as usize];
        let since = if series.heard_at == NEVER {
            device.counted_from
        } else {
            series.heard_at
        };
        let place = Place {
            owner: Owner::Series(i),
            series: &|_| series.key(device),
            about: Some(i),
            division: device.division.as_ref(),
            last: series.input(),
            silent_for: Duration::from_millis(self.book.now.saturating_sub(since).max(0) as u64),
        };
        for slot in &mut slots {
            work(slot, &mut self.book, &place);
        }
        self.series[i as usize].slots = slots;
    }

    fn with_device_slots(&mut self, i: u32, mut work: impl FnMut(&mut entries::Slot, &mut Book, &Place<'_>)) {
        if self.devices[i as usize].slots.is_empty() {
            return;
        }
        let mut slots = std::mem::take(&mut self.devices[i as usize].slots);
        let device = &self.devices[i as usize];
        // The first series it ever sent stands for the device: it does not change with the message.
        let seen = device
            .series
            .iter()
            .copied()
            .filter(|s| self.series[*s as usize].has(SEEN));
        let since = if device.heard_at == NEVER {
            device.counted_from
        } else {
            device.heard_at
        };
        let place = Place {
            owner: Owner::Device(i),
            series: &|about| match about {
                Some(about) => self.series[about as usize].key(device),
                None => messages_of(&device.id),
            },
            about: seen.min(),
            division: device.division.as_ref(),
            last: None::<Input>,
            silent_for: Duration::from_millis(self.book.now.saturating_sub(since).max(0) as u64),
        };
        for slot in &mut slots {
            work(slot, &mut self.book, &place);
        }
        self.devices[i as usize].slots = slots;
    }

    /// The record time at which a silence of a rule is complete.
    fn silence_deadline(&self, device: &DeviceEntry, heard_at: i64, rule: &Rule) -> i64 {
        let Some(silence) = rule.silence() else {
            return NO_DEADLINE;
        };
        if device.in_maintenance() || device.retired() {
            return NO_DEADLINE;
        }
        let from = heard_at.max(device.counted_from).max(self.listening_since);
        from.saturating_add(entries::ms(silence.length(device.cadence_s)))
            .saturating_add(1)
    }

    /// When a slot next has something to do by itself.
    fn slot_deadline(&self, device: &DeviceEntry, heard_at: i64, slot: &entries::Slot) -> i64 {
        let hold = slot.hold_deadline();
        let firing = slot
            .active
            .as_ref()
            .is_some_and(|a| a.phase == entries::Phase::Firing);
        if firing {
            hold
        } else {
            hold.min(self.silence_deadline(device, heard_at, &slot.rule))
        }
    }

    /// When a series becomes silent.
    fn falls_silent(&self, series: &SeriesEntry) -> i64 {
        let device = &self.devices[series.device as usize];
        if !series.has(SEEN) || series.has(SILENT) || device.retired() {
            return NO_DEADLINE;
        }
        series
            .heard_at
            .saturating_add(device.patience_ms())
            .saturating_add(1)
    }

    /// Does the first thing whose time has come at `at`. A deadline that was put off since is only set
    /// again, so that things happen in the order of their deadlines over all series.
    fn series_is_due(&mut self, i: u32, at: i64) {
        if self.series[i as usize].armed != at {
            return;
        }
        self.series[i as usize].armed = NO_DEADLINE;
        let series = &self.series[i as usize];
        let device = &self.devices[series.device as usize];
        let slots = series.slots.iter().enumerate();
        let deadlines = slots.map(|(n, slot)| (self.slot_deadline(device, series.heard_at, slot), n));
        let first = deadlines.chain([(self.falls_silent(series), usize::MAX)]).min();
        let Some((deadline, what)) = first.filter(|(deadline, _)| *deadline <= at) else {
            return self.settle_series(i);
        };
        if what == usize::MAX {
            let muted = device.in_maintenance();
            self.series[i as usize].set(SILENT, true);
            self.with_series_slots(i, |slot, book, place| match (slot.rule.silence(), muted) {
                (Some(_), _) => {}
                (None, true) => slot.calm(),
                (None, false) => slot.unknown(book, place, true),
            });
        } else {
            let mut n = 0;
            self.with_series_slots(i, |slot, book, place| {
                if n == what {
                    fire(slot, book, place, deadline);
                }
                n += 1;
            });
        }
        self.settle_series(i);
    }

    fn device_is_due(&mut self, i: u32, at: i64) {
        if self.devices[i as usize].armed != at {
            return;
        }
        self.devices[i as usize].armed = NO_DEADLINE;
        let device = &self.devices[i as usize];
        let slots = device.slots.iter().enumerate();
        let first = slots
            .map(|(n, slot)| (self.slot_deadline(device, device.heard_at, slot), n))
            .min();
        if let Some((deadline, what)) = first.filter(|(deadline, _)| *deadline <= at) {
            let mut n = 0;
            self.with_device_slots(i, |slot, book, place| {
                if n == what {
                    fire(slot, book, place, deadline);
                }
                n += 1;
            });
        }
        self.settle_device(i);
    }

    /// After any change of a series: its condition and its next deadline.
    fn settle_series(&mut self, i: u32) {
        let series = &self.series[i as usize];
        let device = &self.devices[series.device as usize];
        let condition = series.condition(device);
        let slots = series.slots.iter();
        let deadline = slots
            .map(|slot| self.slot_deadline(device, series.heard_at, slot))
            .chain([self.falls_silent(series)])
            .min()
            .unwrap_or(NO_DEADLINE);
        let series = &mut self.series[i as usize];
        self.timers.arm(&mut series.armed, deadline, Owner::Series(i));
        if series.condition != condition {
            series.condition = condition;
            if !series.has(LISTED) {
                series.set(LISTED, true);
                self.changed.push(i);
            }
        }
    }

    /// After any change of a device: its next deadline.
    fn settle_device(&mut self, i: u32) {
        let device = &self.devices[i as usize];
        let slots = device.slots.iter();
        let deadline = slots
            .map(|slot| self.slot_deadline(device, device.heard_at, slot))
            .min();
        let device = &mut self.devices[i as usize];
        self.timers.arm(
            &mut device.armed,
            deadline.unwrap_or(NO_DEADLINE),
            Owner::Device(i),
        );
    }
}

/// Does what a slot's deadline is for.
fn fire(slot: &mut entries::Slot, book: &mut Book, place: &Place<'_>, deadline: i64) {
    if slot.hold_deadline() == deadline {
        slot.hold_is_over(book, place);
    } else {
        slot.silence_is_here(book, place);
    }
}

/// What stands for a device that never sent anything: the series of its messages.
fn messages_of(device: &DeviceId) -> SeriesKey {
    SeriesKey {
        device: device.clone(),
        quantity: Quantity::named("seq").expect("the dictionary has the message number"),
        channel: 0,
    }
}
