//! The names of aggregates: of one series in a step, and of the series of a group.

use onemap_store::history::{Across, Agg, Over};
use serde::Deserialize;

use crate::error::Problem;

/// Whose mean a mean is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Weight {
    #[default]
    Series,
    Points,
}

/// How the points of a step become one number; the mean when nothing is said.
pub(crate) fn agg(name: Option<&str>) -> Result<Agg, Problem> {
    Ok(match name.unwrap_or("mean") {
        "mean" => Agg::Mean,
        "min" => Agg::Min,
        "max" => Agg::Max,
        "sum" => Agg::Sum,
        "count" => Agg::Count,
        "first" => Agg::First,
        "last" => Agg::Last,
        "delta" => Agg::Delta,
        "increase" => Agg::Increase,
        "rate" => Agg::Rate,
        other => match percentile(other) {
            Some(p) => Agg::Percentile(p),
            None => {
                return Err(Problem::bad_request(
                    "bad_agg",
                    format!(
                        "agg={other}: use mean, min, max, sum, count, first, last, delta, increase, rate, or a percentile like p95"
                    ),
                ));
            }
        },
    })
}

/// Whether an aggregate looks at the number before its step.
pub(crate) fn looks_back(agg: Agg) -> bool {
    matches!(agg, Agg::Delta | Agg::Increase | Agg::Rate)
}

/// How a group is aggregated. Without `across` the series are put together in the way that suits `agg`: changes,
/// sums and counts are added, of smallest and largest the smallest and largest is taken, else the mean; and a
/// percentile is one of the series' means.
pub(crate) fn across(name: Option<&str>, across: Option<&str>, weight: Weight) -> Result<Across, Problem> {
    let mean = match weight {
        Weight::Series => Over::Mean,
        Weight::Points => Over::MeanOfPoints,
    };
    let each = agg(name)?;
    let made = match (across, each) {
        (None, Agg::Percentile(p)) => Across {
            each: Agg::Mean,
            over: Over::Percentile(p),
        },
        (None, _) => Across {
            each,
            over: match each {
                Agg::Min => Over::Min,
                Agg::Max => Over::Max,
                Agg::Sum | Agg::Count | Agg::Delta | Agg::Increase | Agg::Rate => Over::Sum,
                Agg::Mean | Agg::First | Agg::Last | Agg::Percentile(_) => mean,
            },
        },
        (Some(across), _) => Across {
            each,
            over: match (across, percentile(across)) {
                ("mean", _) => mean,
                ("sum", _) => Over::Sum,
                ("min", _) => Over::Min,
                ("max", _) => Over::Max,
                (_, Some(p)) => Over::Percentile(p),
                (other, None) => {
                    return Err(Problem::bad_request(
                        "bad_across",
                        format!("across={other}: use mean, sum, min, max, or a percentile like p95"),
                    ));
                }
            },
        },
    };
    if weight == Weight::Points && made.over != Over::MeanOfPoints {
        return Err(Problem::bad_request(
            "bad_weight",
            "weight=points is for means of the series",
        ));
    }
    Ok(made)
}

/// `p0` to `p100`, as a share.
fn percentile(name: &str) -> Option<f64> {
    let digits = name.strip_prefix('p')?;
    let plain = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let p: f64 = digits.parse().ok().filter(|_| plain)?;
    (0.0..=100.0).contains(&p).then_some(p / 100.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn aggregates_have_names() {
        let series = Weight::Series;
        for (name, named, weight, want) in [
            (None, None, series, (Agg::Mean, Over::Mean)),
            (
                Some("mean"),
                None,
                Weight::Points,
                (Agg::Mean, Over::MeanOfPoints),
            ),
            (Some("p95"), None, series, (Agg::Mean, Over::Percentile(0.95))),
            (
                Some("p99.9"),
                None,
                series,
                (Agg::Mean, Over::Percentile(99.9 / 100.0)),
            ),
            (Some("count"), None, series, (Agg::Count, Over::Sum)),
            (Some("min"), None, series, (Agg::Min, Over::Min)),
            (Some("last"), None, series, (Agg::Last, Over::Mean)),
            (Some("rate"), None, series, (Agg::Rate, Over::Sum)),
            (
                Some("p98"),
                Some("mean"),
                series,
                (Agg::Percentile(0.98), Over::Mean),
            ),
            (
                Some("max"),
                Some("p50"),
                series,
                (Agg::Max, Over::Percentile(0.5)),
            ),
            (Some("delta"), Some("max"), series, (Agg::Delta, Over::Max)),
        ] {
            let (each, over) = want;
            assert_eq!(
                across(name, named, weight).unwrap(),
                Across { each, over },
                "{name:?} {named:?}"
            );
        }
        for bad in ["p", "p101", "pNaN", "p-1", "p1e1", "median", ""] {
            assert!(agg(Some(bad)).is_err(), "{bad}");
            assert!(across(None, Some(bad), series).is_err(), "{bad}");
        }
        assert!(across(Some("max"), None, Weight::Points).is_err());
    }
}
