//! What InfluxDB 2 may answer, played back: tables of Flux, errors in the middle, bodies that are cut, 401, 429, 503.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use onemap_model::{Quality, Timestamp, Value};
use onemap_store::engine::{Ack, Batch, ReadingStore, Span, StoreError};
use onemap_store::history::{Agg, Point};
use onemap_store::remote::{Dialect, Paths, RemoteConfig, RemoteStore, Spool};
use tokio::runtime::Runtime;

use crate::oracle::key;
use crate::server::wait_until;
use crate::victoria;

/// Answers to be given, in order; the last one again and again. `{n}` bytes less than announced when `cut`.
#[derive(Clone, Default)]
struct Play {
    queries: Arc<Mutex<VecDeque<String>>>,
    writes: Arc<Mutex<VecDeque<String>>>,
    /// Bodies of writes that were answered with 204, and when each request came.
    taken: Arc<Mutex<Vec<String>>>,
    came: Arc<Mutex<Vec<Instant>>>,
}

impl Play {
    fn start(&self) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let play = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let play = play.clone();
                std::thread::spawn(move || play.serve(stream));
            }
        });
        port
    }

    fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        loop {
            let mut first = String::new();
            reader.read_line(&mut first).ok().filter(|n| *n > 0)?;
            let mut length = 0;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
                if line.trim().is_empty() {
                    break;
                }
                if let Some(n) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = n.trim().parse().ok()?;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            let next = |answers: &Mutex<VecDeque<String>>| {
                let mut answers = answers.lock().unwrap();
                match answers.len() {
                    1 => answers[0].clone(),
                    _ => answers.pop_front().unwrap_or_default(),
                }
            };
            let answer = if first.contains("/api/v2/write") {
                let answer = next(&self.writes);
                self.came.lock().unwrap().push(Instant::now());
                if answer.starts_with("204") {
                    self.taken.lock().unwrap().push(String::from_utf8(body).ok()?);
                }
                answer
            } else if first.contains("/api/v2/query") {
                next(&self.queries)
            } else {
                "200 OK\r\n".to_owned()
            };
            // Status line and headers, then the body behind an empty line; `cut` announces more than it gives.
            let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
            let (head, more) = match head.strip_prefix("cut ") {
                Some(head) => (head, 10),
                None => (head, 0),
            };
            let head = head.trim_end();
            write!(
                stream,
                "HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}",
                body.len() + more
            )
            .ok()?;
            if more > 0 {
                return None;
            }
        }
    }
}

struct Played {
    store: RemoteStore,
    play: Play,
    _runtime: Runtime,
    _folder: tempfile::TempDir,
}

fn config(url: &str, dir: &std::path::Path) -> RemoteConfig {
    RemoteConfig {
        dialect: Dialect::Flux,
        paths: Paths {
            write: "/api/v2/write?bucket=onemap&org=city&precision=ms".to_owned(),
            query: "/api/v2/query".to_owned(),
            health: "/health".to_owned(),
            started: None,
            delete: Some("/api/v2/delete".to_owned()),
        },
        bucket: "onemap".to_owned(),
        org: "city".to_owned(),
        upserts: true,
        ack: Ack::Durable,
        gzip: false,
        release_after: Duration::from_millis(200),
        ..victoria::config(url, dir)
    }
}

fn played(queries: &[&str], writes: &[&str]) -> Played {
    let play = Play::default();
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    *play.queries.lock().unwrap() = owned(queries);
    *play.writes.lock().unwrap() = owned(writes);
    let folder = tempfile::tempdir().unwrap();
    let config = config(&format!("http://127.0.0.1:{}", play.start()), folder.path());
    let spool = Spool::open(&config.spool_dir, config.spool_bytes, 0).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let floor = || Some(Timestamp::from_ms(i64::MAX));
    let store = RemoteStore::start(&config, Arc::new(spool), runtime.handle().clone(), floor).unwrap();
    Played {
        store,
        play,
        _runtime: runtime,
        _folder: folder,
    }
}

const START: i64 = 1_763_856_000_000;
const HEAD: &str = "#datatype,string,long,dateTime:RFC3339,double,string\r\n#group,false,false,false,false,true\r\n\
    #default,_result,,,,\r\n,result,table,_time,_value,_field\r\n";

fn values(rows: &str) -> String {
    format!(
        "200 OK\r\n\r\n{HEAD}{rows}\r\n#datatype,string,long,dateTime:RFC3339,long,string\r\n#group,false,false,false,false,true\r\n\
         #default,_result,,,,\r\n,result,table,_time,_value,_field\r\n,,1,2025-11-23T00:00:01Z,2,q\r\n\r\n"
    )
}

fn scanned(played: &Played) -> Result<Vec<Point>, StoreError> {
    let mut all = Vec::new();
    let series = [key("gauge-1", "water_level", 0)];
    played
        .store
        .scan(&series, Span::of_ms(START, START + 60_000), &mut |_, points| {
            all.extend_from_slice(points);
            ControlFlow::Continue(())
        })?;
    Ok(all)
}

#[test]
fn tables_of_flux_become_points_and_steps() {
    let rows = ",,0,2025-11-23T00:00:00Z,1.5,value\r\n,,0,2025-11-23T00:00:01Z,2.5,value\r\n,,0,2025-11-23T00:00:02Z,,value\r\n";
    let played_back = played(&[&values(rows)], &["204 No Content"]);
    let point = |ms: i64, number: f64, quality| Point {
        measured_at: Timestamp::from_ms(ms),
        value: Value::Number(number),
        quality,
    };
    let want = [
        point(START, 1.5, Quality::GOOD),
        point(START + 1000, 2.5, Quality::SUSPECT),
    ];
    assert_eq!(scanned(&played_back).unwrap(), want);

    let steps = "200 OK\r\n\r\n#datatype,string,long,dateTime:RFC3339,long,string\r\n#group,false,false,false,false,true\r\n\
        #default,count,,,,\r\n,result,table,_time,_value,device\r\n,,0,2025-11-23T00:00:00Z,4,gauge-1\r\n,,0,2025-11-23T00:00:40Z,1,gauge-1\r\n\r\n\
        #datatype,string,long,dateTime:RFC3339,double,string\r\n#group,false,false,false,false,true\r\n\
        #default,sum,,,,\r\n,result,table,_time,_value,device\r\n,,0,2025-11-23T00:00:00Z,10,gauge-1\r\n,,0,2025-11-23T00:00:40Z,7,gauge-1\r\n\r\n\
        #datatype,string,long,dateTime:RFC3339,long,string\r\n#group,false,false,false,false,true\r\n\
        #default,texts,,,,\r\n,result,table,_time,_value,device\r\n,,0,2025-11-23T00:00:20Z,3,gauge-1\r\n\r\n";
    let marks = format!(
        "200 OK\r\n\r\n{}",
        HEAD.replace("double", "long") + ",,0,2025-11-23T00:00:41Z,2,q\r\n\r\n"
    );
    let played_back = played(&[steps, &marks], &["204 No Content"]);
    let span = Span::of_ms(START, START + 60_000);
    let series = [key("gauge-1", "water_level", 0)];
    let step = Duration::from_secs(20);
    let steps = played_back
        .store
        .downsample(&series, span, step, Agg::Mean, None)
        .unwrap();
    let said: Vec<_> = steps[0].iter().map(|s| (s.value, s.n, s.n_flagged)).collect();
    assert_eq!(said, [(Some(2.5), 4, 0), (None, 3, 0), (Some(7.0), 1, 1)]);
}

#[test]
fn what_is_no_whole_answer_is_never_taken_for_one() {
    let good = values(",,0,2025-11-23T00:00:00Z,1.5,value\r\n");
    let failed = format!("{good}error,reference\r\nthe storage is away,897\r\n");
    for (answer, kind) in [
        (
            "401 Unauthorized\r\n\r\n{\"message\":\"unauthorized access\"}",
            "away",
        ),
        (
            "404 Not Found\r\n\r\n{\"message\":\"could not find bucket\"}",
            "away",
        ),
        ("500 Internal\r\n\r\nno", "away"),
        ("429 Too Many Requests\r\nretry-after: 7", "busy"),
        ("503 Service Unavailable\r\nRetry-After: 3", "busy"),
        (
            "400 Bad Request\r\n\r\n{\"message\":\"compilation failed\"}",
            "rejected",
        ),
        (&failed, "rejected"),
        (&good.replace("200 OK", "cut 200 OK"), "away"),
        (&good[..good.len() - 20], "corrupt"),
        (&good.replace(",1.5,", ",one,"), "corrupt"),
        (&good.replace("2025-11-23T00:00:00Z", "now"), "corrupt"),
        ("200 OK\r\n\r\n<html>a proxy</html>", "corrupt"),
    ] {
        let played_back = played(&[answer], &["204 No Content"]);
        let error = scanned(&played_back).unwrap_err();
        let found = match &error {
            StoreError::Unavailable { .. } => "away",
            StoreError::Busy { retry_after, .. } => {
                assert!(retry_after.is_some_and(|after| after.as_secs() >= 3), "{error:?}");
                "busy"
            }
            StoreError::Rejected { .. } => "rejected",
            StoreError::Corrupt { .. } => "corrupt",
            _ => "other",
        };
        assert_eq!(found, kind, "{answer}: {error}");
    }
}

#[test]
fn a_busy_engine_is_waited_for_as_it_asks_and_gets_each_point_once() {
    let writes = [
        "503 Service Unavailable\r\nretry-after: 1",
        "429 Too Many Requests\r\nretry-after: 1",
        "401 Unauthorized\r\n\r\nnot yet",
        "cut 200 OK",
        "204 No Content",
    ];
    let played_back = played(&["200 OK"], &writes);
    let mut batch = Batch::default();
    for i in 0..10 {
        let point = Point {
            measured_at: Timestamp::from_ms(START + i),
            value: Value::Number(i as f64),
            quality: Quality::GOOD,
        };
        batch.push_point(&key("gauge-1", "water_level", 0), &point, point.measured_at, 0);
    }
    played_back.store.append(&batch).unwrap();
    wait_until("it is taken", || played_back.store.spool().state().n_points == 0);
    let came = played_back.play.came.lock().unwrap().clone();
    assert!(came.len() >= 5, "{} requests", came.len());
    assert!(came[1] - came[0] >= Duration::from_secs(1) && came[2] - came[1] >= Duration::from_secs(1));
    let taken = played_back.play.taken.lock().unwrap().clone();
    assert_eq!(taken.iter().map(|body| body.lines().count()).sum::<usize>(), 10);
    let progress = played_back.store.state().progress(Timestamp::from_ms(0));
    assert!(
        progress.up && progress.retries >= 4 && progress.unsent.is_empty(),
        "{progress:?}"
    );
    assert_eq!((progress.sent, progress.resent), (10, 0));
    // What the margin is over for leaves the spool: a new sender has nothing to send.
    wait_until("it is released", || {
        let cursor = std::fs::read_to_string(played_back._folder.path().join("cursor"));
        cursor.is_ok_and(|text| text.trim() == "1")
    });
}
