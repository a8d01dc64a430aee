//! Words between blanks, each with its place in the frame.

use crate::hex;
use crate::sl651::{Element, Error};

/// What is left of a text.
#[derive(Clone, Copy)]
pub(super) struct Words<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Words<'a> {
    /// `at` is the place of the first byte in the frame.
    pub(super) fn new(rest: &'a [u8], at: usize) -> Self {
        Self { rest, at }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn len(&self) -> usize {
        self.rest.len()
    }

    /// The next word and its place.
    pub(super) fn next(&mut self) -> Option<(usize, &'a [u8])> {
        let blanks = self.rest.iter().take_while(|b| **b == b' ').count();
        let text = &self.rest[blanks..];
        let length = text.iter().position(|b| *b == b' ').unwrap_or(text.len());
        let (word, at) = (&text[..length], self.at + blanks);
        // The blank behind a word belongs to it.
        let taken = (blanks + length + 1).min(self.rest.len());
        self.rest = &self.rest[taken..];
        self.at += taken;
        (!word.is_empty()).then_some((at, word))
    }

    pub(super) fn peek(&self) -> Option<&'a [u8]> {
        let mut ahead = *self;
        ahead.next().map(|(_, word)| word)
    }

    /// Everything that is left, blanks too.
    pub(super) fn all(&mut self) -> &'a [u8] {
        self.at += self.rest.len();
        std::mem::take(&mut self.rest)
    }

    /// The next word, which is to be `what`.
    pub(super) fn word(&mut self, what: &'static str) -> Result<(usize, &'a [u8]), Error> {
        let at = self.at;
        self.next().ok_or(Error::BodyEnds { at, what, need: 1 })
    }

    /// The value of an item, which is not itself a symbol.
    pub(super) fn value(&mut self, what: &'static str) -> Result<(usize, &'a [u8]), Error> {
        match self.word(what)? {
            (at, word) if is_symbol(word) => Err(Error::Unexpected { at, want: what }),
            value => Ok(value),
        }
    }

    /// A word of a certain form.
    pub(super) fn formed<T>(
        &mut self,
        want: &'static str,
        read: impl Fn(&'a [u8]) -> Option<T>,
    ) -> Result<T, Error> {
        let (at, word) = self.word(want)?;
        read(word).ok_or(Error::Unexpected { at, want })
    }

    /// Nothing but blanks is left.
    pub(super) fn end(&self) -> Result<(), Error> {
        let mut ahead = *self;
        match ahead.next() {
            None => Ok(()),
            Some((at, _)) => Err(Error::Surplus {
                at,
                extra: self.at + self.rest.len() - at,
            }),
        }
    }
}

/// Two characters a byte.
pub(super) fn bytes_of(word: &[u8], at: usize) -> Result<Vec<u8>, Error> {
    hex::read(word).map_err(|i| Error::NotHex { at: at + i })
}

/// The element that a symbol is. A user's own identifier has none; it stands as its four characters (`FF11`).
pub(super) fn element_of(word: &[u8]) -> Option<Element> {
    let symbol = std::str::from_utf8(word).ok()?;
    Element::with_symbol(symbol).or_else(|| match hex::read(word).ok()?.as_slice() {
        // All F is the mark of a missing value.
        [0xFF, low] if *low != 0xFF => Some(Element(0xFF00 | u16::from(*low))),
        _ => None,
    })
}

/// How an element stands in text; `None` without a symbol.
pub(super) fn symbol_of(element: Element) -> Option<String> {
    match element.kind() {
        Some(kind) => Some(kind.symbol.clone()),
        None if element.0 > 0xFF && element.0 != 0xFFFF => Some(element.to_string()),
        None => None,
    }
}

pub(super) fn is_symbol(word: &[u8]) -> bool {
    matches!(word, b"ST" | b"TT" | b"RGZS" | b"PIC") || step_of(word).is_some() || element_of(word).is_some()
}

/// `DRH01`: days, hours or minutes between the values of a series.
pub(super) fn step_of(word: &[u8]) -> Option<[u8; 3]> {
    let [b'D', b'R', unit, number @ ..] = word else {
        return None;
    };
    let number = match number {
        [high @ b'0'..=b'9', low @ b'0'..=b'9'] => hex::byte(&[*high, *low])?,
        _ => return None,
    };
    match unit {
        b'D' => Some([number, 0, 0]),
        b'H' => Some([0, number, 0]),
        b'N' => Some([0, 0, number]),
        _ => None,
    }
}

/// `None` for more than one of days, hours and minutes.
pub(super) fn step_word(step: [u8; 3]) -> Option<String> {
    match step {
        [days, 0, 0] if days > 0 => Some(format!("DRD{days:02X}")),
        [0, hours, 0] if hours > 0 => Some(format!("DRH{hours:02X}")),
        [0, 0, minutes] => Some(format!("DRN{minutes:02X}")),
        _ => None,
    }
}
