//! How long values and their hours are kept: classes of quantities, and the floors below which nothing is.
//!
//! Values go by whole weeks and end at a midnight in Beijing, so a day that is rolled up is kept or gone as
//! a whole; its hours may stay longer than its values, and never change any more. The newest value of a
//! series always stays: who is silent for years is still shown as last heard.
//!
//! Two times of a quantity matter. *Closing* is what arrivals are judged by: a function of the journal's clock,
//! the configuration and the floor, so that every replay decides as the first run did. The *floor* is what
//! readers are shown from. It is raised by a checkpoint alone, in its batch, to a closing time that care has
//! rolled everything up before: whatever is folded after that checkpoint, now or by a replay, finds the floor
//! where it was, and nothing that is still to be judged lies below it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fjall::OwnedWriteBatch;
use onemap_model::{Quantity, SeriesKey, Timestamp};
use serde::Serialize;

use super::chunk::{self, partition_of, partition_range};
use super::column::{Input, put_signed, put_unsigned};
use super::disk::Disk;
use super::memory::unpoisoned;
use super::read::View;
use super::rollup::{day_of, day_range};
use super::{History, HistoryError, SeriesId};

/// Where the floors are kept.
pub(super) const FLOORS: &[u8] = b"floors";
/// From the begin of a week (08:00 in Beijing) to the next midnight there.
const TO_MIDNIGHT_MS: i64 = 16 * 3_600_000;

/// How long a class keeps what it has; `None` is for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Values, with what they replaced.
    pub raw: Option<Duration>,
    /// The hours of closed days; not shorter than `raw`.
    pub rollups: Option<Duration>,
}

/// Quantities that are kept for the same time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// Its quantities; each is in one class at most.
    pub quantities: Vec<Quantity>,
    /// How long.
    pub span: Span,
}

/// What is kept for how long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Of the quantities that no class names.
    pub default: Span,
    /// The others.
    pub classes: Vec<Class>,
}

impl Retention {
    /// Name and span of a quantity's class.
    pub fn class(&self, quantity: Quantity) -> (&str, Span) {
        let named = self
            .classes
            .iter()
            .find(|class| class.quantities.contains(&quantity));
        named.map_or(("default", self.default), |class| (&class.name, class.span))
    }
    fn is_for_ever(&self) -> bool {
        let spans = self.classes.iter().map(|class| class.span).chain([self.default]);
        { spans }.all(|span| span == Span::default())
    }
}

/// The first time of values that are kept for `span` at `now`.
fn floor_of(now: i64, span: Duration) -> i64 {
    let span = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    let (start, _) = partition_range(partition_of(
        now.saturating_sub(span).saturating_sub(TO_MIDNIGHT_MS),
    ));
    start.saturating_add(TO_MIDNIGHT_MS)
}

/// What has been let go of one quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Floor {
    /// Values before this time are gone.
    pub(super) raw: i64,
    /// Days before this one have no rollup any more.
    pub(super) day: i64,
    /// Weeks before this one hold no row of it.
    pub(super) cleared: i64,
}

impl Floor {
    /// What readers are told; `None` when nothing was let go.
    pub(super) fn kept(self) -> Option<KeptSince> {
        (self.raw > i64::MIN).then(|| KeptSince {
            values: Timestamp::from_ms(self.raw),
            rollups: (self.day > i64::MIN).then(|| Timestamp::from_ms(day_range(self.day).0)),
        })
    }
}

pub(super) const NOTHING: Floor = Floor {
    raw: i64::MIN,
    day: i64::MIN,
    cleared: i64::MIN,
};

/// From when on a series is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct KeptSince {
    /// Values before this time were let go.
    pub values: Timestamp,
    /// Hours of closed days before this time, too; `None` when all of them are there.
    pub rollups: Option<Timestamp>,
}

/// What has been let go, and what is about to be.
#[derive(Clone, Debug)]
pub(super) struct Floors {
    pub(super) retention: Retention,
    /// First time that is taken, and first day whose hours are kept, by the journal's clock.
    closing: Arc<HashMap<Quantity, i64>>,
    closing_days: HashMap<Quantity, i64>,
    pub(super) by_quantity: BTreeMap<Quantity, Floor>,
    /// To be raised by the next checkpoint: floor and day.
    pub(super) ready: BTreeMap<Quantity, (i64, i64)>,
    /// Keyspaces of weeks before this one are gone.
    pub(super) gone: i64,
}

impl Default for Floors {
    fn default() -> Self {
        Self {
            retention: Retention::default(),
            closing: Arc::default(),
            closing_days: HashMap::new(),
            by_quantity: BTreeMap::new(),
            ready: BTreeMap::new(),
            gone: i64::MIN,
        }
    }
}

impl Floors {
    /// As the last stop left them; nothing when the row is damaged, and then what is gone stays gone.
    pub(super) fn load(disk: &Disk) -> Result<Self, HistoryError> {
        let mut floors = Self::default();
        let Some(row) = disk.meta.get(FLOORS).map_err(HistoryError::reading)? else {
            return Ok(floors);
        };
        let read = |floors: &mut Self| {
            let mut input = Input(chunk::unseal(FLOORS, &row)?);
            floors.gone = input.signed()?;
            for _ in 0..input.count()? {
                let n = input.count()?;
                let (name, rest) = input.0.split_at_checked(n)?;
                input.0 = rest;
                let floor = Floor {
                    raw: input.signed()?,
                    day: input.signed()?,
                    cleared: input.signed()?,
                };
                if let Some(quantity) = Quantity::named(std::str::from_utf8(name).ok()?) {
                    floors.by_quantity.insert(quantity, floor);
                }
            }
            Some(())
        };
        if read(&mut floors).is_none() {
            disk.report_damage("row of floors", FLOORS);
        }
        let raised = floors.by_quantity.iter();
        floors.closing = Arc::new(raised.map(|(quantity, floor)| (*quantity, floor.raw)).collect());
        Ok(floors)
    }

    pub(super) fn row(&self) -> Vec<u8> {
        let mut row = Vec::new();
        put_signed(&mut row, self.gone);
        put_unsigned(&mut row, self.by_quantity.len() as u64);
        for (quantity, floor) in &self.by_quantity {
            put_unsigned(&mut row, quantity.name().len() as u64);
            row.extend(quantity.name().as_bytes());
            for number in [floor.raw, floor.day, floor.cleared] {
                put_signed(&mut row, number);
            }
        }
        chunk::seal(FLOORS, row)
    }

    pub(super) fn of(&self, quantity: Quantity) -> Floor {
        self.by_quantity.get(&quantity).copied().unwrap_or(NOTHING)
    }
    /// The latest floor of all.
    pub(super) fn highest(&self) -> i64 {
        let raw = self.by_quantity.values().map(|floor| floor.raw);
        raw.max().unwrap_or(i64::MIN)
    }
    pub(super) fn gone(&self) -> i64 {
        self.gone
    }
    /// First time of a quantity that is taken; never before its floor.
    pub(super) fn closing(&self, quantity: Quantity) -> i64 {
        self.closing.get(&quantity).copied().unwrap_or(i64::MIN)
    }
    /// Quantities that have more to let go, with the floor and the day they come to.
    pub(super) fn wanted(&self) -> BTreeMap<Quantity, (i64, i64)> {
        let mut wanted = BTreeMap::new();
        for (quantity, raw) in self.closing.iter() {
            let before = self.of(*quantity);
            let day = self.closing_days.get(quantity).copied().unwrap_or(i64::MIN);
            let day = day.min(day_of(*raw)).max(before.day);
            if (*raw, day) != (before.raw, before.day) {
                wanted.insert(*quantity, (*raw, day));
            }
        }
        wanted
    }
}

impl History {
    /// Says how long what is kept. To be said before anything is appended; what is already gone stays so.
    pub fn set_retention(&self, retention: Retention) {
        unpoisoned(self.floors.write()).retention = retention;
        self.next_closing.store(i64::MIN, Ordering::Relaxed);
    }

    /// Tells the journal's clock: from then on nothing is taken that is older than its class keeps. Costs
    /// nothing but once a day.
    pub fn note_time(&self, now: Timestamp) {
        if now.ms() < self.next_closing.load(Ordering::Relaxed) {
            return;
        }
        let mut floors = unpoisoned(self.floors.write());
        let next = match floors.retention.is_for_ever() {
            true => i64::MAX,
            false => day_range(day_of(now.ms())).1.saturating_add(1),
        };
        let (mut closing, mut closing_days) = (HashMap::new(), HashMap::new());
        for quantity in Quantity::all() {
            let span = floors.retention.class(quantity).1;
            let raw = span.raw.map_or(i64::MIN, |span| floor_of(now.ms(), span));
            // A longer time in the configuration brings nothing back.
            let raw = raw.max(floors.of(quantity).raw);
            if raw == i64::MIN {
                continue;
            }
            closing.insert(quantity, raw);
            if let Some(span) = span.rollups {
                closing_days.insert(quantity, day_of(floor_of(now.ms(), span)));
            }
        }
        let highest = closing.values().copied().max().unwrap_or(i64::MIN);
        floors.closing = Arc::new(closing);
        floors.closing_days = closing_days;
        self.closing.store(highest, Ordering::Release);
        self.next_closing.store(next, Ordering::Relaxed);
    }

    /// The first time of each quantity that is still taken; all times of those that are not in it.
    pub fn closing(&self) -> Arc<HashMap<Quantity, i64>> {
        unpoisoned(self.floors.read()).closing.clone()
    }

    /// The name of a series' class.
    pub fn class_of(&self, key: &SeriesKey) -> String {
        unpoisoned(self.floors.read())
            .retention
            .class(key.quantity)
            .0
            .to_owned()
    }

    /// From when on a series is kept here; `None` when nothing of it was let go.
    pub fn kept_from(&self, id: SeriesId) -> Option<KeptSince> {
        self.floor_of(id).kept()
    }

    fn floor_of(&self, id: SeriesId) -> Floor {
        let quantity = self.series_key(id).map(|key| key.quantity);
        quantity.map_or(NOTHING, |quantity| unpoisoned(self.floors.read()).of(quantity))
    }

    /// Days before the first have hours only, days before the second not even those.
    pub(super) fn hours_only(&self, view: &View) -> (i64, i64) {
        if view.kept == i64::MIN {
            return (i64::MIN, i64::MIN);
        }
        let floor = self.floor_of(view.id);
        (day_of(view.kept), floor.day)
    }

    /// Whether a time is older than what its quantity takes.
    pub(super) fn is_closed(&self, quantity: Quantity, at: i64) -> bool {
        at < self.closing.load(Ordering::Acquire) && at < unpoisoned(self.floors.read()).closing(quantity)
    }

    /// Puts the floors that are to be raised into the batch of a checkpoint.
    pub(super) fn raise(&self, disk: &Disk, batch: &mut OwnedWriteBatch) -> Option<Floors> {
        let mut floors = unpoisoned(self.floors.read()).clone();
        if floors.ready.is_empty() {
            return None;
        }
        for (quantity, (raw, day)) in std::mem::take(&mut floors.ready) {
            let floor = floors.by_quantity.entry(quantity).or_insert(NOTHING);
            (floor.raw, floor.day) = (floor.raw.max(raw), floor.day.max(day));
        }
        batch.insert(&disk.meta, FLOORS, floors.row());
        Some(floors)
    }

    /// Readers see nothing below the floors from now on: the batch that holds them is durable.
    pub(super) fn raised(&self, raised: Floors) {
        let mut of_series = Vec::new();
        for (id, key) in unpoisoned(self.dictionary.read()).iter() {
            of_series.push((id, raised.of(key.quantity).raw));
        }
        // First the word that something is gone, then its going: no answer is short without it.
        *unpoisoned(self.floors.write()) = raised;
        for (id, raw) in of_series {
            if raw > i64::MIN {
                self.memory.write(id, |series| series.kept.0 = raw);
            }
        }
    }

    /// Takes the floors as the disk has them, after a write of them may have failed.
    pub(super) fn take_floors(&self, on_disk: Floors) {
        let mut floors = unpoisoned(self.floors.write());
        (floors.by_quantity, floors.gone) = (on_disk.by_quantity, on_disk.gone);
    }
}
