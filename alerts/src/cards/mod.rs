//! Cards (卡片): the open alerts of a desk folded so that each incident is one card.
//!
//! - A dark gateway is one card with everything that is silent or lost behind it. What is abnormal on evidence of its own
//!   behind it is a card by itself, and so is a silence that began clearly before the gateway's, and a critical alert that
//!   was lost: none is hidden.
//! - Alerts of one [`Cause`] near one another in distance and time are one card. No two of its members lie further apart than
//!   the cause allows, so cards do not chain across a city; alerts of different causes or networks share none.
//! - Where the cause goes along networks (water through drains and rivers, pressure through mains), devices on one network
//!   are one card as far along it as the cause reaches, and devices on networks that are not joined share none, however near.
//! - Alerts of one series are one card.
//!
//! [`fold`] is a function of the alerts and of what is known of their devices. It follows the alerts in the order in which
//! they were raised and lets each join the oldest card that was alive then. Alerts that have ended are followed too, and shown
//! on no card: so a card does not fall apart or join another when one of its alerts ends, nor when the server starts anew.

mod cause;
mod incident;
mod network;
mod words;

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use onemap_model::{AlertId, DeviceId, DivisionCode, DrillId, Position, RuleId, Severity, Timestamp};
use onemap_rules::{Silence, Texts};
use serde::Serialize;

pub use cause::{Along, Cause};
pub use network::{Medium, Networks, Piece, Stand};

use self::incident::Stood;
use crate::alert::{Alert, Condition};
use crate::list::Cursor;
use crate::load::{CHATTER, CHATTER_WITHIN};

/// Gateways may hang on gateways; so many steps are followed.
const N_STEPS: usize = 8;
/// Added to two cadences before a silence is called older than the gateway's.
const SLACK: Duration = Duration::from_secs(60);

/// What is known of a device.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Site {
    /// Name for people.
    pub name: String,
    /// English name; `name` when empty.
    pub name_en: String,
    /// What it is.
    pub kind: String,
    /// The gateway that it hangs on.
    pub gateway: Option<DeviceId>,
    /// Where it stands.
    pub position: Option<Position>,
    /// The division it lies in.
    pub division: Option<DivisionCode>,
    /// The reach, pipe or other named network that it stands on.
    pub network: Option<String>,
    /// Where on [`Surroundings::networks`] it stands; `None` when nothing says so.
    pub stand: Option<Stand>,
    /// When it was last heard.
    pub heard_at: Option<Timestamp>,
    /// Seconds between its reports; 0 is not known.
    pub cadence_s: u32,
}

/// What is known of the devices that alerts are about.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The devices that alerts are about, and their gateways. One that is missing has neither gateway nor position.
    pub sites: HashMap<DeviceId, Site>,
    /// Rules that wait for silence.
    pub silences: HashSet<RuleId>,
    /// Gateways that are dark, and when they were last heard.
    pub dark: BTreeMap<DeviceId, Timestamp>,
    /// The networks of pipes and rivers.
    pub networks: Arc<Networks>,
}

impl Surroundings {
    /// Whether an alert says that nothing comes, not that something is wrong.
    pub fn is_silence(&self, alert: &Alert) -> bool {
        self.silences.contains(&alert.rule)
    }

    /// Takes an alert into account that may say that a gateway is dark; all open ones are to be noted, also those that are
    /// not shown.
    pub fn note(&mut self, alert: &Alert, is_gateway: bool) {
        if is_gateway && alert.is_open() && self.is_silence(alert) {
            let heard_at = self
                .sites
                .get(&alert.series.device)
                .and_then(|site| site.heard_at);
            let since = heard_at.unwrap_or(alert.raised_at).min(alert.raised_at);
            let noted = self.dark.entry(alert.series.device.clone()).or_insert(since);
            *noted = since.min(*noted);
        }
    }

    /// The dark gateway that explains why nothing is known of a device: the outermost one that it hangs on without a gateway
    /// between that had gone silent clearly before.
    fn explained_by(&self, device: &DeviceId) -> Option<&DeviceId> {
        let mut found = None;
        let mut at = device;
        for _ in 0..N_STEPS {
            let Some(gateway) = self.sites.get(at).and_then(|site| site.gateway.as_ref()) else {
                break;
            };
            if let Some((gateway, since)) = self.dark.get_key_value(gateway)
                && !self.was_silent_before(at, *since)
            {
                found = Some(gateway);
            }
            at = gateway;
        }
        found
    }

    /// Whether a device had missed two of its reports when its gateway was last heard.
    fn was_silent_before(&self, device: &DeviceId, since: Timestamp) -> bool {
        let Some(site) = self.sites.get(device) else {
            return false;
        };
        let missed = Silence::Cadences(2).length(site.cadence_s) + SLACK;
        site.heard_at.is_some_and(|heard| heard + missed < since)
    }

    /// The dark gateway on whose card an alert is.
    fn swallows(&self, alert: &Alert) -> Option<&DeviceId> {
        let device = &alert.series.device;
        let is_silence = self.is_silence(alert);
        let is_unknown = alert.condition == Condition::Unknown && alert.severity != Severity::Critical;
        if !is_silence && !is_unknown {
            return None;
        }
        let own = || is_silence.then(|| self.dark.get_key_value(device)).flatten();
        let gateway = match self.explained_by(device) {
            Some(gateway) => Some(gateway),
            None => own().map(|(device, _)| device),
        };
        gateway.filter(|gateway| {
            // A silence that was told while the gateway still spoke is its own.
            let since = self.dark.get(*gateway);
            !is_silence || since.is_none_or(|since| alert.raised_at >= *since)
        })
    }
}

/// What holds the alerts of a card together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CardKind {
    /// A dark gateway and what hangs on it.
    Gateway,
    /// Several devices near one another, or several series of one.
    Place,
    /// One series.
    Series,
}

/// How many of a card's alerts are what. Shelved alerts are on no card.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct CardCounts {
    pub alerts: usize,
    pub devices: usize,
    pub critical: usize,
    pub major: usize,
    pub minor: usize,
    pub notice: usize,
    pub abnormal: usize,
    pub unknown: usize,
    pub normal: usize,
    pub acknowledged: usize,
    pub unacknowledged: usize,
}

/// One incident as a desk sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Card {
    /// The alert that founded it, which may have ended meanwhile; a dark gateway's own alert, where that is seen. It stays
    /// while that alert is open.
    pub id: AlertId,
    /// What holds it together.
    pub kind: CardKind,
    /// The cause of its first alert.
    pub cause: &'static Cause,
    /// The gateway that is dark.
    pub gateway: Option<DeviceId>,
    /// One line.
    pub headline: Texts,
    /// The worst of its alerts.
    pub severity: Severity,
    /// Abnormal when one of its alerts is, else unknown when one is.
    pub condition: Condition,
    /// Whether all that is of the worst severity is acknowledged; what hangs on a dark gateway follows the gateway's alert.
    pub is_acknowledged: bool,
    /// How many are what.
    pub counts: CardCounts,
    /// When the oldest was raised.
    pub raised_at: Timestamp,
    /// When the newest changed.
    pub changed_at: Timestamp,
    /// How often the worst chatterer was raised within an hour; `None` when none chatters.
    pub chatter: Option<usize>,
    /// West, south, east and north of the alerts that have a place.
    pub bounds: Option<[f64; 4]>,
    /// Where its first alert is, or the first that has a place.
    pub point: Option<Position>,
    /// The network that all of its devices stand on and that carries its cause; `None` for one device, and where
    /// it is their distance that makes them one.
    pub network: Option<Medium>,
    /// The drill that all of its alerts were raised in.
    pub drill: Option<DrillId>,
    /// Its alerts: the one that leads, then by severity, then the oldest first.
    pub members: Vec<AlertId>,
}

impl Card {
    /// What a desk looks at first.
    fn rank(&self) -> impl Ord + use<> {
        let condition = match self.condition {
            Condition::Abnormal => 0,
            Condition::Unknown => 1,
            Condition::Normal => 2,
        };
        let newest = (Reverse(self.changed_at), self.id);
        // The real comes first.
        let is_drill = self.drill.is_some();
        (
            is_drill,
            Reverse(self.severity),
            self.is_acknowledged,
            condition,
            newest,
        )
    }
}

/// An alert with what its card is made by.
struct Followed<'a> {
    alert: &'a Alert,
    site: Option<&'a Site>,
    /// Times that its rule and series were raised in the hour up to it.
    n_raised: usize,
}

/// Folds alerts into cards, worst first. Each alert that is open and not shelved is on exactly one; ended and shelved ones only
/// tell what belonged together. The order in which alerts are given does not matter.
pub fn fold<'a>(alerts: impl IntoIterator<Item = &'a Alert>, known: &Surroundings) -> Vec<Card> {
    // What was raised on purpose and what is real share no card.
    let mut by_drill: BTreeMap<Option<&DrillId>, Vec<&Alert>> = BTreeMap::new();
    for alert in alerts {
        by_drill.entry(alert.drill.as_ref()).or_default().push(alert);
    }
    let of_one = |(drill, alerts): (Option<&DrillId>, Vec<&'a Alert>)| {
        let mut cards = fold_of_one(alerts, known);
        for card in &mut cards {
            card.drill = drill.cloned();
        }
        cards
    };
    let mut cards: Vec<Card> = by_drill.into_iter().flat_map(of_one).collect();
    cards.sort_by_cached_key(Card::rank);
    cards
}

fn fold_of_one(mut alerts: Vec<&Alert>, known: &Surroundings) -> Vec<Card> {
    alerts.sort_unstable_by_key(|alert| Cursor::of(alert));
    alerts.dedup_by_key(|alert| alert.id);
    let followed = follow(&alerts, known);
    let mut gateways: BTreeMap<&DeviceId, Vec<usize>> = BTreeMap::new();
    let mut is_taken = vec![false; followed.len()];
    for (i, one) in followed.iter().enumerate() {
        if one.alert.is_triaged()
            && let Some(gateway) = known.swallows(one.alert)
        {
            gateways.entry(gateway).or_default().push(i);
            is_taken[i] = true;
        }
    }
    // What is explained by its gateway says nothing of its surroundings; what is lost behind it was something before.
    let told = |i: &usize| !(is_taken[*i] && known.is_silence(followed[*i].alert));
    let incidents = incident::incidents(&followed, (0..followed.len()).filter(told), known);
    let mut cards = Vec::new();
    for (gateway, members) in gateways {
        cards.push(of_gateway(&followed, gateway, members, known));
    }
    for incident in incidents {
        let shown = |i: &usize| !is_taken[*i] && followed[*i].alert.is_triaged();
        let members: Vec<usize> = incident.members.iter().copied().filter(shown).collect();
        let Some(oldest) = members.first() else {
            continue;
        };
        let founder = match is_taken[incident.members[0]] {
            true => *oldest,
            false => incident.members[0],
        };
        cards.push(of_incident(&followed, founder, members, incident.cause, known));
    }
    cards
}

fn follow<'a>(alerts: &[&'a Alert], known: &'a Surroundings) -> Vec<Followed<'a>> {
    let mut raised: HashMap<(&RuleId, &onemap_model::SeriesKey), Vec<Timestamp>> = HashMap::new();
    let of_one = |alert: &'a Alert| {
        let times = raised.entry((&alert.rule, &alert.series)).or_default();
        times.push(alert.raised_at);
        let within = |at: &&Timestamp| alert.raised_at.since(**at) < CHATTER_WITHIN;
        Followed {
            alert,
            site: known.sites.get(&alert.series.device),
            n_raised: times.iter().rev().take_while(within).count(),
        }
    };
    alerts.iter().copied().map(of_one).collect()
}

fn of_gateway(all: &[Followed<'_>], gateway: &DeviceId, members: Vec<usize>, known: &Surroundings) -> Card {
    let is_parent = |i: &&usize| {
        let alert = all[**i].alert;
        alert.series.device == *gateway && known.is_silence(alert)
    };
    let parent = members.iter().find(is_parent).copied();
    let lead = parent.unwrap_or(members[0]);
    let mut card = card(all, lead, members, Cause::silence(), CardKind::Gateway);
    if let Some(parent) = parent {
        card.id = all[parent].alert.id;
        card.is_acknowledged = all[parent].alert.acknowledged.is_some();
    }
    card.gateway = Some(gateway.clone());
    let n_behind = card.counts.devices - usize::from(parent.is_some());
    card.headline = words::gateway(gateway, known.sites.get(gateway), n_behind);
    card
}

fn of_incident(
    all: &[Followed<'_>],
    founder: usize,
    members: Vec<usize>,
    cause: &'static Cause,
    known: &Surroundings,
) -> Card {
    let series = &all[members[0]].alert.series;
    let kind = match members.iter().all(|i| all[*i].alert.series == *series) {
        true => CardKind::Series,
        false => CardKind::Place,
    };
    let leads = |i: &usize| {
        let alert = all[*i].alert;
        let is_unknown = alert.condition != Condition::Abnormal;
        (Reverse(alert.severity), is_unknown, Cursor::of(alert))
    };
    let lead = members.iter().copied().min_by_key(leads).unwrap_or(founder);
    let network = one_network(all, &members, cause, known);
    let mut card = card(all, lead, members, cause, kind);
    card.id = all[founder].alert.id;
    card.network = network.filter(|_| card.counts.devices > 1).cloned();
    card.headline = words::incident(all[lead].alert, known, &card);
    card
}

/// The network on which all of these stand, when it carries the cause.
fn one_network<'a>(
    all: &[Followed<'_>],
    members: &[usize],
    cause: &'static Cause,
    known: &'a Surroundings,
) -> Option<&'a Medium> {
    let network = |i: &usize| {
        let stood = Stood::of(&all[*i], cause, known)?;
        stood.along.map(|_| stood.network)
    };
    let first = network(members.first()?)?;
    let is_one = members.iter().all(|i| network(i) == Some(first));
    let stand = all[members[0]].site?.stand?;
    known.networks.medium(stand).filter(|_| is_one)
}

/// What every card has; the id is the oldest member's, the headline is empty.
fn card(
    all: &[Followed<'_>],
    lead: usize,
    mut members: Vec<usize>,
    cause: &'static Cause,
    kind: CardKind,
) -> Card {
    let oldest = all[members[0]].alert;
    members.sort_by_key(|i| {
        let alert = all[*i].alert;
        (*i != lead, Reverse(alert.severity), Cursor::of(alert))
    });
    let severity = members.iter().map(|i| all[*i].alert.severity).max();
    let severity = severity.unwrap_or(oldest.severity);
    let mut counts = CardCounts::default();
    let mut devices = HashSet::new();
    let mut bounds: Option<[f64; 4]> = None;
    let mut point = None;
    let (mut raised_at, mut changed_at) = (oldest.raised_at, oldest.changed_at);
    let mut is_acknowledged = true;
    let mut n_raised = 0;
    for i in &members {
        let Followed {
            alert,
            site,
            n_raised: n,
        } = &all[*i];
        counts.count(alert);
        devices.insert(&alert.series.device);
        raised_at = raised_at.min(alert.raised_at);
        changed_at = changed_at.max(alert.changed_at);
        is_acknowledged &= alert.severity < severity || alert.acknowledged.is_some();
        n_raised = n_raised.max(*n);
        if let Some(at) = site.and_then(|site| site.position) {
            let [west, south, east, north] = bounds.unwrap_or([at.lon(), at.lat(), at.lon(), at.lat()]);
            bounds = Some([
                west.min(at.lon()),
                south.min(at.lat()),
                east.max(at.lon()),
                north.max(at.lat()),
            ]);
            point.get_or_insert(at);
        }
    }
    counts.devices = devices.len();
    let condition = match (counts.abnormal, counts.unknown) {
        (0, 0) => Condition::Normal,
        (0, _) => Condition::Unknown,
        _ => Condition::Abnormal,
    };
    Card {
        id: oldest.id,
        kind,
        cause,
        gateway: None,
        headline: Texts::default(),
        severity,
        condition,
        is_acknowledged,
        counts,
        raised_at,
        changed_at,
        chatter: (n_raised >= CHATTER).then_some(n_raised),
        bounds,
        point,
        network: None,
        drill: None,
        members: members.iter().map(|i| all[*i].alert.id).collect(),
    }
}

impl CardCounts {
    fn count(&mut self, alert: &Alert) {
        self.alerts += 1;
        *match alert.severity {
            Severity::Critical => &mut self.critical,
            Severity::Major => &mut self.major,
            Severity::Minor => &mut self.minor,
            Severity::Notice => &mut self.notice,
        } += 1;
        *match alert.condition {
            Condition::Abnormal => &mut self.abnormal,
            Condition::Unknown => &mut self.unknown,
            Condition::Normal => &mut self.normal,
        } += 1;
        *match alert.acknowledged {
            Some(_) => &mut self.acknowledged,
            None => &mut self.unacknowledged,
        } += 1;
    }
}
