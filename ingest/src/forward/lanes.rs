//! Which frame goes next: of each station one at a time and in order, of many stations many at once.
//!
//! Pure: times are arguments. A station whose frames the superior does not answer is parked and tried again later,
//! and the others go on. A frame that it refuses goes again as often as one without an answer, and then its station goes on
//! with the next.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
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
    /// How often the first was refused.
    n_refusals: u32,
    /// Up to here everything of the station is done.
    done: u64,
    parked_until: Option<Instant>,
    n_parkings: u32,
    /// Behind the queue frames were left out, from this position on.
    skipped: Option<u64>,
    /// How many were left out.
    n_skipped: usize,
}

impl Lane {
    /// The first is done; the next is due at once.
    fn pop(&mut self) -> Option<Outgoing> {
        let frame = self.queue.pop_front()?;
        self.done = frame.position;
        self.sent = None;
        self.n_refusals = 0;
        Some(frame)
    }

    /// Whether its first frame was sent and has this request number.
    fn waits_for(&self, qn: &str) -> bool {
        self.sent.is_some() && self.queue.front().is_some_and(|frame| &*frame.qn == qn)
    }
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
    /// With the positions up to which stations are done, from before a restart.
    pub(super) fn new(patience: Patience, done: BTreeMap<Box<str>, u64>) -> Self {
        let lane = |(mn, done)| {
            (
                mn,
                Lane {
                    done,
                    ..Lane::default()
                },
            )
        };
        Self {
            patience,
            lanes: done.into_iter().map(lane).collect(),
            open: BTreeSet::new(),
            n_frames: 0,
            heard: None,
        }
    }

    pub(super) fn n_frames(&self) -> usize {
        self.n_frames
    }

    /// Frames that were read and are not done, those that were left out of memory too.
    pub(super) fn n_open(&self) -> usize {
        let n_skipped: usize = self.lanes.values().map(|lane| lane.n_skipped).sum();
        self.n_frames + n_skipped
    }

    /// Stations that are done further than a position, and how far: what a restart does not send again.
    pub(super) fn done_beyond(&self, position: u64) -> BTreeMap<Box<str>, u64> {
        let ahead = self.lanes.iter().filter(|(_, lane)| lane.done > position);
        ahead.map(|(mn, lane)| (mn.clone(), lane.done)).collect()
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
        if frame.position <= lane.done {
            return; // done before a restart
        }
        if lane.skipped.is_some() {
            lane.n_skipped += 1;
            return; // it is read again with the others
        }
        self.open.insert(frame.position);
        if lane.parked_until.is_some() && lane.queue.len() >= MOST_PARKED {
            lane.skipped = Some(frame.position);
            lane.n_skipped = 1;
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
        let n_read = frames.len();
        self.n_frames += n_read;
        self.open.extend(frames.iter().map(|frame| frame.position));
        lane.queue.extend(frames);
        self.open.extend(more);
        lane.skipped = more;
        lane.n_skipped = more.map_or(0, |_| lane.n_skipped.saturating_sub(n_read).max(1));
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
                lane.pop();
                n_done += 1;
            }
        }
        self.n_frames -= n_done;
        due
    }

    /// The superior said something.
    pub(super) fn hear(&mut self, now: Instant) {
        self.heard = Some(now);
    }

    /// A 9014; whether it was waited for.
    pub(super) fn answered(&mut self, now: Instant, mn: &str, qn: &str) -> bool {
        self.heard = Some(now);
        let Some(lane) = self.waiting(mn, qn) else {
            return false;
        };
        lane.parked_until = None;
        lane.n_parkings = 0;
        if let Some(frame) = lane.pop() {
            self.open.remove(&frame.position);
            self.n_frames -= 1;
        }
        true
    }

    /// A refusal of a frame, which is an answer of the connection. The frame goes again after the time of an answer; gives it
    /// when it was refused as often as it may be sent, and its station goes on.
    pub(super) fn refused(&mut self, now: Instant, mn: &str, qn: &str) -> Option<Outgoing> {
        self.heard = Some(now);
        let repeats = self.patience.repeats;
        let lane = self.waiting(mn, qn)?;
        lane.n_refusals += 1;
        if lane.n_refusals <= repeats {
            return None;
        }
        lane.parked_until = None;
        lane.n_parkings = 0;
        let frame = lane.pop()?;
        self.open.remove(&frame.position);
        self.n_frames -= 1;
        Some(frame)
    }

    /// The station whose frame an answer is to; answers of some platforms have no MN.
    fn waiting(&mut self, mn: &str, qn: &str) -> Option<&mut Lane> {
        match mn {
            "" => self.lanes.values_mut().find(|lane| lane.waits_for(qn)),
            mn => self.lanes.get_mut(mn).filter(|lane| lane.waits_for(qn)),
        }
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
        let mut lanes = Lanes::new(PATIENCE, BTreeMap::new());
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
        let mut lanes = Lanes::new(PATIENCE, BTreeMap::new());
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
        let mut lanes = Lanes::new(PATIENCE, BTreeMap::new());
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

    #[test]
    fn a_frame_that_is_refused_goes_again_and_then_its_station_goes_on() {
        let mut now = Instant::now();
        let mut lanes = Lanes::new(PATIENCE, BTreeMap::new());
        lanes.take(frame(1, "A"));
        lanes.take(frame(2, "A"));
        for n in 0..=PATIENCE.repeats {
            assert_eq!(sent(&mut lanes, now), ["A1"], "{n}");
            assert_eq!(lanes.refused(now, "A", "9"), None, "not that one");
            let given_up = lanes.refused(now, if n == 0 { "" } else { "A" }, "1");
            assert_eq!(given_up.is_some(), n == PATIENCE.repeats, "{n}");
            if n < PATIENCE.repeats {
                assert_eq!(
                    lanes.due(now, 1 << 20),
                    Due::default(),
                    "not before the wait is over"
                );
                now += PATIENCE.answer;
            }
        }
        assert_eq!(
            (sent(&mut lanes, now), lanes.cursor(2)),
            (vec!["A2".to_owned()], 1)
        );
        // One refusal and then silence: the connection has answered, so the station is parked.
        assert_eq!(lanes.refused(now, "A", "2"), None);
        for _ in 0..=PATIENCE.repeats {
            now += PATIENCE.answer;
            assert!(!lanes.due(now, 1 << 20).hang_up);
        }
        assert_eq!((lanes.n_parked(), lanes.n_frames()), (1, 1));
    }

    #[test]
    fn a_restart_sends_again_only_what_was_not_answered() {
        let now = Instant::now();
        let mut lanes = Lanes::new(PATIENCE, BTreeMap::new());
        let all = [(1, "A"), (2, "B"), (3, "C"), (4, "B"), (5, "A")];
        for (position, mn) in all {
            lanes.take(frame(position, mn));
        }
        let answer = |lanes: &mut Lanes, mn, qn| {
            sent(lanes, now);
            assert!(lanes.answered(now, mn, qn));
        };
        answer(&mut lanes, "B", "2");
        answer(&mut lanes, "C", "3");
        sent(&mut lanes, now);
        assert_eq!((lanes.cursor(5), lanes.n_open()), (0, 3));
        let done = lanes.done_beyond(lanes.cursor(5));
        let want = [("B", 2), ("C", 3)].map(|(mn, at)| (Box::from(mn), at));
        assert_eq!(done, BTreeMap::from(want));
        let mut lanes = Lanes::new(PATIENCE, done);
        for (position, mn) in all {
            lanes.take(frame(position, mn));
        }
        assert_eq!(lanes.n_open(), 3);
        assert_eq!(sent(&mut lanes, now), ["A1", "B4"]);
        answer(&mut lanes, "A", "1");
        answer(&mut lanes, "B", "4");
        answer(&mut lanes, "A", "5");
        assert_eq!((lanes.cursor(5), lanes.n_open()), (5, 0));
        assert_eq!(lanes.done_beyond(5), BTreeMap::new());
    }
}
