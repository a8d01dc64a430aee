//! The message: alert, info, area, resource, with every element of the standard under its own name.

use onemap_model::Timestamp;

use crate::words::{Category, Certainty, MsgType, ResponseType, Scope, Severity, Status, Urgency};
use crate::{Circle, DateTime, Feet, Polygon};

/// One message. Sender, identifier and sent together name it.
///
/// Fields are public and may contradict one another; [`Alert::check`] says whether they do. An optional text may be
/// there and empty, as it may be in a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// Unique for the sender. No blanks, commas, `<` and `&`.
    pub identifier: String,
    /// Who sends it. The same restrictions.
    pub sender: String,
    /// When.
    pub sent: DateTime,
    /// How it is to be taken.
    pub status: Status,
    /// What it is to those before it.
    pub msg_type: MsgType,
    /// Where it comes from: an operator, a device.
    pub source: Option<String>,
    /// For whom it is.
    pub scope: Scope,
    /// The rule of a restricted one.
    pub restriction: Option<String>,
    /// Whom a private one is for. None is no element.
    pub addresses: Vec<String>,
    /// Special handling; profiles have theirs.
    pub codes: Vec<String>,
    /// For cancellations, errors, exercises: why.
    pub note: Option<String>,
    /// The messages it speaks of. Update and Cancel replace all of them.
    pub references: Vec<Reference>,
    /// Names of the incidents it belongs to. None is no element.
    pub incidents: Vec<String>,
    /// Languages and stages of one event.
    pub infos: Vec<Info>,
}

/// The name of another message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// Its sender.
    pub sender: String,
    /// Its identifier.
    pub identifier: String,
    /// When it was sent.
    pub sent: DateTime,
}

/// One event in one language and stage.
#[derive(Clone, Debug, PartialEq)]
pub struct Info {
    /// RFC 3066; the default is en-US ([`Info::language_or_default`]).
    pub language: Option<String>,
    /// At least one.
    pub categories: Vec<Category>,
    /// The event in words.
    pub event: String,
    /// What is asked.
    pub response_types: Vec<ResponseType>,
    /// How soon.
    pub urgency: Urgency,
    /// How bad.
    pub severity: Severity,
    /// How sure.
    pub certainty: Certainty,
    /// Whom it is meant for.
    pub audience: Option<String>,
    /// Codes of the event, each of a system.
    pub event_codes: Vec<Named>,
    /// From when the message holds; from `sent` when it does not say.
    pub effective: Option<DateTime>,
    /// When the event is expected to begin.
    pub onset: Option<DateTime>,
    /// When the message is over, without a Cancel.
    pub expires: Option<DateTime>,
    /// The sender for people.
    pub sender_name: Option<String>,
    /// Less than 160 characters.
    pub headline: Option<String>,
    /// The event at length.
    pub description: Option<String>,
    /// What to do.
    pub instruction: Option<String>,
    /// More of it, an absolute URI.
    pub web: Option<String>,
    /// Whom to ask.
    pub contact: Option<String>,
    /// What the sender's system adds. Unknown ones are kept.
    pub parameters: Vec<Named>,
    /// Files.
    pub resources: Vec<Resource>,
    /// Where. All together are the area.
    pub areas: Vec<Area>,
}

/// A value of a named system: event code, parameter or geocode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The system, not empty.
    pub name: String,
    /// The value, perhaps empty.
    pub value: String,
}

impl Named {
    /// From name and value.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
        }
    }
}

/// A file that goes with an info.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// What it is, in words.
    pub description: String,
    /// Its media type. CAP 1.1 could do without, so reading does; what is written needs it.
    pub mime_type: Option<String>,
    /// Bytes.
    pub size: Option<u64>,
    /// Where it is.
    pub uri: Option<String>,
    /// The file itself in Base64, as it stands in the message.
    pub deref_uri: Option<String>,
    /// SHA-1 in hexadecimal digits.
    pub digest: Option<String>,
}

/// Where. The place is all of its polygons, circles and geocodes together.
#[derive(Clone, Debug, PartialEq)]
pub struct Area {
    /// The area in words.
    pub description: String,
    /// Rings.
    pub polygons: Vec<Polygon>,
    /// Circles.
    pub circles: Vec<Circle>,
    /// Codes of the area, each of a system.
    pub geocodes: Vec<Named>,
    /// The lowest height, or the only one.
    pub altitude: Option<Feet>,
    /// The highest; only with an altitude.
    pub ceiling: Option<Feet>,
}

impl Alert {
    /// The name of this message, for messages that speak of it.
    pub fn reference(&self) -> Reference {
        Reference {
            sender: self.sender.clone(),
            identifier: self.identifier.clone(),
            sent: self.sent,
        }
    }
    /// When it is over by itself: the last `expires` of its infos. `None` when it never is, because an info has none
    /// or there is no info.
    pub fn expires(&self) -> Option<Timestamp> {
        let ends = self.infos.iter().map(|info| info.expires.map(DateTime::at));
        ends.collect::<Option<Vec<_>>>()?.into_iter().max()
    }
    /// Whether it still holds at `now`: not over, and no Cancel, Ack or Error. That another message replaced it is
    /// not seen here, and its status is not looked at.
    pub fn is_active(&self, now: Timestamp) -> bool {
        matches!(self.msg_type, MsgType::Alert | MsgType::Update)
            && self.expires().is_none_or(|end| now < end)
    }
    /// The first info of the language, else the first of all.
    pub fn info_in(&self, language: &str) -> Option<&Info> {
        let speaks = |info: &&Info| info.language_or_default().eq_ignore_ascii_case(language);
        self.infos.iter().find(speaks).or_else(|| self.infos.first())
    }
}

impl Info {
    /// The language it is in: en-US where none is said.
    pub fn language_or_default(&self) -> &str {
        self.language.as_deref().unwrap_or("en-US")
    }
    /// The values of the parameter with this name.
    pub fn parameter<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.parameters
            .iter()
            .filter(move |p| p.name == name)
            .map(|p| p.value.as_str())
    }
}
