//! What waits for a consumer, read from the ledger by pages.

use std::collections::BTreeSet;

use anyhow::Result;
use onemap_alerts::feeds::{Batch, Gap, Item, News};
use onemap_dashboards::feeding;
use onemap_dashboards::views::Views;
use onemap_model::{Timestamp, Transition};
use onemap_store::feeds::{FeedCursor, Feeds, Mark};
use onemap_store::ledger::LedgerTransition;

use crate::config::ConsumerPart;

/// Transitions read at a time.
const N_PAGE: usize = 256;

/// What goes into the next request.
pub(super) struct Gathered {
    /// What is sent; empty when nothing waits.
    pub(super) batch: Batch,
    /// The same items, as receipts name them.
    pub(super) marks: Vec<Mark>,
    /// Where the cursor is when they are received; further than it was also when nothing of it is for the consumer.
    pub(super) cursor: FeedCursor,
    /// Transitions that the ledger no longer holds.
    pub(super) n_missing: u64,
}

/// Reads on from a cursor until a request is full or nothing more is there.
pub(super) fn gather(
    views: &Views,
    store: &Feeds,
    part: &ConsumerPart,
    cursor: FeedCursor,
    now: Timestamp,
) -> Result<Gathered> {
    let mut gathered = Gathered {
        batch: part.kind.batch(),
        marks: Vec::new(),
        cursor,
        n_missing: 0,
    };
    let first = views.ledger.first_seq()?;
    if first > cursor.seq + 1 {
        let gap = Gap {
            from: cursor.seq + 1,
            to: first - 1,
            at: now,
        };
        gathered.gap(gap);
    }
    let mut in_batch = BTreeSet::new();
    while gathered.marks.len() < part.kind.most_items() {
        let page = views.ledger.transitions_after(gathered.cursor.seq, N_PAGE)?;
        let is_last = page.len() < N_PAGE;
        for LedgerTransition { seq, transition } in page {
            if gathered.marks.len() == part.kind.most_items() {
                return Ok(gathered);
            }
            gathered.cursor = FeedCursor {
                seq,
                id: Some(transition.id),
            };
            let alert = transition.alert;
            // When the file cannot say, it is sent.
            let is_told = || in_batch.contains(&alert) || store.is_told(&part.name, &alert).unwrap_or(true);
            if feeding::is_for(views, &part.selection, &transition, is_told) {
                in_batch.insert(alert);
                gathered.push(item(views, part, seq, transition)?);
            }
        }
        if is_last {
            break;
        }
    }
    Ok(gathered)
}

/// One transition as a consumer is told of it.
pub(super) fn item(views: &Views, part: &ConsumerPart, seq: u64, transition: Transition) -> Result<Item> {
    let story = match part.kind.needs_story() {
        true => views.ledger.transitions_of(&transition.alert)?,
        false => Vec::new(),
    };
    let story = story.into_iter().map(|row| row.transition).collect();
    Ok(Item {
        id: transition.id,
        seq,
        news: News::Change(Box::new(feeding::change(views, transition, story))),
    })
}

/// Where a cursor stands in this ledger, and what it has lost when the ledger is another than it was.
pub(super) fn found(views: &Views, cursor: FeedCursor) -> Result<(FeedCursor, u64)> {
    let Some(id) = cursor.id else {
        return Ok((cursor, 0));
    };
    if let Some(seq) = views.ledger.seq_of(&id)? {
        return Ok((FeedCursor { seq, id: Some(id) }, 0));
    }
    let last = views.ledger.last_seq()?;
    if last <= cursor.seq || views.ledger.first_seq()? > cursor.seq {
        // An older ledger, all of which it has; or one that keeps nothing so old, which is a gap that gathering tells of.
        let seq = last.min(cursor.seq);
        return Ok((FeedCursor { seq, id: None }, 0));
    }
    Ok((FeedCursor { seq: last, id: None }, last - cursor.seq))
}

impl Gathered {
    fn gap(&mut self, gap: Gap) {
        self.n_missing += gap.to + 1 - gap.from;
        self.cursor = FeedCursor {
            seq: gap.to,
            id: None,
        };
        self.push(Item::gap(gap));
    }

    fn push(&mut self, item: Item) {
        self.marks.push(mark(&item));
        self.batch.push(item);
    }
}

/// An item as receipts name it.
pub(super) fn mark(item: &Item) -> Mark {
    Mark {
        seq: item.seq,
        id: item.id,
        alert: item.alert(),
        edge: item.edge_name().to_owned(),
    }
}
