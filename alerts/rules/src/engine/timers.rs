//! Deadlines: holds and silences, in order.
//!
//! Each series and each device has at most one live entry. Putting a deadline off costs nothing: the
//! old entry comes up, finds that it is early, and is set again. So a million series that report on
//! time cause one heap operation each per silence limit, not one per reading.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::book::Owner;
use super::entries::NO_DEADLINE;

/// Deadlines by time, then by owner.
#[derive(Default)]
pub(super) struct Timers(BinaryHeap<Reverse<(i64, Owner)>>);

impl Timers {
    /// Makes sure that `owner` comes up at `deadline` at the latest. `armed` is the owner's note of
    /// its live entry.
    pub(super) fn arm(&mut self, armed: &mut i64, deadline: i64, owner: Owner) {
        if deadline < *armed {
            *armed = deadline;
            self.0.push(Reverse((deadline, owner)));
        }
    }
    /// Takes the next entry that is due at `now`.
    pub(super) fn due(&mut self, now: i64) -> Option<(i64, Owner)> {
        let &Reverse((at, _)) = self.0.peek()?;
        if at > now || at == NO_DEADLINE {
            return None;
        }
        self.0.pop().map(|Reverse(entry)| entry)
    }
}
