//! `onemap`: the command line. Composes the members; decides nothing.

mod assess;
mod audit;
mod backup;
mod calling;
mod care;
mod check;
mod clocks;
mod commanding;
mod config;
mod decode;
mod demo;
mod disk;
mod door;
mod downlink;
mod fault;
mod feeding;
mod files;
mod forecast;
mod foresight;
mod forwarding;
mod geocode;
mod history;
mod house;
mod keys;
mod pipeline;
mod polling;
mod provision;
mod quarantine;
mod rebuild;
mod registrar;
mod resend;
mod restore;
mod rules;
mod security;
mod serve;
mod shipped;
mod standards;
mod stations;

/// Prints a line to standard output. A reader that has gone away (`| head`) ends the command without a word.
macro_rules! say {
    ($($text:tt)*) => { crate::print_line(format_args!($($text)*)) };
}
pub(crate) use say;

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use onemap_model::{DivisionCode, Role};

use crate::config::Config;

/// Gives freed pages back to the system after ten seconds, on a thread of its own. With glibc's allocator a server under
/// care had half as much memory again after nine minutes, and did not give it back (docs/proof/soak.txt).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// City sensing and one-map operations backend (城市运行管理一张图).
#[derive(Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
struct Common {
    /// Folder that holds everything onemap keeps.
    #[arg(long, global = true, env = "ONEMAP_DATA_DIR", default_value = "onemap-data")]
    data_dir: PathBuf,
    /// Configuration file (TOML); without it everything listens on loopback with defaults.
    #[arg(long, global = true, env = "ONEMAP_CONFIG")]
    config: Option<PathBuf>,
    /// Print machine-readable JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
#[expect(clippy::enum_variant_names, reason = "`onemap command` is one of them")]
enum Command {
    /// Run the server.
    Serve,
    /// Run the server with a simulated city, a gateway and simulated Modbus slaves.
    Demo(demo::DemoArgs),
    /// Check configuration, rules and profiles; faults come as file:line:column.
    Check {
        /// What an assessor asks (GB/T 22239, third level), with how it stands; ends with 1 when something is to be done.
        #[arg(long)]
        security: bool,
    },
    /// Bearer tokens for people and machines.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Accounts of people.
    #[command(subcommand)]
    User(door::UserCommand),
    /// Persons: the keys of what stands for their numbers.
    #[command(subcommand)]
    Persons(door::PersonsCommand),
    /// Devices.
    #[command(subcommand)]
    Device(DeviceCommand),
    /// Commands to devices.
    #[command(subcommand)]
    Command(commanding::CommandCommand),
    /// Import files.
    #[command(subcommand)]
    Import(ImportCommand),
    /// Things of the register.
    #[command(subcommand)]
    Entity(EntityCommand),
    /// Readings as a file: CSV, line protocol, JSON lines or Parquet; `entities`: the map.
    Export(door::ExportArgs),
    /// What was refused, and its way back.
    #[command(subcommand)]
    Quarantine(quarantine::QuarantineCommand),
    /// Rules: their tests, and what they would have told.
    #[command(subcommand)]
    Rules(rules::RulesCommand),
    /// The journal.
    #[command(subcommand)]
    Journal(JournalCommand),
    /// The history: whether it is whole, and what it holds.
    #[command(subcommand)]
    History(HistoryCommand),
    /// The audit: whether it is what it was, and signed words of where it stands.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Copy everything that is kept to a folder, while the server runs or when it is stopped. A folder that
    /// holds a backup already gets what has changed. Secrets are left out: admin.token, and what stands
    /// beside the files of push sources.
    Backup {
        /// The folder.
        dir: PathBuf,
    },
    /// Make a data folder (--data-dir, new or empty) from a backup, after every file of it was checked.
    Restore {
        /// The folder of the backup.
        dir: PathBuf,
    },
    /// Frames of HJ 212, SL 651 or GB/T 26875.3, one JSON line each with its readings; what is no frame by name, with the
    /// byte. Ends with 1 when a line is not ok.
    Decode(decode::DecodeArgs),
    /// Addresses to places, one address a line in, one JSON line out: level, confidence, code, position, division.
    /// Needs no server; ends with 1 when a line is no address.
    Geocode(geocode::GeocodeArgs),
    /// What series will be: forecasts tried on files, beside persistence. Needs no server.
    #[command(subcommand)]
    Forecast(forecast::ForecastCommand),
    /// What values mean by law: indices by the edition of their day.
    #[command(subcommand)]
    Standards(standards::StandardsCommand),
    /// One digest each of latest values, history and transitions: equal for equal journals. That of `values` is
    /// equal, too, for a history and one that its export was imported into.
    Digest,
}

#[derive(Subcommand)]
enum TokenCommand {
    /// Make a token; prints it and nothing else.
    Create {
        /// viewer, officer, operator, commander, integrator, system_admin, security_admin, audit_admin or admin.
        #[arg(long)]
        role: Role,
        /// Only this division (6, 9 or 12 digits).
        #[arg(long)]
        division: Option<DivisionCode>,
        /// Only this department; several times for several.
        #[arg(long = "department")]
        departments: Vec<String>,
        /// What it is called in the audit.
        #[arg(long)]
        name: Option<String>,
        /// Days that it opens, 0 for no end; as `[accounts] token_days` has it (365) when absent.
        #[arg(long)]
        days: Option<u32>,
    },
    /// List the tokens that open, by id; their texts are nowhere.
    List,
    /// End a token, the sessions that it opened and their live streams.
    Revoke {
        /// Its id, as `onemap token list` shows it.
        id: String,
    },
}

#[derive(Subcommand)]
enum DeviceCommand {
    /// Register a device; prints its token.
    Add(door::DeviceArgs),
    /// List devices.
    List,
    /// Give a device a new token; the old one ends.
    Token {
        /// The device.
        id: String,
        /// Seconds that the old token still opens.
        #[arg(long, default_value_t = 0)]
        grace_s: u32,
    },
    /// Register devices from CSV; what is wrong is said line by line, the good lines are taken.
    Import(door::ImportArgs),
    /// Show a device: lifecycle, connection, place, gateway and children.
    Show {
        /// The device.
        id: String,
    },
    /// Change the stated fields of a device (a JSON merge patch).
    Patch {
        /// The device.
        id: String,
        /// Like '{"name":"甲","cadence_s":60}'; null takes a field away.
        patch: String,
    },
    /// Take a device out of use: its token ends and its connections are cut.
    Retire {
        /// The device.
        id: String,
    },
    /// Take a device back into use.
    Activate {
        /// The device.
        id: String,
    },
    /// Put a device under maintenance, or end it.
    Maintain(door::MaintainArgs),
}

#[derive(Subcommand)]
enum ImportCommand {
    /// Entities from GeoJSON (FeatureCollection) or CSV.
    Entities(door::EntitiesArgs),
    /// House numbers, buildings and houses of villages from CSV with the columns road, estate or village (and
    /// group), number or building, lon, lat (and crs, division, code).
    Addresses(door::AddressesArgs),
    /// Readings from CSV with the columns device, quantity, time, value (and ch).
    Readings {
        /// The file.
        file: PathBuf,
    },
    /// What is known of hydrological stations, from CSV: datums, rating curves, ice seasons, stages.
    Hydrology(door::HydrologyArgs),
}

#[derive(Subcommand)]
enum EntityCommand {
    /// Give entities other codes: they keep their history, the old codes are still found, and what points to them
    /// follows. Good lines are taken, the others told; ends with 1 when there are any.
    Recode(door::RecodeArgs),
}

#[derive(Subcommand)]
enum JournalCommand {
    /// What the journal holds.
    Stat,
    /// Make all projections again from the journal, in an empty folder.
    Replay {
        /// The empty folder.
        #[arg(long)]
        into: PathBuf,
    },
}

#[derive(Subcommand)]
enum HistoryCommand {
    /// Read every row, check it and compare it with the others; ends with 1 when anything is wrong.
    Verify,
    /// Series, points and bytes by week and class, rollups, revisions, layout, cursor.
    Stat,
    /// Make the history again from what the journal holds, with the server stopped. The old one stays beside it
    /// under another name.
    Rebuild,
}

fn main() -> ExitCode {
    files::make_private();
    let cli = Cli::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_env("ONEMAP_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default_filter(&cli.command)));
    tracing_subscriber::fmt()
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("onemap: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn default_filter(command: &Command) -> &'static str {
    match command {
        Command::Serve | Command::Demo(_) => "info,fjall=warn,lsm_tree=warn,rumqttd=warn",
        _ => "warn",
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    let Common {
        data_dir,
        config,
        json,
    } = cli.common;
    if cli.command.only_looks() {
        check_folder(&data_dir)?;
    }
    let load = || Config::load(config.as_deref(), &data_dir);
    match cli.command {
        Command::Serve => on_runtime(serve::serve(&load()?)).map(|()| ExitCode::SUCCESS),
        Command::Demo(args) => {
            let explicit = data_dir != std::path::Path::new("onemap-data");
            on_runtime(demo::demo(
                config.as_deref(),
                explicit.then_some(&*data_dir),
                &args,
            ))
            .map(|()| ExitCode::SUCCESS)
        }
        Command::Check { security: false } => check::check(load(), json),
        Command::Check { security: true } => assess::check(&load()?, json),
        Command::Digest => check::digest(&load()?),
        Command::Decode(args) => decode::decode(&args),
        Command::Geocode(args) => geocode::geocode(&data_dir, &args),
        Command::Standards(command) => standards::run(&command, json),
        Command::Forecast(command) => forecast::run(&command, json),
        Command::History(HistoryCommand::Verify) => history::verify(&load()?, json),
        Command::History(HistoryCommand::Stat) => history::stat(&load()?, json),
        Command::History(HistoryCommand::Rebuild) => rebuild::rebuild(&load()?, json),
        Command::Rules(command) => command.run(&load()?, json),
        Command::Audit(command) => command.run(&load()?, json),
        Command::Backup { dir } => backup::backup(&load()?, &dir, json),
        Command::Restore { dir } => restore::restore(&dir, &data_dir, json),
        Command::Journal(JournalCommand::Stat) => check::stat(&load()?),
        Command::Journal(JournalCommand::Replay { into }) => check::replay(&load()?, &into),
        Command::Token(command) => {
            let config = load()?;
            on_runtime(async move {
                door::with(&config, move |door| match command {
                    TokenCommand::Create {
                        role,
                        division,
                        departments,
                        name,
                        days,
                    } => {
                        let token = serde_json::json!({
                            "role": role, "division": division, "departments": departments, "name": name,
                            "days": days,
                        });
                        crate::say!("{}", door.new_token(&token)?);
                        Ok(ExitCode::SUCCESS)
                    }
                    TokenCommand::List => door.list_tokens(json),
                    TokenCommand::Revoke { id } => door.revoke_token(&id),
                })
                .await
            })
        }
        Command::User(command) => {
            let config = load()?;
            on_runtime(async move { door::with(&config, move |door| command.run(door, json)).await })
        }
        Command::Persons(command) => {
            let config = load()?;
            on_runtime(async move { door::with(&config, move |door| command.run(door, json)).await })
        }
        Command::Device(command) => {
            let config = load()?;
            on_runtime(async move {
                door::with(&config, move |door| match command {
                    DeviceCommand::Add(args) => door.add_device(args, json),
                    DeviceCommand::List => door.list_devices(json),
                    DeviceCommand::Token { id, grace_s } => door.rotate(&id, grace_s, json),
                    DeviceCommand::Import(args) => door.import_devices(&args, json),
                    DeviceCommand::Show { id } => door.show_device(&id, json),
                    DeviceCommand::Patch { id, patch } => door.patch_device(&id, &patch, json),
                    DeviceCommand::Retire { id } => door.retire_device(&id, json),
                    DeviceCommand::Activate { id } => door.activate_device(&id, json),
                    DeviceCommand::Maintain(args) => door.maintain_device(&args, json),
                })
                .await
            })
        }
        Command::Command(command) => {
            let config = load()?;
            on_runtime(async move { door::with(&config, move |door| command.run(door, json)).await })
        }
        Command::Entity(EntityCommand::Recode(args)) => {
            let config = load()?;
            on_runtime(async move { door::with(&config, move |door| door.recode(&args, json)).await })
        }
        Command::Export(args) => {
            let config = load()?;
            on_runtime(async move { door::with(&config, move |door| door.export(&args, json)).await })
        }
        Command::Quarantine(command) => {
            let config = load()?;
            on_runtime(async move { door::with(&config, move |door| command.run(door, json)).await })
        }
        Command::Import(command) => {
            let config = load()?;
            on_runtime(async move {
                door::with(&config, move |door| match command {
                    ImportCommand::Entities(args) => door.import_entities(&args, json),
                    ImportCommand::Addresses(args) => door.import_addresses(&args, json),
                    ImportCommand::Readings { file } => door.import_readings(&file, json),
                    ImportCommand::Hydrology(args) => door.import_hydrology(&args, json),
                })
                .await
            })
        }
    }
}

impl Command {
    /// Whether it looks at a data folder that is there: it never makes one, so that a mistyped name is told.
    fn only_looks(&self) -> bool {
        match self {
            Self::Export(_)
            | Self::Audit(_)
            | Self::Journal(_)
            | Self::Rules(rules::RulesCommand::Replay(_))
            | Self::History(_)
            | Self::Backup { .. }
            | Self::Digest => true,
            Self::Token(command) => matches!(command, TokenCommand::List),
            Self::User(command) => command.only_looks(),
            Self::Device(command) => matches!(command, DeviceCommand::List | DeviceCommand::Show { .. }),
            Self::Command(command) => command.only_looks(),
            Self::Persons(command) => command.only_looks(),
            Self::Quarantine(command) => command.only_looks(),
            Self::Serve
            | Self::Rules(_)
            | Self::Demo(_)
            | Self::Check { .. }
            | Self::Import(_)
            | Self::Entity(_)
            | Self::Restore { .. }
            | Self::Decode(_)
            | Self::Geocode(_)
            | Self::Forecast(_)
            | Self::Standards(_) => false,
        }
    }
}

/// A data folder has a journal, or what is left of one has a history.
fn check_folder(dir: &std::path::Path) -> Result<()> {
    let is_there = ["journal", "history"].iter().any(|part| dir.join(part).is_dir());
    anyhow::ensure!(
        is_there,
        "{} is no data folder: it has neither a journal nor a history. Name the right one with --data-dir (or \
         ONEMAP_DATA_DIR); nothing was made there",
        dir.display()
    );
    Ok(())
}

fn on_runtime<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the async runtime cannot be started")?;
    let done = runtime.block_on(work);
    // Tasks that hold a client's socket may linger; they hold nothing that is not durable.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    done
}

/// What [`say!`] does.
fn print_line(text: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = writeln!(out, "{text}") {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            std::process::exit(0);
        }
        eprintln!("onemap: standard output cannot be written: {error}");
        std::process::exit(1);
    }
}
