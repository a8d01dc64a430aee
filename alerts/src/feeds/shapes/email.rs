//! E-mail: what waits in one message, in both languages.

use super::robots;
use super::{Batch, Made};

/// Bytes of a text.
const MOST_BYTES: usize = 64 << 10;

/// The subject and the id of the message stand in the head, the text in the body. What is sent again has the same
/// id, by which mail programs know it, while nothing more waits.
pub(super) fn message(batch: &Batch) -> Made {
    let first = batch.items().first().map(|item| item.id.to_string());
    let id = format!("{}.{}", first.unwrap_or_default(), batch.len());
    Made {
        method: "MAIL",
        target: String::new(),
        headers: vec![
            ("subject".to_owned(), robots::title(batch)),
            ("message-id".to_owned(), id),
        ],
        body: super::words::within(robots::text(batch), MOST_BYTES).into_bytes(),
    }
}
