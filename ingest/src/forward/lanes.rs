//! Which frame goes next: of each station one at a time and in order, of many stations many at once.
//!
//! Pure: times are arguments. A station whose frames the superior does not answer is parked and tried again later,
//! and the others go on.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::frame::Outgoing;

/// Frames of a parked station that stay in memory; later ones are read again.
const MOST_PARKED: usize = 100;
/// How long a station is parked, first and at most.
const PARKED: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(600));

/// How answers are waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How long an answer may take.
    pub answer: Duration,
    /// How often a frame is sent again.
    pub repeats: u32,
}

#[derive(Debug, Default)]
struct Lane {
    queue: VecDeque<Outgoing>,
    /// When the first was sent last, and how often.
    sent: Option<(Instant, u32)>,
    parked_until: Option<Instant>,
    n_parkings: u32,
    /// Behind the queue frames were left out, from this position on.
    skipped: Option<u64>,
}

/// All frames that were read and not answered.
#[derive(Debug)]
pub(super) struct Lanes {
    patience: Patience,
    lanes: HashMap<Box<str>, Lane>,
    /// Positions of frames in memory, and of the first left out of each lane.
    open: BTreeSet<u64>,
    n_frames: usize,
    /// The last answer of any station.
    heard: Option<Instant>,
}

/// What to do now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) bytes: Vec<u8>,
    pub(super) n_again: u64,
    /// Frames that are not answered, sent now.
    pub(super) n_unanswered: u64,
    /// The superior answers nothing at all: a new connection is due.
    pub(super) hang_up: bool,
}

impl Lanes {
    pub(super) fn new(patience: Patience) -> Self {
        Self {
            patience,
            lanes: HashMap::new(),
            open: BTreeSet::new(),
            n_frames: 0,
            heard: None,
        }
    }

    pub(super) fn n_frames(&self) -> usize {
        self.n_frames
    }

    /// Stations whose frames are not answered.
    pub(super) fn n_parked(&self) -> usize {
        self.lanes
            .values()
            .filter(|lane| lane.parked_until.is_some())
            .count()
    }

    /// A frame that was read, in the order of positions.
    pub(super) fn take(&mut self, frame: Outgoing) {
        let lane = self.lanes.entry(frame.mn.clone()).or_default();
        if lane.skipped.is_some() {
            return; // it is read again with the others
        }
        self.open.insert(frame.position);
        if lane.parked_until.is_some() && lane.queue.len() >= MOST_PARKED {
            lane.skipped = Some(frame.position);
            return;
        }
        lane.queue.push_back(frame);
        self.n_frames += 1;
    }

    /// A station whose queue is empty while later frames of it were left out, and from where to read.
    pub(super) fn lacking(&self) -> Option<(Box<str>, u64)> {
        self.lanes.iter().find_map(|(mn, lane)| {
            let skipped = lane.skipped.filter(|_| lane.queue.is_empty())?;
            Some((mn.clone(), skipped))
        })
    }

    /// What was read again for a station; `more` is the first position that was left out again.
    pub(super) fn refill(&mut self, mn: &str, frames: Vec<Outgoing>, more: Option<u64>) {
        let Some(lane) = self.lanes.get_mut(mn) else {
            return;
        };
        if let Some(skipped) = lane.skipped.take() {
            self.open.remove(&skipped);
        }
        self.n_frames += frames.len();
        self.open.extend(frames.iter().map(|frame| frame.position));
        lane.queue.extend(frames);
        self.open.extend(more);
        lane.skipped = more;
    }

    /// Frames to be sent, at most about so many bytes.
    pub(super) fn due(&mut self, now: Instant, most_bytes: usize) -> Due {
        let mut due = Due::default();
        let Patience { answer, repeats } = self.patience;
        let is_heard = |since: Instant| self.heard.is_some_and(|heard| heard >= since);
        let mut n_done = 0;
        for lane in self.lanes.values_mut() {
            if lane.parked_until.is_some_and(|until| until > now) {
                continue;
            }
            match lane.sent {
                Some((at, _)) if now.duration_since(at) < answer => continue,
                Some((at, n_times)) if n_times > repeats => {
                    let began = at.checked_sub(answer * repeats).unwrap_or(at);
                    if !is_heard(began) {
                        due.hang_up = true;
                        return due;
                    }
                    lane.sent = None;
                    lane.parked_until =
                        Some(now + (PARKED.0 * 2u32.pow(lane.n_parkings.min(8))).min(PARKED.1));
                    lane.n_parkings += 1;
                    continue;
                }
                _ => {}
            }
            while due.bytes.len() < most_bytes
                && let Some(frame) = lane.queue.front()
            {
                due.bytes.extend_from_slice(&frame.bytes);
                if frame.is_answered {
                    let n_times = lane.sent.map_or(0, |(_, n_times)| n_times);
                    due.n_again += u64::from(n_times > 0);
                    lane.sent = Some((now, n_times + 1));
                    break;
                }
                due.n_unanswered += 1;
                self.open.remove(&frame.position);
                lane.queue.pop_front();
                n_done += 1;
            }
        }
        self.n_frames -= n_done;
        due
    }

    /// A 9014; whether it was waited for.
    pub(super) fn answered(&mut self, now: Instant, mn: &str, qn: &str) -> bool {
        let is_its_own =
            |lane: &Lane| lane.sent.is_some() && lane.queue.front().is_some_and(|frame| &*frame.qn == qn);
        let lane = match mn {
            "" => self.lanes.values_mut().find(|lane| is_its_own(lane)),
            mn => self.lanes.get_mut(mn).filter(|lane| is_its_own(lane)),
        };
        let Some(lane) = lane else { return false };
        self.heard = Some(now);
        lane.sent = None;
        lane.parked_until = None;
        lane.n_parkings = 0;
        if let Some(frame) = lane.queue.pop_front() {
            self.open.remove(&frame.position);
            self.n_frames -= 1;
        }
        true
    }

    /// The connection is gone: what was not answered goes again on the next.
    pub(super) fn broken(&mut self) {
        self.heard = None;
        for lane in self.lanes.values_mut() {
            lane.sent = None;
        }
    }

    /// When something is due again.
    pub(super) fn next(&self) -> Option<Instant> {
        let next = |lane: &Lane| {
            lane.queue.front()?;
            let answer = lane.sent.map(|(at, _)| at + self.patience.answer);
            answer.or(lane.parked_until)
        };
        self.lanes.values().filter_map(next).min()
    }

    /// Everything up to here is done, of what was read up to `read`.
    pub(super) fn cursor(&self, read: u64) -> u64 {
        self.open.first().map_or(read, |first| (first - 1).min(read))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const PATIENCE: Patience = Patience {
        answer: Duration::from_secs(10),
        repeats: 3,
    };

    fn frame(position: u64, mn: &str) -> Outgoing {
        Outgoing {
            position,
            mn: mn.into(),
            qn: position.to_string().into(),
            bytes: format!("{mn}{position} ").into_bytes(),
            is_answered: true,
        }
    }

    fn sent(lanes: &mut Lanes, now: Instant) -> Vec<String> {
        let due = lanes.due(now, 1 << 20);
        let text = String::from_utf8(due.bytes).unwrap();
        let mut words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        words.sort_unstable();
        words
    }

    #[test]
    fn stations_go_side_by_side_and_each_in_its_order() {
        let now = Instant::now();
        let mut lanes = Lanes::new(PATIENCE);
        for (position, mn) in [(1, "A"), (2, "A"), (3, "B"), (4, "A")] {
            lanes.take(frame(position, mn));
        }
        assert_eq!(sent(&mut lanes, now), ["A1", "B3"]);
        assert_eq!(lanes.cursor(4), 0);
        assert!(!lanes.answered(now, "A", "2"), "not sent yet");
        assert!(lanes.answered(now, "B", "3"));
        assert_eq!(lanes.cursor(4), 0);
        assert!(lanes.answered(now, "", "1"), "an answer without MN");
        assert_eq!(
            (sent(&mut lanes, now), lanes.cursor(4)),
            (vec!["A2".to_owned()], 1)
        );
        lanes.broken();
        assert_eq!(sent(&mut lanes, now), ["A2"], "again on the next connection");
        assert!(lanes.answered(now, "A", "2"));
        sent(&mut lanes, now);
        assert!(lanes.answered(now, "A", "4"));
        assert_eq!((lanes.cursor(4), lanes.n_frames()), (4, 0));
    }

    #[test]
    fn a_superior_that_answers_nothing_gets_a_new_connection() {
        let mut now = Instant::now();
        let mut lanes = Lanes::new(PATIENCE);
        lanes.take(frame(1, "A"));
        for n in 0..4 {
            let due = lanes.due(now, 1 << 20);
            assert_eq!(
                (due.bytes.is_empty(), due.n_again, due.hang_up),
                (false, u64::from(n > 0), false)
            );
            assert_eq!(lanes.next(), Some(now + PATIENCE.answer));
            now += PATIENCE.answer;
        }
        assert!(lanes.due(now, 1 << 20).hang_up);
    }

    #[test]
    fn a_station_that_is_not_answered_is_parked_and_nothing_of_it_is_lost() {
        let mut now = Instant::now();
        let mut lanes = Lanes::new(PATIENCE);
        lanes.take(frame(1, "A"));
        let mut position = 1;
        while lanes.n_parked() == 0 {
            position += 1;
            lanes.take(frame(position, "B"));
            sent(&mut lanes, now);
            lanes.answered(now, "B", &position.to_string());
            now += PATIENCE.answer;
            assert!(position < 10, "never parked");
        }
        assert_eq!(lanes.n_parked(), 1);
        let first = position + 1;
        let all: Vec<u64> = (first..first + 250).collect();
        for position in &all {
            lanes.take(frame(*position, "A"));
        }
        assert_eq!((lanes.n_frames(), lanes.cursor(first + 249)), (MOST_PARKED, 0));
        assert_eq!(lanes.lacking(), None, "not while it has frames");
        now += PARKED.0;
        let mut got = Vec::new();
        loop {
            let words = sent(&mut lanes, now);
            let Some(word) = words.first() else {
                let Some((mn, from)) = lanes.lacking() else { break };
                let again: Vec<u64> = all.iter().copied().filter(|p| *p >= from).collect();
                let (some, more) = again.split_at(again.len().min(60));
                lanes.refill(
                    &mn,
                    some.iter().map(|p| frame(*p, "A")).collect(),
                    more.first().copied(),
                );
                continue;
            };
            let qn = word.trim_start_matches('A').to_owned();
            assert!(lanes.answered(now, "A", &qn));
            got.push(qn.parse::<u64>().unwrap());
        }
        let want: Vec<u64> = std::iter::once(1).chain(all.iter().copied()).collect();
        assert_eq!(got, want);
        assert_eq!(lanes.cursor(first + 249), first + 249);
    }
}
