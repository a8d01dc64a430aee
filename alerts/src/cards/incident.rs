//! Which alerts belong to one incident: of one series, or of one cause near one another in distance and time, or along a
//! network that carries the cause.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use onemap_model::place::EARTH_RADIUS_M;
use onemap_model::{DeviceId, Position, RuleId, SeriesKey, Timestamp};

use super::cause::{Along, Cause};
use super::network::{Networks, Reach, Stand};
use super::{Followed, Surroundings};
use crate::load::CHATTER_WITHIN;

/// Alerts of one incident, ended ones too, the one that founded it first.
pub(super) struct Incident<'a> {
    pub(super) cause: &'static Cause,
    pub(super) members: Vec<usize>,
    rule: &'a RuleId,
    network: Option<&'a str>,
    /// Where the first of it stands that stands on a network: whatever else does stands on the same.
    joined: Option<Joined>,
    first_at: Timestamp,
    last_at: Timestamp,
    /// When the last of its members so far ends; `None` while one goes on.
    ended_at: Option<Timestamp>,
    devices: HashSet<&'a DeviceId>,
    places: Vec<Place>,
    least: Place,
    most: Place,
}

/// Where an incident is on a network.
struct Joined {
    stood: Stood,
    /// What lies within its reach along the network, once that was asked for.
    reach: OnceCell<Arc<Reach>>,
}

/// Where a device stands on a network, for a cause that goes along networks.
#[derive(Clone, Copy)]
pub(super) struct Stood {
    stand: Stand,
    pub(super) network: u32,
    /// How the cause goes along this one; `None` when it does not, as a flood along a main: then it only tells apart.
    pub(super) along: Option<&'static Along>,
}

impl Stood {
    pub(super) fn of(one: &Followed<'_>, cause: &'static Cause, known: &Surroundings) -> Option<Self> {
        let stand = one.site?.stand.filter(|_| cause.along.is_some())?;
        Some(Self {
            stand,
            network: known.networks.network(stand)?,
            along: cause.along(&known.networks.medium(stand)?.id),
        })
    }
}

impl Joined {
    /// Whether a place on its network lies within its reach along that.
    fn reaches(&self, networks: &Networks, to: Stand, along: &Along) -> bool {
        let reach = || networks.reach(self.stood.stand, along.reach_m);
        networks.metres_to(self.reach.get_or_init(reach), to).is_some()
    }
}

/// Metres from the middle of the earth, so that distances are the same whichever way they are asked for and cost little. A
/// distance is the straight one, which is 1 m in 10 km shorter at the most.
type Place = [f64; 3];

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
                let stood = Stood::of(one, cause, known);
                let near = candidates
                    .iter()
                    .find(|at| incidents[**at].takes(one, stood, known));
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
        incidents[at].add(i, one, known);
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
            joined: None,
            first_at: alert.raised_at,
            last_at: alert.raised_at,
            // Set by its first member.
            ended_at: Some(alert.raised_at),
            devices: HashSet::new(),
            places: Vec::new(),
            least: [f64::INFINITY; 3],
            most: [f64::NEG_INFINITY; 3],
        }
    }

    fn add(&mut self, i: usize, one: &Followed<'a>, known: &Surroundings) {
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
        if self.joined.is_none() {
            self.joined = Stood::of(one, self.cause, known).map(|stood| Joined {
                stood,
                reach: OnceCell::new(),
            });
        }
        if let Some(at) = site.position.filter(|_| is_new) {
            let at = place_of(at);
            self.places.push(at);
            self.least = std::array::from_fn(|axis| self.least[axis].min(at[axis]));
            self.most = std::array::from_fn(|axis| self.most[axis].max(at[axis]));
        }
    }

    /// Whether one that is raised now may still belong to it.
    fn may_grow(&self, now: Timestamp) -> bool {
        self.is_timely(now, self.cause.longest()) && goes_on(self.ended_at, now)
    }

    /// On both sides: clocks of records may have been set back.
    fn is_timely(&self, at: Timestamp, window: Duration) -> bool {
        at.since(self.first_at) <= window && self.last_at.since(at) <= window
    }

    fn takes(&self, one: &Followed<'a>, stood: Option<Stood>, known: &Surroundings) -> bool {
        let alert = one.alert;
        if self.cause.by_rule && *self.rule != alert.rule {
            return false;
        }
        match (&self.joined, stood) {
            (Some(own), Some(stood)) if own.stood.network != stood.network => return false,
            (Some(own), Some(stood)) => {
                if let Some(along) = own.stood.along
                    && self.is_timely(alert.raised_at, along.window)
                    && own.reaches(&known.networks, stood.stand, along)
                {
                    return true;
                }
            }
            // Where nothing is known of what joins them, what they stand on is told apart by its name.
            _ if self.is_named_otherwise(one) => return false,
            _ => {}
        }
        if !self.is_timely(alert.raised_at, self.cause.window) {
            return false;
        }
        if self.devices.contains(&alert.series.device) {
            return true;
        }
        let place = one.site.and_then(|site| site.position);
        place.is_some_and(|at| self.spans(place_of(at), self.cause.diameter_m))
    }

    fn is_named_otherwise(&self, one: &Followed<'a>) -> bool {
        let network = one.site.and_then(|site| site.network.as_deref());
        matches!((self.network, network), (Some(own), Some(other)) if own != other)
    }

    /// Whether a place lies at most so far from every place of it.
    fn spans(&self, at: Place, diameter_m: f64) -> bool {
        if self.places.is_empty() {
            return false;
        }
        let furthest: Place =
            std::array::from_fn(|axis| (at[axis] - self.least[axis]).max(self.most[axis] - at[axis]));
        if furthest.iter().any(|metres| *metres > diameter_m) {
            return false;
        }
        let square = diameter_m * diameter_m;
        let is_near = |metres: Place| metres.iter().map(|m| m * m).sum::<f64>() <= square;
        // Where the furthest corner of all is near, each place is.
        is_near(furthest)
            || self
                .places
                .iter()
                .all(|own| is_near(std::array::from_fn(|axis| at[axis] - own[axis])))
    }
}

fn place_of(at: Position) -> Place {
    let (lon, lat) = (at.lon().to_radians(), at.lat().to_radians());
    [
        EARTH_RADIUS_M * lat.cos() * lon.cos(),
        EARTH_RADIUS_M * lat.cos() * lon.sin(),
        EARTH_RADIUS_M * lat.sin(),
    ]
}
