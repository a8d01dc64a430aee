//! Which spool numbers the server has stored. Pure.

use std::collections::BTreeMap;

/// A set of positions: everything up to a floor, and ranges above it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confirmed {
    floor: u64,
    /// First to last, disjoint, not touching one another, all above `floor + 1`.
    above: BTreeMap<u64, u64>,
    n_above: u64,
}

impl Confirmed {
    /// Everything up to and with `floor` is confirmed.
    pub fn new(floor: u64) -> Self {
        Self {
            floor,
            ..Self::default()
        }
    }

    /// Everything up to and with this position is confirmed.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// How many positions are confirmed beyond the floor.
    pub fn n_above(&self) -> u64 {
        self.n_above
    }

    /// Whether a position is confirmed.
    pub fn holds(&self, position: u64) -> bool {
        position <= self.floor
            || self
                .above
                .range(..=position)
                .next_back()
                .is_some_and(|(_, last)| *last >= position)
    }

    /// Adds a range, both ends inside; returns whether anything is new. An upside-down range adds nothing.
    pub fn add(&mut self, first: u64, last: u64) -> bool {
        let mut first = first.max(self.floor.saturating_add(1));
        let mut last = last;
        if first > last || last <= self.floor {
            return false;
        }
        // Join with every range that overlaps or touches.
        let mut swallowed = 0;
        let touching = self.above.range(..=last.saturating_add(1)).rev();
        let joined: Vec<_> = touching
            .take_while(|(_, end)| end.saturating_add(1) >= first)
            .map(|(a, b)| (*a, *b))
            .collect();
        for (a, b) in joined {
            if a <= first && b >= last {
                return false;
            }
            self.above.remove(&a);
            swallowed += b - a + 1;
            first = first.min(a);
            last = last.max(b);
        }
        self.n_above -= swallowed;
        if first == self.floor + 1 {
            self.floor = last;
        } else {
            self.above.insert(first, last);
            self.n_above += last - first + 1;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_floor_moves_when_the_gap_closes() {
        let mut confirmed = Confirmed::new(10);
        assert!(confirmed.add(12, 15));
        assert_eq!(confirmed.floor(), 10);
        assert!(confirmed.holds(10) && !confirmed.holds(11) && confirmed.holds(15) && !confirmed.holds(16));
        assert!(!confirmed.add(13, 14), "known already");
        assert!(!confirmed.add(3, 9), "below the floor");
        assert!(!confirmed.add(20, 19), "upside down");
        assert!(confirmed.add(11, 11));
        assert_eq!((confirmed.floor(), confirmed.n_above()), (15, 0));
    }

    #[test]
    fn it_says_the_same_as_a_plain_set() {
        let mut state = 88u64;
        let mut next = |n: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % n
        };
        for _ in 0..300 {
            let (mut confirmed, mut plain) = (Confirmed::new(0), BTreeSet::new());
            for _ in 0..30 {
                let first = 1 + next(60);
                let last = first + next(8);
                let before = plain.len();
                plain.extend(first..=last);
                assert_eq!(confirmed.add(first, last), plain.len() > before);
                let floor = (1..).take_while(|p| plain.contains(p)).count() as u64;
                assert_eq!(confirmed.floor(), floor);
                assert_eq!(confirmed.n_above(), plain.len() as u64 - floor);
                for p in 1..80 {
                    assert_eq!(confirmed.holds(p), plain.contains(&p), "{p}");
                }
            }
        }
    }

    #[test]
    fn ranges_up_to_the_largest_number_do_not_overflow() {
        let mut confirmed = Confirmed::new(0);
        assert!(confirmed.add(5, u64::MAX));
        assert!(!confirmed.add(7, u64::MAX));
        assert!(confirmed.add(1, 4));
        assert_eq!(confirmed.floor(), u64::MAX);
        assert!(!confirmed.add(1, u64::MAX));
    }
}
