//! What a script outside did to the messages of its devices, counted by it, equals the gap ledger.

use std::process::Command;

use crate::server::{binary, peer};

#[test]
fn the_gap_ledger_equals_an_outside_count_through_chaos_and_a_kill() {
    let (Some(python), Some(_)) = (peer("python3"), peer("faketime")) else {
        return;
    };
    let done = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/proof/chaos.py"))
        .args(["--devices", "12", "--hours", "2", "--seed", "7"])
        .env("ONEMAP_BIN", binary("onemap").parent().unwrap())
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
}
