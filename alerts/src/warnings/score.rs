//! What became of warnings: hit, late, false alarm, and what was not warned of.
//!
//! Pure. An *event* is a time above a threshold, as measured; a warning is about one series and one threshold
//! ([`onemap_model::WarningAbout`]) and holds from when its first message was sent to its end. Of what was not measured
//! nothing is said: unknown is no false alarm and no hit.
//!
//! POD, FAR and CSI are those of the contingency table of forecast verification (WWRP/WGNE Joint Working Group on Forecast
//! Verification Research): hits/(hits + misses), false alarms/(hits + false alarms), hits/(hits + misses + false alarms).

use std::time::Duration;

use onemap_model::Timestamp;
use serde::Serialize;

/// A time above a threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event {
    /// The first value above.
    pub begun: Timestamp,
    /// The value before that; none where nothing is known before.
    pub before: Option<Timestamp>,
    /// The last value above.
    pub last: Timestamp,
    /// The highest.
    pub peak: f64,
}

/// Values of a series beside a threshold: events, and the times of which anything is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Course {
    above: f64,
    patience: Duration,
    known: Vec<(Timestamp, Timestamp)>,
    events: Vec<Event>,
}

impl Course {
    /// Of nothing yet. Above is greater than `above`: the border is not inside. Values that are further apart than
    /// `patience` say nothing of what was between, and times above that are no further apart are one event.
    pub fn new(above: f64, patience: Duration) -> Self {
        Self {
            above,
            patience,
            known: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Takes the next value; one that is not later than the last is left out.
    pub fn see(&mut self, at: Timestamp, value: f64) {
        let before = self.known.last().map(|(_, last)| *last);
        if before.is_some_and(|before| at <= before) {
            return;
        }
        match self.known.last_mut() {
            Some((_, last)) if at.since(*last) <= self.patience => *last = at,
            _ => self.known.push((at, at)),
        }
        if value > self.above {
            match self.events.last_mut() {
                Some(event) if at.since(event.last) <= self.patience => {
                    event.last = at;
                    event.peak = event.peak.max(value);
                }
                _ => self.events.push(Event {
                    begun: at,
                    before,
                    last: at,
                    peak: value,
                }),
            }
        }
    }

    /// Whether anything was measured within a time, both ends included.
    fn is_heard(&self, from: Timestamp, to: Timestamp) -> bool {
        self.known
            .iter()
            .any(|(first, last)| *first <= to && *last >= from)
    }

    /// Whether a time is known from end to end.
    fn is_known(&self, from: Timestamp, to: Timestamp) -> bool {
        let covers = |(first, last): &(Timestamp, Timestamp)| {
            first.since(from) <= self.patience && to.since(*last) <= self.patience
        };
        self.is_heard(from, to) && self.known.iter().any(covers)
    }

    /// Whether an event is known to have begun after a time: it was looked at not long before, or after that time.
    fn began_after(&self, event: &Event, at: Timestamp) -> bool {
        let looked = |before| before >= at || event.begun.since(before) <= self.patience;
        event.begun > at && event.before.is_some_and(looked)
    }
}

/// A warning as it is scored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Held {
    /// When its first message was sent.
    pub sent: Timestamp,
    /// When it ended or will end by itself.
    pub until: Timestamp,
    /// The threshold that it is about; a warning of a higher one holds for a lower one, too.
    pub above: f64,
}

impl Held {
    /// Whether it was in force when an event began.
    fn warned_of(&self, event: &Event) -> bool {
        self.sent < event.begun && event.begun <= self.until
    }
    /// Whether it was in force while an event went on.
    fn met(&self, event: &Event) -> bool {
        self.sent <= event.last && event.begun <= self.until
    }
}

/// What became of a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is still in force.
    Pending,
    /// The event began while it was in force.
    Hit,
    /// The event had begun when it was sent.
    Late,
    /// Nothing of it was measured, though it was looked at.
    FalseAlarm,
    /// It cannot be told.
    Unknown,
}

/// What became of a warning, and why it is not known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// What became of it.
    pub outcome: Outcome,
    /// Why it is unknown, as a code.
    pub reason: Option<&'static str>,
    /// The event that it met.
    pub event: Option<Event>,
    /// From when it was sent to the event's begin; negative when it came too late. Of a hit, and of a late one whose event's
    /// begin was measured.
    pub lead_ms: Option<i64>,
}

impl Verdict {
    /// Of one about which nothing can be told.
    pub fn unknown(reason: &'static str) -> Self {
        Self {
            outcome: Outcome::Unknown,
            reason: Some(reason),
            event: None,
            lead_ms: None,
        }
    }
}

/// What became of a warning at a time.
pub fn verdict(held: &Held, course: &Course, now: Timestamp) -> Verdict {
    if now < held.until {
        return Verdict {
            outcome: Outcome::Pending,
            reason: None,
            event: None,
            lead_ms: None,
        };
    }
    let Some(event) = course.events.iter().find(|event| held.met(event)) else {
        let reason = match (
            course.is_known(held.sent, held.until),
            course.is_heard(held.sent, held.until),
        ) {
            (true, _) => {
                return Verdict {
                    outcome: Outcome::FalseAlarm,
                    reason: None,
                    event: None,
                    lead_ms: None,
                };
            }
            (false, false) => "no_readings",
            (false, true) => "gaps",
        };
        return Verdict::unknown(reason);
    };
    let lead_ms = event.begun - held.sent;
    let (outcome, lead_ms) = match event.begun <= held.sent {
        true => {
            let is_seen = course.began_after(event, Timestamp::from_ms(event.begun.ms() - 1));
            (Outcome::Late, is_seen.then_some(lead_ms))
        }
        false if course.began_after(event, held.sent) => (Outcome::Hit, Some(lead_ms)),
        false => {
            return Verdict {
                event: Some(*event),
                ..Verdict::unknown("begin")
            };
        }
    };
    Verdict {
        outcome,
        reason: None,
        event: Some(*event),
        lead_ms,
    }
}

/// A contingency table, and what forecast verification makes of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Table {
    /// Events that began while they were warned of.
    pub hits: usize,
    /// Events that were warned of only when they had begun: misses, too.
    pub late: usize,
    /// Events without a warning in force.
    pub missed: usize,
    /// Warnings without an event.
    pub false_alarms: usize,
    /// Events and warnings of which it cannot be told; they count as nothing.
    pub unknown: usize,
    /// Warnings still in force.
    pub pending: usize,
    #[serde(skip)]
    leads_ms: Vec<i64>,
}

impl Table {
    /// Takes what was warned of about one series and threshold, and its events, as far as warnings were sent and events began
    /// from `from` on and before `to`. `held` are the warnings about this series, `own` of them those about this threshold.
    pub fn take(
        &mut self,
        held: &[Held],
        course: &Course,
        (from, to): (Timestamp, Timestamp),
        now: Timestamp,
    ) {
        let within = |at: Timestamp| from <= at && at < to;
        let own = held.iter().filter(|held| held.above == course.above);
        for held in own.filter(|held| within(held.sent)) {
            let verdict = verdict(held, course, now);
            match verdict.outcome {
                Outcome::FalseAlarm => self.false_alarms += 1,
                Outcome::Pending => self.pending += 1,
                // An event whose begin is not known is counted as an event.
                Outcome::Unknown if verdict.event.is_none() => self.unknown += 1,
                _ => {}
            }
        }
        let above: Vec<&Held> = held.iter().filter(|held| held.above >= course.above).collect();
        for event in course.events.iter().filter(|event| within(event.begun)) {
            let warned = above.iter().filter(|held| held.warned_of(event));
            match warned.map(|held| held.sent).min() {
                Some(sent) if course.began_after(event, sent) => {
                    self.hits += 1;
                    self.leads_ms.push(event.begun - sent);
                }
                Some(_) => self.unknown += 1,
                None if above.iter().any(|held| held.met(event)) => self.late += 1,
                None => self.missed += 1,
            }
        }
    }

    /// Takes another table of the same kind.
    pub fn add(&mut self, other: &Self) {
        self.hits += other.hits;
        self.late += other.late;
        self.missed += other.missed;
        self.false_alarms += other.false_alarms;
        self.unknown += other.unknown;
        self.pending += other.pending;
        self.leads_ms.extend(&other.leads_ms);
    }

    fn n_events(&self) -> usize {
        self.hits + self.late + self.missed
    }
    /// Probability of detection: the share of events that were warned of before they began.
    pub fn pod(&self) -> Option<f64> {
        share(self.hits, self.n_events())
    }
    /// False alarm ratio: the share of false ones among what was warned of.
    pub fn far(&self) -> Option<f64> {
        share(self.false_alarms, self.hits + self.false_alarms)
    }
    /// Critical success index.
    pub fn csi(&self) -> Option<f64> {
        share(self.hits, self.n_events() + self.false_alarms)
    }
    /// The median lead of the hits; of an even number the lower one of the two in the middle.
    pub fn median_lead_ms(&self) -> Option<i64> {
        let mut leads = self.leads_ms.clone();
        leads.sort_unstable();
        leads.get(leads.len().saturating_sub(1) / 2).copied()
    }
}

fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_ms(1_763_856_000_000 + minutes * 60_000)
    }

    /// `minutes value` pairs beside 2.5 m, looked at every half hour, a gap being longer than an hour.
    fn course(values: &[(i64, f64)]) -> Course {
        let mut course = Course::new(2.5, Duration::from_secs(3600));
        values
            .iter()
            .for_each(|(minutes, value)| course.see(at(*minutes), *value));
        course
    }

    /// Half hours of 0 to 600 min; above within `over`.
    fn half_hours(over: std::ops::Range<i64>) -> Vec<(i64, f64)> {
        let level = |t: &i64| if over.contains(t) { 2.6 } else { 2.0 };
        (0..=600).step_by(30).map(|t| (t, level(&t))).collect()
    }

    fn held(sent: i64, until: i64) -> Held {
        Held {
            sent: at(sent),
            until: at(until),
            above: 2.5,
        }
    }

    #[test]
    fn a_warning_is_hit_late_false_or_unknown() {
        use Outcome as O;
        let quiet = half_hours(0..0);
        let flood = half_hours(300..420);
        let mut gap = quiet.clone();
        gap.retain(|(t, _)| !(180..300).contains(t));
        let mut blind = flood.clone();
        blind.retain(|(t, _)| !(90..300).contains(t));
        let border: Vec<(i64, f64)> = quiet.iter().map(|(t, _)| (*t, 2.5)).collect();
        for (what, values, (sent, until), outcome, reason, lead_min) in [
            ("it came", &flood, (120, 480), O::Hit, None, Some(180)),
            (
                "it came at the last minute of it",
                &flood,
                (120, 300),
                O::Hit,
                None,
                Some(180),
            ),
            ("it came after it", &flood, (120, 299), O::FalseAlarm, None, None),
            (
                "it was there when it was sent",
                &flood,
                (330, 480),
                O::Late,
                None,
                Some(-30),
            ),
            (
                "it began in that minute",
                &flood,
                (300, 480),
                O::Late,
                None,
                Some(0),
            ),
            (
                "it was over when it was sent",
                &flood,
                (425, 560),
                O::FalseAlarm,
                None,
                None,
            ),
            ("nothing came", &quiet, (120, 480), O::FalseAlarm, None, None),
            (
                "the border is not above",
                &border,
                (120, 480),
                O::FalseAlarm,
                None,
                None,
            ),
            (
                "nobody looked for two hours",
                &gap,
                (120, 480),
                O::Unknown,
                Some("gaps"),
                None,
            ),
            (
                "nobody looked at all",
                &gap,
                (190, 260),
                O::Unknown,
                Some("no_readings"),
                None,
            ),
            (
                "nobody saw it begin, before the warning or behind",
                &blind,
                (120, 480),
                O::Unknown,
                Some("begin"),
                None,
            ),
            (
                "it was looked at after the warning",
                &blind,
                (45, 480),
                O::Hit,
                None,
                Some(255),
            ),
            ("it goes on", &flood, (120, 1000), O::Pending, None, None),
        ] {
            let told = verdict(&held(sent, until), &course(values), at(900));
            assert_eq!(
                (told.outcome, told.reason, told.lead_ms.map(|ms| ms / 60_000)),
                (outcome, reason, lead_min),
                "{what}"
            );
        }
    }

    #[test]
    fn an_event_that_was_there_from_the_first_value_on_is_late_by_nobody_knows_how_much() {
        let told = verdict(
            &held(60, 120),
            &course(&[(0, 2.6), (30, 2.7), (90, 2.0)]),
            at(900),
        );
        assert_eq!(told.outcome, Outcome::FalseAlarm, "over by then");
        let told = verdict(
            &held(60, 120),
            &course(&[(0, 2.6), (30, 2.7), (90, 2.8)]),
            at(900),
        );
        assert_eq!((told.outcome, told.lead_ms), (Outcome::Late, None));
        assert_eq!(told.event.map(|event| event.peak), Some(2.8));
    }

    #[test]
    fn times_above_within_the_patience_are_one_event_and_later_ones_another() {
        let course = course(&[
            (0, 2.0),
            (30, 2.6),
            (60, 2.4),
            (90, 2.6),
            (120, 2.0),
            (180, 2.0),
            (240, 2.6),
        ]);
        let begun: Vec<Timestamp> = course.events.iter().map(|event| event.begun).collect();
        assert_eq!(begun, [at(30), at(240)]);
    }

    /// By hand: floods at 60, 300, 500, 700 and 900, each of half an hour; warnings.
    #[test]
    fn figures_equal_a_table_by_hand() {
        let mut values = Vec::new();
        for t in (0..=1500).step_by(30) {
            let is_over = [60, 300, 510, 720, 900].contains(&t);
            values.push((t, if is_over { 3.0 } else { 2.0 }));
        }
        let course = course(&values);
        let higher = |held: Held| Held { above: 3.5, ..held };
        let all = [
            held(20, 120),          // hit, 40 min
            held(200, 320),         // hit, 100 min
            held(240, 310),         // the same event, warned of before
            held(510, 600),         // late
            higher(held(700, 760)), // the higher threshold holds for the lower one: hit, 20 min
            held(1000, 1100),       // false alarm
            held(1200, 1300),       // false alarm
            held(1400, 2000),       // pending
        ];
        let mut table = Table::default();
        table.take(&all, &course, (at(0), at(5000)), at(1600));
        // The event of 900 was not warned of.
        assert_eq!(
            (table.hits, table.late, table.missed, table.false_alarms),
            (3, 1, 1, 2)
        );
        assert_eq!((table.unknown, table.pending), (0, 1));
        assert_eq!(table.pod(), Some(3.0 / 5.0));
        assert_eq!(table.far(), Some(2.0 / 5.0));
        assert_eq!(table.csi(), Some(3.0 / 7.0));
        assert_eq!(table.median_lead_ms(), Some(40 * 60_000));
        // Of a part of the time: what was sent and what began in it.
        let mut part = Table::default();
        part.take(&all, &course, (at(400), at(1100)), at(1600));
        assert_eq!(
            (part.hits, part.late, part.missed, part.false_alarms),
            (1, 1, 1, 1)
        );
        part.add(&table);
        assert_eq!((part.hits, part.false_alarms), (4, 3));
    }

    #[test]
    fn nothing_has_no_figures() {
        let mut table = Table::default();
        table.take(&[held(0, 60)], &course(&[]), (at(0), at(100)), at(200));
        assert_eq!((table.unknown, table.pod(), table.far()), (1, None, None));
        assert_eq!((table.csi(), table.median_lead_ms()), (None, None));
    }
}
