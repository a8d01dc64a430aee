#![no_main]
//! What peers send before anybody knows them: certificates, requests for a WebSocket. And an operator's deny
//! list. Never a panic.

use libfuzzer_sys::fuzz_target;
use onemap_ingest::mqtt::{DenyList, Identity, websocket};

fuzz_target!(|data: &[u8]| {
    let Some((first, bytes)) = data.split_first() else { return };
    match first % 3 {
        0 => {
            if let Some(identity) = Identity::read(bytes) {
                assert!(identity.serial.first() != Some(&0));
                assert!(identity.names.iter().all(|name| !name.is_empty()));
            }
        }
        1 => {
            let _ = websocket::judge(bytes, &["https://desk.example".to_owned()]);
        }
        _ => {
            if let Ok(text) = std::str::from_utf8(bytes) {
                let _ = DenyList::parse(text);
            }
        }
    }
});
