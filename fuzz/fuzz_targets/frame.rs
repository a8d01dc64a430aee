#![no_main]
//! Any bytes on any topic: a message or named refusals, never a panic.

use libfuzzer_sys::fuzz_target;
use onemap_model::{Frame, Record, Source, Timestamp};

fuzz_target!(|data: &[u8]| {
    let Some((first, payload)) = data.split_first() else { return };
    let topics = [
        "d/x/telemetry",
        "d/x/attributes",
        "onemap/v1/x/readings",
        "/api/v1/readings",
        "/api/v2/write?precision=s",
        "d/x/other",
    ];
    let frame = Frame {
        received_at: Timestamp::from_ms(1_763_856_000_000),
        source: Source::Mqtt,
        refused: None,
        qos: 0,
        retain: false,
        device: "x",
        peer: "p",
        topic: topics[usize::from(*first) % topics.len()],
        payload,
    };
    let message = onemap_wire::decode(&frame, None);
    for sample in &message.samples {
        assert!(sample.value.number().is_none_or(f64::is_finite));
    }
    let _ = Record::decode(*first, payload);
});
