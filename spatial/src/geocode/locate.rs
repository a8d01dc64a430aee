//! Where on the ground: along roads, between doors, at crossings. Distances are metres on a plane through the place.

use super::door::Found;
use super::gazetteer::Thing;
use super::pieces::at_door;
use crate::coordinates::Vertex;

/// Metres of one degree of latitude.
const PER_DEGREE_M: f64 = 111_320.0;
/// Roads whose lines come as near as this meet (lines of two sources, or drawn to the kerb).
const MEET_M: f64 = 60.0;

/// East and north of `a` in metres, seen from `from`.
fn plane(from: Vertex, a: Vertex) -> [f64; 2] {
    let lon = f64::from(a.lon) - f64::from(from.lon);
    let lat = f64::from(a.lat) - f64::from(from.lat);
    let narrow = from.lat_degrees().to_radians().cos();
    [lon * 1e-7 * PER_DEGREE_M * narrow, lat * 1e-7 * PER_DEGREE_M]
}

fn back(from: Vertex, [east, north]: [f64; 2]) -> Vertex {
    let narrow = from.lat_degrees().to_radians().cos().max(1e-6);
    Vertex {
        lon: from
            .lon
            .saturating_add((east / PER_DEGREE_M / narrow * 1e7).round() as i32),
        lat: from
            .lat
            .saturating_add((north / PER_DEGREE_M * 1e7).round() as i32),
    }
}

/// Metres between two points of a city.
pub(crate) fn metres(a: Vertex, b: Vertex) -> f64 {
    let [east, north] = plane(a, b);
    east.hypot(north)
}

pub(crate) fn length_m(line: &[Vertex]) -> f64 {
    line.windows(2).map(|w| metres(w[0], w[1])).sum()
}

/// The middle of the longest line, and its length in metres.
pub(crate) fn midpoint(lines: &[Box<[Vertex]>]) -> Option<(Vertex, f64)> {
    let line = lines.iter().max_by(|a, b| length_m(a).total_cmp(&length_m(b)))?;
    let length = length_m(line);
    Some((
        along(line, length / 2.0)?,
        lines.iter().map(|line| length_m(line)).sum(),
    ))
}

pub(crate) fn along(line: &[Vertex], mut at_m: f64) -> Option<Vertex> {
    for pair in line.windows(2) {
        let length = metres(pair[0], pair[1]);
        if at_m <= length && length > 0.0 {
            let [east, north] = plane(pair[0], pair[1]);
            let part = at_m / length;
            return Some(back(pair[0], [east * part, north * part]));
        }
        at_m -= length;
    }
    line.last().copied()
}

/// The foot of a point on lines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Foot {
    pub(crate) at: Vertex,
    pub(crate) distance_m: f64,
    /// Which line, and metres from its beginning.
    pub(crate) line: usize,
    pub(crate) along_m: f64,
    /// Positive when the point lies left of the line's direction.
    pub(crate) left: f64,
}

pub(crate) fn foot(lines: &[Box<[Vertex]>], p: Vertex) -> Option<Foot> {
    let mut best: Option<Foot> = None;
    for (i, line) in lines.iter().enumerate() {
        let mut before = 0.0;
        for pair in line.windows(2) {
            let (a, b) = (plane(p, pair[0]), plane(p, pair[1]));
            let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
            let length = dx.hypot(dy);
            if length == 0.0 {
                continue;
            }
            let t = (-(a[0] * dx + a[1] * dy) / (length * length)).clamp(0.0, 1.0);
            let near = [a[0] + dx * t, a[1] + dy * t];
            let distance_m = near[0].hypot(near[1]);
            if best.is_none_or(|best| distance_m < best.distance_m) {
                best = Some(Foot {
                    at: back(p, near),
                    distance_m,
                    line: i,
                    along_m: before + length * t,
                    left: -(dx * near[1] - dy * near[0]),
                });
            }
            before += length;
        }
    }
    best
}

/// Where a number lies on its road.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spot {
    pub(crate) at: Vertex,
    pub(crate) precision_m: f64,
}

/// Between two doors: along the road's line when they stand at one, at their distance from it.
pub(crate) fn between(road: &Thing, found: Found<'_>, number: u32) -> Option<Spot> {
    /// Numbers beyond the last that are still told.
    const N_BEYOND: u32 = 20;
    match found {
        Found::Door(door) => Some(at_door(door, 10.0)),
        Found::Beside(door) => Some(at_door(door, 25.0)),
        Found::Beyond(door) => {
            let gap = door.number.number.abs_diff(number);
            let precision_m = 20.0 + 8.0 * f64::from(gap) + f64::from(door.stated_m);
            (gap <= N_BEYOND).then_some(Spot {
                at: door.at,
                precision_m,
            })
        }
        Found::Between(a, b) => {
            let gap = b.number.number.abs_diff(a.number.number).max(1);
            let part = f64::from(number.abs_diff(a.number.number)) / f64::from(gap);
            let apart = metres(a.at, b.at);
            let stated_m = f64::from(a.stated_m.max(b.stated_m));
            let precision_m = (apart / 4.0 + 5.0).min(500.0) + stated_m;
            let at = on_line(road, a.at, b.at, part).unwrap_or_else(|| {
                let [east, north] = plane(a.at, b.at);
                back(a.at, [east * part, north * part])
            });
            Some(Spot { at, precision_m })
        }
    }
}

fn on_line(road: &Thing, a: Vertex, b: Vertex, part: f64) -> Option<Vertex> {
    /// Doors farther from the line do not follow it.
    const FAR_M: f64 = 80.0;
    let (from, to) = (foot(&road.lines, a)?, foot(&road.lines, b)?);
    if from.line != to.line || from.distance_m > FAR_M || to.distance_m > FAR_M || from.left * to.left < 0.0 {
        return None;
    }
    let line = &road.lines[from.line];
    let on = along(line, from.along_m + (to.along_m - from.along_m) * part)?;
    let (da, db) = (plane(from.at, a), plane(to.at, b));
    let aside = [da[0] + (db[0] - da[0]) * part, da[1] + (db[1] - da[1]) * part];
    Some(back(on, aside))
}

/// Where two roads cross, or come nearest when that is within 60 m.
pub(crate) fn crossing(a: &Thing, b: &Thing) -> Option<Spot> {
    let usual_m = 15.0 + f64::from(a.stated_m.max(b.stated_m));
    let mut best: Option<(f64, Vertex)> = None;
    for p in a.lines.iter() {
        for q in b.lines.iter() {
            for s in p.windows(2) {
                for t in q.windows(2) {
                    if let Some(at) = meet(s, t) {
                        return Some(Spot {
                            at,
                            precision_m: usual_m,
                        });
                    }
                }
            }
        }
    }
    for (lines, others) in [(&a.lines, &b.lines), (&b.lines, &a.lines)] {
        for p in lines.iter().flat_map(|line| line.iter()) {
            let Some(foot) = foot(others, *p) else { continue };
            if foot.distance_m <= MEET_M && best.is_none_or(|(d, _)| foot.distance_m < d) {
                best = Some((foot.distance_m, foot.at));
            }
        }
    }
    best.map(|(distance_m, at)| Spot {
        at,
        precision_m: usual_m + distance_m,
    })
}

fn meet(s: &[Vertex], t: &[Vertex]) -> Option<Vertex> {
    let apart = |a: (i32, i32), b: (i32, i32)| a.0.max(a.1) < b.0.min(b.1) || b.0.max(b.1) < a.0.min(a.1);
    if apart((s[0].lon, s[1].lon), (t[0].lon, t[1].lon)) || apart((s[0].lat, s[1].lat), (t[0].lat, t[1].lat))
    {
        return None;
    }
    let (b, c, d) = (plane(s[0], s[1]), plane(s[0], t[0]), plane(s[0], t[1]));
    let (dx, dy) = (d[0] - c[0], d[1] - c[1]);
    let cross = b[0] * dy - b[1] * dx;
    if cross.abs() < 1e-9 {
        return None;
    }
    let u = (c[0] * dy - c[1] * dx) / cross;
    let v = (c[0] * b[1] - c[1] * b[0]) / cross;
    let on = |x: f64| (0.0..=1.0).contains(&x);
    (on(u) && on(v)).then(|| back(s[0], [b[0] * u, b[1] * u]))
}

/// On which side of a road a point lies, as people say it: 东侧, 南侧 …
pub(crate) fn side(foot: &Foot, p: Vertex) -> Option<&'static str> {
    if foot.distance_m < 1.0 {
        return None;
    }
    let [east, north] = plane(foot.at, p);
    Some(if east.abs() >= north.abs() {
        if east > 0.0 { "东侧" } else { "西侧" }
    } else if north > 0.0 {
        "北侧"
    } else {
        "南侧"
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn v(lon: f64, lat: f64) -> Vertex {
        Vertex::from_degrees(lon, lat).unwrap()
    }

    #[test]
    fn distances_and_feet_are_metres() {
        let line: Box<[Vertex]> = [v(101.0, 36.0), v(101.01, 36.0)].into();
        assert!((length_m(&line) - 900.6).abs() < 1.0, "{}", length_m(&line));
        let north = foot(std::slice::from_ref(&line), v(101.005, 36.001)).unwrap();
        assert!((north.distance_m - 111.3).abs() < 0.5 && (north.along_m - 450.3).abs() < 1.0);
        assert!(north.left > 0.0, "north of a line to the east is left");
        assert_eq!(side(&north, v(101.005, 36.001)), Some("北侧"));
    }

    #[test]
    fn lines_meet_where_they_cross() {
        let a = [v(101.0, 36.0), v(101.02, 36.0)];
        let b = [v(101.01, 35.99), v(101.01, 36.01)];
        assert!(metres(meet(&a, &b).unwrap(), v(101.01, 36.0)) < 0.1);
        assert!(meet(&a, &[v(101.01, 36.001), v(101.01, 36.01)]).is_none());
    }
}
