//! Signs for a data folder: heads of the audit, which kept elsewhere prove what it was, and lists of evidence.
//!
//! With ed25519 (RFC 8032) by `audit.key`, or with SM2 and SM3 (GB/T 32918.2-2016; cargo feature `sm2`) by `audit-sm2.key`.
//! Keys are PKCS #8, mode 0600, made at their first use; they are read anew each time and kept nowhere.

mod public;
#[cfg(feature = "sm2")]
mod sm2;

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use onemap_model::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde::{Deserialize, Serialize};

use crate::ledger::{AuditHead, AuditHeadError, LedgerError, LedgerReader};
pub use public::PublicKey;

/// The folder of the heads of days, in the data folder.
const HEADS: &str = "audit";

/// How it is signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// Ed25519 (RFC 8032).
    #[default]
    Ed25519,
    /// SM2 with SM3 and the default identity (GB/T 32918.2-2016); cargo feature `sm2`.
    Sm2,
}

impl Algorithm {
    /// Every algorithm, built in or not.
    pub const ALL: [Self; 2] = [Self::Ed25519, Self::Sm2];

    /// As a head and the configuration have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::Sm2 => "sm2",
        }
    }

    /// Whether this build signs and verifies with it.
    pub const fn is_built_in(self) -> bool {
        match self {
            Self::Ed25519 => true,
            Self::Sm2 => cfg!(feature = "sm2"),
        }
    }

    /// The signing key's file in the data folder.
    pub const fn key_file(self) -> &'static str {
        match self {
            Self::Ed25519 => "audit.key",
            Self::Sm2 => "audit-sm2.key",
        }
    }
}

/// Why nothing is signed, or a head holds nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotaryError {
    /// The algorithm is not in this build.
    #[error("{name} is not built in: `cargo build --release --locked --features {name}` makes a server that has it", name = .0.name())]
    NotBuiltIn(Algorithm),
    /// A file cannot be read, made or written.
    #[error("{} cannot be {what}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What was being done.
        what: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A key file holds no key of its algorithm.
    #[error("{} is no {} key: {why}", path.display(), algorithm.name())]
    Key {
        /// Which.
        path: PathBuf,
        /// Of which it should be.
        algorithm: Algorithm,
        /// What is wrong.
        why: String,
    },
    /// The operating system gives no randomness.
    #[error("the system gives no randomness for a key")]
    NoRandomness,
    /// The key signs nothing.
    #[error("the {} key signs nothing", .0.name())]
    NotSigned(Algorithm),
    /// The audit cannot be read.
    #[error("the audit cannot be read (a server of this version makes it at its start)")]
    Ledger(#[from] LedgerError),
    /// A text in PEM is no public key that is known.
    #[error("the key is no public key of ed25519 or SM2 in PEM")]
    NoPublicKey,
    /// A file is no signed head.
    #[error("it is no signed head")]
    NoHead(#[from] serde_json::Error),
    /// What is signed is no head.
    #[error("what is signed is no head")]
    NoHeadText(#[from] AuditHeadError),
    /// The signature is no base64.
    #[error("its signature is no base64")]
    NoBase64,
    /// The head says one algorithm, and its key is another's.
    #[error("it says {} and its key is one of {}", said.name(), key.name())]
    OtherAlgorithm {
        /// What the head says.
        said: Algorithm,
        /// Whose its key is.
        key: Algorithm,
    },
    /// The head is not by a key that it must be by.
    #[error("it is signed by another key than those of the data folder (or that of --key)")]
    ForeignKey,
    /// The signature is another text's.
    #[error("its signature is not that of its text: it was changed")]
    Changed,
}

/// A signature of the data folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// How it was made.
    pub algorithm: Algorithm,
    /// Of ed25519 64 bytes, of SM2 the DER of r and s.
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
    /// The file: JSON with a newline.
    pub text: String,
}

/// A head as it is kept.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    /// Heads of before there were two say none: they are of ed25519.
    #[serde(default)]
    algorithm: Algorithm,
    /// [`AuditHead::text`].
    signed: String,
    /// Of its bytes, base64.
    signature: String,
    /// The public key, PEM.
    key: String,
}

/// Signs with a data folder's key.
#[derive(Clone, Debug)]
pub struct Notary {
    data_dir: PathBuf,
    algorithm: Algorithm,
}

/// A signing key.
enum Pair {
    Ed25519(Box<Ed25519KeyPair>),
    #[cfg(feature = "sm2")]
    Sm2(Box<::sm2::dsa::SigningKey>),
}

impl Notary {
    /// One that signs so for a data folder; nothing is read or made yet.
    ///
    /// # Errors
    /// [`NotaryError::NotBuiltIn`].
    pub fn new(data_dir: PathBuf, algorithm: Algorithm) -> Result<Self, NotaryError> {
        match algorithm.is_built_in() {
            true => Ok(Self { data_dir, algorithm }),
            false => Err(NotaryError::NotBuiltIn(algorithm)),
        }
    }

    /// Signs bytes.
    ///
    /// # Errors
    /// When the key cannot be read or made; so for every method here.
    pub fn sign(&self, bytes: &[u8]) -> Result<Signature, NotaryError> {
        let algorithm = self.algorithm;
        let path = self.data_dir.join(algorithm.key_file());
        let pkcs8 = match std::fs::read(&path) {
            Ok(pkcs8) => pkcs8,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let made = made(algorithm)?;
                keep(&path, &made)?;
                made
            }
            Err(source) => return Err(file(&path, "read")(source)),
        };
        let pair = Pair::of(algorithm, &path, &pkcs8)?;
        Ok(Signature {
            algorithm,
            bytes: pair.sign(bytes).ok_or(NotaryError::NotSigned(algorithm))?,
            key: pair.public().pem(),
        })
    }

    /// Where the audit stands at `at`, signed, as `now.json`.
    ///
    /// # Errors
    /// As [`Notary::sign`], and when the ledger cannot be read.
    pub fn head(&self, ledger: &LedgerReader, at: Timestamp) -> Result<KeptHead, NotaryError> {
        let head = ledger.audit_head(at)?;
        let signed = head.text();
        let Signature {
            algorithm,
            bytes,
            key,
        } = self.sign(signed.as_bytes())?;
        let written = Signed {
            algorithm,
            signed,
            signature: BASE64_STANDARD.encode(bytes),
            key,
        };
        Ok(KeptHead {
            name: "now.json".to_owned(),
            at: head.at,
            rows: head.rows,
            text: serde_json::to_string_pretty(&written).expect("a head is text") + "\n",
        })
    }

    /// Signs the head of the Beijing day of `at` into `audit/2026-11-27.json`; `None` when it is there already, or the audit
    /// has no row yet.
    ///
    /// # Errors
    /// As [`Notary::head`], and when the file cannot be written.
    pub fn head_of_day(&self, ledger: &LedgerReader, at: Timestamp) -> Result<Option<PathBuf>, NotaryError> {
        let day: String = at.to_string().chars().take(10).collect();
        let dir = self.data_dir.join(HEADS);
        let path = dir.join(format!("{day}.json"));
        if path.exists() || ledger.audit_head(at)?.rows == 0 {
            return Ok(None);
        }
        std::fs::create_dir_all(&dir).map_err(file(&dir, "made"))?;
        write(&path, self.head(ledger, at)?.text.as_bytes(), 0o600)?;
        Ok(Some(path))
    }

    /// [`heads`] of the data folder.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn heads(&self) -> Result<Vec<KeptHead>, NotaryError> {
        heads(&self.data_dir)
    }

    /// [`public_keys`] of the data folder.
    ///
    /// # Errors
    /// When a key cannot be read, or is none.
    pub fn public_keys(&self) -> Result<Vec<PublicKey>, NotaryError> {
        public_keys(&self.data_dir)
    }

    /// How it signs.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Pair {
    fn of(algorithm: Algorithm, path: &Path, pkcs8: &[u8]) -> Result<Self, NotaryError> {
        let bad = |why: String| NotaryError::Key {
            path: path.to_owned(),
            algorithm,
            why,
        };
        match algorithm {
            Algorithm::Ed25519 => match Ed25519KeyPair::from_pkcs8(pkcs8) {
                Ok(pair) => Ok(Self::Ed25519(Box::new(pair))),
                Err(error) => Err(bad(error.to_string())),
            },
            #[cfg(feature = "sm2")]
            Algorithm::Sm2 => sm2::pair(pkcs8).map(|key| Self::Sm2(Box::new(key))).map_err(bad),
            #[cfg(not(feature = "sm2"))]
            Algorithm::Sm2 => Err(NotaryError::NotBuiltIn(algorithm)),
        }
    }

    fn sign(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Ed25519(pair) => Some(pair.sign(bytes).as_ref().to_vec()),
            #[cfg(feature = "sm2")]
            Self::Sm2(key) => sm2::sign(key, bytes),
        }
    }

    fn public(&self) -> PublicKey {
        match self {
            Self::Ed25519(pair) => PublicKey::new(Algorithm::Ed25519, pair.public_key().as_ref()),
            #[cfg(feature = "sm2")]
            Self::Sm2(key) => PublicKey::new(Algorithm::Sm2, &sm2::public(key)),
        }
    }
}

/// A new key as PKCS #8.
fn made(algorithm: Algorithm) -> Result<Vec<u8>, NotaryError> {
    match algorithm {
        Algorithm::Ed25519 => Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map(|made| made.as_ref().to_vec())
            .map_err(|_| NotaryError::NoRandomness),
        #[cfg(feature = "sm2")]
        Algorithm::Sm2 => sm2::make().ok_or(NotaryError::NoRandomness),
        #[cfg(not(feature = "sm2"))]
        Algorithm::Sm2 => Err(NotaryError::NotBuiltIn(algorithm)),
    }
}

fn file(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> NotaryError {
    move |source| NotaryError::File {
        path: path.to_owned(),
        what,
        source,
    }
}

/// Writes a key that is not there yet.
fn keep(path: &Path, key: &[u8]) -> Result<(), NotaryError> {
    let mut options = OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(0o600).open(path);
    let mut made = opened.map_err(file(path, "made"))?;
    made.write_all(key)
        .and_then(|()| made.sync_all())
        .map_err(file(path, "written"))
}

/// Writes a file whole or not at all, with the rights `mode`.
///
/// # Errors
/// [`NotaryError::File`].
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), NotaryError> {
    let part = path.with_extension("part");
    let written = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&part, path)
    };
    written().map_err(file(path, "written"))
}

/// The heads of days in a data folder, by whatever algorithm and whoever signed them, fewest rows first.
///
/// # Errors
/// When one cannot be read.
pub fn heads(data_dir: &Path) -> Result<Vec<KeptHead>, NotaryError> {
    let dir = data_dir.join(HEADS);
    let entries = match std::fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(file(&dir, "listed")(source)),
    };
    let mut heads = Vec::new();
    for entry in entries {
        let path = entry.map_err(file(&dir, "listed"))?.path();
        if path.extension().is_none_or(|kind| kind != "json") {
            continue;
        }
        let text = std::fs::read_to_string(&path).map_err(file(&path, "read"))?;
        let signed: Signed = serde_json::from_str(&text)?;
        let head = AuditHead::parse(&signed.signed)?;
        let name = path.file_name().unwrap_or_default();
        heads.push(KeptHead {
            name: name.to_string_lossy().into_owned(),
            at: head.at,
            rows: head.rows,
            text,
        });
    }
    heads.sort_unstable_by_key(|head| head.rows);
    Ok(heads)
}

/// The public keys of a data folder, of the algorithms that are built in; none where nothing was signed yet.
///
/// # Errors
/// When a key cannot be read, or is none.
pub fn public_keys(data_dir: &Path) -> Result<Vec<PublicKey>, NotaryError> {
    let mut keys = Vec::new();
    for algorithm in Algorithm::ALL {
        let path = data_dir.join(algorithm.key_file());
        match std::fs::read(&path) {
            Ok(pkcs8) if algorithm.is_built_in() => {
                keys.push(Pair::of(algorithm, &path, &pkcs8)?.public());
            }
            // What it signed is refused for that.
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(source) => return Err(file(&path, "read")(source)),
        }
    }
    Ok(keys)
}

/// Reads a head and holds its signature. It must be by one of `known`; when there is none, by the key that it says.
///
/// # Errors
/// When it is no head, or is not what was signed; an algorithm that is not built in is [`NotaryError::NotBuiltIn`].
pub fn read_head(text: &[u8], known: &[PublicKey]) -> Result<AuditHead, NotaryError> {
    let head: Signed = serde_json::from_slice(text)?;
    if !head.algorithm.is_built_in() {
        return Err(NotaryError::NotBuiltIn(head.algorithm));
    }
    let key = PublicKey::from_pem(&head.key)?;
    if key.algorithm() != head.algorithm {
        return Err(NotaryError::OtherAlgorithm {
            said: head.algorithm,
            key: key.algorithm(),
        });
    }
    if !known.is_empty() && !known.contains(&key) {
        return Err(NotaryError::ForeignKey);
    }
    let signature = BASE64_STANDARD
        .decode(&head.signature)
        .map_err(|_| NotaryError::NoBase64)?;
    match key.has_signed(head.signed.as_bytes(), &signature)? {
        true => Ok(AuditHead::parse(&head.signed)?),
        false => Err(NotaryError::Changed),
    }
}

#[cfg(test)]
mod tests;
