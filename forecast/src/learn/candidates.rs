//! What each candidate of a blend foresees: fitted to all rows, and for the rows of each block to those of the others.

use super::{HOUR_MS, Learner, N_FOLDS, NO_FOLD};
use crate::baseline::{Climatology, DampedTrend};
use crate::model::{MedianTrees, N_LINES};
use crate::ridge::{Moments, Ridge};
use crate::score::quantile_of;
use crate::trees::{Binned, Loss, Options as TreeOptions, Trees};

/// Penalties of a ridge, in shares of the rows' weight.
const PENALTIES: [f64; 6] = [1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0];
/// Rows that trees are grown on at most: on what a line leaves, and for the median, which has no line under it.
const MOST_TREE_ROWS: usize = 15_000;
const MOST_MEDIAN_ROWS: usize = 25_000;

/// A ridge of all rows.
pub(super) struct Line {
    pub(super) ridge: Ridge,
    /// That it is solved over.
    pub(super) columns: Vec<usize>,
    /// That was chosen, in shares of the rows' weight.
    pub(super) penalty: f64,
    /// What ridges of the other blocks foresee for the rows of each.
    pub(super) unseen: Vec<f64>,
}

impl Learner<'_> {
    pub(super) fn trend(&self) -> (DampedTrend, Vec<f64>) {
        let values = &self.view.tracks[0].clean.values[..self.n_train.min(self.view.len())];
        DampedTrend::CHOICES
            .iter()
            .map(|choice| {
                let all = choice.changes(values, self.layout.horizon);
                let at_origins: Vec<f64> = self.origins.iter().map(|t| all[*t]).collect();
                let loss: f64 = at_origins
                    .iter()
                    .zip(&self.changes)
                    .map(|(f, c)| if f.is_nan() { c * c } else { (c - f).powi(2) })
                    .sum();
                (loss, *choice, at_origins)
            })
            .min_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, choice, changes)| (choice, changes))
            .expect("there are choices")
    }

    /// The usual and how much of the distance to it is left after the horizon, with changes for rows of a block from the others.
    pub(super) fn usual(&self) -> Option<((Climatology, f64), Vec<f64>)> {
        let step_ms = self.view.time_ms(1) - self.view.time_ms(0);
        let mut periods = Vec::new();
        if step_ms <= 6 * HOUR_MS {
            periods.push(24.0 * HOUR_MS as f64);
        }
        if step_ms * self.n_train as i64 > 300 * 24 * HOUR_MS {
            periods.push(365.2425 * 24.0 * HOUR_MS as f64);
        }
        let values = &self.view.tracks[0].clean.values;
        let horizon = self.layout.horizon;
        let fitted = |without: Option<usize>| -> Option<(Climatology, f64)> {
            let rows: Vec<usize> = (0..self.n())
                .filter(|at| Some(self.folds[*at]) != without)
                .collect();
            let stride = rows.len().div_ceil(8_000).max(1);
            let rows: Vec<usize> = rows.into_iter().step_by(stride).collect();
            let times: Vec<i64> = rows
                .iter()
                .map(|at| self.view.time_ms(self.origins[*at]))
                .collect();
            let now: Vec<f64> = rows.iter().map(|at| values[self.origins[*at]]).collect();
            let usual = Climatology::fit(&times, &now, &periods)?;
            let (mut product, mut square) = (0.0, 0.0);
            for (at, (time, now)) in rows.iter().zip(times.iter().zip(&now)) {
                let later = self.view.time_ms(self.origins[*at] + horizon);
                let (before, after) = (now - usual.at(*time), now + self.changes[*at] - usual.at(later));
                product += before * after;
                square += before * before;
            }
            let memory = if square > 0.0 {
                (product / square).clamp(0.0, 1.0)
            } else {
                1.0
            };
            Some((usual, memory))
        };
        let mut changes = vec![0.0; self.n()];
        for fold in 0..N_FOLDS {
            let (usual, memory) = fitted(Some(fold))?;
            for at in (0..self.n()).filter(|at| self.folds[*at] == fold) {
                let t = self.origins[at];
                changes[at] = usual.change(
                    self.view.time_ms(t),
                    values[t],
                    self.view.time_ms(t + horizon),
                    memory,
                );
            }
        }
        Some((fitted(None)?, changes))
    }

    /// Steps of a day where the series has days.
    pub(super) fn season(&self) -> Option<usize> {
        let step_ms = self.view.time_ms(1) - self.view.time_ms(0);
        let n = (24 * HOUR_MS + step_ms / 2) / step_ms;
        (step_ms <= 6 * HOUR_MS).then_some(n as usize)
    }

    /// The lines of a tier, and the sums that they were solved from: of all rows alike, and with floods weighted.
    pub(super) fn lines(&self) -> ([Option<Line>; N_LINES], [Moments; 2]) {
        let even = vec![1.0; self.n()];
        let (by_row, by_flood) = (self.sums(&even), self.sums(&self.weights));
        let whole = |sums: &[Moments]| {
            let mut all = Moments::new(self.layout.n_columns());
            sums.iter().for_each(|some| all.merge(some));
            all
        };
        let of_all = [whole(&by_row), whole(&by_flood)];
        let all: Vec<usize> = (0..self.layout.n_columns()).collect();
        let plain: Vec<usize> = all
            .iter()
            .copied()
            .filter(|column| self.layout.plain()[*column])
            .collect();
        let near = self.near(&plain, &of_all[1]);
        let lines = [
            self.line(&by_row, &even, &all),
            self.line(&by_flood, &self.weights, &all),
            self.line(&by_row, &even, &plain),
            self.line(&by_flood, &self.weights, &plain),
            self.line(&by_row, &even, &near),
        ];
        (lines, of_all)
    }

    /// Columns of the target and of the three series whose changes pull most at it.
    fn near(&self, plain: &[usize], all: &Moments) -> Vec<usize> {
        let mut pulls: Vec<(f64, usize)> = self
            .layout
            .channels
            .iter()
            .filter(|channel| **channel != 0)
            .map(|channel| {
                let own = plain
                    .iter()
                    .filter(|column| self.layout.owners()[**column] == Some(*channel));
                (
                    own.map(|column| all.pull(*column).abs()).fold(0.0, f64::max),
                    *channel,
                )
            })
            .collect();
        pulls.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let near: Vec<usize> = [0]
            .into_iter()
            .chain(pulls.into_iter().take(3).map(|(_, channel)| channel))
            .collect();
        plain
            .iter()
            .copied()
            .filter(|column| self.layout.owners()[*column].is_some_and(|owner| near.contains(&owner)))
            .collect()
    }

    /// Sums over the rows of each block, and of those in none.
    fn sums(&self, weights: &[f64]) -> Vec<Moments> {
        (0..=N_FOLDS)
            .map(|fold| {
                let fold = if fold == N_FOLDS { NO_FOLD } else { fold };
                let mut sums = Moments::new(self.layout.n_columns());
                sums.add(
                    (0..self.n())
                        .filter(|at| self.folds[*at] == fold)
                        .map(|at| (self.scaled_row(at), self.changes[at], weights[at])),
                );
                sums
            })
            .collect()
    }

    /// The ridge over some columns, with the penalty that does best on blocks that it has not seen.
    fn line(&self, sums: &[Moments], weights: &[f64], columns: &[usize]) -> Option<Line> {
        let sums: Vec<Moments> = sums.iter().map(|some| some.select(columns)).collect();
        let without = |fold: Option<usize>| {
            let mut rest = Moments::new(columns.len());
            let used = sums
                .iter()
                .enumerate()
                .filter(|(at, _)| fold.is_none_or(|fold| *at != fold && *at != N_FOLDS));
            used.for_each(|(_, some)| rest.merge(some));
            rest
        };
        let whole = |ridge: Ridge| ridge.spread(columns, self.layout.n_columns());
        let rests: Vec<Moments> = (0..N_FOLDS).map(|fold| without(Some(fold))).collect();
        let in_blocks = |penalty: f64| -> Option<Vec<f64>> {
            let mut foreseen = vec![0.0; self.n()];
            for (fold, rest) in rests.iter().enumerate() {
                if sums[fold].weight() <= 0.0 || rest.weight() <= 0.0 {
                    continue;
                }
                let ridge = whole(rest.solve(penalty * rest.weight())?);
                for at in (0..self.n()).filter(|at| self.folds[*at] == fold) {
                    foreseen[at] = ridge.at(self.scaled_row(at));
                }
            }
            Some(foreseen)
        };
        let (_, penalty, unseen) = PENALTIES
            .iter()
            .filter_map(|penalty| {
                let foreseen = in_blocks(*penalty)?;
                let loss: f64 = (0..self.n())
                    .filter(|at| self.folds[*at] != NO_FOLD)
                    .map(|at| weights[at] * (self.changes[at] - foreseen[at]).powi(2))
                    .sum();
                loss.is_finite().then_some((loss, *penalty, foreseen))
            })
            .min_by(|a, b| a.0.total_cmp(&b.0))?;
        let all = without(None);
        Some(Line {
            ridge: whole(all.solve(penalty * all.weight())?),
            columns: columns.to_vec(),
            penalty,
            unseen,
        })
    }

    /// At most so many rows that trees are grown on, without a block.
    fn tree_rows(&self, without: Option<usize>, most: usize) -> Vec<u32> {
        let stride = self.n().div_ceil(most).max(1);
        (0..self.n())
            .step_by(stride)
            .filter(|at| {
                without.is_none() || (Some(self.folds[*at]) != without && self.folds[*at] != NO_FOLD)
            })
            .map(|at| at as u32)
            .collect()
    }

    fn grown(
        &self,
        table: &Binned,
        targets: &[f64],
        weights: &[f64],
        most: usize,
        options: &TreeOptions,
    ) -> (Trees, Vec<f64>) {
        let mut unseen = vec![0.0; self.n()];
        for fold in 0..N_FOLDS {
            let trees = Trees::fit(
                table,
                targets,
                weights,
                &self.tree_rows(Some(fold), most),
                options,
            );
            for at in (0..self.n()).filter(|at| self.folds[*at] == fold) {
                unseen[at] = trees.at(self.raw_row(at));
            }
        }
        (
            Trees::fit(table, targets, weights, &self.tree_rows(None, most), options),
            unseen,
        )
    }

    /// Trees on what a line leaves over.
    pub(super) fn trees_on(&self, line: &[f64]) -> (Trees, Vec<f64>) {
        let table = Binned::new(&self.raw, self.layout.n_columns());
        let left: Vec<f64> = self.changes.iter().zip(line).map(|(c, l)| c - l).collect();
        let weights: Vec<f64> = self.weights.iter().map(|w| w.sqrt()).collect();
        let options = TreeOptions {
            n_trees: 60,
            rate: 0.08,
            max_leaves: 12,
            min_rows: 30,
            columns: 0.3,
            ..TreeOptions::default()
        };
        self.grown(&table, &left, &weights, MOST_TREE_ROWS, &options)
    }

    pub(super) fn median_trees(&self) -> (MedianTrees, Vec<f64>) {
        let values = &self.view.tracks[0].clean.values;
        let now: Vec<f64> = self.origins.iter().map(|t| values[*t]).collect();
        let mut sorted = now.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let least = now
            .iter()
            .zip(&self.changes)
            .map(|(n, c)| n.min(n + c))
            .fold(f64::INFINITY, f64::min);
        let is_log = least > 0.0 && quantile_of(&sorted, 0.98) > 2.5 * quantile_of(&sorted, 0.5);
        let targets: Vec<f64> = match is_log {
            true => now
                .iter()
                .zip(&self.changes)
                .map(|(n, c)| ((n + c) / n).ln())
                .collect(),
            false => self.changes.clone(),
        };
        let table = Binned::new(&self.raw, self.layout.n_columns());
        let options = TreeOptions {
            loss: Loss::Quantile(0.5),
            n_trees: 160,
            rate: 0.06,
            max_leaves: 20,
            min_rows: 30,
            columns: 0.3,
            ..TreeOptions::default()
        };
        let even = vec![1.0; self.n()];
        let (trees, unseen) = self.grown(&table, &targets, &even, MOST_MEDIAN_ROWS, &options);
        let trees = MedianTrees { trees, is_log };
        let changes = match is_log {
            true => unseen
                .iter()
                .zip(&now)
                .map(|(f, n)| n * (f.clamp(-5.0, 5.0).exp() - 1.0))
                .collect(),
            false => unseen,
        };
        (trees, changes)
    }
}
