//! From a position to the address there: divisions, the nearest door, place and road, each with its distance.

use onemap_model::{DivisionCode, Position};
use serde_json::{Value, json};

use super::answer::Level;
use super::gazetteer::{Gazetteer, Rank};
use super::locate::{foot, metres, side};
use super::names::Map;
use super::zone::Zone;
use super::{Asker, Geocoder};
use crate::coordinates::Vertex;

/// How far doors, places and roads are looked for.
pub const REACH_M: f64 = 1_000.0;
/// A cell of the index, in steps of 1e-7 degree: about 200 m.
const CELL: i32 = 20_000;
/// The whole thing, no door of it.
const WHOLE: u32 = u32::MAX;

/// Something near a position.
#[derive(Clone, Debug, PartialEq)]
pub struct Near {
    /// Code in the register.
    pub code: std::sync::Arc<str>,
    /// Its name; of a door, road and number.
    pub name: String,
    /// Metres from the position.
    pub distance_m: f64,
    /// On which side of the road the position lies (东侧 …), when it is not on it; of a door, on which the door stands.
    pub side: Option<&'static str>,
    /// Longitude and latitude of its nearest point.
    pub position: [f64; 2],
}

/// A division that covers a position.
#[derive(Clone, Debug, PartialEq)]
pub struct Covering {
    /// Its code.
    pub code: DivisionCode,
    /// Its name.
    pub name: String,
    /// `province` to `community`.
    pub level: &'static str,
    /// The register has it; else it is of the names that are shipped.
    pub held: bool,
}

/// The address of a position.
#[derive(Clone, Debug, PartialEq)]
pub struct Whereabouts {
    /// The finest that is known: door, place, road or the level of the division; unknown outside all.
    pub level: Level,
    /// How likely people there would say so, 0..1, by distance.
    pub confidence: f64,
    /// The address as text, with distance and side where the position is not at the door.
    pub address: String,
    /// The finest division that covers the position.
    pub division: Option<DivisionCode>,
    /// Province to community.
    pub divisions: Vec<Covering>,
    /// Nearest house number within [`REACH_M`].
    pub door: Option<Near>,
    /// Nearest place.
    pub place: Option<Near>,
    /// Nearest road.
    pub road: Option<Near>,
}

impl Whereabouts {
    /// As JSON.
    pub fn to_json(&self) -> Value {
        let near = |near: &Option<Near>| {
            near.as_ref().map(|near| {
                let [lon, lat] = near.position;
                json!({
                    "code": (!near.code.is_empty()).then_some(&*near.code),
                    "name": near.name,
                    "distance_m": (near.distance_m * 10.0).round() / 10.0,
                    "side": near.side,
                    "position": {"lon": lon, "lat": lat},
                })
            })
        };
        let divisions: Vec<Value> = self
            .divisions
            .iter()
            .map(|d| json!({"code": d.code.as_str(), "name": d.name, "level": d.level, "held": d.held}))
            .collect();
        let of_level = |level: &str| divisions.iter().find(|d| d["level"] == level).cloned();
        json!({
            "level": self.level.name(),
            "confidence": (self.confidence * 100.0).round() / 100.0,
            "address": self.address,
            "division": self.division.as_ref().map(DivisionCode::as_str),
            "district": of_level("district"),
            "street": of_level("town"),
            "community": of_level("community"),
            "divisions": divisions,
            "door": near(&self.door),
            "place": near(&self.place),
            "road": near(&self.road),
        })
    }
}

/// What lies in each cell.
pub(crate) struct Cells {
    cells: Map<Vec<(u32, u32)>>,
}

fn cell(v: Vertex) -> (i32, i32) {
    (v.lon.div_euclid(CELL), v.lat.div_euclid(CELL))
}

fn key((x, y): (i32, i32)) -> u64 {
    u64::from(x as u32) << 32 | u64::from(y as u32)
}

impl Cells {
    pub(crate) fn new(gazetteer: &Gazetteer) -> Self {
        let mut cells: Map<Vec<(u32, u32)>> = Map::default();
        let mut put = |at: (i32, i32), what: (u32, u32)| {
            let list = cells.entry(key(at)).or_default();
            if list.last() != Some(&what) {
                list.push(what);
            }
        };
        for (id, thing) in (0u32..).zip(&gazetteer.things) {
            if thing.rank == Rank::Place
                && let Some(at) = thing.at
            {
                put(cell(at), (id, WHOLE));
            }
            for (door, at) in (0u32..).zip(thing.doors.iter().map(|door| door.at)) {
                put(cell(at), (id, door));
            }
            for pair in thing.lines.iter().flat_map(|line| line.windows(2)) {
                let wide = pair[0]
                    .lon
                    .abs_diff(pair[1].lon)
                    .max(pair[0].lat.abs_diff(pair[1].lat));
                // Every half cell; a line across half the world is no road.
                let n = (wide / (CELL as u32 / 2) + 1).min(20_000);
                for i in 0..=n {
                    let part = |a: i32, b: i32| {
                        (f64::from(a) + (f64::from(b) - f64::from(a)) * f64::from(i) / f64::from(n)) as i32
                    };
                    let at = Vertex {
                        lon: part(pair[0].lon, pair[1].lon),
                        lat: part(pair[0].lat, pair[1].lat),
                    };
                    put(cell(at), (id, WHOLE));
                }
            }
        }
        Self { cells }
    }

    /// Everything in the square of cells at distance `ring` from the middle.
    fn ring(&self, middle: (i32, i32), ring: i32) -> impl Iterator<Item = (u32, u32)> {
        let span = -ring..=ring;
        span.clone()
            .flat_map(move |dx| span.clone().map(move |dy| (dx, dy)))
            .filter(move |(dx, dy)| dx.abs().max(dy.abs()) == ring)
            .filter_map(move |(dx, dy)| {
                self.cells
                    .get(&key((middle.0.saturating_add(dx), middle.1.saturating_add(dy))))
            })
            .flatten()
            .copied()
    }
}

impl Geocoder {
    /// The address of a position. `covering` are the divisions whose areas cover it, as the map knows them.
    pub fn reverse(&self, position: &Position, covering: &[DivisionCode], asker: &Asker) -> Whereabouts {
        let p = Vertex::of(position);
        let sight = asker.sight();
        let mut best: [Option<Near>; 3] = [None, None, None];
        let per_cell_m = 111_320.0 * f64::from(CELL) * 1e-7 * p.lat_degrees().to_radians().cos().max(0.05);
        let n_rings = ((REACH_M / per_cell_m).ceil() as i32 + 1).min(60);
        for ring in 0..=n_rings {
            // All of this ring is farther than what was found.
            let from_m = f64::from((ring - 1).max(0)) * per_cell_m;
            if best
                .iter()
                .all(|near| near.as_ref().is_some_and(|near| near.distance_m < from_m))
            {
                break;
            }
            for (id, door) in self.cells.ring(cell(p), ring) {
                let thing = self.gazetteer.thing(id);
                if sight.sees(thing.zone) {
                    self.closer(&mut best, p, id, door);
                }
            }
        }
        let [door, place, road] = best;
        let finest = covering.iter().max_by_key(|code| code.prefix().len()).cloned();
        let zone = finest.as_ref().map_or(Zone::WORLD, Zone::of);
        let divisions: Vec<_> = self
            .gazetteer
            .chain(zone)
            .filter_map(|thing| {
                Some(Covering {
                    code: thing.division.clone()?,
                    name: thing.name.to_string(),
                    level: super::resolve::level(thing.rank).name(),
                    held: thing.held,
                })
            })
            .collect();
        let chain: String = divisions.iter().map(|d| d.name.as_str()).collect();
        let (level, confidence, text) = finest_of(&door, &place, &road).unwrap_or_else(|| {
            let last = self.gazetteer.chain(zone).last();
            let level = last.map_or(Level::Unknown, |thing| super::resolve::level(thing.rank));
            (
                level,
                if level == Level::Unknown { 0.0 } else { 0.9 },
                String::new(),
            )
        });
        Whereabouts {
            level,
            confidence,
            address: format!("{chain}{text}"),
            division: finest,
            divisions,
            door,
            place,
            road,
        }
    }

    fn closer(&self, best: &mut [Option<Near>; 3], p: Vertex, id: u32, door: u32) {
        let thing = self.gazetteer.thing(id);
        let (slot, at, distance_m, code, name, side) = match (thing.doors.get(door as usize), thing.rank) {
            (Some(door), _) => {
                let number = door.number.whole();
                let name = match door.group {
                    0 => format!("{}{number}", thing.name),
                    group => format!("{}{group}社{number}", thing.name),
                };
                let side = foot(&thing.lines, door.at).and_then(|foot| side(&foot, door.at));
                (0, door.at, metres(p, door.at), &door.code, name, side)
            }
            (None, Rank::Road) => {
                let Some(foot) = foot(&thing.lines, p) else { return };
                (
                    2,
                    foot.at,
                    foot.distance_m,
                    &thing.code,
                    thing.name.to_string(),
                    side(&foot, p),
                )
            }
            (None, _) => {
                let Some(at) = thing.at else { return };
                (1, at, metres(p, at), &thing.code, thing.name.to_string(), None)
            }
        };
        let nearer = best[slot]
            .as_ref()
            .is_none_or(|near| (distance_m, code) < (near.distance_m, &near.code));
        if distance_m <= REACH_M && nearer {
            let position = [at.lon_degrees(), at.lat_degrees()];
            best[slot] = Some(Near {
                code: code.clone(),
                name,
                distance_m,
                side,
                position,
            });
        }
    }
}

/// The finest of what is near, how likely it is said, and how.
fn finest_of(door: &Option<Near>, place: &Option<Near>, road: &Option<Near>) -> Option<(Level, f64, String)> {
    let within = |near: &Option<Near>, m: f64| near.clone().filter(|near| near.distance_m <= m);
    let sure = |distance_m: f64, reach_m: f64| 0.95 - 0.55 * (distance_m / reach_m).min(1.0);
    if let Some(near) = within(door, 50.0) {
        let beside = within(place, 15.0).map(|place| place.name).unwrap_or_default();
        return Some((
            Level::Door,
            sure(near.distance_m, 50.0),
            format!("{}{beside}", near.name),
        ));
    }
    if let Some(near) = within(place, 50.0) {
        return Some((Level::Place, sure(near.distance_m, 50.0), near.name));
    }
    if let Some(near) = within(road, 200.0) {
        let aside = match near.side {
            Some(side) if near.distance_m >= 10.0 => format!("{side}{:.0}米", near.distance_m),
            _ => String::new(),
        };
        return Some((
            Level::Road,
            sure(near.distance_m, 200.0),
            format!("{}{aside}", near.name),
        ));
    }
    let near = within(place, REACH_M)?;
    Some((
        Level::Place,
        0.3,
        format!("{}附近{:.0}米", near.name, near.distance_m),
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{DoorEntry, Entry, EntryKind, Ground, base_entries};
    use super::*;

    fn geocoder() -> Geocoder {
        let division = DivisionCode::new("630104").ok();
        let entry = |code: &str, name: &str, kind, ground| Entry {
            stated_m: 0.0,
            held: true,
            code: code.into(),
            name: name.into(),
            aliases: vec![],
            kind,
            division: division.clone(),
            ground,
        };
        // A road to the east along 36.62, doors north and south of it.
        let line = Ground::Lines(vec![vec![[101.70, 36.62], [101.72, 36.62]]]);
        let entries = [
            entry("R1", "西关大街", EntryKind::Road, line),
            entry(
                "P1",
                "青海省博物馆",
                EntryKind::Place,
                Ground::Point {
                    at: [101.7155, 36.6204],
                    precision_m: 20.0,
                },
            ),
        ];
        let doors = [(1, 36.6202), (2, 36.6198), (3, 36.6202), (58, 36.6198)].map(|(n, lat)| DoorEntry {
            stated_m: 0.0,
            code: format!("A{n}").into(),
            of: "西关大街".into(),
            number: n.to_string(),
            group: 0,
            division: division.clone(),
            at: [101.70 + f64::from(n) * 0.0002, lat],
        });
        Geocoder::new(base_entries().into_iter().chain(entries), doors)
    }

    fn at(lon: f64, lat: f64) -> Whereabouts {
        let covering = [
            DivisionCode::new("630100").unwrap(),
            DivisionCode::new("630104").unwrap(),
        ];
        geocoder().reverse(
            &Position::new(lon, lat, None).unwrap(),
            &covering,
            &Asker::default(),
        )
    }

    #[test]
    fn a_position_has_the_address_of_what_is_nearest() {
        let door = at(101.71161, 36.61979);
        assert_eq!(
            (door.level, &*door.address),
            (Level::Door, "青海省西宁市城西区西关大街58号")
        );
        assert!(door.confidence > 0.9 && door.door.unwrap().distance_m < 2.0);
        let road = at(101.7060, 36.6209);
        assert_eq!(
            (road.level, &*road.address),
            (Level::Road, "青海省西宁市城西区西关大街北侧100米")
        );
        assert_eq!(road.road.unwrap().side, Some("北侧"));
        let place = at(101.7155, 36.6204);
        assert_eq!(
            (place.level, &*place.address),
            (Level::Place, "青海省西宁市城西区青海省博物馆")
        );
        let none = at(101.60, 36.70);
        assert_eq!(
            (none.level, &*none.address),
            (Level::District, "青海省西宁市城西区")
        );
        assert!(none.door.is_none() && none.road.is_none() && none.place.is_none());
    }

    #[test]
    fn the_nearest_is_the_nearest() {
        let geocoder = geocoder();
        for i in 0..2_000 {
            let (lon, lat) = (
                101.698 + f64::from(i % 50) * 0.0005,
                36.617 + f64::from(i / 50) * 0.00015,
            );
            let here = Position::new(lon, lat, None).unwrap();
            let found = geocoder
                .reverse(&here, &[], &Asker::default())
                .door
                .map(|d| d.distance_m);
            let road = geocoder
                .gazetteer
                .things
                .iter()
                .find(|t| &*t.code == "R1")
                .unwrap();
            let slow = road
                .doors
                .iter()
                .map(|d| metres(Vertex::of(&here), d.at))
                .fold(f64::INFINITY, f64::min);
            assert_eq!(found, (slow <= REACH_M).then_some(slow), "{lon} {lat}");
        }
    }
}
