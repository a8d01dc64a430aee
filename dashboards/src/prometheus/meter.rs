//! What one query may cost, counted while it is worked on.

use std::cell::Cell;

use super::fault::Fault;

/// Values read from the history by one query.
pub(super) const MAX_READ: u64 = 50_000_000;
/// Values computed by one query, those between included.
pub(super) const MAX_MADE: u64 = 20_000_000;
/// Values looked at by the windows of one query: each of its steps looks at all in its window.
pub(super) const MAX_SEEN: u64 = 4_000_000_000;
/// How much is counted between two looks at the clock.
const LOOK_EVERY: u64 = 1 << 20;

/// Counts a query's cost. `expired` is asked now and then whether the caller still waits.
pub(super) struct Meter<'a> {
    read: Cell<u64>,
    made: Cell<u64>,
    seen: Cell<u64>,
    until_look: Cell<u64>,
    expired: &'a dyn Fn() -> Option<Fault>,
}

impl<'a> Meter<'a> {
    pub(super) fn new(expired: &'a dyn Fn() -> Option<Fault>) -> Self {
        Self {
            read: Cell::default(),
            made: Cell::default(),
            seen: Cell::default(),
            until_look: Cell::new(LOOK_EVERY),
            expired,
        }
    }
    /// Counts values read from the history.
    pub(super) fn read(&self, n: usize) -> Result<(), Fault> {
        let too_many = || {
            Fault::execution(format!(
                "the query reads more than {MAX_READ} samples; take a shorter range or fewer series"
            ))
        };
        self.count(&self.read, n, MAX_READ, too_many)
    }
    /// Counts values that are made.
    pub(super) fn made(&self, n: usize) -> Result<(), Fault> {
        let too_many = || {
            Fault::execution(format!(
                "the query makes more than {MAX_MADE} samples; take a longer step, a shorter range or fewer series"
            ))
        };
        self.count(&self.made, n, MAX_MADE, too_many)
    }
    /// Counts values that a window looks at.
    pub(super) fn seen(&self, n: usize) -> Result<(), Fault> {
        let too_many = || {
            Fault::execution(format!(
                "the query's windows hold more than {MAX_SEEN} samples; take a longer step or shorter windows"
            ))
        };
        self.count(&self.seen, n, MAX_SEEN, too_many)
    }
    /// Values made so far.
    #[cfg(test)]
    pub(super) fn n_made(&self) -> u64 {
        self.made.get()
    }

    fn count(
        &self,
        counter: &Cell<u64>,
        n: usize,
        max: u64,
        too_many: impl Fn() -> Fault,
    ) -> Result<(), Fault> {
        let n = n as u64;
        counter.set(counter.get().saturating_add(n));
        if counter.get() > max {
            return Err(too_many());
        }
        match self.until_look.get().checked_sub(n + 1) {
            Some(rest) => self.until_look.set(rest),
            None => {
                self.until_look.set(LOOK_EVERY);
                if let Some(fault) = (self.expired)() {
                    return Err(fault);
                }
            }
        }
        Ok(())
    }
}
