//! Element identifiers: what the dictionary (`elements.json`, Annex C) knows of them, and their definition bytes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use onemap_model::Quantity;
use serde::{Deserialize, Serialize, Serializer};

/// An element's identifier: one byte, or FF and a second byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Element(pub u16);

impl Element {
    /// Rain of one hour, twelve values.
    pub const RAIN_ARRAY: Element = Element(0xF4);
    /// Time step of a series.
    pub const STEP: Element = Element(0x04);
    /// A maker's batch of flow velocities.
    pub const VELOCITIES: Element = Element(0xFD);
    /// State bits.
    pub const STATE: Element = Element(0x45);

    /// What the dictionary says; `None` for reserved, vendors' and unknown identifiers.
    pub fn kind(self) -> Option<&'static Kind> {
        dictionary().by_code.get(&self)
    }
    /// The element with this symbol in ASCII frames.
    pub(super) fn with_symbol(symbol: &str) -> Option<Self> {
        dictionary().by_symbol.get(symbol).copied()
    }
    /// Whether it is one of the twelve-value arrays of relative levels.
    pub(super) fn is_level_array(self) -> bool {
        (0xF5..=0xFC).contains(&self.0)
    }
    /// Whether it holds the values of an hour by itself: rain, or relative levels.
    pub(super) fn is_array(self) -> bool {
        self == Self::RAIN_ARRAY || self.is_level_array()
    }
    /// The element that gives a quantity on a channel; of several the one of the lowest code, the array of an hour
    /// before the same value by itself.
    pub fn giving(quantity: Quantity, channel: u16) -> Option<Self> {
        let gives = |kind: &Kind| kind.quantity == Some(quantity) && kind.channel == channel;
        let all = || dictionary().by_code.iter().filter(|(_, kind)| gives(kind));
        let array = all().find(|(element, _)| element.is_array());
        array.or_else(|| all().next()).map(|(element, _)| *element)
    }
    /// Identifier as it stands in a frame, one or two bytes.
    pub(super) fn bytes(self) -> Vec<u8> {
        match self.0.to_be_bytes() {
            [0, low] => vec![low],
            both => both.to_vec(),
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02X}", self.0)
    }
}
impl Serialize for Element {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// How long a value is: bytes << 3 | decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Definition(pub u8);

impl Definition {
    /// Of a length up to 31 and decimals up to 7; `None` beyond.
    pub fn new(n_bytes: usize, decimals: u8) -> Option<Self> {
        (n_bytes <= 31 && decimals <= 7).then_some(Self((n_bytes as u8) << 3 | decimals))
    }
    /// Bytes of one value.
    pub fn n_bytes(self) -> usize {
        usize::from(self.0 >> 3)
    }
    /// Digits after the point.
    pub fn decimals(self) -> u8 {
        self.0 & 0x07
    }
}

impl Serialize for Definition {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&format_args!("{:02X}", self.0))
    }
}

/// What the dictionary knows of an element.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kind {
    /// In ASCII frames, `Z`.
    pub symbol: String,
    /// Chinese name.
    pub name: String,
    /// The standard's unit, as in the dictionary of quantities where it is one of its units.
    #[serde(default)]
    pub unit: Option<String>,
    /// The usual definition byte, two hexadecimal characters.
    #[serde(default)]
    pub(super) definition: Option<String>,
    /// What it measures; none when it is no measurement or its meaning is not sure.
    #[serde(default)]
    pub quantity: Option<Quantity>,
    /// Which of several alike.
    #[serde(default)]
    pub channel: u16,
    /// Seconds of its period; 0 is instantaneous.
    #[serde(default)]
    pub period_s: u32,
    /// Why it gives no reading.
    #[serde(default)]
    pub unmapped: Option<String>,
}

impl Kind {
    /// The definition byte that is usual for it. A frame's own byte rules.
    pub fn usual_definition(&self) -> Option<Definition> {
        let text = self.definition.as_deref()?;
        u8::from_str_radix(text, 16).ok().map(Definition)
    }
}

/// A bit of element 45. Set is bad unless its name says otherwise.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateBit {
    /// Which, from 0.
    pub bit: u8,
    /// What it says when it is set.
    pub name: String,
    /// Which state it is; none when it gives no reading.
    #[serde(default)]
    pub quantity: Option<Quantity>,
    /// Which of several alike.
    #[serde(default)]
    pub channel: u16,
    /// The state is 0 when the bit is set.
    #[serde(default)]
    pub inverted: bool,
    /// The only class of station that has the thing.
    #[serde(default)]
    pub class: Option<String>,
}

/// The bits of element 45 that the standard names, from bit 0.
pub fn state_bits() -> &'static [StateBit] {
    &dictionary().state_bits
}

/// Class of a station: one letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StationClass(pub u8);

impl StationClass {
    /// English name; `None` when the standard has no such class.
    pub fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            b'P' => "rain",
            b'H' => "river",
            b'K' => "reservoir",
            b'Z' => "sluice",
            b'D' => "pump",
            b'T' => "tide",
            b'M' => "soil moisture",
            b'G' => "groundwater",
            b'Q' => "water quality",
            b'I' => "intake",
            b'O' => "outfall",
            _ => return None,
        })
    }
}

impl Serialize for StationClass {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self.name() {
            Some(name) => s.serialize_str(name),
            None => s.collect_str(&format_args!("{:02X}", self.0)),
        }
    }
}

struct Dictionary {
    by_code: BTreeMap<Element, Kind>,
    by_symbol: BTreeMap<String, Element>,
    state_bits: Vec<StateBit>,
}

fn dictionary() -> &'static Dictionary {
    #[derive(Deserialize)]
    struct File {
        elements: BTreeMap<String, Kind>,
        state_bits: Vec<StateBit>,
    }
    static DICTIONARY: OnceLock<Dictionary> = OnceLock::new();
    DICTIONARY.get_or_init(|| {
        let file: File = serde_json::from_str(include_str!("elements.json"))
            .expect("the elements are part of the program and their test reads them");
        let code = |text: &str| u16::from_str_radix(text, 16).expect("a test reads every code");
        let by_code: BTreeMap<Element, Kind> = file
            .elements
            .into_iter()
            .map(|(text, kind)| (Element(code(&text)), kind))
            .collect();
        let by_symbol = by_code
            .iter()
            .map(|(element, kind)| (kind.symbol.clone(), *element))
            .collect();
        Dictionary {
            by_code,
            by_symbol,
            state_bits: file.state_bits,
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_element_has_a_quantity_or_a_reason() {
        let all = &dictionary().by_code;
        assert_eq!(all.len(), 127);
        for (element, kind) in all {
            assert_eq!(kind.quantity.is_some(), kind.unmapped.is_none(), "{element}");
            assert_eq!(
                Element::with_symbol(&kind.symbol),
                Some(*element),
                "{}",
                kind.symbol
            );
            if let (Some(quantity), Some(unit)) = (kind.quantity, &kind.unit) {
                assert!(
                    quantity.convert(1.0, unit).is_some(),
                    "{element}: {quantity} in {unit}"
                );
            }
            if let Some(text) = &kind.definition {
                assert_eq!(format!("{:02X}", kind.usual_definition().unwrap().0), *text);
            }
        }
    }

    #[test]
    fn state_bits_stand_in_order_and_are_states() {
        for (i, bit) in state_bits().iter().enumerate() {
            assert_eq!(usize::from(bit.bit), i);
            assert!(bit.quantity.is_none_or(Quantity::is_state), "{}", bit.name);
        }
        assert_eq!(state_bits().len(), 12);
    }

    #[test]
    fn no_two_elements_share_a_series() {
        let mut seen = BTreeMap::new();
        for (element, kind) in &dictionary().by_code {
            if let Some(quantity) = kind.quantity {
                let before = seen.insert((quantity, kind.channel), *element);
                // The 5-minute value and the hour's array of them are the same rain.
                let is_rain = *element == Element::RAIN_ARRAY && before == Some(Element(0x22));
                assert!(before.is_none() || is_rain, "{element} and {before:?}");
            }
        }
    }
}
