//! What was wrong in a time whose values came late, found when no more of them come: a historical event that nobody is
//! called for.
//!
//! A value that comes late and may have been wrong opens its time; a tick looks at what has settled, with the values that the
//! history had by then in the order in which they were measured. Made of the journal and of what the history knew at a record's
//! time, so that a replay finds the same. What a person imports is known to him and opens nothing.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use foldhash::HashMap;
use onemap_dashboards::hindsight::{around, quantities, reach, selects};
use onemap_model::alert::Input;
use onemap_model::{
    AlertId, Device, DeviceId, DeviceState, DivisionCode, Hydrology, Observation, Past, Quality, Quantity,
    Reading, RuleId, SeriesKey, Timestamp, Transition,
};
use onemap_rules::{Episode, Hindsight, Rule};
use onemap_store::history::{Kind, Outcome, Point, Which};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::POISON;
use super::fold::Fold;
use super::patience::patiently;

/// So long after the last value that came late its time is looked at.
const SETTLE_MS: i64 = 60_000;
/// And at the latest so long after the first.
const LONGEST_MS: i64 = 15 * 60_000;
/// What goes on at the end of what is known is looked at again after this.
const AGAIN_MS: i64 = 10 * 60_000;
/// And told as far as it is known when it has gone on for so long.
const GIVE_UP_MS: i64 = 24 * 3_600_000;
/// What was received so shortly before a tick is not looked at: the history keeps arrivals by the second.
const UNSEEN: Duration = Duration::from_secs(2);
/// What is looked at behind the last value at first, beside the reach of the rules.
const BEHIND: Duration = Duration::from_secs(3_600);
/// Values that are looked at together, those of the devices that rules compare with included. More are looked at in pieces.
const N_VALUES: usize = 40_000;
/// When so many were looked at a tick goes on; with the last piece less than a quarter of a second in which nothing else is
/// folded.
const N_VALUES_OF_TICK: usize = 20_000;
/// Frames that are remembered of one time, for the evidence.
const N_POSITIONS: usize = 256;
/// Layout of [`Late::encode`].
const FORMAT: u32 = 1;

/// A time of a series that is to be looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Span {
    /// Measured times (ms) of the first and the last value that may have been wrong.
    first: i64,
    last: i64,
    /// Record time (ms) at which it was opened, and at which it is due.
    since: i64,
    due: i64,
    /// Measured times and the positions of their frames.
    positions: Vec<(i64, u64)>,
}

/// The times that are to be looked at, by series.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Late {
    spans: HashMap<SeriesKey, Span>,
    by_due: BTreeSet<(i64, SeriesKey)>,
}

#[derive(Serialize, Deserialize)]
struct Encoded<S> {
    format: u32,
    spans: Vec<(SeriesKey, S)>,
}

impl Late {
    fn touch(&mut self, series: &SeriesKey, measured: i64, position: u64, now: i64) {
        let span = match self.spans.get_mut(series) {
            Some(span) => span,
            None => self.spans.entry(series.clone()).or_insert(Span {
                first: measured,
                last: measured,
                since: now,
                due: i64::MAX,
                positions: Vec::new(),
            }),
        };
        (span.first, span.last) = (span.first.min(measured), span.last.max(measured));
        if span.positions.len() < N_POSITIONS {
            span.positions.push((measured, position));
        }
        let due = (now + SETTLE_MS).min(span.since.max(now - LONGEST_MS) + LONGEST_MS);
        if due != span.due {
            self.by_due.remove(&(span.due, series.clone()));
            span.due = due;
            self.by_due.insert((due, series.clone()));
        }
    }

    /// Takes the first one that is due.
    fn take(&mut self, now: i64) -> Option<(SeriesKey, Span)> {
        let (due, _) = self.by_due.first()?;
        if *due > now {
            return None;
        }
        let (_, series) = self.by_due.pop_first()?;
        let span = self.spans.remove(&series)?;
        Some((series, span))
    }

    /// Puts one back that is to be looked at again.
    fn put_back(&mut self, series: SeriesKey, span: Span) {
        self.by_due.insert((span.due, series.clone()));
        self.spans.insert(series, span);
    }

    /// Its bytes, for the checkpoint; equal for equal contents.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut spans: Vec<(SeriesKey, &Span)> = self
            .spans
            .iter()
            .map(|(series, span)| (series.clone(), span))
            .collect();
        spans.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        serde_json::to_vec(&Encoded {
            format: FORMAT,
            spans,
        })
        .expect("series and numbers are text")
    }

    /// What was encoded.
    ///
    /// # Errors
    /// Bytes that are none of this version's.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let Encoded { format, spans } =
            serde_json::from_slice::<Encoded<Span>>(bytes).context("times of late values cannot be read")?;
        ensure!(
            format == FORMAT,
            "times of late values are of format {format}, not {FORMAT}"
        );
        let mut late = Self::default();
        for (series, span) in spans {
            late.put_back(series, span);
        }
        Ok(late)
    }
}

impl Span {
    fn position(&self, measured_at: Timestamp) -> u64 {
        let found = self
            .positions
            .iter()
            .rev()
            .find(|(at, _)| *at == measured_at.ms());
        found.map_or(0, |(_, position)| *position)
    }
}

/// An alert or a historical event that is known already.
struct Told {
    id: AlertId,
    rule: RuleId,
    series: SeriesKey,
    from: Timestamp,
    /// `None` while it goes on.
    until: Option<Timestamp>,
    past: Option<Past>,
    /// What it was told with.
    inputs: Vec<Input>,
}

/// The position of what was told before of a value.
fn shown_before(inputs: &[Input], at: Timestamp) -> u64 {
    let found = inputs
        .iter()
        .find(|input| input.measured_at == at && input.of.is_none());
    found.map_or(0, |input| input.position)
}

impl Told {
    fn meets(&self, episode: &Episode) -> bool {
        self.rule == episode.rule
            && self.series == episode.series
            && episode.meets(self.from, self.until.unwrap_or(Timestamp::from_ms(i64::MAX)))
    }
}

/// A device whose values are looked at, as the register has it now.
struct Witness {
    device: Device,
    division: Option<DivisionCode>,
    /// For so many seconds it may say nothing; 0 is not stated.
    silent_after_s: u32,
    hydrology: Option<Arc<Hydrology>>,
}

impl Fold<'_> {
    /// Opens the times of values that came too late to be judged and may have been wrong.
    pub(super) fn opens_late(&mut self, readings: &[Reading], outcomes: &[Outcome]) {
        for (reading, outcome) in readings.iter().zip(outcomes) {
            let is_late = match outcome.kind {
                Kind::Duplicate => false,
                Kind::New => reading.quality.has(Quality::BACKFILL),
                Kind::Late | Kind::Revision => true,
            };
            let Some(value) = reading
                .value
                .number()
                .filter(|_| is_late && reading.quality.judgeable())
            else {
                continue;
            };
            if self.engine.may_have_been_wrong(&reading.series, value) {
                let (measured, now) = (reading.measured_at.ms(), self.now.ms());
                self.late.touch(&reading.series, measured, reading.position, now);
            }
        }
    }

    /// Looks at the times that have settled, as many as a tick has room for; the rest follows at the next.
    pub(super) fn look_back(&mut self, position: u64) -> Result<()> {
        let mut n_seen = 0;
        while n_seen < N_VALUES_OF_TICK
            && let Some((series, span)) = self.late.take(self.now.ms())
        {
            let told = self.looked_at(position, &series, span, &mut n_seen)?;
            self.judged(told);
        }
        Ok(())
    }

    fn looked_at(
        &mut self,
        position: u64,
        series: &SeriesKey,
        span: Span,
        n_seen: &mut usize,
    ) -> Result<Vec<Transition>> {
        let rules = self.rules_for(series);
        if rules.is_empty() {
            return Ok(Vec::new());
        }
        let last_known = self.now.saturating_sub(UNSEEN);
        let reach = rules.iter().map(|rule| reach(rule)).max().unwrap_or_default();
        let first = Timestamp::from_ms(span.first);
        let mut from = first.saturating_sub(reach);
        let mut behind = reach.max(BEHIND);
        // What is still wrong at the end is followed further, until it is over or nothing more is known.
        let (episodes, cut) = loop {
            let end = (Timestamp::from_ms(span.last) + behind).min(last_known);
            let (hindsight, cut) = self.seen_again(&rules, series, (from, end), n_seen)?;
            // There is no room for all that was before.
            if cut.is_some_and(|cut| cut <= first) && from < first {
                from = first;
                continue;
            }
            if end >= last_known || cut.is_some() || hindsight.is_calm() {
                break (hindsight.finish(), cut);
            }
            behind *= 4;
        };
        let (told, waits) = self.found(position, series, &span, episodes, cut.is_some());
        match cut.map(Timestamp::ms) {
            // The rest of what is too much to be looked at together.
            Some(cut) if cut > span.first && cut < span.last => {
                let (first, due) = (cut, self.now.ms());
                self.late.put_back(series.clone(), Span { first, due, ..span });
            }
            Some(cut) if cut <= span.first => {
                warn!(%series, "more values lie before what came late than are looked at; it is not judged");
            }
            _ if waits => {
                let due = self.now.ms() + AGAIN_MS;
                self.late.put_back(series.clone(), Span { due, ..span });
            }
            _ => {}
        }
        Ok(told)
    }

    /// What is to be told of what was found, and whether something of it is to be waited for; `is_cut` when more is looked at
    /// later.
    fn found(
        &self,
        position: u64,
        series: &SeriesKey,
        span: &Span,
        episodes: Vec<Episode>,
        is_cut: bool,
    ) -> (Vec<Transition>, bool) {
        let (first, last) = (Timestamp::from_ms(span.first), Timestamp::from_ms(span.last));
        let known = self.told_of(&series.device);
        let is_given_up = is_cut || self.now.ms() - span.since >= GIVE_UP_MS;
        let (mut told, mut waits) = (Vec::new(), false);
        // Of others that rules compare it with nothing came late.
        let is_of_it =
            |episode: &Episode| episode.series.device == series.device && episode.meets(first, last);
        for mut episode in episodes.into_iter().filter(is_of_it) {
            let same = || known.iter().filter(|known| known.meets(&episode));
            if same().any(|known| known.past.is_none()) {
                continue;
            }
            if episode.goes_on && !episode.is_lost && !is_given_up {
                waits = true;
                continue;
            }
            let before = same().next();
            let id = before.map(|before| before.id);
            let shown = before.map_or(&[][..], |before| &before.inputs);
            if before
                .and_then(|before| before.past)
                .is_some_and(|past| !episode.join(&past))
            {
                continue;
            }
            episode.set_positions(|of, at| match span.position(at) {
                own if of == series && own != 0 => own,
                _ => shown_before(shown, at),
            });
            told.push(episode.told(*self.now, position, id));
        }
        (told, waits)
    }

    /// The rules in force that can be asked of a series' values.
    fn rules_for(&mut self, series: &SeriesKey) -> Vec<Arc<Rule>> {
        let Some((device, _)) = self.known.find(self.views, series.device.as_str()) else {
            return Vec::new();
        };
        let register = self.views.register.read().expect(POISON);
        self.engine
            .rules()
            .filter(|rule| quantities(rule).any(|quantity| quantity == series.quantity))
            .filter(|rule| rule.looks_at_values() && selects(rule, &register, &device))
            .cloned()
            .collect()
    }

    /// The alerts and historical events of a device that are known.
    fn told_of(&self, device: &DeviceId) -> Vec<Told> {
        let board = self.views.board.read().expect(POISON);
        let of_device = board.of_device(device);
        of_device
            .map(|alert| {
                let began = alert.inputs.iter().filter(|input| input.of.is_none());
                let began = began.map(|input| input.measured_at).min();
                Told {
                    id: alert.id,
                    rule: alert.rule.clone(),
                    series: alert.series.clone(),
                    from: began.map_or(alert.raised_at, |began| began.min(alert.raised_at)),
                    until: alert.ended_at,
                    past: alert.past,
                    inputs: alert.inputs.clone(),
                }
            })
            .collect()
    }

    /// Lets rules look at what was measured in a time, and until when they did where there was too much of it.
    fn seen_again(
        &self,
        rules: &[Arc<Rule>],
        series: &SeriesKey,
        (from, end): (Timestamp, Timestamp),
        n_seen: &mut usize,
    ) -> Result<(Hindsight, Option<Timestamp>)> {
        let mut hindsight = Hindsight::new(from, rules.iter().cloned());
        let asked: BTreeSet<Quantity> = rules.iter().flat_map(|rule| quantities(rule)).collect();
        let (mut seen, mut cut) = (Vec::new(), None::<Timestamp>);
        let witnesses = self.witnesses(rules, series);
        let most = self.room_for(&witnesses, &asked, series);
        for Witness {
            device,
            division,
            silent_after_s,
            hydrology,
        } in witnesses
        {
            hindsight.set_device(from, &device, division.as_ref(), silent_after_s);
            hindsight.set_stages(from, &device.id, hydrology.as_deref());
            for info in self.views.history.series_of(&device.id) {
                if info.key != *series && !asked.contains(&info.key.quantity) {
                    continue;
                }
                let every_s = self.engine.every_s(&info.key);
                let first = seen.len();
                let what = "values that came late are read";
                let is_whole = patiently(self.views, self.patience, what, || {
                    seen.truncate(first);
                    self.values(&info, (from, end), &mut |point| {
                        seen.push(observation(&info.key, point, &device, division.as_ref(), every_s));
                        seen.len() < first + most
                    })
                })?;
                if let (false, Some(last)) = (is_whole, seen.last()) {
                    let last = last.reading.measured_at;
                    cut = Some(cut.map_or(last, |cut| cut.min(last)));
                }
            }
        }
        *n_seen += seen.len();
        seen.sort_by(|a, b| {
            let (a, b) = (&a.reading, &b.reading);
            (a.measured_at, &a.series).cmp(&(b.measured_at, &b.series))
        });
        let end = cut.unwrap_or(end);
        let until = seen.partition_point(|seen| seen.reading.measured_at <= end);
        seen[..until].iter().for_each(|seen| hindsight.observe(seen));
        hindsight.tick(end);
        Ok((hindsight, cut))
    }

    /// How many values of each series there is room for.
    fn room_for(&self, witnesses: &[Witness], asked: &BTreeSet<Quantity>, series: &SeriesKey) -> usize {
        let of = |witness: &Witness| {
            let all = self.views.history.series_of(&witness.device.id).into_iter();
            all.filter(|info| info.key == *series || asked.contains(&info.key.quantity))
                .count()
        };
        let n: usize = witnesses.iter().map(of).sum();
        (N_VALUES / n.max(1)).max(2)
    }

    /// The device of a series and those that rules compare it with.
    fn witnesses(&self, rules: &[Arc<Rule>], series: &SeriesKey) -> Vec<Witness> {
        let register = self.views.register.read().expect(POISON);
        let mut devices = BTreeSet::from([series.device.clone()]);
        for rule in rules {
            devices.extend(around(&register, series, rule));
        }
        let of = |id: DeviceId| {
            let mut device = Device::clone(register.view.devices.get(&id)?);
            device.cadence_s = register.cadence_s(&device);
            // Of a maintenance then its values speak.
            if device.state == DeviceState::Maintenance {
                (device.state, device.maintenance) = (DeviceState::Active, None);
            }
            Some(Witness {
                device,
                division: register.divisions.get(&id).cloned(),
                silent_after_s: register.silent_after.get(&id).copied().unwrap_or(0),
                hydrology: register.view.hydrology.get(&id).cloned(),
            })
        };
        devices.into_iter().filter_map(of).collect()
    }

    /// The values of a series from a time to another, both included, as they were known by now; false when `take` had enough.
    fn values(
        &self,
        info: &onemap_store::history::SeriesInfo,
        (from, end): (Timestamp, Timestamp),
        take: &mut dyn FnMut(Point) -> bool,
    ) -> Result<bool> {
        let which = Which {
            known_at: Some(self.now.saturating_sub(UNSEEN)),
            takes: None,
        };
        let (mut is_whole, behind) = (true, Timestamp::from_ms(end.ms() + 1));
        self.views
            .history
            .scan_of(info.id, from, behind, which, &mut |point| {
                is_whole = take(point);
                match is_whole {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                }
            })?;
        Ok(is_whole)
    }
}

fn observation(
    series: &SeriesKey,
    point: Point,
    device: &Device,
    division: Option<&DivisionCode>,
    every_s: u32,
) -> Observation {
    Observation {
        reading: Reading {
            series: series.clone(),
            measured_at: point.measured_at,
            period: Duration::ZERO,
            received_at: point.measured_at,
            value: point.value,
            quality: point.quality.without(Quality::RESENT.with(Quality::BACKFILL)),
            position: 0,
        },
        kind: device.kind.clone(),
        division: division.cloned(),
        every_s,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn series(device: &str) -> SeriesKey {
        SeriesKey {
            device: DeviceId::new(device).unwrap(),
            quantity: Quantity::named("pm10").unwrap(),
            channel: 0,
        }
    }

    #[test]
    fn a_time_is_due_when_nothing_more_comes_and_not_later_than_a_quarter_of_an_hour() {
        let (mut late, a) = (Late::default(), series("a"));
        late.touch(&a, 5_000, 7, 1_000_000);
        late.touch(&a, 2_000, 8, 1_030_000);
        assert_eq!(late.take(1_089_999), None);
        let (of, span) = late.take(1_090_000).unwrap();
        assert_eq!((of, span.first, span.last), (a.clone(), 2_000, 5_000));
        assert_eq!(span.position(Timestamp::from_ms(2_000)), 8);
        assert_eq!(span.position(Timestamp::from_ms(3_000)), 0);
        assert_eq!(late, Late::default());
        // A trickle does not put it off for ever.
        for i in 0..30 {
            late.touch(&a, i, 1, 2_000_000 + i * 30_000);
        }
        let (due, _) = late.by_due.first().unwrap();
        assert!(*due <= 2_000_000 + LONGEST_MS);
        assert_eq!(late.by_due.len(), 1);
    }

    #[test]
    fn what_is_kept_comes_back() {
        let mut late = Late::default();
        for (i, device) in ["b", "a", "c"].into_iter().enumerate() {
            late.touch(&series(device), i as i64, i as u64, 1_000_000 + i as i64);
        }
        let back = Late::decode(&late.encode()).unwrap();
        assert_eq!(back, late);
        assert_eq!(back.encode(), late.encode());
        assert!(Late::decode(b"{}").is_err());
        assert!(Late::decode(br#"{"format": 2, "spans": []}"#).is_err());
    }
}
