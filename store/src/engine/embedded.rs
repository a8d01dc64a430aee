//! The embedded history as one engine among others.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use onemap_model::{Reading, SeriesKey, Timestamp};

use super::{
    Ack, Batch, Caps, Deletes, Health, ReadingStore, Span, StoreError, TakeBlock, TakeMarks, TakePoints,
    Weighed,
};
use crate::history::{Across, Agg, GroupStep, History, HistoryError, Member, Point, SeriesId, Step, Which};

/// Points that are passed on at once.
const N_BLOCK: usize = 4096;

/// The embedded history, asked by the names of series.
///
/// What it takes is in memory until [`History::checkpoint`]: whoever appends keeps it until then, as the
/// journal does.
#[derive(Clone)]
pub struct Embedded {
    history: Arc<History>,
}

impl Embedded {
    /// Over an open history.
    pub fn new(history: Arc<History>) -> Self {
        Self { history }
    }

    /// The number of a series; that of no series when it is not known.
    fn id(&self, series: &SeriesKey) -> SeriesId {
        self.history.series_id(series).unwrap_or(SeriesId(0))
    }
}

impl ReadingStore for Embedded {
    fn caps(&self) -> Caps {
        Caps {
            engine: "the embedded history",
            ack: Ack::Accepted,
            upserts: true,
            texts: true,
            versions: true,
            deletes: Deletes::Nothing,
            oldest: None,
        }
    }

    fn append(&self, batch: &Batch) -> Result<Ack, StoreError> {
        let readings: Vec<Reading> = batch
            .rows()
            .map(|row| Reading {
                series: row.series.clone(),
                measured_at: Timestamp::from_ms(row.at),
                period: Duration::ZERO,
                received_at: Timestamp::from_ms(row.received),
                value: row.value.clone(),
                quality: row.quality,
                position: 0,
            })
            .collect();
        self.history.append(&readings)?;
        Ok(Ack::Accepted)
    }

    fn scan(&self, series: &[SeriesKey], span: Span, take: &mut TakeBlock<'_>) -> Result<(), StoreError> {
        let mut block = Vec::new();
        for (i, key) in series.iter().enumerate() {
            let mut goes_on = ControlFlow::Continue(());
            self.history
                .scan(self.id(key), span.from, span.to, &mut |point| {
                    block.push(point);
                    if block.len() == N_BLOCK {
                        goes_on = take(i, &block);
                        block.clear();
                    }
                    goes_on
                })?;
            if goes_on.is_continue() && !block.is_empty() {
                goes_on = take(i, &block);
            }
            block.clear();
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
        let which = Which {
            known_at: None,
            takes,
        };
        let span = (span.from, span.to);
        let each = |key| self.history.downsample_of(self.id(key), span, step, agg, which);
        Ok(series.iter().map(each).collect::<Result<_, _>>()?)
    }

    fn aggregate(
        &self,
        groups: &[Vec<Weighed>],
        span: Span,
        step: Duration,
        across: Across,
        takes: Option<&TakeMarks<'_>>,
    ) -> Result<Vec<Vec<GroupStep>>, StoreError> {
        let member = |(key, weight): &Weighed| Member {
            id: self.id(key),
            weight: *weight,
        };
        let groups: Vec<Vec<Member>> = groups
            .iter()
            .map(|group| group.iter().map(member).collect())
            .collect();
        let which = Which {
            known_at: None,
            takes,
        };
        let span = (span.from, span.to);
        Ok(self.history.aggregate(&groups, span, step, across, which)?)
    }

    fn last_known(
        &self,
        series: &[SeriesKey],
        span: Span,
        takes: Option<&TakePoints<'_>>,
    ) -> Result<Vec<Option<Point>>, StoreError> {
        let each = |key| Ok(newest(&self.history, self.id(key), span, takes)?);
        series.iter().map(each).collect()
    }

    fn expire(&self, _: Timestamp) -> Result<(), StoreError> {
        Err(StoreError::Unsupported {
            engine: self.caps().engine,
            what: "let go of old points through this call".to_owned(),
        })
    }

    fn delete_series(&self, _: &[SeriesKey], _: Span) -> Result<(), StoreError> {
        Err(StoreError::Unsupported {
            engine: self.caps().engine,
            what: "take points out: the journal would bring them back".to_owned(),
        })
    }

    fn health(&self) -> Health {
        Health::Up
    }
}

/// The newest point of a series in a span, looked for backwards in ever longer parts.
pub(crate) fn newest(
    history: &History,
    id: SeriesId,
    span: Span,
    takes: Option<&TakePoints<'_>>,
) -> Result<Option<Point>, HistoryError> {
    let Some(info) = history.series(id) else {
        return Ok(None);
    };
    let first = span.from.max(info.first);
    let mut to = span.to.min(info.last + Duration::from_millis(1));
    let mut part = Duration::from_secs(3600);
    while first < to {
        let from = to.saturating_sub(part).max(first);
        let mut found = None;
        history.scan(id, from, to, &mut |point| {
            if takes.is_none_or(|takes| takes(&point)) {
                found = Some(point);
            }
            ControlFlow::Continue(())
        })?;
        if found.is_some() {
            return Ok(found);
        }
        (to, part) = (from, part.saturating_mul(2));
    }
    Ok(None)
}
