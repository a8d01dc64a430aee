//! Rules as meant: checked, in canonical units, with a version.

use std::sync::Arc;
use std::time::Duration;

use onemap_model::alert::Input;
use onemap_model::{DeviceId, DivisionCode, Quantity, RuleId, Severity, Timestamp};
use serde::{Deserialize, Serialize};

use crate::panels::Foreseen;
use crate::parameters::{Level, Own};
use crate::stages::StageLimit;
use crate::times::Times;

/// A text in both languages of the screen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Texts {
    /// Chinese.
    pub zh: String,
    /// English.
    pub en: String,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rule {
    /// Its id, unique over all files.
    pub id: RuleId,
    /// First 8 hexadecimal digits of the hash of everything below but the tests.
    #[serde(skip)]
    pub version: String,
    /// What it is called.
    pub name: Texts,
    /// Which devices it is for.
    pub applies_to: Selector,
    /// How much it matters.
    pub severity: Severity,
    /// What is wrong.
    pub when: When,
    /// How long it must last before the alert is raised. Zero for `no_data`, which has its own.
    #[serde(rename = "for_ms", serialize_with = "ms")]
    pub hold: Duration,
    /// How long the opposite must last before the alert is cleared.
    #[serde(rename = "clear_for_ms", serialize_with = "ms")]
    pub clear_hold: Duration,
    /// What to do.
    pub advice: Texts,
    /// The legal or internal clause it stands on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clause: Option<Clause>,
    /// When it is in force; always when nothing is said.
    #[serde(skip_serializing_if = "Times::is_always")]
    pub times: Times,
    /// Limits further out, from which it matters more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub levels: Vec<Level>,
    /// What is foreseen beside its alerts. It changes no judgement, so it is no part of the version.
    #[serde(skip)]
    pub panels: Foreseen,
}

fn ms<S: serde::Serializer>(duration: &Duration, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_u64(duration.as_millis() as u64)
}

/// Which devices a rule is for; every given part must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Selector {
    /// Only these kinds; empty is every kind.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<String>,
    /// None of these kinds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_kinds: Vec<String>,
    /// Only devices inside this division (prefix semantics of [`DivisionCode::covers`]). A device
    /// without a division is inside none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub division: Option<DivisionCode>,
    /// Only this device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
    /// Only devices that are in this fence now: those that move by their sightings, others by their place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fence: Option<Arc<str>>,
}

impl Selector {
    /// Whether a device with these properties is meant; `fences` are those that it is in.
    pub fn selects(
        &self,
        device: &DeviceId,
        kind: &str,
        division: Option<&DivisionCode>,
        fences: &[Arc<str>],
    ) -> bool {
        (self.kinds.is_empty() || self.kinds.iter().any(|k| k == kind))
            && !self.not_kinds.iter().any(|k| k == kind)
            && self.device.as_ref().is_none_or(|id| id == device)
            && self.fence.as_ref().is_none_or(|fence| fences.contains(fence))
            && match (&self.division, division) {
                (None, _) => true,
                (Some(own), Some(other)) => own.covers(other),
                (Some(_), None) => false,
            }
    }
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum When {
    /// The value is greater than `raise` (the border is not inside) and over when it is at most `clear`.
    Above(Threshold),
    /// The value is less than `raise` (the border is not inside) and over when it is at least `clear`.
    Below(Threshold),
    /// The quantity is in one of these states; over when it is in another.
    State {
        /// A quantity whose values are state codes.
        quantity: Quantity,
        /// Only this channel; `None` is each channel on its own.
        #[serde(rename = "ch", skip_serializing_if = "Option::is_none")]
        channel: Option<u16>,
        /// The codes that are wrong.
        is: Vec<u16>,
    },
    /// Nothing has come for longer than a time; it is over with the next reading.
    NoData {
        /// Of this quantity; `None` is the device as a whole.
        #[serde(skip_serializing_if = "Option::is_none")]
        quantity: Option<Quantity>,
        /// Of this channel; `None` is each channel on its own.
        #[serde(rename = "ch", skip_serializing_if = "Option::is_none")]
        channel: Option<u16>,
        /// How long.
        #[serde(rename = "for")]
        silence: Silence,
    },
    /// A device that moves is in a fence, its border included; over when it has left it.
    Inside {
        /// The fence's code.
        fence: Arc<str>,
    },
    /// A device that moves is not in a fence; over when it is back in it.
    Outside {
        /// The fence's code.
        fence: Arc<str>,
    },
    /// A forecast says that a limit will be crossed; over when it says so no more.
    Forecast(Prospect),
    /// The value lies outside of a band; over when it is back in the narrower one.
    OutOf(Band),
    /// The value has changed by more than an amount within a time.
    Change(Change),
    /// The value does not move though it is reported.
    Stuck(Stuck),
    /// What devices near by, or those named, say is another than this, or is the same.
    Neighbours(Neighbours),
    /// Every one of these.
    All(Vec<When>),
    /// At least one of these.
    Any(Vec<When>),
    /// Not this. What is not known stays not known.
    Not(Box<When>),
}

/// What a forecast is asked for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prospect {
    /// The limit of what is foreseen.
    #[serde(flatten)]
    pub limit: Threshold,
    /// Whether values above the limit are wrong, or those below.
    pub is_above: bool,
    /// How far ahead is looked.
    #[serde(rename = "within_ms", serialize_with = "ms")]
    pub within: Duration,
    /// Of the values that may come, the one that is not exceeded with this probability.
    pub quantile: f64,
    /// Whose forecasts.
    pub source: Arc<str>,
}

impl Prospect {
    /// Where a foreseen value stands to the limit.
    pub(crate) fn side(&self, value: f64) -> Side {
        let (beyond, back) = match self.is_above {
            true => (value > self.limit.raise, value <= self.limit.clear),
            false => (value < self.limit.raise, value >= self.limit.clear),
        };
        match (beyond, back) {
            (true, _) => Side::Beyond,
            (false, true) => Side::Back,
            (false, false) => Side::Between,
        }
    }
}

/// What the newest forecast says of a limit, and how those before it did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Outlook {
    /// The limit is crossed already.
    pub(crate) is_beyond: bool,
    /// How long until it is crossed, by the rule's quantile.
    pub(crate) crosses_in: Option<Duration>,
    /// When that is: what is told in minutes is read hours later.
    pub(crate) crosses_at: Option<Timestamp>,
    /// One in ten is earlier.
    pub(crate) earliest: Option<Duration>,
    /// One in ten is later; `None` when it may well not be crossed.
    pub(crate) latest: Option<Duration>,
    /// Forecasts here that foresaw a crossing, and it came in time.
    pub(crate) n_true: u32,
    /// And it did not.
    pub(crate) n_false: u32,
}

/// What was found of one fact of a rule that weighs several.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Finding {
    /// Whether it is so; `None` is not known.
    pub(crate) holds: Option<bool>,
    /// What was compared: the value, by how much it changed or differs, how many agree.
    pub(crate) amount: Option<f64>,
    /// How long nothing has come, where that is asked.
    pub(crate) silent_for: Option<Duration>,
    /// What it rests on, newest last.
    pub(crate) inputs: Vec<Input>,
}

/// A limit with hysteresis, in the quantity's canonical unit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Threshold {
    /// What is compared.
    pub quantity: Quantity,
    /// Only this channel; `None` is each channel on its own.
    #[serde(rename = "ch", skip_serializing_if = "Option::is_none")]
    pub channel: Option<u16>,
    /// Beyond this it is abnormal.
    pub raise: f64,
    /// Back to this it is normal again.
    pub clear: f64,
    /// Where both are others for each device, how; above are those of devices that nothing is said of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own: Option<Arc<Own>>,
    /// The stage that `raise` is, and the one that `clear` is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stages: Option<[StageLimit; 2]>,
}

/// A band with hysteresis, in the quantity's canonical unit. Its borders are inside.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Band {
    /// What is compared.
    pub quantity: Quantity,
    /// Only this channel; `None` is each channel on its own.
    #[serde(rename = "ch", skip_serializing_if = "Option::is_none")]
    pub channel: Option<u16>,
    /// Outside of these it is abnormal.
    pub raise: (f64, f64),
    /// Within these it is normal again.
    pub clear: (f64, f64),
}

/// Which way a value goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Upwards.
    Up,
    /// Downwards.
    Down,
    /// Either way.
    Either,
}

/// A change within a time: from the lowest (highest) value of that time to the last one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// What is compared.
    pub quantity: Quantity,
    /// Only this channel; `None` is each channel on its own.
    #[serde(rename = "ch", skip_serializing_if = "Option::is_none")]
    pub channel: Option<u16>,
    /// Within this time, by the readings' own times.
    #[serde(rename = "over_ms", serialize_with = "ms")]
    pub over: Duration,
    /// Which way.
    pub direction: Direction,
    /// More than this is abnormal, in the quantity's canonical unit.
    pub raise: f64,
    /// At most this is normal again.
    pub clear: f64,
}

/// A value that stands still.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stuck {
    /// What is compared.
    pub quantity: Quantity,
    /// Only this channel; `None` is each channel on its own.
    #[serde(rename = "ch", skip_serializing_if = "Option::is_none")]
    pub channel: Option<u16>,
    /// For this long, by the readings' own times.
    #[serde(rename = "for_ms", serialize_with = "ms")]
    pub time: Duration,
    /// Within a range of this width, in the quantity's canonical unit.
    pub within: f64,
    /// At these values standing still is normal (rain is 0 for weeks).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<f64>,
}

/// Which devices are looked at beside the one at hand.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Around {
    /// Those that the rule is for and that stand within so many metres (great circle), the nearest first.
    Within {
        /// Metres.
        metres: f64,
        /// At most so many of them.
        #[serde(skip_serializing_if = "Option::is_none")]
        nearest: Option<u16>,
    },
    /// These, whatever the rule is for: gauges upstream.
    Named(Vec<DeviceId>),
}

/// What is asked of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// The own value is further from the median of theirs than an amount.
    Differs {
        /// Which way.
        direction: Direction,
        /// More than this is abnormal, in the quantity's canonical unit.
        raise: f64,
        /// At most this is normal again.
        clear: f64,
    },
    /// With so many of them this is so as well.
    Agree(Box<When>),
}

/// A comparison with other devices.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Neighbours {
    /// What is compared.
    pub quantity: Quantity,
    /// Only this channel, of all of them; `None` is channel 0 of the others.
    #[serde(rename = "ch", skip_serializing_if = "Option::is_none")]
    pub channel: Option<u16>,
    /// Which devices.
    pub around: Around,
    /// So many of them at least must be known (`Differs`) or agree (`Agree`).
    pub at_least: u16,
    /// What is asked of them.
    pub asked: Asked,
}

/// How long a silence must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Silence {
    /// So many of the device's cadences; an unknown cadence counts as 200 seconds.
    Cadences(u16),
    /// A fixed time.
    #[serde(serialize_with = "ms")]
    Fixed(Duration),
}

impl Silence {
    /// The time for a device with this cadence (seconds, 0 is not known).
    pub fn length(self, cadence_s: u32) -> Duration {
        /// Three of these are the ten minutes after which a device of unknown cadence is silent.
        const UNKNOWN_CADENCE_S: u32 = 200;
        match self {
            Silence::Fixed(duration) => duration,
            Silence::Cadences(times) => {
                let cadence_s = if cadence_s == 0 {
                    UNKNOWN_CADENCE_S
                } else {
                    cadence_s
                };
                Duration::from_secs(u64::from(cadence_s) * u64::from(times))
            }
        }
    }
}

/// Where a limit comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clause {
    /// The clause in words, with the document's number.
    pub text: String,
    /// In force from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<Timestamp>,
    /// In force until.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_to: Option<Timestamp>,
}

/// What the alert's life needs to know of its rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RuleInfo {
    /// What the rule is called.
    pub name: Texts,
    /// What to do.
    pub advice: Texts,
    /// The limit in the quantity's canonical unit; `None` when the rule has none.
    pub threshold: Option<f64>,
}

impl When {
    /// The limit that raises, in the quantity's canonical unit, if it has one.
    pub fn threshold(&self) -> Option<f64> {
        match self {
            When::Above(t) | When::Below(t) => Some(t.raise),
            When::Forecast(asked) => Some(asked.limit.raise),
            When::Change(change) => Some(change.raise),
            When::Neighbours(Neighbours {
                asked: Asked::Differs { raise, .. },
                ..
            }) => Some(*raise),
            _ => None,
        }
    }
    /// The quantity it looks at, of several facts that of the first; `None` is the device as a whole.
    pub fn quantity(&self) -> Option<Quantity> {
        match self {
            When::Above(t) | When::Below(t) => Some(t.quantity),
            When::OutOf(band) => Some(band.quantity),
            When::Change(change) => Some(change.quantity),
            When::Stuck(stuck) => Some(stuck.quantity),
            When::Neighbours(asked) => Some(asked.quantity),
            When::Forecast(asked) => Some(asked.limit.quantity),
            When::State { quantity, .. } => Some(*quantity),
            When::NoData { quantity, .. } => *quantity,
            // Each place that a device says is looked at by its longitude.
            When::Inside { .. } | When::Outside { .. } => {
                Some(Quantity::named("longitude").expect("the dictionary has positions"))
            }
            When::All(parts) | When::Any(parts) => parts.first().and_then(When::quantity),
            When::Not(part) => part.quantity(),
        }
    }
    /// The one channel it looks at, of several facts that of the first; `None` is each.
    pub fn channel(&self) -> Option<u16> {
        match self {
            When::Above(t) | When::Below(t) => t.channel,
            When::OutOf(band) => band.channel,
            When::Change(change) => change.channel,
            When::Stuck(stuck) => stuck.channel,
            When::Neighbours(asked) => asked.channel,
            When::Forecast(asked) => asked.limit.channel,
            When::State { channel, .. } | When::NoData { channel, .. } => *channel,
            When::Inside { .. } | When::Outside { .. } => None,
            When::All(parts) | When::Any(parts) => parts.first().and_then(When::channel),
            When::Not(part) => part.channel(),
        }
    }
    /// The single facts of it, in the order in which they are written.
    pub fn facts(&self) -> Vec<&When> {
        match self {
            When::All(parts) | When::Any(parts) => parts.iter().flat_map(When::facts).collect(),
            When::Not(part) => part.facts(),
            fact => vec![fact],
        }
    }
    /// What it comes to, with the truth of each fact in the order of [`When::facts`]; `None` is what is not known
    /// (Kleene's logic of three values). `truths` is taken from its front.
    pub(crate) fn truth(&self, truths: &mut impl Iterator<Item = Option<bool>>) -> Option<bool> {
        let mut joined = |parts: &[When], ends_with: bool| {
            // Each part is asked, so that each takes its truths.
            let parts: Vec<Option<bool>> = parts.iter().map(|part| part.truth(truths)).collect();
            match parts.contains(&Some(ends_with)) {
                true => Some(ends_with),
                false if parts.contains(&None) => None,
                false => Some(!ends_with),
            }
        };
        match self {
            When::All(parts) => joined(parts, false),
            When::Any(parts) => joined(parts, true),
            When::Not(part) => part.truth(truths).map(|truth| !truth),
            _ => truths.next().flatten(),
        }
    }
    /// The fence whose inside or outside is wrong, if it is such a condition.
    pub(crate) fn fence(&self) -> Option<&Arc<str>> {
        match self {
            When::Inside { fence } | When::Outside { fence } => Some(fence),
            _ => None,
        }
    }
    /// Values, borders included, that raise nothing wherever the device stands; `None` when values alone do not tell.
    pub(crate) fn raises_nothing(&self) -> Option<(f64, f64)> {
        match self {
            When::Above(t) => Some((f64::NEG_INFINITY, t.raise)),
            When::Below(t) => Some((t.raise, f64::INFINITY)),
            When::OutOf(band) => Some(band.raise),
            When::NoData { .. } => Some((f64::NEG_INFINITY, f64::INFINITY)),
            _ => None,
        }
    }
    /// Where a device stands that is in some fences and has said a value; `None` when values do not tell.
    pub(crate) fn stands(&self, value: f64, fences: &[Arc<str>]) -> Option<Side> {
        let (fence, is_wrong_inside) = match self {
            When::Inside { fence } => (fence, true),
            When::Outside { fence } => (fence, false),
            _ => return self.side(value),
        };
        Some(match fences.contains(fence) == is_wrong_inside {
            true => Side::Beyond,
            false => Side::Back,
        })
    }
    /// Where a value stands: itself, or with `Change` and `Neighbours` by how much it has changed or differs; `None` when
    /// values do not tell.
    pub(crate) fn side(&self, value: f64) -> Option<Side> {
        let above = |raise: f64, clear: f64| (value > raise, value <= clear);
        let below = |t: &Threshold| (value < t.raise, value >= t.clear);
        let (beyond, back) = match self {
            When::Above(t) => above(t.raise, t.clear),
            When::Below(t) => below(t),
            When::Forecast(asked) => return Some(asked.side(value)),
            When::OutOf(band) => (
                value < band.raise.0 || value > band.raise.1,
                (band.clear.0..=band.clear.1).contains(&value),
            ),
            When::Change(change) => above(change.raise, change.clear),
            When::Neighbours(Neighbours {
                asked: Asked::Differs { raise, clear, .. },
                ..
            }) => above(*raise, *clear),
            When::State { is, .. } => {
                let met = is.iter().any(|code| f64::from(*code) == value);
                (met, !met)
            }
            _ => return None,
        };
        Some(match (beyond, back) {
            (true, _) => Side::Beyond,
            (false, true) => Side::Back,
            (false, false) => Side::Between,
        })
    }
}

impl Rule {
    /// The limit that raises, in the quantity's canonical unit, if the rule has one.
    pub fn threshold(&self) -> Option<f64> {
        self.when.threshold()
    }
    /// The quantity it looks at; `None` is the device as a whole.
    pub fn quantity(&self) -> Option<Quantity> {
        self.when.quantity()
    }
    /// The one channel it looks at; `None` is each.
    pub fn channel(&self) -> Option<u16> {
        self.when.channel()
    }
    /// What the alert's life needs to know.
    pub fn info(&self) -> RuleInfo {
        RuleInfo {
            name: self.name.clone(),
            advice: self.advice.clone(),
            threshold: self.threshold(),
        }
    }
    /// What it says, in one sentence.
    pub fn sentence(&self) -> Texts {
        crate::message::sentence(self)
    }
    /// The silence it waits for, if it is a `no_data` rule.
    pub(crate) fn silence(&self) -> Option<Silence> {
        match self.when {
            When::NoData { silence, .. } => Some(silence),
            _ => None,
        }
    }
    /// The fence whose inside or outside is wrong, if it is such a rule.
    pub(crate) fn fence(&self) -> Option<&Arc<str>> {
        self.when.fence()
    }
    /// What it asks of forecasts, if it is such a rule.
    pub fn looks_ahead(&self) -> Option<&Prospect> {
        match &self.when {
            When::Forecast(asked) => Some(asked),
            _ => None,
        }
    }
    /// What it asks of forecasts, in whatever is put together.
    pub(crate) fn forecasts(&self) -> impl Iterator<Item = &Prospect> {
        let facts = self.when.facts().into_iter();
        facts.filter_map(|fact| match fact {
            When::Forecast(asked) => Some(asked),
            _ => None,
        })
    }
    /// Whether more than the last value of one series is weighed: values over a time, of several series, or of several
    /// devices.
    pub fn is_weighed(&self) -> bool {
        matches!(
            self.when,
            When::Change(_)
                | When::Stuck(_)
                | When::Neighbours(_)
                | When::All(_)
                | When::Any(_)
                | When::Not(_)
        )
    }
    /// The fences that it asks for.
    pub(crate) fn fences(&self) -> impl Iterator<Item = &Arc<str>> {
        let facts = self.when.facts().into_iter().filter_map(When::fence);
        facts.chain(&self.applies_to.fence)
    }
    /// Where a device stands that is in some fences and has said a value; `None` when the rule waits for silence.
    pub(crate) fn stands(&self, value: f64, fences: &[Arc<str>]) -> Option<Side> {
        self.when.stands(value, fences)
    }
    /// Where a value stands; `None` when the rule does not compare values.
    pub(crate) fn side(&self, value: f64) -> Option<Side> {
        self.when.side(value)
    }
}

/// Where a value stands to a threshold with hysteresis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Past `raise`.
    Beyond,
    /// Neither: an open alert stays, a quiet rule stays quiet.
    Between,
    /// At or before `clear`.
    Back,
}
