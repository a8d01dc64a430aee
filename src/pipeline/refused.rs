//! The pipeline's refusals by reason, kept in the checkpoint.
//!
//! What is behind a checkpoint is folded again after a kill. Counted from zero it would be missing, counted
//! on it would stand twice; counted from the checkpoint the numbers are those of the whole journal.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use onemap_model::Refusal;

/// Its name in the checkpoint.
pub(crate) const NAME: &str = "refused";

/// The counts, by label, so that a new reason moves none of them.
pub(super) fn encode(counts: &[AtomicU64]) -> Vec<u8> {
    let by_label: BTreeMap<&str, u64> = Refusal::ALL
        .iter()
        .zip(counts)
        .map(|(refusal, n)| (refusal.label(), n.load(Ordering::Relaxed)))
        .filter(|(_, n)| *n > 0)
        .collect();
    serde_json::to_vec(&by_label).expect("labels and numbers are JSON")
}

/// The counts in the order of [`Refusal::ALL`]; zeros where the checkpoint has none.
pub(crate) fn decode(bytes: Option<&[u8]>) -> Vec<AtomicU64> {
    let by_label: BTreeMap<String, u64> = bytes
        .and_then(|bytes| serde_json::from_slice(bytes).ok())
        .unwrap_or_default();
    let count = |refusal: &Refusal| by_label.get(refusal.label()).copied().unwrap_or(0);
    Refusal::ALL
        .iter()
        .map(|refusal| AtomicU64::new(count(refusal)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(counts: &[AtomicU64]) -> Vec<u64> {
        counts.iter().map(|n| n.load(Ordering::Relaxed)).collect()
    }

    #[test]
    fn counts_read_back_and_a_folder_of_before_has_none() {
        let counts: Vec<_> = (0..Refusal::ALL.len() as u64).map(AtomicU64::new).collect();
        assert_eq!(plain(&decode(Some(&encode(&counts)))), plain(&counts));
        let zeros = vec![0; Refusal::ALL.len()];
        assert_eq!(plain(&decode(None)), zeros);
        assert_eq!(plain(&decode(Some(b"{\"broken"))), zeros);
        assert_eq!(plain(&decode(Some(br#"{"no_such_reason":7}"#))), zeros);
    }
}
