//! The running server reads its history again and tells of a row that is not as it was written.

use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use onemap_store::history::{History, HistoryConfig, Restore};
use serde_json::{Value, json};

use crate::server::{CONFIG, Server, binary, wait_for};

const SOON: Duration = Duration::from_secs(30);

/// Makes the history of a folder anew, row by row as it was, but for one bit of a chunk.
pub fn flip_a_bit(dir: &Path) {
    let whole = History::open(&dir.join("history"), HistoryConfig::default()).unwrap();
    let copy = whole.copy().unwrap();
    let damaged = Restore::begin(&dir.join("damaged")).unwrap();
    for name in copy.keyspaces() {
        let mut rows = Vec::new();
        copy.write(&name, &mut rows, &mut |_| ControlFlow::Continue(()))
            .unwrap();
        if name.starts_with('c') {
            // Magic and version, two lengths, a key of 16 bytes; behind them is the first row.
            rows[12 + 8 + 16 + 40] ^= 0x10;
        }
        damaged.take(&name, &mut rows.as_slice()).unwrap();
    }
    damaged.finish().unwrap();
    drop(copy);
    drop(whole);
    std::fs::rename(dir.join("history"), dir.join("whole")).unwrap();
    std::fs::rename(dir.join("damaged"), dir.join("history")).unwrap();
}

fn stat(dir: &Path, form: &[&str]) -> String {
    let output = Command::new(binary("onemap"))
        .arg("--data-dir")
        .arg(dir)
        .args(["history", "stat"])
        .args(form)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_flipped_bit_is_found_by_the_running_server() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    std::fs::create_dir(dir.join("rules")).unwrap();
    std::fs::write(dir.join("onemap.toml"), format!("{CONFIG}scrub_days = 0\n")).unwrap();
    let mut server = Server::start_in(dir);
    server.add_device("air-1", &json!({}));
    let start = onemap_model::Timestamp::from_system(std::time::SystemTime::now()).ms() - 600_000;
    let readings: Vec<Value> = (0..500)
        .map(|i| json!({"q": "pm10", "t": start + i * 1000, "v": (i * 37 % 101) as f64 / 10.0}))
        .collect();
    server.post(
        "/api/v1/readings",
        &json!({"device": "air-1", "readings": readings}),
    );
    server.caught_up();
    assert_eq!(server.metric("onemap_history_scrub_ended_seconds"), None);
    server.stop();
    flip_a_bit(dir);

    std::fs::write(dir.join("onemap.toml"), CONFIG).unwrap();
    let server = Server::start_in(dir);
    wait_for("the damaged row", SOON, || {
        (server.metric("onemap_history_damaged_rows") == Some(1)).then_some(())
    });
    assert!(server.metric("onemap_history_scrub_ended_seconds") > Some(1_700_000_000));
    let told: Value = serde_json::from_str(&stat(dir, &["--json"])).unwrap();
    let fault = &told["scrub"]["faults"][0];
    assert_eq!(told["scrub"]["n_faults"], 1, "{told}");
    assert_eq!(fault["series"], "air-1/pm10/0");
    assert_eq!(fault["what"], "its checksum does not fit");
    assert!(stat(dir, &[]).contains("its checksum does not fit"));
}
