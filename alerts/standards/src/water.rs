//! The class of surface water by its worst item (GB 3838, single-factor rule).

use std::collections::BTreeMap;
use std::sync::OnceLock;

use onemap_model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::decimal::tidy;
use crate::edition::{self, DataError, Edition, on_day};

const FILE: &str = "surface_water.json";
const DATA: &str = include_str!("../data/surface_water.json");
/// Worse than class V: 劣V.
pub const WORSE: u8 = 6;

/// What a section lies in; some items have limits of their own for each, or for one alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// A river or canal.
    River,
    /// A lake or reservoir.
    Lake,
}

/// The limits as the data file has them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaterStandards {
    editions: Vec<WaterStandard>,
    words: Vec<Words>,
}

/// One edition.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaterStandard {
    /// When it holds.
    pub edition: Edition,
    items: Vec<Item>,
}

/// How a class is called.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Words {
    /// 1 to 6.
    pub class: u8,
    /// Chinese.
    pub zh: String,
    /// The quality that it stands for, Chinese.
    pub quality_zh: String,
    /// The same, English.
    pub quality_en: String,
}

#[derive(Debug, Deserialize)]
struct Item {
    /// As the dictionary of quantities calls it.
    item: String,
    unit: String,
    #[serde(default)]
    only: Option<Body>,
    #[serde(flatten)]
    limits: Limits,
}

/// Limits of the classes I to V; equal to a limit still belongs to the better class.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", content = "limits", rename_all = "snake_case")]
enum Limits {
    AtMost([f64; 5]),
    AtLeast([f64; 5]),
    Within([[f64; 2]; 5]),
}

impl Limits {
    fn class(&self, value: f64) -> u8 {
        let value = tidy(value);
        let holds = |i: usize| match self {
            Limits::AtMost(limits) => value <= limits[i],
            Limits::AtLeast(limits) => value >= limits[i],
            Limits::Within(limits) => (limits[i][0]..=limits[i][1]).contains(&value),
        };
        (0..5).find(|i| holds(*i)).map_or(WORSE, |i| i as u8 + 1)
    }
    /// By how many times the limit of a class is exceeded; not for items that may not fall.
    fn factor(&self, value: f64, class: u8) -> Option<f64> {
        let Limits::AtMost(limits) = self else { return None };
        let limit = limits.get(usize::from(class.checked_sub(1)?))?;
        (tidy(value) > *limit).then(|| tidy(tidy(value) / limit - 1.0))
    }
}

/// The class of a section.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WaterClass {
    /// 1 to 5, 6 is worse than V.
    pub class: u8,
    /// The edition that it was found by.
    pub standard: String,
    /// The class of each item.
    pub items: BTreeMap<String, u8>,
    /// The items that make it the class that it is.
    pub worst: Vec<String>,
    /// Items worse than the class that was aimed at, oxygen and pH among them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub over: Vec<String>,
    /// By how many times items exceed the limit of the class that was aimed at (超标倍数); oxygen and pH have no such number.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub exceeding: BTreeMap<String, f64>,
    /// Items with a limit that nothing is said of: by them the section may be worse.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// Items that the standard has no limit for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub without_limit: Vec<String>,
}

/// The standards of this program.
///
/// # Panics
/// Never: the data file is checked by a test, since it is part of the program.
pub fn standards() -> &'static WaterStandards {
    static STANDARDS: OnceLock<WaterStandards> = OnceLock::new();
    STANDARDS.get_or_init(|| WaterStandards::parse(DATA).expect("a test reads this file"))
}

impl WaterStandards {
    /// Reads a data file.
    ///
    /// # Errors
    /// [`DataError`] with what is wrong in it.
    pub fn parse(text: &str) -> Result<Self, DataError> {
        let fault = |why: String| DataError { file: FILE, why };
        let all: Self = serde_json::from_str(text).map_err(|e| fault(e.to_string()))?;
        edition::check(FILE, all.editions.iter().map(|one| &one.edition))?;
        for item in all.editions.iter().flat_map(|one| &one.items) {
            let rises = match &item.limits {
                Limits::AtMost(limits) => limits.is_sorted(),
                Limits::AtLeast(limits) => limits.iter().rev().is_sorted(),
                Limits::Within(limits) => limits.iter().all(|[low, high]| low < high),
            };
            if !rises {
                let why = format!("{} ({}): a better class allows more", item.item, item.unit);
                return Err(fault(why));
            }
        }
        if !(1..=WORSE).all(|class| all.words.iter().any(|words| words.class == class)) {
            return Err(fault("a class has no name".to_owned()));
        }
        Ok(all)
    }

    /// The edition that holds for a sample of then.
    pub fn at(&self, sampled_at: Timestamp) -> Option<&WaterStandard> {
        on_day(&self.editions, |one| &one.edition, sampled_at)
    }
    /// How a class is called.
    pub fn words(&self, class: u8) -> Option<&Words> {
        self.words.iter().find(|words| words.class == class)
    }
}

impl WaterStandard {
    /// Names of the items that have a limit, as the dictionary of quantities has them; one may stand twice.
    pub fn item_names(&self) -> impl Iterator<Item = &str> {
        self.items.iter().map(|item| item.item.as_str())
    }
    /// The class of a sample: that of its worst item; `None` when no item of it has a limit. Values are in the
    /// canonical units (mg/L), by the names of the dictionary. Water temperature, and in rivers total nitrogen
    /// and coliforms, are left out of it, as in routine assessment.
    pub fn class(&self, body: Body, aim: Option<u8>, said: &BTreeMap<String, f64>) -> Option<WaterClass> {
        let mut found = WaterClass {
            class: 0,
            standard: self.edition.id.clone(),
            items: BTreeMap::new(),
            worst: Vec::new(),
            over: Vec::new(),
            exceeding: BTreeMap::new(),
            missing: Vec::new(),
            without_limit: Vec::new(),
        };
        let of_body = |item: &&Item| item.only.is_none_or(|only| only == body);
        for item in self.items.iter().filter(of_body) {
            if said.get(&item.item).is_none_or(|value| !value.is_finite()) {
                found.missing.push(item.item.clone());
            }
        }
        for (name, value) in said {
            let named = |item: &&Item| item.item == *name && item.only.is_none_or(|only| only == body);
            let Some(item) = self.items.iter().find(named).filter(|_| value.is_finite()) else {
                found.without_limit.push(name.clone());
                continue;
            };
            let class = item.limits.class(*value);
            found.items.insert(name.clone(), class);
            if aim.is_some_and(|aim| class > aim) {
                found.over.push(name.clone());
            }
            if let Some(factor) = aim.and_then(|aim| item.limits.factor(*value, aim)) {
                found.exceeding.insert(name.clone(), factor);
            }
        }
        found.class = *found.items.values().max()?;
        found.worst = found
            .items
            .iter()
            .filter(|(_, class)| **class == found.class)
            .map(|(name, _)| name.clone())
            .collect();
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn class(body: Body, said: &[(&str, f64)]) -> Option<(u8, Vec<String>)> {
        let said = said
            .iter()
            .map(|(name, value)| ((*name).to_owned(), *value))
            .collect();
        let standard = &standards().editions[0];
        standard
            .class(body, None, &said)
            .map(|found| (found.class, found.worst))
    }

    #[test]
    fn what_nothing_is_said_of_is_missing() {
        let said = BTreeMap::from([("ph".to_owned(), 7.0), ("mercury".to_owned(), f64::NAN)]);
        let standard = &standards().editions[0];
        let found = standard.class(Body::River, None, &said).unwrap();
        let all: Vec<&str> = standard.item_names().collect();
        assert!(found.missing.contains(&"mercury".to_owned()) && !found.missing.contains(&"ph".to_owned()));
        assert!(
            !found.missing.contains(&"total_nitrogen".to_owned()),
            "rivers have no limit of it"
        );
        assert!(found.missing.len() > 15 && found.missing.iter().all(|item| all.contains(&item.as_str())));
    }

    #[test]
    fn noise_of_a_mean_is_over_no_limit() {
        let mean = (0.1 + 0.2 + 0.3) / 3.0;
        assert_eq!(class(Body::River, &[("total_phosphorus", mean)]).unwrap().0, 3);
        assert_eq!(
            class(Body::River, &[("ammonia_nitrogen", (0.1 + 0.2) / 2.0)])
                .unwrap()
                .0,
            1
        );
    }

    #[test]
    fn the_worst_item_makes_the_class_and_a_limit_belongs_to_the_better_one() {
        let of = |class, worst: &[&str]| Some((class, worst.iter().map(|w| (*w).to_owned()).collect()));
        for (body, said, want) in [
            (Body::River, &[][..], None),
            (Body::River, &[("chlorophyll", 1.0)], None),
            (
                Body::River,
                &[("ph", 7.9), ("dissolved_oxygen", 7.5), ("cod", 15.0)],
                of(1, &["cod", "dissolved_oxygen", "ph"]),
            ),
            (
                Body::River,
                &[("ph", 7.9), ("dissolved_oxygen", 7.4)],
                of(2, &["dissolved_oxygen"]),
            ),
            (
                Body::River,
                &[("ammonia_nitrogen", 1.0), ("total_phosphorus", 0.2)],
                of(3, &["ammonia_nitrogen", "total_phosphorus"]),
            ),
            (
                Body::Lake,
                &[("ammonia_nitrogen", 1.0), ("total_phosphorus", 0.2)],
                of(5, &["total_phosphorus"]),
            ),
            (
                Body::River,
                &[("ammonia_nitrogen", 0.1), ("total_nitrogen", 9.0)],
                of(1, &["ammonia_nitrogen"]),
            ),
            (
                Body::Lake,
                &[("ammonia_nitrogen", 0.1), ("total_nitrogen", 9.0)],
                of(6, &["total_nitrogen"]),
            ),
            (Body::River, &[("ph", 5.9)], of(6, &["ph"])),
            (
                Body::River,
                &[("dissolved_oxygen", 1.99)],
                of(6, &["dissolved_oxygen"]),
            ),
            (Body::River, &[("mercury", f64::NAN)], None),
        ] {
            assert_eq!(class(body, said), want, "{said:?}");
        }
    }

    #[test]
    fn what_exceeds_the_class_aimed_at_says_by_how_much() {
        let said = [
            ("ammonia_nitrogen", 1.5),
            ("dissolved_oxygen", 4.0),
            ("cod", 20.0),
        ];
        let said = said.map(|(name, value)| (name.to_owned(), value)).into();
        let found = standards().editions[0]
            .class(Body::River, Some(3), &said)
            .unwrap();
        // 1.5 / 1.0 - 1; oxygen has no factor, and COD is at its limit.
        assert_eq!(found.exceeding, [("ammonia_nitrogen".to_owned(), 0.5)].into());
        assert_eq!(found.class, 4);
        assert_eq!(standards().words(6).unwrap().zh, "劣Ⅴ类");
    }

    #[test]
    fn every_item_is_a_quantity_of_the_dictionary_in_its_unit() {
        for item in standards().editions.iter().flat_map(|edition| &edition.items) {
            let quantity = onemap_model::Quantity::named(&item.item);
            let quantity = quantity.unwrap_or_else(|| panic!("no reading is ever called {}", item.item));
            assert_eq!(quantity.definition().unit, item.unit, "{}", item.item);
        }
    }

    #[test]
    fn faults_in_the_data_are_told() {
        for (from, to) in [
            ("[15, 15, 20, 30, 40]", "[15, 15, 20, 30, 4]"),
            ("\"class\": 6", "\"class\": 5"),
        ] {
            assert!(DATA.contains(from), "{from}");
            assert!(WaterStandards::parse(&DATA.replace(from, to)).is_err(), "{to}");
        }
    }
}
