//! From a text to what it finds.

use promql_parser::parser::value::ValueType;
use promql_parser::parser::{Expr, token};
use promql_parser::util::unquote_string;
use regex::RegexBuilder;

use super::answer::{Found, MAX_VALUES, braced};
use super::eval::{Evaluator, MAX_DEPTH, Made, Row, Source, depth, peeled};
use super::fault::Fault;
use super::grid::Grid;
use super::meter::Meter;

/// Letters of a query.
pub(super) const MAX_LETTERS: usize = 16 << 10;
/// Times of a range query, as in Prometheus.
pub(super) const MAX_TIMES: usize = 11_000;
/// Bytes that one regular expression of a query may take when it is compiled, and all of them.
const REGEX_BYTES: usize = 1 << 20;
const N_REGEXES: usize = 64;

/// Reads an expression.
///
/// Recursive in its depth: call it, and drop what it gives, on a stack that bears [`MAX_LETTERS`] levels.
pub(super) fn parse(text: &str) -> Result<Expr, Fault> {
    if text.len() > MAX_LETTERS {
        return Err(Fault::bad_data(format!(
            "the query has {} bytes, more than {MAX_LETTERS}",
            text.len()
        )));
    }
    check_regexes(text)?;
    let expr = promql_parser::parser::parse(text)
        .map_err(|why| Fault::bad_data(format!("invalid parameter \"query\": parse error: {why}")))?;
    if depth(&expr, MAX_DEPTH) > MAX_DEPTH {
        return Err(Fault::bad_data(format!(
            "the query is nested more than {MAX_DEPTH} deep"
        )));
    }
    Ok(expr)
}

/// A regular expression of a few letters can take megabytes (`\w{1000}`), and the parser compiles all of them.
fn check_regexes(text: &str) -> Result<(), Fault> {
    let mut n = 0;
    for (literal, is_pattern) in literals(text) {
        if !is_pattern {
            continue;
        }
        n += 1;
        if n > N_REGEXES {
            return Err(Fault::bad_data(format!(
                "the query has more than {N_REGEXES} regular expressions"
            )));
        }
        // What is no literal or no expression is for the parser to say.
        let Ok(pattern) = unquote_string(literal) else {
            continue;
        };
        let compiled = RegexBuilder::new(&format!("^(?:{pattern})$"))
            .size_limit(REGEX_BYTES)
            .build();
        if let Err(regex::Error::CompiledTooBig(_)) = compiled {
            return Err(Fault::bad_data(format!(
                "the regular expression {literal} is too large when compiled"
            )));
        }
    }
    Ok(())
}

/// The quoted texts of a query, quotes included, and whether `=~` or `!~` stands before them.
fn literals(text: &str) -> impl Iterator<Item = (&str, bool)> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let start = from + text[from..].find(['"', '\'', '`', '#'])?;
        let quote = text.as_bytes()[start];
        let is_pattern = matches!(text[..start].trim_end().as_bytes(), [.., b'=' | b'!', b'~']);
        let mut escaped = false;
        let mut end = text.len();
        for (i, byte) in text.bytes().enumerate().skip(start + 1) {
            match byte {
                b'\n' if quote == b'#' => {
                    end = i + 1;
                    break;
                }
                _ if escaped => escaped = false,
                b'\\' if quote != b'`' && quote != b'#' => escaped = true,
                byte if byte == quote && quote != b'#' => {
                    end = i + 1;
                    break;
                }
                _ => {}
            }
        }
        from = end;
        Some((&text[start..end], is_pattern && quote != b'#'))
    })
}

/// Evaluates an expression at one time. `step` is how far a plain selector looks back at least.
pub(super) fn instant(
    expr: &Expr,
    at: i64,
    step: i64,
    source: &Source<'_>,
    meter: &Meter<'_>,
) -> Result<Found, Fault> {
    let evaluator = Evaluator {
        source,
        meter,
        range: (at, at),
    };
    let found = match peeled(expr) {
        own @ (Expr::MatrixSelector(_) | Expr::Subquery(_)) => Found::Raw(evaluator.raw(own, at, step)?),
        own => match evaluator.eval(own, Grid::new(at, at, step))? {
            Made::Scalar(values) => Found::Scalar(at, values.first().copied().unwrap_or(f64::NAN)),
            Made::Text(text) => Found::Text(at, text),
            Made::Vector(rows) => Found::Vector(at, in_order(rows, is_ordered(own))?),
        },
    };
    small_enough(found)
}

/// Evaluates an expression at every time of a grid.
pub(super) fn range(expr: &Expr, grid: Grid, source: &Source<'_>, meter: &Meter<'_>) -> Result<Found, Fault> {
    let of = expr.value_type();
    if matches!(of, ValueType::Matrix | ValueType::String) {
        let name = if of == ValueType::Matrix {
            "range vector"
        } else {
            "string"
        };
        return Err(Fault::bad_data(format!(
            "invalid expression type \"{name}\" for range query, must be Scalar or instant Vector"
        )));
    }
    let evaluator = Evaluator {
        source,
        meter,
        range: (grid.start, grid.end),
    };
    let rows = match evaluator.eval(expr, grid)? {
        Made::Vector(rows) => rows,
        Made::Scalar(values) => vec![Row {
            labels: super::labels::Labels::default(),
            values,
        }],
        Made::Text(_) => Vec::new(),
    };
    small_enough(Found::Matrix(grid, in_order(rows, false)?))
}

fn small_enough(found: Found) -> Result<Found, Fault> {
    match found.n_values() {
        n if n > MAX_VALUES => Err(Fault::execution(format!(
            "the answer has {n} values, more than {MAX_VALUES}; take a longer step, a shorter range or fewer series"
        ))),
        _ => Ok(found),
    }
}

/// Whether the order of the series is part of the answer.
fn is_ordered(expr: &Expr) -> bool {
    match expr {
        Expr::Call(call) => matches!(call.func.name, "sort" | "sort_desc"),
        Expr::Aggregate(own) => matches!(own.op.id(), token::T_TOPK | token::T_BOTTOMK),
        _ => false,
    }
}

/// Sorts series by their labels unless they have an order; two may not have the same.
fn in_order(mut rows: Vec<Row>, is_ordered: bool) -> Result<Vec<Row>, Fault> {
    let mut labels: Vec<_> = rows.iter().map(|row| &row.labels).collect();
    labels.sort();
    if let Some(twice) = labels.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Fault::execution(format!(
            "vector cannot contain metrics with the same labelset: {} comes twice",
            braced(twice[0])
        )));
    }
    if !is_ordered {
        rows.sort_by(|a, b| a.labels.cmp(&b.labels));
    }
    Ok(rows)
}
