//! What others warn of, as CAP messages that came in. Never shown as our own: nothing here is issued, drafted or
//! approved, and nothing of it touches [`super::Warnings`].
//!
//! A message again (the same sender, identifier and sent) is the same. An Update or Cancel replaces what it references
//! of its own sender and status, whichever comes first. What is over leaves.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use onemap_cap::{Alert, CapError, Message, MsgType, Reference};
use onemap_model::Timestamp;
use serde::{Deserialize, Serialize};

/// Messages that are kept; beyond, those that came first go.
pub const MOST_RECEIVED: usize = 2000;
/// Bytes of them; beyond, those that came first go.
pub const MOST_RECEIVED_BYTES: usize = 32 << 20;
/// How long a message holds that states no end.
pub const WITHOUT_END: Duration = Duration::from_secs(86_400);
/// How long one that is over is still known, so that what replaces it or repeats it is understood.
const KNOWN: Duration = Duration::from_secs(86_400);

/// A message as it came.
#[derive(Clone, Debug)]
pub struct Received {
    /// Journal position.
    pub position: u64,
    /// When it came.
    pub received_at: Timestamp,
    /// Through whom: who handed it in.
    pub source: String,
    /// The document, byte for byte.
    pub document: String,
    /// What it says.
    pub alert: Alert,
    /// Whether it has a signature, which nobody looked at.
    pub is_signed: bool,
    /// What replaced it.
    pub replaced_by: Option<String>,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Took {
    /// It is kept.
    New,
    /// It was there.
    Known,
    /// It was over before it came.
    Over,
}

/// Why bytes do not restore what was received.
#[derive(Debug, thiserror::Error)]
#[error("the snapshot of received warnings is not readable")]
pub struct ReceivedError(#[source] serde_json::Error);

#[derive(Serialize, Deserialize)]
struct Kept {
    position: u64,
    received_at: Timestamp,
    source: String,
    document: String,
    replaced_by: Option<String>,
}

/// Sender, identifier and second of sending.
type Key = (String, String, i64);

fn key(reference: &Reference) -> Key {
    let second = reference.sent.at().ms();
    (reference.sender.clone(), reference.identifier.clone(), second)
}

impl Received {
    /// When it is over: by its own word, else a day after it was sent.
    pub fn over_at(&self) -> Timestamp {
        let stated = self.alert.expires();
        stated.unwrap_or(self.alert.sent.at() + WITHOUT_END)
    }
    /// Whether it holds at a time.
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.replaced_by.is_none()
            && matches!(self.alert.msg_type, MsgType::Alert | MsgType::Update)
            && now < self.over_at()
    }
    /// Whether it takes the place of another.
    fn replaces(&self, other: &Self) -> bool {
        matches!(self.alert.msg_type, MsgType::Update | MsgType::Cancel)
            && self.alert.sender == other.alert.sender
            && self.alert.status == other.alert.status
            && self.alert.references.contains(&other.alert.reference())
    }
}

/// Messages of others that hold, or did so lately.
#[derive(Debug, Default)]
pub struct ReceivedBook {
    messages: BTreeMap<Key, Received>,
    n_bytes: usize,
    is_changed: bool,
}

impl ReceivedBook {
    /// Takes a document in.
    ///
    /// # Errors
    /// [`CapError`]: it is no message.
    pub fn take(
        &mut self,
        position: u64,
        now: Timestamp,
        source: &str,
        bytes: &[u8],
    ) -> Result<Took, CapError> {
        let Message { alert, is_signed, .. } = onemap_cap::read(bytes)?;
        let document = String::from_utf8_lossy(bytes).into_owned();
        let mut received = Received {
            position,
            received_at: now,
            source: source.to_owned(),
            document,
            alert,
            is_signed,
            replaced_by: None,
        };
        let key = key(&received.alert.reference());
        if self.messages.contains_key(&key) {
            return Ok(Took::Known);
        }
        if received.over_at() <= now {
            return Ok(Took::Over);
        }
        for other in self.messages.values_mut() {
            if received.replaces(other) {
                other.replaced_by = Some(received.alert.identifier.clone());
            } else if other.replaces(&received) {
                received.replaced_by = Some(other.alert.identifier.clone());
            }
        }
        self.n_bytes += received.document.len();
        self.messages.insert(key, received);
        self.is_changed = true;
        self.bound();
        Ok(Took::New)
    }

    /// Lets go what was over a day ago.
    pub fn tick(&mut self, now: Timestamp) {
        let n = self.messages.len();
        self.messages
            .retain(|_, received| now < received.over_at() + KNOWN);
        if self.messages.len() != n {
            self.is_changed = true;
            self.n_bytes = self
                .messages
                .values()
                .map(|received| received.document.len())
                .sum();
        }
    }

    fn bound(&mut self) {
        while self.messages.len() > MOST_RECEIVED || self.n_bytes > MOST_RECEIVED_BYTES {
            let first = self.messages.iter().min_by_key(|(_, received)| received.position);
            let Some(key) = first.map(|(key, _)| key.clone()) else {
                return;
            };
            if let Some(gone) = self.messages.remove(&key) {
                self.n_bytes -= gone.document.len();
            }
        }
    }

    /// All that are known, the newest sent first.
    pub fn newest_first(&self) -> Vec<&Received> {
        let mut all: Vec<&Received> = self.messages.values().collect();
        all.sort_by_key(|received| Reverse((received.alert.sent.at(), received.position)));
        all
    }
    /// Whether it is another than its last snapshot.
    pub fn is_changed(&self) -> bool {
        self.is_changed
    }
    /// Notes that the last snapshot is kept.
    pub fn note_kept(&mut self) {
        self.is_changed = false;
    }
    /// Everything, to go on from.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut kept: Vec<Kept> = self.messages.values().map(Kept::of).collect();
        kept.sort_by_key(|kept| kept.position);
        serde_json::to_vec(&kept).expect("documents are text")
    }
    /// From a snapshot. A document that this version does not read is left out.
    ///
    /// # Errors
    /// [`ReceivedError`].
    pub fn restore(bytes: &[u8]) -> Result<Self, ReceivedError> {
        let kept: Vec<Kept> = serde_json::from_slice(bytes).map_err(ReceivedError)?;
        let mut book = Self::default();
        for kept in kept {
            // Also one that is over by now: it was not when it came.
            let taken = book.take(
                kept.position,
                kept.received_at,
                &kept.source,
                kept.document.as_bytes(),
            );
            let mut all = book.messages.values_mut();
            if taken.is_ok()
                && let Some(received) = all.find(|received| received.position == kept.position)
            {
                received.replaced_by = kept.replaced_by;
            }
        }
        book.is_changed = false;
        Ok(book)
    }
}

impl Kept {
    fn of(received: &Received) -> Self {
        Self {
            position: received.position,
            received_at: received.received_at,
            source: received.source.clone(),
            document: received.document.clone(),
            replaced_by: received.replaced_by.clone(),
        }
    }
}
