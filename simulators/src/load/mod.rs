//! An MQTT load generator that weighs little beside the server it measures.
//!
//! Its own codec costs about a microsecond of CPU a message. It prints one JSON line; compare ratios of
//! runs made one after the other on a quiet machine, not absolute figures.

mod connection;
mod histogram;
mod process;
mod template;

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail, ensure};
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::mqtt::codec::Qos;
use connection::{Share, Tally};
use process::Usage;
use template::Template;

/// Most unacknowledged messages a connection can have: packet ids are 16 bits.
const MAX_INFLIGHT: usize = 30_000;

/// Load on an MQTT server.
#[derive(clap::Args, Clone, Debug)]
pub struct LoadArgs {
    /// MQTT address of the server, host:port
    #[arg(long, default_value = "127.0.0.1:1883")]
    pub mqtt: String,
    /// Connections
    #[arg(long, default_value_t = 1)]
    pub conns: usize,
    /// Quality of service: 0, 1 or 2
    #[arg(long, default_value_t = 1)]
    pub qos: u8,
    /// Messages in all
    #[arg(long, default_value_t = 100_000)]
    pub count: u64,
    /// Messages a second in all; 0 is as many as the server takes
    #[arg(long, default_value_t = 0)]
    pub rate: u64,
    /// Unacknowledged messages of each connection
    #[arg(long, default_value_t = 50)]
    pub inflight: usize,
    /// Topic; {conn} is the connection's number from 0
    #[arg(long, default_value = "v1/devices/me/telemetry")]
    pub topic: String,
    /// File with one user name (device token) a line; connections take them in turn
    #[arg(long)]
    pub users: Option<PathBuf>,
    /// Payload: {t} is the time in ms, {ts} a time in ms that rises with each message of the connection, {v} a small decimal number, {seq} counts a connection's messages, {conn} the connection
    #[arg(
        long,
        default_value = r#"{"ts":{t},"values":{"temperature":{v},"seq":{seq}}}"#
    )]
    pub template: String,
    /// The {ts} of each connection's first message, ms since 1970; default so that the last one's is now
    #[arg(long)]
    pub first_stamp: Option<u64>,
    /// Process to watch: its CPU time and memory go into the report; may be repeated
    #[arg(long = "pid")]
    pub pids: Vec<u32>,
    /// File that gets `connection:seq` of every acknowledged message
    #[arg(long)]
    pub acklog: Option<PathBuf>,
    /// Stop after so many seconds even if messages are left
    #[arg(long, default_value_t = 3600)]
    pub seconds: u64,
}

/// Where acknowledged numbers are written down.
pub(crate) type AckLog = Arc<Mutex<BufWriter<std::fs::File>>>;

/// Runs the load and prints the report.
///
/// # Errors
/// When the arguments make no sense, a file cannot be used, or no connection succeeds.
pub async fn run(args: LoadArgs, stop: CancellationToken) -> anyhow::Result<()> {
    let qos = Qos::from_number(args.qos).context("--qos is 0, 1 or 2")?;
    ensure!(args.conns > 0, "--conns must be at least 1");
    ensure!(
        (1..=MAX_INFLIGHT).contains(&args.inflight),
        "--inflight must be 1 to {MAX_INFLIGHT}"
    );
    let users = users(&args)?;
    let acklog: Option<AckLog> = match &args.acklog {
        None => None,
        Some(path) => {
            let file =
                std::fs::File::create(path).with_context(|| format!("cannot write `{}`", path.display()))?;
            Some(Arc::new(Mutex::new(BufWriter::new(file))))
        }
    };
    let now_ms = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis() as u64;
    let mut opening = JoinSet::new();
    for i in 0..args.conns {
        let user = if users.is_empty() {
            String::new()
        } else {
            users[i % users.len()].clone()
        };
        let count = args.count / args.conns as u64 + u64::from((i as u64) < args.count % args.conns as u64);
        let share = Share {
            number: i,
            count,
            first_stamp_ms: args.first_stamp.unwrap_or(now_ms.saturating_sub(count)),
            rate: args.rate as f64 / args.conns as f64,
            offset: match args.rate {
                0 => Duration::ZERO,
                rate => Duration::from_secs_f64(i as f64 / rate as f64),
            },
            inflight: args.inflight,
            qos,
            topic: args.topic.replace("{conn}", &i.to_string()),
            template: Template::parse(&args.template, i),
        };
        let server = args.mqtt.clone();
        opening.spawn(async move { connection::open(&server, &user, share).await });
    }
    let mut open = Vec::new();
    let mut n_refused = 0u64;
    while let Some(done) = opening.join_next().await {
        match done.context("a connecting task ended badly")? {
            Ok(connection) => open.push(connection),
            Err(e) => {
                n_refused += 1;
                tracing::warn!("a connection was not made: {e}");
            }
        }
    }
    if open.is_empty() {
        bail!("no connection was made");
    }
    let before: Vec<_> = args.pids.iter().map(|pid| Usage::of(*pid)).collect();
    let own_before = Usage::of(std::process::id());
    let start = Instant::now();
    let end = start + Duration::from_secs(args.seconds);
    let mut running = JoinSet::new();
    for connection in open {
        running.spawn(connection.run(start, end, acklog.clone(), stop.clone()));
    }
    let mut tally = Tally::default();
    while let Some(done) = running.join_next().await {
        tally.add(&done.context("a connection's task ended badly")?);
    }
    let seconds = start.elapsed().as_secs_f64();
    if let Some(log) = acklog {
        log.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .flush()
            .context("cannot write the ack log")?;
    }
    let n = tally.n_done.max(1) as f64;
    let per_message = |before: &Option<Usage>, pid: u32| {
        let (before, after) = (before.as_ref()?, Usage::of(pid)?);
        Some((
            after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e6 / n,
            after.rss_kib,
        ))
    };
    let watched: Vec<_> = args
        .pids
        .iter()
        .zip(&before)
        .map(|(pid, before)| match per_message(before, *pid) {
            Some((us, rss)) => json!({ "pid": pid, "cpu_us_per_msg": round(us), "rss_kib": rss }),
            None => json!({ "pid": pid, "gone": true }),
        })
        .collect();
    let ms = |q: f64| round(tally.latency_us.quantile(q) as f64 / 1000.0);
    println!(
        "{}",
        json!({
            "conns": args.conns, "qos": args.qos, "inflight": args.inflight, "rate": args.rate, "sent": tally.n_sent,
            "acknowledged": tally.n_done, "seconds": round(seconds), "msgs_per_s": (tally.n_done as f64 / seconds).round(),
            "ack_p50_ms": ms(0.5), "ack_p99_ms": ms(0.99), "ack_max_ms": ms(1.0),
            "refused_connections": n_refused, "lost_connections": tally.n_lost,
            "own_cpu_us_per_msg": per_message(&own_before, std::process::id()).map(|(us, _)| round(us)),
            "watched": watched,
        })
    );
    Ok(())
}

fn round(n: f64) -> f64 {
    (n * 1000.0).round() / 1000.0
}

fn users(args: &LoadArgs) -> anyhow::Result<Vec<String>> {
    let Some(path) = &args.users else {
        return Ok(Vec::new());
    };
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let users: Vec<_> = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .map(str::to_owned)
        .collect();
    ensure!(!users.is_empty(), "`{}` names no user", path.display());
    Ok(users)
}
