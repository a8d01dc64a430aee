//! What can go wrong with a log.

use std::{io, path::PathBuf, sync::Arc};

/// Why the log could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The file system refused.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process, or another [`Log`](crate::Log) of this one, writes this folder.
    #[error("{} is in use by another process", dir.display())]
    Locked {
        /// The folder.
        dir: PathBuf,
    },
    /// Bytes that were once durable are not what was written. Nothing was changed.
    #[error("{} is damaged at byte {at_byte} (record {position}): {what}", segment.display())]
    Corrupt {
        /// The file.
        segment: PathBuf,
        /// Where in the file the damage begins.
        at_byte: u64,
        /// The position of the record that cannot be read.
        position: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// The file was written by a newer version.
    #[error("{} has log format {version}, this version reads format {}", path.display(), crate::segment::VERSION)]
    Version {
        /// The file.
        path: PathBuf,
        /// Its format.
        version: u16,
    },
    /// A compressed segment, or a wish for one, in a build without zstd.
    #[error("{} needs a build with the feature `compress` of onemap-log", path.display())]
    NotBuilt {
        /// The segment or folder.
        path: PathBuf,
    },
    /// A record's body is over [`MAX_RECORD_BYTES`](crate::MAX_RECORD_BYTES). The batch was not appended.
    #[error(
        "a record of {bytes} bytes is over the limit of {} bytes",
        crate::MAX_RECORD_BYTES
    )]
    RecordTooLarge {
        /// Bytes of the body.
        bytes: usize,
    },
    /// A batch can never fit. It was not appended.
    #[error("a batch of {bytes} bytes is over the limit of {limit} bytes")]
    BatchTooLarge {
        /// Bytes of the batch.
        bytes: u64,
        /// The most that fits.
        limit: u64,
    },
    /// Kind 255 is the log's own. The batch was not appended.
    #[error("record kind 255 is reserved for the log itself")]
    ReservedKind,
    /// A reader was asked to start behind the end: the cursor belongs to another log, or records it
    /// has seen are gone. Waiting there would skip new records in silence.
    #[error("cursor {after} is ahead of the log, whose last record is {last}")]
    Ahead {
        /// The cursor.
        after: u64,
        /// The last position.
        last: u64,
    },
    /// The log stopped for good; what was not durable then has not been kept.
    #[error("the log has failed: {0}")]
    Failed(Arc<str>),
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
}

impl LogError {
    /// For `map_err`: names what was being done to which file.
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }

    /// True when the disk or a quota is full, or the disk is read-only: a state that may pass.
    pub(crate) fn may_pass(&self) -> bool {
        let Self::Io { source, .. } = self else {
            return false;
        };
        matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::ReadOnlyFilesystem
        )
    }

    /// The error and its causes in one line.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}
