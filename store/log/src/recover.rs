//! Opening a log: what is there, what is torn, what is damaged.
//!
//! Only the last segment can have a torn end, since the next one is created after everything before
//! is synced. Its bad bytes are a torn tail when no mark stands behind them: then they belong to the
//! one commit that was never acknowledged. A mark behind them proves that they were once durable, and
//! the log refuses to open. Zeros up to the end of the file are room that was set aside and not used.
//! Closed segments are checked when they are read.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::fs::{FlockOperation, flock};

use crate::{
    Config, LogError,
    carry::Carry,
    catalog::{Catalog, Segment},
    commit::Active,
    feed::{Feed, Step, read_up_to},
    segment::{self, Form, HEADER_BYTES, Header},
};

/// What was found when a log was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Position of the first record kept in a segment; `last + 1` when there is none.
    pub first: u64,
    /// Position of the last record; 0 when there was never one.
    pub last: u64,
    /// Number of segments.
    pub n_segments: usize,
    /// The tail that was cut away.
    pub torn: Option<Torn>,
}

/// A torn tail: the end of a write that was never acknowledged. It was moved, not destroyed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The file that was cut.
    pub segment: PathBuf,
    /// Its new length.
    pub at_byte: u64,
    /// Bytes cut away.
    pub lost_bytes: u64,
    /// Whole records before the cut in this file.
    pub records_kept: u64,
    /// Position of the last of them, or of the last record before this file.
    pub last_kept: u64,
    /// Where the bytes are now.
    pub saved_as: PathBuf,
}

/// An open log folder, before its threads start.
pub(crate) struct Opened {
    pub(crate) dir_lock: File,
    pub(crate) catalog: Catalog,
    pub(crate) active: Active,
    pub(crate) carry: Carry,
    pub(crate) recovery: Recovery,
}

/// Locks and opens the folder, makes it when it is missing, and cuts a torn tail away.
pub(crate) fn open(config: &Config) -> Result<Opened, LogError> {
    let dir = config.dir.as_path();
    if config.compress && !cfg!(feature = "compress") {
        return Err(LogError::NotBuilt {
            path: dir.to_path_buf(),
        });
    }
    make_dir(dir)?;
    let dir_lock = lock_dir(dir)?;
    let mut segments = tidy(dir)?;
    let (carry, mut torn) = Carry::open(dir)?;

    let last = match segments.last() {
        Some(segment) if segment.form == Form::Plain => segments.pop(),
        _ => None,
    };
    let (active, places) = match last {
        Some(segment) => {
            let (active, places, cut) = open_active(dir, &segment)?;
            torn = cut.or(torn);
            (active, places)
        }
        None => {
            let base = match segments.last() {
                Some(packed) => end_of_packed(dir, packed)? + 1,
                None => carry.last + 1,
            };
            (Active::create(dir, base)?, Vec::new())
        }
    };

    let last = active.base + active.n_records - 1;
    let mut catalog = Catalog::new(dir.to_path_buf(), segments);
    catalog.begin(active.segment());
    catalog.durable = last;
    for (position, at_byte) in places {
        catalog.note_place(position, at_byte);
    }
    catalog.carry_bytes = carry.bytes;
    catalog.carry_last = carry.last;
    catalog.carry_records = carry.n_records;
    let recovery = Recovery {
        first: catalog.first(),
        last,
        n_segments: catalog.n_segments(),
        torn,
    };
    Ok(Opened {
        dir_lock,
        catalog,
        active,
        carry,
        recovery,
    })
}

fn make_dir(dir: &Path) -> Result<(), LogError> {
    if dir.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(dir).map_err(LogError::io("make folder", dir))?;
    match dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => segment::sync_dir(parent),
        None => Ok(()),
    }
}

/// A holder that is just ending (a killed process, a child between fork and exec that still holds the
/// descriptor) is waited for this long.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);

fn lock_dir(dir: &Path) -> Result<File, LogError> {
    let file = File::open(dir).map_err(LogError::io("open folder", dir))?;
    let until = Instant::now() + LOCK_PATIENCE;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(LogError::Locked {
                    dir: dir.to_path_buf(),
                });
            }
            Err(errno) => return Err(LogError::io("lock folder", dir)(errno.into())),
        }
    }
}

/// Lists the segments, and removes unfinished files and plain twins of packed segments.
fn tidy(dir: &Path) -> Result<Vec<Segment>, LogError> {
    let segment::Listing {
        segments: listed,
        unfinished,
    } = segment::list(dir)?;
    for path in &unfinished {
        segment::remove(path)?;
    }
    let mut segments: Vec<Segment> = Vec::with_capacity(listed.len());
    for (base, form) in listed {
        let path = segment::path(dir, base, form);
        if segments.last().is_some_and(|packed| packed.base == base) {
            segment::remove(&path)?; // packed and synced before the crash, only the removal was missing
            continue;
        }
        let file = File::open(&path).map_err(LogError::io("open", &path))?;
        let header = Header::read(&file, &path)?;
        if (header.base, header.form) != (base, form) {
            return Err(LogError::Corrupt {
                segment: path,
                at_byte: 0,
                position: base,
                what: "its header belongs to another segment",
            });
        }
        segments.push(Segment {
            base,
            form,
            bytes: file.metadata().map_err(LogError::io("stat", &path))?.len(),
            created_ms: header.created_ms,
        });
    }
    Ok(segments)
}

type Places = Vec<(u64, u64)>;

/// Checks every record of the last segment, cuts a torn tail and makes the rest durable: after a
/// `kill -9` the bytes may be in memory only.
fn open_active(dir: &Path, segment: &Segment) -> Result<(Active, Places, Option<Torn>), LogError> {
    let path = segment::path(dir, segment.base, segment.form);
    let file = OpenOptions::new().read(true).write(true).open(&path);
    let file = file.map_err(LogError::io("open", &path))?;
    let mut feed = Feed::open(path.clone(), segment.bytes)?;
    let mut places = Vec::new();
    let what = loop {
        match feed.step(0)? {
            Step::Record(found) => {
                if found.position.is_multiple_of(64) {
                    places.push((feed.next, feed.at_byte()));
                }
            }
            Step::End if feed.is_drained() => break None,
            Step::End => break Some("the file ends inside it"),
            Step::Bad(what) => break Some(what),
        }
    };
    let (at_byte, n_records) = (feed.at_byte(), feed.next - segment.base);
    let end = end_of_bytes(&file, at_byte).map_err(LogError::io("read", &path))?;
    let torn = match what {
        None => None,
        Some(_) if end == at_byte => {
            file.set_len(at_byte).map_err(LogError::io("cut", &path))?;
            None
        }
        Some(what) if feed.has_mark_behind(at_byte)? => return Err(feed.corrupt(what)),
        Some(_) => Some(cut(dir, &path, &file, at_byte, n_records, feed.next - 1)?),
    };
    file.sync_all().map_err(LogError::io("sync", &path))?;
    segment::sync_dir(dir)?;
    let active = Active::reopened(file, path, feed.header, at_byte, n_records);
    Ok((active, places, torn))
}

/// Where the last byte behind `at_byte` stands that is not zero.
fn end_of_bytes(file: &File, at_byte: u64) -> io::Result<u64> {
    let (mut at, mut end) = (at_byte, at_byte);
    let mut bytes = vec![0; 256 << 10];
    loop {
        let got = read_up_to(file, &mut bytes, at)?;
        if let Some(last) = bytes[..got].iter().rposition(|byte| *byte != 0) {
            end = at + last as u64 + 1;
        }
        at += got as u64;
        if got < bytes.len() {
            return Ok(end);
        }
    }
}

/// Saves what stands behind `at_byte`, without the zeros at its end, beside the file, durably, and then cuts it away.
pub(crate) fn cut(
    dir: &Path,
    path: &Path,
    file: &File,
    at_byte: u64,
    records_kept: u64,
    last_kept: u64,
) -> Result<Torn, LogError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let (saved_as, mut saved) = (0_u32..)
        .find_map(|n| {
            let suffix = if n == 0 { String::new() } else { format!(".{n}") };
            let saved_as = dir.join(format!("{name}.{at_byte}{suffix}.torn"));
            match OpenOptions::new().write(true).create_new(true).open(&saved_as) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => None,
                opened => Some(
                    opened
                        .map(|file| (saved_as.clone(), file))
                        .map_err(LogError::io("create", saved_as)),
                ),
            }
        })
        .expect("one of four thousand million names is free")?;
    let lost = end_of_bytes(file, at_byte).map_err(LogError::io("read", path))? - at_byte;
    let mut lost_bytes = 0;
    let mut bytes = vec![0; 256 << 10];
    while lost_bytes < lost {
        let want = (lost - lost_bytes).min(bytes.len() as u64) as usize;
        let got = read_up_to(file, &mut bytes[..want], at_byte + lost_bytes);
        let got = got.map_err(LogError::io("read", path))?;
        if got == 0 {
            break;
        }
        saved
            .write_all(&bytes[..got])
            .map_err(LogError::io("write", &saved_as))?;
        lost_bytes += got as u64;
    }
    saved.sync_all().map_err(LogError::io("sync", &saved_as))?;
    segment::sync_dir(dir)?;
    file.set_len(at_byte).map_err(LogError::io("cut", path))?;
    Ok(Torn {
        segment: path.to_path_buf(),
        at_byte,
        lost_bytes,
        records_kept,
        last_kept,
        saved_as,
    })
}

/// The last position of a packed segment that no other follows.
fn end_of_packed(dir: &Path, segment: &Segment) -> Result<u64, LogError> {
    let path = segment::path(dir, segment.base, segment.form);
    let mut feed = Feed::open(path, segment.bytes)?;
    loop {
        match feed.step(u64::MAX)? {
            Step::Record(_) => {}
            Step::End if feed.at_byte() > HEADER_BYTES as u64 => return Ok(feed.next - 1),
            Step::End => return Err(feed.corrupt("a packed segment holds no record")),
            Step::Bad(what) => return Err(feed.corrupt(what)),
        }
    }
}
