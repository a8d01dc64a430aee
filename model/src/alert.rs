//! Alerts (告警): what a rule says is wrong, and every edge of its life.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{DivisionCode, DrillId, RuleId, SeriesKey, Timestamp};

/// How much it matters. This is an operational severity, not a statutory warning level (预警) and not
/// an AQI colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// 提示
    Notice,
    /// 一般
    Minor,
    /// 重要
    Major,
    /// 紧急
    Critical,
}

impl Severity {
    /// Stable name, the English word.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Notice => "notice",
            Severity::Minor => "minor",
            Severity::Major => "major",
            Severity::Critical => "critical",
        }
    }
    /// The Chinese word.
    pub fn zh(self) -> &'static str {
        match self {
            Severity::Notice => "提示",
            Severity::Minor => "一般",
            Severity::Major => "重要",
            Severity::Critical => "紧急",
        }
    }
}

macro_rules! hash_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 16]);

        impl $name {
            /// The first 16 bytes of SHA-256 over the parts, each with its length before it.
            pub fn of(parts: &[&[u8]]) -> Self {
                let mut hash = Sha256::new();
                for part in parts {
                    hash.update((part.len() as u64).to_le_bytes());
                    hash.update(part);
                }
                let mut id = [0; 16];
                id.copy_from_slice(&hash.finalize()[..16]);
                Self(id)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl std::str::FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                let bad = || format!("`{text}` is not an id of 32 hexadecimal digits");
                if text.len() != 32 || !text.is_ascii() {
                    return Err(bad());
                }
                let mut id = [0; 16];
                for (i, byte) in id.iter_mut().enumerate() {
                    *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| bad())?;
                }
                Ok(Self(id))
            }
        }
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

pub(crate) use hash_id;

hash_id! {
    /// One alert (episode): hash of rule, series and the journal position that raised it.
    AlertId
}
hash_id! {
    /// One edge in an alert's life: hash of rule, version, series, position and edge. The same
    /// journal gives the same ids, so delivery can repeat without harm.
    TransitionId
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Edge {
    /// The condition held for its time: the alert opens.
    Raised,
    /// The condition is over: the alert ends.
    Cleared,
    /// Nothing is known any more about an open alert's series.
    Lost,
    /// It is known again, and still abnormal.
    Found,
    /// It matters more than before: the severity is the new one.
    Worsened,
    /// It matters less than before: the severity is the new one.
    Eased,
    /// A person took it.
    Acknowledged,
    /// The acknowledgement ran out while the alert was open.
    AcknowledgementExpired,
    /// A person ended it.
    Closed,
    /// Its rule was removed or no longer applies; the alert ends without being called normal.
    Withdrawn,
    /// A person took it off the desk's list for a while.
    Shelved,
    /// A person put it back.
    Unshelved,
    /// The while is over and the alert goes on.
    ShelfExpired,
    /// A person said who is to see to it.
    Assigned,
    /// Nobody took it, and who is on duty was called.
    Paged,
    /// The drill in which it was raised is over and it goes on: from here on it is real.
    DrillOver,
    /// Found in data that came late: it began and was over before anybody could know. The alert has ended when it is told,
    /// and nobody is called. Told again when what comes later shows that it was longer or worse.
    Past,
}

impl Edge {
    /// Every edge.
    pub const ALL: [Self; 17] = [
        Self::Raised,
        Self::Cleared,
        Self::Lost,
        Self::Found,
        Self::Worsened,
        Self::Eased,
        Self::Acknowledged,
        Self::AcknowledgementExpired,
        Self::Closed,
        Self::Withdrawn,
        Self::Shelved,
        Self::Unshelved,
        Self::ShelfExpired,
        Self::Assigned,
        Self::Paged,
        Self::DrillOver,
        Self::Past,
    ];

    /// Stable name.
    pub fn name(self) -> &'static str {
        match self {
            Edge::Raised => "raised",
            Edge::Cleared => "cleared",
            Edge::Lost => "lost",
            Edge::Found => "found",
            Edge::Worsened => "worsened",
            Edge::Eased => "eased",
            Edge::Acknowledged => "acknowledged",
            Edge::AcknowledgementExpired => "acknowledgement_expired",
            Edge::Closed => "closed",
            Edge::Withdrawn => "withdrawn",
            Edge::Shelved => "shelved",
            Edge::Unshelved => "unshelved",
            Edge::ShelfExpired => "shelf_expired",
            Edge::Assigned => "assigned",
            Edge::Paged => "paged",
            Edge::DrillOver => "drill_over",
            Edge::Past => "past",
        }
    }
}

/// One value that a judgement rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// Journal position of the frame.
    pub position: u64,
    /// When it was measured.
    pub measured_at: Timestamp,
    /// Its number.
    pub value: f64,
    /// The series it is of, where that is another than the alert's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<SeriesKey>,
}

/// One edge in an alert's life, as the journal's order gives it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    /// Its id.
    pub id: TransitionId,
    /// The alert it belongs to.
    pub alert: AlertId,
    /// What changed.
    pub edge: Edge,
    /// Record time (`now` of the journal) when it changed.
    pub at: Timestamp,
    /// Journal position of the record that changed it.
    pub position: u64,
    /// The rule.
    pub rule: RuleId,
    /// The rule's version: first 8 hexadecimal digits of the hash of its text.
    pub rule_version: String,
    /// What it is about.
    pub series: SeriesKey,
    /// How much it matters.
    pub severity: Severity,
    /// Where.
    pub division: Option<DivisionCode>,
    /// The values it rests on, newest last.
    pub inputs: Vec<Input>,
    /// One sentence, Chinese.
    pub message_zh: String,
    /// One sentence, English.
    pub message_en: String,
    /// Who acted and what he wrote, for edges made by people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<ActNote>,
    /// The drill that its alert was raised in: nobody is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill: Option<DrillId>,
    /// When it was, of [`Edge::Past`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub past: Option<Past>,
}

/// When something was that was found in data that came late.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Past {
    /// Time of the reading with which it began.
    pub from: Timestamp,
    /// Time of the reading with which it was over; of one whose end no reading shows, that of the last one beyond the limit.
    pub until: Timestamp,
    /// The worst value in it, in the quantity's canonical unit; `None` of a rule that does not look at one value.
    pub peak: Option<f64>,
}

/// The human side of a transition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActNote {
    /// Token or user.
    pub actor: String,
    /// Name as given.
    pub name: String,
    /// Note.
    pub note: String,
    /// End of an acknowledgement, or of the time on the shelf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Who is to see to it, or was called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

impl Transition {
    /// The id of an edge, from what the design says it hashes.
    pub fn id_of(
        rule: &RuleId,
        version: &str,
        series: &SeriesKey,
        position: u64,
        edge: Edge,
    ) -> TransitionId {
        TransitionId::of(&[
            rule.as_str().as_bytes(),
            version.as_bytes(),
            series.to_string().as_bytes(),
            &position.to_le_bytes(),
            edge.name().as_bytes(),
        ])
    }
    /// The id of a historical alert, whatever was found of it and when; `from` is the beginning that was found first.
    pub fn past_alert_of(rule: &RuleId, series: &SeriesKey, from: Timestamp) -> AlertId {
        AlertId::of(&[
            b"past",
            rule.as_str().as_bytes(),
            series.to_string().as_bytes(),
            &from.ms().to_le_bytes(),
        ])
    }
    /// The id of [`Edge::Past`]: the same finding has the same one, however often it is made.
    pub fn past_id_of(alert: &AlertId, version: &str, past: &Past) -> TransitionId {
        let peak = past.peak.map(f64::to_bits).unwrap_or_default();
        TransitionId::of(&[
            b"past",
            alert.to_string().as_bytes(),
            version.as_bytes(),
            &past.from.ms().to_le_bytes(),
            &past.until.ms().to_le_bytes(),
            &peak.to_le_bytes(),
        ])
    }
    /// The id of the alert that `position` raises.
    pub fn alert_of(rule: &RuleId, series: &SeriesKey, position: u64) -> AlertId {
        AlertId::of(&[
            rule.as_str().as_bytes(),
            series.to_string().as_bytes(),
            &position.to_le_bytes(),
        ])
    }
}
