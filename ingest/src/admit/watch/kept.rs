//! The memory as bytes, for the checkpoint.
//!
//! A city of a million series writes it whole every few minutes, so a number stands as its step from one that it
//! is near: some 20 bytes a series instead of a hundred.

use onemap_model::{DeviceId, Quantity};

use super::{Clock, DeviceWatch, SeriesWatch, Watch};

/// Layout of [`Watch::encode`]; format 1 wrote every number whole and every quantity's name.
const FORMAT: u8 = 2;

/// What is said of a series in a bit each.
const SAME_BASE: u8 = 1;

impl Watch {
    /// Its bytes, for the checkpoint; equal for equal memories.
    pub fn encode(&self) -> Vec<u8> {
        let mut devices: Vec<_> = self.devices.iter().collect();
        devices.sort_unstable_by(|a, b| a.0.cmp(b.0));
        let n_series: usize = self.devices.values().map(|device| device.series.len()).sum();
        let mut out = Vec::with_capacity(4096 + 80 * devices.len() + 28 * n_series);
        out.push(FORMAT);
        let names: Vec<Quantity> = Quantity::all().collect();
        put(&mut out, names.len() as u64);
        for quantity in &names {
            put_text(&mut out, quantity.name());
        }
        let mut heard_before = 0;
        for (id, device) in devices {
            put_text(&mut out, id.as_str());
            out.push(u8::from(device.is_off));
            put_step(&mut out, heard_before, device.heard_at);
            put_step(&mut out, device.heard_at, device.measured_at);
            heard_before = device.heard_at;
            device.clock.encode(&mut out);
            put(&mut out, device.series.len() as u64);
            for ((quantity, channel), s) in device.names.iter().zip(&device.series) {
                let number = names.binary_search(quantity);
                put(
                    &mut out,
                    number.expect("all lists every quantity, in order") as u64,
                );
                put(&mut out, u64::from(*channel));
                put(&mut out, u64::from(s.n_same));
                put(&mut out, u64::from(s.cadence_s));
                put_step(&mut out, device.heard_at, s.heard_at);
                put_step(&mut out, device.measured_at, s.last_at);
                put_step(&mut out, s.last_at, s.moved_at);
                put_step(&mut out, s.last_at, s.base_at);
                let is_same = s.base.to_bits() == s.last.to_bits();
                out.push(if is_same { SAME_BASE } else { 0 });
                out.extend_from_slice(&s.last.to_bits().to_le_bytes());
                if !is_same {
                    out.extend_from_slice(&s.base.to_bits().to_le_bytes());
                }
            }
        }
        out
    }

    /// Reads what [`Watch::encode`] wrote; `None` when it is damaged or another version's. A series whose
    /// quantity is no longer in the dictionary is left out.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (format, rest) = bytes.split_first()?;
        match format {
            1 => Self::decode_whole(rest),
            &FORMAT => Self::decode_steps(rest),
            _ => None,
        }
    }

    fn decode_steps(mut rest: &[u8]) -> Option<Self> {
        let mut names = Vec::new();
        for _ in 0..number(&mut rest)? {
            names.push(Quantity::named(text(&mut rest)?));
        }
        let mut watch = Self::default();
        let mut heard_before = 0;
        while !rest.is_empty() {
            let id = DeviceId::new(text(&mut rest)?).ok()?;
            let is_off = take::<1>(&mut rest)?[0] != 0;
            let heard_at = step(&mut rest, heard_before)?;
            let measured_at = step(&mut rest, heard_at)?;
            heard_before = heard_at;
            let clock = Clock::decode(&mut rest)?;
            let mut series = Vec::new();
            for _ in 0..number(&mut rest)? {
                let quantity = *names.get(usize::try_from(number(&mut rest)?).ok()?)?;
                let channel = u16::try_from(number(&mut rest)?).ok()?;
                let n_same = u32::try_from(number(&mut rest)?).ok()?;
                let cadence_s = u32::try_from(number(&mut rest)?).ok()?;
                let heard_at = step(&mut rest, heard_at)?;
                let last_at = step(&mut rest, measured_at)?;
                let moved_at = step(&mut rest, last_at)?;
                let base_at = step(&mut rest, last_at)?;
                let [marks] = take(&mut rest)?;
                let last = float(&mut rest)?;
                let base = if marks & SAME_BASE == 0 {
                    float(&mut rest)?
                } else {
                    last
                };
                let of_series = SeriesWatch {
                    heard_at,
                    cadence_s,
                    last_at,
                    last,
                    moved_at,
                    n_same,
                    base_at,
                    base,
                };
                series.extend(quantity.map(|quantity| ((quantity, channel), of_series)));
            }
            let device = DeviceWatch::of((heard_at, measured_at), clock, is_off, series);
            watch.devices.insert(id, device);
        }
        Some(watch)
    }

    /// Format 1, behind its first byte.
    fn decode_whole(mut rest: &[u8]) -> Option<Self> {
        let mut watch = Self::default();
        while !rest.is_empty() {
            let id = DeviceId::new(text(&mut rest)?).ok()?;
            let is_off = take::<1>(&mut rest)?[0] != 0;
            let (heard_at, measured_at) = (time(&mut rest)?, time(&mut rest)?);
            let clock = Clock::decode(&mut rest)?;
            let n = u32::from_le_bytes(take(&mut rest)?);
            let mut series = Vec::new();
            for _ in 0..n {
                let quantity = Quantity::named(text(&mut rest)?);
                let channel = u16::from_le_bytes(take(&mut rest)?);
                let n_same = u32::from_le_bytes(take(&mut rest)?);
                let cadence_s = u32::from_le_bytes(take(&mut rest)?);
                let of_series = SeriesWatch {
                    heard_at: time(&mut rest)?,
                    cadence_s,
                    last_at: time(&mut rest)?,
                    moved_at: time(&mut rest)?,
                    base_at: time(&mut rest)?,
                    last: float(&mut rest)?,
                    base: float(&mut rest)?,
                    n_same,
                };
                series.extend(quantity.map(|quantity| ((quantity, channel), of_series)));
            }
            let device = DeviceWatch::of((heard_at, measured_at), clock, is_off, series);
            watch.devices.insert(id, device);
        }
        Some(watch)
    }
}

impl DeviceWatch {
    /// As it was read: the dictionary may number quantities anew in another version.
    fn of(
        (heard_at, measured_at): (i64, i64),
        clock: Clock,
        is_off: bool,
        mut series: Vec<((Quantity, u16), SeriesWatch)>,
    ) -> Self {
        series.sort_unstable_by_key(|(name, _)| *name);
        let (names, series) = series.into_iter().unzip();
        Self {
            heard_at,
            measured_at,
            clock,
            is_off,
            names,
            series,
        }
    }
}

/// Names have at most 64 bytes.
fn put_text(out: &mut Vec<u8>, text: &str) {
    out.push(text.len() as u8);
    out.extend_from_slice(text.as_bytes());
}

/// A number that is mostly small: seven bits a byte, the lowest first.
fn put(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// How far a number is from another that is mostly near.
fn put_step(out: &mut Vec<u8>, from: i64, to: i64) {
    let by = to.wrapping_sub(from);
    put(out, ((by << 1) ^ (by >> 63)) as u64);
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}

fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut n = 0;
    for shift in (0..64).step_by(7) {
        let [byte] = take(bytes)?;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return None;
        }
        n |= bits << shift;
        if byte < 0x80 {
            return Some(n);
        }
    }
    None
}

fn step(bytes: &mut &[u8], from: i64) -> Option<i64> {
    let n = number(bytes)?;
    Some(from.wrapping_add((n >> 1) as i64 ^ -((n & 1) as i64)))
}

fn time(bytes: &mut &[u8]) -> Option<i64> {
    take(bytes).map(i64::from_le_bytes)
}

fn float(bytes: &mut &[u8]) -> Option<f64> {
    take(bytes).map(|bytes| f64::from_bits(u64::from_le_bytes(bytes)))
}

fn text<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
    let [length] = take(bytes)?;
    let (head, rest) = bytes.split_at_checked(usize::from(length))?;
    *bytes = rest;
    std::str::from_utf8(head).ok()
}
