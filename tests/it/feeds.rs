//! Consumers of alerts: each receives what is for it at least once, by ids that stay, whatever becomes of it, of the server
//! or of other consumers.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hmac::Mac as _;
use serde_json::{Value, json};

use crate::server::{CONFIG, Process, Server, binary, peer, request, stream, wait_for};

/// Raises and clears at once.
const SPIKE: &str = "
version: 1
rules:
  - id: pm10-spike
    name: {zh: 尖峰, en: Spike}
    severity: major
    applies_to: {kind: air_station}
    when: {above: {quantity: pm10, raise: 250 ug/m3, clear: 200 ug/m3}}
    advice: {zh: 派人查看, en: Send someone}
";
const LONG: Duration = Duration::from_secs(120);
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const SECRET: &str = "a shared secret";

/// What a receiver does with a request that it has read.
#[derive(Clone, Debug)]
pub enum Does {
    Says(String),
    /// Says it, then never ends its body.
    Endless,
    /// Is gone before it answers.
    Dies,
    /// Never answers.
    Hangs,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Got {
    head: String,
    body: String,
}

impl Got {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        let found = lines.filter(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim()).next()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    fn id(&self) -> String {
        self.header("onemap-id").expect("an id").to_owned()
    }
}

type Script = Arc<Mutex<dyn FnMut(usize, &Got) -> Does + Send>>;

/// A consumer on a port of its own.
pub struct Receiver {
    pub port: u16,
    got: Arc<Mutex<Vec<Got>>>,
    script: Script,
}

impl Receiver {
    fn new(script: impl FnMut(usize, &Got) -> Does + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let receiver = Self {
            port: listener.local_addr().unwrap().port(),
            got: Arc::default(),
            script: Arc::new(Mutex::new(script)),
        };
        let (got, script) = (receiver.got.clone(), receiver.script.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (got, script) = (got.clone(), script.clone());
                std::thread::spawn(move || serve(stream, &got, &script));
            }
        });
        receiver
    }

    pub fn well() -> Self {
        Self::new(|_, _| Does::Says(OK.to_owned()))
    }

    pub fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    fn wait(&self, what: &str, n: usize) -> Vec<Got> {
        wait_for(what, LONG, || {
            let got = self.got();
            (got.len() >= n).then_some(got)
        })
    }
}

fn serve(mut stream: TcpStream, got: &Mutex<Vec<Got>>, script: &Script) {
    let Some(request) = read(&mut stream) else { return };
    let n = {
        let mut got = got.lock().unwrap();
        got.push(request.clone());
        got.len() - 1
    };
    let does = (script.lock().unwrap())(n, &request);
    match does {
        Does::Dies => {}
        Does::Hangs => std::thread::sleep(Duration::from_secs(600)),
        Does::Says(text) => drop(stream.write_all(text.as_bytes())),
        Does::Endless => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            while stream.write_all(&[b'x'; 8192]).is_ok() {}
        }
    }
}

fn read(stream: &mut TcpStream) -> Option<Got> {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        let n = stream.read(&mut part).ok().filter(|n| *n > 0)?;
        bytes.extend_from_slice(&part[..n]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, _)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length: usize = length.map_or(0, |(_, n)| n.trim().parse().unwrap());
        let start = head.len() + 4;
        if bytes.len() >= start + length {
            let body = String::from_utf8(bytes[start..start + length].to_vec()).unwrap();
            let head = String::from_utf8_lossy(&bytes[..start]).into_owned();
            return Some(Got { head, body });
        }
    }
}

/// A folder with a rule, a secret and these consumers.
pub fn folder(consumers: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    std::fs::create_dir(dir.join("rules")).unwrap();
    std::fs::write(dir.join("rules/spike.yaml"), SPIKE).unwrap();
    let secret = dir.join("secret");
    std::fs::write(&secret, format!("{SECRET}\n")).unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(dir.join("onemap.toml"), format!("{CONFIG}{consumers}")).unwrap();
    folder
}

fn webhook(name: &str, port: u16, more: &str) -> String {
    format!(
        "[[alerts.consumers]]\nname = \"{name}\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:{port}/hook?key=hidden\"\n\
         secret_file = \"secret\"\n{more}\n"
    )
}

pub fn measure(server: &Server, device: &str, value: f64) {
    let now = onemap_model::Timestamp::from_system(std::time::SystemTime::now()).ms();
    let body = json!({"device": device, "readings": [{"q": "pm10", "t": now, "v": value}]});
    server.post("/api/v1/readings", &body);
}

/// Numbers and ids of all transitions.
pub fn transitions(server: &Server) -> BTreeMap<u64, String> {
    let mut all = BTreeMap::new();
    for alert in server.get("/api/v1/alerts?limit=1000")["items"]
        .as_array()
        .unwrap()
    {
        let story = server.get(&format!("/api/v1/alerts/{}", alert["id"].as_str().unwrap()));
        for edge in story["history"].as_array().unwrap() {
            all.insert(
                edge["seq"].as_u64().unwrap(),
                edge["id"].as_str().unwrap().to_owned(),
            );
        }
    }
    all
}

pub fn standing(server: &Server, name: &str) -> Value {
    let feeds = server.get("/api/v1/feeds");
    let found = feeds["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|feed| feed["name"] == name);
    found.unwrap_or_else(|| panic!("{name} in {feeds}")).clone()
}

pub fn caught_up(server: &Server, name: &str) -> Value {
    wait_for(&format!("{name} to have all"), LONG, || {
        let feed = standing(server, name);
        (feed["lag"] == 0).then_some(feed)
    })
}

#[test]
fn a_webhook_is_told_every_edge_signed_and_each_has_a_receipt() {
    let desk = Receiver::well();
    let folder = folder(&webhook("desk", desk.port, ""));
    let server = Server::start_in(folder.path());
    server.add_device("air-1", &json!({"name": "城东站"}));
    measure(&server, "air-1", 300.0);
    let raised = desk.wait("the raised edge", 1).remove(0);
    measure(&server, "air-1", 100.0);
    desk.wait("the cleared edge", 2);
    assert!(
        raised.head.starts_with("POST /hook?key=hidden HTTP/1.1\r\n"),
        "{raised:?}"
    );
    let time = raised.header("onemap-timestamp").unwrap();
    let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("{time}.{}", raised.body).as_bytes());
    let digits: String = mac
        .finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(raised.header("onemap-signature").unwrap(), format!("v1={digits}"));
    let body = raised.json();
    crate::schemas::check("feed-item", &body);
    assert_eq!(
        (&body["id"], &body["edge"]),
        (&json!(raised.id()), &json!("raised"))
    );
    let shown = server.get(&format!(
        "/api/v1/alerts/{}",
        body["alert"]["id"].as_str().unwrap()
    ));
    for key in ["id", "rule", "series", "device_name", "raised_at", "advice"] {
        assert_eq!(body["alert"][key], shown[key], "{key}");
    }
    let feed = caught_up(&server, "desk");
    assert_eq!(
        (&feed["state"], &feed["host"], &feed["sent"], &feed["set_aside"]),
        (
            &json!("ok"),
            &json!(format!("127.0.0.1:{}", desk.port)),
            &json!(2),
            &json!(0)
        )
    );
    let all = server.get("/api/v1/feeds").to_string();
    assert!(!all.contains("hidden") && !all.contains(SECRET), "{all}");
    let receipts = server.get("/api/v1/feeds/desk/receipts?limit=1");
    let first = &receipts["items"][0];
    assert_eq!(
        (
            &first["id"],
            &first["status"],
            &first["answer"],
            &first["attempt"]
        ),
        (&json!(raised.id()), &json!(200), &json!("ok"), &json!(1))
    );
    let next = receipts["next"].as_str().unwrap();
    let rest = server.get(&format!("/api/v1/feeds/desk/receipts?after={next}"));
    assert_eq!(rest["items"][0]["edge"], "cleared");
    assert_eq!(
        server.metric("onemap_feed_sent_total{consumer=\"desk\"}"),
        Some(2)
    );
    assert_eq!(server.metric("onemap_feed_lag_items{consumer=\"desk\"}"), Some(0));
    let (status, problem) = server.request("GET", "/api/v1/feeds/nobody/receipts", None);
    assert_eq!((status, &problem["code"]), (404, &json!("unknown_feed")));
    // Whoever sees a part of the city sees none of this.
    let part = server.post(
        "/api/v1/tokens",
        &json!({"name": "part", "role": "operator", "division": "630103"}),
    );
    let (status, _) = request(
        &server.http,
        part["token"].as_str().unwrap(),
        "GET",
        "/api/v1/feeds",
        None,
    );
    assert_eq!(status, 403);
}

#[test]
fn a_consumer_killed_fifty_times_gets_each_item_at_least_once_by_its_id() {
    let deaths = Arc::new(AtomicUsize::new(0));
    let died = deaths.clone();
    // What it had when it died was written, for all that we know, or was not.
    let frail = Receiver::new(move |n, _| {
        if n % 3 != 2 && died.load(Ordering::Relaxed) < 50 {
            died.fetch_add(1, Ordering::Relaxed);
            return Does::Dies;
        }
        Does::Says(OK.to_owned())
    });
    let well = Receiver::well();
    let consumers = webhook("frail", frail.port, "") + &webhook("well", well.port, "from = \"beginning\"");
    let folder = folder(&consumers);
    let mut server = Server::start_in(folder.path());
    server.add_device("air-1", &json!({}));
    for round in 0..5 {
        for _ in 0..5 {
            measure(&server, "air-1", 300.0);
            measure(&server, "air-1", 100.0);
        }
        if round < 4 {
            // While it is in the middle of telling.
            frail.wait("something of this round", 4 * (round + 1));
            server = server.kill_and_restart();
        }
    }
    let n = wait_for("every edge", LONG, || {
        let n = transitions(&server).len();
        (n >= 50).then_some(n)
    });
    caught_up(&server, "frail");
    caught_up(&server, "well");
    let all = transitions(&server);
    assert_eq!(all.len(), n);
    assert_eq!(deaths.load(Ordering::Relaxed), 50);
    for receiver in [&frail, &well] {
        let mut told: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
        for got in receiver.got() {
            let seq = got.json()["seq"].as_u64().unwrap();
            told.entry(seq).or_default().insert(got.id());
        }
        let once: BTreeMap<u64, String> = told
            .into_iter()
            .map(|(seq, ids)| {
                assert_eq!(ids.len(), 1, "{seq} has one id: {ids:?}");
                (seq, ids.into_iter().next().unwrap())
            })
            .collect();
        assert_eq!(once, all);
    }
    let receipts = server.get("/api/v1/feeds/frail/receipts?limit=1000");
    let kept: BTreeSet<&str> = receipts["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|receipt| receipt["id"].as_str().unwrap())
        .collect();
    assert_eq!(kept, all.values().map(String::as_str).collect());
}

#[test]
fn a_bad_consumer_harms_neither_the_others_nor_the_stream() {
    let says = |text: &str| Does::Says(text.to_owned());
    let hangs = Receiver::new(|_, _| Does::Hangs);
    let faulty = Receiver::new(move |n, _| match n {
        0 => says("HTTP/1.1 500 Oh\r\ncontent-length: 3\r\n\r\nbad"),
        _ => says(OK),
    });
    let gone = Receiver::new(move |n, _| match n {
        0 => says("HTTP/1.1 410 Gone\r\ncontent-length: 4\r\n\r\ngone"),
        _ => says(OK),
    });
    let busy = Receiver::new(move |n, _| match n {
        0 => says("HTTP/1.1 429 Busy\r\nretry-after: 3\r\ncontent-length: 0\r\n\r\n"),
        _ => says(OK),
    });
    let elsewhere = Receiver::well();
    let to = elsewhere.port;
    let moved = Receiver::new(move |_, _| {
        says(&format!(
            "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{to}/\r\ncontent-length: 0\r\n\r\n"
        ))
    });
    let endless = Receiver::new(|_, _| Does::Endless);
    let half = Receiver::new(move |n, _| match n {
        0 => says("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"),
        _ => says(OK),
    });
    let absent = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let well = Receiver::well();
    let consumers = [
        webhook("hangs", hangs.port, "timeout = 1"),
        webhook("faulty", faulty.port, ""),
        webhook("gone", gone.port, ""),
        webhook("busy", busy.port, ""),
        webhook("moved", moved.port, "tries_within = 1"),
        webhook("endless", endless.port, ""),
        webhook("half", half.port, ""),
        webhook("absent", absent, ""),
        webhook("well", well.port, ""),
    ];
    let folder = folder(&consumers.concat());
    let server = Server::start_in(folder.path());
    server.add_device("air-1", &json!({}));
    let told = stream(&server.http, &server.token, "/feeds/alerts");
    measure(&server, "air-1", 300.0);
    well.wait("the well one", 1);
    wait_for("the stream", LONG, || {
        told.lock().unwrap().contains("\"edge\":\"raised\"").then_some(())
    });
    for (name, receiver) in [("faulty", &faulty), ("busy", &busy), ("half", &half)] {
        let feed = caught_up(&server, name);
        assert_eq!(
            (&feed["state"], &feed["sent"]),
            (&json!("ok"), &json!(1)),
            "{feed}"
        );
        let ids: BTreeSet<String> = receiver.got().iter().map(Got::id).collect();
        assert_eq!((receiver.got().len(), ids.len()), (2, 1), "{name}");
        assert_eq!(feed["last_receipt"]["attempt"], 2, "{feed}");
    }
    let at = |receiver: &Receiver, n: usize| {
        let got = receiver.got();
        got[n].header("onemap-timestamp").unwrap().parse::<i64>().unwrap()
    };
    assert!(
        at(&busy, 1) - at(&busy, 0) >= 2,
        "it is left alone as long as it asks"
    );
    // The end of it is not waited for.
    let feed = caught_up(&server, "endless");
    assert_eq!(
        feed["last_receipt"]["answer"].as_str().unwrap().len(),
        200,
        "{feed}"
    );
    for (name, reason, status) in [
        ("gone", "status_4xx", json!(410)),
        ("moved", "redirect", json!(302)),
    ] {
        let feed = caught_up(&server, name);
        assert_eq!(
            (&feed["state"], &feed["set_aside"]),
            (&json!("set_aside"), &json!(1)),
            "{feed}"
        );
        let aside = server.get(&format!("/api/v1/feeds/{name}/set-aside"))["items"][0].clone();
        assert_eq!((&aside["reason"], &aside["status"]), (&json!(reason), &status));
    }
    assert_eq!(elsewhere.got().len(), 0, "nobody goes where it is sent");
    for (name, reason) in [("hangs", "timeout"), ("absent", "unreached")] {
        let feed = wait_for(&format!("{name} to be tried"), LONG, || {
            let feed = standing(&server, name);
            (feed["state"] == "retrying").then_some(feed)
        });
        assert_eq!(feed["last_error"]["reason"], reason, "{feed}");
        assert_eq!(feed["lag"], 1);
        let metric = format!("onemap_feed_failed_total{{consumer=\"{name}\",reason=\"{reason}\"}}");
        assert!(server.metric(&metric).unwrap() >= 1);
    }
    // What was set aside is sent again when somebody asks.
    let aside = server.get("/api/v1/feeds/gone/set-aside")["items"][0].clone();
    let path = format!("/api/v1/feeds/gone/set-aside/{}/retry", aside["n"]);
    assert_eq!(server.request("POST", &path, None).0, 202);
    wait_for("it to be received", LONG, || {
        (standing(&server, "gone")["set_aside"] == 0).then_some(())
    });
    let ids: BTreeSet<String> = gone.got().iter().map(Got::id).collect();
    assert_eq!((gone.got().len(), ids.len()), (2, 1));
    assert_eq!(server.request("POST", &path, None).0, 404);
    assert_eq!(
        server
            .request("POST", "/api/v1/feeds/gone/set-aside/x/retry", None)
            .0,
        404
    );
}

#[test]
fn robots_and_gateways_are_spoken_to_in_their_ways() {
    let robot = |ok: &'static str, bad: &'static str| {
        Receiver::new(move |n, _| {
            let body = if n == 0 { bad } else { ok };
            let length = body.len();
            Does::Says(format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}"
            ))
        })
    };
    let ding = robot(
        r#"{"errcode":0,"errmsg":"ok"}"#,
        r#"{"errcode":-1,"errmsg":"busy"}"#,
    );
    let wecom = robot(r#"{"errcode":0}"#, r#"{"errcode":93000,"errmsg":"invalid"}"#);
    let feishu = robot(r#"{"code":0}"#, r#"{"StatusCode":0}"#);
    let sms = Receiver::well();
    let robots = [("ding", "dingtalk", &ding), ("feishu", "feishu", &feishu)];
    let mut consumers = String::new();
    for (name, kind, receiver) in robots {
        consumers += &format!(
            "[[alerts.consumers]]\nname = \"{name}\"\nkind = \"{kind}\"\nurl = \"http://127.0.0.1:{}/send?access_token=t\"\n\
             secret_file = \"secret\"\n",
            receiver.port
        );
    }
    consumers += &format!(
        "[[alerts.consumers]]\nname = \"wecom\"\nkind = \"wecom\"\nurl = \"http://127.0.0.1:{}/send?key=t\"\n",
        wecom.port
    );
    consumers += &format!(
        "[[alerts.consumers]]\nname = \"sms\"\nkind = \"gateway\"\nurl = \"http://127.0.0.1:{}/sms?id={{{{id}}}}\"\n\
         secret_file = \"secret\"\nedges = [\"raised\"]\nheaders = {{ Content-Type = \"application/json\", X-Key = \"{{{{secret}}}}\" }}\n\
         body = '{{\"to\":\"13900000000\",\"text\":\"【{{{{severity_zh}}}}】{{{{device_name}}}} {{{{message_zh}}}}\"}}'\n",
        sms.port
    );
    let folder = folder(&consumers);
    let server = Server::start_in(folder.path());
    server.add_device("air-1", &json!({"name": "\"站\" <@all>"}));
    measure(&server, "air-1", 300.0);
    let got = ding.wait("the robot to be asked again", 2);
    assert!(
        got[1].head.starts_with("POST /send?access_token=t&timestamp="),
        "{got:?}"
    );
    let text = got[1].json()["markdown"]["text"].as_str().unwrap().to_owned();
    assert!(
        text.contains("【重要】发生 尖峰") && text.contains("＜＠all＞"),
        "{text}"
    );
    caught_up(&server, "ding");
    let aside = wait_for("the robot's words to count", LONG, || {
        server.get("/api/v1/feeds/wecom/set-aside")["items"]
            .get(0)
            .cloned()
    });
    assert_eq!(
        (&aside["reason"], &aside["status"]),
        (&json!("refused_in_words"), &json!(200))
    );
    let got = feishu.wait("the message", 1);
    assert!(got[0].json()["sign"].is_string(), "{got:?}");
    let got = sms.wait("the short message", 1);
    let body = got[0].json();
    assert!(
        body["text"]
            .as_str()
            .unwrap()
            .starts_with("【重要】\"站\" <@all>"),
        "{body}"
    );
    assert_eq!(got[0].header("x-key"), Some(SECRET));
    // Ten more alarms are one message.
    for n in 2..12 {
        server.add_device(&format!("air-{n}"), &json!({}));
    }
    for n in 2..12 {
        measure(&server, &format!("air-{n}"), 300.0);
    }
    caught_up(&server, "feishu");
    caught_up(&server, "sms");
    assert_eq!(sms.got().len(), 11);
    assert!(feishu.got().len() <= 6, "{}", feishu.got().len());
    let receipts = server.get("/api/v1/feeds/feishu/receipts");
    assert_eq!(receipts["items"].as_array().unwrap().len(), 11, "{receipts}");
}

/// A running Alertmanager that forgets what is not told again after three seconds.
fn alertmanager(program: &std::path::Path, dir: &std::path::Path, port: u16) -> Process {
    let config = dir.join("alertmanager.yml");
    let text = "global: {resolve_timeout: 3s}\nroute: {receiver: none}\nreceivers: [{name: none}]\n";
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new(program);
    command
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.path={}", dir.join("am").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg("--cluster.listen-address=")
        .stderr(std::process::Stdio::null());
    let process = Process::start(command);
    wait_for("Alertmanager", LONG, || {
        TcpStream::connect(("127.0.0.1", port)).ok()
    });
    process
}

#[test]
fn an_alertmanager_shows_what_is_open_and_what_ended_is_resolved_there() {
    let Some(program) = peer("prometheus-alertmanager") else {
        return;
    };
    let peer_dir = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut manager = alertmanager(&program, peer_dir.path(), port);
    let folder = folder(&format!(
        "[[alerts.consumers]]\nname = \"am\"\nkind = \"alertmanager\"\nurl = \"http://127.0.0.1:{port}\"\nremind = 1\n"
    ));
    let mut server = Server::start_in(folder.path());
    server.add_device("air-1", &json!({}));
    measure(&server, "air-1", 300.0);
    let base = format!("http://127.0.0.1:{port}");
    let shown = || request(&base, "", "GET", "/api/v2/alerts", None).1;
    let first = wait_for("the alert", LONG, || shown().get(0).cloned());
    for (label, value) in [
        ("alertname", "pm10-spike"),
        ("severity", "major"),
        ("device", "air-1"),
        ("quantity", "pm10"),
    ] {
        assert_eq!(first["labels"][label], value, "{first}");
    }
    assert!(
        first["annotations"]["description_zh"].as_str().unwrap().len() > 3,
        "{first}"
    );
    let ends = |alert: &Value| {
        let text = alert["endsAt"].as_str().unwrap();
        onemap_model::Timestamp::parse(text).unwrap().ms()
    };
    // It is told again, past the time after which it would be forgotten; also by a server that was killed.
    let told_on = |what: &str| {
        let before = ends(&wait_for(what, LONG, || shown().get(0).cloned()));
        wait_for(what, LONG, || {
            let alert = shown().get(0).cloned()?;
            (ends(&alert) > before + 5_000).then_some(())
        });
    };
    told_on("it to be told again");
    server = server.kill_and_restart();
    told_on("it to be told again after a kill");
    // One that lost everything is told what is open.
    manager.kill();
    std::fs::remove_dir_all(peer_dir.path().join("am")).unwrap();
    let _manager = alertmanager(&program, peer_dir.path(), port);
    told_on("it to be told to one that is new");
    measure(&server, "air-1", 100.0);
    wait_for("its end", LONG, || (shown() == json!([])).then_some(()));
    let feed = caught_up(&server, "am");
    assert_eq!(
        (&feed["set_aside"], &feed["kind"]),
        (&json!(0), &json!("alertmanager"))
    );
    let receipts = server.get("/api/v1/feeds/am/receipts");
    let edges: Vec<&str> = receipts["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|receipt| receipt["edge"].as_str().unwrap())
        .collect();
    assert_eq!(edges, ["raised", "cleared"]);
}

#[test]
fn a_consumer_that_cannot_be_served_is_said_with_its_line_before_the_start() {
    let folder = folder(&webhook("desk", 9, "").replace("127.0.0.1:9/hook", "example.org/hook"));
    let mut command = Command::new(binary("onemap"));
    command
        .arg("--json")
        .arg("--data-dir")
        .arg(folder.path())
        .arg("--config")
        .arg(folder.path().join("onemap.toml"))
        .arg("check");
    let said = command.output().unwrap();
    assert!(!said.status.success());
    let said: Value = serde_json::from_slice(&said.stdout).unwrap();
    let fault = said["faults"][0].as_str().unwrap();
    let line = CONFIG.lines().count() + 2;
    assert!(
        fault.contains(&format!("onemap.toml:{line}: ")) && fault.contains("allow_plain"),
        "{fault}"
    );
    assert!(!fault.contains("hidden"), "{fault}");
}
