//! Callbacks of operators' platforms (NB-IoT): where in a foreign message device, time and payload stand.
//!
//! ```yaml
//! version: 1
//! name: {zh: 电信 AEP, en: CTWing AEP}
//! check: {kind: hmac_sha256, header: X-Signature, encoding: hex}
//! secret_file: ctwing.secret       # beside this file; or secret_env: NAME. Never journaled
//! list: $.messages                 # several messages in one call; without it the body is one
//! only: {path: $.messageType, values: [dataReport]}
//! device: $.deviceId
//! device_prefix: nb-
//! time: $.timestamp                # ms or s since 1970, RFC 3339, or 20151212T121212Z
//! payload: {path: $.payload.APPdata, encoding: base64}
//! profile: nb-level                # otherwise the device's own
//! answer: {status: 200, type: application/json, body: '{"code":0}'}
//! ```
//! `kind` is `header` (the secret stands in a header), `basic`, `hmac_sha256` or `hmac_sha1` (over the body) or
//! `onenet` (base64 of MD5 over secret, `nonce` and `msg`). The payload, once decoded, is telemetry as devices
//! send it themselves, or native readings in CBOR; its own stamps come before the platform's.

mod path;
mod source;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use onemap_model::{ProfileId, Refusal, Timestamp};
use serde_json::Value;

use crate::message::quoted;
use crate::{Message, Profile, Refused, hex, native, thingsboard};

pub use path::Path;
pub use source::SourceError;

/// Path before the source's name.
pub const PUSH: &str = "/push/";
/// The topic under which one message of a call is kept: the source and the platform's time.
pub fn part_topic(source: &str, at: Option<Timestamp>) -> String {
    let at = at.map(|at| at.ms().to_string()).unwrap_or_default();
    format!("{PUSH}{source}?at={at}")
}

/// The source and the platform's time of a topic of [`part_topic`]; `None` for any other.
pub fn of_part_topic(topic: &str) -> Option<(&str, Option<Timestamp>)> {
    let (source, at) = topic.strip_prefix(PUSH)?.split_once("?at=")?;
    match at {
        "" => Some((source, None)),
        at => Some((source, Some(Timestamp::from_ms(at.parse().ok()?)))),
    }
}

/// Most messages of one call.
pub const MAX_MESSAGES: usize = 10_000;

/// How a call shows that it is the source's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// The secret stands in a header.
    Header {
        /// The header, lower case.
        header: String,
    },
    /// HTTP basic authentication.
    Basic {
        /// The user.
        user: String,
    },
    /// A keyed hash over the body stands in a header.
    Hmac {
        /// Which hash.
        hash: Hash,
        /// The header, lower case.
        header: String,
        /// How it is written.
        is_hex: bool,
        /// What stands before it, like `sha256=`.
        prefix: String,
    },
    /// `signature` in the body (or, at verification, the query) is base64 of MD5 over secret, `nonce`, `msg`.
    OneNet,
}

/// A hash function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Hash {
    Sha256,
    Sha1,
}

/// How the payload stands in the message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Encoding {
    /// As JSON, or as a text of JSON.
    #[default]
    Json,
    Base64,
    Hex,
}

/// What a call is answered with once it is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status, 200 to 299.
    pub status: u16,
    /// Its content type.
    pub content_type: String,
    /// Its body.
    pub body: String,
}

/// Where a secret is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretAt {
    /// A file beside the source's.
    File(String),
    /// An environment variable.
    Environment(String),
}

/// A checked source.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Its id: the file name without its extension.
    pub id: ProfileId,
    /// How calls are checked.
    pub check: Check,
    /// Where the secret is.
    pub secret: SecretAt,
    /// Query parameter that a GET is answered with.
    pub echo: String,
    list: Option<Path>,
    only: Option<(Path, Vec<String>)>,
    device: Path,
    device_prefix: String,
    time: Option<Path>,
    payload: Path,
    encoding: Encoding,
    /// Profile in place of the device's own.
    pub profile: Option<ProfileId>,
    /// Lines of the file that name the secret and the profile (0 without one), for who checks them.
    pub lines: (u64, u64),
    /// What a call is answered with.
    pub answer: Answer,
}

/// One message of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Pushed {
    /// The device it is of, as onemap names it.
    pub device: String,
    /// The platform's time.
    pub at: Option<Timestamp>,
    /// What the device sent.
    pub payload: Vec<u8>,
}

impl Source {
    /// The messages of a call in their order; what is wrong with one does not cost the others.
    ///
    /// # Errors
    /// When the body is no JSON, or nothing stands where the list should.
    pub fn messages(&self, body: &[u8]) -> Result<Vec<Result<Pushed, Refused>>, Refused> {
        let body: Value = serde_json::from_slice(body)
            .map_err(|error| Refused::new(Refusal::BrokenJson, error.to_string()))?;
        let wrong = |detail: &str| Refused::new(Refusal::WrongShape, detail);
        let messages = match &self.list {
            None => vec![body],
            Some(list) => match list.find(&body) {
                Some(Value::Array(messages)) => messages,
                _ => return Err(wrong("no array stands where `list` points")),
            },
        };
        if messages.len() > MAX_MESSAGES {
            return Err(wrong("more than 10000 messages in one call"));
        }
        let wanted = messages.iter().filter(|message| self.is_wanted(message));
        Ok(wanted.map(|message| self.message(message)).collect())
    }

    fn is_wanted(&self, message: &Value) -> bool {
        let Some((path, values)) = &self.only else {
            return true;
        };
        let found = match path.find(message) {
            Some(Value::String(text)) => text,
            Some(other) => other.to_string(),
            None => return false,
        };
        values.contains(&found)
    }

    fn message(&self, message: &Value) -> Result<Pushed, Refused> {
        let wrong = |detail: String| Refused::new(Refusal::WrongShape, detail);
        let device = match self.device.find(message) {
            Some(Value::String(text)) => text,
            Some(Value::Number(number)) => number.to_string(),
            _ => return Err(wrong("no name stands where `device` points".to_owned())),
        };
        let device = format!("{}{device}", self.device_prefix);
        let of = |detail: &str| wrong(format!("device `{}`: {detail}", quoted(&device)));
        let at = match self.time.as_ref().map(|time| time.find(message)) {
            None | Some(None | Some(Value::Null)) => None,
            Some(Some(time)) => Some(timestamp(&time).ok_or_else(|| of("its time cannot be read"))?),
        };
        let payload = match (self.payload.find(message), self.encoding) {
            (None | Some(Value::Null), _) => return Err(of("nothing stands where `payload` points")),
            (Some(Value::String(text)), Encoding::Json) => text.into_bytes(),
            (Some(json), Encoding::Json) => json.to_string().into_bytes(),
            (Some(Value::String(text)), Encoding::Base64) => STANDARD
                .decode(text.trim())
                .map_err(|_| of("its payload is not base64"))?,
            (Some(Value::String(text)), Encoding::Hex) => {
                hex::read(text.trim().as_bytes()).map_err(|_| of("its payload is not hexadecimal"))?
            }
            _ => return Err(of("its payload is not a text")),
        };
        Ok(Pushed { device, at, payload })
    }
}

impl Pushed {
    /// What the device said. Values without a stamp of their own get the platform's.
    pub fn decode(&self, profile: Option<&Profile>) -> Message {
        let mut message = if crate::cbor::is_cbor(&self.payload) {
            native::decode(&self.payload)
        } else {
            thingsboard::telemetry(&self.payload, profile)
        };
        for sample in &mut message.samples {
            sample.measured_at = sample.measured_at.or(self.at);
        }
        message
    }
}

/// Seconds end where milliseconds of 1973 begin.
const MAX_SECONDS: i64 = 100_000_000_000;

fn timestamp(value: &Value) -> Option<Timestamp> {
    let of_number = |n: i64| {
        let is_seconds = n.abs() < MAX_SECONDS;
        Timestamp::from_ms(if is_seconds { n * 1000 } else { n })
    };
    match value {
        Value::Number(n) => n.as_i64().map(of_number),
        Value::String(text) => {
            if let Ok(n) = text.parse() {
                return Some(of_number(n));
            }
            if let Ok(at) = Timestamp::parse(text) {
                return Some(at);
            }
            // ISO 8601 basic, as Huawei IoTDA writes its event times.
            let digits = text.strip_suffix('Z').filter(|t| t.is_ascii() && t.len() == 15)?;
            let part = |range: std::ops::Range<usize>| &digits[range];
            let extended = format!(
                "{}-{}-{}T{}:{}:{}Z",
                part(0..4),
                part(4..6),
                part(6..8),
                part(9..11),
                part(11..13),
                part(13..15)
            );
            Timestamp::parse(&extended).ok().filter(|_| &digits[8..9] == "T")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
