//! `onemap audit verify|head`, and the head that a running server signs each day.
//!
//! A head is a text that says where the chain of the audit stands, with an ed25519 signature by the data folder's
//! `audit.key`. Kept elsewhere it proves what the audit was (docs/audit.md).

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use onemap_dashboards::views::Views;
use onemap_model::Timestamp;
use onemap_store::ledger::{AuditHead, LedgerReader};
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::Config;

/// The signing key in the data folder, PKCS #8, mode 0600.
const KEY: &str = "audit.key";
/// The folder of the daily heads.
const HEADS: &str = "audit";
/// How often it is looked whether a day has begun.
const ROUND: Duration = Duration::from_secs(10);
/// What stands before the 32 bytes of an ed25519 key in its SubjectPublicKeyInfo (RFC 8410).
const SPKI: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

#[derive(clap::Subcommand)]
pub(crate) enum AuditCommand {
    /// Make every hash of the audit again and name the first row that is not what it was. Ends with 1 when there is one.
    Verify {
        /// A head that was kept elsewhere: what was taken from the end, or made anew, shows against it. May be said again.
        #[arg(long = "head", value_name = "FILE")]
        heads: Vec<PathBuf>,
        /// The public key (PEM) that heads are signed by; that of the data folder when it is not said.
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
    },
    /// Say where the audit stands now, signed.
    Head {
        /// Into this file; else it is printed.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

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

impl AuditCommand {
    /// # Errors
    /// When the ledger, a head or a key cannot be read, or a head not be written.
    pub(crate) fn run(self, config: &Config, json: bool) -> Result<ExitCode> {
        match self {
            Self::Verify { heads, key } => verify(config, &heads, key.as_deref(), json),
            Self::Head { out } => {
                let signed = sign(&config.data_dir, &ledger(config)?, now())?;
                match out {
                    Some(path) => write(&path, signed.as_bytes(), 0o644)?,
                    None => crate::say!("{}", signed.trim_end()),
                }
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

fn now() -> Timestamp {
    Timestamp::from_system(std::time::SystemTime::now())
}

fn ledger(config: &Config) -> Result<LedgerReader> {
    let path = config.data_dir.join("ledger.sqlite");
    LedgerReader::open(&path).with_context(|| format!("{} cannot be read", path.display()))
}

fn verify(config: &Config, heads: &[PathBuf], key: Option<&Path>, json: bool) -> Result<ExitCode> {
    let key = match key {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("{} cannot be read", path.display()))?;
            Some(public_of(&text).with_context(|| path.display().to_string())?)
        }
        None => match std::fs::read(config.data_dir.join(KEY)) {
            Ok(pkcs8) => Some(pair(&pkcs8)?.public_key().as_ref().to_vec()),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error).context(KEY),
        },
    };
    let read = |path: &PathBuf| read_head(path, key.as_deref()).with_context(|| path.display().to_string());
    let heads: Vec<AuditHead> = heads.iter().map(read).collect::<Result<_>>()?;
    let found = ledger(config)?
        .audit(&heads)
        .context("the audit cannot be read (a server of this version makes it at its start)")?;
    let fault = found
        .fault
        .as_ref()
        .map(|f| json!({"row": f.row, "position": f.position, "what": f.what}));
    if json {
        crate::say!(
            "{}",
            json!({"ok": fault.is_none(), "rows": found.rows, "position": found.position, "hash": found.hash,
                   "heads": heads.len(), "fault": fault})
        );
    } else if let Some(fault) = &found.fault {
        crate::say!(
            "row {} (journal position {}): {}",
            fault.row,
            fault.position,
            fault.what
        );
    } else {
        crate::say!(
            "{} rows follow from one another and hold against {} heads; the last has hash {}",
            found.rows,
            heads.len(),
            found.hash
        );
    }
    Ok(match found.fault {
        None => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
    })
}

/// Reads a head and its signature.
fn read_head(path: &Path, key: Option<&[u8]>) -> Result<AuditHead> {
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
fn sign(data_dir: &Path, ledger: &LedgerReader, at: Timestamp) -> Result<String> {
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
fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
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

/// Signs a head on each Beijing day, also on that of the start, until it is stopped: `audit/2026-11-27.json`.
pub(crate) async fn daily(data_dir: PathBuf, views: Arc<Views>, stop: CancellationToken) -> Result<()> {
    let mut is_told = false;
    loop {
        let (dir, of) = (data_dir.clone(), views.clone());
        let made = tokio::task::spawn_blocking(move || of_today(&dir, &of))
            .await
            .context("the daily head was cut short")?;
        match &made {
            Ok(Some(path)) => info!(path = %path.display(), "the head of the audit is signed"),
            Ok(None) => {}
            Err(error) if !is_told => warn!("the head of the audit is not signed: {error:#}"),
            Err(_) => {}
        }
        is_told = made.is_err();
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(ROUND) => {}
        }
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
