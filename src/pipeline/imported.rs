//! What the sender of an import learns of the rows that were not taken.

use std::collections::HashSet;

use onemap_dashboards::views::RefusedRow;
use onemap_ingest::admit::Admitted;

/// What was refused, row by row: first by the decoder, then at admission.
///
/// Each row of an import is one sample or one refusal of the decoder, in order; so the samples' rows are those
/// that the decoder did not refuse.
pub(super) fn refused_rows(admitted: &Admitted) -> Vec<RefusedRow> {
    let n_decoded = admitted.refused.len() - admitted.refused_samples.len();
    let (decoded, here) = admitted.refused.split_at(n_decoded);
    let gone: HashSet<u32> = decoded.iter().filter_map(|refused| refused.row).collect();
    let mut left = (0..).filter(|row| !gone.contains(row));
    let mut n_passed = 0;
    let decoded = decoded.iter().map(|refused| (refused.row, refused));
    let here = admitted
        .refused_samples
        .iter()
        .zip(here)
        .map(|(number, refused)| {
            let row = left.nth(number - n_passed);
            n_passed = number + 1;
            (row, refused)
        });
    decoded
        .chain(here)
        .map(|(row, refused)| RefusedRow {
            row: row.map(|row| row + 1),
            reason: refused.refusal,
            message: refused.detail.clone(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use onemap_model::Refusal;
    use onemap_wire::message::Refused;

    use super::*;

    #[test]
    fn refusals_of_both_kinds_find_their_rows() {
        // Rows 1 to 7: the decoder refused the second and the fifth, admission the first and the last sample.
        let at = |row| Refused {
            row,
            ..Refused::new(Refusal::WrongShape, "x")
        };
        let admitted = Admitted {
            refused: vec![at(Some(1)), at(Some(4)), at(None), at(None)],
            refused_samples: vec![0, 4],
            ..Admitted::default()
        };
        let rows: Vec<_> = refused_rows(&admitted)
            .iter()
            .map(|refused| refused.row)
            .collect();
        assert_eq!(rows, [Some(2), Some(5), Some(1), Some(7)]);
        // A device that is refused whole has no row of its own.
        let whole = Admitted {
            refused: vec![at(None)],
            ..Admitted::default()
        };
        assert_eq!(refused_rows(&whole)[0].row, None);
    }
}
