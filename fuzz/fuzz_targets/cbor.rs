#![no_main]
//! Any bytes as native readings in CBOR: a message or `broken_cbor`, never a panic, never a large reservation.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let message = onemap_wire::native::decode(data);
    assert!(message.samples.len() + message.refused.len() <= data.len() + 1);
    let _ = onemap_wire::native::cbor::posted(data);
});
