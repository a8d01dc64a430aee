//! Which alerts belong to one incident: of one series, or of one cause near one another in distance and time.

use std::collections::{HashMap, HashSet};

use onemap_model::{DeviceId, Position, RuleId, SeriesKey, Timestamp};

use super::cause::Cause;
use super::{CHATTER_WITHIN, Followed, Surroundings};

const EARTH_RADIUS_M: f64 = 6_371_008.8;

/// Alerts of one incident, ended ones too, the one that founded it first.
pub(super) struct Incident<'a> {
    pub(super) cause: &'static Cause,
    pub(super) members: Vec<usize>,
    rule: &'a RuleId,
    network: Option<&'a str>,
    first_at: Timestamp,
    last_at: Timestamp,
    /// When the last of its members so far ends; `None` while one goes on.
    ended_at: Option<Timestamp>,
    devices: HashSet<&'a DeviceId>,
    places: Vec<Position>,
    bounds: Bounds,
}

#[derive(Clone, Copy)]
struct Bounds {
    west: f64,
    south: f64,
    east: f64,
    north: f64,
}

/// Follows the alerts in the order given, which is that in which they were raised.
pub(super) fn incidents<'a>(
    all: &[Followed<'a>],
    told: impl Iterator<Item = usize>,
    known: &Surroundings,
) -> Vec<Incident<'a>> {
    let mut incidents: Vec<Incident<'a>> = Vec::new();
    // Those that may take more members, by cause, the oldest first.
    let mut alive: HashMap<&str, Vec<usize>> = HashMap::new();
    // On which incident a series is, and when the last of its alerts ends.
    let mut of_series: HashMap<&SeriesKey, (usize, Option<Timestamp>)> = HashMap::new();
    for i in told {
        let one = &all[i];
        let alert = one.alert;
        let cause = match known.is_silence(alert) {
            true => Cause::silence(),
            false => Cause::of(alert.series.quantity),
        };
        let own = of_series.get(&alert.series).copied();
        // The same series again within an hour is the same incident, whose other alerts may all have ended.
        let own = own.filter(|(_, ended)| goes_on(ended.map(|at| at + CHATTER_WITHIN), alert.raised_at));
        let candidates = alive.entry(&cause.id).or_default();
        let at = match own {
            Some((at, _)) => at,
            None => {
                candidates.retain(|at| incidents[*at].may_grow(alert.raised_at));
                let near = candidates.iter().find(|at| incidents[**at].takes(one, cause));
                match near {
                    Some(at) => *at,
                    None => {
                        candidates.push(incidents.len());
                        incidents.push(Incident::of(one, cause));
                        incidents.len() - 1
                    }
                }
            }
        };
        incidents[at].add(i, one);
        let ended = match own {
            Some((_, before)) => later(before, alert.ended_at),
            None => alert.ended_at,
        };
        of_series.insert(&alert.series, (at, ended));
    }
    incidents
}

/// Whether what ends at `ended` goes on at a time.
fn goes_on(ended: Option<Timestamp>, at: Timestamp) -> bool {
    ended.is_none_or(|ended| ended > at)
}

/// The later of two ends.
fn later(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    Some(one?.max(other?))
}

impl<'a> Incident<'a> {
    fn of(one: &Followed<'a>, cause: &'static Cause) -> Self {
        let alert = one.alert;
        Self {
            cause,
            members: Vec::new(),
            rule: &alert.rule,
            network: None,
            first_at: alert.raised_at,
            last_at: alert.raised_at,
            // Set by its first member.
            ended_at: Some(alert.raised_at),
            devices: HashSet::new(),
            places: Vec::new(),
            bounds: Bounds {
                west: f64::INFINITY,
                south: f64::INFINITY,
                east: f64::NEG_INFINITY,
                north: f64::NEG_INFINITY,
            },
        }
    }

    fn add(&mut self, i: usize, one: &Followed<'a>) {
        let alert = one.alert;
        self.ended_at = match self.members.is_empty() {
            true => alert.ended_at,
            false => later(self.ended_at, alert.ended_at),
        };
        self.members.push(i);
        self.first_at = self.first_at.min(alert.raised_at);
        self.last_at = self.last_at.max(alert.raised_at);
        let is_new = self.devices.insert(&alert.series.device);
        let Some(site) = one.site else {
            return;
        };
        if self.network.is_none() {
            self.network = site.network.as_deref();
        }
        if let Some(at) = site.position.filter(|_| is_new) {
            self.places.push(at);
            self.bounds.west = self.bounds.west.min(at.lon());
            self.bounds.south = self.bounds.south.min(at.lat());
            self.bounds.east = self.bounds.east.max(at.lon());
            self.bounds.north = self.bounds.north.max(at.lat());
        }
    }

    /// Whether one that is raised now may still belong to it.
    fn may_grow(&self, now: Timestamp) -> bool {
        let is_timely = now.since(self.first_at) <= self.cause.window;
        is_timely && goes_on(self.ended_at, now)
    }

    fn takes(&self, one: &Followed<'a>, cause: &'static Cause) -> bool {
        let alert = one.alert;
        let network = one.site.and_then(|site| site.network.as_deref());
        let is_other_network = matches!((self.network, network), (Some(own), Some(other)) if own != other);
        if is_other_network || (cause.by_rule && *self.rule != alert.rule) {
            return false;
        }
        // In time on both sides: clocks of records may have been set back.
        if self.last_at.since(alert.raised_at) > cause.window {
            return false;
        }
        if self.devices.contains(&alert.series.device) {
            return true;
        }
        let place = one.site.and_then(|site| site.position);
        place.is_some_and(|at| self.spans(at, cause.diameter_m))
    }

    /// Whether a place lies at most so far from every place of it.
    fn spans(&self, at: Position, diameter_m: f64) -> bool {
        !self.places.is_empty()
            && self.bounds.may_lie_within(at, diameter_m)
            && self.places.iter().all(|own| distance_m(*own, at) <= diameter_m)
    }
}

impl Bounds {
    /// Whether a place may lie so near to all of what is inside. Says yes too often, never no where it should not.
    fn may_lie_within(&self, at: Position, diameter_m: f64) -> bool {
        let north_south = (self.north - at.lat()).max(at.lat() - self.south);
        north_south.to_radians() * EARTH_RADIUS_M <= diameter_m * 1.001
    }
}

/// Metres between two places at most some 100 km apart, as on a sphere.
pub(super) fn distance_m(one: Position, other: Position) -> f64 {
    let middle = f64::midpoint(one.lat(), other.lat()).to_radians();
    let mut east = (one.lon() - other.lon()).abs();
    if east > 180.0 {
        east = 360.0 - east;
    }
    let east = east.to_radians() * middle.cos();
    let north = (one.lat() - other.lat()).to_radians();
    east.hypot(north) * EARTH_RADIUS_M
}
