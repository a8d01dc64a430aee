//! What moving devices did at fences: written with the batch that they follow from, read by pages.

use onemap_model::{DivisionCode, FenceEdge, FenceEvent, Position, Timestamp};
use rusqlite::{Connection, Row, ToSql, params};
use sha2::{Digest, Sha256};

use super::reader::parsed;
use crate::sqlite::{signed, unsigned};

/// Made at every open, so that a ledger of before gains them.
pub(super) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS fence_events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE, kind TEXT NOT NULL, fence TEXT NOT NULL,
    device TEXT NOT NULL, sequence INTEGER NOT NULL, at INTEGER NOT NULL, lon REAL NOT NULL, lat REAL NOT NULL,
    received INTEGER NOT NULL, position INTEGER NOT NULL, division TEXT, device_division TEXT);
CREATE INDEX IF NOT EXISTS fence_events_fence ON fence_events (fence, seq);
CREATE INDEX IF NOT EXISTS fence_events_device ON fence_events (device, seq);
CREATE INDEX IF NOT EXISTS fence_events_received ON fence_events (received);
";

const COLUMNS: &str = "seq, hex(id), kind, fence, device, sequence, at, lon, lat, received, position, division, \
                       device_division";

/// Which events at fences to read; an absent part takes all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FenceEventFilter {
    /// Only at this fence.
    pub fence: Option<String>,
    /// Only of this device.
    pub device: Option<String>,
    /// Only of this kind.
    pub kind: Option<FenceEdge>,
    /// Only sighted at or after this time.
    pub from: Option<Timestamp>,
    /// Only sighted before this time.
    pub to: Option<Timestamp>,
    /// Only where fence and device both lay in this division or inside it.
    pub scope: Option<DivisionCode>,
}

/// An event with its number in the ledger, which rises in the order in which events came about.
#[derive(Clone, Debug, PartialEq)]
pub struct LedgerFenceEvent {
    /// The number; it belongs to this ledger.
    pub seq: u64,
    /// The event.
    pub event: FenceEvent,
}

/// Writes an event; one whose id is there changes nothing.
pub(super) fn put(tx: &Connection, event: &FenceEvent) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT OR IGNORE INTO fence_events (id, kind, fence, device, sequence, at, lon, lat, received, position,
             division, device_division)
         VALUES (unhex(?1), ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?
    .execute(params![
        event.id.to_string(),
        event.kind.name(),
        &*event.fence,
        event.device.as_str(),
        signed(event.sequence),
        event.at.ms(),
        event.place.lon(),
        event.place.lat(),
        event.received_at.ms(),
        signed(event.position),
        event.division.as_ref().map(DivisionCode::as_str),
        event.device_division.as_ref().map(DivisionCode::as_str),
    ])?;
    Ok(())
}

/// Removes events whose sighting arrived before a time.
pub(super) fn retain(tx: &Connection, before: Timestamp) -> rusqlite::Result<u64> {
    let n = tx.execute("DELETE FROM fence_events WHERE received < ?1", [before.ms()])?;
    Ok(n as u64)
}

/// Reads events newest first, those with smaller numbers than `before`.
pub(super) fn page(
    connection: &Connection,
    filter: &FenceEventFilter,
    before: Option<u64>,
    limit: usize,
) -> rusqlite::Result<Vec<LedgerFenceEvent>> {
    let before = before.map_or(i64::MAX, signed);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let kind = filter.kind.map(FenceEdge::name);
    let (from, to) = (filter.from.map(Timestamp::ms), filter.to.map(Timestamp::ms));
    let scope = filter.scope.as_ref().map(DivisionCode::prefix);
    let mut sql = format!("SELECT {COLUMNS} FROM fence_events WHERE seq < ?1");
    let mut values: Vec<&dyn ToSql> = vec![&before];
    let parts: [(&str, Option<&dyn ToSql>); 7] = [
        ("fence = ?", filter.fence.as_ref().map(|v| v as &dyn ToSql)),
        ("device = ?", filter.device.as_ref().map(|v| v as &dyn ToSql)),
        ("kind = ?", kind.as_ref().map(|v| v as &dyn ToSql)),
        ("at >= ?", from.as_ref().map(|v| v as &dyn ToSql)),
        ("at < ?", to.as_ref().map(|v| v as &dyn ToSql)),
        // A division's code begins with the digits of the one around it.
        (
            "instr(coalesce(division, ''), ?) = 1",
            scope.as_ref().map(|v| v as &dyn ToSql),
        ),
        (
            "instr(coalesce(device_division, ''), ?) = 1",
            scope.as_ref().map(|v| v as &dyn ToSql),
        ),
    ];
    for (condition, value) in parts {
        if let Some(value) = value {
            values.push(value);
            let own = format!("?{}", values.len());
            sql.push_str(&format!(" AND {}", condition.replace('?', &own)));
        }
    }
    values.push(&limit);
    sql.push_str(&format!(" ORDER BY seq DESC LIMIT ?{}", values.len()));
    connection
        .prepare_cached(&sql)?
        .query_map(values.as_slice(), read)?
        .collect()
}

/// A digest of all events, whatever their numbers: they come in the order of their devices and sequences.
pub(super) fn digest(connection: &Connection) -> rusqlite::Result<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut all = connection.prepare(&format!(
        "SELECT {COLUMNS} FROM fence_events ORDER BY device, sequence, id"
    ))?;
    for row in all.query_map([], read)? {
        let event = row?.event;
        hash.update(serde_json::to_vec(&event).expect("events have text keys only"));
        hash.update([0]);
    }
    Ok(hash.finalize().into())
}

fn read(row: &Row<'_>) -> rusqlite::Result<LedgerFenceEvent> {
    let division = |i: usize| -> rusqlite::Result<Option<DivisionCode>> {
        let text: Option<String> = row.get(i)?;
        text.map(|text| DivisionCode::new(&text).map_err(|e| wrong(i, e)))
            .transpose()
    };
    Ok(LedgerFenceEvent {
        seq: unsigned(row.get(0)?),
        event: FenceEvent {
            id: parsed(row, 1)?,
            kind: parsed(row, 2)?,
            fence: row.get::<_, String>(3)?.into(),
            device: onemap_model::DeviceId::new(&row.get::<_, String>(4)?).map_err(|e| wrong(4, e))?,
            sequence: unsigned(row.get(5)?),
            at: Timestamp::from_ms(row.get(6)?),
            place: Position::new(row.get(7)?, row.get(8)?, None).map_err(|e| wrong(7, e))?,
            received_at: Timestamp::from_ms(row.get(9)?),
            position: unsigned(row.get(10)?),
            division: division(11)?,
            device_division: division(12)?,
        },
    })
}

fn wrong(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
}
