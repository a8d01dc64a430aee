//! Entities of any kind with an area: which of them a point lies in, and how large they are.
//!
//! Made for one question from the register's entities.

use onemap_model::{Entity, EntityCode, Position};

use crate::coordinates::Vertex;
use crate::geometry::{Polygon, Shape};
use crate::ground::AreaIndex;

/// Radius of the sphere with the earth's surface, km.
const AUTHALIC_RADIUS_KM: f64 = 6371.0072;

/// Areas of entities, by size.
#[derive(Debug, Default)]
pub struct Areas {
    /// Smallest first, then by code: an area's number in the index is its place here.
    codes: Vec<EntityCode>,
    index: AreaIndex,
}

impl Areas {
    /// Of those entities that are polygons; others have no area and hold no point.
    pub fn of<'a>(entities: impl IntoIterator<Item = &'a Entity>) -> Self {
        let mut areas: Vec<_> = entities
            .into_iter()
            .filter_map(|entity| {
                let polygons = polygons(entity)?;
                Some((&entity.code, km2(&polygons), polygons))
            })
            .collect();
        areas.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(b.0)));
        let mut index = AreaIndex::lean();
        for (number, (_, _, polygons)) in (0u32..).zip(&areas) {
            index.put(number, polygons);
        }
        Self {
            codes: areas.into_iter().map(|(code, ..)| code.clone()).collect(),
            index,
        }
    }

    /// The smallest that the point lies in, borders included; of equal ones that of the smaller code.
    pub fn at(&self, position: &Position) -> Option<&EntityCode> {
        let mut found = Vec::new();
        self.index.at(Vertex::of(position), &mut found);
        found.first().map(|number| &self.codes[*number as usize])
    }
}

/// The area of an entity in square kilometres on a sphere, which is within half a percent of the ellipsoid's;
/// `None` when it is no polygon.
pub fn area_km2(entity: &Entity) -> Option<f64> {
    polygons(entity).map(|polygons| km2(&polygons))
}

fn polygons(entity: &Entity) -> Option<Vec<Polygon>> {
    match Shape::parse(&entity.geometry) {
        Ok(Shape::Polygons(polygons)) => Some(polygons.into_vec()),
        _ => None,
    }
}

/// Outer rings less their holes (Chamberlain and Duquette, JPL 07-03).
fn km2(polygons: &[Polygon]) -> f64 {
    let ring = |ring: &Vec<Vertex>| {
        let next = ring.iter().cycle().skip(1);
        let twice: f64 = ring
            .iter()
            .zip(next)
            .map(|(a, b)| {
                let width = (b.lon_degrees() - a.lon_degrees()).to_radians();
                let sine = |v: &Vertex| v.lat_degrees().to_radians().sin();
                width * (2.0 + sine(a) + sine(b))
            })
            .sum();
        (twice / 2.0).abs() * AUTHALIC_RADIUS_KM.powi(2)
    };
    polygons
        .iter()
        .map(|polygon| {
            let mut rings = polygon.rings.iter().map(ring);
            let outer = rings.next().unwrap_or(0.0);
            outer - rings.sum::<f64>()
        })
        .sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use onemap_model::EntityKind;
    use serde_json::json;

    use super::*;

    fn square(code: &str, west: f64, south: f64, size: f64) -> Entity {
        let (east, north) = (west + size, south + size);
        let ring = json!([
            [west, south],
            [east, south],
            [east, north],
            [west, north],
            [west, south]
        ]);
        let json = json!({
            "code": code, "kind": EntityKind::Grid, "name": code,
            "geometry": {"type": "Polygon", "coordinates": [ring]},
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_point_is_in_the_smallest_area_and_borders_count() {
        let mut point = square("p", 0.0, 0.0, 1.0);
        point.geometry = json!({"type": "Point", "coordinates": [101.85, 36.65]});
        let entities = [
            square("large", 101.0, 36.0, 1.0),
            square("b", 101.8, 36.6, 0.1),
            square("a", 101.9, 36.6, 0.1),
            point,
        ];
        let areas = Areas::of(&entities);
        for (lon, lat, want) in [
            (101.85, 36.65, Some("b")),
            (101.95, 36.65, Some("a")),
            (101.2, 36.2, Some("large")),
            (103.0, 36.2, None),
            (101.0, 36.0, Some("large")),
        ] {
            let at = areas.at(&Position::new(lon, lat, None).unwrap());
            assert_eq!(at.map(|code| &**code), want, "{lon} {lat}");
        }
        // On the border of two: not outside, and the same each time.
        let border = areas.at(&Position::new(101.9, 36.65, None).unwrap()).unwrap();
        assert!(["a", "b"].contains(&&**border));
    }

    #[test]
    fn areas_are_those_of_a_table() {
        // One degree of latitude and longitude: 12 308.8 km2 at the equator on the ellipsoid, 9 941.8 at 36 to 37.
        for (south, want) in [(0.0, 12_308.8), (36.0, 9_941.8)] {
            let km2 = area_km2(&square("s", 101.0, south, 1.0)).unwrap();
            assert!((km2 - want).abs() < want * 0.005, "{south}: {km2}");
        }
        let mut holed = square("s", 101.0, 36.0, 0.2);
        let hole = square("h", 101.05, 36.05, 0.1).geometry["coordinates"][0].clone();
        holed.geometry["coordinates"].as_array_mut().unwrap().push(hole);
        let share = area_km2(&holed).unwrap() / area_km2(&square("s", 101.0, 36.0, 0.2)).unwrap();
        assert!((share - 0.75).abs() < 0.001, "{share}");
        holed.geometry = json!({"type": "Point", "coordinates": [101.0, 36.0]});
        assert_eq!(area_km2(&holed), None);
    }
}
