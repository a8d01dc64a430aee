//! What one reading or one deadline does to its series and device.

use std::time::Duration;

use onemap_model::{Observation, Quality, Timestamp, Value};

use super::ahead::Target;
use super::book::{Book, Owner};
use super::entries::{
    DeviceEntry, JUDGEABLE, LISTED, MAINTAINED, NEVER, NO_DEADLINE, Phase, SEEN, SILENT, SeriesEntry, Slot,
    WEIGHED,
};
use super::slot::Place;
use super::{Engine, messages_of};
use crate::rule::Silence;

impl Engine {
    /// Folds an observation in, after time was brought to its record. `target` is where it goes as far as that was
    /// looked up.
    pub(super) fn take_in(&mut self, seen: &Observation, target: Target) {
        let reading = &seen.reading;
        let now = self.book.now;
        let known = || self.device_index.get(&reading.series.device).copied();
        let device = match target.device.or_else(known) {
            Some(device) => device,
            None => self.add_device(&reading.series.device, &seen.kind, seen.division.as_ref()),
        };
        let entry = &self.devices[device as usize];
        if entry.retired() {
            return;
        }
        if !entry.registered && (entry.kind != seen.kind || entry.division != seen.division) {
            let entry = &mut self.devices[device as usize];
            entry.kind.clone_from(&seen.kind);
            entry.division.clone_from(&seen.division);
            self.bind_device(device, &crate::message::rule_changed());
        }
        let measured = reading.measured_at.ms();
        let patience_ms = self.devices[device as usize].patience_ms(seen.every_s);
        if reading.quality.has(Quality::RESENT) && now.saturating_sub(measured) > patience_ms {
            return;
        }
        let (quantity, channel) = (reading.series.quantity, reading.series.channel);
        let known = || self.find_series(device, quantity, channel);
        let i = match target.series.or_else(known) {
            Some(i) => i,
            None => self.insert_series(device, quantity, channel),
        };
        let value = match &reading.value {
            Value::Number(number) => *number,
            Value::Text(_) => f64::NAN,
        };
        let series = &mut self.series[i as usize];
        // An index that was worked out again with what came late; and what is said anew of the very moment of the last one:
        // stations stamp whole seconds or minutes, and a level or a fire does not wait for the next.
        let worked_out = reading.quality.has(Quality::DERIVED.with(Quality::REVISED));
        let said_anew = !reading.quality.has(Quality::RESENT) && value.to_bits() != series.value.to_bits();
        let again = measured == series.measured_at && (worked_out || said_anew);
        if measured <= series.measured_at && !again {
            return;
        }
        let first = !series.has(SEEN);
        let at_rest = series.is_at_rest() && series.every_s == seen.every_s;
        series.measured_at = measured;
        series.heard_at = now;
        series.every_s = seen.every_s;
        series.position = reading.position;
        series.value = value;
        series.set(SEEN, true);
        series.set(SILENT, false);
        series.set(JUDGEABLE, reading.quality.judgeable());
        series.set(MAINTAINED, reading.quality.has(Quality::MAINTENANCE));
        // What was worked out of a device's readings is nothing that it said.
        let said = !reading.quality.has(Quality::DERIVED);
        let entry = &mut self.devices[device as usize];
        if said {
            entry.heard_at = now;
        }
        let muted = series.has(MAINTAINED) || entry.in_maintenance();
        // Nearly all readings say that all is still well: they put deadlines off, which is no work ([`super::timers`]).
        let series = &self.series[i as usize];
        let rests = at_rest && !muted && series.has(JUDGEABLE) && series.is_quiet(value);
        if first {
            self.first_reading(i);
        }
        if !rests {
            self.judge_series(i, muted);
        }
        self.weigh_series(i, muted, true);
        if !muted {
            self.compare_with_foreseen(i);
        }
        if !muted && said {
            self.with_device_slots(device, |slot, book, place| slot.heard(book, place));
        }
        if !rests || self.series[i as usize].has(WEIGHED) {
            self.settle_series(i);
        }
        self.settle_device(device);
    }

    /// Lets every rule of a series look at its last reading.
    fn judge_series(&mut self, i: u32, muted: bool) {
        let judged = self.series[i as usize].judged();
        self.with_series_slots(i, |slot, book, place| {
            let silence = slot.rule.silence().is_some();
            match (&judged, silence) {
                (_, true) if muted => {}
                (_, true) => slot.heard(book, place),
                (_, false) if muted => slot.calm(),
                (Some(input), false) => slot.judge(book, place, input),
                (None, false) => slot.unknown(book, place, false),
            }
        });
    }

    pub(super) fn with_series_slots(
        &mut self,
        i: u32,
        mut work: impl FnMut(&mut Slot, &mut Book, &Place<'_>),
    ) {
        if self.series[i as usize].slots.is_empty() {
            return;
        }
        let mut slots = std::mem::take(&mut self.series[i as usize].slots);
        let series = &self.series[i as usize];
        let device = &self.devices[series.device as usize];
        let since = if series.heard_at == NEVER {
            device.counted_from
        } else {
            series.heard_at
        };
        let place = Place {
            owner: Owner::Series(i),
            series: &|_| series.key(device),
            about: &|| Some(i),
            division: device.division.as_ref(),
            fences: &device.fences,
            last: series.input(),
            silent_for: Duration::from_millis(self.book.now.saturating_sub(since).max(0) as u64),
            outlook: None,
            findings: &[],
        };
        for slot in &mut slots {
            work(slot, &mut self.book, &place);
        }
        self.series[i as usize].slots = slots;
    }

    pub(super) fn with_device_slots(
        &mut self,
        i: u32,
        mut work: impl FnMut(&mut Slot, &mut Book, &Place<'_>),
    ) {
        if self.devices[i as usize].slots.is_empty() {
            return;
        }
        let mut slots = std::mem::take(&mut self.devices[i as usize].slots);
        let device = &self.devices[i as usize];
        // The first series it ever sent stands for the device: it does not change with the message.
        let first_seen = || {
            let seen = device.indexes().filter(|s| self.series[*s as usize].has(SEEN));
            seen.min()
        };
        let since = if device.heard_at == NEVER {
            device.counted_from
        } else {
            device.heard_at
        };
        let place = Place {
            owner: Owner::Device(i),
            series: &|about| match about {
                Some(about) => self.series[about as usize].key(device),
                None => messages_of(&device.id),
            },
            about: &first_seen,
            division: device.division.as_ref(),
            fences: &device.fences,
            last: None,
            silent_for: Duration::from_millis(self.book.now.saturating_sub(since).max(0) as u64),
            outlook: None,
            findings: &[],
        };
        for slot in &mut slots {
            work(slot, &mut self.book, &place);
        }
        self.devices[i as usize].slots = slots;
    }

    /// The record time at which a silence of a rule is complete.
    pub(super) fn silence_deadline(
        &self,
        device: &DeviceEntry,
        heard_at: i64,
        every_s: u32,
        silence: Option<Silence>,
    ) -> i64 {
        let Some(silence) = silence else {
            return NO_DEADLINE;
        };
        if device.in_maintenance() || device.retired() {
            return NO_DEADLINE;
        }
        let from = heard_at.max(device.counted_from).max(self.listening_since);
        from.saturating_add(device.silence_ms(silence, every_s))
            .saturating_add(1)
    }

    /// When a slot next has something to do by itself.
    fn slot_deadline(&self, device: &DeviceEntry, heard_at: i64, every_s: u32, slot: &Slot) -> i64 {
        let hold = slot.hold_deadline();
        if slot.rule.times.rests(Timestamp::from_ms(self.book.now)) {
            return hold;
        }
        let firing = slot.active.as_ref().is_some_and(|a| a.phase == Phase::Firing);
        if firing {
            hold
        } else {
            hold.min(self.silence_deadline(device, heard_at, every_s, slot.rule.silence()))
        }
    }

    /// When a series becomes silent.
    fn falls_silent(&self, series: &SeriesEntry) -> i64 {
        let device = &self.devices[series.device as usize];
        if !series.has(SEEN) || series.has(SILENT) || device.retired() {
            return NO_DEADLINE;
        }
        // With a cadence each series owes its own values: a live gateway never masks a dead sensor. One
        // without may have nothing to say, and is silent with its device.
        let heard_at = match device.cadence_s(series.every_s) {
            0 => series.heard_at.max(device.heard_at),
            _ => series.heard_at,
        };
        heard_at
            .saturating_add(device.patience_ms(series.every_s))
            .saturating_add(1)
    }

    /// Does the first thing whose time has come at `at`. A deadline that was put off since is only set
    /// again, so that things happen in the order of their deadlines over all series.
    pub(super) fn series_is_due(&mut self, i: u32, at: i64) {
        if self.series[i as usize].armed != at {
            return;
        }
        self.series[i as usize].armed = NO_DEADLINE;
        let series = &self.series[i as usize];
        let device = &self.devices[series.device as usize];
        let slots = series.slots.iter().enumerate();
        let deadlines = slots.map(|(n, slot)| {
            (
                self.slot_deadline(device, series.heard_at, series.every_s, slot),
                n,
            )
        });
        let first = deadlines.chain([(self.falls_silent(series), usize::MAX)]).min();
        let Some((deadline, what)) = first.filter(|(deadline, _)| *deadline <= at) else {
            return self.settle_series(i);
        };
        if what == usize::MAX {
            let muted = device.in_maintenance();
            self.series[i as usize].set(SILENT, true);
            self.with_series_slots(i, |slot, book, place| match (slot.rule.silence(), muted) {
                (Some(_), _) => {}
                (None, true) => slot.calm(),
                (None, false) => slot.unknown(book, place, true),
            });
            self.weigh_series(i, muted, false);
        } else {
            let mut n = 0;
            self.with_series_slots(i, |slot, book, place| {
                if n == what {
                    fire(slot, book, place, deadline);
                }
                n += 1;
            });
        }
        self.settle_series(i);
    }

    pub(super) fn device_is_due(&mut self, i: u32, at: i64) {
        if self.devices[i as usize].armed != at {
            return;
        }
        self.devices[i as usize].armed = NO_DEADLINE;
        let device = &self.devices[i as usize];
        let slots = device.slots.iter().enumerate();
        let first = slots
            .map(|(n, slot)| (self.slot_deadline(device, device.heard_at, 0, slot), n))
            .min();
        if let Some((deadline, what)) = first.filter(|(deadline, _)| *deadline <= at) {
            let mut n = 0;
            self.with_device_slots(i, |slot, book, place| {
                if n == what {
                    fire(slot, book, place, deadline);
                }
                n += 1;
            });
        }
        self.settle_device(i);
    }

    /// After any change of a series: its condition and its next deadline.
    pub(super) fn settle_series(&mut self, i: u32) {
        let series = &self.series[i as usize];
        let device = &self.devices[series.device as usize];
        let condition = series.condition(device);
        let slots = series.slots.iter();
        let deadline = slots
            .map(|slot| self.slot_deadline(device, series.heard_at, series.every_s, slot))
            .chain([self.falls_silent(series)])
            .min()
            .unwrap_or(NO_DEADLINE);
        let series = &mut self.series[i as usize];
        self.timers.arm(&mut series.armed, deadline, Owner::Series(i));
        if series.condition != condition {
            series.condition = condition;
            if !series.has(LISTED) {
                series.set(LISTED, true);
                self.changed.push(i);
            }
        }
    }

    /// After any change of a device: its next deadline.
    pub(super) fn settle_device(&mut self, i: u32) {
        let device = &self.devices[i as usize];
        let slots = device.slots.iter();
        let deadline = slots
            .map(|slot| self.slot_deadline(device, device.heard_at, 0, slot))
            .min();
        let device = &mut self.devices[i as usize];
        self.timers.arm(
            &mut device.armed,
            deadline.unwrap_or(NO_DEADLINE),
            Owner::Device(i),
        );
    }
}

/// Does what a slot's deadline is for.
fn fire(slot: &mut Slot, book: &mut Book, place: &Place<'_>, deadline: i64) {
    if slot.hold_deadline() == deadline {
        slot.hold_is_over(book, place);
    } else {
        slot.silence_is_here(book, place);
    }
}
