//! Whole numbers as bytes: varints, and columns of integers packed by the shape that takes least room.
//!
//! A column keeps its first value and, of the rest, either the distance from it, the step from one
//! to the next, or what is left over from a straight line, in groups of 64 that share a smallest
//! value and a bit width. All arithmetic wraps, so every `i64` comes back as it was.

/// Values that share one bit width.
const GROUP: usize = 64;
/// Most values a column may announce; a larger number is damage.
const MAX_VALUES: usize = 1 << 20;

/// Shapes of a column, the low two bits of its first byte.
const FLAT: u8 = 0;
const STEPS: u8 = 1;
const LINE: u8 = 2;
/// Differences are whole thousands (seconds in milliseconds).
const THOUSANDS: u8 = 4;

/// Appends an unsigned number, seven bits a byte.
pub(super) fn put_unsigned(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a signed number, small ones of either sign short.
pub(super) fn put_signed(out: &mut Vec<u8>, number: i64) {
    put_unsigned(out, ((number << 1) ^ (number >> 63)) as u64);
}

/// Reads what the functions here wrote; `None` wherever the bytes end early or make no sense.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    /// The next `n` bytes.
    pub(super) fn bytes(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }
    /// One byte.
    pub(super) fn byte(&mut self) -> Option<u8> {
        self.bytes(1).map(|b| b[0])
    }
    /// An unsigned varint of at most ten bytes.
    pub(super) fn unsigned(&mut self) -> Option<u64> {
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
    pub(super) fn signed(&mut self) -> Option<i64> {
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
    pub(super) fn float(&mut self) -> Option<f64> {
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
    let Some((&base, rest)) = values.split_first() else {
        return;
    };
    let mut flat: Vec<i64> = rest.iter().map(|v| v.wrapping_sub(base)).collect();
    let is_constant = flat.iter().all(|v| *v == 0);
    let thousands = !is_constant && flat.iter().all(|v| v % 1000 == 0);
    if thousands {
        flat.iter_mut().for_each(|v| *v /= 1000);
    }
    let shape = if is_constant {
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
    let code = match shape {
        Shape::Flat => FLAT,
        Shape::Steps => STEPS,
        Shape::Line(_) => LINE,
    };
    out.push(code | if thousands { THOUSANDS } else { 0 });
    put_signed(out, base);
    if let Shape::Line(slope) = shape {
        put_signed(out, slope);
    }
    shape.groups(&flat, |group| put_group(out, group));
}

/// Reads a column of `n` values written by [`put_column`].
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
    while values.len() < n {
        read_group(input, (n - values.len()).min(GROUP), &mut values)?;
    }
    let mut before = 0i64;
    for (i, value) in values.iter_mut().enumerate().skip(1) {
        match shape & 3 {
            FLAT => {}
            STEPS => *value = value.wrapping_add(before),
            LINE => *value = value.wrapping_add(slope.wrapping_mul(i as i64)),
            _ => return None,
        }
        before = *value;
        *value = base.wrapping_add(value.wrapping_mul(scale));
    }
    Some(values)
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

    proptest! {
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
