//! `onemap-sim`: command line of the simulators.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use onemap_sim::{city, load, modbus, replay, station};
use tokio_util::sync::CancellationToken;

/// After a signal everything has ended within this time, or is cut off.
const STOP_WITHIN: Duration = Duration::from_millis(2_500);

/// The outside world for onemap: simulated city, replays, Modbus slaves, MQTT load.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Registers a seeded city and runs it; prints the ground truth as JSON lines.
    City(CityArgs),
    /// Publishes a recorded series.
    Replay(PlayArgs),
    /// Simulates Modbus TCP slaves; prints one ready line with their addresses.
    Modbus(ModbusArgs),
    /// Simulates field stations of HJ 212, SL 651 or GB/T 26875.3; prints one JSON line when they end.
    Stations(station::StationArgs),
    /// Measures an MQTT server; prints one JSON line.
    Load(load::LoadArgs),
}

/// Where the server is and who may register there.
#[derive(Args)]
struct ServerArgs {
    /// HTTP address of the server, like http://127.0.0.1:8080
    #[arg(long)]
    server: String,
    /// MQTT address of the server, host:port
    #[arg(long)]
    mqtt: String,
    /// Bearer token that may register devices and entities
    #[arg(long, env = "ONEMAP_TOKEN", hide_env_values = true)]
    token: String,
    /// File that keeps the device tokens between runs (mode 0600)
    #[arg(long)]
    state: Option<PathBuf>,
}

#[derive(Args)]
struct CityArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Another seed is another city with other incidents
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Nothing goes wrong
    #[arg(long)]
    without_incidents: bool,
    /// Days that the first river gauges and air stations have measured already
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=366))]
    past_days: u32,
    /// How much faster than the clock the city lives
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    /// File for the ground truth, besides standard output
    #[arg(long)]
    truth: Option<PathBuf>,
}

#[derive(Args)]
struct PlayArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    replay: replay::ReplayArgs,
}

#[derive(Args)]
struct ModbusArgs {
    /// Address of the first slave; with port 0 every slave gets a free port, else the ports follow one another
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// How many slaves
    #[arg(long, default_value_t = 1)]
    slaves: u16,
    /// How often the counting registers step, milliseconds
    #[arg(long, default_value_t = 100)]
    step_ms: u64,
    /// Answer so much later, milliseconds
    #[arg(long, default_value_t = 0)]
    delay_ms: u64,
}

fn main() -> ExitCode {
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
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(e) => {
            tracing::error!("cannot start: {e}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(run(Cli::parse().command));
    // Threads that still wait for an answer of the server hold nothing that must be saved.
    runtime.shutdown_timeout(Duration::from_millis(200));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            tracing::error!("{e:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let work = async {
        match command {
            Command::City(args) => city::run::run(city_config(args)?, stop.clone()).await,
            Command::Replay(args) => {
                let ServerArgs {
                    server,
                    mqtt,
                    token,
                    state,
                } = args.server;
                let target = replay::Target {
                    server,
                    mqtt,
                    admin_token: token,
                    state,
                };
                replay::run(args.replay, target, stop.clone()).await
            }
            Command::Modbus(args) => {
                let config = modbus::ModbusConfig {
                    listen: args.listen,
                    slaves: args.slaves,
                    step: Duration::from_millis(args.step_ms.max(1)),
                    delay: Duration::from_millis(args.delay_ms),
                };
                modbus::run(config, stop.clone()).await
            }
            Command::Stations(args) => station::run(args, stop.clone()).await,
            Command::Load(args) => load::run(args, stop.clone()).await,
        }
    };
    tokio::pin!(work);
    tokio::select! {
        done = &mut work => return done,
        signalled = signal() => signalled?,
    }
    stop.cancel();
    match tokio::time::timeout(STOP_WITHIN, work).await {
        Ok(done) => done,
        Err(_) => {
            tracing::warn!("some connections did not end in time and are cut off");
            Ok(())
        }
    }
}

fn city_config(args: CityArgs) -> anyhow::Result<city::run::RunConfig> {
    anyhow::ensure!(
        args.speed > 0.0 && args.speed <= 1000.0,
        "--speed must be more than 0 and at most 1000"
    );
    let ServerArgs {
        server,
        mqtt,
        token,
        state,
    } = args.server;
    Ok(city::run::RunConfig {
        server,
        mqtt,
        admin_token: token,
        seed: args.seed,
        incidents: !args.without_incidents,
        speed: args.speed,
        past_days: args.past_days,
        state,
        truth: args.truth,
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }
}
