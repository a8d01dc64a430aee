//! Reads an address as characters that can be compared: width, case, separators, Chinese numerals, telephone numbers.
//!
//! Names of the gazetteer go through the same function, so that both sides of a comparison are written alike.

use super::numerals::numeral;
use super::simplified::simplified;

/// Longest address, in characters; longer ones are refused by name.
pub const MAX_CHARS: usize = 256;

/// Why a text is not read as an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Nothing to read.
    #[error("the address is empty")]
    Empty,
    /// More than [`MAX_CHARS`] characters.
    #[error("the address has {got} characters, at most {MAX_CHARS} are read")]
    TooLong {
        /// Its characters.
        got: usize,
    },
    /// A control character other than tab and line ends.
    #[error("the address holds the control character U+{code:04X} at character {at}")]
    Control {
        /// The character.
        code: u32,
        /// Its place, from 1.
        at: usize,
    },
}

impl AddressError {
    /// The error's name in answers.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLong { .. } => "too_long",
            Self::Control { .. } => "control_character",
        }
    }
}

/// An address, written one way.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Text {
    pub(crate) chars: Vec<char>,
    /// A separator (space, comma, dash between names) stood before this character.
    pub(crate) gap: Vec<bool>,
    /// What stands behind a `;`: another address, as written. It is not read.
    pub(crate) rest: Option<String>,
}

impl Text {
    /// Reads an address.
    pub(crate) fn read(raw: &str) -> Result<Self, AddressError> {
        let raw = raw.trim_matches(['\u{feff}', ' ', '\t', '\r', '\n', '\u{3000}']);
        let mut got = 0;
        for (i, c) in raw.chars().enumerate() {
            got += 1;
            if c.is_control() && !matches!(c, '\t' | '\r' | '\n') && i < MAX_CHARS {
                let code = c as u32;
                return Err(AddressError::Control { code, at: i + 1 });
            }
        }
        if got == 0 {
            return Err(AddressError::Empty);
        }
        if got > MAX_CHARS {
            return Err(AddressError::TooLong { got });
        }
        let (first, rest) = first_of(raw);
        Ok(Self {
            rest: rest.map(str::to_owned),
            ..Self::written(first)
        })
    }

    /// Writes a text one way; for names, which have been checked.
    pub(crate) fn written(raw: &str) -> Self {
        let plain: Vec<char> = raw.chars().map(plain).collect();
        let mut text = Self::default();
        let mut gap = false;
        let mut i = 0;
        while i < plain.len() {
            let c = plain[i];
            let before = i.checked_sub(1).map(|i| plain[i]);
            let after = plain.get(i + 1).copied();
            if is_separator(c, before, after) {
                gap = true;
                i += 1;
                continue;
            }
            if c.is_ascii_digit() {
                let n = telephone(&plain[i..], before);
                if n > 0 {
                    gap = true;
                    i += n;
                    continue;
                }
            }
            let (number, n) = numeral(&plain[i..], before);
            if n > 0 {
                for digit in number.to_string().chars() {
                    text.push(digit, std::mem::take(&mut gap));
                }
                i += n;
                continue;
            }
            text.push(c, std::mem::take(&mut gap));
            i += 1;
        }
        text
    }

    fn push(&mut self, c: char, gap: bool) {
        self.chars.push(c);
        self.gap.push(gap);
    }

    pub(crate) fn part(&self, from: usize, to: usize) -> String {
        self.chars[from..to].iter().collect()
    }
}

/// The first of several addresses with `;` between, and the others.
fn first_of(raw: &str) -> (&str, Option<&str>) {
    let is_filling = |c: char| c.is_whitespace() || matches!(c, ';' | '；');
    let raw = raw.trim_matches(is_filling);
    match raw.split_once([';', '；']) {
        Some((first, rest)) => (first.trim_end(), Some(rest.trim_matches(is_filling))),
        None => (raw, None),
    }
}

fn plain(c: char) -> char {
    let c = match c {
        '\u{3000}' => ' ',
        '〇' => '零',
        '—' | '–' | '－' | '﹣' | '‐' | '−' | '~' | '～' => '-',
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xfee0).unwrap_or(c),
        '【' | '〔' | '[' => '(',
        '】' | '〕' | ']' => ')',
        c => simplified(c),
    };
    c.to_ascii_uppercase()
}

fn is_separator(c: char, before: Option<char>, after: Option<char>) -> bool {
    match c {
        // 3-2-101, 58-3号: a part of a number.
        '-' | '.' => {
            let number = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
            !(number(before) && number(after)) || c == '.'
        }
        '(' | ')' | '/' | '&' | '#' | '+' => false,
        c => {
            c.is_whitespace()
                || "，,。、；;：:·•|\\\"'“”‘’!?！？*_=<>《》".contains(c)
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{feff}' | '\u{fe0f}')
                || c.is_control()
        }
    }
}

/// How many characters a telephone number takes here: 11 digits that begin with 1, or 0 and an area code.
fn telephone(rest: &[char], before: Option<char>) -> usize {
    if before.is_some_and(|c| c.is_ascii_digit()) {
        return 0;
    }
    let digits = |s: &[char]| s.iter().take_while(|c| c.is_ascii_digit()).count();
    let n = digits(rest);
    let ends_as_number = |n: usize| matches!(rest.get(n), Some('号' | '弄' | '室' | '栋' | '幢'));
    if n == 11 && rest[0] == '1' && !ends_as_number(n) {
        return n;
    }
    if rest[0] == '0' && (n == 3 || n == 4) && rest.get(n) == Some(&'-') {
        let m = digits(&rest[n + 1..]);
        if matches!(m, 7 | 8) {
            return n + 1 + m;
        }
    }
    if rest[0] == '0' && matches!(n, 10..=12) && !ends_as_number(n) {
        return n;
    }
    0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn written(raw: &str) -> String {
        Text::read(raw).unwrap().chars.iter().collect()
    }

    #[test]
    fn one_address_written_in_many_ways_reads_the_same() {
        for raw in [
            "西关大街５８号",
            "西关大街五十八号",
            " 西关大街，58 號 ",
            "西关大街五八号",
            "西关大街58号13812345678",
            "西关大街58号 0971-6123456",
        ] {
            assert_eq!(written(raw), "西关大街58号", "{raw}");
        }
        for (raw, want) in [
            ("一百零五号", "105号"),
            ("二百一十号", "210号"),
            ("十号楼", "10号楼"),
            ("一千二百号", "1200号"),
            // A name is no number.
            ("五四西路", "五四西路"),
            ("二十里铺镇", "二十里铺镇"),
            ("八一路三单元", "八一路3单元"),
            ("3-2-101", "3-2-101"),
            ("浙江省-杭州", "浙江省杭州"),
            ("b座", "B座"),
        ] {
            assert_eq!(written(raw), want, "{raw}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_by_name() {
        assert_eq!(Text::read(" \u{3000}").unwrap_err(), AddressError::Empty);
        let long = "西".repeat(10_000);
        assert_eq!(Text::read(&long).unwrap_err().code(), "too_long");
        assert_eq!(
            Text::read("西宁\u{0}路").unwrap_err(),
            AddressError::Control { code: 0, at: 3 }
        );
    }
}
