//! How many observations a second one core judges: a million series, ten thousand rules, of which one looks at each series.
//!
//! The pace is by processor time, so that a busy machine does not blur it.
//!
//! `cargo run --release -p onemap-rules --example evaluations`

use std::sync::Arc;
use std::time::{Duration, Instant};

use onemap_model::{DeviceId, Observation, Quality, Quantity, Reading, SeriesKey, Timestamp, Value};
use onemap_rules::{Engine, RuleSet};

const N_DEVICES: usize = 200_000;
const QUANTITIES: [&str; 5] = ["pm2_5", "pm10", "no2", "o3", "co"];
const N_SERIES: usize = N_DEVICES * QUANTITIES.len();
/// Kinds of devices; each has a rule of its own for each quantity.
const N_KINDS: usize = 2_000;
/// A file has at most 256 KiB.
const N_KINDS_OF_FILE: usize = 200;
const N_EVALUATIONS: usize = 4_000_000;
/// Readings of one second.
const N_A_SECOND: usize = 20_000;

/// The rules of some kinds from one on.
fn file(first: usize) -> String {
    let mut rules = String::from("version: 1\nrules:\n");
    for kind in first..first + N_KINDS_OF_FILE {
        for name in QUANTITIES {
            let unit = if name == "co" { "mg/m3" } else { "ug/m3" };
            let id = format!("{}-{kind}", name.replace('_', "-"));
            rules += &format!(
                "  - {{id: {id}, name: {{zh: 一, en: one}}, applies_to: {{kind: kind-{kind}}}, severity: minor, advice: \
                 {{zh: 看, en: look}}, for: 30 s, when: {{above: {{quantity: {name}, raise: 90 {unit}, clear: 80 {unit}}}}}}}\n"
            );
        }
    }
    rules
}

fn main() {
    let mut engine = Engine::new();
    let mut now = Timestamp::from_ms(1_795_363_200_000);
    for first in (0..N_KINDS).step_by(N_KINDS_OF_FILE) {
        let name = format!("bench-{first}");
        let rules = RuleSet::parse(&name, &file(first)).expect("the bench's own rules are sound");
        engine.set_file(now, 1, &name, Some(rules));
    }

    let quantities = QUANTITIES.map(|name| Quantity::named(name).expect("in the dictionary"));
    let devices: Vec<DeviceId> = (0..N_DEVICES)
        .map(|i| DeviceId::new(&format!("station-{i:06}")).expect("letters, digits and a hyphen"))
        .collect();
    let kinds: Vec<Arc<str>> = (0..N_KINDS).map(|i| format!("kind-{i}").into()).collect();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let mut seen = Observation {
        every_s: 0,
        reading: Reading {
            series: SeriesKey {
                device: devices[0].clone(),
                quantity: quantities[0],
                channel: 0,
            },
            measured_at: now,
            period: Duration::ZERO,
            received_at: now,
            value: Value::Number(0.0),
            quality: Quality::GOOD,
            position: 1,
        },
        kind: Arc::clone(&kinds[0]),
        division: None,
    };
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let pages: usize = status.split(' ').nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
        pages * 4096
    };

    // Time on a processor in nanoseconds, the first field.
    let processor_ns = || {
        let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        let spent = stat.split(' ').next().and_then(|n| n.parse::<u64>().ok());
        spent.expect("Linux says how long a thread has run")
    };

    let before = resident();
    let started = processor_ns();
    for (i, device) in devices.iter().enumerate() {
        seen.kind.clone_from(&kinds[i % N_KINDS]);
        for quantity in quantities {
            seen.reading.series = SeriesKey {
                device: device.clone(),
                quantity,
                channel: 0,
            };
            seen.reading.value = Value::Number(50.0);
            seen.reading.position += 1;
            engine.observe(now, &seen);
        }
    }
    let bytes = (resident() - before) / N_SERIES;
    println!(
        "bind      {N_SERIES} series to {} rules in {:.2} s, {bytes} bytes each",
        engine.rules().count(),
        (processor_ns() - started) as f64 / 1e9
    );

    for (case, beyond) in [("one in a thousand beyond", 1), ("one in sixteen beyond", 64)] {
        let (mut n_transitions, mut took_ns) = (0, 0);
        for _ in 0..N_EVALUATIONS / N_A_SECOND {
            now = now + Duration::from_secs(1);
            let batch: Vec<Observation> = (0..N_A_SECOND)
                .map(|_| {
                    let random = next();
                    let device = (random % N_DEVICES as u64) as usize;
                    seen.reading.series.device.clone_from(&devices[device]);
                    seen.kind.clone_from(&kinds[device % N_KINDS]);
                    seen.reading.series.quantity = quantities[(random >> 40) as usize % quantities.len()];
                    let high = (random >> 20) % 1024 < beyond;
                    seen.reading.value = Value::Number(if high { 95.0 } else { (random >> 50 & 63) as f64 });
                    seen.reading.position += 1;
                    seen.reading.measured_at = now;
                    seen.clone()
                })
                .collect();
            let started = processor_ns();
            n_transitions += engine.observe_all(now, &batch).len();
            took_ns += processor_ns() - started;
        }
        println!(
            "judge     {:.2} M evaluations/s of processor time over random series, {case} ({n_transitions} transitions)",
            N_EVALUATIONS as f64 * 1e3 / took_ns as f64
        );
    }

    let started = Instant::now();
    let snapshot = engine.snapshot();
    let wrote = started.elapsed();
    let restored = Engine::restore(&snapshot).expect("an own snapshot restores");
    println!(
        "snapshot  {} MB, written in {:.2} s, restored in {:.2} s",
        snapshot.len() / 1_000_000,
        wrote.as_secs_f64(),
        (started.elapsed() - wrote).as_secs_f64()
    );
    assert_eq!(restored.size(), engine.size());
}
