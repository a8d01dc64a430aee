//! Whether the rings of an area lie in one another as holes and parts do: each hole in its own shell and in no other hole,
//! no part in the ground of another. Rings that cross are not for here ([`super::crossing`]).
//!
//! Exact, on the same integers. A place of each ring is looked up among all rings in one sweep from south to north: the
//! rings that it lies in are those of which it has an odd number of sides to its east.

use std::collections::HashMap;

use super::crossing::{Crossing, unit};
use super::geometry::{Coord, Geometry};

/// Places of a ring that are looked up; one that lies on another ring says nothing.
const N_PLACES: usize = 8;

type Place = (i64, i64);

/// A side of a ring, from its lower end to its upper.
struct Side {
    low: Place,
    high: Place,
    ring: usize,
}

/// What a sweep asks: which rings lie around a place of a ring.
struct Asked {
    at: Place,
    ring: usize,
    /// The place's number in its ring.
    n: usize,
}

/// The first ring that is found to lie where it cannot. Points, lines and areas of one ring have none.
pub(crate) fn find_misplaced(geometry: &Geometry) -> Option<Crossing> {
    let parts: &[Vec<Vec<Coord>>] = match geometry {
        Geometry::Polygon(rings) => std::slice::from_ref(rings),
        Geometry::MultiPolygon(polygons) => polygons,
        _ => return None,
    };
    // Of each ring its shell; of a shell itself.
    let mut rings: Vec<(usize, &Vec<Coord>)> = Vec::new();
    for part in parts {
        let shell = rings.len();
        rings.extend(part.iter().map(|ring| (shell, ring)));
    }
    if rings.len() < 2 {
        return None;
    }
    let around = around(&rings);
    rings.iter().enumerate().find_map(|(i, (shell, ring))| {
        let around = around.get(&i)?;
        let (lon, lat) = (ring[0].lon, ring[0].lat);
        let is_shell = *shell == i;
        let is_odd = around.len() % 2 == 1;
        match (is_shell, is_odd) {
            (true, false) => None,
            (true, true) => Some(Crossing::PartInPart { lon, lat }),
            (false, true) if around.contains(shell) => None,
            (false, _) if around.contains(shell) => Some(Crossing::HoleInHole { lon, lat }),
            (false, _) => Some(Crossing::HoleOutside { lon, lat }),
        }
    })
}

/// Of each ring those that it lies in, itself apart; a ring of which every place lies on others is left out.
fn around(rings: &[(usize, &Vec<Coord>)]) -> HashMap<usize, Vec<usize>> {
    // Doubled, so that the middle between two positions is one, too.
    let doubled = |c: &Coord| {
        let (x, y) = unit(c);
        (2 * x, 2 * y)
    };
    let (mut sides, mut asked) = (Vec::new(), Vec::new());
    for (ring, (_, positions)) in rings.iter().enumerate() {
        let mut n = 0;
        for pair in positions.windows(2) {
            let (a, b) = (doubled(&pair[0]), doubled(&pair[1]));
            if a == b {
                continue;
            }
            if n < N_PLACES {
                let at = ((a.0 + b.0) / 2, (a.1 + b.1) / 2);
                asked.push(Asked { at, ring, n });
                n += 1;
            }
            let (low, high) = if a.1 <= b.1 { (a, b) } else { (b, a) };
            sides.push(Side { low, high, ring });
        }
    }
    sides.sort_unstable_by_key(|side| side.low.1);
    asked.sort_unstable_by_key(|asked| asked.at.1);
    let mut sides = sides.into_iter().peekable();
    let mut open: Vec<Side> = Vec::new();
    let mut found: HashMap<usize, (usize, Vec<usize>)> = HashMap::new();
    for Asked { at, ring, n } in asked {
        while let Some(side) = sides.next_if(|side| side.low.1 <= at.1) {
            open.push(side);
        }
        open.retain(|side| side.high.1 >= at.1);
        if found.get(&ring).is_some_and(|(known, _)| *known < n) {
            continue;
        }
        if let Some(around) = lies_in(at, ring, &open) {
            found.insert(ring, (n, around));
        }
    }
    found
        .into_iter()
        .map(|(ring, (_, around))| (ring, around))
        .collect()
}

/// The rings around a place, itself apart; `None` when it lies on one of them.
fn lies_in(at: Place, ring: usize, open: &[Side]) -> Option<Vec<usize>> {
    let mut odd: Vec<usize> = Vec::new();
    for side in open.iter().filter(|side| side.ring != ring) {
        let (low, high) = (side.low, side.high);
        let turn = i128::from(high.0 - low.0) * i128::from(at.1 - low.1)
            - i128::from(high.1 - low.1) * i128::from(at.0 - low.0);
        let reaches = low.0.min(high.0) <= at.0 && at.0 <= low.0.max(high.0);
        if turn == 0 && reaches {
            return None;
        }
        // Half open, so that a position between two sides counts once; flat sides never do.
        if low.1 <= at.1 && at.1 < high.1 && turn > 0 {
            match odd.iter().position(|known| *known == side.ring) {
                Some(i) => {
                    odd.swap_remove(i);
                }
                None => odd.push(side.ring),
            }
        }
    }
    Some(odd)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn square(x: f64, y: f64, side: f64) -> Value {
        json!([[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]])
    }

    fn found(kind: &str, coordinates: &Value) -> Option<&'static str> {
        let geometry = json!({"type": kind, "coordinates": coordinates});
        find_misplaced(&Geometry::from_json(&geometry).unwrap()).map(|fault| match fault {
            Crossing::HoleOutside { .. } => "hole outside",
            Crossing::HoleInHole { .. } => "hole in hole",
            Crossing::PartInPart { .. } => "part in part",
            _ => "another",
        })
    }

    #[test]
    fn holes_lie_in_their_shells_and_parts_beside_one_another() {
        let shell = square(0.0, 0.0, 10.0);
        for (rings, fault) in [
            (json!([shell, square(1.0, 1.0, 2.0), square(5.0, 5.0, 2.0)]), None),
            (json!([shell, square(20.0, 1.0, 2.0)]), Some("hole outside")),
            (
                json!([shell, square(1.0, 1.0, 6.0), square(2.0, 2.0, 2.0)]),
                Some("hole in hole"),
            ),
            // Holes that touch the shell, and one another, in positions and in the middle of a side.
            (
                json!([
                    shell,
                    [[0, 5], [2, 4], [2, 6], [0, 5]],
                    [[2, 4], [4, 3], [4, 5], [2, 4]]
                ]),
                None,
            ),
            (json!([shell, [[5, 0], [6, 2], [4, 2], [5, 0]]]), None),
        ] {
            assert_eq!(found("Polygon", &rings), fault, "{rings}");
        }
        let ring = json!([shell, square(2.0, 2.0, 6.0)]);
        for (parts, fault) in [
            (json!([[shell], [square(20.0, 0.0, 5.0)]]), None),
            (json!([[shell], [square(10.0, 10.0, 5.0)]]), None),
            (json!([[shell], [square(3.0, 3.0, 2.0)]]), Some("part in part")),
            // An island in a lake, and a lake on it.
            (json!([ring, [square(3.0, 3.0, 4.0)]]), None),
            (
                json!([ring, [square(3.0, 3.0, 4.0), square(4.0, 4.0, 1.0)]]),
                None,
            ),
            (json!([[square(3.0, 3.0, 4.0)], ring]), None),
            // A hole of one part in the ground of another.
            (
                json!([[shell], [square(20.0, 0.0, 5.0), square(3.0, 3.0, 2.0)]]),
                Some("hole outside"),
            ),
        ] {
            assert_eq!(found("MultiPolygon", &parts), fault, "{parts}");
        }
    }

    #[test]
    fn fifty_thousand_parts_are_looked_at_in_time() {
        let parts: Vec<Value> = (0..40_000)
            .map(|i| {
                json!([square(
                    f64::from(i % 200) * 0.01,
                    f64::from(i / 200) * 0.01,
                    0.005
                )])
            })
            .collect();
        let began = std::time::Instant::now();
        assert_eq!(found("MultiPolygon", &json!(parts)), None);
        assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
    }
}
