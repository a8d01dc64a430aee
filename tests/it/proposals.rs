//! Rule files that need a second person, on a running server.

use std::time::Duration;

use serde_json::{Value, json};

use crate::alarms::DUST;
use crate::server::{CONFIG, Server, request, wait_for};

const SOON: Duration = Duration::from_secs(15);
const NEEDED: &str = "[alerts]\nrules_need_approval = true\n";

/// A server on which rules need a second person, and two who may change them.
struct Room {
    server: Server,
    wang: String,
    li: String,
    _folder: tempfile::TempDir,
}

fn token(server: &Server, name: &str) -> String {
    let new = json!({"name": name, "role": "integrator"});
    let made = server.post("/api/v1/tokens", &new);
    made["token"].as_str().unwrap().to_owned()
}

impl Room {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("rules")).unwrap();
        std::fs::write(folder.path().join("rules/dust.yaml"), DUST).unwrap();
        std::fs::write(folder.path().join("onemap.toml"), CONFIG.to_owned() + NEEDED).unwrap();
        let server = Server::start_in(folder.path());
        let [wang, li] = ["wang", "li"].map(|name| token(&server, name));
        Self {
            server,
            wang,
            li,
            _folder: folder,
        }
    }
    fn put(&self, token: &str, said: &str, text: &str) -> (u16, Value) {
        let path = format!("/api/v1/rules/dust{said}");
        request(&self.server.http, token, "PUT", &path, Some(text))
    }
    fn propose(&self, text: &str) -> u64 {
        let (status, proposal) = self.put(&self.wang, "?name=Wang&note=lower", text);
        assert_eq!((status, &proposal["state"]), (202, &json!("open")), "{proposal}");
        proposal["id"].as_u64().unwrap()
    }
    fn post(&self, token: &str, id: u64, what: &str, body: &Value) -> (u16, Value) {
        let path = format!("/api/v1/rules/proposals/{id}/{what}");
        request(&self.server.http, token, "POST", &path, Some(&body.to_string()))
    }
    fn approve(&self, token: &str, name: &str, id: u64) -> (u16, Value) {
        self.post(token, id, "approve", &json!({"name": name}))
    }
    fn shown(&self, id: u64) -> Value {
        self.server.get(&format!("/api/v1/rules/proposals/{id}"))
    }
    /// The text in force of the one file; `None` when there is none.
    fn in_force(&self) -> Option<String> {
        let files = self.server.get("/api/v1/rules");
        files["items"][0]["text"].as_str().map(str::to_owned)
    }
    fn kill_and_restart(self) -> Self {
        let server = self.server.kill_and_restart();
        Self { server, ..self }
    }
}

fn lower() -> String {
    DUST.replace("raise: 250", "raise: 120")
        .replace("clear: 200", "clear: 100")
}

fn is(answer: &(u16, Value), status: u16, code: &str) {
    assert_eq!(
        (answer.0, &answer.1["code"]),
        (status, &json!(code)),
        "{}",
        answer.1
    );
}

fn post_dust(server: &Server, value: f64) {
    let now = onemap_model::Timestamp::from_system(std::time::SystemTime::now()).ms();
    let readings = json!([{"q": "pm10", "t": now, "v": value}]);
    server.post(
        "/api/v1/readings",
        &json!({"device": "air-1", "readings": readings}),
    );
}

#[test]
fn a_rule_is_in_force_when_a_second_person_agrees_and_not_before() {
    let room = Room::new();
    room.server.add_device("air-1", &json!({"cadence_s": 5}));
    assert_eq!(
        room.in_force().as_deref(),
        Some(DUST),
        "a shipped file is nobody's"
    );

    // Everything is looked at at once, as without a second person.
    let huge = room.put(&room.wang, "?name=Wang", &lower().replace("major", "huge"));
    is(&huge, 422, "bad_rules");
    let row = &huge.1["errors"][0];
    let zh = row["message_zh"].as_str().unwrap();
    assert!(zh.starts_with("没有 `huge` 这种写法") && row["message"] != row["message_zh"]);
    assert!(huge.1["detail_zh"].as_str().unwrap().ends_with(zh));
    let nameless = room.put(&room.wang, "", &lower());
    is(&nameless, 400, "no_name");
    assert!(nameless.1["detail_zh"].as_str().unwrap().contains("姓名"));
    is(&room.put(&room.wang, "?name=Wang", DUST), 409, "unchanged");
    let id = room.propose(&lower());
    assert_eq!(room.in_force().as_deref(), Some(DUST));
    let list = room.server.get("/api/v1/rules/proposals");
    assert_eq!(list["needs_approval"], json!(true));
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    let shown = room.shown(id);
    assert_eq!(
        (&shown["text"], &shown["before"]),
        (&json!(lower()), &json!(DUST))
    );
    assert_eq!(
        (
            &shown["proposed"]["by"],
            &shown["proposed"]["name"],
            &shown["proposed"]["note"]
        ),
        (&json!("token#wang"), &json!("Wang"), &json!("lower")),
        "{shown}"
    );
    let changes = shown["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 1);
    assert_eq!(
        (&changes[0]["rule"], &changes[0]["change"]),
        (&json!("pm10-dust"), &json!("changed"))
    );
    assert_ne!(changes[0]["before"], changes[0]["after"]);

    // What is in the way of the same person.
    is(&room.approve(&room.wang, "Wang", id), 403, "own_approval");
    is(&room.approve(&room.li, "Wang", id), 403, "own_approval");
    let shared = room.approve(&room.wang, "李", id);
    is(&shared, 403, "shared_token");
    assert!(shared.1["detail_zh"].as_str().unwrap().contains("多人共用"));
    let viewer = json!({"name": "viewer", "role": "viewer"});
    let viewer = room.server.post("/api/v1/tokens", &viewer)["token"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(room.approve(&viewer, "李", id).0, 403);
    assert_eq!(room.in_force().as_deref(), Some(DUST));

    // It outlives a kill.
    let room = room.kill_and_restart();
    let (status, done) = room.approve(&room.li, "李", id);
    assert_eq!((status, &done["state"]), (200, &json!("approved")), "{done}");
    assert!(done["position"].as_u64().unwrap() > id, "{done}");
    assert_eq!(done["decided"]["name"], json!("李"));
    assert_eq!(room.in_force(), Some(lower()));
    let in_folder = std::fs::read_to_string(room.server.dir.join("rules/dust.yaml")).unwrap();
    assert_eq!(in_folder, lower());
    is(&room.approve(&room.li, "李", id), 409, "proposal_approved");
    // 150 is beyond the new limit only.
    post_dust(&room.server, 150.0);
    wait_for("the rule to raise", SOON, || {
        let open = room.server.get("/api/v1/alerts?state=open");
        (open["items"].as_array()?.len() == 1).then_some(())
    });

    // The audit has both words.
    room.server.caught_up();
    let ledger = rusqlite::Connection::open(room.server.dir.join("ledger.sqlite")).unwrap();
    for step in ["propose", "approve"] {
        let sought = format!("%\"rule_proposal\"%\"step\":\"{step}\"%");
        let n: i64 = ledger
            .query_row("SELECT count(*) FROM audit WHERE body LIKE ?1", [sought], |row| {
                row.get(0)
            })
            .unwrap();
        assert!(n >= 1, "{step}");
    }

    // Taking a file away needs a second person, too.
    let (status, removal) = request(
        &room.server.http,
        &room.li,
        "DELETE",
        "/api/v1/rules/dust?name=%E6%9D%8E",
        None,
    );
    assert_eq!((status, &removal["removes"]), (202, &json!(true)), "{removal}");
    assert_eq!(removal["changes"][0]["change"], json!("removed"));
    assert_eq!(room.in_force(), Some(lower()));
    let (status, _) = room.approve(&room.wang, "王", removal["id"].as_u64().unwrap());
    assert_eq!((status, room.in_force()), (200, None));
    assert!(!room.server.dir.join("rules/dust.yaml").exists());
}

#[test]
fn a_stop_between_the_word_and_the_file_is_made_good_at_the_next_start() {
    for again in [false, true] {
        let room = Room::new();
        let id = room.propose(&lower());
        // The folder does not take the file: the word is in the journal, and what follows it is not.
        let obstacle = room.server.dir.join("rules/dust.yaml.part");
        std::fs::create_dir(&obstacle).unwrap();
        let (status, said) = room.approve(&room.li, "李", id);
        assert_eq!(status, 500, "{said}");
        let shown = room.shown(id);
        assert_eq!(
            (&shown["state"], &shown["position"]),
            (&json!("approved"), &Value::Null)
        );
        assert_eq!(room.in_force().as_deref(), Some(DUST));
        std::fs::remove_dir(&obstacle).unwrap();
        let room = match again {
            // Who asks again finishes it, and needs no other word.
            true => {
                let (status, said) = room.approve(&room.li, "李", id);
                assert_eq!(status, 200, "{said}");
                room
            }
            false => room.kill_and_restart(),
        };
        assert_eq!(room.in_force(), Some(lower()), "again: {again}");
        assert!(room.shown(id)["position"].is_u64());
        let room = room.kill_and_restart();
        assert_eq!(room.in_force(), Some(lower()));
    }
}

#[test]
fn what_changed_meanwhile_was_decided_or_was_taken_back_is_told_by_name() {
    let room = Room::new();
    let other = DUST.replace("for: 2s", "for: 3s");
    let mine = room.propose(&lower());
    let (status, theirs) = room.put(&room.li, "?name=Li", &other);
    assert_eq!(status, 202, "{theirs}");
    let (status, _) = room.approve(&room.wang, "Wang", theirs["id"].as_u64().unwrap());
    assert_eq!(status, 200);
    assert_eq!(room.shown(mine)["stale"], json!(true));
    is(&room.approve(&room.li, "Li", mine), 409, "proposal_stale");
    assert_eq!(room.in_force(), Some(other));

    let anew = room.propose(&lower());
    assert_eq!(room.shown(mine)["superseded_by"], json!(anew));
    is(&room.approve(&room.li, "Li", mine), 409, "proposal_superseded");
    is(
        &room.post(&room.li, anew, "reject", &json!({"name": "Li"})),
        400,
        "no_reason",
    );
    let (status, rejected) = room.post(
        &room.li,
        anew,
        "reject",
        &json!({"name": "Li", "note": "too low"}),
    );
    assert_eq!(
        (status, &rejected["state"]),
        (200, &json!("rejected")),
        "{rejected}"
    );
    is(&room.approve(&room.li, "Li", anew), 409, "proposal_rejected");

    let last = room.propose(&lower());
    let withdraw = |token: &str, name: &str| {
        let path = format!("/api/v1/rules/proposals/{last}");
        let body = json!({"name": name}).to_string();
        request(&room.server.http, token, "DELETE", &path, Some(&body))
    };
    is(&withdraw(&room.li, "Li"), 403, "not_proposer");
    assert_eq!(withdraw(&room.wang, "Wang").1["state"], json!("withdrawn"));
    is(&room.approve(&room.li, "Li", last), 409, "proposal_withdrawn");
    is(&room.approve(&room.li, "Li", 1), 404, "unknown_proposal");

    // What may not be beside what is in force by now is refused at the word, too.
    let clash = room.propose(&lower().replace("pm10-dust", "dust-2"));
    let second = DUST.replace("pm10-dust", "dust-2");
    std::fs::write(room.server.dir.join("rules/second.yaml"), second).unwrap();
    wait_for("the folder to be taken up", SOON, || {
        let files = room.server.get("/api/v1/rules");
        (files["items"].as_array()?.len() == 2).then_some(())
    });
    is(&room.approve(&room.li, "Li", clash), 422, "bad_rules");

    // Switched off, a file is in force at once, and what waits can still be decided.
    let mut room = room;
    room.server.stop();
    let dir = room.server.dir.clone();
    std::fs::write(dir.join("onemap.toml"), CONFIG).unwrap();
    let room = Room {
        server: Server::start_in(&dir),
        ..room
    };
    let (status, said) = room.put(&room.wang, "", DUST);
    assert_eq!((status, &said["file"]), (200, &json!("dust")), "{said}");
    assert_eq!(
        room.server.get("/api/v1/rules/proposals")["needs_approval"],
        json!(false)
    );
    let (status, said) = room.post(&room.li, clash, "reject", &json!({"name": "Li", "note": "late"}));
    assert_eq!(status, 200, "{said}");
}
