//! Functions of single values, of the calendar and of labels.

use std::sync::Arc;

use promql_parser::label::MatchOp;
use promql_parser::parser::Expr;
use regex::Regex;

use super::binary::spoken;
use super::eval::{Evaluator, Made, Row, peeled};
use super::fault::Fault;
use super::grid::Grid;
use super::labels::{Labels, NAME};

/// The value of a function that is no function of windows.
pub(super) fn call(evaluator: &Evaluator<'_>, name: &str, args: &[&Expr], grid: Grid) -> Result<Made, Fault> {
    if let Some((make, keeps_name)) = simple(name) {
        let rows = evaluator.rows(arg(name, args, 0)?, grid)?;
        evaluator.meter.made(grid.n.saturating_mul(rows.len()))?;
        return Ok(Made::Vector(mapped(rows, keeps_name, |_, value| make(value))));
    }
    if let Some(part) = calendar(name) {
        let rows = match args.first() {
            Some(of) => evaluator.rows(of, grid)?,
            None => vec![Row {
                labels: Labels::default(),
                values: seconds(grid),
            }],
        };
        evaluator.meter.made(grid.n.saturating_mul(rows.len()))?;
        return Ok(Made::Vector(mapped(rows, false, |_, value| part(value))));
    }
    let numbers = |i: usize| evaluator.numbers(arg(name, args, i)?, grid);
    let rows = || evaluator.rows(arg(name, args, 0)?, grid);
    Ok(match name {
        "time" => {
            evaluator.meter.made(grid.n)?;
            Made::Scalar(seconds(grid))
        }
        "pi" => Made::Scalar(vec![std::f64::consts::PI; grid.n]),
        "vector" => Made::Vector(vec![Row {
            labels: Labels::default(),
            values: numbers(0)?,
        }]),
        "scalar" => {
            let rows = rows()?;
            evaluator.meter.made(grid.n)?;
            let only = |i: usize| {
                let mut there = rows
                    .iter()
                    .map(|row| row.values[i])
                    .filter(|value| !value.is_nan());
                match (there.next(), there.next()) {
                    (Some(value), None) => value,
                    _ => f64::NAN,
                }
            };
            Made::Scalar((0..grid.n).map(only).collect())
        }
        "absent" => Made::Vector(absent(arg(name, args, 0)?, &rows()?, grid)),
        "timestamp" => {
            let times = seconds(grid);
            let rows = rows()?;
            evaluator.meter.made(grid.n.saturating_mul(rows.len()))?;
            Made::Vector(mapped(rows, false, |i, value| match value.is_nan() {
                true => value,
                false => times[i],
            }))
        }
        "round" => {
            let to = match args.len() {
                0 | 1 => vec![1.0; grid.n],
                _ => numbers(1)?,
            };
            Made::Vector(mapped(rows()?, true, |i, value| rounded(value, to[i])))
        }
        "clamp" => {
            let (low, high) = (numbers(1)?, numbers(2)?);
            let clamp = |i: usize, value: f64| match low[i] <= high[i] {
                true => smaller(larger(value, low[i]), high[i]),
                false => f64::NAN,
            };
            Made::Vector(mapped(rows()?, true, clamp))
        }
        "clamp_min" => {
            let low = numbers(1)?;
            Made::Vector(mapped(rows()?, true, |i, value| larger(value, low[i])))
        }
        "clamp_max" => {
            let high = numbers(1)?;
            Made::Vector(mapped(rows()?, true, |i, value| smaller(value, high[i])))
        }
        "sort" | "sort_desc" => {
            let mut rows = rows()?;
            rows.sort_by(|a, b| {
                let last = |row: &Row| row.values.last().copied().unwrap_or(f64::NAN);
                match name {
                    "sort" => last(a).total_cmp(&last(b)),
                    _ => last(b).total_cmp(&last(a)),
                }
            });
            Made::Vector(rows)
        }
        "label_replace" => Made::Vector(label_replace(rows()?, args)?),
        "label_join" => Made::Vector(label_join(rows()?, args)?),
        _ => {
            return Err(Fault::execution(format!(
                "the function `{name}` is not supported"
            )));
        }
    })
}

fn arg<'e>(name: &str, args: &[&'e Expr], i: usize) -> Result<&'e Expr, Fault> {
    let missing = || Fault::bad_data(format!("`{name}` lacks its argument {}", i + 1));
    args.get(i).copied().ok_or_else(missing)
}

/// The larger one; NaN when the first is.
fn larger(value: f64, low: f64) -> f64 {
    if value < low { low } else { value }
}

fn smaller(value: f64, high: f64) -> f64 {
    if value > high { high } else { value }
}

fn seconds(grid: Grid) -> Vec<f64> {
    grid.times().map(|t| t as f64 / 1e3).collect()
}

fn mapped(rows: Vec<Row>, keeps_name: bool, make: impl Fn(usize, f64) -> f64) -> Vec<Row> {
    let each = rows.into_iter().map(|row| Row {
        labels: match keeps_name {
            true => row.labels,
            false => row.labels.unnamed(),
        },
        values: row.values.iter().enumerate().map(|(i, v)| make(i, *v)).collect(),
    });
    spoken(each)
}

/// A function of one number.
type Simple = fn(f64) -> f64;

/// Functions of one number, and whether what comes out is still the quantity that went in.
fn simple(name: &str) -> Option<(Simple, bool)> {
    let make: Simple = match name {
        "abs" => f64::abs,
        "ceil" => f64::ceil,
        "floor" => f64::floor,
        "sqrt" => f64::sqrt,
        "exp" => f64::exp,
        "ln" => f64::ln,
        "log2" => f64::log2,
        "log10" => f64::log10,
        "sgn" => |v| match v {
            v if v > 0.0 => 1.0,
            v if v < 0.0 => -1.0,
            v => v,
        },
        "deg" => f64::to_degrees,
        "rad" => f64::to_radians,
        "sin" => f64::sin,
        "cos" => f64::cos,
        "tan" => f64::tan,
        "asin" => f64::asin,
        "acos" => f64::acos,
        "atan" => f64::atan,
        "sinh" => f64::sinh,
        "cosh" => f64::cosh,
        "tanh" => f64::tanh,
        "asinh" => f64::asinh,
        "acosh" => f64::acosh,
        "atanh" => f64::atanh,
        _ => return None,
    };
    Some((make, matches!(name, "ceil" | "floor")))
}

/// To the nearest multiple, halves away from zero.
fn rounded(value: f64, to: f64) -> f64 {
    if value.is_infinite() {
        return value;
    }
    let value = value + 0.5 * to.copysign(value);
    let multiple = value - value % to;
    // A multiple of 0.1 has one decimal, whatever the last bits say.
    let scale = (0..=15)
        .map(|d| 10f64.powi(d))
        .find(|scale| (to * scale).fract() == 0.0);
    match scale {
        Some(scale) => (multiple * scale).round() / scale,
        None => multiple,
    }
}

/// A part of the date that a number of seconds since 1970 is, in UTC.
fn calendar(name: &str) -> Option<Simple> {
    Some(match name {
        "minute" => |v| clock(v, |s| s.rem_euclid(3600) / 60),
        "hour" => |v| clock(v, |s| s.rem_euclid(86_400) / 3600),
        "day_of_week" => |v| clock(v, |s| (s.div_euclid(86_400) + 4).rem_euclid(7)),
        "day_of_month" => |v| clock(v, |s| civil(s).2),
        "day_of_year" => |v| {
            clock(v, |s| {
                let (year, ..) = civil(s);
                s.div_euclid(86_400) - days_before(year) + 1
            })
        },
        "days_in_month" => |v| {
            clock(v, |s| {
                let (year, month, _) = civil(s);
                match month {
                    2 if days_before(year + 1) - days_before(year) == 366 => 29,
                    2 => 28,
                    4 | 6 | 9 | 11 => 30,
                    _ => 31,
                }
            })
        },
        "month" => |v| clock(v, |s| civil(s).1),
        "year" => |v| clock(v, |s| civil(s).0),
        _ => return None,
    })
}

fn clock(value: f64, part: impl Fn(i64) -> i64) -> f64 {
    // Some thirty million years each way; farther there is no calendar.
    match value.abs() < 1e15 {
        true => part(value.floor() as i64) as f64,
        false => f64::NAN,
    }
}

/// Days from 1970-01-01 to the first day of a year.
fn days_before(year: i64) -> i64 {
    let y = year - 1;
    365 * (year - 1970) + (y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400)) - 477
}

/// Year, month and day of seconds since 1970.
fn civil(seconds: i64) -> (i64, i64, i64) {
    // Days since 0000-03-01: with it the leap day is the last of its year.
    let days = seconds.div_euclid(86_400) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// One where nothing is; its labels are those that the selector asks for by `=`.
pub(super) fn absent(of: &Expr, rows: &[Row], grid: Grid) -> Vec<Row> {
    let selector = match peeled(of) {
        Expr::VectorSelector(own) => Some(own),
        Expr::MatrixSelector(own) => Some(&own.vs),
        _ => None,
    };
    let matchers = selector.map_or(&[][..], |own| &own.matchers.matchers);
    let labels = matchers.iter().filter(|m| {
        let once = matchers.iter().filter(|other| other.name == m.name).count() == 1;
        m.op == MatchOp::Equal && m.name != NAME && once
    });
    let labels = Labels::new(labels.map(|m| (Arc::from(&*m.name), Arc::from(&*m.value))));
    let nothing = |i: usize| match rows.iter().all(|row| row.values[i].is_nan()) {
        true => 1.0,
        false => f64::NAN,
    };
    let values = (0..grid.n).map(nothing).collect();
    spoken([Row { labels, values }].into_iter())
}

/// A name that a label may have.
pub(super) fn check_label(name: &str) -> Result<(), Fault> {
    let mut letters = name.chars();
    let first = letters
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    match first && letters.all(|c| c.is_ascii_alphanumeric() || c == '_') {
        true => Ok(()),
        false => Err(Fault::execution(format!("`{name}` is no name of a label"))),
    }
}

fn label_replace(rows: Vec<Row>, args: &[&Expr]) -> Result<Vec<Row>, Fault> {
    let text = |i: usize| Evaluator::text(arg("label_replace", args, i)?);
    let (to, replacement, from, pattern) = (text(1)?, text(2)?, text(3)?, text(4)?);
    check_label(to)?;
    let pattern = Regex::new(&format!("^(?s:{pattern})$"))
        .map_err(|_| Fault::bad_data(format!("`{pattern}` is no regular expression")))?;
    let replaced = rows.into_iter().map(|row| {
        let Some(found) = pattern.captures(row.labels.get(from)) else {
            return row;
        };
        let mut value = String::new();
        found.expand(replacement, &mut value);
        Row {
            labels: row.labels.with(to, &value),
            values: row.values,
        }
    });
    Ok(replaced.collect())
}

fn label_join(rows: Vec<Row>, args: &[&Expr]) -> Result<Vec<Row>, Fault> {
    let text = |i: usize| Evaluator::text(arg("label_join", args, i)?);
    let (to, separator) = (text(1)?, text(2)?);
    check_label(to)?;
    let from: Vec<&str> = (3..args.len()).map(text).collect::<Result<_, _>>()?;
    let joined = rows.into_iter().map(|row| {
        let values: Vec<&str> = from.iter().map(|name| row.labels.get(name)).collect();
        Row {
            labels: row.labels.with(to, &values.join(separator)),
            values: row.values,
        }
    });
    Ok(joined.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_dates() {
        let part = |name: &str, v: f64| calendar(name).map(|part| part(v));
        // 2024-02-29T13:45:59Z, a Thursday.
        let t = 1_709_214_359.0;
        for (name, want) in [
            ("minute", 45.0),
            ("hour", 13.0),
            ("day_of_week", 4.0),
            ("day_of_month", 29.0),
            ("day_of_year", 60.0),
            ("days_in_month", 29.0),
            ("month", 2.0),
            ("year", 2024.0),
        ] {
            assert_eq!(part(name, t), Some(want), "{name}");
        }
        assert_eq!(part("year", -1.0), Some(1969.0));
        assert_eq!(part("day_of_year", -1.0), Some(365.0));
        assert!(part("year", 1e300).is_some_and(f64::is_nan));
    }

    #[test]
    fn rounding_goes_to_multiples() {
        for (value, to, want) in [
            (2.5, 1.0, 3.0),
            (-2.5, 1.0, -3.0),
            (2.34, 0.1, 2.3),
            (17.0, 5.0, 15.0),
            (0.28, 0.1, 0.3),
        ] {
            assert_eq!(rounded(value, to), want, "{value} to {to}");
        }
    }
}
