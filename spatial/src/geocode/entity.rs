//! Which entities of the register have a name or a door that an address may say.

use onemap_model::{Entity, EntityKind};
use serde_json::Value;

use super::{DoorEntry, Entry, EntryKind, Ground};
use crate::coordinates::Vertex;
use crate::geometry::Shape;
use crate::prepared_layer::label_point;

/// Attributes that hold other names, as a list or as text with `;` between.
const OTHER_NAMES: [&str; 5] = ["aliases", "alias", "alt_names", "old_names", "old_name"];
/// Attributes that hold codes of before.
const OTHER_CODES: [&str; 2] = ["old_codes", "old_code"];

/// What the geocoder takes of an entity.
#[derive(Clone, Debug, PartialEq)]
pub enum Named {
    /// A division, road or place.
    Entry(Entry),
    /// A house number, building or house of a village.
    Door(DoorEntry),
}

/// What the geocoder takes of an entity; `None` for kinds without public names and for entities without a
/// name. An address entity is a door when its attributes say `number` and `road`, `estate` or `village`.
pub fn named(entity: &Entity) -> Option<Named> {
    let text = |key: &str| match entity.attributes.get(key) {
        Some(Value::String(text)) => text.trim().to_owned(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    let shape = Shape::parse(&entity.geometry).ok();
    let kind = match entity.kind {
        EntityKind::Division => EntryKind::Division,
        EntityKind::Road => EntryKind::Road,
        EntityKind::Place | EntityKind::Water | EntityKind::Reach => EntryKind::Place,
        EntityKind::Address => {
            let of = ["road", "estate", "village"]
                .iter()
                .map(|key| text(key))
                .find(|text| !text.is_empty());
            let number = ["number", "building"]
                .iter()
                .map(|key| text(key))
                .find(|text| !text.is_empty());
            if let (Some(of), Some(number), Some(at)) = (of, number, shape.as_ref().and_then(point)) {
                let at = [at.lon_degrees(), at.lat_degrees()];
                return Some(Named::Door(DoorEntry {
                    code: entity.code.clone(),
                    of,
                    number,
                    group: group(&text("group")),
                    division: entity.division.clone(),
                    at,
                    stated_m: stated_m(entity),
                }));
            }
            EntryKind::Place
        }
        _ => return None,
    };
    if entity.name.trim().is_empty() {
        return None;
    }
    let mut aliases = Vec::new();
    for key in OTHER_NAMES.into_iter().chain(OTHER_CODES) {
        match entity.attributes.get(key) {
            Some(Value::String(text)) => {
                aliases.extend(text.split([';', '；', '、']).map(|a| a.trim().to_owned()))
            }
            Some(Value::Array(list)) => {
                aliases.extend(list.iter().filter_map(Value::as_str).map(str::to_owned))
            }
            _ => {}
        }
    }
    aliases.extend(entity.former.iter().map(|former| former.code.to_string()));
    aliases.push(entity.name_en.clone());
    aliases.retain(|alias| !alias.is_empty());
    let division = match kind {
        EntryKind::Division => onemap_model::DivisionCode::new(&entity.code).ok(),
        _ => entity.division.clone(),
    };
    let stated_m = stated_m(entity);
    let ground = match (&shape, kind) {
        (Some(Shape::Lines(lines)), _) => Ground::Lines(
            lines
                .iter()
                .map(|line| line.iter().map(|v| [v.lon_degrees(), v.lat_degrees()]).collect())
                .collect(),
        ),
        (Some(shape), _) => match point(shape) {
            Some(at) => Ground::Point {
                at: [at.lon_degrees(), at.lat_degrees()],
                precision_m: f64::from(stated_m).max(reach_m(shape, at)),
            },
            None => Ground::Nowhere,
        },
        (None, _) => Ground::Nowhere,
    };
    let name = entity.name.trim().to_owned();
    Some(Named::Entry(Entry {
        code: entity.code.clone(),
        name,
        aliases,
        kind,
        division,
        ground,
        stated_m,
        held: true,
    }))
}

/// Attribute `precision_m`, a number or the text of one, as sheets have it; 0 when it is neither.
fn stated_m(entity: &Entity) -> f32 {
    let stated = match entity.attributes.get("precision_m") {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        _ => None,
    };
    // No place on the globe is farther from another than 20,100 km.
    stated.filter(|m| (0.0..2.1e7).contains(m)).unwrap_or(0.0) as f32
}

/// `3`, `3社`, `三组`; 0 is none.
fn group(raw: &str) -> u16 {
    let written = super::text::Text::written(raw).chars;
    let digits: String = written
        .iter()
        .skip_while(|c| !c.is_ascii_digit())
        .take_while(|c| c.is_ascii_digit())
        .collect();
    digits.parse().unwrap_or(0)
}

fn point(shape: &Shape) -> Option<Vertex> {
    match shape {
        Shape::Points(points) => points.first().copied(),
        Shape::Lines(lines) => lines.first().and_then(|line| line.get(line.len() / 2)).copied(),
        Shape::Polygons(polygons) => label_point(polygons),
    }
}

/// How far an area reaches from its label.
fn reach_m(shape: &Shape, at: Vertex) -> f64 {
    let Shape::Polygons(polygons) = shape else {
        return 0.0;
    };
    let rings = polygons.iter().flat_map(|polygon| polygon.rings.first());
    rings
        .flatten()
        .map(|v| super::locate::metres(at, *v))
        .fold(0.0, f64::max)
}
