//! What decoding one message costs: `cargo run --release -p onemap-wire --example decode_bench`.

use std::hint::black_box;
use std::time::Instant;

use onemap_model::{Frame, Source, Timestamp};
use onemap_wire::decode;

const N_MESSAGES: u32 = 1_000_000;

fn main() {
    let plain = r#"{"temperature":21.5,"humidity":40,"pm2_5":35.25,"pm10":70,"noise_laeq":55.1,"battery":87.5,"co":1}"#;
    let stamped = r#"{"ts":1763856000000,"values":{"temperature":21.5,"humidity":40.25,"pm2_5":35,"pm10":70,"seq":12345}}"#;
    let one = r#"{"ts":1763856000000,"values":{"water_level":1.234}}"#;
    let native = r#"{"epoch":7,"readings":[{"q":"water_level","t":1763856000000,"v":1.23,"s":41},{"q":"flow","t":1763856000000,"v":20.5,"s":41}]}"#;
    let ten = r#"{"temperature":21.5,"humidity":40,"pm2_5":35.25,"pm10":70,"noise_laeq":55.1,"battery":87.5,"co":1,"ph":7,"water_level":1.5,"flow":20}"#;
    let line = "weather,device=a,ch=1 temperature=21.5,humidity=40i 1763856000000000000\n";
    let cbor = {
        let message = onemap_wire::native::decode(native.as_bytes());
        let mut out = Vec::new();
        let samples: Vec<_> = message.samples.iter().collect();
        onemap_wire::native::cbor::encode(message.epoch, &samples, &mut out);
        out
    };
    let text = str::as_bytes;
    for (name, topic, payload) in [
        ("plain, 7 values", "d/a/telemetry", text(plain)),
        ("plain, 10 values", "d/a/telemetry", text(ten)),
        ("stamped, 5 values", "d/a/telemetry", text(stamped)),
        ("stamped, 1 value", "d/a/telemetry", text(one)),
        ("native, 2 readings", "onemap/v1/a/readings", text(native)),
        ("CBOR, 2 readings", "onemap/v1/a/readings", &cbor),
        ("a line, 2 fields", "/api/v2/write?precision=ns", text(line)),
    ] {
        let frame = Frame {
            received_at: Timestamp::from_ms(1_763_856_000_000),
            source: Source::Mqtt,
            refused: None,
            qos: 0,
            retain: false,
            device: "a",
            peer: "[::1]:1",
            topic,
            payload,
        };
        let start = Instant::now();
        for _ in 0..N_MESSAGES {
            black_box(decode(black_box(&frame), None));
        }
        let ns = start.elapsed().as_nanos() / u128::from(N_MESSAGES);
        println!("{name:20} {:4} B  {ns:6} ns a message", payload.len());
    }
}
