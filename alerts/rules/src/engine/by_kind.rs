//! Rules by the kinds of devices that they are for, so that a device is asked of few among thousands.

use std::collections::HashMap;
use std::sync::Arc;

use crate::rule::Rule;

/// Some rules, each under every kind that it names.
#[derive(Default)]
pub(super) struct ByKind {
    /// Those that name no kind.
    any: Vec<Arc<Rule>>,
    of_kind: HashMap<String, Vec<Arc<Rule>>>,
}

impl ByKind {
    /// Takes the rules in the order of their ids.
    pub(super) fn push(&mut self, rule: &Arc<Rule>) {
        let kinds = &rule.applies_to.kinds;
        if kinds.is_empty() {
            self.any.push(Arc::clone(rule));
        }
        for (i, kind) in kinds.iter().enumerate() {
            // A kind that is written twice is one.
            if !kinds[..i].contains(kind) {
                let own = self.of_kind.entry(kind.clone()).or_default();
                own.push(Arc::clone(rule));
            }
        }
    }

    /// The rules that may be for devices of a kind, in the order of their ids.
    pub(super) fn of(&self, kind: &str) -> impl Iterator<Item = &Arc<Rule>> {
        let own = self.of_kind.get(kind).map_or(&[][..], Vec::as_slice);
        let (mut any, mut own) = (self.any.iter().peekable(), own.iter().peekable());
        std::iter::from_fn(move || match (any.peek(), own.peek()) {
            (Some(a), Some(b)) if a.id < b.id => any.next(),
            (Some(_), None) => any.next(),
            _ => own.next(),
        })
    }
}
