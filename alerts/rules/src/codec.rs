//! The bytes of a snapshot: little-endian numbers and counted texts.
//!
//! A snapshot lies in a database and may be cut or come from another version, so the reader checks
//! every length before it believes it and never panics.

/// Why bytes are not a snapshot.
#[derive(Debug, thiserror::Error)]
#[error("snapshot is damaged: {0}")]
pub(crate) struct Damaged(pub(crate) &'static str);

/// Appends values.
#[derive(Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn u8(&mut self, n: u8) {
        self.0.push(n);
    }
    pub(crate) fn u32(&mut self, n: u32) {
        self.0.extend_from_slice(&n.to_le_bytes());
    }
    pub(crate) fn u64(&mut self, n: u64) {
        self.0.extend_from_slice(&n.to_le_bytes());
    }
    pub(crate) fn i64(&mut self, n: i64) {
        self.u64(n as u64);
    }
    pub(crate) fn f64(&mut self, n: f64) {
        self.u64(n.to_bits());
    }
    /// A number that is mostly small: seven bits a byte, the lowest first.
    pub(crate) fn small(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.0.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.0.push(n as u8);
    }
    /// How far a number is from another that is mostly near.
    pub(crate) fn step(&mut self, from: i64, to: i64) {
        let by = to.wrapping_sub(from);
        self.small(((by << 1) ^ (by >> 63)) as u64);
    }
    /// A count of things that follow; no snapshot holds 2^32 of anything.
    pub(crate) fn count(&mut self, n: usize) {
        self.u32(u32::try_from(n).expect("indexes are u32 everywhere in the engine"));
    }
    pub(crate) fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }
}

/// Takes values off the front.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn bytes(&mut self, n: usize) -> Result<&'a [u8], Damaged> {
        let (head, rest) = self.0.split_at_checked(n).ok_or(Damaged("it ends early"))?;
        self.0 = rest;
        Ok(head)
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        Ok(self.bytes(N)?.try_into().expect("bytes gives as many as asked"))
    }
    pub(crate) fn u8(&mut self) -> Result<u8, Damaged> {
        Ok(self.array::<1>()?[0])
    }
    pub(crate) fn u16(&mut self) -> Result<u16, Damaged> {
        Ok(u16::from_le_bytes(self.array()?))
    }
    pub(crate) fn u32(&mut self) -> Result<u32, Damaged> {
        Ok(u32::from_le_bytes(self.array()?))
    }
    pub(crate) fn u64(&mut self) -> Result<u64, Damaged> {
        Ok(u64::from_le_bytes(self.array()?))
    }
    pub(crate) fn i64(&mut self) -> Result<i64, Damaged> {
        Ok(self.u64()? as i64)
    }
    pub(crate) fn f64(&mut self) -> Result<f64, Damaged> {
        Ok(f64::from_bits(self.u64()?))
    }
    /// What [`Writer::small`] wrote.
    pub(crate) fn small(&mut self) -> Result<u64, Damaged> {
        let mut n = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            n |= bits << shift;
            if byte < 0x80 {
                return Ok(n);
            }
        }
        Err(Damaged("a number has more than 64 bits"))
    }
    /// What [`Writer::step`] wrote, from the same number.
    pub(crate) fn step(&mut self, from: i64) -> Result<i64, Damaged> {
        let n = self.small()?;
        Ok(from.wrapping_add((n >> 1) as i64 ^ -((n & 1) as i64)))
    }
    /// A count of things of at least `each` bytes: a count that the rest cannot hold is damage, so
    /// that nothing is reserved on the word of a broken number.
    pub(crate) fn count(&mut self, each: usize) -> Result<usize, Damaged> {
        let n = self.u32()? as usize;
        if n.saturating_mul(each) > self.0.len() {
            return Err(Damaged("a count is larger than what follows"));
        }
        Ok(n)
    }
    pub(crate) fn text(&mut self) -> Result<&'a str, Damaged> {
        let n = self.count(1)?;
        std::str::from_utf8(self.bytes(n)?).map_err(|_| Damaged("a text is not UTF-8"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_of_more_than_64_bits_is_damage() {
        let most = [[0xff; 9].as_slice(), &[1]].concat();
        assert_eq!(Reader(&most).small().unwrap(), u64::MAX);
        let more = [[0xff; 9].as_slice(), &[2]].concat();
        assert!(Reader(&more).small().is_err());
        assert!(Reader(&[0x80; 20]).small().is_err());
        assert!(Reader(&[0x80]).small().is_err());
    }

    proptest! {
        #[test]
        fn numbers_come_back(n: u64, from: i64, to: i64) {
            let mut w = Writer::default();
            w.small(n);
            w.step(from, to);
            let mut r = Reader(&w.0);
            prop_assert_eq!(r.small().unwrap(), n);
            prop_assert_eq!(r.step(from).unwrap(), to);
            prop_assert!(r.0.is_empty());
        }
    }
}
