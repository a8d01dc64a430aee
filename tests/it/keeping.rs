//! Backups and restores, and looks at every row, with the server running and without.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};

use crate::alarms::DUST;
use crate::server::{CONFIG, Server, binary, wait_for};

fn run(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary("onemap"));
    command.arg("--data-dir").arg(dir);
    let config = dir.join("onemap.toml");
    if config.exists() {
        command.arg("--config").arg(config);
    }
    command.args(arguments).output().unwrap()
}

fn said(output: &Output) -> Value {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn now() -> i64 {
    onemap_model::Timestamp::from_system(std::time::SystemTime::now()).ms()
}

/// A city of two stations with an hour of readings, a revision, an alert, a refusal.
fn city(server: &Server) {
    for id in ["air-1", "air-2"] {
        server.add_device(id, &json!({"division": "630102001"}));
    }
    let start = now() - 3_600_000;
    for i in 0..60i64 {
        say(server, "air-1", start + i * 60_000, 100.0 + i as f64);
    }
    say(server, "air-1", start, 7.5);
    let far = json!({"device": "air-1", "readings": [{"q": "flux", "t": start, "v": 1}]});
    server.post("/api/v1/readings", &far);
    // Of a time of its own: another value of the same millisecond would be a revision.
    say(server, "air-2", now() - 1000, 400.0);
    wait_for("the dust alert", Duration::from_secs(60), || {
        say(server, "air-2", now(), 401.0);
        let open = server.get("/api/v1/alerts?state=open");
        (!open["items"].as_array()?.is_empty()).then_some(())
    });
    server.caught_up();
}

fn say(server: &Server, device: &str, t: i64, v: f64) {
    server.post(
        "/api/v1/readings",
        &json!({"device": device, "readings": [{"q": "pm10", "t": t, "v": v}]}),
    );
}

fn digests(dir: &Path) -> Value {
    let mut digest = said(&run(dir, &["digest", "--json"]));
    digest.as_object_mut().unwrap().remove("position");
    digest
}

fn server() -> Server {
    Server::with_rules(&[("dust", DUST)])
}

#[test]
fn a_backup_of_the_running_server_becomes_the_same_city() {
    let mut server = server();
    city(&server);
    let folder = tempfile::tempdir().unwrap();
    let (backup, new) = (folder.path().join("backup"), folder.path().join("new"));
    let (backup, new) = (backup.as_path(), new.as_path());
    let into = ["backup", backup.to_str().unwrap(), "--json"];
    let made = said(&run(&server.dir, &into));
    assert_eq!(made["state"], "done");
    assert!(made["cursors"]["history"].as_u64() <= made["journal"]["last"].as_u64());
    assert!(!backup.join("admin.token").exists());
    let objects = || std::fs::read_dir(backup.join("objects")).unwrap().count();
    let token = server.token.as_bytes();
    for object in std::fs::read_dir(backup.join("objects")).unwrap() {
        let bytes = std::fs::read(object.unwrap().path()).unwrap();
        assert!(
            !bytes.windows(token.len()).any(|part| part == token),
            "the owner's token is in the backup"
        );
    }
    // The next one writes what has changed; nothing of before is left over.
    let again = said(&run(&server.dir, &into));
    assert!(
        again["bytes_written"].as_u64() < again["bytes"].as_u64(),
        "{again}"
    );
    assert!(objects() <= again["files"].as_u64().unwrap() as usize);
    // A city that goes on is not the one of the backup.
    server.stop();
    let then = digests(&server.dir);
    let restore = ["restore", backup.to_str().unwrap(), "--json"];
    let restored = said(&run(new, &restore));
    assert_eq!(restored["journal"]["last"], again["journal"]["last"]);
    assert!(refused(&run(new, &restore)).contains("is not empty"));
    assert_eq!(digests(new), then);
    assert_eq!(said(&run(new, &["history", "verify", "--json"]))["ok"], true);

    let restored = Server::start_in(new);
    assert_ne!(restored.token, server.token);
    assert_eq!(restored.latest("air-2", "pm10").unwrap()["value"], 401.0);
    let open = restored.get("/api/v1/alerts?state=open");
    assert_eq!(open["items"].as_array().unwrap().len(), 1);
    assert!(
        !restored.get("/api/v1/quarantine")["items"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    // It goes on, and not in the backup.
    say(&restored, "air-1", now(), 55.0);
    restored.caught_up();
    assert_eq!(restored.latest("air-1", "pm10").unwrap()["value"], 55.0);
    drop(restored);
    let other = folder.path().join("other");
    said(&run(&other, &restore));
    assert_eq!(digests(&other), then);
    // A stopped folder is backed up by the command itself.
    let cold = folder.path().join("cold");
    said(&run(&other, &["backup", cold.to_str().unwrap(), "--json"]));
    let third = folder.path().join("third");
    said(&run(&third, &["restore", cold.to_str().unwrap(), "--json"]));
    assert_eq!(digests(&third), then);
}

#[test]
fn what_is_no_whole_backup_is_not_restored() {
    let mut server = Server::new();
    server.add_device("air-1", &json!({}));
    say(&server, "air-1", now(), 5.0);
    server.caught_up();
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup");
    let into = ["backup", backup.to_str().unwrap()];
    // Only the local owner's role makes them, and into a folder of their own.
    let viewer = server.post("/api/v1/tokens", &json!({"role": "system_admin"}));
    let order = json!({"dir": backup}).to_string();
    let (status, _) = crate::server::request(
        &server.http,
        viewer["token"].as_str().unwrap(),
        "POST",
        "/api/v1/backup",
        Some(&order),
    );
    assert_eq!(status, 403);
    let inside = server.dir.join("backup");
    let (status, answer) = server.request(
        "POST",
        "/api/v1/backup",
        Some(&json!({"dir": inside}).to_string()),
    );
    assert_eq!((status, &answer["code"]), (409, &json!("backup_refused")));
    std::fs::create_dir(folder.path().join("else")).unwrap();
    std::fs::write(folder.path().join("else/letter"), "x").unwrap();
    let elsewhere = folder.path().join("else");
    assert!(refused(&run(&server.dir, &["backup", elsewhere.to_str().unwrap()])).contains("no backup"));

    assert!(run(&server.dir, &into).status.success());
    server.stop();
    let new = folder.path().join("new");
    let restore = || run(&new, &["restore", backup.to_str().unwrap()]);
    let manifest = backup.join("manifest.json");
    let whole = std::fs::read(&manifest).unwrap();
    // Cut short: everything is there but the last word.
    std::fs::remove_file(&manifest).unwrap();
    assert!(refused(&restore()).contains("no finished backup"));
    std::fs::write(
        &manifest,
        String::from_utf8_lossy(&whole).replace("\"format\": 1", "\"format\": 99"),
    )
    .unwrap();
    let newer = refused(&restore());
    assert!(
        newer.contains("layout 99") && newer.contains("newer program"),
        "{newer}"
    );
    std::fs::write(&manifest, &whole).unwrap();
    // A turned bit in any object, and a lost one.
    for object in std::fs::read_dir(backup.join("objects")).unwrap() {
        let path = object.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let mut turned = bytes.clone();
        let Some(byte) = turned.last_mut() else { continue };
        *byte ^= 1;
        std::fs::remove_file(&path).unwrap();
        assert!(refused(&restore()).contains("damaged, nothing is restored"));
        std::fs::write(&path, &turned).unwrap();
        assert!(refused(&restore()).contains("it is not what was written"));
        std::fs::write(&path, &bytes).unwrap();
    }
    assert!(!new.exists());
    assert!(restore().status.success());
    // A restore that was cut short is not served.
    std::fs::write(new.join("restore.part"), "").unwrap();
    assert!(refused(&run(&new, &["serve"])).contains("did not come to its end"));
}

#[test]
fn every_row_is_looked_at_with_a_server_and_without() {
    let mut server = server();
    city(&server);
    let last = server.get("/api/v1/system")["journal"]["last"].as_u64().unwrap();
    wait_for("a checkpoint of all of it", Duration::from_secs(60), || {
        let system = server.get("/api/v1/system");
        (system["cursors"]["history"].as_u64()? >= last).then_some(())
    });
    let running = said(&run(&server.dir, &["history", "verify", "--json"]));
    assert_eq!(
        (&running["ok"], &running["n_faults"]),
        (&json!(true), &json!(0)),
        "{running}"
    );
    assert!(running["rows"].as_u64().unwrap() > 4);
    let stat = said(&run(&server.dir, &["history", "stat", "--json"]));
    assert_eq!((&stat["series"], &stat["damaged"]), (&json!(2), &json!(0)));
    assert!(stat["format"].as_u64().unwrap() >= 2);
    assert!(
        stat["points"].as_u64().unwrap() >= 62 && stat["revisions"] == 1,
        "{stat}"
    );
    let viewer = server.post("/api/v1/tokens", &json!({"role": "viewer"}));
    for path in ["/api/v1/history/stat", "/api/v1/history/verify", "/api/v1/backup"] {
        let token = viewer["token"].as_str().unwrap();
        assert_eq!(
            crate::server::request(&server.http, token, "GET", path, None).0,
            403,
            "{path}"
        );
    }
    server.stop();
    let stopped = run(&server.dir, &["history", "verify"]);
    assert!(stopped.status.success());
    assert!(String::from_utf8_lossy(&stopped.stdout).contains("nothing is wrong"));
    // A journal that does not reach as far as the history: it was taken away, and a start would say so.
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("again");
    said(&run(
        &server.dir,
        &["journal", "replay", "--into", into.to_str().unwrap()],
    ));
    std::fs::write(into.join("onemap.toml"), CONFIG).unwrap();
    let ahead = run(&into, &["history", "verify", "--json"]);
    assert_eq!(ahead.status.code(), Some(1));
    let ahead: Value = serde_json::from_slice(&ahead.stdout).unwrap();
    assert!(
        ahead["faults"][0]["what"]
            .as_str()
            .unwrap()
            .contains("the journal ends at 0"),
        "{ahead}"
    );
    assert!(
        ahead["repair"]
            .as_str()
            .unwrap()
            .contains("journal replay --into"),
        "{ahead}"
    );
}

#[test]
fn what_a_class_keeps_no_longer_goes_and_its_hours_stay() {
    let mut server = Server::new();
    server.add_device("air-1", &json!({}));
    let day = 86_400_000;
    let at = |days: i64| now() / day * day - days * day;
    let file = server.dir.join("old.csv");
    let old = |t: i64, v: f64| {
        let t = onemap_model::Timestamp::from_ms(t);
        format!("air-1,pm10,{t},{v}\nair-1,pm2_5,{t},{v}\n")
    };
    let rows: String = [(60, 6.0), (59, 7.0), (2, 1.0)]
        .map(|(days, v)| old(at(days), v))
        .concat();
    std::fs::write(&file, format!("device,quantity,time,value\n{rows}")).unwrap();
    let import = |server: &Server| {
        run(
            &server.dir,
            &["import", "readings", file.to_str().unwrap(), "--json"],
        )
    };
    assert!(import(&server).status.success());
    server.caught_up();
    server.stop();
    let retention = "[history.retention]\nraw_days = 0\n[[history.retention.class]]\nname = \"dust\"\n\
        quantities = [\"pm10\"]\nraw_days = 14\n";
    std::fs::write(server.dir.join("onemap.toml"), format!("{CONFIG}{retention}")).unwrap();
    let server = Server::start_in(&server.dir);
    let id = |quantity: &str| {
        server.latest("air-1", quantity).unwrap()["series"]
            .as_u64()
            .unwrap()
    };
    let (dust, other) = (id("pm10"), id("pm2_5"));
    let values = |id: u64, more: &str| {
        server.get(&format!(
            "/api/v1/series/{id}/values?from={}&to={}{more}",
            at(70),
            now()
        ))
    };
    let kept = wait_for("the old values to go", Duration::from_secs(60), || {
        Some(values(dust, "")).filter(|answer| answer["kept_from"].is_string())
    });
    assert_eq!(kept["items"].as_array().unwrap().len(), 1, "{kept}");
    assert_eq!(
        kept["rollups_from"],
        Value::Null,
        "all hours stay: no time is set for them"
    );
    let hours = values(dust, "&step=1h&agg=max");
    let shown = |answer: &Value| {
        let items = answer["items"].as_array().unwrap().iter();
        items.filter_map(|item| item["v"].as_f64()).collect::<Vec<_>>()
    };
    assert_eq!(shown(&hours), [6.0, 7.0, 1.0], "the hours of gone days stay");
    assert!(hours["kept_from"].is_string());
    // What is gone is not filled: only what lies behind it is known to be empty.
    let half = values(dust, "&step=30m&agg=sum&fill=zero");
    let first = half["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|item| item["v"].is_number());
    assert!(
        first.unwrap()["t"].as_str() >= half["kept_from"].as_str(),
        "{first:?}"
    );
    let of_all = |quantity: &str, from: i64| {
        server.get(&format!(
            "/api/v1/aggregate?quantity={quantity}&group_by=none&from={from}&to={}&step=1d&agg=max",
            now()
        ))
    };
    let aggregate = of_all("pm10", at(70));
    assert_eq!(aggregate["kept_from"], kept["kept_from"]);
    assert_eq!(shown(&aggregate["groups"][0]), [6.0, 7.0, 1.0], "{aggregate}");
    for answer in [of_all("pm2_5", at(70)), of_all("pm10", at(3))] {
        assert!(answer.get("kept_from").is_none(), "{answer}");
    }
    // Grafana shows the warnings of a Prometheus.
    let promql = |expression: &str, from: i64, to: i64| {
        let (start, end) = (from / 1000, to / 1000);
        let path =
            format!("/prometheus/api/v1/query_range?query={expression}&start={start}&end={end}&step=1d");
        server.get(&path)
    };
    let since = kept["kept_from"].as_str().unwrap();
    let is_told = |answer: &Value| {
        answer["warnings"][0]
            .as_str()
            .is_some_and(|said| said.contains(since))
    };
    for (expression, to) in [("pm10", 0), ("max_over_time(pm10[1d])", 0), ("pm10", 50)] {
        let answer = promql(expression, at(70), at(to));
        assert!(is_told(&answer), "{answer}");
        assert_eq!(answer["warnings"].as_array().unwrap().len(), 1, "{answer}");
    }
    let window = promql("sum_over_time(pm10[30d])", at(1), now());
    assert!(is_told(&window), "it looks back behind the floor: {window}");
    for answer in [promql("pm2_5", at(70), now()), promql("pm10", at(3), now())] {
        assert!(answer.get("warnings").is_none(), "{answer}");
    }
    let all = values(other, "");
    assert_eq!(
        (shown(&all), &all["kept_from"]),
        (vec![6.0, 7.0, 1.0], &Value::Null)
    );
    // Nothing of it comes back; it is refused by name.
    let before = server.metric("onemap_refused_total{reason=\"too_old\"}").unwrap();
    std::fs::write(&file, format!("device,quantity,time,value\n{}", old(at(58), 9.0))).unwrap();
    let again = import(&server);
    let told: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!((&told["refused"], &told["new"]), (&json!(1), &json!(1)), "{told}");
    assert_eq!(
        server.metric("onemap_refused_total{reason=\"too_old\"}").unwrap(),
        before + 1
    );
    assert_eq!(shown(&values(dust, "")), [1.0]);
    server.caught_up();
    assert_eq!(
        said(&run(&server.dir, &["history", "verify", "--json"]))["ok"],
        true
    );
    let stat = said(&run(&server.dir, &["history", "stat", "--json"]));
    let of_class = |name: &str| {
        let mut classes = stat["classes"].as_array().unwrap().iter();
        classes.find(|class| class["class"] == name).unwrap().clone()
    };
    assert_eq!(
        (&of_class("dust")["raw_days"], &of_class("dust")["kept_from"]),
        (&json!(14), &kept["kept_from"]),
        "{stat}"
    );
    assert_eq!(of_class("default")["kept_from"], Value::Null);
    // Rows of weeks that the other class needs go, too: that they were there is seen only on the disk.
    wait_for("the rows to go", Duration::from_secs(60), || {
        let stat = server.get("/api/v1/history/stat");
        let weeks = stat["weeks"].as_array().unwrap();
        let old = weeks.iter().filter(|week| week["class"] == "dust");
        let mut old = old.filter(|week| week["to"].as_str() <= kept["kept_from"].as_str());
        old.next().is_none().then_some(())
    });
    assert_eq!(
        shown(&values(other, "")).len(),
        4,
        "what another class keeps stays"
    );
    // Nobody's answer changes by a kill and a replay.
    let before = (
        values(dust, ""),
        values(dust, "&step=1h&agg=max"),
        server.get("/api/v1/digest"),
    );
    let server = server.kill_and_restart();
    server.caught_up();
    let items = |path: &str| {
        server.get(&format!(
            "/api/v1/series/{dust}/values?from={}&to={}{path}",
            at(70),
            now()
        ))
    };
    assert_eq!(shown(&items("")), shown(&before.0));
    assert_eq!(shown(&items("&step=1h&agg=max")), shown(&before.1));
    let after = server.get("/api/v1/digest");
    for name in ["history", "values", "transitions"] {
        assert_eq!(after[name], before.2[name], "{name}");
    }
}

#[test]
fn a_folder_of_a_newer_layout_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let history = onemap_store::history::Restore::begin(&folder.path().join("history")).unwrap();
    let mut rows = b"onemapHR\x01\0\0\0\x06\0\0\0\x08\0\0\0format".to_vec();
    rows.extend(99u64.to_le_bytes());
    rows.extend(u32::MAX.to_le_bytes());
    rows.extend(1u64.to_le_bytes());
    assert_eq!(history.take("meta", &mut rows.as_slice()).unwrap(), 1);
    history.finish().unwrap();
    for command in [&["serve"][..], &["history", "verify"]] {
        let error = refused(&run(folder.path(), command));
        assert!(
            error.contains("layout 99") && error.contains("a newer program wrote it; use that"),
            "{error}"
        );
    }
}
