//! Runs the city: every station connects by itself and speaks at its cadence.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use onemap_model::Timestamp;
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::geography::Geography;
use super::incident::{SCRIPT_S, Timeline};
use super::plan::City;
use super::register::Register;
use super::station::StationKind;
use super::truck::{self, Truck};
use super::truth::{Truth, incident_line};
use crate::device::{Talker, talk};
use crate::mqtt::Login;
use crate::prng::{Prng, seed_of};

/// Between two readings of the past.
const PAST_EVERY_MS: i64 = 1_800_000;
/// Days of the past of what is not foreseen.
const WEEK: u32 = 7;
/// Stations of rivers and of air, each, that have a past: the first ones.
const N_WITH_PAST: usize = 4;

/// What a run needs to know.
pub struct RunConfig {
    /// HTTP address of the server, `http://host:port`.
    pub server: String,
    /// MQTT address, `host:port`.
    pub mqtt: String,
    /// Bearer token that may register devices and entities.
    pub admin_token: String,
    /// Seed of the city.
    pub seed: u64,
    /// Whether things go wrong.
    pub incidents: bool,
    /// How much faster than the clock the city lives: its day, its incidents and its cadences. Stamps are
    /// the real time all the same.
    pub speed: f64,
    /// Days that some gauges and air stations have measured before the city begins; they are sent at its beginning.
    pub past_days: u32,
    /// Where tokens are kept between runs.
    pub state: Option<PathBuf>,
    /// Where the ground truth goes besides standard output.
    pub truth: Option<PathBuf>,
}

/// The city's clock: real time, and simulated time that runs `speed` times as fast from the same start.
#[derive(Clone, Copy)]
pub struct CityClock {
    started: Instant,
    started_at: SystemTime,
    speed: f64,
}

impl CityClock {
    /// Starts now.
    pub fn start(speed: f64) -> Self {
        Self {
            started: Instant::now(),
            started_at: SystemTime::now(),
            speed,
        }
    }
    /// Simulated seconds since the start.
    pub fn elapsed_s(&self) -> f64 {
        self.started.elapsed().as_secs_f64() * self.speed
    }
    /// Simulated seconds since 1970.
    pub fn simulated_s(&self) -> f64 {
        let start = self
            .started_at
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        start.as_secs_f64() + self.elapsed_s()
    }
    /// The real instant of a simulated second since the start.
    fn instant_of(&self, at_s: f64) -> Instant {
        self.started + Duration::from_secs_f64((at_s / self.speed).max(0.0))
    }
    /// The real time of a simulated second since the start.
    fn time_of(&self, at_s: f64) -> Timestamp {
        Timestamp::from_system(self.started_at + Duration::from_secs_f64((at_s / self.speed).max(0.0)))
    }
}

/// Registers the city and runs it until `stop`.
///
/// # Errors
/// When the server cannot be registered with, or the ground truth cannot be written.
pub async fn run(config: RunConfig, stop: CancellationToken) -> anyhow::Result<()> {
    let city = Arc::new(City::plan(config.seed)?);
    let geography = Geography::load()?;
    let timeline = Arc::new(if config.incidents {
        Timeline::of(&city)
    } else {
        Timeline::quiet(&city)
    });
    let truth = Truth::open(config.truth.as_deref())?;

    let register = Register::open(&config.server, &config.admin_token, config.state.as_deref())?;
    let planned = Arc::clone(&city);
    let (trucks, fences) = truck::trucks(&geography, config.seed);
    let (driving, past_days) = (trucks.clone(), config.past_days);
    let registering = tokio::task::spawn_blocking(move || -> anyhow::Result<Register> {
        let mut register = register;
        let n_features = register.geography()?;
        let stations = planned.stations.iter().map(|s| &s.device);
        let n_devices = register.devices(stations.chain(driving.iter().map(|truck| &truck.device)))?;
        let n_fences = register.fences(&fences)?;
        info!(n_features, n_devices, n_fences, "the city is registered");
        if past_days > 0 {
            let n = past(&planned, past_days, &register)?;
            info!(n, past_days, "what was measured before is sent");
        }
        Ok(register)
    });
    let register = tokio::select! {
        done = registering => Arc::new(Mutex::new(done.context("registering ended badly")??)),
        () = stop.cancelled() => return Ok(()),
    };

    let clock = CityClock::start(config.speed);
    let mut tasks = JoinSet::new();
    for i in 0..city.stations.len() {
        let talker = station(i, &config, &city, &timeline, &register, clock)?;
        tasks.spawn(talk(talker, stop.clone()));
    }
    let n_trucks = trucks.len();
    for truck in trucks {
        tasks.spawn(talk(vehicle(truck, &config, &register, clock)?, stop.clone()));
    }
    truth.line(&json!({
        "event": "ready", "ready": true, "seed": config.seed, "devices": city.stations.len() + n_trucks,
        "incidents": config.incidents, "speed": config.speed, "at": clock.time_of(0.0),
    }))?;
    tell(&truth, &city, &geography, &timeline, clock, &stop).await?;
    while let Some(ended) = tasks.join_next().await {
        ended.context("a station's task ended badly")?;
    }
    Ok(())
}

/// Sends what the first stations of rivers and air have measured in the days before now: their first quantity, which is
/// foreseen, over all of them, the others of the last week. Returns the number of readings.
fn past(city: &City, days: u32, register: &Register) -> anyhow::Result<usize> {
    let now_ms = Timestamp::from_system(SystemTime::now()).ms();
    let newest = now_ms / PAST_EVERY_MS;
    let mut n = 0;
    for kind in [StationKind::River, StationKind::Air] {
        let of_kind = city.stations.iter().filter(|station| station.kind == kind);
        for station in of_kind.take(N_WITH_PAST) {
            for sensor in 0..station.sensors.len() {
                let days = if sensor == 0 { days } else { days.min(WEEK) };
                let oldest = newest - i64::from(days) * 86_400_000 / PAST_EVERY_MS;
                let stamps = (oldest..=newest).map(|step| step * PAST_EVERY_MS);
                let readings = station.said(sensor, stamps);
                register.readings(&station.device.id, &readings)?;
                n += readings.len();
            }
        }
    }
    Ok(n)
}

fn station(
    i: usize,
    config: &RunConfig,
    city: &Arc<City>,
    timeline: &Arc<Timeline>,
    register: &Arc<Mutex<Register>>,
    clock: CityClock,
) -> anyhow::Result<Talker> {
    let device = &city.stations[i].device;
    let token = {
        let register = register.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        register
            .token(&device.id)
            .with_context(|| format!("no token for `{}`", device.id))?
            .to_owned()
    };
    let cadence = Duration::from_secs_f64(f64::from(device.cadence_s) / config.speed);
    let phase = Prng::new(seed_of(&[city.seed, i as u64, 0xfa5e])).between(0.0, 1.0);
    let (city, timeline) = (Arc::clone(city), Arc::clone(timeline));
    let topic = city.stations[i].topic();
    let mut seq = 1;
    let (renewing, renewed) = (Arc::clone(register), device.clone());
    Ok(Talker {
        login: Login {
            server: config.mqtt.clone(),
            client_id: device.id.to_string(),
            token,
            keep_alive: Duration::from_secs(60),
        },
        first: clock.started + cadence.mul_f64(phase),
        every: cadence,
        speak: Box::new(move || {
            let values = timeline.values(&city, i, clock.elapsed_s(), clock.simulated_s())?;
            let stamp = Timestamp::from_system(SystemTime::now());
            let payload = city.stations[i].payload(stamp.ms(), &values, seq);
            seq += values.len() as u64;
            Some((topic.clone(), payload))
        }),
        renew: Box::new(move || {
            let mut register = renewing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            register.renew(&renewed)
        }),
    })
}

fn vehicle(
    truck: Truck,
    config: &RunConfig,
    register: &Arc<Mutex<Register>>,
    clock: CityClock,
) -> anyhow::Result<Talker> {
    let device = truck.device.clone();
    let token = {
        let register = register.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let token = register.token(&device.id);
        token
            .with_context(|| format!("no token for `{}`", device.id))?
            .to_owned()
    };
    let renewing = Arc::clone(register);
    Ok(Talker {
        login: Login {
            server: config.mqtt.clone(),
            client_id: device.id.to_string(),
            token,
            keep_alive: Duration::from_secs(60),
        },
        first: clock.started,
        every: Duration::from_secs(u64::from(truck::CADENCE_S)),
        // A truck drives by the real clock: however fast the city lives, nobody would believe it otherwise.
        speak: Box::new(move || {
            let stamp = Timestamp::from_system(SystemTime::now());
            let payload = truck.payload(stamp.ms(), clock.started.elapsed().as_secs_f64());
            Some(("v1/devices/me/telemetry".to_owned(), payload))
        }),
        renew: Box::new(move || {
            let mut register = renewing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            register.renew(&device)
        }),
    })
}

/// Writes the edges of the incidents as they happen.
async fn tell(
    truth: &Truth,
    city: &City,
    geography: &Geography,
    timeline: &Timeline,
    clock: CityClock,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let mut edges: Vec<_> = timeline
        .incidents()
        .iter()
        .flat_map(|i| [(i.start_s, "incident_start", i), (i.end_s, "incident_end", i)])
        .collect();
    edges.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut round_s = 0.0;
    loop {
        for (at_s, event, incident) in &edges {
            let at_s = round_s + at_s;
            tokio::select! {
                () = tokio::time::sleep_until(clock.instant_of(at_s).into()) => {}
                () = stop.cancelled() => return Ok(()),
            }
            let until = clock.time_of(round_s + incident.end_s);
            let line = incident_line(event, city, geography, incident, clock.time_of(at_s), until);
            if let Err(e) = truth.line(&line) {
                warn!("the ground truth cannot be written any more: {e}");
                stop.cancelled().await;
                return Ok(());
            }
        }
        if edges.is_empty() {
            stop.cancelled().await;
            return Ok(());
        }
        round_s += SCRIPT_S;
    }
}
