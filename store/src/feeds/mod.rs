//! What consumers of alerts have received, in `feeds.sqlite`: the cursor of each, a receipt for each item, and what was
//! set aside.
//!
//! It is evidence of what came out of the server, so no replay makes it again. A cursor moves in the transaction that
//! writes the receipts, or the reasons, of what it moves over: after a stop at any point an item that has neither is sent
//! again, by the same id.

mod rows;
mod schema;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use onemap_model::{AlertId, Timestamp, TransitionId};
use rusqlite::{Connection, OptionalExtension, params};

use crate::sqlite::{self, FileError, signed, unsigned};

/// Name of the file in a data folder.
pub const FILE: &str = "feeds.sqlite";

/// Up to where a consumer has everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeedCursor {
    /// The ledger's number of the last transition that is done with; 0 is none.
    pub seq: u64,
    /// The id of that transition: a ledger that was made again may number differently.
    pub id: Option<TransitionId>,
}

/// What a consumer has been tried with and has not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trying {
    /// The ledger's number of the first transition of it.
    pub seq: u64,
    /// When it was tried first.
    pub since: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
}

/// Where a consumer stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Up to where it has everything.
    pub cursor: FeedCursor,
    /// What waits behind, when it was tried.
    pub trying: Option<Trying>,
}

/// Which item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The ledger's number of the transition.
    pub seq: u64,
    /// The id that the consumer knows it by.
    pub id: TransitionId,
    /// The alert; of a gap none.
    pub alert: Option<AlertId>,
    /// The edge's name, or `gap`.
    pub edge: String,
}

/// What a consumer answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// When.
    pub at: Timestamp,
    /// Status of the answer, if there was one.
    pub status: Option<u16>,
    /// Which attempt it was, from 1.
    pub attempt: u32,
    /// Its first characters, or what went wrong.
    pub answer: String,
}

/// A receipt: this item was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its number in this file.
    pub n: u64,
    /// Which item.
    pub mark: Mark,
    /// What was answered.
    pub answered: Answered,
}

/// An item that was not received and no longer waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aside {
    /// Its number in this file.
    pub n: u64,
    /// Which item.
    pub mark: Mark,
    /// The last answer.
    pub answered: Answered,
    /// Why, by name.
    pub reason: String,
    /// Since when it is to be sent again, and by whose word.
    pub again: Option<(Timestamp, String)>,
}

/// What became of a wish to send something again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// It will be sent.
    Asked,
    /// It was asked for already.
    Already,
    /// Nothing of this number is set aside for this consumer.
    Unknown,
}

/// The file.
pub struct Feeds {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl Feeds {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// When it is damaged, another program's, of another version or cannot be written.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let kind = sqlite::Kind {
            application_id: schema::APPLICATION_ID,
            user_version: schema::FORMAT,
            earlier_versions: &[],
            schema: || schema::SCHEMA.to_owned(),
        };
        let connection = sqlite::open(path, &kind)?;
        connection.set_prepared_statement_cache_capacity(32);
        Ok(Self {
            path: path.to_owned(),
            connection: Mutex::new(connection),
        })
    }

    /// Where a consumer stands; one that is not known begins at `begin`.
    ///
    /// # Errors
    /// When the file cannot be read or written; so for every method here. Each blocks for one query or one fsync.
    pub fn standing(&self, consumer: &str, begin: FeedCursor) -> Result<Standing, FileError> {
        self.write(|tx| {
            tx.execute(
                "INSERT OR IGNORE INTO consumers (name, seq, id) VALUES (?1, ?2, unhex(?3))",
                params![consumer, signed(begin.seq), begin.id.map(|id| id.to_string())],
            )?;
            rows::standing(tx, consumer)
        })
    }

    /// Whether a consumer of this name was ever served.
    pub fn is_known(&self, consumer: &str) -> Result<bool, FileError> {
        self.read(|c| {
            c.prepare_cached("SELECT 1 FROM consumers WHERE name = ?1")?
                .exists([consumer])
        })
    }

    /// Moves a cursor over what is not for this consumer.
    pub fn pass(&self, consumer: &str, cursor: FeedCursor) -> Result<(), FileError> {
        self.write(|tx| rows::advance(tx, consumer, cursor))
    }

    /// Writes receipts and moves the cursor over them; what of it was set aside no longer is. Without a cursor it stays.
    pub fn receive(
        &self,
        consumer: &str,
        cursor: Option<FeedCursor>,
        marks: &[Mark],
        answered: &Answered,
    ) -> Result<(), FileError> {
        self.write(|tx| {
            for mark in marks {
                rows::put_receipt(tx, consumer, mark, answered)?;
            }
            cursor.map_or(Ok(()), |cursor| rows::advance(tx, consumer, cursor))
        })
    }

    /// Notes an attempt that failed.
    pub fn tried(&self, consumer: &str, trying: Trying) -> Result<(), FileError> {
        self.write(|tx| {
            tx.prepare_cached("UPDATE consumers SET trying = ?2, since = ?3, attempts = ?4 WHERE name = ?1")?
                .execute(params![
                    consumer,
                    signed(trying.seq),
                    trying.since.ms(),
                    trying.attempts
                ])
                .map(drop)
        })
    }

    /// Sets items aside with a reason and moves the cursor over them. Without a cursor it stays.
    pub fn set_aside(
        &self,
        consumer: &str,
        cursor: Option<FeedCursor>,
        marks: &[Mark],
        reason: &str,
        answered: &Answered,
    ) -> Result<(), FileError> {
        self.write(|tx| {
            for mark in marks {
                rows::put_aside(tx, consumer, mark, reason, answered)?;
            }
            cursor.map_or(Ok(()), |cursor| rows::advance(tx, consumer, cursor))
        })
    }

    /// Whether the consumer has a receipt for anything of an alert.
    pub fn is_told(&self, consumer: &str, alert: &AlertId) -> Result<bool, FileError> {
        self.read(|c| {
            c.prepare_cached("SELECT 1 FROM receipts WHERE consumer = ?1 AND alert = unhex(?2)")?
                .exists(params![consumer, alert.to_string()])
        })
    }

    /// At most `limit` receipts with numbers after `after`, oldest first.
    pub fn receipts(&self, consumer: &str, after: u64, limit: usize) -> Result<Vec<Receipt>, FileError> {
        self.read(|c| rows::receipts(c, consumer, after, limit))
    }

    /// The newest receipt.
    pub fn last_receipt(&self, consumer: &str) -> Result<Option<Receipt>, FileError> {
        self.read(|c| rows::last_receipt(c, consumer))
    }

    /// At most `limit` of what is set aside with numbers after `after`, oldest first.
    pub fn asides(&self, consumer: &str, after: u64, limit: usize) -> Result<Vec<Aside>, FileError> {
        self.read(|c| rows::asides(c, consumer, after, limit))
    }

    /// How many items are set aside.
    pub fn n_aside(&self, consumer: &str) -> Result<u64, FileError> {
        self.read(|c| {
            c.prepare_cached("SELECT count(*) FROM set_aside WHERE consumer = ?1")?
                .query_row([consumer], |row| row.get(0))
        })
        .map(unsigned)
    }

    /// Asks that what was set aside be sent again.
    pub fn ask_again(&self, consumer: &str, n: u64, at: Timestamp, by: &str) -> Result<Again, FileError> {
        self.write(|tx| {
            let asked = tx
                .prepare_cached(
                    "UPDATE set_aside SET again_at = ?3, again_by = ?4
                     WHERE consumer = ?1 AND n = ?2 AND again_at IS NULL",
                )?
                .execute(params![consumer, signed(n), at.ms(), by])?;
            if asked == 1 {
                return Ok(Again::Asked);
            }
            let is_there = tx
                .prepare_cached("SELECT 1 FROM set_aside WHERE consumer = ?1 AND n = ?2")?
                .exists(params![consumer, signed(n)])?;
            Ok(if is_there { Again::Already } else { Again::Unknown })
        })
    }

    /// The first that is to be sent again.
    pub fn next_again(&self, consumer: &str) -> Result<Option<Aside>, FileError> {
        self.read(|c| rows::next_again(c, consumer))
    }

    /// Removes receipts, and what was set aside, from before a time. Gives how many.
    pub fn retain(&self, before: Timestamp) -> Result<u64, FileError> {
        self.write(|tx| {
            let receipts = tx.execute("DELETE FROM receipts WHERE at < ?1", [before.ms()])?;
            let asides = tx.execute("DELETE FROM set_aside WHERE at < ?1", [before.ms()])?;
            Ok((receipts + asides) as u64)
        })
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A transaction that a panic left is rolled back.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, FileError> {
        read(&self.connection()).map_err(|source| sqlite::error(&self.path, "read", source))
    }

    fn write<T>(&self, write: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, FileError> {
        let mut connection = self.connection();
        let written = || {
            let tx = sqlite::begin(&mut connection)?;
            let written = write(&tx)?;
            tx.commit()?;
            Ok(written)
        };
        written().map_err(|source| sqlite::error(&self.path, "write", source))
    }
}

#[cfg(test)]
mod tests;
