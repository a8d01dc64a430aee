//! What keeps the data itself in order, as the API knows of it: backups and looks at every row.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use onemap_model::Timestamp;
use onemap_store::ledger::LedgerReader;
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

/// Signs for the data folder; the composition does.
pub trait Notary: Send + Sync {
    /// Signs bytes.
    ///
    /// # Errors
    /// A sentence, when the key cannot be read or made; so for every method here.
    fn sign(&self, bytes: &[u8]) -> Result<Signature, String>;
    /// Where the audit stands at `at`, signed.
    ///
    /// # Errors
    /// As [`Notary::sign`], and when the ledger cannot be read.
    fn head(&self, ledger: &LedgerReader, at: Timestamp) -> Result<KeptHead, String>;
    /// The heads of days that were signed, fewest rows first.
    ///
    /// # Errors
    /// When one cannot be read.
    fn heads(&self) -> Result<Vec<KeptHead>, String>;
}

/// A signature of the data folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Ed25519 (RFC 8032), 64 bytes.
    pub bytes: Vec<u8>,
    /// The public key in PEM.
    pub key: String,
}

/// A signed head of the audit as a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptHead {
    /// Its file name.
    pub name: String,
    /// When it was made.
    pub at: Timestamp,
    /// How many rows the audit had.
    pub rows: u64,
    /// The file.
    pub text: String,
}

/// Shared by those who keep the data.
#[derive(Default)]
pub struct Keeping {
    /// Held while segments of the journal are let go, and by a backup while it needs those that are there.
    pub segments: Mutex<()>,
    /// Makes backups; set when the listeners come up.
    pub backups: OnceLock<Arc<dyn Backups>>,
    /// Signs; set when the listeners come up.
    pub notary: OnceLock<Arc<dyn Notary>>,
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
