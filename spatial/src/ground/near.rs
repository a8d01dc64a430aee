//! The k nearest so far.

use super::sphere;

/// An item and how far away it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    /// The item's number.
    pub item: u32,
    /// Distance on the sphere, metres ([`sphere`]).
    pub metres: f64,
}

/// Keeps the `k` items of the smallest distance, ties by the smaller number; an item counts once, with its
/// nearest part.
#[derive(Debug)]
pub(crate) struct Nearest {
    k: usize,
    /// Whether an item may be offered twice.
    repeats: bool,
    found: Vec<(f64, u32)>,
}

impl Nearest {
    pub(crate) fn new(k: usize, repeats: bool) -> Self {
        Self {
            k,
            repeats,
            found: Vec::with_capacity(k.min(1024)),
        }
    }

    /// Forgets what a search that gave up has found, where it would be offered a second time unnoticed.
    pub(crate) fn start_again(&mut self) {
        if !self.repeats {
            self.found.clear();
        }
    }

    /// The haversine beyond which nothing is wanted any more.
    #[inline]
    pub(crate) fn bound(&self) -> f64 {
        match self.found.last() {
            Some((last, _)) if self.found.len() == self.k => *last,
            _ if self.k == 0 => -1.0,
            _ => f64::INFINITY,
        }
    }

    /// Takes the item in when it is near enough; whether it was.
    #[inline]
    pub(crate) fn offer(&mut self, haversine: f64, item: u32) -> bool {
        if haversine > self.bound() {
            return false;
        }
        self.insert(haversine, item)
    }

    fn insert(&mut self, haversine: f64, item: u32) -> bool {
        let mut found = self.found.iter();
        let known = self.repeats.then(|| found.position(|(_, known)| *known == item));
        if let Some(known) = known.flatten() {
            if self.found[known].0 <= haversine {
                return false;
            }
            self.found.remove(known);
        }
        let at = self.found.partition_point(|known| *known < (haversine, item));
        if at >= self.k {
            return false;
        }
        self.found.truncate(self.k - 1);
        self.found.insert(at, (haversine, item));
        true
    }

    /// Nearest first.
    pub(crate) fn into_neighbours(self) -> Vec<Neighbour> {
        let neighbour = |(haversine, item)| Neighbour {
            item,
            metres: sphere::metres(haversine),
        };
        self.found.into_iter().map(neighbour).collect()
    }
}
