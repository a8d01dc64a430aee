//! What the engine keeps of each device and series.

use std::sync::Arc;
use std::time::Duration;

use onemap_model::alert::Input;
use onemap_model::{AlertId, DeviceId, DeviceState, DivisionCode, Position, Quantity, SeriesKey, Timestamp};
use smallvec::SmallVec;

use crate::rule::{Rule, Side, Silence};

/// What is known of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// A fresh value that may be judged, and no rule is against it.
    Normal,
    /// Never seen, silent, or its value may not be judged. Never to be shown as normal.
    Unknown,
    /// A rule found it wrong and it is not yet over.
    Abnormal,
}

/// No time has come yet.
pub(super) const NEVER: i64 = i64::MIN;
/// No deadline.
pub(super) const NO_DEADLINE: i64 = i64::MAX;

/// A series or device is silent after this many of its cadences.
const SILENT_AFTER: Silence = Silence::Cadences(3);

/// Milliseconds of a duration, as the engine counts.
pub(super) fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

pub(super) struct DeviceEntry {
    pub(super) id: DeviceId,
    pub(super) kind: Arc<str>,
    pub(super) division: Option<DivisionCode>,
    /// Codes of the fences that it is in, in order.
    pub(super) fences: Vec<Arc<str>>,
    /// Where the register has it stand.
    pub(super) place: Option<Position>,
    pub(super) cadence_s: u32,
    /// Seconds that it may say nothing when it has no cadence; 0 is not stated.
    pub(super) silent_after_s: u32,
    pub(super) state: DeviceState,
    /// The register named it; until then kind and division come from its observations.
    pub(super) registered: bool,
    /// Record time from which its silence counts at the earliest: when it was registered, first
    /// heard, or put back into use.
    pub(super) counted_from: i64,
    /// Record time of its last reading that was not late.
    pub(super) heard_at: i64,
    /// Its series in order. Their names stand beside the indexes, so that looking one up reads one
    /// short run of memory and not each series.
    pub(super) series: NamedSeries,
    /// Rules about the device as a whole.
    pub(super) slots: Slots,
    /// The earliest entry in the timers, [`NO_DEADLINE`] when there is none.
    pub(super) armed: i64,
}

/// The series of a device. Most have no more than five.
pub(super) type NamedSeries = SmallVec<[Named; 5]>;

/// A series of a device by its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Named {
    pub(super) quantity: Quantity,
    pub(super) channel: u16,
    pub(super) index: u32,
}

impl DeviceEntry {
    /// Something of each part that a reading touches; only reading it matters.
    pub(super) fn touched(&self) -> u64 {
        self.heard_at as u64 ^ self.slots.len() as u64 ^ u64::from(self.cadence_s) ^ self.kind.len() as u64
    }
    /// The indexes of its series, in the order of quantity and channel.
    pub(super) fn indexes(&self) -> impl Iterator<Item = u32> {
        self.series.iter().map(|named| named.index)
    }
    /// Seconds from one value of a series to the next: its own, if it has one, else the device's.
    pub(super) fn cadence_s(&self, every_s: u32) -> u32 {
        match every_s {
            0 => self.cadence_s,
            own => own,
        }
    }
    /// How long a series may say nothing and still be known, in milliseconds.
    pub(super) fn patience_ms(&self, every_s: u32) -> i64 {
        self.silence_ms(SILENT_AFTER, every_s)
    }
    /// The time of a silence in milliseconds: of a device that reports changes only the one that is stated for it, in place of
    /// a number of cadences.
    pub(super) fn silence_ms(&self, silence: Silence, every_s: u32) -> i64 {
        match (silence, self.cadence_s(every_s)) {
            (Silence::Cadences(_), 0) if self.silent_after_s > 0 => i64::from(self.silent_after_s) * 1000,
            (_, cadence_s) => ms(silence.length(cadence_s)),
        }
    }
    /// Put under maintenance by the register: nothing about it is announced.
    pub(super) fn in_maintenance(&self) -> bool {
        self.state == DeviceState::Maintenance
    }
    pub(super) fn retired(&self) -> bool {
        self.state == DeviceState::Retired
    }
}

/// The series' last reading came under maintenance.
pub(super) const MAINTAINED: u8 = 1;
/// Some reading came.
pub(super) const SEEN: u8 = 2;
/// The last reading may be judged.
pub(super) const JUDGEABLE: u8 = 4;
/// Nothing came for longer than the device's patience.
pub(super) const SILENT: u8 = 8;
/// Stands in the list of changed series.
pub(super) const LISTED: u8 = 16;
/// An alert about it is open whose rule weighs more than its last value.
pub(super) const WEIGHED: u8 = 32;

pub(super) struct SeriesEntry {
    pub(super) device: u32,
    pub(super) quantity: Quantity,
    pub(super) channel: u16,
    pub(super) flags: u8,
    pub(super) condition: Condition,
    /// Time of the newest reading that was taken in; older ones are late.
    pub(super) measured_at: i64,
    /// Record time at which it came.
    pub(super) heard_at: i64,
    /// Seconds to the next one where that is not the device's cadence; else 0.
    pub(super) every_s: u32,
    /// Its number, NaN when it was a text.
    pub(super) value: f64,
    /// Its journal position.
    pub(super) position: u64,
    pub(super) armed: i64,
    /// The rules about it, in the order of their ids. [`SeriesEntry::set_slots`] puts others in.
    pub(super) slots: Slots,
    /// Values, borders included, with which none of the rules has anything to do while none is active.
    quiet_within: (f64, f64),
}

impl SeriesEntry {
    pub(super) fn new(device: u32, quantity: Quantity, channel: u16) -> Self {
        Self {
            device,
            quantity,
            channel,
            flags: 0,
            condition: Condition::Unknown,
            measured_at: NEVER,
            heard_at: NEVER,
            every_s: 0,
            value: f64::NAN,
            position: 0,
            armed: NO_DEADLINE,
            slots: Slots::new(),
            quiet_within: quiet_within(&[]),
        }
    }
    /// Puts other rules in.
    pub(super) fn set_slots(&mut self, slots: Slots) {
        self.quiet_within = quiet_within(&slots);
        self.slots = slots;
    }
    /// Whether all is well here, and nothing would have to be done after another reading like the last one.
    pub(super) fn is_at_rest(&self) -> bool {
        self.flags & !LISTED == SEEN | JUDGEABLE
            && self.condition == Condition::Normal
            && self.armed != NO_DEADLINE
            && self.slots.iter().all(|slot| slot.active.is_none())
    }
    /// Whether a value gives none of the rules anything to do while none is active.
    pub(super) fn is_quiet(&self, value: f64) -> bool {
        value.is_finite() && self.quiet_within.0 <= value && value <= self.quiet_within.1
    }
    /// Something of each part that a reading touches; only reading it matters.
    pub(super) fn touched(&self) -> u64 {
        self.measured_at as u64 ^ self.quiet_within.0.to_bits() ^ self.slots.len() as u64
    }
    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
    pub(super) fn set(&mut self, flag: u8, on: bool) {
        if on {
            self.flags |= flag;
        } else {
            self.flags &= !flag;
        }
    }
    pub(super) fn key(&self, device: &DeviceEntry) -> SeriesKey {
        SeriesKey {
            device: device.id.clone(),
            quantity: self.quantity,
            channel: self.channel,
        }
    }
    /// The last reading as evidence, if there is one with a number.
    pub(super) fn input(&self) -> Option<Input> {
        (self.has(SEEN) && self.value.is_finite()).then(|| Input {
            position: self.position,
            measured_at: Timestamp::from_ms(self.measured_at),
            value: self.value,
            of: None,
        })
    }
    /// The value that thresholds may judge now: fresh, judgeable, a number.
    pub(super) fn judged(&self) -> Option<Input> {
        let usable = self.has(SEEN) && self.has(JUDGEABLE) && !self.has(SILENT);
        if usable { self.input() } else { None }
    }
    /// What the series is, from all the above.
    pub(super) fn condition(&self, device: &DeviceEntry) -> Condition {
        let known = self.has(SEEN) && self.has(JUDGEABLE) && !self.has(SILENT) && !device.retired();
        let mut thresholds = self
            .slots
            .iter()
            .filter(|slot| slot.rule.silence().is_none())
            .peekable();
        if !known || (thresholds.peek().is_some() && !self.value.is_finite()) {
            return Condition::Unknown;
        }
        if self.has(WEIGHED) {
            return Condition::Abnormal;
        }
        // Under maintenance the alerts stand still, so the value itself must say what is.
        let muted = device.in_maintenance() || self.has(MAINTAINED);
        let against = |slot: &Slot| match (muted, slot.rule.side(self.value)) {
            (true, Some(Side::Beyond)) => true,
            (true, Some(Side::Back)) => false,
            _ => slot.alert().is_some(),
        };
        if thresholds.any(against) {
            Condition::Abnormal
        } else {
            Condition::Normal
        }
    }
}

/// The rules bound to one series or device. Most have one, which then stands with what is known of the series and not
/// somewhere else in memory.
pub(super) type Slots = SmallVec<[Slot; 1]>;

/// What lies within the quiet values of each rule; nothing does when one does not look at values alone.
fn quiet_within(slots: &[Slot]) -> (f64, f64) {
    let all = (f64::NEG_INFINITY, f64::INFINITY);
    let within = slots.iter().map(|slot| slot.rule.when.raises_nothing());
    within.fold(all, |(from, to), own| match own {
        Some(own) => (from.max(own.0), to.min(own.1)),
        None => (f64::INFINITY, f64::NEG_INFINITY),
    })
}

/// One rule bound to one series or device.
pub(super) struct Slot {
    pub(super) rule: Arc<Rule>,
    /// `None` while nothing is wrong, which is nearly always: so a quiet slot is 16 bytes.
    pub(super) active: Option<Box<Active>>,
}

impl Slot {
    /// The alert it raised and that is not over, closed by a person or not.
    pub(super) fn alert(&self) -> Option<&RaisedAlert> {
        self.active.as_ref().and_then(|active| active.alert.as_ref())
    }
}

pub(super) struct Active {
    pub(super) phase: Phase,
    /// Time of the reading with which the phase began.
    pub(super) since_measured: i64,
    /// Record time at which the phase began.
    pub(super) since_record: i64,
    /// The reading with which it became wrong; `None` for silences.
    pub(super) first: Option<Input>,
    /// `None` exactly while pending.
    pub(super) alert: Option<RaisedAlert>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Wrong, and not yet for long enough.
    Pending,
    /// Wrong; the alert is raised.
    Firing,
    /// No longer wrong, and not yet for long enough.
    Clearing,
}

pub(super) struct RaisedAlert {
    pub(super) id: AlertId,
    pub(super) raised_at: i64,
    /// The series it is about; `None` only for a device that never sent anything.
    pub(super) about: Option<u32>,
    /// The rule's level that it is at.
    pub(super) level: u8,
    /// The last edge told was that nothing is known.
    pub(super) lost: bool,
    /// A person closed it: nothing more is told until it is over.
    pub(super) closed: bool,
}
