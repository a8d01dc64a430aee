//! Messages that stay on their topics for later subscribers (MQTT 3.1.1, 3.3.1.3).

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use crate::trie::matches;

/// Most topics with a retained message.
pub const MAX_RETAINED: usize = 100_000;
/// Most bytes of retained messages, topics included.
pub const MAX_RETAINED_BYTES: usize = 64 << 20;

/// There is no room for another retained message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no room for another retained message")]
pub(crate) struct Full;

#[derive(Debug, Default)]
pub(super) struct Retained {
    /// The server's own `$SYS` topics are among them, and in none of the counts.
    topics: BTreeMap<Arc<str>, Kept>,
    n: usize,
    n_bytes: usize,
}

#[derive(Debug)]
struct Kept {
    payload: Bytes,
    qos: u8,
    position: u64,
}

impl Retained {
    pub(super) fn len(&self) -> usize {
        self.n
    }

    /// Sets or, with an empty payload, removes. What is older than what is there changes nothing.
    pub(super) fn set(&mut self, topic: &str, payload: &Bytes, qos: u8, position: u64) -> Result<(), Full> {
        let before = self.topics.get(topic);
        if before.is_some_and(|kept| kept.position > position) {
            return Ok(());
        }
        let freed = before.filter(|kept| kept.position > 0);
        let (n_freed, freed_bytes) = freed.map_or((0, 0), |kept| (1, topic.len() + kept.payload.len()));
        let counts = position > 0 && !payload.is_empty();
        let (n, n_bytes) = match counts {
            true => (
                self.n - n_freed + 1,
                self.n_bytes - freed_bytes + topic.len() + payload.len(),
            ),
            false => (self.n - n_freed, self.n_bytes - freed_bytes),
        };
        if counts && (n > MAX_RETAINED || n_bytes > MAX_RETAINED_BYTES) {
            // What was there is out of date, and what is new cannot be kept: nothing is the truth.
            self.topics.remove(topic);
            (self.n, self.n_bytes) = (self.n - n_freed, self.n_bytes - freed_bytes);
            return Err(Full);
        }
        (self.n, self.n_bytes) = (n, n_bytes);
        if payload.is_empty() {
            self.topics.remove(topic);
        } else {
            let kept = Kept {
                payload: payload.clone(),
                qos,
                position,
            };
            self.topics.insert(topic.into(), kept);
        }
        Ok(())
    }

    pub(super) fn each(&self, each: &mut impl FnMut(&str, &Bytes, u8, u64)) {
        for (topic, kept) in self.topics.iter().filter(|(_, kept)| kept.position > 0) {
            each(topic, &kept.payload, kept.qos, kept.position);
        }
    }

    /// Calls `found` for each message whose topic meets the filter, in the order of topics.
    pub(super) fn find(&self, filter: &str, mut found: impl FnMut(&Arc<str>, &Bytes, u8, u64)) {
        // Whatever meets the filter begins with what stands before its first wildcard.
        let literal = filter.find(['+', '#']).unwrap_or(filter.len());
        let begin = match &filter[literal..] {
            "#" => filter[..literal].trim_end_matches('/'), // `a/#` meets `a`
            _ => &filter[..literal],
        };
        let from = (Bound::Included(begin), Bound::Unbounded);
        for (topic, kept) in self.topics.range::<str, _>(from) {
            if !topic.starts_with(begin) {
                break;
            }
            if matches(filter, topic) {
                found(topic, &kept.payload, kept.qos, kept.position);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(retained: &Retained, filter: &str) -> Vec<String> {
        let mut topics = Vec::new();
        retained.find(filter, |topic, _, _, _| topics.push(topic.to_string()));
        topics
    }

    #[test]
    fn what_is_retained_is_found_by_every_filter_that_meets_it() {
        let mut retained = Retained::default();
        for (i, topic) in ["a", "a/b", "a/b/c", "ab", "/a", "$SYS/x", "d/1/t", "d/2/t"]
            .iter()
            .enumerate()
        {
            assert_eq!(
                retained.set(topic, &Bytes::from_static(b"x"), 1, i as u64 + 1),
                Ok(())
            );
        }
        for (filter, want) in [
            ("#", "/a a a/b a/b/c ab d/1/t d/2/t"),
            ("a", "a"),
            ("a/#", "a a/b a/b/c"),
            ("a/+", "a/b"),
            ("+/b/#", "a/b a/b/c"),
            ("$SYS/#", "$SYS/x"),
            ("d/+/t", "d/1/t d/2/t"),
            ("/#", "/a"),
            ("/+", "/a"),
            ("b", ""),
        ] {
            assert_eq!(found(&retained, filter).join(" "), want, "{filter}");
        }
    }

    #[test]
    fn the_newest_stays_and_an_empty_payload_removes() {
        let mut retained = Retained::default();
        assert_eq!(retained.set("a", &Bytes::from_static(b"new"), 1, 5), Ok(()));
        assert_eq!(retained.set("a", &Bytes::from_static(b"old"), 1, 4), Ok(()));
        retained.find("a", |_, payload, _, _| assert_eq!(payload, "new"));
        assert_eq!((retained.len(), retained.n_bytes), (1, 4));
        assert_eq!(retained.set("a", &Bytes::new(), 0, 6), Ok(()));
        assert_eq!((retained.len(), retained.n_bytes), (0, 0));
        assert_eq!(retained.set("$SYS/a", &Bytes::from_static(b"x"), 0, 0), Ok(()));
        assert_eq!((retained.len(), retained.n_bytes), (0, 0));
    }

    #[test]
    fn without_room_the_topic_holds_nothing_rather_than_what_is_out_of_date() {
        let mut retained = Retained::default();
        assert_eq!(retained.set("a", &Bytes::from_static(b"x"), 1, 1), Ok(()));
        let large = Bytes::from(vec![0; MAX_RETAINED_BYTES]);
        assert_eq!(retained.set("a", &large, 1, 2), Err(Full));
        assert!(found(&retained, "#").is_empty());
        assert_eq!((retained.len(), retained.n_bytes), (0, 0));
    }
}
