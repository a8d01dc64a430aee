//! The pieces of a line.

use std::borrow::Cow;
use std::ops::Range;

use super::Field;

/// A place in the payload.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    bytes: &'a [u8],
    /// The bytes, when all of them are UTF-8: looked at once, and not for each name.
    text: Option<&'a str>,
    pub(super) at: usize,
    /// Number of the line of the place, from 1.
    pub(super) line: usize,
}

type Wrong = (usize, &'static str);

pub(super) fn ends_measurement(b: u8) -> bool {
    matches!(b, b',' | b' ' | b'\n')
}
pub(super) fn ends_key(b: u8) -> bool {
    matches!(b, b',' | b' ' | b'=' | b'\n')
}
pub(super) fn ends_tag_value(b: u8) -> bool {
    matches!(b, b',' | b' ' | b'=' | b'\n')
}

impl<'a> Scan<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            text: std::str::from_utf8(bytes).ok(),
            at: 0,
            line: 1,
        }
    }
    fn slice(&self, range: Range<usize>) -> Option<&'a str> {
        match self.text {
            Some(text) => text.get(range),
            None => std::str::from_utf8(self.bytes.get(range)?).ok(),
        }
    }
    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }
    pub(super) fn spaces(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | 0)) {
            self.at += 1;
        }
    }
    pub(super) fn took(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }
    pub(super) fn expect(&mut self, byte: u8, or: &'static str) -> Result<(), Wrong> {
        if self.took(byte) {
            Ok(())
        } else {
            Err((self.at, or))
        }
    }
    /// At `\n`, `\r\n`, or where the payload (perhaps after a `\r`) ends.
    pub(super) fn at_end_of_line(&self) -> bool {
        matches!(
            &self.bytes[self.at..],
            [] | [b'\n', ..] | [b'\r'] | [b'\r', b'\n', ..]
        )
    }
    /// Takes the line's end, which the place is at.
    pub(super) fn end_line(&mut self) {
        self.took(b'\r');
        if self.took(b'\n') {
            self.line += 1;
        }
    }
    /// Goes behind the next line end.
    pub(super) fn rest_of_line(&mut self) {
        match self.bytes[self.at..].iter().position(|b| *b == b'\n') {
            Some(n) => {
                self.at += n + 1;
                self.line += 1;
            }
            None => self.at = self.bytes.len(),
        }
    }

    /// A measurement, tag or field name, or a tag's value, up to an unescaped end byte; not empty.
    pub(super) fn name(
        &mut self,
        ends: impl Fn(u8) -> bool,
        what: &'static str,
    ) -> Result<Cow<'a, str>, Wrong> {
        let start = self.at;
        let mut has_escapes = false;
        let mut at = start;
        while let Some(&byte) = self.bytes.get(at) {
            if ends(byte) {
                break;
            }
            if byte == b'\\' && self.bytes.get(at + 1).is_some_and(|next| *next != b'\n') {
                has_escapes = true;
                at += 1;
            }
            at += 1;
        }
        if at == start {
            return Err((start, what));
        }
        self.at = at;
        let text = self.slice(start..at).ok_or((start, "a name that is not UTF-8"))?;
        Ok(if has_escapes {
            Cow::Owned(unescaped(text, |c| matches!(c, ',' | '=' | ' ')))
        } else {
            Cow::Borrowed(text)
        })
    }

    pub(super) fn value(&mut self) -> Result<Field<'a>, Wrong> {
        let start = self.at;
        if self.took(b'"') {
            return self.text(start);
        }
        let rest = &self.bytes[start..];
        if let Some((number, length)) = short_decimal(rest) {
            self.at += length;
            return Ok(Field::Float(number));
        }
        let length = rest
            .iter()
            .position(|b| matches!(b, b',' | b' ' | b'\n' | b'\r'))
            .unwrap_or(rest.len());
        let raw = &rest[..length];
        let field = plain(raw).ok_or((start, "a value is a number, a boolean or a text in quotes"))?;
        self.at += length;
        Ok(field)
    }

    fn text(&mut self, start: usize) -> Result<Field<'a>, Wrong> {
        let from = self.at;
        let (mut has_escapes, mut n_lines) = (false, 0);
        let mut at = from;
        loop {
            match self.bytes.get(at) {
                None => return Err((start, "a text whose quotes do not end")),
                Some(b'"') => break,
                Some(b'\\') => {
                    has_escapes = true;
                    // A quote or backslash behind it does not end the text.
                    at += usize::from(matches!(self.bytes.get(at + 1), Some(b'"' | b'\\')));
                }
                Some(b'\n') => n_lines += 1,
                Some(_) => {}
            }
            at += 1;
        }
        let text = self.slice(from..at).ok_or((start, "a text that is not UTF-8"))?;
        self.at = at + 1;
        self.line += n_lines;
        Ok(Field::Text(if has_escapes {
            Cow::Owned(unescaped(text, |c| matches!(c, '"' | '\\')))
        } else {
            Cow::Borrowed(text)
        }))
    }

    pub(super) fn stamp(&mut self) -> Result<i64, Wrong> {
        let start = self.at;
        let rest = &self.bytes[start..];
        let length = rest
            .iter()
            .position(|b| matches!(b, b' ' | b'\n' | b'\r'))
            .unwrap_or(rest.len());
        if let Some(stamp) = short_digits(&rest[..length]) {
            self.at += length;
            return Ok(stamp);
        }
        let stamp = std::str::from_utf8(&rest[..length])
            .ok()
            .filter(|text| !text.starts_with('+'))
            .and_then(|text| text.parse().ok())
            .ok_or((start, "a timestamp is a whole number"))?;
        self.at += length;
        Ok(stamp)
    }
}

/// A backslash before a character that needs it goes; any other stays.
fn unescaped(text: &str, needs: fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\\' && chars.peek().is_some_and(|next| needs(*next)) {
            out.extend(chars.next());
        } else {
            out.push(c);
        }
    }
    out
}

/// A whole number of at most 18 digits without a sign.
fn short_digits(raw: &[u8]) -> Option<i64> {
    if raw.is_empty() || raw.len() > 18 || !raw.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(raw.iter().fold(0, |n, digit| n * 10 + i64::from(digit - b'0')))
}

/// A number of at most 15 digits with or without a point, and how long it is: what nearly every value looks like.
/// Its digits and the power of ten are both exact, so that their quotient is the nearest number, as [`str::parse`]
/// has it. Anything else is for [`plain`].
fn short_decimal(rest: &[u8]) -> Option<(f64, usize)> {
    const POWERS: [f64; 16] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
    ];
    let sign = usize::from(rest.first() == Some(&b'-'));
    let (mut digits, mut n_digits, mut point) = (0u64, 0, None);
    let mut at = sign;
    loop {
        match rest.get(at) {
            Some(digit @ b'0'..=b'9') => {
                digits = digits * 10 + u64::from(digit - b'0');
                n_digits += 1;
                if n_digits > 15 {
                    return None;
                }
            }
            Some(b'.') if point.is_none() && n_digits > 0 => point = Some(n_digits),
            None | Some(b',' | b' ' | b'\n' | b'\r') => break,
            Some(_) => return None,
        }
        at += 1;
    }
    let n_decimals = n_digits - point.unwrap_or(n_digits);
    if n_digits == 0 || (point.is_some() && n_decimals == 0) {
        return None;
    }
    let number = digits as f64 / POWERS.get(n_decimals)?;
    Some((if sign == 1 { -number } else { number }, at))
}

fn plain(raw: &[u8]) -> Option<Field<'static>> {
    match raw {
        b"t" | b"T" | b"true" | b"True" | b"TRUE" => return Some(Field::Bool(true)),
        b"f" | b"F" | b"false" | b"False" | b"FALSE" => return Some(Field::Bool(false)),
        _ => {}
    }
    let text = std::str::from_utf8(raw).ok()?;
    // Rust reads `inf` and `nan` as numbers; the line protocol does not.
    let is_numeric = |text: &str| {
        text.bytes()
            .all(|b| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
    };
    if let Some(int) = text.strip_suffix('i') {
        return int.parse().ok().map(Field::Int);
    }
    if let Some(unsigned) = text.strip_suffix('u') {
        return unsigned.parse().ok().map(Field::Unsigned);
    }
    let number: f64 = text.parse().ok().filter(|_| is_numeric(text))?;
    number.is_finite().then_some(Field::Float(number))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_short_number_is_what_parsing_says_bit_for_bit(text in "-?[0-9]{0,17}(\\.[0-9]{0,17})?[e,x]?[0-9]?") {
            if let Some((number, length)) = short_decimal(text.as_bytes()) {
                prop_assert!(text[length..].is_empty() || text[length..].starts_with(','));
                prop_assert_eq!(number.to_bits(), text[..length].parse::<f64>().unwrap().to_bits());
            }
            if let Some(whole) = short_digits(text.as_bytes()) {
                prop_assert_eq!(Ok(whole), text.parse());
            }
        }
    }

    #[test]
    fn what_sensors_say_is_short() {
        for (text, number) in [
            ("21.5", 21.5),
            ("-0.0", -0.0),
            ("0", 0.0),
            ("-40", -40.0),
            ("1203.07,", 1203.07),
        ] {
            let (short, _) = short_decimal(text.as_bytes()).unwrap();
            assert_eq!(short.to_bits(), f64::to_bits(number), "{text}");
        }
        for text in ["", "-", ".5", "5.", "1e3", "7i", "t", "1.2.3", "1234567890123456"] {
            assert_eq!(short_decimal(text.as_bytes()), None, "{text}");
        }
        assert_eq!(short_digits(b"1763856000000"), Some(1_763_856_000_000));
    }
}
