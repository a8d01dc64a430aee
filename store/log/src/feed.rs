//! Records out of one file, in order, with bounded memory.
//!
//! A feed reads at most up to its limit, in chunks, and checks every record. It decides nothing about
//! what an end or a bad record means: that depends on whether the file is closed.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt, path::PathBuf};

use crate::{
    LogError,
    frame::{self, HEAD_BYTES, KIND_MARK, Parsed},
    pack::{BLOCK_HEAD_BYTES, BlockHead},
    segment::{Form, HEADER_BYTES, Header},
};

/// Bytes read at once.
const CHUNK_BYTES: usize = 256 << 10;

/// One file being read.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) path: PathBuf,
    pub(crate) header: Header,
    /// Position of the next record.
    pub(crate) next: u64,
    /// Bytes of the file that may be read.
    pub(crate) limit: u64,
    file: File,
    /// Where the file goes on behind the window.
    offset: u64,
    /// Bytes read (plain) or the block inflated (packed); everything before `at` has been handed out.
    window: Vec<u8>,
    at: usize,
    stored: Vec<u8>,
}

/// A record in the feed's window.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) position: u64,
    pub(crate) kind: u8,
    body: Range<usize>,
}

#[derive(Debug)]
pub(crate) enum Step {
    Record(Found),
    /// No whole record before the limit.
    End,
    /// What stands at [`Feed::at_byte`] is no record.
    Bad(&'static str),
}

impl Feed {
    /// Opens a file whose first `limit` bytes may be read.
    pub(crate) fn open(path: PathBuf, limit: u64) -> Result<Self, LogError> {
        let file = File::open(&path).map_err(LogError::io("open", &path))?;
        let header = Header::read(&file, &path)?;
        if header.form == Form::Packed && !cfg!(feature = "compress") {
            return Err(LogError::NotBuilt { path });
        }
        Ok(Self {
            path,
            header,
            next: header.base,
            limit,
            file,
            offset: HEADER_BYTES as u64,
            window: Vec::new(),
            at: 0,
            stored: Vec::new(),
        })
    }

    /// Starts at a mark: record `position` stands at or behind byte `offset` of a plain segment.
    pub(crate) fn seek(&mut self, position: u64, offset: u64) {
        self.next = position;
        self.offset = offset;
        self.window.clear();
        self.at = 0;
    }

    /// Where in the file the next record begins (packed: the block behind it).
    pub(crate) fn at_byte(&self) -> u64 {
        match self.header.form {
            Form::Packed => self.offset,
            Form::Plain | Form::Carry => self.offset - (self.window.len() - self.at) as u64,
        }
    }

    /// True when every byte up to the limit has been handed out.
    pub(crate) fn is_drained(&self) -> bool {
        self.at == self.window.len() && self.offset == self.limit
    }

    /// Forgets what was read ahead, to see the file as it is now. No use on packed files.
    pub(crate) fn reread(&mut self) {
        self.offset = self.at_byte();
        self.window.clear();
        self.at = 0;
    }

    /// Bytes of the open file, which may have lost its name since.
    pub(crate) fn file_bytes(&self) -> Result<u64, LogError> {
        let metadata = self.file.metadata().map_err(LogError::io("stat", &self.path))?;
        Ok(metadata.len())
    }

    /// The bytes of a record just found.
    pub(crate) fn body(&self, found: &Found) -> &[u8] {
        &self.window[found.body.clone()]
    }

    /// A record just found as it stands in the file, head included.
    #[cfg(feature = "compress")]
    pub(crate) fn whole(&self, found: &Found) -> &[u8] {
        &self.window[found.body.start - HEAD_BYTES..found.body.end]
    }

    pub(crate) fn corrupt(&self, what: &'static str) -> LogError {
        LogError::Corrupt {
            segment: self.path.clone(),
            at_byte: self.at_byte(),
            position: self.next,
            what,
        }
    }

    /// The next record. Packed blocks that end at or before `after` are skipped unread.
    pub(crate) fn step(&mut self, after: u64) -> Result<Step, LogError> {
        loop {
            match frame::parse(&self.window[self.at..]) {
                Parsed::Record { kind, body } => {
                    let body = self.at + body.start..self.at + body.end;
                    match self.take(kind, body) {
                        Ok(Some(found)) => return Ok(Step::Record(found)),
                        Ok(None) => {}
                        Err(what) => return Ok(Step::Bad(what)),
                    }
                }
                Parsed::Bad(what) => return Ok(Step::Bad(what)),
                Parsed::Need(n_bytes) => match self.header.form {
                    Form::Plain | Form::Carry => {
                        if !self.fill(n_bytes)? {
                            return Ok(Step::End);
                        }
                    }
                    Form::Packed => match self.next_block(after)? {
                        Ok(true) => {}
                        Ok(false) => return Ok(Step::End),
                        Err(what) => return Ok(Step::Bad(what)),
                    },
                },
            }
        }
    }

    /// Moves past a record; none when it was a mark.
    fn take(&mut self, kind: u8, mut body: Range<usize>) -> Result<Option<Found>, &'static str> {
        let end = body.end;
        let position = match self.header.form {
            Form::Plain | Form::Carry if kind == KIND_MARK => {
                let announced = frame::mark_position(self.header.salt, &self.window[body]);
                let announced = announced.ok_or("the mark there is of another file")?;
                // A carry file has gaps; a mark there only says that what follows is not older.
                if announced < self.next || (self.header.form == Form::Plain && announced > self.next) {
                    return Err("the mark there announces another record");
                }
                self.at = end;
                return Ok(None);
            }
            Form::Plain | Form::Packed => self.next,
            Form::Carry => {
                let at = self.window[body.clone()]
                    .first_chunk()
                    .map(|p| u64::from_le_bytes(*p));
                let at = at.ok_or("it is too short to hold a position")?;
                if at < self.next {
                    return Err("its position is out of order");
                }
                body.start += 8;
                at
            }
        };
        self.at = end;
        self.next = position + 1;
        Ok(Some(Found { position, kind, body }))
    }

    /// Reads on until the window holds `n_bytes`; false when the limit stands before that.
    fn fill(&mut self, n_bytes: usize) -> Result<bool, LogError> {
        let left = self.window.len() - self.at;
        let missing = (n_bytes - left) as u64;
        if self.limit.saturating_sub(self.offset) < missing {
            return Ok(false);
        }
        self.window.drain(..self.at);
        self.at = 0;
        let wanted = (self.limit - self.offset).min(missing.max(CHUNK_BYTES as u64)) as usize;
        if self.window.capacity() > 4 * CHUNK_BYTES && left + wanted <= CHUNK_BYTES * 2 {
            self.window.shrink_to(2 * CHUNK_BYTES); // one large record is no reason to stay large
        }
        self.window.resize(left + wanted, 0);
        let got = read_up_to(&self.file, &mut self.window[left..], self.offset);
        let got = got.map_err(LogError::io("read", &self.path))?;
        self.window.truncate(left + got);
        self.offset += got as u64;
        Ok(self.window.len() >= n_bytes)
    }

    /// Inflates the next block that ends behind `after`; false at the end of the file.
    fn next_block(&mut self, after: u64) -> Result<Result<bool, &'static str>, LogError> {
        if self.at < self.window.len() {
            return Ok(Err("its block ends inside a record"));
        }
        self.window.clear();
        self.at = 0;
        loop {
            if self.offset == self.limit {
                return Ok(Ok(false));
            }
            let mut head = [0; BLOCK_HEAD_BYTES];
            let read = |bytes: &mut [u8], at| {
                read_up_to(&self.file, bytes, at).map_err(LogError::io("read", &self.path))
            };
            if read(&mut head, self.offset)? < head.len() {
                return Ok(Err("the file ends inside a block's head"));
            }
            let head = match BlockHead::decode(&head) {
                Ok(head) if head.first == self.next => head,
                Ok(_) => return Ok(Err("its block begins with another record")),
                Err(what) => return Ok(Err(what)),
            };
            let begin = self.offset + BLOCK_HEAD_BYTES as u64;
            let end = begin + u64::from(head.stored_bytes);
            if end > self.limit {
                return Ok(Err("the file ends inside a block"));
            }
            if head.last() <= after {
                self.offset = end;
                self.next = head.last() + 1;
                continue;
            }
            self.stored.resize(head.stored_bytes as usize, 0);
            if read(&mut self.stored, begin)? < self.stored.len() {
                return Ok(Err("the file ends inside a block"));
            }
            if let Err(what) = head.unpack(&self.stored, &mut self.window) {
                self.window.clear();
                return Ok(Err(what));
            }
            self.offset = end;
            return Ok(Ok(true));
        }
    }

    /// Looks for a mark behind byte `from`: proof that everything before it was once durable.
    pub(crate) fn has_mark_behind(&self, from: u64) -> Result<bool, LogError> {
        let salt = self.header.salt.to_le_bytes();
        let end = self.file_bytes()?;
        let mut bytes = vec![0; CHUNK_BYTES];
        let mut at = from;
        while at < end {
            let got = read_up_to(&self.file, &mut bytes, at).map_err(LogError::io("read", &self.path))?;
            let chunk = &bytes[..got];
            for (i, _) in chunk.windows(8).enumerate().filter(|(_, eight)| **eight == salt) {
                let Some(start) = i.checked_sub(HEAD_BYTES) else {
                    continue;
                };
                if let Parsed::Record { kind: KIND_MARK, .. } = frame::parse(&chunk[start..]) {
                    return Ok(true);
                }
            }
            if got < bytes.len() {
                break;
            }
            at += (got - frame::MARK_BYTES) as u64;
        }
        Ok(false)
    }
}

/// Reads until `bytes` is full or the file ends.
pub(crate) fn read_up_to(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut got = 0;
    while got < bytes.len() {
        match file.read_at(&mut bytes[got..], offset + got as u64) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}
