//! Numbers in BCD: digits, sign and the marks of a missing value.

use std::fmt;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::hex;

/// Most bytes whose digits are read as a number; the standard's longest element has 6.
const MAX_BYTES: usize = 16;

/// A decimal number with its decimals as they were sent: `10.490` stays `10.490`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    /// The number without its point, at most 32 digits.
    pub digits: i128,
    /// How many digits stand after the point.
    pub decimals: u8,
}

impl Decimal {
    /// The nearest floating-point number.
    pub fn value(self) -> f64 {
        self.digits as f64 / 10f64.powi(i32::from(self.decimals))
    }

    /// The same number with other decimals; `None` when digits other than 0 would go.
    pub(super) fn with_decimals(self, decimals: u8) -> Option<Self> {
        let factor = |n: u8| 10i128.checked_pow(u32::from(n));
        let digits = match decimals.checked_sub(self.decimals) {
            Some(more) => self.digits.checked_mul(factor(more)?)?,
            None => {
                let factor = factor(self.decimals - decimals)?;
                (self.digits % factor == 0).then(|| self.digits / factor)?
            }
        };
        Some(Self { digits, decimals })
    }

    /// Reads `-12.30`; `None` for anything but a sign, at most 32 digits and one point.
    pub(super) fn of_text(text: &str) -> Option<Self> {
        let (is_negative, amount) = match text.strip_prefix('-') {
            Some(amount) => (true, amount),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, part) = amount.split_once('.').unwrap_or((amount, ""));
        if whole.is_empty() || (part.is_empty() && amount.contains('.')) {
            return None;
        }
        let digits = format!("{whole}{part}");
        if digits.len() > 2 * MAX_BYTES || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let amount: i128 = digits.parse().ok()?;
        Some(Self {
            digits: if is_negative { -amount } else { amount },
            decimals: part.len() as u8,
        })
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = usize::from(self.decimals);
        let digits = format!("{:0width$}", self.digits.unsigned_abs(), width = decimals + 1);
        let (whole, part) = digits.split_at(digits.len() - decimals);
        let sign = if self.digits < 0 { "-" } else { "" };
        if decimals == 0 {
            write!(f, "{sign}{whole}")
        } else {
            write!(f, "{sign}{whole}.{part}")
        }
    }
}

/// What stands where a number belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Number {
    /// A number.
    Value(Decimal),
    /// Said to be missing: all F by the standard, all A by some vendors for a sensor that is not there;
    /// in ASCII the letter M.
    Missing {
        /// As it was sent.
        raw: String,
    },
    /// Neither digits nor a mark.
    NotANumber {
        /// As it was sent.
        raw: String,
    },
}

impl Number {
    /// Reads BCD bytes, high first. A first byte FF before digits is the sign.
    pub(super) fn of_bcd(bytes: &[u8], decimals: u8) -> Self {
        let raw = || hex::upper(bytes);
        if bytes.is_empty() || bytes.len() > MAX_BYTES {
            return Number::NotANumber { raw: raw() };
        }
        if bytes.iter().all(|b| *b == 0xFF) || bytes.iter().all(|b| *b == 0xAA) {
            return Number::Missing { raw: raw() };
        }
        let (is_negative, amount) = match bytes {
            [0xFF, amount @ ..] => (true, amount),
            amount => (false, amount),
        };
        let mut digits = 0i128;
        for byte in amount {
            let (high, low) = (byte >> 4, byte & 0x0F);
            if high > 9 || low > 9 {
                return Number::NotANumber { raw: raw() };
            }
            digits = digits * 100 + i128::from(high * 10 + low);
        }
        if is_negative {
            digits = -digits;
        }
        Number::Value(Decimal { digits, decimals })
    }

    /// Reads a value of an ASCII body.
    pub(super) fn of_text(text: &str) -> Self {
        if matches!(text, "M" | "m") || (text.len() > 1 && text.bytes().all(|b| matches!(b, b'F' | b'f'))) {
            return Number::Missing { raw: text.to_owned() };
        }
        match Decimal::of_text(text) {
            Some(decimal) => Number::Value(decimal),
            None => Number::NotANumber { raw: text.to_owned() },
        }
    }

    /// Writes `n_bytes` of BCD. `None` when the number has other decimals or does not fit, or what was sent
    /// instead of a number is not that long.
    pub(super) fn to_bcd(&self, n_bytes: usize, decimals: u8) -> Option<Vec<u8>> {
        let decimal = match self {
            Number::Value(decimal) => decimal,
            Number::Missing { raw } | Number::NotANumber { raw } => {
                return hex::read(raw.as_bytes()).ok().filter(|b| b.len() == n_bytes);
            }
        };
        let n_digits = if decimal.digits < 0 {
            n_bytes.checked_sub(1)?
        } else {
            n_bytes
        } * 2;
        let digits = format!("{:0n_digits$}", decimal.digits.unsigned_abs());
        if decimal.decimals != decimals || digits.len() != n_digits || n_bytes > MAX_BYTES {
            return None;
        }
        let sign: &[u8] = if decimal.digits < 0 { &[0xFF] } else { &[] };
        Some([sign, &hex::read(digits.as_bytes()).ok()?].concat())
    }
}

impl Serialize for Number {
    /// `"10.490"`, `{"raw":"AAAAAAAA","missing":true}` or `{"raw":"1B","fault":"not_a_number"}`.
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let (raw, key) = match self {
            Number::Value(decimal) => return s.collect_str(decimal),
            Number::Missing { raw } => (raw, "missing"),
            Number::NotANumber { raw } => (raw, "fault"),
        };
        let mut map = s.serialize_map(Some(2))?;
        map.serialize_entry("raw", raw)?;
        if key == "missing" {
            map.serialize_entry(key, &true)?;
        } else {
            map.serialize_entry(key, "not_a_number")?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn shown(hex_text: &str, decimals: u8) -> String {
        let bytes = hex::read(hex_text.as_bytes()).unwrap();
        let number = Number::of_bcd(&bytes, decimals);
        assert_eq!(number.to_bcd(bytes.len(), decimals), Some(bytes), "{hex_text}");
        match number {
            Number::Value(decimal) => decimal.to_string(),
            Number::Missing { .. } => "missing".into(),
            Number::NotANumber { .. } => "no number".into(),
        }
    }

    #[test]
    fn digits_signs_and_marks() {
        for (hex_text, decimals, want) in [
            ("00010490", 3, "10.490"),
            ("FF00000172", 2, "-1.72"),
            ("FF53", 1, "-5.3"),
            ("FF000005", 3, "-0.005"),
            ("05", 0, "5"),
            ("000000", 1, "0.0"),
            ("99999999", 3, "99999.999"),
            ("FF", 0, "missing"),
            ("FFFFFF", 1, "missing"),
            ("AAAAAAAA", 3, "missing"),
            ("AA12", 1, "no number"),
            ("FFFF12", 1, "no number"),
            ("1A", 0, "no number"),
            ("A1", 0, "no number"),
            ("FF0A", 0, "no number"),
        ] {
            assert_eq!(shown(hex_text, decimals), want, "{hex_text}");
        }
        assert_eq!(
            Number::of_bcd(&[0; 17], 0),
            Number::NotANumber { raw: "00".repeat(17) }
        );
        assert_eq!(Number::of_bcd(&[], 0), Number::NotANumber { raw: String::new() });
        let five = Number::Value(Decimal {
            digits: 12345,
            decimals: 2,
        });
        assert_eq!((five.to_bcd(2, 2), five.to_bcd(3, 1)), (None, None));
        assert_eq!(five.to_bcd(3, 2), Some(vec![0x01, 0x23, 0x45]));
    }

    #[test]
    fn numbers_in_text() {
        for (text, want) in [
            ("10.490", Some(10.49)),
            ("-0.5", Some(-0.5)),
            ("+3", Some(3.0)),
            ("7", Some(7.0)),
        ] {
            assert_eq!(Decimal::of_text(text).map(Decimal::value), want, "{text}");
        }
        for text in ["", "-", ".5", "5.", "1.2.3", "1e3", "NaN", "١", "--1", "+-1"] {
            assert_eq!(Decimal::of_text(text), None, "{text}");
        }
        assert!(matches!(Number::of_text("M"), Number::Missing { .. }));
        assert!(matches!(Number::of_text("FFFF"), Number::Missing { .. }));
        assert!(matches!(Number::of_text("1.2.3"), Number::NotANumber { .. }));
    }
}
