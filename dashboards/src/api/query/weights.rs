//! How much a series counts in a mean over series: by something that the division it stands in has.

use std::collections::HashMap;
use std::sync::Arc;

use onemap_model::{DivisionCode, Entity, EntityKind};

use crate::error::Problem;
use crate::views::Register;

/// By what series weigh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Weights {
    /// Each the same.
    Alike,
    /// By the area of the division.
    Area,
    /// By a number among the division's attributes, like its population.
    Attribute(String),
}

/// Division entities by code.
pub(crate) type Divisions = HashMap<DivisionCode, Arc<Entity>>;

impl Weights {
    /// `1`, `area`, or the name of an attribute.
    pub(crate) fn parse(text: Option<&str>) -> Result<Self, Problem> {
        Ok(match text {
            None | Some("1") => Self::Alike,
            Some("area") => Self::Area,
            Some(name) if !name.is_empty() && name.len() <= 64 && !name.contains(char::is_control) => {
                Self::Attribute(name.to_owned())
            }
            Some(_) => {
                return Err(Problem::bad_request(
                    "bad_weights",
                    "weights= is 1, area, or the name of an attribute of the divisions, like population",
                ));
            }
        })
    }

    /// The entities of these divisions, as far as they are needed and known.
    pub(crate) fn divisions<'a>(
        &self,
        register: &Register,
        codes: impl Iterator<Item = &'a DivisionCode>,
    ) -> Divisions {
        let mut divisions = Divisions::new();
        if *self == Self::Alike {
            return divisions;
        }
        for code in codes {
            if divisions.contains_key(code) {
                continue;
            }
            let mut entities = register.view.with_code(code.as_str());
            if let Some(entity) = entities.find(|entity| entity.kind == EntityKind::Division) {
                divisions.insert(code.clone(), Arc::new(entity));
            }
        }
        divisions
    }

    /// The weights of divisions.
    pub(crate) fn of<'a>(&'a self, divisions: &'a Divisions) -> Weighty<'a> {
        let weight = |entity: &Entity| match self {
            Self::Alike => None,
            Self::Area => onemap_spatial::area_km2(entity),
            Self::Attribute(name) => {
                let value = entity.attributes.get(name)?;
                value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())
            }
        };
        let weighs = |(code, entity): (&'a DivisionCode, &Arc<Entity>)| {
            let weight = weight(entity)?;
            (weight.is_finite() && weight >= 0.0).then_some((code, weight))
        };
        Weighty {
            alike: *self == Self::Alike,
            by_division: divisions.iter().filter_map(weighs).collect(),
        }
    }
}

/// What each division weighs.
pub(crate) struct Weighty<'a> {
    alike: bool,
    by_division: HashMap<&'a DivisionCode, f64>,
}

impl Weighty<'_> {
    /// The weights of series that stand in these divisions, in their order: those of one division share its weight
    /// evenly. `None` for a series of which it is not known.
    pub(crate) fn shared<'b>(
        &self,
        places: impl Iterator<Item = Option<&'b DivisionCode>> + Clone,
    ) -> Vec<Option<f64>> {
        if self.alike {
            return places.map(|_| Some(1.0)).collect();
        }
        let mut counts = HashMap::<&DivisionCode, u32>::new();
        for place in places.clone().flatten() {
            *counts.entry(place).or_default() += 1;
        }
        places
            .map(|place| {
                let place = place?;
                let weight = self.by_division.get(place)?;
                Some(weight / f64::from(*counts.get(place)?))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn the_series_of_a_division_share_its_weight() {
        let code = |text: &str| DivisionCode::new(text).unwrap();
        let division = |text: &str, attributes: serde_json::Value| {
            let entity: Entity = serde_json::from_value(json!({
                "code": text, "kind": "division", "name": text, "attributes": attributes,
                "geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]]},
            }))
            .unwrap();
            (code(text), Arc::new(entity))
        };
        let divisions = Divisions::from([
            division("630102001", json!({"population": 9000, "n": -1})),
            division("630102002", json!({"population": " 500 ", "n": "many"})),
            division("630102003", json!({})),
        ]);
        let places = ["630102001", "630102002", "630102001", "630102003", "630109999"].map(code);
        let places = || places.iter().map(Some).chain([None]);
        let weights = |text| Weights::parse(text).unwrap();
        let shared = |text| weights(text).of(&divisions).shared(places());
        assert_eq!(shared(None), [Some(1.0); 6]);
        assert_eq!(
            shared(Some("population")),
            [Some(4500.0), Some(500.0), Some(4500.0), None, None, None]
        );
        assert_eq!(shared(Some("n")), [None; 6]);
        let areas = shared(Some("area"));
        assert!(areas[1].unwrap() > 12_000.0 && areas[1].unwrap() == areas[0].unwrap() * 2.0);
        assert!(areas[3].is_some() && areas[4].is_none());
        for bad in ["", "a\nb"] {
            assert!(Weights::parse(Some(bad)).is_err());
        }
    }
}
