//! Summing up parts of a series by spans of time: steps of a question, hours of a day.

use onemap_model::Quality;

use super::chunk::{Numbers, is_flagged};
use super::read::Part;

/// Passes what a part holds to `add`, ascending: a time of the span, points in it, flagged ones, numbers.
/// `end` gives the last millisecond of the span that holds a time; a span may be passed in several pieces.
pub(super) fn sum_up(
    part: &Part<'_>,
    end: impl Fn(i64) -> i64,
    mut add: impl FnMut(i64, u64, u64, Option<&Numbers>),
) {
    match part {
        Part::Whole(header) => add(header.first, header.n, header.n_flagged, header.numbers.as_ref()),
        Part::Points(points) => {
            for point in *points {
                let numbers = point.value.number().map(Numbers::one);
                add(point.at, 1, u64::from(is_flagged(point)), numbers.as_ref());
            }
        }
        Part::Columns {
            times,
            numbers,
            marks,
        } => {
            let mut start = 0;
            while let Some(&first) = times.get(start) {
                let last = end(first);
                // Most spans are a small part of a block: its end is near.
                let n = times[start..].iter().take_while(|at| **at <= last).count();
                let span = start..start + n.max(1);
                let n_flagged = marks[span.clone()]
                    .iter()
                    .filter(|mark| is_marked(**mark))
                    .count();
                let of_span = Numbers::of_all(&numbers[span.clone()]);
                add(first, span.len() as u64, n_flagged as u64, of_span.as_ref());
                start = span.end;
            }
        }
    }
}

fn is_marked(mark: i64) -> bool {
    mark != 0 && !Quality(mark as u16).judgeable()
}
