//! The quarantine: what was refused, with its bytes and what became of it.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use onemap_model::scope::Permission;
use onemap_model::{Refusal, Scope, Source, Timestamp};
use onemap_store::ledger::{LedgerError, QuarantineFilter, QuarantineState, Quarantined};
use onemap_wire::spelt::Protocol;
use onemap_wire::{line, veil};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::spelt::{Spelling, text_and_hex};
use crate::api::{limit, list, readmit, time};
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::Params;
use crate::views::Views;

/// Bytes of a payload that a list shows and spells out; one entry by itself shows all.
const LISTED_BYTES: usize = 4096;

/// Entries that a list holds in memory with all their bytes.
const READ_ROWS: usize = 16;
/// Bytes of an answer after which a page ends.
const PAGE_BYTES: usize = 4 << 20;

/// Which entries; also what a re-admission chooses by.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    reason: Option<String>,
    device: Option<String>,
    source: Option<Source>,
    topic: Option<String>,
    text: Option<String>,
    state: Option<QuarantineState>,
    from: Option<String>,
    to: Option<String>,
    /// Of one record of the journal, as `onemap-position` of a write has it.
    position: Option<u64>,
    limit: Option<usize>,
    after: Option<u64>,
}

/// A filter of text parameters.
pub(crate) fn filter(
    reason: Option<String>,
    device: Option<String>,
    from: Option<&str>,
    to: Option<&str>,
) -> Result<QuarantineFilter, Problem> {
    Ok(QuarantineFilter {
        reason: reason
            .map(Refusal::try_from)
            .transpose()
            .map_err(|e| Problem::bad_request("bad_reason", e))?,
        device,
        from: from.map(|t| time("from", t)).transpose()?,
        to: to.map(|t| time("to", t)).transpose()?,
        ..QuarantineFilter::default()
    })
}

/// Whether a scope may see an entry: that of a device that it sees; those of nobody are for the whole city only.
pub(crate) fn visible(views: &Views, scope: &Scope, row: &Quarantined) -> bool {
    let register = views.register.read().expect("no holder of this lock panics");
    scope.is_whole() || register.sees(scope, row.entry.device.as_str())
}

/// Reads the ledger away from the async threads.
pub(crate) async fn read<T: Send + 'static>(
    views: &Arc<Views>,
    read: impl FnOnce(&Views) -> Result<T, LedgerError> + Send + 'static,
) -> Result<T, Problem> {
    let views = views.clone();
    tokio::task::spawn_blocking(move || read(&views))
        .await
        .map_err(|e| Problem::internal(&e))?
        .map_err(|e| Problem::internal(&e))
}

/// Newest first.
pub(crate) async fn list_quarantine(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Params(query): Params<Query>,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope().clone();
    let limit = limit(query.limit, 100)?;
    let filter = QuarantineFilter {
        source: query.source,
        topic: query.topic,
        text: query.text,
        state: query.state,
        position: query.position,
        ..filter(
            query.reason,
            query.device,
            query.from.as_deref(),
            query.to.as_deref(),
        )?
    };
    let after = query.after;
    let (items, next) = read(&views, move |views| page(views, &scope, &filter, after, limit)).await?;
    Ok(list(items, next.map(|id| id.to_string())))
}

/// Items and where the next page begins. Entries are read a few at a time, because each may be as large as a
/// frame, and the page ends early when its answer is large.
fn page(
    views: &Views,
    scope: &Scope,
    filter: &QuarantineFilter,
    after: Option<u64>,
    limit: usize,
) -> Result<(Vec<Value>, Option<u64>), LedgerError> {
    let (mut items, mut n_bytes) = (Vec::new(), 0);
    // The entry looked at last, and the one shown last.
    let (mut at, mut last) = (after, None);
    let mut spelling = Spelling::default();
    loop {
        // One more than is shown says whether there is a next page: of what the scope sees, whatever else there is.
        let n_asked = match scope.is_whole() {
            true => READ_ROWS.min(limit + 1 - items.len()),
            false => READ_ROWS,
        };
        let rows = views.ledger.quarantine(filter, at, n_asked)?;
        let is_last = rows.len() < n_asked;
        for row in rows {
            at = Some(row.id);
            let text = filter.text.as_deref().unwrap_or_default();
            let has_text = sees_passwords(scope) || has_text(&row, text);
            if !has_text || !visible(views, scope, &row) {
                continue;
            }
            if items.len() == limit || n_bytes > PAGE_BYTES {
                return Ok((items, last));
            }
            last = at;
            let shown = shown(views, scope, &row, LISTED_BYTES, &mut spelling);
            n_bytes += shown.to_string().len();
            items.push(shown);
        }
        if is_last {
            return Ok((items, None));
        }
    }
}

/// One entry with all its bytes.
pub(crate) async fn show(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<u64>,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope().clone();
    let row = find(&views, &scope, id).await?;
    Ok(Json(shown(
        &views,
        &scope,
        &row,
        usize::MAX,
        &mut Spelling::default(),
    )))
}

/// Whether a scope sees the passwords of stations: who may give them one does.
fn sees_passwords(scope: &Scope) -> bool {
    scope.may(Permission::Register)
}

/// An entry's bytes with every password covered.
fn covered(row: &Quarantined) -> Cow<'_, [u8]> {
    match Protocol::of(row.entry.source) {
        Some(protocol) => veil::veiled(protocol, &row.entry.payload),
        None => Cow::Borrowed(&row.entry.payload),
    }
}

/// Whether a text stands in what is shown of an entry: a password is not found by it.
fn has_text(row: &Quarantined, text: &str) -> bool {
    let text = text.as_bytes();
    let has = |within: &[u8]| text.is_empty() || within.windows(text.len()).any(|part| part == text);
    let entry = &row.entry;
    has(entry.detail.as_bytes()) || has(entry.topic.as_bytes()) || has(&covered(row))
}

/// An entry with at most so many of its bytes, spelt out; one by itself (all of them) in base64, too. Who does not see passwords has
/// `*` in their place, and `masked`.
fn shown(views: &Views, scope: &Scope, row: &Quarantined, n_bytes: usize, spelling: &mut Spelling) -> Value {
    let covered = match sees_passwords(scope) {
        true => Cow::Borrowed(row.entry.payload.as_slice()),
        false => covered(row),
    };
    let is_masked = matches!(covered, Cow::Owned(_));
    let mut shown = match is_masked {
        true => {
            let mut masked = row.clone();
            masked.entry.payload = covered.to_vec();
            entry_json(&masked, n_bytes)
        }
        false => entry_json(row, n_bytes),
    };
    if n_bytes == usize::MAX {
        shown["payload_base64"] = base64(&covered).into();
    }
    spelling.add(views, row, n_bytes, &mut shown);
    if !sees_passwords(scope) {
        shown["masked"] = is_masked.into();
        if let Some(frames) = shown.get_mut("frames") {
            veil::veil_spelt(frames);
        }
    }
    shown
}

/// The entry with a number, if the scope may see it.
pub(crate) async fn find(views: &Arc<Views>, scope: &Scope, id: u64) -> Result<Quarantined, Problem> {
    read(views, move |views| views.ledger.quarantined(id))
        .await?
        .filter(|row| visible(views, scope, row))
        .ok_or_else(|| Problem::not_found("unknown_entry", format!("the quarantine has no entry {id}")))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CountQuery {
    from: Option<String>,
    to: Option<String>,
}

/// How many entries there are by reason and Beijing day.
pub(crate) async fn counts(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Params(query): Params<CountQuery>,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope();
    if !scope.is_whole() {
        return Err(Problem::forbidden("counts are of the whole city"));
    }
    let filter = filter(None, None, query.from.as_deref(), query.to.as_deref())?;
    let rows = read(&views, move |views| {
        views.ledger.quarantine_counts(filter.from, filter.to)
    })
    .await?;
    let items = rows
        .iter()
        .map(|row| {
            json!({"day": date(row.day), "reason": row.reason, "reason_zh": row.reason.label_zh(),
                   "n": row.n, "open": row.n_open, "bytes": row.bytes})
        })
        .collect();
    Ok(list(items, None))
}

/// A Beijing day (days since 1970-01-01) as `2026-11-23`.
pub(crate) fn date(day: i64) -> String {
    let midnight = day.saturating_mul(86_400_000).saturating_sub(8 * 3_600_000);
    Timestamp::from_ms(midnight)
        .to_string()
        .chars()
        .take(10)
        .collect()
}

pub(crate) fn entry_json(row: &Quarantined, n_bytes: usize) -> Value {
    let entry = &row.entry;
    let (payload, hex) = text_and_hex(&entry.payload, n_bytes);
    // A line's number is that of the body it came in; the first that is spelled out is the first that is kept.
    let place = match line::Params::of_topic(&entry.topic) {
        Some(_) => number_after(&entry.detail, "column ")
            .map(|column| column.saturating_sub(1).min(entry.payload.len())),
        None if matches!(entry.source, Source::Hj212 | Source::Sl651 | Source::Gbt26875) => {
            // Of a segment of HJ 212, which stands behind `##` and four digits, where the frame itself was whole.
            let is_segment = entry.source == Source::Hj212 && !entry.detail.ends_with(" of the stream");
            let before = if is_segment { 6 } else { 0 };
            let at = byte_of_frame(&entry.detail).map(|at| at + before);
            at.filter(|at| *at <= entry.payload.len())
        }
        None => offset(&entry.detail, &entry.payload),
    };
    let mut shown = json!({
        "id": row.id, "position": entry.position, "at": entry.at, "reason": entry.reason,
        "reason_zh": entry.reason.label_zh(), "source": entry.source, "device": entry.device,
        "peer": entry.peer, "topic": entry.topic, "size": entry.payload.len(),
        "payload": payload, "payload_hex": hex, "detail": entry.detail,
        "offset": place,
        "state": QuarantineState::Open, "readmissible": readmit::readmissible(entry).is_ok(),
    });
    if let Some(settled) = &row.settlement {
        shown["state"] = json!(settled.state);
        shown["settled"] = json!({
            "at": settled.at, "by": settled.actor, "note": settled.note, "readings": settled.readings,
            "reason": settled.reason, "detail": settled.detail,
        });
    }
    shown
}

fn number_after(text: &str, word: &str) -> Option<usize> {
    let rest = &text[text.find(word)? + word.len()..];
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// The byte of a frame at which its decoder gave up: `(byte 12)`, `at byte 12`, not where the frame stood in its stream.
fn byte_of_frame(detail: &str) -> Option<usize> {
    let of_frame = match detail.strip_suffix(" of the stream") {
        Some(rest) => rest.rsplit_once(" at byte ")?.0,
        None => detail,
    };
    number_after(of_frame, "byte ")
}

/// The byte at which a decoder gave up, where its words say line and column.
fn offset(detail: &str, payload: &[u8]) -> Option<usize> {
    let (line, column) = (number_after(detail, "line ")?, number_after(detail, "column ")?);
    let mut start = 0;
    for _ in 1..line {
        start += payload[start..].iter().position(|b| *b == b'\n')? + 1;
    }
    Some((start + column.saturating_sub(1)).min(payload.len()))
}

/// Base64 with padding (RFC 4648 section 4).
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            match i <= chunk.len() {
                true => text.push(char::from(LETTERS[(bits >> (18 - 6 * i) & 63) as usize])),
                false => text.push('='),
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xff]), "+/8=");
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(text_and_hex("西宁".as_bytes(), 4).0, Some("西"));
        assert_eq!(text_and_hex("西宁".as_bytes(), 6).0, Some("西宁"));
        assert_eq!(text_and_hex("ab".as_bytes(), usize::MAX).0, Some("ab"));
        assert_eq!(text_and_hex(&[0xff], 4).0, None);
    }

    #[test]
    fn the_place_of_a_fault_is_found_in_the_decoder_s_words() {
        let payload = b"{\n \"a\": x}";
        assert_eq!(offset("expected value at line 2 column 7", payload), Some(8));
        assert_eq!(offset("EOF while parsing at line 9 column 1", payload), None);
        assert_eq!(offset("no quantity is called `x`", payload), None);
        assert_eq!(byte_of_frame("no_field: the segment has no MN (byte 6)"), Some(6));
        assert_eq!(
            byte_of_frame("truncated: the frame ends at byte 9, it needs 14 bytes at byte 70 of the stream"),
            Some(9)
        );
        assert_eq!(
            byte_of_frame("crc: the check value is 1, it should be 2 at byte 70 of the stream"),
            None
        );
    }
}
