//! The chance that a threshold is exceeded: read from the quantiles of a forecast, put right by how often it came.

use serde::{Deserialize, Serialize};

use crate::score::LEVELS;

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

/// A rising curve from chances as read to chances as they came (isotonic regression by pooling adjacent violators), and the chance
/// from which a warning is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    knots: Vec<(f64, f64)>,
    /// Of chances as read.
    warn_from: f64,
}

/// What was said of a threshold and what came.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Case {
    /// The chance that it is exceeded, as read.
    pub chance: f64,
    /// Whether it was.
    pub came: bool,
}

/// Cases of either kind that a curve needs.
const LEAST: usize = 25;

impl Calibration {
    /// Learns from chances and whether the threshold was exceeded. With fewer than 25 cases of either kind chances stay as
    /// they are and a warning is given from one half.
    pub fn learn(cases: &[Case]) -> Self {
        let n_came = cases.iter().filter(|case| case.came).count();
        if n_came < LEAST || cases.len() - n_came < LEAST {
            return Self {
                knots: Vec::new(),
                warn_from: 0.5,
            };
        }
        let mut found = Self {
            knots: knots(cases),
            warn_from: 0.5,
        };
        found.warn_from = worth_warning(cases.iter().map(|case| found.at(case.chance)).collect());
        found
    }

    /// Whether a chance as read is worth a warning: as read from the quantiles that are issued, which operation moves on, not from
    /// the curve, whose steps stand on the few floods of training.
    pub fn warns(&self, chance: f64) -> bool {
        chance >= self.warn_from
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

/// Points of the curve, ascending: mean chance as read and share that came, of blocks of neighbours.
fn knots(cases: &[Case]) -> Vec<(f64, f64)> {
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
    blocks
        .iter()
        .map(|(chance, came, n)| (chance / n, (came + 0.1) / (n + 0.2)))
        .collect()
}

/// The chance from which a warning raises the critical success index that is expected of all. With `C` = hits/(came + false
/// alarms) so far, a further warning of chance `p` makes it (hits + p)/(came + false alarms + 1 − p), which is more while
/// p > C/(1 + C): chances are warned of from the surest down until that no longer holds. Nothing is searched among the few
/// cases that came, as the warnings that served best among those serve the next flood less well.
fn worth_warning(mut chances: Vec<f64>) -> f64 {
    chances.sort_unstable_by(|a, b| b.total_cmp(a));
    let came: f64 = chances.iter().sum();
    let (mut hits, mut false_alarms, mut index) = (0.0, 0.0, 0.0);
    for chance in chances {
        if chance <= index / (1.0 + index) {
            break;
        }
        hits += chance;
        false_alarms += 1.0 - chance;
        index = hits / (came + false_alarms);
    }
    index / (1.0 + index)
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
            })
            .collect();
        let curve = Calibration::learn(&cases);
        assert!((curve.at(0.9) - 0.5).abs() < 0.02, "{curve:?}");
        assert!(curve.at(0.1) < 0.02);
        assert_eq!(Calibration::learn(&cases[..20]).at(0.3), 0.3);
    }

    #[test]
    fn what_comes_by_three_in_ten_is_warned_of_where_little_surer_is_known_and_not_else() {
        // Of 3000 cases 300 have a chance of 0.3, some are sure, the rest is nothing.
        let warn_from = |n_sure: usize| {
            let chance = |i: usize| match i {
                i if i < n_sure => 1.0,
                i if i < n_sure + 300 => 0.3,
                _ => 0.0,
            };
            worth_warning((0..3000).map(chance).collect())
        };
        // 30 sure: C = 30/120, then (30 + 90)/(120 + 210) = 4/11; from 4/15.
        assert!((warn_from(30) - 4.0 / 15.0).abs() < 1e-9);
        // 100 sure: C = 100/190, from 10/29, which is more than 0.3.
        assert!((warn_from(100) - 10.0 / 29.0).abs() < 1e-9);
        // Never from more than one half.
        assert!((warn_from(2700) - 2700.0 / 5490.0).abs() < 1e-9);
    }

    #[test]
    fn a_few_floods_teach_no_warning() {
        let cases: Vec<Case> = (0..1000)
            .map(|i| Case {
                chance: if i < 20 { 0.9 } else { 0.0 },
                came: i < 20,
            })
            .collect();
        let curve = Calibration::learn(&cases);
        assert!(curve.warns(0.5) && !curve.warns(0.49));
    }
}
