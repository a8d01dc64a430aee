//! What an answer does to a consumer's place: written first, then so.

use anyhow::{Context, Result};
use onemap_alerts::feeds::{self as pure, Next, Patience, Verdict};
use onemap_model::Timestamp;
use onemap_store::feeds::{Answered, FeedCursor, Feeds, Mark, Standing, Trying};

/// What came back.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) verdict: Verdict,
    pub(super) at: Timestamp,
    pub(super) status: Option<u16>,
    pub(super) answer: String,
}

/// Writes what the answer to `marks` means, which stand before `cursor`, and gives where the consumer stands then and what
/// follows.
///
/// # Errors
/// When the file cannot be written; then nothing changed, and the items are sent again.
pub(super) fn settle(
    store: &Feeds,
    consumer: &str,
    patience: &Patience,
    standing: Standing,
    (marks, cursor): (&[Mark], FeedCursor),
    sent: &Sent,
) -> Result<(Standing, Next)> {
    let first = marks.first().context("a batch holds an item")?;
    let before = standing.trying.filter(|trying| trying.seq == first.seq);
    let before = before.map(|trying| pure::Trying {
        since: trying.since,
        attempts: trying.attempts,
    });
    let (next, trying) = patience.next(sent.verdict, &first.id, before, sent.at);
    let answered = Answered {
        at: sent.at,
        status: sent.status,
        attempt: trying.attempts,
        answer: sent.answer.clone(),
    };
    match next {
        Next::Received => store.receive(consumer, Some(cursor), marks, &answered)?,
        Next::Aside(failure) => {
            store.set_aside(consumer, Some(cursor), marks, failure.name(), &answered)?;
        }
        Next::Again(..) => {
            let trying = Trying {
                seq: first.seq,
                since: trying.since,
                attempts: trying.attempts,
            };
            store.tried(consumer, trying)?;
            let standing = Standing {
                trying: Some(trying),
                ..standing
            };
            return Ok((standing, next));
        }
    }
    Ok((Standing { cursor, trying: None }, next))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;
    use std::time::Duration;

    use onemap_alerts::feeds::Failure;
    use onemap_model::TransitionId;
    use onemap_store::feeds::FILE;
    use proptest::prelude::*;

    use super::*;

    /// What happens to one attempt.
    #[derive(Clone, Copy, Debug)]
    enum Fate {
        Received,
        /// The consumer has it; the server dies before it writes so.
        DiesAfterwards,
        /// The server dies before it sends.
        DiesBefore,
        Fails,
        Refused,
        /// Time goes by, the server is started again.
        Hours,
    }

    fn fates() -> impl Strategy<Value = Vec<Fate>> {
        let fate = prop_oneof![
            3 => Just(Fate::Received),
            2 => Just(Fate::DiesAfterwards),
            1 => Just(Fate::DiesBefore),
            2 => Just(Fate::Fails),
            1 => Just(Fate::Refused),
            1 => Just(Fate::Hours),
        ];
        prop::collection::vec(fate, 0..40)
    }

    fn mark(seq: u64) -> Mark {
        Mark {
            seq,
            id: TransitionId::of(&[&seq.to_le_bytes()]),
            alert: None,
            edge: "raised".to_owned(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// Whoever dies, and when: each item is received at least once or set aside, by one id, in order.
        #[test]
        fn each_item_is_received_or_set_aside(fates in fates(), n_items in 1_u64..8, at_once in 1_usize..4) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join(FILE);
            let patience = Patience {
                tries_within: Duration::from_secs(3600),
                min_pause: Duration::ZERO,
            };
            let mut now = Timestamp::from_ms(0);
            let mut had: BTreeMap<u64, Vec<TransitionId>> = BTreeMap::new();
            let mut fates = fates.into_iter();
            let open = || {
                let store = Feeds::open(&path).unwrap();
                let standing = store.standing("a", FeedCursor::default()).unwrap();
                (store, standing)
            };
            let (mut store, mut standing) = open();
            while standing.cursor.seq < n_items {
                let from = standing.cursor.seq + 1;
                let marks: Vec<Mark> = (from..=n_items).take(at_once).map(mark).collect();
                let last = marks.last().unwrap();
                let cursor = FeedCursor { seq: last.seq, id: Some(last.id) };
                let fate = fates.next().unwrap_or(Fate::Received);
                now = now + Duration::from_secs(1);
                let is_taken = matches!(fate, Fate::Received | Fate::DiesAfterwards);
                for mark in marks.iter().filter(|_| is_taken) {
                    had.entry(mark.seq).or_default().push(mark.id);
                }
                let verdict = match fate {
                    Fate::Received => Verdict::Received,
                    Fate::Fails => Verdict::Later(Failure::Status5xx, None),
                    Fate::Refused => Verdict::Never(Failure::Status4xx),
                    Fate::DiesAfterwards | Fate::DiesBefore | Fate::Hours => {
                        if matches!(fate, Fate::Hours) {
                            now = now + Duration::from_secs(4000);
                        }
                        drop(store);
                        (store, standing) = open();
                        continue;
                    }
                };
                let sent = Sent { verdict, at: now, status: Some(200), answer: String::new() };
                let settled = settle(&store, "a", &patience, standing, (&marks, cursor), &sent).unwrap();
                standing = settled.0;
            }
            let aside: Vec<u64> = store.asides("a", 0, 100).unwrap().iter().map(|row| row.mark.seq).collect();
            let receipts = store.receipts("a", 0, 100).unwrap();
            for seq in 1..=n_items {
                let n_receipts = receipts.iter().filter(|receipt| receipt.mark.seq == seq).count();
                prop_assert_eq!(n_receipts + aside.iter().filter(|own| **own == seq).count(), 1, "{}", seq);
                let ids = had.remove(&seq).unwrap_or_default();
                prop_assert!(ids.len() >= n_receipts, "what has a receipt was sent");
                prop_assert!(ids.iter().all(|id| *id == mark(seq).id));
            }
            let in_order = receipts.windows(2).all(|two| two[0].mark.seq < two[1].mark.seq);
            prop_assert!(in_order);
        }
    }
}
