//! The citizen number of persons (GB 11643-1999). Personal data: it has no `Debug`, `Display` or `Serialize` that
//! gives it away.

use std::fmt;

use super::{CodeError, digit, division, plain};

const KIND: &str = "citizen number";
const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
const CHECKS: &[u8; 11] = b"10X98765432";

/// A citizen number 公民身份号码: division (6), date of birth (8), sequence (3), check.
///
/// Invariant: 18 characters with the check character of modulo 11-2; the date is a day of the calendar and a
/// division had the code in that year or later. Later, because numbers were first given in 1984, to everyone, with
/// the codes of then: who was born in Xining in 1960 has one of 1984. (python-stdnum's `stdnum.cn.ric` wants the
/// code of the year of birth itself and refuses these; in all else both accept the same.)
#[derive(Clone, PartialEq, Eq)]
pub struct CitizenNumber(String);

/// Of the sequence number: odd for men, even for women.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Sex {
    Female,
    Male,
}

impl CitizenNumber {
    /// Reads a number of 18 characters; widths and a small x do not matter.
    ///
    /// # Errors
    /// A [`CodeError`] that does not repeat the number.
    pub fn parse(text: &str) -> Result<Self, CodeError> {
        let number = plain(text, &[]);
        let n = number.chars().count();
        if n != 18 {
            return Err(CodeError::Length {
                kind: KIND,
                want: "18",
                got: n,
            });
        }
        let mut sum = 0;
        for (i, (c, weight)) in number.chars().zip(WEIGHTS).enumerate() {
            let value = u8::try_from(c).ok().and_then(digit);
            sum += weight
                * value.ok_or(CodeError::Character {
                    kind: KIND,
                    at: i + 1,
                    found: '?',
                })?;
        }
        let expected = char::from(CHECKS[(sum % 11) as usize]);
        let found = number.chars().last().unwrap_or('?');
        if found != expected {
            // What is expected would complete a person's number; it is told, the rest is not.
            let found = if found.is_ascii_digit() || found == 'X' {
                found
            } else {
                '?'
            };
            return Err(CodeError::Check {
                kind: KIND,
                found,
                expected,
            });
        }
        let part = |from: usize, to: usize| number[from..to].parse::<i16>().unwrap_or(0);
        let year = part(6, 10);
        if year == 0 || jiff::civil::Date::new(year, part(10, 12) as i8, part(12, 14) as i8).is_err() {
            return Err(CodeError::Birth { kind: KIND });
        }
        if !division::is_division_from(&number[..6], year) {
            return Err(CodeError::Division {
                code: number[..6].to_owned(),
                year: Some(year),
                successor: None,
            });
        }
        Ok(Self(number))
    }

    /// Reads a number of 15 digits, as given before 1999 (division, YYMMDD, sequence), as the one of 18 it became:
    /// 19 before the year and the check character behind it.
    ///
    /// # Errors
    /// As [`CitizenNumber::parse`].
    pub fn from_15(text: &str) -> Result<Self, CodeError> {
        let old = plain(text, &[]);
        let n = old.chars().count();
        if n != 15 {
            return Err(CodeError::Length {
                kind: KIND,
                want: "15",
                got: n,
            });
        }
        if let Some(at) = old.chars().position(|c| !c.is_ascii_digit()) {
            return Err(CodeError::Character {
                kind: KIND,
                at: at + 1,
                found: '?',
            });
        }
        let seventeen = format!("{}19{}", &old[..6], &old[6..]);
        let sum: u32 = seventeen
            .bytes()
            .zip(WEIGHTS)
            .filter_map(|(c, weight)| Some(digit(c)? * weight))
            .sum();
        let check = char::from(CHECKS[(sum % 11) as usize]);
        Self::parse(&format!("{seventeen}{check}"))
    }

    /// The whole number. For making a pseudonym only.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Division, eight stars, the last four.
    pub fn masked(&self) -> String {
        format!("{}********{}", self.division(), self.last_four())
    }

    /// The last four characters.
    pub fn last_four(&self) -> &str {
        &self.0[14..]
    }

    /// The six digits of the division where it was given.
    pub fn division(&self) -> &str {
        &self.0[..6]
    }

    /// Man or woman.
    pub fn sex(&self) -> Sex {
        match self.0.as_bytes()[16] % 2 {
            1 => Sex::Male,
            _ => Sex::Female,
        }
    }
}

/// Masked.
impl fmt::Debug for CitizenNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}
