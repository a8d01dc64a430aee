//! Places the seeded city's devices on the map. Pure.

use std::collections::HashMap;

use onemap_model::{Device, DeviceId, DeviceState, Position, Setting};

use super::geography::{
    Anchor, Geography, GeographyError, Ground, LonLat, along, distance_m, length_m, offset,
};
use super::station::{Dialect, Station, StationKind};
use crate::prng::{Prng, seed_of};

/// Share of each division in a kind that stands everywhere.
const SHARES: [(&str, f64); 7] = [
    ("630102", 0.18),
    ("630103", 0.14),
    ("630104", 0.16),
    ("630105", 0.17),
    ("630106", 0.14),
    ("630121", 0.12),
    ("630123", 0.09),
];
/// The built-up districts.
const URBAN: [&str; 4] = ["630102", "630103", "630104", "630105"];
/// Every so many stations one speaks the native dialect.
const NATIVE_EVERY: usize = 6;
/// Two stations of a kind stand at least so far apart where the anchors allow.
const APART_M: f64 = 700.0;
/// Farther from every named place, a river gauge carries the river's name only.
const NEAR_PLACE_M: f64 = 8_000.0;

/// A seeded city.
#[derive(Clone, Debug)]
pub struct City {
    /// Its seed.
    pub seed: u64,
    /// Its stations, in the order of their ids within each kind.
    pub stations: Vec<Station>,
}

struct Site {
    at: LonLat,
    name: String,
    name_en: String,
    rural: bool,
}

impl City {
    /// The city of a seed.
    ///
    /// # Errors
    /// When the embedded geography is damaged.
    pub fn plan(seed: u64) -> Result<Self, GeographyError> {
        let geography = Geography::load()?;
        let mut stations = Vec::new();
        let mut names = HashMap::new();
        for kind in StationKind::ALL {
            let mut prng = Prng::new(seed_of(&[seed, kind as u64]));
            let sites = match kind {
                StationKind::River => river_sites(&geography, kind.count(), &mut prng),
                _ => land_sites(&geography, kind, &mut prng),
            };
            for (i, site) in sites.into_iter().enumerate() {
                let n = stations.len();
                let dialect = if n % NATIVE_EVERY == NATIVE_EVERY - 1 {
                    Dialect::Native
                } else {
                    Dialect::ThingsBoard
                };
                let sensors = kind.sensors(site.rural, &mut prng);
                let seed = seed_of(&[seed, kind as u64, i as u64]);
                let device = device(kind, i, site, &mut names);
                stations.push(Station {
                    device,
                    kind,
                    sensors,
                    dialect,
                    seed,
                });
            }
        }
        Ok(Self { seed, stations })
    }
}

fn device(kind: StationKind, i: usize, site: Site, names: &mut HashMap<String, usize>) -> Device {
    let n = names.entry(format!("{}{}", site.name, kind.zh())).or_insert(0);
    *n += 1;
    let number = if *n == 1 {
        String::new()
    } else {
        format!("{n} 号")
    };
    let name_en = match (site.name_en.is_empty(), *n) {
        (true, _) => format!("{} {}", capital(kind.en()), i + 1),
        (false, 1) => format!("{} {}", site.name_en, kind.en()),
        (false, n) => format!("{} {} {n}", site.name_en, kind.en()),
    };
    let micro = |degrees: f64| (degrees * 1e6).round() / 1e6;
    Device {
        id: DeviceId::new(&format!("{}-{:04}", kind.prefix(), i + 1)).expect("a prefix and four digits"),
        name: format!("{} {number}{}", site.name, kind.zh()),
        name_en,
        kind: kind.name().into(),
        profile: None,
        position: Position::new(micro(site.at[0]), micro(site.at[1]), None).ok(),
        division: None,
        setting: if site.rural {
            Setting::Rural
        } else {
            Setting::Urban
        },
        gateway: None,
        entity: None,
        state: DeviceState::Active,
        maintenance: None,
        cadence_s: kind.cadence_s(),
        department: kind.department().to_owned(),
        is_gateway: false,
        adopts: false,
        demo: true,
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// How many stations of a kind each division gets: the largest remainders of the shares.
fn allot(kind: StationKind) -> Vec<(&'static str, usize)> {
    let weight = |code: &str, share: f64| match kind {
        StationKind::Manhole | StationKind::Noise | StationKind::Smoke if !URBAN.contains(&code) => {
            share * 0.4
        }
        StationKind::Soil if URBAN.contains(&code) => share * 0.15,
        _ => share,
    };
    let total: f64 = SHARES.iter().map(|(code, share)| weight(code, *share)).sum();
    let exact = SHARES.map(|(code, share)| (code, weight(code, share) / total * kind.count() as f64));
    let mut given: Vec<_> = exact
        .iter()
        .map(|(code, n)| (*code, n.floor() as usize, n.fract()))
        .collect();
    let missing = kind.count() - given.iter().map(|g| g.1).sum::<usize>();
    given.sort_by(|a, b| b.2.total_cmp(&a.2).then(a.0.cmp(b.0)));
    given.iter_mut().take(missing).for_each(|g| g.1 += 1);
    given.sort_by_key(|g| g.0);
    given.into_iter().map(|(code, n, _)| (code, n)).collect()
}

/// The anchor farthest from what is taken already counts as best; a random one wins while all are far.
fn choose<'a>(anchors: &[&'a Anchor], taken: &[LonLat], prng: &mut Prng) -> Option<&'a Anchor> {
    let gap = |a: &Anchor| {
        taken
            .iter()
            .map(|t| distance_m(*t, a.at))
            .fold(f64::INFINITY, f64::min)
    };
    let far: Vec<_> = anchors.iter().filter(|a| gap(a) >= APART_M).collect();
    if far.is_empty() {
        return anchors.iter().max_by(|a, b| gap(a).total_cmp(&gap(b))).copied();
    }
    Some(far[prng.below(far.len())])
}

/// Whether a kind of station stands on such ground: in the country at places, in town along streets, and
/// only what measures traffic on a motorway.
fn suits(kind: StationKind, rural: bool, ground: Ground) -> bool {
    match ground {
        Ground::Place => true,
        Ground::Street => !rural || matches!(kind, StationKind::Noise | StationKind::Manhole),
        Ground::Motorway => !rural && kind == StationKind::Noise,
    }
}

/// How far from its anchor a station stands, at most, to each side.
fn reach_m(kind: StationKind, rural: bool) -> f64 {
    match kind {
        StationKind::Manhole => 12.0,
        StationKind::Noise => 40.0,
        _ if rural => 600.0,
        _ => 320.0,
    }
}

fn land_sites(geography: &Geography, kind: StationKind, prng: &mut Prng) -> Vec<Site> {
    let mut sites: Vec<Site> = Vec::new();
    let mut taken = Vec::new();
    for (code, n) in allot(kind) {
        let Some(area) = geography.areas.iter().position(|a| a.code.as_str() == code) else {
            continue;
        };
        let rural = !URBAN.contains(&code);
        let suited = |a: &&Anchor| a.area == area && suits(kind, rural, a.ground);
        let mut anchors: Vec<_> = geography.anchors.iter().filter(suited).collect();
        if anchors.is_empty() {
            anchors = geography.anchors.iter().filter(|a| a.area == area).collect();
        }
        for _ in 0..n {
            let Some(anchor) = choose(&anchors, &taken, prng) else {
                break;
            };
            let reach = reach_m(kind, rural);
            let moved = offset(
                anchor.at,
                prng.between(-reach, reach),
                prng.between(-reach, reach),
            );
            let at = if geography.area_at(moved) == Some(area) {
                moved
            } else {
                anchor.at
            };
            taken.push(anchor.at);
            sites.push(Site {
                at,
                name: format!("{}·{}", geography.areas[area].name, anchor.name),
                name_en: anchor.name_en.clone(),
                rural,
            });
        }
    }
    sites
}

/// Gauges at even distances along the rivers' parts inside the city, each moved a little by the seed.
fn river_sites(geography: &Geography, n: usize, prng: &mut Prng) -> Vec<Site> {
    let step_m = 200.0;
    let mut inside = Vec::new();
    for river in &geography.rivers {
        let length = length_m(&river.line);
        let mut at_m = 0.0;
        while at_m < length {
            if let Some((at, area)) =
                along(&river.line, at_m).and_then(|at| Some((at, geography.area_at(at)?)))
            {
                inside.push((river, at, area));
            }
            at_m += step_m;
        }
    }
    (0..n)
        .filter_map(|i| {
            let share = (i as f64 + prng.between(0.15, 0.85)) / n as f64;
            let (river, at, area) = inside.get((share * inside.len() as f64) as usize)?;
            let place = geography
                .nearest_place(*at)
                .filter(|p| distance_m(p.at, *at) < NEAR_PLACE_M);
            let name = match place {
                Some(place) => format!("{}·{}", river.name, place.name),
                None => format!("{}·{}", river.name, geography.areas[*area].name),
            };
            let rural = !URBAN.contains(&geography.areas[*area].code.as_str());
            Some(Site {
                at: *at,
                name,
                name_en: river.name_en.clone(),
                rural,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::HashSet;

    use super::*;

    fn describe(city: &City) -> Vec<String> {
        city.stations
            .iter()
            .map(|s| format!("{:?} {:?}", s.device, s.sensors))
            .collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_city_and_another_seed_another() {
        let one = City::plan(1).unwrap();
        assert_eq!(describe(&one), describe(&City::plan(1).unwrap()));
        assert_ne!(describe(&one), describe(&City::plan(2).unwrap()));
    }

    #[test]
    fn a_city_has_its_stations_spread_over_every_division() {
        for seed in [1, 7, 42] {
            let geography = Geography::load().unwrap();
            let city = City::plan(seed).unwrap();
            assert_eq!(
                city.stations.len(),
                StationKind::ALL.iter().map(|k| k.count()).sum::<usize>()
            );
            let at = |s: &Station| s.device.position.map(|p| [p.lon(), p.lat()]).unwrap();
            let areas: HashSet<_> = city
                .stations
                .iter()
                .map(|s| geography.area_at(at(s)).unwrap())
                .collect();
            assert_eq!(areas.len(), 7);
            let ids: HashSet<_> = city.stations.iter().map(|s| &s.device.id).collect();
            let names: HashSet<_> = city.stations.iter().map(|s| &s.device.name).collect();
            assert_eq!(
                (ids.len(), names.len()),
                (city.stations.len(), city.stations.len())
            );
        }
    }

    #[test]
    fn river_gauges_stand_on_rivers() {
        let geography = Geography::load().unwrap();
        for station in City::plan(5)
            .unwrap()
            .stations
            .iter()
            .filter(|s| s.kind == StationKind::River)
        {
            let at = station.device.position.map(|p| [p.lon(), p.lat()]).unwrap();
            let nearest = geography
                .rivers
                .iter()
                .flat_map(|r| {
                    (0..)
                        .map(|i| f64::from(i) * 50.0)
                        .take_while(|m| *m < length_m(&r.line))
                        .filter_map(|m| along(&r.line, m))
                })
                .map(|p| distance_m(p, at))
                .fold(f64::INFINITY, f64::min);
            assert!(
                nearest < 60.0,
                "{} is {nearest} m from a river",
                station.device.name
            );
        }
    }

    #[test]
    fn every_kind_gets_all_its_stations() {
        for kind in StationKind::ALL {
            assert_eq!(allot(kind).iter().map(|a| a.1).sum::<usize>(), kind.count());
        }
    }
}
