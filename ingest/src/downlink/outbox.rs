//! Which waiting commands are to be handed to a connection now. Pure: who listens and what time it is are
//! arguments; what was handed over in this process is its only memory.
//!
//! A command goes to a connection once, however often the device subscribes on it. When that connection has ended
//! (or the server has) and the device listens, it goes again while it is not known to have been received; then
//! only its answer is waited for. A valve
//! that opens twice is worse than a lamp that stays dark, so "received" and "confirms nothing" (QoS 0) end
//! the repeats unless [`Rules::at_least_once`] says otherwise.

use std::collections::{HashMap, HashSet};

use onemap_model::{Command, Device, DeviceId, Over, Timestamp, Via};

use super::{Book, message};

/// How commands are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Most commands of one device that are sent and not acknowledged.
    pub in_flight: usize,
    /// Also send again, on a new connection, what was received and not answered.
    pub at_least_once: bool,
}

/// A door and whose it is: the device's, or its gateway's.
type Door = (Over, DeviceId);

/// One message to hand over.
#[derive(Clone, Debug, PartialEq)]
pub struct Due {
    /// The command.
    pub id: u64,
    /// Which door.
    pub over: Over,
    /// The QoS that the listener was granted: 0 confirms nothing.
    pub qos: u8,
    /// Normalised topic.
    pub topic: String,
    /// Payload.
    pub payload: Vec<u8>,
    door: Door,
}

/// What this process has handed over.
#[derive(Debug)]
pub struct Outbox {
    rules: Rules,
    /// How often somebody began to listen at a door.
    listened: HashMap<Door, u64>,
    /// By command.
    sent: HashMap<u64, Sent>,
}

/// One command that was handed over.
#[derive(Debug)]
struct Sent {
    door: Door,
    /// In which of the door's times.
    time: u64,
    /// The receipt was told.
    told: bool,
    /// No receipt will come.
    is_unconfirmed: bool,
}

impl Sent {
    /// A connection holds it and will confirm it.
    fn is_held(&self) -> bool {
        !self.told && !self.is_unconfirmed
    }
}

impl Outbox {
    /// Nothing was sent yet.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            listened: HashMap::new(),
            sent: HashMap::new(),
        }
    }

    /// Somebody began to listen on a normalised filter; gives whose commands may be due now: `None` when it
    /// concerns none, an empty list when the filter does not name one device.
    pub fn listening(&mut self, filter: &str) -> Option<Vec<DeviceId>> {
        let doors = message::doors_of(filter)?;
        let mut whose = Vec::new();
        for (over, holder) in doors {
            *self.listened.entry((over, holder.clone())).or_default() += 1;
            whose.push(holder);
        }
        Some(whose)
    }

    /// The receiver acknowledged the message; gives whether that is news.
    pub fn confirmed(&mut self, id: u64) -> bool {
        match self.sent.get_mut(&id) {
            Some(sent) => !std::mem::replace(&mut sent.told, true),
            None => false,
        }
    }

    /// No connection holds the message any more; gives whether its command may have to go again.
    pub fn dropped(&mut self, id: u64) -> bool {
        let lost = self.sent.get(&id).is_some_and(Sent::is_held);
        if lost {
            self.sent.remove(&id);
        }
        lost
    }

    /// Whether this process handed the command over.
    pub fn has_sent(&self, id: u64) -> bool {
        self.sent.contains_key(&id)
    }

    /// Notes that the device fetched a command.
    pub(super) fn fetched(&mut self, command: &Command) {
        let door = (Over::Http, command.order.device.clone());
        let sent = Sent {
            door,
            time: 0,
            told: true,
            is_unconfirmed: false,
        };
        self.sent.insert(command.id, sent);
    }

    /// Notes that a command was handed to a station's connection; when it goes again, [`super::Calls`] says.
    pub fn called(&mut self, command: &Command, over: Over) {
        let door = (over, command.order.device.clone());
        let sent = Sent {
            door,
            time: 0,
            told: false,
            is_unconfirmed: false,
        };
        self.sent.insert(command.id, sent);
    }

    /// What was fetched did not leave after all.
    pub fn unsend(&mut self, id: u64) {
        self.sent.remove(&id);
    }

    /// Notes that a message was handed over.
    pub fn note(&mut self, due: &Due) {
        let time = self.time(&due.door);
        let sent = Sent {
            door: due.door.clone(),
            time,
            told: false,
            is_unconfirmed: due.qos == 0,
        };
        self.sent.insert(due.id, sent);
    }

    /// Forgets commands that no longer wait.
    pub fn forget(&mut self, book: &Book) {
        self.sent
            .retain(|id, _| book.get(*id).is_some_and(|command| !command.is_final()));
    }

    fn time(&self, door: &Door) -> u64 {
        self.listened.get(door).copied().unwrap_or(0)
    }

    /// Whether a connection holds the command.
    fn is_under_way(&self, id: u64) -> bool {
        self.sent.get(&id).is_some_and(Sent::is_held)
    }

    fn may_go(&self, command: &Command, now: Timestamp) -> bool {
        if command.is_final() || command.order.expires_at <= now {
            return false;
        }
        let told = match self.sent.get(&command.id) {
            // A connection holds it, or nobody listened since.
            Some(sent) if sent.is_held() || self.time(&sent.door) == sent.time => return false,
            Some(_) => true,
            None => false,
        };
        let is_settled = told || command.received || command.unconfirmed;
        !is_settled || self.rules.at_least_once
    }

    /// What is due for one device, in the order of its commands. `name` is what its gateway calls it, when that
    /// is not its id; `granted` says which QoS the listeners of a
    /// topic have, `claimed` which commands are being taken back.
    pub fn due(
        &self,
        book: &Book,
        (device, name): (&Device, Option<&str>),
        now: Timestamp,
        granted: &dyn Fn(&str) -> Option<u8>,
        claimed: &HashSet<u64>,
    ) -> Vec<Due> {
        let id = device.id.as_str();
        let under_way =
            |command: &&Command| !command.received && !command.unconfirmed && self.is_under_way(command.id);
        let mut room = self
            .rules
            .in_flight
            .saturating_sub(book.waiting(id).filter(under_way).count());
        let mut due = Vec::new();
        for command in book.waiting(id) {
            if room == 0 {
                break;
            }
            if claimed.contains(&command.id) || !self.may_go(command, now) {
                continue;
            }
            let open = doors(command.order.via, device).into_iter().find_map(|door| {
                let topic = message::topic(door.0, &door.1, command.id);
                granted(&topic).map(|qos| (door, topic, qos))
            });
            let Some((door, topic, qos)) = open else { continue };
            // A door without confirmations cannot fill up.
            room -= usize::from(qos > 0);
            due.push(Due {
                id: command.id,
                over: door.0,
                qos,
                topic,
                payload: message::payload(door.0, command, name),
                door,
            });
        }
        due
    }
}

/// The doors that a command may take, the best first.
fn doors(via: Via, device: &Device) -> Vec<Door> {
    let own = |over| (over, device.id.clone());
    let gateway = device.gateway.clone().map(|gateway| (Over::Gateway, gateway));
    match via {
        Via::Native => vec![own(Over::Native)],
        Via::Rpc => [own(Over::Rpc)].into_iter().chain(gateway).collect(),
        Via::Auto => [own(Over::Rpc), own(Over::Native)]
            .into_iter()
            .chain(gateway)
            .collect(),
    }
}
