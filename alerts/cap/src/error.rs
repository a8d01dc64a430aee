//! What is wrong with a message, and where.

use std::fmt;

/// Where in a message something is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The element, like `alert/info[2]/area[1]/polygon[1]`: what may repeat has its number, from 1. Empty for the
    /// document as a whole.
    pub path: String,
    /// The line of the document, from 1, when there is a document.
    pub line: Option<u32>,
}

impl Place {
    pub(crate) fn new(path: impl Into<String>, line: u32) -> Self {
        Self {
            path: path.into(),
            line: Some(line),
        }
    }
    pub(crate) fn line(line: u32) -> Self {
        Self::new("", line)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.path.as_str()) {
            (Some(line), "") => write!(f, "line {line}"),
            (Some(line), path) => write!(f, "line {line}, {path}"),
            (None, "") => f.write_str("the document"),
            (None, path) => f.write_str(path),
        }
    }
}

/// Why a message is refused, or what a remark is about: the fault and its place.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{place}: {fault}")]
pub struct CapError {
    /// Where.
    pub place: Place,
    /// What.
    pub fault: Fault,
}

impl CapError {
    pub(crate) fn at(path: impl Into<String>, fault: Fault) -> Self {
        Self {
            place: Place {
                path: path.into(),
                line: None,
            },
            fault,
        }
    }
    /// The stable code of the fault, for counters and clients.
    pub fn code(&self) -> &'static str {
        self.fault.code()
    }
}

/// The first characters of a foreign text, for an error.
pub(crate) fn start(text: &str) -> String {
    text.chars().take(64).collect()
}

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident $({ $($field:ident : $type:ty),* })? = $code:literal, $text:literal;)*) => {
        /// What can be wrong. Texts of the message in here are cut to 64 characters.
        #[derive(Clone, Debug, PartialEq, thiserror::Error)]
        #[non_exhaustive]
        #[allow(missing_docs, reason = "the fields are in the sentence of each")]
        pub enum Fault {
            $($(#[$doc])* #[error($text)] $name $({ $($field: $type),* })?,)*
        }
        impl Fault {
            /// A code that stays, whatever becomes of the sentence.
            pub fn code(&self) -> &'static str {
                match self { $(Self::$name { .. } => $code,)* }
            }
            /// Every code.
            pub const CODES: &[&str] = &[$($code),*];
        }
    };
}

faults! {
    // The document.
    /// More bytes than a message or feed may have.
    TooLarge { bytes: usize, limit: usize } = "too_large", "the document has {bytes} bytes, at most {limit} are read";
    /// Other bytes than UTF-8.
    NotUtf8 { at: usize } = "not_utf8", "the document is not UTF-8 at byte {at}";
    /// It declares another encoding.
    Encoding { found: String } = "encoding", "encoding `{found}` is not read, only UTF-8";
    /// Not well-formed.
    BrokenXml { reason: String } = "broken_xml", "not well-formed XML: {reason}";
    /// A document type declaration, whatever is in it.
    Doctype = "dtd", "document type declarations are refused";
    /// An entity other than the five of XML.
    Entity { name: String } = "entity", "entity `{name}` is refused: only lt, gt, amp, quot, apos and characters by number are read";
    /// A character that XML 1.0 does not have.
    Character { found: u32 } = "character", "character U+{found:04X} cannot be in XML";
    /// Elements in elements without end.
    TooDeep { limit: usize } = "too_deep", "elements are nested more than {limit} deep";
    /// More of something than is read.
    TooMany { what: &'static str, limit: usize } = "too_many", "more than {limit} {what}";
    /// The root of another document.
    Root { found: String } = "root", "the root element is `{found}`";
    /// The alert of another namespace, or of none.
    Namespace { found: String } = "namespace", "the namespace is `{found}`, not that of CAP 1.2 or 1.1";
    // Elements.
    /// Something of another namespace inside of the message.
    Foreign { name: String, namespace: String } = "foreign_element", "element `{name}` of namespace `{namespace}` has no place here";
    /// The standard has no such element here.
    UnknownElement { name: String } = "unknown_element", "there is no element `{name}` here";
    /// An attribute where the schema has none.
    Attribute { name: String } = "attribute", "attribute `{name}` has no place here";
    /// Something else has to come first.
    Order { name: String, due: &'static str } = "order", "element `{name}` stands where `{due}` is due";
    /// Something stands before it that belongs behind it.
    Late { name: String, behind: &'static str } = "order", "element `{name}` stands out of order, `{behind}` stands before it";
    /// A second one of what is there once.
    Repeated { name: String } = "repeated", "element `{name}` stands here more than once";
    /// Not there.
    Missing { name: &'static str } = "missing", "element `{name}` is missing";
    /// Text between elements.
    StrayText { found: String } = "stray_text", "text `{found}` stands between elements";
    // Values.
    /// A text that has to say something.
    Empty = "empty", "is empty";
    /// No word of the standard's list.
    Word { found: String, known: String } = "word", "`{found}` is not one of {known}";
    /// identifier and sender have no blanks, commas, `<` and `&`.
    Forbidden { found: char } = "forbidden_character", "{found:?} is not allowed here";
    /// Z instead of an offset.
    TimeZulu { found: String } = "time_z", "time `{found}` ends in Z; UTC is -00:00";
    /// Fractions of seconds.
    TimeFraction { found: String } = "time_fraction", "time `{found}` has fractions of seconds";
    /// No offset.
    TimeOffset { found: String } = "time_offset", "time `{found}` has no offset like +08:00";
    /// No time at all.
    Time { found: String } = "time", "`{found}` is not a time like 2026-11-23T08:15:00+08:00";
    /// No number, or one outside of its range.
    Number { found: String, wanted: &'static str } = "number", "`{found}` is not {wanted}";
    /// No pair of numbers.
    Coordinate { found: String } = "coordinate", "`{found}` is not latitude,longitude";
    /// Not on the globe: often longitude first.
    OffGlobe { found: String } = "off_globe", "`{found}` is not on the globe; latitude comes first";
    /// Too few points.
    PolygonPairs { n: usize } = "polygon_pairs", "a polygon of {n} points: at least 4 are needed, the last equal to the first";
    /// The last point is another one than the first.
    PolygonOpen = "polygon_open", "the last point of the polygon is not its first";
    /// No point and radius.
    Circle { found: String } = "circle", "`{found}` is not latitude,longitude radius";
    /// No sender,identifier,sent.
    Reference { found: String } = "reference", "`{found}` is not sender,identifier,sent";
    /// An opened quote, or a quote in a name.
    Quote = "quote", "a quotation mark is not closed or stands inside of a name";
    // Rules between elements.
    /// Private without addresses.
    ScopeAddresses = "private_without_addresses", "scope Private needs addresses";
    /// Restricted without restriction.
    ScopeRestriction = "restricted_without_restriction", "scope Restricted needs a restriction";
    /// A ceiling alone.
    Ceiling = "ceiling_without_altitude", "a ceiling needs an altitude";
    /// Upside down.
    AltitudeAboveCeiling = "altitude_above_ceiling", "the altitude lies above the ceiling";
    // Remarks: kept when read, refused when written.
    /// See [`crate::Alert::remarks`].
    Headline { n: usize } = "headline_long", "the headline has {n} characters, less than 160 are wanted";
    /// See [`crate::Alert::remarks`].
    WithoutReferences = "without_references", "this msgType wants the references of what it speaks of";
    /// See [`crate::Alert::remarks`].
    RestrictionUnused = "restriction_unused", "a restriction is for scope Restricted";
    /// See [`crate::Alert::remarks`].
    ErrorWithoutNote = "error_without_note", "msgType Error wants a note";
    /// See [`crate::Alert::remarks`].
    CategoryDiffers = "category_differs", "category and event codes differ from those of the first info";
    /// See [`crate::Alert::remarks`].
    EventDiffers = "event_differs", "the event differs from that of an info in the same language";
    /// See [`crate::Alert::remarks`].
    ExpiresBefore = "expires_before", "it expires before it is effective";
    /// See [`crate::Alert::remarks`].
    Language { found: String } = "language", "`{found}` is not a language like zh-CN";
    /// See [`crate::Alert::remarks`].
    Uri { found: String } = "uri", "`{found}` is not an absolute URI";
    /// See [`crate::Alert::remarks`].
    MimeType { found: String } = "mime_type", "`{found}` is not a media type";
    /// See [`crate::Alert::remarks`].
    Base64 = "base64", "is not Base64";
    /// See [`crate::Alert::remarks`].
    Digest { found: String } = "digest", "`{found}` is not SHA-1 in hexadecimal digits";
    // Drafts (crate::draft).
    /// An update or cancellation of something that another sender sent.
    OtherSender { found: String } = "other_sender", "the replaced message is of `{found}`";
    /// It would be older than what it replaces, or have its name.
    NotAfter { found: String } = "not_after", "the replaced message `{found}` is not older, or has the same identifier";
    // The Chinese mapping (crate::gbt35965).
    /// No identifier of GB/T 35965.1.
    WarningId { found: String } = "warning_id", "`{found}` is not an identifier like 63010041600000_20261123081500";
    /// No code of GB/T 35561.
    EventCode { found: String } = "event_code", "`{found}` is not an event code like 11B03";
    // Feeds (crate::feed).
    /// Neither RFC 3339 nor RFC 822.
    FeedTime { found: String } = "feed_time", "`{found}` is not a time of a feed";
}
