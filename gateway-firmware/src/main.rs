//! `onemap-gateway`: command line of the edge gateway.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use onemap_gateway::{Config, run};
use tokio_util::sync::CancellationToken;

/// After a signal everything has ended within this time, or is cut off.
const STOP_WITHIN: Duration = Duration::from_millis(2_500);

/// Polls Modbus slaves, spools to disk, publishes over MQTT.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// Configuration, TOML
    #[arg(long)]
    config: PathBuf,
    /// Check the configuration and end
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    if let Err(e) = end_with_parent() {
        tracing::warn!("this process would outlive the one that started it: {e}");
    }
    match start(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            tracing::error!("{e:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(cli: &Cli) -> anyhow::Result<()> {
    let config = Config::load(&cli.config)?;
    if cli.check {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start")?;
    let outcome = runtime.block_on(serve(config));
    runtime.shutdown_timeout(Duration::from_millis(200));
    outcome
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let announce = |ready: &_| match serde_json::to_string(ready) {
        Ok(line) => println!("{line}"),
        Err(e) => tracing::warn!("no ready line: {e}"),
    };
    let work = run(config, announce, stop.clone());
    tokio::pin!(work);
    tokio::select! {
        done = &mut work => return done,
        signalled = signal() => signalled?,
    }
    stop.cancel();
    match tokio::time::timeout(STOP_WITHIN, work).await {
        Ok(done) => done,
        Err(_) => anyhow::bail!(
            "the gateway did not stop in time and is cut off; the spool recovers at the next start"
        ),
    }
}

/// Waits for SIGINT or SIGTERM.
async fn signal() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot listen for SIGINT"),
    }
}

/// A member of a demo (ONEMAP_PARENT is set) ends with it, even when the demo is killed with -9.
fn end_with_parent() -> std::io::Result<()> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    let Some(parent) = std::env::var_os("ONEMAP_PARENT") else {
        return Ok(());
    };
    set_parent_process_death_signal(Some(Signal::TERM))?;
    // It may have died before this was asked for.
    let now = getppid().map(|pid| pid.as_raw_nonzero().to_string());
    if now.as_deref().map(std::ffi::OsStr::new) == Some(&parent) {
        return Ok(());
    }
    tracing::info!("the process that started this one is gone");
    std::process::exit(0)
}
