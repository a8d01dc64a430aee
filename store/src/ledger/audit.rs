//! The audit: acts, commands, rule versions and what changes whom the server trusts, a row each, chained by SHA-256.
//!
//! The hash of a row is over the hash of the row before it (zeros before the first) and the digest of the row's own text
//! ([`text_of`]): a row can be shown to stand in the chain without showing the rows around it. So who changes, drops or moves a row has to make every hash behind it anew, and then the chain is no
//! longer the one that a head ([`AuditHead`]) kept elsewhere was made of. Rows never go.
//!
//! Rows of before the digests have hashes over the hash before and the text itself, and stay as they are.

use std::fmt::Write as _;
use std::ops::ControlFlow;

use onemap_model::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use sha2::{Digest, Sha256};

use crate::canonical::hex;
use crate::sqlite::{signed, unsigned};

pub(super) const TABLE: &str = "
CREATE TABLE IF NOT EXISTS audit (
    n INTEGER PRIMARY KEY, position INTEGER NOT NULL UNIQUE, at INTEGER NOT NULL, kind TEXT NOT NULL,
    body TEXT NOT NULL, hash BLOB NOT NULL);
";
const INDEX: &str = "CREATE INDEX IF NOT EXISTS audit_by_kind ON audit (kind, n)";

/// Most marks of a head.
const N_MARKS: u64 = 256;
/// Digits of a mark: enough to tell a row from another.
const N_MARK_DIGITS: usize = 16;
/// The first line of a head's text.
const HEAD: &str = "onemap audit head 1";

/// What a row tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditKind {
    /// An act of a person or machine with a name.
    Act,
    /// A command, or what became of one.
    Command,
    /// A version of a file of rules.
    Rule,
    /// Who is let in, as what, and what is measured how: accounts, tokens, devices, profiles, sources.
    Register,
    /// What a closed segment of the journal held.
    Segment,
}

impl AuditKind {
    /// As it stands in the row.
    pub fn name(self) -> &'static str {
        match self {
            Self::Act => "act",
            Self::Command => "command",
            Self::Rule => "rule",
            Self::Register => "register",
            Self::Segment => "segment",
        }
    }
}

/// A record that the audit takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audited {
    /// Its journal position.
    pub position: u64,
    /// When the server took it.
    pub at: Timestamp,
    /// What it is.
    pub kind: AuditKind,
    /// Its JSON, as the journal has it.
    pub body: String,
}

/// Where the chain stood: kept elsewhere, it holds the audit to what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditHead {
    /// When it was made.
    pub at: Timestamp,
    /// How many rows there were.
    pub rows: u64,
    /// Journal position of the last; 0 when there was none.
    pub position: u64,
    /// Hash of the last, hexadecimal; zeros when there was none.
    pub hash: String,
    /// Row numbers, evenly apart, with the first digits of their hashes: they narrow down where a chain is another.
    pub marks: Vec<(u64, String)>,
}

/// Why a text is no head.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is not as a head of the audit has it")]
pub struct AuditHeadError {
    /// Which line, from 1.
    pub line: usize,
}

impl AuditHead {
    /// The text that is signed: lines of a name and what it is.
    pub fn text(&self) -> String {
        let Self {
            at,
            rows,
            position,
            hash,
            marks,
        } = self;
        let mut text = format!("{HEAD}\nat {at}\nrows {rows}\nposition {position}\nhash {hash}\n");
        for (n, digits) in marks {
            writeln!(text, "mark {n} {digits}").expect("a String takes everything");
        }
        text
    }

    /// Reads what [`AuditHead::text`] wrote.
    ///
    /// # Errors
    /// [`AuditHeadError`] names the first line that is another.
    pub fn parse(text: &str) -> Result<Self, AuditHeadError> {
        let mut lines = text.lines().zip(1..);
        let mut next = |name: &str| {
            let (line, number) = lines.next().unwrap_or(("", 0));
            let rest = line.strip_prefix(name).map(|rest| rest.trim_start().to_owned());
            rest.ok_or(AuditHeadError { line: number })
        };
        next(HEAD)?;
        let number = |text: String, line| text.parse().map_err(|_| AuditHeadError { line });
        let at = Timestamp::parse(&next("at ")?).map_err(|_| AuditHeadError { line: 2 })?;
        let rows = number(next("rows ")?, 3)?;
        let position = number(next("position ")?, 4)?;
        let hash = next("hash ")?;
        let mark = |(line, number): (&str, usize)| {
            let mark = line.strip_prefix("mark ").and_then(|mark| mark.split_once(' '));
            let mark = mark.and_then(|(n, digits)| Some((n.parse().ok()?, digits.to_owned())));
            mark.ok_or(AuditHeadError { line: number })
        };
        let marks = lines.map(mark).collect::<Result<_, _>>()?;
        Ok(Self {
            at,
            rows,
            position,
            hash,
            marks,
        })
    }
}

/// The first place where the audit is not what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditFault {
    /// Number of the row, from 1.
    pub row: u64,
    /// Its journal position; 0 when the row is not there.
    pub position: u64,
    /// What is wrong there.
    pub what: String,
}

/// What [`LedgerReader::audit`](super::LedgerReader::audit) found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditFound {
    /// Rows that follow from one another from the first on.
    pub rows: u64,
    /// Journal position of the last of them.
    pub position: u64,
    /// Its hash, hexadecimal.
    pub hash: String,
    /// Where it breaks; `None` for a whole chain.
    pub fault: Option<AuditFault>,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// Its number, from 1.
    pub n: u64,
    /// Journal position of its record.
    pub position: u64,
    /// Milliseconds since 1970.
    pub at: i64,
    /// [`AuditKind::name`].
    pub kind: String,
    /// The record's JSON.
    pub body: String,
    /// Its hash, as the row has it.
    pub hash: [u8; 32],
}

impl AuditRow {
    /// SHA-256 of the row's text, hexadecimal.
    pub fn digest(&self) -> String {
        hex(&digest_of(&self.text()))
    }

    /// Its hash, hexadecimal.
    pub fn hash(&self) -> String {
        hex(&self.hash)
    }

    fn text(&self) -> String {
        text_of(self.n, self.position, self.at, &self.kind, &self.body)
    }

    /// Whether it follows from the row that has the hash `before`.
    fn follows(&self, before: &[u8; 32]) -> bool {
        let text = self.text();
        self.hash == hash_of(before, &digest_of(&text)) || self.hash == hash_of_text(before, &text)
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            n: unsigned(row.get(0)?),
            position: unsigned(row.get(1)?),
            at: row.get(2)?,
            kind: row.get(3)?,
            body: row.get(4)?,
            hash: row.get_ref(5)?.as_blob()?.try_into().unwrap_or_default(),
        })
    }
}

/// What a row's digest is of.
fn text_of(n: u64, position: u64, at: i64, kind: &str, body: &str) -> String {
    format!("{n}\n{position}\n{at}\n{kind}\n{body}\n")
}

fn digest_of(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// Over the hexadecimal digits of both, so that it can be made with `sha256sum` in a shell.
fn hash_of(before: &[u8; 32], digest: &[u8; 32]) -> [u8; 32] {
    Sha256::digest(hex(before) + &hex(digest)).into()
}

/// The hash of a row of before the digests.
fn hash_of_text(before: &[u8; 32], text: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(before);
    hash.update(text);
    hash.finalize().into()
}

/// At most `limit` rows from number `first` on.
pub(super) fn rows(connection: &Connection, first: u64, limit: usize) -> rusqlite::Result<Vec<AuditRow>> {
    connection
        .prepare_cached(
            "SELECT n, position, at, kind, body, hash FROM audit WHERE n >= ?1 ORDER BY n LIMIT ?2",
        )?
        .query_map(
            [signed(first), i64::try_from(limit).unwrap_or(i64::MAX)],
            AuditRow::read,
        )?
        .collect()
}

/// The row of the record at a journal position.
pub(super) fn row_at(connection: &Connection, position: u64) -> rusqlite::Result<Option<AuditRow>> {
    connection
        .prepare_cached("SELECT n, position, at, kind, body, hash FROM audit WHERE position = ?1")?
        .query_row([signed(position)], AuditRow::read)
        .optional()
}

/// All rows of a kind, newest first, until `take` has enough.
pub(super) fn of_kind<T>(
    connection: &Connection,
    kind: AuditKind,
    mut take: impl FnMut(AuditRow) -> ControlFlow<T>,
) -> rusqlite::Result<Option<T>> {
    let mut statement = connection.prepare_cached(
        "SELECT n, position, at, kind, body, hash FROM audit WHERE kind = ?1 ORDER BY n DESC",
    )?;
    let mut rows = statement.query([kind.name()])?;
    while let Some(row) = rows.next()? {
        if let ControlFlow::Break(found) = take(AuditRow::read(row)?) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Makes the table. A ledger of before the audit gets a row for each act that it has.
pub(super) fn prepare(connection: &mut Connection) -> rusqlite::Result<()> {
    let tx = crate::sqlite::begin(connection)?;
    let is_there = tx
        .query_row("SELECT 1 FROM sqlite_schema WHERE name = 'audit'", [], |_| Ok(()))
        .optional()?;
    if is_there.is_none() {
        tx.execute_batch(TABLE)?;
        let acts: Vec<Audited> = tx
            .prepare("SELECT position, at, json FROM acts ORDER BY position")?
            .query_map([], |row| {
                Ok(Audited {
                    position: unsigned(row.get(0)?),
                    at: Timestamp::from_ms(row.get(1)?),
                    kind: AuditKind::Act,
                    body: row.get(2)?,
                })
            })?
            .collect::<rusqlite::Result<_>>()?;
        put(&tx, &acts)?;
    }
    tx.execute_batch(INDEX)?;
    tx.commit()
}

/// Adds rows, in the order of their positions, behind those that are there.
pub(super) fn put<'a>(
    tx: &Connection,
    audited: impl IntoIterator<Item = &'a Audited>,
) -> rusqlite::Result<()> {
    let mut audited = audited.into_iter().peekable();
    if audited.peek().is_none() {
        return Ok(());
    }
    let (mut n, mut hash) = last(tx)?;
    let mut insert = tx.prepare_cached(
        "INSERT INTO audit (n, position, at, kind, body, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for Audited {
        position,
        at,
        kind,
        body,
    } in audited
    {
        n += 1;
        hash = hash_of(
            &hash,
            &digest_of(&text_of(n, *position, at.ms(), kind.name(), body)),
        );
        insert.execute(params![
            signed(n),
            signed(*position),
            at.ms(),
            kind.name(),
            body,
            hash
        ])?;
    }
    Ok(())
}

/// Number and hash of the last row; 0 and zeros when there is none.
fn last(connection: &Connection) -> rusqlite::Result<(u64, [u8; 32])> {
    let row = connection
        .prepare_cached("SELECT n, hash FROM audit ORDER BY n DESC LIMIT 1")?
        .query_row([], |row| Ok((unsigned(row.get(0)?), row.get::<_, [u8; 32]>(1)?)))
        .optional()?;
    Ok(row.unwrap_or((0, [0; 32])))
}

/// Where the chain stands, as the rows say; they are not made again.
pub(super) fn head(connection: &Connection, at: Timestamp) -> rusqlite::Result<AuditHead> {
    let (rows, hash) = last(connection)?;
    let position: Option<i64> = connection
        .query_row("SELECT position FROM audit WHERE n = ?1", [signed(rows)], |row| {
            row.get(0)
        })
        .optional()?;
    let step = rows.div_ceil(N_MARKS).max(1);
    let marks = connection
        .prepare("SELECT n, hash FROM audit WHERE n % ?1 = 0 AND n <= ?2 ORDER BY n")?
        .query_map([signed(step), signed(rows)], |row| {
            let hash: Vec<u8> = row.get(1)?;
            Ok((unsigned(row.get(0)?), mark_of(&hash)))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let position = unsigned(position.unwrap_or(0));
    Ok(AuditHead {
        at,
        rows,
        position,
        hash: hex(&hash),
        marks,
    })
}

fn mark_of(hash: &[u8]) -> String {
    let mut digits = hex(hash);
    digits.truncate(N_MARK_DIGITS);
    digits
}

/// Makes every hash again, holds the rows against the acts beside them and against heads that were kept elsewhere.
pub(super) fn verify(connection: &Connection, heads: &[AuditHead]) -> rusqlite::Result<AuditFound> {
    let mut known: Vec<(u64, String, &AuditHead)> = Vec::new();
    for head in heads {
        known.extend(head.marks.iter().map(|(n, digits)| (*n, digits.clone(), head)));
        if head.rows > 0 {
            known.push((head.rows, head.hash.clone(), head));
        }
    }
    known.sort_by_key(|(n, ..)| *n);
    let mut known = known.into_iter().peekable();
    let mut found = AuditFound {
        rows: 0,
        position: 0,
        hash: hex(&[0; 32]),
        fault: None,
    };
    let mut held = 0;
    let mut hash = [0_u8; 32];
    let mut acts = connection.prepare("SELECT json FROM acts WHERE position = ?1")?;
    let mut statement =
        connection.prepare("SELECT n, position, at, kind, body, hash FROM audit ORDER BY n")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let row = AuditRow::read(row)?;
        let (n, position) = (row.n, row.position);
        let fault = |row, what: String| Some(AuditFault { row, position, what });
        if n != found.rows + 1 {
            let what = match n - 1 - found.rows {
                1 => format!("row {} is gone", n - 1),
                _ => format!("rows {} to {} are gone", found.rows + 1, n - 1),
            };
            found.fault = Some(AuditFault {
                row: found.rows + 1,
                position: 0,
                what,
            });
            return Ok(found);
        }
        if !row.follows(&hash) {
            found.fault = fault(n, "it does not follow from the rows before it: it, or one just before it, was changed, moved or taken away".to_owned());
            return Ok(found);
        }
        hash = row.hash;
        if row.kind == AuditKind::Act.name() {
            let act: Option<String> = acts.query_row([signed(position)], |row| row.get(0)).optional()?;
            if act.as_deref() != Some(&row.body) {
                found.fault = fault(n, "the act beside it (table acts) is another, or gone".to_owned());
                return Ok(found);
            }
        }
        let digits = hex(&hash);
        while let Some((_, expected, head)) = known.next_if(|(at, ..)| *at == n) {
            if !digits.starts_with(&expected) || (head.rows == n && head.position != position) {
                let (first, of) = (held + 1, head.at);
                let span = if first == n {
                    format!("row {n} is")
                } else {
                    format!("of the rows {first} to {n} one is")
                };
                found.fault = fault(
                    first,
                    format!(
                        "{span} not what the head of {of} was made of: the chain was made anew from there"
                    ),
                );
                return Ok(found);
            }
            held = n;
        }
        (found.rows, found.position, found.hash) = (n, position, digits);
    }
    if let Some(head) = heads
        .iter()
        .filter(|head| head.rows > found.rows)
        .max_by_key(|head| head.rows)
    {
        let what = match head.rows - found.rows {
            1 => format!("row {} of the head of {} is gone", head.rows, head.at),
            _ => format!(
                "rows {} to {} of the head of {} are gone",
                found.rows + 1,
                head.rows,
                head.at
            ),
        };
        found.fault = Some(AuditFault {
            row: found.rows + 1,
            position: 0,
            what,
        });
        return Ok(found);
    }
    let stray: Option<i64> = connection
        .query_row(
            "SELECT position FROM acts WHERE position NOT IN (SELECT position FROM audit WHERE kind = 'act') ORDER BY position LIMIT 1",
            [],
            |row| row.get(0),
        )
        .optional()?;
    if let Some(position) = stray.map(unsigned) {
        let what = "an act stands in the table acts that the audit does not have".to_owned();
        found.fault = Some(AuditFault {
            row: found.rows + 1,
            position,
            what,
        });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const AT: Timestamp = Timestamp::from_ms(1_763_856_000_000);

    fn chain(n: u64) -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(super::super::schema::SCHEMA).unwrap();
        prepare(&mut connection).unwrap();
        for i in 1..=n {
            let body = format!(r#"{{"verb":"close","note":"{i}"}}"#);
            connection
                .execute(
                    "INSERT INTO acts VALUES (?1, 0, 'a', ?2)",
                    params![signed(10 * i), body],
                )
                .unwrap();
            put(
                &connection,
                &[Audited {
                    position: 10 * i,
                    at: AT,
                    kind: AuditKind::Act,
                    body,
                }],
            )
            .unwrap();
        }
        connection
    }

    /// The row that is named, after a change.
    fn named(change: &str, head: bool) -> Option<u64> {
        let connection = chain(9);
        let kept = self::head(&connection, AT).unwrap();
        assert_eq!(
            verify(&connection, std::slice::from_ref(&kept)).unwrap().fault,
            None
        );
        connection.execute_batch(change).unwrap();
        let heads = if head { vec![kept] } else { vec![] };
        verify(&connection, &heads).unwrap().fault.map(|fault| fault.row)
    }

    #[test]
    fn a_row_that_is_flipped_dropped_or_moved_is_named() {
        for (change, row) in [
            ("UPDATE audit SET body = replace(body, '4', '5') WHERE n = 4", 4),
            ("UPDATE audit SET at = at + 1 WHERE n = 2", 2),
            ("UPDATE audit SET hash = zeroblob(32) WHERE n = 9", 9),
            (
                "UPDATE acts SET json = replace(json, '6', '7') WHERE position = 60",
                6,
            ),
            ("DELETE FROM acts WHERE position = 30", 3),
            ("DELETE FROM audit WHERE n = 5", 5),
            (
                "DELETE FROM audit WHERE n = 5; UPDATE audit SET n = n - 1 WHERE n > 5",
                5,
            ),
            (
                "UPDATE audit SET n = -n WHERE n IN (3, 4); UPDATE audit SET n = 7 + n WHERE n < 0",
                3,
            ),
            ("INSERT INTO acts VALUES (95, 0, 'a', '{}')", 10),
        ] {
            assert_eq!(named(change, false), Some(row), "{change}");
        }
        let tail = "DELETE FROM audit WHERE n > 7; DELETE FROM acts WHERE position > 70";
        assert_eq!((named(tail, false), named(tail, true)), (None, Some(8)));
    }

    #[test]
    fn a_chain_that_was_made_anew_is_not_that_of_a_kept_head() {
        let (n, connection) = (1000, chain(1000));
        let kept = head(&connection, AT).unwrap();
        assert_eq!(kept.marks.len(), 250);
        assert_eq!(AuditHead::parse(&kept.text()), Ok(kept.clone()));
        assert_eq!(
            AuditHead::parse("onemap audit head 1\nat never\n"),
            Err(AuditHeadError { line: 2 })
        );
        let forged = chain(0);
        for i in 1..=n {
            let note = if i == 777 {
                "nothing".to_owned()
            } else {
                i.to_string()
            };
            let body = format!(r#"{{"verb":"close","note":"{note}"}}"#);
            forged
                .execute(
                    "INSERT INTO acts VALUES (?1, 0, 'a', ?2)",
                    params![signed(10 * i), body],
                )
                .unwrap();
            put(
                &forged,
                &[Audited {
                    position: 10 * i,
                    at: AT,
                    kind: AuditKind::Act,
                    body,
                }],
            )
            .unwrap();
        }
        assert_eq!(verify(&forged, &[]).unwrap().fault, None, "by itself it is whole");
        let fault = verify(&forged, &[kept]).unwrap().fault.unwrap();
        assert_eq!(fault.row, 777, "{}", fault.what);
        assert!(fault.what.contains("rows 777 to 780"), "{}", fault.what);
    }

    #[test]
    fn a_ledger_of_before_gets_a_row_for_each_act() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(super::super::schema::SCHEMA).unwrap();
        connection
            .execute_batch("INSERT INTO acts VALUES (7, 1, 'a', '{}'), (9, 2, 'b', '{}')")
            .unwrap();
        prepare(&mut connection).unwrap();
        let found = verify(&connection, &[]).unwrap();
        assert_eq!((found.rows, found.position, found.fault), (2, 9, None));
        connection.execute_batch("DELETE FROM audit").unwrap();
        prepare(&mut connection).unwrap();
        assert!(
            verify(&connection, &[]).unwrap().fault.is_some(),
            "what was taken away does not come again"
        );
    }

    #[test]
    fn rows_of_before_the_digests_are_held_as_they_were_made() {
        let connection = chain(3);
        let mut before = [0; 32];
        for row in rows(&connection, 1, 9).unwrap() {
            before = hash_of_text(&before, &row.text());
            let set = "UPDATE audit SET hash = ?1 WHERE n = ?2";
            connection.execute(set, params![before, signed(row.n)]).unwrap();
        }
        let body = r#"{"verb":"close","note":"new"}"#;
        connection
            .execute("INSERT INTO acts VALUES (40, 0, 'a', ?1)", [body])
            .unwrap();
        let new = Audited {
            position: 40,
            at: AT,
            kind: AuditKind::Act,
            body: body.to_owned(),
        };
        put(&connection, &[new]).unwrap();
        let found = verify(&connection, &[]).unwrap();
        assert_eq!((found.rows, found.fault), (4, None));
        let change = "UPDATE audit SET at = at + 1 WHERE n = 2";
        connection.execute_batch(change).unwrap();
        let fault = verify(&connection, &[]).unwrap().fault;
        assert_eq!(fault.map(|fault| fault.row), Some(2));
    }
}
