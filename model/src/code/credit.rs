//! The unified social credit code of legal persons (GB 32100-2015).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{CodeError, digit, plain};

const KIND: &str = "social credit code";
const ALPHABET: &[u8; 31] = b"0123456789ABCDEFGHJKLMNPQRTUWXY";
/// Registration authorities whose sign is a letter (GB 32100-2015, table 1).
const AUTHORITIES: [char; 3] = ['A', 'N', 'Y'];
const WEIGHTS: [u32; 17] = [1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28];
const INNER_WEIGHTS: [u32; 8] = [3, 7, 9, 10, 5, 8, 4, 2];

/// A unified social credit code 统一社会信用代码: authority, kind, division (6), organisation code (9), check.
///
/// Invariant: 18 characters of GB 32100's alphabet (no I, O, S, V, Z), the first a digit or one of the authorities A
/// (military), N (agriculture) and Y (others), the next seven digits, the last the check character (weights 3^i modulo
/// 31). The division need not be a current one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CreditCode(Arc<str>);

/// Whether the check character inside, of the organisation code (GB 11714-1997), fits. It does not have to:
/// codes given without an organisation code have any character there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrganisationCheck {
    /// It fits.
    Fits,
    /// It does not.
    Other {
        /// What the eight characters before it give.
        expected: char,
    },
}

impl CreditCode {
    /// Reads a code; blanks and dashes in it, widths and small letters do not matter.
    ///
    /// ```
    /// # use onemap_model::code::CreditCode;
    /// assert!("91350100M000100Y43".parse::<CreditCode>().is_ok());
    /// let wrong = "91350100M000100Y44".parse::<CreditCode>().unwrap_err();
    /// assert!(wrong.to_string().ends_with("its other characters give `3`"));
    /// ```
    ///
    /// # Errors
    /// [`CodeError::Length`], [`CodeError::Character`] or [`CodeError::Check`].
    pub fn parse(text: &str) -> Result<Self, CodeError> {
        let code = plain(text, &[' ', '-']);
        let n = code.chars().count();
        if n != 18 {
            return Err(CodeError::Length {
                kind: KIND,
                want: "18",
                got: n,
            });
        }
        let mut values = [0; 18];
        for (i, c) in code.chars().enumerate() {
            let place = ALPHABET.iter().position(|known| char::from(*known) == c);
            match place {
                Some(value) if i >= 8 || value < 10 || (i == 0 && AUTHORITIES.contains(&c)) => {
                    values[i] = value as u32;
                }
                _ => {
                    return Err(CodeError::Character {
                        kind: KIND,
                        at: i + 1,
                        found: c,
                    });
                }
            }
        }
        let sum: u32 = values
            .iter()
            .zip(WEIGHTS)
            .map(|(value, weight)| value * weight)
            .sum();
        let expected = (31 - sum % 31) % 31;
        if values[17] != expected {
            return Err(CodeError::Check {
                kind: KIND,
                found: char::from(ALPHABET[values[17] as usize]),
                expected: char::from(ALPHABET[expected as usize]),
            });
        }
        Ok(Self(code.into()))
    }

    /// The code, 18 characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The six digits of the division where it was given, current or not.
    pub fn division(&self) -> &str {
        &self.0[2..8]
    }

    /// Looks at the organisation code inside (GB 11714: weights 3 7 9 10 5 8 4 2, modulo 11).
    pub fn organisation_check(&self) -> OrganisationCheck {
        let inner = &self.0.as_bytes()[8..17];
        let value = |c: u8| digit(c).unwrap_or_else(|| u32::from(c - b'A') + 10);
        let sum: u32 = inner
            .iter()
            .zip(INNER_WEIGHTS)
            .map(|(c, weight)| value(*c) * weight)
            .sum();
        let expected = match 11 - sum % 11 {
            10 => 'X',
            11 => '0',
            n => char::from(b'0' + n as u8),
        };
        match char::from(inner[8]) == expected {
            true => OrganisationCheck::Fits,
            false => OrganisationCheck::Other { expected },
        }
    }
}

impl FromStr for CreditCode {
    type Err = CodeError;
    fn from_str(text: &str) -> Result<Self, CodeError> {
        Self::parse(text)
    }
}
impl TryFrom<String> for CreditCode {
    type Error = CodeError;
    fn try_from(text: String) -> Result<Self, CodeError> {
        Self::parse(&text)
    }
}
impl From<CreditCode> for String {
    fn from(code: CreditCode) -> String {
        code.0.as_ref().to_owned()
    }
}
impl fmt::Display for CreditCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
