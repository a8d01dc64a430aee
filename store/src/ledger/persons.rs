//! Persons by pseudonym. They stand here and not in the register, which GIS programs open.

use onemap_model::record::Register as Change;
use onemap_model::{Person, Pseudonym, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::reader::json;
use crate::sqlite::signed;

/// Came after the first version: made at every open.
pub(super) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS persons (
    pseudonym TEXT PRIMARY KEY, json TEXT NOT NULL, at INTEGER NOT NULL, position INTEGER NOT NULL) WITHOUT ROWID;
";

/// Notes a person, if the change is one.
pub(super) fn put(tx: &Connection, position: u64, at: Timestamp, change: &Change) -> rusqlite::Result<()> {
    let Change::Person { person } = change else {
        return Ok(());
    };
    tx.prepare_cached(
        "INSERT OR REPLACE INTO persons (pseudonym, json, at, position) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![
        person.pseudonym.to_string(),
        serde_json::to_string(person).expect("persons have text keys only"),
        at.ms(),
        signed(position)
    ])
    .map(|_| ())
}

/// What is known of a person, and since when.
pub(super) fn find(
    connection: &Connection,
    pseudonym: &Pseudonym,
) -> rusqlite::Result<Option<(Person, Timestamp)>> {
    connection
        .prepare_cached("SELECT json, at FROM persons WHERE pseudonym = ?1")?
        .query_row([pseudonym.to_string()], |row| {
            Ok((json(row, 0)?, Timestamp::from_ms(row.get(1)?)))
        })
        .optional()
}
