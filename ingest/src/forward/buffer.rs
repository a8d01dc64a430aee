//! What waits for a superior platform: a log of its own, so that one that is away holds up nothing else.
//!
//! Frames are copied from the journal; what is durable here, the journal may let go. A record is the journal position
//! of a frame and its bytes, or a position alone: up to there nothing else is to be copied. At its size limit the
//! oldest go, and are counted.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use onemap_log::{Batch, Config, Log, LogError, Reader};
use onemap_model::record::KIND_FRAME;
use onemap_model::{Frame, Record, Source};

use super::ForwardState;

/// Name of the file of the stations that are done further than the cursor.
const DONE: &str = "stations";
/// Name of the file of frames that the superior refused.
const REFUSED: &str = "refused";
const KIND_COPIED: u8 = 1;
const KIND_POSITION: u8 = 2;
/// Records copied before they are made durable.
const BATCH: usize = 1024;
/// Journal records without a frame after which the position alone is noted.
const NOTE_AFTER: u64 = 4096;
/// How long a wait lasts before it is looked whether to stop.
const LOOK: Duration = Duration::from_millis(500);
const SEGMENT_BYTES: u64 = 16 << 20;
/// Most bytes of frames that were refused; later ones are only counted and told in the log.
const MOST_REFUSED: u64 = 64 << 20;

/// Why a buffer cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForwardError {
    /// Its log.
    #[error("the buffer of frames for `{name}`")]
    Log {
        /// The superior.
        name: String,
        /// Why.
        #[source]
        source: LogError,
    },
    /// The journal.
    #[error("the journal, from which frames for `{name}` are copied")]
    Journal {
        /// The superior.
        name: String,
        /// Why.
        #[source]
        source: LogError,
    },
}

/// The buffer of one superior.
#[derive(Debug)]
pub(super) struct Buffer {
    pub(super) log: Log,
    name: String,
    cursor: PathBuf,
    /// Positions up to which stations are done, where that is further than the cursor.
    pub(super) done: BTreeMap<Box<str>, u64>,
    max_bytes: u64,
    /// Journal position up to which everything is here.
    copied: u64,
}

impl Buffer {
    /// Opens the buffer. A new one begins with what comes into the journal from now on.
    pub(super) fn open(
        dir: &Path,
        name: &str,
        max_bytes: u64,
        journal: &Log,
    ) -> Result<(Self, u64), ForwardError> {
        let of_log = |source| ForwardError::Log {
            name: name.to_owned(),
            source,
        };
        let config = Config {
            segment_bytes: SEGMENT_BYTES.min(max_bytes / 8),
            ..Config::new(dir)
        };
        let (log, recovery) = Log::open(config).map_err(of_log)?;
        let cursor = dir.join("answered");
        let mut own = Self {
            log,
            name: name.to_owned(),
            cursor,
            done: BTreeMap::new(),
            max_bytes,
            copied: 0,
        };
        if recovery.last == 0 {
            // Positions of another log would hide frames of this one.
            for stale in [own.cursor.clone(), dir.join(DONE)] {
                match std::fs::remove_file(&stale) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(of_log(LogError::Io {
                            doing: "remove",
                            path: stale,
                            source: error,
                        }));
                    }
                    _ => {}
                }
            }
            own.copied = journal.status().durable;
            let mut batch = Batch::new();
            batch.push(KIND_POSITION, |out| {
                out.extend_from_slice(&own.copied.to_le_bytes())
            });
            let position = own.log.append_blocking(&batch).map_err(of_log)?;
            own.log.wait_durable_blocking(position).map_err(of_log)?;
            return Ok((own, position));
        }
        let mut reader = own.log.reader(recovery.last - 1).map_err(of_log)?;
        if let Some(entry) = reader.next().map_err(of_log)? {
            own.copied = position_of(entry.body).unwrap_or(0);
        }
        let answered = std::fs::read_to_string(&own.cursor).ok();
        let answered = answered.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        // One that cannot be read only means that more is sent again.
        let done = std::fs::read(dir.join(DONE)).ok();
        let done = done.and_then(|text| serde_json::from_slice(&text).ok());
        own.done = done.unwrap_or_default();
        own.done.retain(|_, position| *position <= recovery.last);
        Ok((own, u64::min(answered, recovery.last)))
    }

    fn of_log(&self, source: LogError) -> ForwardError {
        ForwardError::Log {
            name: self.name.clone(),
            source,
        }
    }

    /// Journal position up to which everything is here, durable.
    pub(super) fn copied(&self) -> u64 {
        self.copied
    }

    /// Copies until the stop. Blocks: it has a thread.
    pub(super) fn copy(
        &mut self,
        journal: &Log,
        wants: &dyn Fn(&str) -> bool,
        state: &ForwardState,
        stop: &AtomicBool,
    ) -> Result<(), ForwardError> {
        let of_journal = |name: &str, source| ForwardError::Journal {
            name: name.to_owned(),
            source,
        };
        let name = self.name.clone();
        let last = journal.status().durable;
        let mut reader = journal
            .reader(self.copied.min(last))
            .map_err(|source| of_journal(&name, source))?;
        while !stop.load(Ordering::Relaxed) {
            let mut batch = Batch::new();
            let mut position = self.copied;
            while batch.len() < BATCH
                && let Some(entry) = reader.next().map_err(|source| of_journal(&name, source))?
            {
                position = entry.position;
                if entry.kind == KIND_FRAME
                    && let Ok(Record::Frame(frame)) = Record::decode(entry.kind, entry.body)
                    && is_forwarded(&frame)
                    && wants(frame.device)
                {
                    batch.push(KIND_COPIED, |out| {
                        out.extend_from_slice(&position.to_le_bytes());
                        out.extend_from_slice(frame.payload);
                    });
                }
                if batch.is_empty() && position - self.copied >= NOTE_AFTER {
                    batch.push(KIND_POSITION, |out| {
                        out.extend_from_slice(&position.to_le_bytes())
                    });
                    break;
                }
            }
            if batch.is_empty() {
                // Nothing is to be copied by now.
                match journal.wait_durable_for(reader.position() + 1, LOOK) {
                    Ok(_) => continue,
                    Err(_) => return Ok(()), // the journal has ended, and so does everybody
                }
            }
            let appended = self
                .log
                .append_blocking(&batch)
                .map_err(|source| self.of_log(source))?;
            while !self
                .log
                .wait_durable_for(appended, LOOK)
                .map_err(|source| self.of_log(source))?
            {
                if stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
            }
            self.copied = position;
            state.copied.store(position, Ordering::Release);
            state.last.store(appended, Ordering::Release);
            self.keep_within(state)?;
        }
        Ok(())
    }

    /// At the size limit the oldest go, answered or not.
    fn keep_within(&self, state: &ForwardState) -> Result<(), ForwardError> {
        let status = self.log.status();
        state.bytes.store(status.bytes, Ordering::Relaxed);
        if status.bytes <= self.max_bytes {
            return Ok(());
        }
        let released = self
            .log
            .release_to_size(status.durable, self.max_bytes / 10 * 9)
            .map_err(|source| self.of_log(source))?;
        let answered = state.answered_to.load(Ordering::Acquire);
        let n_lost = released
            .first
            .saturating_sub(1)
            .saturating_sub(answered)
            .min(released.records)
            .min(state.n_waiting());
        if n_lost > 0 {
            state.n_lost.fetch_add(n_lost, Ordering::Relaxed);
            tracing::warn!(
                superior = self.name,
                n_lost,
                "the buffer of frames for `{}` is full: the oldest {n_lost} records go unsent",
                self.name
            );
        }
        Ok(())
    }
}

/// The receipts of one superior: position up to which everything is answered, and of stations that are further theirs.
#[derive(Debug)]
pub(super) struct Receipts {
    log: Log,
    file: PathBuf,
    written: u64,
    written_done: BTreeMap<Box<str>, u64>,
}

impl Receipts {
    pub(super) fn of(buffer: &Buffer, answered: u64) -> Self {
        Self {
            log: buffer.log.clone(),
            file: buffer.cursor.clone(),
            written: answered,
            written_done: buffer.done.clone(),
        }
    }

    /// Notes it down and lets go what is answered; keeps the bytes of frames that were refused first. Blocks. What is not
    /// written only means that more is sent again.
    pub(super) fn note(
        &mut self,
        answered: u64,
        done: BTreeMap<Box<str>, u64>,
        refused: &[Vec<u8>],
    ) -> Result<(), LogError> {
        if !refused.is_empty()
            && let Err(error) = self.keep(refused)
        {
            tracing::warn!(%error, "frames that a superior refused are not kept");
        }
        if done != self.written_done {
            let text = serde_json::to_vec(&done).unwrap_or_default();
            if replace(&self.file.with_file_name(DONE), &text) {
                self.written_done = done;
            }
        }
        if answered == self.written || !replace(&self.file, format!("{answered}\n").as_bytes()) {
            return Ok(());
        }
        self.written = answered;
        self.log.release(answered, SystemTime::now())?;
        Ok(())
    }

    fn keep(&self, refused: &[Vec<u8>]) -> std::io::Result<()> {
        let file = self.file.with_file_name(REFUSED);
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file)?;
        let mut n_bytes = file.metadata()?.len();
        for frame in refused {
            n_bytes += frame.len() as u64;
            if n_bytes <= MOST_REFUSED {
                file.write_all(frame)?;
            }
        }
        file.sync_all()
    }
}

/// Writes a file anew, whole or not at all; whether it did.
fn replace(file: &Path, text: &[u8]) -> bool {
    let part = file.with_extension("part");
    let write = || -> std::io::Result<()> {
        std::fs::write(&part, text)?;
        std::fs::File::open(&part)?.sync_all()?;
        std::fs::rename(&part, file)
    };
    let written = write();
    if let Err(error) = &written {
        tracing::warn!(%error, "{} is not written", file.display());
    }
    written.is_ok()
}

fn is_forwarded(frame: &Frame<'_>) -> bool {
    frame.source == Source::Hj212 && frame.refused.is_none()
}

fn position_of(body: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(body.first_chunk::<8>().copied()?))
}

/// A record of a buffer: its position, and the frame's bytes if it is one.
pub(super) type Copied = (u64, Option<Vec<u8>>);

/// The next record of a buffer.
pub(super) fn next(reader: &mut Reader) -> Result<Option<Copied>, LogError> {
    let Some(entry) = reader.next()? else {
        return Ok(None);
    };
    let bytes = (entry.kind == KIND_COPIED).then(|| entry.body.get(8..).unwrap_or_default().to_vec());
    Ok(Some((entry.position, bytes)))
}
