//! A GB/T 26875.3 transmission device: states, analogue values, alarms, and what the centre asks.

use std::collections::VecDeque;

use anyhow::Context as _;
use onemap_model::Timestamp;
use onemap_wire::gbt26875::reply::{Line, acknowledge, refuse, respond};
use onemap_wire::gbt26875::{
    Address, Application, Clock, Component, Frame, Framer, Object, Piece, System, Text, Time,
};

use super::clock::OwnClock;
use super::values::value;
use super::{Out, Speaker, StationArgs, Tally};
use crate::prng::seed_of;

/// Waits so long for an acknowledgement, and repeats so often.
const OVER_TIME_MS: i64 = 10_000;
const REPEATS: u32 = 3;
const MOST_WAITING: usize = 2_000;
/// Fire alarm system at address 1, and fire water at 2.
const ALARMS: System = System { kind: 1, address: 1 };
const WATER: System = System { kind: 11, address: 2 };
/// A smoke detector, and the pressure at a hydrant.
const SMOKE: Component = Component {
    system: ALARMS,
    kind: 40,
    address: [1, 0, 2, 0],
};
const PRESSURE: Component = Component {
    system: WATER,
    kind: 0,
    address: [1, 0, 1, 0],
};
/// Type of analogue values: pressure in steps of 0.1 kPa.
const PRESSURE_KPA: u8 = 5;
/// A fire is reported in one of so many intervals, and gone with the next.
const FIRE_IN: u64 = 200;

#[derive(Debug)]
struct Sent {
    frame: Frame,
    at: Timestamp,
    n_times: u32,
}

/// A device of one building.
#[derive(Debug)]
pub(super) struct Gbt26875 {
    line: Line,
    framer: Framer,
    seed: u64,
    is_forgetful: bool,
    interval_ms: i64,
    clock: OwnClock,
    sequence: u16,
    last: i64,
    is_on_fire: bool,
    waiting: VecDeque<(u8, Vec<Object>)>,
    sent: Option<Sent>,
    tally: Tally,
}

impl Gbt26875 {
    pub(super) fn new(args: &StationArgs, id: &str, seed: u64, now: Timestamp) -> anyhow::Result<Self> {
        let source: Address = id
            .parse()
            .context("--id of a fire alarm device is 12 hexadecimal digits")?;
        let clock = OwnClock::new(now, &args.faults);
        let own = clock.shows(now).ms();
        Ok(Self {
            line: Line {
                source,
                destination: Address([0; 6]),
                version: [1, 0],
                clock: Clock::Binary,
            },
            framer: Framer::new(),
            seed,
            is_forgetful: args.forgetful,
            interval_ms: i64::from(args.interval) * 1000,
            clock,
            sequence: 0,
            last: own - i64::from(args.interval) * 1000,
            is_on_fire: false,
            waiting: VecDeque::new(),
            sent: None,
            tally: Tally::default(),
        })
    }

    fn time(&self, at: Timestamp) -> Time {
        Time::of(at, self.line.clock)
    }

    fn pressure(&self, at: Timestamp) -> Object {
        Object::Analogue {
            component: PRESSURE,
            kind: PRESSURE_KPA,
            value: value(self.seed, "pressure", 4_200.0, at).round() as i16,
            time: self.time(at),
        }
    }

    fn smoke(&self, at: Timestamp) -> Object {
        Object::ComponentState {
            component: SMOKE,
            state: if self.is_on_fire { 0b11 } else { 0b01 },
            text: Text::padded("一层大厅").unwrap_or(Text(vec![0; 31])),
            time: self.time(at),
        }
    }

    fn system(&self, at: Timestamp) -> Object {
        Object::SystemState {
            system: ALARMS,
            state: if self.is_on_fire { 0b11 } else { 0b01 },
            time: self.time(at),
        }
    }

    fn device(&self, at: Timestamp) -> Object {
        Object::DeviceState {
            state: if self.is_on_fire { 0b11 } else { 0b01 },
            time: self.time(at),
        }
    }

    fn come_due(&mut self, now: Timestamp, is_connected: bool) {
        let own = self.clock.shows(now).ms();
        let due = own - own.rem_euclid(self.interval_ms);
        if due <= self.last {
            return;
        }
        self.last = due;
        let at = Timestamp::from_ms(due);
        let was_on_fire = self.is_on_fire;
        self.is_on_fire = seed_of(&[self.seed, (due / self.interval_ms) as u64]).is_multiple_of(FIRE_IN);
        if !is_connected && self.is_forgetful && self.is_on_fire == was_on_fire {
            return;
        }
        if self.is_on_fire != was_on_fire {
            let (smoke, system) = (self.smoke(at), self.system(at));
            self.waiting.extend([(2, vec![smoke]), (1, vec![system])]);
        }
        let (pressure, device) = (self.pressure(at), self.device(at));
        self.waiting.extend([(3, vec![pressure]), (21, vec![device])]);
        while self.waiting.len() > MOST_WAITING {
            self.waiting.pop_front();
        }
    }

    fn pump(&mut self, now: Timestamp, out: &mut Out) {
        if let Some(sent) = &mut self.sent {
            if now.ms() - sent.at.ms() < OVER_TIME_MS {
                return;
            }
            if sent.n_times > REPEATS {
                out.hang_up = true;
                return;
            }
            (sent.n_times, sent.at) = (sent.n_times + 1, now);
            self.tally.n_again += 1;
            out.frames.extend(sent.frame.encode().ok());
            return;
        }
        let Some((kind, objects)) = self.waiting.pop_front() else {
            return;
        };
        self.sequence = self.sequence.wrapping_add(1);
        let Some(frame) = self
            .line
            .send(self.sequence, self.clock.shows(now), kind, objects)
        else {
            return;
        };
        self.tally.n_reports += 1;
        out.frames.extend(frame.encode().ok());
        self.sent = Some(Sent {
            frame,
            at: now,
            n_times: 1,
        });
    }

    fn took(&mut self, now: Timestamp, frame: &Frame, out: &mut Out) {
        let own = self.clock.shows(now);
        match frame.command {
            3 => {
                let is_its_own = |sent: &mut Sent| sent.frame.sequence == frame.sequence;
                if self.sent.take_if(is_its_own).is_some() {
                    self.tally.n_answered += 1;
                }
            }
            6 => {
                // Refused: what it sent could not be read, and comes again.
                if let Some(sent) = self
                    .sent
                    .as_mut()
                    .filter(|sent| sent.frame.sequence == frame.sequence)
                {
                    sent.at = Timestamp::from_ms(now.ms() - OVER_TIME_MS);
                    self.tally.n_not_taken += 1;
                }
            }
            1 => {
                self.tally.n_requests += 1;
                let asked = frame.read().ok().flatten();
                if let Some(Object::DeviceTime { time }) =
                    asked.as_ref().and_then(|asked| asked.objects.first())
                    && let Some(time) = time.moment(self.line.clock, Some(now))
                {
                    self.clock.set(now, time);
                }
                let answer = acknowledge(frame, self.clock.shows(now), self.line.clock);
                out.frames.extend(answer.encode().ok());
                if asked.is_some_and(|asked| asked.kind == 91) {
                    // Somebody is there: roll-call answered.
                    let operation = Object::DeviceOperation {
                        flag: 1 << 5,
                        operator: 1,
                        time: self.time(own),
                    };
                    self.waiting.push_front((24, vec![operation]));
                }
            }
            4 => {
                self.tally.n_requests += 1;
                let Some(asked) = frame.read().ok().flatten() else {
                    self.tally.n_bad += 1;
                    return;
                };
                let Some((kind, objects)) = self.response(own, &asked) else {
                    self.tally.n_refused += 1;
                    let refusal = refuse(frame, own, self.line.clock);
                    out.frames.extend(refusal.encode().ok());
                    return;
                };
                let answer = respond(frame, own, self.line.clock, &Application::of(kind, objects));
                out.frames.extend(answer.and_then(|answer| answer.encode().ok()));
                self.tally.n_reports += 1;
            }
            _ => self.tally.n_bad += 1,
        }
    }

    fn response(&self, own: Timestamp, asked: &Application) -> Option<(u8, Vec<Object>)> {
        let time = self.time(own);
        let of_device = |object| Some((asked.kind - 60, vec![object]));
        match (asked.kind, asked.objects.first()?) {
            (61, _) => Some((1, vec![self.system(own)])),
            (62, _) => Some((2, vec![self.smoke(own)])),
            (63, _) => Some((3, vec![self.pressure(own)])),
            (64, _) => Some((
                4,
                vec![Object::SystemOperation {
                    system: ALARMS,
                    flag: 1 << 6,
                    operator: 1,
                    time,
                }],
            )),
            (65, _) => Some((
                5,
                vec![Object::SystemVersion {
                    system: ALARMS,
                    main: 1,
                    minor: 0,
                }],
            )),
            (66, _) => Some((
                6,
                vec![Object::SystemConfiguration {
                    system: ALARMS,
                    text: Text(b"SIM".to_vec()),
                }],
            )),
            (67, _) => Some((
                7,
                vec![Object::ComponentConfiguration {
                    component: SMOKE,
                    text: Text::padded("一层大厅")?,
                }],
            )),
            (68, _) => Some((8, vec![Object::SystemTime { system: ALARMS, time }])),
            (81, _) => of_device(self.device(own)),
            (84, _) => of_device(Object::DeviceOperation {
                flag: 1 << 6,
                operator: 1,
                time,
            }),
            (85, _) => of_device(Object::DeviceVersion { main: 1, user: 0 }),
            (86, _) => of_device(Object::DeviceConfiguration {
                text: Text(b"SIM".to_vec()),
            }),
            (88, _) => of_device(Object::DeviceTime { time }),
            _ => None,
        }
    }
}

impl Speaker for Gbt26875 {
    fn connected(&mut self, now: Timestamp, out: &mut Out) {
        self.framer = Framer::new();
        if let Some(sent) = &mut self.sent {
            (sent.n_times, sent.at) = (1, now);
            self.tally.n_again += 1;
            out.frames.extend(sent.frame.encode().ok());
        }
    }

    fn heard(&mut self, now: Timestamp, bytes: &[u8], out: &mut Out) {
        for piece in self.framer.push(bytes) {
            match piece {
                Piece::Frame { frame, .. } => self.took(now, &frame, out),
                Piece::Fault(_) => self.tally.n_bad += 1,
            }
        }
    }

    fn tick(&mut self, now: Timestamp, is_connected: bool, out: &mut Out) {
        self.come_due(now, is_connected);
        if is_connected {
            self.pump(now, out);
        }
    }

    fn next(&self, now: Timestamp) -> Timestamp {
        let ahead = self.clock.ahead_ms(now);
        let due = self.last - self.last.rem_euclid(self.interval_ms) + self.interval_ms - ahead;
        match &self.sent {
            Some(sent) => Timestamp::from_ms(due.min(sent.at.ms() + OVER_TIME_MS)),
            None if !self.waiting.is_empty() => now,
            None => Timestamp::from_ms(due),
        }
    }

    fn tally(&self) -> Tally {
        self.tally
    }
}
