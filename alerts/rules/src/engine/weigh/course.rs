//! What is kept of a series' course: how far it has come within a time, how long it stands still.

use std::collections::VecDeque;

use onemap_model::Timestamp;
use onemap_model::alert::Input;

use super::super::entries::ms;
use crate::rule::{Change, Direction, Stuck, When};

/// The most values that are kept of one course on each side. A window that holds more turning points than that is looked
/// at by the newest of them.
const MOST_KEPT: usize = 4096;

/// What a fact remembers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in super::super) enum Memory {
    /// The last value alone.
    #[default]
    Nothing,
    /// The lowest and highest values of a window that a later one may be compared with.
    Course {
        /// Rising in value; the first is the lowest of the window.
        lows: VecDeque<Point>,
        /// Falling in value; the first is the highest of the window.
        highs: VecDeque<Point>,
        /// The newest value, and how many the window holds but for that one.
        last: Option<Point>,
        /// Time of the one before the newest.
        before: Option<i64>,
    },
    /// Since when values have stayed within a range, and which.
    Still(Option<Still>),
}

/// A value of a course.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) struct Point {
    pub(in super::super) at: i64,
    pub(in super::super) value: f64,
    pub(in super::super) position: u64,
}

/// A value that stands still.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) struct Still {
    pub(in super::super) since: Point,
    pub(in super::super) low: f64,
    pub(in super::super) high: f64,
}

impl Point {
    fn of(input: &Input) -> Self {
        Self {
            at: input.measured_at.ms(),
            value: input.value,
            position: input.position,
        }
    }
    fn input(self) -> Input {
        Input {
            position: self.position,
            measured_at: Timestamp::from_ms(self.at),
            value: self.value,
            of: None,
        }
    }
}

impl Direction {
    /// The size of a difference that counts in this direction.
    pub(super) fn of(self, difference: f64) -> f64 {
        match self {
            Direction::Up => difference,
            Direction::Down => -difference,
            Direction::Either => difference.abs(),
        }
    }
}

impl Memory {
    pub(super) fn of(fact: &When) -> Self {
        match fact {
            When::Change(_) => Memory::Course {
                lows: VecDeque::new(),
                highs: VecDeque::new(),
                last: None,
                before: None,
            },
            When::Stuck(_) => Memory::Still(None),
            _ => Memory::Nothing,
        }
    }

    /// A silence: what was before it is no ground for what is after it, but for values that a window still holds.
    pub(super) fn interrupt(&mut self) {
        if let Memory::Still(still) = self {
            *still = None;
        }
    }

    /// Takes a value of a course; one for the time of the last stands in its place.
    pub(super) fn take(&mut self, change: &Change, input: &Input) {
        let Memory::Course {
            lows,
            highs,
            last,
            before,
        } = self
        else {
            return;
        };
        let point = Point::of(input);
        match last {
            Some(last) if last.at == point.at => {
                lows.retain(|low| low.at < point.at);
                highs.retain(|high| high.at < point.at);
            }
            Some(last) => *before = Some(last.at),
            None => {}
        }
        let from = point.at.saturating_sub(ms(change.over));
        for kept in [&mut *lows, &mut *highs] {
            while kept.front().is_some_and(|point| point.at < from) {
                kept.pop_front();
            }
            if kept.len() >= MOST_KEPT {
                kept.pop_front();
            }
        }
        while lows.back().is_some_and(|low| low.value >= point.value) {
            lows.pop_back();
        }
        while highs.back().is_some_and(|high| high.value <= point.value) {
            highs.pop_back();
        }
        lows.push_back(point);
        highs.push_back(point);
        *before = before.filter(|before| *before >= from);
        *last = Some(point);
    }

    /// By how much the last value differs from the window's lowest or highest; `None` while the window holds one value.
    pub(super) fn change(&self, change: &Change) -> Option<f64> {
        let Memory::Course {
            lows,
            highs,
            last,
            before,
        } = self
        else {
            return None;
        };
        let ((last, _), low, high) = ((last.as_ref()?, (*before)?), lows.front()?, highs.front()?);
        let (rise, fall) = (last.value - low.value, high.value - last.value);
        Some(match change.direction {
            Direction::Up => rise,
            Direction::Down => fall,
            Direction::Either => rise.max(fall),
        })
    }

    /// Takes a value of one that may stand still.
    pub(super) fn stand_still(&mut self, stuck: &Stuck, input: &Input) {
        let Memory::Still(still) = self else {
            return;
        };
        let value = input.value;
        let begun = Still {
            since: Point::of(input),
            low: value,
            high: value,
        };
        let goes_on = still
            .map(|still| Still {
                low: still.low.min(value),
                high: still.high.max(value),
                ..still
            })
            .filter(|still| still.high - still.low <= stuck.within);
        *still = Some(goes_on.unwrap_or(begun));
    }

    /// Whether a value has stood still for the time; `None` when it has not been looked at yet.
    pub(super) fn is_stuck(&self, stuck: &Stuck, measured_at: i64) -> Option<bool> {
        let Memory::Still(still) = self else {
            return None;
        };
        let still = still.as_ref()?;
        let lasts = measured_at.saturating_sub(still.since.at) >= ms(stuck.time);
        let is_normal = stuck
            .except
            .iter()
            .any(|value| (still.low..=still.high).contains(value));
        Some(lasts && !is_normal)
    }

    /// The earlier value that what is found rests on.
    pub(super) fn from(&self, fact: &When) -> Option<Input> {
        match (self, fact) {
            (
                Memory::Course {
                    lows, highs, last, ..
                },
                When::Change(change),
            ) => {
                let (low, high, last) = (lows.front()?, highs.front()?, last.as_ref()?);
                let rises = last.value - low.value >= high.value - last.value;
                let from = match change.direction {
                    Direction::Up => low,
                    Direction::Down => high,
                    Direction::Either if rises => low,
                    Direction::Either => high,
                };
                Some(from.input())
            }
            (Memory::Still(still), _) => still.map(|still| still.since.input()),
            _ => None,
        }
    }
}
