//! What an answer is made of: what was sent, or what people found it to be.

use std::sync::Arc;

use onemap_model::{SeriesKey, Timestamp};
use onemap_store::reviewed::Reviewed;
use serde::{Deserialize, Serialize};

use crate::api::quarantine::read;
use crate::error::Problem;
use crate::views::Views;

/// Reviews and corrections that one answer looks at.
const MAX_ACTS: usize = 100_000;

/// `basis=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Basis {
    /// What was sent.
    Raw,
    /// Reviewed, else corrected, else raw.
    Best,
    /// All three side by side.
    All,
}

impl Basis {
    fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Best => "best",
            Self::All => "all",
        }
    }

    /// Of what is made of raw values only: another one is refused and not answered by them.
    ///
    /// # Errors
    /// [`Problem`] (400 `bad_basis`) with what `what` is.
    pub(crate) fn only_raw(basis: Option<Self>, what: &str) -> Result<(), Problem> {
        match basis {
            None | Some(Self::Raw) => Ok(()),
            Some(other) => Err(Problem::bad_request(
                "bad_basis",
                format!(
                    "basis={}: {what} made of raw values; single values and /api/v1/standards/… know reviewed ones",
                    other.name()
                ),
            )),
        }
    }
}

/// What holds of each of some series from a time to before another; with `known_at` as of then.
///
/// # Errors
/// [`Problem`] (400 `too_many_reviews`) for more than one answer looks at.
pub(crate) async fn reviewed(
    views: &Arc<Views>,
    series: Vec<SeriesKey>,
    span: (Timestamp, Timestamp),
    known_at: Option<Timestamp>,
) -> Result<Vec<Reviewed>, Problem> {
    let all = read(views, move |views| {
        let (mut all, mut n) = (Vec::with_capacity(series.len()), 0);
        for key in &series {
            let acts = views
                .ledger
                .series_acts_of(key, span, known_at, MAX_ACTS + 1 - n)?;
            n += acts.len();
            if n > MAX_ACTS {
                return Ok(None);
            }
            all.push(Reviewed::of(acts));
        }
        Ok(Some(all))
    });
    all.await?.ok_or_else(|| {
        Problem::bad_request(
            "too_many_reviews",
            format!("more than {MAX_ACTS} reviews and corrections lie in this span; ask for a shorter time"),
        )
    })
}
