//! What a question matches, kept for its next pages: GIS programs fetch a layer by hundreds of them.

use std::sync::{Arc, Mutex};

use onemap_model::{EntityCode, Reach};

use super::POISON;

/// Questions whose matches are kept …
const N_QUESTIONS: usize = 16;
/// … and codes that they have together.
const N_CODES: usize = 4_000_000;

/// Codes in order.
pub(super) type Codes = Arc<[EntityCode]>;

/// A question, and the version of the map it was put to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) version: u64,
    pub(super) scope: Reach,
    pub(super) collection: &'static str,
    /// Its parameters, without page and system of coordinates.
    pub(super) parameters: String,
}

/// Matches of the questions put last, the newest last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Matched(Arc<Mutex<Vec<(Question, Codes)>>>);

impl Matched {
    /// What a question matched, if that is still known.
    pub(super) fn known(&self, question: &Question) -> Option<Codes> {
        let mut kept = self.0.lock().expect(POISON);
        let at = kept.iter().position(|(other, _)| other == question)?;
        let found = kept.remove(at);
        let codes = found.1.clone();
        kept.push(found);
        Some(codes)
    }

    /// Keeps what a question matched; what was put to older maps goes, and then the oldest.
    pub(super) fn keep(&self, question: Question, codes: &Codes) {
        if codes.len() > N_CODES {
            return;
        }
        let mut kept = self.0.lock().expect(POISON);
        kept.retain(|(other, _)| other.version >= question.version && *other != question);
        kept.push((question, codes.clone()));
        let n_codes = |kept: &[(Question, Codes)]| kept.iter().map(|(_, codes)| codes.len()).sum::<usize>();
        while kept.len() > N_QUESTIONS || n_codes(&kept) > N_CODES {
            kept.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn question(version: u64, parameters: &str) -> Question {
        Question {
            version,
            scope: Reach::default(),
            collection: "places",
            parameters: parameters.to_owned(),
        }
    }

    fn codes(n: usize) -> Codes {
        (0..n).map(|i| EntityCode::from(i.to_string())).collect()
    }

    #[test]
    fn a_question_is_known_until_the_map_changes_or_others_push_it_out() {
        let matched = Matched::default();
        matched.keep(question(1, "a"), &codes(3));
        assert_eq!(matched.known(&question(1, "a")).unwrap().len(), 3);
        assert!(matched.known(&question(1, "b")).is_none());
        assert!(matched.known(&question(2, "a")).is_none());
        for i in 0..N_QUESTIONS {
            matched.keep(question(1, &format!("{i}")), &codes(1));
            if i < N_QUESTIONS - 1 {
                assert!(
                    matched.known(&question(1, "a")).is_some(),
                    "used, so not the oldest"
                );
            }
        }
        matched.keep(question(2, "a"), &codes(1));
        assert!(matched.known(&question(1, "3")).is_none(), "of an older map");
        assert_eq!(matched.known(&question(2, "a")).unwrap().len(), 1);
    }
}
