//! Refused bytes: written, kept within limits, read by pages.

use onemap_model::record::Source;
use onemap_model::{Refusal, Timestamp};
use rusqlite::{Connection, Row, ToSql, params};

use super::schema::{add_meta, meta};
use super::{LedgerConfig, QuarantineEntry};
use crate::sqlite::{signed, unsigned};

const ROWS: &str = "quarantine_rows";
const BYTES: &str = "quarantine_bytes";
const EVICTED_ROWS: &str = "quarantine_evicted_rows";
const EVICTED_BYTES: &str = "quarantine_evicted_bytes";

/// An entry with its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Its number, rising with the journal.
    pub id: u64,
    /// The entry.
    pub entry: QuarantineEntry,
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
    let mut sql = String::from("SELECT * FROM quarantine WHERE id < ?1");
    let mut values: Vec<&dyn ToSql> = vec![&before];
    let parts: [(&str, Option<&dyn ToSql>); 4] = [
        ("reason =", reason.as_ref().map(|v| v as &dyn ToSql)),
        ("device =", filter.device.as_ref().map(|v| v as &dyn ToSql)),
        ("at >=", from.as_ref().map(|v| v as &dyn ToSql)),
        ("at <", to.as_ref().map(|v| v as &dyn ToSql)),
    ];
    for (condition, value) in parts {
        if let Some(value) = value {
            values.push(value);
            sql.push_str(&format!(" AND {condition} ?{}", values.len()));
        }
    }
    values.push(&limit);
    sql.push_str(&format!(" ORDER BY id DESC LIMIT ?{}", values.len()));
    connection
        .prepare_cached(&sql)?
        .query_map(values.as_slice(), entry)?
        .collect()
}

/// Reads one entry.
pub(crate) fn one(connection: &Connection, id: u64) -> rusqlite::Result<Option<Quarantined>> {
    connection
        .prepare_cached("SELECT * FROM quarantine WHERE id = ?1")?
        .query_map([signed(id)], entry)?
        .next()
        .transpose()
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Quarantined> {
    let (reason, source): (String, String) = (row.get("reason")?, row.get("source")?);
    let bad =
        |what: String| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, what.into());
    Ok(Quarantined {
        id: unsigned(row.get("id")?),
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
