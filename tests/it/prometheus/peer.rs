//! VictoriaMetrics beside onemap: the same data, the same questions, the same answers.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::data::Data;
use super::{encoded, expressions};
use crate::server::{Process, Server, peer, request, wait_for};

const SOON: Duration = Duration::from_secs(30);

/// VictoriaMetrics in a folder of its own.
struct Peer {
    http: String,
    _process: Process,
    _folder: tempfile::TempDir,
}

impl Peer {
    fn new() -> Option<Self> {
        let program = peer("victoria-metrics")?;
        let folder = tempfile::tempdir().unwrap();
        // It does not tell which port it took, so a free one is looked for before; another may take it meanwhile.
        for _ in 0..5 {
            let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let mut command = Command::new(&program);
            command
                .arg("-storageDataPath")
                .arg(folder.path().join(free.port().to_string()))
                .arg(format!("-httpListenAddr={free}"))
                .args([
                    "-retentionPeriod=100y",
                    "-search.latencyOffset=0s",
                    "-search.disableCache",
                ])
                .arg("-loggerLevel=ERROR")
                .stderr(Stdio::null());
            let mut process = Process::start(command);
            let http = format!("http://{free}");
            let is_up = wait_for("VictoriaMetrics", SOON, || {
                if process.child.try_wait().unwrap().is_some() {
                    return Some(false);
                }
                TcpListener::bind(free)
                    .is_err()
                    .then(|| alive(&http))
                    .filter(|up| *up)
            });
            if is_up {
                return Some(Self {
                    http,
                    _process: process,
                    _folder: folder,
                });
            }
        }
        panic!("VictoriaMetrics found no port in five tries");
    }

    fn take(&self, data: &Data) {
        let lines = data.series.iter().map(|own| {
            let (times, values): (Vec<i64>, Vec<f64>) = own.points.iter().copied().unzip();
            json!({"metric": Data::labels(own), "timestamps": times, "values": values}).to_string() + "\n"
        });
        let lines: String = lines.collect();
        let (status, answer) = request(&self.http, "", "POST", "/api/v1/import", Some(&lines));
        assert_eq!(status, 204, "{answer}");
        request(&self.http, "", "GET", "/internal/force_flush", None);
        wait_for("all values in VictoriaMetrics", SOON, || {
            let query = encoded(r#"sum(count_over_time({device!=""}[1d]))"#);
            let (_, answer) = request(
                &self.http,
                "",
                "GET",
                &format!("/api/v1/query?nocache=1&query={query}"),
                None,
            );
            let n: f64 = answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()?;
            (n as usize == data.n_points()).then_some(())
        });
    }
}

fn alive(http: &str) -> bool {
    let stream = std::net::TcpStream::connect(http.trim_start_matches("http://"));
    stream.is_ok() && request(http, "", "GET", "/health", None).0 == 200
}

type Points = Vec<(f64, f64)>;

/// Series by their labels; a number is a series without labels.
fn series(answer: &Value) -> Result<BTreeMap<String, Points>, String> {
    let point = |pair: &Value| {
        (
            pair[0].as_f64().unwrap(),
            pair[1].as_str().unwrap().parse().unwrap(),
        )
    };
    let found = &answer["data"];
    if answer["status"] != "success" {
        return Err(answer["error"].to_string());
    }
    if found["resultType"] == "scalar" {
        return Ok(BTreeMap::from([("{}".to_owned(), vec![point(&found["result"])])]));
    }
    let mut all = BTreeMap::new();
    for own in found["result"].as_array().unwrap() {
        let points = match own["values"].as_array() {
            Some(values) => values.iter().map(point).collect(),
            None => vec![point(&own["value"])],
        };
        // The keys of an object come sorted out of serde_json.
        let before = all.insert(own["metric"].to_string(), points);
        assert!(before.is_none(), "{} twice", own["metric"]);
    }
    Ok(all)
}

/// What differs first; empty when nothing does.
fn difference(ours: &BTreeMap<String, Points>, theirs: &BTreeMap<String, Points>) -> Option<String> {
    if !ours.keys().eq(theirs.keys()) {
        return Some(format!("series {:?} and {:?}", ours.keys(), theirs.keys()));
    }
    for ((labels, ours), theirs) in ours.iter().zip(theirs.values()) {
        let lacking = |own: &Points, other: &Points| -> Vec<f64> {
            let times = own.iter().map(|(t, _)| *t);
            times
                .filter(|t| !other.iter().any(|(other, _)| other == t))
                .collect()
        };
        let (only_ours, only_theirs) = (lacking(ours, theirs), lacking(theirs, ours));
        if !(only_ours.is_empty() && only_theirs.is_empty()) {
            return Some(format!(
                "times of {labels}: only ours {only_ours:?}, only theirs {only_theirs:?}"
            ));
        }
        for ((t, a), (_, b)) in ours.iter().zip(theirs) {
            let near = (a - b).abs() <= 1e-12 * a.abs().max(b.abs()).max(1e-3);
            if !(near || a == b || a.is_nan() && b.is_nan()) {
                return Some(format!("{labels} at {t}: {a} and {b}"));
            }
        }
    }
    None
}

#[test]
fn the_same_expressions_give_what_victoriametrics_gives() {
    let Some(peer) = Peer::new() else { return };
    let server = Server::new();
    let data = Data::new();
    data.to_onemap(&server);
    peer.take(&data);

    let start = data.start_s();
    let spans = [
        format!("query?time={}", start + 3000),
        format!("query?time={}", start + 7213),
        format!("query?time={}", start + 11_117),
        format!("query_range?start={}&end={}&step=60", start - 600, start + 12_600),
        format!("query_range?start={}&end={}&step=15s", start + 1800, start + 5400),
        format!("query_range?start={}&end={}&step=437", start + 7, start + 10_800),
    ];
    let (mut n_equal, mut n_values, mut different) = (0, 0, Vec::new());
    for expression in expressions::EQUAL {
        for span in &spans {
            let path = format!("/api/v1/{span}&nocache=1&query={}", encoded(expression));
            let (_, ours) = request(
                &server.http,
                &server.token,
                "GET",
                &format!("/prometheus{path}"),
                None,
            );
            let (_, theirs) = request(&peer.http, "", "GET", &path, None);
            let found = match (series(&ours), series(&theirs)) {
                (Ok(ours), Ok(theirs)) => {
                    n_values += ours.values().map(Vec::len).sum::<usize>();
                    difference(&ours, &theirs)
                }
                (ours, theirs) => Some(format!("{:?} and {:?}", ours.err(), theirs.err())),
            };
            match found {
                None => n_equal += 1,
                Some(what) => different.push(format!("{expression}\n  {span}\n  {what}")),
            }
        }
    }
    assert!(
        different.is_empty(),
        "{} of {} answers differ (ours and theirs):\n{}",
        different.len(),
        different.len() + n_equal,
        different.join("\n")
    );
    assert!(n_values > 50_000, "the answers hold {n_values} values only");
}
