//! A stream of a field protocol told line by line: each frame spelt out with its readings, each fault by name with
//! the byte at which it shows. The command line and the API both tell frames this way.
//!
//! Pure. Packets of one message are joined whatever their order: each has a line, and the line of the last one to come
//! has the whole message and its readings.

mod gbt26875;
mod held;
mod hj212;
mod sl651;

use std::str::FromStr;

use onemap_model::{Refusal, Source, Timestamp, Value};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::hj212::Key;
use crate::profile::{SENTINELS, Stamp};
use crate::{Message, Profile, Sample};

/// A protocol whose frames can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HJ 212, editions 2005, 2017 and 2025.
    Hj212,
    /// SL 651-2014, binary and ASCII.
    Sl651,
    /// GB/T 26875.3-2011.
    Gbt26875,
}

impl Protocol {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Hj212, Self::Sl651, Self::Gbt26875];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hj212 => "hj212",
            Self::Sl651 => "sl651",
            Self::Gbt26875 => "gbt26875",
        }
    }

    /// The protocol whose frames come through a door; `None` where no field protocol does.
    pub fn of(source: Source) -> Option<Self> {
        match source {
            Source::Hj212 => Some(Self::Hj212),
            Source::Sl651 => Some(Self::Sl651),
            Source::Gbt26875 => Some(Self::Gbt26875),
            Source::Mqtt | Source::Http | Source::Import | Source::Modbus => None,
        }
    }
}

/// A name that is none of a protocol that is built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownProtocol {
    /// It is to come.
    #[error("`{0}` is not built yet; there are hj212, sl651 and gbt26875")]
    NotBuilt(String),
    /// It is none.
    #[error("no protocol is called `{0}`; there are hj212, sl651 and gbt26875")]
    Unknown(String),
}

impl FromStr for Protocol {
    type Err = UnknownProtocol;
    fn from_str(text: &str) -> Result<Self, UnknownProtocol> {
        match Self::ALL.into_iter().find(|protocol| protocol.name() == text) {
            Some(protocol) => Ok(protocol),
            None if text == "sparkplug" => Err(UnknownProtocol::NotBuilt(text.to_owned())),
            None => Err(UnknownProtocol::Unknown(text.to_owned())),
        }
    }
}

/// What is known beside the bytes.
#[derive(Clone, Debug)]
pub struct Given {
    /// When the bytes came. GB/T 26875.3 tells binary from BCD times by it.
    pub received_at: Timestamp,
    /// The sender's profile: units, codes of its own, stamps, sentinels.
    pub profile: Option<Profile>,
    /// Open encrypted HJ 212 of 2025; tried in their order.
    pub keys: Vec<Key>,
}

impl Given {
    /// Only when the bytes came.
    pub fn at(received_at: Timestamp) -> Self {
        Self {
            received_at,
            profile: None,
            keys: Vec::new(),
        }
    }
}

/// One frame, or bytes that are none.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Line {
    /// It is a frame, and all of it can be read.
    pub ok: bool,
    /// Byte of the stream, from 0: where a frame starts, or where a fault shows.
    pub at: u64,
    /// Where the bytes of a fault start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// How many bytes the frame or the fault has.
    pub bytes: usize,
    /// Stable name of what is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'static str>,
    /// The same in words. Offsets in it count from the first byte of the frame or, in HJ 212, of its data segment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The frame spelt out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame: Option<Box<RawValue>>,
    /// The message that this packet made whole, spelt out; or what came of one that did not become whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Box<RawValue>>,
    /// Numbers of the packets that did not come; this is the last one that did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<Vec<u32>>,
    /// A packet that was there before.
    #[serde(skip_serializing_if = "is_false")]
    pub duplicate: bool,
    /// What was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readings: Option<Vec<Told>>,
    /// What of it could not be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<ToldRefusal>,
    /// Parts that were understood and give no reading, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<&'static str>,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// One reading, before admission: nothing is known of the register, of ranges and of earlier values.
#[derive(Clone, Debug, Serialize)]
pub struct Told {
    /// Whose, as the frame names it.
    pub device: String,
    /// What it measures.
    pub quantity: &'static str,
    /// Which of several alike.
    pub ch: u16,
    /// The end of its period; absent when the frame has no time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured_at: Option<Timestamp>,
    /// Its period in seconds; absent for an instant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period_s: Option<u64>,
    /// In the unit.
    pub value: Value,
    /// The quantity's own.
    pub unit: &'static str,
    /// Marks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub quality: Vec<&'static str>,
}

/// A value that is no reading.
#[derive(Clone, Debug, Serialize)]
pub struct ToldRefusal {
    /// Whose, as the frame names it.
    pub device: String,
    /// Why, by name.
    pub reason: Refusal,
    /// What exactly.
    pub detail: String,
}

impl Line {
    fn frame(at: u64, bytes: usize, view: &impl Serialize) -> Self {
        Self {
            ok: true,
            at,
            bytes,
            frame: raw(view),
            ..Self::default()
        }
    }

    /// Text that should be hexadecimal and is not, in front of byte `at`.
    pub fn not_hex(at: u64, detail: String) -> Self {
        Self::fault(at, 0, 0, "not_hex", detail)
    }

    fn fault(from: u64, at: usize, bytes: usize, error: &'static str, detail: String) -> Self {
        Self {
            at: from + at as u64,
            from: Some(from),
            bytes,
            error: Some(error),
            detail: Some(detail),
            ..Self::default()
        }
    }

    /// Adds what a device said.
    fn say(&mut self, device: &str, message: Message, profile: Option<&Profile>) {
        let readings = self.readings.get_or_insert_default();
        for sample in &message.samples {
            match told(device, sample, profile) {
                Ok(told) => readings.push(told),
                Err((reason, detail)) => self.refused.push(ToldRefusal {
                    device: device.to_owned(),
                    reason,
                    detail,
                }),
            }
        }
        let refused = message.refused.into_iter().map(|refused| ToldRefusal {
            device: device.to_owned(),
            reason: refused.refusal,
            detail: refused.detail,
        });
        self.refused.extend(refused);
        self.unread.extend(message.unread);
    }
}

/// A view as JSON, its members in their order.
fn raw(view: &impl Serialize) -> Option<Box<RawValue>> {
    // A view is a map of text keys, which JSON always writes.
    to_raw_value(view).ok()
}

/// A sample as admission reads it: the end of its period, and in the quantity's unit.
fn told(device: &str, sample: &Sample, profile: Option<&Profile>) -> Result<Told, (Refusal, String)> {
    let quantity = sample.quantity;
    let value = match &sample.value {
        Value::Number(raw) => {
            let is_sentinel = profile.map_or_else(|| SENTINELS.contains(raw), |own| own.is_sentinel(*raw));
            if is_sentinel {
                return Err((Refusal::Sentinel, format!("{} is {raw}", quantity.name())));
            }
            let number = sample.scaling.apply(quantity, *raw).ok_or_else(|| {
                let unit = sample.scaling.unit.unwrap_or_default();
                let detail = format!("{} is not given in `{unit}`", quantity.name());
                (Refusal::UnknownUnit, detail)
            })?;
            Value::Number(number)
        }
        text => text.clone(),
    };
    let period = sample
        .period
        .unwrap_or_else(|| profile.map_or_else(Default::default, |own| own.period));
    let measured_at = sample.measured_at.map(|stamp| match period.stamp {
        Stamp::Start => stamp + period.length,
        Stamp::End => stamp,
    });
    let period_s = period.length.as_secs();
    Ok(Told {
        device: device.to_owned(),
        quantity: quantity.name(),
        ch: sample.channel,
        measured_at,
        period_s: (period_s > 0).then_some(period_s),
        value,
        unit: &quantity.definition().unit,
        quality: sample.quality.names().collect(),
    })
}

#[derive(Debug)]
enum Stream {
    Hj212(hj212::Stream),
    Sl651(sl651::Stream),
    Gbt26875(gbt26875::Stream),
}

/// Tells one stream.
#[derive(Debug)]
pub struct Speller {
    given: Given,
    stream: Stream,
}

impl Speller {
    /// A stream from its first byte.
    pub fn new(protocol: Protocol, given: Given) -> Self {
        let stream = match protocol {
            Protocol::Hj212 => Stream::Hj212(hj212::Stream::default()),
            Protocol::Sl651 => Stream::Sl651(sl651::Stream::default()),
            Protocol::Gbt26875 => Stream::Gbt26875(gbt26875::Stream::default()),
        };
        Self { given, stream }
    }

    /// Takes the next bytes and gives the lines that are certain by now, in the order of the stream. A packet's line, and
    /// what follows it, waits until its message is whole or will not be.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Line> {
        match &mut self.stream {
            Stream::Hj212(stream) => stream.push(bytes, &self.given),
            Stream::Sl651(stream) => stream.push(bytes, &self.given),
            Stream::Gbt26875(stream) => stream.push(bytes, &self.given),
        }
    }

    /// Gives the lines of what is left when the stream has ended.
    pub fn end(&mut self) -> Vec<Line> {
        match &mut self.stream {
            Stream::Hj212(stream) => stream.end(&self.given),
            Stream::Sl651(stream) => stream.end(&self.given),
            Stream::Gbt26875(stream) => stream.end(&self.given),
        }
    }
}

/// Tells bytes that are all there is of a stream.
///
/// ```
/// # use onemap_wire::spelt::{Given, Protocol, spell};
/// # use onemap_model::Timestamp;
/// let given = Given::at(Timestamp::from_ms(0));
/// let lines = spell(Protocol::Gbt26875, b"@@ and no more", given);
/// assert_eq!((lines[0].error, lines[0].at), (Some("truncated"), 14));
/// ```
pub fn spell(protocol: Protocol, bytes: &[u8], given: Given) -> Vec<Line> {
    let mut speller = Speller::new(protocol, given);
    let mut lines = speller.push(bytes);
    lines.extend(speller.end());
    lines
}

/// Line ends and blanks between frames are no fault.
fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_whitespace)
}

#[cfg(test)]
mod tests;
