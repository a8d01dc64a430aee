//! Just enough CBOR (RFC 8949) for readings: a reader over bytes that nobody vouches for, and a writer.
//!
//! The reader never takes an announced length for granted: nothing is reserved by it, and a text or an array
//! that claims more than is there ends in [`Broken`] with its byte offset. Nesting is limited to
//! [`MAX_DEPTH`]. Indefinite lengths, tags, half and single floats are read; what is not needed is skipped.

use std::borrow::Cow;

/// Deepest nesting of arrays, maps and tags.
pub const MAX_DEPTH: u8 = 16;

/// Bytes that are not CBOR.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct Broken {
    /// Offset from the start of the payload.
    pub at: usize,
    /// What is wrong there.
    pub what: &'static str,
}

/// Whether a payload is CBOR and not JSON: it begins with an array, a map or the tag of self-described CBOR
/// (RFC 8949 §3.4.6). No JSON text begins with these bytes.
pub fn is_cbor(payload: &[u8]) -> bool {
    matches!(payload.first(), Some(0x80..=0xBF)) || payload.starts_with(&[0xD9, 0xD9, 0xF7])
}

/// What stands at one place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Item<'a> {
    Whole(u64),
    /// `-1 - n`.
    Negative(u64),
    Float(f64),
    Text(Cow<'a, str>),
    Bool(bool),
    Null,
    /// Opened: its items follow.
    Array(Left),
    /// Opened: its pairs follow.
    Map(Left),
    /// A byte string or a simple value without meaning here.
    Other,
}

/// How many items an open array or map still has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    Known(u64),
    /// Until the break byte.
    Open,
}

/// Reads items one after the other.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Offset of the next byte.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    fn broken<T>(&self, what: &'static str) -> Result<T, Broken> {
        Err(Broken { at: self.at, what })
    }

    fn take(&mut self, n: u64) -> Result<&'a [u8], Broken> {
        let rest = &self.bytes[self.at..];
        match usize::try_from(n).ok().and_then(|n| rest.get(..n)) {
            Some(taken) => {
                self.at += taken.len();
                Ok(taken)
            }
            None => self.broken("the payload ends early"),
        }
    }

    /// Major type, additional information and its argument (`None` for an indefinite length).
    fn head(&mut self) -> Result<(u8, u8, Option<u64>), Broken> {
        let start = self.at;
        let first = self.take(1)?[0];
        let (major, info) = (first >> 5, first & 31);
        let big = |bytes: &[u8]| bytes.iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
        let argument = match info {
            0..=23 => Some(u64::from(info)),
            24..=27 => Some(big(self.take(1 << (info - 24))?)),
            31 if matches!(major, 2..=5 | 7) => None,
            _ => {
                self.at = start;
                return self.broken("a head that CBOR does not have");
            }
        };
        Ok((major, info, argument))
    }

    /// The next item. Tags are read over (a time's tag says nothing that the field's name does not).
    ///
    /// A break byte is not an item: [`Reader::more`] takes it.
    pub(crate) fn item(&mut self) -> Result<Item<'a>, Broken> {
        let mut n_tags = 0;
        loop {
            let start = self.at;
            let (major, info, argument) = self.head()?;
            return Ok(match (major, argument) {
                (0, Some(n)) => Item::Whole(n),
                (1, Some(n)) => Item::Negative(n),
                (2, length) => {
                    self.string(2, length)?;
                    Item::Other
                }
                (3, Some(length)) => {
                    let bytes = self.take(length)?;
                    match std::str::from_utf8(bytes) {
                        Ok(text) => Item::Text(Cow::Borrowed(text)),
                        Err(_) => {
                            self.at = start;
                            return self.broken("a text that is not UTF-8");
                        }
                    }
                }
                (3, None) => {
                    let bytes = self.string(3, None)?;
                    match String::from_utf8(bytes) {
                        Ok(text) => Item::Text(Cow::Owned(text)),
                        Err(_) => {
                            self.at = start;
                            return self.broken("a text that is not UTF-8");
                        }
                    }
                }
                (4, length) => Item::Array(length.map_or(Left::Open, Left::Known)),
                (5, length) => Item::Map(length.map_or(Left::Open, Left::Known)),
                (6, Some(_)) => {
                    n_tags += 1;
                    if n_tags > MAX_DEPTH {
                        return self.broken("too many tags");
                    }
                    continue;
                }
                (7, Some(bits)) => match info {
                    20 | 21 => Item::Bool(info == 21),
                    22 | 23 => Item::Null,
                    25 => Item::Float(half(bits as u16)),
                    26 => Item::Float(f64::from(f32::from_bits(bits as u32))),
                    27 => Item::Float(f64::from_bits(bits)),
                    _ => Item::Other,
                },
                _ => {
                    self.at = start;
                    return self.broken("a break where nothing is open");
                }
            });
        }
    }

    /// The bytes of a string in pieces; of a whole one nothing is kept.
    fn string(&mut self, major: u8, length: Option<u64>) -> Result<Vec<u8>, Broken> {
        if let Some(length) = length {
            self.take(length)?;
            return Ok(Vec::new());
        }
        let mut whole = Vec::new();
        loop {
            if self.took_break() {
                return Ok(whole);
            }
            match self.head()? {
                (piece, _, Some(length)) if piece == major => whole.extend_from_slice(self.take(length)?),
                _ => return self.broken("a piece of another kind in a string of pieces"),
            }
        }
    }

    fn took_break(&mut self) -> bool {
        let is_break = self.bytes.get(self.at) == Some(&0xFF);
        self.at += usize::from(is_break);
        is_break
    }

    /// Whether another item (or pair) of an open array (or map) follows; at its end the break is taken.
    pub(crate) fn more(&mut self, left: &mut Left) -> bool {
        match left {
            Left::Known(0) => false,
            Left::Known(n) => {
                *n -= 1;
                true
            }
            Left::Open => !self.took_break(),
        }
    }

    /// Reads over what an item opened.
    pub(crate) fn skip(&mut self, item: &Item<'_>, depth: u8) -> Result<(), Broken> {
        let (mut left, n) = match item {
            Item::Array(left) => (*left, 1),
            Item::Map(left) => (*left, 2),
            _ => return Ok(()),
        };
        if depth >= MAX_DEPTH {
            return self.broken("nested too deeply");
        }
        while self.more(&mut left) {
            for _ in 0..n {
                let inner = self.item()?;
                self.skip(&inner, depth + 1)?;
            }
        }
        Ok(())
    }

    /// Says that nothing follows.
    pub(crate) fn end(&self) -> Result<(), Broken> {
        if self.at == self.bytes.len() {
            Ok(())
        } else {
            self.broken("more bytes after the end")
        }
    }
}

/// IEEE 754 half precision (RFC 8949, appendix D).
fn half(bits: u16) -> f64 {
    let exponent = i32::from(bits >> 10 & 31);
    let mantissa = f64::from(bits & 1023);
    let magnitude = match exponent {
        0 => mantissa * 2f64.powi(-24),
        31 if mantissa == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (mantissa + 1024.0) * 2f64.powi(exponent - 25),
    };
    if bits & 0x8000 == 0 { magnitude } else { -magnitude }
}

/// Writes items in their shortest heads.
#[derive(Debug)]
pub(crate) struct Writer<'v>(pub(crate) &'v mut Vec<u8>);

impl Writer<'_> {
    fn head(&mut self, major: u8, n: u64) {
        let major = major << 5;
        match n {
            0..=23 => self.0.push(major | n as u8),
            24..=0xFF => self.0.extend_from_slice(&[major | 24, n as u8]),
            0x100..=0xFFFF => {
                self.0.push(major | 25);
                self.0.extend_from_slice(&(n as u16).to_be_bytes());
            }
            0x1_0000..=0xFFFF_FFFF => {
                self.0.push(major | 26);
                self.0.extend_from_slice(&(n as u32).to_be_bytes());
            }
            _ => {
                self.0.push(major | 27);
                self.0.extend_from_slice(&n.to_be_bytes());
            }
        }
    }
    pub(crate) fn whole(&mut self, n: u64) {
        self.head(0, n);
    }
    pub(crate) fn int(&mut self, n: i64) {
        match u64::try_from(n) {
            Ok(n) => self.head(0, n),
            // -1 - n, which for every negative i64 fits.
            Err(_) => self.head(1, !n as u64),
        }
    }
    pub(crate) fn float(&mut self, n: f64) {
        self.0.push(0xFB);
        self.0.extend_from_slice(&n.to_bits().to_be_bytes());
    }
    pub(crate) fn text(&mut self, text: &str) {
        self.head(3, text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }
    pub(crate) fn bool(&mut self, value: bool) {
        self.0.push(if value { 0xF5 } else { 0xF4 });
    }
    pub(crate) fn null(&mut self) {
        self.0.push(0xF6);
    }
    pub(crate) fn array(&mut self, n: u64) {
        self.head(4, n);
    }
    pub(crate) fn map(&mut self, n: u64) {
        self.head(5, n);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        crate::hex::read(text.as_bytes()).unwrap()
    }

    /// RFC 8949, appendix A.
    #[test]
    fn the_standard_s_examples_are_read() {
        let text = |t: &'static str| Item::Text(Cow::Borrowed(t));
        for (bytes, want) in [
            ("00", Item::Whole(0)),
            ("17", Item::Whole(23)),
            ("1818", Item::Whole(24)),
            ("1b000000e8d4a51000", Item::Whole(1_000_000_000_000)),
            ("1bffffffffffffffff", Item::Whole(u64::MAX)),
            ("20", Item::Negative(0)),
            ("3903e7", Item::Negative(999)),
            ("f90000", Item::Float(0.0)),
            ("f93c00", Item::Float(1.0)),
            ("f93e00", Item::Float(1.5)),
            ("f97bff", Item::Float(65504.0)),
            ("f90001", Item::Float(5.960_464_477_539_063e-8)),
            ("f90400", Item::Float(0.000_061_035_156_25)),
            ("f9c400", Item::Float(-4.0)),
            ("fa47c35000", Item::Float(100_000.0)),
            ("fb3ff199999999999a", Item::Float(1.1)),
            ("f97c00", Item::Float(f64::INFINITY)),
            ("f4", Item::Bool(false)),
            ("f5", Item::Bool(true)),
            ("f6", Item::Null),
            ("f7", Item::Null),
            ("f0", Item::Other),
            ("c11a514b67b0", Item::Whole(1_363_896_240)),
            ("4401020304", Item::Other),
            ("5f42010243030405ff", Item::Other),
            ("6449455446", text("IETF")),
            ("62c3bc", text("ü")),
            ("7f657374726561646d696e67ff", text("streaming")),
            ("80", Item::Array(Left::Known(0))),
            ("9fff", Item::Array(Left::Open)),
            ("a0", Item::Map(Left::Known(0))),
        ] {
            let bytes = hex(bytes);
            let mut reader = Reader::new(&bytes);
            let item = reader.item().unwrap();
            assert_eq!(item, want, "{bytes:x?}");
            reader.skip(&item, 0).unwrap();
            reader.end().unwrap();
        }
    }

    #[test]
    fn what_is_broken_is_said_with_its_place() {
        let deep = vec![0x81; 100];
        for (bytes, at) in [
            (hex(""), 0),
            (hex("1b00"), 1),
            (hex("1c"), 0),
            (hex("ff"), 0),
            (hex("61"), 1),
            (hex("61ff"), 0),
            // Announces 2^64 - 1 items, or bytes, and has none.
            (hex("9bffffffffffffffff"), 9),
            (hex("bbffffffffffffffff00"), 10),
            (hex("5bffffffffffffffff"), 9),
            (hex("7f01ff"), 2),
            (hex("8201"), 2),
            (hex("0000"), 1),
            (deep, 17),
        ] {
            let mut reader = Reader::new(&bytes);
            let broken = reader
                .item()
                .and_then(|item| reader.skip(&item, 0))
                .and_then(|()| reader.end())
                .unwrap_err();
            assert_eq!(broken.at, at, "{bytes:x?}: {broken}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            while let Ok(item) = reader.item() {
                let _ = reader.skip(&item, 0);
            }
        }
        #[test]
        fn what_is_written_is_read(whole: u64, int: i64, float: f64, word: String) {
            let mut bytes = Vec::new();
            let mut writer = Writer(&mut bytes);
            writer.array(4);
            writer.whole(whole);
            writer.int(int);
            writer.float(float);
            writer.text(&word);
            let mut reader = Reader::new(&bytes);
            proptest::prop_assert_eq!(reader.item().unwrap(), Item::Array(Left::Known(4)));
            proptest::prop_assert_eq!(reader.item().unwrap(), Item::Whole(whole));
            let read = match reader.item().unwrap() {
                Item::Whole(n) => i128::from(n),
                Item::Negative(n) => -1 - i128::from(n),
                other => panic!("{other:?}"),
            };
            proptest::prop_assert_eq!(read, i128::from(int));
            match reader.item().unwrap() {
                Item::Float(n) => proptest::prop_assert_eq!(n.to_bits(), float.to_bits()),
                other => panic!("{other:?}"),
            }
            proptest::prop_assert_eq!(reader.item().unwrap(), Item::Text(Cow::Owned(word)));
            reader.end().unwrap();
        }
    }
}
