#![no_main]
//! A source's file and a call's body, separated by a NUL: read or refused, never a panic.

use libfuzzer_sys::fuzz_target;
use onemap_model::ProfileId;
use onemap_wire::push::Source;

const SOURCE: &str = "version: 1
name: {zh: s, en: s}
check: {kind: onenet}
secret_env: S
list: $.msg.data
device: $.d[0]
time: $.t
payload: {path: $.p, encoding: hex}
";

fuzz_target!(|data: &[u8]| {
    let id = ProfileId::new("fuzz").unwrap();
    let (text, body) = match data.iter().position(|b| *b == 0) {
        Some(at) => (String::from_utf8_lossy(&data[..at]).into_owned(), &data[at + 1..]),
        None => (SOURCE.to_owned(), data),
    };
    if let Ok(source) = Source::parse(&id, &text) {
        for pushed in source.messages(body).into_iter().flatten().flatten() {
            pushed.decode(None);
        }
    }
});
