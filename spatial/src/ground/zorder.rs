//! Z-order: one number of two, so that neighbours on the ground are mostly neighbours in memory.

use crate::coordinates::Vertex;

/// Moves the bits of a number apart, a zero between each.
fn spread(v: u32) -> u64 {
    let mut x = u64::from(v);
    for (shift, mask) in [
        (16, 0x0000_FFFF_0000_FFFF),
        (8, 0x00FF_00FF_00FF_00FF),
        (4, 0x0F0F_0F0F_0F0F_0F0F),
        (2, 0x3333_3333_3333_3333),
        (1, 0x5555_5555_5555_5555),
    ] {
        x = (x | x << shift) & mask;
    }
    x
}

/// The place of a column and a row in Z-order.
pub(crate) fn code(column: u32, row: u32) -> u64 {
    spread(column) | spread(row) << 1
}

/// Longitude or latitude as a number that begins at zero and keeps the order.
#[inline]
pub(crate) fn unsigned(degree: i32) -> u32 {
    (degree as u32) ^ 0x8000_0000
}

/// The place of a point in Z-order.
pub(crate) fn key(v: Vertex) -> u64 {
    code(unsigned(v.lon), unsigned(v.lat))
}

/// The even bits of a number brought together: the column of a code, and the row of a code moved by one.
pub(crate) fn column(code: u64) -> u32 {
    let mut x = code & 0x5555_5555_5555_5555;
    for (shift, mask) in [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0F0F_0F0F_0F0F_0F0F),
        (4, 0x00FF_00FF_00FF_00FF),
        (8, 0x0000_FFFF_0000_FFFF),
        (16, 0x0000_0000_FFFF_FFFF),
    ] {
        x = (x | x >> shift) & mask;
    }
    x as u32
}

/// Column and row of a code of at most 24 bits.
#[inline]
pub(crate) fn column_and_row(code: u32) -> [i32; 2] {
    const EVEN: u64 = 0x0055_5555;
    let mut both = (u64::from(code) & EVEN) | (u64::from(code >> 1) & EVEN) << 32;
    for (shift, mask) in [
        (1, 0x0033_3333_0033_3333),
        (2, 0x000F_0F0F_000F_0F0F),
        (4, 0x00FF_00FF_00FF_00FF),
        (8, 0x0000_0FFF_0000_0FFF),
    ] {
        both = (both | both >> shift) & mask;
    }
    [both as u32 as i32, (both >> 32) as i32]
}

const SPREAD: [u16; 64] = {
    let mut table = [0; 64];
    let mut n = 0;
    while n < 64 {
        let mut bit = 0;
        while bit < 6 {
            table[n] |= ((n as u16 >> bit) & 1) << (2 * bit);
            bit += 1;
        }
        n += 1;
    }
    table
};

/// The place in Z-order among the 64 by 64 cells of a page.
#[inline]
pub(crate) fn code_in_page(column: u32, row: u32) -> usize {
    usize::from(SPREAD[column as usize & 63] | SPREAD[row as usize & 63] << 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_gives_its_column_and_row_back() {
        for (x, y) in [(0, 0), (1, 0), (0, 1), (12_345_678, 87_654_321), (u32::MAX, 5)] {
            let code = code(x, y);
            assert_eq!((column(code), column(code >> 1)), (x, y));
        }
        for (x, y) in [(0, 0), (4095, 0), (0, 4095), (4095, 4095), (1234, 2765), (1, 2)] {
            assert_eq!(column_and_row(code(x, y) as u32), [x as i32, y as i32]);
        }
        assert_eq!(code_in_page(37, 21) as u64, code(37, 21));
    }
}
