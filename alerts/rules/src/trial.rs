//! Tests that stand beside a rule: a series goes in, the expected edges must come out, by the same
//! engine that judges the city.
//!
//! ```text
//! series: |
//!   00:00 120                 # at this time came this value, in the canonical unit
//!   00:10 260 suspect         # with a mark
//!   00:40 90 measured 00:05   # a late one
//!   05:00 -                   # nothing comes; the clock goes on until here
//!   05:10 rain 2.5            # of another quantity of the device, `rain/1 2.5` of its channel 1
//!   05:20 other-2 180         # of another device that stands beside it, metres away; also `other-2 pm10 180`
//!   06:00 inside              # of `inside` and `outside`: it says a place in the fence, or one that is not (outside)
//!   07:00 foresees 2.4 in 2h           # of `forecast`: this value is foreseen for then
//!   08:00 foresees 2.4 in 2h 2.0 to 2.9   # with what one in ten is under and over
//! expect: |
//!   00:10 raised
//! ```
//! `start: 2026-07-01 22:00` says what time it is in Beijing at 00:00, for a rule that has hours.
//! Times are `mm:ss` or `hh:mm:ss` from the start; the device is registered at 00:00 and the clock ticks
//! every second.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use onemap_model::forecast::Lead;
use onemap_model::hydrology::{DatedStages, Datum, DatumName};
use onemap_model::{
    Device, DeviceId, DeviceState, Edge, Forecast, Hydrology, Observation, Position, Quality, Quantity,
    Reading, SeriesKey, Setting, Timestamp, Value,
};
use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use crate::amount::{parse_duration, parse_value};
use crate::engine::Engine;
use crate::fault::{RuleError, said};
use crate::file::RuleSet;
use crate::rule::{Rule, Texts, Threshold, When};
use crate::stages::Stage;

/// 2026-01-01T00:00:00+08:00; any start will do.
const START: Timestamp = Timestamp::from_ms(1_767_196_800_000);
/// Cadence of the device when the test gives none.
const CADENCE_S: u32 = 60;

/// What a place counts as in a test of a fence.
const INSIDE: f64 = 1.0;
const OUTSIDE: f64 = 0.0;

/// A test as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrialText {
    name: Spanned<String>,
    #[serde(default)]
    cadence: Option<Spanned<String>>,
    /// Beijing time at 00:00 of the test, for rules that are in force at hours.
    #[serde(default)]
    start: Option<Spanned<String>>,
    /// The stages of the gauge over its own zero, by name: `{warning: 2.5 m}`.
    #[serde(default)]
    stages: BTreeMap<String, Spanned<String>>,
    series: Spanned<String>,
    expect: Spanned<String>,
}

/// A test as meant.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    rule: Arc<Rule>,
    name: String,
    line: u32,
    start: Timestamp,
    cadence_s: u32,
    hydrology: Option<Hydrology>,
    /// Readings in the order of their coming; seconds from the start.
    events: Vec<Event>,
    expected: Vec<(u32, Edge)>,
    end_s: u32,
}

#[derive(Clone, Debug)]
struct Event {
    came_s: u32,
    /// Which device says it; `None` is the one that the rule is tried on.
    device: Option<DeviceId>,
    quantity: Quantity,
    channel: u16,
    measured_s: u32,
    value: f64,
    quality: Quality,
    /// The value is foreseen for a time that is so much later, with its quantiles of 0.1 and 0.9.
    ahead: Option<(Duration, Option<(f64, f64)>)>,
}

/// How one test went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TrialOutcome {
    /// Name of the test.
    pub name: String,
    /// The rule it stands beside.
    pub rule: onemap_model::RuleId,
    /// Its line in the file.
    pub line: u32,
    /// The expected edges, like `00:10 raised`.
    pub expected: Vec<String>,
    /// The edges that came.
    pub got: Vec<String>,
}

impl TrialOutcome {
    /// Whether what came is what was expected.
    pub fn passed(&self) -> bool {
        self.expected == self.got
    }
    /// How it went, in one sentence.
    pub fn told(&self) -> Texts {
        let list = |edges: &[String], none: &str, comma: &str| match edges {
            [] => none.to_owned(),
            edges => edges.join(comma),
        };
        let (rule, name) = (&self.rule, &self.name);
        let zh = |edges: &[String]| list(edges, "无", "、");
        let en = |edges: &[String]| list(edges, "nothing", ", ");
        Texts {
            zh: format!(
                "规则 `{rule}` 的测试 `{name}`：应为 {}，实为 {}",
                zh(&self.expected),
                zh(&self.got)
            ),
            en: format!(
                "rule `{rule}`, test `{name}`: expected {}, got {}",
                en(&self.expected),
                en(&self.got)
            ),
        }
    }
}

/// The stages of a test as a register has them, over a datum at the gauge's zero.
fn hydrology(stages: &BTreeMap<String, Spanned<String>>) -> Result<Option<Hydrology>, RuleError> {
    if stages.is_empty() {
        return Ok(None);
    }
    let quantity = Quantity::named("water_level").expect("the dictionary has it");
    let from = Timestamp::from_ms(0);
    let mut own = DatedStages {
        from,
        to: None,
        warning: None,
        guaranteed: None,
        highest: None,
        highest_at: None,
        source: "test".to_owned(),
    };
    for (name, text) in stages {
        let height = parse_value(quantity, &text.value).map_err(|e| RuleError::at(text.referenced, e))?;
        match Stage::named(name) {
            Some(Stage::Warning) => own.warning = Some(height),
            Some(Stage::Guaranteed) => own.guaranteed = Some(height),
            Some(Stage::Highest) => own.highest = Some(height),
            None => {
                let message = said!(
                    "`{name}` 不是 warning（警戒水位）、guaranteed（保证水位）或 highest（历史最高水位）",
                    "`{name}` is not warning, guaranteed or highest"
                );
                return Err(RuleError::at(text.referenced, message));
            }
        }
    }
    Ok(Some(Hydrology {
        datums: vec![Datum {
            from,
            to: None,
            datum: DatumName::Assumed,
            zero_m: 0.0,
            source: "test".to_owned(),
            verified: false,
        }],
        stages: vec![own],
        ..Hydrology::default()
    }))
}

impl Trial {
    pub(crate) fn check(rule: &Arc<Rule>, written: TrialText) -> Result<Self, RuleError> {
        let cadence_s = match &written.cadence {
            None => CADENCE_S,
            Some(text) => {
                let cadence = parse_duration(&text.value).map_err(|e| RuleError::at(text.referenced, e))?;
                cadence.as_secs() as u32
            }
        };
        let start = match &written.start {
            Some(text) => read_start(&text.value).map_err(|e| RuleError::at(text.referenced, e))?,
            None => rule.times.from.map_or(START, |from| from.max(START)),
        };
        let mut events = Vec::new();
        let mut end_s = 0;
        for (line, words) in lines(&written.series.value) {
            let fail = |said: Texts| RuleError::at(written.series.referenced, in_line("series", line, &said));
            let (came_s, event) = read_event(&words, rule).map_err(fail)?;
            if came_s < end_s {
                return Err(fail(said!(
                    "时间倒退了，迟到的读数请用 `measured`",
                    "times go backwards; write `measured` for a late reading"
                )));
            }
            end_s = came_s;
            events.extend(event);
        }
        let mut expected = Vec::new();
        for (line, words) in lines(&written.expect.value) {
            let fail = |said: Texts| RuleError::at(written.expect.referenced, in_line("expect", line, &said));
            let [time, edge] = words.as_slice() else {
                return Err(fail(said!(
                    "每行为时间和变化，例如 `00:10 raised`",
                    "a line is a time and an edge, like `00:10 raised`"
                )));
            };
            let edge = [
                Edge::Raised,
                Edge::Cleared,
                Edge::Lost,
                Edge::Found,
                Edge::Worsened,
                Edge::Eased,
                Edge::Withdrawn,
            ]
            .into_iter()
            .find(|e| e.name() == *edge)
            .ok_or_else(|| {
                fail(said!(
                    "`{edge}` 不是 raised、cleared、lost、found、worsened、eased 或 withdrawn",
                    "`{edge}` is not raised, cleared, lost, found, worsened, eased or withdrawn"
                ))
            })?;
            let at_s = read_time(time).map_err(fail)?;
            end_s = end_s.max(at_s);
            expected.push((at_s, edge));
        }
        Ok(Self {
            rule: Arc::clone(rule),
            name: written.name.value,
            line: u32::try_from(written.name.referenced.line()).unwrap_or(u32::MAX),
            start,
            cadence_s,
            hydrology: hydrology(&written.stages)?,
            events,
            expected,
            end_s,
        })
    }

    /// The device that the rule is tried on, or the n-th of those beside it, metres apart.
    fn device(&self, other: Option<(&DeviceId, usize)>) -> Device {
        let selector = &self.rule.applies_to;
        let own = || {
            let id = selector.device.clone();
            id.unwrap_or_else(|| DeviceId::new("trial-device").expect("letters and a hyphen are a name"))
        };
        let (id, n) = match other {
            Some((id, n)) => (id.clone(), n),
            None => (own(), 0),
        };
        // A metre is 0.000009 degrees of latitude.
        let position = Position::new(101.77, 36.62 + n as f64 * 9e-6, None).ok();
        Device {
            id,
            position,
            name: String::new(),
            name_en: String::new(),
            kind: selector.kinds.first().map_or("trial_kind", String::as_str).into(),
            profile: None,
            division: selector.division.clone(),
            setting: Setting::Urban,
            gateway: None,
            entity: None,
            state: DeviceState::Active,
            maintenance: None,
            cadence_s: self.cadence_s,
            department: String::new(),
            is_gateway: false,
            adopts: false,
            demo: false,
        }
    }

    pub(crate) fn run(&self) -> TrialOutcome {
        let selector = &self.rule.applies_to;
        let device = self.device(None);
        let time = |s: u32| self.start + Duration::from_secs(u64::from(s));
        let mut engine = Engine::new();
        let mut position = 1;
        let mut got = engine.set_file(
            self.start,
            position,
            "trial",
            Some(RuleSet::of(std::slice::from_ref(&self.rule))),
        );
        got.extend(engine.set_device(self.start, position, &device, device.division.as_ref()));
        got.extend(engine.set_stages(self.start, position, &device.id, self.hydrology.as_ref()));
        let selected: Vec<Arc<str>> = selector.fence.iter().cloned().collect();
        got.extend(engine.set_fences(self.start, position, &device.id, selected.clone()));
        let mut others: Vec<&DeviceId> = Vec::new();
        for other in self.events.iter().filter_map(|event| event.device.as_ref()) {
            if !others.contains(&other) {
                others.push(other);
                let other = self.device(Some((other, others.len())));
                got.extend(engine.set_device(self.start, position, &other, other.division.as_ref()));
            }
        }
        let mut events = self.events.iter().peekable();
        let mut last = None;
        for s in 0..=self.end_s {
            position += 1;
            got.extend(engine.tick(time(s), position));
            while let Some(event) = events.next_if(|event| event.came_s == s) {
                position += 1;
                if let (Some((span, range)), Some(asked)) = (event.ahead, self.rule.forecasts().next()) {
                    let quantiles =
                        range.map(|(low, high)| vec![(0.1, low), (0.5, event.value), (0.9, high)]);
                    let forecast = Forecast {
                        series: SeriesKey {
                            device: device.id.clone(),
                            quantity: event.quantity,
                            channel: event.channel,
                        },
                        source: asked.source.to_string(),
                        model: String::new(),
                        issued_at: time(s),
                        origin: time(s),
                        at_origin: last,
                        step_s: self.cadence_s,
                        regime: None,
                        leads: vec![Lead {
                            at: time(s) + span,
                            value: event.value,
                            median: None,
                            quantiles: quantiles.unwrap_or_default(),
                            exceed: Vec::new(),
                        }],
                        silent: Vec::new(),
                        influences: Vec::new(),
                        notes: Vec::new(),
                    };
                    got.extend(engine.foresee(time(s), position, &forecast));
                    continue;
                }
                let foreseen = self.rule.forecasts().next().map(|asked| &asked.limit);
                let is_its = |limit: &Threshold| {
                    (limit.quantity, limit.channel.unwrap_or(0)) == (event.quantity, event.channel)
                };
                if event.device.is_none() && foreseen.is_none_or(is_its) {
                    last = Some(event.value);
                }
                if event.is_place() {
                    let there = fences_of(&self.rule).filter(|_| event.value == INSIDE);
                    let fences = selected.iter().cloned().chain(there).collect();
                    got.extend(engine.set_fences(time(s), position, &device.id, fences));
                }
                let reading = Reading {
                    series: SeriesKey {
                        device: event.device.clone().unwrap_or_else(|| device.id.clone()),
                        quantity: event.quantity,
                        channel: event.channel,
                    },
                    measured_at: time(event.measured_s),
                    period: Duration::ZERO,
                    received_at: time(s),
                    value: Value::Number(event.value),
                    quality: event.quality,
                    position,
                };
                let (kind, division) = (Arc::clone(&device.kind), device.division.clone());
                got.extend(engine.observe(
                    time(s),
                    &Observation {
                        every_s: 0,
                        reading,
                        kind,
                        division,
                    },
                ));
            }
        }
        TrialOutcome {
            name: self.name.clone(),
            rule: self.rule.id.clone(),
            line: self.line,
            expected: self.expected.iter().map(|(s, edge)| shown(*s, *edge)).collect(),
            got: got
                .iter()
                .filter(|t| t.series.device == device.id)
                .map(|t| shown(t.at.since(self.start).as_secs() as u32, t.edge))
                .collect(),
        }
    }
}

/// What is wrong with a line, counted from 0, of the text that `field` has.
fn in_line(field: &str, line: usize, said: &Texts) -> Texts {
    let (line, Texts { zh, en }) = (line + 1, said);
    Texts {
        zh: format!("`{field}` 第 {line} 行：{zh}"),
        en: format!("line {line} of `{field}`: {en}"),
    }
}

/// The words of each line that has any; a `#` begins a comment.
fn lines(text: &str) -> impl Iterator<Item = (usize, Vec<&str>)> {
    let words = |line| {
        str::split(line, '#')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect()
    };
    let lines = text.lines().enumerate().map(move |(i, line)| (i, words(line)));
    lines.filter(|(_, words): &(usize, Vec<&str>)| !words.is_empty())
}

fn read_event(words: &[&str], rule: &Rule) -> Result<(u32, Option<Event>), Texts> {
    let (time, rest) = words
        .split_first()
        .ok_or_else(|| said!("此行为空", "the line is empty"))?;
    let came_s = read_time(time)?;
    let (value, marks) = rest
        .split_first()
        .ok_or_else(|| said!("缺少数值或 `-`", "a value or `-` is missing"))?;
    if *value == "-" {
        return Ok((came_s, None));
    }
    if let Some(named) = read_name(value, rule)? {
        let (device, (quantity, channel), words) = match named {
            Name::Series(quantity, channel) => (None, (quantity, channel), marks),
            Name::Device(id) => {
                let (next, rest) = marks
                    .split_first()
                    .ok_or_else(|| said!("缺少数值", "a value is missing"))?;
                match read_name(next, rule)? {
                    Some(Name::Series(quantity, channel)) => (Some(id), (quantity, channel), rest),
                    Some(Name::Device(other)) => {
                        return Err(said!("`{other}` 不是量", "`{other}` is not a quantity"));
                    }
                    None => (Some(id), lead(rule), marks),
                }
            }
        };
        let event = read_value(came_s, words, rule)?;
        return Ok((
            came_s,
            Some(Event {
                device,
                quantity,
                channel,
                ..event
            }),
        ));
    }
    if *value == "foresees" {
        if rule.forecasts().next().is_none() {
            return Err(said!(
                "只有用 `forecast` 的规则才看预报",
                "only a rule with `forecast` looks at what is foreseen"
            ));
        }
        return read_ahead(came_s, marks, rule).map(|event| (came_s, Some(event)));
    }
    read_value(came_s, rest, rule).map(|event| (came_s, Some(event)))
}

/// The quantity and channel of values that are written without a name.
fn lead(rule: &Rule) -> (Quantity, u16) {
    let counter = || Quantity::named("counter").expect("the dictionary has the counter");
    (
        rule.quantity().unwrap_or_else(counter),
        rule.channel().unwrap_or(0),
    )
}

fn fences_of(rule: &Rule) -> impl Iterator<Item = Arc<str>> {
    rule.when
        .facts()
        .into_iter()
        .filter_map(|fact| fact.fence().cloned())
}

/// What a value is said to be of.
enum Name {
    Series(Quantity, u16),
    Device(DeviceId),
}

/// A word that names a series or another device; `None` is a value.
fn read_name(word: &str, rule: &Rule) -> Result<Option<Name>, Texts> {
    let is_value = word.parse::<f64>().is_ok()
        || word == "foresees"
        || (matches!(word, "inside" | "outside") && fences_of(rule).next().is_some());
    let is_name = word.starts_with(|c: char| c.is_ascii_lowercase());
    if is_value || !is_name {
        return Ok(None);
    }
    let (name, channel) = word.split_once('/').unwrap_or((word, "0"));
    if let Some(quantity) = Quantity::named(name) {
        let channel = channel
            .parse()
            .map_err(|_| said!("`{channel}` 不是通道号", "`{channel}` is not a channel"))?;
        return Ok(Some(Name::Series(quantity, channel)));
    }
    let id = DeviceId::new(word).map_err(|_| said!("`{word}` 不是数", "`{word}` is not a number"))?;
    match rule
        .when
        .facts()
        .iter()
        .any(|fact| matches!(fact, When::Neighbours(_)))
    {
        true => Ok(Some(Name::Device(id))),
        false => Err(said!(
            "`{word}` 既不是数也不是量",
            "`{word}` is not a number, nor a quantity"
        )),
    }
}

/// A value with its marks.
fn read_value(came_s: u32, words: &[&str], rule: &Rule) -> Result<Event, Texts> {
    let (value, mut marks) = words
        .split_first()
        .ok_or_else(|| said!("缺少数值", "a value is missing"))?;
    let is_place = matches!(*value, "inside" | "outside");
    let value: f64 = match (is_place || rule.fence().is_some(), *value) {
        (true, "inside") => INSIDE,
        (true, "outside") => OUTSIDE,
        (true, other) => {
            return Err(said!(
                "`{other}` 不是 `inside`（围栏内）或 `outside`（围栏外）",
                "`{other}` is not `inside` or `outside`"
            ));
        }
        (false, value) => value
            .parse()
            .map_err(|_| said!("`{value}` 不是数", "`{value}` is not a number"))?,
    };
    if !value.is_finite() {
        return Err(said!(
            "`{value}` 不是有限的数",
            "`{value}` is not a finite number"
        ));
    }
    let (quantity, channel) = match is_place {
        true => (longitude(), 0),
        false => lead(rule),
    };
    let mut event = Event {
        came_s,
        device: None,
        quantity,
        channel,
        measured_s: came_s,
        value,
        quality: Quality::GOOD,
        ahead: None,
    };
    while let Some((word, rest)) = marks.split_first() {
        marks = rest;
        let mark = match *word {
            "measured" => {
                let (time, rest) = marks
                    .split_first()
                    .ok_or_else(|| said!("`measured` 之后缺少时间", "a time is missing after `measured`"))?;
                event.measured_s = read_time(time)?;
                marks = rest;
                continue;
            }
            "suspect" => Quality::SUSPECT,
            "calibration" => Quality::CALIBRATION,
            "maintenance" => Quality::MAINTENANCE,
            "resent" => Quality::RESENT,
            other => {
                return Err(said!(
                    "`{other}` 不是读数的标记",
                    "`{other}` is not a mark of a reading"
                ));
            }
        };
        event.quality = event.quality.with(mark);
    }
    Ok(event)
}

fn longitude() -> Quantity {
    Quantity::named("longitude").expect("the dictionary has positions")
}

impl Event {
    /// Whether it says where the device is.
    fn is_place(&self) -> bool {
        self.device.is_none() && self.quantity == longitude()
    }
}

/// What is foreseen: `2.4 in 2h`, `2.4 in 2h 2.0 to 2.9`.
fn read_ahead(came_s: u32, words: &[&str], rule: &Rule) -> Result<Event, Texts> {
    let number = |text: &str| {
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
        number.ok_or_else(|| said!("`{text}` 不是数", "`{text}` is not a number"))
    };
    let (value, span, range) = match words {
        [value, "in", span] => (value, span, None),
        [value, "in", span, low, "to", high] => (value, span, Some((number(low)?, number(high)?))),
        _ => {
            return Err(said!(
                "预报写作 `foresees 2.4 in 2h` 或 `foresees 2.4 in 2h 2.0 to 2.9`",
                "what is foreseen is written `foresees 2.4 in 2h` or `foresees 2.4 in 2h 2.0 to 2.9`"
            ));
        }
    };
    let value = number(value)?;
    if range.is_some_and(|(low, high)| !(low..=high).contains(&value)) {
        return Err(said!(
            "预报值须在 10% 与 90% 分位数之间",
            "the value lies between what one in ten is under and over"
        ));
    }
    let asked = rule
        .forecasts()
        .next()
        .ok_or_else(|| said!("此规则没有 `forecast`", "the rule has no `forecast`"))?;
    Ok(Event {
        came_s,
        device: None,
        quantity: asked.limit.quantity,
        channel: asked.limit.channel.unwrap_or(0),
        measured_s: came_s,
        value,
        quality: Quality::GOOD,
        ahead: Some((parse_duration(span)?, range)),
    })
}

/// `2026-07-01 22:00` in Beijing.
fn read_start(text: &str) -> Result<Timestamp, Texts> {
    let full = format!("{}:00+08:00", text.trim().replacen(' ', "T", 1));
    Timestamp::parse(&full).map_err(|_| {
        said!(
            "`{text}` 不是时间（例如 `2026-07-01 22:00`）",
            "`{text}` is not a time (like `2026-07-01 22:00`)"
        )
    })
}

/// Seconds of `mm:ss` or `hh:mm:ss`.
fn read_time(text: &str) -> Result<u32, Texts> {
    let bad = || {
        said!(
            "`{text}` 不是时间（`mm:ss` 或 `hh:mm:ss`）",
            "`{text}` is not a time (`mm:ss` or `hh:mm:ss`)"
        )
    };
    let parts: Vec<u32> = text
        .split(':')
        .map(|part| match part.len() {
            1 | 2 => part.parse().map_err(|_| bad()),
            _ => Err(bad()),
        })
        .collect::<Result<_, _>>()?;
    match parts.as_slice() {
        [m, s] if *s < 60 => Ok(m * 60 + s),
        [h, m, s] if *m < 60 && *s < 60 => Ok(h * 3600 + m * 60 + s),
        _ => Err(bad()),
    }
}

fn shown(at_s: u32, edge: Edge) -> String {
    let (h, m, s) = (at_s / 3600, at_s / 60 % 60, at_s % 60);
    match h {
        0 => format!("{m:02}:{s:02} {}", edge.name()),
        h => format!("{h:02}:{m:02}:{s:02} {}", edge.name()),
    }
}
