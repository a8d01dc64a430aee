//! A storm of 10,000 open alerts with what is to be seen in it: dark gateways, a chattering series and 15 incidents.
#![allow(unreachable_pub)]

use std::collections::HashMap;

use onemap_alerts::cards::{Site, Surroundings};
use onemap_alerts::{Alert, AlertState, Condition, Texts};
use onemap_model::{AlertId, DeviceId, Position, Quantity, RuleId, SeriesKey, Severity, Timestamp};

pub const START: Timestamp = Timestamp::from_ms(1_795_363_200_000);
/// Children of each dark gateway.
pub const GATEWAYS: [usize; 4] = [400, 1200, 1700, 3000];
/// The card of the chattering series.
pub const CHATTER: &str = "chatter";
/// The card of the one critical alert, behind the first gateway.
pub const CRITICAL: &str = "critical";

/// Alerts, what is known of their devices, and of each open alert the card that it belongs on.
pub struct Storm {
    pub alerts: Vec<Alert>,
    pub known: Surroundings,
    pub belongs: HashMap<AlertId, String>,
}

pub fn at(s: i64) -> Timestamp {
    Timestamp::from_ms(START.ms() + s * 1000)
}

pub fn device(id: &str) -> DeviceId {
    DeviceId::new(id).expect("a name of letters and digits")
}

/// An open alert of a rule that is called as its quantity; `silence` is that of a device.
pub fn alert(n: u64, id: &str, quantity: &str, severity: Severity, s: i64) -> Alert {
    let is_silence = quantity == "silence";
    let rule = RuleId::new(quantity).expect("a name of letters");
    let series = SeriesKey {
        device: device(id),
        quantity: Quantity::named(if is_silence { "seq" } else { quantity }).expect("a quantity"),
        channel: 0,
    };
    Alert {
        id: AlertId::of(&[rule.as_str().as_bytes(), id.as_bytes(), &n.to_le_bytes()]),
        rule_name: Texts {
            zh: quantity.to_owned(),
            en: quantity.to_owned(),
        },
        rule,
        rule_version: "00000000".to_owned(),
        severity,
        state: AlertState::Open,
        condition: Condition::Abnormal,
        acknowledged: None,
        shelved: None,
        assigned: None,
        series,
        division: None,
        raised_at: at(s),
        raised_position: n,
        changed_at: at(s),
        ended_at: None,
        waits_since: None,
        message: Texts::default(),
        advice: Texts::default(),
        inputs: Vec::new(),
        value: None,
        threshold: None,
        drill: None,
        past: None,
    }
}

pub fn ended(mut alert: Alert, s: i64) -> Alert {
    alert.state = AlertState::Cleared;
    alert.condition = Condition::Normal;
    alert.ended_at = Some(at(s));
    alert.changed_at = at(s);
    alert
}

/// A place so many metres east and north of the city's middle.
pub fn place(east_m: f64, north_m: f64) -> Position {
    let lon = 101.78 + east_m / (111_195.0 * 36.62_f64.to_radians().cos());
    Position::new(lon, 36.62 + north_m / 111_195.0, None).expect("a place on the earth")
}

pub fn site(position: Option<Position>, gateway: Option<&str>) -> Site {
    Site {
        position,
        gateway: gateway.map(device),
        heard_at: Some(at(0)),
        cadence_s: 60,
        ..Site::default()
    }
}

pub fn surroundings() -> Surroundings {
    let mut known = Surroundings::default();
    known.silences.insert(RuleId::new("silence").expect("a name"));
    known
}

/// Incidents: cause by quantity, metres east and north, devices, network.
const INCIDENTS: [(&str, f64, f64, usize, Option<&str>); 14] = [
    ("pm10", 0.0, 0.0, 30, None),
    ("pm10", 9_000.0, 0.0, 12, None),
    ("noise_laeq", 0.0, 0.0, 8, None),
    ("water_level", 0.0, 0.0, 6, Some("reach/湟水")),
    ("water_level", 200.0, 100.0, 5, Some("reach/南川河")),
    ("smoke", -4_000.0, 2_000.0, 9, None),
    ("smoke", -4_000.0, 3_000.0, 1, None),
    ("combustible_gas", -4_000.0, 2_000.0, 3, None),
    ("manhole_open", 3_000.0, -1_000.0, 4, None),
    ("water_depth", 3_000.0, -1_000.0, 40, None),
    ("rain", 3_000.0, -1_000.0, 20, None),
    ("turbidity", -6_000.0, -6_000.0, 5, None),
    ("crack_width", 6_000.0, 6_000.0, 2, None),
    ("voltage", 6_000.0, 6_000.0, 25, None),
];

impl Storm {
    pub fn planted() -> Self {
        let mut storm = Self {
            alerts: Vec::new(),
            known: surroundings(),
            belongs: HashMap::new(),
        };
        storm.gateways();
        storm.incidents();
        storm.chatter();
        for i in 0.. {
            if storm.n_open() == 10_000 {
                break;
            }
            // What is lost behind the largest gateway.
            let id = format!("g3-{}", i % GATEWAYS[3]);
            let quantity = if i < GATEWAYS[3] { "no2" } else { "so2" };
            let mut lost = alert(0, &id, quantity, Severity::Minor, -3_600);
            lost.condition = Condition::Unknown;
            lost.changed_at = at(200);
            storm.put(lost, "g3");
        }
        storm
    }

    pub fn n_open(&self) -> usize {
        self.belongs.len()
    }

    /// Gives an alert its number, in the order in which they are put.
    fn put(&mut self, mut one: Alert, card: &str) {
        let n = self.alerts.len() as u64 + 1;
        one.id = AlertId::of(&[&n.to_le_bytes()]);
        one.raised_position = n;
        if one.is_open() {
            self.belongs.insert(one.id, card.to_owned());
        }
        self.alerts.push(one);
    }

    fn gateways(&mut self) {
        for (g, n_children) in GATEWAYS.into_iter().enumerate() {
            let gateway = format!("g{g}");
            let middle = (g as f64 * 2_000.0 - 3_000.0, 500.0);
            let own = site(Some(place(middle.0, middle.1)), None);
            self.known.sites.insert(device(&gateway), own);
            for i in 0..n_children {
                let id = format!("{gateway}-{i}");
                let (east, north) = ((i % 50) as f64 * 40.0, (i / 50) as f64 * 40.0);
                let position = place(middle.0 - 1_000.0 + east, middle.1 - 1_000.0 + north);
                self.known
                    .sites
                    .insert(device(&id), site(Some(position), Some(&gateway)));
                let silent = alert(0, &id, "silence", Severity::Minor, 300 + (i % 60) as i64);
                self.put(silent, &gateway);
            }
            let dark = alert(0, &gateway, "silence", Severity::Major, 330);
            self.known.note(&dark, true);
            self.put(dark, &gateway);
        }
        let fire = alert(0, "g0-37", "fire_alarm", Severity::Critical, 120);
        self.put(fire, CRITICAL);
    }

    fn incidents(&mut self) {
        for (n, (quantity, east, north, n_devices, network)) in INCIDENTS.into_iter().enumerate() {
            for i in 0..n_devices {
                let id = format!("i{n}-{i}");
                let (dx, dy) = ((i % 7) as f64 * 30.0, (i / 7) as f64 * 30.0);
                let mut own = site(Some(place(east + dx, north + dy)), None);
                own.network = network.map(str::to_owned);
                self.known.sites.insert(device(&id), own);
                let one = alert(0, &id, quantity, Severity::Major, 400 + i as i64);
                self.put(one, &format!("i{n}"));
            }
        }
    }

    /// One series that has been going to and fro for half an hour.
    fn chatter(&mut self) {
        let position = Some(place(-9_000.0, 9_000.0));
        self.known.sites.insert(device("loose"), site(position, None));
        for i in 0..300 {
            let one = alert(0, "loose", "tvoc", Severity::Notice, i * 6);
            match i {
                299 => self.put(one, CHATTER),
                _ => self.put(ended(one, i * 6 + 3), CHATTER),
            }
        }
    }
}
