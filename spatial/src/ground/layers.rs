//! Sealed runs with an unsorted remainder: how the static indexes take changes.
//!
//! New entries wait in a list that every question looks through. When it is full it is sealed into a run,
//! together with the runs that are no larger than what is being sealed, so the sizes of the runs at least
//! double and there are few of them. Removed entries are marked; a run of which half is marked is made anew.
//! A change therefore costs little on the average, and now and then as much as making the index.

use std::sync::Arc;

/// Entries that wait until they are sealed.
const N_FRESH: usize = 256;

/// An immutable index of entries.
pub(crate) trait Run {
    type Entry: Copy + std::fmt::Debug;
    fn of(entries: Vec<Self::Entry>) -> Self;
    fn len(&self) -> usize;
    fn entry(&self, slot: u32) -> Self::Entry;
    /// The slots of an item's entries.
    fn slots_of(&self, item: u32) -> &[u32];
    fn item(entry: &Self::Entry) -> u32;
    /// Whether an item has several entries.
    fn repeats(&self) -> bool;
    fn bytes(&self) -> usize;
}

/// A run and which of its slots are no longer there.
#[derive(Debug)]
pub(crate) struct Sealed<R> {
    pub(crate) run: Arc<R>,
    removed: Arc<Vec<u64>>,
    n_removed: usize,
}

impl<R> Clone for Sealed<R> {
    fn clone(&self) -> Self {
        Self {
            run: self.run.clone(),
            removed: self.removed.clone(),
            n_removed: self.n_removed,
        }
    }
}

impl<R: Run> Sealed<R> {
    fn new(entries: Vec<R::Entry>) -> Self {
        Self {
            run: Arc::new(R::of(entries)),
            removed: Arc::default(),
            n_removed: 0,
        }
    }

    /// Whether the slot is there still.
    #[inline]
    pub(crate) fn holds(&self, slot: u32) -> bool {
        self.n_removed == 0 || self.removed[slot as usize / 64] >> (slot % 64) & 1 == 0
    }

    fn n_held(&self) -> usize {
        self.run.len() - self.n_removed
    }

    fn held(&self) -> impl Iterator<Item = R::Entry> {
        (0..self.run.len() as u32)
            .filter(|slot| self.holds(*slot))
            .map(|slot| self.run.entry(slot))
    }

    fn remove(&mut self, item: u32) -> usize {
        let slots = self.run.slots_of(item);
        let before = self.n_removed;
        for slot in slots {
            if self.n_removed == 0 {
                self.removed = Arc::new(vec![0; self.run.len().div_ceil(64)]);
            }
            let word = &mut Arc::make_mut(&mut self.removed)[*slot as usize / 64];
            self.n_removed += usize::from(*word >> (slot % 64) & 1 == 0);
            *word |= 1 << (slot % 64);
        }
        self.n_removed - before
    }
}

/// All runs of an index, the largest first, and the entries not sealed yet.
#[derive(Debug)]
pub(crate) struct Layers<R: Run> {
    pub(crate) runs: Vec<Sealed<R>>,
    pub(crate) fresh: Vec<R::Entry>,
}

impl<R: Run> Default for Layers<R> {
    fn default() -> Self {
        Self {
            runs: Vec::new(),
            fresh: Vec::new(),
        }
    }
}

impl<R: Run> Clone for Layers<R> {
    fn clone(&self) -> Self {
        Self {
            runs: self.runs.clone(),
            fresh: self.fresh.clone(),
        }
    }
}

impl<R: Run> Layers<R> {
    pub(crate) fn of(entries: Vec<R::Entry>) -> Self {
        let mut layers = Self::default();
        if entries.len() < N_FRESH {
            layers.fresh = entries;
        } else {
            layers.runs.push(Sealed::new(entries));
        }
        layers
    }

    pub(crate) fn len(&self) -> usize {
        self.fresh.len() + self.runs.iter().map(Sealed::n_held).sum::<usize>()
    }

    /// Whether an item may have several entries.
    pub(crate) fn repeats(&self) -> bool {
        let n = self.runs.len() + usize::from(!self.fresh.is_empty());
        n > 1 || self.fresh.len() > 1 || self.runs.first().is_some_and(|sealed| sealed.run.repeats())
    }

    pub(crate) fn insert(&mut self, entry: R::Entry) {
        self.fresh.push(entry);
        if self.fresh.len() >= N_FRESH {
            let mut entries = std::mem::take(&mut self.fresh);
            while let Some(last) = self.runs.pop_if(|last| last.n_held() <= entries.len()) {
                entries.extend(last.held());
            }
            self.runs.push(Sealed::new(entries));
        }
    }

    pub(crate) fn remove(&mut self, item: u32) -> usize {
        let before = self.fresh.len();
        self.fresh.retain(|entry| R::item(entry) != item);
        let mut n_gone = before - self.fresh.len();
        for sealed in &mut self.runs {
            n_gone += sealed.remove(item);
            if sealed.n_removed * 2 > sealed.run.len() {
                *sealed = Sealed::new(sealed.held().collect());
            }
        }
        self.runs.retain(|sealed| sealed.run.len() > 0);
        n_gone
    }

    /// Makes one run of all.
    pub(crate) fn merge(&mut self) {
        if self.runs.len() > 1 || !self.fresh.is_empty() || self.runs.iter().any(|s| s.n_removed > 0) {
            let mut entries = std::mem::take(&mut self.fresh);
            for sealed in std::mem::take(&mut self.runs) {
                entries.extend(sealed.held());
            }
            if !entries.is_empty() {
                self.runs.push(Sealed::new(entries));
            }
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        let of_run = |sealed: &Sealed<R>| sealed.run.bytes() + sealed.removed.capacity() * 8;
        self.fresh.capacity() * size_of::<R::Entry>() + self.runs.iter().map(of_run).sum::<usize>()
    }
}

/// Slots sorted by (item, slot).
pub(crate) fn by_item(items: &[u32]) -> Vec<u32> {
    let mut slots: Vec<u32> = (0..items.len() as u32).collect();
    slots.sort_unstable_by_key(|slot| (items[*slot as usize], *slot));
    slots
}

/// Whether any item is there twice.
pub(crate) fn repeats(items: &[u32]) -> bool {
    let n_items = items.iter().max().map_or(0, |most| *most as usize + 1);
    if n_items > 64 * items.len() {
        let mut sorted = items.to_vec();
        sorted.sort_unstable();
        return sorted.windows(2).any(|pair| pair[0] == pair[1]);
    }
    let mut seen = vec![0u64; n_items.div_ceil(64)];
    items.iter().any(|item| {
        let (word, bit) = (&mut seen[*item as usize / 64], 1 << (item % 64));
        let again = *word & bit != 0;
        *word |= bit;
        again
    })
}

/// The slots of an item in a list that is sorted by (item, slot).
pub(crate) fn slots_of(by_item: &[u32], item: u32, item_at: impl Fn(u32) -> u32) -> &[u32] {
    let from = by_item.partition_point(|slot| item_at(*slot) < item);
    let len = by_item[from..]
        .iter()
        .take_while(|slot| item_at(**slot) == item)
        .count();
    &by_item[from..from + len]
}
