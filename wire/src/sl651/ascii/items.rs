//! Items of reports: `symbol value `, after `DRxnn ` several values in turn.

use super::words::{Words, bytes_of, element_of, is_symbol, step_of, step_word, symbol_of};
use crate::hex;
use crate::sl651::{Element, Error, Group, Number, Stamp, Station, StationClass};

/// Reads items to the end. What was read before an error is in `groups`, and the words stand behind it.
pub(super) fn read(words: &mut Words<'_>, is_report: bool, groups: &mut Vec<Group>) -> Result<(), Error> {
    let mut has_step = false;
    while words.peek().is_some() {
        let mut ahead = *words;
        let group = item(&mut ahead, is_report, has_step)?;
        debug_assert!(ahead.len() < words.len(), "each item takes at least its symbol");
        *words = ahead;
        has_step |= matches!(group, Group::Step(_));
        groups.push(group);
    }
    Ok(())
}

/// `ST` and an address, where it stands.
pub(super) fn station(words: &mut Words<'_>) -> Result<Option<Station>, Error> {
    if words.peek() != Some(b"ST") {
        return Ok(None);
    }
    words.next();
    words.formed("a station address", address).map(Some)
}

fn address(word: &[u8]) -> Option<Station> {
    hex::read(word).ok()?.try_into().map(Station).ok()
}

fn item(words: &mut Words<'_>, is_report: bool, has_step: bool) -> Result<Group, Error> {
    if let Some(station) = station(words)? {
        let class = class(words, is_report);
        return Ok(Group::Station { station, class });
    }
    let (_, word) = words.word("a symbol")?;
    if let Some(step) = step_of(word) {
        return Ok(Group::Step(step));
    }
    Ok(match word {
        b"TT" => Group::Observed(Stamp {
            digits: text(words.value("an observation time")?.1),
        }),
        b"RGZS" => Group::Manual(words.all().to_vec()),
        b"PIC" => Group::Picture(rest(words)),
        symbol => match element_of(symbol) {
            Some(Element::VELOCITIES) => Group::Velocities(rest(words)),
            Some(element) => known(element, words, has_step)?,
            None => Group::Symbol {
                symbol: text(symbol),
                text: match words.peek() {
                    Some(next) if !is_symbol(next) => words.next().map(|(_, text)| text),
                    _ => None,
                }
                .map(text)
                .unwrap_or_default(),
            },
        },
    })
}

/// The class behind an address. Its letters are symbols of elements, too: a class stands in every report, elsewhere
/// only right before the observation time, and no value follows it.
fn class(words: &mut Words<'_>, is_report: bool) -> Option<StationClass> {
    let mut ahead = *words;
    let class = match ahead.next()?.1 {
        [letter] => Some(StationClass(*letter)).filter(|class| class.name().is_some())?,
        _ => return None,
    };
    let is_class = match ahead.peek() {
        Some(next) => next == b"TT" || (is_report && !is_number_like(next)),
        None => is_report,
    };
    if is_class {
        *words = ahead;
    }
    is_class.then_some(class)
}

fn text(word: &[u8]) -> String {
    String::from_utf8_lossy(word).into_owned()
}

/// The rest of the body as bytes: two characters each, or the bytes themselves.
fn rest(words: &mut Words<'_>) -> Vec<u8> {
    let all = words.all();
    hex::read(all.trim_ascii_end()).unwrap_or_else(|_| all.to_vec())
}

fn known(element: Element, words: &mut Words<'_>, is_series: bool) -> Result<Group, Error> {
    let (at, value) = words.value("a value")?;
    let bytes = |n: usize, want| {
        let bytes = bytes_of(value, at)?;
        match bytes.len() % n {
            0 if !bytes.is_empty() => Ok(bytes),
            _ => Err(Error::Unexpected { at, want }),
        }
    };
    Ok(match element {
        Element::RAIN_ARRAY => {
            let values = bytes(12, "twelve values of two characters")?;
            Group::Rain(values.into_iter().map(|v| (v != 0xFF).then_some(v)).collect())
        }
        Element::STATE => {
            let want = "eight characters of state bits";
            let bits: Result<[u8; 4], _> = bytes(4, want)?.try_into();
            Group::State(u32::from_be_bytes(
                bits.map_err(|_| Error::Unexpected { at, want })?,
            ))
        }
        _ if element.is_level_array() => Group::Levels {
            element,
            values: bytes(24, "twelve values of four characters")?
                .chunks_exact(2)
                .map(|pair| Some(u16::from(pair[0]) << 8 | u16::from(pair[1])).filter(|v| *v != 0xFFFF))
                .collect(),
        },
        _ => {
            let mut values = vec![Number::of_text(&text(value))];
            while is_series && words.peek().is_some_and(is_number_like) {
                values.extend(words.next().map(|(_, word)| Number::of_text(&text(word))));
            }
            Group::Element {
                element,
                definition: None,
                values,
                is_series,
            }
        }
    })
}

/// Whether a word stands where the next value of a series does.
fn is_number_like(word: &[u8]) -> bool {
    !matches!(Number::of_text(&text(word)), Number::NotANumber { .. })
}

/// Writes one item. `None` when it has no symbol, or a step is more than one of days, hours and minutes.
pub(super) fn write(group: &Group, out: &mut Vec<u8>) -> Option<()> {
    let item = match group {
        Group::Station { station, class } => match class {
            Some(class) => format!("ST {station} {} ", char::from(class.0)),
            None => format!("ST {station} "),
        },
        Group::Observed(stamp) => format!("TT {} ", stamp.digits),
        Group::Manual(text) => {
            out.extend(b"RGZS ");
            out.extend(text);
            return Some(());
        }
        Group::Picture(bytes) => format!("PIC {} ", hex::upper(bytes)),
        Group::Velocities(bytes) => format!("{} {} ", symbol_of(Element::VELOCITIES)?, hex::upper(bytes)),
        Group::Step(step) => format!("{} ", step_word(*step)?),
        Group::Rain(values) => {
            let bytes: Vec<u8> = values.iter().map(|v| v.unwrap_or(0xFF)).collect();
            format!("{} {} ", symbol_of(Element::RAIN_ARRAY)?, hex::upper(&bytes))
        }
        Group::Levels { element, values } => {
            let bytes: Vec<u8> = values
                .iter()
                .flat_map(|v| v.unwrap_or(0xFFFF).to_be_bytes())
                .collect();
            format!("{} {} ", symbol_of(*element)?, hex::upper(&bytes))
        }
        Group::State(bits) => format!("{} {bits:08X} ", symbol_of(Element::STATE)?),
        Group::Element { element, values, .. } => {
            let mut item = format!("{} ", symbol_of(*element)?);
            for value in values {
                match value {
                    Number::Value(decimal) => item.push_str(&decimal.to_string()),
                    Number::Missing { .. } => item.push('M'),
                    Number::NotANumber { raw } => item.push_str(raw),
                }
                item.push(' ');
            }
            item
        }
        Group::Symbol { symbol, text } if text.is_empty() => format!("{symbol} "),
        Group::Symbol { symbol, text } => format!("{symbol} {text} "),
    };
    out.extend(item.into_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::sl651::Decimal;

    fn groups(text: &str) -> Result<Vec<Group>, Error> {
        let mut groups = Vec::new();
        read(&mut Words::new(text.as_bytes(), 40), true, &mut groups)?;
        Ok(groups)
    }

    fn level(values: &[&str], is_series: bool) -> Group {
        Group::Element {
            element: Element(0x39),
            definition: None,
            values: values.iter().map(|v| Number::of_text(v)).collect(),
            is_series,
        }
    }

    #[test]
    fn items_are_symbol_and_value() {
        let read = groups("ST 0012345678 H TT 1707181100 Z 10.490 XYZ 7 ABC Z M FF11 0.021 ").unwrap();
        assert_eq!(read.len(), 7);
        assert_eq!(read[2], level(&["10.490"], false));
        assert_eq!(
            read[4],
            Group::Symbol {
                symbol: "ABC".into(),
                text: String::new()
            }
        );
        assert_eq!(read[5], level(&["M"], false));
        assert!(matches!(
            read[6],
            Group::Element {
                element: Element(0xFF11),
                ..
            }
        ));
    }

    #[test]
    fn a_series_goes_to_the_next_symbol() {
        let read = groups("TT 1707181000 DRH01 Z 1.0 M -2.5 VT 11.2 ").unwrap();
        assert_eq!(read[1], Group::Step([0, 1, 0]));
        assert_eq!(read[2], level(&["1.0", "M", "-2.5"], true));
        assert!(
            matches!(&read[3], Group::Element { element: Element(0x38), values, .. } if values.len() == 1)
        );
    }

    #[test]
    fn an_item_without_its_value_is_an_error_with_its_place() {
        assert_eq!(
            groups("Z PJ 4.0 ").unwrap_err(),
            Error::Unexpected {
                at: 42,
                want: "a value"
            }
        );
        assert_eq!(groups("PJ 4.0 Z ").unwrap_err().code(), "body_ends");
        assert_eq!(groups("ST 12 ").unwrap_err().at(), 43);
        assert_eq!(groups("DRP 00112G ").unwrap_err(), Error::NotHex { at: 49 });
        assert_eq!(groups("DRP 0011 ").unwrap_err().code(), "unexpected");
    }

    #[test]
    fn a_class_is_told_from_the_element_of_its_letter() {
        for (text, class, n) in [
            ("ST 0012345678 H H 3.20 ", Some(b'H'), 2),
            ("ST 0012345678 H 3.20 ", None, 2),
            ("ST 0012345678 Z TT 1707181100 Z 1.0 ", Some(b'Z'), 3),
            ("ST 0012345678 Q ", Some(b'Q'), 1),
            ("ST 0012345678 TT 1707181100 ", None, 2),
        ] {
            let read = groups(text).unwrap();
            assert_eq!(read.len(), n, "{text}");
            assert!(
                matches!(&read[0], Group::Station { class: told, .. } if told.map(|c| c.0) == class),
                "{text}: {:?}",
                read[0]
            );
        }
    }

    #[test]
    fn pictures_are_hexadecimal_or_the_bytes_themselves() {
        let jpeg = vec![0xFF, 0xD8, 0x20, 0xD9];
        for text in [b"PIC FFD820D9 ".to_vec(), [b"PIC ", &jpeg[..]].concat()] {
            let mut read = Vec::new();
            super::read(&mut Words::new(&text, 40), true, &mut read).unwrap();
            assert_eq!(read, [Group::Picture(jpeg.clone())]);
        }
    }

    #[test]
    fn decimals_keep_their_zeros() {
        let decimal = Decimal {
            digits: 4000,
            decimals: 2,
        };
        assert_eq!(Number::of_text("40.00"), Number::Value(decimal));
    }
}
