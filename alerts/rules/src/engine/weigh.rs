//! Rules that weigh more than the last value of one series: a course of values, several series of a device, its
//! neighbours.
//!
//! Each such rule is bound once to a device (to each channel of a quantity when it asks of one quantity and names no
//! channel). Its facts have three values, true, false and not known, with a hysteresis each; what they come to together
//! drives the same state machine as a single threshold. Facts are looked at when a reading of their own series comes:
//! what others say counts when the device itself speaks.

mod around;
pub(super) mod course;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use onemap_model::alert::Input;
use onemap_model::{Forecast, Quantity, SeriesKey, Timestamp};

use super::Engine;
use super::book::{Book, Owner};
use super::entries::{MAINTAINED, NEVER, NO_DEADLINE, SEEN, SeriesEntry, Slot, WEIGHED};
use super::foresee::Seen;
use super::slot::Place;
use crate::rule::{Asked, Finding, Neighbours, Rule, Side, Texts, When};
use around::Stands;
pub use around::nearest_first;
use course::Memory;

/// Everything that is weighed, by device.
#[derive(Default)]
pub(super) struct Scales {
    pub(super) entries: Vec<Weighing>,
    /// The entry of a device.
    pub(super) of_device: HashMap<u32, u32>,
    /// Where devices stand, of each rule that asks for neighbours.
    stands: Stands,
}

impl Scales {
    /// A device came, moved, or is another than before.
    pub(super) fn moved(&mut self) {
        self.stands.moved();
    }
    /// Whether nothing of what is weighed is wrong or waits for a hold.
    pub(super) fn are_calm(&self) -> bool {
        let mut cases = self.entries.iter().flat_map(|entry| &entry.cases);
        cases.all(|case| case.slot.active.is_none())
    }
    /// Whether something that is weighed of a device looks at a series and at values alone.
    pub(super) fn ask_for(&self, device: u32, quantity: Quantity, channel: u16) -> bool {
        let entry = self.of_device.get(&device).map(|i| &self.entries[*i as usize]);
        let mut cases = entry.into_iter().flat_map(|entry| &entry.cases);
        cases.any(|case| case.is_about(quantity, channel) && case.slot.rule.looks_at_values())
    }
    pub(super) fn slots(&self, i: u32) -> impl Iterator<Item = &Slot> {
        self.entries[i as usize].cases.iter().map(|case| &case.slot)
    }
    pub(super) fn slots_mut(&mut self, i: u32) -> Vec<&mut Slot> {
        let cases = self.entries[i as usize].cases.iter_mut();
        cases.map(|case| &mut case.slot).collect()
    }
    pub(super) fn add(&mut self, device: u32) -> u32 {
        let i = u32::try_from(self.entries.len()).expect("fewer than 2^32 devices fit into memory");
        self.entries.push(Weighing {
            device,
            armed: NO_DEADLINE,
            cases: Vec::new(),
        });
        self.of_device.insert(device, i);
        i
    }
}

/// What is weighed of one device.
pub(super) struct Weighing {
    pub(super) device: u32,
    /// The earliest entry in the timers, [`NO_DEADLINE`] when there is none.
    pub(super) armed: i64,
    /// In the order of the rules' ids, then of channels.
    pub(super) cases: Vec<Case>,
}

/// One rule on one device.
pub(super) struct Case {
    pub(super) slot: Slot,
    /// The channel of facts that name none.
    pub(super) channel: u16,
    /// Time of the newest reading that it was weighed with.
    pub(super) measured_at: i64,
    /// One for each fact, in order.
    pub(super) cells: Vec<Cell>,
}

/// What is known of one fact.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Cell {
    /// Where it stood when it was last known: between its limits it stays so.
    pub(super) held: bool,
    pub(super) is_known: bool,
    /// What was compared.
    pub(super) amount: Option<f64>,
    pub(super) memory: Memory,
    /// The newest forecast, of a fact that asks for one.
    pub(super) foreseen: Option<Box<Seen>>,
}

impl Cell {
    fn truth(&self) -> Option<bool> {
        self.is_known.then_some(self.held)
    }
    fn forget(&mut self) {
        self.is_known = false;
        self.amount = None;
    }
    /// Takes where a value stands.
    fn stand(&mut self, side: Option<Side>, amount: f64) {
        let Some(side) = side else {
            return self.forget();
        };
        self.is_known = true;
        self.amount = Some(amount);
        match side {
            Side::Beyond => self.held = true,
            Side::Back => self.held = false,
            Side::Between => {}
        }
    }
}

impl Case {
    pub(super) fn new(rule: Arc<Rule>, channel: u16) -> Self {
        let facts = rule.when.facts();
        let cells = facts.iter().map(|fact| Cell {
            memory: Memory::of(fact),
            ..Cell::default()
        });
        Self {
            cells: cells.collect(),
            slot: Slot { rule, active: None },
            channel,
            measured_at: NEVER,
        }
    }
}

impl Case {
    /// Whether one of its facts is about a series.
    pub(super) fn is_about(&self, quantity: Quantity, channel: u16) -> bool {
        let facts = self.slot.rule.when.facts();
        facts
            .iter()
            .any(|fact| named(fact, self.channel) == Some((quantity, channel)))
    }
}

/// The series of a device that a fact is about; `None` is the device as a whole.
fn named(fact: &When, channel: u16) -> Option<(Quantity, u16)> {
    Some((fact.quantity()?, fact.channel().unwrap_or(channel)))
}

/// The quantity of each of whose channels a rule is weighed by itself: all its facts are of it and name no channel.
fn each_channel_of(rule: &Rule) -> Option<Quantity> {
    let facts = rule.when.facts();
    let first = facts.first()?.quantity()?;
    let alike =
        |fact: &&When| fact.quantity() == Some(first) && fact.channel().is_none() && fact.fence().is_none();
    facts.iter().all(alike).then_some(first)
}

/// A device's cases taken out of the engine, with what they are looked at with.
struct Taken {
    entry: u32,
    device: u32,
    cases: Vec<Case>,
}

impl Engine {
    /// A series has a new reading in order, or fell silent.
    pub(super) fn weigh_series(&mut self, i: u32, muted: bool, is_reading: bool) {
        if self.weighing.is_empty() {
            return;
        }
        let series = &self.series[i as usize];
        let (device, name) = (series.device, (series.quantity, series.channel));
        let Some(mut taken) = self.take_weighed(device) else {
            return;
        };
        for case in &mut taken.cases {
            if !case.is_about(name.0, name.1) {
                continue;
            }
            if muted {
                case.slot.calm();
                continue;
            }
            self.look_at_each(device, case, is_reading, |fact, channel| {
                named(fact, channel) == Some(name)
            });
            case.measured_at = case.measured_at.max(self.series[i as usize].measured_at);
            self.weigh(taken.entry, device, case);
        }
        self.put_weighed(taken);
    }

    /// A forecast was issued: the facts that ask for it are looked at anew.
    pub(super) fn weigh_forecast(&mut self, device: u32, position: u64, forecast: &Forecast) {
        if self.weighing.is_empty() {
            return;
        }
        let Some(mut taken) = self.take_weighed(device) else {
            return;
        };
        let name = Some((forecast.series.quantity, forecast.series.channel));
        let (now, muted) = (self.book.now, self.devices[device as usize].in_maintenance());
        for case in &mut taken.cases {
            let rule = Arc::clone(&case.slot.rule);
            let mut is_asked = false;
            for (fact, cell) in rule.when.facts().into_iter().zip(&mut case.cells) {
                let When::Forecast(asked) = fact else {
                    continue;
                };
                if named(fact, case.channel) == name
                    && let Some(seen) = Seen::of(asked, forecast, cell.foreseen.as_deref(), now, position)
                {
                    cell.foreseen = Some(Box::new(seen));
                    is_asked = true;
                }
            }
            if is_asked {
                self.look_at_each(device, case, false, |fact, _| matches!(fact, When::Forecast(_)));
                match muted {
                    true => case.slot.calm(),
                    false => self.weigh(taken.entry, device, case),
                }
            }
        }
        self.put_weighed(taken);
    }

    /// A device is in use again, or its rules are others: everything is weighed as it stands.
    pub(super) fn weigh_again(&mut self, device: u32) {
        let Some(mut taken) = self.take_weighed(device) else {
            return;
        };
        for case in &mut taken.cases {
            self.look_at_each(device, case, false, |_, _| true);
            self.weigh(taken.entry, device, case);
        }
        self.put_weighed(taken);
    }

    /// A device's being under maintenance begins: holds that run stop.
    pub(super) fn calm_weighed(&mut self, device: u32) {
        if let Some(i) = self.scales.of_device.get(&device) {
            let cases = &mut self.scales.entries[*i as usize].cases;
            cases.iter_mut().for_each(|case| case.slot.calm());
        }
    }

    /// Stops the holds of rules that do not look now.
    pub(super) fn calm_resting(&mut self, device: u32, now: Timestamp) {
        let Some(i) = self.scales.of_device.get(&device).copied() else {
            return;
        };
        let cases = self.scales.entries[i as usize].cases.iter_mut();
        for case in cases.filter(|case| case.slot.rule.times.rests(now)) {
            case.slot.calm();
        }
        self.settle_weighed(i);
    }

    /// A fence is gone: what was told of being in it or not is withdrawn, and is not known any more.
    pub(super) fn forget_weighed_fence(&mut self, device: u32, code: &str) {
        let Some(mut taken) = self.take_weighed(device) else {
            return;
        };
        let because = crate::message::fence_gone();
        for case in &mut taken.cases {
            let rule = Arc::clone(&case.slot.rule);
            let facts = rule.when.facts();
            let asks = |fact: &When| fact.fence().is_some_and(|fence| **fence == *code);
            if facts.iter().any(|fact| asks(fact)) {
                for (fact, cell) in facts.iter().zip(&mut case.cells) {
                    if asks(fact) {
                        cell.forget();
                    }
                }
                self.with_case(taken.entry, device, case, |slot, book, place, _| {
                    slot.withdraw(book, place, &because);
                });
            }
        }
        self.put_weighed(taken);
    }

    /// Brings what is weighed of a device in line with the rules in force. A rule with the same id and version keeps its
    /// state; another begins with the last known values.
    pub(super) fn bind_weighed(&mut self, device: u32, because: &Texts) {
        let wanted = self.wanted_weighed(device);
        let i = match self.scales.of_device.get(&device).copied() {
            Some(i) => i,
            None if wanted.is_empty() => return,
            None => self.scales.add(device),
        };
        let mut old = std::mem::take(&mut self.scales.entries[i as usize].cases);
        let mut cases = Vec::with_capacity(wanted.len());
        for (rule, channel) in wanted {
            let same = |case: &Case| {
                case.slot.rule.id == rule.id
                    && case.slot.rule.version == rule.version
                    && case.slot.rule.is_limited_as(&rule)
                    && case.channel == channel
            };
            match old.iter().position(same).map(|at| old.remove(at)) {
                Some(mut case) => {
                    case.slot.rule = rule;
                    cases.push(case);
                }
                None => cases.push(Case::new(rule, channel)),
            }
        }
        for case in &mut old {
            self.with_case(i, device, case, |slot, book, place, _| {
                slot.withdraw(book, place, because)
            });
        }
        let muted = self.devices[device as usize].in_maintenance();
        for case in cases
            .iter_mut()
            .filter(|case| case.measured_at == NEVER && !muted)
        {
            self.look_at_each(device, case, true, |_, _| true);
            if let Some(last) = self.last_of(device, case) {
                case.measured_at = last.measured_at.ms();
                self.weigh(i, device, case);
            }
        }
        self.put_weighed(Taken {
            entry: i,
            device,
            cases,
        });
    }

    fn wanted_weighed(&self, device: u32) -> Vec<(Arc<Rule>, u16)> {
        let entry = &self.devices[device as usize];
        if entry.retired() {
            return Vec::new();
        }
        let mut wanted = Vec::new();
        for rule in &self.weighing {
            let selected =
                rule.applies_to
                    .selects(&entry.id, &entry.kind, entry.division.as_ref(), &entry.fences);
            if !selected {
                continue;
            }
            let channels: Vec<u16> = match each_channel_of(rule) {
                Some(quantity) => entry
                    .series
                    .iter()
                    .filter(|named| named.quantity == quantity && self.series[named.index as usize].has(SEEN))
                    .map(|named| named.channel)
                    .collect(),
                None => vec![0],
            };
            let Some(rule) = self.gauges.own(rule, entry) else {
                continue;
            };
            wanted.extend(channels.into_iter().map(|channel| (Arc::clone(&rule), channel)));
        }
        wanted
    }

    pub(super) fn weighed_is_due(&mut self, i: u32, at: i64) {
        if self.scales.entries[i as usize].armed != at {
            return;
        }
        self.scales.entries[i as usize].armed = NO_DEADLINE;
        let device = self.scales.entries[i as usize].device;
        let Some(mut taken) = self.take_weighed(device) else {
            return;
        };
        let deadlines = taken
            .cases
            .iter()
            .map(|case| self.case_deadline(device, case))
            .enumerate();
        let first = deadlines.map(|(n, deadline)| (deadline, n)).min();
        if let Some((_, n)) = first.filter(|(deadline, _)| *deadline <= at) {
            let case = &mut taken.cases[n];
            if case.slot.hold_deadline() <= at {
                self.with_case(i, device, case, |slot, book, place, _| {
                    slot.hold_is_over(book, place)
                });
            } else {
                let turns = |fact: &When, _| matches!(fact, When::NoData { .. } | When::Forecast(_));
                self.look_at_each(device, case, false, turns);
                self.weigh(i, device, case);
            }
        }
        self.put_weighed(taken);
    }

    /// When a case next has something to do by itself.
    fn case_deadline(&self, device: u32, case: &Case) -> i64 {
        let facts = case.slot.rule.when.facts();
        let silences = facts.iter().zip(&case.cells).filter_map(|(fact, cell)| {
            let silence = matches!(fact, When::NoData { .. }) && !(cell.is_known && cell.held);
            silence.then(|| self.silent_at(device, case.channel, fact))
        });
        let now = self.book.now;
        let ahead = facts
            .iter()
            .zip(&case.cells)
            .filter_map(|(fact, cell)| match fact {
                When::Forecast(asked) => Some(cell.foreseen.as_ref()?.deadline(asked, now)),
                _ => None,
            });
        silences.chain(ahead).fold(case.slot.hold_deadline(), i64::min)
    }

    /// The record time at which the silence that a fact asks for is complete.
    fn silent_at(&self, device: u32, channel: u16, fact: &When) -> i64 {
        let When::NoData { silence, .. } = fact else {
            return NO_DEADLINE;
        };
        let series = self.series_of(device, fact, channel);
        let (heard_at, every_s) = series.map_or((NEVER, 0), |series| (series.heard_at, series.every_s));
        self.silence_deadline(&self.devices[device as usize], heard_at, every_s, Some(*silence))
    }

    /// The series that a fact is about, when there is one.
    fn series_of(&self, device: u32, fact: &When, channel: u16) -> Option<&SeriesEntry> {
        let (quantity, channel) = named(fact, channel)?;
        let i = self.find_series(device, quantity, channel)?;
        Some(&self.series[i as usize])
    }

    /// Looks anew at those facts of a case that are meant, by the fact and the case's channel.
    fn look_at_each(
        &mut self,
        device: u32,
        case: &mut Case,
        is_reading: bool,
        is_meant: impl Fn(&When, u16) -> bool,
    ) {
        let rule = Arc::clone(&case.slot.rule);
        for (n, fact) in rule.when.facts().into_iter().enumerate() {
            if is_meant(fact, case.channel) {
                self.look_at(device, case, n, fact, is_reading);
            }
        }
    }

    /// Looks at one fact anew; with a new reading its course goes on.
    fn look_at(&mut self, device: u32, case: &mut Case, n: usize, fact: &When, is_reading: bool) {
        let channel = case.channel;
        if let When::NoData { .. } = fact {
            let silent_at = self.silent_at(device, channel, fact);
            let cell = &mut case.cells[n];
            (cell.is_known, cell.held) = (true, silent_at <= self.book.now);
            return;
        }
        if let When::Forecast(asked) = fact {
            let now = self.book.now;
            let cell = &mut case.cells[n];
            if let Some(seen) = &mut cell.foreseen {
                seen.look(asked, now);
            }
            match cell.foreseen.as_ref().and_then(|seen| seen.ahead) {
                Some(ahead) => cell.stand(Some(asked.side(ahead.worst)), ahead.worst),
                None => cell.forget(),
            }
            return;
        }
        let series = self.series_of(device, fact, channel);
        let judged = series
            .filter(|series| !series.has(MAINTAINED))
            .and_then(SeriesEntry::judged);
        let Some(input) = judged else {
            let cell = &mut case.cells[n];
            cell.forget();
            // A value that may not be judged is passed over; after a silence a course begins anew.
            if !is_reading {
                cell.memory.interrupt();
            }
            return;
        };
        if let When::Neighbours(asked) = fact {
            let rule = Arc::clone(&case.slot.rule);
            let (truth, amount) = self.ask_neighbours(device, &rule, asked, channel, &input);
            let cell = &mut case.cells[n];
            match (&asked.asked, truth, amount) {
                (Asked::Differs { .. }, _, Some(amount)) => cell.stand(fact.side(amount), amount),
                (Asked::Agree(_), Some(holds), amount) => {
                    (cell.is_known, cell.held, cell.amount) = (true, holds, amount);
                }
                _ => cell.forget(),
            }
            return;
        }
        let fences = &self.devices[device as usize].fences;
        let cell = &mut case.cells[n];
        match fact {
            When::Change(change) => {
                if is_reading {
                    cell.memory.take(change, &input);
                }
                match cell.memory.change(change) {
                    Some(amount) => cell.stand(fact.side(amount), amount),
                    None => cell.forget(),
                }
            }
            When::Stuck(stuck) => {
                if is_reading {
                    cell.memory.stand_still(stuck, &input);
                }
                match cell.memory.is_stuck(stuck, input.measured_at.ms()) {
                    Some(is_stuck) => {
                        (cell.is_known, cell.held) = (true, is_stuck);
                        cell.amount = Some(input.value);
                    }
                    None => cell.forget(),
                }
            }
            _ => cell.stand(fact.stands(input.value, fences), input.value),
        }
    }

    /// What neighbours come to: whether enough agree, or by how much the value differs from their median.
    fn ask_neighbours(
        &mut self,
        device: u32,
        rule: &Arc<Rule>,
        asked: &Neighbours,
        channel: u16,
        own: &Input,
    ) -> (Option<bool>, Option<f64>) {
        let others = self.neighbours_of(device, rule, asked);
        let values: Vec<Option<f64>> = others
            .iter()
            .map(|other| {
                let entry = &self.devices[(*other)? as usize];
                let i = self.find_series((*other)?, asked.quantity, asked.channel.unwrap_or(channel))?;
                let series = &self.series[i as usize];
                let usable = !entry.retired() && !entry.in_maintenance() && !series.has(MAINTAINED);
                series.judged().filter(|_| usable).map(|input| input.value)
            })
            .collect();
        let least = usize::from(asked.at_least);
        match &asked.asked {
            Asked::Agree(same) => {
                let agrees = |value: &f64| same.side(*value) == Some(Side::Beyond);
                let n_agree = values.iter().flatten().filter(|value| agrees(value)).count();
                let n_known = values.iter().flatten().count();
                let truth = match agrees(&own.value) {
                    false => Some(false),
                    true if n_agree >= least => Some(true),
                    // Too few are known to say that they do not agree, or those that are not might.
                    true if n_known < least || n_agree + (values.len() - n_known) >= least => None,
                    true => Some(false),
                };
                (truth, Some(n_agree as f64))
            }
            Asked::Differs { direction, .. } => {
                let mut known: Vec<f64> = values.into_iter().flatten().collect();
                if known.len() < least {
                    return (None, None);
                }
                (None, Some(direction.of(own.value - median(&mut known))))
            }
        }
    }

    /// The neighbours that a rule asks; `None` in it is one that is named and not known.
    fn neighbours_of(&mut self, device: u32, rule: &Arc<Rule>, asked: &Neighbours) -> Vec<Option<u32>> {
        let mut stands = std::mem::take(&mut self.scales.stands);
        let found = stands.around(device, rule, asked, &self.devices, &self.device_index);
        self.scales.stands = stands;
        found
    }

    /// Lets what the facts come to drive the rule's state machine.
    fn weigh(&mut self, entry: u32, device: u32, case: &mut Case) {
        if self.devices[device as usize].in_maintenance() {
            return case.slot.calm();
        }
        let mut truths = case.cells.iter().map(Cell::truth);
        let truth = case.slot.rule.when.truth(&mut truths);
        drop(truths);
        if truth != Some(true) && case.slot.active.is_none() {
            // Nothing runs and nothing begins, which is nearly always.
            return;
        }
        let now = self.book.now;
        let measured_at = Timestamp::from_ms(match case.measured_at {
            NEVER => now,
            measured_at => measured_at,
        });
        self.with_case(entry, device, case, |slot, book, place, last| {
            let side = match truth {
                None => return slot.unknown(book, place, false),
                Some(true) => Side::Beyond,
                Some(false) => Side::Back,
            };
            // What it began with is told by the findings; the time is that of the reading that tipped it.
            let input = Input {
                measured_at,
                ..last.unwrap_or(Input {
                    position: book.position,
                    measured_at,
                    value: f64::from(u8::from(truth == Some(true))),
                    of: None,
                })
            };
            slot.step(book, place, side, &input);
        });
    }

    /// The last value of the first fact that has one.
    fn last_of(&self, device: u32, case: &Case) -> Option<Input> {
        let facts = case.slot.rule.when.facts();
        let mut series = facts
            .iter()
            .filter_map(|fact| self.series_of(device, fact, case.channel));
        series.find_map(SeriesEntry::input)
    }

    fn with_case(
        &mut self,
        entry: u32,
        device: u32,
        case: &mut Case,
        work: impl FnOnce(&mut Slot, &mut Book, &Place<'_>, Option<Input>),
    ) {
        let last = self.last_of(device, case);
        let findings = self.findings(device, case);
        let facts = case.slot.rule.when.facts();
        let lead = facts.iter().find_map(|fact| {
            let (quantity, channel) = named(fact, case.channel)?;
            let i = self.find_series(device, quantity, channel)?;
            self.series[i as usize].has(SEEN).then_some(i)
        });
        let entry_of = &self.devices[device as usize];
        let first = facts.iter().find_map(|fact| named(fact, case.channel));
        let place = Place {
            owner: Owner::Weighed(entry),
            series: &|about| match (about, first) {
                (Some(about), _) => self.series[about as usize].key(entry_of),
                (None, Some((quantity, channel))) => SeriesKey {
                    device: entry_of.id.clone(),
                    quantity,
                    channel,
                },
                (None, None) => super::messages_of(&entry_of.id),
            },
            about: &|| lead,
            division: entry_of.division.as_ref(),
            fences: &entry_of.fences,
            last: last.clone(),
            silent_for: Duration::ZERO,
            outlook: None,
            findings: &findings,
        };
        work(&mut case.slot, &mut self.book, &place, last);
    }

    /// What was found of each fact of a case, for its sentences and as evidence.
    pub(super) fn findings(&self, device: u32, case: &Case) -> Vec<Finding> {
        let lead = case.slot.rule.when.facts();
        let lead = lead.first().and_then(|fact| named(fact, case.channel));
        let facts = case.slot.rule.when.facts();
        let found = facts.iter().zip(&case.cells).map(|(fact, cell)| {
            let series = self.series_of(device, fact, case.channel);
            let of = match named(fact, case.channel) {
                name if name == lead => None,
                name => name.map(|(quantity, channel)| SeriesKey {
                    device: self.devices[device as usize].id.clone(),
                    quantity,
                    channel,
                }),
            };
            let last = series.and_then(SeriesEntry::input);
            let from = cell.memory.from(fact).filter(|from| last.as_ref() != Some(from));
            let silent_for = matches!(fact, When::NoData { .. }).then(|| {
                let heard_at = series.map_or(NEVER, |series| series.heard_at);
                let since = heard_at.max(self.devices[device as usize].counted_from);
                Duration::from_millis(self.book.now.saturating_sub(since).max(0) as u64)
            });
            let foreseen = cell.foreseen.as_ref();
            let inputs: Vec<Input> = match fact {
                When::Forecast(_) => foreseen.and_then(|seen| seen.input()).into_iter().collect(),
                _ => from.into_iter().chain(last).collect(),
            };
            Finding {
                holds: cell.truth(),
                amount: cell.amount,
                silent_for,
                inputs: inputs
                    .into_iter()
                    .map(|input| Input {
                        of: of.clone(),
                        ..input
                    })
                    .collect(),
            }
        });
        found.collect()
    }

    fn take_weighed(&mut self, device: u32) -> Option<Taken> {
        let entry = *self.scales.of_device.get(&device)?;
        let cases = std::mem::take(&mut self.scales.entries[entry as usize].cases);
        Some(Taken { entry, device, cases })
    }

    /// Puts a device's cases back, with their next deadline and what they make of the series that they are about.
    fn put_weighed(&mut self, taken: Taken) {
        let Taken { entry, device, cases } = taken;
        let about = |case: &Case| case.slot.alert().and_then(|alert| alert.about);
        let wrong: Vec<u32> = cases.iter().filter_map(about).collect();
        self.scales.entries[entry as usize].cases = cases;
        self.settle_weighed(entry);
        let turned = |i: &u32| self.series[*i as usize].has(WEIGHED) != wrong.contains(i);
        let turned: Vec<u32> = self.devices[device as usize].indexes().filter(turned).collect();
        for i in turned {
            self.series[i as usize].set(WEIGHED, wrong.contains(&i));
            self.settle_series(i);
        }
    }

    /// After any change of what is weighed: its next deadline.
    pub(super) fn settle_weighed(&mut self, entry: u32) {
        let weighing = &self.scales.entries[entry as usize];
        let deadlines = weighing
            .cases
            .iter()
            .map(|case| self.case_deadline(weighing.device, case));
        let deadline = deadlines.min().unwrap_or(NO_DEADLINE);
        let weighing = &mut self.scales.entries[entry as usize];
        self.timers
            .arm(&mut weighing.armed, deadline, Owner::Weighed(entry));
    }
}

/// The middle one, or the mean of the two in the middle. There is at least one.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}
