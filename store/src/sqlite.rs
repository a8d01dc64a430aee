//! What the register's and the ledger's files have in common: opening, telling one's own file from
//! another's, and naming what went wrong.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

/// How long a write waits for another program's lock before it gives up.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// What can go wrong with a SQLite file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// Not SQLite, or SQLite with broken pages.
    #[error("{} is damaged or no SQLite file", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// SQLite, but not made by onemap for this purpose.
    #[error("{} is another program's file (application id {found:#x}, not {expected:#x})", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What its header says.
        found: i64,
        /// What it should say.
        expected: i64,
    },
    /// A GeoPackage, but not one that onemap made.
    #[error("{} is a GeoPackage that onemap did not make; entities are brought in by import", path.display())]
    ForeignPackage {
        /// The file.
        path: PathBuf,
    },
    /// Made by another version of onemap.
    #[error("{} has format {found}, this version reads {expected}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The only one this version reads.
        expected: i64,
    },
    /// Another program holds a lock.
    #[error("{} stayed locked by another program", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// Anything else: disk full, no permission …
    #[error("could not {doing} {}", path.display())]
    Sqlite {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// A row that this version never writes.
    #[error("{} has an impossible {column} in `{row}` of table {table}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The table.
        table: &'static str,
        /// Key of the row.
        row: String,
        /// The column.
        column: &'static str,
    },
}

/// What makes a file onemap's own.
pub(crate) struct Kind {
    pub(crate) application_id: i64,
    pub(crate) user_version: i64,
    /// Versions of before that whoever opens the file brings up to this one.
    pub(crate) earlier_versions: &'static [i64],
    /// Makes the tables of an empty file.
    pub(crate) schema: fn() -> String,
}

/// Opens a file for writing; an absent or empty one gets its tables in one transaction, so that a kill
/// leaves it empty or whole. Write-ahead log with an fsync for every commit.
pub(crate) fn open(path: &Path, kind: &Kind) -> Result<Connection, FileError> {
    let named = |doing| move |source| error(path, doing, source);
    let mut connection = Connection::open(path).map_err(named("open"))?;
    connection.busy_timeout(LOCK_WAIT).map_err(named("open"))?;
    let pragma = |c: &Connection, name: &str| c.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let application_id = pragma(&connection, "application_id").map_err(named("read"))?;
    let n_tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(named("read"))?;
    if application_id != kind.application_id && (application_id, n_tables) != (0, 0) {
        return Err(FileError::Foreign {
            path: path.to_owned(),
            found: application_id,
            expected: kind.application_id,
        });
    }
    if n_tables == 0 {
        let transaction = begin(&mut connection).map_err(named("create"))?;
        transaction
            .pragma_update(None, "application_id", kind.application_id)
            .and_then(|()| transaction.pragma_update(None, "user_version", kind.user_version))
            .and_then(|()| transaction.execute_batch(&(kind.schema)()))
            .and_then(|()| transaction.commit())
            .map_err(named("create the tables of"))?;
    }
    let user_version = pragma(&connection, "user_version").map_err(named("read"))?;
    if !kind.earlier_versions.contains(&user_version) {
        check_format(path, user_version, kind.user_version)?;
    }
    // After the tables: programs that look at the file's first bytes find its mark there, not in the log.
    connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))
        .and_then(|()| connection.pragma_update(None, "synchronous", "FULL"))
        .map_err(named("prepare"))?;
    Ok(connection)
}

/// Opens a file that [`open`] made, for reading only. Readers see whole commits and never block the
/// writer.
pub(crate) fn open_to_read(path: &Path) -> Result<Connection, FileError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|e| error(path, "open", e))?;
    connection
        .busy_timeout(LOCK_WAIT)
        .map_err(|e| error(path, "open", e))?;
    Ok(connection)
}

/// Copies a file that `open` made, as its last commit left it, into a new one; writers go on meanwhile.
///
/// # Errors
/// [`FileError`], also when `to` is there already.
pub fn copy(path: &Path, to: &Path) -> Result<(), FileError> {
    let connection = open_to_read(path)?;
    let to = to.to_string_lossy();
    connection
        .execute("VACUUM INTO ?1", [&*to])
        .map(|_| ())
        .map_err(|e| error(path, "copy", e))
}

/// A transaction that takes the write lock at once, so that it cannot fail half way for a lock.
pub(crate) fn begin(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

pub(crate) fn check_format(path: &Path, found: i64, expected: i64) -> Result<(), FileError> {
    if found == expected {
        return Ok(());
    }
    Err(FileError::Format {
        path: path.to_owned(),
        found,
        expected,
    })
}

/// Gives SQLite's error its name.
pub(crate) fn error(path: &Path, doing: &'static str, source: rusqlite::Error) -> FileError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => FileError::Damaged { path, source },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => FileError::Locked { path, source },
        _ => FileError::Sqlite { doing, path, source },
    }
}

/// SQLite counts in signed numbers; positions and sequence numbers never come near the end of them.
pub(crate) fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// The other way; negative numbers are never written.
pub(crate) fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}
