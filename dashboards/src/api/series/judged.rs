//! Single values of a series with what people found them to be.

use std::ops::ControlFlow;

use onemap_model::{Timestamp, Value};
use onemap_store::engine::StoreError;
use onemap_store::history::{SeriesId, Version};
use onemap_store::reviewed::{Best, Reviewed, Told};
use serde::Serialize;

use crate::api::query::page::Given;
use crate::api::query::walk::Chosen;
use crate::api::rows::{More, Rows};
use crate::views::{Views, quality_names};

/// The best of a value.
#[derive(Serialize)]
struct BestRow {
    basis: &'static str,
    quality: Vec<&'static str>,
    t: Timestamp,
    /// Null when a review says that it is none.
    v: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<&'static str>,
}

/// A value as sent, corrected and reviewed.
#[derive(Serialize)]
struct AllRow<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    corrected: Option<Corrected<'a>>,
    quality: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reviewed: Option<ReviewRow<'a>>,
    t: Timestamp,
    v: Value,
}

#[derive(Serialize)]
struct Corrected<'a> {
    at: Timestamp,
    by: &'a str,
    correction: u64,
    name: &'a str,
    reason: &'a str,
    v: f64,
}

#[derive(Serialize)]
struct ReviewRow<'a> {
    at: Timestamp,
    by: &'a str,
    name: &'a str,
    reason: &'a str,
    review: u64,
    v: Option<Value>,
    verdict: &'static str,
}

impl BestRow {
    fn of(version: Version, reviewed: &Reviewed) -> Self {
        let Version {
            measured_at: t,
            value,
            quality,
            ..
        } = version;
        let (basis, v, verdict) = match reviewed.best(t, &value) {
            Best::Raw => ("raw", Some(value), None),
            Best::Corrected(corrected) => ("corrected", Some(Value::Number(corrected)), None),
            Best::Reviewed(value, told) => ("reviewed", Some(value), Some(told.what.verdict.name())),
            Best::Invalid(told) => ("reviewed", None, Some(told.what.verdict.name())),
        };
        let quality = quality_names(quality);
        Self {
            basis,
            quality,
            t,
            v,
            verdict,
        }
    }
}

impl<'a> AllRow<'a> {
    fn of(version: Version, reviewed: &'a Reviewed) -> Self {
        let Version {
            measured_at: t,
            value: v,
            quality,
            ..
        } = version;
        let all = reviewed.side_by_side(t, &v);
        let corrected = all.corrected.zip(reviewed.correction(t));
        let corrected = corrected.map(
            |(
                v,
                Told {
                    position,
                    at,
                    by,
                    what,
                },
            )| Corrected {
                at: *at,
                by,
                correction: *position,
                name: &what.name,
                reason: &what.reason,
                v,
            },
        );
        let review = all.review.map(
            |Told {
                 position,
                 at,
                 by,
                 what,
             }| ReviewRow {
                at: *at,
                by,
                name: &what.name,
                reason: &what.reason,
                review: *position,
                v: all.reviewed.clone(),
                verdict: what.verdict.name(),
            },
        );
        Self {
            corrected,
            quality: quality_names(quality),
            reviewed: review,
            t,
            v,
        }
    }
}

/// Single values of a series on their way out, side by side or the best of them.
pub(super) fn pieces(
    id: SeriesId,
    chosen: Chosen,
    mut given: Option<Given>,
    reviewed: Reviewed,
    is_best: bool,
) -> impl FnMut(&Views, usize, &mut Rows) -> Result<More, StoreError> + Send {
    move |views, n, rows| {
        let mut n_left = n.min(rows.n_left());
        let mut take = |version: Version| {
            if n_left == 0 {
                return ControlFlow::Break(());
            }
            n_left -= 1;
            match is_best {
                true => rows.push(&BestRow::of(version, &reviewed)),
                false => rows.push(&AllRow::of(version, &reviewed)),
            }
            ControlFlow::Continue(())
        };
        let is_all = chosen.walk(views, id, &mut given, &mut take)?;
        Ok(match (is_all, rows.is_full()) {
            (true, _) => More::No(None),
            (false, true) => More::No(given.map(|given| given.to_string())),
            (false, false) => More::Yes,
        })
    }
}
