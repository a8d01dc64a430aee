//! One remote engine as a [`ReadingStore`]: written through the spool, asked in its own language.
//!
//! Steps are counted by the engine where it can, and made here from single values where it cannot: the first of
//! a step, points chosen by their marks, and series with revised values in an engine that keeps both.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use onemap_model::time::YEAR_2000;
use onemap_model::{Quality, Quantity, SeriesKey, Timestamp, Value};
use tokio::runtime::Handle;

use super::flux::Flux;
use super::influxql::InfluxQl;
use super::promql::PromQl;
use super::sender::Sender;
use super::{Dialect, RemoteConfig, SenderState, Spool, SpoolError};
use crate::engine::archive::Elder;
use crate::engine::count::{Counter, looks_back};
use crate::engine::{
    Ack, Batch, Caps, Deletes, Health, ReadingStore, Span, StoreError, TakeBlock, TakeMarks, TakePoints,
    Weighed,
};
use crate::history::{Across, Agg, Gathered, Grid, GroupStep, Held, Point, Step, value};

/// Most bytes of one answer.
pub(super) const MAX_ANSWER_BYTES: usize = 256 << 20;
/// Measured time that is asked for at once when single values are read, at first and at most.
const FIRST_WINDOW_MS: i64 = 86_400_000;
const MAX_WINDOW_MS: i64 = 2000 * 86_400_000;
/// How long an append waits for room and for the disk.
const PATIENCE: Duration = Duration::from_secs(10);

/// One value as an engine gives it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) at: i64,
    pub(super) value: Value,
    pub(super) quality: Quality,
}

/// What steps hold, by index; only those that hold something.
pub(super) type Cells = BTreeMap<usize, Held>;

/// What of a step's numbers is needed beside their count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) sum: bool,
    pub(super) min: bool,
    pub(super) max: bool,
    pub(super) last: bool,
}

impl Parts {
    /// `None` when the engine's own aggregates are not enough.
    fn of(agg: Agg) -> Option<Self> {
        let none = Self::default();
        Some(match agg {
            Agg::Mean | Agg::Sum => Self { sum: true, ..none },
            Agg::Min => Self { min: true, ..none },
            Agg::Max => Self { max: true, ..none },
            Agg::Last => Self { last: true, ..none },
            Agg::Count => none,
            _ => return None,
        })
    }

    /// The names of the aggregates, the count first.
    pub(super) fn names(self) -> impl Iterator<Item = &'static str> {
        [
            (true, "count"),
            (self.sum, "sum"),
            (self.min, "min"),
            (self.max, "max"),
            (self.last, "last"),
        ]
        .into_iter()
        .filter_map(|(wanted, name)| wanted.then_some(name))
    }
}

/// Asks an engine in its language. Times are milliseconds, first and last included.
pub(super) trait Ask: Send + Sync {
    /// The shown values of a series, ascending.
    fn raw(&self, key: &SeriesKey, first: i64, last: i64) -> Result<Vec<Sample>, StoreError>;
    /// The times of a series that carry marks.
    fn marks(&self, key: &SeriesKey, first: i64, last: i64) -> Result<Vec<(i64, Quality)>, StoreError>;
    /// What the steps of each series hold; `None` for a series whose single values are needed for it.
    fn cells(&self, keys: &[SeriesKey], grid: &Grid, parts: Parts) -> Result<Vec<Option<Cells>>, StoreError>;
    /// Takes series out, all of them or a span.
    fn delete(&self, keys: &[SeriesKey], span: Option<Span>) -> Result<(), StoreError>;
    /// Whether it answers.
    fn probe(&self) -> Result<(), StoreError>;
}

/// Series of one quantity and channel: device, and index among those asked for.
pub(super) type Members<'a> = Vec<(&'a str, usize)>;

/// Series that one question can be about.
pub(super) fn grouped(keys: &[SeriesKey]) -> BTreeMap<(Quantity, u16), Members<'_>> {
    let mut groups = BTreeMap::<_, Members<'_>>::new();
    for (i, key) in keys.iter().enumerate() {
        groups
            .entry((key.quantity, key.channel))
            .or_default()
            .push((key.device.as_str(), i));
    }
    groups
}

/// Why a remote engine cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// This build has no client for it.
    #[error(
        "engine = \"influxdb2\" is not in this build; build it with: cargo build --release --locked --features influxdb2"
    )]
    NotBuilt,
    /// No thread can be started.
    #[error("the sender's thread cannot be started")]
    Thread(#[from] std::io::Error),
}

/// A remote engine with its spool and its sender.
pub struct RemoteStore {
    caps: Caps,
    ask: Box<dyn Ask>,
    spool: Arc<Spool>,
    state: Arc<SenderState>,
    sender: Mutex<Option<Sender>>,
    floor: Box<dyn Fn() -> Option<Timestamp> + Send + Sync>,
    name: String,
}

impl RemoteStore {
    /// Starts to send what the spool holds. `floor` says from which time the embedded history answers by itself,
    /// as far as it has not let it go; `None` that the engine is not to be asked.
    ///
    /// The runtime must outlive [`RemoteStore::stop`].
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(
        config: &RemoteConfig,
        spool: Arc<Spool>,
        handle: Handle,
        floor: impl Fn() -> Option<Timestamp> + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        if config.by_crate && !cfg!(feature = "influxdb2") {
            return Err(StartError::NotBuilt);
        }
        let state = Arc::new(SenderState::default());
        let sender = Sender::start(config, Arc::clone(&spool), Arc::clone(&state), handle.clone())?;
        let ask: Box<dyn Ask> = match config.dialect {
            Dialect::PromQl => Box::new(PromQl::new(config, handle)),
            Dialect::Flux => Box::new(Flux::new(config, handle)),
            Dialect::InfluxQl => Box::new(InfluxQl::new(config, handle)),
        };
        Ok(Self {
            // What is in the spool survives.
            caps: Caps {
                ack: Ack::Durable,
                ..config.caps()
            },
            ask,
            spool,
            state,
            sender: Mutex::new(Some(sender)),
            floor: Box::new(floor),
            name: config.reads.to_string(),
        })
    }

    /// Its spool.
    pub fn spool(&self) -> &Arc<Spool> {
        &self.spool
    }

    /// How sending goes.
    pub fn state(&self) -> &SenderState {
        &self.state
    }

    /// Its address.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Stops sending. What is not acknowledged stays in the spool, which stays open.
    pub fn stop(&self) {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut sender) = sender {
            sender.stop();
        }
    }

    /// Passes the single values of a series in a range to `take`, ascending.
    fn each(
        &self,
        key: &SeriesKey,
        (first, last): (i64, i64),
        take: &mut dyn FnMut(&[Sample]) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StoreError> {
        let mut from = first.max(0);
        let mut window = FIRST_WINDOW_MS;
        while from <= last {
            let to = last.min(from.saturating_add(window - 1));
            let samples = self.ask.raw(key, from, to)?;
            if !samples.is_empty() && take(&samples).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            // So that an answer holds some thousands of values, and years without any take few questions.
            window = match samples.len() {
                0..2_000 => window.saturating_mul(4).min(MAX_WINDOW_MS),
                50_000.. => (window / 4).max(3_600_000),
                _ => window,
            };
            let Some(next) = to.checked_add(1) else { break };
            from = next;
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Whether a series has any value in a range.
    fn has_any(&self, key: &SeriesKey, first: i64, last: i64) -> Result<bool, StoreError> {
        let (from, to) = (Timestamp::from_ms(first), Timestamp::from_ms(last + 1));
        let grid = Grid::of(from, to, Duration::from_millis(last.abs_diff(first) + 1))?;
        let cells = self
            .ask
            .cells(std::slice::from_ref(key), &grid, Parts::default())?;
        // A series with revised values is not counted by the engine, and has some.
        Ok(cells
            .iter()
            .any(|cells| cells.as_ref().is_none_or(|cells| !cells.is_empty())))
    }

    /// The newest value of a range: in its last hour, else where halving finds it.
    fn newest(
        &self,
        key: &SeriesKey,
        (first, last): (i64, i64),
        takes: Option<&TakePoints<'_>>,
    ) -> Result<Option<Point>, StoreError> {
        let first = first.max(0);
        let mut last = last;
        let mut from = first.max(last.saturating_sub(3_600_000 - 1));
        while first <= last {
            let samples = self.ask.raw(key, from, last)?;
            let mut points = samples.iter().rev().map(point);
            if let Some(found) = points.find(|point| takes.is_none_or(|takes| takes(point))) {
                return Ok(Some(found));
            }
            last = from - 1;
            if last < first || !self.has_any(key, first, last)? {
                return Ok(None);
            }
            from = first;
            while last - from >= 7 * FIRST_WINDOW_MS {
                let middle = from + (last - from) / 2;
                match self.has_any(key, middle + 1, last)? {
                    true => from = middle + 1,
                    false => last = middle,
                }
            }
        }
        Ok(None)
    }

    /// The steps of a series from its single values, and how many numbers each has.
    fn counted(
        &self,
        key: &SeriesKey,
        grid: &Grid,
        agg: Agg,
        takes: Option<&TakeMarks<'_>>,
    ) -> Result<Vec<(Step, u64)>, StoreError> {
        let before = match looks_back(agg) {
            true => {
                let takes = |point: &Point| {
                    point.value.number().is_some() && takes.is_none_or(|takes| takes(point.quality))
                };
                let before = (YEAR_2000.ms(), grid.first.saturating_sub(1));
                let found = self.newest(key, before, Some(&takes))?;
                found.and_then(|point| Some((point.measured_at.ms(), point.value.number()?)))
            }
            false => None,
        };
        let mut counter = Counter::new(grid, agg, before);
        let _whole = self.each(key, (grid.first, grid.last), &mut |samples| {
            for sample in samples {
                if takes.is_none_or(|takes| takes(sample.quality)) {
                    counter.see(sample.at, &sample.value, sample.quality);
                }
            }
            ControlFlow::Continue(())
        })?;
        Ok(counter.close())
    }

    /// The steps of some series, and how many numbers each has. Those that the engine counted say nothing of
    /// marks.
    fn steps(
        &self,
        keys: &[SeriesKey],
        grid: &Grid,
        agg: Agg,
        takes: Option<&TakeMarks<'_>>,
    ) -> Result<Vec<Counted>, StoreError> {
        let by_engine = match Parts::of(agg) {
            Some(parts) if takes.is_none() => self.ask.cells(keys, grid, parts)?,
            _ => keys.iter().map(|_| None).collect(),
        };
        let none = Held::default();
        keys.iter()
            .zip(by_engine)
            .map(|(key, cells)| match cells {
                None => Ok(Counted {
                    steps: self.counted(key, grid, agg, takes)?,
                    by_engine: false,
                }),
                Some(cells) => {
                    let step = |(i, start)| {
                        let held = cells.get(&i).unwrap_or(&none);
                        let step = Step {
                            start,
                            value: value(held, agg),
                            n: held.n,
                            n_flagged: 0,
                        };
                        (step, held.numbers.as_ref().map_or(0, |numbers| numbers.n))
                    };
                    Ok(Counted {
                        steps: grid.starts().enumerate().map(step).collect(),
                        by_engine: true,
                    })
                }
            })
            .collect()
    }
}

/// The steps of one series.
struct Counted {
    steps: Vec<(Step, u64)>,
    by_engine: bool,
}

impl ReadingStore for RemoteStore {
    fn caps(&self) -> Caps {
        self.caps.clone()
    }

    fn append(&self, batch: &Batch) -> Result<Ack, StoreError> {
        let now = Timestamp::from_system(SystemTime::now());
        let appended = self
            .spool
            .append_for(batch, now, PATIENCE)
            .and_then(|position| self.spool.wait_durable(position, PATIENCE));
        match appended {
            Ok(()) => Ok(Ack::Durable),
            Err(error @ SpoolError::Full { .. }) => Err(StoreError::Busy {
                retry_after: None,
                why: error.to_string(),
            }),
            Err(error) => Err(StoreError::away(error)),
        }
    }

    fn scan(&self, series: &[SeriesKey], span: Span, take: &mut TakeBlock<'_>) -> Result<(), StoreError> {
        if span.is_empty() {
            return Ok(());
        }
        for (i, key) in series.iter().enumerate() {
            let goes_on = self.each(key, (span.from.ms(), span.to.ms() - 1), &mut |samples| {
                let points: Vec<Point> = samples.iter().map(point).collect();
                take(i, &points)
            })?;
            if goes_on.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn downsample(
        &self,
        series: &[SeriesKey],
        span: Span,
        step: Duration,
        agg: Agg,
        takes: Option<&TakeMarks<'_>>,
    ) -> Result<Vec<Vec<Step>>, StoreError> {
        let grid = Grid::of(span.from, span.to, step)?;
        if grid.n == 0 {
            return Ok(series.iter().map(|_| Vec::new()).collect());
        }
        let mut all = Vec::with_capacity(series.len());
        for (key, counted) in series.iter().zip(self.steps(series, &grid, agg, takes)?) {
            let mut steps: Vec<Step> = counted.steps.into_iter().map(|(step, _)| step).collect();
            if counted.by_engine {
                for (at, quality) in self.ask.marks(key, grid.first, grid.last)? {
                    if let Some(step) = steps.get_mut(grid.index(at)).filter(|_| !quality.judgeable()) {
                        step.n_flagged += 1;
                    }
                }
            }
            all.push(steps);
        }
        Ok(all)
    }

    fn aggregate(
        &self,
        groups: &[Vec<Weighed>],
        span: Span,
        step: Duration,
        across: Across,
        takes: Option<&TakeMarks<'_>>,
    ) -> Result<Vec<Vec<GroupStep>>, StoreError> {
        let grid = Grid::of(span.from, span.to, step)?;
        let mut all = Vec::with_capacity(groups.len());
        for group in groups {
            let mut gathered = vec![Gathered::default(); grid.len()];
            // A part at a time, so that memory holds the steps of a part only.
            for part in group.chunks(100).filter(|_| grid.n > 0) {
                let keys: Vec<SeriesKey> = part.iter().map(|(key, _)| key.clone()).collect();
                for ((_, weight), counted) in part.iter().zip(self.steps(&keys, &grid, across.each, takes)?) {
                    for (gathered, (step, n_numbers)) in gathered.iter_mut().zip(counted.steps) {
                        gathered.add(&step, n_numbers, *weight, across.over);
                    }
                }
            }
            let steps = grid.starts().zip(gathered);
            all.push(
                steps
                    .map(|(start, gathered)| gathered.close(start, across.over))
                    .collect(),
            );
        }
        Ok(all)
    }

    fn last_known(
        &self,
        series: &[SeriesKey],
        span: Span,
        takes: Option<&TakePoints<'_>>,
    ) -> Result<Vec<Option<Point>>, StoreError> {
        // Stamps may be ahead of this clock by a day, and none is further.
        let now = Timestamp::from_system(SystemTime::now()) + Duration::from_secs(2 * 86_400);
        let range = (span.from.ms(), span.to.min(now).ms().saturating_sub(1));
        let each = |key| self.newest(key, range, takes);
        series.iter().map(each).collect()
    }

    fn expire(&self, _: Timestamp) -> Result<(), StoreError> {
        Err(StoreError::Unsupported {
            engine: self.caps.engine,
            what: "let go of old points on demand: set its own retention".to_owned(),
        })
    }

    fn delete_series(&self, series: &[SeriesKey], span: Span) -> Result<(), StoreError> {
        let is_whole = span.from.ms() <= 0 && span.to.ms() == i64::MAX;
        match self.caps.deletes {
            Deletes::Nothing => Err(StoreError::Unsupported {
                engine: self.caps.engine,
                what: "take points out".to_owned(),
            }),
            _ => self.ask.delete(series, (!is_whole).then_some(span)),
        }
    }

    fn health(&self) -> Health {
        match self.ask.probe() {
            Ok(()) => Health::Up,
            Err(error) => Health::Down(error.to_string()),
        }
    }
}

impl Elder for RemoteStore {
    fn store(&self) -> &dyn ReadingStore {
        self
    }
    fn floor(&self) -> Option<Timestamp> {
        (self.floor)()
    }
    fn has_all_before(&self, at: Timestamp) -> Result<(), StoreError> {
        self.spool.has_sent_all_before(at)
    }
}

fn point(sample: &Sample) -> Point {
    Point {
        measured_at: Timestamp::from_ms(sample.at),
        value: sample.value.clone(),
        quality: sample.quality,
    }
}
