//! Rows of the audit in a pack: each with the way from it to a signed head, on which other rows show only their digests.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use onemap_model::record::{RuleFile, SegmentDigest, Stamped};
use onemap_model::{Timestamp, Transition};
use onemap_rules::RuleSet;
use onemap_store::ledger::{AuditKind, AuditRow, LedgerError};
use onemap_store::notary::{KeptHead, Notary};
use serde_json::json;

use super::pack::Pack;
use super::{LeftOut, said};
use crate::views::Views;

/// Rows of all ways together.
const N_ROWS: u64 = 200_000;
/// Rows that are read at once.
const N_READ: usize = 2048;

/// The row and the text of the rule file whose rule raised an alert: the newest before it that has the rule in that version.
pub(super) fn rule(views: &Views, raised: &Transition) -> Result<Option<(u64, String)>, LedgerError> {
    views.ledger.find_in_audit(AuditKind::Rule, |row| {
        if row.position > raised.position {
            return ControlFlow::Continue(());
        }
        let Ok(file) = serde_json::from_str::<Stamped<RuleFile>>(&row.body) else {
            return ControlFlow::Continue(());
        };
        let RuleFile { name, text } = file.what;
        let is_it = RuleSet::parse(&name, &text).is_ok_and(|set| {
            let mut rules = set.rules().iter();
            rules.any(|rule| rule.id == raised.rule && rule.version == raised.rule_version)
        });
        match is_it {
            true => ControlFlow::Break((row.n, text)),
            false => ControlFlow::Continue(()),
        }
    })
}

/// The digests of those segments that hold the positions (ascending), with their rows' numbers.
pub(super) fn segments(views: &Views, positions: &[u64]) -> Result<Vec<(u64, SegmentDigest)>, LedgerError> {
    let Some(&first) = positions.first() else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    views.ledger.find_in_audit(AuditKind::Segment, |row| {
        let Ok(digest) = serde_json::from_str::<SegmentDigest>(&row.body) else {
            return ControlFlow::Continue(());
        };
        let is_before = digest.last < first;
        if positions
            .iter()
            .any(|at| (digest.first..=digest.last).contains(at))
        {
            found.push((row.n, digest));
        }
        match is_before {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    })?;
    Ok(found)
}

/// Puts `rows` and the ways to the first signed heads behind them: `heads/2026-11-27.json` and `chain/2026-11-27.ndjson`.
pub(super) fn put(
    views: &Views,
    notary: &Notary,
    rows: &BTreeSet<u64>,
    now: Timestamp,
    pack: &mut Pack,
    left_out: &mut LeftOut,
) -> Result<(), String> {
    let mut heads = notary.heads().map_err(|e| said(&e))?;
    if rows
        .last()
        .is_some_and(|last| heads.last().is_none_or(|head| head.rows < *last))
    {
        heads.push(notary.head(&views.ledger, now).map_err(|e| said(&e))?);
    }
    let mut n_left = N_ROWS;
    for (head, first) in ways(&heads, rows) {
        let n = head.rows - first + 1;
        if n > n_left {
            let why =
                "the way to the head is longer than a pack has room for; `onemap audit verify` holds it";
            left_out.note(
                format!("the rows of the audit from {first} to {}", head.rows),
                why,
            );
            continue;
        }
        n_left -= n;
        let way = way(views, rows, first, head.rows).map_err(|e| said(&e))?;
        pack.put(format!("heads/{}", head.name), head.text.as_str());
        let name = head.name.trim_end_matches(".json");
        pack.put(format!("chain/{name}.ndjson"), way);
    }
    Ok(())
}

/// For each head that is the first behind some of the rows, the first of these rows.
fn ways<'a>(heads: &'a [KeptHead], rows: &BTreeSet<u64>) -> Vec<(&'a KeptHead, u64)> {
    let mut first: BTreeMap<usize, u64> = BTreeMap::new();
    for &n in rows {
        let at = heads.partition_point(|head| head.rows < n);
        if at < heads.len() {
            first.entry(at).or_insert(n);
        }
    }
    first.into_iter().map(|(at, n)| (&heads[at], n)).collect()
}

/// A line with the hash before the first row, and a line for each row.
fn way(views: &Views, rows: &BTreeSet<u64>, first: u64, last: u64) -> Result<String, LedgerError> {
    let mut lines = String::new();
    let before = match first.checked_sub(1).filter(|n| *n > 0) {
        None => "0".repeat(64),
        Some(n) => {
            let row = views.ledger.audit_rows(n, 1)?;
            row.first().map(AuditRow::hash).unwrap_or_default()
        }
    };
    lines.push_str(&format!("{}\n", json!({"before": before})));
    let mut next = first;
    while next <= last {
        let read = views.ledger.audit_rows(next, N_READ)?;
        let Some(end) = read.last().map(|row| row.n) else {
            break;
        };
        for row in read.iter().take_while(|row| row.n <= last) {
            let mut line = json!({"n": row.n, "digest": row.digest(), "hash": row.hash()});
            if rows.contains(&row.n) {
                line["position"] = row.position.into();
                line["at"] = row.at.into();
                line["kind"] = row.kind.as_str().into();
                line["body"] = row.body.as_str().into();
            }
            lines.push_str(&format!("{line}\n"));
        }
        next = end + 1;
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_goes_to_the_first_head_behind_it() {
        let head = |rows: u64| KeptHead {
            name: format!("{rows}.json"),
            at: Timestamp::from_ms(0),
            rows,
            text: String::new(),
        };
        let heads = [head(10), head(20), head(20), head(40)];
        let of = |rows: &[u64]| -> Vec<(u64, u64)> {
            let rows = rows.iter().copied().collect();
            let ways = ways(&heads, &rows);
            ways.iter().map(|(head, first)| (head.rows, *first)).collect()
        };
        assert_eq!(of(&[1, 10, 11, 12, 40]), [(10, 1), (20, 11), (40, 40)]);
        assert_eq!(of(&[41]), []);
        assert_eq!(of(&[]), []);
    }
}
