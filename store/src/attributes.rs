//! Attributes of devices in memory, and the rows that the ledger keeps of them.
//!
//! A projection of the journal: the pipeline applies each change at its position and hands the rows to the
//! ledger's next batch. Bounded per device, because devices write them: what is over the bounds is refused
//! with a reason and nothing else of the device changes.

use std::collections::{BTreeMap, HashMap};
use std::sync::RwLock;

use onemap_model::{AttributeScope, DeviceId, Timestamp};
use serde_json::{Map, Value};

/// Most attributes of one device, over all scopes.
pub const MAX_KEYS: usize = 256;
/// Most bytes of a key.
pub const MAX_KEY_BYTES: usize = 255;
/// Most bytes of all attributes of one device, keys and values as JSON.
pub const MAX_BYTES: usize = 64 << 10;

const POISON: &str = "no holder of this lock panics";

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribute {
    /// Any JSON.
    pub value: Value,
    /// When it was set.
    pub at: Timestamp,
}

/// One row for the ledger: a value, or that it is gone.
#[derive(Clone, Debug, PartialEq)]
pub struct AttributeChange {
    /// Journal position.
    pub position: u64,
    /// The device.
    pub device: DeviceId,
    /// Whose.
    pub scope: AttributeScope,
    /// Under which name.
    pub key: String,
    /// `None` is gone.
    pub value: Option<Value>,
    /// When.
    pub at: Timestamp,
}

/// What became of a change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
    /// Rows for the ledger.
    pub rows: Vec<AttributeChange>,
    /// Set keys whose value is another than before.
    pub changed: Map<String, Value>,
    /// Deleted keys that were there.
    pub deleted: Vec<String>,
    /// Keys that were not taken, with the reason.
    pub refused: Vec<String>,
}

#[derive(Debug, Default)]
struct Held {
    values: BTreeMap<(AttributeScope, String), Attribute>,
    bytes: usize,
}

/// All devices' attributes.
#[derive(Debug, Default)]
pub struct Attributes {
    held: RwLock<HashMap<DeviceId, Held>>,
    /// Changes up to this position are in it already.
    loaded_at: u64,
}

fn size(key: &str, value: &Value) -> usize {
    key.len() + value.to_string().len()
}

impl Attributes {
    /// The rows of a ledger that is complete up to `loaded_at`; changes at or before it are not applied again.
    pub fn new(rows: Vec<AttributeChange>, loaded_at: u64) -> Self {
        let mut held: HashMap<DeviceId, Held> = HashMap::new();
        for row in rows {
            let Some(value) = row.value else { continue };
            let device = held.entry(row.device).or_default();
            device.bytes += size(&row.key, &value);
            device
                .values
                .insert((row.scope, row.key), Attribute { value, at: row.at });
        }
        Self {
            held: RwLock::new(held),
            loaded_at,
        }
    }

    /// Applies one change.
    pub fn apply(
        &self,
        position: u64,
        at: Timestamp,
        device: &DeviceId,
        scope: AttributeScope,
        set: Map<String, Value>,
        deleted: &[String],
    ) -> Applied {
        let mut applied = Applied::default();
        if position <= self.loaded_at || (set.is_empty() && deleted.is_empty()) {
            return applied;
        }
        let mut all = self.held.write().expect(POISON);
        let held = all.entry(device.clone()).or_default();
        let row = |key: &str, value| AttributeChange {
            position,
            device: device.clone(),
            scope,
            key: key.to_owned(),
            value,
            at,
        };
        for key in deleted {
            if let Some(old) = held.values.remove(&(scope, key.clone())) {
                held.bytes -= size(key, &old.value);
                applied.rows.push(row(key, None));
                applied.deleted.push(key.clone());
            }
        }
        for (key, value) in set {
            if key.is_empty() || key.len() > MAX_KEY_BYTES {
                let shown: String = key.chars().take(32).collect();
                applied.refused.push(format!(
                    "the key `{}` has {} bytes, not 1 to {MAX_KEY_BYTES}",
                    shown.escape_debug(),
                    key.len()
                ));
                continue;
            }
            let name = (scope, key);
            let old = held.values.get(&name);
            let freed = old.map_or(0, |old| size(&name.1, &old.value));
            let bytes = held.bytes - freed + size(&name.1, &value);
            let shown = name.1.escape_debug();
            if old.is_none() && held.values.len() >= MAX_KEYS {
                applied
                    .refused
                    .push(format!("`{shown}` would be more than {MAX_KEYS} attributes"));
                continue;
            }
            if bytes > MAX_BYTES {
                applied.refused.push(format!(
                    "with `{shown}` the attributes are over {MAX_BYTES} bytes"
                ));
                continue;
            }
            if old.is_none_or(|old| old.value != value) {
                applied.changed.insert(name.1.clone(), value.clone());
            }
            held.bytes = bytes;
            applied.rows.push(row(&name.1, Some(value.clone())));
            held.values.insert(name, Attribute { value, at });
        }
        if held.values.is_empty() {
            all.remove(device);
        }
        applied
    }

    /// One value.
    pub fn get(&self, device: &str, scope: AttributeScope, key: &str) -> Option<Attribute> {
        let held = self.held.read().expect(POISON);
        held.get(device)?.values.get(&(scope, key.to_owned())).cloned()
    }

    /// The values of a scope in the order of their keys; of `keys` only, when they are given.
    pub fn of(
        &self,
        device: &str,
        scope: AttributeScope,
        keys: Option<&[String]>,
    ) -> Vec<(String, Attribute)> {
        let all = self.held.read().expect(POISON);
        let Some(held) = all.get(device) else {
            return Vec::new();
        };
        held.values
            .range((scope, String::new())..)
            .take_while(|((of, _), _)| *of == scope)
            .filter(|((_, key), _)| keys.is_none_or(|keys| keys.contains(key)))
            .map(|((_, key), value)| (key.clone(), value.clone()))
            .collect()
    }

    /// As [`Attributes::of`], the bare values as an object.
    pub fn values(&self, device: &str, scope: AttributeScope, keys: Option<&[String]>) -> Map<String, Value> {
        let of = self.of(device, scope, keys).into_iter();
        of.map(|(key, attribute)| (key, attribute.value)).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn apply(all: &Attributes, position: u64, set: Value, deleted: &[&str]) -> Applied {
        let deleted: Vec<String> = deleted.iter().map(|k| (*k).to_owned()).collect();
        let device = DeviceId::new("d").unwrap();
        let at = Timestamp::from_ms(position as i64);
        all.apply(position, at, &device, AttributeScope::Shared, map(set), &deleted)
    }

    fn shown(all: &Attributes) -> Value {
        all.values("d", AttributeScope::Shared, None).into()
    }

    #[test]
    fn only_what_changes_is_told() {
        let all = Attributes::default();
        let applied = apply(&all, 1, json!({"a": 1, "b": "x"}), &[]);
        assert_eq!(Value::Object(applied.changed), json!({"a": 1, "b": "x"}));
        let applied = apply(&all, 2, json!({"a": 1, "b": "y"}), &["none"]);
        assert_eq!(Value::Object(applied.changed), json!({"b": "y"}));
        assert_eq!((applied.rows.len(), applied.deleted.len()), (2, 0));
        let applied = apply(&all, 3, json!({}), &["a"]);
        assert_eq!(applied.deleted, ["a"]);
        assert_eq!(shown(&all), json!({"b": "y"}));
        assert_eq!(all.get("d", AttributeScope::Client, "b"), None);
        assert_eq!(all.get("d", AttributeScope::Shared, "b").unwrap().at.ms(), 2);
    }

    #[test]
    fn what_the_ledger_has_is_not_applied_again() {
        let first = Attributes::default();
        let mut rows = apply(&first, 4, json!({"a": 1, "b": 2}), &[]).rows;
        rows.retain(|row| row.key != "a");
        let again = Attributes::new(rows, 5);
        assert_eq!(apply(&again, 4, json!({"a": 1}), &["b"]), Applied::default());
        assert_eq!(shown(&again), json!({"b": 2}));
        apply(&again, 6, json!({"a": 3}), &[]);
        assert_eq!(shown(&again), json!({"a": 3, "b": 2}));
    }

    #[test]
    fn bounds_hold_at_their_borders() {
        let all = Attributes::default();
        let many: Map<String, Value> = (0..MAX_KEYS).map(|i| (i.to_string(), json!(i))).collect();
        assert!(apply(&all, 1, many.into(), &[]).refused.is_empty());
        assert_eq!(apply(&all, 2, json!({"one more": 1}), &[]).refused.len(), 1);
        assert!(apply(&all, 3, json!({"7": "changed"}), &[]).refused.is_empty());
        assert!(apply(&all, 4, json!({"one more": 1}), &["8"]).refused.is_empty());

        let all = Attributes::default();
        let text = "x".repeat(MAX_BYTES - 3);
        assert!(apply(&all, 1, json!({"k": text}), &[]).refused.is_empty());
        assert_eq!(apply(&all, 2, json!({"l": 1}), &[]).refused.len(), 1);
        assert_eq!(
            apply(&all, 3, json!({"k": format!("{text}x")}), &[])
                .refused
                .len(),
            1
        );
        assert!(
            apply(&all, 4, json!({"k": 1}), &[]).refused.is_empty(),
            "smaller is welcome"
        );
        for key in [String::new(), "k".repeat(MAX_KEY_BYTES + 1)] {
            assert_eq!(apply(&all, 5, json!({key: 1}), &[]).refused.len(), 1);
        }
        assert!(
            apply(&all, 6, json!({"k".repeat(MAX_KEY_BYTES): 1}), &[])
                .refused
                .is_empty()
        );
    }
}
