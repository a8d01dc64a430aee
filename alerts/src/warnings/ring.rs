//! Rings as warnings have them: closed, in millionths of a degree, without crossings, of few points.

use onemap_cap::Polygon;

use super::refused::ContentFault;

/// Most points of a ring that is drawn by hand, the first and last counted once.
pub(super) const MOST_DRAWN: usize = 1000;
/// Most pairs of a ring that is made of an outline, the first and last counted twice.
pub const MOST_PAIRS: usize = 100;
const MICRO: f64 = 1e6;

/// Longitude and latitude in millionths of a degree.
type Place = (i64, i64);

/// The places of a ring without the closing one and without the same place twice in a row; `None` for what lies off
/// the globe.
fn places(ring: &[[f64; 2]]) -> Option<Vec<Place>> {
    let mut places = Vec::with_capacity(ring.len());
    for &[lon, lat] in ring {
        if !((-180.0..=180.0).contains(&lon) && (-90.0..=90.0).contains(&lat)) {
            return None;
        }
        let place = ((lon * MICRO).round() as i64, (lat * MICRO).round() as i64);
        if places.last() != Some(&place) {
            places.push(place);
        }
    }
    if places.len() > 1 && places.first() == places.last() {
        places.pop();
    }
    Some(places)
}

/// Twice the area on the side that `c` is of the line from `a` to `b`.
fn turn(a: Place, b: Place, c: Place) -> i128 {
    let wide = |v: i64| i128::from(v);
    wide(b.0 - a.0) * wide(c.1 - a.1) - wide(b.1 - a.1) * wide(c.0 - a.0)
}

fn is_between(a: Place, b: Place, c: Place) -> bool {
    (a.0.min(b.0)..=a.0.max(b.0)).contains(&c.0) && (a.1.min(b.1)..=a.1.max(b.1)).contains(&c.1)
}

/// Whether two segments share a place.
fn meet((a, b): (Place, Place), (c, d): (Place, Place)) -> bool {
    let (abc, abd) = (turn(a, b, c).signum(), turn(a, b, d).signum());
    let (cda, cdb) = (turn(c, d, a).signum(), turn(c, d, b).signum());
    if abc * abd < 0 && cda * cdb < 0 {
        return true;
    }
    (abc == 0 && is_between(a, b, c))
        || (abd == 0 && is_between(a, b, d))
        || (cda == 0 && is_between(c, d, a))
        || (cdb == 0 && is_between(c, d, b))
}

/// Whether no side meets another one but its neighbours at their common end.
fn is_simple(places: &[Place]) -> bool {
    let n = places.len();
    let side = |i: usize| (places[i], places[(i + 1) % n]);
    (0..n).all(|i| {
        // Of neighbours, that they do not run back over one another.
        let (a, b) = side(i);
        let c = places[(i + 2) % n];
        let folds = turn(a, b, c) == 0 && (is_between(a, b, c) || is_between(b, c, a));
        !folds
            && (i + 2..n).all(|j| {
                let is_neighbour = i == 0 && j == n - 1;
                is_neighbour || !meet(side(i), side(j))
            })
    })
}

fn degrees(places: &[Place]) -> Vec<[f64; 2]> {
    let first = places.first().into_iter();
    let all = places.iter().chain(first);
    all.map(|&(lon, lat)| [lon as f64 / MICRO, lat as f64 / MICRO])
        .collect()
}

/// A ring that was drawn, as a polygon of a message.
pub(super) fn drawn(field: &str, ring: &[[f64; 2]]) -> Result<Polygon, ContentFault> {
    let fault = |code, text: String| ContentFault::new(field, code, text);
    if ring.len() > MOST_DRAWN + 1 {
        let text = format!("a polygon has at most {MOST_DRAWN} points, not {}", ring.len());
        return Err(fault("too_many", text));
    }
    let places = places(ring).ok_or_else(|| fault("off_globe", "a point is not on the globe".to_owned()))?;
    if places.len() < 3 {
        let text = format!("a polygon has at least three points, not {}", places.len());
        return Err(fault("polygon_pairs", text));
    }
    if !is_simple(&places) {
        let text = "the sides of a polygon do not cross or touch one another".to_owned();
        return Err(fault("polygon_crosses", text));
    }
    Polygon::from_lon_lat(&degrees(&places)).map_err(|error| fault(error.code(), error.to_string()))
}

/// The outline of a division as a closed ring of at most [`MOST_PAIRS`] pairs, six decimals each: points leave whose
/// triangle with their neighbours is the smallest. `None` when nothing valid remains; then the division's code alone
/// says where.
pub fn simplified(ring: &[[f64; 2]]) -> Option<Vec<[f64; 2]>> {
    let mut kept = places(ring)?;
    while kept.len() > 2 * MOST_PAIRS {
        // Many at once while there are many: each pass takes the least of every pair of neighbours.
        let n = kept.len();
        let area = |i: usize| turn(kept[(i + n - 1) % n], kept[i], kept[(i + 1) % n]).unsigned_abs();
        let stays = |i: usize| i.is_multiple_of(2) || area(i) > area(i - 1).max(area((i + 1) % n));
        let fewer: Vec<Place> = (0..n).filter(|i| stays(*i)).map(|i| kept[i]).collect();
        if fewer.len() == n {
            break;
        }
        kept = fewer;
    }
    while kept.len() > MOST_PAIRS - 1 {
        let n = kept.len();
        let area = |i: &usize| turn(kept[(i + n - 1) % n], kept[*i], kept[(i + 1) % n]).unsigned_abs();
        let least = (0..n).min_by_key(area)?;
        kept.remove(least);
    }
    // What lies on the line between its neighbours says nothing.
    let n = kept.len();
    let bends = |i: &usize| turn(kept[(i + n - 1) % n], kept[*i], kept[(i + 1) % n]) != 0;
    let kept: Vec<Place> = (0..n).filter(bends).map(|i| kept[i]).collect();
    (kept.len() >= 3 && is_simple(&kept)).then(|| degrees(&kept))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rings_are_closed_and_do_not_cross() {
        type Row<'a> = (&'a [[f64; 2]], Result<&'a str, &'a str>);
        let table: [Row<'_>; 8] = [
            (
                &[[101.7, 36.6], [101.8, 36.6], [101.8, 36.7]],
                Ok("36.6,101.7 36.6,101.8 36.7,101.8 36.6,101.7"),
            ),
            (
                &[
                    [101.7, 36.6],
                    [101.7, 36.6],
                    [101.80000049, 36.6],
                    [101.8, 36.7],
                    [101.7, 36.6],
                ],
                Ok("36.6,101.7 36.6,101.8 36.7,101.8 36.6,101.7"),
            ),
            (&[], Err("polygon_pairs")),
            (&[[1.0, 1.0], [2.0, 2.0], [1.0, 1.0]], Err("polygon_pairs")),
            (&[[36.6, 101.7], [36.6, 101.8], [36.7, 101.8]], Err("off_globe")),
            (
                &[[0.0, 0.0], [1.0, 1.0], [1.0, 0.0], [0.0, 1.0]],
                Err("polygon_crosses"),
            ),
            (&[[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]], Err("polygon_crosses")),
            (
                &[[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [1.0, 0.0], [0.0, 2.0]],
                Err("polygon_crosses"),
            ),
        ];
        for (ring, said) in table {
            let read = drawn("p", ring).map(|polygon| polygon.to_string());
            let read = read.as_deref().map_err(|fault| fault.code);
            assert_eq!(read, said, "{ring:?}");
        }
        let many = vec![[0.0, 0.0]; MOST_DRAWN + 2];
        assert_eq!(drawn("p", &many).unwrap_err().code, "too_many");
    }

    /// A star around a centre: whatever its radii, it does not cross itself.
    fn star() -> impl Strategy<Value = Vec<[f64; 2]>> {
        proptest::collection::vec(0.02f64..0.2, 3..3000).prop_map(|radii| {
            let n = radii.len() as f64;
            let at = |(i, r): (usize, f64)| {
                let angle = std::f64::consts::TAU * i as f64 / n;
                [101.7 + r * angle.cos(), 36.6 + r * angle.sin()]
            };
            radii.into_iter().enumerate().map(at).collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn an_outline_becomes_a_small_valid_ring_or_none(ring in star()) {
            if let Some(small) = simplified(&ring) {
                prop_assert!((4..=MOST_PAIRS).contains(&small.len()), "{}", small.len());
                prop_assert_eq!(small.first(), small.last());
                let polygon = drawn("p", &small).unwrap();
                for pair in polygon.to_string().split(' ') {
                    for number in pair.split(',') {
                        let decimals = number.split_once('.').map_or(0, |(_, d)| d.len());
                        prop_assert!(decimals <= 6, "{}", number);
                    }
                }
            } else {
                // Only what was thinned may come to nothing.
                prop_assert!(ring.len() >= MOST_PAIRS);
            }
        }
    }
}
