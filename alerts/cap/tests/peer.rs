//! What we write, read by a library that we did not write and held to the schema of OASIS.
#![allow(clippy::unwrap_used, missing_docs)]

mod messages;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use onemap_cap::{Alert, Info, read, write};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use serde_json::Value;

/// What `tests/peers/cap_reads.py` says of documents; `None`, said aloud, where it is not installed.
fn peers(documents: &[String]) -> Option<Vec<Value>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let python = root.join("target/peers/cap/bin/python");
    if !python.exists() {
        assert!(
            std::env::var_os("CI").is_none(),
            "tests/peers/install.sh must have run in CI"
        );
        eprintln!(
            "SKIPPED: {} is not there (tests/peers/install.sh installs it)",
            python.display()
        );
        return None;
    }
    let mut peer = Command::new(python)
        .arg(root.join("tests/peers/cap_reads.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    peer.stdin
        .take()
        .unwrap()
        .write_all(&serde_json::to_vec(documents).unwrap())
        .unwrap();
    let output = peer.wait_with_output().unwrap();
    assert!(output.status.success());
    let said: Vec<Value> = output
        .stdout
        .split(|b| *b == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    assert_eq!(said.len(), documents.len());
    Some(said)
}

/// One text or several, as capparser gives them; of an empty element nothing.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(all) => all
            .iter()
            .map(|text| text.as_str().unwrap_or_default().to_owned())
            .collect(),
        _ => vec![],
    }
}

fn same_alert(said: &Value, alert: &Alert) {
    assert_eq!(said["identifier"], alert.identifier);
    assert_eq!(said["sender"], alert.sender);
    assert_eq!(said["sent"], alert.sent.to_string());
    assert_eq!(said["msgType"], alert.msg_type.as_str());
    assert_eq!(
        said["references"]
            .as_str()
            .unwrap_or_default()
            .split(' ')
            .filter(|r| !r.is_empty())
            .count(),
        alert.references.len()
    );
    let infos = said["info"].as_array().map(Vec::as_slice).unwrap_or_default();
    assert_eq!(infos.len(), alert.infos.len());
    infos
        .iter()
        .zip(&alert.infos)
        .for_each(|(said, info)| same_info(said, info));
}

fn same_info(said: &Value, info: &Info) {
    assert_eq!(said["event"], info.event);
    assert_eq!(said["severity"], info.severity.as_str());
    assert_eq!(
        texts(&said["category"]),
        info.categories
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    );
    let empty_is_nothing = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    assert_eq!(
        said["headline"].as_str().map(str::to_owned),
        empty_is_nothing(&info.headline)
    );
    let areas = said["area"].as_array().map(Vec::as_slice).unwrap_or_default();
    assert_eq!(areas.len(), info.areas.len());
    for (said, area) in areas.iter().zip(&info.areas) {
        assert_eq!(said["areaDesc"], area.description);
        assert_eq!(
            texts(&said["polygon"]),
            area.polygons.iter().map(ToString::to_string).collect::<Vec<_>>()
        );
        assert_eq!(
            texts(&said["circle"]),
            area.circles.iter().map(ToString::to_string).collect::<Vec<_>>()
        );
    }
}

#[test]
fn a_foreign_library_and_the_schema_read_what_we_write() {
    let mut runner = TestRunner::deterministic();
    let any = messages::alert();
    let alerts: Vec<Alert> = (0..200)
        .map(|_| any.new_tree(&mut runner).unwrap().current())
        .collect();
    let documents: Vec<String> = alerts.iter().map(|alert| write(alert).unwrap()).collect();
    let Some(said) = peers(&documents) else { return };
    for ((said, alert), document) in said.iter().zip(&alerts).zip(&documents) {
        assert_eq!(said["schema"], true, "{}\n{document}", said["said"]);
        same_alert(&said["read"], alert);
    }
}

/// Where we and the schema agree on what is wrong. What the schema takes and we do not is of CAP's own text.
#[test]
fn the_schema_refuses_what_we_refuse() {
    let good = include_str!("good.xml");
    let bad: Vec<String> = [
        ("<scope>Public</scope>", ""),
        ("<status>Actual</status>", "<status>actual</status>"),
        ("08:15:00+08:00", "08:15:00Z"),
        ("08:15:00+08:00", "08:15:00.5+08:00"),
        ("08:15:00+08:00", "08:15:00"),
        ("<severity>Severe</severity>", "<severity>Orange</severity>"),
        ("<urgency>Expected</urgency>", ""),
        ("<scope>Public</scope>", "<scope>Public</scope><source>s</source>"),
        ("<scope>Public</scope>", "<scope>Public</scope><other/>"),
        ("<event>", "<event lang='zh'>"),
        ("</areaDesc>", "</areaDesc><altitude>high</altitude>"),
        ("cap:1.2", "cap:1.0"),
    ]
    .iter()
    .map(|(from, to)| good.replacen(from, to, 1))
    .collect();
    for document in &bad {
        assert!(read(document.as_bytes()).is_err(), "{document}");
    }
    let Some(said) = peers(&bad) else { return };
    for (said, document) in said.iter().zip(&bad) {
        assert_eq!(said["schema"], false, "{document}");
    }
}
