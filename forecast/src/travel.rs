//! How long what happens at one gauge takes to the next.

use serde::Serialize;

/// A travel time that was found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Travel {
    /// Steps by which the lower gauge follows the upper one; negative when it leads.
    pub steps: i64,
    /// Correlation of the changes at that lag, `[-1, 1]`.
    pub correlation: f64,
    /// Pairs of changes that it rests on.
    pub n: usize,
}

/// The lag in `-most..=most` at which changes of `lower` follow those of `upper` best. Changes, not levels: two
/// slow curves are alike at any lag. `None` when fewer than 50 pairs are known or one gauge does not change.
pub fn travel(upper: &[f64], lower: &[f64], most: usize) -> Option<Travel> {
    let n = upper.len().min(lower.len());
    let change = |values: &[f64]| -> Vec<f64> { values[..n].windows(2).map(|two| two[1] - two[0]).collect() };
    let (a, b) = (change(upper), change(lower));
    let most = most.min(a.len() / 4) as i64;
    (-most..=most)
        .filter_map(|lag| correlation(&a, &b, lag))
        .max_by(|x, y| {
            x.correlation
                .total_cmp(&y.correlation)
                .then(y.steps.abs().cmp(&x.steps.abs()))
        })
}

fn correlation(a: &[f64], b: &[f64], lag: i64) -> Option<Travel> {
    let (mut n, mut sa, mut sb, mut saa, mut sbb, mut sab) = (0usize, 0.0, 0.0, 0.0, 0.0, 0.0);
    let from = (-lag).max(0) as usize;
    for (at, x) in a.iter().enumerate().skip(from) {
        let Some(y) = usize::try_from(at as i64 + lag).ok().and_then(|to| b.get(to)) else {
            break;
        };
        if x.is_nan() || y.is_nan() {
            continue;
        }
        n += 1;
        sa += x;
        sb += y;
        saa += x * x;
        sbb += y * y;
        sab += x * y;
    }
    let count = n as f64;
    let (va, vb) = (saa - sa * sa / count, sbb - sb * sb / count);
    (n >= 50 && va > 0.0 && vb > 0.0).then(|| Travel {
        steps: lag,
        correlation: ((sab - sa * sb / count) / (va * vb).sqrt()).clamp(-1.0, 1.0),
        n,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_wave_arrives_when_it_arrives() {
        let wave =
            |at: f64| (-((at - 40.0) / 5.0).powi(2)).exp() + 0.5 * (-((at - 120.0) / 9.0).powi(2)).exp();
        let upper: Vec<f64> = (0..200).map(|i| wave(f64::from(i))).collect();
        let lower: Vec<f64> = (0..200).map(|i| 3.0 * wave(f64::from(i) - 7.0)).collect();
        let found = travel(&upper, &lower, 24).unwrap();
        assert_eq!(found.steps, 7);
        assert!(found.correlation > 0.99);
        assert_eq!(travel(&lower, &upper, 24).unwrap().steps, -7);
    }

    #[test]
    fn gauges_that_stand_still_or_are_short_have_none() {
        assert_eq!(travel(&[1.0; 100], &[1.0; 100], 10), None);
        assert_eq!(travel(&[1.0, 2.0], &[1.0, 2.0], 10), None);
    }
}
