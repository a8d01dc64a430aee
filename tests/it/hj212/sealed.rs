//! Stations that encrypt (HJ 212-2025): what comes is read with the keys of a file, what goes down is encrypted with them,
//! and a key that is wrong or missing loses nothing.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use onemap_wire::hj212::{self, Answered, Framer, Key, Piece, QnRtn, Segment, stamp};
use serde_json::{Value, json};

use super::intake::hour;
use super::station::{LIMIT, PW, Station, address, frame, register, says};
use crate::server::{CONFIG, Server, binary, wait_for};

const MN: &str = "S2025";
const KEY: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";
const FORMER: &str = "former-key-16-by";

fn write_keys(dir: &Path, text: &str) {
    let file = dir.join("keys.toml");
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn folder(keys: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("rules")).unwrap();
    let config = format!("{CONFIG}[hj212]\nlisten = \"127.0.0.1:0\"\nkeys_file = \"keys.toml\"\n");
    std::fs::write(folder.path().join("onemap.toml"), config).unwrap();
    write_keys(folder.path(), keys);
    folder
}

/// An hour's data, encrypted.
fn sealed(key: &str, qn: &str, hours_back: i64, value: f64) -> Vec<u8> {
    let at = stamp::written(hour(hours_back));
    // As long as a frame may be: more than is kept of what is refused for other reasons.
    let filler: String = [
        "a34002", "a34001", "a21026", "a21004", "a21005", "a05024", "a21002", "a01001", "a01002", "a01007",
        "a01008", "a19001",
    ]
    .map(|factor| format!(";{factor}-Avg=10.500,{factor}-Min=10.100,{factor}-Max=10.900,{factor}-Flag=N"))
    .concat();
    let text = format!(
        "QN={qn};ST=22;CN=2061;PW={PW};MN={MN};Flag=9;CP=&&DataTime={at};a34004-Avg={value:.1},a34004-Flag=N{filler}&&"
    );
    let segment = Segment::parse(text.as_bytes()).unwrap();
    let bytes = hj212::encode_sealed(&segment, &Key::parse(key).unwrap()).unwrap();
    assert!(bytes.len() > 4096, "{}", bytes.len());
    bytes
}

fn answered(station: &mut Station) -> Answered {
    Answered::of(&station.next()).unwrap().1
}

fn quarantined(server: &Server, reason: &str) -> Vec<Value> {
    server.caught_up();
    let entries = server.get(&format!("/api/v1/quarantine?reason={reason}&limit=100"));
    entries["items"].as_array().unwrap().clone()
}

fn value(server: &Server) -> Option<f64> {
    server.caught_up();
    server
        .latest(MN, "pm2_5")
        .and_then(|latest| latest["value"].as_f64())
}

fn readmit(server: &Server, reason: &str) -> Value {
    let order = json!({"reason": reason, "note": "the key was given"});
    server.post("/api/v1/quarantine/readmit", &order)
}

#[test]
fn a_key_that_comes_later_opens_what_was_kept_and_a_wrong_one_is_told() {
    let folder = folder("OTHER = \"0123456789abcdef\"\n");
    let server = Server::start_in(folder.path());
    register(&server, MN);
    let mut station = Station::connect(&server);

    // Without a key it is kept: answered, and told by name.
    station.send(&sealed(KEY, "20261126080000001", 4, 11.0));
    assert_eq!(answered(&mut station), Answered::Data);
    let entries = quarantined(&server, "no_key");
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!(value(&server), None);

    // With another one it is refused as a wrong CRC is; whole, for a key that may come.
    write_keys(folder.path(), &format!("{MN} = \"{FORMER}\"\n"));
    let wrong = sealed(KEY, "20261126080000002", 3, 22.0);
    wait_for("the file to be read", LIMIT, || {
        station.send(&wrong);
        (answered(&mut station) == Answered::Request(Some(QnRtn::WrongCrc))).then_some(())
    });
    // One that was answered before the file was read may have met it on its way through.
    let entries = quarantined(&server, "wrong_key");
    assert!(!entries.is_empty());
    for entry in &entries {
        assert!(
            entry["detail"].as_str().unwrap().contains("crc_mismatch"),
            "{entries:?}"
        );
    }
    assert_eq!(
        server.metric("onemap_refused_total{reason=\"wrong_key\"}"),
        Some(entries.len() as u64)
    );
    // One of the former key is read meanwhile.
    station.send(&sealed(FORMER, "20261126080000003", 2, 33.0));
    assert_eq!(answered(&mut station), Answered::Data);
    wait_for("the former key's reading", LIMIT, || {
        (value(&server) == Some(33.0)).then_some(())
    });

    // A file that others may read changes nothing.
    let file = folder.path().join("keys.toml");
    std::fs::write(&file, format!("{MN} = [\"{KEY}\", \"{FORMER}\"]\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let hup = Command::new("kill")
        .arg("-HUP")
        .arg(server.process.child.id().to_string())
        .status();
    assert!(hup.unwrap().success());
    std::thread::sleep(Duration::from_millis(100));
    station.send(&sealed(FORMER, "20261126080000004", 2, 33.0));
    assert_eq!(answered(&mut station), Answered::Data);

    // Now both: what waits comes back, each of its own hour.
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    wait_for("both keys", LIMIT, || {
        station.send(&sealed(KEY, "20261126080000005", 1, 44.0));
        (answered(&mut station) == Answered::Data).then_some(())
    });
    wait_for("the reading of the new key", LIMIT, || {
        (value(&server) == Some(44.0)).then_some(())
    });
    for reason in ["no_key", "wrong_key"] {
        let done = readmit(&server, reason);
        let first = &done["items"][0];
        assert_eq!(first["settled"]["reason"], Value::Null, "{reason}: {first}");
    }
    let series = server.get(&format!("/api/v1/series?device={MN}&quantity=pm2_5"));
    let rows = server.get(&format!(
        "/api/v1/series/{}/values?from={}&to={}",
        series["items"][0]["id"],
        hour(6),
        hour(-1)
    ));
    let values = rows.to_string();
    for kept in ["11.0", "22.0", "33.0", "44.0"] {
        assert!(values.contains(kept), "{kept}: {values}");
    }

    // What goes down is encrypted with the key that the station used last.
    let order = json!({"device": MN, "method": "history_hours",
        "params": {"begin": "20261126000000", "end": "20261126010000"}});
    server.post("/api/v1/commands", &order);
    let down = first_frame(&mut station);
    assert!(down.sealed);
    assert_eq!(
        hj212::decode(&down, Some(&Key::parse(FORMER).unwrap())).map_err(|e| e.code()),
        Err("crc_mismatch")
    );
    let plain = hj212::decode(&down, Some(&Key::parse(KEY).unwrap())).unwrap();
    assert_eq!(plain.cp_value("BeginTime"), Some("20261126000000"));
    // A command outside the standard's list goes as it is.
    let done = frame(&format!(
        "QN={};ST=91;CN=9011;PW={PW};MN={MN};Flag=8;CP=&&QnRtn=2&&",
        plain.qn()
    ));
    station.send(&done);
    server.post("/api/v1/commands", &json!({"device": MN, "method": "read_clock"}));
    let down = first_frame(&mut station);
    assert!(!down.sealed && hj212::decode(&down, None).unwrap().cn() == "1011");
    // A plain station beside it is not harmed.
    register(&server, "PLAIN");
    let mut plain = Station::connect(&server);
    plain.send(&says("PLAIN", "1", "2011", "5", ""));
    assert_eq!(plain.next().cn(), "9014");

    // Neither key stands anywhere in the data folder but in its own file.
    drop(server);
    for path in files(folder.path()) {
        if path.ends_with("keys.toml") {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        for secret in [KEY, FORMER] {
            let is_there = bytes
                .windows(secret.len())
                .any(|window| window == secret.as_bytes());
            assert!(!is_there, "{} holds a key", path.display());
        }
    }
}

fn first_frame(station: &mut Station) -> hj212::Frame {
    use std::io::Read as _;
    let mut framer = Framer::default();
    let mut bytes = [0; 4096];
    wait_for("a frame from the centre", LIMIT, || {
        let n = station.socket.read(&mut bytes).unwrap_or(0);
        framer
            .push(&bytes[..n])
            .into_iter()
            .find_map(|piece| match piece {
                Piece::Frame { frame, .. } => Some(frame),
                Piece::Fault(_) => None,
            })
    })
}

pub fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .collect()
}

#[test]
fn a_file_that_others_may_read_keeps_the_server_from_starting() {
    let folder = folder("");
    let file = folder.path().join("keys.toml");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    let run = |command: &str| {
        let output = Command::new(binary("onemap"))
            .arg("--data-dir")
            .arg(folder.path())
            .arg("--config")
            .arg(folder.path().join("onemap.toml"))
            .arg(command)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    };
    for command in ["serve", "check"] {
        let (is_well, text) = run(command);
        assert!(
            !is_well && text.contains("[hj212] keys_file: others may read"),
            "{command}: {text}"
        );
    }
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(run("check").0);
    let server = Server::start_in(folder.path());
    assert!(!address(&server.dir).is_empty());
}
