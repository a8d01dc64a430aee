//! Commands and the facts of their lives: written with the batch that they follow from, read by pages.

use onemap_model::{Command, CommandState, Fact, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};

use crate::sqlite::{signed, unsigned};

/// Made at every open, so that a ledger of before gains them.
pub(crate) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS commands (
    id INTEGER PRIMARY KEY, device TEXT NOT NULL, state TEXT NOT NULL, created INTEGER NOT NULL,
    actor TEXT NOT NULL, json TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS commands_device ON commands (device, id);
CREATE INDEX IF NOT EXISTS commands_state ON commands (state, id);
CREATE INDEX IF NOT EXISTS commands_created ON commands (created);
CREATE TABLE IF NOT EXISTS command_facts (
    command INTEGER NOT NULL, seq INTEGER NOT NULL, position INTEGER NOT NULL, at INTEGER NOT NULL,
    fact TEXT NOT NULL, json TEXT NOT NULL, PRIMARY KEY (command, seq), UNIQUE (command, position, fact))
    WITHOUT ROWID;
";

/// Which commands to read; an absent part takes all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandFilter {
    /// Only of this device.
    pub device: Option<String>,
    /// Only in this state.
    pub state: Option<CommandState>,
    /// Only ordered at or after this time.
    pub from: Option<Timestamp>,
    /// Only ordered before this time.
    pub to: Option<Timestamp>,
}

/// Writes a fact and the command as it stands after it; a fact that is there changes nothing.
pub(crate) fn put(tx: &Connection, command: &Command, fact: &Fact) -> rusqlite::Result<()> {
    let id = signed(command.id);
    let name = fact.happened.name();
    let n = tx
        .prepare_cached(
            "INSERT OR IGNORE INTO command_facts (command, seq, position, at, fact, json)
             VALUES (?1, (SELECT coalesce(max(seq), 0) + 1 FROM command_facts WHERE command = ?1), ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            id,
            signed(fact.position),
            fact.at.ms(),
            name,
            serde_json::to_string(fact).expect("facts have text keys only"),
        ])?;
    if n == 1 {
        tx.prepare_cached(
            "INSERT OR REPLACE INTO commands (id, device, state, created, actor, json)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            id,
            command.order.device.as_str(),
            command.state.name(),
            command.created_at.ms(),
            command.order.by.actor,
            serde_json::to_string(command).expect("commands have text keys only"),
        ])?;
    }
    Ok(())
}

/// Reads commands newest first, those with smaller numbers than `before`.
pub(crate) fn page(
    connection: &Connection,
    filter: &CommandFilter,
    before: Option<u64>,
    limit: usize,
) -> rusqlite::Result<Vec<Command>> {
    let before = before.map_or(i64::MAX, signed);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let state = filter.state.map(CommandState::name);
    let (from, to) = (filter.from.map(Timestamp::ms), filter.to.map(Timestamp::ms));
    let mut sql = String::from("SELECT json FROM commands WHERE id < ?1");
    let mut values: Vec<&dyn ToSql> = vec![&before];
    let parts: [(&str, Option<&dyn ToSql>); 4] = [
        ("device =", filter.device.as_ref().map(|v| v as &dyn ToSql)),
        ("state =", state.as_ref().map(|v| v as &dyn ToSql)),
        ("created >=", from.as_ref().map(|v| v as &dyn ToSql)),
        ("created <", to.as_ref().map(|v| v as &dyn ToSql)),
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
        .query_map(values.as_slice(), json)?
        .collect()
}

/// One command and its facts in their order.
pub(crate) fn one(connection: &Connection, id: u64) -> rusqlite::Result<Option<(Command, Vec<Fact>)>> {
    let command = connection
        .prepare_cached("SELECT json FROM commands WHERE id = ?1")?
        .query_row([signed(id)], json)
        .optional()?;
    let Some(command) = command else {
        return Ok(None);
    };
    let facts = connection
        .prepare_cached("SELECT json FROM command_facts WHERE command = ?1 ORDER BY seq")?
        .query_map([signed(id)], json)?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Some((command, facts)))
}

/// How many commands there are.
pub(crate) fn count(connection: &Connection) -> rusqlite::Result<u64> {
    connection
        .query_row("SELECT count(*) FROM commands", [], |row| row.get(0))
        .map(unsigned)
}

fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>) -> rusqlite::Result<T> {
    serde_json::from_str(row.get_ref(0)?.as_str()?)
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(e)))
}
