//! What the journal holds: typed records and their bytes.
//!
//! A record in the log is a kind byte and a body. Frames are binary, because there are many and their
//! payload must come out without a copy; everything else is JSON, because it is rare and an auditor
//! must be able to read it with stock tools.

use serde::{Deserialize, Serialize};

use crate::{
    Account, AccountId, Act, AttributeScope, CommandRecord, Device, DeviceId, DivisionCode, Entity,
    EntityKind, Forecast, Hydrology, Person, ProfileId, Refusal, Role, SealedPerson, Subject, Timestamp,
};

/// Kind byte of a [`Frame`].
pub const KIND_FRAME: u8 = 1;
/// Kind byte of a [`Register`].
pub const KIND_REGISTER: u8 = 2;
/// Kind byte of a [`RuleFile`].
pub const KIND_RULE: u8 = 3;
/// Kind byte of an [`Act`].
pub const KIND_ACT: u8 = 4;
/// Kind byte of [`Forecast`]s as they were issued.
pub const KIND_FORECAST: u8 = 5;
/// Kind byte of a tick.
pub const KIND_TICK: u8 = 6;
/// Kind byte of an MQTT session change.
pub const KIND_SESSION: u8 = 7;
/// Kind byte of a [`CommandRecord`].
pub const KIND_COMMAND: u8 = 8;

/// Kind byte of a [`Readmission`].
pub const KIND_READMISSION: u8 = 16;
/// Kind byte of a [`RefusedFrame`].
pub const KIND_REFUSED: u8 = 17;
/// Kind byte of a [`SegmentDigest`].
pub const KIND_SEGMENT: u8 = 18;

/// Kinds that are kept beyond the retention of frames, so that a replay of a shortened journal still
/// starts from the whole register, every rule, every act and every command, and has the same audit.
pub const LASTING_KINDS: &[u8] = &[KIND_REGISTER, KIND_RULE, KIND_ACT, KIND_COMMAND, KIND_SEGMENT];

/// The digest of a closed segment of the journal, so that who changes, drops or adds a record in it later is found out.
///
/// SHA-256 over each record in order: its position (8 bytes, little endian), its kind byte, the number of its bytes
/// (4 bytes, little endian) and these. How the segment lies on disk, packed or not, does not matter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentDigest {
    /// When it was made.
    pub at: Timestamp,
    /// Position of its first record.
    pub first: u64,
    /// Position of its last.
    pub last: u64,
    /// Bytes of all bodies.
    pub bytes: u64,
    /// The digest, hexadecimal.
    pub sha256: String,
}

/// Where bytes came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
#[repr(u8)]
pub enum Source {
    Mqtt = 1,
    Http = 2,
    Import = 3,
    Modbus = 4,
    Hj212 = 5,
    Sl651 = 6,
    Gbt26875 = 7,
}

impl Source {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Mqtt,
            2 => Self::Http,
            3 => Self::Import,
            4 => Self::Modbus,
            5 => Self::Hj212,
            6 => Self::Sl651,
            7 => Self::Gbt26875,
            _ => return None,
        })
    }
    /// Stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Http => "http",
            Self::Import => "import",
            Self::Modbus => "modbus",
            Self::Hj212 => "hj212",
            Self::Sl651 => "sl651",
            Self::Gbt26875 => "gbt26875",
        }
    }
}

/// Raw bytes as they came, and what the listener knew about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// When they arrived.
    pub received_at: Timestamp,
    /// Through which door.
    pub source: Source,
    /// Set when the listener already refused them (foreign topic, over size): they only go to the
    /// quarantine.
    pub refused: Option<Refusal>,
    /// MQTT QoS of the publish; 0 for everything else.
    pub qos: u8,
    /// MQTT: the message stays on its topic for later subscribers.
    pub retain: bool,
    /// The authenticated device; empty when nobody was authenticated.
    pub device: &'a str,
    /// Address of the peer.
    pub peer: &'a str,
    /// MQTT topic, HTTP path, import file name.
    pub topic: &'a str,
    /// The bytes.
    pub payload: &'a [u8],
}

/// Why a record's bytes cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The kind byte is from a newer version or damaged.
    #[error("journal record has kind {0}, which this version does not know")]
    Kind(u8),
    /// The body ends early.
    #[error("journal frame of {0} bytes ends early")]
    Short(usize),
    /// A field holds an impossible value.
    #[error("journal frame has an impossible {0}")]
    Field(&'static str),
    /// A JSON body does not fit its kind.
    #[error("journal record of kind {kind} is not readable")]
    Json {
        /// The kind byte.
        kind: u8,
        /// What JSON said.
        #[source]
        source: serde_json::Error,
    },
}

impl<'a> Frame<'a> {
    /// Appends the body's bytes to `out`: received_at i64 LE, source u8
    /// (bits 0-4; bits 5-6 the QoS, bit 7 retain), refusal u8 (0 none, else
    /// index + 1 in [`Refusal::ALL`]), three texts each u16 LE length + UTF-8, then the payload.
    /// Texts over 65,535 bytes are cut at a character border (topics cannot be longer in MQTT).
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.received_at.ms().to_le_bytes());
        out.push(self.source as u8 | (self.qos & 3) << 5 | u8::from(self.retain) << 7);
        let refused = self
            .refused
            .and_then(|r| Refusal::ALL.iter().position(|other| *other == r));
        out.push(refused.map_or(0, |i| i as u8 + 1));
        for text in [self.device, self.peer, self.topic] {
            put_text(out, text);
        }
        out.extend_from_slice(self.payload);
    }

    /// Reads what [`Frame::encode`] wrote, without copying.
    ///
    /// # Errors
    /// When the body ends early or a field is impossible.
    pub fn decode(body: &'a [u8]) -> Result<Self, RecordError> {
        let short = || RecordError::Short(body.len());
        let (head, mut rest) = body.split_at_checked(10).ok_or_else(short)?;
        let received_at = i64::from_le_bytes(head[..8].try_into().expect("eight of ten bytes"));
        let source = Source::from_byte(head[8] & 0x1F).ok_or(RecordError::Field("source"))?;
        let refused = match head[9] {
            0 => None,
            n => Some(
                *Refusal::ALL
                    .get(usize::from(n) - 1)
                    .ok_or(RecordError::Field("refusal"))?,
            ),
        };
        let mut next = || text(&mut rest, short);
        let (device, peer, topic) = (next()?, next()?, next()?);
        let received_at = Timestamp::from_ms(received_at);
        Ok(Self {
            received_at,
            source,
            refused,
            qos: head[8] >> 5 & 3,
            retain: head[8] & 0x80 != 0,
            device,
            peer,
            topic,
            payload: rest,
        })
    }
}

/// A text with its length before it, cut at a character border when it is over 65,535 bytes.
fn put_text(out: &mut Vec<u8>, text: &str) {
    let mut end = text.len().min(usize::from(u16::MAX));
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    out.extend_from_slice(&(end as u16).to_le_bytes());
    out.extend_from_slice(&text.as_bytes()[..end]);
}

fn text<'a>(rest: &mut &'a [u8], short: impl Fn() -> RecordError) -> Result<&'a str, RecordError> {
    let (length, after) = rest.split_at_checked(2).ok_or_else(&short)?;
    let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
    let (text, after) = after.split_at_checked(length).ok_or_else(&short)?;
    *rest = after;
    std::str::from_utf8(text).map_err(|_| RecordError::Field("text"))
}

/// Which devices may register themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProvisioningStrategy {
    /// Those that the register does not know: they are created.
    New,
    /// Those that are registered and have no token, each once.
    Known,
}

fn no_seconds(n: &u32) -> bool {
    *n == 0
}

/// A change of the register.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "register", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Register {
    /// A device is new or changed; the whole new state.
    Device {
        /// The device.
        device: Device,
    },
    /// A gateway's child that its gateway's own frame made known; takes nothing when a device of this id is
    /// registered already.
    Adopted {
        /// The device.
        device: Device,
    },
    /// A device gets a token; the old one ends, at once or after a grace.
    DeviceToken {
        /// The device.
        device: DeviceId,
        /// SHA-256 of the token, hexadecimal.
        sha256: String,
        /// Seconds that the former token still opens; 0 ends it at once.
        #[serde(default, skip_serializing_if = "no_seconds")]
        grace_s: u32,
        /// When it ends by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires: Option<Timestamp>,
    },
    /// A device's tokens end, also one in its grace, and nothing else (a certificate, a profile's key) lets it
    /// in until it is admitted or given a token.
    DeviceTokenRevoked {
        /// The device.
        device: DeviceId,
    },
    /// A device whose tokens were revoked may come in again.
    DeviceAdmitted {
        /// The device.
        device: DeviceId,
    },
    /// Devices may register themselves with this profile's key and secret; the former ones end.
    Provisioning {
        /// The profile.
        profile: ProfileId,
        /// The key, not secret.
        key: String,
        /// SHA-256 of the secret, hexadecimal.
        sha256: String,
        /// Who may.
        strategy: ProvisioningStrategy,
    },
    /// Devices may no longer register themselves with this profile.
    ProvisioningEnded {
        /// The profile.
        profile: ProfileId,
    },
    /// An entity is new or changed; the whole new state.
    Entity {
        /// The entity.
        entity: Box<Entity>,
    },
    /// An entity is gone.
    EntityRemoved {
        /// Its kind.
        kind: EntityKind,
        /// Its code.
        code: String,
    },
    /// A person is known by pseudonym, or known to be elsewhere; in clear, as journals of before have it.
    Person {
        /// Pseudonym, last four and grid cell.
        person: Box<Person>,
    },
    /// As [`Register::Person`], sealed: the only form in which one is written.
    PersonSealed {
        /// The person.
        person: Box<SealedPerson>,
    },
    /// As [`Register::PersonSealed`], stated by somebody who has a part of the city. When the person is another's, what is
    /// known stays, and who stated it is kept. Both take the same room, so that the journal's size does not tell which it was.
    PersonStated {
        /// The person.
        person: Box<SealedPerson>,
        /// Who stated it.
        by: String,
        /// 1 when the person is another's, else 0.
        is_anothers: u8,
    },
    /// A profile file is new or changed.
    Profile {
        /// File name without extension.
        id: ProfileId,
        /// Its text, YAML.
        text: String,
    },
    /// Attributes of a device are set or taken away.
    Attributes {
        /// The device.
        device: DeviceId,
        /// Whose they are: shared or server ones.
        scope: AttributeScope,
        /// New values.
        #[serde(default)]
        set: serde_json::Map<String, serde_json::Value>,
        /// Keys that go.
        #[serde(default)]
        deleted: Vec<String>,
    },
    /// What is known of a device as a hydrological station; the whole new state.
    Hydrology {
        /// The device.
        device: DeviceId,
        /// `None` when nothing is known any more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hydrology: Option<Box<Hydrology>>,
    },
    /// A push source is new, changed or (empty text) gone.
    Source {
        /// File name without extension.
        id: ProfileId,
        /// Its text, YAML; secrets stand elsewhere.
        text: String,
    },
    /// A bearer token for people and machines.
    AccessToken {
        /// What it is called.
        name: String,
        /// SHA-256 of the token, hexadecimal.
        sha256: String,
        /// Its role.
        role: Role,
        /// Its division.
        #[serde(default)]
        division: Option<DivisionCode>,
        /// Its departments; empty is all.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        departments: Vec<String>,
        /// When it ends by itself; `None` is never.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires: Option<Timestamp>,
    },
    /// A bearer token ends, and the sessions that it opened.
    AccessTokenRevoked {
        /// SHA-256 of the token, hexadecimal.
        sha256: String,
    },
    /// An account is new or changed; the whole new state.
    Account {
        /// The account.
        account: Box<Account>,
    },
    /// Whoever has a link may set the account's password and second factor, once; a former link ends.
    AccountInvited {
        /// The account.
        id: AccountId,
        /// SHA-256 of the link's key, hexadecimal.
        sha256: String,
        /// Until when.
        expires: Timestamp,
    },
    /// An account has another password; its link and its sessions end.
    AccountPassword {
        /// The account.
        id: AccountId,
        /// Hash of the password as a PHC string (argon2id).
        hash: String,
    },
    /// An account has another second factor, or none; its sessions end.
    AccountSecond {
        /// The account.
        id: AccountId,
        /// The secret of its one-time passwords (RFC 6238), sealed with the data folder's key; `None` when there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sealed: Option<String>,
    },
    /// A provider of OpenID Connect speaks for an account's holder, or does no longer. Whom it speaks of is one account's
    /// alone: the one that had the subject before has none.
    AccountSubject {
        /// The account.
        id: AccountId,
        /// Whom the provider speaks of; `None` when nobody does any more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subject: Option<Subject>,
    },
    /// An account's sessions end.
    AccountLoggedOut {
        /// The account.
        id: AccountId,
    },
    /// An account is gone.
    AccountGone {
        /// The account.
        id: AccountId,
    },
}

/// A file of rules, new, changed or (empty text) removed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleFile {
    /// File name without extension.
    pub name: String,
    /// YAML; empty when the file is gone.
    pub text: String,
}

/// A change of an MQTT session that must be durable before its answer.
///
/// A session is named by its device (empty for an anonymous client) and its client id; an empty client id
/// is one of a record from before sessions were kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "session", rename_all = "snake_case")]
#[non_exhaustive]
#[allow(
    missing_docs,
    reason = "`device` and `client` name the session in every variant"
)]
pub enum Session {
    /// A session begins that outlives its connection.
    Opened { device: String, client: String },
    /// It ends: a clean session took its place, or it was away for too long.
    Ended { device: String, client: String },
    /// Filters it listens on from here on.
    Subscribed {
        device: String,
        client: String,
        /// The filters, each with the QoS that was granted.
        filters: Vec<SessionFilter>,
    },
    /// Filters it no longer listens on.
    Unsubscribed {
        device: String,
        client: String,
        /// The filters.
        filters: Vec<SessionFilter>,
    },
    /// The frame just before this record came as QoS 2 and waits for its PUBREL.
    Arrived {
        device: String,
        client: String,
        /// Its packet id.
        packet_id: u16,
        /// A fingerprint of topic and payload, to tell a resend from a reused id.
        content: u64,
    },
    /// PUBREL of a QoS 2 publish: its packet id is free again.
    Released {
        device: String,
        #[serde(default)]
        client: String,
        /// The packet id.
        packet_id: u16,
    },
    /// QoS 2 messages leave for the client under these packet ids.
    Sent {
        device: String,
        client: String,
        /// Packet id and the message's journal position.
        messages: Vec<(u16, u64)>,
    },
    /// PUBREC came for these packet ids: from here on PUBREL is sent, never the message.
    Received {
        device: String,
        client: String,
        /// The packet ids.
        packet_ids: Vec<u16>,
    },
    /// The client has these messages for good (PUBACK or PUBCOMP).
    Delivered {
        device: String,
        client: String,
        /// Packet id and the message's journal position.
        messages: Vec<(u16, u64)>,
    },
}

/// One filter of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionFilter {
    /// Normalised, with `$share/{group}/` in front when it is shared.
    pub filter: String,
    /// The name of the naming under which its messages are delivered (`plain`, `me`).
    pub naming: String,
    /// The granted QoS.
    #[serde(default)]
    pub qos: u8,
}

/// A frame out of the quarantine, to be read again with the profile of now.
///
/// The frame is as it came: its receive time, peer, topic and bytes. Before it stands the act
/// ([`crate::Verb::Readmit`]) of which it is a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readmission<'a> {
    /// Journal position of the frame when it came first; its quarantine entries are found by it.
    pub origin: u64,
    /// When it was taken out of the quarantine.
    pub at: Timestamp,
    /// Who wanted it.
    pub by: &'a str,
    /// Why.
    pub note: &'a str,
    /// The frame.
    pub frame: Frame<'a>,
}

impl<'a> Readmission<'a> {
    /// Appends the body's bytes: origin u64 LE, at i64 LE, who and why each u16 LE length + UTF-8, then the
    /// frame's body.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.origin.to_le_bytes());
        out.extend_from_slice(&self.at.ms().to_le_bytes());
        put_text(out, self.by);
        put_text(out, self.note);
        self.frame.encode(out);
    }

    /// Reads what [`Readmission::encode`] wrote, without copying.
    ///
    /// # Errors
    /// When the body ends early or a field is impossible.
    pub fn decode(body: &'a [u8]) -> Result<Self, RecordError> {
        let short = || RecordError::Short(body.len());
        let (origin, rest) = body.split_first_chunk::<8>().ok_or_else(short)?;
        let (at, mut rest) = rest.split_first_chunk::<8>().ok_or_else(short)?;
        let (by, note) = (text(&mut rest, short)?, text(&mut rest, short)?);
        Ok(Self {
            origin: u64::from_le_bytes(*origin),
            at: Timestamp::from_ms(i64::from_le_bytes(*at)),
            by,
            note,
            frame: Frame::decode(rest)?,
        })
    }
}

/// A frame that its listener refused, and what exactly was wrong with it: nobody finds that out again from the
/// few bytes that are kept. Journals of before have such frames without it, as [`Frame`]s with a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedFrame<'a> {
    /// What exactly.
    pub detail: &'a str,
    /// The frame, its refusal in it.
    pub frame: Frame<'a>,
}

impl<'a> RefusedFrame<'a> {
    /// Appends the body's bytes: the detail as u16 LE length + UTF-8, then the frame's body.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, self.detail);
        self.frame.encode(out);
    }

    /// Reads what [`RefusedFrame::encode`] wrote, without copying.
    ///
    /// # Errors
    /// When the body ends early or a field is impossible.
    pub fn decode(body: &'a [u8]) -> Result<Self, RecordError> {
        let mut rest = body;
        let detail = text(&mut rest, || RecordError::Short(body.len()))?;
        let frame = Frame::decode(rest)?;
        match frame.refused {
            Some(_) => Ok(Self { detail, frame }),
            None => Err(RecordError::Field("refusal")),
        }
    }
}

/// When and by whom a lasting record was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stamped<T> {
    /// When the server took it.
    pub at: Timestamp,
    /// Who (token or user name, `local` for the command line on the machine).
    pub by: String,
    /// What.
    pub what: T,
}

/// One journal record.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[allow(
    clippy::large_enum_variant,
    reason = "records are read one at a time and never stored in bulk"
)]
pub enum Record<'a> {
    /// Bytes from outside.
    Frame(Frame<'a>),
    /// A register change.
    Register(Stamped<Register>),
    /// A rule change.
    Rule(Stamped<RuleFile>),
    /// A person's act.
    Act(Act),
    /// The clock, once a second.
    Tick(Timestamp),
    /// An MQTT session change.
    Session(Session),
    /// A command is ordered, handed over, acknowledged, taken back.
    Command(CommandRecord),
    /// A frame out of the quarantine.
    Readmission(Readmission<'a>),
    /// Bytes that the listener refused.
    Refused(RefusedFrame<'a>),
    /// What a closed segment of the journal held.
    Segment(SegmentDigest),
    /// Forecasts as they were issued, own ones and those of others.
    Forecast(Stamped<Vec<Forecast>>),
}

impl<'a> Record<'a> {
    /// The kind byte and the body's bytes.
    pub fn encode(&self) -> (u8, Vec<u8>) {
        let json = |value: serde_json::Result<Vec<u8>>| value.expect("records have text keys only");
        match self {
            Record::Frame(frame) => {
                let mut body = Vec::with_capacity(frame.payload.len() + 96);
                frame.encode(&mut body);
                (KIND_FRAME, body)
            }
            Record::Register(r) => (KIND_REGISTER, json(serde_json::to_vec(r))),
            Record::Rule(r) => (KIND_RULE, json(serde_json::to_vec(r))),
            Record::Act(a) => (KIND_ACT, json(serde_json::to_vec(a))),
            Record::Tick(t) => (KIND_TICK, t.ms().to_le_bytes().to_vec()),
            Record::Session(s) => (KIND_SESSION, json(serde_json::to_vec(s))),
            Record::Command(c) => (KIND_COMMAND, json(serde_json::to_vec(c))),
            Record::Segment(s) => (KIND_SEGMENT, json(serde_json::to_vec(s))),
            Record::Forecast(f) => (KIND_FORECAST, json(serde_json::to_vec(f))),
            Record::Readmission(again) => {
                let mut body = Vec::with_capacity(again.frame.payload.len() + 112);
                again.encode(&mut body);
                (KIND_READMISSION, body)
            }
            Record::Refused(refused) => {
                let mut body = Vec::with_capacity(refused.frame.payload.len() + 160);
                refused.encode(&mut body);
                (KIND_REFUSED, body)
            }
        }
    }

    /// Reads a record.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn decode(kind: u8, body: &'a [u8]) -> Result<Self, RecordError> {
        let json = |source| RecordError::Json { kind, source };
        Ok(match kind {
            KIND_FRAME => Record::Frame(Frame::decode(body)?),
            KIND_REGISTER => Record::Register(serde_json::from_slice(body).map_err(json)?),
            KIND_RULE => Record::Rule(serde_json::from_slice(body).map_err(json)?),
            KIND_ACT => Record::Act(serde_json::from_slice(body).map_err(json)?),
            KIND_TICK => {
                let ms = body.try_into().map_err(|_| RecordError::Short(body.len()))?;
                Record::Tick(Timestamp::from_ms(i64::from_le_bytes(ms)))
            }
            KIND_SESSION => Record::Session(serde_json::from_slice(body).map_err(json)?),
            KIND_COMMAND => Record::Command(serde_json::from_slice(body).map_err(json)?),
            KIND_SEGMENT => Record::Segment(serde_json::from_slice(body).map_err(json)?),
            KIND_FORECAST => Record::Forecast(serde_json::from_slice(body).map_err(json)?),
            KIND_READMISSION => Record::Readmission(Readmission::decode(body)?),
            KIND_REFUSED => Record::Refused(RefusedFrame::decode(body)?),
            other => return Err(RecordError::Kind(other)),
        })
    }

    /// The record's own time, where it has one.
    pub fn time(&self) -> Option<Timestamp> {
        match self {
            Record::Frame(f) => Some(f.received_at),
            Record::Register(r) => Some(r.at),
            Record::Rule(r) => Some(r.at),
            Record::Act(a) => Some(a.at),
            Record::Tick(t) => Some(*t),
            Record::Session(_) => None,
            Record::Command(c) => Some(c.at),
            Record::Segment(s) => Some(s.at),
            Record::Forecast(f) => Some(f.at),
            Record::Readmission(again) => Some(again.at),
            Record::Refused(refused) => Some(refused.frame.received_at),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{CommandStep, Order, Scope, Verb};

    fn samples() -> Vec<Record<'static>> {
        let at = Timestamp::from_ms(1_763_856_000_123);
        let frame = Frame {
            received_at: at,
            source: Source::Mqtt,
            refused: Some(Refusal::OverSize),
            qos: 2,
            retain: true,
            device: "站点7",
            peer: "[::1]:5000",
            topic: "v1/devices/me/telemetry",
            payload: br#"{"temperature":21.5}"#,
        };
        let entity = Entity {
            code: "630102".into(),
            kind: EntityKind::Division,
            name: "城东区".into(),
            name_en: String::new(),
            division: None,
            geometry: serde_json::json!({"type":"Point","coordinates":[101.8,36.6]}),
            stratum: crate::Stratum::Surface,
            class: None,
            z_range_m: None,
            height_datum: None,
            valid_from: None,
            valid_to: None,
            department: String::new(),
            former: vec![],
            attributes: serde_json::Map::new(),
            source: "示意".into(),
        };
        vec![
            Record::Segment(SegmentDigest {
                at,
                first: 1,
                last: 4096,
                bytes: 812_345,
                sha256: "5a".repeat(32),
            }),
            Record::Frame(frame),
            Record::Refused(RefusedFrame {
                detail: "一个 9000 字节的报文",
                frame,
            }),
            Record::Frame(Frame {
                refused: None,
                payload: b"",
                device: "",
                ..frame
            }),
            Record::Register(Stamped {
                at,
                by: "local".into(),
                what: Register::Entity {
                    entity: Box::new(entity),
                },
            }),
            Record::Rule(Stamped {
                at,
                by: "a".into(),
                what: RuleFile {
                    name: "air".into(),
                    text: "rules: []".into(),
                },
            }),
            Record::Act(Act {
                at,
                by: Scope::local("x"),
                verb: Verb::Acknowledge {
                    alert: AlertId::of(&[b"a"]),
                    name: "王".into(),
                    note: "看过".into(),
                    until: at,
                },
            }),
            Record::Tick(at),
            Record::Session(Session::Released {
                device: "d".into(),
                client: "c".into(),
                packet_id: 7,
            }),
            Record::Command(CommandRecord {
                at,
                what: CommandStep::Created(Box::new(Order {
                    device: DeviceId::new("valve-1").unwrap(),
                    method: "open".into(),
                    params: serde_json::json!({"percent": 40.5}),
                    two_way: true,
                    expires_at: at,
                    key: Some("k".into()),
                    via: crate::Via::Native,
                    by: Scope::local("x"),
                })),
            }),
            Record::Command(CommandRecord {
                at,
                what: CommandStep::Sent {
                    id: 7,
                    over: crate::Over::Gateway,
                    qos: 1,
                },
            }),
            Record::Command(CommandRecord {
                at,
                what: CommandStep::Cancelled {
                    id: 7,
                    by: Scope::local("x"),
                    note: "误发".into(),
                },
            }),
            Record::Session(Session::Subscribed {
                device: String::new(),
                client: "设备".into(),
                filters: vec![SessionFilter {
                    filter: "$share/g/a/+".into(),
                    naming: "plain".into(),
                    qos: 2,
                }],
            }),
            Record::Session(Session::Sent {
                device: "d".into(),
                client: "c".into(),
                messages: vec![(1, 10), (65_535, u64::MAX)],
            }),
            Record::Readmission(Readmission {
                origin: 17,
                at,
                by: "值班员",
                note: "模型已修正",
                frame: Frame {
                    refused: None,
                    ..frame
                },
            }),
        ]
    }

    use crate::AlertId;

    #[test]
    fn records_read_back_as_written() {
        for record in samples() {
            let (kind, body) = record.encode();
            assert_eq!(Record::decode(kind, &body).unwrap(), record);
        }
    }

    #[test]
    fn a_release_of_before_sessions_were_kept_still_reads() {
        let body = br#"{"session":"released","device":"d","packet_id":7}"#;
        let want = Session::Released {
            device: "d".into(),
            client: String::new(),
            packet_id: 7,
        };
        assert_eq!(Record::decode(KIND_SESSION, body).unwrap(), Record::Session(want));
    }

    #[test]
    fn cut_bodies_are_errors_and_never_panics() {
        for record in samples() {
            let (kind, body) = record.encode();
            for cut in 0..body.len() {
                // A frame's payload has no length of its own (the log's record has): a cut inside it
                // is the log's to notice.
                let read = Record::decode(kind, &body[..cut]);
                if ![KIND_FRAME, KIND_READMISSION, KIND_REFUSED].contains(&kind) {
                    assert!(read.is_err(), "kind {kind} cut at {cut}");
                }
            }
        }
        assert!(matches!(Record::decode(99, b""), Err(RecordError::Kind(99))));
    }
}
