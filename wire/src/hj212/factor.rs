//! Factor codes and the quantities that they are: `factors.json`, read once.

use std::collections::HashMap;
use std::sync::OnceLock;

use onemap_model::Quantity;
use serde::Deserialize;

/// A quantity, and the unit in which a code gives it when the device's profile says none.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measure {
    /// What it is.
    pub quantity: Quantity,
    /// Its unit on the wire.
    pub unit: String,
}

/// What a factor code stands for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Factor {
    /// Code of 2017 and 2025.
    pub code: String,
    /// Code of 2005.
    #[serde(default)]
    pub code_2005: Option<String>,
    /// Chinese name.
    pub zh: String,
    quantity: Quantity,
    unit: String,
    /// In frames of flue gas (ST 31 and 51) it is this.
    #[serde(default)]
    source: Option<Measure>,
    /// The amount in a period (`Cou`).
    #[serde(default)]
    pub amount: Option<Measure>,
    /// The code of the same element in total; where both stand in one frame, this one has channels of its own.
    #[serde(default)]
    pub in_total: Option<String>,
}

impl Factor {
    /// What it measures in a frame of this system code.
    pub fn measure(&self, st: &str) -> Measure {
        match &self.source {
            Some(source) if matches!(st, "31" | "51") => source.clone(),
            _ => Measure {
                quantity: self.quantity,
                unit: self.unit.clone(),
            },
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "about")]
    _about: String,
    #[serde(rename = "source")]
    _source: String,
    #[serde(rename = "verified")]
    _verified: String,
    factors: Vec<Factor>,
}

struct Factors {
    list: Vec<Factor>,
    by_code: HashMap<String, usize>,
}

fn factors() -> &'static Factors {
    static FACTORS: OnceLock<Factors> = OnceLock::new();
    FACTORS.get_or_init(|| {
        let file: File = serde_json::from_str(include_str!("factors.json"))
            .expect("the map is part of the program and its test reads it");
        let by_code = file.factors.iter().enumerate().flat_map(|(i, factor)| {
            let codes = std::iter::once(&factor.code).chain(&factor.code_2005);
            codes.map(move |code| (code.clone(), i))
        });
        Factors {
            by_code: by_code.collect(),
            list: file.factors,
        }
    })
}

/// The factor of a code of any edition; `None` for codes that have no quantity here.
pub fn factor_of(code: &str) -> Option<&'static Factor> {
    let factors = factors();
    factors.list.get(*factors.by_code.get(code)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_code_has_a_quantity_and_a_unit_that_it_is_given_in() {
        let factors = factors();
        let n_codes: usize = factors
            .list
            .iter()
            .map(|f| 1 + usize::from(f.code_2005.is_some()))
            .sum();
        assert_eq!(factors.by_code.len(), n_codes, "a code stands twice");
        for factor in &factors.list {
            let measures = [
                Some(factor.measure("22")),
                Some(factor.measure("31")),
                factor.amount.clone(),
            ];
            for measure in measures.into_iter().flatten() {
                let one = measure.quantity.convert(1.0, &measure.unit);
                assert!(
                    one.is_some_and(f64::is_finite),
                    "{}: {}",
                    factor.code,
                    measure.unit
                );
            }
        }
    }

    /// Every code of the standard's table has a quantity, its code of 2005, and an amount where the table has one; beside
    /// `shared`, whose copy of the table is another one's work.
    #[test]
    fn no_code_of_the_table_is_without_a_quantity() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../shared/standards/hj212-factors.json");
        let Ok(text) = std::fs::read_to_string(&path) else {
            eprintln!("SKIPPED: {} is not there", path.display());
            return;
        };
        let table: serde_json::Value = serde_json::from_str(&text).unwrap();
        let table = table["factors"].as_object().unwrap();
        assert!(table.len() >= 199);
        for (code, row) in table {
            let factor = factor_of(code).unwrap_or_else(|| panic!("{code} {}", row["name"]));
            assert_eq!(factor.code_2005.as_deref(), row["code_2005"].as_str(), "{code}");
            let amount = factor.amount.as_ref().map(|amount| amount.unit.as_str());
            assert_eq!(amount, row["amount_unit"].as_str(), "{code}");
        }
    }

    #[test]
    fn what_is_let_out_in_a_period_is_mass_whatever_the_table_counts_it_in() {
        let mercury = factor_of("w20111").unwrap().amount.clone().unwrap();
        assert_eq!(mercury.unit, "g");
        assert_eq!(mercury.quantity.convert(2.5, "g"), Some(0.0025));
        // Methane of the air is a share, of flue gas a mass.
        let methane = factor_of("a05002").unwrap();
        let ambient = methane.measure("22");
        let share = ambient.quantity.convert(1.3, &ambient.unit).unwrap();
        assert!((share - 1.98).abs() < 0.01, "{share}");
        assert_eq!(methane.measure("31").quantity.definition().unit, "mg/m3");
    }

    #[test]
    fn codes_of_2005_are_the_same_factors() {
        assert_eq!(factor_of("011").unwrap().code, "w01018");
        assert_eq!(factor_of("B01").unwrap().code, "w00000");
        assert_eq!(factor_of("a214"), None);
    }
}
