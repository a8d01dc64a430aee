//! Signed heads: where the chain of the audit stands, with an ed25519 signature by the data folder's `audit.key`. Kept
//! elsewhere a head proves what the audit was.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use onemap_dashboards::keeping::{KeptHead, Notary, Signature};
use onemap_dashboards::views::Views;
use onemap_model::Timestamp;
use onemap_store::ledger::{AuditHead, LedgerReader};
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

/// The signing key in the data folder, PKCS #8, mode 0600.
const KEY: &str = "audit.key";
/// The folder of the daily heads.
const HEADS: &str = "audit";
/// What stands before the 32 bytes of an ed25519 key in its SubjectPublicKeyInfo (RFC 8410).
const SPKI: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// A head as it is kept.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    /// [`AuditHead::text`].
    signed: String,
    /// Of its bytes, base64.
    signature: String,
    /// The public key, PEM.
    key: String,
}

/// Reads a head and its signature.
pub(super) fn read_head(path: &Path, key: Option<&[u8]>) -> Result<AuditHead> {
    let text = std::fs::read(path).context("it cannot be read")?;
    let head: Signed = serde_json::from_slice(&text).context("it is no signed head")?;
    let own = public_of(&head.key)?;
    ensure!(
        key.is_none_or(|key| key == own),
        "it is signed by another key than {KEY} of the data folder (or that of --key)"
    );
    let signature = BASE64_STANDARD
        .decode(&head.signature)
        .context("its signature is no base64")?;
    UnparsedPublicKey::new(&ED25519, &own)
        .verify(head.signed.as_bytes(), &signature)
        .map_err(|_| anyhow!("its signature is not that of its text: it was changed"))?;
    Ok(AuditHead::parse(&head.signed)?)
}

/// The 32 bytes of a public key in PEM.
fn public_of(pem: &str) -> Result<Vec<u8>> {
    let text: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = BASE64_STANDARD.decode(text.trim()).ok();
    let key = der.as_deref().and_then(|der| der.strip_prefix(&SPKI[..]));
    key.filter(|key| key.len() == 32)
        .map(<[u8]>::to_vec)
        .context("the key is no ed25519 public key in PEM")
}

fn pem_of(public: &[u8]) -> String {
    let der = BASE64_STANDARD.encode([&SPKI[..], public].concat());
    format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n")
}

fn pair(pkcs8: &[u8]) -> Result<Ed25519KeyPair> {
    Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|error| anyhow!("{KEY} is no ed25519 key: {error}"))
}

/// The data folder's signing key; made at its first use.
fn signing_key(data_dir: &Path) -> Result<Ed25519KeyPair> {
    let path = data_dir.join(KEY);
    match std::fs::read(&path) {
        Ok(pkcs8) => pair(&pkcs8),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
                .map_err(|_| anyhow!("the system gives no randomness for {KEY}"))?;
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)
                .with_context(|| format!("{} cannot be made", path.display()))?;
            file.write_all(made.as_ref())
                .and_then(|()| file.sync_all())
                .with_context(|| format!("{} cannot be written", path.display()))?;
            pair(made.as_ref())
        }
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

/// The head of now, signed, as JSON with a newline.
pub(super) fn sign(data_dir: &Path, ledger: &LedgerReader, at: Timestamp) -> Result<String> {
    let key = signing_key(data_dir)?;
    let head = ledger
        .audit_head(at)
        .context("the audit cannot be read (a server of this version makes it at its start)")?;
    let signed = head.text();
    let signature = BASE64_STANDARD.encode(key.sign(signed.as_bytes()));
    let key = pem_of(key.public_key().as_ref());
    let head = Signed {
        signed,
        signature,
        key,
    };
    Ok(serde_json::to_string_pretty(&head).context("a head is text")? + "\n")
}

/// Writes a file whole or not at all.
pub(super) fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
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
    written().with_context(|| format!("{} cannot be written", path.display()))
}

/// The key that heads must be signed by: that of `path`, else that of the data folder; `None` where it has none.
///
/// # Errors
/// When it cannot be read, or is no such key.
pub(super) fn known_key(data_dir: &Path, path: Option<&Path>) -> Result<Option<Vec<u8>>> {
    if let Some(path) = path {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
        return public_of(&text)
            .map(Some)
            .with_context(|| path.display().to_string());
    }
    match std::fs::read(data_dir.join(KEY)) {
        Ok(pkcs8) => Ok(Some(pair(&pkcs8)?.public_key().as_ref().to_vec())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context(KEY),
    }
}

/// Signs a head on each Beijing day, also on that of the start: `audit/2026-11-27.json`.
pub(super) struct Daily {
    data_dir: PathBuf,
    is_told: bool,
}

impl Daily {
    pub(super) fn new(data_dir: PathBuf) -> Self {
        Self {
            data_dir,
            is_told: false,
        }
    }

    /// # Errors
    /// When the look itself is cut short; a head that cannot be made is told and tried again.
    pub(super) async fn look(&mut self, views: &Arc<Views>) -> Result<()> {
        let (dir, of) = (self.data_dir.clone(), views.clone());
        let made = tokio::task::spawn_blocking(move || of_today(&dir, &of))
            .await
            .context("the daily head was cut short")?;
        match &made {
            Ok(Some(path)) => info!(path = %path.display(), "the head of the audit is signed"),
            Ok(None) => {}
            Err(error) if !self.is_told => warn!("the head of the audit is not signed: {error:#}"),
            Err(_) => {}
        }
        self.is_told = made.is_err();
        Ok(())
    }
}

/// Signs the head of the day unless it is there, or there is no row yet.
fn of_today(data_dir: &Path, views: &Views) -> Result<Option<PathBuf>> {
    let now = views.now();
    let day: String = now.to_string().chars().take(10).collect();
    let dir = data_dir.join(HEADS);
    let path = dir.join(format!("{day}.json"));
    if path.exists() || views.ledger.audit_head(now)?.rows == 0 {
        return Ok(None);
    }
    std::fs::create_dir_all(&dir).with_context(|| format!("{} cannot be made", dir.display()))?;
    write(&path, sign(data_dir, &views.ledger, now)?.as_bytes(), 0o600)?;
    Ok(Some(path))
}

/// Signs with the data folder's key, which is read anew each time and kept nowhere.
pub(crate) struct FolderNotary {
    pub(crate) data_dir: PathBuf,
}

impl Notary for FolderNotary {
    fn sign(&self, bytes: &[u8]) -> Result<Signature, String> {
        let key = signing_key(&self.data_dir).map_err(|error| format!("{error:#}"))?;
        Ok(Signature {
            bytes: key.sign(bytes).as_ref().to_vec(),
            key: pem_of(key.public_key().as_ref()),
        })
    }

    fn head(&self, ledger: &LedgerReader, at: Timestamp) -> Result<KeptHead, String> {
        let text = sign(&self.data_dir, ledger, at).map_err(|error| format!("{error:#}"))?;
        kept("now.json".to_owned(), text).map_err(|error| format!("{error:#}"))
    }

    fn heads(&self) -> Result<Vec<KeptHead>, String> {
        let all = || -> Result<Vec<KeptHead>> {
            let mut heads = Vec::new();
            let dir = self.data_dir.join(HEADS);
            let entries = match std::fs::read_dir(&dir) {
                Ok(entries) => entries,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(heads),
                Err(error) => return Err(error).with_context(|| dir.display().to_string()),
            };
            for entry in entries {
                let path = entry?.path();
                let name = path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                if path.extension().is_some_and(|kind| kind == "json") {
                    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
                    heads.push(kept(name, text).with_context(|| path.display().to_string())?);
                }
            }
            heads.sort_unstable_by_key(|head| head.rows);
            Ok(heads)
        };
        all().map_err(|error| format!("{error:#}"))
    }
}

fn kept(name: String, text: String) -> Result<KeptHead> {
    let signed: Signed = serde_json::from_str(&text).context("it is no signed head")?;
    let head = AuditHead::parse(&signed.signed)?;
    Ok(KeptHead {
        name,
        at: head.at,
        rows: head.rows,
        text,
    })
}
