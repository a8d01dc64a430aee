//! The chance that a threshold is exceeded: read from the quantiles of a forecast, put right by how often it came.

use serde::{Deserialize, Serialize};

use crate::score::{LEVELS, Table};

/// Chance that a value given by its quantiles at [`LEVELS`] (ascending) is above a threshold. Beyond the outer quantiles the
/// chance falls by half with each distance between the two outermost ones.
pub fn chance_above(quantiles: &[f64], threshold: f64) -> f64 {
    let last = LEVELS.len() - 1;
    let (lowest, highest) = (quantiles[0], quantiles[last]);
    if threshold < lowest {
        let width = (quantiles[1] - lowest).max((highest - lowest) * 0.02).max(1e-12);
        return 1.0 - LEVELS[0] * 0.5f64.powf((lowest - threshold) / width);
    }
    if threshold >= highest {
        let width = (highest - quantiles[last - 1])
            .max((highest - lowest) * 0.02)
            .max(1e-12);
        return (1.0 - LEVELS[last]) * 0.5f64.powf((threshold - highest) / width);
    }
    let above = quantiles.partition_point(|q| *q <= threshold).clamp(1, last);
    let (a, b) = (quantiles[above - 1], quantiles[above]);
    let share = if b > a { (threshold - a) / (b - a) } else { 1.0 };
    1.0 - (LEVELS[above - 1] + share * (LEVELS[above] - LEVELS[above - 1]))
}

/// A rising curve from chances as read to chances as they came (isotonic regression by pooling adjacent violators).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    knots: Vec<(f64, f64)>,
    /// Chance from which a warning is given: the one with the largest critical success index in training. First of what is
    /// still at or below the threshold, then of what is above it already and may stay there.
    warn_at: [f64; 2],
}

/// What was said of a threshold and what came.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Case {
    /// The chance that it is exceeded, as read.
    pub chance: f64,
    /// Whether it was.
    pub came: bool,
    /// Whether it was exceeded when that was said.
    pub is_above: bool,
}

/// Cases of either kind that a curve needs.
const LEAST: usize = 25;

impl Calibration {
    /// Learns from chances and whether the threshold was exceeded. With fewer than 25 cases of either kind chances stay as
    /// they are and a warning is given from one half.
    pub fn learn(cases: &[Case]) -> Self {
        let mut found = Self {
            knots: Vec::new(),
            warn_at: [0.5; 2],
        };
        let is_thin = |cases: &[Case]| {
            let n_came = cases.iter().filter(|case| case.came).count();
            n_came < LEAST || cases.len() - n_came < LEAST
        };
        if is_thin(cases) {
            return found;
        }
        let mut sorted: Vec<(f64, bool)> = cases.iter().map(|case| (case.chance, case.came)).collect();
        sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        // Blocks of (sum of chances, number that came, number).
        let mut blocks: Vec<(f64, f64, f64)> = Vec::new();
        for (chance, came) in sorted {
            blocks.push((chance, f64::from(u8::from(came)), 1.0));
            while let [.., before, last] = blocks.as_slice() {
                let apart = last.0 / last.2 - before.0 / before.2;
                if before.1 / before.2 < last.1 / last.2 && before.2 >= 10.0 && apart > 1e-6 {
                    break;
                }
                let merged = (before.0 + last.0, before.1 + last.1, before.2 + last.2);
                blocks.truncate(blocks.len() - 2);
                blocks.push(merged);
            }
        }
        // A block is never surer than its number of cases allows.
        found.knots = blocks
            .iter()
            .map(|(chance, came, n)| (chance / n, (came + 0.1) / (n + 0.2)))
            .collect();
        let best = |cases: &[Case]| {
            let csi = |at: f64| {
                let mut table = Table::default();
                for case in cases {
                    table.count(found.at(case.chance) >= at, case.came);
                }
                table.csi().unwrap_or(0.0)
            };
            let tried = (2..=16).map(|i| f64::from(i) * 0.05);
            tried.max_by(|a, b| csi(*a).total_cmp(&csi(*b))).unwrap_or(0.5)
        };
        let of_all = best(cases);
        found.warn_at = [false, true].map(|is_above| {
            let own: Vec<Case> = cases
                .iter()
                .copied()
                .filter(|case| case.is_above == is_above)
                .collect();
            if is_thin(&own) { of_all } else { best(&own) }
        });
        found
    }

    /// Whether a chance (as it came in training) is worth a warning.
    pub fn warns(&self, chance: f64, is_above: bool) -> bool {
        chance >= self.warn_at[usize::from(is_above)]
    }

    /// The chance as it came in training.
    pub fn at(&self, chance: f64) -> f64 {
        let above = self.knots.partition_point(|(x, _)| *x <= chance);
        match (
            above.checked_sub(1).map(|at| self.knots[at]),
            self.knots.get(above),
        ) {
            (None, None) => chance,
            (Some((_, y)), None) => y,
            (None, Some((_, y))) => *y,
            (Some((x0, y0)), Some((x1, y1))) => y0 + (y1 - y0) * (chance - x0) / (x1 - x0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_follow_the_quantiles() {
        let quantiles: Vec<f64> = LEVELS.iter().map(|level| 10.0 * level).collect();
        assert!((chance_above(&quantiles, 5.0) - 0.5).abs() < 1e-9);
        assert!((chance_above(&quantiles, 9.0) - 0.1).abs() < 1e-9);
        assert!(chance_above(&quantiles, 50.0) < 1e-6 && chance_above(&quantiles, -50.0) > 1.0 - 1e-6);
        let certain = [3.0; LEVELS.len()];
        assert!(chance_above(&certain, 2.0) > 0.99 && chance_above(&certain, 4.0) < 0.02);
    }

    #[test]
    fn a_boast_is_put_right() {
        // Said 0.9, came half of the time; said 0.1, came never.
        let cases: Vec<Case> = (0..400)
            .map(|i| Case {
                chance: if i % 2 == 0 { 0.9 } else { 0.1 },
                came: i % 4 == 0,
                is_above: false,
            })
            .collect();
        let curve = Calibration::learn(&cases);
        assert!((curve.at(0.9) - 0.5).abs() < 0.02, "{curve:?}");
        assert!(curve.at(0.1) < 0.02);
        assert_eq!(Calibration::learn(&cases[..20]).at(0.3), 0.3);
    }

    #[test]
    fn what_has_not_crossed_yet_is_warned_of_by_its_own_record() {
        // Above it stays there by nine in ten; below it a chance of 0.3 comes true by three in ten, all else never.
        let cases: Vec<Case> = (0..3000)
            .map(|i| match i % 3 {
                0 => Case {
                    chance: 0.3,
                    came: i / 3 % 10 < 3,
                    is_above: false,
                },
                1 => Case {
                    chance: 0.8,
                    came: i / 3 % 10 > 0,
                    is_above: true,
                },
                _ => Case {
                    chance: 0.01,
                    came: false,
                    is_above: false,
                },
            })
            .collect();
        let curve = Calibration::learn(&cases);
        assert!(
            curve.warns(curve.at(0.3), false) && !curve.warns(curve.at(0.01), false),
            "{curve:?}"
        );
        assert!(curve.warns(curve.at(0.8), true), "{curve:?}");
        // The best for all would be to leave out what comes true by three in ten.
        let all: Vec<Case> = cases
            .iter()
            .map(|case| Case {
                is_above: true,
                ..*case
            })
            .collect();
        let of_all = Calibration::learn(&all);
        assert!(!of_all.warns(of_all.at(0.3), true), "{of_all:?}");
    }
}
