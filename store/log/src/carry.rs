//! `carry.log`: records that outlive their segment.
//!
//! The same framing as a plain segment, marks included, and each body begins with the record's position
//! (u64 LE). It grows when a segment is about to be removed and is synced before that happens. A crash
//! in between leaves records both here and there; readers take from here only what no segment holds,
//! and the next removal adds only what is not here yet.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use crate::{
    LogError,
    catalog::Segment,
    feed::{Feed, Step},
    frame::{self, HEAD_BYTES},
    recover::{self, Torn},
    segment::{self, Form, HEADER_BYTES, Header},
};

/// Bytes gathered before they are written.
const WRITE_BYTES: usize = 1 << 20;

/// The open carry file, or where it will be.
#[derive(Debug)]
pub(crate) struct Carry {
    dir: PathBuf,
    path: PathBuf,
    /// With its salt.
    file: Option<(File, u64)>,
    pub(crate) bytes: u64,
    pub(crate) last: u64,
    pub(crate) n_records: u64,
    /// A sync failed: what the file holds is unknown until it is opened anew.
    broken: bool,
}

impl Carry {
    /// Opens and checks the file, if there is one. A torn tail is cut like a segment's.
    pub(crate) fn open(dir: &Path) -> Result<(Self, Option<Torn>), LogError> {
        let path = segment::path(dir, 0, Form::Carry);
        let mut carry = Self {
            dir: dir.to_path_buf(),
            path: path.clone(),
            file: None,
            bytes: 0,
            last: 0,
            n_records: 0,
            broken: false,
        };
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((carry, None)),
            Err(error) => return Err(LogError::io("open", &path)(error)),
        };
        let size = file.metadata().map_err(LogError::io("stat", &path))?.len();
        let mut feed = Feed::open(path, size)?;
        let what = loop {
            match feed.step(0)? {
                Step::Record(found) => {
                    carry.last = found.position;
                    carry.n_records += 1;
                }
                Step::End if feed.is_drained() => break None,
                Step::End => break Some("the file ends inside it"),
                Step::Bad(what) => break Some(what),
            }
        };
        carry.bytes = feed.at_byte();
        let torn = match what {
            None => None,
            Some(what) if feed.has_mark_behind(carry.bytes)? => return Err(feed.corrupt(what)),
            // Only the last write can be torn, and its records are still in their segment then.
            Some(_) => Some(recover::cut(
                dir,
                &feed.path,
                &file,
                carry.bytes,
                carry.n_records,
                carry.last,
            )?),
        };
        file.sync_all().map_err(LogError::io("sync", &carry.path))?;
        carry.file = Some((file, feed.header.salt));
        Ok((carry, torn))
    }

    /// Adds the records of `kinds` that a closed segment holds up to `last`; durable on return.
    /// Returns how many were added.
    ///
    /// # Errors
    /// When the segment cannot be read whole or the file cannot be written; the segment must stay.
    pub(crate) fn take_over(&mut self, segment: &Segment, last: u64, kinds: &[u8]) -> Result<u64, LogError> {
        if kinds.is_empty() {
            return Ok(0);
        }
        if self.broken {
            return Err(LogError::io("append to", &self.path)(std::io::Error::other(
                "an earlier sync failed; open the log anew",
            )));
        }
        let path = segment::path(&self.dir, segment.base, segment.form);
        let mut feed = Feed::open(path, segment.bytes)?;
        let mut bytes = frame::mark(self.file()?.1, self.last + 1).to_vec();
        let mut end = self.bytes;
        let (mut n_records, mut last_carried) = (0, self.last);
        loop {
            match feed.step(self.last)? {
                Step::Record(found) if found.position > self.last && kinds.contains(&found.kind) => {
                    let start = bytes.len();
                    bytes.extend_from_slice(&[0; HEAD_BYTES]);
                    bytes.extend_from_slice(&found.position.to_le_bytes());
                    bytes.extend_from_slice(feed.body(&found));
                    frame::seal(&mut bytes, start, found.kind);
                    n_records += 1;
                    last_carried = found.position;
                    if bytes.len() >= WRITE_BYTES {
                        self.write(&mut bytes, &mut end)?;
                    }
                }
                Step::Record(_) => {}
                Step::End if feed.is_drained() && feed.next == last + 1 => break,
                Step::End => return Err(feed.corrupt("the segment ends early")),
                Step::Bad(what) => return Err(feed.corrupt(what)),
            }
        }
        if n_records == 0 {
            return Ok(0);
        }
        self.write(&mut bytes, &mut end)?;
        if let Err(error) = self.file()?.0.sync_all() {
            self.broken = true;
            return Err(LogError::io("sync", &self.path)(error));
        }
        self.bytes = end;
        self.last = last_carried;
        self.n_records += n_records;
        Ok(n_records)
    }

    /// The file and its salt; it is made when there is none.
    fn file(&mut self) -> Result<(&File, u64), LogError> {
        let (file, salt) = match self.file.take() {
            Some(open) => open,
            None => {
                let header = Header::now(Form::Carry, 0).map_err(LogError::io("make", &self.path))?;
                let file = segment::create(&self.dir, &header)?;
                self.bytes = HEADER_BYTES as u64;
                (file, header.salt)
            }
        };
        let (file, salt) = self.file.insert((file, salt));
        Ok((file, *salt))
    }

    /// Writes behind what counts. A failed write leaves bytes that the next one overwrites, or that
    /// the next open cuts.
    fn write(&mut self, bytes: &mut Vec<u8>, end: &mut u64) -> Result<(), LogError> {
        let (file, _) = self.file()?;
        let written = file.set_len(*end).and_then(|()| file.write_all_at(bytes, *end));
        written.map_err(LogError::io("append to", &self.path))?;
        *end += bytes.len() as u64;
        bytes.clear();
        Ok(())
    }
}
