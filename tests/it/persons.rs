//! What is kept of persons: sealed, under keys that change and lie apart, and counted so that nobody is told by it.

use std::io::Read as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::server::{Server, binary, wait_for};

const NUMBER: &str = "11010519491231002X";
const LIMIT: Duration = Duration::from_secs(60);

/// A citizen number of a community's person: the day and the order make it, the check digit is ISO 7064 MOD 11-2.
pub(crate) fn number(n: u32) -> String {
    let digits = format!(
        "630104{:04}{:02}{:02}{:03}",
        1950 + n / 1000,
        1 + n / 100 % 10,
        1 + n / 10 % 10,
        n % 10
    );
    let weights = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let sum: u32 = digits
        .chars()
        .zip(weights)
        .map(|(c, w)| c.to_digit(10).unwrap() * w)
        .sum();
    let check = b"10X98765432"[(sum % 11) as usize];
    format!("{digits}{}", char::from(check))
}

fn onemap(dir: &Path, args: &[&str]) -> (bool, String) {
    let output = Command::new(binary("onemap"))
        .arg("--data-dir")
        .arg(dir)
        .arg("--json")
        .args(args)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

fn resolve(server: &Server, number: &str) -> (u16, Value) {
    let asked = json!({"number": number, "purpose": "核实"}).to_string();
    server.request("POST", "/api/v1/persons/resolve", Some(&asked))
}

fn known(server: &Server, number: &str) -> Value {
    wait_for("the person", LIMIT, || {
        let (status, found) = resolve(server, number);
        (status == 200).then_some(found)
    })
}

fn key(server: &Server) -> Value {
    server.get("/api/v1/persons/key")
}

/// All carried over to the newest key.
fn carried(server: &Server) -> Value {
    wait_for("everybody under the newest key", LIMIT, || {
        Some(key(server)).filter(|key| key["waiting"] == 0)
    })
}

/// Rows of a sheet of persons of two communities.
fn sheet(people: std::ops::Range<u32>) -> String {
    let row = |n: u32| format!("{},630104001{:03}", number(n), 1 + n % 2);
    let rows: Vec<String> = people.map(row).collect();
    format!("公民身份号码,区划\n{}\n", rows.join("\n"))
}

fn import(server: &Server, folder: &Path, people: std::ops::Range<u32>) {
    let file = folder.join("people.csv");
    let n = people.len();
    std::fs::write(&file, sheet(people)).unwrap();
    let map = [
        "import",
        "entities",
        file.to_str().unwrap(),
        "--kind",
        "person",
        "--map",
        "区划=division",
    ];
    let (is_well, said) = onemap(&server.dir, &map);
    assert!(is_well && said.contains(&format!("\"imported\":{n},")), "{said}");
}

fn holds(dir: &Path, text: &str) -> bool {
    std::fs::read_dir(dir).unwrap().map(Result::unwrap).any(|entry| {
        if entry.file_type().unwrap().is_dir() {
            return holds(&entry.path(), text);
        }
        let mut bytes = Vec::new();
        std::fs::File::open(entry.path())
            .unwrap()
            .read_to_end(&mut bytes)
            .unwrap();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

fn post(server: &Server, person: &Value) -> (u16, Value) {
    server.request("POST", "/api/v1/persons", Some(&person.to_string()))
}

#[test]
fn what_is_known_of_a_person_is_sealed_and_backups_have_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::new();
    let person = json!({"number": NUMBER, "division": "630104001001", "source": "户籍底册"});
    let (status, posted) = post(&server, &person);
    assert_eq!(status, 201, "{posted}");
    assert_eq!(known(&server, NUMBER)["source"], "户籍底册");

    let backup = folder.path().join("backup");
    let (is_well, said) = onemap(&server.dir, &["backup", backup.to_str().unwrap()]);
    assert!(is_well && said.contains("persons.key"), "{said}");
    let restored = folder.path().join("restored");
    let (is_well, said) = onemap(&restored, &["restore", backup.to_str().unwrap()]);
    assert!(is_well, "{said}");
    server.stop();
    for dir in [&server.dir, &backup] {
        assert!(
            holds(dir, posted["pseudonym"].as_str().unwrap()),
            "{}",
            dir.display()
        );
        for told in ["户籍底册", "last_four", "\"division\":\"630104001001\""] {
            assert!(!holds(dir, told), "{told} is in {}", dir.display());
        }
    }

    // Without its key nobody is found, nobody is made known and no other key is made; with it, all is as it was.
    assert!(!restored.join("persons.key").exists());
    let second = Server::start_in(&restored);
    let ready = second.get("/health/ready");
    assert!(
        ready["warnings"].to_string().contains("persons.key is missing"),
        "{ready}"
    );
    for (status, problem) in [
        resolve(&second, NUMBER),
        post(&second, &person),
        second.request("GET", "/api/v1/persons/key", None),
        second.request("POST", "/api/v1/persons/key", Some("{}")),
        second.request("GET", "/api/v1/persons/counts", None),
    ] {
        assert_eq!(
            (status, &problem["code"]),
            (503, &json!("no_person_key")),
            "{problem}"
        );
    }
    assert!(!restored.join("persons.key").exists());
    std::fs::write(restored.join("persons.key"), [7; 32]).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(restored.join("persons.key"), mode).unwrap();
    assert_eq!(resolve(&second, NUMBER).0, 503, "a foreign key");
    std::fs::copy(server.dir.join("persons.key"), restored.join("persons.key")).unwrap();
    assert_eq!(known(&second, NUMBER)["source"], "户籍底册");
}

#[test]
fn another_key_carries_everybody_over_also_through_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::new();
    import(&server, folder.path(), 0..3000);
    let first = known(&server, &number(0));
    let since = first["since"].clone();
    assert_eq!(carried(&server), json!({"key": 1, "persons": 3000, "waiting": 0}));
    let (status, begun) = server.request("POST", "/api/v1/persons/key", Some("{}"));
    assert_eq!((status, &begun["key"]), (201, &json!(2)), "{begun}");
    // Whatever was carried over when it is killed, the rest is carried over after the start.
    let server = server.kill_and_restart();
    assert_eq!(carried(&server), json!({"key": 2, "persons": 3000, "waiting": 0}));
    let now = known(&server, &number(0));
    assert_ne!(now["pseudonym"], first["pseudonym"]);
    assert_eq!((&now["division"], &now["since"]), (&first["division"], &since));
    // Who comes again under the new key is not twice, and who was known is known.
    import(&server, folder.path(), 2990..3010);
    known(&server, &number(3009));
    let (is_well, said) = onemap(&server.dir, &["persons", "rotate-key"]);
    assert!(is_well, "{said}");
    assert_eq!(
        serde_json::from_str::<Value>(&said).unwrap(),
        json!({"key": 3, "persons": 3010, "waiting": 0})
    );
    for n in (0..3010).step_by(301) {
        known(&server, &number(n));
    }
    let (is_well, said) = onemap(&server.dir, &["audit", "verify"]);
    assert!(is_well && holds(&server.dir, "rotate_person_key"), "{said}");
}

#[test]
fn counts_show_no_small_group_and_nobody_elses() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::new();
    // 24 in one community, 25 in the other, and three of another district.
    import(&server, folder.path(), 0..49);
    for n in 100..103 {
        let (status, said) = post(&server, &json!({"number": number(n), "division": "630102001001"}));
        assert_eq!(status, 201, "{said}");
    }
    known(&server, &number(102));
    let counts = |token: &str, by: &str| {
        let path = format!("/api/v1/persons/counts?by={by}");
        let (status, said) = crate::server::request(&server.http, token, "GET", &path, None);
        assert_eq!(status, 200, "{said}");
        (said["items"].clone(), said["held_back"].clone())
    };
    let of = |division: Value, departments: Value| {
        let made = json!({"role": "viewer", "division": division, "departments": departments});
        server.post("/api/v1/tokens", &made)["token"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let [city, district, other, department] = [
        of(Value::Null, json!([])),
        of(json!("630104"), json!([])),
        of(json!("630102"), json!([])),
        of(Value::Null, json!(["水务局"])),
    ];
    let own = json!([{"division": "630104", "persons": 40}]);
    assert_eq!(counts(&city, "district"), (own.clone(), json!(true)));
    assert_eq!(counts(&district, "district"), (own, json!(false)));
    let communities = json!([
        {"division": "630104001001", "persons": 20}, {"division": "630104001002", "persons": 20},
    ]);
    assert_eq!(counts(&district, "community"), (communities, json!(false)));
    assert_eq!(counts(&other, "community"), (json!([]), json!(true)));
    assert_eq!(counts(&department, "district"), (json!([]), json!(false)));
    let (status, problem) = server.request("GET", "/api/v1/persons/counts?by=person", None);
    assert_eq!(status, 400, "{problem}");
}
