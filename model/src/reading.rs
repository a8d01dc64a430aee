//! A reading: one value of one series at one time.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{DeviceId, DivisionCode, Quantity, Timestamp};

/// One sensor's one quantity: device, quantity and channel.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SeriesKey {
    /// The device that measures.
    pub device: DeviceId,
    /// What it measures.
    pub quantity: Quantity,
    /// Which of several alike sensors, from 0.
    #[serde(default, rename = "ch")]
    pub channel: u16,
}

impl fmt::Display for SeriesKey {
    /// `device/quantity/channel`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.device, self.quantity, self.channel)
    }
}
impl fmt::Debug for SeriesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// A finite number in the quantity's canonical unit. State codes are numbers too: the quantity
    /// says so ([`Quantity::is_state`]).
    Number(f64),
    /// A text.
    Text(Arc<str>),
}

impl Value {
    /// The number, if it is one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Value::Number(n) => Some(*n),
            Value::Text(_) => None,
        }
    }
}

/// Marks on a reading; any number of them together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Quality(pub u16);

impl Quality {
    /// No mark.
    pub const GOOD: Quality = Quality(0);
    /// Arrived after a newer reading of its series, or said to be resent.
    pub const RESENT: Quality = Quality(1);
    /// Outside the quantity's plausible range.
    pub const SUSPECT: Quality = Quality(2);
    /// The device gave no time; the receive time stands in.
    pub const STAMPED_HERE: Quality = Quality(4);
    /// Replaces an earlier value of the same time.
    pub const REVISED: Quality = Quality(8);
    /// Taken during maintenance.
    pub const MAINTENANCE: Quality = Quality(16);
    /// Taken during calibration.
    pub const CALIBRATION: Quality = Quality(32);
    /// The value has not moved for longer than its profile believes.
    pub const STUCK: Quality = Quality(64);
    /// Changed faster than its profile believes.
    pub const JUMP: Quality = Quality(128);
    /// The device's clock is off by more than its profile tolerates; its stamps are kept as they are.
    pub const CLOCK_OFF: Quality = Quality(256);
    /// Came through the backfill lane (an import, a spool after an outage): pages nobody.
    pub const BACKFILL: Quality = Quality(512);
    /// Worked out here from other readings (an index, a flow): its device did not say it.
    pub const DERIVED: Quality = Quality(1024);

    /// The device told no time of observation; the time at which it sent the value stands in.
    pub const STAMPED_SENT: Quality = Quality(2048);

    const NAMES: [(Quality, &'static str); 12] = [
        (Quality::RESENT, "resent"),
        (Quality::SUSPECT, "suspect"),
        (Quality::STAMPED_HERE, "stamped_here"),
        (Quality::REVISED, "revised"),
        (Quality::MAINTENANCE, "maintenance"),
        (Quality::CALIBRATION, "calibration"),
        (Quality::STUCK, "stuck"),
        (Quality::JUMP, "jump"),
        (Quality::CLOCK_OFF, "clock_off"),
        (Quality::BACKFILL, "backfill"),
        (Quality::DERIVED, "derived"),
        (Quality::STAMPED_SENT, "stamped_sent"),
    ];

    /// Both sets of marks.
    #[must_use]
    pub fn with(self, other: Quality) -> Quality {
        Quality(self.0 | other.0)
    }
    /// Whether all marks of `other` are set.
    pub fn has(self, other: Quality) -> bool {
        self.0 & other.0 == other.0
    }
    /// Marks that depend on the order of arrival or on the clock of the day, not on what was measured:
    /// readings that come shuffled, twice or late become the same history as ordered ones apart from
    /// these.
    pub const OF_ARRIVAL: Quality = Quality(
        Self::RESENT.0
            | Self::REVISED.0
            | Self::STUCK.0
            | Self::JUMP.0
            | Self::CLOCK_OFF.0
            | Self::BACKFILL.0,
    );

    /// Whether a rule may judge by this reading. Suspect, calibration and jumped values cannot show that
    /// something is normal or abnormal: a spike of a loose cable must not page, and must not end an alert
    /// either. A stuck sensor says nothing of the world any more, so what it watches is unknown. A clock
    /// that is off makes the stamp doubtful and not the value, and a resent value is told apart by its
    /// age: both are judged.
    pub fn judgeable(self) -> bool {
        const NOT: u16 = Quality::SUSPECT.0 | Quality::CALIBRATION.0 | Quality::JUMP.0 | Quality::STUCK.0;
        self.0 & NOT == 0
    }
    /// The mark with a name, as [`Quality::names`] gives them.
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(quality, _)| *quality)
    }
    /// Without the marks of `other`.
    #[must_use]
    pub fn without(self, other: Quality) -> Quality {
        Quality(self.0 & !other.0)
    }
    /// The names of the set marks.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES
            .iter()
            .filter(move |(q, _)| self.has(*q))
            .map(|(_, name)| *name)
    }
}

/// One admitted value.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Whose and what.
    pub series: SeriesKey,
    /// The *end* of the period it stands for.
    pub measured_at: Timestamp,
    /// How long a period it stands for; zero is instantaneous.
    pub period: Duration,
    /// When its bytes arrived.
    pub received_at: Timestamp,
    /// What was measured, in the canonical unit.
    pub value: Value,
    /// Marks.
    pub quality: Quality,
    /// Journal position of the frame it came in.
    pub position: u64,
}

/// A reading with its place: what rules judge.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// The reading.
    pub reading: Reading,
    /// Kind of the device (`river_gauge`), from the register.
    pub kind: Arc<str>,
    /// Where the device stands; `None` when it has no position or lies outside every division.
    pub division: Option<DivisionCode>,
    /// Seconds from one value of the series to the next where that is not its device's cadence (means of an hour
    /// beside values of seconds); else 0.
    pub every_s: u32,
}
