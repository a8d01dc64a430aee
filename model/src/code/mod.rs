//! Codes of places, organisations, persons and city components: checked types and the dated lists behind them.
//!
//! Each type holds a code that has passed its standard's check; what is wrong with a text that does not is a
//! [`CodeError`], which says what was expected where a check character is wrong. Lists (divisions, classes) are
//! data files in `model/data` with source and validity. Pure.

mod catalogue;
mod citizen;
mod component;
mod credit;
mod division;
mod station;

pub use catalogue::{Catalogue, ClassEntry, ClassKind, catalogues};
pub use citizen::{CitizenNumber, Sex};
pub use component::{ClassCode, ComponentNumber, MatterClass, UnitGrid};
pub use credit::{CreditCode, OrganisationCheck};
pub use division::{CommunityGroup, StreetGroup, community_group, is_division, street_group, successor};
pub use station::StationCode;

use jiff::civil::Date;

use crate::Timestamp;

/// Why a text is not a code of its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodeError {
    /// Wrong number of characters.
    #[error("a {kind} has {want} characters, not {got}")]
    Length {
        /// What it should be.
        kind: &'static str,
        /// How many are wanted.
        want: &'static str,
        /// How many there are.
        got: usize,
    },
    /// A character that cannot stand there.
    #[error("character {at} of a {kind} cannot be `{found}`")]
    Character {
        /// What it should be.
        kind: &'static str,
        /// Which, from 1.
        at: usize,
        /// What stands there.
        found: char,
    },
    /// The check character does not fit the others. Of a person's number nothing is told.
    #[error("the check character of this {kind} is `{found}`, its other characters give `{expected}`")]
    Check {
        /// What it should be.
        kind: &'static str,
        /// What stands there.
        found: char,
        /// What should.
        expected: char,
    },
    /// The date of birth is none.
    #[error("the date of birth in this {kind} is not a day")]
    Birth {
        /// What it should be.
        kind: &'static str,
    },
    /// No division had this code then.
    #[error("{}", division_text(code, *year, *successor))]
    Division {
        /// The six digits.
        code: String,
        /// The year that was asked for; `None` is any.
        year: Option<i16>,
        /// The division that has its place now.
        successor: Option<&'static str>,
    },
    /// The catalogue has no such class.
    #[error("{standard} has no {kind} class {class}")]
    Class {
        /// Of components or matters.
        kind: &'static str,
        /// Major and minor, `01-016`.
        class: String,
        /// The standard with the catalogue.
        standard: &'static str,
    },
    /// Numbers of this length were not given at that time.
    #[error("{kind} numbers of {digits} digits ({standard}) were not given on {date}")]
    Standard {
        /// What is numbered.
        kind: &'static str,
        /// How many digits.
        digits: usize,
        /// The standard.
        standard: &'static str,
        /// The day.
        date: Date,
    },
    /// A part that is all zeros where counting begins with one.
    #[error("the {part} of this {kind} is all zeros")]
    Zero {
        /// What it should be.
        kind: &'static str,
        /// Which part.
        part: &'static str,
    },
}

fn division_text(code: &str, year: Option<i16>, successor: Option<&str>) -> String {
    let when = year.map_or_else(String::new, |year| format!(" in {year}"));
    let now = successor.map_or_else(String::new, |code| format!("; its place is taken by {code}"));
    format!("no division had the code `{code}`{when}{now}")
}

/// The day in Beijing's time, by which codes are given and end.
pub fn day(at: Timestamp) -> Date {
    let beijing = jiff::tz::Offset::constant(8);
    let at = jiff::Timestamp::from_millisecond(at.ms()).unwrap_or(if at.ms() < 0 {
        jiff::Timestamp::MIN
    } else {
        jiff::Timestamp::MAX
    });
    beijing.to_datetime(at).date()
}

/// A text as people and spreadsheets write it, in the form codes are checked in: the digits, blanks and dashes of
/// other alphabets and widths as the plain ones, characters of `without` left out, capitals, no blanks around.
fn plain(text: &str, without: &[char]) -> String {
    let chars = text.chars().map(narrow).filter(|c| !without.contains(c));
    let text: String = chars.flat_map(char::to_uppercase).collect();
    let blank = |c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c);
    text.trim_matches(blank).to_owned()
}

/// The ASCII digit, blank or dash that a character stands for.
fn narrow(c: char) -> char {
    let digit = |zero: u32| char::from_u32(c as u32 - zero + u32::from(b'0')).unwrap_or(c);
    match c as u32 {
        0xFF10..=0xFF19 => digit(0xFF10),
        // Mathematical digits: bold, double-struck, sans-serif, its bold, monospace.
        n @ 0x1D7CE..=0x1D7FF => digit(n - (n - 0x1D7CE) % 10),
        0x00A0 | 0x2000..=0x200A | 0x202F | 0x205F | 0x3000 => ' ',
        0x058A
        | 0x05BE
        | 0x2010..=0x2015
        | 0xFE63
        | 0xFF0D
        | 0x180A
        | 0x203E
        | 0x2043
        | 0x00AF
        | 0x02D7
        | 0xFFE3
        | 0x1680
        | 0x207B
        | 0x208B
        | 0x2212
        | 0x23AF
        | 0x23BA..=0x23BD
        | 0x23E4 => '-',
        _ => c,
    }
}

/// Which digit a character is.
fn digit(c: u8) -> Option<u32> {
    c.is_ascii_digit().then(|| u32::from(c - b'0'))
}

/// The lines of a data file that are not notes.
fn rows(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    let lines = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| line.split(',').collect())
}

/// What a note of a data file says: `# key: value`.
fn note(text: &'static str, key: &str) -> Option<&'static str> {
    let notes = text.lines().map_while(|line| line.strip_prefix("# "));
    notes
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| *name == key)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests;
