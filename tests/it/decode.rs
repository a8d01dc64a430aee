//! `onemap decode`: every published frame through the command line, streams, keys and wrong use.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::server::{CONFIG, Server, binary, wait_for};

struct Decoded {
    code: i32,
    lines: Vec<Value>,
    said: String,
}

impl Decoded {
    fn errors(&self) -> Vec<(&str, u64)> {
        let faults = self.lines.iter().filter(|line| line["ok"] == false);
        faults
            .map(|line| (line["error"].as_str().unwrap(), line["at"].as_u64().unwrap()))
            .collect()
    }
    fn readings(&self) -> Vec<&Value> {
        let all = self.lines.iter().flat_map(|line| line["readings"].as_array());
        all.flatten().collect()
    }
}

fn decode(arguments: &[&str], input: &[u8]) -> Decoded {
    let mut child = Command::new(binary("onemap"))
        .arg("decode")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // A command that refuses its arguments does not read.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    Decoded {
        code: output.status.code().unwrap(),
        lines: lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
        said: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A file of ../shared/standards/vectors; `None`, said aloud, when it is not there.
fn vectors(name: &str) -> Option<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../shared/standards/vectors")
        .join(name);
    match std::fs::read(&path) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).unwrap()),
        Err(error) => {
            eprintln!("SKIPPED: {}: {error}", path.display());
            None
        }
    }
}

fn each<'a>(vectors: &'a Value, lists: &'a [&str]) -> impl Iterator<Item = &'a Value> {
    lists.iter().flat_map(|list| vectors[*list].as_array().unwrap())
}

/// Every member of `want` is in `got` with the same value; `got` may say more.
fn holds(got: &Value, want: &Value, at: &str) {
    match (got, want) {
        (Value::Object(got), Value::Object(want)) => {
            for (key, want) in want {
                let got = got.get(key).unwrap_or_else(|| panic!("{at} lacks {key}"));
                holds(got, want, &format!("{at}.{key}"));
            }
        }
        (Value::Array(got), Value::Array(want)) => {
            assert_eq!(got.len(), want.len(), "{at}");
            for (i, (got, want)) in got.iter().zip(want).enumerate() {
                holds(got, want, &format!("{at}[{i}]"));
            }
        }
        // The vectors add a remark to the name of an edition.
        (Value::String(got), Value::String(want)) if at.ends_with(".version") => {
            assert!(want.starts_with(got.as_str()), "{at}: {got}, not {want}");
        }
        _ => assert_eq!(got, want, "{at}"),
    }
}

#[test]
fn published_frames_of_hj212_mean_what_is_written_down_and_bad_ones_are_refused() {
    let Some(file) = vectors("hj212.json") else { return };
    for vector in each(&file, &["positive"]) {
        let id = vector["id"].as_str().unwrap();
        let text = vector["frame"].as_str().unwrap();
        let decoded = decode(&["hj212"], text.as_bytes());
        assert_eq!(
            (decoded.code, decoded.lines.len()),
            (0, 1),
            "{id}: {:?}",
            decoded.lines
        );
        assert_eq!(decoded.lines[0]["ok"], true, "{id}");
        holds(&decoded.lines[0]["frame"], &vector["decoded"], id);
        let hex: String = text.bytes().map(|b| format!("{b:02x}")).collect();
        let same = decode(&["hj212", "--hex"], hex.as_bytes());
        assert_eq!((same.code, &same.lines), (0, &decoded.lines), "{id}");
    }
    for vector in each(&file, &["negative"]) {
        let id = vector["id"].as_str().unwrap();
        let decoded = decode(&["hj212"], vector["frame"].as_str().unwrap().as_bytes());
        assert_eq!(decoded.code, 1, "{id}");
        let want = match id {
            "neg-length" => "length_mismatch",
            id if id.starts_with("neg-modbus") => "crc_modbus",
            _ => "crc_mismatch",
        };
        assert_eq!(decoded.lines[0]["error"], want, "{id}");
        assert!(decoded.lines.iter().all(|line| line["ok"] == false), "{id}");
        assert!(
            decoded.lines[0]["frame"].is_null() && decoded.readings().is_empty(),
            "{id}"
        );
    }
}

#[test]
fn published_frames_of_sl651_and_gbt26875_mean_what_is_written_down_and_bad_ones_are_refused() {
    for (protocol, good, bad) in [
        ("sl651", &["positive", "composed"][..], &["negative"][..]),
        (
            "gbt26875",
            &["positive", "composed"],
            &["negative", "negative_made"],
        ),
    ] {
        let Some(file) = vectors(&format!("{protocol}.json")) else {
            return;
        };
        for vector in each(&file, good) {
            let id = vector["id"].as_str().unwrap();
            let decoded = decode(
                &[protocol, "--hex"],
                vector["frame_hex"].as_str().unwrap().as_bytes(),
            );
            assert_eq!(
                (decoded.code, decoded.lines.len()),
                (0, 1),
                "{id}: {:?}",
                decoded.lines
            );
            if !vector["decoded"].is_null() {
                holds(&decoded.lines[0]["frame"], &vector["decoded"], id);
            }
        }
        for vector in each(&file, bad) {
            let id = vector["id"].as_str().unwrap();
            let hex = vector["frame_hex"].as_str().unwrap();
            let decoded = decode(&[protocol, "--hex"], hex.as_bytes());
            assert_eq!(
                (decoded.code, decoded.lines.len()),
                (1, 1),
                "{id}: {:?}",
                decoded.lines
            );
            let line = &decoded.lines[0];
            assert_eq!((&line["ok"], &line["from"]), (&json!(false), &json!(0)), "{id}");
            assert_eq!(line["bytes"], hex.len() / 2, "{id}");
        }
    }
}

#[test]
fn conversations_and_a_file_of_all_frames_are_read_as_a_stream() {
    let (Some(talk), Some(file)) = (vectors("hj212-crc-and-conversations.json"), vectors("hj212.json"))
    else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let steps = talk["conversations"].as_array().unwrap().iter();
    let frames: Vec<&str> = steps
        .flat_map(|talk| talk["steps"].as_array().unwrap())
        .map(|step| step["frame"].as_str().unwrap())
        .collect();
    let path = folder.path().join("talk.txt");
    std::fs::write(&path, frames.join("\n")).unwrap();
    let decoded = decode(&["hj212", path.to_str().unwrap()], b"");
    assert_eq!((decoded.code, decoded.lines.len()), (0, frames.len()));
    let mut at = 0;
    for (line, frame) in decoded.lines.iter().zip(&frames) {
        assert_eq!((line["at"].as_u64(), &line["ok"]), (Some(at), &json!(true)));
        at += frame.len() as u64 + 1;
    }

    let good: Vec<&str> = each(&file, &["positive"])
        .map(|v| v["frame"].as_str().unwrap())
        .collect();
    let bad: Vec<&str> = each(&file, &["negative"])
        .map(|v| v["frame"].as_str().unwrap())
        .collect();
    let mut stream = String::from("noise#");
    for (i, frame) in good.iter().enumerate() {
        stream.push_str(frame);
        stream.push_str("\r\n\r\n");
        stream.push_str(bad[i % bad.len()]);
        stream.push_str("\r\n");
    }
    let decoded = decode(&["hj212", "-"], stream.as_bytes());
    assert_eq!(decoded.code, 1);
    let read: Vec<u64> = decoded
        .lines
        .iter()
        .filter(|line| line["ok"] == true)
        .map(|line| line["at"].as_u64().unwrap())
        .collect();
    assert_eq!(read.len(), good.len());
    for (at, frame) in read.iter().zip(&good) {
        assert!(
            stream[*at as usize..].starts_with(frame),
            "the place is that of the frame"
        );
    }
    assert_eq!(decoded.errors()[0], ("garbage", 0));
}

#[test]
fn packets_in_any_order_give_their_readings_once() {
    // Composed here; the check value is the codec's, which its own tests hold to the standard's.
    let packet = |number: u32, cp: &str| {
        let segment = format!(
            "QN=2016080108585753{number};ST=32;CN=2061;PW=1;MN=A;Flag=7;PNUM=2;PNO={number};CP=&&DataTime=20160801080000;{cp}&&"
        );
        let segment = onemap_wire::hj212::Segment::parse(segment.as_bytes()).unwrap();
        String::from_utf8(onemap_wire::hj212::encode(&segment).unwrap()).unwrap()
    };
    let (first, second) = (
        packet(1, "w01018-Avg=2.5,w01018-Flag=N"),
        packet(2, "w21003-Avg=3,w21003-Flag=N"),
    );
    let decoded = decode(&["hj212"], [second.as_str(), &second, &first].concat().as_bytes());
    assert_eq!((decoded.code, decoded.lines.len()), (0, 3));
    assert_eq!(decoded.lines[1]["duplicate"], true);
    let said: Vec<(&Value, &Value)> = decoded
        .readings()
        .iter()
        .map(|reading| (&reading["quantity"], &reading["value"]))
        .collect();
    assert_eq!(
        said,
        [
            (&json!("cod"), &json!(2.5)),
            (&json!("ammonia_nitrogen"), &json!(3.0))
        ]
    );
    assert_eq!(decoded.lines[2]["readings"].as_array().unwrap().len(), 2);
    let half = decode(&["hj212"], second.as_bytes());
    assert_eq!((half.code, &half.lines[0]["missing"]), (0, &json!([1])));
    assert_eq!(half.readings().len(), 1);

    let Some(file) = vectors("sl651.json") else { return };
    let whole = each(&file, &["positive"]).find(|v| v["id"] == "34-up-4").unwrap();
    let bytes: Vec<u8> = hex(whole["frame_hex"].as_str().unwrap());
    let whole = onemap_wire::sl651::Frame::decode(&bytes).unwrap();
    let mut packets: Vec<String> = onemap_wire::sl651::split(&whole, 40)
        .unwrap()
        .iter()
        .map(|packet| {
            packet
                .encode()
                .unwrap()
                .iter()
                .map(|b| format!("{b:02X}"))
                .collect()
        })
        .collect();
    let alone = decode(
        &["sl651", "--hex"],
        bytes
            .iter()
            .map(|b| format!("{b:02x} "))
            .collect::<String>()
            .as_bytes(),
    );
    packets.reverse();
    let decoded = decode(&["sl651", "--hex"], packets.join("\n").as_bytes());
    assert_eq!((decoded.code, decoded.lines.len()), (0, packets.len()));
    assert!(packets.len() > 1 && !alone.readings().is_empty());
    assert_eq!(decoded.readings(), alone.readings());
    assert_eq!(
        decoded.lines.last().unwrap()["message"]["items"],
        alone.lines[0]["frame"]["items"]
    );
}

fn hex(text: &str) -> Vec<u8> {
    let digit = |i: usize| u8::from_str_radix(&text[i..i + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}

#[test]
fn a_key_file_opens_what_is_encrypted_and_is_never_shown() {
    let Some(file) = vectors("hj212-2025-sm4.json") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let case = &file["cases"][0];
    let text = |name: &str| case[name].as_str().unwrap();
    let plain = text("plaintext_segment");
    let start = plain.find("CP=&&").unwrap() + 5;
    let frame = format!(
        "##{}{}{}{}&&{}",
        text("printed_length_field"),
        &plain[..start],
        text("wire_cp"),
        text("plaintext_tail"),
        text("printed_crc")
    );
    let written = |name: &str, text: &str| -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let key = text("key_ascii");
    let key_hex: String = key.bytes().map(|b| format!("{b:02x}")).collect();
    for (name, content) in [("ascii", format!("{key}\n")), ("hex", format!("{key_hex}\n"))] {
        let path = written(name, &content);
        let decoded = decode(&["hj212", "--key-file", path.to_str().unwrap()], frame.as_bytes());
        assert_eq!(decoded.code, 0, "{:?}", decoded.lines);
        assert_eq!(decoded.lines[0]["frame"]["cp"][1]["a01011-Min"], "1.35");
        assert_eq!(decoded.readings().len(), 9);
        let all = format!("{:?}{}", decoded.lines, decoded.said);
        assert!(!all.contains(key) && !all.contains(&key_hex));
    }
    assert_eq!(decode(&["hj212"], frame.as_bytes()).errors()[0].0, "no_key");
    let other = written("other", &"ab".repeat(16));
    let decoded = decode(
        &["hj212", "--key-file", other.to_str().unwrap()],
        frame.as_bytes(),
    );
    assert_eq!((decoded.code, decoded.errors()[0].0), (1, "crc_mismatch"));
    let short = written("short", "secret-but-short");
    std::fs::write(&short, "secret").unwrap();
    let decoded = decode(
        &["hj212", "--key-file", short.to_str().unwrap()],
        frame.as_bytes(),
    );
    assert_eq!((decoded.code, decoded.lines.len()), (2, 0));
    assert!(
        decoded.said.contains("holds no key") && !decoded.said.contains("secret"),
        "{}",
        decoded.said
    );
}

#[test]
fn a_profile_says_what_a_station_s_codes_and_units_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.yaml");
    let head = "version: 1\nname: {zh: 甲, en: A}\nprotocol: native\n";
    std::fs::write(
        &path,
        format!("{head}keys:\n  a34004: {{quantity: pm2_5, unit: mg/m3}}\n"),
    )
    .unwrap();
    let segment = b"QN=20160801085857223;ST=22;CN=2011;PW=1;MN=A;Flag=5;CP=&&DataTime=20160801085857;a34004-Rtd=0.035&&";
    let segment = onemap_wire::hj212::Segment::parse(segment).unwrap();
    let frame = onemap_wire::hj212::encode(&segment).unwrap();
    let decoded = decode(&["hj212", "--profile", path.to_str().unwrap()], &frame);
    assert_eq!(decoded.code, 0, "{}", decoded.said);
    assert_eq!(decoded.readings()[0]["value"], 35.0);
    std::fs::write(&path, format!("{head}keys:\n  a34004: {{quantity: nothing}}\n")).unwrap();
    let decoded = decode(&["hj212", "--profile", path.to_str().unwrap()], &frame);
    assert_eq!(decoded.code, 2);
    assert!(decoded.said.contains("mine.yaml:5:"), "{}", decoded.said);
}

#[test]
fn wrong_use_and_wrong_text_are_told_apart() {
    let nothing = decode(&["hj212"], b"");
    assert_eq!((nothing.code, nothing.lines.len()), (1, 0));
    assert!(nothing.said.contains("the input is empty"));
    assert_eq!(decode(&["sl651", "--hex"], b" \n\n").code, 1);
    for (arguments, word) in [
        (&["sparkplug"][..], "not built yet"),
        (&["hj211"], "no protocol is called"),
        (&["hj212", "nowhere.txt"], "nowhere.txt cannot be opened"),
        (&["hj212", "."], "is a folder"),
        (
            &["hj212", "--key-file", "nowhere.key"],
            "nowhere.key cannot be opened",
        ),
        (&["gbt26875", "--received-at", "yesterday"], "yesterday"),
        (&[], "PROTOCOL"),
    ] {
        let decoded = decode(arguments, b"x");
        assert_eq!(
            (decoded.code, decoded.lines.len()),
            (2, 0),
            "{arguments:?}: {}",
            decoded.said
        );
        assert!(decoded.said.contains(word), "{arguments:?}: {}", decoded.said);
    }
    let Some(file) = vectors("sl651.json") else { return };
    let good = file["positive"][0]["frame_hex"].as_str().unwrap();
    let text = format!("{good}\n{}zz\n{}\n  {}\n", &good[..8], &good[..10], &good[10..]);
    let decoded = decode(&["sl651", "--hex"], text.as_bytes());
    assert_eq!((decoded.code, decoded.lines.len()), (1, 3));
    assert_eq!(decoded.errors(), [("not_hex", good.len() as u64 / 2)]);
    let detail = decoded.lines[1]["detail"].as_str().unwrap();
    assert!(detail.contains("line 2, column 9"), "{detail}");
    assert_eq!(
        decoded.lines[2]["at"],
        good.len() / 2,
        "what is no text is no byte of the stream"
    );
}

/// What a station sent and was refused is spelt out where it is kept.
#[test]
fn quarantined_frames_say_what_and_where() {
    let folder = tempfile::tempdir().unwrap();
    let config = format!("{CONFIG}[hj212]\nlisten = \"127.0.0.1:0\"\n");
    std::fs::write(folder.path().join("onemap.toml"), config).unwrap();
    let server = Server::start_in(folder.path());
    server.add_device("A110000_0001", &json!({"profile": "hj212-air"}));
    server.post(
        "/api/v1/devices/A110000_0001/token",
        &json!({"password": "123456"}),
    );
    let ready = std::fs::read_to_string(server.dir.join("ready.json")).unwrap();
    let ready: Value = serde_json::from_str(&ready).unwrap();
    let mut socket = std::net::TcpStream::connect(ready["hj212"].as_str().unwrap()).unwrap();
    let segment = b"QN=20261126080000001;ST=22;CN=2011;PW=123456;MN=A110000_0001;Flag=4;CP=&&a34004-Rtd=35;zz9999-Rtd=1&&";
    let segment = onemap_wire::hj212::Segment::parse(segment).unwrap();
    let good = onemap_wire::hj212::encode(&segment).unwrap();
    let mut bad = good.clone();
    bad[20] ^= 1;
    socket.write_all(&[bad.clone(), good].concat()).unwrap();
    let entries = wait_for("both to be refused", Duration::from_secs(20), || {
        let entries = server.get("/api/v1/quarantine?source=hj212")["items"]
            .as_array()?
            .clone();
        (entries.len() == 2).then_some(entries)
    });
    let of = |reason: &str| {
        let found = entries.iter().find(|entry| entry["reason"] == reason);
        found.unwrap_or_else(|| panic!("nothing was refused as {reason}: {entries:#?}"))
    };
    let (broken, unknown) = (of("crc_mismatch"), of("unknown_quantity"));
    assert_eq!(
        [
            &broken["frames"][0]["ok"],
            &broken["frames"][0]["error"],
            &broken["frames"][0]["at"]
        ],
        [&json!(false), &json!("crc_mismatch"), &json!(bad.len() - 6)]
    );
    let by_itself = server.get(&format!("/api/v1/quarantine/{}", unknown["id"]));
    for entry in [unknown, &by_itself] {
        let line = &entry["frames"][0];
        assert_eq!(
            [&line["ok"], &line["frame"]["mn"]],
            [&json!(true), &json!("A110000_0001")]
        );
        assert_eq!(line["readings"][0]["quantity"], "pm2_5");
        assert_eq!(line["refused"][0]["reason"], "unknown_quantity");
    }
}
