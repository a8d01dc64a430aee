//! Division codes as numbers: what lies in what, without looking at text.

use onemap_model::DivisionCode;

/// A division: the digits that all codes inside it begin with. The zone of no digits holds everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Zone {
    /// Padded with zeros to 15 digits.
    code: u64,
    digits: u8,
}

impl Zone {
    pub(crate) const WORLD: Self = Self { code: 0, digits: 0 };

    pub(crate) fn of(code: &DivisionCode) -> Self {
        Self::of_prefix(code.prefix())
    }

    fn of_prefix(prefix: &str) -> Self {
        let digits = prefix.len().min(15);
        let value: u64 = prefix[..digits].parse().unwrap_or(0);
        Self {
            code: value * 10u64.pow(15 - digits as u32),
            digits: digits as u8,
        }
    }

    /// The zone of the first `digits` digits.
    pub(crate) fn cut(self, digits: u8) -> Self {
        if digits >= self.digits {
            return self;
        }
        let unit = 10u64.pow(15 - u32::from(digits));
        Self {
            code: self.code / unit * unit,
            digits,
        }
    }

    pub(crate) fn digits(self) -> u8 {
        self.digits
    }

    /// Whether `other` is this zone or lies inside it.
    pub(crate) fn covers(self, other: Self) -> bool {
        self.digits <= other.digits && other.cut(self.digits).code == self.code
    }

    /// Whether one of the two lies in the other.
    pub(crate) fn meets(self, other: Self) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// The smallest zone of whole levels around both.
    pub(crate) fn around(self, other: Self) -> Self {
        [12, 9, 6, 4, 2]
            .into_iter()
            .map(|digits| self.cut(digits))
            .find(|zone| zone.covers(self) && zone.covers(other))
            .unwrap_or(Self::WORLD)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn zones_hold_what_their_codes_begin() {
        let zone = |code: &str| Zone::of(&DivisionCode::new(code).unwrap());
        assert!(zone("630000").covers(zone("630102001005")));
        assert!(zone("630100").covers(zone("630102")) && !zone("630102").covers(zone("630100")));
        assert!(zone("630102000").covers(zone("630102001")));
        assert!(!zone("630102").meets(zone("630103")));
        assert_eq!(zone("630102001").around(zone("630103")), zone("630100"));
        assert_eq!(zone("630102").around(zone("110101")), Zone::WORLD);
        assert!(Zone::WORLD.covers(zone("110000")));
    }
}
