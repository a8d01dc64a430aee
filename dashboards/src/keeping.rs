//! What keeps the data itself in order, as the API knows of it: backups and looks at every row.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use onemap_store::notary::Notary;
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
    /// Signs; set when the listeners come up.
    pub notary: OnceLock<Arc<Notary>>,
    /// The disk as it was looked at last; set again every minute.
    pub disk: RwLock<Option<Disk>>,
    /// One look at every row at a time.
    pub(crate) verifying: tokio::sync::Mutex<()>,
}

impl Keeping {
    /// The disk as it was looked at last; `None` before the first look.
    pub fn disk(&self) -> Option<Disk> {
        self.disk.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How the disk of the data folder stands.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Disk {
    /// Bytes taken, by part of the data folder.
    pub used: Vec<(&'static str, u64)>,
    /// Bytes of the file system.
    pub size: u64,
    /// Of these, what is free.
    pub free: u64,
    /// Bytes that are left to others: with fewer nothing is acknowledged.
    pub reserve: u64,
    /// Days until only the reserve is left, at the pace of the last day (the hours of this run when it is
    /// shorter); `None` while that is not known or the disk does not fill up.
    pub days_left: Option<f64>,
    /// Why somebody should make room; `None` when there is enough.
    pub low: Option<String>,
}
