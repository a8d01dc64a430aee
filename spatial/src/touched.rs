//! Which tiles a change touched: the version of the map at which the content of a tile last changed.

use std::collections::HashMap;

use crate::mercator::MercatorBox;

/// Tiles of higher zooms change with the tile of this zoom that holds them.
const FINEST_ZOOM: u32 = 14;
/// Tiles of one zoom that a change names one by one; a larger change counts for all tiles below.
const N_MOST: u64 = 64;
/// A tile shows what lies up to 1/64 of its side beyond its border.
const MARGIN_BITS: u32 = 6;

/// Versions of one layer's tiles.
#[derive(Clone, Debug, Default)]
pub(crate) struct Touched {
    /// By zoom, column and row: when anything in the tile changed.
    tiles: HashMap<(u32, u32, u32), u64>,
    /// When the whole of a tile may have changed, with all tiles in it.
    wholes: HashMap<(u32, u32, u32), u64>,
}

impl Touched {
    /// Notes a change within a box.
    pub(crate) fn mark(&mut self, area: &MercatorBox, version: u64) {
        let cells_of = |zoom: u32| {
            let area = area.widened(1u32 << (31 - zoom) >> (MARGIN_BITS - 1));
            let bits = 32 - zoom;
            let cells =
                |from: u32, to: u32| from.checked_shr(bits).unwrap_or(0)..=to.checked_shr(bits).unwrap_or(0);
            (cells(area.min.x, area.max.x), cells(area.min.y, area.max.y))
        };
        for zoom in 0..=FINEST_ZOOM {
            let (columns, rows) = cells_of(zoom);
            for x in columns {
                for y in rows.clone() {
                    self.tiles.insert((zoom, x, y), version);
                }
            }
            if zoom == FINEST_ZOOM {
                break;
            }
            let (below_columns, below_rows) = cells_of(zoom + 1);
            let n = |r: std::ops::RangeInclusive<u32>| u64::from(r.end() - r.start()) + 1;
            if n(below_columns) * n(below_rows) > N_MOST {
                let (columns, rows) = cells_of(zoom);
                for x in columns {
                    for y in rows.clone() {
                        self.wholes.insert((zoom, x, y), version);
                    }
                }
                break;
            }
        }
    }

    /// When the content of a tile last changed; 0 when it never did.
    pub(crate) fn version(&self, zoom: u8, x: u32, y: u32) -> u64 {
        let zoom = u32::from(zoom);
        let up = zoom.saturating_sub(FINEST_ZOOM);
        let own = self.tiles.get(&(zoom - up, x >> up, y >> up)).copied();
        let wholes = (0..=zoom).filter_map(|up| self.wholes.get(&(zoom - up, x >> up, y >> up)).copied());
        own.into_iter().chain(wholes).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mercator::Mercator;

    #[test]
    fn a_change_touches_the_tiles_it_lies_in_and_no_others() {
        let mut touched = Touched::default();
        let at = |x: u32, y: u32| MercatorBox {
            min: Mercator { x, y },
            max: Mercator { x, y },
        };
        // The middle of tile 14/9/5.
        let m = at((9 << 18) + (1 << 17), (5 << 18) + (1 << 17));
        touched.mark(&m, 3);
        for (zoom, x, y, want) in [
            (14, 9, 5, 3),
            (14, 9, 6, 0),
            (16, 38, 21, 3),
            (13, 4, 2, 3),
            (0, 0, 0, 3),
            (10, 1, 0, 0),
        ] {
            assert_eq!(touched.version(zoom, x, y), want, "{zoom}/{x}/{y}");
        }
        // Just beyond the border of 14/10/5: drawn there as well.
        touched.mark(&at(10 << 18, (5 << 18) + 9), 4);
        assert_eq!(
            (
                touched.version(14, 9, 5),
                touched.version(14, 10, 5),
                touched.version(14, 11, 5)
            ),
            (4, 4, 0)
        );
        // A change as large as a country counts for all tiles in it.
        touched.mark(
            &MercatorBox {
                min: Mercator {
                    x: 1 << 30,
                    y: 1 << 30,
                },
                max: Mercator {
                    x: 3 << 30,
                    y: 3 << 30,
                },
            },
            5,
        );
        assert_eq!(touched.version(14, 8000, 8000), 5);
        assert_eq!(touched.version(16, 1, 1), 0);
        assert!(touched.tiles.len() + touched.wholes.len() < 300);
    }
}
