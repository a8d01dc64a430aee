#![no_main]
//! Any bytes as what a ThingsBoard gateway or device says beside telemetry.

use libfuzzer_sys::fuzz_target;
use onemap_wire::thingsboard::attributes::{Claim, Wanted, attributes};
use onemap_wire::thingsboard::gateway::{AttributesRequest, Connect, gateway_rpc_decode, parts};
use onemap_wire::thingsboard::telemetry;

fuzz_target!(|data: &[u8]| {
    for (_, part) in parts(data).into_iter().flatten() {
        telemetry(part.get().as_bytes(), None);
    }
    let _ = (Connect::decode(data), gateway_rpc_decode(data), attributes(data), Wanted::decode(data), Claim::decode(data));
    if let Ok(request) = AttributesRequest::decode(data) {
        request.answer(|_| None);
    }
});
