//! A disk that is full or read-only: nothing unsafe is acknowledged, nobody is thrown out, and it goes on
//! by itself.

mod refusing;

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::server::{CONFIG, Server, wait_for};

/// Bytes of the small disk.
const N_DISK: u64 = 160 << 20;
/// What the journal leaves free of it.
const N_RESERVE: u64 = 48 << 20;

/// A small disk; taken away with its holder.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None`, loudly, where mounting is not allowed.
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={N_DISK}"), "onemap-test"])
            .arg(dir.path())
            .output()
            .is_ok_and(|done| done.status.success());
        if !mounted {
            eprintln!("SKIPPED: a tmpfs cannot be mounted here (that needs root)");
            return None;
        }
        Some(Self(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    assert!(body.len() < 16_384);
    let mut bytes = vec![first, (body.len() % 128) as u8 | 0x80, (body.len() / 128) as u8];
    bytes.extend(body);
    bytes
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u16).to_be_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

/// A device that publishes one reading after the other on one connection, and remembers what was acknowledged.
struct Device {
    stop: Arc<AtomicBool>,
    acked: Arc<Mutex<BTreeSet<u64>>>,
    n_ended: Arc<AtomicU64>,
    running: Option<std::thread::JoinHandle<()>>,
}

impl Device {
    fn start(port: u16, token: &str, padding: usize) -> Self {
        let (stop, n_ended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let acked: Arc<Mutex<BTreeSet<u64>>> = Arc::default();
        let mut connect = b"\x00\x04MQTT\x04\x82\x00\x3c".to_vec();
        connect.extend(text("disk"));
        connect.extend(text(token));
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        stream.write_all(&packet(0x10, &connect)).unwrap();
        let mut connack = [0; 4];
        std::thread::sleep(Duration::from_millis(50));
        stream.read_exact(&mut connack).unwrap();
        assert_eq!(connack, [0x20, 2, 0, 0]);
        let device = (stop.clone(), acked.clone(), n_ended.clone());
        let running = std::thread::spawn(move || publish(stream, padding, &device.0, &device.1, &device.2));
        Self {
            stop,
            acked,
            n_ended,
            running: Some(running),
        }
    }

    fn n_acked(&self) -> usize {
        self.acked.lock().unwrap().len()
    }

    /// Ends it; gives what was acknowledged.
    fn end(mut self) -> BTreeSet<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.running.take().unwrap().join().unwrap();
        self.acked.lock().unwrap().clone()
    }
}

/// One at a time: the next one leaves when the last is acknowledged.
fn publish(
    mut stream: TcpStream,
    padding: usize,
    stop: &AtomicBool,
    acked: &Mutex<BTreeSet<u64>>,
    n_ended: &AtomicU64,
) {
    // Ten minutes back, so that all of it lies before now and within what is shown without asking for more.
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let started = now.as_millis() as u64 - 600_000;
    for seq in 1..60_000u64 {
        let payload = format!(
            "{{\"ts\":{},\"values\":{{\"seq\":{seq}}}}}{}",
            started + seq * 10,
            " ".repeat(padding)
        );
        let mut body = text("v1/devices/me/telemetry");
        body.extend((seq as u16).to_be_bytes());
        body.extend(payload.as_bytes());
        if stream.write_all(&packet(0x32, &body)).is_err() {
            break;
        }
        let mut ack = Vec::new();
        while ack.len() < 4 {
            let mut byte = [0; 4];
            match stream.read(&mut byte) {
                Ok(0) => {
                    n_ended.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                Ok(n) => ack.extend(&byte[..n]),
                Err(_) if stop.load(Ordering::Relaxed) => return,
                Err(_) => {}
            }
        }
        assert_eq!(ack[..2], [0x40, 2]);
        assert_eq!(u16::from_be_bytes([ack[2], ack[3]]), seq as u16);
        acked.lock().unwrap().insert(seq);
        if stop.load(Ordering::Relaxed) {
            return;
        }
    }
    n_ended.fetch_add(1, Ordering::Relaxed);
}

fn not_ready(server: &Server) -> Option<String> {
    let (status, body) = server.request("GET", "/health/ready", None);
    (status == 503).then(|| body["why"].to_string())
}

/// While the disk takes nothing: no acknowledgement, no connection lost, everything else answers.
fn is_refused_and_harmless(server: &Server, devices: &[Device], why: &[&str]) {
    let said = wait_for("a word of the disk", Duration::from_secs(60), || {
        not_ready(server).filter(|said| why.iter().any(|word| said.contains(word)))
    });
    println!("said: {said}");
    // What was on its way has had its answer; then there is none.
    std::thread::sleep(Duration::from_millis(500));
    let before: Vec<_> = devices.iter().map(Device::n_acked).collect();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        for path in [
            "/health/live",
            "/metrics",
            "/api/v1/system",
            "/api/v1/latest",
            "/api/v1/alerts",
        ] {
            let asked = Instant::now();
            assert_eq!(server.request("GET", path, None).0, 200, "{path}");
            assert!(
                asked.elapsed() < Duration::from_secs(5),
                "{path}: {:?}",
                asked.elapsed()
            );
        }
    }
    let after: Vec<_> = devices.iter().map(Device::n_acked).collect();
    assert_eq!(before, after, "acknowledged while the disk takes nothing");
    assert!(
        devices.iter().all(|d| d.n_ended.load(Ordering::Relaxed) == 0),
        "a device was cut off"
    );
}

fn goes_on(server: &Server, devices: &[Device]) {
    let before: Vec<_> = devices.iter().map(Device::n_acked).collect();
    wait_for("acknowledgements again", Duration::from_secs(60), || {
        let all = devices.iter().zip(&before).all(|(d, n)| d.n_acked() > n + 20);
        all.then_some(())
    });
    wait_for("readiness", Duration::from_secs(60), || {
        not_ready(server).is_none().then_some(())
    });
}

/// Every acknowledged reading is served once.
fn all_stored(server: &Server, names: &[String], acked: &[BTreeSet<u64>]) {
    server.caught_up();
    for (name, acked) in names.iter().zip(acked) {
        assert!(acked.len() > 100, "{name} had {} acknowledgements", acked.len());
        let id = server.latest(name, "seq").unwrap()["series"].as_u64().unwrap();
        let all = server.get(&format!("/api/v1/series/{id}/values?revisions=true"));
        let mut stored: Vec<u64> = all["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["v"].as_f64().unwrap() as u64)
            .collect();
        stored.sort_unstable();
        let n = stored.len();
        stored.dedup();
        assert_eq!(stored.len(), n, "a reading of {name} stands twice");
        let stored: BTreeSet<u64> = stored.into_iter().collect();
        let missing: Vec<_> = acked.difference(&stored).collect();
        assert!(
            missing.is_empty(),
            "{name}: {} of {} acknowledged are not stored, such as {:?}",
            missing.len(),
            acked.len(),
            missing[0]
        );
    }
}

fn devices(server: &Server, padding: usize) -> (Vec<String>, Vec<Device>) {
    let names: Vec<String> = (0..4).map(|i| format!("disk-{i}")).collect();
    let devices = names
        .iter()
        .map(|name| Device::start(server.mqtt_port, &server.add_device(name, &json!({})), padding))
        .collect();
    (names, devices)
}

#[test]
fn a_full_disk_stops_acknowledgements_and_nothing_else() {
    let Some(disk) = SmallDisk::mount() else { return };
    let dir = disk.path().join("data");
    std::fs::create_dir_all(dir.join("rules")).unwrap();
    // Room for the journal's own limit is not the question here.
    let config = format!(
        "{CONFIG}[journal]\nreserve_bytes = {N_RESERVE}\nsegment_bytes = 8388608\nmax_bytes = 10737418240\n"
    );
    std::fs::write(dir.join("onemap.toml"), config).unwrap();
    let server = Server::start_in(&dir);
    let (names, devices) = devices(&server, 8_000);
    wait_for("the first acknowledgements", Duration::from_secs(60), || {
        devices.iter().all(|d| d.n_acked() > 50).then_some(())
    });
    // Somebody else takes the disk, far into the reserve: packing closed segments cannot make up for it.
    let ballast = disk.path().join("ballast");
    let room = rustix::fs::statvfs(disk.path()).unwrap();
    let n_ballast = (room.f_bavail * room.f_frsize).saturating_sub(N_RESERVE / 3);
    std::fs::write(&ballast, vec![0; n_ballast as usize]).unwrap();
    is_refused_and_harmless(&server, &devices, &["disk"]);
    std::fs::remove_file(&ballast).unwrap();
    goes_on(&server, &devices);
    // Once more, down to the last byte.
    let room = rustix::fs::statvfs(disk.path()).unwrap();
    std::fs::write(&ballast, vec![0; (room.f_bavail * room.f_frsize) as usize]).unwrap_or_default();
    is_refused_and_harmless(&server, &devices, &["disk"]);
    std::fs::remove_file(&ballast).unwrap();
    goes_on(&server, &devices);

    let acked: Vec<_> = devices.into_iter().map(Device::end).collect();
    all_stored(&server, &names, &acked);
    let server = server.kill_and_restart();
    all_stored(&server, &names, &acked);
}

#[test]
fn whole_weeks_past_their_time_go_while_the_disk_has_no_room() {
    let Some(disk) = SmallDisk::mount() else { return };
    let dir = disk.path().join("data");
    std::fs::create_dir_all(dir.join("rules")).unwrap();
    let config = format!("{CONFIG}[journal]\nreserve_bytes = 16777216\nsegment_bytes = 8388608\n");
    std::fs::write(dir.join("onemap.toml"), &config).unwrap();
    let mut server = Server::start_in(&dir);
    server.add_device("air-1", &json!({}));
    let now = onemap_model::Timestamp::from_system(std::time::SystemTime::now()).ms();
    let rows: String = (0..60i64)
        .map(|day| onemap_model::Timestamp::from_ms(now - day * 86_400_000 - 3_600_000))
        .map(|t| format!("air-1,pm10,{t},5.5\n"))
        .collect();
    let file = dir.join("old.csv");
    std::fs::write(&file, format!("device,quantity,time,value\n{rows}")).unwrap();
    let imported = Command::new(crate::server::binary("onemap"))
        .arg("--data-dir")
        .arg(&dir)
        .args(["import", "readings"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(
        imported.status.success(),
        "{}",
        String::from_utf8_lossy(&imported.stderr)
    );
    server.caught_up();
    server.stop();
    // The start rolls up what is closed; nothing goes yet.
    let mut server = Server::start_in(&dir);
    let weeks = |server: &Server| {
        let stat = server.get("/api/v1/history/stat");
        let weeks = stat["weeks"].as_array().unwrap().len();
        (
            weeks,
            stat["rollups"].as_u64().unwrap(),
            stat["classes"][0]["kept_from"].is_string(),
        )
    };
    wait_for("the rollups of closed days", Duration::from_secs(60), || {
        (weeks(&server).1 >= 58).then_some(())
    });
    let before = weeks(&server);
    assert!(before.0 >= 9 && !before.2, "{before:?}");
    server.stop();

    // Somebody takes the disk, below what care and checkpoints need; then somebody keeps less.
    let room = rustix::fs::statvfs(disk.path()).unwrap();
    let n_ballast = (room.f_bavail * room.f_frsize).saturating_sub(5 << 19);
    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![0; n_ballast as usize]).unwrap();
    let retention = "[history.retention]\nraw_days = 7\n";
    std::fs::write(dir.join("onemap.toml"), format!("{config}{retention}")).unwrap();
    let server = Server::start_in(&dir);
    let reading = json!({"device": "air-1", "readings": [{"q": "pm10", "t": now, "v": 1.0}]});
    wait_for("a word of the disk", Duration::from_secs(60), || {
        not_ready(&server).filter(|said| said.contains("full") || said.contains("disk"))
    });
    wait_for("weeks to go", Duration::from_secs(90), || {
        let (n, _, is_kept) = weeks(&server);
        (is_kept && n <= 3).then_some(())
    });
    let room = rustix::fs::statvfs(disk.path()).unwrap();
    assert!(room.f_bavail * room.f_frsize < 4 << 20, "nobody else made room");
    // Room is made, and all goes on.
    std::fs::remove_file(&ballast).unwrap();
    wait_for("an acknowledgement", Duration::from_secs(60), || {
        let (status, _) = server.request("POST", "/api/v1/readings", Some(&reading.to_string()));
        (status == 202).then_some(())
    });
    server.caught_up();
    assert_eq!(server.latest("air-1", "pm10").unwrap()["value"], 1.0);
    let server = server.kill_and_restart();
    server.caught_up();
    assert!(weeks(&server).0 <= 3);
    assert_eq!(server.get("/api/v1/history/verify")["n_faults"], 0);
}

/// One value of a metric that may be no whole number; `None` when it is absent.
fn number(server: &Server, line: &str) -> Option<f64> {
    let text = crate::server::text(&server.http, &server.token, "/metrics");
    text.lines()
        .find_map(|l| l.strip_prefix(line)?.trim().parse().ok())
}

#[test]
fn what_the_data_takes_and_what_is_left_is_told() {
    let Some(disk) = SmallDisk::mount() else { return };
    let dir = disk.path().join("data");
    std::fs::create_dir_all(dir.join("rules")).unwrap();
    let config = format!("{CONFIG}[journal]\nreserve_bytes = 1048576\nsegment_bytes = 8388608\n");
    std::fs::write(dir.join("onemap.toml"), config).unwrap();
    let mut server = Server::start_in(&dir);
    server.add_device("air-1", &json!({}));
    let start = onemap_model::Timestamp::from_system(std::time::SystemTime::now()).ms() - 600_000;
    let readings: Vec<_> = (0..500)
        .map(|i| json!({"q": "pm10", "t": start + i * 1000, "v": (i % 50) as f64}))
        .collect();
    server.post(
        "/api/v1/readings",
        &json!({"device": "air-1", "readings": readings}),
    );
    server.caught_up();
    let chunks = "onemap_history_bytes_per_point{of=\"chunks\"}";
    let dense = wait_for("points in chunks", Duration::from_secs(30), || {
        number(&server, chunks)
    });
    assert!((0.1..20.0).contains(&dense), "{dense}");
    let of_all = "onemap_history_bytes_per_point{of=\"all\"}";
    let all = wait_for("a look at the disk", Duration::from_secs(30), || {
        number(&server, of_all)
    });
    assert!(all > 0.0, "{all}");
    let used = |part: &str| number(&server, &format!("onemap_disk_used_bytes{{part=\"{part}\"}}"));
    for part in ["journal", "history", "ledger", "register", "other"] {
        assert!(used(part) > Some(0.0), "{part}: {:?}", used(part));
    }
    assert_eq!(used("spool"), Some(0.0));
    assert_eq!(number(&server, "onemap_disk_size_bytes"), Some(N_DISK as f64));
    assert!(number(&server, "onemap_disk_free_bytes") < Some(N_DISK as f64));
    assert_eq!(number(&server, "onemap_disk_low"), Some(0.0));
    // Minutes say nothing of days: absent, not zero.
    assert_eq!(number(&server, "onemap_disk_days_left"), None);
    assert!(server.get("/health/ready")["warnings"].is_null());
    server.stop();

    // Somebody else takes the disk, but for almost four reserves: there is room for now, for what a start writes too, and
    // a word of it.
    let room = rustix::fs::statvfs(disk.path()).unwrap();
    let n_ballast = (room.f_bavail * room.f_frsize).saturating_sub((4 << 20) - (64 << 10));
    std::fs::write(disk.path().join("ballast"), vec![0; n_ballast as usize]).unwrap();
    let server = Server::start_in(&dir);
    wait_for("a low disk", Duration::from_secs(30), || {
        (number(&server, "onemap_disk_low") == Some(1.0)).then_some(())
    });
    let ready = server.get("/health/ready");
    assert_eq!(ready["ready"], true, "{ready}");
    assert!(ready["warnings"][0].to_string().contains("is low"), "{ready}");
    let told = server.get("/api/v1/system")["disk"]["low"].to_string();
    assert!(told.contains("is low"), "{told}");
}

#[test]
fn a_backup_onto_a_full_disk_is_said_and_the_next_one_is_whole() {
    let Some(disk) = SmallDisk::mount() else { return };
    let server = Server::new();
    server.add_device("air-1", &json!({}));
    let start = onemap_model::Timestamp::from_system(std::time::SystemTime::now()).ms() - 600_000;
    let readings: Vec<_> = (0..500)
        .map(|i| json!({"q": "pm10", "t": start + i * 1000, "v": (i * 37 % 101) as f64}))
        .collect();
    server.post(
        "/api/v1/readings",
        &json!({"device": "air-1", "readings": readings}),
    );
    server.caught_up();
    let ballast = disk.path().join("ballast");
    let room = rustix::fs::statvfs(disk.path()).unwrap();
    let n_ballast = room.f_bavail * room.f_frsize - 16_384;
    std::fs::write(&ballast, vec![0; n_ballast as usize]).unwrap();
    let backup = |to: &Path| {
        server.post("/api/v1/backup", &json!({"dir": to}));
        wait_for("the backup's end", Duration::from_secs(60), || {
            let state = server.get("/api/v1/backup");
            (state["state"] != "running").then_some(state)
        })
    };
    let to = disk.path().join("backup");
    let failed = backup(&to);
    assert_eq!(failed["state"], "failed", "{failed}");
    let why = failed["why"].as_str().unwrap();
    assert!(why.contains("full") || why.contains("No space left"), "{why}");
    assert_eq!(not_ready(&server), None, "the server goes on");
    // Nothing of it is in the way of the next one.
    std::fs::remove_file(&ballast).unwrap();
    let done = backup(&to);
    assert_eq!(done["state"], "done", "{done}");
    let folder = tempfile::tempdir().unwrap();
    let new = folder.path().join("new");
    let restored = Command::new(crate::server::binary("onemap"))
        .arg("--data-dir")
        .arg(&new)
        .arg("restore")
        .arg(&to)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&restored.stderr);
    assert!(restored.status.success(), "{said}");
}

#[test]
fn a_disk_cannot_be_made_read_only_under_the_server() {
    let Some(disk) = SmallDisk::mount() else { return };
    let dir = disk.path().join("data");
    std::fs::create_dir_all(dir.join("rules")).unwrap();
    std::fs::write(dir.join("onemap.toml"), CONFIG).unwrap();
    let remount = |how: &str| {
        let done = Command::new("mount").args(["-o", how]).arg(disk.path()).output();
        done.unwrap().status.success()
    };
    let mut server = Server::start_in(&dir);
    assert!(!remount("remount,ro"), "the journal is open for writing");
    assert_eq!(not_ready(&server), None);
    server.stop();
    // Without a server it can, and a start says what is wrong.
    assert!(remount("remount,ro"));
    let started = Command::new(crate::server::binary("onemap"))
        .arg("--data-dir")
        .arg(&dir)
        .arg("--config")
        .arg(dir.join("onemap.toml"))
        .arg("serve")
        .output()
        .unwrap();
    assert!(!started.status.success());
    let said = String::from_utf8_lossy(&started.stderr);
    assert!(said.contains("Read-only file system"), "{said}");
    assert!(remount("remount,rw"));
    drop(Server::start_in(&dir));
}

#[test]
fn an_import_that_has_no_room_is_refused_and_holds_up_nobody() {
    let Some(disk) = SmallDisk::mount() else { return };
    let dir = disk.path().join("data");
    std::fs::create_dir(&dir).unwrap();
    let config = format!("{CONFIG}[journal]\nreserve_bytes = {N_RESERVE}\nsegment_bytes = 8388608\n");
    std::fs::write(dir.join("onemap.toml"), config).unwrap();
    let mut server = Server::start_in(&dir);
    server.add_device("air-1", &json!({}));
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("big.geojsonl");
    let name = "n".repeat(400);
    let rows: String = (0..120_000)
        .map(|i| {
            let at = [
                101.0 + f64::from(i % 1000) / 1000.0,
                36.0 + f64::from(i / 1000) / 1000.0,
            ];
            let place = json!({"type": "Point", "coordinates": at});
            let properties = json!({"kind": "place", "code": format!("p{i}"), "name": name});
            format!(
                "{}\n",
                json!({"type": "Feature", "geometry": place, "properties": properties})
            )
        })
        .collect();
    std::fs::write(&file, &rows).unwrap();
    let post = |more: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args([
            "-s",
            "-m",
            "60",
            "-H",
            &format!("Authorization: Bearer {}", server.token),
        ]);
        curl.args(more).args(["-T", file.to_str().unwrap(), "-X", "POST"]);
        curl.arg(format!(
            "{}/api/v1/entities/import?name=big.geojsonl",
            server.http
        ));
        String::from_utf8_lossy(&curl.output().unwrap().stdout).into_owned()
    };
    // Its size is announced, or comes to light on the way.
    for more in [&[] as &[&str], &["-H", "Transfer-Encoding: chunked"]] {
        let said = post(more);
        assert!(said.contains("\"no_room\""), "{more:?}: {said}");
    }
    // What lies in the folder of imports is gone, and everybody else is heard.
    let now = onemap_model::Timestamp::from_system(std::time::SystemTime::now()).ms();
    let reading = json!({"device": "air-1", "readings": [{"q": "pm10", "t": now, "v": 10.0}]});
    server.post("/api/v1/readings", &reading);
    let free = rustix::fs::statvfs(disk.path()).unwrap();
    assert!(free.f_bavail * free.f_frsize > N_RESERVE);

    // A small one ends before the reserve does, too: the register's own log takes room.
    let piece: String = rows.lines().take(2000).map(|line| format!("{line}\n")).collect();
    std::fs::write(&file, piece).unwrap();
    let room = free.f_bavail * free.f_frsize - N_RESERVE;
    let filled = std::fs::File::create(disk.path().join("fill")).unwrap();
    rustix::fs::fallocate(&filled, rustix::fs::FallocateFlags::empty(), 0, room - (20 << 20)).unwrap();
    let said = post(&[]);
    assert!(
        said.contains("\"no_room\"") && said.contains("after 0 imported rows"),
        "{said}"
    );
    server.post("/api/v1/readings", &reading);
    server.stop();
}
