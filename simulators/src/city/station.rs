//! What kinds of station there are and what each measures.

use onemap_model::{Device, Quantity};

use super::shape::Shape;
use crate::prng::{Prng, seed_of};

/// A kind of station of the demo city.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum StationKind {
    Air,
    Noise,
    River,
    Rain,
    Manhole,
    Smoke,
    Soil,
}

impl StationKind {
    /// Every kind.
    pub const ALL: [StationKind; 7] = [
        StationKind::Air,
        StationKind::Noise,
        StationKind::River,
        StationKind::Rain,
        StationKind::Manhole,
        StationKind::Smoke,
        StationKind::Soil,
    ];
    /// The register's word for it.
    pub fn name(self) -> &'static str {
        match self {
            StationKind::Air => "air_station",
            StationKind::Noise => "noise_meter",
            StationKind::River => "river_gauge",
            StationKind::Rain => "rain_gauge",
            StationKind::Manhole => "manhole",
            StationKind::Smoke => "smoke_detector",
            StationKind::Soil => "soil_station",
        }
    }
    /// First part of the ids.
    pub fn prefix(self) -> &'static str {
        match self {
            StationKind::Air => "air",
            StationKind::Noise => "noise",
            StationKind::River => "river",
            StationKind::Rain => "rain",
            StationKind::Manhole => "manhole",
            StationKind::Smoke => "smoke",
            StationKind::Soil => "soil",
        }
    }
    /// Chinese.
    pub fn zh(self) -> &'static str {
        match self {
            StationKind::Air => "空气站",
            StationKind::Noise => "噪声计",
            StationKind::River => "水位站",
            StationKind::Rain => "雨量站",
            StationKind::Manhole => "智能井盖",
            StationKind::Smoke => "烟感",
            StationKind::Soil => "墒情站",
        }
    }
    /// English.
    pub fn en(self) -> &'static str {
        match self {
            StationKind::Air => "air station",
            StationKind::Noise => "noise meter",
            StationKind::River => "river gauge",
            StationKind::Rain => "rain gauge",
            StationKind::Manhole => "manhole cover",
            StationKind::Smoke => "smoke detector",
            StationKind::Soil => "soil station",
        }
    }
    /// The department that owns it.
    pub fn department(self) -> &'static str {
        match self {
            StationKind::Air | StationKind::Noise => "生态环境局",
            StationKind::River | StationKind::Rain => "水务局",
            StationKind::Manhole => "城市管理局",
            StationKind::Smoke => "消防救援支队",
            StationKind::Soil => "农业农村局",
        }
    }
    /// How many the city has.
    pub fn count(self) -> usize {
        match self {
            StationKind::Air => 24,
            StationKind::Noise => 16,
            StationKind::River => 14,
            StationKind::Rain => 14,
            StationKind::Manhole => 24,
            StationKind::Smoke => 16,
            StationKind::Soil => 12,
        }
    }
    /// Seconds between its messages.
    pub fn cadence_s(self) -> u32 {
        match self {
            StationKind::Air | StationKind::Noise | StationKind::Smoke => 5,
            StationKind::River | StationKind::Manhole => 6,
            StationKind::Rain | StationKind::Soil => 10,
        }
    }

    /// What a station of this kind measures. `sun` (0 in summer to 1 in deep winter) and the site's
    /// random numbers shift the levels; no undisturbed value comes near a threshold of the shipped rules.
    pub fn sensors(self, rural: bool, prng: &mut Prng) -> Vec<Sensor> {
        let low = 0.0;
        let town = if rural { 0.6 } else { 1.0 };
        let mut site = |low: f64, high: f64| prng.between(low, high);
        match self {
            StationKind::Air => {
                let pm = site(0.8, 1.15) * town;
                vec![
                    Sensor::new(
                        "pm2_5",
                        Shape {
                            base: 26.0 * pm,
                            rush: 5.0 * pm,
                            slow: 8.0 * pm,
                            fast: 2.0,
                            jitter: 0.8,
                            low: 2.0,
                            ..Shape::default()
                        },
                    ),
                    Sensor::new(
                        "pm10",
                        Shape {
                            base: 56.0 * pm,
                            rush: 10.0 * pm,
                            slow: 18.0 * pm,
                            fast: 5.0,
                            jitter: 2.0,
                            low: 4.0,
                            ..Shape::default()
                        },
                    ),
                    Sensor::new(
                        "no2",
                        Shape {
                            base: 24.0 * pm,
                            rush: 14.0 * pm,
                            slow: 5.0,
                            fast: 2.0,
                            jitter: 1.0,
                            low: 2.0,
                            ..Shape::default()
                        },
                    ),
                    Sensor::new(
                        "o3",
                        Shape {
                            base: 62.0,
                            sun: 28.0,
                            rush: -6.0,
                            slow: 8.0,
                            fast: 2.0,
                            jitter: 1.0,
                            low: 5.0,
                            ..Shape::default()
                        },
                    ),
                    Sensor::new(
                        "co",
                        Shape {
                            base: 0.55 * pm,
                            rush: 0.25 * pm,
                            slow: 0.1,
                            fast: 0.03,
                            jitter: 0.02,
                            low: 0.05,
                            ..Shape::default()
                        },
                    ),
                    Sensor::new(
                        "temperature",
                        Shape {
                            base: site(0.5, 2.5) - if rural { 2.0 } else { 0.0 },
                            sun: 6.5,
                            slow: 1.5,
                            fast: 0.2,
                            jitter: 0.1,
                            low: -40.0,
                            ..Shape::default()
                        },
                    ),
                    Sensor::new(
                        "humidity",
                        Shape {
                            base: 46.0,
                            sun: -15.0,
                            slow: 7.0,
                            fast: 1.0,
                            jitter: 0.5,
                            low: 5.0,
                            ..Shape::default()
                        },
                    ),
                ]
            }
            StationKind::Noise => {
                let level = site(51.0, 54.5) - if rural { 6.0 } else { 0.0 };
                let shape = Shape {
                    base: level,
                    rush: 4.0,
                    night: 8.0,
                    slow: 0.8,
                    fast: 1.6,
                    jitter: 0.8,
                    low: 28.0,
                    ..Shape::default()
                };
                vec![
                    Sensor::new("noise_laeq", shape),
                    Sensor::new(
                        "noise_lmax",
                        Shape {
                            base: shape.base + 4.0,
                            ..shape
                        },
                    ),
                ]
            }
            StationKind::River => {
                let stage = site(1.25, 1.5);
                vec![
                    Sensor::new(
                        "water_level",
                        Shape {
                            base: stage,
                            slow: 0.09,
                            fast: 0.006,
                            jitter: 0.003,
                            low,
                            ..Shape::default()
                        },
                    ),
                    Sensor::new(
                        "flow",
                        Shape {
                            base: discharge(stage),
                            slow: 1.8,
                            fast: 0.15,
                            jitter: 0.06,
                            low,
                            ..Shape::default()
                        },
                    ),
                ]
            }
            StationKind::Rain => vec![Sensor::new(
                "rain",
                Shape {
                    base: 0.0,
                    slow: site(0.05, 0.25),
                    fast: 0.03,
                    low,
                    showers: true,
                    ..Shape::default()
                },
            )],
            StationKind::Manhole => vec![
                Sensor::new(
                    "manhole_open",
                    Shape {
                        low,
                        ..Shape::default()
                    },
                ),
                Sensor::new(
                    "water_depth",
                    Shape {
                        base: site(0.06, 0.12),
                        rush: 0.03,
                        slow: 0.02,
                        fast: 0.004,
                        jitter: 0.002,
                        low,
                        ..Shape::default()
                    },
                ),
            ],
            StationKind::Smoke => vec![
                Sensor::new(
                    "smoke",
                    Shape {
                        base: site(0.05, 0.15),
                        slow: 0.04,
                        fast: 0.03,
                        jitter: 0.02,
                        low,
                        ..Shape::default()
                    },
                ),
                Sensor::new(
                    "temperature",
                    Shape {
                        base: site(17.0, 21.0),
                        sun: 2.0,
                        slow: 0.8,
                        fast: 0.1,
                        jitter: 0.1,
                        low,
                        ..Shape::default()
                    },
                ),
                Sensor::new(
                    "fire_alarm",
                    Shape {
                        low,
                        ..Shape::default()
                    },
                ),
            ],
            StationKind::Soil => vec![
                Sensor::new(
                    "soil_moisture",
                    Shape {
                        base: site(19.0, 25.0),
                        slow: 1.2,
                        fast: 0.1,
                        jitter: 0.1,
                        low,
                        ..Shape::default()
                    },
                ),
                Sensor::new(
                    "soil_temperature",
                    Shape {
                        base: site(2.0, 4.5),
                        sun: 0.8,
                        slow: 0.4,
                        fast: 0.03,
                        jitter: 0.03,
                        low: -20.0,
                        ..Shape::default()
                    },
                ),
            ],
        }
    }
}

/// Discharge in m³/s for a stage in metres: a plain power-law rating, the same for every demo river.
pub fn discharge(stage_m: f64) -> f64 {
    9.0 * stage_m.max(0.0).powf(1.7)
}

/// One sensor of a station.
#[derive(Clone, Debug)]
pub struct Sensor {
    /// What it measures.
    pub quantity: Quantity,
    /// Its undisturbed course.
    pub shape: Shape,
}

impl Sensor {
    fn new(quantity: &str, shape: Shape) -> Self {
        let quantity = Quantity::named(quantity).expect("a test builds every kind of station");
        Self { quantity, shape }
    }
}

/// A value as a station says it.
fn rounded(sensor: &Sensor, value: f64) -> serde_json::Value {
    let scale = 10f64.powi(i32::from(sensor.quantity.definition().decimals) + 1);
    if sensor.quantity.is_state() {
        value.round().into()
    } else {
        ((value * scale).round() / scale).into()
    }
}

/// Which payload a station speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `{"ts":…,"values":{…}}` on `v1/devices/me/telemetry`.
    ThingsBoard,
    /// `[{"q":…,"ch":0,"t":…,"v":…,"s":…}]` on `onemap/v1/{device}/readings`.
    Native,
}

/// One station of the city.
#[derive(Clone, Debug)]
pub struct Station {
    /// As it is registered.
    pub device: Device,
    /// What it is.
    pub kind: StationKind,
    /// Its sensors.
    pub sensors: Vec<Sensor>,
    /// How it speaks.
    pub dialect: Dialect,
    /// Seed of its noise.
    pub seed: u64,
}

impl Station {
    /// The undisturbed value of a sensor (by index) at a time in seconds since 1970.
    pub fn quiet(&self, sensor: usize, time_s: f64) -> f64 {
        self.sensors[sensor]
            .shape
            .value(seed_of(&[self.seed, sensor as u64]), time_s)
    }
    /// What a sensor (by index) would have said at these times, milliseconds since 1970, as `POST /api/v1/readings` takes it.
    pub fn said(&self, sensor: usize, stamps_ms: impl Iterator<Item = i64>) -> Vec<serde_json::Value> {
        let of = &self.sensors[sensor];
        stamps_ms
            .map(|t| {
                let value = self.quiet(sensor, t as f64 / 1000.0);
                serde_json::json!({"q": of.quantity.name(), "t": t, "v": rounded(of, value), "r": true})
            })
            .collect()
    }
    /// The topic it publishes on.
    pub fn topic(&self) -> String {
        match self.dialect {
            Dialect::ThingsBoard => "v1/devices/me/telemetry".to_owned(),
            Dialect::Native => format!("onemap/v1/{}/readings", self.device.id),
        }
    }
    /// The payload for values in the order of the sensors; `seq` counts the station's values.
    pub fn payload(&self, stamp_ms: i64, values: &[f64], seq: u64) -> Vec<u8> {
        let pairs = self.sensors.iter().zip(values);
        let message = match self.dialect {
            Dialect::ThingsBoard => {
                let values: serde_json::Map<_, _> =
                    pairs.map(|(s, v)| (s.quantity.name().to_owned(), rounded(s, *v))).collect();
                serde_json::json!({ "ts": stamp_ms, "values": values })
            }
            Dialect::Native => pairs
                .enumerate()
                .map(|(i, (s, v))| {
                    serde_json::json!({ "q": s.quantity.name(), "ch": 0, "t": stamp_ms, "v": rounded(s, *v), "s": seq + i as u64 })
                })
                .collect(),
        };
        message.to_string().into_bytes()
    }
}
