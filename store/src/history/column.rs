//! Whole numbers as bytes: varints, and columns of integers packed by the shape that takes least room.
//!
//! A column keeps its first value and, of the rest, either the distance from it, the step from one
//! to the next, or what is left over from a straight line, in groups of 64 that share a smallest
//! value and a bit width; where only a few differ from the first, those few. Columns that are written
//! once for long are packed by pco where that takes less. All arithmetic wraps, so every `i64` comes
//! back as it was.

use pco::ChunkConfig;
use pco::standalone::{simple_compress, simple_decompress};

/// Values that share one bit width.
const GROUP: usize = 64;
/// Most values a column may announce; a larger number is damage.
const MAX_VALUES: usize = 1 << 20;

/// Shapes of a column, the low two bits of its first byte.
const FLAT: u8 = 0;
const STEPS: u8 = 1;
const LINE: u8 = 2;
const FEW: u8 = 3;
/// Differences are whole thousands (seconds in milliseconds).
const THOUSANDS: u8 = 4;
/// What would be in groups is packed by pco.
const BY_PCO: u8 = 8;
/// Of so many values at most one differs from the first in a column of few.
const N_OF_FEW: usize = 12;
/// Level of pco: above it, chunks of a day take more time and no less room.
const PCO_LEVEL: usize = 4;
/// Fewer values than these are not worth what pco says about a chunk.
const N_BY_PCO: usize = 192;

/// Appends an unsigned number, seven bits a byte.
pub(crate) fn put_unsigned(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a signed number, small ones of either sign short.
pub(crate) fn put_signed(out: &mut Vec<u8>, number: i64) {
    put_unsigned(out, ((number << 1) ^ (number >> 63)) as u64);
}

/// Reads what the functions here wrote; `None` wherever the bytes end early or make no sense.
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl<'a> Input<'a> {
    /// The next `n` bytes.
    pub(crate) fn bytes(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }
    /// One byte.
    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.bytes(1).map(|b| b[0])
    }
    /// An unsigned varint of at most ten bytes.
    pub(crate) fn unsigned(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }
    /// A signed varint.
    pub(crate) fn signed(&mut self) -> Option<i64> {
        let number = self.unsigned()?;
        Some((number >> 1) as i64 ^ -((number & 1) as i64))
    }
    /// An unsigned varint as a count of things that each take part of the program's memory.
    pub(super) fn count(&mut self) -> Option<usize> {
        usize::try_from(self.unsigned()?)
            .ok()
            .filter(|n| *n <= MAX_VALUES)
    }
    /// Eight bytes as a floating point number.
    pub(crate) fn float(&mut self) -> Option<f64> {
        Some(f64::from_bits(u64::from_le_bytes(
            self.bytes(8)?.try_into().ok()?,
        )))
    }
}

/// How the values after the first are written.
#[derive(Clone, Copy)]
enum Shape {
    /// As their distance from the first.
    Flat,
    /// As the step from the one before.
    Steps,
    /// As what is left over from a line with this slope.
    Line(i64),
}

impl Shape {
    /// What is written for value `i` of the distances from the first.
    fn of(self, flat: &[i64], i: usize) -> i64 {
        match self {
            Shape::Flat => flat[i],
            Shape::Steps if i == 0 => flat[0],
            Shape::Steps => flat[i].wrapping_sub(flat[i - 1]),
            Shape::Line(slope) => flat[i].wrapping_sub(slope.wrapping_mul(i as i64 + 1)),
        }
    }
    /// Passes the values to be written, group by group.
    fn groups(self, flat: &[i64], mut take: impl FnMut(&[i64])) {
        let mut group = [0i64; GROUP];
        for start in (0..flat.len()).step_by(GROUP) {
            let n = GROUP.min(flat.len() - start);
            for (place, i) in group[..n].iter_mut().zip(start..) {
                *place = self.of(flat, i);
            }
            take(&group[..n]);
        }
    }
    fn packed_bits(self, flat: &[i64]) -> usize {
        let mut bits = 0;
        self.groups(flat, |group| {
            let (low, width) = frame(group);
            bits += 16 + (64 - low.unsigned_abs().leading_zeros()) as usize + group.len() * width as usize;
        });
        bits
    }
}

/// Appends a column; its length is for the caller to keep.
pub(super) fn put_column(out: &mut Vec<u8>, values: &[i64]) {
    put(out, values, false);
}

/// Appends a column in the least room, at ten times the work.
pub(super) fn put_column_dense(out: &mut Vec<u8>, values: &[i64]) {
    put(out, values, true);
}

fn put(out: &mut Vec<u8>, values: &[i64], is_dense: bool) {
    let Some((&base, rest)) = values.split_first() else {
        return;
    };
    let mut flat: Vec<i64> = rest.iter().map(|v| v.wrapping_sub(base)).collect();
    let n_other = flat.iter().filter(|v| **v != 0).count();
    let thousands = n_other > 0 && flat.iter().all(|v| v % 1000 == 0);
    if thousands {
        flat.iter_mut().for_each(|v| *v /= 1000);
    }
    let scale = if thousands { THOUSANDS } else { 0 };
    if n_other > 0 && n_other <= flat.len() / N_OF_FEW {
        out.push(FEW | scale);
        put_signed(out, base);
        put_few(out, &flat, n_other);
        return;
    }
    let shape = if n_other == 0 {
        Shape::Flat
    } else {
        // The usual step keeps a gap from bending the line, the mean step keeps jitter from doing so.
        let mean = flat[flat.len() - 1] / flat.len() as i64;
        [
            Shape::Flat,
            Shape::Steps,
            Shape::Line(usual_step(&flat)),
            Shape::Line(mean),
        ]
        .into_iter()
        .min_by_key(|shape| shape.packed_bits(&flat))
        .expect("there are four shapes")
    };
    let mut grouped = Vec::new();
    put_shape(&mut grouped, shape, scale, base);
    shape.groups(&flat, |group| put_group(&mut grouped, group));
    if is_dense && n_other > 0 && flat.len() >= N_BY_PCO {
        // Steps are found by pco itself.
        let shape = match shape {
            Shape::Steps => Shape::Flat,
            other => other,
        };
        let mut by_pco = Vec::new();
        put_shape(&mut by_pco, shape, scale | BY_PCO, base);
        if put_by_pco(&mut by_pco, shape, &flat).is_some() && by_pco.len() < grouped.len() {
            grouped = by_pco;
        }
    }
    out.extend(grouped);
}

fn put_shape(out: &mut Vec<u8>, shape: Shape, marks: u8, base: i64) {
    let code = match shape {
        Shape::Flat => FLAT,
        Shape::Steps => STEPS,
        Shape::Line(_) => LINE,
    };
    out.push(code | marks);
    put_signed(out, base);
    if let Shape::Line(slope) = shape {
        put_signed(out, slope);
    }
}

fn put_few(out: &mut Vec<u8>, flat: &[i64], n_other: usize) {
    put_unsigned(out, n_other as u64);
    let mut next = 0;
    for (i, value) in flat.iter().enumerate().filter(|(_, v)| **v != 0) {
        put_unsigned(out, (i - next) as u64);
        put_signed(out, *value);
        next = i + 1;
    }
}

fn put_by_pco(out: &mut Vec<u8>, shape: Shape, flat: &[i64]) -> Option<()> {
    let mut values = Vec::with_capacity(flat.len());
    shape.groups(flat, |group| values.extend_from_slice(group));
    let config = ChunkConfig::default().with_compression_level(PCO_LEVEL);
    let packed = simple_compress(&values, &config).ok()?;
    put_unsigned(out, packed.len() as u64);
    out.extend(packed);
    Some(())
}

/// Reads a column of `n` values written by [`put_column`] or [`put_column_dense`].
pub(super) fn read_column(input: &mut Input<'_>, n: usize) -> Option<Vec<i64>> {
    if n == 0 {
        return Some(Vec::new());
    }
    if n > MAX_VALUES {
        return None;
    }
    let shape = input.byte()?;
    let base = input.signed()?;
    let slope = if shape & 3 == LINE { input.signed()? } else { 0 };
    let scale = if shape & THOUSANDS != 0 { 1000 } else { 1 };
    let mut values = Vec::with_capacity(n);
    values.push(base);
    match shape & (3 | BY_PCO) {
        FLAT | STEPS | LINE => {
            while values.len() < n {
                read_group(input, (n - values.len()).min(GROUP), &mut values)?;
            }
        }
        FEW => read_few(input, n, &mut values)?,
        _ => {
            let n_bytes = usize::try_from(input.unsigned()?).ok()?;
            let rest: Vec<i64> = simple_decompress(input.bytes(n_bytes)?).ok()?;
            values.extend(rest);
            if values.len() != n {
                return None;
            }
        }
    }
    let rest = &mut values[1..];
    match shape & 3 {
        STEPS => {
            let mut before = 0i64;
            for value in rest.iter_mut() {
                before = value.wrapping_add(before);
                *value = before;
            }
        }
        LINE => {
            for (value, i) in rest.iter_mut().zip(1..) {
                *value = value.wrapping_add(slope.wrapping_mul(i));
            }
        }
        _ => {}
    }
    for value in rest {
        *value = base.wrapping_add(value.wrapping_mul(scale));
    }
    Some(values)
}

/// Goes past a column of `n` values without unpacking it.
pub(super) fn skip_column(input: &mut Input<'_>, n: usize) -> Option<()> {
    if n == 0 {
        return Some(());
    }
    let shape = input.byte()?;
    input.signed()?;
    if shape & 3 == LINE {
        input.signed()?;
    }
    match shape & (3 | BY_PCO) {
        FLAT | STEPS | LINE => {
            for start in (1..n).step_by(GROUP) {
                input.signed()?;
                let width = usize::from(input.byte()?);
                input.bytes(((n - start).min(GROUP) * width).div_ceil(8))?;
            }
        }
        FEW => {
            for _ in 0..input.count()? {
                input.unsigned()?;
                input.signed()?;
            }
        }
        _ => {
            let n_bytes = usize::try_from(input.unsigned()?).ok()?;
            input.bytes(n_bytes)?;
        }
    }
    Some(())
}

fn read_few(input: &mut Input<'_>, n: usize, values: &mut Vec<i64>) -> Option<()> {
    values.resize(n, 0);
    let mut next = 1usize;
    for _ in 0..input.count()? {
        let i = next.checked_add(usize::try_from(input.unsigned()?).ok()?)?;
        *values.get_mut(i)? = input.signed()?;
        next = i + 1;
    }
    Some(())
}

/// The median of some of the steps, evenly spread.
fn usual_step(flat: &[i64]) -> i64 {
    const N_SAMPLES: usize = 31;
    let mut samples = [0i64; N_SAMPLES];
    let n = N_SAMPLES.min(flat.len());
    for (i, sample) in samples[..n].iter_mut().enumerate() {
        *sample = Shape::Steps.of(flat, i * flat.len() / n);
    }
    *samples[..n].select_nth_unstable(n / 2).1
}

/// The smallest value of a group and the bits that the distance of the others from it takes.
fn frame(group: &[i64]) -> (i64, u32) {
    let (low, high) = group
        .iter()
        .fold((i64::MAX, i64::MIN), |(low, high), v| (low.min(*v), high.max(*v)));
    (low, 64 - (high.wrapping_sub(low) as u64).leading_zeros())
}

fn put_group(out: &mut Vec<u8>, group: &[i64]) {
    let (low, width) = frame(group);
    put_signed(out, low);
    out.push(width as u8);
    // Lowest bit first; at most seven bits wait between two values.
    let (mut waiting, mut n_waiting) = (0u128, 0);
    out.reserve((group.len() * width as usize).div_ceil(8));
    for value in group {
        waiting |= u128::from(value.wrapping_sub(low) as u64) << n_waiting;
        n_waiting += width;
        while n_waiting >= 8 {
            out.push(waiting as u8);
            waiting >>= 8;
            n_waiting -= 8;
        }
    }
    if n_waiting > 0 {
        out.push(waiting as u8);
    }
}

fn read_group(input: &mut Input<'_>, n: usize, values: &mut Vec<i64>) -> Option<()> {
    let low = input.signed()?;
    let width = usize::from(input.byte()?);
    if width > 64 {
        return None;
    }
    let packed = input.bytes((n * width).div_ceil(8))?;
    if width == 0 {
        values.resize(values.len() + n, low);
        return Some(());
    }
    if width <= MAX_UNROLLED {
        let mut group = [0i64; GROUP];
        if n == GROUP {
            unroll(packed, width, &mut group);
        } else {
            // The last group of a column, as if there were zeros behind it.
            let mut whole = [0u8; GROUP * MAX_UNROLLED / 8];
            whole[..packed.len()].copy_from_slice(packed);
            unroll(&whole, width, &mut group);
        }
        values.extend(group[..n].iter().map(|v| low.wrapping_add(*v)));
        return Some(());
    }
    let mask = u64::MAX >> (64 - width);
    for i in 0..n {
        let (byte, shift) = (i * width / 8, i * width % 8);
        let mut window = [0u8; 9];
        let end = packed.len().min(byte + 9);
        window[..end - byte].copy_from_slice(&packed[byte..end]);
        let [w0, w1, w2, w3, w4, w5, w6, w7, w8] = window;
        let mut bits = u64::from_le_bytes([w0, w1, w2, w3, w4, w5, w6, w7]) >> shift;
        if shift + width > 64 {
            bits |= u64::from(w8) << (64 - shift);
        }
        values.push(low.wrapping_add((bits & mask) as i64));
    }
    Some(())
}

/// Widest values of a full group that are unpacked by code made for their width.
const MAX_UNROLLED: usize = 32;

/// Unpacks a full group of values of `W` bits: every shift is known when this is compiled.
fn unroll_width<const W: usize>(packed: &[u8], group: &mut [i64; GROUP]) {
    let mut words = [0u64; MAX_UNROLLED + 1];
    for (word, bytes) in words.iter_mut().zip(packed.chunks_exact(8)) {
        *word = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    }
    let mask = u64::MAX >> (64 - W);
    for (i, value) in group.iter_mut().enumerate() {
        let (word, shift) = (i * W / 64, i * W % 64);
        let low = words[word] >> shift;
        let high = if shift == 0 {
            0
        } else {
            words[word + 1] << (64 - shift)
        };
        *value = ((low | high) & mask) as i64;
    }
}

fn unroll(packed: &[u8], width: usize, group: &mut [i64; GROUP]) {
    macro_rules! widths {
        ($($w:literal)*) => {
            match width {
                $($w => unroll_width::<$w>(packed, group),)*
                _ => {}
            }
        };
    }
    widths!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn packed(values: &[i64]) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_column(&mut bytes, values);
        bytes
    }

    #[test]
    fn a_regular_clock_costs_next_to_nothing() {
        let minutes: Vec<i64> = (0..240).map(|i| 1_763_856_000_000 + i * 60_000).collect();
        assert!(packed(&minutes).len() <= 24, "{}", packed(&minutes).len());
        let jitter: Vec<i64> = minutes
            .iter()
            .enumerate()
            .map(|(i, t)| t + (i as i64 * 7919 % 16) * 1000)
            .collect();
        assert!(packed(&jitter).len() <= 240 / 2 + 32, "{}", packed(&jitter).len());
    }

    #[test]
    fn borders_come_back() {
        for values in [
            vec![],
            vec![7],
            vec![i64::MIN, i64::MAX],
            vec![i64::MAX, i64::MIN, 0, -1, 1],
            vec![i64::MIN; 130],
        ] {
            let bytes = packed(&values);
            let mut input = Input(&bytes);
            assert_eq!(read_column(&mut input, values.len()), Some(values));
            assert!(input.0.is_empty());
        }
    }

    #[test]
    fn a_few_that_differ_cost_little() {
        let mut marks = vec![0i64; 1440];
        for i in [3, 700, 1439] {
            marks[i] = 4;
        }
        assert!(packed(&marks).len() <= 14, "{}", packed(&marks).len());
        assert_eq!(read_column(&mut Input(&packed(&marks)), 1440), Some(marks));
    }

    #[test]
    fn every_width_comes_back() {
        for width in 1..=63 {
            let values: Vec<i64> = (0..200i64)
                .map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64) & (i64::MAX >> (63 - width)))
                .collect();
            assert_eq!(
                read_column(&mut Input(&packed(&values)), 200),
                Some(values),
                "{width} bits"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_densely_comes_back(
            values in prop_oneof![
                prop::collection::vec(any::<i64>(), 0..400),
                prop::collection::vec(-50i64..50, 150..900),
                prop::collection::vec((-9i64..9).prop_map(|v| v * 1000), 150..900),
                prop::collection::vec(prop_oneof![40 => Just(7i64), 1 => any::<i64>()], 0..900),
            ]
        ) {
            let mut bytes = Vec::new();
            put_column_dense(&mut bytes, &values);
            let mut input = Input(&bytes);
            prop_assert_eq!(read_column(&mut input, values.len()), Some(values));
            prop_assert!(input.0.is_empty());
        }

        #[test]
        fn what_is_packed_comes_back(
            values in prop_oneof![
                prop::collection::vec(any::<i64>(), 0..200),
                prop::collection::vec(-50i64..50, 0..200),
                prop::collection::vec((-9i64..9).prop_map(|v| v * 1000), 0..200),
            ]
        ) {
            let bytes = packed(&values);
            let mut input = Input(&bytes);
            prop_assert_eq!(read_column(&mut input, values.len()), Some(values));
            prop_assert!(input.0.is_empty());
        }

        #[test]
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), n in 0usize..300) {
            let read = read_column(&mut Input(&bytes), n);
            prop_assert!(read.is_none_or(|values| values.len() == n));
        }
    }
}
