#![no_main]
//! Any bytes before the first NUL as a profile, any behind it as a payload that the profile reads: a profile or
//! its first fault, a message or what is wrong with it, never a panic.

use libfuzzer_sys::fuzz_target;
use onemap_model::ProfileId;
use onemap_wire::Profile;

const NESTED: &str = "version: 1\nname: {zh: a, en: b}\nprotocol: http\ntimestamp: {path: $.a.t, format: '%Y%m%d%H%M%S', zone: '+08:00'}\nkeys:\n  $.a[*].v: {quantity: ph}\n  b.c: {quantity: ph, channel: 9}\n";

fuzz_target!(|data: &[u8]| {
    let at = data.iter().position(|b| *b == 0).unwrap_or(data.len());
    let (text, payload) = data.split_at(at);
    let id = ProfileId::new("p").expect("a name");
    let text = String::from_utf8_lossy(text);
    let payload = payload.get(1..).unwrap_or_default();
    for text in [&*text, NESTED] {
        if let (Ok(profile), Ok(value)) = (Profile::parse(&id, text), serde_json::from_slice(payload)) {
            let _ = profile.read(&value);
        }
    }
});
