//! Attributes as rows of the ledger.

use onemap_model::{AttributeScope, Timestamp};
use rusqlite::{Connection, Row, params};

use crate::attributes::AttributeChange;
use crate::sqlite::{signed, unsigned};

/// Came after the first version: made at every open.
pub(super) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS attributes (
    device TEXT NOT NULL, scope TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
    at INTEGER NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (device, scope, key)) WITHOUT ROWID;
";

pub(super) fn put(tx: &Connection, change: &AttributeChange) -> rusqlite::Result<()> {
    let (device, scope) = (change.device.as_str(), change.scope.name());
    match &change.value {
        Some(value) => tx
            .prepare_cached(
                "INSERT OR REPLACE INTO attributes (device, scope, key, value, at, position)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                device,
                scope,
                change.key,
                value.to_string(),
                change.at.ms(),
                signed(change.position)
            ])?,
        None => tx
            .prepare_cached("DELETE FROM attributes WHERE device = ?1 AND scope = ?2 AND key = ?3")?
            .execute(params![device, scope, change.key])?,
    };
    Ok(())
}

/// Every attribute.
pub(super) fn all(connection: &Connection) -> rusqlite::Result<Vec<AttributeChange>> {
    let bad = |i: usize, what: &str| {
        rusqlite::Error::FromSqlConversionFailure(i, rusqlite::types::Type::Text, what.into())
    };
    let read = |row: &Row<'_>| {
        let device: String = row.get(0)?;
        let scope: String = row.get(1)?;
        let value: String = row.get(3)?;
        Ok(AttributeChange {
            device: device.parse().map_err(|_| bad(0, "no device id"))?,
            scope: AttributeScope::named(&scope).ok_or_else(|| bad(1, "no scope"))?,
            key: row.get(2)?,
            value: Some(serde_json::from_str(&value).map_err(|_| bad(3, "no JSON"))?),
            at: Timestamp::from_ms(row.get(4)?),
            position: unsigned(row.get(5)?),
        })
    };
    connection
        .prepare_cached("SELECT device, scope, key, value, at, position FROM attributes")?
        .query_map([], read)?
        .collect()
}
