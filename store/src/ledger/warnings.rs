//! Messages of warnings as they were issued: they never change and never go.

use onemap_model::{DivisionCode, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::sqlite::{signed, unsigned};

/// Made at every open, so that a ledger of before gains it.
pub(super) const TABLE: &str = "
CREATE TABLE IF NOT EXISTS warning_messages (
    identifier TEXT NOT NULL PRIMARY KEY, position INTEGER NOT NULL UNIQUE, warning INTEGER NOT NULL, sent INTEGER NOT NULL,
    standing TEXT NOT NULL, division TEXT, department TEXT NOT NULL, document TEXT NOT NULL);
";

const COLUMNS: &str = "identifier, position, warning, sent, standing, division, department, document";

/// A message as it was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WarningMessage {
    /// Its name.
    pub identifier: String,
    /// Journal position of its approval.
    pub position: u64,
    /// Which warning it is of.
    pub warning: u64,
    /// When it was sent.
    pub sent: Timestamp,
    /// `actual`, `exercise` or `test`.
    pub standing: String,
    /// The division that the warning is of.
    pub division: Option<DivisionCode>,
    /// Its department, empty for none.
    pub department: String,
    /// The CAP document.
    pub document: String,
}

/// Writes a message; one whose name is there changes nothing.
pub(super) fn put(tx: &Connection, message: &WarningMessage) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT OR IGNORE INTO warning_messages (identifier, position, warning, sent, standing, division, department, document)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        message.identifier,
        signed(message.position),
        signed(message.warning),
        message.sent.ms(),
        message.standing,
        message.division.as_ref().map(DivisionCode::as_str),
        message.department,
        message.document,
    ])?;
    Ok(())
}

/// The message of a name.
pub(super) fn named(connection: &Connection, identifier: &str) -> rusqlite::Result<Option<WarningMessage>> {
    let sql = format!("SELECT {COLUMNS} FROM warning_messages WHERE identifier = ?1");
    connection
        .prepare_cached(&sql)?
        .query_row([identifier], read)
        .optional()
}

/// Messages before a journal position, newest first.
pub(super) fn page(
    connection: &Connection,
    before: Option<u64>,
    limit: usize,
) -> rusqlite::Result<Vec<WarningMessage>> {
    let sql =
        format!("SELECT {COLUMNS} FROM warning_messages WHERE position < ?1 ORDER BY position DESC LIMIT ?2");
    let before = before.map_or(i64::MAX, signed);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    connection
        .prepare_cached(&sql)?
        .query_map([before, limit], read)?
        .collect()
}

/// Messages sent in a span behind a journal position, oldest first. A message is sent when it is approved, so their order is
/// that of the journal.
pub(super) fn sent_in(
    connection: &Connection,
    (from, to): (Timestamp, Timestamp),
    after: u64,
    limit: usize,
) -> rusqlite::Result<Vec<WarningMessage>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM warning_messages WHERE position > ?1 AND sent >= ?2 AND sent < ?3 ORDER BY position LIMIT ?4"
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    connection
        .prepare_cached(&sql)?
        .query_map(params![signed(after), from.ms(), to.ms(), limit], read)?
        .collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<WarningMessage> {
    let division: Option<String> = row.get(5)?;
    Ok(WarningMessage {
        identifier: row.get(0)?,
        position: unsigned(row.get(1)?),
        warning: unsigned(row.get(2)?),
        sent: Timestamp::from_ms(row.get(3)?),
        standing: row.get(4)?,
        division: division.and_then(|code| DivisionCode::new(&code).ok()),
        department: row.get(6)?,
        document: row.get(7)?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_message_is_written_once_and_read_as_it_was() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(TABLE).unwrap();
        let message = |n: u64, document: &str| WarningMessage {
            identifier: format!("63010041600000_2026112308150{n}"),
            position: n,
            warning: 1,
            sent: Timestamp::from_ms(1_795_000_000_000),
            standing: "actual".to_owned(),
            division: DivisionCode::new("630102").ok(),
            department: "水务局".to_owned(),
            document: document.to_owned(),
        };
        let (first, second) = (message(2, "<a/>"), message(5, "<b/>"));
        put(&connection, &first).unwrap();
        put(&connection, &second).unwrap();
        // Another document under a name that is taken is none.
        put(&connection, &message(2, "<other/>")).unwrap();
        assert_eq!(
            named(&connection, &first.identifier).unwrap(),
            Some(first.clone())
        );
        assert_eq!(named(&connection, "none").unwrap(), None);
        assert_eq!(page(&connection, None, 9).unwrap(), [second, first.clone()]);
        assert_eq!(
            page(&connection, Some(5), 9).unwrap(),
            std::slice::from_ref(&first)
        );
        let at = |ms: i64| Timestamp::from_ms(1_795_000_000_000 + ms);
        let (second, sent) = (message(5, "<b/>"), |span, after| {
            sent_in(&connection, span, after, 9).unwrap()
        });
        assert_eq!(sent((at(0), at(1)), 0), [first, second.clone()]);
        assert_eq!(sent((at(0), at(1)), 2), [second]);
        assert_eq!(sent((at(-1), at(0)), 0), []);
    }
}
