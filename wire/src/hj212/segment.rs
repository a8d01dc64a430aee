//! A data segment: its header and the items of CP, as they were sent.
//!
//! Nothing with a right CRC is refused for its looks: what does not fit the standard's grammar is read as it
//! is meant, and named as a [`Quirk`].

mod parse;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::flag::{Flag, Version};

pub use parse::SegmentError;

/// Names in front of CP, in the standard's order.
pub const HEADER: [&str; 9] = ["QN", "ST", "CN", "PW", "MN", "Flag", "PNUM", "PNO", "RF"];

/// `key=value`, or a text without `=`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Item {
    /// What stands before `=`.
    pub key: String,
    /// What stands behind it; `None` without `=`.
    pub value: Option<String>,
}

impl Item {
    /// An item with a value.
    pub fn new(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            value: Some(value.into()),
        }
    }
}

/// Items between two `;`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Group(pub Vec<Item>);

impl Group {
    /// Whether it has no item.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// The first value of a key.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|item| item.key == key)?.value.as_deref()
    }
}

/// How a segment departs from the standard without being refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Quirk {
    /// Nothing between two `;`, or a `;` before `&&`.
    EmptyItem,
    /// Blanks around an item.
    Blanks,
    /// One key twice in a group of CP.
    RepeatedKey,
    /// One name twice in the header; the first counts.
    RepeatedHeader,
    /// A name in the header that the standard does not have.
    UnknownHeader,
    /// `,` where the header has `;`.
    CommaInHeader,
    /// No `;` between two fields of the header, or before CP.
    NoSemicolon,
    /// `Flag=N` without a factor.
    BareFlag,
    /// A key without a value.
    NoValue,
    /// A DataTime that has not 14 digits.
    StampLength,
    /// A QN that has not 17 digits.
    QnLength,
    /// No QN.
    NoQn,
    /// A Flag that is no number of 8 bits; read as 0.
    FlagNotANumber,
    /// Packet numbers without the bit that says so, the bit without them, or numbers that are none.
    PacketNumbers,
    /// No CP at all.
    NoCp,
    /// CP has no `&&` at its beginning or end.
    CpNotClosed,
    /// Text behind the end of CP.
    AfterCp,
    /// Bytes that are not UTF-8; they stand as `\xNN`.
    NotUtf8,
    /// CRC with lower-case digits.
    LowerCaseCrc,
    /// Longer than 1024 bytes.
    LongSegment,
}

/// A data segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Items in front of CP, as sent.
    pub header: Vec<Item>,
    /// What stands between `&&` and `&&`, split at `;` and `,`.
    pub cp: Vec<Group>,
    /// Text behind the end of CP; there should be none.
    pub after_cp: String,
    /// Where it departs from the standard, each once; empty for a segment that is built.
    pub quirks: Vec<Quirk>,
}

impl Segment {
    fn field(&self, name: &str) -> Option<&str> {
        self.header.iter().find(|item| item.key == name)?.value.as_deref()
    }
    /// Request number, as text; empty when there is none.
    pub fn qn(&self) -> &str {
        self.field("QN").unwrap_or_default()
    }
    /// System code; empty when there is none.
    pub fn st(&self) -> &str {
        self.field("ST").unwrap_or_default()
    }
    /// Command.
    pub fn cn(&self) -> &str {
        self.field("CN").unwrap_or_default()
    }
    /// Access password; empty when there is none.
    pub fn pw(&self) -> &str {
        self.field("PW").unwrap_or_default()
    }
    /// Device number.
    pub fn mn(&self) -> &str {
        self.field("MN").unwrap_or_default()
    }
    /// The flag; `None` when absent or no number of 8 bits.
    pub fn flag(&self) -> Option<Flag> {
        self.field("Flag")?.trim().parse().ok().map(Flag)
    }
    /// The edition the sender speaks: no flag is 2005.
    pub fn version(&self) -> Version {
        self.flag().unwrap_or_default().version()
    }
    /// Whether the sender wants an answer.
    pub fn wants_answer(&self) -> bool {
        self.flag().unwrap_or_default().wants_answer()
    }
    /// Number of this packet and of all packets, when both are there.
    pub fn packet(&self) -> Option<(u32, u32)> {
        let number = |name| self.field(name)?.trim().parse().ok();
        Some((number("PNO")?, number("PNUM")?))
    }
    /// Whether PNUM or PNO is there, whatever stands in it.
    pub fn has_packet_fields(&self) -> bool {
        self.header
            .iter()
            .any(|item| matches!(item.key.as_str(), "PNUM" | "PNO"))
    }
    /// `RF=1`: a packet that is sent again (2025).
    pub fn is_resent(&self) -> bool {
        self.field("RF").is_some_and(|value| value.trim() == "1")
    }
    /// The first value in CP under this very key (`DataTime`, `QnRtn`).
    pub fn cp_value(&self, key: &str) -> Option<&str> {
        self.cp.iter().find_map(|group| group.value(key))
    }
    /// What stands under DataTime.
    pub fn data_time(&self) -> Option<&str> {
        self.cp_value("DataTime")
    }
    /// What makes a repeated frame the same data: answer it again, store it once. DataTime is part of it,
    /// because some devices have one QN for all frames.
    pub fn same_data_key(&self) -> [&str; 5] {
        let pno = self.field("PNO").unwrap_or_default();
        [
            self.mn(),
            self.cn(),
            self.qn(),
            pno,
            self.data_time().unwrap_or_default(),
        ]
    }
    /// Puts a header item, over the one of the same name; a new one in the standard's order.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        let value = value.into();
        if let Some(item) = self.header.iter_mut().find(|item| item.key == name) {
            item.value = Some(value);
            return self;
        }
        let rank = |key: &str| {
            HEADER
                .iter()
                .position(|known| *known == key)
                .unwrap_or(HEADER.len())
        };
        let at = self.header.iter().position(|item| rank(&item.key) > rank(name));
        self.header
            .insert(at.unwrap_or(self.header.len()), Item::new(name, value));
        self
    }
    /// The text on the wire.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for item in &self.header {
            push_item(&mut text, item);
            text.push(';');
        }
        text.push_str("CP=&&");
        text.push_str(&self.cp_text());
        text.push_str("&&");
        text.push_str(&self.after_cp);
        text
    }
    /// What stands between `&&` and `&&`.
    pub(super) fn cp_text(&self) -> String {
        let mut text = String::new();
        for (i, group) in self.cp.iter().enumerate() {
            if i > 0 {
                text.push(';');
            }
            for (i, item) in group.0.iter().enumerate() {
                if i > 0 {
                    text.push(',');
                }
                push_item(&mut text, item);
            }
        }
        text
    }
}

fn push_item(text: &mut String, item: &Item) {
    text.push_str(&item.key);
    if let Some(value) = &item.value {
        text.push('=');
        text.push_str(value);
    }
}

impl Serialize for Group {
    /// A map; a repeated key is a list, a key without `=` is null.
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(None)?;
        for (i, item) in self.0.iter().enumerate() {
            if self.0[..i].iter().any(|earlier| earlier.key == item.key) {
                continue;
            }
            let values: Vec<&Option<String>> = self.0[i..]
                .iter()
                .filter(|later| later.key == item.key)
                .map(|later| &later.value)
                .collect();
            match values[..] {
                [one] => map.serialize_entry(&item.key, one)?,
                _ => map.serialize_entry(&item.key, &values)?,
            }
        }
        map.end()
    }
}
