//! Acts about the values of a series or a place, found by these and the times they cover. What they say stands with the
//! acts.

use std::collections::BTreeSet;

use onemap_model::{Act, DeviceId, DustPlace, SeriesKey, Timestamp, Verb};
use rusqlite::{Connection, Row, params};

use super::reader::{LedgerAct, json, parsed};
use crate::sqlite::{signed, unsigned};

/// Came after the first version: made at every open.
pub(super) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS series_acts (
    position INTEGER PRIMARY KEY, kind TEXT NOT NULL, device TEXT NOT NULL, series TEXT NOT NULL,
    at INTEGER NOT NULL, from_ms INTEGER NOT NULL, to_ms INTEGER NOT NULL,
    withdrawn INTEGER, withdrawn_at INTEGER);
CREATE INDEX IF NOT EXISTS series_acts_series ON series_acts (series, from_ms);
CREATE INDEX IF NOT EXISTS series_acts_device ON series_acts (device, position);
";

/// What an act says about a series or a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeriesActKind {
    /// [`Verb::Review`].
    Review,
    /// [`Verb::Correct`].
    Correction,
    /// [`Verb::Dust`].
    Dust,
}

impl SeriesActKind {
    fn name(self) -> &'static str {
        match self {
            Self::Review => "review",
            Self::Correction => "correction",
            Self::Dust => "dust",
        }
    }
}

/// An act about a series.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesAct {
    /// Journal position.
    pub position: u64,
    /// A [`Verb::Review`], [`Verb::Correct`] or [`Verb::Dust`].
    pub act: Act,
    /// The act that withdrew it, if one did.
    pub withdrawn: Option<LedgerAct>,
}

impl SeriesAct {
    /// The series.
    pub fn series(&self) -> Option<&SeriesKey> {
        match &self.act.verb {
            Verb::Review(review) => Some(&review.series),
            Verb::Correct(correction) => Some(&correction.series),
            _ => None,
        }
    }
}

/// Which acts about series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SeriesActFilter {
    /// Of this kind.
    pub kind: Option<SeriesActKind>,
    /// Of this device.
    pub device: Option<String>,
    /// Of this series, as it is displayed.
    pub series: Option<String>,
    /// That cover something at or after this time.
    pub from: Option<Timestamp>,
    /// That cover something before this time.
    pub to: Option<Timestamp>,
}

/// Notes an act, if it is about a series.
pub(super) fn put(tx: &Connection, position: u64, act: &Act) -> rusqlite::Result<()> {
    let of_series = |series: &SeriesKey| (series.device.to_string(), series.to_string());
    let (kind, (device, series), from, to) = match &act.verb {
        Verb::Review(review) => {
            let place = of_series(&review.series);
            (SeriesActKind::Review, place, review.from, review.to)
        }
        Verb::Correct(correction) => {
            let place = of_series(&correction.series);
            (
                SeriesActKind::Correction,
                place,
                correction.from,
                correction.end(),
            )
        }
        Verb::Dust(dust) => {
            let device = match &dust.place {
                DustPlace::Device(device) => device.to_string(),
                DustPlace::Division(_) => String::new(),
            };
            (SeriesActKind::Dust, (device, String::new()), dust.from, dust.to)
        }
        Verb::WithdrawCorrection { correction, .. } => {
            return withdraw(tx, SeriesActKind::Correction, *correction, (position, act.at));
        }
        Verb::WithdrawDust { dust, .. } => {
            return withdraw(tx, SeriesActKind::Dust, *dust, (position, act.at));
        }
        _ => return Ok(()),
    };
    tx.prepare_cached(
        "INSERT OR IGNORE INTO series_acts (position, kind, device, series, at, from_ms, to_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        signed(position),
        kind.name(),
        device,
        series,
        act.at.ms(),
        from.ms(),
        to.ms(),
    ])?;
    Ok(())
}

fn withdraw(
    tx: &Connection,
    kind: SeriesActKind,
    position: u64,
    (by, at): (u64, Timestamp),
) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "UPDATE series_acts SET withdrawn = ?2, withdrawn_at = ?3
         WHERE position = ?1 AND kind = ?4 AND withdrawn IS NULL",
    )?
    .execute(params![signed(position), signed(by), at.ms(), kind.name()])?;
    Ok(())
}

const COLUMNS: &str = "SELECT s.position, a.json, s.withdrawn, b.json FROM series_acts s
    JOIN acts a ON a.position = s.position LEFT JOIN acts b ON b.position = s.withdrawn";

fn read(row: &Row<'_>) -> rusqlite::Result<SeriesAct> {
    let withdrawn: Option<i64> = row.get(2)?;
    Ok(SeriesAct {
        position: unsigned(row.get(0)?),
        act: json(row, 1)?,
        withdrawn: match withdrawn {
            Some(position) => Some(LedgerAct {
                position: unsigned(position),
                act: json(row, 3)?,
            }),
            None => None,
        },
    })
}

/// What holds of a series in a span, oldest act first; at most `limit`. With `known_at` as of then.
pub(super) fn of(
    connection: &Connection,
    series: &SeriesKey,
    (from, to): (Timestamp, Timestamp),
    known_at: Option<Timestamp>,
    limit: usize,
) -> rusqlite::Result<Vec<SeriesAct>> {
    connection
        .prepare_cached(&format!(
            "{COLUMNS} WHERE s.series = ?1 AND s.from_ms < ?3 AND s.to_ms > ?2 AND s.at <= ?4
             AND (s.withdrawn_at IS NULL OR s.withdrawn_at > ?4) ORDER BY s.position LIMIT ?5"
        ))?
        .query_map(
            params![
                series.to_string(),
                from.ms(),
                to.ms(),
                known_at.map_or(i64::MAX, Timestamp::ms),
                i64::try_from(limit).unwrap_or(i64::MAX),
            ],
            read,
        )?
        .collect()
}

/// As [`of`], as of a journal position: acts behind it say nothing yet.
pub(super) fn at(
    connection: &Connection,
    series: &SeriesKey,
    (from, to): (Timestamp, Timestamp),
    position: u64,
) -> rusqlite::Result<Vec<SeriesAct>> {
    connection
        .prepare_cached(&format!(
            "{COLUMNS} WHERE s.series = ?1 AND s.from_ms < ?3 AND s.to_ms > ?2 AND s.position <= ?4
             AND (s.withdrawn IS NULL OR s.withdrawn > ?4) ORDER BY s.position"
        ))?
        .query_map(
            params![series.to_string(), from.ms(), to.ms(), signed(position)],
            read,
        )?
        .collect()
}

/// Every device of whose series something is said.
pub(super) fn devices(connection: &Connection) -> rusqlite::Result<BTreeSet<DeviceId>> {
    connection
        .prepare_cached("SELECT DISTINCT device FROM series_acts WHERE series <> ''")?
        .query_map([], |row| parsed(row, 0))?
        .collect()
}

/// At most `limit` acts before a position, newest first.
pub(super) fn page(
    connection: &Connection,
    filter: &SeriesActFilter,
    before: Option<u64>,
    limit: usize,
) -> rusqlite::Result<Vec<SeriesAct>> {
    connection
        .prepare_cached(&format!(
            "{COLUMNS} WHERE s.position < ?1 AND (?2 IS NULL OR s.kind = ?2) AND (?3 IS NULL OR s.device = ?3)
             AND (?4 IS NULL OR s.series = ?4) AND s.to_ms > ?5 AND s.from_ms < ?6
             ORDER BY s.position DESC LIMIT ?7"
        ))?
        .query_map(
            params![
                before.map_or(i64::MAX, signed),
                filter.kind.map(SeriesActKind::name),
                filter.device,
                filter.series,
                filter.from.map_or(i64::MIN, Timestamp::ms),
                filter.to.map_or(i64::MAX, Timestamp::ms),
                i64::try_from(limit).unwrap_or(i64::MAX),
            ],
            read,
        )?
        .collect()
}
