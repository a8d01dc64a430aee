//! The tables of `feeds.sqlite`. Times are UTC milliseconds, `seq` is the ledger's number of a transition.

/// `OMFD`.
pub(super) const APPLICATION_ID: i64 = 0x4F4D_4644;
/// Version of the tables below.
pub(super) const FORMAT: i64 = 1;

pub(super) const SCHEMA: &str = "
CREATE TABLE consumers (
    name TEXT NOT NULL PRIMARY KEY, seq INTEGER NOT NULL, id BLOB,
    trying INTEGER, since INTEGER, attempts INTEGER) WITHOUT ROWID;
CREATE TABLE receipts (
    n INTEGER PRIMARY KEY AUTOINCREMENT, consumer TEXT NOT NULL, seq INTEGER NOT NULL, item BLOB NOT NULL,
    alert BLOB, edge TEXT NOT NULL, at INTEGER NOT NULL, status INTEGER, attempt INTEGER NOT NULL,
    answer TEXT NOT NULL);
CREATE INDEX receipts_consumer ON receipts (consumer, n);
CREATE INDEX receipts_alert ON receipts (consumer, alert);
CREATE INDEX receipts_at ON receipts (at);
CREATE TABLE set_aside (
    n INTEGER PRIMARY KEY AUTOINCREMENT, consumer TEXT NOT NULL, seq INTEGER NOT NULL, item BLOB NOT NULL,
    alert BLOB, edge TEXT NOT NULL, at INTEGER NOT NULL, reason TEXT NOT NULL, status INTEGER,
    attempts INTEGER NOT NULL, answer TEXT NOT NULL, again_at INTEGER, again_by TEXT,
    UNIQUE (consumer, item));
CREATE INDEX set_aside_consumer ON set_aside (consumer, n);
";
