//! Vehicles that drive along the shipped roads, and the fences that watch them. Pure.

use onemap_model::{Device, DeviceId, DeviceState, DivisionCode, Setting};
use serde_json::{Value, json};

use super::geography::{Geography, LonLat, along, distance_m, length_m, offset};
use crate::prng::{Prng, seed_of};

/// Seconds between the positions that a vehicle sends.
pub const CADENCE_S: u32 = 1;
/// A road shorter than this is no route, metres.
const LEAST_ROUTE_M: f64 = 2_500.0;
/// Vertices of a fence's circle.
const N_VERTICES: usize = 24;

/// What drives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum TruckKind {
    Water,
    Hazmat,
}

/// One vehicle with its way to and fro.
#[derive(Clone, Debug)]
pub struct Truck {
    /// As it is registered: without a position, it says where it is.
    pub device: Device,
    /// The road it drives.
    pub route: Vec<LonLat>,
    /// Metres a second.
    speed_m_s: f64,
    /// Where on its way it starts, metres.
    start_m: f64,
}

/// A fence, as it is registered.
#[derive(Clone, Debug)]
pub struct DemoFence {
    /// Its code.
    pub code: String,
    /// What the server is told of it.
    pub body: Value,
}

impl TruckKind {
    const ALL: [Self; 2] = [Self::Water, Self::Hazmat];

    fn name(self) -> &'static str {
        match self {
            Self::Water => "water_truck",
            Self::Hazmat => "hazmat_truck",
        }
    }
    fn prefix(self) -> &'static str {
        match self {
            Self::Water => "sprinkler",
            Self::Hazmat => "hazmat",
        }
    }
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Water => ("洒水车", "Water truck"),
            Self::Hazmat => ("危化品运输车", "Hazardous goods truck"),
        }
    }
    fn department(self) -> &'static str {
        match self {
            Self::Water => "城市管理局",
            Self::Hazmat => "交通运输局",
        }
    }
    /// Name of its fence, its radius in metres, and how long a stay is told of.
    fn fence(self) -> (&'static str, &'static str, f64, f64) {
        match self {
            Self::Water => ("洒水作业区（示意）", "Sprinkling area (sketch)", 700.0, 60.0),
            Self::Hazmat => (
                "危化品禁停区（示意）",
                "No stopping of hazardous goods (sketch)",
                450.0,
                30.0,
            ),
        }
    }
}

impl Truck {
    /// Where it is after so many seconds: to the end of its road and back again.
    pub fn at(&self, elapsed_s: f64) -> LonLat {
        let length = length_m(&self.route);
        let driven = (self.start_m + self.speed_m_s * elapsed_s.max(0.0)).rem_euclid(2.0 * length);
        let on_road = if driven > length {
            2.0 * length - driven
        } else {
            driven
        };
        along(&self.route, on_road).unwrap_or(self.route[0])
    }

    /// Its message at a time, milliseconds since 1970.
    pub fn payload(&self, stamp_ms: i64, elapsed_s: f64) -> Vec<u8> {
        let micro = |degrees: f64| (degrees * 1e6).round() / 1e6;
        let [lon, lat] = self.at(elapsed_s).map(micro);
        let values = json!({"longitude": lon, "latitude": lat});
        json!({"ts": stamp_ms, "values": values}).to_string().into_bytes()
    }
}

/// The vehicles of a seed and their fences: each drives another long road inside one division, through a circle
/// around its middle.
pub fn trucks(geography: &Geography, seed: u64) -> (Vec<Truck>, Vec<DemoFence>) {
    let mut prng = Prng::new(seed_of(&[seed, 0x7275_636b]));
    let mut routes: Vec<(&Vec<LonLat>, &DivisionCode)> = Vec::new();
    for road in &geography.streets {
        let areas: Vec<_> = road.iter().map(|at| geography.area_at(*at)).collect();
        if let Some(Some(area)) = areas.first()
            && areas.iter().all(|other| *other == Some(*area))
            && length_m(road) >= LEAST_ROUTE_M
        {
            routes.push((road, &geography.areas[*area].code));
        }
    }
    let (mut trucks, mut fences) = (Vec::new(), Vec::new());
    for kind in TruckKind::ALL {
        if routes.is_empty() {
            break;
        }
        let (route, division) = routes.swap_remove(prng.below(routes.len()));
        let length = length_m(route);
        let (name, name_en) = kind.names();
        let id = format!("{}-0001", kind.prefix());
        trucks.push(Truck {
            device: Device {
                id: DeviceId::new(&id).expect("a prefix and four digits"),
                name: format!("{name} 1 号"),
                name_en: format!("{name_en} 1"),
                kind: kind.name().into(),
                profile: None,
                position: None,
                division: Some(division.clone()),
                setting: Setting::Urban,
                gateway: None,
                entity: None,
                state: DeviceState::Active,
                maintenance: None,
                cadence_s: CADENCE_S,
                department: kind.department().to_owned(),
                is_gateway: false,
                adopts: false,
                demo: true,
            },
            route: route.clone(),
            speed_m_s: prng.between(9.0, 13.0),
            start_m: prng.between(0.0, length),
        });
        let middle = along(route, length / 2.0).unwrap_or(route[0]);
        let (name, name_en, radius_m, dwell_s) = kind.fence();
        fences.push(DemoFence {
            code: format!("demo-{}", kind.prefix()),
            body: json!({
                "name": name, "name_en": name_en, "division": division, "source": "示意",
                "geometry": {"type": "Polygon", "coordinates": [circle(middle, radius_m)]},
                "device_kinds": [kind.name()], "dwell_s": dwell_s, "hysteresis_m": 30.0,
            }),
        });
    }
    (trucks, fences)
}

/// A closed ring, counter-clockwise.
fn circle(middle: LonLat, radius_m: f64) -> Vec<LonLat> {
    let micro = |degrees: f64| (degrees * 1e6).round() / 1e6;
    let vertex = |i: usize| {
        let angle = std::f64::consts::TAU * (i % N_VERTICES) as f64 / N_VERTICES as f64;
        offset(middle, radius_m * angle.cos(), radius_m * angle.sin()).map(micro)
    };
    let ring: Vec<LonLat> = (0..=N_VERTICES).map(vertex).collect();
    debug_assert!(distance_m(ring[0], ring[N_VERTICES]) == 0.0);
    ring
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn trucks_drive_on_their_roads_and_through_their_fences() {
        let geography = Geography::load().unwrap();
        for seed in [1, 7, 42] {
            let (all, fences) = trucks(&geography, seed);
            assert_eq!((all.len(), fences.len()), (2, 2));
            assert_ne!(all[0].route, all[1].route);
            for (truck, fence) in all.iter().zip(&fences) {
                let ring = &fence.body["geometry"]["coordinates"][0];
                let radius = truck.device.kind.starts_with("water");
                let radius = if radius { 700.0 } else { 450.0 };
                let middle = along(&truck.route, length_m(&truck.route) / 2.0).unwrap();
                let on_ring = [ring[0][0].as_f64().unwrap(), ring[0][1].as_f64().unwrap()];
                assert!((distance_m(middle, on_ring) - radius).abs() < 5.0);
                let way: Vec<_> = (0..3600).map(|s| truck.at(f64::from(s))).collect();
                // No jump that anybody would doubt.
                assert!(way.windows(2).all(|w| distance_m(w[0], w[1]) < 14.0));
                let inside = |at: &LonLat| distance_m(*at, middle) < radius;
                assert!(way.iter().any(inside) && !way.iter().all(inside), "seed {seed}");
            }
            let again = trucks(&geography, seed).0;
            assert_eq!(again[0].payload(5, 77.0), all[0].payload(5, 77.0));
        }
    }
}
