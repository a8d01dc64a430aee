//! Security events: noted where they happen, kept in their order, shown by `/api/v1/security/events` and handed to who
//! keeps them in files and sends them on.
//!
//! A flood stays small. What happens alike again within ten seconds is one event more with its count; of what differs
//! (many addresses, many paths) so many are told one by one as a bucket lets through, and the others are one event a kind
//! with their count. Those whose actor is known have a bucket of their own: strangers do not crowd them out.

mod bucket;
mod event;
pub mod syslog;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use onemap_model::Timestamp;
use tokio::sync::mpsc;

use bucket::Bucket;
pub use event::{Event, Kind, What};

/// Events that are shown; older ones are in the files.
pub const N_SHOWN: usize = 10_000;
/// For how long what happens alike, or beyond the buckets, is counted and not told.
const ALIKE: Duration = Duration::from_secs(10);
/// Told one by one at once, and then one each so many milliseconds: of those whose actor is known and of strangers.
const BURST: i64 = 200;
const KNOWN_EVERY_MS: i64 = 50;
const STRANGER_EVERY_MS: i64 = 1000;
/// Characters of a text in an event: who asks chooses some of them.
const MAX_TEXT: usize = 200;
const N_KINDS: usize = Kind::ALL.len();

const POISON: &str = "no holder of this lock panics";

/// Takes events and shows them.
#[derive(Debug, Default)]
pub struct Watchman {
    noted: Mutex<Noted>,
    n: [AtomicU64; N_KINDS],
    /// Told by their number only.
    flood: AtomicU64,
    /// Events that a taker had no room for.
    slow: AtomicU64,
}

#[derive(Debug)]
struct Noted {
    /// The newest event's number.
    last: u64,
    shown: VecDeque<Arc<Event>>,
    /// Of what was told within [`ALIKE`]; what the buckets let through bounds it.
    alike: HashMap<What, Alike>,
    known: Bucket,
    strangers: Bucket,
    /// By kind: how many the buckets did not let through, since when.
    others: [u64; N_KINDS],
    others_since: Option<Timestamp>,
    takers: Vec<mpsc::Sender<Arc<Event>>>,
}

/// What happened alike.
#[derive(Debug)]
struct Alike {
    since: Timestamp,
    /// Since it was told.
    n_more: u64,
}

/// Which events are asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) kind: Option<Kind>,
    pub(crate) actor: Option<String>,
    /// The first time inside.
    pub(crate) from: Option<Timestamp>,
    /// The first time no longer inside.
    pub(crate) to: Option<Timestamp>,
    /// Only what comes after this number in the order that is asked for.
    pub(crate) after: Option<u64>,
}

/// In which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    NewestFirst,
    OldestFirst,
}

impl Filter {
    fn takes(&self, event: &Event, order: Order) -> bool {
        let is_behind = |after| match order {
            Order::NewestFirst => event.seq < after,
            Order::OldestFirst => event.seq > after,
        };
        let is_by = |actor| event.actor.as_deref() == Some(actor);
        self.kind.is_none_or(|kind| event.kind == kind)
            && self.actor.as_deref().is_none_or(is_by)
            && self.from.is_none_or(|from| event.at >= from)
            && self.to.is_none_or(|to| event.at < to)
            && self.after.is_none_or(is_behind)
    }
}

impl Watchman {
    /// Begins with what was kept, oldest first; numbers go on behind it.
    pub fn resume(&self, kept: impl IntoIterator<Item = Event>) {
        let mut noted = self.noted.lock().expect(POISON);
        for event in kept {
            noted.last = noted.last.max(event.seq);
            noted.keep(Arc::new(event));
        }
    }

    /// Every event from now on, until [`close`](Self::close). One that finds `n` waiting is counted and not given: nobody
    /// who notes waits for a taker.
    pub fn taken(&self, n: usize) -> mpsc::Receiver<Arc<Event>> {
        let (sender, receiver) = mpsc::channel(n);
        self.noted.lock().expect(POISON).takers.push(sender);
        receiver
    }

    /// Takes what happened.
    pub fn note(&self, now: Timestamp, what: What) {
        let what = plain(what);
        self.n[what.kind as usize].fetch_add(1, Ordering::Relaxed);
        let mut noted = self.noted.lock().expect(POISON);
        if let Some(alike) = noted.alike.get_mut(&what)
            && !is_over(alike.since, now)
        {
            alike.n_more += 1;
            return;
        }
        let n = 1 + noted.alike.remove(&what).map_or(0, |alike| alike.n_more);
        let bucket = match what.actor {
            Some(_) => &mut noted.known,
            None => &mut noted.strangers,
        };
        if !bucket.takes(now) {
            self.flood.fetch_add(n, Ordering::Relaxed);
            noted.others[what.kind as usize] += n;
            noted.others_since.get_or_insert(now);
            return;
        }
        let alike = Alike {
            since: now,
            n_more: 0,
        };
        noted.alike.insert(what.clone(), alike);
        self.tell(&mut noted, now, what, n);
    }

    /// Tells what was counted long enough. Call it about once a second.
    pub fn tick(&self, now: Timestamp) {
        let mut noted = self.noted.lock().expect(POISON);
        self.tell_counted(&mut noted, now, |since| is_over(since, now));
    }

    /// Tells what was counted, and `what` as the last event; its takers come to their end.
    pub fn close(&self, now: Timestamp, what: What) {
        let mut noted = self.noted.lock().expect(POISON);
        self.tell_counted(&mut noted, now, |_| true);
        self.n[what.kind as usize].fetch_add(1, Ordering::Relaxed);
        self.tell(&mut noted, now, plain(what), 1);
        noted.takers.clear();
    }

    fn tell_counted(&self, noted: &mut Noted, now: Timestamp, is_due: impl Fn(Timestamp) -> bool) {
        let due: Vec<_> = noted
            .alike
            .extract_if(|_, alike| is_due(alike.since))
            .filter(|(_, alike)| alike.n_more > 0)
            .collect();
        for (what, alike) in due {
            self.tell(noted, now, what, alike.n_more);
        }
        if noted.others_since.is_some_and(is_due) {
            noted.others_since = None;
            for (kind, n) in Kind::ALL.into_iter().zip(std::mem::take(&mut noted.others)) {
                if n > 0 {
                    let what = What {
                        kind,
                        actor: None,
                        peer: None,
                        subject: "others".to_owned(),
                        detail: "too many different ones to be told one by one".to_owned(),
                    };
                    self.tell(noted, now, what, n);
                }
            }
        }
    }

    fn tell(&self, noted: &mut Noted, now: Timestamp, what: What, n: u64) {
        let What {
            kind,
            actor,
            peer,
            subject,
            detail,
        } = what;
        noted.last += 1;
        let event = Arc::new(Event {
            seq: noted.last,
            at: now,
            kind,
            actor,
            peer,
            subject,
            detail,
            n,
        });
        noted.keep(event.clone());
        noted.takers.retain(|taker| match taker.try_send(event.clone()) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.slow.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        });
    }

    /// At most `limit`, and whether there are more.
    pub(crate) fn list(&self, filter: &Filter, order: Order, limit: usize) -> (Vec<Arc<Event>>, bool) {
        let noted = self.noted.lock().expect(POISON);
        let page = |events: &mut dyn Iterator<Item = &Arc<Event>>| {
            let mut wanted = events.filter(|event| filter.takes(event, order));
            let items: Vec<_> = wanted.by_ref().take(limit).cloned().collect();
            (items, wanted.next().is_some())
        };
        match order {
            Order::NewestFirst => page(&mut noted.shown.iter().rev()),
            Order::OldestFirst => page(&mut noted.shown.iter()),
        }
    }

    /// How often each kind happened since the start.
    pub(crate) fn counts(&self) -> [(&'static str, u64); N_KINDS] {
        Kind::ALL.map(|kind| (kind.name(), self.n[kind as usize].load(Ordering::Relaxed)))
    }

    /// What was told by its number only because there was too much (flood), and events that the files or a collector had
    /// no room for (slow).
    pub(crate) fn untold(&self) -> [(&'static str, u64); 2] {
        [("flood", &self.flood), ("slow", &self.slow)].map(|(why, n)| (why, n.load(Ordering::Relaxed)))
    }
}

impl Default for Noted {
    fn default() -> Self {
        Self {
            last: 0,
            shown: VecDeque::new(),
            alike: HashMap::new(),
            known: Bucket::new(BURST, KNOWN_EVERY_MS),
            strangers: Bucket::new(BURST, STRANGER_EVERY_MS),
            others: [0; N_KINDS],
            others_since: None,
            takers: Vec::new(),
        }
    }
}

impl Noted {
    fn keep(&mut self, event: Arc<Event>) {
        if self.shown.len() >= N_SHOWN {
            self.shown.pop_front();
        }
        self.shown.push_back(event);
    }
}

/// A clock that was set back ends it, too.
fn is_over(since: Timestamp, now: Timestamp) -> bool {
    now < since || now.since(since) >= ALIKE
}

/// Its texts without control characters, which end lines of logs, and no longer than those of an event are.
fn plain(mut what: What) -> What {
    let texts = [&mut what.subject, &mut what.detail];
    for text in texts.into_iter().chain(&mut what.actor).chain(&mut what.peer) {
        let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
        *text = text.chars().take(MAX_TEXT).map(plain).collect();
    }
    what
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(kind: Kind, peer: &str) -> What {
        What {
            kind,
            actor: None,
            peer: Some(peer.to_owned()),
            subject: "GET /api/v1/system".to_owned(),
            detail: "nobody holds this token".to_owned(),
        }
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_ms(1_763_856_000_000 + ms)
    }

    fn shown(watchman: &Watchman) -> Vec<(u64, Kind, u64)> {
        let (items, _) = watchman.list(&Filter::default(), Order::NewestFirst, N_SHOWN);
        items
            .iter()
            .map(|event| (event.seq, event.kind, event.n))
            .collect()
    }

    #[test]
    fn what_happens_alike_is_counted_and_told_when_it_is_over() {
        let watchman = Watchman::default();
        for ms in 0..1000 {
            watchman.note(at(ms), what(Kind::WrongToken, "192.0.2.1"));
        }
        watchman.note(at(1000), what(Kind::WrongToken, "192.0.2.2"));
        watchman.tick(at(9999));
        assert_eq!(
            shown(&watchman),
            [(2, Kind::WrongToken, 1), (1, Kind::WrongToken, 1)]
        );
        watchman.tick(at(10_000));
        assert_eq!(shown(&watchman)[0], (3, Kind::WrongToken, 999));
        assert_eq!(
            watchman.counts()[Kind::WrongToken as usize],
            ("wrong_token", 1001)
        );
        // It goes on: the next is told at once.
        watchman.note(at(10_001), what(Kind::WrongToken, "192.0.2.1"));
        assert_eq!(shown(&watchman)[0], (4, Kind::WrongToken, 1));
    }

    #[test]
    fn a_flood_from_everywhere_is_bounded_counted_in_full_and_crowds_out_nobody_who_is_known() {
        let watchman = Watchman::default();
        let mut taken = watchman.taken(50);
        for i in 0..10_000 {
            watchman.note(at(i / 100), what(Kind::WrongToken, &format!("address {i}")));
        }
        let by_li = What {
            actor: Some("li".to_owned()),
            ..what(Kind::Login, "192.0.2.1")
        };
        watchman.note(at(100), by_li);
        let told = shown(&watchman);
        assert_eq!(told.len() as i64, BURST + 1);
        assert_eq!(told[0].1, Kind::Login);
        assert_eq!(watchman.untold(), [("flood", 10_000 - 200), ("slow", 201 - 50)]);
        assert_eq!(
            std::iter::from_fn(|| taken.try_recv().ok())
                .map(|event| event.seq)
                .collect::<Vec<_>>(),
            (1..=50).collect::<Vec<_>>(),
            "in their order"
        );
        watchman.tick(at(10_200));
        let (n, kind) = shown(&watchman)
            .iter()
            .fold((0, None), |(n, _), event| (n + event.2, Some(event.1)));
        assert_eq!((n, kind), (10_001, Some(Kind::WrongToken)));
        assert!(watchman.noted.lock().is_ok_and(|noted| noted.alike.is_empty()));
        // An hour of it: as many events as seconds, and ten seconds' others.
        let before = shown(&watchman).len();
        for second in 20..3620 {
            for i in 0..10 {
                watchman.note(
                    at(second * 1000),
                    what(Kind::WrongToken, &format!("{second} {i}")),
                );
            }
            watchman.tick(at(second * 1000));
        }
        let told = shown(&watchman).len() - before;
        assert!((3600..=3600 + 200 + 360).contains(&told), "{told}");
    }

    #[test]
    fn numbers_go_on_after_what_was_kept_and_texts_are_short_and_plain() {
        let watchman = Watchman::default();
        let kept = Event {
            seq: 41,
            at: at(0),
            kind: Kind::Denied,
            actor: Some("li".to_owned()),
            peer: None,
            subject: "x".to_owned(),
            detail: "y".to_owned(),
            n: 1,
        };
        watchman.resume([kept]);
        let long = What {
            subject: "a\nb".repeat(1000),
            ..what(Kind::Changed, "192.0.2.1")
        };
        watchman.note(at(1), long);
        let (items, more) = watchman.list(&Filter::default(), Order::NewestFirst, 1);
        assert_eq!((items[0].seq, more), (42, true));
        assert_eq!(items[0].subject.chars().count(), MAX_TEXT);
        assert!(!items[0].subject.contains('\n'));
        let of_li = Filter {
            actor: Some("li".to_owned()),
            ..Filter::default()
        };
        assert_eq!(watchman.list(&of_li, Order::NewestFirst, 10).0.len(), 1);
        let after = |after| Filter {
            after: Some(after),
            ..Filter::default()
        };
        for (order, number, found) in [
            (Order::NewestFirst, 42, vec![41]),
            (Order::OldestFirst, 41, vec![42]),
            (Order::OldestFirst, 42, vec![]),
            (Order::OldestFirst, 0, vec![41, 42]),
        ] {
            let (items, more) = watchman.list(&after(number), order, 10);
            let numbers: Vec<u64> = items.iter().map(|event| event.seq).collect();
            assert_eq!((numbers, more), (found, false), "{order:?} after {number}");
        }
    }

    #[test]
    fn what_is_counted_is_told_before_the_end() {
        let watchman = Watchman::default();
        let mut taken = watchman.taken(50);
        for _ in 0..5 {
            watchman.note(at(0), what(Kind::Denied, "192.0.2.1"));
        }
        watchman.close(at(1), what(Kind::Stopped, "192.0.2.1"));
        let told: Vec<_> = std::iter::from_fn(|| taken.blocking_recv())
            .map(|event| (event.kind, event.n))
            .collect();
        assert_eq!(
            told,
            [(Kind::Denied, 1), (Kind::Denied, 4), (Kind::Stopped, 1)],
            "and then it ends"
        );
    }
}
