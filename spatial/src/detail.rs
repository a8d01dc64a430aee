//! From which zoom on a vertex is drawn: simplification that keeps shared borders shared.
//!
//! Borders are cut into arcs where paths meet or part. Each arc is ranked once, in a direction that
//! does not depend on who owns it (Visvalingam's effective area), so two neighbours keep and drop the
//! same vertices at every zoom and no sliver opens between them. Where neighbours were not digitised
//! with the same vertices, this cannot help: gaps stay within the zoom's tolerance.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use crate::mercator::Mercator;
use crate::tile::UNIT_BITS;

/// From this zoom on every vertex is drawn.
const FULL_DETAIL_ZOOM: u8 = 14;
/// Triangles smaller than this many square tile units (1/4096 of a tile's side) are left out: 12
/// units are about a fifth of a screen pixel.
const TOLERANCE_UNITS2: u128 = 12;

/// A line or a ring (without its closing vertex) to be ranked.
pub(crate) struct Path<'a> {
    pub(crate) vertices: &'a [Mercator],
    pub(crate) closed: bool,
}

/// For every vertex of every path, the lowest zoom at which it is drawn.
pub(crate) fn vertex_zooms(paths: &[Path<'_>]) -> Vec<Vec<u8>> {
    let junctions = junctions(paths);
    paths
        .iter()
        .map(|path| {
            let mut zooms = vec![0u8; path.vertices.len()];
            for arc in arcs(path, &junctions) {
                rank(path.vertices, &arc, &mut zooms);
            }
            zooms
        })
        .collect()
}

/// Vertices that every path through them keeps: ends of lines, and where two paths part.
fn junctions(paths: &[Path<'_>]) -> HashMap<Mercator, bool> {
    let mut neighbours: HashMap<Mercator, [Mercator; 2]> = HashMap::new();
    let mut junctions: HashMap<Mercator, bool> = HashMap::new();
    for path in paths {
        let n = path.vertices.len();
        for (i, vertex) in path.vertices.iter().enumerate() {
            if !path.closed && (i == 0 || i + 1 == n) {
                junctions.insert(*vertex, true);
                continue;
            }
            let mut around = [path.vertices[(i + n - 1) % n], path.vertices[(i + 1) % n]];
            around.sort_unstable();
            if *neighbours.entry(*vertex).or_insert(around) != around {
                junctions.insert(*vertex, true);
            }
        }
    }
    junctions
}

/// Cuts a path at its junctions into arcs of vertex numbers, both ends included.
fn arcs(path: &Path<'_>, junctions: &HashMap<Mercator, bool>) -> Vec<Vec<usize>> {
    let n = path.vertices.len();
    if !path.closed {
        let mut arcs = vec![vec![0]];
        for i in 1..n {
            if let Some(arc) = arcs.last_mut() {
                arc.push(i);
            }
            if i + 1 < n && junctions.contains_key(&path.vertices[i]) {
                arcs.push(vec![i]);
            }
        }
        return arcs;
    }
    let mut cuts: Vec<usize> = (0..n)
        .filter(|i| junctions.contains_key(&path.vertices[*i]))
        .collect();
    if cuts.is_empty() {
        // A ring that nobody shares in part: its smallest vertex is as good as any.
        cuts.extend((0..n).min_by_key(|i| path.vertices[*i]));
    }
    if cuts.len() == 1 {
        // One cut would let the whole ring shrink to a point: hold it open at the far side.
        let from = path.vertices[cuts[0]];
        let distance2 = |v: Mercator| {
            let d = |a: u32, b: u32| u128::from(a.abs_diff(b)).pow(2);
            d(v.x, from.x) + d(v.y, from.y)
        };
        cuts.extend((0..n).max_by_key(|i| (distance2(path.vertices[*i]), path.vertices[*i])));
        cuts.sort_unstable();
        cuts.dedup();
    }
    let next = cuts.iter().cycle().skip(1);
    cuts.iter()
        .zip(next)
        .map(|(from, to)| {
            let length = (to + n - from - 1) % n + 1;
            (0..=length).map(|k| (from + k) % n).collect()
        })
        .collect()
}

/// Twice the area of a triangle, in square grid steps.
fn doubled_area(a: Mercator, b: Mercator, c: Mercator) -> u128 {
    let d = |to: u32, from: u32| i128::from(to) - i128::from(from);
    (d(b.x, a.x) * d(c.y, a.y) - d(b.y, a.y) * d(c.x, a.x)).unsigned_abs()
}

fn zoom_of(doubled_area: u128) -> u8 {
    (0..FULL_DETAIL_ZOOM)
        .find(|zoom| doubled_area >= (2 * TOLERANCE_UNITS2) << (2 * (UNIT_BITS - u32::from(*zoom))))
        .unwrap_or(FULL_DETAIL_ZOOM)
}

/// Removes vertices of an arc in order of the area they carry and notes the zoom of each; the ends
/// keep zoom 0.
fn rank(vertices: &[Mercator], arc: &[usize], zooms: &mut [u8]) {
    let mut arc: Vec<usize> = arc.to_vec();
    // The same direction for every owner of the arc.
    let forward = arc.iter().map(|i| vertices[*i]);
    if forward.clone().gt(forward.rev()) {
        arc.reverse();
    }
    let n = arc.len();
    let at = |k: usize| vertices[arc[k]];
    let mut before: Vec<usize> = (0..n).map(|k| k.saturating_sub(1)).collect();
    let mut after: Vec<usize> = (1..=n).collect();
    let mut area: Vec<u128> = vec![u128::MAX; n];
    let mut heap = BinaryHeap::new();
    for (inner, k) in arc.windows(3).zip(1..) {
        area[k] = doubled_area(vertices[inner[0]], vertices[inner[1]], vertices[inner[2]]);
        heap.push(Reverse((area[k], k)));
    }
    let mut largest = 0;
    while let Some(Reverse((carried, k))) = heap.pop() {
        if area[k] != carried {
            continue;
        }
        // A vertex never goes later than one that was removed before it.
        largest = carried.max(largest);
        zooms[arc[k]] = zoom_of(largest);
        let (b, a) = (before[k], after[k]);
        area[k] = u128::MAX;
        after[b] = a;
        before[a] = b;
        for (i, left, right) in [(b, before[b], a), (a, b, after[a])] {
            if i > 0 && i + 1 < n {
                area[i] = doubled_area(at(left), at(i), at(right));
                heap.push(Reverse((area[i], i)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wiggle(from: u32, to: u32, x: u32) -> Vec<Mercator> {
        (from..=to)
            .map(|k| Mercator {
                x: x + (k.wrapping_mul(2_654_435_761) >> 12) % 3000,
                y: k * 9000,
            })
            .collect()
    }

    #[test]
    fn two_neighbours_drop_the_same_vertices_of_their_border() {
        let border = wiggle(10, 200, 1_000_000);
        let mut west = border.clone();
        west.extend([Mercator { x: 0, y: 1_800_000 }, Mercator { x: 0, y: 90_000 }]);
        let mut east: Vec<Mercator> = border.iter().rev().copied().collect();
        east.extend([
            Mercator {
                x: 9_000_000,
                y: 90_000,
            },
            Mercator {
                x: 9_000_000,
                y: 1_800_000,
            },
        ]);
        // The ring's first vertex must not matter.
        east.rotate_left(77);
        let zooms = vertex_zooms(&[
            Path {
                vertices: &west,
                closed: true,
            },
            Path {
                vertices: &east,
                closed: true,
            },
        ]);
        let mut kept = Vec::new();
        for zoom in 0..=FULL_DETAIL_ZOOM {
            let on_border = |ring: &[Mercator], zooms: &[u8]| {
                let mut kept: Vec<Mercator> = ring
                    .iter()
                    .zip(zooms)
                    .filter(|(v, z)| border.contains(v) && **z <= zoom)
                    .map(|(v, _)| *v)
                    .collect();
                kept.sort_unstable();
                kept
            };
            let (a, b) = (on_border(&west, &zooms[0]), on_border(&east, &zooms[1]));
            assert_eq!(a, b, "zoom {zoom}");
            kept.push(a.len());
        }
        assert!(kept.is_sorted() && kept[0] < 10, "{kept:?}");
        assert_eq!(kept.last(), Some(&border.len()));
    }

    #[test]
    fn a_lonely_ring_does_not_shrink_to_nothing() {
        let ring: Vec<Mercator> = (0..64)
            .map(|k| {
                let angle = f64::from(k) * std::f64::consts::TAU / 64.0;
                Mercator {
                    x: (2e9 + 1e8 * angle.cos()) as u32,
                    y: (2e9 + 1e8 * angle.sin()) as u32,
                }
            })
            .collect();
        let zooms = vertex_zooms(&[Path {
            vertices: &ring,
            closed: true,
        }]);
        let n_kept = |zoom| zooms[0].iter().filter(|z| **z <= zoom).count();
        assert!(n_kept(0) >= 3 && n_kept(0) < 64, "{}", n_kept(0));
        assert_eq!(n_kept(FULL_DETAIL_ZOOM), 64);
    }
}
