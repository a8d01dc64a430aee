//! Readings go to an engine of their own, too: VictoriaMetrics that is killed and away, and the server with it.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::server::{CONFIG, Process, Server, peer, wait_for};

const SOON: Duration = Duration::from_secs(60);
const DAY: i64 = 86_400_000;

/// VictoriaMetrics in a folder, on a port that stays.
struct Victoria {
    process: Option<Process>,
    program: PathBuf,
    dir: PathBuf,
    port: u16,
}

impl Victoria {
    fn start(dir: PathBuf) -> Option<Self> {
        let program = peer("/usr/bin/victoria-metrics")?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mut victoria = Self {
            process: None,
            program,
            dir,
            port,
        };
        victoria.up();
        Some(victoria)
    }
    fn up(&mut self) {
        let mut command = Command::new(&self.program);
        command
            .arg(format!("-httpListenAddr=127.0.0.1:{}", self.port))
            .arg(format!("-storageDataPath={}", self.dir.display()))
            .args([
                "-retentionPeriod=100y",
                "-dedup.minScrapeInterval=1ms",
                "-loggerLevel=ERROR",
            ])
            .args(["-memory.allowedBytes=128MB"])
            .stderr(Stdio::null());
        self.process = Some(Process::start(command));
        wait_for("VictoriaMetrics", SOON, || {
            ureq::get(format!("{}/health", self.url())).call().ok()
        });
    }
    fn kill(&mut self) {
        self.process.take().unwrap().kill();
    }
    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
    /// What was taken in the last second is seen by questions after a flush.
    fn flush(&self) {
        ureq::get(format!("{}/internal/force_flush", self.url()))
            .call()
            .unwrap();
    }
}

fn now() -> i64 {
    onemap_model::Timestamp::from_system(std::time::SystemTime::now()).ms()
}

fn post(server: &Server, device: &str, readings: &[(i64, Value)]) {
    let readings: Vec<Value> = readings
        .iter()
        .map(|(t, v)| json!({"q": "water_level", "t": t, "v": v}))
        .collect();
    server.post(
        "/api/v1/readings",
        &json!({"device": device, "readings": readings}),
    );
}

fn sent(server: &Server) {
    server.caught_up();
    wait_for("everything to be sent", SOON, || {
        (server.metric("onemap_spool_lag_points")? == 0).then_some(())
    });
}

/// Times and values that the API gives from `from` to `to`.
fn values(server: &Server, series: u64, from: i64, to: i64) -> Vec<(String, f64)> {
    let path = format!("/api/v1/series/{series}/values?from={from}&to={to}&limit=10000");
    let page = server.get(&path);
    let items = page["items"].as_array().unwrap().iter();
    items
        .map(|item| {
            (
                item["t"].as_str().unwrap().to_owned(),
                item["v"].as_f64().unwrap(),
            )
        })
        .collect()
}

fn stamp(ms: i64) -> String {
    onemap_model::Timestamp::from_ms(ms).to_string()
}

#[test]
fn an_engine_that_is_killed_and_away_misses_nothing_and_answers_for_what_is_old() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut victoria) = Victoria::start(folder.path().join("vm")) else {
        return;
    };
    let dir = folder.path().join("onemap");
    std::fs::create_dir_all(dir.join("rules")).unwrap();
    let config = format!(
        "{CONFIG}engine = \"promql\"\n[history.remote]\nurl = \"{}\"\nembedded_days = 2\n[journal]\n",
        victoria.url()
    );
    std::fs::write(dir.join("onemap.toml"), config).unwrap();
    let mut server = Server::start_in(&dir);
    server.add_device("gauge-1", &json!({"kind": "river_gauge"}));
    // Five days up to now, every ten minutes; the border lies in the middle.
    let begun = (now() - 5 * DAY) / 600_000 * 600_000;
    let n = 5 * 144;
    let value = |i: i64| (i * 37 % 1000) as f64 / 100.0;
    let all: Vec<(i64, Value)> = (0..n).map(|i| (begun + i * 600_000, json!(value(i)))).collect();
    for (k, part) in all.chunks(90).enumerate() {
        post(&server, "gauge-1", part);
        match k {
            1 => {
                sent(&server);
                victoria.kill();
            }
            3 => server = server.kill_and_restart(),
            5 => {
                assert_eq!(server.metric("onemap_remote_up"), Some(0));
                server.caught_up();
                assert!(server.metric("onemap_spool_lag_points").unwrap() >= 180);
                let old = format!("/api/v1/series/1/values?from={begun}&to={}", begun + DAY);
                let (status, problem) = server.request("GET", &old, None);
                assert_eq!(
                    (status, &problem["code"]),
                    (503, &json!("history_unavailable")),
                    "{problem}"
                );
                let new = format!("/api/v1/series/1/values?from={}", now() - DAY);
                assert_eq!(server.request("GET", &new, None).0, 200);
                victoria.up();
            }
            _ => {}
        }
    }
    // One value is revised.
    post(&server, "gauge-1", &[(all[7].0, json!(77.5))]);
    sent(&server);
    // Killed again right behind the acknowledgement, and up again: it is given once more what it lost.
    victoria.kill();
    victoria.up();
    let want: Vec<(String, f64)> = (0..n)
        .map(|i| (stamp(all[i as usize].0), if i == 7 { 77.5 } else { value(i) }))
        .collect();
    let series = server.get("/api/v1/series?device=gauge-1")["items"][0]["id"]
        .as_u64()
        .unwrap();
    wait_for("the same values as before", SOON, || {
        victoria.flush();
        (values(&server, series, begun, now()) == want).then_some(())
    });
    assert_eq!(
        server.metric("onemap_remote_refused_total{reason=\"engine\"}"),
        Some(0)
    );
    assert_eq!(server.get("/api/v1/system")["history"]["up"], true);

    // Steps on both sides of the border and across it, by each way of counting.
    for (agg, step) in [
        ("mean", "1h"),
        ("max", "1d"),
        ("count", "7h"),
        ("first", "1h"),
        ("last", "1h"),
    ] {
        let path = format!(
            "/api/v1/series/{series}/values?from={begun}&to={}&step={step}&agg={agg}",
            begun + 5 * DAY
        );
        let items = server.get(&path)["items"].as_array().unwrap().clone();
        let step_ms = match step {
            "1h" => DAY / 24,
            "7h" => 7 * DAY / 24,
            _ => DAY,
        };
        assert_eq!(items.len() as i64, (5 * DAY + step_ms - 1) / step_ms);
        for (k, item) in items.iter().enumerate() {
            let first = (k as i64 * step_ms / 600_000) as usize;
            let last = (first + (step_ms / 600_000) as usize).min(n as usize);
            let numbers: Vec<f64> = want[first..last].iter().map(|(_, v)| *v).collect();
            let wanted = match agg {
                "mean" => numbers.iter().sum::<f64>() / numbers.len() as f64,
                "max" => numbers.iter().copied().fold(f64::MIN, f64::max),
                "count" => numbers.len() as f64,
                "first" => numbers[0],
                _ => numbers[numbers.len() - 1],
            };
            let found = item["v"].as_f64().unwrap();
            assert!(
                (found - wanted).abs() < 1e-9,
                "{agg} {step} {k}: {found}, not {wanted}"
            );
            assert_eq!(item["n"], numbers.len());
        }
    }
    // What it has no way to answer is said, and only where it is asked for.
    for more in ["revisions=true".to_owned(), format!("known_at={}", now())] {
        let old = format!("/api/v1/series/{series}/values?from={begun}&{more}");
        let (status, problem) = server.request("GET", &old, None);
        assert_eq!(
            (status, &problem["code"]),
            (501, &json!("history_unsupported")),
            "{problem}"
        );
        let new = format!("/api/v1/series/{series}/values?from={}&{more}", now() - DAY);
        assert_eq!(server.request("GET", &new, None).0, 200);
    }
    server.stop();
}

/// Resident bytes of a process.
fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn while_the_engine_is_away_readings_pile_up_on_disk_and_not_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_owned();
    std::fs::create_dir(dir.join("rules")).unwrap();
    // Nobody listens there.
    let config = format!("{CONFIG}engine = \"promql\"\n[history.remote]\nurl = \"http://127.0.0.1:1\"\n");
    std::fs::write(dir.join("onemap.toml"), config).unwrap();
    let server = Server::start_in(&dir);
    server.add_device("gauge-1", &json!({"kind": "river_gauge"}));
    let begun = now() - 30 * DAY;
    let body = |k: i64| -> Vec<(i64, Value)> {
        (0..5000)
            .map(|i| {
                (
                    begun + (k * 5000 + i) * 1000,
                    json!(((i * 7 + k) % 900) as f64 / 100.0),
                )
            })
            .collect()
    };
    post(&server, "gauge-1", &body(0));
    server.caught_up();
    let before = resident_bytes(server.process.child.id());
    let n = 40;
    for k in 1..n {
        post(&server, "gauge-1", &body(k));
    }
    server.caught_up();
    let grown = resident_bytes(server.process.child.id()).saturating_sub(before);
    assert_eq!(server.metric("onemap_spool_lag_points"), Some(5000 * n as u64));
    assert!(server.metric("onemap_spool_bytes").unwrap() > 2_000_000);
    // The points alone are 200,000 of some 50 bytes in the spool's columns, and as much again in lines.
    assert!(grown < 64 << 20, "{grown} bytes more in memory");
    // What is in the spool is there after a kill, and once.
    let server = server.kill_and_restart();
    server.caught_up();
    let waiting = server.metric("onemap_spool_lag_points").unwrap();
    assert!(waiting >= 5000 * n as u64, "{waiting} points wait");
}

#[test]
fn an_engine_switched_on_later_is_not_asked_for_what_it_never_got() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_owned();
    std::fs::create_dir(dir.join("rules")).unwrap();
    std::fs::write(dir.join("onemap.toml"), CONFIG).unwrap();
    let mut server = Server::start_in(&dir);
    server.add_device("gauge-1", &json!({"kind": "river_gauge"}));
    let begun = (now() - 5 * DAY) / 600_000 * 600_000;
    let all: Vec<(i64, Value)> = (0..100)
        .map(|i| (begun + i * 600_000, json!(i as f64 / 10.0)))
        .collect();
    post(&server, "gauge-1", &all);
    server.caught_up();
    server.stop();

    // Nobody listens there: to ask it is to fail.
    let config = format!(
        "{CONFIG}engine = \"promql\"\n[history.remote]\nurl = \"http://127.0.0.1:1\"\nembedded_days = 2\n"
    );
    std::fs::write(dir.join("onemap.toml"), config).unwrap();
    let mut server = Server::start_in(&dir);
    for _ in 0..2 {
        post(&server, "gauge-1", &[(now(), json!(1.0))]);
        server.caught_up();
        let want: Vec<(String, f64)> = (0..100)
            .map(|i| (stamp(all[i as usize].0), i as f64 / 10.0))
            .collect();
        assert_eq!(values(&server, 1, begun, now() - DAY), want);
        server = server.kill_and_restart();
    }
    // Whoever takes the mark away says that the engine has it all: then it is asked.
    server.process.kill();
    std::fs::remove_file(dir.join("spool/engine-lacks-older")).unwrap();
    let server = Server::start_in(&dir);
    let old = format!("/api/v1/series/1/values?from={begun}&to={}", begun + DAY);
    let (status, problem) = server.request("GET", &old, None);
    assert_eq!(
        (status, &problem["code"]),
        (503, &json!("history_unavailable")),
        "{problem}"
    );
}

#[test]
fn what_the_embedded_history_lets_go_is_answered_by_the_engine() {
    let folder = tempfile::tempdir().unwrap();
    let Some(victoria) = Victoria::start(folder.path().join("vm")) else {
        return;
    };
    let dir = folder.path().join("onemap");
    std::fs::create_dir_all(dir.join("rules")).unwrap();
    let config = format!(
        "{CONFIG}engine = \"promql\"\n[history.remote]\nurl = \"{}\"\n",
        victoria.url()
    );
    std::fs::write(dir.join("onemap.toml"), &config).unwrap();
    let mut server = Server::start_in(&dir);
    server.add_device("gauge-1", &json!({"kind": "river_gauge"}));
    // Five weeks up to now, every two hours.
    let begun = (now() - 35 * DAY) / 7_200_000 * 7_200_000;
    let all: Vec<(i64, Value)> = (0..35 * 12)
        .map(|i| (begun + i * 7_200_000, json!((i * 37 % 1000) as f64 / 100.0)))
        .collect();
    for part in all.chunks(100) {
        post(&server, "gauge-1", part);
    }
    sent(&server);
    let whole = format!("/api/v1/series/1/values?from={begun}&to={}", now());
    let want = values(&server, 1, begun, now());
    assert_eq!(want.len(), all.len());
    server.stop();
    let retention = "[history.retention]\nraw_days = 7\nrollup_days = 7\n";
    std::fs::write(dir.join("onemap.toml"), format!("{config}{retention}")).unwrap();
    let server = Server::start_in(&dir);
    let floor = wait_for("the embedded history to let go", SOON, || {
        let stat = server.get("/api/v1/history/stat");
        stat["classes"][0]["kept_from"].as_str().map(str::to_owned)
    });
    assert!(floor.as_str() > stamp(begun).as_str());
    wait_for("the same values as before", SOON, || {
        victoria.flush();
        (values(&server, 1, begun, now()) == want).then_some(())
    });
    let answer = server.get(&format!("{whole}&step=1d&agg=count"));
    assert!(
        answer.get("kept_from").is_none(),
        "the engine has it all: {answer}"
    );
    let items = answer["items"].as_array().unwrap();
    let n: u64 = items.iter().map(|item| item["n"].as_u64().unwrap()).sum();
    assert_eq!(n, all.len() as u64);
    let (status, problem) = server.request("GET", &format!("{whole}&known_at={}", now()), None);
    assert_eq!(
        (status, &problem["code"]),
        (501, &json!("history_unsupported")),
        "{problem}"
    );
    // Away, it is an error and not an empty answer.
    drop(victoria);
    let (status, problem) = server.request("GET", &whole, None);
    assert_eq!(
        (status, &problem["code"]),
        (503, &json!("history_unavailable")),
        "{problem}"
    );
}
