//! A geocoder of what a register holds, over the shipped names.

use std::borrow::Borrow;

use onemap_model::{DivisionCode, Entity, EntityKind, Position};

use super::locate::{along, length_m};
use super::{Entry, Geocoder, Ground, Named, base_entries, named};
use crate::CityMap;
use crate::coordinates::Vertex;

/// The kinds of entities that have a name or a door that an address may say.
pub const NAMED: [EntityKind; 6] = [
    EntityKind::Division,
    EntityKind::Road,
    EntityKind::Place,
    EntityKind::Water,
    EntityKind::Reach,
    EntityKind::Address,
];

/// Whether a change of such an entity changes what addresses mean.
pub fn has_names(kind: &EntityKind) -> bool {
    NAMED.contains(kind)
}

/// The geocoder of a register's entities. What states no division lies in the finest one whose area covers it,
/// a road in that of its middle. Entities without a usable name or place are left out.
pub fn of_entities<E: Borrow<Entity>>(entities: impl IntoIterator<Item = E>) -> Geocoder {
    let mut city = CityMap::new();
    let mut entries: Vec<Entry> = base_entries();
    let mut doors = Vec::new();
    for entity in entities {
        let entity = entity.borrow();
        if !has_names(&entity.kind) {
            continue;
        }
        if entity.kind == EntityKind::Division {
            // One without a usable area has a name all the same.
            let _ = city.put_entity(entity);
        }
        match named(entity) {
            Some(Named::Entry(entry)) => entries.push(entry),
            Some(Named::Door(door)) => doors.push(door),
            None => {}
        }
    }
    let locate = |at: [f64; 2]| {
        Position::new(at[0], at[1], None)
            .ok()
            .and_then(|p| city.locate(&p))
    };
    for entry in &mut entries {
        if entry.division.is_none() {
            entry.division = match &entry.ground {
                Ground::Nowhere => None,
                Ground::Point { at, .. } => locate(*at),
                Ground::Lines(lines) => of_road(lines, locate),
            };
        }
    }
    for door in &mut doors {
        if door.division.is_none() {
            door.division = locate(door.at);
        }
    }
    Geocoder::new(entries, doors)
}

/// The division of a road: that of its middle when both its ends lie there, else the city they have in common.
fn of_road(
    lines: &[Vec<[f64; 2]>],
    locate: impl Fn([f64; 2]) -> Option<DivisionCode>,
) -> Option<DivisionCode> {
    let vertices = |line: &Vec<[f64; 2]>| -> Box<[Vertex]> {
        line.iter()
            .filter_map(|at| Vertex::from_degrees(at[0], at[1]))
            .collect()
    };
    let lines: Vec<Box<[Vertex]>> = lines.iter().map(vertices).collect();
    let line = lines.iter().max_by(|a, b| length_m(a).total_cmp(&length_m(b)))?;
    // An end may lie on the border, or just behind it.
    let [near, middle, far] = [0.1, 0.5, 0.9].map(|part| {
        let at = along(line, length_m(line) * part)?;
        locate([at.lon_degrees(), at.lat_degrees()])
    });
    let district = |code: &Option<DivisionCode>| {
        code.as_ref()
            .map(|code| code.as_str().chars().take(6).collect::<String>())
    };
    let all = [district(&near), district(&middle), district(&far)];
    if all.iter().all(|one| *one == all[1]) {
        return middle;
    }
    let city = |code: &Option<String>| code.as_ref().and_then(|code| code.get(..4).map(str::to_owned));
    let common = city(&all[1])?;
    let inside = all.iter().flatten().all(|code| code.starts_with(&common));
    inside
        .then(|| DivisionCode::new(&format!("{common}00")).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{Asker, Level};
    use super::*;
    use onemap_model::EntityCode;
    use serde_json::{Value, json};

    fn entity(kind: EntityKind, code: &str, name: &str, geometry: Value, attributes: Value) -> Entity {
        let Value::Object(attributes) = attributes else {
            panic!("an object")
        };
        let code: EntityCode = code.into();
        serde_json::from_value(json!({
            "code": &*code, "kind": kind, "name": name, "geometry": geometry, "attributes": attributes,
        }))
        .unwrap()
    }

    #[test]
    fn a_registers_entities_are_found_by_their_names() {
        let square = json!({"type": "Polygon", "coordinates": [[[101.7, 36.6], [101.8, 36.6], [101.8, 36.7], [101.7, 36.7], [101.7, 36.6]]]});
        let line = json!({"type": "LineString", "coordinates": [[101.71, 36.62], [101.75, 36.62]]});
        let point = |lon: f64| json!({"type": "Point", "coordinates": [lon, 36.62]});
        let entities = [
            entity(EntityKind::Division, "630104", "城西区", square, json!({})),
            entity(
                EntityKind::Road,
                "R1",
                "西关大街",
                line,
                json!({"old_names": "西关街;西门外大街"}),
            ),
            entity(
                EntityKind::Address,
                "A58",
                "西关大街58号",
                point(101.73),
                json!({"road": "西关大街", "number": "58"}),
            ),
            entity(
                EntityKind::Address,
                "B3",
                "",
                point(101.74),
                json!({"estate": "虎台小区", "building": "3栋"}),
            ),
            entity(
                EntityKind::Place,
                "P1",
                "虎台小区",
                point(101.741),
                json!({"aliases": ["虎台家属院"]}),
            ),
            entity(
                EntityKind::Address,
                "H12",
                "",
                json!({"type": "Point", "coordinates": [101.68, 36.53]}),
                json!({"village": "元堡子村", "group": "三社", "number": 12}),
            ),
            entity(EntityKind::Person, "X", "某人", point(101.74), json!({})),
            entity(EntityKind::Place, "P2", "  ", point(101.74), json!({})),
        ];
        let geocoder = of_entities(&entities);
        let ask = |text: &str| geocoder.geocode(text, &Asker::default()).unwrap();
        let door = ask("西宁城西西关大街58号");
        assert_eq!((door.level, door.code.as_deref()), (Level::Door, Some("A58")));
        assert_eq!(door.division.unwrap().as_str(), "630104", "found by the area");
        assert!(door.confidence > 0.9);
        let old = ask("城西区西门外大街");
        assert_eq!(
            (old.level, old.name.as_str(), old.code.as_deref()),
            (Level::Road, "西关大街", Some("R1"))
        );
        let building = ask("城西区虎台小区3号楼2单元301");
        assert_eq!(
            (building.level, building.code.as_deref()),
            (Level::Building, Some("B3"))
        );
        assert_eq!(ask("虎台家属院").code.as_deref(), Some("P1"));
        assert_eq!(ask("某人").level, Level::Unknown, "persons have no public name");
        // A road through two districts is found in both.
        let east = json!({"type": "Polygon", "coordinates": [[[101.8, 36.6], [101.9, 36.6], [101.9, 36.7], [101.8, 36.7], [101.8, 36.6]]]});
        let long = json!({"type": "LineString", "coordinates": [[101.75, 36.65], [101.85, 36.65]]});
        let mut more: Vec<Entity> = entities.to_vec();
        more.push(entity(EntityKind::Division, "630102", "城东区", east, json!({})));
        more.push(entity(EntityKind::Road, "R2", "祁连路", long, json!({})));
        let both = of_entities(&more);
        for text in ["城西区祁连路", "城东区祁连路"] {
            let found = both.geocode(text, &Asker::default()).unwrap();
            assert_eq!(found.code.as_deref(), Some("R2"), "{text}");
            assert!(found.confidence > 0.8 && !found.because.contains(&"district_differs"));
        }
        let stranger = Asker {
            division: DivisionCode::new("630102").ok(),
            near: None,
        };
        for hidden in [
            "城中区总寨镇元堡子村3社12号",
            "城西区西关大街58号",
            "城西区虎台小区3号楼",
        ] {
            let seen = geocoder.geocode(hidden, &stranger).unwrap();
            assert!(seen.level <= Level::Community, "{hidden}: {seen:?}");
            assert!(seen.alternatives.is_empty());
        }
        let house = ask("城中区总寨镇元堡子村3社12号");
        assert_eq!(
            (house.level, house.code.as_deref()),
            (Level::Door, Some("H12")),
            "{house:?}"
        );
        assert_eq!(ask("城中区总寨镇元堡子村4社12号").level, Level::Community);
        let beyond = ask("城西区西关大街400号");
        assert_eq!(
            (beyond.level, beyond.because),
            (Level::Road, vec!["number_unknown"])
        );
    }
}
