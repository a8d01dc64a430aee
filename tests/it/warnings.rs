//! Statutory warnings over HTTP: from an alert over a draft and an approval to a document that others read, its update
//! and its end; and messages of others, friendly and hostile.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::server::{CONFIG, Server, binary, peer, request, text, wait_for};

const SOON: Duration = Duration::from_secs(30);
const RULES: &str = "
version: 1
rules:
  - id: pm10-dust
    name: {zh: 扬尘, en: Dust}
    severity: major
    when: {above: {quantity: pm10, raise: 250 ug/m3, clear: 200 ug/m3}}
    advice: {zh: 减少外出, en: Stay inside}
";
pub const WARNINGS: &str = "[alerts.warnings]\nsender = \"xining.example\"\nsender_name = \"西宁市气象台\"\n\
    sender_name_en = \"Xining Weather Office\"\ndivision = \"630100\"\norganisation = \"416\"\n";

fn server(dir: &Path, more: &str) -> Server {
    std::fs::create_dir_all(dir.join("rules")).unwrap();
    std::fs::write(dir.join("rules/dust.yaml"), RULES).unwrap();
    std::fs::write(dir.join("onemap.toml"), format!("{CONFIG}{WARNINGS}{more}")).unwrap();
    Server::start_in(dir)
}

/// Somebody with a token of a role, perhaps of a division.
pub struct Person<'a> {
    server: &'a Server,
    token: String,
}

impl<'a> Person<'a> {
    pub fn of(server: &'a Server, role: &str, division: Option<&str>) -> Self {
        let new = json!({"role": role, "name": format!("{role} of {division:?}"), "division": division});
        let token = server.post("/api/v1/tokens", &new)["token"]
            .as_str()
            .unwrap()
            .to_owned();
        Self { server, token }
    }
    fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = body.to_string();
        let body = (method != "GET").then_some(body.as_str());
        request(&self.server.http, &self.token, method, path, body)
    }
    /// What is answered, which is to be good.
    pub fn does(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, said) = self.ask(method, path, body);
        assert!((200..300).contains(&status), "{method} {path}: {status} {said}");
        said
    }
    /// Status and code of a refusal.
    pub fn is_refused(&self, method: &str, path: &str, body: &Value) -> (u16, String) {
        let (status, said) = self.ask(method, path, body);
        (status, said["code"].as_str().unwrap_or_default().to_owned())
    }
    pub fn reads(&self, path: &str) -> String {
        text(&self.server.http, &self.token, path)
    }
}

fn approval(revision: &Value) -> Value {
    json!({"revision": revision, "authority": "西宁市应急管理局", "name": "周", "number": "2026-17"})
}

fn content() -> Value {
    let hours = Duration::from_secs(6 * 3600);
    let now = onemap_model::Timestamp::from_system(std::time::SystemTime::now());
    let words = |lang: &str| {
        json!({"event": format!("大风 {lang}"), "headline": format!("headline {lang}"),
        "description": format!("description {lang}"), "instruction": format!("instruction {lang}")})
    };
    json!({"colour": "yellow", "event_code": "11B06", "urgency": "Expected", "certainty": "Likely",
        "expires": now + hours, "zh": words("zh"), "en": words("en"), "division": "630102",
        "areas": [{"zh": "城东区", "en": "Chengdong", "divisions": ["630102"]}]})
}

/// What an independent library and the schema of OASIS say of documents.
pub fn read_by_others(documents: &[String]) -> Option<Vec<Value>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let python = peer(root.join("target/peers/cap/bin/python").to_str().unwrap())?;
    let mut reader = Command::new(python)
        .arg(root.join("tests/peers/cap_reads.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let all = serde_json::to_vec(documents).unwrap();
    reader.stdin.take().unwrap().write_all(&all).unwrap();
    let output = reader.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    Some(
        said.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
    )
}

/// Status, `etag` and body of a GET with one head more.
fn get_with(server: &Server, token: &str, path: &str, head: (&str, &str)) -> (u16, String, String, String) {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into();
    let mut asked = agent.get(format!("{}{path}", server.http)).header(head.0, head.1);
    if !token.is_empty() {
        asked = asked.header("authorization", format!("Bearer {token}"));
    }
    let mut answer = asked.call().unwrap();
    let head = |name: &str| {
        let value = answer
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap_or_default());
        value.unwrap_or_default().to_owned()
    };
    let (status, tag, last) = (answer.status().as_u16(), head("etag"), head("last-modified"));
    let mut body = String::new();
    answer.body_mut().as_reader().read_to_string(&mut body).unwrap();
    (status, tag, last, body)
}

#[test]
fn from_an_alert_over_a_second_person_to_a_document_that_others_read_its_update_and_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path(), "");
    let square = json!({"type": "Polygon", "coordinates":
        [[[101.8, 36.5], [101.9, 36.5], [101.9, 36.6], [101.8, 36.6], [101.8, 36.5]]]});
    server.post(
        "/api/v1/entities",
        &json!({"code": "630102", "kind": "division", "name": "城东区", "name_en": "Chengdong", "geometry": square}),
    );
    server.add_device("air-1", &json!({"division": "630102", "cadence_s": 3600}));
    let now = onemap_model::Timestamp::from_system(std::time::SystemTime::now());
    let raise = json!({"device": "air-1", "readings": [{"q": "pm10", "t": now.ms(), "v": 300.0}]});
    server.post("/api/v1/readings", &raise);
    let alert = wait_for("the alert", SOON, || {
        let all = server.get("/api/v1/alerts?state=open");
        all["items"][0]["id"].as_str().map(str::to_owned)
    });
    let officer = Person::of(&server, "officer", None);
    let commander = Person::of(&server, "commander", None);
    let viewer = Person::of(&server, "viewer", None);
    let elsewhere = Person::of(&server, "commander", Some("630103"));

    let drafted = officer.does(
        "POST",
        &format!("/api/v1/alerts/{alert}/warning"),
        &json!({"name": "王"}),
    );
    let id = drafted["id"].to_string();
    let path = format!("/api/v1/warnings/{id}");
    let on = |what: &str| format!("{path}/{what}");
    let draft = &drafted["draft"];
    assert_eq!(drafted["state"], "draft");
    assert_eq!(draft["content"]["colour"], "orange");
    assert_eq!(draft["content"]["zh"]["event"], "扬尘橙色预警");
    assert_eq!(draft["content"]["en"]["instruction"], "Stay inside");
    assert_eq!(draft["content"]["zh"]["sender_name"], "西宁市气象台");
    let area = &draft["content"]["areas"][0];
    assert_eq!(
        (&area["zh"], &area["divisions"][0]),
        (&json!("城东区"), &json!("630102"))
    );
    assert_eq!(area["outlines"][0].as_array().unwrap().len(), 5);
    assert_eq!(draft["faults"][0]["field"], "event_code");
    assert_eq!(draft["faults"].as_array().unwrap().len(), 1, "{draft}");

    // Before its approval it is nowhere but here, and here not for everybody.
    let feed = |who: &Person<'_>| who.reads("/feeds/cap.atom");
    assert!(!feed(&viewer).contains("<entry>"));
    assert_eq!(
        elsewhere.is_refused("GET", &path, &Value::Null),
        (404, "unknown_warning".into())
    );
    let revision = &draft["revision"];
    assert_eq!(
        elsewhere.is_refused("POST", &on("approve"), &approval(revision)),
        (404, "unknown_warning".into())
    );
    assert_eq!(
        officer.is_refused("POST", &on("approve"), &approval(revision)).0,
        403
    );
    assert_eq!(viewer.is_refused("PUT", &path, &json!({"name": "a"})).0, 403);
    assert_eq!(
        commander.is_refused("POST", &on("approve"), &approval(revision)),
        (422, "incomplete".into())
    );
    let mut whole = draft["content"].clone();
    whole["event_code"] = json!("11B06");
    let edited = officer.does(
        "PUT",
        &path,
        &json!({"name": "王", "revision": revision, "content": whole}),
    );
    assert_eq!(edited["draft"]["faults"], json!([]));
    assert_eq!(
        commander.is_refused("POST", &on("approve"), &approval(revision)),
        (409, "draft_changed".into())
    );
    let revision = &edited["draft"]["revision"];
    let mut own = approval(revision);
    own["name"] = json!("王");
    assert_eq!(
        commander.is_refused("POST", &on("approve"), &own),
        (403, "own_approval".into())
    );
    let issued = commander.does("POST", &on("approve"), &approval(revision));
    assert_eq!(
        (&issued["state"], &issued["draft"]),
        (&json!("issued"), &Value::Null)
    );
    let first = issued["messages"][0]["identifier"].as_str().unwrap().to_owned();
    assert!(first.starts_with("63010041600000_20"), "{first}");
    assert_eq!(
        commander.is_refused("POST", &on("approve"), &approval(revision)),
        (409, "no_draft".into())
    );

    // The feed has it; who is of another division is told nothing, and nobody gets it twice.
    let (status, tag, last, atom) = get_with(&server, &viewer.token, "/feeds/cap.atom", ("accept", "*/*"));
    assert_eq!(status, 200);
    let document_path = format!("/feeds/cap/{first}.xml");
    assert!(
        atom.contains(&format!("{}{document_path}", server.http)),
        "{atom}"
    );
    assert!(atom.contains("rel=\"self\""));
    for head in [("if-none-match", &tag), ("if-modified-since", &last)] {
        let (status, ..) = get_with(&server, &viewer.token, "/feeds/cap.atom", (head.0, head.1));
        assert_eq!(status, 304, "{head:?}");
    }
    assert!(!feed(&elsewhere).contains("<entry>"));
    assert_eq!(
        elsewhere.is_refused("GET", &document_path, &Value::Null),
        (404, "unknown_message".into())
    );
    assert_eq!(get_with(&server, "", "/feeds/cap.atom", ("accept", "*/*")).0, 401);
    let first_document = viewer.reads(&document_path);
    assert!(
        first_document.contains("36.5,101.8 36.5,101.9"),
        "{first_document}"
    );

    // Its update, and its end, each with its own approval.
    whole["colour"] = json!("red");
    whole.as_object_mut().unwrap().remove("alert");
    let updating = officer.does("POST", &on("update"), &json!({"name": "王", "content": whole}));
    assert_eq!(feed(&viewer), atom, "a draft of an update changes nothing");
    assert_eq!(
        officer.is_refused(
            "POST",
            &on("cancel"),
            &json!({"name": "王", "zh": "a", "en": "a"})
        ),
        (409, "draft_waits".into())
    );
    let updated = commander.does("POST", &on("approve"), &approval(&updating["draft"]["revision"]));
    let second = updated["messages"][1]["identifier"].as_str().unwrap().to_owned();
    assert!(feed(&viewer).contains(&second) && !feed(&viewer).contains(&first));
    let over = json!({"name": "王", "zh": "风力减弱", "en": "The wind has dropped"});
    let ending = officer.does("POST", &on("cancel"), &over);
    let ended = commander.does("POST", &on("approve"), &approval(&ending["draft"]["revision"]));
    assert_eq!(ended["state"], "cancelled");
    let third = ended["messages"][2]["identifier"].as_str().unwrap().to_owned();
    assert!(!feed(&viewer).contains("<entry>"));
    let since = viewer.reads("/feeds/cap.atom?since=2026-01-01T00:00:00Z");
    assert!([&first, &second, &third].iter().all(|name| since.contains(*name)));

    let read_all = |server: &Server| {
        let names = [&first, &second, &third];
        names.map(|name| text(&server.http, &server.token, &format!("/feeds/cap/{name}.xml")))
    };
    let documents = read_all(&server);
    assert_eq!(documents[0], first_document);
    if let Some(said) = read_by_others(&documents) {
        for (said, document) in said.iter().zip(&documents) {
            assert_eq!(said["schema"], true, "{}\n{document}", said["said"]);
        }
        assert_eq!(said[2]["read"]["msgType"], "Cancel");
        let references = said[2]["read"]["references"].as_str().unwrap();
        assert!(
            references.contains(&first) && references.contains(&second),
            "{references}"
        );
        assert_eq!(said[1]["read"]["info"][0]["severity"], "Extreme");
    }
    // A stop at any point, and a replay of the journal, give the same documents.
    let server = server.kill_and_restart();
    assert_eq!(read_all(&server), documents);
    assert_eq!(server.get(&path)["state"], "cancelled");
    let again = folder.path().join("again");
    let mut server = server;
    server.stop();
    let replayed = Command::new(binary("onemap"))
        .args(["--data-dir", folder.path().to_str().unwrap(), "--config"])
        .arg(folder.path().join("onemap.toml"))
        .args(["journal", "replay", "--into"])
        .arg(&again)
        .output()
        .unwrap();
    assert!(replayed.status.success(), "{replayed:?}");
    let ledger = |dir: &Path| {
        let opened = onemap_store::ledger::LedgerReader::open(&dir.join("ledger.sqlite")).unwrap();
        opened.warning_messages(None, 100).unwrap()
    };
    let (was, is) = (ledger(folder.path()), ledger(&again));
    assert_eq!((was.len(), &was), (3, &is));
}

#[test]
fn a_public_feed_needs_no_token_and_shows_no_exercise_and_nothing_else_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(
        folder.path(),
        "public = true\nown_approval = true\nurl = \"https://warn.example/x\"\n",
    );
    let issue = |standing: &str| {
        let mut content = content();
        content["standing"] = json!(standing);
        let drafted = server.post("/api/v1/warnings", &json!({"name": "王", "content": content}));
        let path = format!("/api/v1/warnings/{}/approve", drafted["id"]);
        let issued = server.post(&path, &approval(&drafted["draft"]["revision"]));
        issued["messages"][0]["identifier"].as_str().unwrap().to_owned()
    };
    let names = ["actual", "exercise", "test"].map(issue);
    let feed = |query: &str| text(&server.http, "", &format!("/feeds/cap.atom{query}"));
    for (standing, i) in [
        ("", 0),
        ("?standing=actual", 0),
        ("?standing=exercise", 1),
        ("?standing=test", 2),
    ] {
        let atom = feed(standing);
        for (j, name) in names.iter().enumerate() {
            let href = format!("href=\"https://warn.example/x/feeds/cap/{name}.xml\"");
            assert_eq!(atom.contains(&href), i == j, "{standing} {name}: {atom}");
        }
    }
    let document = text(&server.http, "", &format!("/feeds/cap/{}.xml", names[1]));
    assert!(document.contains("<status>Exercise</status>"), "{document}");
    for path in ["/api/v1/warnings", "/api/v1/warnings/received", "/feeds/alerts"] {
        assert_eq!(request(&server.http, "", "GET", path, None).0, 401, "{path}");
    }
    for path in [
        "/feeds/cap.atom?standing=x",
        "/feeds/cap.atom?since=x",
        "/feeds/cap.atom?x=1",
    ] {
        assert_eq!(request(&server.http, "", "GET", path, None).0, 400, "{path}");
    }
    assert_eq!(request(&server.http, "", "GET", "/feeds/cap/x", None).0, 404);
}

#[test]
fn a_server_without_a_sender_drafts_and_issues_nothing() {
    let server = Server::new();
    let drafted = server.post("/api/v1/warnings", &json!({"name": "王", "content": content()}));
    let path = format!("/api/v1/warnings/{}/approve", drafted["id"]);
    let body = approval(&drafted["draft"]["revision"]).to_string();
    let (status, said) = server.request("POST", &path, Some(&body));
    assert_eq!((status, &said["code"]), (409, &json!("no_sender")));
    assert!(!text(&server.http, &server.token, "/feeds/cap.atom").contains("<entry>"));
}

#[test]
fn a_kill_between_the_approval_and_its_answer_issues_once_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = server(folder.path(), "own_approval = true\n");
    for delay_ms in [0, 2, 5, 10, 30] {
        let drafted = server.post("/api/v1/warnings", &json!({"name": "王", "content": content()}));
        let path = format!("/api/v1/warnings/{}", drafted["id"]);
        let body = approval(&drafted["draft"]["revision"]).to_string();
        let host = server.http.trim_start_matches("http://").to_owned();
        let mut stream = std::net::TcpStream::connect(&host).unwrap();
        let head = format!(
            "POST {path}/approve HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            server.token,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(delay_ms));
        server = server.kill_and_restart();
        server.caught_up();
        let found = server.get(&path);
        match found["state"].as_str().unwrap() {
            "issued" => {
                let (status, said) = server.request("POST", &format!("{path}/approve"), Some(&body));
                assert_eq!((status, &said["code"]), (409, &json!("no_draft")));
            }
            "draft" => {
                server.post(&format!("{path}/approve"), &serde_json::from_str(&body).unwrap());
            }
            other => panic!("{other}"),
        }
        let messages = server.get(&path)["messages"].as_array().unwrap().clone();
        assert_eq!(messages.len(), 1);
        let document = text(&server.http, &server.token, messages[0]["href"].as_str().unwrap());
        onemap_cap::read(document.as_bytes()).unwrap();
    }
    let mut names: Vec<String> = server.get("/api/v1/warnings")["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|warning| warning["messages"][0]["identifier"].to_string())
        .collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 5);
}

/// A message of the weather office: kind, references, hours until it is over.
fn message(identifier: &str, kind: &str, references: &str, hours: i64, area: &str) -> String {
    let now = onemap_model::Timestamp::from_system(std::time::SystemTime::now());
    let time = |hours: i64| {
        let at = onemap_model::Timestamp::from_ms(now.ms() / 1000 * 1000 + hours * 3_600_000);
        onemap_cap::DateTime::beijing(at).unwrap().to_string()
    };
    let references = match references {
        "" => String::new(),
        text => format!("<references>{text}</references>"),
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<alert xmlns=\"urn:oasis:names:tc:emergency:cap:1.2\">\
         <identifier>{identifier}</identifier><sender>nmc.example</sender><sent>{}</sent><status>Actual</status>\
         <msgType>{kind}</msgType><scope>Public</scope>{references}<info><language>zh-CN</language>\
         <category>Met</category><event>暴雨</event><urgency>Immediate</urgency><severity>Severe</severity>\
         <certainty>Likely</certainty><expires>{}</expires><senderName>省气象台</senderName>\
         <headline>暴雨橙色预警</headline><parameter><valueName>GB/T 35965.1 severity</valueName><value>Orange</value>\
         </parameter><area><areaDesc>城东区</areaDesc>{area}</area></info></alert>",
        time(-1),
        time(hours)
    )
}

#[test]
fn messages_of_others_are_kept_as_they_came_replaced_and_shown_as_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path(), "");
    let square = json!({"type": "Polygon", "coordinates":
        [[[101.8, 36.5], [101.9, 36.5], [101.9, 36.6], [101.8, 36.6], [101.8, 36.5]]]});
    server.post(
        "/api/v1/entities",
        &json!({"code": "630102", "kind": "division", "name": "城东区", "geometry": square}),
    );
    let path = "/api/v1/warnings/received";
    let hand_in = |document: &str| server.request("POST", path, Some(document));
    let polygon = "<polygon>36.5,101.8 36.5,101.9 36.6,101.9 36.5,101.8</polygon>";
    let circle = "<circle>36.6,101.7 5</circle>";
    let code = "<geocode><valueName>GB/T 2260</valueName><value>630102000000</value></geocode>";
    let first = message("1", "Alert", "", 6, polygon);
    assert_eq!(hand_in(&first).1["took"], "new");
    assert_eq!(hand_in(&first).1["took"], "known");
    assert_eq!(hand_in(&message("0", "Alert", "", 0, polygon)).1["took"], "over");
    assert_eq!(hand_in(&message("2", "Alert", "", 6, circle)).1["took"], "new");
    assert_eq!(hand_in(&message("3", "Alert", "", 6, code)).1["took"], "new");
    let viewer = Person::of(&server, "viewer", None);
    assert_eq!(viewer.is_refused("POST", path, &json!({})).0, 403);
    let active = |server: &Server| -> Vec<String> {
        let all = server.get(&format!("{path}?active=true"));
        let name = |item: &Value| item["identifier"].as_str().unwrap().to_owned();
        let mut names: Vec<String> = all["items"].as_array().unwrap().iter().map(name).collect();
        names.sort();
        names
    };
    assert_eq!(active(&server), ["1", "2", "3"]);
    let map = server.get(&format!("{path}.geojson?active=true"));
    let features = map["features"].as_array().unwrap();
    let corners = |name: &str| {
        let of = |f: &&Value| f["properties"]["identifier"] == name;
        let feature = features.iter().find(of).unwrap();
        assert_eq!(feature["properties"]["own"], false);
        assert_eq!(feature["properties"]["colour"], "orange");
        assert_eq!(feature["properties"]["sender"], "nmc.example");
        assert_eq!(feature["properties"]["status"], "Actual");
        feature["geometry"]["coordinates"][0][0].as_array().unwrap().len()
    };
    assert_eq!(["1", "2", "3"].map(corners), [4, 37, 5]);

    // An update takes the place of what it references, a cancellation too, but only of its own sender.
    let sent_of = |document: &str| {
        let read = onemap_cap::read(document.as_bytes()).unwrap().alert;
        format!("{},{},{}", read.sender, read.identifier, read.sent)
    };
    let update = message("4", "Update", &sent_of(&first), 6, polygon);
    assert_eq!(hand_in(&update).1["took"], "new");
    assert_eq!(active(&server), ["2", "3", "4"]);
    let foreign = message("5", "Cancel", &sent_of(&update), 6, polygon);
    let foreign = foreign.replace("<sender>nmc.example</sender>", "<sender>other.example</sender>");
    assert_eq!(hand_in(&foreign).1["took"], "new");
    assert_eq!(active(&server), ["2", "3", "4"]);
    assert_eq!(
        hand_in(&message("6", "Cancel", &sent_of(&update), 6, polygon)).1["took"],
        "new"
    );
    assert_eq!(active(&server), ["2", "3"]);
    // None of it is ours.
    assert_eq!(server.get("/api/v1/warnings")["items"], json!([]));
    assert!(!text(&server.http, &server.token, "/feeds/cap.atom").contains("<entry>"));
    let server = server.kill_and_restart();
    server.caught_up();
    assert_eq!(active(&server), ["2", "3"]);
    let mut server = server;
    server.stop();
    let server = Server::start_in(folder.path());
    assert_eq!(active(&server), ["2", "3"]);
}

#[test]
fn hostile_messages_are_refused_by_name_counted_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path(), "");
    let path = "/api/v1/warnings/received";
    let good = message("1", "Alert", "", 6, "");
    let body = good.split_once("?>").unwrap().1.to_owned();
    let mut laughs = "<!DOCTYPE alert [<!ENTITY a \"ha\">".to_owned();
    for i in 0..10 {
        laughs.push_str(&format!("<!ENTITY a{i} \"&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;\">"));
    }
    let hostile = [
        (format!("{laughs}]>{body}"), "dtd"),
        (
            format!("<!DOCTYPE alert [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>{body}"),
            "dtd",
        ),
        (body.replace("暴雨</event>", "&x;</event>"), "entity"),
        (
            body.replace("<scope>Public</scope>", "")
                .replace("<status>", "<scope>Public</scope><status>"),
            "order",
        ),
        (body.replace("cap:1.2", "cap:9.9"), "namespace"),
        (
            format!("{}{}", "<a>".repeat(5000), "</a>".repeat(5000)),
            "too_deep",
        ),
        ("not XML at all".to_owned(), "broken_xml"),
        (String::new(), "broken_xml"),
    ];
    let n_hostile = hostile.len();
    for (document, code) in hostile {
        let (status, said) = server.request("POST", path, Some(&document));
        assert_eq!(
            (status, &said["code"]),
            (422, &json!("bad_warning")),
            "{code}: {said}"
        );
        let found = said["errors"][0]["code"].as_str().unwrap();
        assert!(
            found == code || code == "order" || code == "broken_xml",
            "{found}, not {code}"
        );
    }
    let huge = format!("{good}{}", " ".repeat(1 << 20));
    assert_eq!(server.request("POST", path, Some(&huge)).0, 413);
    server.caught_up();
    let kept = server.get("/api/v1/quarantine?reason=bad_warning");
    assert_eq!(kept["items"].as_array().unwrap().len(), n_hostile, "{kept}");
    assert_eq!(
        server.metric("onemap_refused_total{reason=\"bad_warning\"}"),
        Some(n_hostile as u64)
    );
    assert_eq!(server.get(path)["items"], json!([]));
    assert_eq!(server.request("POST", path, Some(&good)).0, 202);
    // What is known of the world's messages behaves: those that are over come to nothing, the bad ones are refused.
    let shared = std::env::var_os("ONEMAP_SHARED").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"),
        PathBuf::from,
    );
    let Ok(bytes) = std::fs::read(shared.join("standards/vectors/cap.json")) else {
        eprintln!("SKIPPED: the shared vectors are not there");
        return;
    };
    let vectors: Value = serde_json::from_slice(&bytes).unwrap();
    for (kind, want) in [("alerts", 202), ("negative", 422), ("feeds", 422)] {
        for vector in vectors[kind].as_array().unwrap() {
            let (status, said) = server.request("POST", path, vector["xml"].as_str());
            assert_eq!(status, want, "{}: {said}", vector["id"]);
        }
    }
}

/// A server of feeds: each path has its answer, `/hangs` never answers.
fn feeds_of_others(answers: &[(&str, String)]) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let answers: Vec<(String, String)> = answers
        .iter()
        .map(|(path, body)| ((*path).to_owned(), body.replace("@here", &address)))
        .collect();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut head = [0; 4096];
            let n = stream.read(&mut head).unwrap_or(0);
            let head = String::from_utf8_lossy(&head[..n]).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            if path == "/hangs" {
                held.push(stream);
                continue;
            }
            let found = answers.iter().find(|(known, _)| *known == path);
            let tag = format!("\"{}\"", path.len());
            let answer = match found {
                Some(_) if head.contains(&format!("if-none-match: {tag}")) => {
                    "HTTP/1.1 304 Not Modified\r\ncontent-length: 0\r\n\r\n".to_owned()
                }
                Some((_, body)) => {
                    format!(
                        "HTTP/1.1 200 OK\r\netag: {tag}\r\ncontent-length: {}\r\n\r\n{body}",
                        body.len()
                    )
                }
                None => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(),
            };
            // Who went away needs no answer.
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

#[test]
fn feeds_of_others_are_polled_and_one_that_hangs_or_answers_rubbish_harms_nobody() {
    let entry = |href: &str| {
        format!(
            "<entry><id>{href}</id><title>t</title><updated>2026-11-23T00:00:00Z</updated><link type=\"application/cap+xml\" href=\"{href}\"/></entry>"
        )
    };
    let feed = |entries: &[&str]| {
        let entries: String = entries.iter().map(|href| entry(href)).collect();
        format!(
            "<feed xmlns=\"http://www.w3.org/2005/Atom\"><id>urn:a</id><title>t</title><updated>2026-11-23T00:00:00Z</updated>{entries}</feed>"
        )
    };
    let address = feeds_of_others(&[
        (
            "/good.atom",
            feed(&["@here/1.xml", "2.xml", "http://127.0.0.1:1/evil.xml"]),
        ),
        ("/1.xml", message("1", "Alert", "", 6, "")),
        ("/2.xml", message("2", "Alert", "", 6, "")),
        ("/rubbish", "<html>nothing</html>".to_owned()),
        (
            "/laughs",
            "<!DOCTYPE a [<!ENTITY b \"c\">]><feed>&b;</feed>".to_owned(),
        ),
    ]);
    let sources: String = ["good.atom", "hangs", "rubbish", "laughs", "absent"]
        .iter()
        .map(|name| {
            format!("[[alerts.warnings.sources]]\nname = \"{name}\"\nurl = \"{address}/{name}\"\nevery_seconds = 1\n")
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path(), &sources);
    let received = wait_for("both messages", SOON, || {
        let all = server.get("/api/v1/warnings/received?active=true");
        (all["items"].as_array()?.len() == 2).then_some(all)
    });
    assert!(
        received["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|item| item["source"] == "good.atom")
    );
    let refused = wait_for("what is no feed", SOON, || {
        let kept = server.get("/api/v1/quarantine?reason=bad_warning");
        (kept["items"].as_array()?.len() >= 2).then_some(kept)
    });
    assert_eq!(
        refused["items"].as_array().unwrap().len(),
        2,
        "kept once each: {refused}"
    );
    // The server goes on and ends when it is told to.
    server.add_device("air-1", &json!({}));
    let mut server = server;
    server.stop();
}
