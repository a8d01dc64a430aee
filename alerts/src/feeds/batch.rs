//! What goes into one request.

use std::collections::BTreeMap;

use onemap_model::{Edge, Severity};

use super::item::{Item, News};

/// Items that a message of several spells out.
pub const MOST_SHOWN: usize = 5;

/// Items that are sent together: all of them counted, and the worst of them whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    most_kept: usize,
    /// The worst first.
    items: Vec<Item>,
    n: usize,
    begun: BTreeMap<Severity, usize>,
    n_ended: usize,
    n_missing: u64,
}

impl Batch {
    /// An empty one that keeps at most so many items whole.
    pub fn new(most_kept: usize) -> Self {
        Self {
            most_kept,
            ..Self::default()
        }
    }

    /// Adds an item, later ones later.
    pub fn push(&mut self, item: Item) {
        self.n += 1;
        match &item.news {
            News::Gap(gap) => self.n_missing += gap.to.saturating_sub(gap.from) + 1,
            News::Change(change) => match change.transition.edge {
                Edge::Raised | Edge::DrillOver | Edge::Worsened => {
                    *self.begun.entry(change.transition.severity).or_default() += 1;
                }
                Edge::Cleared | Edge::Closed | Edge::Withdrawn => self.n_ended += 1,
                _ => {}
            },
        }
        let at = self.items.partition_point(|kept| rank(kept) >= rank(&item));
        self.items.insert(at, item);
        self.items.truncate(self.most_kept);
    }

    /// The worst ones, the worst first; of those alike the first that came.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// How many it holds.
    pub fn len(&self) -> usize {
        self.n
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// How many began or became worse, by severity, the most severe first.
    pub fn begun(&self) -> impl Iterator<Item = (Severity, usize)> {
        self.begun.iter().rev().map(|(severity, n)| (*severity, *n))
    }

    /// How many ended.
    pub fn n_ended(&self) -> usize {
        self.n_ended
    }

    /// How many are neither.
    pub fn n_other(&self) -> usize {
        self.n - self.n_ended - self.begun.values().sum::<usize>()
    }
}

/// What is missing before what began before what went on or ended; the more severe first.
fn rank(item: &Item) -> (u8, Severity) {
    match &item.news {
        News::Gap(_) => (2, Severity::Critical),
        News::Change(change) => {
            let begins = matches!(
                change.transition.edge,
                Edge::Raised | Edge::DrillOver | Edge::Worsened
            );
            (u8::from(begins), change.transition.severity)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feeds::shapes::tests::item_of;

    #[test]
    fn of_ten_thousand_the_worst_are_whole_and_all_are_counted() {
        let mut batch = Batch::new(MOST_SHOWN);
        for seq in 0..10_000 {
            let (edge, severity) = match seq {
                7_000 => (Edge::Raised, Severity::Critical),
                _ if seq % 10 == 0 => (Edge::Cleared, Severity::Critical),
                _ if seq % 10 == 1 => (Edge::Lost, Severity::Critical),
                _ => (Edge::Raised, Severity::Minor),
            };
            batch.push(item_of(seq, edge, severity));
        }
        let seqs: Vec<u64> = batch.items().iter().map(|item| item.seq).collect();
        assert_eq!(seqs, [7_000, 2, 3, 4, 5]);
        let begun: Vec<_> = batch.begun().collect();
        assert_eq!(begun, [(Severity::Critical, 1), (Severity::Minor, 8_000)]);
        assert_eq!(
            (batch.len(), batch.n_ended(), batch.n_other()),
            (10_000, 999, 1_000)
        );
    }
}
