//! The ledger: what was judged, refused, done and by which tokens, in `ledger.sqlite`.
//!
//! [`Ledger`] is the one writer (the pipeline); [`LedgerReader`] reads beside it without blocking it.
//! Every batch is one transaction together with its cursor, and a batch that comes again changes
//! nothing: positions at or before the cursor are skipped and ids are unique.

mod accounts;
mod attributes;
mod audit;
mod commands;
mod duty_log;
mod fence_events;
mod forecasts;
mod persons;
mod quarantine;
mod reader;
mod schema;
mod series_acts;
mod tokens;
mod warnings;

use std::path::{Path, PathBuf};
use std::time::Duration;

use onemap_model::record::{Frame, RecordError, Register as Change};
use onemap_model::{Act, Command, Fact, FenceEvent, Refusal, Source, Timestamp, Transition};
use rusqlite::{Connection, OptionalExtension, params};

pub use accounts::{Accounts, Held, Link};
pub use audit::{AuditFault, AuditFound, AuditHead, AuditHeadError, AuditKind, AuditRow, Audited};
pub use commands::CommandFilter;
pub use duty_log::{DutyLogFilter, LoggedEntry};
pub use fence_events::{FenceEventFilter, LedgerFenceEvent};
pub use forecasts::{ForecastFilter, Issued, LedgerForecast};
pub use persons::{KeptPerson, PersonSince, StatedPerson};
pub use quarantine::{
    Became, QuarantineCount, QuarantineFilter, QuarantineState, QuarantineTotals, Quarantined, Settled,
    Settlement, Which,
};
pub use reader::{AccessToken, LedgerAct, LedgerReader, LedgerTransition};
pub use series_acts::{SeriesAct, SeriesActFilter, SeriesActKind};
pub use tokens::{Ended, Gone, Provisioning, TokenHash, TokenHashError, Tokens};
pub use warnings::WarningMessage;

use crate::attributes::AttributeChange;
use crate::sqlite::{self, FileError, signed, unsigned};

/// Limits of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerConfig {
    /// Most quarantine entries; the oldest go first, counted. Default 100,000.
    pub quarantine_rows: u64,
    /// Most bytes of quarantined payloads; the oldest go first, counted. Default 256 MiB.
    pub quarantine_bytes: u64,
    /// How long evidence, quarantine entries, events at fences and forecasts are kept; [`Ledger::open`] takes no less than
    /// [`MIN_RETENTION`]. Default 180 days.
    pub retention: Duration,
}

/// Logs of security value are kept at least 180 days.
pub const MIN_RETENTION: Duration = Duration::from_secs(180 * 86_400);

impl Default for LedgerConfig {
    fn default() -> Self {
        Self {
            quarantine_rows: 100_000,
            quarantine_bytes: 256 << 20,
            retention: MIN_RETENTION,
        }
    }
}

/// What the pipeline gives to the ledger at once. The cursor is the position up to which everything is
/// in this batch or in an earlier one.
#[derive(Clone, Debug, Default)]
pub struct LedgerBatch {
    /// Last journal position that is complete with this batch.
    pub cursor: u64,
    /// Alert transitions in the order in which they came about.
    pub transitions: Vec<Transition>,
    /// Refused bytes.
    pub quarantine: Vec<QuarantineEntry>,
    /// Journal position and body of each frame behind a transition or a quarantine entry.
    pub evidence: Vec<(u64, Vec<u8>)>,
    /// Journal position and act.
    pub acts: Vec<(u64, Act)>,
    /// What the audit takes, in the order of the journal.
    pub audited: Vec<Audited>,
    /// Facts about commands, each with the command as it stands after it, in order.
    pub commands: Vec<(Command, Fact)>,
    /// Journal position, time and change; only tokens, persons and accounts are taken from them.
    pub register: Vec<(u64, Timestamp, Change)>,
    /// Attributes set or gone.
    pub attributes: Vec<AttributeChange>,
    /// What became of frames in the quarantine.
    pub settled: Vec<Settled>,
    /// What moving devices did at fences, in the order in which it came about.
    pub fence_events: Vec<FenceEvent>,
    /// Forecasts as they were issued.
    pub forecasts: Vec<Issued>,
    /// Journal position and act of each entry that stands in the log of a desk.
    pub duty_log: Vec<(u64, Act)>,
    /// Messages of warnings that were issued.
    pub warnings: Vec<WarningMessage>,
    /// Name, journal position and bytes of whole states (the rule engine's); the newest position of a
    /// name is kept.
    pub snapshots: Vec<(&'static str, u64, Vec<u8>)>,
}

/// One refusal and its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantineEntry {
    /// Journal position of the frame.
    pub position: u64,
    /// Which refusal of this frame, from 0; one frame may hold several refused keys.
    pub ordinal: u32,
    /// When the frame arrived.
    pub at: Timestamp,
    /// Why.
    pub reason: Refusal,
    /// Through which door.
    pub source: Source,
    /// The authenticated device; empty when nobody was.
    pub device: String,
    /// Address of the peer.
    pub peer: String,
    /// Topic, path or file name.
    pub topic: String,
    /// What exactly was wrong.
    pub detail: String,
    /// The bytes.
    pub payload: Vec<u8>,
}

/// What a batch added.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Written {
    /// The transitions that are new, with their numbers, in order.
    pub transitions: Vec<LedgerTransition>,
    /// How many transitions had been written before.
    pub n_known: usize,
    /// How many quarantine entries went because of the size limits.
    pub n_evicted: u64,
}

/// What [`Ledger::retain`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// Frames of evidence.
    pub n_evidence: u64,
    /// Quarantine entries.
    pub n_quarantine: u64,
    /// Events at fences.
    pub n_fence_events: u64,
    /// Forecasts.
    pub n_forecasts: u64,
}

/// What can go wrong with the ledger.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// Evidence that is no frame; nothing of the batch was written.
    #[error("the evidence of journal position {position} is no frame")]
    Evidence {
        /// Journal position.
        position: u64,
        /// What is wrong with it.
        #[source]
        source: RecordError,
    },
    /// A retention under 180 days.
    #[error("the ledger keeps evidence at least 180 days, not {days}")]
    Retention {
        /// Whole days asked for.
        days: u64,
    },
}

/// The writer of `ledger.sqlite`.
pub struct Ledger {
    path: PathBuf,
    connection: Connection,
    config: LedgerConfig,
    cursor: u64,
}

impl Ledger {
    /// Opens the file with the default limits, or makes it.
    ///
    /// # Errors
    /// As [`open_with`](Self::open_with).
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        Self::open_with(path, LedgerConfig::default())
    }

    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// When the retention is under 180 days; when the file is damaged, another program's, of another
    /// version, locked or cannot be written.
    pub fn open_with(path: &Path, config: LedgerConfig) -> Result<Self, LedgerError> {
        if config.retention < MIN_RETENTION {
            let days = config.retention.as_secs() / 86_400;
            return Err(LedgerError::Retention { days });
        }
        let kind = sqlite::Kind {
            application_id: schema::APPLICATION_ID,
            user_version: schema::FORMAT,
            earlier_versions: &[],
            schema: || schema::SCHEMA.to_owned(),
        };
        let mut connection = sqlite::open(path, &kind)?;
        connection
            .execute_batch(attributes::SCHEMA)
            .and_then(|()| connection.execute_batch(commands::TABLES))
            .and_then(|()| connection.execute_batch(fence_events::TABLES))
            .and_then(|()| connection.execute_batch(forecasts::TABLES))
            .and_then(|()| connection.execute_batch(quarantine::STATES))
            .and_then(|()| connection.execute_batch(series_acts::SCHEMA))
            .and_then(|()| connection.execute_batch(persons::SCHEMA))
            .and_then(|()| connection.execute_batch(accounts::SCHEMA))
            .and_then(|()| connection.execute_batch(warnings::TABLE))
            .and_then(|()| connection.execute_batch(duty_log::TABLE))
            .map_err(|e| sqlite::error(path, "add tables to", e))?;
        connection.set_prepared_statement_cache_capacity(32);
        connection
            .execute_batch(schema::LATER_TABLES)
            .map_err(|e| sqlite::error(path, "add tables to", e))?;
        audit::prepare(&mut connection).map_err(|e| sqlite::error(path, "add the audit to", e))?;
        let cursor = schema::meta(&connection, schema::CURSOR).map_err(|e| sqlite::error(path, "read", e))?;
        Ok(Self {
            path: path.to_owned(),
            connection,
            config,
            cursor: unsigned(cursor),
        })
    }

    /// The last journal position the ledger is complete with; 0 is nothing.
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Writes a batch and its cursor in one transaction, with an fsync.
    ///
    /// Transitions, quarantine entries, acts and tokens at or before the cursor were written earlier and
    /// are skipped; the cursor never goes back.
    ///
    /// # Errors
    /// When evidence is no frame or the file cannot be written. Then nothing of the batch is written and
    /// the call may be repeated.
    pub fn write(&mut self, batch: &LedgerBatch) -> Result<Written, LedgerError> {
        let evidence: Vec<(u64, Timestamp, &[u8])> = batch
            .evidence
            .iter()
            .map(|(position, body)| match Frame::decode(body) {
                Ok(frame) => Ok((*position, frame.received_at, body.as_slice())),
                Err(source) => Err(LedgerError::Evidence {
                    position: *position,
                    source,
                }),
            })
            .collect::<Result<_, _>>()?;
        let written = self
            .transact(batch, &evidence)
            .map_err(|source| sqlite::error(&self.path, "write", source))?;
        self.cursor = self.cursor.max(batch.cursor);
        Ok(written)
    }

    fn transact(
        &mut self,
        batch: &LedgerBatch,
        evidence: &[(u64, Timestamp, &[u8])],
    ) -> rusqlite::Result<Written> {
        let cursor = self.cursor;
        let mut written = Written::default();
        let tx = sqlite::begin(&mut self.connection)?;
        for transition in &batch.transitions {
            let seq = match transition.position > cursor {
                true => put_transition(&tx, transition)?,
                false => None,
            };
            match seq {
                Some(seq) => written.transitions.push(LedgerTransition {
                    seq,
                    transition: transition.clone(),
                }),
                None => written.n_known += 1,
            }
        }
        let entries = batch.quarantine.iter().filter(|entry| entry.position > cursor);
        written.n_evicted = quarantine::put(&tx, entries, &self.config)?;
        for settled in batch.settled.iter().filter(|settled| settled.record > cursor) {
            quarantine::settle(&tx, settled)?;
        }
        for (position, at, body) in evidence {
            tx.prepare_cached("INSERT OR IGNORE INTO evidence (position, at, frame) VALUES (?1, ?2, ?3)")?
                .execute(params![signed(*position), at.ms(), body])?;
        }
        for (position, act) in batch.acts.iter().filter(|(position, _)| *position > cursor) {
            tx.prepare_cached(
                "INSERT OR IGNORE INTO acts (position, at, actor, json) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![
                signed(*position),
                act.at.ms(),
                act.by.actor,
                serde_json::to_string(act).expect("acts have text keys only"),
            ])?;
            series_acts::put(&tx, *position, act)?;
        }
        let audited = batch.audited.iter().filter(|audited| audited.position > cursor);
        audit::put(&tx, audited)?;
        for (command, fact) in batch.commands.iter().filter(|(_, f)| f.position > cursor) {
            commands::put(&tx, command, fact)?;
        }
        for (position, at, change) in batch.register.iter().filter(|(position, ..)| *position > cursor) {
            tokens::put(&tx, *position, *at, change)?;
            persons::put(&tx, *position, *at, change)?;
            accounts::put(&tx, *position, *at, change)?;
        }
        for change in batch.attributes.iter().filter(|c| c.position > cursor) {
            attributes::put(&tx, change)?;
        }
        for event in batch.fence_events.iter().filter(|e| e.position > cursor) {
            fence_events::put(&tx, event)?;
        }
        for issued in batch.forecasts.iter().filter(|i| i.position > cursor) {
            forecasts::put(&tx, issued)?;
        }
        for (position, act) in batch.duty_log.iter().filter(|(position, _)| *position > cursor) {
            duty_log::put(&tx, *position, act)?;
        }
        for message in batch.warnings.iter().filter(|m| m.position > cursor) {
            warnings::put(&tx, message)?;
        }
        for (name, position, bytes) in &batch.snapshots {
            tx.prepare_cached(
                "INSERT INTO snapshots (name, position, bytes) VALUES (?1, ?2, ?3)
                 ON CONFLICT (name) DO UPDATE SET position = ?2, bytes = ?3 WHERE position <= ?2",
            )?
            .execute(params![name, signed(*position), bytes])?;
        }
        schema::set_meta(&tx, schema::CURSOR, signed(cursor.max(batch.cursor)))?;
        tx.commit()?;
        Ok(written)
    }

    /// Position and bytes of a named snapshot.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn snapshot(&self, name: &str) -> Result<Option<(u64, Vec<u8>)>, LedgerError> {
        let row = self.connection.query_row(
            "SELECT position, bytes FROM snapshots WHERE name = ?1",
            [name],
            |row| Ok((unsigned(row.get(0)?), row.get(1)?)),
        );
        Ok(row
            .optional()
            .map_err(|source| sqlite::error(&self.path, "read", source))?)
    }

    /// Removes quarantine entries, evidence, events at fences and forecasts that arrived longer than the retention before `now` (record
    /// time). Evidence of an alert stays until the alert itself has ended that long ago, and evidence of a
    /// quarantine entry as long as the entry.
    ///
    /// # Errors
    /// When the file cannot be written; then nothing is removed.
    pub fn retain(&mut self, now: Timestamp) -> Result<Retained, LedgerError> {
        let before = now.saturating_sub(self.config.retention);
        let mut removed = || -> rusqlite::Result<Retained> {
            let tx = sqlite::begin(&mut self.connection)?;
            let n_quarantine = quarantine::retain(&tx, before)?;
            let n_evidence = tx.execute(schema::RETAIN_EVIDENCE, [before.ms()])? as u64;
            let n_fence_events = fence_events::retain(&tx, before)?;
            let n_forecasts = forecasts::retain(&tx, before)?;
            tx.commit()?;
            Ok(Retained {
                n_evidence,
                n_quarantine,
                n_fence_events,
                n_forecasts,
            })
        };
        Ok(removed().map_err(|source| sqlite::error(&self.path, "write", source))?)
    }
}

/// Writes a transition unless its id is there; gives its number when it is new.
fn put_transition(tx: &Connection, t: &Transition) -> rusqlite::Result<Option<u64>> {
    let id = t.id.to_string();
    let n = tx
        .prepare_cached(
            "INSERT OR IGNORE INTO transitions (id, alert, edge, at, position, rule, series, division, json)
             VALUES (unhex(?1), unhex(?2), ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            id,
            t.alert.to_string(),
            t.edge.name(),
            t.at.ms(),
            signed(t.position),
            t.rule.as_str(),
            t.series.to_string(),
            t.division.as_ref().map(|d| d.as_str()),
            serde_json::to_string(t).expect("transitions have text keys only"),
        ])?;
    Ok((n == 1).then(|| unsigned(tx.last_insert_rowid())))
}

#[cfg(test)]
mod tests;
