//! The dictionary of measured quantities: `quantities.json`, read once.
//!
//! Unit conversion happens here and nowhere else.

use std::fmt;
use std::sync::OnceLock;

use foldhash::HashMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Which day a quantity's rollups and legal statistics use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Calendar {
    /// Beijing 00:00 to 24:00 (air, noise, most things).
    Midnight,
    /// Beijing 08:00 to 08:00 (rain and hydrology, SL 651, GB/T 28592).
    Eight,
}

/// What field a quantity belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Family {
    Air,
    Water,
    Soil,
    Noise,
    GreenhouseGas,
    Ecology,
    Hydrology,
    Safety,
    Energy,
    Weather,
    Technical,
}

/// How a state code is called and whether it is normal.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StateName {
    /// The code on the wire.
    pub code: u16,
    /// Chinese.
    pub zh: String,
    /// English.
    pub en: String,
}

/// One entry of the dictionary.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Stable name, `pm2_5`.
    pub name: String,
    /// Chinese name.
    pub zh: String,
    /// English name.
    pub en: String,
    /// Canonical unit as UCUM-like text, empty for counts and states.
    pub unit: String,
    /// Field.
    pub family: Family,
    /// Day of its statistics.
    pub calendar: Calendar,
    /// Smallest and largest value that can be true; outside it a reading is kept and marked suspect.
    #[serde(default)]
    pub range: Option<[f64; 2]>,
    /// Decimals to show.
    #[serde(default = "two")]
    pub decimals: u8,
    /// Other units that are converted: `canonical = value * factor + offset`.
    #[serde(default)]
    pub units: Vec<Conversion>,
    /// Channels on which it is worked out here from other readings; nobody else says it there.
    #[serde(default)]
    pub derived: Vec<u16>,
    /// Values are amounts of the while that ends with their stamp, and add up.
    #[serde(default)]
    pub amount: bool,
    /// Values are texts.
    #[serde(default)]
    pub text: bool,
    /// Values are state codes with these names.
    #[serde(default)]
    pub states: Vec<StateName>,
}

fn two() -> u8 {
    2
}

/// A foreign unit of a quantity.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conversion {
    /// The foreign unit.
    pub unit: String,
    /// Multiplied first.
    pub factor: f64,
    /// Added then.
    #[serde(default)]
    pub offset: f64,
}

/// A measured quantity; compares and copies as a number, reads and writes as its name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Quantity(u16);

struct Dictionary {
    entries: Vec<Definition>,
    by_name: HashMap<String, u16>,
}

fn dictionary() -> &'static Dictionary {
    static DICTIONARY: OnceLock<Dictionary> = OnceLock::new();
    DICTIONARY.get_or_init(|| {
        let entries: Vec<Definition> = serde_json::from_str(include_str!("quantities.json"))
            .expect("the dictionary is part of the program and its test reads it");
        let by_name = entries
            .iter()
            .enumerate()
            .map(|(i, d)| (d.name.clone(), i as u16))
            .collect();
        Dictionary { entries, by_name }
    })
}

impl Quantity {
    /// Looks a quantity up by its stable name.
    pub fn named(name: &str) -> Option<Self> {
        dictionary().by_name.get(name).copied().map(Self)
    }
    /// Every quantity, in the dictionary's order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..dictionary().entries.len() as u16).map(Self)
    }
    /// The entry.
    pub fn definition(self) -> &'static Definition {
        &dictionary().entries[usize::from(self.0)]
    }
    /// The stable name.
    pub fn name(self) -> &'static str {
        &self.definition().name
    }
    /// Whether values are state codes.
    pub fn is_state(self) -> bool {
        !self.definition().states.is_empty()
    }
    /// Whether values are amounts of a while and add up; what is of a longer while than stations send is a state.
    pub fn is_amount(self) -> bool {
        self.definition().amount
    }
    /// Whether it is worked out here on a channel (the index of hours and days, a flow by a curve).
    pub fn is_derived_on(self, channel: u16) -> bool {
        self.definition().derived.contains(&channel)
    }
    /// Whether a number lies in the plausible range (borders inside; true without a range).
    pub fn plausible(self, number: f64) -> bool {
        self.definition()
            .range
            .is_none_or(|[low, high]| (low..=high).contains(&number))
    }
    /// Whether a number can be at all: finite, and not below 0 where the plausible range begins there (a concentration, a
    /// depth of rain).
    pub fn possible(self, number: f64) -> bool {
        let starts_at_0 = matches!(self.definition().range, Some([0.0, _]));
        number.is_finite() && !(starts_at_0 && number < 0.0)
    }
    /// Converts from a foreign unit to the canonical one. `None` when the unit is not known here.
    ///
    /// ```
    /// # use onemap_model::Quantity;
    /// let t = Quantity::named("temperature").unwrap();
    /// assert_eq!(t.convert(212.0, "degF").map(f64::round), Some(100.0));
    /// assert_eq!(t.convert(1.0, "m"), None);
    /// ```
    pub fn convert(self, number: f64, unit: &str) -> Option<f64> {
        let definition = self.definition();
        if unit == definition.unit {
            return Some(number);
        }
        let conversion = definition.units.iter().find(|c| c.unit == unit)?;
        Some(written(number * conversion.factor + conversion.offset))
    }
}

/// A number of 15 significant digits: what was read as decimal digits and converted is again what such digits say (75600 ng
/// are 75.6 ug, and not a bit more).
fn written(number: f64) -> f64 {
    // Up to 10^22 powers of ten are exact.
    let digits = 14.0 - number.abs().log10().floor();
    if !(0.0..=22.0).contains(&digits) {
        return number;
    }
    let scale = 10f64.powi(digits as i32);
    (number * scale).round() / scale
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
impl fmt::Debug for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.name())
    }
}
impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let name = String::deserialize(d)?;
        Quantity::named(&name).ok_or_else(|| {
            serde::de::Error::custom(format!("no quantity is called `{name}` (see /api/v1/quantities)"))
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_dictionary_is_sound() {
        let mut names = std::collections::HashSet::new();
        for q in Quantity::all() {
            let d = q.definition();
            assert!(names.insert(&d.name), "{} twice", d.name);
            assert!(!d.zh.is_empty() && !d.en.is_empty(), "{} lacks a name", d.name);
            assert_eq!(Quantity::named(&d.name), Some(q));
            if let Some([low, high]) = d.range {
                assert!(low < high, "{}", d.name);
            }
            for c in &d.units {
                assert!(c.factor.is_finite() && c.factor != 0.0, "{}", d.name);
            }
        }
    }

    #[test]
    fn gases_are_parts_or_mass_at_298_15_kelvin_and_1013_25_hectopascal() {
        // GB 3095, amendment of 2018: gases are told at these. One ppb of ozone is 1.96 ug/m3.
        for (name, molar) in [("so2", 64.066), ("no2", 46.0055), ("o3", 47.998), ("no", 30.0061)] {
            let mass = Quantity::named(name).unwrap().convert(1.0, "ppb").unwrap();
            assert!((mass - molar / 24.465).abs() < 1e-6, "{name}: {mass}");
        }
        let co2 = Quantity::named("co2").unwrap();
        assert!((co2.convert(756.4, "mg/m3").unwrap() - 420.5).abs() < 0.1);
    }

    #[test]
    fn nanograms_and_micrograms_are_not_confused() {
        let q = Quantity::named("pm2_5").unwrap();
        assert_eq!(q.convert(35.0, "ug/m3"), Some(35.0));
        assert_eq!(q.convert(0.035, "mg/m3"), Some(35.0));
        assert_eq!(q.convert(35_000.0, "ng/m3"), Some(35.0));
        assert_eq!(q.convert(75_600.0, "ng/m3"), Some(75.6));
        assert_eq!(q.convert(0.0756, "mg/m3"), Some(75.6));
        assert_eq!(q.convert(0.0, "ng/m3"), Some(0.0));
        assert_eq!(q.convert(-1.1e-7, "mg/m3"), Some(-1.1e-4));
        for digits in 1..=9_999 {
            let said = f64::from(digits) / 10.0;
            let want: f64 = format!("{digits}e-4").parse().unwrap();
            assert_eq!(q.convert(said, "ng/m3"), Some(want), "{said}");
        }
        assert_eq!(q.convert(1.0, "ppm"), None);
    }
}
