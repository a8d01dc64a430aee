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
    pub(crate) fn u16(&mut self, n: u16) {
        self.0.extend_from_slice(&n.to_le_bytes());
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
