//! The ledger's promises, against real files.
#![allow(clippy::unwrap_used)]

use onemap_model::alert::Input;
use onemap_model::{
    Correction, DeviceId, DivisionCode, Edge, Person, Pseudonym, Quantity, Review, Role, RuleId, Scope,
    SealedPerson, SeriesKey, Severity, Verb, Verdict,
};
use tempfile::TempDir;

use super::*;

const DAY_MS: i64 = 86_400_000;

struct Fixture {
    dir: TempDir,
    ledger: Ledger,
}

impl Fixture {
    fn new(config: LedgerConfig) -> Self {
        let dir = TempDir::new().unwrap();
        let ledger = Ledger::open_with(&dir.path().join("ledger.sqlite"), config).unwrap();
        Self { dir, ledger }
    }
    fn path(&self) -> PathBuf {
        self.dir.path().join("ledger.sqlite")
    }
    fn reader(&self) -> LedgerReader {
        LedgerReader::open(&self.path()).unwrap()
    }
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_ms(ms)
}

/// A transition of the alert that `raised` opened; it rests on the frame one position before.
fn transition(position: u64, raised: u64, edge: Edge) -> Transition {
    let rule = RuleId::new("pm10-dust").unwrap();
    let series = SeriesKey {
        device: DeviceId::new("air-1").unwrap(),
        quantity: Quantity::named("pm10").unwrap(),
        channel: 0,
    };
    Transition {
        id: Transition::id_of(&rule, "0badcafe", &series, position, edge),
        alert: Transition::alert_of(&rule, &series, raised),
        edge,
        at: at(position as i64 * 1000),
        position,
        rule,
        rule_version: "0badcafe".into(),
        series,
        severity: Severity::Major,
        division: Some(DivisionCode::new("630102").unwrap()),
        inputs: vec![Input {
            position: position - 1,
            measured_at: at(position as i64 * 1000 - 500),
            value: 612.25,
            of: None,
        }],
        message_zh: "扬尘".into(),
        message_en: "dust".into(),
        act: None,
        drill: None,
        past: None,
    }
}

fn frame(received_at: i64, payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    let frame = Frame {
        received_at: at(received_at),
        source: Source::Mqtt,
        refused: None,
        qos: 0,
        retain: false,
        device: "air-1",
        peer: "[::1]:9",
        topic: "d/air-1/telemetry",
        payload,
    };
    frame.encode(&mut body);
    body
}

fn entry(position: u64, ordinal: u32, received_at: i64, payload: &[u8]) -> QuarantineEntry {
    QuarantineEntry {
        position,
        ordinal,
        at: at(received_at),
        reason: if ordinal == 0 {
            Refusal::BrokenJson
        } else {
            Refusal::Sentinel
        },
        source: Source::Mqtt,
        device: if position.is_multiple_of(2) {
            "air-1".into()
        } else {
            String::new()
        },
        peer: "[::1]:9".into(),
        topic: "d/air-1/telemetry".into(),
        detail: "expected value at line 1".into(),
        payload: payload.to_vec(),
    }
}

#[test]
fn a_batch_is_read_back_and_a_second_time_changes_nothing() {
    let mut f = Fixture::new(LedgerConfig::default());
    let act = Act {
        at: at(5000),
        by: Scope::local("王队"),
        verb: Verb::Close {
            alert: transition(3, 3, Edge::Raised).alert,
            name: "王".into(),
            note: "已清".into(),
        },
    };
    let batch = LedgerBatch {
        cursor: 6,
        transitions: vec![transition(3, 3, Edge::Raised), transition(5, 3, Edge::Closed)],
        quarantine: vec![entry(4, 0, 4000, b"{"), entry(4, 1, 4000, b"\xff\x00")],
        evidence: vec![(2, frame(2000, b"612.25")), (4, frame(4000, b"{"))],
        commands: Vec::new(),
        acts: vec![(5, act.clone())],
        audited: vec![],
        register: vec![],
        attributes: vec![],
        settled: vec![],
        fence_events: vec![],
        forecasts: vec![],
        duty_log: vec![],
        warnings: vec![],
        snapshots: vec![("rules", 6, b"state".to_vec())],
    };
    let written = f.ledger.write(&batch).unwrap();
    let expected: Vec<LedgerTransition> = batch
        .transitions
        .iter()
        .zip(1..)
        .map(|(t, seq)| LedgerTransition {
            seq,
            transition: t.clone(),
        })
        .collect();
    assert_eq!(written.transitions, expected);

    let reader = f.reader();
    let look = |reader: &LedgerReader| {
        (
            reader.all_transitions().unwrap(),
            reader
                .quarantine(&QuarantineFilter::default(), None, 100)
                .unwrap(),
            reader.acts_after(0, 100).unwrap(),
            reader.evidence(2).unwrap(),
            reader.quarantine_totals().unwrap(),
            (reader.cursor().unwrap(), reader.last_seq().unwrap()),
            reader.transitions_digest().unwrap(),
        )
    };
    let seen = look(&reader);
    assert_eq!(seen.0, expected);
    let entries: Vec<_> = seen.1.iter().rev().map(|q| q.entry.clone()).collect();
    assert_eq!(entries, batch.quarantine);
    assert_eq!(seen.2, [LedgerAct { position: 5, act }]);
    assert_eq!(seen.3.as_deref(), Some(frame(2000, b"612.25").as_slice()));
    assert_eq!(seen.5, (6, 2));
    assert_eq!(f.ledger.snapshot("rules").unwrap(), Some((6, b"state".to_vec())));
    assert_eq!(f.ledger.snapshot("board").unwrap(), None);
    assert_eq!(
        reader.transitions_of(&batch.transitions[0].alert).unwrap(),
        expected
    );
    assert_eq!(reader.transitions_after(1, 100).unwrap(), expected[1..]);

    let again = f.ledger.write(&batch).unwrap();
    assert_eq!((again.transitions.len(), again.n_known), (0, 2));
    assert_eq!(look(&reader), seen);
    let older = LedgerBatch {
        cursor: 4,
        transitions: vec![transition(4, 4, Edge::Raised)],
        snapshots: vec![("rules", 4, b"older".to_vec())],
        ..LedgerBatch::default()
    };
    f.ledger.write(&older).unwrap();
    assert_eq!(look(&reader), seen, "positions at or before the cursor are done");
    assert_eq!(f.ledger.cursor(), 6);
    assert_eq!(f.ledger.snapshot("rules").unwrap(), Some((6, b"state".to_vec())));
}

#[test]
fn an_interrupted_batch_leaves_nothing_and_can_come_again() {
    let mut f = Fixture::new(LedgerConfig::default());
    let mut batch = LedgerBatch {
        cursor: 3,
        transitions: vec![transition(3, 3, Edge::Raised)],
        evidence: vec![(2, frame(2000, b"x"))],
        ..LedgerBatch::default()
    };
    // A transaction that ends without commit is what a kill leaves behind.
    {
        let tx = sqlite::begin(&mut f.ledger.connection).unwrap();
        put_transition(&tx, &batch.transitions[0]).unwrap();
        schema::set_meta(&tx, schema::CURSOR, 3).unwrap();
    }
    batch.evidence.push((9, b"no frame".to_vec()));
    assert!(matches!(
        f.ledger.write(&batch),
        Err(LedgerError::Evidence { position: 9, .. })
    ));
    let reader = f.reader();
    assert_eq!(reader.all_transitions().unwrap(), []);
    assert_eq!((reader.cursor().unwrap(), f.ledger.cursor()), (0, 0));
    batch.evidence.pop();
    assert_eq!(f.ledger.write(&batch).unwrap().transitions[0].seq, 1);

    let path = f.path();
    drop(f.ledger);
    let reopened = Ledger::open(&path).unwrap();
    assert_eq!(reopened.cursor(), 3);
    assert_eq!(reader.all_transitions().unwrap().len(), 1);
}

#[test]
fn the_digest_is_of_the_content_not_of_how_it_was_written() {
    let all = [
        transition(3, 3, Edge::Raised),
        transition(7, 3, Edge::Lost),
        transition(9, 3, Edge::Cleared),
    ];
    let digest = |batches: &[&[Transition]]| {
        let mut f = Fixture::new(LedgerConfig::default());
        for transitions in batches {
            let batch = LedgerBatch {
                cursor: transitions.last().unwrap().position,
                transitions: transitions.to_vec(),
                ..LedgerBatch::default()
            };
            f.ledger.write(&batch).unwrap();
        }
        f.reader().transitions_digest().unwrap()
    };
    let whole = digest(&[&all]);
    assert_eq!(digest(&[&all[..1], &all[1..]]), whole);
    let mut reworded = all.clone();
    reworded[0].message_en = "dust!".into();
    assert_eq!(digest(&[&reworded]), whole, "wording is not judgement");
    let changed = |change: fn(&mut Transition)| {
        let mut other = all.clone();
        change(&mut other[1]);
        digest(&[&other])
    };
    for other in [
        digest(&[&all[..2]]),
        changed(|t| t.inputs[0].value = 612.26),
        changed(|t| t.at = at(7001)),
        changed(|t| t.severity = Severity::Minor),
        changed(|t| t.edge = Edge::Found),
        changed(|t| t.inputs.clear()),
    ] {
        assert_ne!(other, whole);
    }
}

#[test]
fn the_quarantine_keeps_its_limits_and_counts_what_goes() {
    let mut f = Fixture::new(LedgerConfig {
        quarantine_rows: 5,
        quarantine_bytes: 40,
        ..LedgerConfig::default()
    });
    let put = |f: &mut Fixture, position: u64, n_bytes: usize| {
        let batch = LedgerBatch {
            cursor: position,
            quarantine: vec![entry(position, 0, 0, &vec![b'x'; n_bytes])],
            ..LedgerBatch::default()
        };
        f.ledger.write(&batch).unwrap().n_evicted
    };
    let held = |f: &Fixture| {
        let page = f
            .reader()
            .quarantine(&QuarantineFilter::default(), None, 100)
            .unwrap();
        page.iter().map(|q| q.entry.position).collect::<Vec<_>>()
    };
    for position in 1..=7 {
        assert_eq!(put(&mut f, position, 2), u64::from(position > 5));
    }
    assert_eq!(held(&f), [7, 6, 5, 4, 3]);
    assert_eq!(
        put(&mut f, 8, 34),
        2,
        "36 bytes of two-byte entries and one of 34 are too many"
    );
    assert_eq!(held(&f), [8, 7, 6, 5]);
    assert_eq!(put(&mut f, 9, 41), 5, "even itself");
    assert_eq!(held(&f), [] as [u64; 0]);
    let totals = f.reader().quarantine_totals().unwrap();
    let expected = QuarantineTotals {
        rows: 0,
        bytes: 0,
        evicted_rows: 9,
        evicted_bytes: 7 * 2 + 34 + 41,
    };
    assert_eq!(totals, expected);
}

#[test]
fn the_quarantine_is_read_by_pages_and_parts() {
    let mut f = Fixture::new(LedgerConfig::default());
    let quarantine: Vec<_> = (1..=9)
        .flat_map(|p| [entry(p, 0, p as i64, b"a"), entry(p, 1, p as i64, b"b")])
        .collect();
    let batch = LedgerBatch {
        cursor: 9,
        quarantine,
        ..LedgerBatch::default()
    };
    f.ledger.write(&batch).unwrap();
    let reader = f.reader();
    let all = reader
        .quarantine(&QuarantineFilter::default(), None, 100)
        .unwrap();
    assert_eq!(all.len(), 18);
    let mut paged = Vec::new();
    loop {
        let before = paged.last().map(|q: &Quarantined| q.id);
        let page = reader
            .quarantine(&QuarantineFilter::default(), before, 4)
            .unwrap();
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, all);
    let filter = QuarantineFilter {
        reason: Some(Refusal::Sentinel),
        device: Some("air-1".into()),
        from: Some(at(3)),
        to: Some(at(8)),
        ..QuarantineFilter::default()
    };
    let found = reader.quarantine(&filter, None, 100).unwrap();
    let positions: Vec<_> = found
        .iter()
        .map(|q| (q.entry.position, q.entry.ordinal))
        .collect();
    assert_eq!(positions, [(6, 1), (4, 1)]);
    assert_eq!(reader.quarantined(found[0].id).unwrap().as_ref(), Some(&found[0]));
    assert_eq!(reader.quarantined(0).unwrap(), None);
}

#[test]
fn what_became_of_refused_frames_stands_with_their_entries() {
    let mut f = Fixture::new(LedgerConfig::default());
    let read = |readings: u64, refused: &[Refusal]| Became::Read {
        readings,
        refused: refused.iter().map(|r| (*r, "why".to_owned())).collect(),
    };
    let settled = |record: u64, origin: u64, became: Became| Settled {
        record,
        origin,
        which: match became {
            Became::Discarded => Which::Ordinal(1),
            Became::Read { .. } => Which::Of {
                device: entry(origin, 0, 1, b"").device,
                topic: entry(origin, 0, 1, b"").topic,
                payload: b"one\xff".to_vec(),
            },
        },
        at: at(record as i64),
        actor: "王".into(),
        note: "模型已修正".into(),
        became,
    };
    let entries = (1..=4).flat_map(|p| {
        [
            entry(p, 0, p as i64, b"one\xff"),
            entry(p, 1, p as i64, b"one\xff"),
        ]
    });
    let batch = LedgerBatch {
        cursor: 4,
        quarantine: entries.collect(),
        ..LedgerBatch::default()
    };
    f.ledger.write(&batch).unwrap();
    let (first, second) = (entry(1, 0, 1, b"").reason, entry(1, 1, 1, b"").reason);
    assert_ne!(first, second, "the two entries of a frame have two reasons");
    let batch = LedgerBatch {
        cursor: 9,
        settled: vec![
            settled(5, 1, read(3, &[])),
            settled(6, 2, read(1, &[second])),
            settled(7, 3, read(0, &[Refusal::UnknownProfile])),
            settled(8, 4, Became::Discarded),
        ],
        ..LedgerBatch::default()
    };
    f.ledger.write(&batch).unwrap();
    // A second reading of a frame that is taken, and one of a frame that was not.
    let again = LedgerBatch {
        cursor: 11,
        settled: vec![settled(10, 1, read(0, &[])), settled(11, 3, read(2, &[]))],
        ..LedgerBatch::default()
    };
    f.ledger.write(&again).unwrap();
    f.ledger.write(&batch).unwrap(); // replayed: nothing goes back
    let reader = f.reader();
    let rows = reader
        .quarantine(&QuarantineFilter::default(), None, 100)
        .unwrap();
    let states: Vec<_> = rows
        .iter()
        .rev()
        .map(|row| {
            let settled = row.settlement.as_ref();
            settled.map_or((QuarantineState::Open, 0, None), |s| {
                (s.state, s.readings, s.reason)
            })
        })
        .collect();
    use QuarantineState::{Discarded, Readmitted, Refused};
    assert_eq!(
        states,
        [
            (Readmitted, 3, None),
            (Readmitted, 3, None),
            (Readmitted, 1, None),
            (Refused, 1, Some(second)),
            (Readmitted, 2, None),
            (Readmitted, 2, None),
            (QuarantineState::Open, 0, None),
            (Discarded, 0, None),
        ]
    );
    let n = |filter: QuarantineFilter| reader.quarantine(&filter, None, 100).unwrap().len();
    let any = QuarantineFilter::default;
    assert_eq!(
        n(QuarantineFilter {
            state: Some(Refused),
            ..any()
        }),
        1
    );
    assert_eq!(
        n(QuarantineFilter {
            state: Some(QuarantineState::Open),
            ..any()
        }),
        1
    );
    assert_eq!(
        n(QuarantineFilter {
            text: Some("one".into()),
            ..any()
        }),
        8
    );
    assert_eq!(
        n(QuarantineFilter {
            text: Some("nothing".into()),
            ..any()
        }),
        0
    );
    assert_eq!(
        n(QuarantineFilter {
            topic: Some(rows[0].entry.topic.clone()),
            ..any()
        }),
        8
    );
    let counts = reader.quarantine_counts(None, None).unwrap();
    assert_eq!(
        counts.iter().map(|c| (c.n, c.n_open)).collect::<Vec<_>>(),
        [(4, 1), (4, 0)]
    );
}

#[test]
fn evidence_of_a_living_alert_outlasts_the_retention() {
    let mut f = Fixture::new(LedgerConfig::default());
    let day = |n: i64| n * DAY_MS;
    // Alert 10 stays open, alert 20 ends on day 1, alert 30 on day 100; frame 40 belongs to a refusal
    // of day 100 that is itself older, frame 50 to nothing.
    let mut ended = [
        transition(21, 20, Edge::Cleared),
        transition(31, 30, Edge::Closed),
    ];
    ended[0].at = at(day(1));
    ended[1].at = at(day(100));
    let [first, second] = ended;
    let batch = LedgerBatch {
        cursor: 60,
        transitions: vec![
            transition(10, 10, Edge::Raised),
            transition(20, 20, Edge::Raised),
            first,
            transition(30, 30, Edge::Raised),
            second,
        ],
        quarantine: vec![entry(40, 0, day(100), b"x"), entry(41, 0, day(0), b"y")],
        evidence: [9, 10, 19, 20, 29, 40, 50]
            .into_iter()
            .map(|position| (position, frame(day(0), b"z")))
            .collect(),
        ..LedgerBatch::default()
    };
    f.ledger.write(&batch).unwrap();
    let reader = f.reader();
    let kept = || {
        let positions = [9, 10, 19, 20, 29, 40, 50].into_iter();
        let kept = positions.filter(|p| reader.evidence(*p).unwrap().is_some());
        kept.collect::<Vec<u64>>()
    };
    assert_eq!(
        f.ledger.retain(at(day(180))).unwrap(),
        Retained::default(),
        "not a day early"
    );
    let removed = f.ledger.retain(at(day(182))).unwrap();
    assert_eq!((removed.n_evidence, removed.n_quarantine), (3, 1));
    assert_eq!(kept(), [9, 10, 29, 40]);
    f.ledger.retain(at(day(400))).unwrap();
    assert_eq!(kept(), [9, 10]);
    assert_eq!(reader.quarantine_totals().unwrap(), QuarantineTotals::default());
    let short = LedgerConfig {
        retention: Duration::from_secs(179 * 86_400),
        ..LedgerConfig::default()
    };
    assert!(matches!(
        Ledger::open_with(&f.path(), short),
        Err(LedgerError::Retention { days: 179 })
    ));
}

#[test]
fn tokens_are_known_by_their_hash_only() {
    let mut f = Fixture::new(LedgerConfig::default());
    let device = |name: &str, token: &str| Change::DeviceToken {
        device: DeviceId::new(name).unwrap(),
        sha256: TokenHash::of(token).to_string(),
        grace_s: 0,
        expires: None,
    };
    let access = |name: &str, token: &str, role| Change::AccessToken {
        name: name.into(),
        sha256: TokenHash::of(token).to_string(),
        role,
        division: Some(DivisionCode::new("630102").unwrap()),
        departments: Vec::new(),
        expires: None,
    };
    let of_departments = Change::AccessToken {
        name: "pumps".into(),
        sha256: TokenHash::of("access-secret-4").to_string(),
        role: Role::Operator,
        division: None,
        departments: ["水务局", " 城管局 ", "水务局"].map(str::to_owned).to_vec(),
        expires: None,
    };
    let changes = [
        device("a", "device-secret-1"),
        device("b", "device-secret-2"),
        device("a", "device-secret-3"),
        access("desk", "access-secret-1", Role::Officer),
        access("desk", "access-secret-2", Role::Viewer),
        access("desk", "access-secret-3", Role::Officer),
        Change::AccessTokenRevoked {
            sha256: TokenHash::of("access-secret-3").to_string(),
        },
        Change::DeviceToken {
            device: DeviceId::new("c").unwrap(),
            sha256: "not a hash".into(),
            grace_s: 0,
            expires: None,
        },
        of_departments,
    ];
    let mut live = Tokens::default();
    let mut register = Vec::new();
    for (change, position) in changes.into_iter().zip(1..) {
        live.apply(at(position as i64), &change);
        register.push((position, at(position as i64), change));
    }
    let batch = LedgerBatch {
        cursor: 9,
        register,
        ..LedgerBatch::default()
    };
    f.ledger.write(&batch).unwrap();
    let loaded = Tokens::load(&f.reader()).unwrap();
    for tokens in [&live, &loaded] {
        let held = |token: &str| tokens.device(token).map(DeviceId::as_str);
        assert_eq!(held("device-secret-1"), None, "the old token ended");
        assert_eq!(held("device-secret-2"), Some("b"));
        assert_eq!(held("device-secret-3"), Some("a"));
        assert_eq!(held("not a hash"), None);
        assert_eq!(tokens.scope("device-secret-2"), None);
        let scope = tokens.scope("access-secret-1").unwrap();
        assert_eq!((scope.actor.as_str(), scope.role), ("token#desk", Role::Officer));
        assert_eq!(scope.division.unwrap().as_str(), "630102");
        assert_eq!(scope.departments, [""; 0]);
        let scope = tokens.scope("access-secret-4").unwrap();
        assert_eq!(scope.departments, ["城管局", "水务局"]);
        assert_eq!(tokens.scope("access-secret-2").unwrap().role, Role::Viewer);
        assert_eq!(tokens.scope("access-secret-3"), None, "it was revoked");
        assert_eq!(tokens.scope("access-secret-9"), None);
    }
    let ends: Vec<_> = f
        .reader()
        .access_tokens()
        .unwrap()
        .iter()
        .map(|t| t.revoked)
        .collect();
    assert_eq!(ends, [None, None, Some(at(7)), None]);
    drop(f.ledger);
    let bytes = std::fs::read(f.dir.path().join("ledger.sqlite")).unwrap();
    assert!(!bytes.windows(6).any(|w| w == b"secret"));
}

#[test]
fn an_access_token_ends_at_its_end() {
    let mut f = Fixture::new(LedgerConfig::default());
    let access = |token: &str, expires: Option<i64>| Change::AccessToken {
        name: "desk".into(),
        sha256: TokenHash::of(token).to_string(),
        role: Role::Viewer,
        division: None,
        departments: Vec::new(),
        expires: expires.map(at),
    };
    let changes = [
        access("long", Some(100)),
        access("short", Some(10)),
        access("endless", None),
        access("made-again", Some(10)),
        access("made-again", None),
        access("ended-before", Some(10)),
        Change::AccessTokenRevoked {
            sha256: TokenHash::of("ended-before").to_string(),
        },
    ];
    let mut live = Tokens::default();
    let mut register = Vec::new();
    for (change, position) in changes.into_iter().zip(1..) {
        live.apply(at(position as i64), &change);
        register.push((position, at(position as i64), change));
    }
    let batch = LedgerBatch {
        cursor: 7,
        register,
        ..LedgerBatch::default()
    };
    f.ledger.write(&batch).unwrap();
    let mut loaded = Tokens::load(&f.reader()).unwrap();
    for tokens in [&mut live, &mut loaded] {
        assert_eq!(tokens.expire(at(9)).n_access, 0);
        assert!(tokens.scope("short").is_some());
        assert_eq!(tokens.expire(at(10)).n_access, 1, "the end itself is counted in");
        assert_eq!(tokens.scope("short"), None);
        assert_eq!(tokens.expired("short"), Some(at(10)));
        assert_eq!(tokens.expired("ended-before"), None);
        assert!(tokens.scope("long").is_some() && tokens.scope("made-again").is_some());
        assert_eq!(tokens.expire(at(1_000_000)).n_access, 1);
        assert!(tokens.scope("long").is_none() && tokens.scope("endless").is_some());
    }
}

#[test]
fn a_person_is_kept_once_whatever_key_it_came_under() {
    let mut f = Fixture::new(LedgerConfig::default());
    let pseudonym = |n: u8| Pseudonym::new([n; 16]);
    let sealed = |n: u8, key: u16, former: &[u8], moved: bool, text: &str| Change::PersonSealed {
        person: Box::new(SealedPerson {
            pseudonym: pseudonym(n),
            key,
            former: former.iter().map(|n| pseudonym(*n)).collect(),
            moved,
            sealed: text.into(),
        }),
    };
    let clear = Change::Person {
        person: Box::new(Person {
            pseudonym: pseudonym(1),
            last_four: "002X".into(),
            division: None,
            place: None,
            source: String::new(),
        }),
    };
    let mut position = 0;
    let mut put = |change: Change| {
        position += 1;
        let batch = LedgerBatch {
            cursor: position,
            register: vec![(position, at(position as i64), change)],
            ..LedgerBatch::default()
        };
        f.ledger.write(&batch).unwrap();
    };
    let reader = LedgerReader::open(&f.dir.path().join("ledger.sqlite")).unwrap();
    let all = || -> Vec<(u16, Pseudonym)> {
        let page = reader.persons(None, 10).unwrap();
        page.iter().map(|kept| (kept.key(), kept.pseudonym())).collect()
    };
    put(clear);
    assert_eq!(all(), [(0, pseudonym(1))]);
    assert!(matches!(
        reader.newest_person().unwrap(),
        Some(KeptPerson::Clear(_))
    ));
    assert_eq!(reader.person_counts(1).unwrap(), (1, 1));
    // Sealed under the first key, it stands for the same.
    put(sealed(1, 1, &[1], true, "aa"));
    assert_eq!(all(), [(1, pseudonym(1))]);
    let since = |n: u8| reader.person(&pseudonym(n)).unwrap().map(|(_, since)| since);
    assert_eq!(since(1), Some(at(1)), "what is known is as old as before");
    assert_eq!(reader.person_counts(2).unwrap(), (1, 1));
    put(sealed(2, 2, &[1], true, "bb"));
    assert_eq!(all(), [(2, pseudonym(2))]);
    assert_eq!((since(1), since(2)), (None, Some(at(1))));
    assert_eq!(reader.person_counts(2).unwrap(), (1, 0));
    // Something newer came before what is carried over: it stays.
    put(sealed(4, 3, &[2, 1], false, "new"));
    put(sealed(4, 3, &[2], true, "old"));
    let (kept, since) = reader.person(&pseudonym(4)).unwrap().unwrap();
    assert!(matches!(kept, KeptPerson::Sealed(person) if person.sealed == "new"));
    assert_eq!((since, all().len()), (at(4), 1));
    assert!(
        matches!(reader.newest_person().unwrap(), Some(KeptPerson::Sealed(person)) if person.sealed == "new")
    );
    assert_eq!(reader.persons(Some(&pseudonym(4)), 10).unwrap(), []);
}

#[test]
fn readers_see_whole_batches_while_the_writer_writes() {
    let mut f = Fixture::new(LedgerConfig::default());
    let reader = f.reader();
    let done = std::sync::atomic::AtomicBool::new(false);
    let n_looks = std::thread::scope(|scope| {
        let looks: Vec<_> = (0..6)
            .map(|_| {
                let reader = reader.clone();
                let done = &done;
                scope.spawn(move || {
                    let mut n_looks = 0;
                    while !done.load(std::sync::atomic::Ordering::Relaxed) || n_looks == 0 {
                        let all = reader.all_transitions().unwrap();
                        assert_eq!(all.len() % 3, 0, "a part of a batch was seen");
                        assert!(all.iter().zip(1..).all(|(t, seq)| t.seq == seq));
                        n_looks += 1;
                    }
                    n_looks
                })
            })
            .collect();
        for batch in 1..=60 {
            let first = batch * 10;
            let transitions = vec![
                transition(first, first, Edge::Raised),
                transition(first + 1, first, Edge::Lost),
                transition(first + 2, first, Edge::Cleared),
            ];
            let batch = LedgerBatch {
                cursor: first + 2,
                transitions,
                ..LedgerBatch::default()
            };
            f.ledger.write(&batch).unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        looks.into_iter().map(|look| look.join().unwrap()).sum::<u64>()
    });
    assert!(n_looks >= 6);
    assert_eq!(reader.last_seq().unwrap(), 180);
}

#[test]
fn a_wrong_or_broken_file_is_named() {
    let dir = TempDir::new().unwrap();
    let text = dir.path().join("text.sqlite");
    std::fs::write(
        &text,
        "this is no database at all, it is a text of some length".repeat(40),
    )
    .unwrap();
    let other = dir.path().join("other.sqlite");
    let connection = Connection::open(&other).unwrap();
    connection
        .execute_batch("CREATE TABLE t (x); PRAGMA application_id = 7")
        .unwrap();
    drop(connection);
    let newer = dir.path().join("newer.sqlite");
    drop(Ledger::open(&newer).unwrap());
    Connection::open(&newer)
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    let open = |path: &Path| Ledger::open(path).err().unwrap();
    let read = |path: &Path| LedgerReader::open(path).err().unwrap();
    for error in [open(&text), read(&text)] {
        assert!(
            matches!(error, LedgerError::File(FileError::Damaged { .. })),
            "{error:?}"
        );
    }
    for error in [open(&other), read(&other)] {
        let message = error.to_string();
        assert!(
            message.contains("other.sqlite is another program's file"),
            "{message}"
        );
    }
    for error in [open(&newer), read(&newer)] {
        let message = error.to_string();
        assert!(
            message.contains("has format 99, this version reads 1"),
            "{message}"
        );
    }
    assert!(matches!(
        read(&dir.path().join("absent")),
        LedgerError::File(FileError::Sqlite { .. })
    ));
    let inside_nothing = dir.path().join("no/such/dir/ledger.sqlite");
    assert!(open(&inside_nothing).to_string().contains("could not open"));
}

#[test]
fn a_ledger_cut_in_the_middle_is_an_error_and_not_a_panic() {
    let mut f = Fixture::new(LedgerConfig::default());
    let transitions = (1..200).map(|p| transition(p * 2, p * 2, Edge::Raised)).collect();
    let batch = LedgerBatch {
        cursor: 400,
        transitions,
        ..LedgerBatch::default()
    };
    f.ledger.write(&batch).unwrap();
    let path = f.path();
    drop(f.ledger);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let read = Ledger::open(&path).and_then(|_| LedgerReader::open(&path)?.all_transitions());
    assert!(
        matches!(read, Err(LedgerError::File(FileError::Damaged { .. }))),
        "{read:?}"
    );
}

#[test]
fn acts_about_a_series_are_found_by_what_they_cover_and_as_of_then() {
    let mut f = Fixture::new(LedgerConfig::default());
    let series = |ch: u16| SeriesKey {
        device: DeviceId::new("air-1").unwrap(),
        quantity: Quantity::named("pm2_5").unwrap(),
        channel: ch,
    };
    let act = |position: u64, verb| {
        let act = Act {
            at: at(position as i64 * 1000),
            by: Scope::local("desk"),
            verb,
        };
        (position, act)
    };
    let review = |ch, from, to| {
        Verb::Review(Box::new(Review {
            series: series(ch),
            from: at(from),
            to: at(to),
            verdict: Verdict::Invalid,
            name: "王".into(),
            reason: "校准".into(),
        }))
    };
    let correction = Verb::Correct(Box::new(Correction {
        series: series(0),
        from: at(50),
        to: None,
        factor: 1.0,
        offset: 2.0,
        name: "王".into(),
        reason: "校准".into(),
    }));
    let withdrawal = Verb::WithdrawCorrection {
        correction: 4,
        series: series(0),
        from: at(50),
        to: None,
        name: "王".into(),
        reason: "误".into(),
    };
    let batch = LedgerBatch {
        cursor: 6,
        acts: vec![
            act(1, review(0, 10, 20)),
            act(2, review(0, 20, 30)),
            act(3, review(1, 0, 100)),
            act(4, correction),
            act(6, withdrawal),
        ],
        ..LedgerBatch::default()
    };
    f.ledger.write(&batch).unwrap();
    f.ledger.write(&batch).unwrap();
    let of = |span: (i64, i64), known_at: Option<i64>| -> Vec<u64> {
        let span = (at(span.0), at(span.1));
        let found = f
            .reader()
            .series_acts_of(&series(0), span, known_at.map(at), 10)
            .unwrap();
        found.iter().map(|act| act.position).collect()
    };
    assert_eq!(of((0, 100), None), [1, 2]);
    assert_eq!(of((0, 100), Some(4000)), [1, 2, 4], "not withdrawn yet");
    assert_eq!(of((0, 100), Some(6000)), [1, 2], "withdrawn in that moment");
    assert_eq!(of((0, 100), Some(1999)), [1]);
    assert_eq!(of((20, 21), None), [2], "the end is outside");
    assert_eq!(of((0, 10), None), [0; 0]);
    let page = |filter: &SeriesActFilter, before, limit| -> Vec<u64> {
        let found = f.reader().series_acts(filter, before, limit).unwrap();
        found.iter().map(|act| act.position).collect()
    };
    let all = SeriesActFilter::default();
    assert_eq!(page(&all, None, 10), [4, 3, 2, 1]);
    assert_eq!(page(&all, Some(3), 1), [2]);
    let corrections = SeriesActFilter {
        kind: Some(SeriesActKind::Correction),
        ..all.clone()
    };
    assert_eq!(page(&corrections, None, 10), [4]);
    let withdrawn = f
        .reader()
        .series_acts(&corrections, None, 1)
        .unwrap()
        .remove(0)
        .withdrawn
        .unwrap();
    assert_eq!((withdrawn.position, withdrawn.act.at), (6, at(6000)));
    let late = SeriesActFilter {
        from: Some(at(25)),
        to: Some(at(50)),
        ..all.clone()
    };
    assert_eq!(page(&late, None, 10), [3, 2]);
    let other = SeriesActFilter {
        device: Some("air-2".into()),
        ..all
    };
    assert_eq!(page(&other, None, 10), [0; 0]);
}

#[test]
fn events_at_fences_are_written_once_read_by_pages_and_let_go_with_the_retention() {
    use onemap_model::{FenceEdge, FenceEvent, FenceEventId, Position};
    let event = |sequence: u64, fence: &str, kind: FenceEdge, own: &str| {
        let device = DeviceId::new("truck-1").unwrap();
        FenceEvent {
            id: FenceEventId::at(fence, &device, sequence, kind),
            kind,
            fence: fence.into(),
            device,
            sequence,
            at: at(sequence as i64 * 1000),
            place: Position::new(101.75, 36.5, None).unwrap(),
            received_at: at(sequence as i64 * 1000 + 200),
            position: sequence,
            division: Some(DivisionCode::new(own).unwrap()),
            device_division: (sequence != 3).then(|| DivisionCode::new("630102").unwrap()),
        }
    };
    let mut f = Fixture::new(LedgerConfig::default());
    let all = [
        event(1, "A", FenceEdge::Enter, "630102001"),
        event(2, "B", FenceEdge::Enter, "630103"),
        event(3, "A", FenceEdge::Dwell, "630102001"),
        event(4, "A", FenceEdge::Exit, "630102001"),
    ];
    let batch = |n: usize| LedgerBatch {
        cursor: n as u64,
        fence_events: all[..n].to_vec(),
        ..LedgerBatch::default()
    };
    f.ledger.write(&batch(2)).unwrap();
    f.ledger.write(&batch(4)).unwrap();
    let reader = f.reader();
    let told = |filter: FenceEventFilter, before: Option<u64>, limit: usize| {
        let page = reader.fence_events(&filter, before, limit).unwrap();
        page.into_iter()
            .map(|told| told.event.sequence)
            .collect::<Vec<_>>()
    };
    let any = FenceEventFilter::default;
    let first = reader.fence_events(&any(), None, 2).unwrap();
    assert_eq!(first[0].event, all[3], "it reads back as written");
    assert_eq!(told(any(), None, 9), [4, 3, 2, 1], "each once");
    assert_eq!(told(any(), Some(first[1].seq), 9), [2, 1]);
    let filters = [
        (
            FenceEventFilter {
                fence: Some("A".into()),
                ..any()
            },
            vec![4, 3, 1],
        ),
        (
            FenceEventFilter {
                device: Some("truck-2".into()),
                ..any()
            },
            vec![],
        ),
        (
            FenceEventFilter {
                kind: Some(FenceEdge::Enter),
                ..any()
            },
            vec![2, 1],
        ),
        (
            FenceEventFilter {
                from: Some(at(2000)),
                to: Some(at(4000)),
                ..any()
            },
            vec![3, 2],
        ),
        // Of the third nobody knows where its device belongs.
        (
            FenceEventFilter {
                scope: Some(DivisionCode::new("630102").unwrap()),
                ..any()
            },
            vec![4, 1],
        ),
        (
            FenceEventFilter {
                scope: Some(DivisionCode::new("630103").unwrap()),
                ..any()
            },
            vec![],
        ),
        (
            FenceEventFilter {
                scope: Some(DivisionCode::new("630100").unwrap()),
                ..any()
            },
            vec![4, 2, 1],
        ),
    ];
    for (filter, want) in filters {
        assert_eq!(told(filter.clone(), None, 9), want, "{filter:?}");
    }
    let digest = reader.fence_events_digest().unwrap();
    let mut other = Fixture::new(LedgerConfig::default());
    other.ledger.write(&batch(4)).unwrap();
    assert_eq!(other.reader().fence_events_digest().unwrap(), digest);
    let now = at(180 * DAY_MS + 2_201);
    assert_eq!(f.ledger.retain(now).unwrap().n_fence_events, 2);
    assert_eq!(told(any(), None, 9), [4, 3]);
    assert_ne!(reader.fence_events_digest().unwrap(), digest);
}
