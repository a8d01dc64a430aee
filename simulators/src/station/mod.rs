//! Simulated field stations that speak HJ 212, SL 651 and GB/T 26875.3 over TCP (SL 651 also by datagrams), down to the handshakes.
//!
//! A station is a pure machine of what it hears and what time it is ([`Speaker`]); `line` gives it a connection and
//! does to its frames what lines do to frames ([`faults`]). Values are functions of seed, station and time, so what a
//! station is asked to send again is what it measured then.

mod clock;
pub mod faults;
mod gbt26875;
mod hj212;
mod line;
mod sl651;
#[cfg(test)]
mod talks;
mod values;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use onemap_model::Timestamp;
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use faults::Faults;
pub use hj212::{Hj212, Hj212Config};

/// What a station speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// HJ 212-2017: air, surface water, sewage, flue gas, noise
    Hj212,
    /// SL 651-2014: rain and river stations
    Sl651,
    /// GB/T 26875.3-2011: fire alarm transmission devices
    Gbt26875,
}

/// Modes of SL 651 in which a station speaks by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the argument's help says it")]
pub enum Mode {
    M1,
    M2,
    M3,
}

impl From<Mode> for onemap_wire::sl651::reply::Mode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::M1 => Self::M1,
            Mode::M2 => Self::M2,
            Mode::M3 => Self::M3,
        }
    }
}

/// How SL 651 is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Encoding {
    Hex,
    Ascii,
}

impl From<Encoding> for onemap_wire::sl651::Encoding {
    fn from(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Hex => Self::Hex,
            Encoding::Ascii => Self::Ascii,
        }
    }
}

/// Simulated stations.
#[derive(Args, Clone, Debug)]
pub struct StationArgs {
    /// What they speak
    #[arg(value_enum)]
    pub protocol: Protocol,
    /// Address of the centre, host:port
    #[arg(long)]
    pub to: String,
    /// How many stations
    #[arg(long, default_value_t = 1)]
    pub stations: usize,
    /// Number of the first station; those after it count up from its last digits (HJ 212: MN, SL 651: 10 hexadecimal digits, GB/T 26875.3: 12)
    #[arg(long)]
    pub id: String,
    /// Password of every station (HJ 212: 6 characters, SL 651: 4 hexadecimal digits)
    #[arg(long, env = "ONEMAP_STATION_PASSWORD", hide_env_values = true)]
    pub password: Option<String>,
    /// HJ 212: system code of the stations: 21, 22, 23, 31 or 32
    #[arg(long, default_value = "22")]
    pub system: String,
    /// HJ 212: edition: 2005, 2017 or 2025
    #[arg(long, default_value = "2017")]
    pub edition: String,
    /// Seconds between real-time values (HJ 212), timed reports (SL 651) or states (GB/T 26875.3)
    #[arg(long, default_value_t = 30)]
    pub interval: u32,
    /// SL 651: how the station and the centre speak: m1 (no answers), m2 (each packet is answered), m3 (one answer to all)
    #[arg(long, value_enum, default_value_t = Mode::M2)]
    pub mode: Mode,
    /// SL 651: how frames are written
    #[arg(long, value_enum, default_value_t = Encoding::Hex)]
    pub encoding: Encoding,
    /// SL 651: most bytes of a packet's body; a longer message goes in packets
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u16).range(1..=4092))]
    pub packet_bytes: u16,
    /// SL 651: datagrams (UDP) and no connection
    #[arg(long)]
    pub udp: bool,
    /// What was due while the line was away is not sent later, only when it is asked for
    #[arg(long)]
    pub forgetful: bool,
    /// Faults, as in `crc=0.01,cut=0.01,repeat=0.02,swap=0.02,deaf=0.01,silence=60/600,skew=5000,drift=50,holes=0.1`
    #[arg(long, default_value = "")]
    pub faults: Faults,
    /// Another seed gives other values and faults
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// HJ 212: send so many frames a station as fast as the centre takes them, then end
    #[arg(long)]
    pub count: Option<u64>,
    /// HJ 212 with --count: unanswered frames of each station
    #[arg(long, default_value_t = 50)]
    pub window: usize,
    /// End after so many seconds
    #[arg(long)]
    pub seconds: Option<u64>,
}

/// What stations did, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Reports and data frames, each once however often it was sent.
    pub n_reports: u64,
    /// Those the centre answered.
    pub n_answered: u64,
    /// Refusals of the centre: of HJ 212 a QnRtn other than 1, of GB/T 26875.3 command 6, of SL 651 NAK.
    pub n_not_taken: u64,
    /// Frames that were sent again for want of an answer.
    pub n_again: u64,
    /// Requests and commands of the centre.
    pub n_requests: u64,
    /// Requests that were refused.
    pub n_refused: u64,
    /// Frames of the centre that were none.
    pub n_bad: u64,
    /// Connections made, and ended for want of answers.
    pub n_connects: u64,
    /// Connections that the station gave up.
    pub n_given_up: u64,
    /// What the line did: frames damaged, cut, repeated, swapped, and answers lost.
    pub n_faults: u64,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        let Self {
            n_reports,
            n_answered,
            n_not_taken,
            n_again,
            n_requests,
            n_refused,
            n_bad,
            n_connects,
            n_given_up,
            n_faults,
        } = other;
        self.n_reports += n_reports;
        self.n_answered += n_answered;
        self.n_not_taken += n_not_taken;
        self.n_again += n_again;
        self.n_requests += n_requests;
        self.n_refused += n_refused;
        self.n_bad += n_bad;
        self.n_connects += n_connects;
        self.n_given_up += n_given_up;
        self.n_faults += n_faults;
    }
}

/// What a station gives its line.
#[derive(Debug, Default)]
pub struct Out {
    /// Frames in order.
    pub frames: Vec<Vec<u8>>,
    /// The station gives the connection up.
    pub hang_up: bool,
}

/// A station without its line. Times are the line's; a station's own clock may differ.
pub trait Speaker: Send {
    /// A new connection.
    fn connected(&mut self, now: Timestamp, out: &mut Out);
    /// Bytes of the centre.
    fn heard(&mut self, now: Timestamp, bytes: &[u8], out: &mut Out);
    /// Time has passed. Without a connection nothing is to be sent, and only what happens meanwhile is noted.
    fn tick(&mut self, now: Timestamp, is_connected: bool, out: &mut Out);
    /// When it wants to be told of the time again.
    fn next(&self, now: Timestamp) -> Timestamp;
    /// It has no more to do.
    fn is_done(&self) -> bool {
        false
    }
    /// What it did.
    fn tally(&self) -> Tally;
}

/// Runs the stations until the stop, and prints one JSON line of what they did.
///
/// # Errors
/// When the arguments make no sense.
pub async fn run(args: StationArgs, stop: CancellationToken) -> anyhow::Result<()> {
    ensure!(args.stations > 0, "--stations must be at least 1");
    ensure!(args.interval > 0, "--interval must be at least 1");
    ensure!(
        !args.udp || args.protocol == Protocol::Sl651,
        "--udp: only SL 651 has datagrams"
    );
    let faults = Arc::new(args.faults.clone());
    let to: Arc<str> = args.to.as_str().into();
    let since = std::time::Instant::now();
    let mut lines = JoinSet::new();
    let own_stop = stop.child_token();
    for number in 0..args.stations {
        let id = nth(&args.id, number, args.protocol != Protocol::Hj212)?;
        let seed = crate::prng::seed_of(&[args.seed, number as u64]);
        let speaker: Box<dyn Speaker> = match args.protocol {
            Protocol::Hj212 => Box::new(Hj212::new(hj212::config(&args, id, seed)?, now())),
            Protocol::Sl651 => Box::new(sl651::Sl651::new(&args, &id, seed, now())?),
            Protocol::Gbt26875 => Box::new(gbt26875::Gbt26875::new(&args, &id, seed, now())?),
        };
        let line = line::Line::new(Arc::clone(&to), args.udp, Arc::clone(&faults), seed, number);
        lines.spawn(line.run(speaker, own_stop.clone()));
    }
    let limit = Duration::from_secs(args.seconds.unwrap_or(u64::from(u32::MAX)));
    let ending = own_stop.clone();
    let clock = tokio::spawn(async move {
        tokio::time::sleep(limit).await;
        ending.cancel();
    });
    let mut tally = Tally::default();
    while let Some(ended) = lines.join_next().await {
        tally.add(&ended.context("a station ended unexpectedly")?);
    }
    clock.abort();
    let seconds = since.elapsed().as_secs_f64();
    let line = json!({
        "stations": args.stations,
        "seconds": (seconds * 1000.0).round() / 1000.0,
        "reports": tally.n_reports,
        "answered": tally.n_answered,
        "answered_per_second": (tally.n_answered as f64 / seconds).round(),
        "refused_by_the_centre": tally.n_not_taken,
        "sent_again": tally.n_again,
        "requests": tally.n_requests,
        "requests_refused": tally.n_refused,
        "bad_frames_of_the_centre": tally.n_bad,
        "connects": tally.n_connects,
        "given_up": tally.n_given_up,
        "faults": tally.n_faults,
    });
    println!("{line}");
    Ok(())
}

fn now() -> Timestamp {
    Timestamp::from_system(std::time::SystemTime::now())
}

/// The station `number` places behind the first: its last digits count up.
fn nth(first: &str, number: usize, is_hex: bool) -> anyhow::Result<String> {
    let radix = if is_hex { 16 } else { 10 };
    let n_digits = first
        .chars()
        .rev()
        .take_while(|c| c.is_digit(radix))
        .count()
        .min(12);
    let (head, tail) = first.split_at(first.len() - n_digits);
    if number == 0 {
        return Ok(first.to_owned());
    }
    let last = u64::from_str_radix(if tail.is_empty() { "0" } else { tail }, radix)?;
    let last = last + number as u64;
    let tail = match is_hex {
        true => format!("{last:0n_digits$x}"),
        false => format!("{last:0n_digits$}"),
    };
    ensure!(
        n_digits > 0 && tail.len() == n_digits,
        "`{first}` has not digits enough at its end to count stations by"
    );
    Ok(format!("{head}{tail}"))
}

#[cfg(test)]
fn args(protocol: Protocol, id: &str, faults: &str) -> StationArgs {
    StationArgs {
        protocol,
        to: String::new(),
        stations: 1,
        id: id.to_owned(),
        password: None,
        system: "22".to_owned(),
        edition: "2017".to_owned(),
        interval: 30,
        mode: Mode::M2,
        encoding: Encoding::Hex,
        packet_bytes: 512,
        udp: false,
        forgetful: false,
        faults: faults.parse().unwrap_or_default(),
        seed: 1,
        count: None,
        window: 50,
        seconds: None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn stations_count_up_from_the_first() {
        assert_eq!(nth("A110000_0001", 0, false).unwrap(), "A110000_0001");
        assert_eq!(nth("A110000_0001", 12, false).unwrap(), "A110000_0013");
        assert_eq!(nth("00112233ff", 1, true).unwrap(), "0011223400");
        assert!(nth("station", 1, false).is_err());
        assert!(nth("s9", 1, false).is_err());
    }
}
