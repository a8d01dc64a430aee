//! Measures the register and the ledger: `cargo run --release -p onemap-store --example register_bench [DIR]`.
//!
//! Prints one JSON line per figure. With a folder the files stay there; else they go with a temporary one.

use std::path::PathBuf;
use std::time::Instant;

use onemap_model::alert::Input;
use onemap_model::record::Register as Change;
use onemap_model::{
    DeviceId, Edge, Quantity, Refusal, RuleId, SeriesKey, Severity, Source, Timestamp, Transition,
};
use onemap_store::ledger::{Ledger, LedgerBatch, LedgerReader, QuarantineEntry};
use onemap_store::register::{Register, import};

/// Entities of one import.
const N_ENTITIES: u64 = 20_000;
/// Batches written to the ledger, each with an fsync, and what stands in one.
const N_BATCHES: u64 = 200;
const N_TRANSITIONS: u64 = 20;
const N_QUARANTINED: u64 = 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let temporary = tempfile::tempdir()?;
    let dir = std::env::args_os()
        .nth(1)
        .map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    register(&dir)?;
    ledger(&dir)
}

fn register(dir: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
    let mut text = String::from("编码,名称,经度,纬度,状态\n");
    for i in 0..N_ENTITIES {
        let (x, y) = (i % 200, i / 200);
        let (lon, lat) = (101.7 + x as f64 * 0.001, 36.5 + y as f64 * 0.001);
        text.push_str(&format!("63010201001{i:06},供水井盖 {i},{lon},{lat},完好\n"));
    }
    let mapping = import::Mapping {
        kind: Some(onemap_model::EntityKind::Component),
        ..import::Mapping::default()
    };
    let began = Instant::now();
    let entities = import::import_csv(&text, &mapping).collect::<Result<Vec<_>, _>>()?;
    report("import_csv_us_per_entity", began, N_ENTITIES);
    let mut register = Register::open(&dir.join("register.gpkg"))?;
    let began = Instant::now();
    for (entity, position) in entities.into_iter().zip(register.cursor() + 1..) {
        let entity = Box::new(entity);
        register.apply(position, Timestamp::from_ms(0), &Change::Entity { entity })?;
    }
    register.commit(register.cursor() + N_ENTITIES)?;
    report("register_commit_us_per_entity", began, N_ENTITIES);
    let began = Instant::now();
    let view = register.load()?;
    report("register_load_us_per_entity", began, view.entities.len() as u64);
    Ok(())
}

fn ledger(dir: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
    let path = dir.join("ledger.sqlite");
    let mut ledger = Ledger::open(&path)?;
    let series = SeriesKey {
        device: DeviceId::new("air-1")?,
        quantity: Quantity::named("pm10").ok_or("pm10 is in the dictionary")?,
        channel: 0,
    };
    let rule = RuleId::new("pm10-dust")?;
    let began = Instant::now();
    for _ in 0..N_BATCHES {
        let from = ledger.cursor();
        let cursor = from + N_TRANSITIONS + N_QUARANTINED;
        let transitions = (from + 1..=from + N_TRANSITIONS).map(|position| Transition {
            id: Transition::id_of(&rule, "0badcafe", &series, position, Edge::Raised),
            alert: Transition::alert_of(&rule, &series, position),
            edge: Edge::Raised,
            at: Timestamp::from_ms(position as i64),
            position,
            rule: rule.clone(),
            rule_version: "0badcafe".into(),
            series: series.clone(),
            severity: Severity::Major,
            division: None,
            inputs: vec![Input {
                position,
                measured_at: Timestamp::from_ms(position as i64),
                value: 612.0,
                of: None,
            }],
            message_zh: "PM10 高于 250 µg/m³".into(),
            message_en: "PM10 above 250 µg/m³".into(),
            act: None,
            drill: None,
            past: None,
        });
        let quarantine = (from + N_TRANSITIONS + 1..=cursor).map(|position| QuarantineEntry {
            position,
            ordinal: 0,
            at: Timestamp::from_ms(position as i64),
            reason: Refusal::BrokenJson,
            source: Source::Mqtt,
            device: "air-1".into(),
            peer: "[::1]:1883".into(),
            topic: "d/air-1/telemetry".into(),
            detail: "expected value at line 1".into(),
            payload: vec![b'x'; 200],
        });
        let batch = LedgerBatch {
            cursor,
            transitions: transitions.collect(),
            quarantine: quarantine.collect(),
            ..LedgerBatch::default()
        };
        ledger.write(&batch)?;
    }
    report("ledger_batch_us", began, N_BATCHES);
    let reader = LedgerReader::open(&path)?;
    let began = Instant::now();
    let n = reader.all_transitions()?.len() as u64;
    report("ledger_read_us_per_transition", began, n);
    let began = Instant::now();
    reader.transitions_digest()?;
    report("ledger_digest_us_per_transition", began, n);
    Ok(())
}

fn report(figure: &str, began: Instant, n: u64) {
    let each = began.elapsed().as_secs_f64() * 1e6 / n.max(1) as f64;
    println!("{{\"figure\":\"{figure}\",\"value\":{each:.2},\"n\":{n}}}");
}
