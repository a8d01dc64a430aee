//! InfluxDB by the rules. The server is InfluxDB 1.6.7 of Debian behind a shim for the paths of InfluxDB 2: no package
//! of InfluxDB 2 exists. It is asked in InfluxQL; what Flux asks and answers is tested in `flux` and `annotated_csv`.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use onemap_model::{Quality, Timestamp, Value};
use onemap_store::engine::{Ack, Batch, ReadingStore, Span};
use onemap_store::history::Point;
use onemap_store::remote::{Dialect, Paths, RemoteConfig, RemoteStore, Spool, Unsent};
use tokio::runtime::Runtime;

use crate::conformance::{Subject, conforms};
use crate::oracle::key;
use crate::server::{Server, free_port, get, program, wait_until};
use crate::{shim, victoria};

fn influxd(program: &Path, dir: &Path, port: u16) -> Server {
    std::fs::create_dir_all(dir).unwrap();
    let folder = dir.display();
    let config = format!(
        "reporting-disabled = true\nbind-address = \"127.0.0.1:0\"\n[meta]\ndir = \"{folder}/meta\"\n[data]\ndir = \"{folder}/data\"\n\
         wal-dir = \"{folder}/wal\"\nquery-log-enabled = false\n[monitor]\nstore-enabled = false\n[subscriber]\nenabled = false\n\
         [continuous_queries]\nenabled = false\n[http]\nbind-address = \"127.0.0.1:{port}\"\nlog-enabled = false\n"
    );
    let path = dir.join("influxdb.conf");
    std::fs::write(&path, config).unwrap();
    let program = program.to_owned();
    Server::start(format!("http://127.0.0.1:{port}/ping"), move || {
        let mut command = Command::new(&program);
        command.arg("-config").arg(&path);
        command
    })
}

fn config(url: &str, spool_dir: &Path, by_crate: bool) -> RemoteConfig {
    RemoteConfig {
        dialect: Dialect::InfluxQl,
        paths: Paths {
            write: "/api/v2/write?bucket=onemap&org=city&precision=ms".to_owned(),
            query: "/query".to_owned(),
            health: "/health".to_owned(),
            started: None,
            delete: Some("/api/v2/delete".to_owned()),
        },
        bucket: "onemap".to_owned(),
        org: "city".to_owned(),
        by_crate,
        upserts: true,
        ack: Ack::Durable,
        gzip: false,
        ..victoria::config(url, spool_dir)
    }
}

struct Influx {
    store: RemoteStore,
    server: Server,
    port: u16,
    spool_dir: std::path::PathBuf,
    _runtime: Runtime,
    _folder: tempfile::TempDir,
}

impl Influx {
    fn start(by_crate: bool) -> Option<Self> {
        let program = program("/usr/bin/influxd")?;
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let server = influxd(&program, &folder.path().join("influx"), port);
        let created =
            ureq::post(format!("http://127.0.0.1:{port}/query?q=CREATE+DATABASE+onemap")).send_empty();
        assert!(created.is_ok(), "{created:?}");
        let url = format!("http://127.0.0.1:{}", shim::start(port));
        let spool_dir = folder.path().join("spool");
        let config = config(&url, &spool_dir, by_crate);
        let spool = Spool::open(&config.spool_dir, config.spool_bytes, 0).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let floor = || Some(Timestamp::from_ms(i64::MAX));
        let store = RemoteStore::start(&config, Arc::new(spool), runtime.handle().clone(), floor).unwrap();
        Some(Self {
            store,
            server,
            port,
            spool_dir,
            _runtime: runtime,
            _folder: folder,
        })
    }
}

impl Subject for Influx {
    fn store(&self) -> &dyn ReadingStore {
        &self.store
    }
    fn settle(&mut self) {
        wait_until("the spool is sent", || self.store.spool().state().n_points == 0);
    }
    fn crash(&mut self) {
        self.server.kill();
        self.server.up();
    }
}

#[test]
fn influxdb_conforms() {
    if let Some(mut subject) = Influx::start(false) {
        conforms(&mut subject);
    }
}

#[cfg(feature = "influxdb2")]
#[test]
fn influxdb_through_the_crate_conforms() {
    if let Some(mut subject) = Influx::start(true) {
        conforms(&mut subject);
    }
}

#[test]
fn a_line_that_the_engine_refuses_is_found_kept_and_counted_and_the_others_arrive() {
    let Some(mut subject) = Influx::start(cfg!(feature = "influxdb2")) else {
        return;
    };
    let at = 1_763_827_207_003;
    // `value` of pH is a text there: numbers are refused from now on.
    let poison = format!("ph,device=other,ch=0 value=\"x\" {at}\n");
    ureq::post(format!(
        "http://127.0.0.1:{}/write?db=onemap&precision=ms",
        subject.port
    ))
    .send(&poison)
    .unwrap();
    let mut batch = Batch::default();
    let (level, ph) = (key("gauge-1", "water_level", 0), key("gauge-1", "ph", 0));
    for i in 0..100 {
        let series = if i % 40 == 7 { &ph } else { &level };
        let point = Point {
            measured_at: Timestamp::from_ms(at + i),
            value: Value::Number(i as f64),
            quality: Quality::GOOD,
        };
        batch.push_point(series, &point, point.measured_at, 0);
    }
    subject.store.append(&batch).unwrap();
    subject.settle();
    let mut n = 0;
    subject
        .store
        .scan(&[level], Span::of_ms(at, at + 1000), &mut |_, points| {
            n += points.len();
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(n, 97);
    let progress = subject.store.state().progress(Timestamp::from_ms(0));
    assert_eq!(progress.unsent, [(Unsent::Engine, 3)].into());
    let kept = std::fs::read_to_string(subject.spool_dir.join("refused.lp")).unwrap();
    assert_eq!(
        kept.lines()
            .filter(|line| line.starts_with("ph,device=gauge-1"))
            .count(),
        3,
        "{kept}"
    );
    assert!(kept.contains("# 400") && kept.contains("conflict"), "{kept}");
    assert!(get(&format!("http://127.0.0.1:{}/ping", subject.port)).is_some());
}
