//! What an answer says when it is asked about times before the first that is kept.

use onemap_model::Timestamp;
use onemap_store::history::{KeptSince, SeriesId};
use serde::Serialize;

use crate::views::Views;

/// Part of an answer that begins before it: nothing before `kept_from` does not say that nothing was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct KeptRow {
    /// Values before this time were let go.
    pub(crate) kept_from: Timestamp,
    /// Hours before this time, too; null when all of them are there.
    rollups_from: Option<Timestamp>,
}

impl KeptRow {
    /// Of an answer about some series from a time on; `None` when nothing that was asked for is gone.
    pub(crate) fn of(
        views: &Views,
        series: impl IntoIterator<Item = SeriesId>,
        from: Timestamp,
    ) -> Option<Self> {
        let kept = views.archive.all_kept_from(series, views.now())?;
        (from < kept.values).then(|| Self::from(kept))
    }

    /// As the fields of an object, with a comma behind; nothing without a row.
    pub(crate) fn fields(row: Option<Self>) -> String {
        let text = serde_json::to_string(&row).expect("times are text");
        let fields = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
        fields.map_or_else(String::new, |fields| format!("{fields},"))
    }

    /// Whether an empty step may be empty because its values are gone; then it is not filled.
    pub(crate) fn hides(row: Option<Self>, start: Timestamp, n: u64) -> bool {
        n == 0 && row.is_some_and(|row| start < row.kept_from)
    }
}

impl From<KeptSince> for KeptRow {
    fn from(kept: KeptSince) -> Self {
        Self {
            kept_from: kept.values,
            rollups_from: kept.rollups,
        }
    }
}
