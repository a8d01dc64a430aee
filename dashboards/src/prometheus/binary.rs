//! Operators between two expressions.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use promql_parser::parser::token::{
    T_ADD, T_ATAN2, T_DIV, T_EQLC, T_GTE, T_GTR, T_LAND, T_LOR, T_LSS, T_LTE, T_LUNLESS, T_MOD, T_MUL, T_NEQ,
    T_POW, T_SUB,
};
use promql_parser::parser::{BinModifier, BinaryExpr, LabelModifier, VectorMatchCardinality};

use super::eval::{Made, Row};
use super::fault::Fault;
use super::labels::Labels;
use super::meter::Meter;

#[derive(Clone, Copy)]
enum Operator {
    Makes(fn(f64, f64) -> f64),
    Holds(fn(f64, f64) -> bool),
    And,
    Or,
    Unless,
}

fn operator(own: &BinaryExpr) -> Result<Operator, Fault> {
    use Operator::{Holds, Makes};
    Ok(match own.op.id() {
        T_ADD => Makes(|a, b| a + b),
        T_SUB => Makes(|a, b| a - b),
        T_MUL => Makes(|a, b| a * b),
        T_DIV => Makes(|a, b| a / b),
        T_MOD => Makes(|a, b| a % b),
        T_POW => Makes(f64::powf),
        T_ATAN2 => Makes(f64::atan2),
        T_EQLC => Holds(|a, b| a == b),
        T_NEQ => Holds(|a, b| a != b),
        T_GTR => Holds(|a, b| a > b),
        T_LSS => Holds(|a, b| a < b),
        T_GTE => Holds(|a, b| a >= b),
        T_LTE => Holds(|a, b| a <= b),
        T_LAND => Operator::And,
        T_LOR => Operator::Or,
        T_LUNLESS => Operator::Unless,
        _ => {
            return Err(Fault::execution(format!(
                "the operator `{}` is not supported",
                own.op
            )));
        }
    })
}

/// What one time of two operands gives; `kept` is what a comparison leaves when it holds.
fn joined(operator: Operator, as_bool: bool, (a, b): (f64, f64), kept: f64) -> f64 {
    match operator {
        Operator::Makes(make) => make(a, b),
        Operator::Holds(_) if a.is_nan() || b.is_nan() => f64::NAN,
        Operator::Holds(holds) => match (holds(a, b), as_bool) {
            (true, true) => 1.0,
            (false, true) => 0.0,
            (true, false) => kept,
            (false, false) => f64::NAN,
        },
        Operator::And | Operator::Or | Operator::Unless => f64::NAN,
    }
}

/// The value of an operator over its operands.
pub(super) fn binary(
    own: &BinaryExpr,
    lhs: Made,
    rhs: Made,
    n: usize,
    meter: &Meter<'_>,
) -> Result<Made, Fault> {
    let operator = operator(own)?;
    let as_bool = own.return_bool();
    let renames = as_bool || matches!(operator, Operator::Makes(_));
    let named = |labels: &Labels| match renames {
        true => labels.unnamed(),
        false => labels.clone(),
    };
    if let Some(modifier) = &own.modifier
        && (modifier.fill_values.lhs.is_some() || modifier.fill_values.rhs.is_some())
    {
        return Err(Fault::execution("the modifier `fill` is not supported"));
    }
    Ok(match (lhs, rhs) {
        (Made::Scalar(a), Made::Scalar(b)) => {
            meter.made(n)?;
            let each = a
                .iter()
                .zip(&b)
                .map(|(a, b)| joined(operator, true, (*a, *b), 1.0));
            Made::Scalar(each.collect())
        }
        (Made::Vector(rows), Made::Scalar(b)) => {
            let row = |row: &Row| Row {
                labels: named(&row.labels),
                values: zip(&row.values, &b, |a, b| joined(operator, as_bool, (a, b), a)),
            };
            Made::Vector(spoken(rows.iter().map(row)))
        }
        (Made::Scalar(a), Made::Vector(rows)) => {
            let row = |row: &Row| Row {
                labels: named(&row.labels),
                values: zip(&a, &row.values, |a, b| joined(operator, as_bool, (a, b), b)),
            };
            Made::Vector(spoken(rows.iter().map(row)))
        }
        (Made::Vector(lhs), Made::Vector(rhs)) => {
            let default = BinModifier::default();
            let modifier = own.modifier.as_ref().unwrap_or(&default);
            let sides = Sides {
                modifier,
                operator,
                as_bool,
                renames,
                n,
                meter,
            };
            meter.made(n.saturating_mul(lhs.len()))?;
            Made::Vector(match operator {
                Operator::And | Operator::Unless => sides.masked(lhs, &rhs),
                Operator::Or => sides.either(lhs, rhs),
                _ => sides.matched(lhs, rhs)?,
            })
        }
        _ => return Err(Fault::bad_data("a text has no operators")),
    })
}

/// What stands behind a minus.
pub(super) fn negated(made: Made) -> Made {
    match made {
        Made::Scalar(values) => Made::Scalar(values.iter().map(|value| -value).collect()),
        Made::Vector(rows) => Made::Vector(
            rows.into_iter()
                .map(|row| Row {
                    labels: row.labels.unnamed(),
                    values: row.values.iter().map(|value| -value).collect(),
                })
                .collect(),
        ),
        text => text,
    }
}

fn zip(a: &[f64], b: &[f64], join: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| join(*a, *b)).collect()
}

/// Those that have a value at all.
pub(super) fn spoken(rows: impl Iterator<Item = Row>) -> Vec<Row> {
    rows.filter(|row| row.values.iter().any(|value| !value.is_nan()))
        .collect()
}

/// Two vectors and how their series find each other.
struct Sides<'a> {
    modifier: &'a BinModifier,
    operator: Operator,
    as_bool: bool,
    renames: bool,
    n: usize,
    meter: &'a Meter<'a>,
}

impl Sides<'_> {
    /// By what a series is matched.
    fn signature(&self, labels: &Labels) -> Labels {
        match &self.modifier.matching {
            Some(LabelModifier::Include(on)) => labels.only(&on.labels),
            Some(LabelModifier::Exclude(ignored)) => labels.without(&ignored.labels),
            None => labels.unnamed(),
        }
    }

    /// Of each signature, at which times some series has a value.
    fn times_of(&self, rows: &[Row]) -> HashMap<Labels, Vec<bool>> {
        let mut all = HashMap::new();
        for row in rows {
            let there: &mut Vec<bool> = all
                .entry(self.signature(&row.labels))
                .or_insert_with(|| vec![false; self.n]);
            for (there, value) in there.iter_mut().zip(&row.values) {
                *there |= !value.is_nan();
            }
        }
        all
    }

    /// `and`, `unless`: the left side where the right one has or has no value.
    fn masked(&self, lhs: Vec<Row>, rhs: &[Row]) -> Vec<Row> {
        let there = self.times_of(rhs);
        let wanted = matches!(self.operator, Operator::And);
        let masked = lhs.into_iter().map(|mut row| {
            let there = there.get(&self.signature(&row.labels));
            for (i, value) in row.values.iter_mut().enumerate() {
                if there.is_some_and(|there| there[i]) != wanted {
                    *value = f64::NAN;
                }
            }
            row
        });
        spoken(masked)
    }

    /// `or`: the left side, and the right one where the left has nothing of its signature.
    fn either(&self, lhs: Vec<Row>, rhs: Vec<Row>) -> Vec<Row> {
        let there = self.times_of(&lhs);
        let mut rows = lhs;
        let mut places: HashMap<Labels, usize> = HashMap::new();
        for (i, row) in rows.iter().enumerate() {
            places.insert(row.labels.clone(), i);
        }
        for mut row in rhs {
            if let Some(there) = there.get(&self.signature(&row.labels)) {
                for (value, there) in row.values.iter_mut().zip(there) {
                    if *there {
                        *value = f64::NAN;
                    }
                }
            }
            if row.values.iter().all(|value| value.is_nan()) {
                continue;
            }
            // A series of both sides is one.
            match places.get(&row.labels) {
                Some(place) => fill(&mut rows[*place].values, &row.values),
                None => rows.push(row),
            }
        }
        rows
    }

    /// Arithmetic and comparisons: series of one signature, one to one or many to one.
    fn matched(&self, lhs: Vec<Row>, rhs: Vec<Row>) -> Result<Vec<Row>, Fault> {
        let (many, one, swapped) = match self.modifier.card {
            VectorMatchCardinality::OneToMany(_) => (rhs, lhs, true),
            _ => (lhs, rhs, false),
        };
        let side = if swapped { "left" } else { "right" };
        let one = self.alone(one, side)?;
        let many = match self.modifier.card {
            VectorMatchCardinality::OneToOne => self.alone(many, "left")?.into_iter().collect::<Vec<_>>(),
            _ => many
                .into_iter()
                .map(|row| (self.signature(&row.labels), row))
                .collect(),
        };
        let mut made: HashMap<Labels, Row> = HashMap::new();
        for (signature, row) in many {
            let Some(other) = one.get(&signature) else {
                continue;
            };
            let values = zip(&row.values, &other.values, |many, one| {
                let pair = if swapped { (one, many) } else { (many, one) };
                joined(self.operator, self.as_bool, pair, pair.0)
            });
            if values.iter().all(|value| value.is_nan()) {
                continue;
            }
            self.meter.made(self.n)?;
            let labels = self.result(&row.labels, &other.labels);
            match made.entry(labels.clone()) {
                Entry::Vacant(place) => {
                    place.insert(Row { labels, values });
                }
                Entry::Occupied(mut place) => {
                    if overlap(&place.get().values, &values) {
                        return Err(Fault::execution(
                            "multiple matches for labels: the labels of the grouping must make each result unique",
                        ));
                    }
                    fill(&mut place.get_mut().values, &values);
                }
            }
        }
        let mut rows: Vec<Row> = made.into_values().collect();
        rows.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(rows)
    }

    /// The one series of each signature; several are one as long as they are never there together.
    fn alone(&self, rows: Vec<Row>, side: &str) -> Result<HashMap<Labels, Row>, Fault> {
        let mut all: HashMap<Labels, Row> = HashMap::new();
        for row in rows {
            match all.entry(self.signature(&row.labels)) {
                Entry::Vacant(place) => {
                    place.insert(row);
                }
                Entry::Occupied(mut place) => {
                    if overlap(&place.get().values, &row.values) {
                        return Err(Fault::execution(format!(
                            "found duplicate series for the match group {} on the {side} hand-side of the operation; many-to-many matching not allowed: matching labels must be unique on one side",
                            super::answer::braced(place.key())
                        )));
                    }
                    fill(&mut place.get_mut().values, &row.values);
                }
            }
        }
        Ok(all)
    }

    /// The labels of a result.
    fn result(&self, many: &Labels, one: &Labels) -> Labels {
        let mut labels = match self.renames {
            true => many.unnamed(),
            false => many.clone(),
        };
        if let Some(included) = self.modifier.card.labels() {
            for name in &included.labels {
                labels = labels.with(name, one.get(name));
            }
            return labels;
        }
        match &self.modifier.matching {
            Some(LabelModifier::Include(on)) => labels.only(&on.labels),
            Some(LabelModifier::Exclude(ignored)) => {
                for name in &ignored.labels {
                    labels = labels.with(name, "");
                }
                labels
            }
            None => labels,
        }
    }
}

fn overlap(a: &[f64], b: &[f64]) -> bool {
    a.iter().zip(b).any(|(a, b)| !a.is_nan() && !b.is_nan())
}

/// Puts values where there are none.
fn fill(values: &mut [f64], others: &[f64]) {
    for (value, other) in values.iter_mut().zip(others) {
        if value.is_nan() {
            *value = *other;
        }
    }
}
