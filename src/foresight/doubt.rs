//! What looks like a sensor's fault in a series that is foreseen: said as a review that anybody's review overrules. Nothing
//! is taken away, no alert ends by it; what is made of the best values counts it as suspect.

use anyhow::{Result, ensure};
use onemap_dashboards::views::Views;
use onemap_forecast::faults::{Detector, Fault, FaultKind, drift, neighbours};
use onemap_model::forecast::OWN;
use onemap_model::{Review, SeriesKey, Timestamp, Verb, Verdict};

use super::grid::sent;
use crate::config::GaugePart;

/// Steps that are looked at.
const N_LOOKED: i64 = 1000;
/// Neighbours of the same quantity without which nothing is said of drift.
const N_NEIGHBOURS: usize = 3;
/// Of the Page–Hinkley test, in spreads of the difference.
const ALLOWANCE: f64 = 1.0;
const LIMIT: f64 = 60.0;
/// Findings that are said at once.
const MOST: usize = 20;

/// Reviews of what is found up to a mark and of which nobody has said anything yet.
///
/// # Errors
/// When history or ledger cannot be read.
pub(super) fn doubts(
    views: &Views,
    part: &GaugePart,
    detector: &Detector,
    mark_ms: i64,
) -> Result<Vec<Review>> {
    let step_ms = i64::from(part.step_s) * 1000;
    let span = (mark_ms - N_LOOKED * step_ms, mark_ms);
    let values = sent(views, &part.target, step_ms, span)?;
    let mut faults = detector.faults(&values);
    let beside = part
        .inputs
        .iter()
        .filter(|input| input.quantity == part.target.quantity);
    let others: Vec<Vec<f64>> = beside
        .map(|input| sent(views, input, step_ms, span))
        .collect::<Result<_>>()?;
    if others.len() >= N_NEIGHBOURS {
        let others: Vec<&[f64]> = others.iter().map(Vec::as_slice).collect();
        faults.extend(drift(&values, &neighbours(&values, &others), ALLOWANCE, LIMIT));
    }
    if faults.is_empty() {
        return Ok(Vec::new());
    }
    let said = spoken_of(views, &part.target, (span.0 - step_ms, span.1 + 1))?;
    let mut reviews = Vec::new();
    for fault in faults {
        // A step has what came since the one before it.
        let at = |step: usize| span.0 + (step as i64 - 1) * step_ms + 1;
        for (from, to) in without((at(fault.from), at(fault.to)), &said) {
            reviews.push(Review {
                series: part.target.clone(),
                from: Timestamp::from_ms(from),
                to: Timestamp::from_ms(to),
                verdict: Verdict::Doubted,
                name: OWN.to_owned(),
                reason: reason(&fault, part.step_s),
            });
        }
    }
    reviews.sort_by_key(|review| review.from);
    reviews.truncate(MOST);
    Ok(reviews)
}

/// Spans of which somebody has said something, in milliseconds, in order of their beginnings.
fn spoken_of(views: &Views, key: &SeriesKey, (from, to): (i64, i64)) -> Result<Vec<(i64, i64)>> {
    const MOST_ACTS: usize = 10_000;
    let span = (Timestamp::from_ms(from), Timestamp::from_ms(to));
    let acts = views.ledger.series_acts_of(key, span, None, MOST_ACTS + 1)?;
    ensure!(
        acts.len() <= MOST_ACTS,
        "{key} has more than {MOST_ACTS} reviews and corrections in what is looked through"
    );
    let spans = acts.into_iter().filter_map(|act| match act.act.verb {
        Verb::Review(review) => Some((review.from.ms(), review.to.ms())),
        _ => None,
    });
    let mut spans: Vec<(i64, i64)> = spans.collect();
    spans.sort_unstable();
    Ok(spans)
}

/// What is left of a span without others that are in order of their beginnings.
fn without(span: (i64, i64), others: &[(i64, i64)]) -> Vec<(i64, i64)> {
    let (mut from, to) = span;
    let mut left = Vec::new();
    for (begins, ends) in others {
        if *begins >= to {
            break;
        }
        if *begins > from {
            left.push((from, *begins));
        }
        from = from.max(*ends);
    }
    if from < to {
        left.push((from, to));
    }
    left
}

fn reason(fault: &Fault, step_s: u32) -> String {
    let lasts = (fault.to - fault.from) as u64 * u64::from(step_s) / 60;
    match fault.kind {
        FaultKind::Spike => "疑似尖峰：突然偏离后立即返回 / spike: gone as fast as it came".to_owned(),
        FaultKind::Stuck => {
            format!(
                "疑似卡滞：数值超出常态 {lasts} 分钟未变 / stuck: unchanged {lasts} min longer than it ever is"
            )
        }
        FaultKind::Shift => {
            "疑似突变：一步之间移到另一水平并停留 / shift: another level from one step to the next".to_owned()
        }
        FaultKind::Noise => {
            format!("疑似噪声：{lasts} 分钟内逐步反复 / noise: it turns at every step for {lasts} min")
        }
        FaultKind::Drift => "疑似漂移：逐渐偏离相邻测点 / drift: slowly away from its neighbours".to_owned(),
        FaultKind::Range => "超出可能范围 / outside of what can be".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Spans<'a> = &'a [(i64, i64)];

    #[test]
    fn what_was_spoken_of_is_left_out() {
        let cases: [(Spans<'_>, Spans<'_>); 6] = [
            (&[], &[(10, 20)]),
            (&[(0, 10), (20, 30)], &[(10, 20)]),
            (&[(12, 14), (13, 16)], &[(10, 12), (16, 20)]),
            (&[(5, 12), (18, 25)], &[(12, 18)]),
            (&[(5, 25)], &[]),
            (&[(10, 20), (12, 13)], &[]),
        ];
        for (others, left) in cases {
            assert_eq!(without((10, 20), others), left, "{others:?}");
        }
    }
}
