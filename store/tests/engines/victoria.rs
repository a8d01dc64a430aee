//! VictoriaMetrics by the rules: line protocol in through the spool, PromQL out.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use onemap_model::Timestamp;
use onemap_store::engine::{Ack, ReadingStore};
use onemap_store::remote::{Dialect, Endpoint, Naming, Paths, RemoteConfig, RemoteStore, Spool};
use tokio::runtime::Runtime;

use crate::conformance::{Subject, conforms};
use crate::server::{Server, free_port, get, program, victoria, wait_until};

pub fn config(url: &str, spool_dir: &Path) -> RemoteConfig {
    let endpoint = Endpoint::new(url, None, &[], None, Duration::from_secs(20)).unwrap();
    RemoteConfig {
        dialect: Dialect::PromQl,
        writes: endpoint.clone(),
        reads: endpoint,
        paths: Paths {
            write: "/write?precision=ms".to_owned(),
            query: String::new(),
            health: "/health".to_owned(),
            started: Some("/metrics".to_owned()),
            delete: Some("/api/v1/admin/tsdb/delete_series".to_owned()),
        },
        naming: Naming {
            metric: "{measurement}_{field}".to_owned(),
            field_label: None,
        },
        bucket: String::new(),
        org: String::new(),
        url: url.to_owned(),
        token: None,
        by_crate: false,
        upserts: false,
        ack: Ack::Accepted,
        oldest: None,
        release_after: Duration::from_secs(30),
        body_bytes: 64 << 10,
        gzip: true,
        spool_dir: spool_dir.to_owned(),
        spool_bytes: 64 << 20,
        reserve_bytes: 0,
    }
}

struct Victoria {
    store: RemoteStore,
    server: Server,
    url: String,
    _runtime: Runtime,
    _folder: tempfile::TempDir,
}

impl Victoria {
    fn start() -> Option<Self> {
        let program = program("/usr/bin/victoria-metrics")?;
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let url = format!("http://127.0.0.1:{port}");
        let server = victoria(&program, &folder.path().join("vm"), port);
        let config = config(&url, &folder.path().join("spool"));
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
            url,
            _runtime: runtime,
            _folder: folder,
        })
    }
}

impl Subject for Victoria {
    fn store(&self) -> &dyn ReadingStore {
        &self.store
    }
    fn settle(&mut self) {
        wait_until("the spool is sent", || self.store.spool().state().n_points == 0);
        // What was taken in the last second is seen by questions after a flush.
        assert!(get(&format!("{}/internal/force_flush", self.url)).is_some());
    }
    fn crash(&mut self) {
        self.server.kill();
        self.server.up();
    }
}

#[test]
fn victoria_metrics_conforms() {
    if let Some(mut subject) = Victoria::start() {
        conforms(&mut subject);
        let progress = subject.store.state().progress(Timestamp::from_ms(0));
        // Each kill took what was acknowledged shortly before with it; without sending it again the rules above fail.
        assert!(progress.resent > 100, "{progress:?}");
        assert!(progress.unsent.is_empty(), "{progress:?}");
    }
}
