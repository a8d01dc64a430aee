//! The state machine of commands, fed with journal records in their order. Pure.
//!
//! Facts may come in any order (a device may answer before its PUBACK is written down, a kill may lose the
//! note that something was sent). What holds in any order:
//!
//! - `executed`, `failed`, `expired` and `cancelled` are never left; later facts are kept beside them.
//! - `received` ends a one-way command, and only the device's own answer before its expiry moves it on.
//! - `cancelled` follows on `created` only.
//! - `expired` comes by record time: at the first record at or after the expiry.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use onemap_model::{
    Command, CommandRecord, CommandState, CommandStep, DeviceId, Fact, Happened, Order, Scope, Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::calls::{end_of, qn_of, sequence_of};

/// How long an ended command is remembered: its idempotency key holds and a late answer finds it.
pub const REMEMBERED: Duration = Duration::from_secs(86_400);
/// Most ended commands that are remembered, and most bytes of their parameters and answers; the oldest go first.
const N_ENDED: usize = 20_000;
const ENDED_BYTES: usize = 16 << 20;
/// So long after an answer the same one is a repeat of it.
const REPEATED: Duration = Duration::from_secs(600);
/// Parts of an answer that are kept, and bytes of them; the others are counted by their absence.
const N_COLLECTED: usize = 64;
const COLLECTED_BYTES: usize = 32 << 10;
/// Outcomes of orders that are remembered for those who ordered.
const N_OUTCOMES: usize = 10_000;

/// What became of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ordered {
    /// A new command with this number.
    New(u64),
    /// The caller ordered the same under the same key before.
    Same(u64),
    /// The caller ordered something else under this key before.
    KeyTaken(u64),
}

/// A fact, and the command as it stands after it.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The command.
    pub command: Command,
    /// The fact.
    pub fact: Fact,
}

/// What became of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Answered {
    /// It is a fact.
    Taken,
    /// The same answer again (a resend).
    Repeated,
    /// No command waits for it, or another device's does.
    Stray(String),
}

/// What an answer without a request number is of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Asked<'a> {
    /// This command.
    Command(&'a Command),
    /// A command that it has answered already.
    Before,
    /// Nothing that was asked here.
    Nobody,
}

/// All commands that wait, and those that ended lately.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Book {
    last: u64,
    commands: BTreeMap<u64, Command>,
    /// Late answers that were taken, by command.
    late: BTreeMap<u64, (bool, Value)>,
    /// What a station sent between its receipt and its answer, by command.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    collected: BTreeMap<u64, Vec<Value>>,
    #[serde(skip)]
    index: Index,
    #[serde(skip)]
    outcomes: BTreeMap<u64, Ordered>,
    /// Facts since this process began, by name.
    #[serde(skip)]
    n_facts: BTreeMap<&'static str, u64>,
    /// Changed since the last [`Book::unsaved`].
    #[serde(skip)]
    is_changed: bool,
    #[serde(skip)]
    n_resent: u64,
    #[serde(skip)]
    n_repeated: u64,
}

/// What is found by other means than the number; made again from the commands.
#[derive(Clone, Debug, Default)]
struct Index {
    waiting: BTreeMap<DeviceId, BTreeSet<u64>>,
    expiries: BTreeSet<(Timestamp, u64)>,
    ended: BTreeSet<(Timestamp, u64)>,
    ended_bytes: usize,
    keys: HashMap<(String, String), u64>,
}

/// Bytes that a command holds beyond its own size.
fn weight(command: &Command) -> usize {
    let length = |value: &Value| match value {
        Value::Null => 0,
        Value::String(text) => text.len(),
        other => other.to_string().len(),
    };
    200 + length(&command.order.params) + command.answer.as_ref().map_or(0, length)
}

impl Index {
    fn add(&mut self, command: &Command) {
        if command.is_final() {
            self.ended.insert((command.state_at, command.id));
            self.ended_bytes += weight(command);
        } else {
            let of_device = self.waiting.entry(command.order.device.clone()).or_default();
            of_device.insert(command.id);
            self.expiries.insert((command.order.expires_at, command.id));
        }
    }
    fn remove(&mut self, command: &Command) {
        if command.is_final() {
            self.ended.remove(&(command.state_at, command.id));
            self.ended_bytes -= weight(command);
            return;
        }
        if let Some(of_device) = self.waiting.get_mut(&command.order.device) {
            of_device.remove(&command.id);
            if of_device.is_empty() {
                self.waiting.remove(&command.order.device);
            }
        }
        self.expiries.remove(&(command.order.expires_at, command.id));
    }
}

fn key_of(order: &Order) -> Option<(String, String)> {
    Some((caller(&order.by), order.key.clone()?))
}

/// Who a key belongs to: callers of one name and different rights are different callers.
fn caller(by: &Scope) -> String {
    let division = by.division.as_ref().map_or("", |division| division.as_str());
    let departments = by.departments.join("\t");
    format!("{}\n{}\n{division}\n{departments}", by.actor, by.role.name())
}

impl Book {
    /// As JSON, for a checkpoint.
    pub fn snapshot(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("commands have text keys only")
    }

    /// As [`Book::snapshot`], unless nothing changed since the last call.
    pub fn unsaved(&mut self) -> Option<Vec<u8>> {
        std::mem::take(&mut self.is_changed).then(|| self.snapshot())
    }

    /// Reads what [`Book::snapshot`] made.
    ///
    /// # Errors
    /// When the bytes are something else.
    pub fn restore(bytes: &[u8]) -> serde_json::Result<Self> {
        let mut book: Book = serde_json::from_slice(bytes)?;
        for command in book.commands.values() {
            book.index.add(command);
            if let Some(key) = key_of(&command.order) {
                book.index.keys.insert(key, command.id);
            }
        }
        Ok(book)
    }

    /// A command that waits or ended lately.
    pub fn get(&self, id: u64) -> Option<&Command> {
        self.commands.get(&id)
    }

    /// Devices with waiting commands.
    pub fn devices(&self) -> impl Iterator<Item = &DeviceId> {
        self.index.waiting.keys()
    }

    /// Waiting commands of a device in their order.
    pub fn waiting(&self, device: &str) -> impl Iterator<Item = &Command> {
        let ids = self.index.waiting.get(device).into_iter().flatten();
        ids.filter_map(|id| self.commands.get(id))
    }

    /// How many commands of a device wait.
    pub fn n_waiting(&self, device: &str) -> usize {
        self.index.waiting.get(device).map_or(0, BTreeSet::len)
    }

    /// The command that a caller named so lately.
    pub fn by_key(&self, by: &Scope, key: &str) -> Option<&Command> {
        let id = self.index.keys.get(&(caller(by), key.to_owned()))?;
        self.commands.get(id)
    }

    /// The command of a station that has this request number ([`super::qn_of`]).
    pub fn by_qn(&self, device: &str, qn: &str) -> Option<&Command> {
        let end = end_of(qn)?;
        let is_it = |command: &&Command| command.order.device.as_str() == device && qn_of(command) == qn;
        let waits = self
            .waiting(device)
            .filter(|command| command.id % 1000 == end)
            .find(is_it);
        waits.or_else(|| {
            let first = *self.commands.keys().next()?;
            let last = self.last.checked_sub((self.last % 1000 + 1000 - end) % 1000)?;
            let numbers = (first..=last).rev().step_by(1000);
            numbers.filter_map(|id| self.commands.get(&id)).find(is_it)
        })
    }

    /// What a station's answer without a request number is of: `fits` says which commands it may answer, `serial` is the
    /// answer's own number.
    ///
    /// The oldest that was sent, or else the oldest that waits (the note that it was sent may have been lost), or else the
    /// last one that has expired. An answer that came before (the same number, a short while ago) is a repeat, and so is a
    /// second one of a command that was sent more than once: its station answers each under a number of its own.
    pub fn asked(
        &self,
        device: &str,
        serial: u16,
        now: Timestamp,
        fits: impl Fn(&Command) -> bool,
    ) -> Asked<'_> {
        let is_it = |command: &&Command| command.order.device.as_str() == device && fits(command);
        let ended = || {
            let lately = self.index.ended.iter().rev();
            lately.filter_map(|(_, id)| self.commands.get(id)).filter(is_it)
        };
        let has_said = |command: &&Command| {
            let before = command
                .answer
                .as_ref()
                .and_then(|answer| answer["serial"].as_u64());
            serial > 0 && before == Some(u64::from(serial))
        };
        let fresh = ended().take_while(|command| now.since(command.state_at) < REPEATED);
        if fresh.into_iter().any(|command| has_said(&command)) {
            return Asked::Before;
        }
        let waiting = || self.waiting(device).filter(|command| fits(command));
        let sent = waiting().find(|command| command.attempts > 0);
        let late = || ended().find(|command| command.state == CommandState::Expired);
        match sent.or_else(|| waiting().next()).or_else(late) {
            Some(command) => Asked::Command(command),
            None => {
                let is_lately = |command: &Command| now.since(command.state_at) < REPEATED;
                match ended().any(|c| is_lately(c) && (serial == 0 || c.attempts > 1)) {
                    true => Asked::Before,
                    false => Asked::Nobody,
                }
            }
        }
    }

    /// The command of a device that has this sequence ([`super::sequence_of`]): one that waits and was sent, or the last one
    /// that has ended.
    pub fn by_sequence(&self, device: &str, sequence: u16) -> Option<&Command> {
        let is_it = |command: &&Command| sequence_of(command) == sequence;
        let waits = self.waiting(device).filter(is_it);
        let waits = waits.max_by_key(|command| command.attempts > 0);
        waits.or_else(|| {
            let ended = self.index.ended.iter().rev();
            let ended = ended.filter_map(|(_, id)| self.commands.get(id));
            ended
                .filter(|command| command.order.device.as_str() == device)
                .find(is_it)
        })
    }

    /// A station says that it will execute a command.
    pub fn received(&mut self, position: u64, now: Timestamp, id: u64, changes: &mut Vec<Change>) {
        let record = CommandRecord {
            at: now,
            what: CommandStep::Received { id },
        };
        self.step(position, now, &record, changes);
    }

    /// Keeps a part of what a station answers; it stands in the result of the command when that has come to its end.
    pub fn collect(&mut self, id: u64, part: Value) {
        if self.commands.get(&id).is_none_or(Command::is_final) {
            return;
        }
        let parts = self.collected.entry(id).or_default();
        let length = |part: &Value| part.to_string().len();
        let bytes: usize = parts.iter().map(length).sum();
        if parts.contains(&part) || parts.len() >= N_COLLECTED || bytes + length(&part) > COLLECTED_BYTES {
            return;
        }
        parts.push(part);
        self.is_changed = true;
    }

    /// What was collected of a command, in the order in which it came.
    pub fn collected(&self, id: u64) -> &[Value] {
        self.collected.get(&id).map_or(&[], Vec::as_slice)
    }

    /// What became of the order at a journal position; the last ones only.
    pub fn outcome(&self, position: u64) -> Option<Ordered> {
        self.outcomes.get(&position).copied()
    }

    /// Commands that are held, by state; those that ended lately among them.
    pub fn count(&self) -> BTreeMap<CommandState, u64> {
        let mut count: BTreeMap<_, _> = CommandState::ALL.iter().map(|s| (*s, 0)).collect();
        for command in self.commands.values() {
            *count.entry(command.state).or_default() += 1;
        }
        count
    }

    /// Facts since this process began, by name; how many of the sendings were repeats; how many answers were.
    pub fn facts(&self) -> (&BTreeMap<&'static str, u64>, u64, u64) {
        (&self.n_facts, self.n_resent, self.n_repeated)
    }

    /// Folds a record about a command. `now` is the fold's clock.
    pub fn step(&mut self, position: u64, now: Timestamp, record: &CommandRecord, changes: &mut Vec<Change>) {
        self.tick(position, now, changes);
        match &record.what {
            CommandStep::Created(order) => self.create(position, now, order, changes),
            CommandStep::Sent { id, over, qos } => {
                let (over, qos) = (*over, *qos);
                self.change(position, now, *id, changes, |command| {
                    command.attempts += 1;
                    command.unconfirmed = qos == 0;
                    if command.state == CommandState::Created {
                        command.state = CommandState::Sent;
                    }
                    let attempt = command.attempts;
                    Some(Happened::Sent { attempt, over, qos })
                });
            }
            CommandStep::Received { id } => self.change(position, now, *id, changes, |command| {
                if std::mem::replace(&mut command.received, true) {
                    return None;
                }
                if matches!(command.state, CommandState::Created | CommandState::Sent) {
                    command.state = CommandState::Received;
                }
                Some(Happened::Received)
            }),
            CommandStep::Cancelled { id, by, note } => self.change(position, now, *id, changes, |command| {
                if command.state != CommandState::Created {
                    return None;
                }
                command.state = CommandState::Cancelled;
                Some(Happened::Cancelled {
                    by: by.clone(),
                    note: note.clone(),
                })
            }),
            // A step of a newer version changes nothing here.
            _ => {}
        }
    }

    fn create(&mut self, position: u64, now: Timestamp, order: &Order, changes: &mut Vec<Change>) {
        let known = order.key.as_ref().and_then(|key| self.by_key(&order.by, key));
        let outcome = match known {
            Some(known) if known.order.is_same(order) => Ordered::Same(known.id),
            Some(known) => Ordered::KeyTaken(known.id),
            None => {
                self.last += 1;
                Ordered::New(self.last)
            }
        };
        self.outcomes.insert(position, outcome);
        if self.outcomes.len() > N_OUTCOMES {
            self.outcomes.pop_first();
        }
        let Ordered::New(id) = outcome else { return };
        if let Some(key) = key_of(order) {
            self.index.keys.insert(key, id);
        }
        let command = Command {
            id,
            order: order.clone(),
            created_at: now,
            state: CommandState::Created,
            state_at: now,
            attempts: 0,
            received: false,
            unconfirmed: false,
            answer: None,
        };
        self.index.add(&command);
        self.commands.insert(id, command);
        let by = order.by.clone();
        self.change(position, now, id, changes, |_| Some(Happened::Created { by }));
    }

    /// Folds the answer of `device` to command `id`: a result, or an error.
    pub fn answer(
        &mut self,
        position: u64,
        now: Timestamp,
        device: &str,
        id: u64,
        answer: Result<Value, Value>,
        changes: &mut Vec<Change>,
    ) -> Answered {
        self.tick(position, now, changes);
        let Some(command) = self.commands.get(&id) else {
            return Answered::Stray(format!("no command {id} waits for an answer"));
        };
        if command.order.device.as_str() != device {
            return Answered::Stray(format!("command {id} is not one of device `{device}`"));
        }
        let ok = answer.is_ok();
        let value = answer.unwrap_or_else(|error| error);
        match command.state {
            CommandState::Executed | CommandState::Failed => {
                if (command.state == CommandState::Executed) != ok || command.answer.as_ref() != Some(&value)
                {
                    return Answered::Stray(format!("command {id} was answered otherwise before"));
                }
                self.n_repeated += 1;
                return Answered::Repeated;
            }
            CommandState::Expired | CommandState::Cancelled => {}
            // A one-way command that was received has ended; its time may be over by now.
            _ if command.order.expires_at <= now => {}
            CommandState::Created | CommandState::Sent | CommandState::Received => {
                self.change(position, now, id, changes, |command| {
                    command.answer = Some(value.clone());
                    if ok {
                        command.state = CommandState::Executed;
                        return Some(Happened::Executed { result: value });
                    }
                    command.state = CommandState::Failed;
                    Some(Happened::Failed { error: value })
                });
                return Answered::Taken;
            }
        }
        match self.late.get(&id) {
            Some(known) if *known == (ok, value.clone()) => {
                self.n_repeated += 1;
                Answered::Repeated
            }
            Some(_) => Answered::Stray(format!("command {id} was answered otherwise before")),
            None => {
                self.late.insert(id, (ok, value.clone()));
                let late = Happened::LateAnswer { ok, answer: value };
                self.change(position, now, id, changes, |_| Some(late));
                Answered::Taken
            }
        }
    }

    /// Ends what has run out by `now`, and forgets what ended long ago.
    pub fn tick(&mut self, position: u64, now: Timestamp, changes: &mut Vec<Change>) {
        while let Some((at, id)) = self.index.expiries.first().copied()
            && at <= now
        {
            self.change(position, now, id, changes, |command| {
                command.state = CommandState::Expired;
                Some(Happened::Expired)
            });
        }
        while let Some((at, id)) = self.index.ended.first().copied() {
            let is_old = now.since(at) > REMEMBERED;
            if !is_old && self.index.ended.len() <= N_ENDED && self.index.ended_bytes <= ENDED_BYTES {
                break;
            }
            if let Some(command) = self.commands.remove(&id) {
                self.is_changed = true;
                self.index.remove(&command);
                self.late.remove(&id);
                if let Some(key) = key_of(&command.order)
                    && self.index.keys.get(&key) == Some(&id)
                {
                    self.index.keys.remove(&key);
                }
            }
        }
    }

    /// Changes one command, keeps the indexes right and notes the fact, if it is one.
    fn change(
        &mut self,
        position: u64,
        now: Timestamp,
        id: u64,
        changes: &mut Vec<Change>,
        deed: impl FnOnce(&mut Command) -> Option<Happened>,
    ) {
        let Some(command) = self.commands.get_mut(&id) else {
            return;
        };
        self.is_changed = true;
        self.index.remove(command);
        let before = command.state;
        let happened = deed(command);
        if command.state != before {
            command.state_at = now;
        }
        self.index.add(command);
        if command.is_final() {
            self.collected.remove(&id);
        }
        let Some(happened) = happened else { return };
        *self.n_facts.entry(happened.name()).or_default() += 1;
        if matches!(happened, Happened::Sent { attempt: 2.., .. }) {
            self.n_resent += 1;
        }
        changes.push(Change {
            command: command.clone(),
            fact: Fact {
                position,
                at: now,
                happened,
            },
        });
    }
}

#[cfg(test)]
mod tests;
