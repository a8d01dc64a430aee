//! Why a rule fired on a series, and why another did not.

use onemap_model::alert::Input;
use onemap_model::{AlertId, Quantity, RuleId, SeriesKey, Severity, Timestamp};
use serde::Serialize;

use super::Engine;
use super::book::Owner;
use super::entries::{Condition, Phase, SeriesEntry, Slot};
use super::weigh::Case;
use crate::rule::Texts;

/// How far a rule has come on a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// Nothing is wrong by this rule.
    Quiet,
    /// Wrong, and its hold runs.
    Pending,
    /// Raised.
    Raised,
    /// Raised, no longer wrong, and its hold on clearing runs.
    Clearing,
    /// Raised, and a person closed it.
    Closed,
}

/// One rule's view of one series at this moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// The rule.
    pub rule: RuleId,
    /// Its version.
    pub version: String,
    /// What it says.
    pub sentence: Texts,
    /// Its limit in the quantity's canonical unit, if it has one.
    pub threshold: Option<f64>,
    /// How far it has come.
    pub progress: Progress,
    /// When that began (record time); `None` while quiet.
    pub since: Option<Timestamp>,
    /// The alert it raised.
    pub alert: Option<AlertId>,
    /// The reading with which it began and the last one.
    pub inputs: Vec<Input>,
    /// What is known of the series.
    pub condition: Condition,
    /// Each fact of a rule that weighs several, in the order in which they are written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<FactState>,
}

/// What was found of one fact.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FactState {
    /// What it says.
    pub sentence: Texts,
    /// Whether it is so; `None` is not known.
    pub holds: Option<bool>,
    /// What was compared: the value, by how much it changed or differs, how many agree.
    pub amount: Option<f64>,
}

/// An alert that is open in the engine.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OpenAlert {
    /// The alert.
    pub alert: AlertId,
    /// Its rule.
    pub rule: RuleId,
    /// The rule's version.
    pub version: String,
    /// What it is about.
    pub series: SeriesKey,
    /// How much it matters.
    pub severity: Severity,
    /// When it was raised.
    pub raised_at: Timestamp,
    /// Nothing is known of its series now.
    pub lost: bool,
    /// A person closed it; the engine waits for it to be over.
    pub closed: bool,
}

impl Engine {
    /// Every rule that looks at a series, with how far it has come: also the answer to "why not".
    /// Empty when the series was never heard of or no rule looks at it.
    pub fn explain(&self, series: &SeriesKey) -> Vec<Explanation> {
        let Some(device) = self.device_index.get(&series.device) else {
            return Vec::new();
        };
        let foreseen = self.find_foreseen(*device, series.quantity, series.channel);
        let watches = foreseen.map_or(&[][..], |i| &self.foreseen[i as usize].watches);
        let number = *device;
        let entry = self.find_series(*device, series.quantity, series.channel);
        let entry = entry.map(|i| &self.series[i as usize]);
        let (own, device) = match entry {
            Some(entry) => (&entry.slots[..], &self.devices[*device as usize].slots[..]),
            None => (&[][..], &[][..]),
        };
        let last = entry.and_then(SeriesEntry::input);
        let condition = entry.map_or(Condition::Unknown, |entry| entry.condition);
        let slots = own.iter().chain(device).map(|slot| (slot, last.clone()));
        let weighed = self.weighed_of(number, series.quantity, series.channel);
        slots
            .chain(watches.iter().map(|watch| (&watch.slot, watch.input())))
            .map(|(slot, last)| (slot, last, Vec::new()))
            .chain(weighed.map(|case| (&case.slot, last.clone(), self.fact_states(number, case))))
            .map(|(slot, last, facts)| {
                let first = slot.active.as_ref().and_then(|active| active.first.clone());
                let mut inputs: Vec<Input> = first.into_iter().chain(last).collect();
                inputs.dedup();
                Explanation {
                    rule: slot.rule.id.clone(),
                    version: slot.rule.version.clone(),
                    sentence: slot.rule.sentence(),
                    threshold: slot.rule.threshold(),
                    progress: progress(slot),
                    since: slot
                        .active
                        .as_ref()
                        .map(|active| Timestamp::from_ms(active.since_record)),
                    alert: slot.alert().map(|alert| alert.id),
                    inputs,
                    condition,
                    facts,
                }
            })
            .collect()
    }

    /// The rules that weigh a series of a device, among others.
    fn weighed_of(&self, device: u32, quantity: Quantity, channel: u16) -> impl Iterator<Item = &Case> {
        let entry = self.scales.of_device.get(&device);
        let cases = entry.map_or(&[][..], |i| &self.scales.entries[*i as usize].cases);
        cases.iter().filter(move |case| case.is_about(quantity, channel))
    }

    fn fact_states(&self, device: u32, case: &Case) -> Vec<FactState> {
        let facts = case.slot.rule.when.facts();
        let found = self.findings(device, case);
        let states = facts.into_iter().zip(found).map(|(fact, found)| FactState {
            sentence: crate::message::fact(fact),
            holds: found.holds,
            amount: found.amount,
        });
        states.collect()
    }

    /// The alerts that are not over, in the order of their ids; those closed by a person among them.
    pub fn open_alerts(&self) -> Vec<OpenAlert> {
        let open = self.book.open.iter();
        open.filter_map(|(id, owner)| {
            let is_its = |slot: &&Slot| slot.alert().is_some_and(|alert| alert.id == *id);
            let (slot, device, foreseen) = match owner {
                Owner::Series(i) => {
                    let series = &self.series[*i as usize];
                    let device = &self.devices[series.device as usize];
                    (series.slots.iter().find(is_its)?, device, None)
                }
                Owner::Device(i) => {
                    let device = &self.devices[*i as usize];
                    (device.slots.iter().find(is_its)?, device, None)
                }
                Owner::Foreseen(i) => {
                    let entry = &self.foreseen[*i as usize];
                    let slot = entry.watches.iter().map(|watch| &watch.slot).find(is_its)?;
                    let device = &self.devices[entry.device as usize];
                    (slot, device, Some(entry.key(&device.id)))
                }
                Owner::Clock => return None,
                Owner::Weighed(i) => {
                    let entry = &self.scales.entries[*i as usize];
                    let slot = entry.cases.iter().map(|case| &case.slot).find(is_its)?;
                    (slot, &self.devices[entry.device as usize], None)
                }
            };
            let alert = slot.alert()?;
            Some(OpenAlert {
                alert: *id,
                rule: slot.rule.id.clone(),
                version: slot.rule.version.clone(),
                series: match (foreseen, alert.about) {
                    (Some(key), _) => key,
                    (None, Some(about)) => self.series[about as usize].key(device),
                    (None, None) => super::messages_of(&device.id),
                },
                severity: slot.rule.severity_at(alert.level),
                raised_at: Timestamp::from_ms(alert.raised_at),
                lost: alert.lost,
                closed: alert.closed,
            })
        })
        .collect()
    }

    /// How many series and how many bound rules the engine holds.
    pub fn size(&self) -> (usize, usize) {
        let on_series: usize = self.series.iter().map(|series| series.slots.len()).sum();
        let on_devices: usize = self.devices.iter().map(|device| device.slots.len()).sum();
        let ahead: usize = self.foreseen.iter().map(|entry| entry.watches.len()).sum();
        let weighed: usize = self.scales.entries.iter().map(|entry| entry.cases.len()).sum();
        (self.series.len(), on_series + on_devices + ahead + weighed)
    }
}

fn progress(slot: &Slot) -> Progress {
    match slot.active.as_deref() {
        None => Progress::Quiet,
        Some(active) if active.alert.as_ref().is_some_and(|alert| alert.closed) => Progress::Closed,
        Some(active) => match active.phase {
            Phase::Pending => Progress::Pending,
            Phase::Firing => Progress::Raised,
            Phase::Clearing => Progress::Clearing,
        },
    }
}
