//! What one frame said, before anything is admitted.

use onemap_model::{Quality, Quantity, Refusal, Timestamp, Value};

use crate::profile::Period;

/// How a raw value becomes a canonical one: `raw * scale + offset`, then from `unit` to the quantity's
/// own unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scaling {
    /// Multiplied first.
    pub scale: f64,
    /// Added then.
    pub offset: f64,
    /// The unit after that; `None` is the canonical unit.
    pub unit: Option<&'static str>,
}

impl Scaling {
    /// The value is canonical as it stands.
    pub const NONE: Scaling = Scaling {
        scale: 1.0,
        offset: 0.0,
        unit: None,
    };

    /// The canonical value. `None` when the quantity does not know the unit, which a checked profile
    /// rules out.
    pub fn apply(&self, quantity: Quantity, raw: f64) -> Option<f64> {
        let number = if self.scale == 1.0 && self.offset == 0.0 {
            raw
        } else {
            raw * self.scale + self.offset
        };
        match self.unit {
            None => Some(number),
            Some(unit) => quantity.convert(number, unit),
        }
    }
}

/// One value as the device gave it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// What it measures.
    pub quantity: Quantity,
    /// Which of several alike sensors, from 0.
    pub channel: u16,
    /// The device's own stamp; which end of the period it marks, `period` says, else the profile.
    pub measured_at: Option<Timestamp>,
    /// The period as the frame itself tells it (HJ 212 and SL 651 do); it stands over the profile's.
    pub period: Option<Period>,
    /// Marks that the device gives its value; admission adds its own.
    pub quality: Quality,
    /// The raw value: sentinels are still in it, the unit is still the device's.
    pub value: Value,
    /// How the raw value becomes canonical.
    pub scaling: Scaling,
    /// The sender says that it sent this before or late.
    pub resent: bool,
    /// Spool number of the sender, for the receipt.
    pub seq: Option<u64>,
}

impl Sample {
    /// A canonical number without stamp or number.
    pub fn new(quantity: Quantity, channel: u16, number: f64) -> Self {
        Self {
            quantity,
            channel,
            measured_at: None,
            period: None,
            quality: Quality::GOOD,
            value: Value::Number(number),
            scaling: Scaling::NONE,
            resent: false,
            seq: None,
        }
    }
}

/// Something that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why, by name.
    pub refusal: Refusal,
    /// What exactly, for the one who repairs it; at most a few hundred characters.
    pub detail: String,
    /// Which of the payload's rows, from 0, where it is a list of native readings and it is one row's fault.
    pub row: Option<u32>,
}

impl Refused {
    /// Longest foreign text that is quoted in a detail, in characters.
    pub const QUOTED: usize = 64;

    /// A refusal with its detail.
    pub fn new(refusal: Refusal, detail: impl Into<String>) -> Self {
        Self {
            refusal,
            detail: detail.into(),
            row: None,
        }
    }
}

/// What one frame said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    /// What could be read.
    pub samples: Vec<Sample>,
    /// What could not.
    pub refused: Vec<Refused>,
    /// Parts that were understood and give no reading, by name: so that what is acknowledged is either a reading, refused,
    /// or counted.
    pub unread: Vec<&'static str>,
    /// The sender's spool, when it wants a receipt.
    pub epoch: Option<u64>,
    /// Every spool number that was seen, also of refused readings: they are in the journal, so the
    /// receipt names them. In the order of the message, repeats next to each other left out.
    pub seqs: Vec<u64>,
    /// It came as CBOR, so its receipt goes as CBOR.
    pub is_cbor: bool,
    /// What the sender's clock showed when it sent this, when the message says so.
    pub sent_at: Option<Timestamp>,
}

impl Message {
    /// A message of which nothing could be read.
    pub fn refused(refusal: Refusal, detail: impl Into<String>) -> Self {
        Self {
            refused: vec![Refused::new(refusal, detail)],
            ..Self::default()
        }
    }
}

/// Foreign text for a detail: cut to [`Refused::QUOTED`] characters, control characters escaped.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted: String = text
        .chars()
        .take(Refused::QUOTED)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(Refused::QUOTED).is_some() {
        quoted.push('…');
    }
    quoted
}
