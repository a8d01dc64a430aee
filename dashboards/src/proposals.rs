//! Rule files that wait for a second person, as requests see them.

use std::sync::RwLock;

use onemap_alerts::proposals::Proposals;

/// Proposals; the pipeline writes, requests read.
#[derive(Debug, Default)]
pub struct Desk {
    /// Whether a rule file that a person puts or takes away waits for a second one, as configured.
    pub needed: bool,
    /// Those that wait, and the last that are decided.
    pub book: RwLock<Proposals>,
}
