//! Reading the ledger beside its writer.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use onemap_model::Pseudonym;
use onemap_model::record::ProvisioningStrategy;
use onemap_model::{
    Act, AlertId, Command, DeviceId, DivisionCode, Fact, Role, SeriesKey, Timestamp, Transition, TransitionId,
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use sha2::{Digest, Sha256};

use super::commands::{self, CommandFilter};
use super::duty_log::{self, DutyLogFilter, LoggedEntry};
use super::fence_events::{self, FenceEventFilter, LedgerFenceEvent};
use super::forecasts::{self, ForecastFilter, LedgerForecast};
use super::persons::{KeptPerson, PersonSince, StatedPerson};
use super::quarantine::{self, QuarantineCount, QuarantineFilter, QuarantineTotals, Quarantined};
use super::schema;
use super::series_acts::{self, SeriesAct, SeriesActFilter};
use super::tokens::{Provisioning, TokenHash};
use super::warnings::{self, WarningMessage};
use super::{LedgerError, attributes};
use crate::attributes::AttributeChange;
use crate::canonical;
use crate::sqlite::{self, FileError, signed, unsigned};

/// Connections kept open between reads; more are opened when more read at once, and closed after.
const N_KEPT: usize = 4;

/// A transition with its number in the ledger.
#[derive(Clone, Debug, PartialEq)]
pub struct LedgerTransition {
    /// Its number, rising without repeats; feeds resume after it. It belongs to this ledger: a replay into
    /// another folder may number differently.
    pub seq: u64,
    /// The transition.
    pub transition: Transition,
}

/// An act with its journal position.
#[derive(Clone, Debug, PartialEq)]
pub struct LedgerAct {
    /// Journal position.
    pub position: u64,
    /// The act.
    pub act: Act,
}

/// A bearer token, without the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessToken {
    /// What it is called. Several tokens may share a name.
    pub name: String,
    /// Its hash.
    pub sha256: TokenHash,
    /// Its role.
    pub role: Role,
    /// Its division; `None` is the whole city.
    pub division: Option<DivisionCode>,
    /// Its departments, each once, in order; empty is all.
    pub departments: Vec<String>,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends by itself; `None` is never.
    pub expires: Option<Timestamp>,
    /// When it was ended, if it was.
    pub revoked: Option<Timestamp>,
}

/// Reads the ledger over its own read-only connections. Clones share them. Every call blocks for the time
/// of one query, so async callers go through a blocking thread.
#[derive(Clone)]
pub struct LedgerReader {
    pool: Arc<Pool>,
}

struct Pool {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl LedgerReader {
    /// Opens a ledger that a [`Ledger`](super::Ledger) has made.
    ///
    /// # Errors
    /// When the file is absent, damaged, no ledger or of another version.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        let read = |source| sqlite::error(path, "read", source);
        let connection = sqlite::open_to_read(path)?;
        let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let application_id = pragma("application_id").map_err(read)?;
        if application_id != schema::APPLICATION_ID {
            return Err(LedgerError::File(FileError::Foreign {
                path: path.to_owned(),
                found: application_id,
                expected: schema::APPLICATION_ID,
            }));
        }
        sqlite::check_format(path, pragma("user_version").map_err(read)?, schema::FORMAT)?;
        let pool = Pool {
            path: path.to_owned(),
            idle: Mutex::new(vec![connection]),
        };
        Ok(Self { pool: Arc::new(pool) })
    }

    /// The last journal position the ledger is complete with.
    ///
    /// # Errors
    /// When the file cannot be read; so for every method here.
    pub fn cursor(&self) -> Result<u64, LedgerError> {
        self.read(|c| schema::meta(c, schema::CURSOR)).map(unsigned)
    }

    /// At most `limit` transitions with numbers after `seq`, oldest first.
    pub fn transitions_after(&self, seq: u64, limit: usize) -> Result<Vec<LedgerTransition>, LedgerError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(|c| {
            c.prepare_cached("SELECT seq, json FROM transitions WHERE seq > ?1 ORDER BY seq LIMIT ?2")?
                .query_map(params![signed(seq), limit], transition)?
                .collect()
        })
    }

    /// The number behind which transitions are not older than a time: their record times rise with their numbers.
    pub fn seq_before(&self, at: Timestamp) -> Result<u64, LedgerError> {
        self.read(|c| {
            let mut next =
                c.prepare_cached("SELECT seq, at FROM transitions WHERE seq > ?1 ORDER BY seq LIMIT 1")?;
            let (mut low, mut high): (i64, i64) = (
                0,
                c.query_row("SELECT coalesce(max(seq), 0) FROM transitions", [], |row| {
                    row.get(0)
                })?,
            );
            while low < high {
                let middle = low + (high - low) / 2;
                let (seq, its): (i64, i64) =
                    next.query_row([middle], |row| Ok((row.get(0)?, row.get(1)?)))?;
                match its < at.ms() {
                    true => low = seq,
                    false => high = middle,
                }
            }
            Ok(low)
        })
        .map(unsigned)
    }

    /// Every transition of an alert, oldest first.
    pub fn transitions_of(&self, alert: &AlertId) -> Result<Vec<LedgerTransition>, LedgerError> {
        self.read(|c| {
            c.prepare_cached("SELECT seq, json FROM transitions WHERE alert = unhex(?1) ORDER BY seq")?
                .query_map([alert.to_string()], transition)?
                .collect()
        })
    }

    /// At most `limit` commands with numbers under `before`, newest first.
    pub fn commands(
        &self,
        filter: &CommandFilter,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Command>, LedgerError> {
        self.read(|c| commands::page(c, filter, before, limit))
    }

    /// One command with the facts of its life in their order.
    pub fn command(&self, id: u64) -> Result<Option<(Command, Vec<Fact>)>, LedgerError> {
        self.read(|c| commands::one(c, id))
    }

    /// How many commands there are.
    pub fn n_commands(&self) -> Result<u64, LedgerError> {
        self.read(commands::count)
    }

    /// Every transition, oldest first.
    pub fn all_transitions(&self) -> Result<Vec<LedgerTransition>, LedgerError> {
        self.transitions_after(0, usize::MAX)
    }

    /// Number of the last transition; 0 when there is none.
    pub fn last_seq(&self) -> Result<u64, LedgerError> {
        self.read(|c| {
            c.query_row("SELECT coalesce(max(seq), 0) FROM transitions", [], |row| {
                row.get(0)
            })
        })
        .map(unsigned)
    }

    /// Number of the first transition that is there; 0 when there is none.
    pub fn first_seq(&self) -> Result<u64, LedgerError> {
        self.read(|c| {
            c.query_row("SELECT coalesce(min(seq), 0) FROM transitions", [], |row| {
                row.get(0)
            })
        })
        .map(unsigned)
    }

    /// Number of the transition with an id.
    pub fn seq_of(&self, id: &TransitionId) -> Result<Option<u64>, LedgerError> {
        self.read(|c| {
            c.prepare_cached("SELECT seq FROM transitions WHERE id = unhex(?1)")?
                .query_row([id.to_string()], |row| row.get(0))
                .optional()
        })
        .map(|seq| seq.map(unsigned))
    }

    /// SHA-256 over the transitions in order of journal position and id: what was judged, when and on
    /// which inputs. Numbers and wording are not in it, so a replay gives the same.
    pub fn transitions_digest(&self) -> Result<[u8; 32], LedgerError> {
        self.read(|c| {
            let mut statement =
                c.prepare_cached("SELECT seq, json FROM transitions ORDER BY position, id")?;
            let mut rows = statement.query([])?;
            let mut hash = Sha256::new();
            while let Some(row) = rows.next()? {
                let t = transition(row)?.transition;
                let content = (
                    (&t.id, &t.alert, t.edge, t.at.ms(), t.position),
                    (&t.rule, &t.rule_version, &t.series, t.severity, &t.division),
                    &t.inputs,
                );
                canonical::update(&mut hash, "transition", &content);
            }
            Ok(hash.finalize().into())
        })
    }

    /// At most `limit` quarantine entries, newest first; `before` is the number of the last one seen.
    pub fn quarantine(
        &self,
        filter: &QuarantineFilter,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Quarantined>, LedgerError> {
        self.read(|c| quarantine::page(c, filter, before, limit))
    }

    /// One quarantine entry.
    pub fn quarantined(&self, id: u64) -> Result<Option<Quarantined>, LedgerError> {
        self.read(|c| quarantine::one(c, id))
    }

    /// How many quarantine entries there are by reason and Beijing day, newest day first.
    pub fn quarantine_counts(
        &self,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) -> Result<Vec<QuarantineCount>, LedgerError> {
        self.read(|c| quarantine::counts(c, from, to))
    }

    /// What the quarantine holds and has let go.
    pub fn quarantine_totals(&self) -> Result<QuarantineTotals, LedgerError> {
        self.read(quarantine::totals)
    }

    /// The body of the frame at a journal position, if it was kept as evidence
    /// ([`Frame::decode`](onemap_model::Frame::decode) reads it).
    pub fn evidence(&self, position: u64) -> Result<Option<Vec<u8>>, LedgerError> {
        self.read(|c| {
            c.prepare_cached("SELECT frame FROM evidence WHERE position = ?1")?
                .query_row([signed(position)], |row| row.get(0))
                .optional()
        })
    }

    /// At most `limit` acts after a journal position, oldest first.
    pub fn acts_after(&self, position: u64, limit: usize) -> Result<Vec<LedgerAct>, LedgerError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(|c| {
            c.prepare_cached(
                "SELECT position, json FROM acts WHERE position > ?1 ORDER BY position LIMIT ?2",
            )?
            .query_map(params![signed(position), limit], |row| {
                Ok(LedgerAct {
                    position: unsigned(row.get(0)?),
                    act: json(row, 1)?,
                })
            })?
            .collect()
        })
    }

    /// Where the chain of the audit stands, as its rows say.
    pub fn audit_head(&self, at: Timestamp) -> Result<super::AuditHead, LedgerError> {
        self.read(|c| super::audit::head(c, at))
    }

    /// Makes every hash of the audit again, and holds its rows against the acts and against heads that were kept
    /// elsewhere.
    pub fn audit(&self, heads: &[super::AuditHead]) -> Result<super::AuditFound, LedgerError> {
        self.read(|c| super::audit::verify(c, heads))
    }

    /// At most `limit` rows of the audit from number `first` on.
    pub fn audit_rows(&self, first: u64, limit: usize) -> Result<Vec<super::AuditRow>, LedgerError> {
        self.read(|c| super::audit::rows(c, first, limit))
    }

    /// The row of the audit for the record at a journal position, if the audit takes such a record.
    pub fn audit_row_at(&self, position: u64) -> Result<Option<super::AuditRow>, LedgerError> {
        self.read(|c| super::audit::row_at(c, position))
    }

    /// Shows `take` the rows of a kind, newest first, until it has found what it looks for.
    pub fn find_in_audit<T>(
        &self,
        kind: super::AuditKind,
        take: impl FnMut(super::AuditRow) -> ControlFlow<T>,
    ) -> Result<Option<T>, LedgerError> {
        self.read(|c| super::audit::of_kind(c, kind, take))
    }

    /// At most `limit` events at fences with numbers under `before`, newest first.
    pub fn fence_events(
        &self,
        filter: &FenceEventFilter,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<LedgerFenceEvent>, LedgerError> {
        self.read(|c| fence_events::page(c, filter, before, limit))
    }

    /// At most `limit` entries of duty logs behind a place, in the order of their times.
    pub fn duty_log(
        &self,
        filter: &DutyLogFilter,
        after: (Timestamp, u64),
        limit: usize,
    ) -> Result<Vec<LoggedEntry>, LedgerError> {
        self.read(|c| duty_log::page(c, filter, after, limit))
    }

    /// The entry of a duty log at a journal position.
    pub fn duty_entry(&self, position: u64) -> Result<Option<LoggedEntry>, LedgerError> {
        self.read(|c| duty_log::at(c, position))
    }

    /// At most `limit` messages of warnings that were sent from a time to before another, oldest first, behind a journal
    /// position.
    pub fn warning_messages_in(
        &self,
        span: (Timestamp, Timestamp),
        after: u64,
        limit: usize,
    ) -> Result<Vec<WarningMessage>, LedgerError> {
        self.read(|c| warnings::sent_in(c, span, after, limit))
    }

    /// Since when this ledger has been written: the time of the first of what it holds; `None` of an empty one.
    pub fn begins(&self) -> Result<Option<Timestamp>, LedgerError> {
        self.read(|c| {
            let first = |sql| c.query_row(sql, [], |row| row.get::<_, i64>(0)).optional();
            let audit = first("SELECT at FROM audit ORDER BY n LIMIT 1")?;
            let told = first("SELECT at FROM transitions ORDER BY seq LIMIT 1")?;
            Ok(audit.into_iter().chain(told).min())
        })
        .map(|at| at.map(Timestamp::from_ms))
    }

    /// The message of a warning by its name.
    pub fn warning_message(&self, identifier: &str) -> Result<Option<WarningMessage>, LedgerError> {
        self.read(|c| warnings::named(c, identifier))
    }

    /// At most `limit` messages of warnings before a journal position, newest first.
    pub fn warning_messages(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<WarningMessage>, LedgerError> {
        self.read(|c| warnings::page(c, before, limit))
    }

    /// At most `limit` forecasts with numbers under `before`, newest first.
    pub fn forecasts(
        &self,
        filter: &ForecastFilter,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<LedgerForecast>, LedgerError> {
        self.read(|c| forecasts::page(c, filter, before, limit))
    }

    /// The newest forecast of each series (as `device/quantity/channel`) and source behind one of these, at most `limit`,
    /// by their names.
    pub fn newest_forecasts(
        &self,
        after: (&str, &str),
        limit: usize,
    ) -> Result<Vec<LedgerForecast>, LedgerError> {
        self.read(|c| forecasts::newest(c, after, limit))
    }

    /// SHA-256 over the events at fences, in the order of their devices and of what these did: numbers of the ledger
    /// are not in it, so a replay gives the same.
    pub fn fence_events_digest(&self) -> Result<[u8; 32], LedgerError> {
        self.read(fence_events::digest)
    }

    /// At most `limit` acts about series before a journal position, newest first.
    pub fn series_acts(
        &self,
        filter: &SeriesActFilter,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<SeriesAct>, LedgerError> {
        self.read(|c| series_acts::page(c, filter, before, limit))
    }

    /// At most `limit` of the reviews and corrections that hold of values of a series from a time to before another,
    /// oldest act first; with `known_at` those of then.
    pub fn series_acts_of(
        &self,
        series: &SeriesKey,
        span: (Timestamp, Timestamp),
        known_at: Option<Timestamp>,
        limit: usize,
    ) -> Result<Vec<SeriesAct>, LedgerError> {
        self.read(|c| series_acts::of(c, series, span, known_at, limit))
    }

    /// [`LedgerReader::series_acts_of`] as of a journal position, all of them.
    pub fn series_acts_at(
        &self,
        series: &SeriesKey,
        span: (Timestamp, Timestamp),
        position: u64,
    ) -> Result<Vec<SeriesAct>, LedgerError> {
        self.read(|c| series_acts::at(c, series, span, position))
    }

    /// The devices of whose values a review or a correction says something.
    pub fn reviewed_devices(&self) -> Result<BTreeSet<DeviceId>, LedgerError> {
        self.read(series_acts::devices)
    }

    /// Every device's token hash, in the order in which they were given.
    pub fn device_tokens(&self) -> Result<Vec<(DeviceId, TokenHash)>, LedgerError> {
        self.read(|c| {
            c.prepare_cached("SELECT device, sha256 FROM device_tokens ORDER BY position, device")?
                .query_map([], |row| Ok((parsed(row, 0)?, hash(row, 1)?)))?
                .collect()
        })
    }

    /// Every attribute of every device.
    pub fn attributes(&self) -> Result<Vec<AttributeChange>, LedgerError> {
        self.read(attributes::all)
    }

    /// Device tokens that end by themselves, soonest first.
    pub fn device_token_ends(&self) -> Result<Vec<(DeviceId, TokenHash, Timestamp)>, LedgerError> {
        self.read(|c| {
            c.prepare_cached("SELECT device, sha256, ends FROM device_token_ends ORDER BY ends, sha256")?
                .query_map([], |row| {
                    Ok((parsed(row, 0)?, hash(row, 1)?, Timestamp::from_ms(row.get(2)?)))
                })?
                .collect()
        })
    }

    /// The devices whose tokens were revoked, and that were not admitted or given a token since, with the record that
    /// said so.
    pub fn revoked_devices(&self) -> Result<Vec<(DeviceId, u64)>, LedgerError> {
        self.read(|c| {
            c.prepare_cached("SELECT device, position FROM device_revocations ORDER BY device")?
                .query_map([], |row| Ok((parsed(row, 0)?, unsigned(row.get(1)?))))?
                .collect()
        })
    }

    /// With what devices may register themselves, by profile.
    pub fn provisioning(&self) -> Result<Vec<Provisioning>, LedgerError> {
        self.read(|c| {
            c.prepare_cached(
                "SELECT profile, key, sha256, strategy, created FROM provisioning ORDER BY profile",
            )?
            .query_map([], |row| {
                let strategy: String = row.get(3)?;
                Ok(Provisioning {
                    profile: parsed(row, 0)?,
                    key: row.get(1)?,
                    sha256: hash(row, 2)?,
                    strategy: match strategy.as_str() {
                        "new" => ProvisioningStrategy::New,
                        "known" => ProvisioningStrategy::Known,
                        _ => return Err(unreadable(3, "a strategy is new or known".into())),
                    },
                    created: Timestamp::from_ms(row.get(4)?),
                })
            })?
            .collect()
        })
    }

    /// Every access token, revoked ones too, in the order in which they were made.
    pub fn access_tokens(&self) -> Result<Vec<AccessToken>, LedgerError> {
        self.read(|c| {
            let mut departments: HashMap<TokenHash, Vec<String>> = HashMap::new();
            let mut of_tokens = c.prepare_cached(
                "SELECT sha256, department FROM access_token_departments ORDER BY sha256, department",
            )?;
            let mut rows = of_tokens.query([])?;
            while let Some(row) = rows.next()? {
                departments.entry(hash(row, 0)?).or_default().push(row.get(1)?);
            }
            c.prepare_cached(
                "SELECT t.name, t.sha256, t.role, t.division, t.created, t.revoked, e.ends
                 FROM access_tokens t LEFT JOIN access_token_ends e USING (sha256) ORDER BY t.position, t.sha256",
            )?
            .query_map([], |row| {
                let division: Option<String> = row.get(3)?;
                let sha256 = hash(row, 1)?;
                Ok(AccessToken {
                    name: row.get(0)?,
                    sha256,
                    departments: departments.remove(&sha256).unwrap_or_default(),
                    role: parsed(row, 2)?,
                    division: division.map(|_| parsed(row, 3)).transpose()?,
                    created: Timestamp::from_ms(row.get(4)?),
                    revoked: row.get::<_, Option<i64>>(5)?.map(Timestamp::from_ms),
                    expires: row.get::<_, Option<i64>>(6)?.map(Timestamp::from_ms),
                })
            })?
            .collect()
        })
    }

    /// Every account, by id.
    pub fn accounts(&self) -> Result<Vec<super::Held>, LedgerError> {
        self.read(super::accounts::all)
    }

    /// What is known of a person, and since when.
    pub fn person(&self, pseudonym: &Pseudonym) -> Result<Option<PersonSince>, LedgerError> {
        self.read(|c| super::persons::find(c, pseudonym))
    }

    /// Persons behind a pseudonym, in the order of pseudonyms, at most `limit`.
    pub fn persons(&self, after: Option<&Pseudonym>, limit: usize) -> Result<Vec<KeptPerson>, LedgerError> {
        self.read(|c| super::persons::page(c, after, limit))
    }

    /// How many persons are known, and how many of them are in clear or under keys before this one.
    pub fn person_counts(&self, key: u16) -> Result<(u64, u64), LedgerError> {
        self.read(|c| super::persons::counts(c, key))
    }

    /// The person who was sealed last, or where none is sealed, who came last.
    pub fn newest_person(&self) -> Result<Option<KeptPerson>, LedgerError> {
        self.read(super::persons::newest)
    }

    /// Persons whom somebody stated while they were another's, behind a journal position, in order, at most `limit`.
    pub fn stated_persons(&self, after: u64, limit: usize) -> Result<Vec<StatedPerson>, LedgerError> {
        self.read(|c| super::persons::stated(c, after, limit))
    }

    /// Acts by which persons were resolved, behind a journal position, in order, at most `limit`.
    pub fn resolutions(&self, after: u64, limit: usize) -> Result<Vec<LedgerAct>, LedgerError> {
        self.read(|c| {
            c.prepare_cached(
                "SELECT position, json FROM acts WHERE position > ?1 AND json LIKE '%\"verb\":\"resolve_person\"%'
                 ORDER BY position LIMIT ?2",
            )?
            .query_map(params![signed(after), limit as i64], |row| {
                Ok(LedgerAct {
                    position: unsigned(row.get(0)?),
                    act: json(row, 1)?,
                })
            })?
            .collect()
        })
    }

    /// Position and bytes of a named snapshot.
    pub fn snapshot(&self, name: &str) -> Result<Option<(u64, Vec<u8>)>, LedgerError> {
        self.read(|c| {
            c.prepare_cached("SELECT position, bytes FROM snapshots WHERE name = ?1")?
                .query_row([name], |row| Ok((unsigned(row.get(0)?), row.get(1)?)))
                .optional()
        })
    }

    fn read<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, LedgerError> {
        let idle = || self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle().pop();
        let connection = match kept {
            Some(connection) => connection,
            None => sqlite::open_to_read(&self.pool.path)?,
        };
        let answer = query(&connection).map_err(|source| sqlite::error(&self.pool.path, "read", source))?;
        let mut idle = idle();
        if idle.len() < N_KEPT {
            idle.push(connection);
        }
        Ok(answer)
    }
}

fn transition(row: &Row<'_>) -> rusqlite::Result<LedgerTransition> {
    Ok(LedgerTransition {
        seq: unsigned(row.get(0)?),
        transition: json(row, 1)?,
    })
}

pub(super) fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    serde_json::from_str(row.get_ref(column)?.as_str()?).map_err(|e| unreadable(column, e.into()))
}

pub(super) fn parsed<T: std::str::FromStr>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T::Err: std::fmt::Display,
{
    let text = row.get_ref(column)?.as_str()?;
    text.parse()
        .map_err(|e: T::Err| unreadable(column, e.to_string().into()))
}

fn hash(row: &Row<'_>, column: usize) -> rusqlite::Result<TokenHash> {
    let bytes = row.get_ref(column)?.as_blob()?;
    TokenHash::from_slice(bytes).ok_or_else(|| unreadable(column, "a hash has 32 bytes".into()))
}

fn unreadable(column: usize, source: Box<dyn std::error::Error + Send + Sync>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, source)
}
