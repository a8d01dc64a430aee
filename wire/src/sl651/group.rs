//! The groups of a body: identifier, definition byte, data.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::{Definition, Element, Error, Number, Stamp, Station, StationClass};
use crate::hex;

/// One group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Group {
    /// F1: whose values follow, and its class in reports.
    Station {
        /// Address.
        station: Station,
        /// Class.
        class: Option<StationClass>,
    },
    /// F0: when what follows was observed, down to the minute. Of a period its end, of a series its first value.
    Observed(Stamp),
    /// F2: what a person wrote; the rest of the body.
    Manual(Vec<u8>),
    /// F3: a JPEG; the rest of the body.
    Picture(Vec<u8>),
    /// FD: a maker's batch of flow velocities; the rest of the body.
    Velocities(Vec<u8>),
    /// 04: days, hours, minutes from one value of a series to the next, as sent in BCD.
    Step([u8; 3]),
    /// F4: rain of five minutes each, 0.1 mm; none is missing.
    Rain(Vec<Option<u8>>),
    /// F5 to FC: levels above a base every five minutes, 0.01 m; none is missing.
    Levels {
        /// Which of the eight.
        element: Element,
        /// The values.
        values: Vec<Option<u16>>,
    },
    /// 45: state bits, see [`super::state_bits`].
    State(u32),
    /// Any other element with one value, or with the values of a series in turn.
    Element {
        /// Identifier.
        element: Element,
        /// Length and decimals; none in ASCII.
        definition: Option<Definition>,
        /// One value; any number in a series.
        values: Vec<Number>,
        /// Whether it is a series: values follow each other by the step before it.
        is_series: bool,
    },
    /// An ASCII item whose symbol the dictionary does not have.
    Symbol {
        /// Symbol.
        symbol: String,
        /// The text after it, empty when none is.
        text: String,
    },
}

/// Reads bytes of a body in turn; positions count from the start of the frame.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }
    pub(super) fn at(&self) -> usize {
        self.at
    }
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes
    }
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
    /// The next `n` bytes of `what`.
    pub(super) fn take(&mut self, n: usize, what: &'static str) -> Result<&'a [u8], Error> {
        let Some((taken, rest)) = self.bytes.split_at_checked(n) else {
            return Err(Error::BodyEnds {
                at: self.at,
                what,
                need: n,
            });
        };
        self.bytes = rest;
        self.at += n;
        Ok(taken)
    }
    pub(super) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, what)?);
        Ok(array)
    }
    pub(super) fn byte(&mut self, what: &'static str) -> Result<u8, Error> {
        self.array::<1>(what).map(|[byte]| byte)
    }
    pub(super) fn expect(&mut self, bytes: &[u8], want: &'static str) -> Result<(), Error> {
        let at = self.at;
        match self.take(bytes.len(), want)? == bytes {
            true => Ok(()),
            false => Err(Error::Unexpected { at, want }),
        }
    }
    pub(super) fn take_rest(&mut self) -> &'a [u8] {
        let rest = std::mem::take(&mut self.bytes);
        self.at += rest.len();
        rest
    }
    pub(super) fn end(&self) -> Result<(), Error> {
        match self.bytes.len() {
            0 => Ok(()),
            extra => Err(Error::Surplus { at: self.at, extra }),
        }
    }
    /// An identifier and its definition byte.
    pub(super) fn element(&mut self) -> Result<(Element, Definition), Error> {
        let mut code = u16::from(self.byte("an element identifier")?);
        if code == 0xFF {
            code = 0xFF00 | u16::from(self.byte("an extended element identifier")?);
        }
        Ok((Element(code), Definition(self.byte("a definition byte")?)))
    }
}

/// Reads groups to the end of the body. In a series (functions 31 and 38) the element after the step has its values
/// to the end. What was read before an error is in
/// `groups`, and the cursor stands behind it.
pub(super) fn read_groups(
    cursor: &mut Cursor<'_>,
    function: u8,
    groups: &mut Vec<Group>,
) -> Result<(), Error> {
    let is_report = (0x30..=0x3A).contains(&function);
    let is_series = matches!(function, 0x31 | 0x38);
    let mut has_step = false;
    while !cursor.is_empty() {
        let mut ahead = *cursor;
        let group = group(&mut ahead, is_report, is_series && has_step)?;
        *cursor = ahead;
        has_step |= matches!(group, Group::Step(_));
        groups.push(group);
    }
    Ok(())
}

fn group(cursor: &mut Cursor<'_>, is_report: bool, is_series: bool) -> Result<Group, Error> {
    Ok(match cursor.rest() {
        [0xF1, ..] => station(cursor, is_report)?,
        [0xF0, ..] => {
            cursor.expect(&[0xF0, 0xF0], "F0F0, an observation time")?;
            Group::Observed(Stamp::of_bcd(cursor.take(5, "an observation time")?))
        }
        [0xF2, ..] => {
            cursor.expect(&[0xF2, 0xF2], "F2F2, a manual text")?;
            Group::Manual(cursor.take_rest().to_vec())
        }
        [0xF3, ..] => {
            cursor.expect(&[0xF3, 0xF3], "F3F3, a picture")?;
            Group::Picture(cursor.take_rest().to_vec())
        }
        [0xFD, ..] => {
            cursor.expect(&[0xFD, 0xF6], "FDF6, a batch of velocities")?;
            Group::Velocities(cursor.take_rest().to_vec())
        }
        _ => element(cursor, is_series)?,
    })
}

/// F1F1 and an address, and its class. Class letters are element identifiers too: a class stands in every report,
/// elsewhere only right before the observation time.
fn station(cursor: &mut Cursor<'_>, is_report: bool) -> Result<Group, Error> {
    cursor.expect(&[0xF1, 0xF1], "F1F1, a station address")?;
    let station = Station(cursor.array("a station address")?);
    let class = match cursor.rest() {
        [0xF0, 0xF0, ..] => None,
        [class, 0xF0, 0xF0, ..] => Some(StationClass(*class)),
        [class, ..] if is_report => Some(StationClass(*class)).filter(|class| class.name().is_some()),
        _ => None,
    };
    if class.is_some() {
        cursor.byte("a station class")?;
    }
    Ok(Group::Station { station, class })
}

fn element(cursor: &mut Cursor<'_>, is_series: bool) -> Result<Group, Error> {
    let (element, definition) = cursor.element()?;
    let size = definition.n_bytes();
    let is_array = element.is_array();
    let fits = size > 0 && cursor.rest().len().is_multiple_of(size);
    // An array holds an hour by itself, so other groups may follow it.
    let is_series = is_series && (fits || !is_array);
    if is_series && !fits {
        let need = size.max(1) * (cursor.rest().len() / size.max(1) + 1);
        return Err(Error::BodyEnds {
            at: cursor.at(),
            what: "the values of a series",
            need,
        });
    }
    let data_at = cursor.at();
    let data = if is_series {
        cursor.take_rest()
    } else {
        cursor.take(size, "an element")?
    };
    Ok(match element {
        Element::STEP if size == 3 => Group::Step([data[0], data[1], data[2]]),
        Element::STATE if size == 4 && data.len() == 4 => {
            Group::State(data.iter().fold(0, |all, byte| all << 8 | u32::from(*byte)))
        }
        Element::RAIN_ARRAY => Group::Rain(data.iter().map(|b| (*b != 0xFF).then_some(*b)).collect()),
        _ if element.is_level_array() => {
            if !size.is_multiple_of(2) {
                return Err(Error::Unexpected {
                    at: data_at - 1,
                    want: "an even number of bytes of levels",
                });
            }
            let level = |pair: &[u8]| u16::from(pair[0]) << 8 | u16::from(pair[1]);
            Group::Levels {
                element,
                values: data
                    .chunks_exact(2)
                    .map(|pair| Some(level(pair)).filter(|level| *level != 0xFFFF))
                    .collect(),
            }
        }
        _ => {
            let read = |bytes: &[u8]| Number::of_bcd(bytes, definition.decimals());
            Group::Element {
                element,
                definition: Some(definition),
                values: if is_series {
                    data.chunks_exact(size).map(read).collect()
                } else {
                    vec![read(data)]
                },
                is_series,
            }
        }
    })
}

/// Writes groups as they stand in a binary body. `None` when a value does not fit its definition, an array has
/// other than 1 to 31 bytes, or a symbol has no identifier.
///
/// A series must be the last group, after its step.
pub fn write_groups(groups: &[Group]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for group in groups {
        match group {
            Group::Station { station, class } => {
                out.extend([0xF1, 0xF1]);
                out.extend(station.0);
                out.extend(class.map(|class| class.0));
            }
            Group::Observed(stamp) => {
                out.extend([0xF0, 0xF0]);
                out.extend(Some(stamp.to_bcd()).filter(|bcd| bcd.len() == 5)?);
            }
            Group::Manual(text) => out.extend([&[0xF2, 0xF2], &text[..]].concat()),
            Group::Picture(jpeg) => out.extend([&[0xF3, 0xF3], &jpeg[..]].concat()),
            Group::Velocities(data) => out.extend([&[0xFD, 0xF6], &data[..]].concat()),
            Group::Step(step) => out.extend([&[0x04, 0x18], &step[..]].concat()),
            Group::Rain(values) => {
                // A series of several hours has one definition byte, that of the hour.
                let size = if values.len().is_multiple_of(12) {
                    12
                } else {
                    values.len()
                };
                out.extend([0xF4, Definition::new(size, 0)?.0]);
                out.extend(values.iter().map(|value| value.unwrap_or(0xFF)));
            }
            Group::Levels { element, values } => {
                let size = if values.len().is_multiple_of(12) {
                    24
                } else {
                    values.len() * 2
                };
                out.extend(element.bytes());
                out.push(Definition::new(size, 0)?.0);
                out.extend(
                    values
                        .iter()
                        .flat_map(|value| value.unwrap_or(0xFFFF).to_be_bytes()),
                );
            }
            Group::State(bits) => {
                out.extend([0x45, 0x20]);
                out.extend(bits.to_be_bytes());
            }
            Group::Element {
                element,
                definition,
                values,
                ..
            } => {
                let definition = (*definition).or_else(|| element.kind()?.usual_definition())?;
                out.extend(element.bytes());
                out.push(definition.0);
                for value in values {
                    out.extend(value.to_bcd(definition.n_bytes(), definition.decimals())?);
                }
            }
            Group::Symbol { .. } => return None,
        }
    }
    Some(out)
}

impl Serialize for Group {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(None)?;
        match self {
            Group::Station { station, class } => {
                map.serialize_entry("station", station)?;
                if let Some(class) = class {
                    map.serialize_entry("class", class)?;
                }
            }
            Group::Observed(stamp) => {
                map.serialize_entry("observed", stamp)?;
                map.serialize_entry("observed_at", &stamp.moment())?;
            }
            Group::Manual(text) => {
                map.serialize_entry("manual", &super::readings::manual_text(text))?;
                if !text.is_ascii() {
                    map.serialize_entry("raw", &hex::upper(text))?;
                }
            }
            Group::Picture(jpeg) => {
                map.serialize_entry("picture_bytes", &jpeg.len())?;
                map.serialize_entry("starts", &hex::lower(&jpeg[..jpeg.len().min(8)]))?;
            }
            Group::Velocities(data) => {
                map.serialize_entry("id", "FD")?;
                map.serialize_entry("raw", &hex::upper(data))?;
            }
            Group::Step(step) => {
                map.serialize_entry("id", &Element::STEP)?;
                map.serialize_entry("step_dhm", &hex::upper(step))?;
            }
            Group::Rain(values) => {
                let mm = |value: &Option<u8>| value.map(|v| f64::from(v) / 10.0);
                map.serialize_entry("id", &Element::RAIN_ARRAY)?;
                map.serialize_entry("rain_5min_mm", &values.iter().map(mm).collect::<Vec<_>>())?;
            }
            Group::Levels { element, values } => {
                let m = |value: &Option<u16>| value.map(|v| f64::from(v) / 100.0);
                map.serialize_entry("id", element)?;
                map.serialize_entry("level_5min_m", &values.iter().map(m).collect::<Vec<_>>())?;
            }
            Group::State(bits) => {
                map.serialize_entry("id", &Element::STATE)?;
                map.serialize_entry("raw", &format_args!("{bits:08X}"))?;
                let set = |bit: &usize| bits >> bit & 1 == 1;
                let name = |bit: usize| match super::state_bits().get(bit) {
                    Some(known) => known.name.clone(),
                    None => format!("bit_{bit}"),
                };
                let named = (0..32).filter(set).map(name);
                map.serialize_entry("set", &named.collect::<Vec<_>>())?;
            }
            Group::Element {
                element,
                definition,
                values,
                is_series,
            } => {
                map.serialize_entry("id", element)?;
                if let Some(definition) = definition {
                    map.serialize_entry("definition", definition)?;
                    map.serialize_entry("bytes", &definition.n_bytes())?;
                    map.serialize_entry("decimals", &definition.decimals())?;
                }
                match values.as_slice() {
                    [value] if !is_series => map.serialize_entry("value", value)?,
                    values => map.serialize_entry("values", values)?,
                }
                match element.kind() {
                    Some(kind) => {
                        map.serialize_entry("symbol", &kind.symbol)?;
                        map.serialize_entry("name", &kind.name)?;
                        map.serialize_entry("unit", &kind.unit)?;
                        map.serialize_entry("quantity", &kind.quantity)?;
                    }
                    None => map.serialize_entry("unknown", &true)?,
                }
            }
            Group::Symbol { symbol, text } => {
                map.serialize_entry("symbol", symbol)?;
                map.serialize_entry("text", text)?;
                map.serialize_entry("unknown", &true)?;
            }
        }
        map.end()
    }
}
