//! Texts that many things share, by number.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

/// The number of no text.
pub(crate) const NO_TERM: u32 = 0;

const POISON: &str = "no holder of this lock panics";

/// Texts and their numbers. Numbers are never taken back, so whoever holds one may keep it.
#[derive(Debug, Default)]
pub(crate) struct Terms(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    texts: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
}

impl Terms {
    /// The number of a text, a new one when it has none yet; the empty text is [`NO_TERM`].
    pub(crate) fn number(&self, text: &str) -> u32 {
        if text.is_empty() {
            return NO_TERM;
        }
        if let Some(number) = self.known(text) {
            return number;
        }
        let mut known = self.0.write().expect(POISON);
        let text: Arc<str> = text.into();
        known.texts.push(text.clone());
        let number = known.texts.len() as u32;
        *known.numbers.entry(text).or_insert(number)
    }

    /// The number of a text that some thing had.
    pub(crate) fn known(&self, text: &str) -> Option<u32> {
        self.0.read().expect(POISON).numbers.get(text).copied()
    }

    /// The text of a number.
    pub(crate) fn text(&self, number: u32) -> Option<Arc<str>> {
        let known = self.0.read().expect(POISON);
        known.texts.get((number as usize).checked_sub(1)?).cloned()
    }
}
