//! Which rule looks at which series: rebound when rules or devices change, and at a first reading.

use std::sync::Arc;

use onemap_model::{Device, DeviceId, DeviceState, DivisionCode, Quantity, RuleId, Timestamp};

use super::Engine;
use super::by_kind::ByKind;
use super::entries::{
    DeviceEntry, MAINTAINED, NEVER, NO_DEADLINE, Named, NamedSeries, SEEN, SILENT, SeriesEntry, Slot, Slots,
};
use crate::rule::{Rule, Texts};

impl Engine {
    /// Recomputes the rules in force from the files. Of two with one id, the first file's holds.
    pub(super) fn index_rules(&mut self) {
        self.rules.clear();
        for set in self.files.values() {
            for rule in set.rules() {
                self.rules
                    .entry(rule.id.clone())
                    .or_insert_with(|| Arc::clone(rule));
            }
        }
        self.fences = self
            .rules
            .values()
            .flat_map(|rule| rule.fences())
            .cloned()
            .collect();
        self.promising = ByKind::default();
        for rule in self.rules.values() {
            if rule.silence().is_some() && rule.quantity().is_some() {
                self.promising.push(rule);
            }
        }
        self.sort_rules();
    }

    /// Sorts the rules that look at something now by what they look at, and notes when that is another next.
    fn sort_rules(&mut self) {
        let now = Timestamp::from_ms(self.book.now);
        self.scales.moved();
        self.by_quantity.clear();
        self.looking_ahead.clear();
        self.weighing.clear();
        let turns = self.rules.values().filter_map(|rule| match self.book.now {
            NEVER if !rule.times.is_always() => Some(NEVER),
            _ => rule.times.next_turn(now).map(Timestamp::ms),
        });
        let turns = turns.min().unwrap_or(NO_DEADLINE);
        self.next_turn = turns.min(self.gauges.next_turn(self.book.now));
        let looking = self.rules.values().filter(|rule| looks(rule, now));
        self.in_force = looking
            .map(|rule| (rule.id.clone(), rule.times.rests(now)))
            .collect();
        for rule in self.rules.values().filter(|rule| looks(rule, now)).cloned() {
            if rule.looks_ahead().is_some() {
                self.looking_ahead.push(rule);
            } else if rule.is_weighed() {
                self.weighing.push(rule);
            } else {
                self.by_quantity.entry(rule.quantity()).or_default().push(&rule);
            }
        }
    }

    /// A time has come at which rules begin or end.
    pub(super) fn turn(&mut self) {
        let before = std::mem::take(&mut self.in_force);
        let regauged = self.gauges.turn(Timestamp::from_ms(self.book.now));
        self.sort_rules();
        if self.in_force == before {
            return self.rebind(&regauged);
        }
        let now = &self.in_force;
        let rested = before.into_iter().filter(|(_, rested)| *rested);
        let woken: Vec<RuleId> = rested
            .filter(|(id, _)| now.iter().any(|(other, rests)| other == id && !rests))
            .map(|(id, _)| id)
            .collect();
        for device in 0..self.devices.len() as u32 {
            self.bind_device(device, &crate::message::outside_hours());
            self.rest(device, &woken);
        }
    }

    /// Stops the holds of rules that do not look now and keep what they have raised; those that look again judge what is
    /// known.
    fn rest(&mut self, device: u32, woken: &[RuleId]) {
        let now = Timestamp::from_ms(self.book.now);
        let muted = self.devices[device as usize].in_maintenance();
        for i in self.devices[device as usize].indexes().collect::<Vec<_>>() {
            let series = &self.series[i as usize];
            let judged = series.judged().filter(|_| !muted && !series.has(MAINTAINED));
            self.with_series_slots(i, |slot, book, place| {
                if slot.rule.times.rests(now) {
                    slot.calm();
                } else if let (Some(input), true) = (&judged, woken.contains(&slot.rule.id)) {
                    slot.judge(book, place, input);
                }
            });
            self.settle_series(i);
        }
        self.calm_resting(device, now);
        if !muted && self.weighing.iter().any(|rule| woken.contains(&rule.id)) {
            self.weigh_again(device);
        }
    }

    /// Takes the register's word on a device.
    pub(super) fn register(&mut self, device: &Device, division: Option<&DivisionCode>) {
        let now = self.book.now;
        let i = match self.device_index.get(&device.id) {
            Some(i) => *i,
            None => self.add_device(&device.id, &device.kind, division),
        };
        let entry = &mut self.devices[i as usize];
        let before = entry.state;
        entry.kind = Arc::clone(&device.kind);
        entry.division = division.cloned();
        entry.cadence_s = device.cadence_s;
        entry.registered = true;
        entry.state = device.state;
        entry.place = device.position;
        self.scales.moved();
        let resumes = before != DeviceState::Active && device.state == DeviceState::Active;
        if resumes {
            entry.counted_from = now;
        }
        let because = if entry.retired() {
            crate::message::device_retired()
        } else {
            crate::message::rule_changed()
        };
        self.bind_device(i, &because);
        if device.state == DeviceState::Maintenance && before != DeviceState::Maintenance {
            self.calm_foreseen(i);
            self.calm_weighed(i);
        }
        if resumes {
            self.judge_foreseen(i);
        }
        for series in self.devices[i as usize].indexes().collect::<Vec<_>>() {
            if device.state == DeviceState::Maintenance && before != DeviceState::Maintenance {
                self.with_series_slots(series, |slot, _, _| {
                    if slot.rule.silence().is_none() {
                        slot.calm();
                    }
                });
            }
            if resumes && !self.series[series as usize].has(MAINTAINED) {
                self.judge_again(series);
            }
            self.settle_series(series);
        }
        if resumes {
            self.weigh_again(i);
        }
        self.settle_device(i);
    }

    pub(super) fn add_device(
        &mut self,
        id: &DeviceId,
        kind: &Arc<str>,
        division: Option<&DivisionCode>,
    ) -> u32 {
        let i = u32::try_from(self.devices.len()).expect("fewer than 2^32 devices fit into memory");
        self.devices.push(DeviceEntry {
            id: id.clone(),
            kind: Arc::clone(kind),
            division: division.cloned(),
            fences: Vec::new(),
            place: None,
            cadence_s: 0,
            silent_after_s: 0,
            state: DeviceState::Active,
            registered: false,
            counted_from: self.book.now,
            heard_at: NEVER,
            series: NamedSeries::new(),
            slots: Slots::new(),
            armed: NO_DEADLINE,
        });
        self.device_index.insert(id.clone(), i);
        self.scales.moved();
        self.bind_device(i, &crate::message::rule_changed());
        i
    }

    /// Takes the fences that a device is in, in order. What rules ask of them is bound anew; whether its being there is
    /// wrong is judged by the next place that it says.
    pub(super) fn put_in_fences(&mut self, i: u32, fences: Vec<Arc<str>>) {
        let before = std::mem::replace(&mut self.devices[i as usize].fences, fences);
        let now = &self.devices[i as usize].fences;
        let turned = |fence: &Arc<str>| before.contains(fence) != now.contains(fence);
        let asked = self
            .rules
            .values()
            .filter_map(|rule| rule.applies_to.fence.as_ref());
        if asked.into_iter().any(turned) {
            self.scales.moved();
            self.bind_device(i, &crate::message::fence_left());
        }
    }

    /// Withdraws what rules say of a device's being in a fence, or not in it, that is there no more.
    pub(super) fn forget_fence(&mut self, i: u32, code: &str) {
        let because = crate::message::fence_gone();
        for series in self.devices[i as usize].indexes().collect::<Vec<_>>() {
            self.with_series_slots(series, |slot, book, place| {
                if slot.rule.fence().is_some_and(|fence| **fence == *code) {
                    slot.withdraw(book, place, &because);
                }
            });
            self.settle_series(series);
        }
        self.forget_weighed_fence(i, code);
    }

    /// The index of a series.
    pub(super) fn find_series(&self, device: u32, quantity: Quantity, channel: u16) -> Option<u32> {
        let list = &self.devices[device as usize].series;
        let name = |named: &Named| (named.quantity, named.channel);
        let found = list.binary_search_by_key(&(quantity, channel), name);
        found.ok().map(|at| list[at].index)
    }

    /// Binds the rules of a series at its first reading, and ends the silence of a stand-in.
    pub(super) fn first_reading(&mut self, i: u32) {
        self.bind_series(i, &crate::message::rule_changed(), false);
        let (device, quantity) = (self.series[i as usize].device, self.series[i as usize].quantity);
        self.bind_weighed(device, &crate::message::rule_changed());
        let list = &self.devices[device as usize].series;
        let of_it = list.partition_point(|named| named.quantity < quantity)
            ..list.partition_point(|named| named.quantity <= quantity);
        // Most have been seen: nothing is done for them.
        let waiting = |named: &&Named| named.index != i && !self.series[named.index as usize].has(SEEN);
        let waiting: Vec<u32> = list[of_it].iter().filter(waiting).map(|n| n.index).collect();
        for other in waiting {
            self.with_series_slots(other, |slot, book, place| {
                if slot.rule.channel().is_none() {
                    slot.clear(book, place);
                }
            });
            let mut slots = std::mem::take(&mut self.series[other as usize].slots);
            slots.retain(|slot| slot.rule.channel().is_some());
            self.series[other as usize].set_slots(slots);
            self.settle_series(other);
        }
    }

    pub(super) fn insert_series(&mut self, device: u32, quantity: Quantity, channel: u16) -> u32 {
        let i = u32::try_from(self.series.len()).expect("fewer than 2^32 series fit into memory");
        self.series.push(SeriesEntry::new(device, quantity, channel));
        let named = Named {
            quantity,
            channel,
            index: i,
        };
        let list = &mut self.devices[device as usize].series;
        list.insert(list.partition_point(|other| *other < named), named);
        i
    }

    /// Brings a device's slots and those of its series in line with the rules in force.
    pub(super) fn bind_device(&mut self, i: u32, because: &Texts) {
        for rule in self.promised(i) {
            let quantity = rule.quantity().expect("a promised rule names its quantity");
            let device = &self.devices[i as usize];
            let there = device.indexes().map(|s| &self.series[s as usize]).any(|series| {
                series.quantity == quantity
                    && match rule.channel() {
                        Some(channel) => series.channel == channel,
                        None => series.has(SEEN) || series.channel == 0,
                    }
            });
            if !there {
                self.insert_series(i, quantity, rule.channel().unwrap_or(0));
            }
        }
        for series in self.devices[i as usize].indexes().collect::<Vec<_>>() {
            self.bind_series(series, because, true);
        }
        let wanted = self.wanted(i, None, None);
        let slots = std::mem::take(&mut self.devices[i as usize].slots);
        let aligned = Aligned::new(slots, wanted);
        self.devices[i as usize].slots = aligned.gone;
        self.with_device_slots(i, |slot, book, place| slot.withdraw(book, place, because));
        self.devices[i as usize].slots = aligned.slots;
        self.bind_foreseen(i, because);
        self.bind_weighed(i, because);
        self.settle_device(i);
    }

    /// The rules that wait for a quantity which the device has promised by being registered.
    fn promised(&self, i: u32) -> Vec<Arc<Rule>> {
        let device = &self.devices[i as usize];
        if !device.registered || device.retired() {
            return Vec::new();
        }
        self.promising
            .of(&device.kind)
            .filter(|rule| {
                rule.applies_to
                    .selects(&device.id, &device.kind, device.division.as_ref(), &device.fences)
            })
            .cloned()
            .collect()
    }

    /// The rules in force on one series, or with no quantity on the device as a whole.
    fn wanted(&self, device: u32, quantity: Option<Quantity>, channel: Option<u16>) -> Vec<Arc<Rule>> {
        let device = &self.devices[device as usize];
        if device.retired() {
            return Vec::new();
        }
        let rules = self.by_quantity.get(&quantity).into_iter();
        rules
            .flat_map(|rules| rules.of(&device.kind))
            .filter(|rule| rule.channel().is_none() || rule.channel() == channel)
            .filter(|rule| {
                rule.applies_to
                    .selects(&device.id, &device.kind, device.division.as_ref(), &device.fences)
            })
            .filter_map(|rule| self.gauges.own(rule, device))
            // A stage is of one channel.
            .filter(|rule| rule.channel().is_none() || rule.channel() == channel)
            .collect()
    }

    fn bind_series(&mut self, i: u32, because: &Texts, judge_fresh: bool) {
        let series = &self.series[i as usize];
        let mut wanted = self.wanted(series.device, Some(series.quantity), Some(series.channel));
        if !series.has(SEEN) {
            let stands_in = self.stands_in(i);
            wanted.retain(|rule| rule.channel().is_some() || stands_in);
        }
        let slots = std::mem::take(&mut self.series[i as usize].slots);
        let aligned = Aligned::new(slots, wanted);
        self.series[i as usize].slots = aligned.gone;
        self.with_series_slots(i, |slot, book, place| slot.withdraw(book, place, because));
        self.series[i as usize].set_slots(aligned.slots);

        let series = &self.series[i as usize];
        let muted = series.has(MAINTAINED) || self.devices[series.device as usize].in_maintenance();
        if let (true, false, Some(input)) = (judge_fresh, muted, series.judged()) {
            let mut fresh = aligned.fresh.into_iter();
            self.with_series_slots(i, |slot, book, place| {
                if fresh.next() == Some(true) {
                    slot.judge(book, place, &input);
                }
            });
        }
        self.settle_series(i);
    }

    /// Whether a series that was never seen stands for its quantity on whatever channel.
    fn stands_in(&self, i: u32) -> bool {
        let series = &self.series[i as usize];
        let device = &self.devices[series.device as usize];
        let mut others = device.indexes().map(|s| &self.series[s as usize]);
        series.channel == 0 && !others.any(|other| other.quantity == series.quantity && other.has(SEEN))
    }

    /// Judges the thresholds of a series by what is known now, after its device was muted.
    fn judge_again(&mut self, i: u32) {
        let judged = self.series[i as usize].judged();
        let silent = self.series[i as usize].has(SILENT);
        self.with_series_slots(i, |slot, book, place| match &judged {
            _ if slot.rule.silence().is_some() => {}
            Some(input) => slot.judge(book, place, input),
            None => slot.unknown(book, place, silent),
        });
    }
}

/// Whether a rule is bound to what it is for: it looks now, or keeps what it has raised until it looks again.
fn looks(rule: &Rule, now: Timestamp) -> bool {
    rule.times.holds(now) || rule.times.rests(now)
}

/// Slots brought in line with the rules that are wanted.
struct Aligned {
    /// In the order of the wanted rules; a rule with the same id and version keeps its state.
    slots: Slots,
    /// Which of them are new.
    fresh: Vec<bool>,
    /// What is no longer wanted.
    gone: Slots,
}

impl Aligned {
    fn new(mut old: Slots, wanted: Vec<Arc<Rule>>) -> Self {
        let (mut slots, mut fresh) = (
            Slots::with_capacity(wanted.len()),
            Vec::with_capacity(wanted.len()),
        );
        for rule in wanted {
            let same = |slot: &Slot| {
                slot.rule.id == rule.id && slot.rule.version == rule.version && slot.rule.is_limited_as(&rule)
            };
            let kept = old.iter().position(same).map(|at| old.remove(at));
            fresh.push(kept.is_none());
            let active = kept.and_then(|slot| slot.active);
            slots.push(Slot { rule, active });
        }
        Self {
            slots,
            fresh,
            gone: old,
        }
    }
}
