//! An HJ 212 station: uploads with answers and repeats, and every request of the standard's table.

use std::collections::VecDeque;

use anyhow::ensure;
use onemap_model::Timestamp;
use onemap_wire::hj212::{
    Answered, ExeRtn, Flag, Framer, Group, Item, MAX_SEGMENT, Piece, QnRtn, Segment, Version, decode, encode,
    execution_answer, notice_answer, request_answer, split, stamp,
};

use super::clock::OwnClock;
use super::faults::Faults;
use super::values::{has, value};
use super::{Out, Speaker, StationArgs, Tally};

/// Uploads that wait for a line.
const MOST_WAITING: usize = 5_000;
/// Requests remembered, so that a repeated one is not executed twice.
const REMEMBERED: usize = 16;
/// Periods sent for one request.
const MOST_PERIODS: usize = 10_000;
const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Beijing time stands so far ahead.
const BEIJING_MS: i64 = 8 * HOUR_MS;

/// What a station is.
#[derive(Clone, Debug)]
pub struct Hj212Config {
    /// Device number.
    pub mn: String,
    /// Password.
    pub pw: String,
    /// System code.
    pub st: String,
    /// Edition.
    pub version: Version,
    /// Seconds between real-time values.
    pub interval_s: u32,
    /// What could not be sent is not sent later.
    pub is_forgetful: bool,
    /// How wrong its clock is, and which periods it has no values of.
    pub faults: Faults,
    /// Of values and holes.
    pub seed: u64,
    /// So many frames as fast as may be, and how many of them without an answer.
    pub load: Option<(u64, usize)>,
}

/// Codes with a usual amount and their decimals.
type Factors = &'static [(&'static str, f64, usize)];

fn factors(st: &str) -> Factors {
    match st {
        "21" => &[
            ("w01010", 12.0, 1),
            ("w01001", 7.8, 2),
            ("w01009", 8.6, 2),
            ("w01014", 420.0, 1),
            ("w01003", 14.0, 1),
            ("w01019", 2.1, 2),
            ("w21003", 0.21, 3),
            ("w21011", 0.06, 3),
            ("w21001", 1.4, 2),
        ],
        "23" => &[("Leq", 55.0, 1), ("LMx", 71.0, 1), ("LMn", 41.0, 1)],
        "31" => &[
            ("a21026", 24.0, 2),
            ("a21002", 61.0, 2),
            ("a34013", 6.0, 2),
            ("a19001", 8.0, 2),
            ("a01011", 11.0, 2),
            ("a01012", 92.0, 1),
            ("a00000", 31.0, 2),
        ],
        "32" => &[
            ("w01018", 27.0, 1),
            ("w21003", 1.6, 3),
            ("w21011", 0.3, 3),
            ("w01001", 7.2, 2),
            ("w00000", 40.0, 2),
        ],
        _ => &[
            ("a34004", 38.0, 1),
            ("a34002", 81.0, 1),
            ("a21026", 11.0, 1),
            ("a21004", 34.0, 1),
            ("a21005", 0.8, 2),
            ("a05024", 72.0, 1),
            ("a01001", 9.0, 1),
            ("a01002", 47.0, 1),
            ("a01006", 78.0, 2),
            ("a01007", 2.4, 1),
        ],
    }
}

/// The station that the command line asks for.
///
/// # Errors
/// When an argument is none of the standard's.
pub(super) fn config(args: &StationArgs, mn: String, seed: u64) -> anyhow::Result<Hj212Config> {
    let version = match args.edition.as_str() {
        "2005" => Version::V2005,
        "2017" => Version::V2017,
        "2025" => Version::V2025,
        other => anyhow::bail!("there is no edition `{other}`: 2005, 2017, 2025"),
    };
    ensure!(
        ["21", "22", "23", "31", "32"].contains(&args.system.as_str()),
        "--system is 21, 22, 23, 31 or 32"
    );
    ensure!((1..=24).contains(&mn.len()), "an MN has 1 to 24 characters");
    let pw = args.password.clone().unwrap_or_else(|| "123456".to_owned());
    ensure!(args.window > 0, "--window must be at least 1");
    Ok(Hj212Config {
        mn,
        pw,
        st: args.system.clone(),
        version,
        interval_s: args.interval,
        is_forgetful: args.forgetful,
        faults: args.faults.clone(),
        seed,
        load: args.count.map(|count| (count, args.window)),
    })
}

/// One frame on its way.
#[derive(Debug)]
struct Upload {
    /// Its request number; none of a frame that is not answered.
    qn: Option<String>,
    bytes: Vec<u8>,
    /// What it says was counted.
    is_report: bool,
}

#[derive(Debug)]
struct Sent {
    upload: Upload,
    at: Timestamp,
    n_times: u32,
}

/// A station.
#[derive(Debug)]
pub struct Hj212 {
    config: Hj212Config,
    factors: Factors,
    framer: Framer,
    clock: OwnClock,
    real_time: bool,
    state: bool,
    minute_interval: u32,
    over_time_s: u32,
    resends: u32,
    last_qn_ms: i64,
    /// The ends of the last periods that were seen to, station clock.
    last_rtd: i64,
    last_minute: i64,
    last_hour: i64,
    last_day: i64,
    waiting: VecDeque<Upload>,
    sent: VecDeque<Sent>,
    done: VecDeque<String>,
    n_left: u64,
    load_stamp: i64,
    tally: Tally,
}

impl Hj212 {
    /// A station that was switched on just now.
    pub fn new(config: Hj212Config, now: Timestamp) -> Self {
        let clock = OwnClock::new(now, &config.faults);
        let own = clock.shows(now).ms();
        let n_left = config.load.map_or(0, |(count, _)| count);
        Self {
            factors: factors(&config.st),
            framer: Framer::new(MAX_SEGMENT),
            clock,
            real_time: true,
            state: false,
            minute_interval: 10,
            over_time_s: 10,
            resends: 3,
            last_qn_ms: 0,
            last_rtd: own,
            last_minute: own,
            last_hour: own,
            last_day: own,
            waiting: VecDeque::new(),
            sent: VecDeque::new(),
            done: VecDeque::new(),
            n_left,
            load_stamp: own - own.rem_euclid(1000) - 1000 * n_left as i64,
            tally: Tally::default(),
            config,
        }
    }

    /// A request number that no other frame has.
    fn qn(&mut self, now: Timestamp) -> String {
        self.last_qn_ms = self.clock.shows(now).ms().max(self.last_qn_ms + 1);
        stamp::qn(Timestamp::from_ms(self.last_qn_ms))
    }

    fn segment(&self, cn: &str, qn: &str, wants_answer: bool, cp: Vec<Group>) -> Segment {
        let flag = Flag::new(self.config.version, false, wants_answer).0.to_string();
        let header = [
            ("QN", qn),
            ("ST", &self.config.st),
            ("CN", cn),
            ("PW", &self.config.pw),
            ("MN", &self.config.mn),
            ("Flag", &flag),
        ];
        Segment {
            header: header.map(|(key, value)| Item::new(key, value)).to_vec(),
            cp,
            ..Segment::default()
        }
    }

    /// Queues a segment, in packets when it is long. Each packet has a request number of its own.
    fn upload(&mut self, now: Timestamp, segment: &Segment, is_report: bool) {
        let mut numbers = Vec::new();
        let packets = split(segment, |_| {
            let qn = self.qn(now);
            numbers.push(qn.clone());
            qn
        });
        for packet in packets.unwrap_or_default() {
            let Ok(bytes) = encode(&packet) else { continue };
            let qn = packet.wants_answer().then(|| packet.qn().to_owned());
            self.waiting.push_back(Upload { qn, bytes, is_report });
        }
        while self.waiting.len() > MOST_WAITING {
            self.waiting.pop_front();
        }
    }

    fn now_or_never(&mut self, out: &mut Out, segment: &Segment) {
        out.frames.extend(encode(segment).ok());
    }

    fn stamp_group(at: Timestamp) -> Group {
        Group(vec![Item::new("DataTime", stamp::written(at))])
    }

    /// Real-time values.
    fn rtd(&self, at: Timestamp) -> Vec<Group> {
        let mut cp = vec![Self::stamp_group(at)];
        for (code, base, decimals) in self.factors {
            let v = value(self.config.seed, code, *base, at);
            cp.push(Group(vec![
                Item::new(format!("{code}-Rtd"), format!("{v:.decimals$}")),
                Item::new(format!("{code}-Flag"), "N"),
            ]));
        }
        cp
    }

    /// Statistics of a period, from ten instants of it.
    fn statistics(&self, start: Timestamp, length_ms: i64) -> Vec<Group> {
        let mut cp = vec![Self::stamp_group(start)];
        for (code, base, decimals) in self.factors {
            let at = |n: i64| Timestamp::from_ms(start.ms() + length_ms * n / 10);
            let values: Vec<f64> = (0..10)
                .map(|n| value(self.config.seed, code, *base, at(n)))
                .collect();
            let least = values.iter().copied().fold(f64::INFINITY, f64::min);
            let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let mut group = Vec::new();
            for (suffix, v) in [("Min", least), ("Avg", mean), ("Max", most)] {
                group.push(Item::new(format!("{code}-{suffix}"), format!("{v:.decimals$}")));
            }
            group.push(Item::new(format!("{code}-Flag"), "N"));
            cp.push(Group(group));
        }
        cp
    }

    /// Queues what became due since it was last asked.
    fn come_due(&mut self, now: Timestamp, is_connected: bool) {
        let own = self.clock.shows(now).ms();
        let keeps = is_connected || !self.config.is_forgetful;
        let rtd_ms = i64::from(self.config.interval_s) * 1000;
        if let Some(at) = last_border(self.last_rtd, own, rtd_ms) {
            self.last_rtd = at;
            if self.real_time && is_connected {
                let cp = self.rtd(Timestamp::from_ms(at));
                self.queue(now, "2011", cp);
            }
        }
        for (cn, length_ms, offset_ms) in [
            ("2051", i64::from(self.minute_interval) * MINUTE_MS, 0),
            ("2061", HOUR_MS, 0),
            ("2031", DAY_MS, BEIJING_MS),
        ] {
            let last = match cn {
                "2051" => &mut self.last_minute,
                "2061" => &mut self.last_hour,
                _ => &mut self.last_day,
            };
            let mut ends = Vec::new();
            while let Some(end) = next_border(*last, length_ms, offset_ms).filter(|end| *end <= own) {
                *last = end;
                ends.push(end);
            }
            let behind = ends.len().saturating_sub(MOST_PERIODS);
            for end in ends.into_iter().skip(behind).filter(|_| keeps) {
                let start = Timestamp::from_ms(end - length_ms);
                if has(self.config.seed, self.config.faults.holes, start) {
                    let cp = self.statistics(start, length_ms);
                    self.queue(now, cn, cp);
                }
            }
        }
    }

    fn queue(&mut self, now: Timestamp, cn: &str, cp: Vec<Group>) {
        let qn = self.qn(now);
        let segment = self.segment(cn, &qn, true, cp);
        self.upload(now, &segment, true);
    }

    fn window(&self) -> usize {
        self.config.load.map_or(1, |(_, window)| window)
    }

    /// Sends what may be sent.
    fn pump(&mut self, now: Timestamp, out: &mut Out) {
        while self.sent.len() < self.window() {
            if self.waiting.is_empty() && self.n_left > 0 {
                self.n_left -= 1;
                self.load_stamp += 1000;
                let cp = self.rtd(Timestamp::from_ms(self.load_stamp));
                self.queue(now, "2011", cp);
            }
            let Some(upload) = self.waiting.pop_front() else {
                return;
            };
            self.tally.n_reports += u64::from(upload.is_report);
            out.frames.push(upload.bytes.clone());
            if upload.qn.is_some() {
                self.sent.push_back(Sent {
                    upload,
                    at: now,
                    n_times: 1,
                });
            }
        }
    }

    /// Sends again what was not answered, and gives up in the end.
    fn repeat(&mut self, now: Timestamp, out: &mut Out) {
        let over_time_ms = i64::from(self.over_time_s) * 1000;
        for sent in &mut self.sent {
            if now.ms() - sent.at.ms() < over_time_ms {
                continue;
            }
            if sent.n_times > self.resends {
                out.hang_up = true;
                return;
            }
            sent.n_times += 1;
            sent.at = now;
            self.tally.n_again += 1;
            out.frames.push(sent.upload.bytes.clone());
        }
    }

    /// Taken (9014, 9013), or refused by 9011, or by 9014 with a QnRtn other than 1. A frame that came with a wrong
    /// checksum goes again when its time is over, like one without an answer; another refusal would come again, too.
    fn answered(&mut self, qn: &str, answered: Answered) {
        let is_its = |sent: &Sent| sent.upload.qn.as_deref() == Some(qn);
        let Some(at) = self.sent.iter().position(is_its) else {
            return;
        };
        let refused = match answered {
            Answered::Request(code) | Answered::Refused(code) => code != Some(QnRtn::Accepted),
            Answered::Data | Answered::Notice | Answered::Execution(_) => false,
        };
        let is_damaged = matches!(
            answered,
            Answered::Request(Some(QnRtn::WrongCrc)) | Answered::Refused(Some(QnRtn::WrongCrc))
        );
        let is_report = u64::from(self.sent[at].upload.is_report);
        match refused {
            true => self.tally.n_not_taken += is_report,
            false => self.tally.n_answered += is_report,
        }
        if !is_damaged {
            self.sent.remove(at);
        }
    }

    /// A request or notice of the centre.
    fn requested(&mut self, now: Timestamp, request: &Segment, out: &mut Out) {
        self.tally.n_requests += 1;
        let pw = self.config.pw.clone();
        let is_notice = matches!(request.cn(), "2012" | "2022");
        let verdict = if request.mn() != self.config.mn {
            QnRtn::WrongMn
        } else if request.pw() != pw {
            QnRtn::WrongPw
        } else if stamp::read(request.qn()).is_none() {
            QnRtn::WrongQn
        } else if !KNOWN.contains(&request.cn()) {
            QnRtn::WrongCn
        } else {
            QnRtn::Accepted
        };
        if verdict != QnRtn::Accepted {
            self.tally.n_refused += 1;
            let answer = request_answer(request, &pw, verdict);
            self.now_or_never(out, &answer);
            return;
        }
        let answer = match is_notice {
            true => notice_answer(request, &pw),
            false => request_answer(request, &pw, verdict),
        };
        if request.wants_answer() || !is_notice {
            self.now_or_never(out, &answer);
        }
        if self.done.iter().any(|qn| qn == request.qn()) {
            return; // its answer was lost: it was executed
        }
        self.done.push_back(request.qn().to_owned());
        if self.done.len() > REMEMBERED {
            self.done.pop_front();
        }
        let result = self.execute(now, request);
        if !is_notice {
            let end = execution_answer(request, &pw, result);
            self.upload(now, &end, false);
        }
    }

    fn execute(&mut self, now: Timestamp, request: &Segment) -> ExeRtn {
        let number = |key: &str| {
            request
                .cp_value(key)
                .and_then(|text| text.trim().parse::<u32>().ok())
        };
        let one = |key: &str, text: String| vec![Group(vec![Item::new(key, text)])];
        match request.cn() {
            "1000" => {
                let (Some(over_time), Some(resends)) = (number("OverTime"), number("ReCount")) else {
                    return ExeRtn::WrongCondition;
                };
                (self.over_time_s, self.resends) = (over_time.clamp(1, 3600), resends.min(100));
            }
            "1011" => {
                let clock = stamp::written(self.clock.shows(now));
                self.reply(now, request, one("SystemTime", clock));
            }
            "1012" => {
                let Some(time) = request.cp_value("SystemTime").and_then(stamp::read) else {
                    return ExeRtn::WrongCondition;
                };
                self.clock.set(now, time);
            }
            "1061" => {
                let interval = self.config.interval_s.to_string();
                self.reply(now, request, one("RtdInterval", interval));
            }
            "1062" => match number("RtdInterval") {
                Some(seconds @ 30..=3600) => self.config.interval_s = seconds,
                _ => return ExeRtn::WrongCondition,
            },
            "1063" => {
                let interval = self.minute_interval.to_string();
                self.reply(now, request, one("MinInterval", interval));
            }
            "1064" => match number("MinInterval") {
                Some(minutes @ 1..=30) if 60 % minutes == 0 => self.minute_interval = minutes,
                _ => return ExeRtn::WrongCondition,
            },
            "1072" => match request.cp_value("NewPW").or(request.cp_value("PW")) {
                Some(new) if (1..=6).contains(&new.len()) => self.config.pw = new.to_owned(),
                _ => return ExeRtn::WrongCondition,
            },
            "2011" => self.real_time = true,
            "2012" => self.real_time = false,
            "2021" => {
                self.state = true;
                let cp = vec![
                    Self::stamp_group(self.clock.shows(now)),
                    Group(vec![Item::new("SB01-RS", "1")]),
                ];
                self.reply(now, request, cp);
            }
            "2022" => self.state = false,
            "2031" | "2041" | "2051" | "2061" => return self.history(now, request),
            "3019" => {
                let pol = request.cp_value("PolId").unwrap_or("a00000").to_owned();
                self.reply(
                    now,
                    request,
                    vec![
                        Group(vec![Item::new("PolId", pol.clone())]),
                        Group(vec![Item::new(
                            format!("{pol}-SN"),
                            format!("OM{:08}", self.config.seed % 100_000_000),
                        )]),
                    ],
                );
            }
            "3020" => {
                let pol = request.cp_value("PolId").unwrap_or("a00000").to_owned();
                let info = request.cp_value("InfoId").unwrap_or("i12001").to_owned();
                let cp = vec![
                    Self::stamp_group(self.clock.shows(now)),
                    Group(vec![Item::new("PolId", pol)]),
                    Group(vec![Item::new(format!("{info}-Info"), "0")]),
                ];
                self.reply(now, request, cp);
            }
            _ => {} // 3011 to 3018, 3021: done
        }
        ExeRtn::Done
    }

    /// Data that were asked for have the request's number.
    fn reply(&mut self, now: Timestamp, request: &Segment, cp: Vec<Group>) {
        let segment = self.segment(request.cn(), request.qn(), false, cp);
        self.upload(now, &segment, true);
    }

    fn history(&mut self, now: Timestamp, request: &Segment) -> ExeRtn {
        let time = |key| request.cp_value(key).and_then(stamp::read);
        let (Some(begin), Some(end)) = (time("BeginTime"), time("EndTime")) else {
            return ExeRtn::WrongCondition;
        };
        let (length_ms, offset_ms) = match request.cn() {
            "2051" => (i64::from(self.minute_interval) * MINUTE_MS, 0),
            "2061" => (HOUR_MS, 0),
            _ => (DAY_MS, BEIJING_MS),
        };
        // Periods that start within the span and are over.
        let own = self.clock.shows(now).ms();
        let mut start = next_border(begin.ms() - 1, length_ms, offset_ms).unwrap_or(begin.ms());
        let mut n_sent = 0;
        while start <= end.ms() && start + length_ms <= own && n_sent < MOST_PERIODS {
            let at = Timestamp::from_ms(start);
            if has(self.config.seed, self.config.faults.holes, at) {
                let cp = match request.cn() {
                    "2041" => vec![Self::stamp_group(at), Group(vec![Item::new("SB01-RT", "24.0")])],
                    _ => self.statistics(at, length_ms),
                };
                self.reply(now, request, cp);
                n_sent += 1;
            }
            start += length_ms;
        }
        match n_sent {
            0 => ExeRtn::NoData,
            _ => ExeRtn::Done,
        }
    }
}

/// Requests that a station executes.
const KNOWN: [&str; 27] = [
    "1000", "1011", "1012", "1061", "1062", "1063", "1064", "1072", "2011", "2012", "2021", "2022", "2031",
    "2041", "2051", "2061", "3011", "3012", "3013", "3014", "3015", "3016", "3017", "3018", "3019", "3020",
    "3021",
];

/// The first multiple of a length, counted from an offset, behind a moment.
fn next_border(after: i64, length_ms: i64, offset_ms: i64) -> Option<i64> {
    let behind = (after + offset_ms).rem_euclid(length_ms);
    after.checked_add(length_ms - behind)
}

/// The last multiple up to a moment, if it lies behind another.
fn last_border(after: i64, until: i64, length_ms: i64) -> Option<i64> {
    let last = until - until.rem_euclid(length_ms);
    (last > after).then_some(last)
}

impl Speaker for Hj212 {
    fn connected(&mut self, now: Timestamp, out: &mut Out) {
        self.framer = Framer::new(MAX_SEGMENT);
        // What was under way is sent again, in its order.
        for sent in &mut self.sent {
            sent.at = now;
            sent.n_times = 1;
            self.tally.n_again += 1;
            out.frames.push(sent.upload.bytes.clone());
        }
    }

    fn heard(&mut self, now: Timestamp, bytes: &[u8], out: &mut Out) {
        for piece in self.framer.push(bytes) {
            let Piece::Frame { frame, .. } = piece else {
                self.tally.n_bad += 1;
                continue;
            };
            let Ok(segment) = decode(&frame, None) else {
                self.tally.n_bad += 1;
                continue;
            };
            match Answered::of(&segment) {
                Some((qn, answered)) => self.answered(qn, answered),
                None => self.requested(now, &segment, out),
            }
        }
    }

    fn tick(&mut self, now: Timestamp, is_connected: bool, out: &mut Out) {
        if self.config.load.is_none() {
            self.come_due(now, is_connected);
        }
        if is_connected {
            self.repeat(now, out);
            self.pump(now, out);
        }
    }

    fn next(&self, now: Timestamp) -> Timestamp {
        let over_time_ms = i64::from(self.over_time_s) * 1000;
        let repeat = self.sent.iter().map(|sent| sent.at.ms() + over_time_ms).min();
        let ahead = self.clock.ahead_ms(now);
        let rtd = next_border(self.last_rtd, i64::from(self.config.interval_s) * 1000, 0);
        let minute = next_border(self.last_minute, i64::from(self.minute_interval) * MINUTE_MS, 0);
        let due = [rtd, minute].into_iter().flatten().map(|at| at - ahead).min();
        let due = due.filter(|_| self.config.load.is_none());
        let next = [repeat, due].into_iter().flatten().min();
        Timestamp::from_ms(next.unwrap_or(i64::MAX / 2))
    }

    fn is_done(&self) -> bool {
        self.config.load.is_some() && self.n_left == 0 && self.sent.is_empty() && self.waiting.is_empty()
    }

    fn tally(&self) -> Tally {
        self.tally
    }
}
