//! Segment files: their names, their header, how they come into being.
//!
//! ```text
//! 00000000000000000001.seg    plain:  header, then commits (each a mark and records)
//! 00000000000000000001.segz   packed: header, then compressed blocks
//! carry.log                   header, then carried records
//! *.tmp                       unfinished, removed at open        *.torn  tails cut away at open
//!
//! header = "onemapLG" | version u16 | form u8 | 0 u8 | crc32 u32 of the rest | base position u64
//!          | created i64 ms since 1970 UTC | salt u64             (all LE, 40 bytes)
//! ```
//! A segment was closed when the next one was created: there is no other closing time, so copies and
//! restores keep it.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::LogError;

/// Format this version writes and reads.
pub(crate) const VERSION: u16 = 1;
/// Bytes of a header.
pub(crate) const HEADER_BYTES: usize = 40;
const MAGIC: &[u8; 8] = b"onemapLG";

/// What follows a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Plain = 0,
    Packed = 1,
    Carry = 2,
}

/// The first bytes of a file of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) form: Form,
    pub(crate) base: u64,
    pub(crate) created_ms: i64,
    pub(crate) salt: u64,
}

impl Header {
    /// A header for a file that is made now.
    pub(crate) fn now(form: Form, base: u64) -> io::Result<Self> {
        let mut salt = [0; 8];
        rustix::rand::getrandom(&mut salt, rustix::rand::GetRandomFlags::empty())?;
        Ok(Self {
            form,
            base,
            created_ms: ms_since_1970(SystemTime::now()),
            salt: u64::from_le_bytes(salt),
        })
    }

    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        bytes[10] = self.form as u8;
        bytes[16..24].copy_from_slice(&self.base.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.created_ms.to_le_bytes());
        bytes[32..].copy_from_slice(&self.salt.to_le_bytes());
        let crc = crc32fast::hash(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads and checks the header of an open file.
    pub(crate) fn read(file: &File, path: &Path) -> Result<Self, LogError> {
        let corrupt = |what| LogError::Corrupt {
            segment: path.to_path_buf(),
            at_byte: 0,
            position: 0,
            what,
        };
        let mut bytes = [0; HEADER_BYTES];
        file.read_exact_at(&mut bytes, 0)
            .map_err(|source| match source.kind() {
                io::ErrorKind::UnexpectedEof => corrupt("it is shorter than its header"),
                _ => LogError::io("read", path)(source),
            })?;
        if &bytes[..8] != MAGIC {
            return Err(corrupt("it does not begin like a file of a log"));
        }
        let version = u16::from_le_bytes([bytes[8], bytes[9]]);
        if version != VERSION {
            return Err(LogError::Version {
                path: path.to_path_buf(),
                version,
            });
        }
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let header = Self {
            form: match bytes[10] {
                0 => Form::Plain,
                1 => Form::Packed,
                2 => Form::Carry,
                _ => return Err(corrupt("its form is unknown")),
            },
            base: word(16),
            created_ms: word(24) as i64,
            salt: word(32),
        };
        match header.encode() == bytes {
            true => Ok(header),
            false => Err(corrupt("the checksum of its header does not fit")),
        }
    }
}

/// The file of the segment that begins with record `base`.
pub(crate) fn path(dir: &Path, base: u64, form: Form) -> PathBuf {
    match form {
        Form::Plain => dir.join(format!("{base:020}.seg")),
        Form::Packed => dir.join(format!("{base:020}.segz")),
        Form::Carry => dir.join("carry.log"),
    }
}

/// What a folder holds.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Segments by base, a packed one before its plain twin.
    pub(crate) segments: Vec<(u64, Form)>,
    /// Files that were not finished.
    pub(crate) unfinished: Vec<PathBuf>,
}

/// Lists a folder.
pub(crate) fn list(dir: &Path) -> Result<Listing, LogError> {
    let mut listing = Listing::default();
    for entry in fs::read_dir(dir).map_err(LogError::io("list", dir))? {
        let path = entry.map_err(LogError::io("list", dir))?.path();
        let stem = path.file_stem().and_then(|s| s.to_str());
        let base = stem.and_then(|s| s.parse().ok().filter(|_| s.len() == 20));
        match (path.extension().and_then(|e| e.to_str()), base) {
            (Some("seg"), Some(base)) => listing.segments.push((base, Form::Plain)),
            (Some("segz"), Some(base)) => listing.segments.push((base, Form::Packed)),
            (Some("tmp"), _) => listing.unfinished.push(path),
            _ => {}
        }
    }
    listing
        .segments
        .sort_by_key(|(base, form)| (*base, *form == Form::Plain));
    Ok(listing)
}

/// Makes the file whole or not at all: written as `.tmp`, synced, renamed, the folder synced.
pub(crate) fn create(dir: &Path, header: &Header) -> Result<File, LogError> {
    let path = path(dir, header.base, header.form);
    let tmp = tmp_path(&path);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&tmp)
        .map_err(LogError::io("create", &tmp))?;
    file.write_all_at(&header.encode(), 0)
        .map_err(LogError::io("write", &tmp))?;
    file.sync_all().map_err(LogError::io("sync", &tmp))?;
    publish(dir, &tmp, &path)?;
    Ok(file)
}

/// The name a file has until it is whole.
pub(crate) fn tmp_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    name.into()
}

/// Gives a synced file its final name, durably.
pub(crate) fn publish(dir: &Path, tmp: &Path, path: &Path) -> Result<(), LogError> {
    fs::rename(tmp, path).map_err(LogError::io("rename to", path))?;
    sync_dir(dir)
}

/// Removes a file that is no longer part of the log.
pub(crate) fn remove(path: &Path) -> Result<(), LogError> {
    fs::remove_file(path).map_err(LogError::io("remove", path))
}

/// Makes names in a folder durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), LogError> {
    let sync = File::open(dir).and_then(|dir| dir.sync_all());
    sync.map_err(LogError::io("sync folder", dir))
}

pub(crate) fn ms_since_1970(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(before) => {
            let before: Duration = before.duration();
            i64::try_from(before.as_millis()).map_or(i64::MIN, |ms| -ms)
        }
    }
}
