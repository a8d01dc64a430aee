//! What the listeners count.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use onemap_model::Refusal;

use crate::denial::{Denial, Ear};

/// Counters of all listeners; clones share them. Relaxed throughout: they are read for display.
#[derive(Clone, Debug, Default)]
pub struct Counters(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    refused: Vec<AtomicU64>,
    connections: AtomicU64,
    accepted: AtomicU64,
    publishes: AtomicU64,
    bytes: AtomicU64,
    acks: AtomicU64,
    deliveries: AtomicU64,
    slow_readers: AtomicU64,
    accept_errors: AtomicU64,
    unkept: AtomicU64,
    relayed: AtomicU64,
    tls_handshakes: AtomicU64,
    tls_resumed: AtomicU64,
    websockets: AtomicU64,
    certificate_errors: AtomicU64,
    denials: Ear,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            refused: Refusal::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            connections: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            publishes: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            acks: AtomicU64::new(0),
            deliveries: AtomicU64::new(0),
            slow_readers: AtomicU64::new(0),
            accept_errors: AtomicU64::new(0),
            unkept: AtomicU64::new(0),
            relayed: AtomicU64::new(0),
            tls_handshakes: AtomicU64::new(0),
            tls_resumed: AtomicU64::new(0),
            websockets: AtomicU64::new(0),
            certificate_errors: AtomicU64::new(0),
            denials: Ear::default(),
        }
    }
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Authenticated MQTT connections that are open now.
    pub connections: u64,
    /// MQTT connections that were ever authenticated.
    pub accepted: u64,
    /// PUBLISH packets taken into the journal.
    pub publishes: u64,
    /// Bytes read from sockets.
    pub bytes: u64,
    /// PUBACK and PUBCOMP sent, each after its record was durable.
    pub acks: u64,
    /// Messages written to subscribers.
    pub deliveries: u64,
    /// Subscribers that were disconnected because they did not read.
    pub slow_readers: u64,
    /// Errors of `accept`, such as too many open files.
    pub accept_errors: u64,
    /// Refused bytes of strangers that were counted and not kept, to bound what strangers can write.
    pub unkept: u64,
    /// Frames on topics of no device, which were journaled and passed on and are not readings.
    pub relayed: u64,
    /// TLS handshakes that succeeded.
    pub tls_handshakes: u64,
    /// Those of them that resumed an earlier one.
    pub tls_resumed: u64,
    /// WebSockets that were opened.
    pub websockets: u64,
    /// Files of certificates or deny lists that could not be taken up; the former stayed in use.
    pub certificate_errors: u64,
}

impl Counters {
    /// All zero.
    pub fn new() -> Self {
        Self::default()
    }
    /// Counts one refusal.
    pub fn refuse(&self, refusal: Refusal) {
        if let Some(index) = Refusal::ALL.iter().position(|r| *r == refusal) {
            self.0.refused[index].fetch_add(1, Ordering::Relaxed);
        }
    }
    /// From now on who is not let in is told to `hears`, which does not wait for anything; says whether nobody heard
    /// before.
    pub fn tell_denials(&self, hears: impl Fn(&Denial<'_>) + Send + Sync + 'static) -> bool {
        self.0.denials.set(Box::new(hears))
    }
    /// Tells that somebody was not let in.
    pub(crate) fn denied(&self, denial: &Denial<'_>) {
        self.0.denials.tell(denial);
    }
    /// Counts and tells that somebody was not let in.
    pub(crate) fn turn_away(&self, denial: &Denial<'_>) {
        self.refuse(denial.refusal);
        self.denied(denial);
    }
    /// How often this was refused by a listener.
    pub fn refused(&self, refusal: Refusal) -> u64 {
        let index = Refusal::ALL.iter().position(|r| *r == refusal);
        index.map_or(0, |i| self.0.refused[i].load(Ordering::Relaxed))
    }
    /// The other counters now.
    pub fn counted(&self) -> Counted {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counted {
            connections: read(&self.0.connections),
            accepted: read(&self.0.accepted),
            publishes: read(&self.0.publishes),
            bytes: read(&self.0.bytes),
            acks: read(&self.0.acks),
            deliveries: read(&self.0.deliveries),
            slow_readers: read(&self.0.slow_readers),
            accept_errors: read(&self.0.accept_errors),
            unkept: read(&self.0.unkept),
            relayed: read(&self.0.relayed),
            tls_handshakes: read(&self.0.tls_handshakes),
            tls_resumed: read(&self.0.tls_resumed),
            websockets: read(&self.0.websockets),
            certificate_errors: read(&self.0.certificate_errors),
        }
    }

    /// Counts a frame on a topic of no device.
    pub fn relay(&self) {
        self.0.relayed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn connected(&self) -> Connected {
        self.0.connections.fetch_add(1, Ordering::Relaxed);
        self.0.accepted.fetch_add(1, Ordering::Relaxed);
        Connected(self.clone())
    }
    pub(crate) fn received(&self, n_publishes: usize) {
        self.0.publishes.fetch_add(n_publishes as u64, Ordering::Relaxed);
    }
    pub(crate) fn read(&self, n_bytes: usize) {
        self.0.bytes.fetch_add(n_bytes as u64, Ordering::Relaxed);
    }
    pub(crate) fn acknowledged(&self, n_acks: usize) {
        self.0.acks.fetch_add(n_acks as u64, Ordering::Relaxed);
    }
    pub(crate) fn delivered(&self, n_messages: usize) {
        self.0.deliveries.fetch_add(n_messages as u64, Ordering::Relaxed);
    }
    pub(crate) fn slow_reader(&self) {
        self.0.slow_readers.fetch_add(1, Ordering::Relaxed);
    }
    pub(crate) fn accept_error(&self) {
        self.0.accept_errors.fetch_add(1, Ordering::Relaxed);
    }
    pub(crate) fn shook_hands(&self, is_resumed: bool) {
        self.0.tls_handshakes.fetch_add(1, Ordering::Relaxed);
        self.0
            .tls_resumed
            .fetch_add(u64::from(is_resumed), Ordering::Relaxed);
    }
    pub(crate) fn websocket(&self) {
        self.0.websockets.fetch_add(1, Ordering::Relaxed);
    }
    pub(crate) fn certificate_error(&self) {
        self.0.certificate_errors.fetch_add(1, Ordering::Relaxed);
    }
    pub(crate) fn not_kept(&self) {
        self.0.unkept.fetch_add(1, Ordering::Relaxed);
    }
}

/// One open connection in the count.
pub(crate) struct Connected(Counters);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
