//! The webhook: one item as JSON, signed.

use serde_json::json;

use super::words::edge_zh;
use super::{Batch, Made, Secret, Timestamp, Value, sign};
use crate::feeds::item::{Item, News};

/// Header with the item's id.
const ID: &str = "onemap-id";
/// Header with the seconds since 1970 that are signed.
const TIMESTAMP: &str = "onemap-timestamp";
/// Header with the signature.
const SIGNATURE: &str = "onemap-signature";

pub(super) fn request(target: &str, secret: &Secret, batch: &Batch, now: Timestamp) -> Made {
    let item = batch.items().first();
    let body = item.map_or(Value::Null, |item| body(item, now));
    let mut made = Made::json(target.to_owned(), &body);
    let seconds = now.ms().div_euclid(1000);
    if let Some(item) = item {
        made.headers.push((ID.to_owned(), item.id.to_string()));
    }
    made.headers.push((TIMESTAMP.to_owned(), seconds.to_string()));
    let signature = sign::webhook(secret, seconds, &made.body);
    made.headers.push((SIGNATURE.to_owned(), signature));
    made
}

/// The same without a signature, for who is trusted by his connection.
pub(super) fn plain(target: &str, batch: &Batch, now: Timestamp) -> Made {
    let item = batch.items().first();
    Made::json(
        target.to_owned(),
        &item.map_or(Value::Null, |item| body(item, now)),
    )
}

fn body(item: &Item, now: Timestamp) -> Value {
    match &item.news {
        News::Gap(gap) => json!({
            "type": "gap", "id": item.id, "seq": item.seq, "sent_at": now,
            "gap": {"from": gap.from, "to": gap.to, "at": gap.at},
        }),
        News::Change(change) => json!({
            "type": "transition", "id": item.id, "seq": item.seq, "sent_at": now,
            "edge": change.transition.edge, "edge_zh": edge_zh(change.transition.edge),
            "severity_zh": change.transition.severity.zh(),
            "rule_name": change.rule_name,
            "device_name": change.place.name, "device_name_en": change.place.name_en,
            "transition": change.transition, "alert": change.alert,
        }),
    }
}
