//! An SL 651 station: hourly and timed reports in modes M1 to M3, and the centre's questions.
//!
//! In M2 each packet waits for its ACK, the last one for EOT. In M3 all packets of a message go at once and one answer is
//! waited for; NAK names the packet that goes again, with ETX. In M1 nothing is waited for. A message that the line has cut
//! goes on where it was. Every question and command is answered in binary and in text (`--encoding ascii`).

use std::collections::{BTreeMap, VecDeque};

use anyhow::Context as _;
use onemap_model::Timestamp;
use onemap_wire::sl651::reply::{Line, Mode};
use onemap_wire::sl651::{
    Body, Content, Control, Decimal, Definition, Direction, Element, End, Frame, Framer, Group, Number,
    Parameter, Piece, Stamp, Station, StationClass, split,
};

use super::clock::OwnClock;
use super::values::{has, value};
use super::{Out, Speaker, StationArgs, Tally};

const HOUR_MS: i64 = 3_600_000;
const FIVE_MINUTES_MS: i64 = 300_000;
/// Waits so long for an answer, and repeats so often.
const OVER_TIME_MS: i64 = 10_000;
const REPEATS: u32 = 2;
const KEEP_ALIVE_MS: i64 = 40_000;
const MOST_WAITING: usize = 2_000;
/// River station.
const RIVER: StationClass = StationClass(0x48);
/// A JPEG's beginning and end.
const PICTURE: [u8; 4] = [0xFF, 0xD8, 0xFF, 0xD9];
const VERSION: &[u8] = b"OM-SIM-1";
/// Values of a series in one answer.
const MOST_VALUES: i64 = 400;

/// A message that waits for its answer.
#[derive(Debug)]
struct Report {
    packets: Vec<Frame>,
    /// Which of them goes next, and waits (M2).
    next: usize,
    at: Timestamp,
    n_times: u32,
}

impl Report {
    /// What goes at once.
    fn due(&self, mode: Mode) -> &[Frame] {
        match mode {
            Mode::M3 | Mode::M1 => &self.packets,
            _ => self.packets.get(self.next..=self.next).unwrap_or_default(),
        }
    }
}

/// A station of rain and level.
#[derive(Debug)]
pub(super) struct Sl651 {
    line: Line,
    mode: Mode,
    packet_bytes: usize,
    framer: Framer,
    seed: u64,
    holes: f64,
    is_forgetful: bool,
    interval_ms: i64,
    clock: OwnClock,
    serial: u16,
    last_timed: i64,
    last_hour: i64,
    last_spoken: i64,
    waiting: VecDeque<Vec<Frame>>,
    sent: Option<Report>,
    /// Items that were set, by function of their reading and number.
    items: BTreeMap<(u8, u16), Parameter>,
    tally: Tally,
}

impl Sl651 {
    pub(super) fn new(args: &StationArgs, id: &str, seed: u64, now: Timestamp) -> anyhow::Result<Self> {
        let station: Station = id
            .parse()
            .context("--id of an SL 651 station is 10 hexadecimal digits")?;
        let password = args.password.as_deref().unwrap_or("1234");
        let password = u16::from_str_radix(password, 16).context("--password is 4 hexadecimal digits")?;
        let clock = OwnClock::new(now, &args.faults);
        let own = clock.shows(now).ms();
        Ok(Self {
            line: Line {
                station,
                centre: 1,
                password,
                encoding: args.encoding.into(),
            },
            mode: args.mode.into(),
            packet_bytes: usize::from(args.packet_bytes),
            framer: Framer::new(),
            seed,
            holes: args.faults.holes,
            is_forgetful: args.forgetful,
            interval_ms: i64::from(args.interval) * 1000,
            clock,
            serial: 0,
            last_timed: own,
            last_hour: own,
            last_spoken: now.ms(),
            waiting: VecDeque::new(),
            sent: None,
            items: BTreeMap::new(),
            tally: Tally::default(),
        })
    }

    fn serial(&mut self) -> u16 {
        self.serial = self.serial.checked_add(1).unwrap_or(1);
        self.serial
    }

    fn level(&self, at: Timestamp) -> f64 {
        value(self.seed, "level", 2.4, at)
    }

    /// Tenths of a millimetre in the five minutes that end then: it rains now and then.
    fn rain(&self, end: Timestamp) -> u8 {
        let wet = value(self.seed, "rain", 1.0, end);
        ((wet - 1.1).max(0.0) * 60.0) as u8
    }

    /// Millimetres since 08:00, by the tenth.
    fn rain_today(&self, at: Timestamp) -> f64 {
        let day_start = at.ms() - at.ms().rem_euclid(24 * HOUR_MS); // 08:00 in Beijing is 00:00 UTC
        let ends = (day_start + FIVE_MINUTES_MS..=at.ms()).step_by(FIVE_MINUTES_MS as usize);
        ends.map(|end| f64::from(self.rain(Timestamp::from_ms(end))))
            .sum::<f64>()
            / 10.0
    }

    fn head(&self, observed: Timestamp) -> Vec<Group> {
        vec![
            Group::Station {
                station: self.line.station,
                class: Some(RIVER),
            },
            Group::Observed(Stamp::of(observed, 10)),
        ]
    }

    fn present(&self, at: Timestamp) -> Vec<Group> {
        let mut groups = self.head(at);
        groups.push(element(0x1F, 3, 1, Some(self.rain_today(at))));
        groups.push(element(0x39, 4, 3, Some(self.level(at))));
        groups.push(element(0x38, 2, 2, Some(12.6)));
        groups
    }

    /// An hour's report: rain and levels every five minutes of it.
    fn hour(&self, end: Timestamp) -> Vec<Group> {
        let at = |n: i64| Timestamp::from_ms(end.ms() - HOUR_MS + n * FIVE_MINUTES_MS);
        // The time before a series is that of its first value, before anything else its period's end.
        let mut groups = self.head(at(1));
        groups.push(Group::Rain((1..=12).map(|n| Some(self.rain(at(n)))).collect()));
        groups.push(Group::Observed(Stamp::of(end, 10)));
        groups.push(element(0x1F, 3, 1, Some(self.rain_today(end))));
        groups.push(Group::Observed(Stamp::of(at(1), 10)));
        let levels = (1..=12).map(|n| Some((self.level(at(n)) * 100.0).round() as u16));
        groups.push(Group::Levels {
            element: Element(0xF5),
            values: levels.collect(),
        });
        groups.push(Group::Observed(Stamp::of(end, 10)));
        groups.push(element(0x38, 2, 2, Some(12.6)));
        groups
    }

    fn report(&mut self, now: Timestamp, function: u8, groups: Vec<Group>) {
        let serial = self.serial();
        let sent = self.clock.shows(now);
        let frame = self.line.report(function, serial, sent, groups);
        let packets = frame.and_then(|frame| split(&frame, self.packet_bytes).ok());
        self.waiting.extend(packets);
        while self.waiting.len() > MOST_WAITING {
            self.waiting.pop_front();
        }
    }

    fn come_due(&mut self, now: Timestamp, is_connected: bool) {
        let own = self.clock.shows(now).ms();
        let keeps = is_connected || !self.is_forgetful;
        let timed = own - own.rem_euclid(self.interval_ms);
        if timed > self.last_timed {
            self.last_timed = timed;
            if keeps {
                let groups = self.present(Timestamp::from_ms(timed));
                self.report(now, 0x32, groups);
            }
        }
        let mut hour = self.last_hour - self.last_hour.rem_euclid(HOUR_MS) + HOUR_MS;
        while hour <= own {
            self.last_hour = hour;
            if keeps && has(self.seed, self.holes, Timestamp::from_ms(hour)) {
                let groups = self.hour(Timestamp::from_ms(hour));
                self.report(now, 0x34, groups);
            }
            hour += HOUR_MS;
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
            self.last_spoken = now.ms();
            send(sent.due(self.mode), out);
        } else if let Some(packets) = self.waiting.pop_front() {
            self.tally.n_reports += 1;
            self.last_spoken = now.ms();
            let sent = Report {
                packets,
                next: 0,
                at: now,
                n_times: 1,
            };
            send(sent.due(self.mode), out);
            self.sent = Some(sent).filter(|_| self.mode != Mode::M1);
        } else if now.ms() - self.last_spoken >= KEEP_ALIVE_MS {
            self.last_spoken = now.ms();
            let (serial, sent) = (self.serial(), self.clock.shows(now));
            let alive = Body::plain(serial, Stamp::of(sent, 12));
            self.say(0x2F, End::Etx, &alive, out);
        }
    }

    fn say(&self, function: u8, end: End, body: &Body, out: &mut Out) {
        let frame = self.line.frame(function, end, body);
        out.frames.extend(frame.and_then(|frame| frame.encode().ok()));
    }

    /// ACK, EOT, ESC or NAK to what was sent last.
    fn answered(&mut self, now: Timestamp, answer: &Frame, out: &mut Out) {
        let is_its = |sent: &&mut Report| sent.packets.iter().any(|frame| frame.function == answer.function);
        let Some(sent) = self.sent.as_mut().filter(is_its) else {
            return;
        };
        match answer.end {
            End::Nak => {
                (sent.n_times, sent.at) = (sent.n_times + 1, now);
                self.tally.n_again += 1;
                self.tally.n_not_taken += 1;
                let named = answer.packet.map(|packet| usize::from(packet.number) - 1);
                match named.and_then(|i| sent.packets.get(i)) {
                    Some(packet) => {
                        let last = Frame {
                            end: End::Etx,
                            ..packet.clone()
                        };
                        send(&[last], out);
                    }
                    None => send(sent.due(self.mode), out),
                }
            }
            End::Ack => {
                // A repeat of a packet may be answered twice; the next one then waits for its own answer.
                if sent.next + 1 < sent.packets.len() {
                    (sent.next, sent.n_times, sent.at) = (sent.next + 1, 1, now);
                    send(sent.due(self.mode), out);
                }
            }
            _ => {
                self.tally.n_answered += 1;
                self.sent = None;
            }
        }
    }

    fn asked(&mut self, now: Timestamp, question: &Frame, out: &mut Out) {
        self.tally.n_requests += 1;
        if question.password != self.line.password {
            self.tally.n_refused += 1;
            return; // a station that is asked with a wrong password says nothing
        }
        let Ok(body) = question.read() else {
            self.tally.n_bad += 1;
            return;
        };
        let own = self.clock.shows(now);
        let station = Some(self.line.station);
        let groups = |groups| Content::Groups { groups, n_cut: 0 };
        let content = match (question.function, body.content) {
            (0x37, _) => groups(self.present(own)),
            (
                0x38,
                Content::Period {
                    from,
                    to,
                    step,
                    element,
                },
            ) => match self.period(&from, &to, step, element) {
                Some(series) => groups(series),
                None => return self.refuse(),
            },
            (0x3A, Content::Asked(asked)) => {
                let present = self.present(own);
                let of = |wanted: Element| {
                    present
                        .iter()
                        .find(|group| matches!(group, Group::Element { element, .. } if *element == wanted))
                        .cloned()
                };
                let mut answer = self.head(own);
                answer.extend(asked.iter().map(|(element, definition)| {
                    of(*element).unwrap_or_else(|| missing(*element, *definition))
                }));
                groups(answer)
            }
            (0x36, _) => groups([self.head(own), vec![Group::Picture(PICTURE.to_vec())]].concat()),
            (0x39, _) => groups([self.head(own), vec![Group::Manual(b"H 0 0".to_vec())]].concat()),
            (0x44, _) => {
                let mut answer = self.head(own);
                answer.extend((0x70..=0x72).map(|id| element(id, 2, 1, Some(220.0))));
                answer.extend((0x73..=0x75).map(|id| element(id, 2, 1, Some(4.2))));
                groups(answer)
            }
            (0x4B, Content::Groups { groups: card, .. }) => groups([self.head(own), card].concat()),
            (function @ (0x40 | 0x42), Content::Parameters { items, .. }) => {
                for item in &items {
                    let key = (function + 1, item.element.0);
                    self.items.insert(key, item.clone());
                }
                Content::Parameters { station, items }
            }
            (function, Content::AskedItems(table, asked)) => {
                let items = asked.iter().map(|(element, definition)| {
                    let set = self.items.get(&(function, element.0)).cloned();
                    set.unwrap_or_else(|| Parameter {
                        table,
                        element: *element,
                        definition: *definition,
                        raw: vec![0; definition.n_bytes()],
                    })
                });
                Content::Parameters {
                    station,
                    items: items.collect(),
                }
            }
            (0x45, _) => Content::Control {
                station,
                control: Some(Control::Version(VERSION.to_vec())),
            },
            (0x46, _) => {
                let mut answer = self.head(own);
                answer.push(Group::State(0));
                groups(answer)
            }
            (0x49, Content::Parameters { items, .. }) => {
                let Some(new) = items.get(1).and_then(|item| item.raw.as_slice().try_into().ok()) else {
                    return self.refuse();
                };
                self.line.password = u16::from_be_bytes(new);
                Content::Parameters { station, items }
            }
            (0x4A, _) => {
                let Some(time) = body.sent.and_then(|sent| sent.moment()) else {
                    return self.refuse();
                };
                self.clock.set(now, time);
                Content::Control {
                    station,
                    control: None,
                }
            }
            (0x4C..=0x4F, Content::Control { control, .. }) => Content::Control { station, control },
            (0x47 | 0x48, _) => Content::Control {
                station,
                control: None,
            },
            (0x50, _) => Content::Control {
                station,
                control: Some(Control::Counters(vec![0; 32])),
            },
            (0x51, _) => Content::Control {
                station,
                control: None,
            },
            _ => return self.refuse(),
        };
        let answer = Body {
            serial: Some(self.serial()),
            sent: Some(Stamp::of(self.clock.shows(now), 12)),
            content,
        };
        self.last_spoken = now.ms();
        let frame = self.line.frame(question.function, End::Etx, &answer);
        let packets = frame
            .and_then(|frame| split(&frame, self.packet_bytes).ok())
            .unwrap_or_default();
        self.tally.n_reports += 1;
        send(&packets, out);
    }

    fn refuse(&mut self) {
        self.tally.n_refused += 1;
    }

    /// The values of whole hours every five minutes.
    fn arrays(&self, which: Element, first: i64, last: i64) -> Vec<Group> {
        let n_hours = (last - first) / HOUR_MS + 1;
        let end_of = |at: i64| Timestamp::from_ms(at - (at - first - 1).rem_euclid(HOUR_MS) - 1 + HOUR_MS);
        let ends = (1..=12 * n_hours).map(|n| first + n * FIVE_MINUTES_MS);
        let known = ends.map(|at| {
            let at = Timestamp::from_ms(at);
            (at, has(self.seed, self.holes, end_of(at.ms())))
        });
        let values = match which {
            Element::RAIN_ARRAY => Group::Rain(known.map(|(at, has)| has.then(|| self.rain(at))).collect()),
            element => Group::Levels {
                element,
                values: known
                    .map(|(at, has)| has.then(|| (self.level(at) * 100.0).round() as u16))
                    .collect(),
            },
        };
        let mut groups = self.head(Timestamp::from_ms(first + FIVE_MINUTES_MS));
        groups.extend([Group::Step([0, 0, 5]), values]);
        groups
    }

    /// A series of the level or of today's rain; hours without values are marked as missing.
    fn period(
        &self,
        from: &Stamp,
        to: &Stamp,
        step: [u8; 3],
        (which, definition): (Element, Definition),
    ) -> Option<Vec<Group>> {
        let [days, hours, minutes] = step.map(|bcd| i64::from((bcd >> 4) * 10 + (bcd & 0x0F)));
        let step_ms = ((days * 24 + hours) * 60 + minutes) * 60_000;
        let (first, last) = (from.moment()?.ms(), to.moment()?.ms());
        if step_ms <= 0 || last < first || (last - first) / step_ms >= MOST_VALUES {
            return None;
        }
        if matches!(which.0, 0xF4..=0xFC) {
            return (last - first < 24 * HOUR_MS).then(|| self.arrays(which, first, last));
        }
        let at = (first..=last).step_by(step_ms as usize);
        let values = at.map(|at| {
            let moment = Timestamp::from_ms(at);
            let hour = Timestamp::from_ms(at + (HOUR_MS - at.rem_euclid(HOUR_MS)) % HOUR_MS);
            let has = has(self.seed, self.holes, hour);
            let amount = match which {
                Element(0x1F) => self.rain_today(moment),
                _ => self.level(moment),
            };
            number(has.then_some(amount), definition)
        });
        let mut groups = self.head(Timestamp::from_ms(first));
        groups.push(Group::Step(step));
        groups.push(Group::Element {
            element: which,
            definition: Some(definition),
            values: values.collect(),
            is_series: true,
        });
        Some(groups)
    }
}

fn send(packets: &[Frame], out: &mut Out) {
    out.frames
        .extend(packets.iter().filter_map(|packet| packet.encode().ok()));
}

fn number(amount: Option<f64>, definition: Definition) -> Number {
    match amount {
        Some(amount) => Number::Value(Decimal {
            digits: (amount * 10f64.powi(i32::from(definition.decimals()))).round() as i128,
            decimals: definition.decimals(),
        }),
        None => Number::Missing {
            raw: "FF".repeat(definition.n_bytes()),
        },
    }
}

fn element(id: u16, n_bytes: usize, decimals: u8, amount: Option<f64>) -> Group {
    let definition = Definition::new(n_bytes, decimals).unwrap_or(Definition(0));
    Group::Element {
        element: Element(id),
        definition: Some(definition),
        values: vec![number(amount, definition)],
        is_series: false,
    }
}

fn missing(element: Element, definition: Definition) -> Group {
    Group::Element {
        element,
        definition: Some(definition),
        values: vec![number(None, definition)],
        is_series: false,
    }
}

impl Speaker for Sl651 {
    fn connected(&mut self, now: Timestamp, out: &mut Out) {
        self.framer = Framer::new();
        if let Some(sent) = &mut self.sent {
            (sent.n_times, sent.at) = (1, now);
            self.tally.n_again += 1;
            send(sent.due(self.mode), out);
        } else {
            self.last_spoken = now.ms() - KEEP_ALIVE_MS; // the first thing said names the station
        }
    }

    fn heard(&mut self, now: Timestamp, bytes: &[u8], out: &mut Out) {
        for piece in self.framer.push(bytes) {
            match piece {
                Piece::Frame { frame, .. } if frame.direction == Direction::Down => match frame.end {
                    End::Enq => self.asked(now, &frame, out),
                    _ => self.answered(now, &frame, out),
                },
                _ => self.tally.n_bad += 1,
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
        let timed = self.last_timed - self.last_timed.rem_euclid(self.interval_ms) + self.interval_ms - ahead;
        let hour = self.last_hour - self.last_hour.rem_euclid(HOUR_MS) + HOUR_MS - ahead;
        let line = match &self.sent {
            Some(sent) => sent.at.ms() + OVER_TIME_MS,
            None => self.last_spoken + KEEP_ALIVE_MS,
        };
        Timestamp::from_ms(timed.min(hour).min(line))
    }

    fn tally(&self) -> Tally {
        self.tally
    }
}
