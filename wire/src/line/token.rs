//! The pieces of a line.

use std::borrow::Cow;

use super::Field;

/// A place in the payload.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    bytes: &'a [u8],
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
            at: 0,
            line: 1,
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
    pub(super) fn name(&mut self, ends: fn(u8) -> bool, what: &'static str) -> Result<Cow<'a, str>, Wrong> {
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
        let raw = &self.bytes[start..at];
        if raw.is_empty() {
            return Err((start, what));
        }
        self.at = at;
        let text = std::str::from_utf8(raw).map_err(|_| (start, "a name that is not UTF-8"))?;
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
        let raw = &self.bytes[from..at];
        let text = std::str::from_utf8(raw).map_err(|_| (start, "a text that is not UTF-8"))?;
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
