//! Station reports: which times of a device have a value in any of its series.
//!
//! The gap ledger counts a report once, with its first value. What came lately is remembered, so that
//! nearly every reading is told from it without a look at the device's other series.

/// Times remembered of a device; its series may each have their own.
const N_REMEMBERED: usize = 16;

/// The newest times of one device.
///
/// Invariant: every time above `floor` that has a value is in `recent`, which ascends.
#[derive(Clone, Debug, Default)]
pub(super) struct Reports {
    recent: Vec<i64>,
    /// At or below it the series have to be asked; none when all times are remembered.
    floor: Option<i64>,
}

impl Reports {
    /// Whether a time has no value yet; `None` when that is not remembered.
    pub(super) fn is_first(&self, at: i64) -> Option<bool> {
        match self.floor {
            Some(floor) if at <= floor => None,
            _ => Some(self.recent.binary_search(&at).is_err()),
        }
    }

    /// A time has a value now.
    pub(super) fn note(&mut self, at: i64) {
        if self.floor.is_some_and(|floor| at <= floor) {
            return;
        }
        let Err(place) = self.recent.binary_search(&at) else {
            return;
        };
        self.recent.insert(place, at);
        if self.recent.len() > N_REMEMBERED {
            self.floor = Some(self.recent.remove(0));
        }
    }

    /// Of a device that has values up to a time: none of them is remembered.
    pub(super) fn forget_up_to(&mut self, at: i64) {
        self.floor = self.floor.max(Some(at));
        self.recent.retain(|time| Some(*time) > self.floor);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_remembered_is_true(times in prop::collection::vec(0i64..60, 0..90), known_to in prop::option::of(0i64..60)) {
            let mut reports = Reports::default();
            let mut seen = BTreeSet::new();
            if let Some(to) = known_to {
                seen.extend(0..=to);
                reports.forget_up_to(to);
            }
            for at in times {
                if let Some(is_first) = reports.is_first(at) {
                    prop_assert_eq!(is_first, !seen.contains(&at));
                }
                seen.insert(at);
                reports.note(at);
                prop_assert_eq!(reports.is_first(60), Some(true));
            }
        }
    }

    #[test]
    fn the_times_of_the_last_reports_are_remembered() {
        let mut reports = Reports::default();
        for minute in 0..100 {
            for series in 0..8 {
                let at = minute * 60_000 + series * 211;
                assert_eq!(reports.is_first(at), Some(true));
                reports.note(at);
                assert_eq!(reports.is_first(at), Some(false));
            }
        }
        assert_eq!(reports.is_first(0), None);
    }
}
