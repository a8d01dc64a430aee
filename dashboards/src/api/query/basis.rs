//! What an answer is made of: what was sent, or what people found it to be.

use std::sync::Arc;

use onemap_model::{SeriesKey, Timestamp, Verb};
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
    /// Corrected, else raw: what is known of the instrument, without anybody's word on single values.
    Corrected,
    /// Reviewed, else corrected, else raw.
    Best,
    /// All three side by side.
    All,
}

impl Basis {
    fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Corrected => "corrected",
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
                format!("basis={}: {what} made of raw values", other.name()),
            )),
        }
    }

    /// Of what is made of one number for each value; raw when nothing is said.
    ///
    /// # Errors
    /// [`Problem`] (400 `bad_basis`) for all of them side by side, with what `what` is.
    pub(crate) fn of_one(basis: Option<Self>, what: &str) -> Result<Self, Problem> {
        match basis.unwrap_or(Self::Raw) {
            Self::All => Err(Problem::bad_request(
                "bad_basis",
                format!("basis=all: {what} made of one value each; say raw, corrected or best"),
            )),
            basis => Ok(basis),
        }
    }
}

/// What holds of each of some series from a time to before another; with `known_at` as of then. Of `raw` nothing is looked
/// up, of `corrected` nothing that a review says.
///
/// # Errors
/// [`Problem`] (400 `too_many_reviews`) for more than one answer looks at.
pub(crate) async fn reviewed(
    views: &Arc<Views>,
    basis: Basis,
    series: Vec<SeriesKey>,
    span: (Timestamp, Timestamp),
    known_at: Option<Timestamp>,
) -> Result<Vec<Reviewed>, Problem> {
    if basis == Basis::Raw {
        return Ok(vec![Reviewed::default(); series.len()]);
    }
    let all = read(views, move |views| {
        let (mut all, mut n) = (Vec::with_capacity(series.len()), 0);
        // Of most devices nobody says anything.
        let said = views.ledger.reviewed_devices()?;
        for key in &series {
            if !said.contains(&key.device) {
                all.push(Reviewed::default());
                continue;
            }
            let mut acts = views
                .ledger
                .series_acts_of(key, span, known_at, MAX_ACTS + 1 - n)?;
            n += acts.len();
            if basis == Basis::Corrected {
                acts.retain(|act| matches!(act.act.verb, Verb::Correct(_)));
            }
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
