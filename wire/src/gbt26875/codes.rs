//! What the code lists (`codes.json`) know: systems, components, analogue values.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use onemap_model::Quantity;
use serde::Deserialize;

/// A type of analogue value.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Analogue {
    /// English name.
    pub name: String,
    /// The standard's unit, empty for a count.
    pub unit: String,
    /// One step of the value in this unit.
    pub(super) per_unit: f64,
    /// What it measures; none when it is no measurement or its meaning is not sure.
    #[serde(default)]
    pub quantity: Option<Quantity>,
    /// Component types of which `quantity` holds; all when none are named.
    #[serde(default)]
    pub components: Vec<u8>,
    /// Why it gives no reading.
    #[serde(default)]
    pub unmapped: Option<String>,
}

impl Analogue {
    /// The value in its unit.
    pub fn amount(&self, value: i16) -> f64 {
        f64::from(value) / self.per_unit
    }
}

#[derive(Deserialize)]
struct Codes {
    systems: BTreeMap<u8, String>,
    components: BTreeMap<u8, String>,
    kinds: BTreeMap<String, Vec<u8>>,
    analogues: BTreeMap<u8, Analogue>,
}

fn codes() -> &'static Codes {
    static CODES: OnceLock<Codes> = OnceLock::new();
    CODES.get_or_init(|| {
        serde_json::from_str(include_str!("codes.json"))
            .expect("the codes are part of the program and their test reads them")
    })
}

/// English name of a system type; `None` for a user's (128 on) or unknown one.
pub fn system_name(kind: u8) -> Option<&'static str> {
    codes().systems.get(&kind).map(String::as_str)
}

/// English name of a component type; `None` for a user's (128 on) or unknown one.
pub fn component_name(kind: u8) -> Option<&'static str> {
    codes().components.get(&kind).map(String::as_str)
}

/// The kind of device that a component of a type is (`smoke_detector`); `None` for a general (0), a user's (128 on) or unknown
/// one.
pub fn component_kind(kind: u8) -> Option<&'static str> {
    let mut kinds = codes().kinds.iter();
    kinds.find_map(|(name, types)| types.contains(&kind).then_some(name.as_str()))
}

/// A type of analogue value; `None` for a user's (128 on) or unknown one.
pub fn analogue(kind: u8) -> Option<&'static Analogue> {
    codes().analogues.get(&kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_analogue_has_a_quantity_in_its_unit_or_a_reason() {
        assert_eq!(codes().analogues.len(), 12);
        assert_eq!((codes().systems.len(), codes().components.len()), (17, 66));
        // Each component but the general one is of one kind.
        for code in codes().components.keys() {
            let n = codes()
                .kinds
                .values()
                .flatten()
                .filter(|one| *one == code)
                .count();
            assert_eq!(n, usize::from(*code != 0), "{code}");
        }
        assert_eq!(codes().kinds.values().flatten().count(), 65);
        assert_eq!(component_kind(40), Some("smoke_detector"));
        assert_eq!((component_kind(0), component_kind(200)), (None, None));
        for (code, analogue) in &codes().analogues {
            assert!(analogue.per_unit >= 1.0);
            assert_ne!(analogue.quantity.is_some(), analogue.unmapped.is_some(), "{code}");
            if let Some(quantity) = analogue.quantity {
                assert!(
                    quantity.convert(1.0, &analogue.unit).is_some(),
                    "{code}: {quantity} in {}",
                    analogue.unit
                );
            }
        }
    }
}
