//! A tar file with a list of what is in it and a signature of the list.

use std::fmt::Write as _;

use onemap_model::Timestamp;
use onemap_store::hex;
use onemap_store::notary::Signature;
use sha2::{Digest, Sha256};

/// The list of the files, as `sha256sum -c` reads it.
pub(super) const SUMS: &str = "SHA256SUMS";
const SIGNATURE: &str = "SHA256SUMS.sig";
const KEY: &str = "key.pem";

/// Files of a pack, in the order in which they were put.
#[derive(Default)]
pub(super) struct Pack {
    files: Vec<(String, Vec<u8>)>,
}

impl Pack {
    /// Puts a file; names are relative, `/` between folders.
    pub(super) fn put(&mut self, name: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.files.push((name.into(), bytes.into()));
    }

    /// The list: a line for each file.
    pub(super) fn sums(&self) -> String {
        let mut text = String::new();
        for (name, bytes) in &self.files {
            writeln!(text, "{}  {name}", digest(bytes)).expect("a String takes everything");
        }
        text
    }

    /// The tar file (POSIX ustar), all under one folder, every file as of `at`.
    ///
    /// # Errors
    /// When a name is longer than a tar file has room for.
    pub(super) fn tar(
        self,
        folder: &str,
        at: Timestamp,
        sums: &str,
        signature: &Signature,
    ) -> std::io::Result<Vec<u8>> {
        let of_list = [
            (SUMS, sums.as_bytes()),
            (SIGNATURE, &signature.bytes),
            (KEY, signature.key.as_bytes()),
        ];
        let mut tar = tar::Builder::new(Vec::new());
        let files = self.files.iter().map(|(name, bytes)| (name.as_str(), &bytes[..]));
        for (name, bytes) in of_list.into_iter().chain(files) {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_mtime((at.ms() / 1000).unsigned_abs());
            tar.append_data(&mut header, format!("{folder}/{name}"), bytes)?;
        }
        tar.into_inner()
    }
}

/// SHA-256, hexadecimal.
pub(super) fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}
