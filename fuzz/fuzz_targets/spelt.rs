#![no_main]
//! Any bytes as a stream of each field protocol, told line by line: however it is cut the same lines come, each can be
//! printed, places only go forward, and none lies behind the end.

use libfuzzer_sys::fuzz_target;
use onemap_model::Timestamp;
use onemap_wire::hj212::Key;
use onemap_wire::spelt::{Given, Line, Protocol, Speller};

fn told(protocol: Protocol, parts: &[&[u8]]) -> Vec<Line> {
    let given = Given {
        keys: vec![Key::new([7; 16]), Key::new(*b"0123456789abcdef")],
        ..Given::at(Timestamp::from_ms(1_795_392_000_000))
    };
    let mut speller = Speller::new(protocol, given);
    let mut lines: Vec<Line> = parts.iter().flat_map(|part| speller.push(part)).collect();
    lines.extend(speller.end());
    lines
}

fn texts(lines: &[Line]) -> Vec<String> {
    lines
        .iter()
        .map(|line| serde_json::to_string(line).expect("a line is text and numbers"))
        .collect()
}

fuzz_target!(|data: &[u8]| {
    let Some((first, data)) = data.split_first() else {
        return;
    };
    let cut = usize::from(*first) % (data.len() + 1);
    for protocol in Protocol::ALL {
        let whole = told(protocol, &[data]);
        for line in &whole {
            serde_json::to_string(line).expect("a line is text and numbers");
            assert!(line.at <= data.len() as u64, "{} of {}", line.at, data.len());
            assert_eq!(line.ok, line.error.is_none());
        }
        let cut = told(protocol, &[&data[..cut], &data[cut..]]);
        assert_eq!(texts(&cut), texts(&whole), "{}", protocol.name());
    }
});
