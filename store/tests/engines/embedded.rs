//! The embedded history by the rules. What it took since its last checkpoint is given again after a crash, as the
//! journal does.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use onemap_model::{SeriesKey, Timestamp};
use onemap_store::engine::embedded::Embedded;
use onemap_store::engine::{
    Ack, Batch, Caps, Health, ReadingStore, Span, StoreError, TakeBlock, TakeMarks, TakePoints, Weighed,
};
use onemap_store::history::{Across, Agg, GroupStep, History, HistoryConfig, Point, Step};

use crate::conformance::{Subject, conforms};

struct Journaled {
    dir: tempfile::TempDir,
    store: Option<Embedded>,
    history: Option<Arc<History>>,
    since: Mutex<Vec<Batch>>,
    position: u64,
}

fn config() -> HistoryConfig {
    HistoryConfig {
        chunk_points: 32,
        late_points: 40,
        ..HistoryConfig::default()
    }
}

impl Journaled {
    fn open(&mut self) {
        let history = Arc::new(History::open(self.dir.path(), config()).unwrap());
        self.store = Some(Embedded::new(Arc::clone(&history)));
        self.history = Some(history);
    }
    fn inner(&self) -> &Embedded {
        self.store.as_ref().unwrap()
    }
}

impl ReadingStore for Journaled {
    fn caps(&self) -> Caps {
        self.inner().caps()
    }
    fn append(&self, batch: &Batch) -> Result<Ack, StoreError> {
        self.since.lock().unwrap().push(batch.clone());
        self.inner().append(batch)
    }
    fn scan(&self, series: &[SeriesKey], span: Span, take: &mut TakeBlock<'_>) -> Result<(), StoreError> {
        self.inner().scan(series, span, take)
    }
    fn downsample(
        &self,
        series: &[SeriesKey],
        span: Span,
        step: Duration,
        agg: Agg,
        takes: Option<&TakeMarks<'_>>,
    ) -> Result<Vec<Vec<Step>>, StoreError> {
        self.inner().downsample(series, span, step, agg, takes)
    }
    fn aggregate(
        &self,
        groups: &[Vec<Weighed>],
        span: Span,
        step: Duration,
        across: Across,
        takes: Option<&TakeMarks<'_>>,
    ) -> Result<Vec<Vec<GroupStep>>, StoreError> {
        self.inner().aggregate(groups, span, step, across, takes)
    }
    fn last_known(
        &self,
        series: &[SeriesKey],
        span: Span,
        takes: Option<&TakePoints<'_>>,
    ) -> Result<Vec<Option<Point>>, StoreError> {
        self.inner().last_known(series, span, takes)
    }
    fn expire(&self, before: Timestamp) -> Result<(), StoreError> {
        self.inner().expire(before)
    }
    fn delete_series(&self, series: &[SeriesKey], span: Span) -> Result<(), StoreError> {
        self.inner().delete_series(series, span)
    }
    fn health(&self) -> Health {
        self.inner().health()
    }
}

impl Subject for Journaled {
    fn store(&self) -> &dyn ReadingStore {
        self
    }
    fn settle(&mut self) {
        self.position += 1;
        let history = self.history.as_ref().unwrap();
        history.checkpoint(self.position, &[]).unwrap();
        self.since.lock().unwrap().clear();
    }
    fn crash(&mut self) {
        self.store = None;
        self.history = None;
        self.open();
        for batch in self.since.lock().unwrap().iter() {
            self.inner().append(batch).unwrap();
        }
    }
}

#[test]
fn the_embedded_history_conforms() {
    let mut subject = Journaled {
        dir: tempfile::tempdir().unwrap(),
        store: None,
        history: None,
        since: Mutex::default(),
        position: 0,
    };
    subject.open();
    conforms(&mut subject);
}
