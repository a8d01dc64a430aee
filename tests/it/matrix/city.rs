//! Two districts with the same things in each, and the same of a second department in the first; those come later.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::Asker;
use crate::alarms::DUST;
use crate::server::{Server, request, stream, wait_for};

pub const OWN: &str = "630102";
pub const ELSEWHERE: &str = "630103";
pub const DEPARTMENT: &str = "甲局";
const OTHERS: &str = "乙局";
const SOON: Duration = Duration::from_secs(30);

/// Where a set of things lies, and whose it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Lies {
    /// In the own district, of the own department.
    Own,
    /// In the other district, of the own department.
    ElsewhereInTheCity,
    /// In the own district, of the other department.
    WithAnotherDepartment,
}

impl Lies {
    /// How its things are called, its division and department, and its longitude.
    fn told(self) -> (&'static str, &'static str, &'static str, f64) {
        match self {
            Lies::Own => ("own", OWN, DEPARTMENT, 101.85),
            Lies::ElsewhereInTheCity => ("for", ELSEWHERE, DEPARTMENT, 101.75),
            Lies::WithAnotherDepartment => ("dep", OWN, OTHERS, 101.845),
        }
    }
}

/// Names of one thing of each kind.
#[derive(Clone, Default)]
pub struct Things(Vec<(&'static str, String)>);

impl Things {
    /// The name of the one of a kind.
    pub fn get(&self, kind: &str) -> &str {
        let found = self.0.iter().find(|(other, _)| *other == kind);
        &found.unwrap_or_else(|| panic!("no {kind}")).1
    }
    /// Whether there is one of a kind.
    pub fn has(&self, kind: &str) -> bool {
        self.0.iter().any(|(other, _)| *other == kind)
    }
    /// Puts the names in the place of `{kind}`.
    pub fn fill(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (kind, name)| {
            text.replace(&format!("{{{kind}}}"), name)
        })
    }
    /// The kind that a request names.
    pub fn named_in(text: &str) -> &'static str {
        let kinds = [
            "account",
            "token",
            "device",
            "series",
            "correction",
            "dust",
            "alert",
            "command",
            "entry",
            "warning",
            "desk",
            "place",
            "component",
            "fence",
        ];
        let found = kinds
            .into_iter()
            .find(|kind| text.contains(&format!("{{{kind}}}")));
        found.unwrap_or_else(|| panic!("no thing in {text}"))
    }
}

pub struct City {
    pub server: Server,
    now: i64,
    own: Things,
    elsewhere: Things,
    others: Things,
}

/// What a stream has said so far.
pub struct Stream {
    who: String,
    /// What it must not tell of.
    is_silent_of: Vec<Lies>,
    said: Arc<Mutex<String>>,
}

fn square(west: f64, south: f64, size: f64) -> Value {
    let (east, north) = (west + size, south + size);
    json!({"type": "Polygon", "coordinates": [[[west, south], [east, south], [east, north], [west, north], [west, south]]]})
}

impl City {
    /// Both districts, and the things of the first.
    pub fn new() -> Self {
        let server = Server::with_rules(&[("dust", DUST)]);
        let now = onemap_model::Timestamp::from_system(std::time::SystemTime::now()).ms() / 1000 * 1000;
        for (code, west) in [(OWN, 101.8), (ELSEWHERE, 101.7)] {
            let district =
                json!({"code": code, "kind": "division", "name": code, "geometry": square(west, 36.5, 0.1)});
            server.post("/api/v1/entities", &district);
        }
        let second = json!({"division": OWN, "department": DEPARTMENT, "cadence_s": 3600});
        server.add_device("air-2nd", &second);
        let mut city = Self {
            server,
            now,
            own: Things::default(),
            elsewhere: Things::default(),
            others: Things::default(),
        };
        city.own = city.things_of(Lies::Own);
        city
    }

    /// The things of the second district, or of the second department. A place is nobody's, so the second department has
    /// none.
    pub fn fill(&mut self, lies: Lies) {
        let things = self.things_of(lies);
        match lies {
            Lies::Own => self.own = things,
            Lies::ElsewhereInTheCity => self.elsewhere = things,
            Lies::WithAnotherDepartment => self.others = things,
        }
    }

    /// Own ones, those of the other district, those of the other department, and names of none.
    pub fn things(&self) -> [Things; 4] {
        let absent = |(kind, name): &(&'static str, String)| {
            let none = match *kind {
                "token" | "alert" => "0".repeat(name.len()),
                "series" | "command" | "entry" | "correction" | "dust" | "warning" => "999999".to_owned(),
                _ => name.replace("-for", "-abs"),
            };
            (*kind, none)
        };
        let absent = self.elsewhere.0.iter().map(absent).collect();
        [
            self.own.clone(),
            self.elsewhere.clone(),
            self.others.clone(),
            Things(absent),
        ]
    }

    /// Puts times in the place of `@from`, `@to` and `@now`: an hour and half an hour around what was measured.
    pub fn times(&self, text: &str) -> String {
        let at = |ms: i64| {
            onemap_model::Timestamp::from_ms(ms)
                .to_string()
                .replace('+', "%2B")
        };
        let plain = text.trim_start().starts_with('{');
        let fill = |text: String, key: &str, ms: i64| match plain {
            true => text.replace(key, &at(ms).replace("%2B", "+")),
            false => text.replace(key, &at(ms)),
        };
        let text = fill(text.to_owned(), "@from", self.now - 3_600_000);
        let text = fill(text, "@to", self.now + 1_800_000);
        fill(text, "@now", self.now)
    }

    fn things_of(&self, lies: Lies) -> Things {
        let (which, division, department, lon) = lies.told();
        let departments = [department];
        let server = &self.server;
        let device = format!("air-{which}");
        let position = json!({"lon": lon, "lat": 36.55});
        let more =
            json!({"division": division, "department": department, "position": position, "cadence_s": 3600});
        let token = server.add_device(&device, &more);
        let code = format!("place-{which}");
        let place = json!({"code": code, "kind": "place", "name": code, "division": division,
                           "geometry": {"type": "Point", "coordinates": [lon, 36.55]}});
        if lies != Lies::WithAnotherDepartment {
            server.post("/api/v1/entities", &place);
        }
        let component = format!("component-{which}");
        server.post(
            "/api/v1/entities",
            &json!({"code": component, "kind": "component", "name": component, "division": division,
                    "department": department, "geometry": {"type": "Point", "coordinates": [lon, 36.55]}}),
        );
        let fence = format!("fence-{which}");
        let drawn =
            json!({"name": fence, "department": department, "geometry": square(lon - 0.02, 36.53, 0.04)})
                .to_string();
        let (status, said) = server.request("PUT", &format!("/api/v1/fences/{fence}"), Some(&drawn));
        assert_eq!(status, 200, "{said}");

        let raise = json!({"device": device, "readings": [{"q": "pm10", "t": self.now, "v": 300.0}]});
        server.post("/api/v1/readings", &raise);
        let path = format!("/api/v1/{token}/telemetry");
        let (status, said) = request(&server.http, "", "POST", &path, Some(r#"{"nonsense":1}"#));
        assert_eq!(status, 200, "{said}");
        server.caught_up();
        let alert = wait_for("the alert", SOON, || {
            let all = server.get("/api/v1/alerts?state=open");
            let of = |alert: &&Value| alert.to_string().contains(&device);
            Some(
                all["items"].as_array()?.iter().find(of)?["id"]
                    .as_str()?
                    .to_owned(),
            )
        });
        let first = |path: &str| server.get(path)["items"][0]["id"].to_string();
        let [from, until] =
            [-3_600_000, 0].map(|ms| onemap_model::Timestamp::from_ms(self.now + ms).to_string());
        let review = json!({"device": device, "quantity": "pm10", "from": from, "to": until, "verdict": "valid",
                            "name": "王", "reason": "核对"});
        server.post("/api/v1/reviews", &review);
        let correction = json!({"device": device, "quantity": "pm10", "from": from, "to": until, "offset": 1,
                                "name": "王", "reason": "核对"});
        let dust = json!({"device": device, "from": from, "to": until, "source": "通知", "name": "王"});
        let ids = [("/api/v1/corrections", correction), ("/api/v1/dust", dust)]
            .map(|(path, body)| server.post(path, &body)["id"].to_string());
        let [correction, dust] = ids;
        let forecast = json!({"source": "气象台", "issued_at": from, "forecasts": [
            {"device": device, "quantity": "pm10", "leads": [{"at": until, "value": 120}]}]});
        server.post("/api/v1/forecasts", &forecast);
        let order = json!({"device": device, "method": "open", "ttl_s": 300});
        let command = server.post("/api/v1/commands", &order)["id"].to_string();
        let drafted = json!({"name": "王", "content": {"colour": "blue", "expires": "2036-01-01T00:00:00+08:00",
            "division": division, "department": department,
            "areas": [{"zh": division, "en": division, "divisions": [division]}]}});
        let warning = server.post("/api/v1/warnings", &drafted)["id"].to_string();
        let desk = format!("desk-{which}");
        let manned = json!({"name": desk, "division": division, "severity": "critical",
                            "steps": [{"after_min": 5, "post": "值班员"}]});
        let (status, said) =
            server.request("PUT", &format!("/api/v1/duty/{desk}"), Some(&manned.to_string()));
        assert_eq!(status, 200, "{said}");
        let drill = format!("drill-{which}");
        let planned = json!({"name": drill, "division": division, "rules": ["pm10-dust"],
                             "from": "2036-01-01T00:00:00+08:00", "to": "2036-01-02T00:00:00+08:00"});
        let (status, said) = server.request(
            "PUT",
            &format!("/api/v1/drills/{drill}"),
            Some(&planned.to_string()),
        );
        assert_eq!(status, 200, "{said}");
        let account = format!("user-{which}");
        server.post(
            "/api/v1/accounts",
            &json!({"id": account, "name": account, "role": "viewer", "division": division, "departments": departments}),
        );
        let new = json!({"role": "viewer", "name": format!("token-{which}"), "division": division,
                         "departments": departments});
        let token = server.post("/api/v1/tokens", &new)["id"]
            .as_str()
            .unwrap()
            .to_owned();
        server.caught_up();
        let series = first(&format!("/api/v1/series?device={device}"));
        let entry = first(&format!("/api/v1/quarantine?device={device}"));
        let mut things = vec![
            ("account", account),
            ("token", token),
            ("device", device),
            ("series", series),
            ("correction", correction),
            ("dust", dust),
            ("alert", alert),
            ("command", command),
            ("entry", entry),
            ("warning", warning),
            ("desk", desk),
            ("component", component),
            ("fence", fence),
        ];
        if lies != Lies::WithAnotherDepartment {
            things.push(("place", code));
        }
        Things(things)
    }

    /// Live push and feed of viewers: of the own district, of the own department, of both and of the whole city.
    pub fn open_streams(&self, askers: &[Asker]) -> Vec<Stream> {
        let viewers = askers.iter().filter(|asker| asker.letter == 'V');
        let all = viewers.flat_map(|asker| ["/api/v1/live", "/feeds/alerts"].map(|path| (asker, path)));
        all.map(|(asker, path)| {
            let said = stream(&self.server.http, &asker.token, path);
            let foreign = [Lies::ElsewhereInTheCity, Lies::WithAnotherDepartment];
            Stream {
                who: format!("{path}, {}", asker.name()),
                is_silent_of: foreign.into_iter().filter(|lies| !asker.sees(*lies)).collect(),
                said,
            }
        })
        .collect()
    }

    /// Raises another alert in the own district and reads the streams up to it: gives what should not have been said.
    pub fn hear(&self, streams: Vec<Stream>) -> Vec<String> {
        let now = onemap_model::Timestamp::from_system(std::time::SystemTime::now()).ms();
        let raise = json!({"device": "air-2nd", "readings": [{"q": "pm10", "t": now, "v": 300.0}]});
        self.server.post("/api/v1/readings", &raise);
        let alert = wait_for("the second alert", SOON, || {
            let all = self.server.get("/api/v1/alerts?state=open");
            let of = |alert: &&Value| alert.to_string().contains("air-2nd");
            Some(
                all["items"].as_array()?.iter().find(of)?["id"]
                    .as_str()?
                    .to_owned(),
            )
        });
        let mut faults = Vec::new();
        for stream in streams {
            let said = wait_for(
                &format!("{} to tell of the second alert", stream.who),
                SOON,
                || {
                    let said = stream.said.lock().unwrap();
                    said.contains(&alert).then(|| said.clone())
                },
            );
            for (lies, things) in [
                (Lies::ElsewhereInTheCity, &self.elsewhere),
                (Lies::WithAnotherDepartment, &self.others),
            ] {
                let foreign = ["alert", "device", "component", "fence"].map(|kind| things.get(kind));
                let told: Vec<_> = foreign.iter().filter(|name| said.contains(**name)).collect();
                let is_silent = stream.is_silent_of.contains(&lies);
                if is_silent && !told.is_empty() {
                    faults.push(format!("{}: tells of {told:?}", stream.who));
                }
                if !is_silent && !said.contains(things.get("alert")) {
                    faults.push(format!(
                        "{}: does not tell of {}",
                        stream.who,
                        things.get("alert")
                    ));
                }
            }
        }
        faults
    }
}
