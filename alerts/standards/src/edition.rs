//! Editions of standards: from which day to which one holds.

use onemap_model::Timestamp;
use serde::{Deserialize, Serialize};

/// Why a data file of standards cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {why}")]
pub struct DataError {
    /// The file.
    pub file: &'static str,
    /// What is wrong with it.
    pub why: String,
}

/// One edition of a standard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edition {
    /// As it is cited: `HJ 633-2012`.
    pub id: String,
    /// The first day, `2026-03-01`, in the Beijing calendar; without one it holds for whatever was before.
    #[serde(default)]
    pub valid_from: Option<String>,
    /// The last day.
    #[serde(default)]
    pub valid_to: Option<String>,
    /// Where its numbers are from.
    pub source: String,
    /// Whether they were compared with the text of the standard itself.
    pub verified: bool,
}

impl Edition {
    /// First and last day as days since 1970-01-01 in the Beijing calendar.
    fn days(&self) -> Option<(i64, i64)> {
        let day = |text: &String| {
            let midnight = Timestamp::parse(&format!("{text}T00:00:00+08:00")).ok()?;
            Some(midnight.beijing_day())
        };
        let from = self.valid_from.as_ref().map_or(Some(i64::MIN), day)?;
        let to = self.valid_to.as_ref().map_or(Some(i64::MAX), day)?;
        Some((from, to))
    }
    /// Whether it holds for a value whose period ends then. A value of midnight belongs to the day that ends.
    pub fn holds_at(&self, end: Timestamp) -> bool {
        let day = Timestamp::from_ms(end.ms().saturating_sub(1)).beijing_day();
        self.days().is_some_and(|(from, to)| (from..=to).contains(&day))
    }
}

/// The edition that holds for a value whose period ends then, of those in a file.
pub fn on_day<T>(all: &[T], edition: impl Fn(&T) -> &Edition, end: Timestamp) -> Option<&T> {
    all.iter().find(|one| edition(one).holds_at(end))
}

/// Checks that the days of editions can be read and that no day has two.
pub(crate) fn check<'a>(
    file: &'static str,
    editions: impl Iterator<Item = &'a Edition>,
) -> Result<(), DataError> {
    let fault = |why: String| DataError { file, why };
    let mut spans: Vec<(i64, i64, &str)> = Vec::new();
    for edition in editions {
        let Some((from, to)) = edition.days().filter(|(from, to)| from <= to) else {
            return Err(fault(format!("{}: its days cannot be read", edition.id)));
        };
        if let Some((.., other)) = spans.iter().find(|(f, t, _)| from <= *t && *f <= to) {
            return Err(fault(format!("{} and {other} hold on the same day", edition.id)));
        }
        spans.push((from, to, &edition.id));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn edition(from: Option<&str>, to: Option<&str>) -> Edition {
        Edition {
            id: "GB 1".to_owned(),
            valid_from: from.map(str::to_owned),
            valid_to: to.map(str::to_owned),
            source: String::new(),
            verified: false,
        }
    }

    #[test]
    fn the_hour_that_ends_at_midnight_belongs_to_the_day_before() {
        let (old, new) = (
            edition(None, Some("2026-02-28")),
            edition(Some("2026-03-01"), None),
        );
        check("x", [&old, &new].into_iter()).unwrap();
        for (end, is_old) in [
            ("2013-01-01T00:00:00+08:00", true),
            ("2026-02-28T23:00:00+08:00", true),
            ("2026-03-01T00:00:00+08:00", true),
            ("2026-03-01T01:00:00+08:00", false),
            ("2026-02-28T16:00:00.001Z", false),
        ] {
            let end = Timestamp::parse(end).unwrap();
            assert_eq!((old.holds_at(end), new.holds_at(end)), (is_old, !is_old), "{end}");
        }
    }

    #[test]
    fn days_that_overlap_or_cannot_be_read_are_refused() {
        let (a, b) = (
            edition(None, Some("2026-03-01")),
            edition(Some("2026-03-01"), None),
        );
        assert!(check("x", [&a, &b].into_iter()).is_err());
        assert!(check("x", [&edition(Some("spring"), None)].into_iter()).is_err());
        assert!(
            check(
                "x",
                [&edition(Some("2026-02-01"), Some("2026-01-01"))].into_iter()
            )
            .is_err()
        );
    }
}
