//! What keeps the data itself in order, as the API knows of it: backups and looks at every row.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use serde_json::Value;

/// Makes backups; the composition does.
pub trait Backups: Send + Sync {
    /// Begins one into a folder of this machine.
    ///
    /// # Errors
    /// A sentence, when one is being made or the folder cannot be used.
    fn begin(&self, dir: &Path) -> Result<(), String>;
    /// `{"state":"none|running|done|failed", …}` of the one that is being made, or of the last.
    fn state(&self) -> Value;
}

/// Shared by those who keep the data.
#[derive(Default)]
pub struct Keeping {
    /// Held while segments of the journal are let go, and by a backup while it needs those that are there.
    pub segments: Mutex<()>,
    /// Makes backups; set when the listeners come up.
    pub backups: OnceLock<Arc<dyn Backups>>,
    /// One look at every row at a time.
    pub(crate) verifying: tokio::sync::Mutex<()>,
}
