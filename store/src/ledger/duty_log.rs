//! Entries of duty logs: they never change and never go.

use onemap_model::{Act, DutyEntry, Timestamp, Verb};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::reader::json;
use crate::sqlite::{signed, unsigned};

/// Made at every open, so that a ledger of before gains it.
pub(super) const TABLE: &str = "
CREATE TABLE IF NOT EXISTS duty_log (
    position INTEGER PRIMARY KEY, desk TEXT NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL, json TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS duty_log_desk ON duty_log (desk, at, position);
CREATE INDEX IF NOT EXISTS duty_log_at ON duty_log (at, position);
";

/// An entry as it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggedEntry {
    /// Journal position: its id.
    pub position: u64,
    /// When it was written.
    pub at: Timestamp,
    /// The token or account that wrote it.
    pub actor: String,
    /// What it says.
    pub entry: DutyEntry,
}

/// Which entries.
#[derive(Clone, Debug, PartialEq)]
pub struct DutyLogFilter {
    /// Of this desk.
    pub desk: Option<String>,
    /// Written from this time on.
    pub from: Timestamp,
    /// Before this time.
    pub to: Timestamp,
}

/// Writes an entry; one whose position is there changes nothing.
pub(super) fn put(tx: &Connection, position: u64, act: &Act) -> rusqlite::Result<()> {
    let Verb::Duty(entry) = &act.verb else {
        return Ok(());
    };
    tx.prepare_cached(
        "INSERT OR IGNORE INTO duty_log (position, desk, at, kind, json) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        signed(position),
        entry.desk.as_str(),
        act.at.ms(),
        entry.kind.name(),
        serde_json::to_string(act).expect("acts have text keys only"),
    ])?;
    Ok(())
}

/// Entries behind a time and position, oldest first.
pub(super) fn page(
    connection: &Connection,
    filter: &DutyLogFilter,
    (at, position): (Timestamp, u64),
    limit: usize,
) -> rusqlite::Result<Vec<LoggedEntry>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let (from, to) = (filter.from.ms(), filter.to.ms());
    let sql = |desk: &str| {
        format!(
            "SELECT position, json FROM duty_log
             WHERE {desk} AND at >= ?2 AND at < ?3 AND (at, position) > (?4, ?5) ORDER BY at, position LIMIT ?6"
        )
    };
    let sql = sql(match filter.desk {
        Some(_) => "desk = ?1",
        None => "?1 IS NULL",
    });
    connection
        .prepare_cached(&sql)?
        .query_map(
            params![filter.desk, from, to, at.ms(), signed(position), limit],
            read,
        )?
        .collect()
}

/// The entry at a journal position.
pub(super) fn at(connection: &Connection, position: u64) -> rusqlite::Result<Option<LoggedEntry>> {
    connection
        .prepare_cached("SELECT position, json FROM duty_log WHERE position = ?1")?
        .query_row([signed(position)], read)
        .optional()
}

fn read(row: &Row<'_>) -> rusqlite::Result<LoggedEntry> {
    let act: Act = json(row, 1)?;
    let Verb::Duty(entry) = act.verb else {
        return Err(rusqlite::Error::InvalidQuery);
    };
    Ok(LoggedEntry {
        position: unsigned(row.get(0)?),
        at: act.at,
        actor: act.by.actor,
        entry: *entry,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use onemap_model::duty_log::About;
    use onemap_model::{DeskId, DutyKind, Scope};

    use super::*;

    fn act(desk: &str, at: i64, text: &str) -> Act {
        let entry = DutyEntry {
            desk: DeskId::new(desk).unwrap(),
            division: None,
            shift: None,
            name: "王队".to_owned(),
            kind: DutyKind::Note,
            text: text.to_owned(),
            about: About::default(),
            corrects: None,
            handed: None,
            handover: None,
        };
        Act {
            at: Timestamp::from_ms(at),
            by: Scope::local("wang"),
            verb: Verb::Duty(Box::new(entry)),
        }
    }

    #[test]
    fn entries_come_back_in_the_order_of_their_times_each_once() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(TABLE).unwrap();
        for (position, desk, at, text) in [
            (3, "east", 10, "a"),
            (5, "east", 10, "b"),
            (7, "north", 11, "c"),
            (9, "east", 12, "d"),
            (3, "east", 10, "again"),
        ] {
            put(&connection, position, &act(desk, at, text)).unwrap();
        }
        let texts = |desk: Option<&str>, from, to, after: (i64, u64), limit| {
            let filter = DutyLogFilter {
                desk: desk.map(str::to_owned),
                from: Timestamp::from_ms(from),
                to: Timestamp::from_ms(to),
            };
            let after = (Timestamp::from_ms(after.0), after.1);
            let rows = page(&connection, &filter, after, limit).unwrap();
            rows.into_iter()
                .map(|row| row.entry.text)
                .collect::<Vec<_>>()
                .join("")
        };
        assert_eq!(texts(Some("east"), 0, 99, (0, 0), 9), "abd");
        assert_eq!(texts(None, 0, 99, (0, 0), 9), "abcd");
        assert_eq!(texts(None, 0, 99, (10, 3), 2), "bc");
        assert_eq!(texts(None, 11, 12, (0, 0), 9), "c");
        assert_eq!(texts(Some("west"), 0, 99, (0, 0), 9), "");
        assert_eq!(at(&connection, 5).unwrap().unwrap().entry.text, "b");
        assert_eq!(at(&connection, 6).unwrap(), None);
    }
}
