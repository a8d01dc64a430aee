//! Many series as few: `sum by (…)` and its kin.

use std::collections::HashMap;

use promql_parser::parser::token::{
    T_AVG, T_BOTTOMK, T_COUNT, T_COUNT_VALUES, T_GROUP, T_MAX, T_MIN, T_QUANTILE, T_STDDEV, T_STDVAR, T_SUM,
    T_TOPK,
};
use promql_parser::parser::{AggregateExpr, Expr, LabelModifier};

use super::answer::number;
use super::binary::spoken;
use super::eval::{Evaluator, Row};
use super::fault::Fault;
use super::grid::Grid;
use super::labels::Labels;
use super::window::{quantile, variance};

/// The value of an aggregation.
pub(super) fn aggregate(
    evaluator: &Evaluator<'_>,
    own: &AggregateExpr,
    grid: Grid,
) -> Result<Vec<Row>, Fault> {
    let param = || {
        let missing = || Fault::bad_data(format!("`{}` needs a parameter", own.op));
        own.param.as_deref().ok_or_else(missing)
    };
    let rows = evaluator.rows(&own.expr, grid)?;
    let groups = groups(rows, own.modifier.as_ref());
    let meter = evaluator.meter;
    meter.made(grid.n.saturating_mul(groups.len()))?;
    let fold = |make: fn(&mut Vec<f64>) -> f64| Ok(folded(&groups, grid.n, |_, values| make(values)));
    match own.op.id() {
        T_SUM => fold(|values| values.iter().sum()),
        T_AVG => fold(|values| values.iter().sum::<f64>() / values.len() as f64),
        T_MIN => fold(|values| values.iter().copied().fold(f64::INFINITY, f64::min)),
        T_MAX => fold(|values| values.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
        T_COUNT => fold(|values| values.len() as f64),
        T_GROUP => fold(|_| 1.0),
        T_STDDEV => fold(|values| variance(values).sqrt()),
        T_STDVAR => fold(|values| variance(values)),
        T_QUANTILE => {
            let phis = evaluator.numbers(param()?, grid)?;
            Ok(folded(&groups, grid.n, |i, values| quantile(phis[i], values)))
        }
        T_TOPK | T_BOTTOMK => {
            let ks = evaluator.numbers(param()?, grid)?;
            Ok(largest(groups, &ks, own.op.id() == T_BOTTOMK))
        }
        T_COUNT_VALUES => counted(evaluator, &groups, param()?, grid),
        _ => Err(Fault::execution(format!(
            "the aggregation `{}` is not supported",
            own.op
        ))),
    }
}

struct Group {
    labels: Labels,
    rows: Vec<Row>,
}

fn groups(rows: Vec<Row>, by: Option<&LabelModifier>) -> Vec<Group> {
    let mut places: HashMap<Labels, usize> = HashMap::new();
    let mut groups: Vec<Group> = Vec::new();
    for row in rows {
        let labels = match by {
            Some(LabelModifier::Include(by)) => row.labels.only(&by.labels),
            Some(LabelModifier::Exclude(without)) => row.labels.without(&without.labels),
            None => Labels::default(),
        };
        let place = *places.entry(labels).or_insert_with_key(|labels| {
            groups.push(Group {
                labels: labels.clone(),
                rows: Vec::new(),
            });
            groups.len() - 1
        });
        groups[place].rows.push(row);
    }
    groups
}

/// One number of each group at each time, of the values there.
fn folded(groups: &[Group], n: usize, make: impl Fn(usize, &mut Vec<f64>) -> f64) -> Vec<Row> {
    let mut there = Vec::new();
    let rows = groups.iter().map(|group| {
        let at = |i: usize| {
            there.clear();
            let values = group.rows.iter().map(|row| row.values[i]);
            there.extend(values.filter(|value| !value.is_nan()));
            match there.is_empty() {
                true => f64::NAN,
                false => make(i, &mut there),
            }
        };
        Row {
            labels: group.labels.clone(),
            values: (0..n).map(at).collect(),
        }
    });
    spoken(rows)
}

/// The `k` largest or smallest of each group, time by time, largest (smallest) first by their last value.
fn largest(groups: Vec<Group>, ks: &[f64], smallest: bool) -> Vec<Row> {
    let mut all = Vec::new();
    for mut group in groups {
        for (i, k) in ks.iter().enumerate() {
            let k = if *k >= 1.0 { *k as usize } else { 0 };
            let mut there: Vec<(f64, usize)> = Vec::new();
            let values = group.rows.iter().map(|row| row.values[i]).zip(0..);
            there.extend(values.filter(|(value, _)| !value.is_nan()));
            there.sort_by(|a, b| a.0.total_cmp(&b.0));
            if !smallest {
                there.reverse();
            }
            for (_, row) in there.into_iter().skip(k) {
                group.rows[row].values[i] = f64::NAN;
            }
        }
        let mut rows = spoken(group.rows.into_iter());
        rows.sort_by(|a, b| {
            let last = |row: &Row| row.values.last().copied().unwrap_or(f64::NAN);
            match smallest {
                true => last(a).total_cmp(&last(b)),
                false => last(b).total_cmp(&last(a)),
            }
        });
        all.extend(rows);
    }
    all
}

/// How many series of each group have each value, which stands in a label.
fn counted(evaluator: &Evaluator<'_>, groups: &[Group], label: &Expr, grid: Grid) -> Result<Vec<Row>, Fault> {
    let label = Evaluator::text(label)?;
    super::functions::check_label(label)?;
    let mut all = Vec::new();
    for group in groups {
        let mut counts: HashMap<u64, Vec<f64>> = HashMap::new();
        for row in &group.rows {
            for (i, value) in row.values.iter().enumerate().filter(|(_, value)| !value.is_nan()) {
                if !counts.contains_key(&value.to_bits()) {
                    evaluator.meter.made(grid.n)?;
                }
                let counts = counts
                    .entry(value.to_bits())
                    .or_insert_with(|| vec![f64::NAN; grid.n]);
                counts[i] = if counts[i].is_nan() { 1.0 } else { counts[i] + 1.0 };
            }
        }
        for (value, values) in counts {
            let labels = group.labels.with(label, &number(f64::from_bits(value)));
            all.push(Row { labels, values });
        }
    }
    all.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok(all)
}
