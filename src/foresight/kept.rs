//! Files of models: one line with the digest of what follows, then JSON.
//!
//! A number that changed on the disk is a number still: without the digest a model with it would be taken as good.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

/// What the first line begins with; the digest in hexadecimal follows.
const HEAD: &str = "sha256 ";

/// Why a file is not taken up.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the file cannot be read")]
    Unread(#[source] std::io::Error),
    #[error("the file has no digest: it is of an earlier version, or of something else")]
    NoDigest,
    #[error("the file has changed since it was written: its digest is {is}, it was {was}")]
    Changed { is: String, was: String },
    #[error("the file is of another version")]
    Form(#[source] serde_json::Error),
}

/// Writes a file whole or not at all.
///
/// # Errors
/// When it cannot be written.
pub(super) fn write(path: &Path, kept: &impl Serialize) -> Result<()> {
    let text = serde_json::to_vec(kept).context("the model cannot be written")?;
    let mut bytes = format!("{HEAD}{}\n", digest_of(&text)).into_bytes();
    bytes.extend_from_slice(&text);
    let part = path.with_extension("part");
    std::fs::write(&part, bytes)
        .and_then(|()| std::fs::rename(&part, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Reads what was written; `None` where there is no file.
///
/// # Errors
/// A [`Refusal`] of a file that cannot be read, has no digest or another, or another form.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Refusal> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Refusal::Unread(error)),
    };
    let (was, text) = split(&bytes).ok_or(Refusal::NoDigest)?;
    let is = digest_of(text);
    if is != was {
        return Err(Refusal::Changed {
            is,
            was: was.to_owned(),
        });
    }
    serde_json::from_slice(text).map(Some).map_err(Refusal::Form)
}

/// The digest of the first line and what follows it.
fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let line = std::str::from_utf8(&bytes[..end]).ok()?;
    Some((line.strip_prefix(HEAD)?, &bytes[end + 1..]))
}

fn digest_of(text: &[u8]) -> String {
    Sha256::digest(text)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn one_changed_number_is_refused_and_so_is_a_file_without_a_digest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.json");
        assert!(read::<Vec<f64>>(&path).unwrap().is_none());
        write(&path, &vec![1.5, 2.5]).unwrap();
        assert_eq!(read::<Vec<f64>>(&path).unwrap(), Some(vec![1.5, 2.5]));
        assert!(matches!(read::<Vec<String>>(&path), Err(Refusal::Form(_))));

        let written = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, written.replace("2.5", "2.6")).unwrap();
        assert!(matches!(read::<Vec<f64>>(&path), Err(Refusal::Changed { .. })));
        std::fs::write(&path, &written[..written.len() - 1]).unwrap();
        assert!(matches!(read::<Vec<f64>>(&path), Err(Refusal::Changed { .. })));
        for before in ["[1.5,2.5]", "", "sha256 ", "\n[1.5,2.5]", "{\n}"] {
            std::fs::write(&path, before).unwrap();
            assert!(
                matches!(read::<Vec<f64>>(&path), Err(Refusal::NoDigest)),
                "{before:?}"
            );
        }
    }
}
