//! Rules that look ahead: what forecasts say of a series, and what became of what they said.
//!
//! They stand apart from the rules about readings. A forecast makes its series neither normal nor abnormal, and most
//! series have none.

use std::sync::Arc;
use std::time::Duration;

use onemap_model::alert::Input;
use onemap_model::forecast::{Lead, OWN};
use onemap_model::{Forecast, Quantity, SeriesKey, Timestamp};

use super::Engine;
use super::book::{Book, Owner};
use super::entries::{NEVER, NO_DEADLINE, Slot, ms};
use super::slot::Place;
use crate::rule::{Outlook, Prospect, Rule, Side, Texts};

/// A forecast stands until this many of its steps have gone by without another.
const STEPS: i64 = 2;

/// A series that is foreseen.
pub(super) struct Foreseen {
    pub(super) device: u32,
    pub(super) quantity: Quantity,
    pub(super) channel: u16,
    /// The earliest entry in the timers, [`NO_DEADLINE`] when there is none.
    pub(super) armed: i64,
    /// The rules that look at it, in the order of their ids.
    pub(super) watches: Vec<Watch>,
}

/// A rule that looks at the forecasts of one series.
pub(super) struct Watch {
    pub(super) slot: Slot,
    pub(super) seen: Option<Seen>,
    pub(super) track: Track,
    /// Since when something is foreseen, and until when it is to come; `None` while nothing is.
    pub(super) due: Option<(i64, i64)>,
    /// Whether the last value was beyond the limit.
    pub(super) is_beyond: Option<bool>,
}

/// The newest forecast.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) origin: i64,
    /// Record time at which it came.
    pub(super) heard_at: i64,
    /// Record time until which it stands.
    pub(super) until: i64,
    pub(super) position: u64,
    /// The value at the origin, where it is known.
    pub(super) at_origin: Option<f64>,
    /// What it says, by time.
    pub(super) points: Vec<Point>,
    /// What that comes to in the time that the rule is about; `None` when it says nothing of it, or is too old by now.
    pub(super) ahead: Option<Ahead>,
}

/// What is foreseen for a time: of the rule's quantile, and of the tenths that cross the limit first and last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) at: i64,
    pub(super) value: f64,
    pub(super) tenths: [Option<f64>; 2],
}

/// What is foreseen of the time that a rule is about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ahead {
    /// The highest value there, or the lowest: of the rule's quantile.
    pub(super) worst: f64,
    /// Beyond the limit at the origin already.
    pub(super) is_beyond: bool,
    /// When the limit is crossed: by the rule's quantile, by the one in ten that are first, and the one in ten that are last.
    pub(super) crosses: [Option<i64>; 3],
}

/// How forecasts that foresaw a crossing did here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Track {
    /// The limit was crossed in time.
    pub(super) n_true: u32,
    /// It was not.
    pub(super) n_false: u32,
}

impl Watch {
    pub(super) fn new(rule: Arc<Rule>) -> Self {
        Self {
            slot: Slot { rule, active: None },
            seen: None,
            track: Track::default(),
            due: None,
            is_beyond: None,
        }
    }

    /// The last forecast as evidence.
    pub(super) fn input(&self) -> Option<Input> {
        self.seen.as_ref()?.input()
    }

    /// When it next has something to do by itself: a hold ends, the forecast is too old, or what it says of a later time
    /// comes into what the rule is about, or has passed.
    fn deadline(&self, now: i64) -> i64 {
        let asked = self.slot.rule.looks_ahead();
        let looked = self
            .seen
            .as_ref()
            .zip(asked)
            .map(|(seen, asked)| seen.deadline(asked, now));
        self.slot.hold_deadline().min(looked.unwrap_or(NO_DEADLINE))
    }

    /// Looks at the forecast as of now.
    fn look(&mut self, now: i64) {
        let (Some(seen), Some(asked)) = (&mut self.seen, self.slot.rule.looks_ahead()) else {
            return;
        };
        seen.look(asked, now);
        let foresees = |ahead: Ahead| asked.side(ahead.worst) == Side::Beyond;
        if seen.ahead.is_some_and(foresees) && self.due.is_none() && self.is_beyond == Some(false) {
            self.due = Some((now, now.saturating_add(ms(asked.within))));
        }
    }

    /// Takes a value that was measured: what was foreseen has come, or has not.
    fn observed(&mut self, measured: i64, value: f64) {
        let Some(side) = self.slot.rule.side(value) else {
            return;
        };
        let is_beyond = side == Side::Beyond;
        self.is_beyond = Some(is_beyond);
        match (self.due, is_beyond) {
            (Some((_, by)), _) if measured > by => {
                self.due = None;
                self.track.n_false += 1;
            }
            // It was so before anybody foresaw it, and came late: nothing is to be said of that.
            (Some((since, _)), true) if measured <= since => self.due = None,
            (Some(_), true) => {
                self.due = None;
                self.track.n_true += 1;
            }
            _ => {}
        }
    }

    fn outlook(&self, now: i64) -> Option<Outlook> {
        let ahead = self.seen.as_ref()?.ahead?;
        let until = |at: i64| Duration::from_millis(at.saturating_sub(now).max(0) as u64);
        let [middle, first, last] = ahead.crosses.map(|at| at.map(until));
        Some(Outlook {
            is_beyond: ahead.is_beyond,
            crosses_in: middle,
            crosses_at: ahead.crosses[0].map(Timestamp::from_ms),
            earliest: first,
            latest: last,
            n_true: self.track.n_true,
            n_false: self.track.n_false,
        })
    }
}

impl Seen {
    /// A forecast that is asked for; `None` when it is of another maker, or knows no more than the one of before.
    pub(super) fn of(
        asked: &Prospect,
        forecast: &Forecast,
        before: Option<&Self>,
        now: i64,
        position: u64,
    ) -> Option<Self> {
        let origin = forecast.origin.ms();
        let is_late = before.is_some_and(|seen| seen.origin >= origin);
        if *asked.source != *forecast.source || is_late {
            return None;
        }
        let points = points(asked, forecast);
        // Own ones come at each step; how often others come is not known, and theirs stand as long as they say something.
        let last = points.last().map_or(now, |point| point.at);
        let until = match (&*asked.source, forecast.step_s) {
            (OWN, step_s) if step_s > 0 => now.saturating_add(STEPS * i64::from(step_s) * 1000),
            _ => last,
        };
        Some(Self {
            origin,
            heard_at: now,
            until,
            position,
            at_origin: forecast.at_origin,
            points,
            ahead: None,
        })
    }

    /// Looks at it as of now.
    pub(super) fn look(&mut self, asked: &Prospect, now: i64) {
        self.ahead = match now > self.until {
            true => None,
            // Its last lead has passed and the next forecast is about to come: what it said stands.
            false => ahead(asked, self, now).or(self.ahead),
        };
    }

    /// When it is next to be looked at: it is too old, or what it says of a later time comes into what is asked, or has passed.
    pub(super) fn deadline(&self, asked: &Prospect, now: i64) -> i64 {
        let ends = self.ahead.map_or(NO_DEADLINE, |_| self.until.saturating_add(1));
        let within = ms(asked.within);
        let turns = self.points.iter();
        let turns = turns.flat_map(|point| [point.at.saturating_sub(within), point.at]);
        let next = turns.filter(|at| *at > now).min().unwrap_or(NO_DEADLINE);
        ends.min(if now > self.until { NO_DEADLINE } else { next })
    }

    /// What it says of the time that is asked for, as evidence.
    pub(super) fn input(&self) -> Option<Input> {
        Some(Input {
            position: self.position,
            measured_at: Timestamp::from_ms(self.origin),
            value: self.ahead?.worst,
            of: None,
        })
    }
}

impl Engine {
    /// Takes a forecast as it was issued; its position is the transitions'. One that knows no more than the last one of its
    /// maker is late and changes nothing; so is one of a device that is not known.
    pub fn foresee(
        &mut self,
        now: Timestamp,
        position: u64,
        forecast: &Forecast,
    ) -> Vec<onemap_model::Transition> {
        self.advance(now, position);
        if let Some(device) = self.device_index.get(&forecast.series.device).copied()
            && !self.devices[device as usize].retired()
        {
            self.take_forecast(device, position, forecast);
        }
        std::mem::take(&mut self.book.out)
    }

    fn take_forecast(&mut self, device: u32, position: u64, forecast: &Forecast) {
        self.watch_forecast(device, position, forecast);
        self.weigh_forecast(device, position, forecast);
    }

    fn watch_forecast(&mut self, device: u32, position: u64, forecast: &Forecast) {
        let SeriesKey {
            quantity, channel, ..
        } = forecast.series;
        let i = match self.find_foreseen(device, quantity, channel) {
            Some(i) => i,
            None => {
                let rules = self.looking(device, quantity, channel);
                if rules.is_empty() {
                    return;
                }
                let i = u32::try_from(self.foreseen.len()).expect("fewer than 2^32 series fit into memory");
                self.foreseen.push(Foreseen {
                    device,
                    quantity,
                    channel,
                    armed: NO_DEADLINE,
                    watches: rules.into_iter().map(Watch::new).collect(),
                });
                self.foreseen_of.entry(device).or_default().push(i);
                i
            }
        };
        // What is known of the series itself.
        let judged = self
            .find_series(device, quantity, channel)
            .and_then(|i| self.series[i as usize].judged());
        let (now, muted) = (self.book.now, self.devices[device as usize].in_maintenance());
        self.with_watches(i, |watch, book, place| {
            let Some(asked) = watch.slot.rule.looks_ahead() else {
                return;
            };
            let Some(seen) = Seen::of(asked, forecast, watch.seen.as_ref(), now, position) else {
                return;
            };
            watch.seen = Some(seen);
            if watch.is_beyond.is_none()
                && let Some(last) = &judged
            {
                watch.is_beyond = watch.slot.rule.side(last.value).map(|side| side == Side::Beyond);
            }
            watch.look(now);
            if muted {
                return watch.slot.calm();
            }
            let outlook = watch.outlook(now);
            let place = Place {
                last: watch.input(),
                outlook: outlook.as_ref(),
                silent_for: Duration::ZERO,
                ..place
            };
            match watch.input() {
                Some(input) => watch.slot.judge(book, &place, &input),
                None => watch.slot.unknown(book, &place, false),
            }
        });
        self.settle_foreseen(i);
    }

    /// Takes a value that rules which look ahead have spoken of.
    pub(super) fn compare_with_foreseen(&mut self, series: u32) {
        if self.foreseen.is_empty() {
            return;
        }
        let entry = &self.series[series as usize];
        let found = self.find_foreseen(entry.device, entry.quantity, entry.channel);
        let (Some(i), Some(input)) = (found, entry.judged()) else {
            return;
        };
        for watch in &mut self.foreseen[i as usize].watches {
            watch.observed(input.measured_at.ms(), input.value);
        }
    }

    /// The index of a series that is foreseen.
    pub(super) fn find_foreseen(&self, device: u32, quantity: Quantity, channel: u16) -> Option<u32> {
        let of_it = self.foreseen_of.get(&device)?;
        let is_it = |i: &&u32| {
            let entry = &self.foreseen[**i as usize];
            (entry.quantity, entry.channel) == (quantity, channel)
        };
        of_it.iter().find(is_it).copied()
    }

    /// The rules in force that look ahead at a series.
    fn looking(&self, device: u32, quantity: Quantity, channel: u16) -> Vec<Arc<Rule>> {
        let device = &self.devices[device as usize];
        if device.retired() {
            return Vec::new();
        }
        let of_it = |rule: &&Arc<Rule>| {
            rule.quantity() == Some(quantity)
                && rule.channel().is_none_or(|own| own == channel)
                && rule
                    .applies_to
                    .selects(&device.id, &device.kind, device.division.as_ref(), &device.fences)
        };
        let rules = self.looking_ahead.iter().filter(of_it);
        rules
            .filter_map(|rule| self.gauges.own(rule, device))
            .filter(|rule| rule.channel().is_none_or(|own| own == channel))
            .collect()
    }

    /// Brings what looks ahead at a device's series in line with the rules in force. A rule with the same id and version
    /// keeps its state and its record; another begins with the next forecast.
    pub(super) fn bind_foreseen(&mut self, device: u32, because: &Texts) {
        for i in self.foreseen_of.get(&device).cloned().unwrap_or_default() {
            let entry = &self.foreseen[i as usize];
            let wanted = self.looking(device, entry.quantity, entry.channel);
            let mut old = std::mem::take(&mut self.foreseen[i as usize].watches);
            let mut kept = Vec::with_capacity(wanted.len());
            for rule in wanted {
                let same = |watch: &Watch| {
                    watch.slot.rule.id == rule.id
                        && watch.slot.rule.version == rule.version
                        && watch.slot.rule.is_limited_as(&rule)
                };
                match old.iter().position(same).map(|at| old.remove(at)) {
                    Some(mut watch) => {
                        watch.slot.rule = rule;
                        kept.push(watch);
                    }
                    None => kept.push(Watch::new(rule)),
                }
            }
            self.foreseen[i as usize].watches = old;
            self.with_watches(i, |watch, book, place| {
                let place = Place {
                    last: watch.input(),
                    ..place
                };
                watch.slot.withdraw(book, &place, because);
            });
            self.foreseen[i as usize].watches = kept;
            self.settle_foreseen(i);
        }
    }

    /// A device's being under maintenance begins: holds that run stop.
    pub(super) fn calm_foreseen(&mut self, device: u32) {
        for i in self.foreseen_of.get(&device).into_iter().flatten() {
            let watches = &mut self.foreseen[*i as usize].watches;
            watches.iter_mut().for_each(|watch| watch.slot.calm());
        }
    }

    /// A device is in use again: what is foreseen of it is judged as it stands.
    pub(super) fn judge_foreseen(&mut self, device: u32) {
        let now = self.book.now;
        for i in self.foreseen_of.get(&device).cloned().unwrap_or_default() {
            self.with_watches(i, |watch, book, place| {
                watch.look(now);
                let outlook = watch.outlook(now);
                if let Some(input) = watch.input() {
                    let place = Place {
                        last: Some(input.clone()),
                        outlook: outlook.as_ref(),
                        ..place
                    };
                    watch.slot.judge(book, &place, &input);
                }
            });
            self.settle_foreseen(i);
        }
    }

    pub(super) fn foreseen_is_due(&mut self, i: u32, at: i64) {
        if self.foreseen[i as usize].armed != at {
            return;
        }
        self.foreseen[i as usize].armed = NO_DEADLINE;
        let muted = self.devices[self.foreseen[i as usize].device as usize].in_maintenance();
        let now = self.book.now;
        self.with_watches(i, |watch, book, place| {
            if watch.deadline(at - 1) > at {
                return;
            }
            let had = watch.seen.as_ref().and_then(|seen| seen.ahead);
            let input = watch.input();
            watch.look(at);
            let outlook = watch.outlook(now);
            let last = watch.input();
            if watch.slot.hold_deadline() <= at {
                let place = Place {
                    last: last.clone().or(input.clone()),
                    outlook: outlook.as_ref(),
                    ..place
                };
                watch.slot.hold_is_over(book, &place);
            }
            if muted {
                return watch.slot.calm();
            }
            let heard_at = watch.seen.as_ref().map_or(at, |seen| seen.heard_at);
            match (had, last) {
                // What it says of a later time has come near.
                (_, Some(last)) if watch.seen.as_ref().and_then(|seen| seen.ahead) != had => {
                    let place = Place {
                        last: Some(last.clone()),
                        outlook: outlook.as_ref(),
                        ..place
                    };
                    watch.slot.judge(book, &place, &last);
                }
                (Some(_), None) => {
                    let place = Place {
                        last: input,
                        silent_for: Duration::from_millis(at.saturating_sub(heard_at).max(0) as u64),
                        ..place
                    };
                    watch.slot.unknown(book, &place, true);
                }
                _ => {}
            }
        });
        self.settle_foreseen(i);
    }

    /// After any change of what is foreseen: its next deadline.
    pub(super) fn settle_foreseen(&mut self, i: u32) {
        let (entry, now) = (&mut self.foreseen[i as usize], self.book.now);
        let deadline = entry.watches.iter().map(|watch| watch.deadline(now)).min();
        self.timers.arm(
            &mut entry.armed,
            deadline.unwrap_or(NO_DEADLINE),
            Owner::Foreseen(i),
        );
    }

    fn with_watches(&mut self, i: u32, mut work: impl FnMut(&mut Watch, &mut Book, Place<'_>)) {
        let mut watches = std::mem::take(&mut self.foreseen[i as usize].watches);
        let entry = &self.foreseen[i as usize];
        let device = &self.devices[entry.device as usize];
        let key = entry.key(&device.id);
        for watch in &mut watches {
            let place = Place {
                owner: Owner::Foreseen(i),
                series: &|_| key.clone(),
                about: &|| None,
                division: device.division.as_ref(),
                fences: &device.fences,
                last: None,
                silent_for: Duration::ZERO,
                outlook: None,
                findings: &[],
            };
            work(watch, &mut self.book, place);
        }
        self.foreseen[i as usize].watches = watches;
    }
}

impl Foreseen {
    pub(super) fn key(&self, device: &onemap_model::DeviceId) -> SeriesKey {
        SeriesKey {
            device: device.clone(),
            quantity: self.quantity,
            channel: self.channel,
        }
    }
}

/// The value of a quantile; between those that are given it goes straight, beyond them nothing is said.
fn quantile(lead: &Lead, level: f64) -> Option<f64> {
    const NEAR: f64 = 1e-9;
    if (level - 0.5).abs() < NEAR {
        return Some(lead.middle());
    }
    let at = lead.quantiles.partition_point(|(known, _)| *known < level - NEAR);
    let (upper, above) = *lead.quantiles.get(at)?;
    if (upper - level).abs() < NEAR {
        return Some(above);
    }
    let (lower, below) = *lead.quantiles.get(at.checked_sub(1)?)?;
    Some(below + (above - below) * (level - lower) / (upper - lower))
}

/// What a forecast says by time, as a rule asks for it; nothing where it has not the quantile.
fn points(asked: &Prospect, forecast: &Forecast) -> Vec<Point> {
    let tenths = if asked.is_above { [0.9, 0.1] } else { [0.1, 0.9] };
    let point = |lead: &Lead| {
        Some(Point {
            at: lead.at.ms(),
            value: quantile(lead, asked.quantile)?,
            tenths: tenths.map(|level| quantile(lead, level)),
        })
    };
    forecast.leads.iter().filter_map(point).collect()
}

/// What a forecast says of the time that a rule is about: from now on, as far as the rule looks.
fn ahead(asked: &Prospect, seen: &Seen, now: i64) -> Option<Ahead> {
    let last = now.saturating_add(ms(asked.within));
    let within = seen
        .points
        .iter()
        .filter(|point| point.at > now && point.at <= last);
    let values = within.map(|point| point.value);
    let worst = match asked.is_above {
        true => values.reduce(f64::max),
        false => values.reduce(f64::min),
    }?;
    let is_beyond = |value: f64| asked.side(value) == Side::Beyond;
    let start = seen.at_origin.map(|value| (seen.origin, value));
    let crosses = |of: &dyn Fn(&Point) -> Option<f64>| {
        let mut before = start;
        for point in seen.points.iter().filter(|point| point.at <= last) {
            let (at, value) = (point.at, of(point)?);
            if at > now && is_beyond(value) {
                let Some((t, was)) = before.filter(|(_, was)| !is_beyond(*was)) else {
                    return Some(at.min(last));
                };
                let share = ((asked.limit.raise - was) / (value - was)).clamp(0.0, 1.0);
                return Some(((t as f64 + share * (at - t) as f64) as i64).max(now));
            }
            before = Some((at, value));
        }
        None
    };
    Some(Ahead {
        worst,
        is_beyond: start.is_some_and(|(_, value)| is_beyond(value)),
        crosses: [
            crosses(&|point| Some(point.value)),
            crosses(&|point| point.tenths[0]),
            crosses(&|point| point.tenths[1]),
        ],
    })
}

/// A time or none, as a snapshot keeps it.
pub(super) fn kept(time: Option<i64>) -> i64 {
    time.unwrap_or(NEVER)
}

/// What [`kept`] kept.
pub(super) fn held(time: i64) -> Option<i64> {
    Some(time).filter(|time| *time != NEVER)
}
