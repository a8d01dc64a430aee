//! Plays a script into an engine the way the pipeline does: a tick every second, each record with the
//! next position.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use onemap_model::{
    Device, DeviceId, DeviceState, DivisionCode, Observation, Quality, Quantity, Reading, SeriesKey,
    Timestamp, Transition, Value,
};
use onemap_rules::{Condition, Engine, RuleSet};

/// 2026-11-23T00:00:00+08:00.
const MIDNIGHT: Timestamp = Timestamp::from_ms(1_795_363_200_000);

/// One rule as YAML: id, condition, and further keys in flow form.
pub(crate) fn rule(id: &str, when: &str, more: &str) -> String {
    let more = if more.is_empty() {
        String::new()
    } else {
        format!(", {more}")
    };
    format!(
        "  - {{id: {id}, name: {{zh: 规则, en: rule}}, severity: major, advice: {{zh: 看, en: look}}, \
         when: {{{when}}}{more}}}\n"
    )
}

pub(crate) fn key(text: &str) -> SeriesKey {
    let parts: Vec<&str> = text.split('/').collect();
    SeriesKey {
        device: DeviceId::new(parts[0]).unwrap(),
        quantity: Quantity::named(parts[1]).unwrap(),
        channel: parts[2].parse().unwrap(),
    }
}

pub(crate) struct Player {
    pub(crate) engine: Engine,
    pub(crate) transitions: Vec<Transition>,
    /// Cadence of devices that are registered from now on.
    pub(crate) cadence_s: u32,
    registered: BTreeSet<DeviceId>,
    n_told: usize,
    position: u64,
    now: Option<Timestamp>,
    fixed_position: bool,
}

impl Player {
    pub(crate) fn parse(rules: &str) -> RuleSet {
        RuleSet::parse("rules", &format!("version: 1\nrules:\n{rules}")).unwrap_or_else(|e| panic!("{e:#?}"))
    }
    /// An engine with these rules; devices are registered at their first mention.
    pub(crate) fn new(rules: &str) -> Self {
        let mut player = Self {
            engine: Engine::new(),
            transitions: Vec::new(),
            cadence_s: 60,
            registered: BTreeSet::new(),
            n_told: 0,
            position: 0,
            now: None,
            fixed_position: false,
        };
        player.reload(rules);
        player
    }
    pub(crate) fn now(&self) -> Timestamp {
        self.now.unwrap_or(MIDNIGHT)
    }
    pub(crate) fn reload(&mut self, rules: &str) {
        self.set_file("rules", Some(Self::parse(rules)));
    }
    pub(crate) fn set_file(&mut self, name: &str, set: Option<RuleSet>) {
        let position = self.next();
        let now = self.now.unwrap_or(MIDNIGHT + Duration::from_secs(8 * 3600 - 10));
        self.transitions
            .extend(self.engine.set_file(now, position, name, set));
    }
    pub(crate) fn state(&self, series: &str) -> Condition {
        self.engine.series_state(&key(series))
    }
    /// The transitions since the last call, one a line.
    pub(crate) fn told(&mut self) -> String {
        let new = &self.transitions[self.n_told..];
        let lines: Vec<String> = new
            .iter()
            .map(|t| {
                let s = t.at.since(MIDNIGHT).as_secs();
                let (h, m, s) = (s / 3600, s / 60 % 60, s % 60);
                format!("{h:02}:{m:02}:{s:02} {} {} {}", t.series, t.edge.name(), t.rule)
            })
            .collect();
        self.n_told = self.transitions.len();
        lines.join("\n")
    }
    /// Time stands still until `time`: no record came.
    pub(crate) fn jump(&mut self, time: &str) {
        let at = read_time(time);
        self.now = Some(at);
        let position = self.next();
        self.transitions.extend(self.engine.tick(at, position));
    }
    /// Plays a script in which all records are one frame.
    pub(crate) fn one_position(&mut self, position: u64, script: &str) {
        self.position = position;
        self.fixed_position = true;
        self.play(script);
        self.fixed_position = false;
    }
    /// Lines are `time device quantity[#channel] value [measured time] [marks]`, `time register|maintain|
    /// retire device`, `time fences device code,code` (or `none`), `time gone fence`, or `time -`.
    pub(crate) fn play(&mut self, script: &str) {
        for line in script.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let Some(time) = words.first() else {
                continue;
            };
            self.clock(read_time(time));
            match words[1..] {
                ["-"] => {}
                ["register", device] => self.register(device, DeviceState::Active),
                ["maintain", device] => self.register(device, DeviceState::Maintenance),
                ["retire", device] => self.register(device, DeviceState::Retired),
                ["fences", device, fences] => {
                    let fences = fences.split(',').filter(|code| *code != "none").map(Arc::from);
                    let (device, position) = (DeviceId::new(device).unwrap(), self.next());
                    let now = self.now.unwrap();
                    self.transitions
                        .extend(self.engine.set_fences(now, position, &device, fences.collect()));
                }
                ["gone", fence] => {
                    let (now, position) = (self.now.unwrap(), self.next());
                    self.transitions
                        .extend(self.engine.fence_gone(now, position, fence));
                }
                [device, quantity, value, ..] => self.reading(device, quantity, value, &words[4..]),
                _ => panic!("`{line}` is not a line of a script"),
            }
        }
    }

    fn next(&mut self) -> u64 {
        if !self.fixed_position {
            self.position += 1;
        }
        self.position
    }
    fn clock(&mut self, until: Timestamp) {
        let mut at = self.now.map_or(until, |now| now + Duration::from_secs(1));
        while at <= until {
            let position = self.next();
            self.transitions.extend(self.engine.tick(at, position));
            self.now = Some(at);
            at = at + Duration::from_secs(1);
        }
    }
    fn register(&mut self, device: &str, state: DeviceState) {
        let position = self.next();
        self.registered.insert(DeviceId::new(device).unwrap());
        let device = Device {
            id: DeviceId::new(device).unwrap(),
            name: device.to_owned(),
            name_en: String::new(),
            kind: "air_station".into(),
            profile: None,
            position: None,
            division: None,
            setting: Default::default(),
            gateway: None,
            entity: None,
            state,
            maintenance: None,
            cadence_s: self.cadence_s,
            department: String::new(),
            is_gateway: false,
            adopts: false,
            demo: false,
        };
        let division = DivisionCode::new("630102001").unwrap();
        let now = self.now.unwrap();
        self.transitions
            .extend(self.engine.set_device(now, position, &device, Some(&division)));
    }
    fn reading(&mut self, device: &str, quantity: &str, value: &str, marks: &[&str]) {
        let id = DeviceId::new(device).unwrap();
        let (quantity, channel) = quantity.split_once('#').unwrap_or((quantity, "0"));
        let series = key(&format!("{device}/{quantity}/{channel}"));
        if !self.registered.contains(&id) {
            self.register(device, DeviceState::Active);
        }
        let now = self.now.unwrap();
        let mut reading = Reading {
            series,
            measured_at: now,
            period: Duration::ZERO,
            received_at: now,
            value: Value::Number(value.parse().unwrap()),
            quality: Quality::GOOD,
            position: self.next(),
        };
        let mut marks = marks.iter();
        let mut every_s = 0;
        while let Some(mark) = marks.next() {
            let mark = match *mark {
                "measured" => {
                    reading.measured_at = read_time(marks.next().unwrap());
                    continue;
                }
                "hourly" => {
                    every_s = 3600;
                    continue;
                }
                "derived" => Quality::DERIVED,
                "revised" => Quality::REVISED,
                "suspect" => Quality::SUSPECT,
                "calibration" => Quality::CALIBRATION,
                "maintenance" => Quality::MAINTENANCE,
                "resent" => Quality::RESENT,
                other => panic!("`{other}` is not a mark"),
            };
            reading.quality = reading.quality.with(mark);
        }
        let seen = Observation {
            every_s,
            reading,
            kind: Arc::from("air_station"),
            division: Some(DivisionCode::new("630102001").unwrap()),
        };
        self.transitions.extend(self.engine.observe(now, &seen));
    }
}

fn read_time(text: &str) -> Timestamp {
    let parts: Vec<u64> = text.split(':').map(|part| part.parse().unwrap()).collect();
    let [h, m, s] = parts[..] else {
        panic!("`{text}` is not hh:mm:ss")
    };
    MIDNIGHT + Duration::from_secs(h * 3600 + m * 60 + s)
}
