//! The data that both servers get: regular, with gaps, irregular, counters that begin anew.

use serde_json::{Value, json};

use crate::server::{Server, wait_for};

/// Values of one series, oldest first.
pub struct Series {
    pub device: &'static str,
    pub quantity: &'static str,
    pub channel: u16,
    pub points: Vec<(i64, f64)>,
}

pub struct Data {
    start: i64,
    pub series: Vec<Series>,
}

/// Device, division, kind.
const DEVICES: [(&str, &str, &str); 6] = [
    ("air-1", "630102", "air_station"),
    ("air-2", "630102", "air_station"),
    ("air-3", "630103", "air_station"),
    ("river-1", "630103", "river_gauge"),
    ("river-2", "630103", "river_gauge"),
    ("valve-1", "630103", "valve"),
];

/// The same numbers at every run.
struct Dice(u64);

impl Dice {
    /// From 0 up to, not including, `n`.
    fn roll(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
    /// Steps of at most one, two decimals.
    fn walk(&mut self, from: f64, n: i64, step: i64, start: i64) -> Vec<(i64, f64)> {
        let mut hundredths = from * 100.0;
        let mut points = Vec::new();
        for i in 0..n {
            hundredths += self.roll(201) as f64 - 100.0;
            points.push((start + i * step, hundredths / 100.0));
        }
        points
    }
    /// Grows by up to nine; begins anew at some points, falls a little at others.
    fn count(&mut self, from: f64, n: i64, start: i64, anew: &[i64], falls: &[i64]) -> Vec<(i64, f64)> {
        let mut value = from;
        let mut points = Vec::new();
        for i in 0..n {
            value += self.roll(10) as f64;
            if anew.contains(&i) {
                value = self.roll(4) as f64;
            }
            if falls.contains(&i) {
                value -= (value / 20.0).floor();
            }
            points.push((start + i * 15_000, value));
        }
        points
    }
}

impl Data {
    /// Three hours of it, six hours ago, from a whole ten minutes on.
    pub fn new() -> Self {
        let now = onemap_model::Timestamp::from_system(std::time::SystemTime::now()).ms();
        let start = (now - 6 * 3_600_000) / 600_000 * 600_000;
        let mut dice = Dice(5);
        let mut series = Vec::new();
        let mut put = |device, quantity, channel, points| {
            series.push(Series {
                device,
                quantity,
                channel,
                points,
            });
        };
        let minute = 60_000;
        put("air-1", "temperature", 0, dice.walk(20.0, 180, minute, start));
        put("air-1", "temperature", 1, dice.walk(20.0, 180, minute, start));
        put("air-2", "temperature", 0, dice.walk(20.0, 180, minute, start));
        put("air-1", "pm2_5", 0, dice.walk(50.0, 180, minute, start));
        let mut gap = dice.walk(80.0, 180, minute, start);
        gap.retain(|(t, _)| !(60..95).contains(&((t - start) / minute)));
        put("air-2", "pm2_5", 0, gap);
        put("air-3", "pm2_5", 0, dice.walk(30.0, 100, minute, start));
        let mut gap = dice.count(0.0, 720, start, &[100, 101, 400], &[]);
        gap.retain(|(t, _)| !(200..260).contains(&((t - start) / 15_000)));
        put("air-1", "counter", 0, gap);
        put(
            "air-2",
            "counter",
            0,
            dice.count(5e6, 720, start, &[300], &[500, 501]),
        );
        put("air-3", "energy", 0, dice.count(100.0, 180, start, &[], &[]));
        let mut t = start;
        let mut irregular = Vec::new();
        for _ in 0..60 {
            t += 30_000 + dice.roll(370_000) as i64;
            irregular.push((t, dice.roll(5000) as f64 / 1000.0));
        }
        put("river-1", "water_level", 0, irregular);
        let rain = (0..36).map(|i| (start + i * 5 * minute, (i / 5) as f64));
        put("river-1", "rain_total", 0, rain.collect());
        let hourly = (0..4).map(|i| (start + i * 60 * minute, 1.5 + i as f64));
        put("river-2", "water_level", 0, hourly.collect());
        put("river-2", "rain_total", 0, vec![(start + 60 * minute, 7.25)]);
        let states = (0..150).map(|i| (start + i * minute, ((i / 7) % 3) as f64));
        put("valve-1", "counter", 3, states.collect());
        let quick = (0..600).map(|i| {
            (
                start + i * 5000 + dice.roll(900) as i64,
                45.0 + dice.roll(100) as f64 / 10.0,
            )
        });
        put("air-1", "o3", 0, quick.collect());
        Self { start, series }
    }

    pub fn start_s(&self) -> i64 {
        self.start / 1000
    }

    pub fn n_points(&self) -> usize {
        self.series.iter().map(|own| own.points.len()).sum()
    }

    /// The labels of a series, as the documentation says.
    pub fn labels(own: &Series) -> Value {
        let (_, division, kind) = DEVICES.iter().find(|(id, ..)| *id == own.device).unwrap();
        let quantity = onemap_model::Quantity::named(own.quantity).unwrap();
        let mut labels = json!({
            "__name__": own.quantity, "device": own.device, "device_name": format!("站 {}", own.device),
            "channel": own.channel.to_string(), "division": division, "kind": kind,
        });
        let unit = &quantity.definition().unit;
        if !unit.is_empty() {
            labels["unit"] = json!(unit);
        }
        labels
    }

    /// Registers the devices and imports all values.
    pub fn to_onemap(&self, server: &Server) {
        for (id, division, kind) in DEVICES {
            server.add_device(
                id,
                &json!({"name": format!("站 {id}"), "division": division, "kind": kind}),
            );
        }
        for own in &self.series {
            let readings = own
                .points
                .iter()
                .map(|(t, v)| json!({"q": own.quantity, "ch": own.channel, "t": t, "v": v}));
            let readings: Vec<Value> = readings.collect();
            let body = json!({"device": own.device, "readings": readings});
            let stored = server.post("/api/v1/readings/import", &body);
            assert_eq!(
                stored["stored"]["new"],
                own.points.len(),
                "{}: {stored}",
                own.quantity
            );
        }
        wait_for("all values", std::time::Duration::from_secs(15), || {
            let query = super::encoded(r#"sum(count_over_time({device!=""}[1d]))"#);
            let (_, answer) = super::get(server, &server.token, &format!("query?query={query}"));
            let n: f64 = answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()?;
            (n as usize == self.n_points()).then_some(())
        });
    }
}
