//! The ledger's tables and its own numbers. Times are UTC milliseconds.

use rusqlite::{Connection, OptionalExtension, params};

/// `OMLG`.
pub(crate) const APPLICATION_ID: i64 = 0x4F4D_4C47;
/// Version of the tables below.
pub(crate) const FORMAT: i64 = 1;

pub(crate) const SCHEMA: &str = "
CREATE TABLE meta (key TEXT NOT NULL PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE transitions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE, alert BLOB NOT NULL, edge TEXT NOT NULL,
    at INTEGER NOT NULL, position INTEGER NOT NULL, rule TEXT NOT NULL, series TEXT NOT NULL,
    division TEXT, json TEXT NOT NULL);
CREATE INDEX transitions_alert ON transitions (alert, seq);
CREATE TABLE quarantine (
    id INTEGER PRIMARY KEY AUTOINCREMENT, position INTEGER NOT NULL, ordinal INTEGER NOT NULL,
    at INTEGER NOT NULL, reason TEXT NOT NULL, source TEXT NOT NULL, device TEXT NOT NULL,
    peer TEXT NOT NULL, topic TEXT NOT NULL, detail TEXT NOT NULL, payload BLOB NOT NULL,
    UNIQUE (position, ordinal));
CREATE INDEX quarantine_reason ON quarantine (reason, id);
CREATE INDEX quarantine_device ON quarantine (device, id);
CREATE INDEX quarantine_at ON quarantine (at);
CREATE TABLE evidence (position INTEGER PRIMARY KEY, at INTEGER NOT NULL, frame BLOB NOT NULL);
CREATE INDEX evidence_at ON evidence (at);
CREATE TABLE acts (position INTEGER PRIMARY KEY, at INTEGER NOT NULL, actor TEXT NOT NULL, json TEXT NOT NULL);
CREATE TABLE access_tokens (
    sha256 BLOB NOT NULL PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL, division TEXT,
    created INTEGER NOT NULL, revoked INTEGER, position INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE device_tokens (
    device TEXT NOT NULL PRIMARY KEY, sha256 BLOB NOT NULL, created INTEGER NOT NULL,
    position INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE snapshots (name TEXT NOT NULL PRIMARY KEY, position INTEGER NOT NULL, bytes BLOB NOT NULL);
";

/// Tables that came after the first version: a file of before gets them when it is opened.
pub(crate) const LATER_TABLES: &str = "
CREATE TABLE IF NOT EXISTS device_token_ends (
    sha256 BLOB NOT NULL PRIMARY KEY, device TEXT NOT NULL, ends INTEGER NOT NULL,
    position INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS device_revocations (
    device TEXT NOT NULL PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS provisioning (
    profile TEXT NOT NULL PRIMARY KEY, key TEXT NOT NULL, sha256 BLOB NOT NULL, strategy TEXT NOT NULL,
    created INTEGER NOT NULL, position INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS access_token_departments (
    sha256 BLOB NOT NULL, department TEXT NOT NULL, position INTEGER NOT NULL,
    PRIMARY KEY (sha256, department)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS access_token_ends (
    sha256 BLOB NOT NULL PRIMARY KEY, ends INTEGER NOT NULL, position INTEGER NOT NULL) WITHOUT ROWID;
";

/// Removes frames that arrived before ?1, except those behind an alert that has not ended before ?1 and
/// those of a quarantine entry.
pub(crate) const RETAIN_EVIDENCE: &str = "
DELETE FROM evidence WHERE at < ?1
    AND position NOT IN (SELECT position FROM quarantine)
    AND position NOT IN (
        SELECT t.position FROM transitions t WHERE t.alert NOT IN (
            SELECT alert FROM transitions WHERE edge IN ('cleared', 'closed', 'withdrawn', 'past') AND at < ?1)
        UNION
        SELECT i.value ->> 'position' FROM transitions t, json_each(t.json, '$.inputs') i WHERE t.alert NOT IN (
            SELECT alert FROM transitions WHERE edge IN ('cleared', 'closed', 'withdrawn', 'past') AND at < ?1))";

pub(crate) const CURSOR: &str = "cursor";

/// A number of the ledger's own; 0 when it was never set.
pub(crate) fn meta(connection: &Connection, key: &str) -> rusqlite::Result<i64> {
    let value = connection
        .prepare_cached("SELECT value FROM meta WHERE key = ?1")?
        .query_row([key], |row| row.get(0))
        .optional()?;
    Ok(value.unwrap_or(0))
}

pub(crate) fn set_meta(connection: &Connection, key: &str, value: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)")?
        .execute(params![key, value])
        .map(|_| ())
}

/// Adds to a number of the ledger's own.
pub(crate) fn add_meta(connection: &Connection, key: &str, by: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = value + ?2",
        )?
        .execute(params![key, by])
        .map(|_| ())
}
