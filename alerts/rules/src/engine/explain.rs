//! Why a rule fired on a series, and why another did not.

use onemap_model::alert::Input;
use onemap_model::{AlertId, DivisionCode, Quantity, RuleId, SeriesKey, Severity, Timestamp};
use serde::Serialize;

use super::Engine;
use super::book::Owner;
use super::entries::{Condition, MAINTAINED, NEVER, Phase, SeriesEntry, Slot};
use super::slot::evidence_of;
use super::weigh::Case;
use crate::message::Standing;
use crate::rule::{Finding, Selector, Texts, When};
use crate::stages::Stage;

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
    /// What was compared with what, and how far that went: also why nothing is raised.
    pub why: Texts,
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

/// Why a rule does not look at a series at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "aside", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Aside {
    /// No rule in force has this id.
    UnknownRule,
    /// The device is not known.
    UnknownDevice,
    /// It is retired.
    Retired,
    /// The rule is for other kinds.
    Kind {
        /// The device's own.
        kind: String,
    },
    /// The rule is for another division.
    Division,
    /// The rule is for another device.
    Device,
    /// The rule is for devices in a fence that it is not in.
    Fence,
    /// The rule looks at other quantities.
    Quantity,
    /// The rule looks at one other channel.
    Channel {
        /// That one.
        channel: u16,
    },
    /// The rule is not in force at this time.
    Hours,
    /// The rule asks for a limit of each device, and this one has none.
    NoLimit,
    /// The rule's limit is a stage of the gauge, and the register has none of it that holds now, or no datum.
    NoStage {
        /// Which it is.
        stage: Stage,
    },
    /// Nothing ever came of the series.
    Unheard,
}

impl Aside {
    /// The same as a sentence.
    pub fn sentence(&self) -> Texts {
        crate::message::aside(self)
    }
}

/// One slot that looks at a series, and what it looked at.
struct Bound<'a> {
    slot: &'a Slot,
    last: Option<Input>,
    heard_at: i64,
    is_known: bool,
    findings: Vec<Finding>,
}

impl Engine {
    /// Every rule that looks at a series, with how far it has come: also the answer to "why not".
    /// Empty when the series was never heard of or no rule looks at it.
    pub fn explain(&self, series: &SeriesKey) -> Vec<Explanation> {
        let Some(number) = self.device_index.get(&series.device).copied() else {
            return Vec::new();
        };
        let entry = self.find_series(number, series.quantity, series.channel);
        let entry = entry.map(|i| &self.series[i as usize]);
        let bound = self.bound(number, series, entry);
        let told = bound
            .iter()
            .map(|bound| self.explained(number, series, entry, bound));
        told.collect()
    }

    /// How far one rule has come with a series, or why it does not look at it at all.
    ///
    /// # Errors
    /// Why it does not look.
    pub fn why(&self, rule: &RuleId, series: &SeriesKey) -> Result<Explanation, Aside> {
        let of_rule = self.explain(series).into_iter().find(|told| told.rule == *rule);
        of_rule.ok_or_else(|| self.aside(rule, series))
    }

    fn aside(&self, rule: &RuleId, series: &SeriesKey) -> Aside {
        let Some(rule) = self.rules.get(rule) else {
            return Aside::UnknownRule;
        };
        let Some(device) = self.device_index.get(&series.device) else {
            return Aside::UnknownDevice;
        };
        let device = &self.devices[*device as usize];
        let Selector {
            kinds,
            not_kinds,
            division,
            device: only,
            fence,
        } = &rule.applies_to;
        let kind = &*device.kind;
        let facts = rule.when.facts();
        let of_quantity = |fact: &&&When| fact.quantity().is_none_or(|quantity| quantity == series.quantity);
        let of_channel = |fact: &&When| fact.channel().is_none_or(|channel| channel == series.channel);
        let alike: Vec<&When> = facts.iter().filter(of_quantity).copied().collect();
        let lies_in = |own: &DivisionCode| device.division.as_ref().is_some_and(|code| own.covers(code));
        if device.retired() {
            return Aside::Retired;
        }
        if !kinds.is_empty() && !kinds.iter().any(|own| own == kind)
            || not_kinds.iter().any(|own| own == kind)
        {
            return Aside::Kind {
                kind: kind.to_owned(),
            };
        }
        if only.as_ref().is_some_and(|only| *only != device.id) {
            return Aside::Device;
        }
        if !division.as_ref().is_none_or(lies_in) {
            return Aside::Division;
        }
        if fence.as_ref().is_some_and(|fence| !device.fences.contains(fence)) {
            return Aside::Fence;
        }
        if alike.is_empty() {
            return Aside::Quantity;
        }
        if let (false, Some(channel)) = (
            alike.iter().any(of_channel),
            alike.iter().find_map(|fact| fact.channel()),
        ) {
            return Aside::Channel { channel };
        }
        if !rule.times.holds(Timestamp::from_ms(self.book.now)) {
            return Aside::Hours;
        }
        match (self.gauges.own(rule, device), rule.stage()) {
            (None, Some(stage)) => return Aside::NoStage { stage },
            (None, None) => return Aside::NoLimit,
            // A stage is of one channel.
            (Some(own), Some(_)) if own.channel().is_some_and(|own| own != series.channel) => {
                let channel = own.channel().unwrap_or_default();
                return Aside::Channel { channel };
            }
            _ => {}
        }
        Aside::Unheard
    }

    /// Everything that looks at a series: at its values, at its device as a whole, at its forecasts, and at it among others.
    fn bound<'a>(
        &'a self,
        device: u32,
        series: &SeriesKey,
        entry: Option<&'a SeriesEntry>,
    ) -> Vec<Bound<'a>> {
        let last = entry.and_then(SeriesEntry::input);
        let is_known = entry.and_then(SeriesEntry::judged).is_some();
        let own_heard_at = entry.map_or(NEVER, |entry| entry.heard_at);
        let whole = &self.devices[device as usize];
        let of_values = |slot: &'a Slot, heard_at: i64| Bound {
            slot,
            last: last.clone(),
            heard_at,
            is_known,
            findings: Vec::new(),
        };
        let mut bound: Vec<Bound<'a>> = Vec::new();
        if let Some(entry) = entry {
            bound.extend(entry.slots.iter().map(|slot| of_values(slot, own_heard_at)));
            bound.extend(whole.slots.iter().map(|slot| of_values(slot, whole.heard_at)));
        }
        if let Some(i) = self.find_foreseen(device, series.quantity, series.channel) {
            let watches = self.foreseen[i as usize].watches.iter();
            bound.extend(watches.map(|watch| Bound {
                slot: &watch.slot,
                last: watch.input(),
                heard_at: NEVER,
                is_known: watch.input().is_some(),
                findings: Vec::new(),
            }));
        }
        let weighed = self.weighed_of(device, series.quantity, series.channel);
        bound.extend(weighed.map(|case| {
            let findings = self.findings(device, case);
            let truths = &mut findings.iter().map(|finding| finding.holds);
            Bound {
                is_known: case.slot.rule.when.truth(truths).is_some(),
                slot: &case.slot,
                last: last.clone(),
                heard_at: own_heard_at,
                findings,
            }
        }));
        bound
    }

    fn explained(
        &self,
        device: u32,
        series: &SeriesKey,
        entry: Option<&SeriesEntry>,
        bound: &Bound<'_>,
    ) -> Explanation {
        let Bound { slot, last, .. } = bound;
        let active = slot.active.as_deref();
        let first = active.and_then(|active| active.first.clone());
        let mut inputs: Vec<Input> = match bound.findings.is_empty() {
            true => first.into_iter().chain(last.clone()).collect(),
            false => evidence_of(&bound.findings),
        };
        inputs.dedup();
        let now = Timestamp::from_ms(self.book.now);
        let since = active.map(|active| Timestamp::from_ms(active.since_record));
        let facts = slot.rule.when.facts().into_iter().zip(&bound.findings);
        let standing = Standing {
            rule: &slot.rule,
            quantity: series.quantity,
            channel: series.channel,
            progress: progress(slot),
            since,
            last: last.as_ref(),
            heard_at: (bound.heard_at != NEVER).then(|| Timestamp::from_ms(bound.heard_at)),
            is_known: bound.is_known,
            in_maintenance: self.devices[device as usize].in_maintenance()
                || entry.is_some_and(|entry| entry.has(MAINTAINED)),
            rests: slot.rule.times.rests(now),
            findings: &bound.findings,
        };
        Explanation {
            rule: slot.rule.id.clone(),
            version: slot.rule.version.clone(),
            sentence: slot.rule.sentence(),
            threshold: slot.rule.threshold(),
            progress: standing.progress,
            since,
            alert: slot.alert().map(|alert| alert.id),
            inputs,
            condition: entry.map_or(Condition::Unknown, |entry| entry.condition),
            why: crate::message::why(&standing),
            facts: facts
                .map(|(fact, found)| FactState {
                    sentence: crate::message::fact(fact),
                    holds: found.holds,
                    amount: found.amount,
                })
                .collect(),
        }
    }

    /// The rules that weigh a series of a device, among others.
    fn weighed_of(&self, device: u32, quantity: Quantity, channel: u16) -> impl Iterator<Item = &Case> {
        let entry = self.scales.of_device.get(&device);
        let cases = entry.map_or(&[][..], |i| &self.scales.entries[*i as usize].cases);
        cases.iter().filter(move |case| case.is_about(quantity, channel))
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
