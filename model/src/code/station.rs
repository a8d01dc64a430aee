//! Codes of hydrological stations (SL 502-2010).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{CodeError, plain};

const KIND: &str = "hydrological station code";

/// The code of a hydrological station 水文测站编码: drainage area, river system, number in it.
///
/// Invariant: eight characters, digits and A to F only (SL 651 sends them packed), the first of the drainage areas
/// 1 to 9 or A (SL 502-2010); it has no check character.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StationCode(String);

impl StationCode {
    /// The code.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StationCode {
    type Err = CodeError;
    fn from_str(text: &str) -> Result<Self, CodeError> {
        let code = plain(text, &[]);
        let n = code.chars().count();
        if n != 8 {
            return Err(CodeError::Length {
                kind: KIND,
                want: "8",
                got: n,
            });
        }
        let wrong =
            |(i, c): &(usize, char)| !c.is_ascii_hexdigit() || (*i == 0 && matches!(c, '0' | 'B'..='F'));
        match code.chars().enumerate().find(wrong) {
            Some((i, found)) => Err(CodeError::Character {
                kind: KIND,
                at: i + 1,
                found,
            }),
            None => Ok(Self(code)),
        }
    }
}
impl TryFrom<String> for StationCode {
    type Error = CodeError;
    fn try_from(text: String) -> Result<Self, CodeError> {
        text.parse()
    }
}
impl From<StationCode> for String {
    fn from(code: StationCode) -> String {
        code.0
    }
}
impl fmt::Display for StationCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
