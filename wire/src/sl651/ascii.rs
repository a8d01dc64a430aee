//! Bodies of ASCII frames: `symbol value symbol value `, one blank between items.

use super::body::{Body, Content};
use super::{Direction, Element, Error, Frame, Group, Number, Stamp, Station, StationClass};
use crate::hex;

/// Reads a body. A first packet that is cut inside an item is kept as bytes. The words of a question or command stand
/// one by one: it names symbols without values.
pub(super) fn read(frame: &Frame, at: usize) -> Result<Body, Error> {
    let (body, is_whole) = (&frame.body, frame.is_whole());
    let ends = |what, from: usize, need| Error::BodyEnds {
        at: at + from,
        what,
        need,
    };
    let serial = body.get(..4).ok_or(ends("the serial number", 0, 4))?;
    let serial = hex::read(serial).map_err(|i| Error::NotHex { at: at + i })?;
    let sent = body.get(4..16).ok_or(ends("the send time", 4, 12))?;
    if frame.direction == Direction::Down
        && frame.function == 0x38
        && let Some(content) = period(&body[16..])
    {
        return Ok(Body {
            serial: Some(u16::from(serial[0]) << 8 | u16::from(serial[1])),
            sent: Some(Stamp {
                digits: String::from_utf8_lossy(sent).into_owned(),
            }),
            content,
        });
    }
    let content = match frame.direction {
        Direction::Down => Ok(symbols(&body[16..])),
        Direction::Up => items(&body[16..], at + 16),
    };
    let content = match content {
        Ok(groups) => Content::Groups { groups, n_cut: 0 },
        Err(_) if !is_whole => Content::Part(body[16..].to_vec()),
        Err(error) => return Err(error),
    };
    Ok(Body {
        serial: Some(u16::from(serial[0]) << 8 | u16::from(serial[1])),
        sent: Some(Stamp {
            digits: String::from_utf8_lossy(sent).into_owned(),
        }),
        content,
    })
}

/// The question for a period: its first and last hour, the step, the element's symbol.
fn period(text: &[u8]) -> Option<Content> {
    let mut words = Words { rest: text, at: 0 };
    let mut word = || words.next().map(|(_, word)| word);
    let is_hour = |digits: &String| digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_digit());
    let (from, to) = (word().filter(is_hour)?, word().filter(is_hour)?);
    let step = step(&word()?)?;
    let element = Element::with_symbol(&word()?)?;
    let definition = element.kind()?.usual_definition()?;
    Some(Content::Period {
        from: Stamp { digits: from },
        to: Stamp { digits: to },
        step,
        element: (element, definition),
    })
}

fn symbols(text: &[u8]) -> Vec<Group> {
    let mut words = Words { rest: text, at: 0 };
    std::iter::from_fn(|| words.next())
        .map(|(_, symbol)| Group::Symbol {
            symbol,
            text: String::new(),
        })
        .collect()
}

/// Words between blanks and where they start in the frame.
struct Words<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<(usize, String)> {
        loop {
            if self.rest.is_empty() {
                return None;
            }
            let end = self
                .rest
                .iter()
                .position(|b| *b == b' ')
                .unwrap_or(self.rest.len());
            let (word, at) = (&self.rest[..end], self.at);
            let step = (end + 1).min(self.rest.len());
            self.rest = &self.rest[step..];
            self.at += step;
            if !word.is_empty() {
                return Some((at, String::from_utf8_lossy(word).into_owned()));
            }
        }
    }
    fn peek(&self) -> Option<String> {
        let mut ahead = Words {
            rest: self.rest,
            at: self.at,
        };
        ahead.next().map(|(_, word)| word)
    }
    fn all(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }
    /// The value of an item, which is not itself a symbol.
    fn value(&mut self, what: &'static str) -> Result<(usize, String), Error> {
        match self.next() {
            Some((at, word)) if is_symbol(&word) => Err(Error::Unexpected { at, want: what }),
            Some(value) => Ok(value),
            None => Err(Error::BodyEnds {
                at: self.at,
                what,
                need: 1,
            }),
        }
    }
}

fn is_symbol(word: &str) -> bool {
    matches!(word, "ST" | "TT" | "RGZS" | "PIC")
        || step(word).is_some()
        || Element::with_symbol(word).is_some()
}

/// `DRH01`: days, hours or minutes between the values of a series.
fn step(word: &str) -> Option<[u8; 3]> {
    let (unit, number) = word.strip_prefix("DR")?.split_at_checked(1)?;
    if number.len() != 2 || !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number = u8::from_str_radix(number, 16).ok()?;
    match unit {
        "D" => Some([number, 0, 0]),
        "H" => Some([0, number, 0]),
        "N" => Some([0, 0, number]),
        _ => None,
    }
}

fn step_word(step: [u8; 3]) -> Option<String> {
    match step {
        [days, 0, 0] if days > 0 => Some(format!("DRD{days:02X}")),
        [0, hours, 0] if hours > 0 => Some(format!("DRH{hours:02X}")),
        [0, 0, minutes] => Some(format!("DRN{minutes:02X}")),
        _ => None,
    }
}

fn items(text: &[u8], at: usize) -> Result<Vec<Group>, Error> {
    let mut words = Words { rest: text, at };
    let mut groups = Vec::new();
    let mut has_step = false;
    while let Some((at, word)) = words.next() {
        if let Some(step) = step(&word) {
            has_step = true;
            groups.push(Group::Step(step));
            continue;
        }
        groups.push(match word.as_str() {
            "ST" => {
                let (at, address) = words.value("a station address")?;
                let want = "a station address";
                let station = address
                    .parse::<Station>()
                    .map_err(|_| Error::Unexpected { at, want })?;
                let class = words.peek().filter(|next| next.len() == 1).and_then(|next| {
                    let class = StationClass(next.as_bytes()[0]);
                    class.name().map(|_| class)
                });
                if class.is_some() {
                    words.next();
                }
                Group::Station { station, class }
            }
            "TT" => Group::Observed(Stamp {
                digits: words.value("an observation time")?.1,
            }),
            "RGZS" => Group::Manual(words.all().to_vec()),
            symbol => match Element::with_symbol(symbol) {
                Some(element) => known(element, &mut words, has_step)?,
                None => Group::Symbol {
                    symbol: word.clone(),
                    text: match words.peek() {
                        Some(next) if !is_symbol(&next) => {
                            words.next().map(|(_, text)| text).unwrap_or_default()
                        }
                        _ => String::new(),
                    },
                },
            },
        });
        debug_assert!(words.at > at, "each item takes at least its symbol");
    }
    Ok(groups)
}

fn known(element: Element, words: &mut Words<'_>, is_series: bool) -> Result<Group, Error> {
    let (at, value) = words.value("a value")?;
    let bytes = |n: usize, want| {
        let bytes = hex::read(value.as_bytes()).map_err(|i| Error::NotHex { at: at + i })?;
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
            let bits = bytes(4, "eight characters of state bits")?;
            let bits: [u8; 4] = bits.try_into().map_err(|_| Error::Unexpected {
                at,
                want: "eight characters of state bits",
            })?;
            Group::State(u32::from_be_bytes(bits))
        }
        _ if element.is_level_array() => Group::Levels {
            element,
            values: bytes(24, "twelve values of four characters")?
                .chunks_exact(2)
                .map(|pair| Some(u16::from(pair[0]) << 8 | u16::from(pair[1])).filter(|v| *v != 0xFFFF))
                .collect(),
        },
        _ => {
            let mut values = vec![Number::of_text(&value)];
            while is_series && words.peek().is_some_and(|next| is_number_like(&next)) {
                values.extend(words.next().map(|(_, word)| Number::of_text(&word)));
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
fn is_number_like(word: &str) -> bool {
    !matches!(Number::of_text(word), Number::NotANumber { .. })
}

/// Writes a body as text. `None` for what has no text form.
pub(super) fn write(body: &Body) -> Option<Vec<u8>> {
    let sent = body.sent.as_ref().filter(|sent| sent.digits.len() == 12)?;
    let mut out = format!("{:04X}{}", body.serial?, sent.digits).into_bytes();
    let groups = match &body.content {
        Content::Groups { groups, n_cut: 0 } => groups,
        Content::Period {
            from,
            to,
            step,
            element: (element, _),
        } => {
            let step = step_word(*step)?;
            let symbol = &element.kind()?.symbol;
            out.extend(format!("{} {} {step} {symbol} ", from.digits, to.digits).into_bytes());
            return Some(out);
        }
        Content::Asked(asked) => {
            for (element, _) in asked {
                out.extend(format!("{} ", element.kind()?.symbol).into_bytes());
            }
            return Some(out);
        }
        _ => return None,
    };
    for group in groups {
        let item = match group {
            Group::Station { station, class } => match class {
                Some(class) => format!("ST {station} {} ", char::from(class.0)),
                None => format!("ST {station} "),
            },
            Group::Observed(stamp) => format!("TT {} ", stamp.digits),
            Group::Manual(text) => {
                out.extend(b"RGZS ");
                out.extend(text);
                continue;
            }
            Group::Step(step) => format!("{} ", step_word(*step)?),
            Group::Rain(values) => {
                let bytes: Vec<u8> = values.iter().map(|v| v.unwrap_or(0xFF)).collect();
                format!("DRP {} ", hex::upper(&bytes))
            }
            Group::Levels { element, values } => {
                let bytes: Vec<u8> = values
                    .iter()
                    .flat_map(|v| v.unwrap_or(0xFFFF).to_be_bytes())
                    .collect();
                format!("{} {} ", element.kind()?.symbol, hex::upper(&bytes))
            }
            Group::State(bits) => format!("ZT {bits:08X} "),
            Group::Element { element, values, .. } => {
                let mut item = format!("{} ", element.kind()?.symbol);
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
            Group::Picture(_) | Group::Velocities(_) => return None,
        };
        out.extend(item.into_bytes());
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::sl651::Decimal;

    fn groups(text: &str) -> Result<Vec<Group>, Error> {
        items(text.as_bytes(), 40)
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
        let read = groups("ST 0012345678 H TT 1707181100 Z 10.490 XYZ 7 ABC Z M ").unwrap();
        assert_eq!(read.len(), 6);
        assert_eq!(read[2], level(&["10.490"], false));
        assert_eq!(
            read[4],
            Group::Symbol {
                symbol: "ABC".into(),
                text: String::new()
            }
        );
        assert_eq!(read[5], level(&["M"], false));
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
    fn a_question_names_symbols() {
        use crate::sl651::reply::{Line, Question};
        use crate::sl651::{Definition, Encoding, decode};
        let line = Line {
            station: "0012345678".parse().unwrap(),
            centre: 1,
            password: 0x1234,
            encoding: Encoding::Ascii,
        };
        let asked = vec![
            (Element(0x39), Definition(0x23)),
            (Element(0x26), Definition(0x19)),
        ];
        let now = onemap_model::Timestamp::from_ms(1_700_000_000_000);
        let frame = line.ask(0, now, &Question::Elements(asked)).unwrap();
        let bytes = frame.encode().unwrap();
        assert_eq!(&bytes[..24], b"\x0100123456780112343A8015\x02");
        let view = decode(&bytes).unwrap();
        let symbol = |symbol: &str| Group::Symbol {
            symbol: symbol.to_owned(),
            text: String::new(),
        };
        assert_eq!(
            view.body.content,
            Content::Groups {
                groups: vec![symbol("Z"), symbol("PT")],
                n_cut: 0
            }
        );
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
