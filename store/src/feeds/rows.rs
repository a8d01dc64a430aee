//! Rows of `feeds.sqlite`.

use std::str::FromStr;

use rusqlite::types::Type;

use super::*;

pub(super) fn standing(c: &Connection, consumer: &str) -> rusqlite::Result<Standing> {
    c.prepare_cached("SELECT seq, lower(hex(id)), trying, since, attempts FROM consumers WHERE name = ?1")?
        .query_row([consumer], |row| {
            let cursor = FeedCursor {
                seq: unsigned(row.get(0)?),
                id: parsed(row, 1)?,
            };
            let trying = match row.get::<_, Option<i64>>(2)? {
                None => None,
                Some(seq) => Some(Trying {
                    seq: unsigned(seq),
                    since: Timestamp::from_ms(row.get(3)?),
                    attempts: row.get(4)?,
                }),
            };
            Ok(Standing { cursor, trying })
        })
}

/// Moves a cursor; what was tried is done with.
pub(super) fn advance(c: &Connection, consumer: &str, cursor: FeedCursor) -> rusqlite::Result<()> {
    c.prepare_cached(
        "UPDATE consumers SET seq = ?2, id = unhex(?3), trying = NULL, since = NULL, attempts = NULL WHERE name = ?1",
    )?
    .execute(params![
        consumer,
        signed(cursor.seq),
        cursor.id.map(|id| id.to_string())
    ])
    .map(drop)
}

pub(super) fn put_receipt(
    c: &Connection,
    consumer: &str,
    mark: &Mark,
    answered: &Answered,
) -> rusqlite::Result<()> {
    c.prepare_cached(
        "INSERT INTO receipts (consumer, seq, item, alert, edge, at, status, attempt, answer)
         VALUES (?1, ?2, unhex(?3), unhex(?4), ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute(params![
        consumer,
        signed(mark.seq),
        mark.id.to_string(),
        mark.alert.map(|alert| alert.to_string()),
        mark.edge,
        answered.at.ms(),
        answered.status,
        answered.attempt,
        answered.answer,
    ])?;
    c.prepare_cached("DELETE FROM set_aside WHERE consumer = ?1 AND item = unhex(?2)")?
        .execute(params![consumer, mark.id.to_string()])
        .map(drop)
}

/// What is set aside again keeps its number, and nobody's wish to send it again.
pub(super) fn put_aside(
    c: &Connection,
    consumer: &str,
    mark: &Mark,
    reason: &str,
    answered: &Answered,
) -> rusqlite::Result<()> {
    c.prepare_cached(
        "INSERT INTO set_aside (consumer, seq, item, alert, edge, at, reason, status, attempts, answer)
         VALUES (?1, ?2, unhex(?3), unhex(?4), ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT (consumer, item) DO UPDATE SET seq = ?2, at = ?6, reason = ?7, status = ?8,
             attempts = attempts + ?9, answer = ?10, again_at = NULL, again_by = NULL",
    )?
    .execute(params![
        consumer,
        signed(mark.seq),
        mark.id.to_string(),
        mark.alert.map(|alert| alert.to_string()),
        mark.edge,
        answered.at.ms(),
        reason,
        answered.status,
        answered.attempt,
        answered.answer,
    ])
    .map(drop)
}

const RECEIPT: &str = "n, seq, lower(hex(item)), lower(hex(alert)), edge, at, status, attempt, answer";

pub(super) fn receipts(
    c: &Connection,
    consumer: &str,
    after: u64,
    limit: usize,
) -> rusqlite::Result<Vec<Receipt>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    c.prepare_cached(&format!(
        "SELECT {RECEIPT} FROM receipts WHERE consumer = ?1 AND n > ?2 ORDER BY n LIMIT ?3"
    ))?
    .query_map(params![consumer, signed(after), limit], receipt)?
    .collect()
}

pub(super) fn last_receipt(c: &Connection, consumer: &str) -> rusqlite::Result<Option<Receipt>> {
    c.prepare_cached(&format!(
        "SELECT {RECEIPT} FROM receipts WHERE consumer = ?1 ORDER BY n DESC LIMIT 1"
    ))?
    .query_row([consumer], receipt)
    .optional()
}

const ASIDE: &str = "n, seq, lower(hex(item)), lower(hex(alert)), edge, at, status, attempts, answer, reason, again_at, again_by";

pub(super) fn asides(
    c: &Connection,
    consumer: &str,
    after: u64,
    limit: usize,
) -> rusqlite::Result<Vec<Aside>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    c.prepare_cached(&format!(
        "SELECT {ASIDE} FROM set_aside WHERE consumer = ?1 AND n > ?2 ORDER BY n LIMIT ?3"
    ))?
    .query_map(params![consumer, signed(after), limit], aside)?
    .collect()
}

pub(super) fn next_again(c: &Connection, consumer: &str) -> rusqlite::Result<Option<Aside>> {
    c.prepare_cached(&format!(
        "SELECT {ASIDE} FROM set_aside WHERE consumer = ?1 AND again_at IS NOT NULL ORDER BY again_at, n LIMIT 1"
    ))?
    .query_row([consumer], aside)
    .optional()
}

fn mark(row: &rusqlite::Row<'_>) -> rusqlite::Result<Mark> {
    Ok(Mark {
        seq: unsigned(row.get(1)?),
        id: parsed(row, 2)?.ok_or(rusqlite::Error::InvalidColumnType(
            2,
            "item".to_owned(),
            Type::Null,
        ))?,
        alert: parsed(row, 3)?,
        edge: row.get(4)?,
    })
}

fn answered(row: &rusqlite::Row<'_>) -> rusqlite::Result<Answered> {
    Ok(Answered {
        at: Timestamp::from_ms(row.get(5)?),
        status: row.get(6)?,
        attempt: row.get(7)?,
        answer: row.get(8)?,
    })
}

fn receipt(row: &rusqlite::Row<'_>) -> rusqlite::Result<Receipt> {
    Ok(Receipt {
        n: unsigned(row.get(0)?),
        mark: mark(row)?,
        answered: answered(row)?,
    })
}

fn aside(row: &rusqlite::Row<'_>) -> rusqlite::Result<Aside> {
    let again_at: Option<i64> = row.get(10)?;
    let again_by: Option<String> = row.get(11)?;
    Ok(Aside {
        n: unsigned(row.get(0)?),
        mark: mark(row)?,
        answered: answered(row)?,
        reason: row.get(9)?,
        again: again_at.map(|at| (Timestamp::from_ms(at), again_by.unwrap_or_default())),
    })
}

/// An id, written in hexadecimal digits; `None` of what is empty or NULL.
fn parsed<T: FromStr<Err = String>>(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Option<T>> {
    let text: Option<String> = row.get(column)?;
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let bad = |why: String| rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, why.into());
    text.parse().map(Some).map_err(bad)
}
