//! A rapid rise (陡涨) on a tributary, from the first rain to the score of the warning: stations over SL 651 and MQTT, the shipped
//! rules, a forecast of the server's own, a warning that a second person approves, its update and its end.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use onemap_model::Timestamp;
use onemap_wire::sl651::reply::Line;
use onemap_wire::sl651::{Encoding, Group, Stamp};
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::feeds::Receiver;
use crate::server::{CONFIG, Server, peer, wait_for};
use crate::sl651::station::{PASSWORD, Station, connect, send, value};
use crate::warnings::{Person, WARNINGS, read_by_others};

const LIMIT: Duration = Duration::from_secs(90);
const HOUR: i64 = 3_600_000;
const MINUTE: i64 = 60_000;
/// Stations by their addresses: rain and the upper gauge; the lower gauge hangs on a gateway.
const RAIN: &str = "0011223301";
const UPPER: &str = "0011223302";
const LOWER: &str = "lower";
const STAGE: f64 = 2.5;
/// The water takes three hours from the upper gauge to the lower one.
const TRAVEL_H: f64 = 3.0;
/// Hours of history.
const PAST_H: i64 = 900;

const AHEAD: &str = "version: 1
rules:
  - id: river-stage-foreseen
    name: {zh: 预报超警戒水位, en: Warning stage foreseen}
    applies_to: {device: lower}
    severity: major
    when: {forecast: {quantity: water_level, within: 4 h, above: 2.5 m, clear: 2.4 m}}
    advice: {zh: 通知沿河低洼处人员撤离, en: Get people off low ground by the river}
";

/// Floods of the years before and this one, which begins at hour 0: when the water begins to rise, and by how much.
fn floods() -> impl Iterator<Item = (f64, f64)> {
    let before = (1..=24).map(|n: i64| {
        let begun = -40 * n + (n * 17) % 19 - 4;
        (begun as f64, 0.4 + ((n * 29) % 19) as f64 / 10.0)
    });
    before.chain([(0.0, 2.0)])
}

/// The level of the upper gauge at a time in hours: up within two hours, down within half a day.
fn upper(hours: f64) -> f64 {
    let of = |(begun, height): (f64, f64)| {
        let x = ((hours - begun) / 2.0).max(0.0);
        height * x * (1.0 - x).exp()
    };
    1.2 + floods().map(of).sum::<f64>()
}

fn lower(hours: f64) -> f64 {
    upper(hours - TRAVEL_H)
}

/// Rain of the hour that ends then, in mm: before the water.
fn rain(hour: i64) -> f64 {
    let falls = |(begun, height): (f64, f64)| match hour as f64 - begun {
        0.0 => height * 8.0,
        1.0 => height * 5.0,
        _ => 0.0,
    };
    floods().map(falls).sum()
}

fn thousandths(value: f64) -> i64 {
    (value * 1000.0).round() as i64
}

/// The river with its stations, played by the server's clock.
struct River {
    clock: Clock,
    /// When the flood begins.
    begun: i64,
    gateway: String,
    serial: u16,
}

impl River {
    fn at(&self, minutes: i64) -> i64 {
        self.begun + minutes * MINUTE
    }

    fn says(&mut self, station: &mut Station, who: &str, at: i64, (element, thousandths): (u8, i64)) {
        let line = Line {
            station: who.parse().unwrap(),
            centre: 5,
            password: PASSWORD,
            encoding: Encoding::Hex,
        };
        let groups = vec![
            Group::Observed(Stamp::of(Timestamp::from_ms(at), 10)),
            value(element, thousandths),
        ];
        self.serial += 1;
        let sent = Timestamp::from_ms(self.clock.now());
        let frame = line.report(0x32, self.serial, sent, groups).unwrap();
        send(station, &frame);
        // Durable before it is answered.
        station.next();
    }

    /// All stations say what they measure at a time; after a full hour the forecast of it is waited for.
    fn plays(&mut self, server: &Server, minutes: i64) {
        let at = self.at(minutes);
        self.clock.set(at + 2_000);
        let hours = minutes as f64 / 60.0;
        let mut upper_station = connect(server);
        self.says(&mut upper_station, UPPER, at, (0x39, thousandths(upper(hours))));
        let is_hour = minutes.rem_euclid(60) == 0;
        if is_hour {
            let mut rain_station = connect(server);
            let fell = rain(minutes.div_euclid(60));
            self.says(&mut rain_station, RAIN, at, (0x1A, thousandths(fell)));
        }
        let level = thousandths(lower(hours)) as f64 / 1000.0;
        let said = json!({LOWER: [{"ts": at, "values": {"water_level": level}}]});
        let out = server.publish(&self.gateway, "v1/gateway/telemetry", &said.to_string());
        assert!(out.status.success(), "{out:?}");
        server.caught_up();
        if is_hour {
            self.clock.set(at + 5 * MINUTE);
            let path = format!("/api/v1/forecasts/{}?limit=1", series_of(server, LOWER));
            wait_for("the forecast of this hour", LIMIT, || {
                let newest = server.get(&path);
                let origin = newest["items"][0]["origin"].as_str()?;
                (Timestamp::parse(origin).unwrap().ms() >= at).then_some(())
            });
            server.caught_up();
        }
    }

    /// Goes on until something is so, ten minutes a step; gives it and the minute.
    fn plays_until<T>(
        &mut self,
        server: &Server,
        minutes: &mut i64,
        what: &str,
        state: impl Fn() -> Option<T>,
    ) -> T {
        let last = *minutes + 24 * 60;
        loop {
            if let Some(found) = state() {
                return found;
            }
            assert!(*minutes < last, "{what} never came");
            *minutes += 10;
            self.plays(server, *minutes);
        }
    }
}

fn series_of(server: &Server, device: &str) -> String {
    let all = server.get(&format!("/api/v1/series?device={device}&quantity=water_level"));
    all["items"][0]["id"].to_string()
}

fn alert(server: &Server, rule: &str, device: &str) -> Option<Value> {
    let all = server.get("/api/v1/alerts?state=all&limit=500");
    // What was wrong in the weeks that are handed on at first is history.
    let is_it = |alert: &&Value| {
        alert["rule"] == rule && alert["series"]["device"] == device && alert["past"].is_null()
    };
    all["items"].as_array().unwrap().iter().find(is_it).cloned()
}

fn time(value: &Value) -> i64 {
    Timestamp::parse(value.as_str().unwrap_or_else(|| panic!("{value} is no time")))
        .unwrap()
        .ms()
}

fn folder(dir: &Path, webhook: u16) {
    std::fs::create_dir(dir.join("rules")).unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/rules");
    std::fs::copy(shipped.join("river.yaml"), dir.join("rules/river.yaml")).unwrap();
    std::fs::write(dir.join("rules/ahead.yaml"), AHEAD).unwrap();
    let secret = dir.join("secret");
    std::fs::write(&secret, "a shared secret\n").unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let more = format!(
        "[sl651]\nlisten = \"127.0.0.1:0\"\nframe_seconds = 1\n\
         [[alerts.consumers]]\nname = \"province\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:{webhook}/in\"\n\
         secret_file = \"secret\"\n\
         [[forecast.series]]\ndevice = \"{LOWER}\"\nquantity = \"water_level\"\n\
         inputs = [\"{UPPER}/water_level\", \"{RAIN}/rain_1h\"]\nstep = \"1h\"\nleads = [\"1h\", \"2h\", \"3h\", \"4h\"]\n\
         threshold = {STAGE}\n"
    );
    std::fs::write(dir.join("onemap.toml"), format!("{CONFIG}{WARNINGS}{more}")).unwrap();
}

/// Registers what is there and hands in the history; the token of the gateway.
fn peoples(server: &Server, begun: i64) -> String {
    let square = json!({"type": "Polygon", "coordinates":
        [[[101.6, 36.8], [101.8, 36.8], [101.8, 37.0], [101.6, 37.0], [101.6, 36.8]]]});
    server.post(
        "/api/v1/entities",
        &json!({"code": "630121", "kind": "division", "name": "大通县", "name_en": "Datong", "geometry": square}),
    );
    let place = |lat: f64| json!({"lon": 101.7, "lat": lat});
    for (station, kind, lat) in [(RAIN, "rain_gauge", 36.95), (UPPER, "river_gauge", 36.93)] {
        server.add_device(
            station,
            &json!({"profile": "sl651-station", "kind": kind, "cadence_s": 3600, "division": "630121", "position": place(lat)}),
        );
        let path = format!("/api/v1/devices/{station}/token");
        server.post(&path, &json!({"password": "03E8"}));
    }
    let gateway = json!({"is_gateway": true, "kind": "gateway", "division": "630121"});
    let gateway = server.add_device("gw", &gateway);
    server.add_device(
        LOWER,
        &json!({"kind": "river_gauge", "gateway": "gw", "cadence_s": 3600, "division": "630121", "position": place(36.85),
                "name": "桥头水文站", "name_en": "Qiaotou gauge"}),
    );
    type Of = fn(i64) -> f64;
    let all: [(&str, &str, Of); 3] = [
        (RAIN, "rain_1h", rain),
        (UPPER, "water_level", |hour| upper(hour as f64)),
        (LOWER, "water_level", |hour| lower(hour as f64)),
    ];
    for (device, quantity, of) in all {
        let readings: Vec<Value> = (-PAST_H..=-2)
            .map(|hour| {
                let value = thousandths(of(hour)) as f64 / 1000.0;
                json!({"q": quantity, "t": begun + hour * HOUR, "v": value, "r": true})
            })
            .collect();
        server.post(
            "/api/v1/readings",
            &json!({"device": device, "readings": readings}),
        );
    }
    server.caught_up();
    gateway
}

#[test]
fn a_rapid_rise_is_foreseen_warned_of_approved_published_and_scored() {
    if peer("mosquitto_pub").is_none() {
        return;
    }
    let folder_of = tempfile::tempdir().unwrap();
    let dir = folder_of.path();
    let Some(clock) = Clock::new(dir) else { return };
    let province = Receiver::well();
    folder(dir, province.port);
    let mut river = River {
        begun: (clock.now() / HOUR + 4) * HOUR,
        clock,
        gateway: String::new(),
        serial: 0,
    };
    river.clock.set(river.at(-90));
    let server = river.clock.start(dir);
    river.gateway = peoples(&server, river.begun);
    let path = format!("/api/v1/forecasts/{}", series_of(&server, LOWER));
    server.request("POST", &format!("{path}/train"), Some("{}"));
    let trained = wait_for("a model", LIMIT, || {
        let told = server.get(&path)["forecaster"].clone();
        (!told["trained"].is_null()).then_some(told)
    });
    let leads = trained["trained"]["leads"].as_array().unwrap();
    assert!(leads[1]["skill"].as_f64().unwrap() > 0.3, "{trained}");
    let officer = Person::of(&server, "officer", None);
    let commander = Person::of(&server, "commander", None);
    let viewer = Person::of(&server, "viewer", None);

    // It rains, the upper gauge rises fast, and the lower one is foreseen above its stage while it stands where it was.
    let mut minutes = -60;
    river.plays(&server, minutes);
    assert_eq!(alert(&server, "river-stage-foreseen", LOWER), None);
    let rise = river.plays_until(&server, &mut minutes, "a rapid rise", || {
        alert(&server, "river-rapid-rise", UPPER)
    });
    assert_eq!(rise["severity"], "major");
    assert!(minutes <= 60, "after {minutes} minutes");
    let foreseen = river.plays_until(&server, &mut minutes, "what is foreseen", || {
        alert(&server, "river-stage-foreseen", LOWER)
    });
    let id = foreseen["id"].as_str().unwrap().to_owned();
    assert_eq!(foreseen["threshold"], json!(STAGE));
    let level = server.latest(LOWER, "water_level").unwrap();
    assert!(level["value"].as_f64().unwrap() < STAGE, "{level}");
    assert_eq!(alert(&server, "river-stage-warning", LOWER), None);

    // Why, with the four panels.
    let told = viewer.does("GET", &format!("/api/v1/alerts/{id}/explain"), &Value::Null);
    assert_eq!(
        (&told["by"], &told["progress"]),
        (&json!("engine"), &json!("raised")),
        "{told:#}"
    );
    let panels = &told["panels"];
    for panel in ["evidence", "place", "forecast"] {
        assert_eq!(panels[panel]["is"], true, "{panel}: {told:#}");
    }
    let place = panels["place"]["text"]["zh"].as_str().unwrap();
    assert!(place.contains("桥头水文站"), "{place}");
    assert_eq!(panels["forecast"]["source"], "onemap");
    let ahead = panels["forecast"]["text"]["zh"].as_str().unwrap();
    assert!(ahead.starts_with("水位预计最高"), "{ahead}");
    let control = panels["control"]["text"]["zh"].as_str().unwrap();
    assert!(control.contains("通知沿河低洼处人员撤离"), "{control}");

    // A draft from it, which its author does not approve.
    let drafted = officer.does(
        "POST",
        &format!("/api/v1/alerts/{id}/warning"),
        &json!({"name": "王"}),
    );
    let path = format!("/api/v1/warnings/{}", drafted["id"]);
    let on = |what: &str| format!("{path}/{what}");
    let mut content = drafted["draft"]["content"].clone();
    assert_eq!(
        content["about"],
        json!({"device": LOWER, "quantity": "water_level", "ch": 0, "above": STAGE})
    );
    assert_eq!(content["certainty"], "Likely", "foreseen, not observed");
    let onset = time(&content["onset"]);
    assert!(
        onset > river.clock.now() && onset < river.clock.now() + 5 * HOUR,
        "{content:#}"
    );
    content["event_code"] = json!("11A01");
    content["urgency"] = json!("Expected");
    let edited = officer.does(
        "PUT",
        &path,
        &json!({"name": "王", "revision": drafted["draft"]["revision"], "content": content}),
    );
    assert_eq!(edited["draft"]["faults"], json!([]), "{edited:#}");
    let approval = |drafted: &Value, name: &str, number: &str| json!({"revision": drafted["draft"]["revision"], "authority": "西宁市防汛抗旱指挥部", "name": name, "number": number});
    assert_eq!(
        officer
            .is_refused("POST", &on("approve"), &approval(&edited, "周", "2026-21"))
            .0,
        403
    );
    assert_eq!(
        commander.is_refused("POST", &on("approve"), &approval(&edited, "王", "2026-21")),
        (403, "own_approval".into())
    );
    assert_eq!(viewer.does("GET", &path, &Value::Null)["score"], Value::Null);
    let issued = commander.does("POST", &on("approve"), &approval(&edited, "周", "2026-21"));
    assert_eq!(issued["messages"][0]["approval"]["number"], "2026-21");
    let first = issued["messages"][0]["identifier"].as_str().unwrap().to_owned();
    let sent = time(&issued["messages"][0]["sent"]);
    assert!(viewer.reads("/feeds/cap.atom").contains(&first));
    let pending = viewer.does("GET", &path, &Value::Null);
    assert_eq!(pending["score"]["outcome"], "pending", "{pending:#}");

    // The water comes.
    let stage = river.plays_until(&server, &mut minutes, "the stage", || {
        alert(&server, "river-stage-warning", LOWER)
    });
    let crossed = time(&stage["inputs"][0]["measured_at"]);
    assert!(crossed > sent + 30 * MINUTE, "{stage}");
    content["colour"] = json!("red");
    content["certainty"] = json!("Observed");
    if let Some(members) = content.as_object_mut() {
        // What an update does not name stays.
        members.remove("about");
        members.remove("onset");
    }
    let updating = officer.does("POST", &on("update"), &json!({"name": "王", "content": content}));
    let updated = commander.does("POST", &on("approve"), &approval(&updating, "周", "2026-22"));
    let second = updated["messages"][1]["identifier"].as_str().unwrap().to_owned();
    let atom = viewer.reads("/feeds/cap.atom");
    assert!(atom.contains(&second) && !atom.contains(&first));

    // It falls: the alert clears after its hold, and the warning is called off.
    let falls = || alert(&server, "river-stage-warning", LOWER).filter(|alert| alert["state"] == "cleared");
    let cleared = river.plays_until(&server, &mut minutes, "the end", falls);
    assert!(time(&cleared["ended_at"]) > crossed + HOUR, "{cleared}");
    let over = json!({"name": "王", "zh": "水位回落至警戒以下", "en": "The water is below its stage"});
    let ending = officer.does("POST", &on("cancel"), &over);
    let ended = commander.does("POST", &on("approve"), &approval(&ending, "周", "2026-23"));
    assert_eq!(ended["state"], "cancelled");
    let third = ended["messages"][2]["identifier"].as_str().unwrap().to_owned();
    assert!(!viewer.reads("/feeds/cap.atom").contains("<entry>"));
    river.plays_until(&server, &mut minutes, "the end of what is foreseen", || {
        alert(&server, "river-stage-foreseen", LOWER).filter(|alert| alert["state"] == "cleared")
    });
    river.plays_until(&server, &mut minutes, "the end of the rise", || {
        alert(&server, "river-rapid-rise", LOWER).filter(|alert| alert["state"] == "cleared")
    });

    // Documents that others read, each with what it follows.
    let documents = [&first, &second, &third].map(|name| viewer.reads(&format!("/feeds/cap/{name}.xml")));
    if let Some(said) = read_by_others(&documents) {
        for (said, document) in said.iter().zip(&documents) {
            assert_eq!(said["schema"], true, "{}\n{document}", said["said"]);
        }
        let kinds: Vec<&Value> = said.iter().map(|said| &said["read"]["msgType"]).collect();
        assert_eq!(kinds, ["Alert", "Update", "Cancel"]);
    }

    // It was a hit, with its lead from the first message to the stage.
    let score = viewer.does("GET", &path, &Value::Null)["score"].clone();
    assert_eq!(score["outcome"], "hit", "{score:#}");
    assert_eq!(time(&score["begun"]), crossed);
    let lead_s = score["lead_s"].as_f64().unwrap();
    assert!(
        (lead_s - (crossed - sent) as f64 / 1000.0).abs() < 1e-6,
        "{score}"
    );
    let table = viewer.does("GET", "/api/v1/warnings/score", &Value::Null);
    let total = &table["total"];
    assert_eq!(
        (&total["hits"], &total["false_alarms"], &total["late"]),
        (&json!(1), &json!(0), &json!(0)),
        "{table:#}"
    );
    // Floods of the weeks before were not warned of.
    let missed = total["missed"].as_u64().unwrap();
    assert!(missed > 3, "{table:#}");
    assert_eq!(total["pod"], json!(1.0 / (1 + missed) as f64));
    assert_eq!((&total["far"], &total["csi"]), (&json!(0.0), &total["pod"]));
    assert_eq!(table["kinds"][0]["event_code"], "11A01");
    let begun = Timestamp::from_ms(river.begun).to_string().replace('+', "%2B");
    let now = viewer.does(
        "GET",
        &format!("/api/v1/warnings/score?from={begun}"),
        &Value::Null,
    );
    assert_eq!(
        (&now["total"]["pod"], &now["total"]["csi"]),
        (&json!(1.0), &json!(1.0)),
        "{now:#}"
    );
    assert_eq!(now["total"]["median_lead_s"], score["lead_s"]);
    assert_eq!(now["warnings"][0]["score"], score);

    // The skill of what was foreseen stands beside it.
    let skill = server.get(&format!("/api/v1/skill?series={}", series_of(&server, LOWER)));
    let leads = skill["sources"][0]["leads"].as_array().unwrap();
    let scored: u64 = leads.iter().map(|lead| lead["n"].as_u64().unwrap()).sum();
    assert!(scored > 10, "{skill:#}");
    assert_eq!(skill["threshold"], json!(STAGE));

    // Who listens was told of every edge once, in order, and of none that was history when it was found.
    let mut edges: Vec<Value> = Vec::new();
    for alert in server.get("/api/v1/alerts?state=all&limit=500")["items"]
        .as_array()
        .unwrap()
    {
        let story = server.get(&format!("/api/v1/alerts/{}", alert["id"].as_str().unwrap()));
        let told = story["history"].as_array().unwrap().iter();
        edges.extend(told.filter(|edge| edge["edge"] != "past").cloned());
    }
    edges.sort_by_key(|edge| edge["seq"].as_u64());
    let ids: Vec<&str> = edges.iter().map(|edge| edge["id"].as_str().unwrap()).collect();
    wait_for("the consumer", LIMIT, || {
        (province.got().len() >= ids.len()).then_some(())
    });
    let got: Vec<Value> = province.got().iter().map(|got| got.json()).collect();
    let heard: Vec<&str> = got.iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert_eq!(heard, ids);
}
