//! Areas of warnings from what the register knows of divisions.

use onemap_alerts::warnings::simplified;
use onemap_model::{DivisionCode, EntityKind, WarningArea, WarningContent};
use serde_json::Value;

use crate::views::Register;

/// Rings of one division: the largest, when it has more.
const MOST_RINGS: usize = 10;

/// Chinese and English name of a division; its code where the register has none.
pub(super) fn names(register: &Register, code: &DivisionCode) -> (String, String) {
    let entity = register.view.entities.get(&EntityKind::Division, code.as_str());
    let (zh, en) = entity.map_or_else(Default::default, |entity| (entity.name, entity.name_en));
    let or_code = |text: String| if text.is_empty() { code.to_string() } else { text };
    let en = if en.is_empty() { zh.clone() } else { en };
    (or_code(zh), or_code(en))
}

/// A division as an area of its own.
pub(super) fn of_division(register: &Register, code: &DivisionCode) -> WarningArea {
    let (zh, en) = names(register, code);
    WarningArea {
        zh,
        en,
        divisions: vec![code.clone()],
        ..WarningArea::default()
    }
}

/// Puts the outlines of the divisions into each area, as the register has them now, and the names of those that are
/// one division and have none. What the client gave for an outline is none.
pub(super) fn outline(register: &Register, content: &mut WarningContent) {
    for area in &mut content.areas {
        area.outlines = area
            .divisions
            .iter()
            .flat_map(|code| outlines(register, code))
            .take(MOST_RINGS)
            .collect();
        if let [code] = area.divisions.as_slice()
            && (area.zh.trim().is_empty() || area.en.trim().is_empty())
        {
            let (zh, en) = names(register, code);
            let fill = |text: &mut String, name| {
                if text.trim().is_empty() {
                    *text = name;
                }
            };
            fill(&mut area.zh, zh);
            fill(&mut area.en, en);
        }
    }
}

/// The outer rings of a division, small enough for a message; none when the register has no outline of it, or one that
/// becomes invalid when it is made small.
pub(super) fn outlines(register: &Register, code: &DivisionCode) -> Vec<Vec<[f64; 2]>> {
    let entity = register.view.entities.get(&EntityKind::Division, code.as_str());
    let geometry = entity.map(|entity| entity.geometry).unwrap_or_default();
    let mut rings = outer_rings(&geometry);
    // The most points first: small islands and exclaves are left out before the mainland is.
    rings.sort_by_key(|ring| std::cmp::Reverse(ring.len()));
    let rings = rings.iter().take(MOST_RINGS).map(|ring| simplified(ring));
    rings.collect::<Option<Vec<_>>>().unwrap_or_default()
}

fn outer_rings(geometry: &Value) -> Vec<Vec<[f64; 2]>> {
    let rings = |polygons: Vec<&Value>| polygons.into_iter().filter_map(|p| ring(p.get(0)?)).collect();
    let coordinates = &geometry["coordinates"];
    match geometry["type"].as_str() {
        Some("Polygon") => rings(vec![coordinates]),
        Some("MultiPolygon") => rings(coordinates.as_array().into_iter().flatten().collect()),
        _ => Vec::new(),
    }
}

fn ring(points: &Value) -> Option<Vec<[f64; 2]>> {
    let point = |point: &Value| Some([point.get(0)?.as_f64()?, point.get(1)?.as_f64()?]);
    points.as_array()?.iter().map(point).collect()
}
