//! Where the pipeline, the sender and requests meet over commands.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use onemap_model::{Command, CommandState, Device, DeviceId, Timestamp};
use tokio::sync::Notify;

use super::{Book, Due, Outbox, Rules};

/// What callers may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Life of a command whose caller states none.
    pub life: Duration,
    /// Most commands of one device that wait.
    pub waiting_per_device: usize,
}

/// The one copy of all command state in a process.
#[derive(Debug)]
pub struct Desk {
    work: Mutex<Work>,
    /// Told when commands changed.
    pub changed: Notify,
    /// What callers may ask for.
    pub limits: Limits,
}

/// What is changed under one lock, so that "sent" and "cancelled" exclude each other.
#[derive(Debug)]
pub struct Work {
    /// What the journal says.
    pub book: Book,
    /// What this process has handed over.
    pub outbox: Outbox,
    /// Being taken back: not to be sent any more.
    cancelling: HashSet<u64>,
    /// By device: orders on their way through the journal, which the book does not know yet.
    ordering: HashMap<DeviceId, usize>,
    /// The journal's last record when this began: orders up to it have no place here.
    since: u64,
    /// Stations that asked for the time, by the number of their question; one of each.
    asked_clock: BTreeMap<DeviceId, ClockAsked>,
}

/// A station's question for the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClockAsked {
    /// What tells it from its other questions.
    pub qn: String,
    /// The analyser whose clock is meant, if it is not the station's own.
    pub pol_id: Option<String>,
}

/// Whether a command may be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is not sent any more; now the journal is to be told.
    Yours,
    /// It was handed to a connection already, or has ended.
    TooLate(CommandState),
    /// It ended long ago or never was.
    Unknown,
}

impl Desk {
    /// A desk over what a checkpoint held, of a journal that ends at record `since` now.
    pub fn new(book: Book, rules: Rules, limits: Limits, since: u64) -> Self {
        Self {
            work: Mutex::new(Work {
                book,
                outbox: Outbox::new(rules),
                cancelling: HashSet::new(),
                ordering: HashMap::new(),
                since,
                asked_clock: BTreeMap::new(),
            }),
            changed: Notify::new(),
            limits,
        }
    }

    /// The state, locked: for short looks only.
    pub fn work(&self) -> MutexGuard<'_, Work> {
        // Every change leaves the state whole, so a poisoned lock still guards one.
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work {
    /// Takes a place for one more waiting command of a device, unless `most` wait or are on their way. Looking
    /// and taking are one step, so that orders at the same moment do not pass the limit together. The place is
    /// given back by [`arrived`](Self::arrived), else by [`ordered`](Self::ordered).
    pub fn order(&mut self, device: &DeviceId, most: usize) -> bool {
        let n_ordering = self.ordering.get(device).copied().unwrap_or(0);
        let has_room = self.book.n_waiting(device.as_str()) + n_ordering < most;
        if has_room {
            self.ordering.insert(device.clone(), n_ordering + 1);
        }
        has_room
    }

    /// The book knows an order now, in the same moment: it is counted once, never twice and never not at all.
    pub fn arrived(&mut self, position: u64, device: &DeviceId) {
        if position > self.since {
            self.ordered(device);
        }
    }

    /// An order came to nothing: the journal did not take it.
    pub fn ordered(&mut self, device: &DeviceId) {
        if let Some(n) = self.ordering.get_mut(device) {
            *n -= 1;
            if *n == 0 {
                self.ordering.remove(device);
            }
        }
    }

    /// Keeps a command from being sent, if it was not.
    pub fn claim(&mut self, id: u64) -> Claim {
        let Some(command) = self.book.get(id) else {
            return Claim::Unknown;
        };
        match command.state {
            CommandState::Created if self.outbox.has_sent(id) => Claim::TooLate(CommandState::Sent),
            CommandState::Created => {
                self.cancelling.insert(id);
                Claim::Yours
            }
            state => Claim::TooLate(state),
        }
    }

    /// The next command for a device that fetches its commands itself; it is marked as handed over, which is
    /// its receipt too: an answer to a request cannot be asked for again.
    pub fn fetch(&mut self, device: &str, now: Timestamp) -> Option<Command> {
        let waits = |command: &&Command| {
            let id = command.id;
            let is_settled = command.received || command.unconfirmed || self.outbox.has_sent(id);
            !is_settled && !self.cancelling.contains(&id) && command.order.expires_at > now
        };
        let command = self.book.waiting(device).find(waits)?.clone();
        self.outbox.fetched(&command);
        Some(command)
    }

    /// A station asks for the time; its last question counts.
    pub fn asks_clock(&mut self, device: &DeviceId, asked: ClockAsked) {
        self.asked_clock.insert(device.clone(), asked);
    }

    /// The stations that asked for the time since this was last called.
    pub fn take_asked_clock(&mut self) -> BTreeMap<DeviceId, ClockAsked> {
        std::mem::take(&mut self.asked_clock)
    }

    /// The journal did not take the cancellation (or it is folded by now).
    pub fn release(&mut self, id: u64) {
        self.cancelling.remove(&id);
    }

    /// Whether a command is being taken back.
    pub fn is_claimed(&self, id: u64) -> bool {
        self.cancelling.contains(&id)
    }

    /// What is due for one device, in the order of its commands; with it stands what its gateway calls it, when
    /// that is not its id. `granted` says which QoS the listeners of a normalised topic have.
    pub fn due(
        &self,
        named: (&Device, Option<&str>),
        now: Timestamp,
        granted: &dyn Fn(&str) -> Option<u8>,
    ) -> Vec<Due> {
        self.outbox.due(&self.book, named, now, granted, &self.cancelling)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn orders_on_their_way_take_places_too() {
        let limits = Limits {
            life: Duration::from_secs(60),
            waiting_per_device: 2,
        };
        let rules = Rules {
            in_flight: 1,
            at_least_once: false,
        };
        let desk = Desk::new(Book::default(), rules, limits, 10);
        let device = |id: &str| DeviceId::new(id).unwrap();
        let order = |id: &str| desk.work().order(&device(id), limits.waiting_per_device);
        assert!(order("v") && order("v") && !order("v"));
        assert!(order("w"), "another device's places are its own");
        desk.work().ordered(&device("v"));
        assert!(order("v") && !order("v"));
    }

    #[test]
    fn an_order_that_the_book_knows_takes_one_place_at_every_moment() {
        let limits = Limits {
            life: Duration::from_secs(60),
            waiting_per_device: 2,
        };
        let rules = Rules {
            in_flight: 1,
            at_least_once: false,
        };
        let desk = Desk::new(Book::default(), rules, limits, 10);
        let device = DeviceId::new("v").unwrap();
        let create = |position: u64| {
            let order = onemap_model::Order {
                device: device.clone(),
                method: "open".to_owned(),
                params: serde_json::Value::Null,
                two_way: false,
                expires_at: Timestamp::from_ms(60_000),
                key: None,
                via: onemap_model::Via::Auto,
                by: onemap_model::Scope::local("t"),
            };
            let record = onemap_model::CommandRecord {
                at: Timestamp::from_ms(1),
                what: onemap_model::CommandStep::Created(Box::new(order)),
            };
            let mut work = desk.work();
            work.book
                .step(position, Timestamp::from_ms(1), &record, &mut Vec::new());
            work.arrived(position, &device);
        };
        let takes_place = || desk.work().order(&device, limits.waiting_per_device);
        // From before the start: nobody here took a place for it.
        create(9);
        assert!(takes_place() && !takes_place());
        // What the book knows now is on its way no more: one of two places is its own, not both.
        create(11);
        assert_eq!(desk.work().book.n_waiting("v"), 2);
        assert!(desk.work().ordering.is_empty());
        assert!(!takes_place());
    }
}
