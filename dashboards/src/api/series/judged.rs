//! Single values of a series with what people found them to be.

use onemap_model::{Quality, Timestamp, Value};
use onemap_store::engine::StoreError;
use onemap_store::history::{SeriesId, Version};
use onemap_store::reviewed::{Best, Reviewed, Told};
use serde::Serialize;

use crate::api::query::page::Given;
use crate::api::query::walk::Chosen;
use crate::api::rows::{More, Rows};
use crate::views::{Views, quality_names};

/// In place of a verdict on what a correction made of a value, or a review let stand, that cannot be.
const IMPLAUSIBLE: &str = "implausible";

/// The best of a value.
#[derive(Serialize)]
struct BestRow {
    basis: &'static str,
    quality: Vec<&'static str>,
    t: Timestamp,
    /// Null when a review says that it is none, or when it cannot be.
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
    /// Nothing that the quantity can have: it counts nowhere.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    implausible: bool,
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
        let mut quality = quality;
        let (basis, v, verdict) = match reviewed.best(t, &value) {
            Best::Raw => ("raw", Some(value), None),
            Best::Corrected(corrected) => ("corrected", Some(Value::Number(corrected)), None),
            Best::Reviewed(value, told) => ("reviewed", Some(value), Some(told.what.verdict.name())),
            Best::Doubted(value, told) => {
                quality = quality.with(Quality::SUSPECT);
                ("reviewed", Some(value), Some(told.what.verdict.name()))
            }
            Best::Invalid(told) => ("reviewed", None, Some(told.what.verdict.name())),
            Best::Implausible(Some(_)) => ("reviewed", None, Some(IMPLAUSIBLE)),
            Best::Implausible(None) => ("corrected", None, Some(IMPLAUSIBLE)),
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
                (v, is_plausible),
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
                implausible: !is_plausible,
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
    is_all: bool,
) -> impl FnMut(&Views, usize, &mut Rows) -> Result<More, StoreError> + Send {
    move |views, n, rows| {
        chosen.page(
            views,
            id,
            &mut given,
            n,
            rows,
            &mut |rows, version| match is_all {
                true => rows.push(&AllRow::of(version, &reviewed)),
                false => rows.push(&BestRow::of(version, &reviewed)),
            },
        )
    }
}
