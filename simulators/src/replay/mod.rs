//! Publishes a recorded series as if its devices spoke now.
//!
//! A recording is a CSV file (see [`recording`]) and beside it `NAME.devices.json` with the devices that
//! speak. Three ways to stamp: as recorded; shifted by whole days so that the recording reaches into the
//! present (`--shift-to-now`); with the time of sending (`--restamp`).

mod player;
pub mod recording;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};
use onemap_model::{Device, Timestamp};
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::city::register::Register;
use crate::mqtt::Login;
use player::{Cue, play};
use recording::{Moment, Recording};

const DAY_MS: i64 = 86_400_000;

/// What to play and how.
#[derive(clap::Args, Clone, Debug)]
pub struct ReplayArgs {
    /// Recording: `time,device,quantity,value[,ch]`, or `time` and columns named device/quantity[/ch]
    pub file: PathBuf,
    /// Devices of the recording, JSON list; by default NAME.devices.json beside it
    #[arg(long)]
    pub devices: Option<PathBuf>,
    /// Shift by whole days so that the recording reaches the present: what then lies in the past is sent
    /// at once, the rest when its time comes
    #[arg(long, conflicts_with = "restamp")]
    pub shift_to_now: bool,
    /// Stamp each message with the moment it is sent
    #[arg(long)]
    pub restamp: bool,
    /// Pace: 1 is as recorded, 60 an hour in a minute, 0 as fast as the server takes it.
    /// Not with --shift-to-now, whose pace is the clock's
    #[arg(long, conflicts_with = "shift_to_now")]
    pub speed: Option<f64>,
    /// With --shift-to-now: end when the past is sent
    #[arg(long, requires = "shift_to_now")]
    pub past_only: bool,
}

/// The server that is played to.
pub struct Target {
    /// HTTP address.
    pub server: String,
    /// MQTT address.
    pub mqtt: String,
    /// Bearer token that may register devices.
    pub admin_token: String,
    /// Where device tokens are kept.
    pub state: Option<PathBuf>,
}

/// The whole days, in ms, that bring `last` to `now` or less than a day past it.
fn shift_ms(last: Timestamp, now: Timestamp) -> i64 {
    let behind = now - last;
    (behind.div_euclid(DAY_MS) + i64::from(behind.rem_euclid(DAY_MS) > 0)) * DAY_MS
}

/// When each moment is sent (milliseconds after `now`; negative is at once) and how it is stamped.
fn schedule(args: &ReplayArgs, moments: &[Moment], now: Timestamp) -> Vec<(i64, Option<Timestamp>)> {
    let (Some(first), Some(last)) = (moments.first(), moments.last()) else {
        return Vec::new();
    };
    let shift = if args.shift_to_now {
        shift_ms(last.at, now)
    } else {
        0
    };
    let speed = args.speed.unwrap_or(1.0);
    moments
        .iter()
        .map(|moment| {
            let stamp = Timestamp::from_ms(moment.at.ms() + shift);
            let wait = match (args.shift_to_now, speed) {
                (true, _) => stamp - now,
                (false, 0.0) => 0,
                (false, speed) => ((moment.at - first.at) as f64 / speed) as i64,
            };
            (wait, (!args.restamp).then_some(stamp))
        })
        .collect()
}

/// Registers the recording's devices and plays it until its end or `stop`.
///
/// # Errors
/// When a file is not as it should be or the server cannot be registered with.
pub async fn run(args: ReplayArgs, target: Target, stop: CancellationToken) -> anyhow::Result<()> {
    ensure!(
        args.speed.is_none_or(|s| s >= 0.0 && s.is_finite()),
        "--speed may not be negative"
    );
    let text = std::fs::read_to_string(&args.file)
        .with_context(|| format!("cannot read `{}`", args.file.display()))?;
    let recording = Recording::parse(&text).with_context(|| format!("`{}`", args.file.display()))?;
    let devices = devices(&args)?;
    for moment in &recording.moments {
        ensure!(
            devices.iter().any(|d| d.id == moment.device),
            "the list of devices lacks `{}`",
            moment.device
        );
    }
    let mut register = Register::open(&target.server, &target.admin_token, target.state.as_deref())?;
    let wanted = devices.clone();
    let registering = tokio::task::spawn_blocking(move || register.devices(wanted.iter()).map(|_| register));
    let register = tokio::select! {
        done = registering => done.context("registering ended badly")??,
        () = stop.cancelled() => return Ok(()),
    };

    let started = tokio::time::Instant::now();
    let now = Timestamp::from_system(SystemTime::now());
    let times = schedule(&args, &recording.moments, now);
    let mut n_messages = 0;
    let mut tasks = JoinSet::new();
    for device in &devices {
        let cues: Vec<Cue> = recording
            .moments
            .iter()
            .zip(&times)
            .filter(|(moment, (wait, _))| moment.device == device.id && !(args.past_only && *wait > 0))
            .map(|(moment, (wait, stamp))| Cue {
                due: started + Duration::from_millis(u64::try_from(*wait).unwrap_or(0)),
                stamp: *stamp,
                values: moment.values.clone(),
            })
            .collect();
        n_messages += cues.len();
        let token = register
            .token(&device.id)
            .with_context(|| format!("no token for `{}`", device.id))?
            .to_owned();
        let login = Login {
            server: target.mqtt.clone(),
            client_id: device.id.to_string(),
            token,
            keep_alive: Duration::from_secs(60),
        };
        tasks.spawn(play(login, cues, stop.clone()));
    }
    let in_past = times.iter().filter(|(wait, _)| *wait <= 0).count();
    println!(
        "{}",
        json!({ "event": "ready", "ready": true, "devices": devices.len(), "messages": n_messages, "at_once": in_past })
    );
    let mut n_acknowledged = 0;
    while let Some(done) = tasks.join_next().await {
        n_acknowledged += done.context("a device's task ended badly")??;
    }
    println!(
        "{}",
        json!({ "event": "end", "messages": n_messages, "acknowledged": n_acknowledged })
    );
    Ok(())
}

fn devices(args: &ReplayArgs) -> anyhow::Result<Vec<Device>> {
    let beside = |file: &Path| file.with_extension("devices.json");
    let path = args.devices.clone().unwrap_or_else(|| beside(&args.file));
    let bytes = std::fs::read(&path)
        .with_context(|| format!("cannot read the recording's devices, `{}`", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("`{}` is not a list of devices", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn args(text: &[&str]) -> ReplayArgs {
        #[derive(clap::Parser)]
        struct Cli {
            #[command(flatten)]
            args: ReplayArgs,
        }
        let line = ["sim", "x.csv"].iter().chain(text);
        <Cli as clap::Parser>::try_parse_from(line).unwrap().args
    }

    const TWO_DAYS: &str = "time,device,quantity,value
2013-03-01T00:00:00+08:00,a,pm2_5,4
2013-03-01T12:00:00+08:00,a,pm2_5,5
2013-03-02T23:00:00+08:00,a,pm2_5,6
";

    #[test]
    fn a_shift_keeps_the_time_of_day_and_reaches_the_present() {
        let now = Timestamp::parse("2026-11-23T10:30:00+08:00").unwrap();
        let moments = Recording::parse(TWO_DAYS).unwrap().moments;
        let times = schedule(&args(&["--shift-to-now"]), &moments, now);
        let stamps: Vec<_> = times.iter().map(|t| t.1.unwrap().to_string()).collect();
        assert_eq!(
            stamps,
            [
                "2026-11-22T00:00:00+08:00",
                "2026-11-22T12:00:00+08:00",
                "2026-11-23T23:00:00+08:00"
            ]
        );
        assert!(times[1].0 < 0, "yesterday noon is sent at once");
        assert_eq!(
            times[2].0,
            12 * 3_600_000 + 1_800_000,
            "tonight's value is sent tonight"
        );
    }

    #[test]
    fn pace_follows_the_recording() {
        let now = Timestamp::parse("2026-11-23T10:30:00+08:00").unwrap();
        let moments = Recording::parse(TWO_DAYS).unwrap().moments;
        let waits = |text: &[&str]| {
            schedule(&args(text), &moments, now)
                .iter()
                .map(|t| t.0)
                .collect::<Vec<_>>()
        };
        assert_eq!(waits(&[])[..2], [0, 12 * 3_600_000]);
        assert_eq!(waits(&["--speed", "3600"])[..2], [0, 12_000]);
        assert_eq!(waits(&["--speed", "0"]), [0, 0, 0]);
        assert_eq!(schedule(&args(&["--restamp"]), &moments, now)[1].1, None);
        let recorded = schedule(&args(&[]), &moments, now)[0].1.unwrap();
        assert_eq!(recorded.to_string(), "2013-03-01T00:00:00+08:00");
    }

    #[test]
    fn a_recording_that_ends_now_is_not_shifted_further() {
        let t = |text| Timestamp::parse(text).unwrap();
        assert_eq!(
            shift_ms(t("2026-11-22T08:00:00Z"), t("2026-11-23T08:00:00Z")),
            DAY_MS
        );
        assert_eq!(shift_ms(t("2026-11-23T09:00:00Z"), t("2026-11-23T08:00:00Z")), 0);
    }
}
