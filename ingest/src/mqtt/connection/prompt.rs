//! Acknowledgements that the commit thread writes itself, as soon as what they stand for is durable.
//!
//! Only where nothing else is to be written before them and nothing takes effect with them, on plain TCP. The
//! connection sleeps meanwhile, and takes back what was not written before it writes anything else: the order
//! stays.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};

use onemap_log::ToldFirst;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Notify;

use crate::counters::Counters;

/// Acknowledgements under way.
#[derive(Debug)]
pub(super) struct Prompt {
    outlet: Weak<OwnedWriteHalf>,
    counters: Counters,
    due: Mutex<Due>,
    /// Told when the connection has to see to the rest.
    pub(super) is_back: Notify,
}

#[derive(Debug, Default)]
struct Due {
    marks: VecDeque<Left>,
    /// What is not written yet.
    bytes: Vec<u8>,
    /// What was written since the connection last looked.
    n_written: usize,
    /// The peer took less than there was.
    is_stuck: bool,
}

/// The acknowledgements of one mark.
#[derive(Debug)]
struct Left {
    position: u64,
    n_bytes: usize,
    n_acks: usize,
}

impl Prompt {
    pub(super) fn new(outlet: Weak<OwnedWriteHalf>, counters: Counters) -> Self {
        Self {
            outlet,
            counters,
            due: Mutex::default(),
            is_back: Notify::new(),
        }
    }

    fn due(&self) -> MutexGuard<'_, Due> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the acknowledgements of a mark, behind those that are there.
    pub(super) fn add(&self, position: u64, bytes: &[u8], n_acks: usize) {
        let mut due = self.due();
        due.bytes.extend_from_slice(bytes);
        due.marks.push_back(Left {
            position,
            n_bytes: bytes.len(),
            n_acks,
        });
    }

    /// How many bytes were written since the last time, and whether some of what is durable are left.
    pub(super) fn written(&self, durable: u64) -> (usize, bool) {
        let mut due = self.due();
        let is_behind = due.is_stuck || due.marks.front().is_some_and(|mark| mark.position <= durable);
        (std::mem::take(&mut due.n_written), is_behind)
    }

    /// Ends it: nothing more is written. How many bytes were since the last time, and how many acknowledgements
    /// nobody has counted yet.
    pub(super) fn take_back(&self) -> (usize, usize) {
        let mut due = self.due();
        let n_uncounted = due.marks.drain(..).map(|mark| mark.n_acks).sum();
        due.bytes.clear();
        due.is_stuck = false;
        (std::mem::take(&mut due.n_written), n_uncounted)
    }
}

impl ToldFirst for Prompt {
    fn durable(&self, position: u64) {
        let mut due = self.due();
        let (mut n_bytes, mut n_acks) = (0, 0);
        if !due.is_stuck {
            let n_marks = due.marks.partition_point(|mark| mark.position <= position);
            for mark in due.marks.drain(..n_marks) {
                n_bytes += mark.n_bytes;
                n_acks += mark.n_acks;
            }
        }
        let Some(outlet) = self.outlet.upgrade().filter(|_| n_bytes > 0) else {
            return;
        };
        self.counters.acknowledged(n_acks);
        // What goes wrong here goes wrong again where the connection writes, and is said there.
        let n_written = outlet.try_write(&due.bytes[..n_bytes]).unwrap_or(0);
        due.bytes.drain(..n_written);
        due.n_written += n_written;
        due.is_stuck = n_written < n_bytes;
        if due.is_stuck {
            self.is_back.notify_one();
        }
    }

    fn not_first(&self) {
        self.is_back.notify_one();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn prompt() -> (Prompt, Arc<OwnedWriteHalf>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (far, _) = listener.accept().await.unwrap();
        near.writable().await.unwrap();
        let outlet = Arc::new(near.into_split().1);
        let prompt = Prompt::new(Arc::downgrade(&outlet), Counters::default());
        (prompt, outlet, far)
    }

    #[tokio::test]
    async fn what_is_due_is_written_and_what_is_not_comes_back() {
        let (prompt, _outlet, mut far) = prompt().await;
        prompt.add(3, b"aaaa", 1);
        prompt.add(5, b"bbbbbbbb", 2);
        prompt.add(9, b"cccc", 1);
        prompt.durable(2);
        assert_eq!(prompt.written(2), (0, false));
        prompt.durable(5);
        assert_eq!(prompt.written(5), (12, false));
        let mut bytes = [0; 12];
        far.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"aaaabbbbbbbb");
        assert_eq!(prompt.written(9), (0, true), "durable, and nobody was told");
        assert_eq!(prompt.take_back(), (0, 1));
        prompt.durable(9);
        assert_eq!(prompt.take_back(), (0, 0));
        assert_eq!(prompt.counters.counted().acks, 3);
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_gets_every_byte_once_when_the_connection_goes_on() {
        let (prompt, outlet, mut far) = prompt().await;
        let block: Vec<u8> = (0..=u8::MAX).cycle().take(1 << 20).collect();
        let (mut position, mut n_written) = (0, 0);
        let n_left = loop {
            position += 1;
            prompt.add(position, &block, 1);
            prompt.durable(position);
            let (n, is_behind) = prompt.written(position);
            n_written += n;
            if is_behind {
                break block.len() - n;
            }
            assert!(position < 1000, "a socket without end");
        };
        prompt.is_back.notified().await;
        // Nothing overtakes what is stuck, and nothing of it is written behind the connection's back.
        prompt.add(position + 1, &block, 1);
        prompt.durable(position + 1);
        let (n, n_uncounted) = prompt.take_back();
        assert_eq!((n, n_uncounted), (0, 1));
        drop(prompt);
        let mut outlet = Arc::into_inner(outlet).unwrap();
        let rest = block[block.len() - n_left..].to_vec();
        let writing = tokio::spawn(async move {
            outlet.write_all(&rest).await.unwrap();
        });
        let mut bytes = Vec::new();
        far.read_to_end(&mut bytes).await.unwrap();
        writing.await.unwrap();
        assert_eq!(bytes.len(), n_written + n_left);
        assert!(
            bytes
                .iter()
                .zip((0..=u8::MAX).cycle())
                .all(|(byte, want)| *byte == want)
        );
    }
}
