//! How a long list is laid out: an item for each row, or an item for each block of rows with a list for each
//! column, which is a fifth of the bytes and what a chart or a table of numbers is filled from.

use onemap_model::Quality;
use serde::{Deserialize, Serialize};

use crate::api::{MAX_LIMIT, limit_up_to};
use crate::error::Problem;
use crate::views::quality_names;

/// Most rows of one page of columns.
const MAX_COLUMN_ROWS: usize = 1_000_000;

/// `shape=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Shape {
    #[default]
    Rows,
    Columns,
}

impl Shape {
    /// The page size asked for; without one the largest there is.
    pub(crate) fn limit(self, asked: Option<usize>) -> Result<usize, Problem> {
        let most = match self {
            Shape::Rows => MAX_LIMIT,
            Shape::Columns => MAX_COLUMN_ROWS,
        };
        limit_up_to(most, asked, most)
    }
}

/// The marks of those rows of a block that have any: each as `[row, rows, marks]` for rows that follow one another
/// and are marked alike.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub(crate) struct Marked {
    runs: Vec<(usize, usize, Vec<&'static str>)>,
    #[serde(skip)]
    last: Quality,
}

impl Marked {
    /// Notes the marks of a row; rows come in their order.
    pub(crate) fn note(&mut self, row: usize, quality: Quality) {
        if quality == Quality::GOOD {
            return;
        }
        match self.runs.last_mut() {
            Some((first, n, _)) if quality == self.last && *first + *n == row => *n += 1,
            _ => self.runs.push((row, 1, quality_names(quality))),
        }
        self.last = quality;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rows_marked_alike_are_one_run() {
        let mut marked = Marked::default();
        assert_eq!(serde_json::to_string(&marked).unwrap(), "[]");
        let (late, doubtful) = (Quality::RESENT, Quality::SUSPECT);
        for (row, quality) in [Quality::GOOD, late, late, doubtful, Quality::GOOD, doubtful]
            .into_iter()
            .enumerate()
        {
            marked.note(row, quality);
        }
        assert_eq!(
            serde_json::to_string(&marked).unwrap(),
            r#"[[1,2,["resent"]],[3,1,["suspect"]],[5,1,["suspect"]]]"#
        );
    }
}
