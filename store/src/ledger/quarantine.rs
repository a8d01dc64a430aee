//! Refused bytes: written, kept within limits, read by pages.

use onemap_model::record::Source;
use onemap_model::{Refusal, Timestamp};
use rusqlite::{Connection, Row, ToSql, params};
use serde::{Deserialize, Serialize};

use super::schema::{add_meta, meta};
use super::{LedgerConfig, QuarantineEntry};
use crate::sqlite::{signed, unsigned};

const ROWS: &str = "quarantine_rows";
const BYTES: &str = "quarantine_bytes";
const EVICTED_ROWS: &str = "quarantine_evicted_rows";
const EVICTED_BYTES: &str = "quarantine_evicted_bytes";

/// What became of refused frames since, by the position at which they came and the refusal's number in
/// it. Made at every opening when it is not there: ledgers of before have none.
pub(crate) const STATES: &str = "
CREATE TABLE IF NOT EXISTS quarantine_states (
    position INTEGER NOT NULL, ordinal INTEGER NOT NULL, state TEXT NOT NULL, at INTEGER NOT NULL,
    actor TEXT NOT NULL, note TEXT NOT NULL, readings INTEGER NOT NULL, reason TEXT, detail TEXT NOT NULL,
    record INTEGER NOT NULL, PRIMARY KEY (position, ordinal)) WITHOUT ROWID;
";

/// An entry with its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Its number, rising with the journal.
    pub id: u64,
    /// The entry.
    pub entry: QuarantineEntry,
    /// What became of it since; `None` while it is open.
    pub settlement: Option<Settlement>,
}

/// Where an entry is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuarantineState {
    /// Nobody did anything about it.
    Open,
    /// It was read again and its reason is gone.
    Readmitted,
    /// It was read again and is still refused.
    Refused,
    /// Someone is done with it.
    Discarded,
}

impl QuarantineState {
    /// Stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Readmitted => "readmitted",
            Self::Refused => "refused",
            Self::Discarded => "discarded",
        }
    }
    fn named(name: &str) -> Option<Self> {
        [Self::Open, Self::Readmitted, Self::Refused, Self::Discarded]
            .into_iter()
            .find(|state| state.name() == name)
    }
}

/// What became of one entry, by whom and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// Where it is now; never open.
    pub state: QuarantineState,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub actor: String,
    /// Why.
    pub note: String,
    /// Readings that its frame gave and history had not.
    pub readings: u64,
    /// Still refused: why.
    pub reason: Option<Refusal>,
    /// Still refused: what exactly.
    pub detail: String,
}

/// Which entries of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one with this number.
    Ordinal(u32),
    /// Those that hold exactly these bytes of this device on this topic: a frame may have been refused for
    /// several devices, and a body of many lines in several entries.
    Of {
        /// The device.
        device: String,
        /// The topic.
        topic: String,
        /// What was read again.
        payload: Vec<u8>,
    },
}

/// What a record did about entries in the quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Journal position of the record.
    pub record: u64,
    /// Journal position at which the frame came first.
    pub origin: u64,
    /// Which entries of the frame.
    pub which: Which,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub actor: String,
    /// Why.
    pub note: String,
    /// What.
    pub became: Became,
}

/// What became of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Became {
    /// Someone is done with it.
    Discarded,
    /// It was read again.
    Read {
        /// Readings that history had not.
        readings: u64,
        /// What is still refused: why, and what exactly.
        refused: Vec<(Refusal, String)>,
    },
}

/// How many entries of one reason arrived on one Beijing day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantineCount {
    /// Why.
    pub reason: Refusal,
    /// Days since 1970-01-01.
    pub day: i64,
    /// Entries.
    pub n: u64,
    /// Of these, how many are open.
    pub n_open: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
}

/// Which entries to read; an absent part takes all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuarantineFilter {
    /// Only this reason.
    pub reason: Option<Refusal>,
    /// Only of this device; the empty text is nobody's.
    pub device: Option<String>,
    /// Only entries that arrived at or after this time.
    pub from: Option<Timestamp>,
    /// Only entries that arrived before this time.
    pub to: Option<Timestamp>,
    /// Only through this door.
    pub source: Option<Source>,
    /// Only of this topic, path or file name.
    pub topic: Option<String>,
    /// Only where this text stands in the bytes, the topic or what was wrong.
    pub text: Option<String>,
    /// Only in this state.
    pub state: Option<QuarantineState>,
    /// Only of the record at this position of the journal.
    pub position: Option<u64>,
}

/// How much the quarantine holds, and how much went because of the size limits since the ledger began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuarantineTotals {
    /// Entries held.
    pub rows: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Entries that went.
    pub evicted_rows: u64,
    /// Bytes of their payloads.
    pub evicted_bytes: u64,
}

/// Writes new entries and then lets the oldest go until the limits hold; gives how many went.
pub(crate) fn put<'a>(
    tx: &Connection,
    entries: impl Iterator<Item = &'a QuarantineEntry>,
    limits: &LedgerConfig,
) -> rusqlite::Result<u64> {
    let (mut n_rows, mut n_bytes) = (0, 0);
    for entry in entries {
        let n = tx
            .prepare_cached(
                "INSERT OR IGNORE INTO quarantine
                     (position, ordinal, at, reason, source, device, peer, topic, detail, payload)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?
            .execute(params![
                signed(entry.position),
                entry.ordinal,
                entry.at.ms(),
                entry.reason.label(),
                entry.source.name(),
                entry.device,
                entry.peer,
                entry.topic,
                entry.detail,
                entry.payload,
            ])?;
        n_rows += n as i64;
        n_bytes += if n == 1 { entry.payload.len() as i64 } else { 0 };
    }
    if n_rows > 0 {
        add_meta(tx, ROWS, n_rows)?;
        add_meta(tx, BYTES, n_bytes)?;
    }
    evict(tx, limits)
}

fn evict(tx: &Connection, limits: &LedgerConfig) -> rusqlite::Result<u64> {
    let (max_rows, max_bytes) = (signed(limits.quarantine_rows), signed(limits.quarantine_bytes));
    let (mut rows, mut bytes) = (meta(tx, ROWS)?, meta(tx, BYTES)?);
    let (mut n_rows, mut n_bytes) = (0, 0);
    if rows > max_rows || bytes > max_bytes {
        let mut oldest = tx.prepare_cached("SELECT id, length(payload) FROM quarantine ORDER BY id")?;
        let mut oldest = oldest.query([])?;
        let mut last = None;
        while rows > max_rows || bytes > max_bytes {
            let Some(row) = oldest.next()? else { break };
            let length: i64 = row.get(1)?;
            last = Some(row.get::<_, i64>(0)?);
            (rows, bytes) = (rows - 1, bytes - length);
            (n_rows, n_bytes) = (n_rows + 1, n_bytes + length);
        }
        if let Some(last) = last {
            tx.prepare_cached("DELETE FROM quarantine WHERE id <= ?1")?
                .execute([last])?;
            for (key, by) in [
                (ROWS, -n_rows),
                (BYTES, -n_bytes),
                (EVICTED_ROWS, n_rows),
                (EVICTED_BYTES, n_bytes),
            ] {
                add_meta(tx, key, by)?;
            }
        }
    }
    Ok(unsigned(n_rows))
}

/// Removes entries that arrived before a time; gives how many.
pub(crate) fn retain(tx: &Connection, before: Timestamp) -> rusqlite::Result<u64> {
    let sum = "SELECT count(*), coalesce(sum(length(payload)), 0) FROM quarantine WHERE at < ?1";
    let (rows, bytes): (i64, i64) = tx.query_row(sum, [before.ms()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if rows > 0 {
        tx.execute("DELETE FROM quarantine WHERE at < ?1", [before.ms()])?;
        tx.execute(
            "DELETE FROM quarantine_states WHERE position NOT IN (SELECT position FROM quarantine)",
            [],
        )?;
        add_meta(tx, ROWS, -rows)?;
        add_meta(tx, BYTES, -bytes)?;
    }
    Ok(unsigned(rows))
}

/// Reads entries newest first, those with smaller numbers than `before`.
pub(crate) fn page(
    connection: &Connection,
    filter: &QuarantineFilter,
    before: Option<u64>,
    limit: usize,
) -> rusqlite::Result<Vec<Quarantined>> {
    let before = before.map_or(i64::MAX, signed);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let reason = filter.reason.map(Refusal::label);
    let (from, to) = (filter.from.map(Timestamp::ms), filter.to.map(Timestamp::ms));
    let source = filter.source.map(Source::name);
    let state = filter.state.map(QuarantineState::name);
    let mut sql = format!("{SELECT} WHERE q.id < ?1");
    let mut values: Vec<&dyn ToSql> = vec![&before];
    let position = filter.position.map(signed);
    let parts: [(&str, Option<&dyn ToSql>); 9] = [
        ("q.position = ?", position.as_ref().map(|v| v as &dyn ToSql)),
        ("q.reason = ?", reason.as_ref().map(|v| v as &dyn ToSql)),
        ("q.device = ?", filter.device.as_ref().map(|v| v as &dyn ToSql)),
        ("q.at >= ?", from.as_ref().map(|v| v as &dyn ToSql)),
        ("q.at < ?", to.as_ref().map(|v| v as &dyn ToSql)),
        ("q.source = ?", source.as_ref().map(|v| v as &dyn ToSql)),
        ("q.topic = ?", filter.topic.as_ref().map(|v| v as &dyn ToSql)),
        (
            "(instr(q.payload, CAST(? AS BLOB)) > 0 OR instr(q.detail, ?) > 0 OR instr(q.topic, ?) > 0)",
            filter.text.as_ref().map(|v| v as &dyn ToSql),
        ),
        (
            "coalesce(s.state, 'open') = ?",
            state.as_ref().map(|v| v as &dyn ToSql),
        ),
    ];
    for (condition, value) in parts {
        if let Some(value) = value {
            values.push(value);
            let place = format!("?{}", values.len());
            sql.push_str(&format!(" AND {}", condition.replace('?', &place)));
        }
    }
    values.push(&limit);
    sql.push_str(&format!(" ORDER BY q.id DESC LIMIT ?{}", values.len()));
    connection
        .prepare_cached(&sql)?
        .query_map(values.as_slice(), entry)?
        .collect()
}

/// Reads one entry.
pub(crate) fn one(connection: &Connection, id: u64) -> rusqlite::Result<Option<Quarantined>> {
    connection
        .prepare_cached(&format!("{SELECT} WHERE q.id = ?1"))?
        .query_map([signed(id)], entry)?
        .next()
        .transpose()
}

const SELECT: &str = "SELECT q.*, s.state, s.at AS settled_at, s.actor, s.note, s.readings, \
    s.reason AS new_reason, s.detail AS new_detail \
    FROM quarantine q LEFT JOIN quarantine_states s ON s.position = q.position AND s.ordinal = q.ordinal";

/// How many entries there are by reason and Beijing day, newest day first.
pub(crate) fn counts(
    connection: &Connection,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
) -> rusqlite::Result<Vec<QuarantineCount>> {
    let (from, to) = (
        from.map_or(i64::MIN, Timestamp::ms),
        to.map_or(i64::MAX, Timestamp::ms),
    );
    connection
        .prepare_cached(
            "SELECT q.reason, (q.at + 28800000) / 86400000 AS day, count(*), sum(length(q.payload)),
                    sum(s.state IS NULL)
             FROM quarantine q
             LEFT JOIN quarantine_states s ON s.position = q.position AND s.ordinal = q.ordinal
             WHERE q.at >= ?1 AND q.at < ?2 GROUP BY q.reason, day ORDER BY day DESC, q.reason",
        )?
        .query_map([from, to], |row| {
            let reason: String = row.get(0)?;
            Ok(QuarantineCount {
                reason: Refusal::try_from(reason).map_err(unreadable)?,
                day: row.get(1)?,
                n: unsigned(row.get(2)?),
                bytes: unsigned(row.get(3)?),
                n_open: unsigned(row.get(4)?),
            })
        })?
        .collect()
}

/// Writes what became of the entries of one frame. What a later record says stands over what an earlier
/// one said, and an entry that is readmitted stays so: reading it once more gives nothing new.
pub(crate) fn settle(tx: &Connection, settled: &Settled) -> rusqlite::Result<()> {
    let (ordinal, device, topic, payload) = match &settled.which {
        Which::Ordinal(ordinal) => (Some(*ordinal), None, None, None),
        Which::Of {
            device,
            topic,
            payload,
        } => (None, Some(device), Some(topic), Some(payload)),
    };
    let entries: Vec<(u32, String)> = tx
        .prepare_cached(
            "SELECT ordinal, reason FROM quarantine WHERE position = ?1 AND ordinal = coalesce(?2, ordinal)
             AND device = coalesce(?3, device) AND topic = coalesce(?4, topic)
             AND (?5 IS NULL OR (length(payload) = length(?5) AND payload = ?5))",
        )?
        .query_map(
            params![signed(settled.origin), ordinal, device, topic, payload],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?
        .collect::<rusqlite::Result<_>>()?;
    for (ordinal, reason) in entries {
        let (state, readings, refusal) = match &settled.became {
            Became::Discarded => (QuarantineState::Discarded, 0, None),
            Became::Read { readings, refused } => {
                let same = refused.iter().find(|(refusal, _)| refusal.label() == reason);
                // Nothing came of it, so whatever is wrong now is wrong with this entry too.
                let other = if *readings == 0 { refused.first() } else { None };
                match same.or(other) {
                    Some(refusal) => (QuarantineState::Refused, *readings, Some(refusal)),
                    None => (QuarantineState::Readmitted, *readings, None),
                }
            }
        };
        tx.prepare_cached(
            "INSERT INTO quarantine_states
                 (position, ordinal, state, at, actor, note, readings, reason, detail, record)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
             ON CONFLICT (position, ordinal) DO UPDATE SET
                 state = ?3, at = ?4, actor = ?5, note = ?6, readings = ?7, reason = ?8, detail = ?9, record = ?10
             WHERE record < ?10 AND state <> 'readmitted'",
        )?
        .execute(params![
            signed(settled.origin),
            ordinal,
            state.name(),
            settled.at.ms(),
            settled.actor,
            settled.note,
            signed(readings),
            refusal.map(|(refusal, _)| refusal.label()),
            refusal.map_or("", |(_, detail)| detail.as_str()),
            signed(settled.record),
        ])?;
    }
    Ok(())
}

fn unreadable(what: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, what.into())
}

fn settlement(row: &Row<'_>) -> rusqlite::Result<Option<Settlement>> {
    let Some(state) = row.get::<_, Option<String>>("state")? else {
        return Ok(None);
    };
    let reason: Option<String> = row.get("new_reason")?;
    Ok(Some(Settlement {
        state: QuarantineState::named(&state)
            .ok_or_else(|| unreadable(format!("no state is called `{state}`")))?,
        at: Timestamp::from_ms(row.get("settled_at")?),
        actor: row.get("actor")?,
        note: row.get("note")?,
        readings: unsigned(row.get("readings")?),
        reason: reason.map(Refusal::try_from).transpose().map_err(unreadable)?,
        detail: row.get("new_detail")?,
    }))
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Quarantined> {
    let (reason, source): (String, String) = (row.get("reason")?, row.get("source")?);
    let bad = unreadable;
    Ok(Quarantined {
        id: unsigned(row.get("id")?),
        settlement: settlement(row)?,
        entry: QuarantineEntry {
            position: unsigned(row.get("position")?),
            ordinal: row.get("ordinal")?,
            at: Timestamp::from_ms(row.get("at")?),
            reason: Refusal::try_from(reason).map_err(bad)?,
            source: serde_json::from_value::<Source>(source.as_str().into())
                .map_err(|_| bad(format!("no source is called `{source}`")))?,
            device: row.get("device")?,
            peer: row.get("peer")?,
            topic: row.get("topic")?,
            detail: row.get("detail")?,
            payload: row.get("payload")?,
        },
    })
}

pub(crate) fn totals(connection: &Connection) -> rusqlite::Result<QuarantineTotals> {
    let total = |key| meta(connection, key).map(unsigned);
    Ok(QuarantineTotals {
        rows: total(ROWS)?,
        bytes: total(BYTES)?,
        evicted_rows: total(EVICTED_ROWS)?,
        evicted_bytes: total(EVICTED_BYTES)?,
    })
}
