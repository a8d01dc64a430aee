//! What is read is what was written, whatever happened in between.

use onemap_log::{Batch, Config, Log, Reader};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::{Seen, config, read_all};

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<(u8, Vec<u8>)>),
    WaitDurable,
    Rotate,
    Reopen,
    /// Releases up to this share of what is durable.
    Release(f64),
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![20 => 0..300_usize, 3 => 4_000..9_000_usize, 1 => 250_000..600_000_usize];
    let record = (0..=254_u8, size, any::<u8>()).prop_map(|(kind, size, seed)| {
        let body = (0..size).map(|i| seed.wrapping_add((i * i / 7) as u8)).collect();
        (kind, body)
    });
    prop_oneof![
        6 => prop::collection::vec(record, 0..40).prop_map(Step::Append),
        2 => Just(Step::WaitDurable),
        1 => Just(Step::Rotate),
        1 => Just(Step::Reopen),
        1 => (0.0..1.0).prop_map(Step::Release),
    ]
}

fn open(dir: &std::path::Path) -> Log {
    let config = Config {
        segment_bytes: 20_000,
        lasting_kinds: &[0, 100, 254],
        ..config(dir)
    };
    let (log, recovery) = Log::open(config).unwrap();
    assert_eq!(recovery.torn, None);
    log
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn reading_gives_what_was_written(steps in prop::collection::vec(step(), 1..25), after in 0.0..1.0) {
        let dir = TempDir::new().unwrap();
        let mut log = open(dir.path());
        let mut written: Vec<Seen> = Vec::new();
        for step in steps {
            match step {
                Step::Append(records) => {
                    let mut batch = Batch::new();
                    for (kind, body) in records {
                        batch.push(kind, |out| out.extend_from_slice(&body));
                        written.push((written.len() as u64 + 1, kind, body));
                    }
                    prop_assert_eq!(log.append_blocking(&batch).unwrap(), written.len() as u64);
                }
                Step::WaitDurable => log.wait_durable_blocking(written.len() as u64).unwrap(),
                Step::Rotate => log.rotate(),
                Step::Reopen => {
                    log.close().unwrap();
                    log = open(dir.path());
                    prop_assert_eq!(log.status().durable, written.len() as u64);
                }
                Step::Release(share) => {
                    log.release_to_size((share * log.status().durable as f64) as u64, 0).unwrap();
                }
            }
        }
        log.wait_durable_blocking(written.len() as u64).unwrap();
        let first = log.status().first;
        let after = (after * written.len() as f64) as u64;
        let expected: Vec<Seen> = written
            .into_iter()
            .filter(|(position, kind, _)| *position > after && (*position >= first || [0, 100, 254].contains(kind)))
            .collect();
        prop_assert_eq!(&read_all(&mut log.reader(after).unwrap()), &expected);
        prop_assert_eq!(&read_all(&mut Reader::open_dir(dir.path(), after).unwrap()), &expected);
        log.close().unwrap();
        prop_assert_eq!(&read_all(&mut Reader::open_dir(dir.path(), after).unwrap()), &expected);
    }
}
