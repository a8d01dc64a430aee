//! Points in Z-order: a box is a few stretches of a sorted column, and so is a vector tile.

use crate::coordinates::Mercator;
use crate::thing::Number;

/// Columns of cells that a box is cut into along its longer side, at most one more.
const N_CUTS: u32 = 4;

/// A box of the Mercator square, both corners inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MercatorBox {
    /// North-west corner.
    pub(crate) min: Mercator,
    /// South-east corner.
    pub(crate) max: Mercator,
}

impl MercatorBox {
    pub(crate) fn holds(&self, m: Mercator) -> bool {
        (self.min.x..=self.max.x).contains(&m.x) && (self.min.y..=self.max.y).contains(&m.y)
    }

    pub(crate) fn meets(&self, other: &MercatorBox) -> bool {
        self.min.x <= other.max.x
            && other.min.x <= self.max.x
            && self.min.y <= other.max.y
            && other.min.y <= self.max.y
    }

    /// Larger by some steps on every side.
    pub(crate) fn widened(&self, steps: u32) -> Self {
        let corner = |m: Mercator, by: fn(u32, u32) -> u32| Mercator {
            x: by(m.x, steps),
            y: by(m.y, steps),
        };
        Self {
            min: corner(self.min, u32::saturating_sub),
            max: corner(self.max, u32::saturating_add),
        }
    }

    /// The longer side in steps.
    pub(crate) fn side(&self) -> u32 {
        (self.max.x - self.min.x).max(self.max.y - self.min.y)
    }

    pub(crate) fn middle(&self) -> Mercator {
        Mercator {
            x: self.min.x + (self.max.x - self.min.x) / 2,
            y: self.min.y + (self.max.y - self.min.y) / 2,
        }
    }
}

fn spread(n: u32) -> u64 {
    let mut n = u64::from(n);
    n = (n | n << 16) & 0x0000_ffff_0000_ffff;
    n = (n | n << 8) & 0x00ff_00ff_00ff_00ff;
    n = (n | n << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    n = (n | n << 2) & 0x3333_3333_3333_3333;
    (n | n << 1) & 0x5555_5555_5555_5555
}

fn gather(n: u64) -> u32 {
    let mut n = n & 0x5555_5555_5555_5555;
    n = (n | n >> 1) & 0x3333_3333_3333_3333;
    n = (n | n >> 2) & 0x0f0f_0f0f_0f0f_0f0f;
    n = (n | n >> 4) & 0x00ff_00ff_00ff_00ff;
    n = (n | n >> 8) & 0x0000_ffff_0000_ffff;
    (n | n >> 16) as u32
}

/// The place of a point in Z-order.
pub(crate) fn key_of(m: Mercator) -> u64 {
    spread(m.x) | spread(m.y) << 1
}

/// The point of a place in Z-order.
pub(crate) fn mercator_of(key: u64) -> Mercator {
    Mercator {
        x: gather(key),
        y: gather(key >> 1),
    }
}

/// First and last key of a square cell of 2^`bits` steps.
fn cell(x: u32, y: u32, bits: u32) -> [u64; 2] {
    let first = u128::from(key_of(Mercator { x, y })) << (2 * bits);
    [first as u64, (first + ((1u128 << (2 * bits)) - 1)) as u64]
}

/// Numbers of things, sorted by the key of a point.
#[derive(Debug, Default)]
pub(crate) struct MortonColumn {
    keys: Vec<u64>,
    numbers: Vec<Number>,
}

impl MortonColumn {
    /// Sorts points; equal ones by number.
    pub(crate) fn new(mut points: Vec<(u64, Number)>) -> Self {
        points.sort_unstable();
        Self {
            keys: points.iter().map(|(key, _)| *key).collect(),
            numbers: points.into_iter().map(|(_, number)| number).collect(),
        }
    }

    pub(crate) fn key(&self, place: usize) -> u64 {
        self.keys[place]
    }

    pub(crate) fn number(&self, place: usize) -> Number {
        self.numbers[place]
    }

    /// The first place from `from` on whose key is greater than `last`: nearby, so it is looked for in
    /// growing steps.
    pub(crate) fn after(&self, from: usize, last: u64) -> usize {
        let mut step = 1;
        let mut low = from;
        while low + step < self.keys.len() && self.keys[low + step] <= last {
            low += step;
            step *= 2;
        }
        let high = (low + step).min(self.keys.len());
        low + self.keys[low..high].partition_point(|key| *key <= last)
    }

    fn between(&self, first: u64, last: u64) -> std::ops::Range<usize> {
        let from = self.keys.partition_point(|key| *key < first);
        from..self.after(from, last)
    }

    /// Places of all points that may lie in the box: every point of it, and some beside it.
    pub(crate) fn near(&self, area: &MercatorBox, mut each: impl FnMut(std::ops::Range<usize>)) {
        if self.keys.is_empty() {
            return;
        }
        // Cells of at least a quarter of the longer side.
        let bits = 32 - (area.side() / N_CUTS).leading_zeros();
        if bits >= 32 {
            return each(0..self.keys.len());
        }
        let columns = area.min.x >> bits..=area.max.x >> bits;
        let mut cells: Vec<[u64; 2]> = (area.min.y >> bits..=area.max.y >> bits)
            .flat_map(|y| columns.clone().map(move |x| cell(x, y, bits)))
            .collect();
        cells.sort_unstable();
        // Cells that follow one another are one stretch.
        let mut stretch: Option<[u64; 2]> = None;
        for [first, last] in cells {
            stretch = match stretch {
                Some([begin, end]) if end.checked_add(1) == Some(first) => Some([begin, last]),
                before => {
                    if let Some([begin, end]) = before {
                        each(self.between(begin, end));
                    }
                    Some([first, last])
                }
            };
        }
        if let Some([begin, end]) = stretch {
            each(self.between(begin, end));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chance(state: &mut u64) -> u32 {
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (*state >> 32) as u32
    }

    #[test]
    fn keys_lead_back_to_their_points() {
        let mut state = 7;
        for _ in 0..1000 {
            let m = Mercator {
                x: chance(&mut state),
                y: chance(&mut state),
            };
            assert_eq!(mercator_of(key_of(m)), m);
        }
    }

    #[test]
    fn boxes_of_every_size_find_all_of_their_points() {
        let mut state = 1;
        let corner = u32::MAX;
        let mut points: Vec<Mercator> = [(0, 0), (corner, 0), (0, corner), (corner, corner)]
            .map(|(x, y)| Mercator { x, y })
            .to_vec();
        points.extend((0..3000).map(|i| {
            let spread = 4 * (i % 8);
            Mercator {
                x: (1 << 31) + (chance(&mut state) >> 1 >> spread),
                y: (chance(&mut state) >> spread),
            }
        }));
        let column = MortonColumn::new(points.iter().map(|m| key_of(*m)).zip(0u32..).collect());
        for i in 0..400 {
            let mut side = || chance(&mut state) >> (i % 32);
            let (a, b) = (points[i * 7 % points.len()], [side(), side()]);
            let area = MercatorBox {
                min: Mercator {
                    x: a.x.saturating_sub(b[0]),
                    y: a.y.saturating_sub(b[1]),
                },
                max: Mercator {
                    x: a.x.saturating_add(b[1]),
                    y: a.y.saturating_add(b[0]),
                },
            };
            let mut found: Vec<u32> = Vec::new();
            column.near(&area, |places| {
                found.extend(
                    places
                        .map(|p| column.number(p))
                        .filter(|n| area.holds(points[*n as usize])),
                );
            });
            found.sort_unstable();
            let want: Vec<u32> = (0u32..)
                .zip(&points)
                .filter(|(_, m)| area.holds(**m))
                .map(|(n, _)| n)
                .collect();
            assert_eq!(found, want, "{area:?}");
        }
        let whole = MercatorBox {
            min: points[0],
            max: points[3],
        };
        let mut n = 0;
        column.near(&whole, |places| n += places.len());
        assert_eq!(n, points.len());
    }
}
