//! `[audit]`: how heads of the audit are signed.

use anyhow::{Result, ensure};
use onemap_store::notary::Algorithm;
use serde::Deserialize;

/// `[audit]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Audit {
    /// `ed25519` or `sm2`, which is the cargo feature `sm2`. Default `ed25519`.
    signature: Algorithm,
}

impl Audit {
    pub(super) fn checked(self) -> Result<Algorithm> {
        let name = self.signature.name();
        ensure!(
            self.signature.is_built_in(),
            "[audit] signature = \"{name}\" is not built in: `cargo build --release --locked --features {name}` makes a server that has it"
        );
        Ok(self.signature)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> Result<Algorithm> {
        toml::from_str::<Audit>(text)?.checked()
    }

    #[test]
    fn what_signs_is_what_is_built_in() {
        assert_eq!(read("").unwrap(), Algorithm::Ed25519);
        assert_eq!(read("signature = \"ed25519\"").unwrap(), Algorithm::Ed25519);
        assert!(read("signature = \"rsa\"").is_err());
        let sm2 = read("signature = \"sm2\"");
        match cfg!(feature = "sm2") {
            true => assert_eq!(sm2.unwrap(), Algorithm::Sm2),
            false => assert!(sm2.unwrap_err().to_string().contains("--features sm2")),
        }
    }
}
