//! `onemap audit verify|head|evidence`, and what a running server does for the audit: it signs a head each day and adds the
//! digests of the journal's closed segments (docs/audit.md).

mod heads;
mod segments;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use onemap_dashboards::views::Views;
use onemap_model::Timestamp;
use onemap_store::ledger::{AuditHead, LedgerReader};
use onemap_store::notary::{self, Notary};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::restore::Restored;
use crate::{door, house};

/// How often it is looked whether a day has begun or a segment was closed.
const ROUND: Duration = Duration::from_secs(10);

#[derive(clap::Subcommand)]
pub(crate) enum AuditCommand {
    /// Make every hash of the audit again, and the digests of the journal's segments, and name the first row that is not
    /// what it was. Ends with 1 when there is one.
    Verify {
        /// A head that was kept elsewhere: what was taken from the end, or made anew, shows against it. May be said again.
        #[arg(long = "head", value_name = "FILE")]
        heads: Vec<PathBuf>,
        /// The public key (PEM) that heads are signed by; that of the data folder when it is not said.
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
        /// Leave the journal's segments alone, which are read whole otherwise.
        #[arg(long)]
        no_journal: bool,
    },
    /// Say where the audit stands now, signed.
    Head {
        /// Into this file; else it is printed.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Ask the running server for what an alert rests on, as a signed tar file that stock tools verify.
    Evidence {
        /// The alert's id, 32 hexadecimal digits.
        alert: String,
        /// Into this file; `evidence-{alert}.tar` when it is not said.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

impl AuditCommand {
    /// # Errors
    /// When the ledger, the journal, a head or a key cannot be read, a file not be written, or no server answers.
    pub(crate) fn run(self, config: &Config, json: bool) -> Result<ExitCode> {
        match self {
            Self::Verify {
                heads,
                key,
                no_journal,
            } => verify(config, &heads, key.as_deref(), !no_journal, json),
            Self::Head { out } => {
                let head = notary_of(config)?.head(&ledger(config)?, now())?;
                match out {
                    Some(path) => notary::write(&path, head.text.as_bytes(), 0o644)?,
                    None => crate::say!("{}", head.text.trim_end()),
                }
                Ok(ExitCode::SUCCESS)
            }
            Self::Evidence { alert, out } => evidence(config, &alert, out),
        }
    }
}

/// Who signs for the data folder.
///
/// # Errors
/// When the algorithm is not built in.
pub(crate) fn notary_of(config: &Config) -> Result<Notary> {
    Ok(Notary::new(config.data_dir.clone(), config.audit_signature)?)
}

fn now() -> Timestamp {
    Timestamp::from_system(std::time::SystemTime::now())
}

fn ledger(config: &Config) -> Result<LedgerReader> {
    let path = config.data_dir.join("ledger.sqlite");
    LedgerReader::open(&path).with_context(|| format!("{} cannot be read", path.display()))
}

/// Fetches a pack into its file.
fn evidence(config: &Config, alert: &str, out: Option<PathBuf>) -> Result<ExitCode> {
    let door = door::running(config)?
        .context("no server runs on this data folder; the one that runs makes the pack")?;
    let out = out.unwrap_or_else(|| PathBuf::from(format!("evidence-{alert}.tar")));
    let n = door.fetch_file(&format!("/api/v1/alerts/{alert}/evidence"), &out)?;
    crate::say!(
        "{} bytes in {}; README.txt in it says how it is verified",
        n,
        out.display()
    );
    Ok(ExitCode::SUCCESS)
}

/// How many rows the audit has when each follows from those before; else what is wrong with it.
pub(crate) fn is_whole(ledger: &LedgerReader) -> Result<u64, String> {
    let found = ledger.audit(&[]).map_err(|error| error.to_string())?;
    match found.fault {
        None => Ok(found.rows),
        Some(fault) => Err(format!("row {}: {}", fault.row, fault.what)),
    }
}

/// When the newest head of a day was signed.
pub(crate) fn newest_head(data_dir: &Path) -> Option<Timestamp> {
    let heads = notary::heads(data_dir).ok()?;
    heads.iter().map(|head| head.at).max()
}

fn verify(
    config: &Config,
    heads: &[PathBuf],
    key: Option<&Path>,
    with_journal: bool,
    json: bool,
) -> Result<ExitCode> {
    let known = heads::known_keys(&config.data_dir, key)?;
    let read = |path: &PathBuf| heads::read_head(path, &known).with_context(|| path.display().to_string());
    let heads: Vec<AuditHead> = heads.iter().map(read).collect::<Result<_>>()?;
    let ledger = ledger(config)?;
    let mut found = ledger
        .audit(&heads)
        .context("the audit cannot be read (a server of this version makes it at its start)")?;
    let mut held = segments::Held::default();
    if with_journal && found.fault.is_none() {
        (held, found.fault) =
            segments::verify(&ledger, &house::journal_dir(config), config.journal_keep, now())?;
    }
    // A head of after the backup has rows that a restore cannot bring back; whether that is so, who looks must know.
    if let (Some(fault), Some(restored)) = (&mut found.fault, Restored::of(&config.data_dir)) {
        let of = format!(
            "; this data folder was restored from a backup of {} (to record {}), and what came later is not in it",
            restored.made_at, restored.journal_last
        );
        fault.what.push_str(&of);
    }
    let fault = found
        .fault
        .as_ref()
        .map(|f| json!({"row": f.row, "position": f.position, "what": f.what}));
    if json {
        crate::say!(
            "{}",
            json!({"ok": fault.is_none(), "rows": found.rows, "position": found.position, "hash": found.hash,
                   "heads": heads.len(), "segments": {"held": held.held, "let_go": held.let_go}, "fault": fault})
        );
    } else if let Some(fault) = &found.fault {
        match fault.position {
            0 => crate::say!("row {}: {}", fault.row, fault.what),
            position => crate::say!("row {} (journal position {position}): {}", fault.row, fault.what),
        }
    } else {
        crate::say!(
            "{} rows follow from one another and hold against {} heads; the last has hash {}",
            found.rows,
            heads.len(),
            found.hash
        );
        if with_journal {
            crate::say!(
                "{} closed segments of the journal are what they were; {} were let go",
                held.held,
                held.let_go
            );
        }
    }
    Ok(match found.fault {
        None => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
    })
}

/// Keeps the audit of a running server until it is stopped.
pub(crate) async fn keep(notary: Arc<Notary>, views: Arc<Views>, stop: CancellationToken) -> Result<()> {
    let mut daily = heads::Daily::new(notary);
    let mut digests = segments::Digests::new();
    loop {
        daily.look(&views).await?;
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            looked = digests.look(&views) => looked?,
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(ROUND) => {}
        }
    }
}
