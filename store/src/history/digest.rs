//! One number over everything a history says, to prove two of them equal.

use std::ops::ControlFlow;

use onemap_model::Value;
use sha2::{Digest, Sha256};

use super::memory::unpoisoned;
use super::query::Which;
use super::read::View;
use super::{History, HistoryError};

/// Puts what a series has in a range of times into the number.
type Put<'a> = dyn FnMut(&mut Sha256, &str, &View, (i64, i64)) -> Result<(), HistoryError> + 'a;

impl History {
    /// SHA-256 over all series in the order of their names, and of each every version of every time:
    /// time, value, marks, receive time and, for revisions, journal position. Numbers of series,
    /// chunks and checkpoints do not matter to it.
    ///
    /// Values older than their class keeps are not in it, gone or not, but for the newest of a series.
    /// Reads everything; appending waits meanwhile.
    ///
    /// # Errors
    /// [`HistoryError::Read`] when the disk fails.
    pub fn digest(&self) -> Result<[u8; 32], HistoryError> {
        self.digest_of(&mut |hash, name, view, range| {
            put_text(hash, name);
            let mut n_versions = 0u64;
            self.each_version(view, range, &mut |version| {
                n_versions += 1;
                hash.update(version.measured_at.ms().to_le_bytes());
                hash.update(version.received_at.ms().to_le_bytes());
                hash.update(version.position.unwrap_or(0).to_le_bytes());
                hash.update(version.quality.0.to_le_bytes());
                put_value(hash, &version.value);
                ControlFlow::Continue(())
            })?;
            hash.update(n_versions.to_le_bytes());
            Ok(())
        })
    }

    /// SHA-256 over what was measured alone: all series in the order of their names, and of each every time with
    /// the value that is shown. When and how a value came, and what it replaced, does not matter to it; so it is
    /// equal for a history and one that its export was imported into.
    ///
    /// # Errors
    /// [`HistoryError::Read`] when the disk fails.
    pub fn values_digest(&self) -> Result<[u8; 32], HistoryError> {
        self.digest_of(&mut |hash, name, view, range| {
            let mut n = 0u64;
            self.kept(view, range, Which::default(), &mut |kept| {
                if n == 0 {
                    put_text(hash, name);
                }
                n += 1;
                hash.update(kept.at.to_le_bytes());
                put_value(hash, &kept.value);
                ControlFlow::Continue(())
            })?;
            if n > 0 {
                hash.update(n.to_le_bytes());
            }
            Ok(())
        })
    }

    /// A number over what `put` says of every series, in the order of their names; appending waits meanwhile.
    fn digest_of(&self, put: &mut Put<'_>) -> Result<[u8; 32], HistoryError> {
        let disk = self.disk()?;
        let _writer = unpoisoned(self.writer.lock());
        let floors = unpoisoned(self.floors.read()).clone();
        let mut names: Vec<(String, _, i64)> = unpoisoned(self.dictionary.read())
            .iter()
            .map(|(id, key)| (key.to_string(), id, floors.closing(key.quantity)))
            .collect();
        names.sort();
        let mut hash = Sha256::new();
        for (name, id, closing) in names {
            let view = View::of(&disk, &self.memory, id);
            if let Some(view) = view.filter(|view| view.extent.0 > 0) {
                // What is about to go is not in it: a replay, which does not let go, comes to the same.
                let from = closing.min(view.extent.2);
                put(&mut hash, &name, &view, (from, i64::MAX))?;
            }
        }
        Ok(hash.finalize().into())
    }
}

fn put_value(hash: &mut Sha256, value: &Value) {
    match value {
        Value::Number(number) => {
            hash.update([0]);
            hash.update(number.to_bits().to_le_bytes());
        }
        Value::Text(text) => {
            hash.update([1]);
            put_text(hash, text);
        }
    }
}

fn put_text(hash: &mut Sha256, text: &str) {
    hash.update((text.len() as u64).to_le_bytes());
    hash.update(text);
}
