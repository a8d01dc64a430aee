//! Divisions by GB/T 2260 and the groups of numbers below them.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::rows;

const TABLE: &str = include_str!("../../data/gb2260.csv");

/// First and last year, successor.
type Span = (Option<i16>, Option<i16>, Option<&'static str>);

fn table() -> &'static HashMap<&'static str, Vec<Span>> {
    static READ: OnceLock<HashMap<&'static str, Vec<Span>>> = OnceLock::new();
    READ.get_or_init(|| {
        let mut table = HashMap::<_, Vec<Span>>::new();
        for row in rows(TABLE) {
            let text = |i: usize| row.get(i).copied().unwrap_or_default();
            let successor = Some(text(3)).filter(|code| !code.is_empty());
            let span = (text(1).parse().ok(), text(2).parse().ok(), successor);
            table.entry(text(0)).or_default().push(span);
        }
        table
    })
}

/// Whether a division had these six digits in the year, first and last year counted; in any year when `None`.
pub fn is_division(code: &str, year: Option<i16>) -> bool {
    let holds = |(from, to, _): &Span| {
        year.is_none_or(|year| from.is_none_or(|from| from <= year) && to.is_none_or(|to| year <= to))
    };
    table().get(code).is_some_and(|spans| spans.iter().any(holds))
}

/// Whether a division had these six digits in the year or in a later one.
pub(super) fn is_division_from(code: &str, year: i16) -> bool {
    let holds = |(_, to, _): &Span| to.is_none_or(|to| year <= to);
    table().get(code).is_some_and(|spans| spans.iter().any(holds))
}

/// Whether a division had these six digits in the year or in an earlier one.
pub(super) fn is_division_until(code: &str, year: i16) -> bool {
    let holds = |(from, ..): &Span| from.is_none_or(|from| from <= year);
    table().get(code).is_some_and(|spans| spans.iter().any(holds))
}

/// The division that took the place of an abolished one: 630106 for 630122. `None` when the code is not known, was
/// not abolished, or its successor is not in the list.
pub fn successor(code: &str) -> Option<&'static str> {
    table().get(code)?.iter().find_map(|(.., successor)| *successor)
}

/// What the third group of a division code (digits 7 to 9) numbers (GB/T 10114-2003).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum StreetGroup {
    /// 000: the county itself.
    Whole,
    /// 001-099 街道.
    Street,
    /// 100-199 镇.
    Town,
    /// 200-399 乡.
    Township,
    /// 400-599 类似乡级单位: development zones, farms.
    Like,
    Other,
}

/// The group of digits 7 to 9; `None` when they are no three digits.
pub fn street_group(digits: &str) -> Option<StreetGroup> {
    Some(match three(digits)? {
        0 => StreetGroup::Whole,
        1..=99 => StreetGroup::Street,
        100..=199 => StreetGroup::Town,
        200..=399 => StreetGroup::Township,
        400..=599 => StreetGroup::Like,
        _ => StreetGroup::Other,
    })
}

/// What the fourth group (digits 10 to 12) numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum CommunityGroup {
    /// 000: the street or town itself.
    Whole,
    /// 001-199 居民委员会.
    Residents,
    /// 200-399 村民委员会.
    Villagers,
    /// 400 and more.
    Other,
}

/// The group of digits 10 to 12; `None` when they are no three digits.
pub fn community_group(digits: &str) -> Option<CommunityGroup> {
    Some(match three(digits)? {
        0 => CommunityGroup::Whole,
        1..=199 => CommunityGroup::Residents,
        200..=399 => CommunityGroup::Villagers,
        _ => CommunityGroup::Other,
    })
}

fn three(digits: &str) -> Option<u16> {
    let is_group = digits.len() == 3 && digits.bytes().all(|b| b.is_ascii_digit());
    is_group.then(|| digits.parse().ok())?
}
