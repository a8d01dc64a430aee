//! What tiles say of most things, in five bytes each: code, class and stratum.
//!
//! Codes of one kind mostly differ in their last digits only. What stands before these, with class and stratum, is a
//! sort that many things share; a label is the number of its sort and those digits. A tile of thousands of points reads
//! a table of a few megabytes, not two places in memory for each of them.

use std::cmp::Ordering;
use std::hash::BuildHasher;

use foldhash::HashMap;
use onemap_model::Stratum;

use crate::stock::Stock;
use crate::thing::Thing;

/// Digits of a code that a label holds: 24 bits.
const N_MOST_DIGITS: usize = 7;
/// The sort of things whose label says nothing.
const NO_SORT: u16 = u16::MAX;
/// Sorts that few things have, if there are so many, are none.
const N_MOST_SORTS: usize = NO_SORT as usize;

/// What things of one sort have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sort {
    /// The code up to its last digits.
    stem: Box<str>,
    n_digits: u8,
    pub(crate) class: u32,
    pub(crate) stratum: Stratum,
}

/// The label of a thing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Label<'a> {
    pub(crate) sort: &'a Sort,
    digits: u32,
}

/// A label in five bytes, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PackedLabel([u8; 5]);

impl PackedLabel {
    /// Of a thing that must be looked at itself.
    pub(crate) const NONE: Self = Self([u8::MAX; 5]);
}

/// What labels of things say that are in use and always valid.
#[derive(Debug, Default)]
pub(crate) struct Labels {
    sorts: Vec<Sort>,
}

impl Labels {
    /// Of all things of the stock; beside it their labels by number.
    pub(crate) fn of(stock: &Stock) -> (Self, Vec<PackedLabel>) {
        let mut labels = vec![PackedLabel::NONE; stock.n_numbers() as usize];
        let mut sorts: Vec<Sort> = Vec::new();
        let mut known: HashMap<u64, u16> = HashMap::default();
        let hasher = foldhash::fast::FixedState::with_seed(1);
        for (number, thing) in stock.iter() {
            if thing.is_retired() || !thing.is_always_valid() {
                continue;
            }
            let (stem, digits) = split(&thing.code);
            let is = |sort: &Sort| {
                (&*sort.stem, usize::from(sort.n_digits)) == (stem, digits.len())
                    && (sort.class, sort.stratum) == (thing.class, thing.stratum())
            };
            let key = hasher.hash_one((stem, digits.len(), thing.class, thing.stratum()));
            let sort = match known.get(&key) {
                Some(sort) if is(&sorts[usize::from(*sort)]) => *sort,
                // Another sort has the same key.
                Some(_) => continue,
                None if sorts.len() == N_MOST_SORTS => continue,
                None => {
                    sorts.push(sort_of(thing, stem, digits));
                    known.insert(key, sorts.len() as u16 - 1);
                    sorts.len() as u16 - 1
                }
            };
            let digits = digits
                .bytes()
                .fold(0, |n, digit| n * 10 + u32::from(digit - b'0'));
            let ([a, b], [c, d, e, _]) = (sort.to_le_bytes(), digits.to_le_bytes());
            labels[number as usize] = PackedLabel([a, b, c, d, e]);
        }
        (Self { sorts }, labels)
    }

    /// What a label says.
    #[inline]
    pub(crate) fn read(&self, PackedLabel([a, b, c, d, e]): PackedLabel) -> Option<Label<'_>> {
        Some(Label {
            sort: self.sorts.get(usize::from(u16::from_le_bytes([a, b])))?,
            digits: u32::from_le_bytes([c, d, e, 0]),
        })
    }
}

fn sort_of(thing: &Thing, stem: &str, digits: &str) -> Sort {
    Sort {
        stem: stem.into(),
        n_digits: digits.len() as u8,
        class: thing.class,
        stratum: thing.stratum(),
    }
}

/// A code and its last digits.
fn split(code: &str) -> (&str, &str) {
    let digits = code.bytes().rev().take(N_MOST_DIGITS);
    let n_digits = digits.take_while(u8::is_ascii_digit).count();
    code.split_at(code.len() - n_digits)
}

impl Label<'_> {
    /// The order of the codes; `None` for labels of different sorts, which do not say it.
    #[inline]
    pub(crate) fn order(&self, other: &Label<'_>) -> Option<Ordering> {
        // As many digits behind the same stem: the order of texts is that of numbers.
        std::ptr::eq(self.sort, other.sort).then(|| self.digits.cmp(&other.digits))
    }

    /// Bytes of its code.
    pub(crate) fn n_bytes(&self) -> usize {
        self.sort.stem.len() + usize::from(self.sort.n_digits)
    }

    /// Its code, of which `text` has all but the digits when it holds another code of the same sort.
    #[inline]
    pub(crate) fn write_digits(&self, text: &mut [u8]) {
        let mut digits = [b'0'; N_MOST_DIGITS + 1];
        let (high, low) = (self.digits / 10_000, self.digits % 10_000);
        for (place, pair) in [high / 100, high % 100, low / 100, low % 100]
            .into_iter()
            .enumerate()
        {
            digits[2 * place..2 * place + 2].copy_from_slice(&PAIRS[pair as usize]);
        }
        let n = usize::from(self.sort.n_digits);
        if let Some(end) = text.len().checked_sub(n) {
            text[end..].copy_from_slice(&digits[N_MOST_DIGITS + 1 - n..]);
        }
    }

    /// Its code, written into a text that is emptied first.
    pub(crate) fn write(&self, text: &mut Vec<u8>) {
        text.clear();
        text.extend_from_slice(self.sort.stem.as_bytes());
        text.resize(text.len() + usize::from(self.sort.n_digits), b'0');
        self.write_digits(text);
    }
}

/// The digits of the numbers below a hundred.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut n = 0;
    while n < 100 {
        pairs[n] = [b'0' + n as u8 / 10, b'0' + n as u8 % 10];
        n += 1;
    }
    pairs
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_says_the_code_that_it_was_made_of() {
        for (code, stem, n_digits) in [
            ("LD630102-0000123", "LD630102-", 7),
            ("63010201037000042", "6301020103", 7),
            ("h7", "h", 1),
            ("0000000", "", 7),
            ("灯", "灯", 0),
            ("灯9", "灯", 1),
            ("", "", 0),
        ] {
            let (own, digits) = split(code);
            assert_eq!((own, digits.len()), (stem, n_digits), "{code}");
            let sort = Sort {
                stem: own.into(),
                n_digits: digits.len() as u8,
                class: 0,
                stratum: Stratum::Surface,
            };
            let digits = digits.parse().unwrap_or(0);
            let label = Label { sort: &sort, digits };
            let mut text = b"before".to_vec();
            label.write(&mut text);
            assert_eq!(text, code.as_bytes());
            assert_eq!(label.n_bytes(), code.len());
        }
    }
}
