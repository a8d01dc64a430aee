#![no_main]
//! Any bytes as line protocol: lines in order, each inside the payload, never a panic.

use libfuzzer_sys::fuzz_target;
use onemap_wire::line::{Precision, Reader, decode};

fuzz_target!(|data: &[u8]| {
    let mut reader = Reader::new(data);
    let mut end = 0;
    while let Some((place, _)) = reader.next_line() {
        assert!(place.range.start >= end && place.range.end <= data.len() && !place.range.is_empty());
        end = place.range.end;
    }
    decode(data, Precision::Nanoseconds, None);
});
