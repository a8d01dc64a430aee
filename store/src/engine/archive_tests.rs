//! What the embedded history has let go, and an engine behind it has.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use onemap_model::{Quality, Reading, Timestamp, Value};

use super::archive::{Archive, Elder};
use super::embedded::Embedded;
use super::{ReadingStore, StoreError};
use crate::history::{
    Across, Agg, History, HistoryConfig, Member, Over, Retention, SeriesId, Span, Which, parse_key,
};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
const START: i64 = 2915 * 7 * DAY;

/// A second history, as an engine that was given everything, or not.
struct Second {
    store: Embedded,
    floor: Option<Timestamp>,
}

impl Elder for Second {
    fn store(&self) -> &dyn ReadingStore {
        &self.store
    }
    fn floor(&self) -> Option<Timestamp> {
        self.floor
    }
    fn has_all_before(&self, _: Timestamp) -> Result<(), StoreError> {
        Ok(())
    }
}

fn filled(dir: &std::path::Path) -> Arc<History> {
    let history = History::open(dir, HistoryConfig::default()).unwrap();
    for i in 0..40 * 24 {
        let reading = |name: &str| Reading {
            series: parse_key(name).unwrap(),
            measured_at: Timestamp::from_ms(START + i * HOUR),
            period: Duration::ZERO,
            received_at: Timestamp::from_ms(START + i * HOUR),
            value: Value::Number((i % 17) as f64),
            quality: Quality::GOOD,
            position: i as u64 + 1,
        };
        history
            .append(&[reading("a/pm10/0"), reading("b/pm10/0")])
            .unwrap();
    }
    Arc::new(history)
}

fn scanned(archive: &Archive, id: SeriesId) -> Vec<i64> {
    let mut times = Vec::new();
    let (from, to) = (Timestamp::from_ms(START), Timestamp::from_ms(START + 50 * DAY));
    let mut take = |point: crate::history::Point| {
        times.push(point.measured_at.ms());
        ControlFlow::Continue(())
    };
    archive.scan(id, from, to, &mut take).unwrap();
    times
}

#[test]
fn what_the_embedded_history_let_go_is_the_engines_to_answer_and_is_not_said_to_be_gone() {
    let (own, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (history, second) = (filled(own.path()), filled(other.path()));
    let now = Timestamp::from_ms(START + 40 * DAY);
    history.set_retention(Retention {
        default: Span {
            raw: Some(Duration::from_secs(14 * 86_400)),
            rollups: None,
        },
        classes: Vec::new(),
    });
    history.note_time(now);
    history.checkpoint(1000, &[]).unwrap();
    for position in 1001..1005 {
        history.care(now, &|| false).unwrap();
        history.let_go(&|| false).unwrap();
        history.checkpoint(position, &[]).unwrap();
    }
    let id = history.series_id(&parse_key("a/pm10/0").unwrap()).unwrap();
    let ids = [id, history.series_id(&parse_key("b/pm10/0").unwrap()).unwrap()];
    let alone = Archive::new(history.clone());
    let kept = alone.kept_from(id, now).unwrap();
    assert!(kept.values > Timestamp::from_ms(START + 18 * DAY) && kept.rollups.is_none());
    assert_eq!(scanned(&alone, id).first(), Some(&kept.values.ms()));

    // With the least border of the configuration, one in the middle, and one behind the floor.
    let with = |floor: Option<i64>| {
        let archive = Archive::new(history.clone());
        archive.set_elder(Arc::new(Second {
            store: Embedded::new(second.clone()),
            floor: floor.map(Timestamp::from_ms),
        }));
        archive
    };
    let whole = Archive::new(second.clone());
    let (from, to) = (Timestamp::from_ms(START + 5 * HOUR), now);
    let members = [ids.map(|id| Member { id, weight: 1.0 }).to_vec()];
    for floor in [i64::MIN, START + 7 * DAY, START + 35 * DAY] {
        let archive = with(Some(floor));
        assert_eq!(archive.kept_from(id, now), None, "all of it is there");
        assert_eq!(scanned(&archive, id), scanned(&whole, id));
        let info = history.series(id).unwrap();
        assert!(archive.first(&info) <= Timestamp::from_ms(START));
        for step in [HOUR / 2, HOUR, 7 * HOUR] {
            let step = Duration::from_millis(step as u64);
            for agg in [Agg::Mean, Agg::Count, Agg::Delta, Agg::Percentile(50.0)] {
                let of =
                    |archive: &Archive| archive.downsample_of(id, (from, to), step, agg, Which::default());
                assert_eq!(of(&archive).unwrap(), of(&whole).unwrap(), "{agg:?} {floor}");
            }
            let across = Across {
                each: Agg::Mean,
                over: Over::Mean,
            };
            let of =
                |archive: &Archive| archive.aggregate(&members, (from, to), step, across, Which::default());
            assert_eq!(of(&archive).unwrap(), of(&whole).unwrap());
        }
        // What it does not know is an error, not an empty answer.
        let which = Which {
            known_at: Some(now),
            takes: None,
        };
        let asked = archive.downsample_of(id, (from, to), Duration::from_secs(3600), Agg::Mean, which);
        assert!(matches!(asked, Err(StoreError::Unsupported { .. })), "{asked:?}");
        assert!(archive.check(&[id], from, None, true).is_err());
        assert!(archive.check(&[id], to, None, true).is_ok());
    }
    // One that lacks older readings is not asked, and what is gone is said to be.
    let archive = with(None);
    assert_eq!(archive.kept_from(id, now), Some(kept));
    assert_eq!(scanned(&archive, id), scanned(&alone, id));
}
