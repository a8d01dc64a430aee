//! What decoding and admitting one message costs, with a profile:
//! `cargo run --release -p onemap-ingest --example admit_bench`. Prints one JSON line, CPU nanoseconds.
#![allow(missing_docs)]

use std::hint::black_box;
use std::time::Duration;

use onemap_ingest::admit::{AgeLimits, Arrival, Lane, Watch, admit};
use onemap_model::{Device, DeviceId, Frame, IdError, ProfileId, Source, Timestamp};
use onemap_wire::{Profile, decode};

const N_MESSAGES: u32 = 200_000;
const N_ROUNDS: usize = 5;
const NOW: Timestamp = Timestamp::from_ms(1_795_392_000_000);
const PROFILE: &str = "version: 1
name: {zh: 空气站, en: air station}
protocol: thingsboard
sentinels: [-1]
period: {stamp: end, length: 60s}
future_tolerance: 2min
keys:
  t: {quantity: temperature}
  rh: {quantity: humidity}
  p: {quantity: pressure}
  pm25: {quantity: pm2_5, unit: mg/m3}
  pm10: {quantity: pm10, unit: mg/m3}
  so2: {quantity: so2}
  no2: {quantity: no2}
  o3: {quantity: o3}
  leq: {quantity: noise_laeq}
  bat: {quantity: battery}
";
const TEN: &str = r#"{"ts":1795391990000,"values":{"t":21.5,"rh":40.2,"p":771.4,"pm25":0.035,"pm10":0.081,"so2":12.4,"no2":30.5,"o3":88,"leq":55.1,"bat":87.5}}"#;
const ONE: &str = r#"{"ts":1795391990000,"values":{"t":21.5}}"#;

/// What the kernel has charged to this thread.
fn cpu_of_this_thread() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let ns = text.split(' ').next().and_then(|ns| ns.parse().ok());
    Duration::from_nanos(ns.unwrap_or(0))
}

/// Median over the rounds.
fn measure(mut work: impl FnMut()) -> u64 {
    let mut rounds: Vec<u64> = (0..N_ROUNDS)
        .map(|_| {
            let before = cpu_of_this_thread();
            (0..N_MESSAGES).for_each(|_| work());
            (cpu_of_this_thread() - before).as_nanos() as u64 / u64::from(N_MESSAGES)
        })
        .collect();
    rounds.sort_unstable();
    rounds[N_ROUNDS / 2]
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = device()?;
    let profile = Profile::parse(&ProfileId::new("bench")?, PROFILE)?;
    let frame = |payload: &'static str| Frame {
        received_at: NOW,
        source: Source::Mqtt,
        refused: None,
        qos: 1,
        retain: false,
        device: "bench-1",
        peer: "127.0.0.1:50000",
        topic: "d/bench-1/telemetry",
        payload: payload.as_bytes(),
    };
    let mut watch = Watch::default();
    let mut take = |frame: &Frame<'_>| {
        let message = decode(black_box(frame), Some(&profile));
        let arrival = Arrival {
            device: &device,
            profile: Some(&profile),
            received_at: frame.received_at,
            position: 7,
            lane: Lane::Live,
            ages: AgeLimits::default(),
        };
        admit(message, &arrival, &mut watch)
    };
    for (payload, n) in [(TEN, 10), (ONE, 1)] {
        let admitted = take(&frame(payload));
        assert_eq!(
            (admitted.readings.len(), admitted.refused.len()),
            (n, 0),
            "{admitted:?}"
        );
    }
    let (ten, one) = (frame(TEN), frame(ONE));
    let ten = measure(|| drop(black_box(take(&ten))));
    let one = measure(|| drop(black_box(take(&one))));
    println!(r#"{{"decode_admit_10_ns":{ten},"decode_admit_1_ns":{one}}}"#);
    Ok(())
}

fn device() -> Result<Device, IdError> {
    Ok(Device {
        id: DeviceId::new("bench-1")?,
        name: "bench".into(),
        name_en: String::new(),
        kind: "air_station".into(),
        profile: Some(ProfileId::new("bench")?),
        position: None,
        division: None,
        setting: onemap_model::Setting::Urban,
        gateway: None,
        entity: None,
        state: onemap_model::DeviceState::Active,
        cadence_s: 60,
        department: String::new(),
        maintenance: None,
        is_gateway: false,
        adopts: false,
        demo: false,
    })
}
