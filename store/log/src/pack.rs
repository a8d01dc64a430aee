//! Packed segments: blocks of compressed records.
//!
//! ```text
//! block = raw bytes u32 | stored bytes u32 | crc32 u32 | records u32 | first position u64 | stored
//! ```
//! All LE; the checksum covers the rest of the head and the stored bytes (one zstd frame). A reader
//! that looks for a position hops from head to head and inflates only the block it needs. Marks are
//! not packed: a packed file is whole or it is not there.

#[cfg(feature = "compress")]
use std::io;

use crate::frame::{HEAD_BYTES, MAX_RECORD_BYTES};

/// Raw bytes after which a block is ended.
pub(crate) const BLOCK_BYTES: usize = 256 << 10;
/// Of line protocol and JSON level 1 makes as few bytes as level 3, in five eighths of the time.
#[cfg(feature = "compress")]
const LEVEL: i32 = 1;
/// Most raw bytes of a block: all but the last record are within [`BLOCK_BYTES`].
const MAX_BLOCK_BYTES: usize = BLOCK_BYTES + HEAD_BYTES + MAX_RECORD_BYTES;
/// Bytes of a block's head.
pub(crate) const BLOCK_HEAD_BYTES: usize = 24;

/// What a block says of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockHead {
    pub(crate) raw_bytes: u32,
    pub(crate) stored_bytes: u32,
    crc: u32,
    pub(crate) n_records: u32,
    pub(crate) first: u64,
}

impl BlockHead {
    /// Reads a head, or says why it is impossible.
    pub(crate) fn decode(bytes: &[u8; BLOCK_HEAD_BYTES]) -> Result<Self, &'static str> {
        let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let head = Self {
            raw_bytes: word(0),
            stored_bytes: word(4),
            crc: word(8),
            n_records: word(12),
            first: u64::from(word(16)) | u64::from(word(20)) << 32,
        };
        // zstd adds at most a few bytes to what it cannot compress.
        let most = MAX_BLOCK_BYTES as u32;
        if head.raw_bytes > most || head.stored_bytes > most + most / 128 + 1024 || head.n_records == 0 {
            return Err("the head of its block is impossible");
        }
        Ok(head)
    }

    fn encode(&self) -> [u8; BLOCK_HEAD_BYTES] {
        let mut bytes = [0; BLOCK_HEAD_BYTES];
        bytes[..4].copy_from_slice(&self.raw_bytes.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.stored_bytes.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.crc.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.n_records.to_le_bytes());
        bytes[16..].copy_from_slice(&self.first.to_le_bytes());
        bytes
    }

    fn checksum(&self, stored: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&Self { crc: 0, ..*self }.encode());
        hasher.update(stored);
        hasher.finalize()
    }

    /// The position of the block's last record.
    pub(crate) fn last(&self) -> u64 {
        self.first.saturating_add(u64::from(self.n_records) - 1)
    }

    /// Replaces `raw` with the records of the block, or says why they cannot be had.
    pub(crate) fn unpack(&self, stored: &[u8], raw: &mut Vec<u8>) -> Result<(), &'static str> {
        if self.checksum(stored) != self.crc {
            return Err("the checksum of its block does not fit");
        }
        raw.clear();
        raw.reserve_exact(self.raw_bytes as usize);
        inflate(stored, raw)?;
        match raw.len() == self.raw_bytes as usize {
            true => Ok(()),
            false => Err("its block does not have the length it announces"),
        }
    }
}

#[cfg(feature = "compress")]
fn inflate(stored: &[u8], raw: &mut Vec<u8>) -> Result<(), &'static str> {
    let inflated = zstd::bulk::Decompressor::new().and_then(|mut d| d.decompress_to_buffer(stored, raw));
    inflated.map(drop).map_err(|_| "its block does not inflate")
}

#[cfg(not(feature = "compress"))]
fn inflate(_: &[u8], _: &mut Vec<u8>) -> Result<(), &'static str> {
    Err("this build does not inflate") // feeds refuse packed files before they come here
}

/// Gathers records and turns them into blocks.
#[cfg(feature = "compress")]
pub(crate) struct Packer {
    zstd: zstd::bulk::Compressor<'static>,
    raw: Vec<u8>,
    n_records: u32,
    first: u64,
}

#[cfg(feature = "compress")]
impl Packer {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            zstd: zstd::bulk::Compressor::new(LEVEL)?,
            raw: Vec::with_capacity(BLOCK_BYTES),
            n_records: 0,
            first: 0,
        })
    }

    /// Takes one record as it stands in a plain segment; appends a block to `out` when one is full.
    pub(crate) fn push(&mut self, position: u64, record: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        if self.n_records == 0 {
            self.first = position;
        }
        self.raw.extend_from_slice(record);
        self.n_records += 1;
        match self.raw.len() >= BLOCK_BYTES {
            true => self.finish(out),
            false => Ok(()),
        }
    }

    /// Appends what is left as a block.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        if self.n_records == 0 {
            return Ok(());
        }
        let stored = self.zstd.compress(&self.raw)?;
        let mut head = BlockHead {
            raw_bytes: self.raw.len() as u32,
            stored_bytes: stored.len() as u32,
            crc: 0,
            n_records: self.n_records,
            first: self.first,
        };
        head.crc = head.checksum(&stored);
        out.extend_from_slice(&head.encode());
        out.extend_from_slice(&stored);
        self.raw.clear();
        self.n_records = 0;
        Ok(())
    }
}
