//! The engine: binds rules to series and folds records into transitions.

mod ahead;
mod bind;
mod book;
mod by_kind;
mod entries;
mod explain;
mod fold;
mod foresee;
mod slot;
mod snapshot;
mod stages;
mod timers;
mod weigh;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use onemap_model::{
    AlertId, Device, DeviceId, DivisionCode, Observation, Quantity, RuleId, SeriesKey, Timestamp, Transition,
};
use smallvec::SmallVec;

use crate::fault::{RuleError, said};
use crate::file::RuleSet;
use crate::rule::{Rule, RuleInfo};
use ahead::{N_AHEAD, Target};
use book::{Book, Owner};
use by_kind::ByKind;
pub use entries::Condition;
use entries::{DeviceEntry, LISTED, NEVER, NO_DEADLINE, SEEN, SeriesEntry, Slot};
pub use explain::{Aside, Explanation, FactState, OpenAlert, Progress};
use foresee::Foreseen;
pub use snapshot::SnapshotError;
use stages::Gauges;
use timers::Timers;
use weigh::Scales;
pub use weigh::nearest_first;

/// When no record at all comes for longer than this, nobody was listening (the clock alone writes a
/// record a second), and the time is not held against the devices: `no_data` counts anew.
const DEAF_AFTER_MS: i64 = 10_000;

/// The rule engine.
///
/// Deterministic: the same calls in the same order give the same transitions and snapshots. Every call
/// first brings time to its `now` (which never runs backwards) and fires the deadlines on the way, so
/// transitions of a call can be about any series. Several observations in one call ([`Engine::observe_all`]) are
/// each such a call.
///
/// What it holds to:
/// - a reading at or before the last one of its series is late: it never raises, clears or resets; so is
///   one that is said to be resent and older than the series' patience;
/// - a series is unknown before its first reading, after three cadences of silence of its own (record
///   time; without a known cadence after ten minutes of its device), and
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
    by_quantity: HashMap<Option<Quantity>, ByKind>,
    /// Those that wait for a quantity which devices promise by being registered.
    promising: ByKind,
    /// Those that look at forecasts, which are not among them.
    looking_ahead: Vec<Arc<Rule>>,
    /// Those that weigh more than the last value of one series, which are not among them either.
    weighing: Vec<Arc<Rule>>,
    /// Those that are bound now, and whether they rest.
    in_force: Vec<(RuleId, bool)>,
    /// When that may be another next.
    next_turn: i64,
    /// Codes of the fences that they ask for.
    fences: HashSet<Arc<str>>,
    devices: Vec<DeviceEntry>,
    device_index: foldhash::HashMap<DeviceId, u32>,
    series: Vec<SeriesEntry>,
    /// Series whose forecasts rules look at.
    foreseen: Vec<Foreseen>,
    /// Of each device the indexes of its own.
    foreseen_of: HashMap<u32, Vec<u32>>,
    /// What is weighed, by device.
    scales: Scales,
    /// Gauges whose stages are limits.
    gauges: Gauges,
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
            promising: ByKind::default(),
            looking_ahead: Vec::new(),
            weighing: Vec::new(),
            in_force: Vec::new(),
            next_turn: NO_DEADLINE,
            fences: HashSet::new(),
            devices: Vec::new(),
            device_index: foldhash::HashMap::default(),
            series: Vec::new(),
            foreseen: Vec::new(),
            foreseen_of: HashMap::new(),
            scales: Scales::default(),
            gauges: Gauges::default(),
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

    /// States how many seconds a device that reports changes only may say nothing, in place of a number of cadences where it
    /// has none; 0 states nothing. It is no part of a snapshot: whoever restores one states it again. A device that is not
    /// known yet is to be set first.
    pub fn set_silent_after(&mut self, device: &DeviceId, seconds: u32) {
        let Some(i) = self.device_index.get(device).copied() else {
            return;
        };
        if std::mem::replace(&mut self.devices[i as usize].silent_after_s, seconds) == seconds {
            return;
        }
        for series in self.devices[i as usize].indexes().collect::<Vec<_>>() {
            self.settle_series(series);
        }
        self.settle_device(i);
    }

    /// Whether a rule in force asks for a fence.
    pub fn asks_for_fence(&self, code: &str) -> bool {
        self.fences.contains(code)
    }

    /// Whether a rule in force asks for any fence.
    pub fn asks_for_fences(&self) -> bool {
        !self.fences.is_empty()
    }

    /// States which fences a device is in, by their codes; others than those that rules ask for may be among them. Whether
    /// its being there is wrong is judged by the next place that it says. A device that is not known yet is to be set first.
    pub fn set_fences(
        &mut self,
        now: Timestamp,
        position: u64,
        device: &DeviceId,
        mut fences: Vec<Arc<str>>,
    ) -> Vec<Transition> {
        fences.sort_unstable();
        self.advance(now, position);
        if let Some(i) = self.device_index.get(device).copied()
            && self.devices[i as usize].fences != fences
        {
            self.put_in_fences(i, fences);
        }
        std::mem::take(&mut self.book.out)
    }

    /// A fence was taken off or has ended: nobody is in it, and what was told of being in it or not is withdrawn.
    pub fn fence_gone(&mut self, now: Timestamp, position: u64, code: &str) -> Vec<Transition> {
        self.advance(now, position);
        for i in 0..self.devices.len() as u32 {
            self.forget_fence(i, code);
            let fences = &self.devices[i as usize].fences;
            if fences.iter().any(|fence| **fence == *code) {
                let left = fences.iter().filter(|fence| ***fence != *code).cloned().collect();
                self.put_in_fences(i, left);
            }
        }
        std::mem::take(&mut self.book.out)
    }

    /// Something came of a device that is no reading: it is there, and so are its series that have no cadence.
    pub fn heard(&mut self, now: Timestamp, position: u64, device: &DeviceId) -> Vec<Transition> {
        self.advance(now, position);
        if let Some(i) = self.device_index.get(device).copied() {
            self.devices[i as usize].heard_at = self.book.now;
        }
        std::mem::take(&mut self.book.out)
    }

    /// Folds one observation in. Its position is the transitions' position.
    pub fn observe(&mut self, now: Timestamp, seen: &Observation) -> Vec<Transition> {
        self.advance(now, seen.reading.position);
        self.take_in(seen, Target::default());
        std::mem::take(&mut self.book.out)
    }

    /// Folds several observations in, as [`Engine::observe`] does one after another: the same transitions in the same
    /// order, the same state. Many at once take less time, since where they go is looked up side by side.
    pub fn observe_all<'a>(
        &mut self,
        now: Timestamp,
        seen: impl IntoIterator<Item = &'a Observation>,
    ) -> Vec<Transition> {
        let mut seen = seen.into_iter();
        let mut run: SmallVec<[&Observation; N_AHEAD]> = SmallVec::new();
        loop {
            run.extend(seen.by_ref().take(N_AHEAD));
            if run.is_empty() {
                return std::mem::take(&mut self.book.out);
            }
            let targets = self.look_ahead(&run);
            for (seen, target) in run.drain(..).zip(targets) {
                self.advance(now, seen.reading.position);
                self.take_in(seen, target);
            }
        }
    }

    /// Brings time to `now`: completes holds and notices silence. Call at least once a second.
    pub fn tick(&mut self, now: Timestamp, position: u64) -> Vec<Transition> {
        self.advance(now, position);
        std::mem::take(&mut self.book.out)
    }

    /// Learns that a person closed an alert: nothing more is told of it, and its rule raises on that
    /// series again only after it was normal. False when the alert is not open here.
    pub fn closed(&mut self, alert: &AlertId) -> bool {
        let slots: Vec<&mut Slot> = match self.book.open.get(alert) {
            Some(Owner::Series(i)) => self.series[*i as usize].slots.iter_mut().collect(),
            Some(Owner::Device(i)) => self.devices[*i as usize].slots.iter_mut().collect(),
            Some(Owner::Foreseen(i)) => {
                let watches = self.foreseen[*i as usize].watches.iter_mut();
                watches.map(|watch| &mut watch.slot).collect()
            }
            Some(Owner::Weighed(i)) => self.scales.slots_mut(*i),
            Some(Owner::Clock) | None => return false,
        };
        let raised = slots
            .into_iter()
            .filter_map(|slot| slot.active.as_mut().and_then(|active| active.alert.as_mut()));
        for raised in raised.filter(|raised| raised.id == *alert) {
            raised.closed = true;
        }
        true
    }

    /// Whether no rule has anything against any series, nor is waiting for a hold.
    pub(crate) fn is_calm(&self) -> bool {
        let is_quiet = |slot: &Slot| slot.active.is_none();
        let series = self.series.iter().flat_map(|series| &series.slots);
        let devices = self.devices.iter().flat_map(|device| &device.slots);
        series.chain(devices).all(is_quiet) && self.scales.are_calm()
    }

    /// Time of the reading since which an open alert is no longer wrong, while its hold on clearing runs.
    pub(crate) fn clearing_since(&self, alert: &AlertId) -> Option<Timestamp> {
        let slots: Vec<&Slot> = match self.book.open.get(alert)? {
            Owner::Series(i) => self.series[*i as usize].slots.iter().collect(),
            Owner::Device(i) => self.devices[*i as usize].slots.iter().collect(),
            Owner::Weighed(i) => self.scales.slots(*i).collect(),
            Owner::Foreseen(_) | Owner::Clock => return None,
        };
        let mut active = slots.into_iter().filter_map(|slot| slot.active.as_deref());
        let own = active.find(|active| active.alert.as_ref().is_some_and(|raised| raised.id == *alert))?;
        (own.phase == entries::Phase::Clearing).then(|| Timestamp::from_ms(own.since_measured))
    }

    /// Whether a value of a series that comes late may have been wrong by a rule in force, so that it is worth while to look
    /// at its time again.
    pub fn may_have_been_wrong(&self, series: &SeriesKey, value: f64) -> bool {
        let Some(device) = self.device_index.get(&series.device).copied() else {
            return true;
        };
        let own = self.find_series(device, series.quantity, series.channel);
        let is_quiet = own.is_some_and(|i| self.series[i as usize].is_quiet(value));
        !is_quiet || self.scales.ask_for(device, series.quantity, series.channel)
    }

    /// Seconds from one value of a series to the next where that is not its device's cadence; else 0.
    pub fn every_s(&self, series: &SeriesKey) -> u32 {
        let device = self.device_index.get(&series.device);
        let own = device.and_then(|device| self.find_series(*device, series.quantity, series.channel));
        own.map_or(0, |i| self.series[i as usize].every_s)
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
        let series = self.devices[*device as usize].indexes();
        series
            .map(|i| &self.series[i as usize])
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
    /// What the alert's life needs to know of a rule on a device. A rule that is no longer in force is called by
    /// its id and has no advice: an alert keeps what it was raised with.
    pub fn info(&self, rule: &RuleId, device: &DeviceId) -> RuleInfo {
        let division = self.device_index.get(device);
        let division = division.and_then(|i| self.devices[*i as usize].division.as_ref());
        let own = self.rules.get(rule).map(|rule| {
            let own = rule.of_gauge(device, division, &self.gauges.stages(device));
            own.unwrap_or_else(|| Arc::clone(rule))
        });
        own.map_or_else(
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
                let message = said!(
                    "文件 `{other}` 中已有规则 `{id}`",
                    "file `{other}` has a rule `{id}` already",
                    id = rule.id
                );
                errors.push(RuleError::at(*place, message));
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
        while let Some((at, owner)) = self.timers.due(now.min(self.next_turn)).or_else(|| {
            let turns = self.next_turn <= now;
            turns.then_some((self.next_turn, Owner::Clock))
        }) {
            match owner {
                Owner::Series(i) => self.series_is_due(i, at),
                Owner::Device(i) => self.device_is_due(i, at),
                Owner::Foreseen(i) => self.foreseen_is_due(i, at),
                Owner::Weighed(i) => self.weighed_is_due(i, at),
                Owner::Clock => self.turn(),
            }
        }
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
