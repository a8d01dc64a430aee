//! Persons by pseudonym. They stand here and not in the register, which GIS programs open.

use onemap_model::record::Register as Change;
use onemap_model::{Person, Pseudonym, SealedPerson, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::reader::json;
use crate::sqlite::{signed, unsigned};

/// Came after the first version: made at every open.
pub(super) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS persons (
    pseudonym TEXT PRIMARY KEY, json TEXT NOT NULL, at INTEGER NOT NULL, position INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS persons_stated (
    pseudonym TEXT NOT NULL, json TEXT NOT NULL, at INTEGER NOT NULL, position INTEGER NOT NULL, by_whom TEXT NOT NULL,
    PRIMARY KEY (pseudonym, position)) WITHOUT ROWID;
";

/// A person whom somebody stated while it was another's.
#[derive(Clone, Debug, PartialEq)]
pub struct StatedPerson {
    /// Position of the record.
    pub position: u64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// What was stated, as it was sealed.
    pub person: SealedPerson,
}

/// A person as a record has it.
#[derive(Clone, Debug, PartialEq)]
pub enum KeptPerson {
    /// Sealed.
    Sealed(SealedPerson),
    /// In clear: of a journal of before.
    Clear(Person),
}

impl KeptPerson {
    /// The number of the key; 0 for what is in clear.
    pub fn key(&self) -> u16 {
        match self {
            Self::Sealed(sealed) => sealed.key,
            Self::Clear(_) => 0,
        }
    }
    /// What stands for the number.
    pub fn pseudonym(&self) -> Pseudonym {
        match self {
            Self::Sealed(sealed) => sealed.pseudonym,
            Self::Clear(person) => person.pseudonym,
        }
    }
}

/// A person with the time of what is known.
pub type PersonSince = (KeptPerson, Timestamp);

/// Notes a person, if the change is one. What is carried over from a former pseudonym keeps the time of what is known,
/// and counts only where that is still there.
pub(super) fn put(tx: &Connection, position: u64, at: Timestamp, change: &Change) -> rusqlite::Result<()> {
    if let Change::PersonStated {
        person,
        by,
        is_anothers: 1..,
    } = change
    {
        // As much work as with one's own, so that the time does not tell them apart.
        let json = serde_json::to_string(person).expect("persons have text keys only");
        return tx
            .prepare_cached(
                "INSERT OR REPLACE INTO persons_stated (pseudonym, json, at, position, by_whom) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                person.pseudonym.to_string(),
                json,
                at.ms(),
                signed(position),
                by
            ])
            .map(|_| ());
    }
    let (pseudonym, kept, at) = match change {
        Change::Person { person } => (person.pseudonym, serde_json::to_string(person), at),
        Change::PersonSealed { person } | Change::PersonStated { person, .. } => {
            let mut carried = None;
            for former in &person.former {
                let gone: Option<i64> = tx
                    .prepare_cached("DELETE FROM persons WHERE pseudonym = ?1 RETURNING at")?
                    .query_row([former.to_string()], |row| row.get(0))
                    .optional()?;
                carried = carried.or(gone);
            }
            let since = match (person.moved, carried) {
                (true, None) => return Ok(()),
                (true, Some(since)) => Timestamp::from_ms(since),
                (false, _) => at,
            };
            (person.pseudonym, serde_json::to_string(person), since)
        }
        _ => return Ok(()),
    };
    tx.prepare_cached(
        "INSERT OR REPLACE INTO persons (pseudonym, json, at, position) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![
        pseudonym.to_string(),
        kept.expect("persons have text keys only"),
        at.ms(),
        signed(position)
    ])
    .map(|_| ())
}

/// What is known of a person, and since when.
pub(super) fn find(connection: &Connection, pseudonym: &Pseudonym) -> rusqlite::Result<Option<PersonSince>> {
    connection
        .prepare_cached("SELECT json, at FROM persons WHERE pseudonym = ?1")?
        .query_row([pseudonym.to_string()], |row| {
            Ok((kept(row, 0)?, Timestamp::from_ms(row.get(1)?)))
        })
        .optional()
}

/// Those behind a pseudonym, in the order of pseudonyms, at most `limit`.
pub(super) fn page(
    connection: &Connection,
    after: Option<&Pseudonym>,
    limit: usize,
) -> rusqlite::Result<Vec<KeptPerson>> {
    let after = after.map(Pseudonym::to_string).unwrap_or_default();
    connection
        .prepare_cached("SELECT json FROM persons WHERE pseudonym > ?1 ORDER BY pseudonym LIMIT ?2")?
        .query_map(params![after, limit as i64], |row| kept(row, 0))?
        .collect()
}

/// Those who were stated while they were another's, behind a position, in order, at most `limit`.
pub(super) fn stated(
    connection: &Connection,
    after: u64,
    limit: usize,
) -> rusqlite::Result<Vec<StatedPerson>> {
    connection
        .prepare_cached(
            "SELECT position, at, by_whom, json FROM persons_stated WHERE position > ?1 ORDER BY position LIMIT ?2",
        )?
        .query_map(params![signed(after), limit as i64], |row| {
            Ok(StatedPerson {
                position: unsigned(row.get(0)?),
                at: Timestamp::from_ms(row.get(1)?),
                by: row.get(2)?,
                person: json(row, 3)?,
            })
        })?
        .collect()
}

/// How many there are, and how many of them stand under keys before this one or in clear.
pub(super) fn counts(connection: &Connection, key: u16) -> rusqlite::Result<(u64, u64)> {
    connection
        .prepare_cached(
            "SELECT count(*), count(*) FILTER (WHERE coalesce(json ->> 'key', 0) < ?1) FROM persons",
        )?
        .query_row([key], |row| Ok((unsigned(row.get(0)?), unsigned(row.get(1)?))))
}

/// The newest of those that are sealed, or of those in clear where none is.
pub(super) fn newest(connection: &Connection) -> rusqlite::Result<Option<KeptPerson>> {
    connection
        .prepare_cached("SELECT json FROM persons ORDER BY json ->> 'sealed' IS NULL, position DESC LIMIT 1")?
        .query_row([], |row| kept(row, 0))
        .optional()
}

fn kept(row: &Row<'_>, column: usize) -> rusqlite::Result<KeptPerson> {
    match json(row, column) {
        Ok(sealed) => Ok(KeptPerson::Sealed(sealed)),
        Err(_) => json(row, column).map(KeptPerson::Clear),
    }
}
