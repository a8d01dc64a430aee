//! What the API answers is what its OpenAPI says: Schemathesis, which we did not write, makes requests of the document,
//! right ones and wrong ones, and holds each answer to it. No answer is a 5xx, none has a status, a media type, a
//! header or a body that is not declared, and what is wrong by shape is refused.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use serde_json::json;

use crate::matrix::city::{City, ELSEWHERE, Lies, OWN};
use crate::server::{peer, request, wait_for};

/// Operations that are not asked, and why.
const LEFT_OUT: [(&str, &str); 3] = [
    (
        "/api/v1/backup",
        "it writes into any folder of the machine that it is told; tests/it/keeping.rs asks it",
    ),
    ("/api/v1/live", "a stream without end; tests/it/matrix reads it"),
    ("/feeds/alerts", "a stream without end; tests/it/matrix reads it"),
];

/// Examples of each operation beside those that the document's bounds give; `make proof` asks for more.
fn n_examples() -> u32 {
    let asked = std::env::var("ONEMAP_CONTRACT_EXAMPLES").ok();
    asked.map_or(6, |text| {
        text.parse().expect("ONEMAP_CONTRACT_EXAMPLES is a number")
    })
}

/// A device that fetches its commands and answers them.
struct Speaker {
    is_over: Arc<AtomicBool>,
    talking: JoinHandle<usize>,
}

impl Speaker {
    fn new(http: String, token: String) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = is_over.clone();
        let talking = std::thread::spawn(move || {
            let mut n_answered = 0;
            while !over.load(Ordering::Relaxed) {
                let path = format!("/api/v1/{token}/rpc?timeout=500");
                let (status, command) = request(&http, "", "GET", &path, None);
                if status == 200 {
                    let path = format!("/api/v1/{token}/rpc/{}", command["id"]);
                    request(&http, "", "POST", &path, Some(r#"{"done":true}"#));
                    n_answered += 1;
                }
            }
            n_answered
        });
        Self { is_over, talking }
    }

    fn stop(self) -> usize {
        self.is_over.store(true, Ordering::Relaxed);
        self.talking.join().unwrap()
    }
}

/// The tester's configuration with names of things that are there.
fn configuration(city: &City, device_token: &str) -> String {
    let [own, foreign, ..] = city.things();
    let both = |kind: &str| [own.get(kind).to_owned(), foreign.get(kind).to_owned()].to_vec();
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let times = ["@from", "@to", "@now"].map(|at| city.times(at).replace("%2B", "+"));
    let now = onemap_model::Timestamp::from_system(std::time::SystemTime::now()).ms() / 1000;
    let seconds = [now - 600, now].map(|second| second.to_string());
    let mut dictionaries: Vec<(&str, Vec<String>)> = [
        "account",
        "token",
        "device",
        "correction",
        "dust",
        "alert",
        "command",
        "entry",
        "place",
        "fence",
        "series",
    ]
    .map(|kind| (kind, both(kind)))
    .to_vec();
    dictionaries.extend([
        ("spare", words("spare-1 spare-2 spare-3")),
        ("devicetoken", vec![device_token.to_owned()]),
        (
            "division",
            vec![OWN.to_owned(), ELSEWHERE.to_owned(), "630100".to_owned()],
        ),
        ("quantity", words("pm10 water_level noise_laeq dissolved_oxygen")),
        ("moment", times.to_vec()),
        ("seconds", [&seconds[..], &times[..]].concat()),
        ("kind", words("air_station place division device fence")),
        (
            "crs",
            words("WGS84 CGCS2000 GCJ02 BD09 http://www.opengis.net/def/crs/EPSG/0/4326"),
        ),
        (
            "promql",
            words("pm10 sum(pm10) rate(pm10[5m]) pm10{device=\"air-own\"} 1 \"x\" pm10[10m] pm10>1"),
        ),
        ("address", words("place-own 城中区 place")),
        ("collection", words("places devices divisions fences")),
        (
            "layer",
            words("places devices live fences divisions places,devices"),
        ),
        ("tile", words("400.mvt 6402.mvt 0.mvt")),
        ("tilejson", words("places.json devices.json fences.json")),
        ("label", words("device division __name__")),
        ("rules", words("dust")),
        ("profile", words("hj212-air")),
        ("speaker", words("speaker")),
        ("short", words("0 1 20")),
    ]);
    let written = include_str!("../peers/contract.toml");
    let (head, operations) = written.split_once("[[operations]]").unwrap();
    let hooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/contract_hooks.py");
    let mut text = head.replace("contract_hooks.py", hooks.to_str().unwrap());
    for (name, values) in dictionaries {
        // Numbers are numbers to who looks whether they fit.
        let is_number = matches!(name, "correction" | "dust" | "entry" | "series" | "short");
        let values = match is_number {
            true => json!(
                values
                    .iter()
                    .map(|v| v.parse::<u64>().unwrap())
                    .collect::<Vec<_>>()
            ),
            false => json!(values),
        };
        writeln!(text, "[dictionaries.{name}]\nvalues = {values}").unwrap();
    }
    text + "[[operations]]" + operations
}

/// Lets the tester ask with a token; gives what it found.
fn asked(
    city: &City,
    folder: &Path,
    who: &str,
    token: &str,
    phases: &str,
    n_examples: u32,
) -> Option<String> {
    let tool = "target/peers/contract/bin/st";
    let tool = peer(&format!("{}/{tool}", env!("CARGO_MANIFEST_DIR")))?;
    let mut command = Command::new(tool);
    command
        .current_dir(folder)
        .args(["--config-file", "schemathesis.toml", "run"]);
    command.arg(format!("{}/api/openapi.json", city.server.http));
    command.args(["--header", &format!("Authorization: Bearer {token}")]);
    command.args(["--phases", phases, "--max-examples", &n_examples.to_string()]);
    // One worker: two parse one Python source at once, which Python 3.11 does not bear.
    command.args(["--seed", "1", "--workers", "1", "--no-color"]);
    for (path, _) in LEFT_OUT {
        command.args(["--exclude-path", path]);
    }
    let ran = command.output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    let cut = |line: &str| line.chars().take(300).collect::<String>();
    let lines: Vec<_> = said.lines().map(cut).collect();
    for line in lines
        .iter()
        .filter(|line| line.contains(" generated, ") || line.contains("Tested:"))
    {
        println!("{who}: {}", line.trim());
    }
    let from = lines
        .iter()
        .position(|line| line.contains("= ERRORS") || line.contains("= FAILURES"));
    let found: Vec<_> = lines[from.unwrap_or(0)..]
        .iter()
        .take(400)
        .map(String::as_str)
        .collect();
    assert!(said.contains(" generated"), "{who}: nothing was asked\n{said}");
    let errors = String::from_utf8_lossy(&ran.stderr);
    let is_right = ran.status.success();
    (!is_right).then(|| format!("{who}: {}\n{}\n{errors}", ran.status, found.join("\n")))
}

#[test]
fn no_answer_is_a_5xx_and_none_is_undeclared() {
    let mut city = City::new();
    city.fill(Lies::ElsewhereInTheCity);
    let admin = city.server.token.clone();
    for spare in ["spare-1", "spare-2", "spare-3"] {
        city.server.add_device(spare, &json!({"division": OWN}));
    }
    // Not among the names that are given away: their tokens stay.
    let device_token = city.server.add_device("sender", &json!({"division": OWN}));
    let speaker = city.server.add_device("speaker", &json!({"division": OWN}));
    let speaker = Speaker::new(city.server.http.clone(), speaker);
    let [own, foreign, ..] = city.things();
    // Who waits for what has ended waits for nothing.
    for thing in [&own, &foreign] {
        let path = format!("/api/v1/commands/{}/cancel", thing.get("command"));
        city.server.post(&path, &json!({}));
    }
    // What standards judge: a level over its stages, noise, an item of surface water.
    let device = own.get("device");
    let hydrology = json!({
        "datums": [{"from": "2020-01-01T00:00:00Z", "datum": "1985国家高程基准", "zero_m": 2200.0, "source": "x"}],
        "curves": [{"from": "2020-01-01T00:00:00Z", "points": [[0.0, 0.0], [5.0, 50.0]], "source": "x"}],
        "stages": [{"from": "2020-01-01T00:00:00Z", "warning": 1.0, "guaranteed": 2.0, "source": "x"}],
    });
    let path = format!("/api/v1/devices/{device}/hydrology");
    let (status, said) = city.server.request("PUT", &path, Some(&hydrology.to_string()));
    assert_eq!(status, 200, "{said}");
    let readings = json!({"device": device, "readings": [
        {"q": "water_level", "v": 1.5}, {"q": "noise_laeq", "v": 55.0}, {"q": "dissolved_oxygen", "v": 7.0}]});
    city.server.post("/api/v1/readings", &readings);
    city.server.caught_up();

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("schemathesis.toml"),
        configuration(&city, &device_token),
    )
    .unwrap();
    let viewer = json!({"role": "viewer", "name": "viewer", "division": OWN});
    let viewer = city.server.post("/api/v1/tokens", &viewer)["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let n = n_examples();
    let of_viewer = asked(
        &city,
        folder.path(),
        "viewer of a division",
        &viewer,
        "fuzzing",
        n,
    );
    let of_admin = asked(&city, folder.path(), "admin", &admin, "coverage,fuzzing", n);
    println!("{} commands were answered by their device", speaker.stop());
    // It is as well as before.
    let state = wait_for(
        "the server to be ready",
        std::time::Duration::from_secs(30),
        || {
            let state = city.server.get("/api/v1/system");
            (state["ready"] == true).then_some(state)
        },
    );
    assert_eq!(state["not_ready"], json!([]));
    let found: Vec<_> = of_viewer.into_iter().chain(of_admin).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}
