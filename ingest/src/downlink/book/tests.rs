//! The life of commands, as tables and as laws; and what the outbox makes of it.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;

use onemap_model::{Device, Over, Scope, Via};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::downlink::{Outbox, Rules};

const EXPIRY: i64 = 100_000;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_ms(ms)
}

fn order(device: &str, two_way: bool) -> Order {
    Order {
        device: DeviceId::new(device).unwrap(),
        method: "open".into(),
        params: json!({"percent": 40}),
        two_way,
        expires_at: at(EXPIRY),
        key: None,
        via: Via::Auto,
        by: Scope::local("desk"),
    }
}

fn record(what: CommandStep) -> CommandRecord {
    CommandRecord { at: at(0), what }
}

/// One thing that may happen to command 1 of device `v`.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Sent,
    SentBlind,
    Received,
    Cancelled,
    Good,
    Bad,
    Stranger,
    TickBefore,
    TickAfter,
}

/// Plays deeds one second apart; the clock of the fold never goes back.
struct Play {
    book: Book,
    changes: Vec<Change>,
    position: u64,
    now: i64,
}

impl Play {
    fn new(two_way: bool) -> Self {
        let mut play = Self {
            book: Book::default(),
            changes: Vec::new(),
            position: 0,
            now: 0,
        };
        play.step(CommandStep::Created(Box::new(order("v", two_way))));
        play
    }
    fn step(&mut self, what: CommandStep) {
        self.position += 1;
        self.book
            .step(self.position, at(self.now), &record(what), &mut self.changes);
    }
    fn play(&mut self, deed: Deed) -> Option<Answered> {
        self.now += 1_000;
        let mut answer = |device: &str, answer| {
            self.position += 1;
            let (now, position) = (at(self.now), self.position);
            Some(
                self.book
                    .answer(position, now, device, 1, answer, &mut self.changes),
            )
        };
        let over = Over::Rpc;
        match deed {
            Deed::Good => return answer("v", Ok(json!("done"))),
            Deed::Bad => return answer("v", Err(json!("jammed"))),
            Deed::Stranger => return answer("w", Ok(json!("done"))),
            Deed::Sent => self.step(CommandStep::Sent { id: 1, over, qos: 1 }),
            Deed::SentBlind => self.step(CommandStep::Sent { id: 1, over, qos: 0 }),
            Deed::Received => self.step(CommandStep::Received { id: 1 }),
            Deed::Cancelled => self.step(CommandStep::Cancelled {
                id: 1,
                by: Scope::local("desk"),
                note: String::new(),
            }),
            Deed::TickBefore | Deed::TickAfter => {
                if matches!(deed, Deed::TickAfter) {
                    self.now = self.now.max(EXPIRY);
                }
                self.position += 1;
                self.book.tick(self.position, at(self.now), &mut self.changes);
            }
        }
        None
    }
    fn state(&self) -> CommandState {
        self.book.get(1).unwrap().state
    }
    fn facts(&self) -> Vec<&'static str> {
        self.changes.iter().map(|c| c.fact.happened.name()).collect()
    }
}

#[test]
fn lives_end_as_the_table_says() {
    use CommandState as S;
    use Deed::{Bad, Cancelled, Good, Received, Sent, Stranger, TickAfter, TickBefore};
    for (two_way, deeds, state, facts) in [
        (true, &[][..], S::Created, "created"),
        (
            true,
            &[Sent, Received, Good],
            S::Executed,
            "created sent received executed",
        ),
        (
            true,
            &[Sent, Received, Bad],
            S::Failed,
            "created sent received failed",
        ),
        (false, &[Sent, Received], S::Received, "created sent received"),
        // A one-way command that is answered all the same.
        (
            false,
            &[Sent, Received, Good],
            S::Executed,
            "created sent received executed",
        ),
        (
            false,
            &[Sent, Received, TickAfter],
            S::Received,
            "created sent received",
        ),
        (
            false,
            &[Sent, Received, TickAfter, Good],
            S::Received,
            "created sent received late_answer",
        ),
        // The answer overtakes the receipt, or a kill lost the note of the sending.
        (
            true,
            &[Sent, Good, Received],
            S::Executed,
            "created sent executed received",
        ),
        (true, &[Good, Sent], S::Executed, "created executed sent"),
        (true, &[Received, Sent], S::Received, "created received sent"),
        (
            true,
            &[Sent, Sent, Received],
            S::Received,
            "created sent sent received",
        ),
        (
            true,
            &[Sent, Received, Received],
            S::Received,
            "created sent received",
        ),
        (true, &[TickBefore, TickAfter], S::Expired, "created expired"),
        (
            true,
            &[Sent, Received, TickAfter],
            S::Expired,
            "created sent received expired",
        ),
        (
            true,
            &[Sent, TickAfter, Received],
            S::Expired,
            "created sent expired received",
        ),
        (
            true,
            &[Sent, TickAfter, Good],
            S::Expired,
            "created sent expired late_answer",
        ),
        (
            true,
            &[Sent, TickAfter, Good, Good],
            S::Expired,
            "created sent expired late_answer",
        ),
        (true, &[Cancelled], S::Cancelled, "created cancelled"),
        (true, &[Cancelled, TickAfter], S::Cancelled, "created cancelled"),
        // Too late to take back.
        (true, &[Sent, Cancelled], S::Sent, "created sent"),
        (true, &[Good, Cancelled], S::Executed, "created executed"),
        (true, &[Sent, Stranger], S::Sent, "created sent"),
    ] {
        let mut play = Play::new(two_way);
        for deed in deeds {
            play.play(*deed);
        }
        assert_eq!(
            (play.state(), play.facts().join(" ").as_str()),
            (state, facts),
            "{deeds:?}"
        );
    }
}

#[test]
fn answers_are_told_apart() {
    let mut play = Play::new(true);
    assert!(matches!(play.play(Deed::Stranger), Some(Answered::Stray(_))));
    assert_eq!(play.play(Deed::Good), Some(Answered::Taken));
    assert_eq!(play.play(Deed::Good), Some(Answered::Repeated));
    assert!(matches!(play.play(Deed::Bad), Some(Answered::Stray(_))));
    let unknown = play
        .book
        .answer(99, at(0), "v", 2, Ok(Value::Null), &mut Vec::new());
    assert!(matches!(unknown, Answered::Stray(_)));
}

#[test]
fn a_station_answers_each_sending_under_a_number_of_its_own() {
    let whose = |play: &Play, serial, ms| {
        let asked = play.book.asked("v", serial, at(ms), |_| true);
        match asked {
            Asked::Command(command) => Some(command.id),
            Asked::Before => None,
            Asked::Nobody => Some(0),
        }
    };
    for (sendings, again) in [(1, Some(0)), (2, None)] {
        let mut play = Play::new(true);
        for _ in 0..sendings {
            play.play(Deed::Sent);
        }
        assert_eq!(whose(&play, 7, play.now), Some(1));
        play.position += 1;
        let (now, position) = (at(play.now), play.position);
        let said = Ok(json!({"serial": 7}));
        play.book.answer(position, now, "v", 1, said, &mut Vec::new());
        assert_eq!(whose(&play, 7, play.now), None, "the same once more");
        assert_eq!(whose(&play, 8, play.now), again, "{sendings} sendings");
        // Not for ever.
        assert_eq!(whose(&play, 8, play.now + REPEATED.as_millis() as i64), Some(0));
    }
}

#[test]
fn the_same_key_is_the_same_command_for_a_day() {
    let mut book = Book::default();
    let mut changes = Vec::new();
    let mut create = |position, now, change: &dyn Fn(&mut Order)| {
        let mut order = Order {
            key: Some("k".into()),
            ..order("v", true)
        };
        change(&mut order);
        let record = record(CommandStep::Created(Box::new(order)));
        book.step(position, at(now), &record, &mut changes);
        book.outcome(position)
    };
    assert_eq!(create(1, 0, &|_| {}), Some(Ordered::New(1)));
    assert_eq!(create(2, 1, &|o| o.expires_at = at(7)), Some(Ordered::Same(1)));
    assert_eq!(
        create(3, 2, &|o| o.method = "shut".into()),
        Some(Ordered::KeyTaken(1))
    );
    assert_eq!(
        create(4, 3, &|o| o.by.actor = "other".into()),
        Some(Ordered::New(2))
    );
    assert_eq!(create(5, EXPIRY + 1, &|_| {}), Some(Ordered::Same(1)));
    let later = EXPIRY + 2 + REMEMBERED.as_millis() as i64;
    assert_eq!(
        create(6, later, &|o| o.method = "shut".into()),
        Some(Ordered::New(3))
    );
}

fn outbox() -> Outbox {
    Outbox::new(Rules {
        in_flight: 2,
        at_least_once: false,
    })
}

fn device(id: &str, gateway: Option<&str>) -> Device {
    let gateway = gateway.map(|g| json!(g)).unwrap_or_default();
    serde_json::from_value(json!({"id": id, "name": id, "kind": "valve", "gateway": gateway})).unwrap()
}

fn due(outbox: &Outbox, book: &Book, now: i64, qos: Option<u8>) -> Vec<(u64, Over)> {
    outbox
        .due(
            book,
            (&device("v", None), None),
            at(now),
            &|_| qos,
            &HashSet::new(),
        )
        .iter()
        .map(|due| (due.id, due.over))
        .collect()
}

#[test]
fn a_command_goes_once_a_connection_until_it_is_received() {
    let mut play = Play::new(true);
    for _ in 0..3 {
        play.step(CommandStep::Created(Box::new(order("v", true))));
    }
    let mut outbox = outbox();
    assert_eq!(due(&outbox, &play.book, 0, None), [], "nobody listens");
    assert_eq!(due(&outbox, &play.book, EXPIRY, Some(1)), [], "too late");
    let both = outbox.due(
        &play.book,
        (&device("v", None), None),
        at(0),
        &|_| Some(1),
        &HashSet::new(),
    );
    assert_eq!(
        both.iter().map(|d| d.id).collect::<Vec<_>>(),
        [1, 2],
        "two in flight"
    );
    both.iter().for_each(|due| outbox.note(due));
    assert_eq!(due(&outbox, &play.book, 0, Some(1)), [], "the window is full");
    assert!(outbox.confirmed(1) && !outbox.confirmed(1) && !outbox.confirmed(9));
    assert_eq!(due(&outbox, &play.book, 0, Some(1)), [(3, Over::Rpc)]);
    // It comes back: 2 was never acknowledged, 1 was (even though the journal does not say so yet).
    let v = DeviceId::new("v").unwrap();
    assert_eq!(outbox.listening("d/v/rpc/request/+"), Some(vec![v.clone()]));
    assert_eq!(
        due(&outbox, &play.book, 0, Some(1)),
        [(3, Over::Rpc)],
        "a second subscription on a living connection repeats nothing"
    );
    assert!(outbox.dropped(2) && !outbox.dropped(2) && !outbox.dropped(1));
    assert_eq!(
        due(&outbox, &play.book, 0, Some(1)),
        [(2, Over::Rpc), (3, Over::Rpc)]
    );
    // A server that started anew knows from the journal.
    play.step(CommandStep::Received { id: 1 });
    play.step(CommandStep::Sent {
        id: 2,
        over: Over::Rpc,
        qos: 0,
    });
    let anew = self::outbox();
    assert_eq!(
        due(&anew, &play.book, 0, Some(1)),
        [(3, Over::Rpc), (4, Over::Rpc)]
    );
    let insisting = Outbox::new(Rules {
        in_flight: 9,
        at_least_once: true,
    });
    let ids: Vec<u64> = due(&insisting, &play.book, 0, Some(1))
        .iter()
        .map(|d| d.0)
        .collect();
    assert_eq!(ids, [1, 2, 3, 4]);
}

#[test]
fn a_command_takes_the_first_door_that_is_open() {
    let mut book = Book::default();
    for via in [Via::Auto, Via::Rpc, Via::Native] {
        let order = Order {
            via,
            ..order("v", true)
        };
        book.step(
            1,
            at(0),
            &record(CommandStep::Created(Box::new(order))),
            &mut Vec::new(),
        );
    }
    let child = device("v", Some("gw"));
    let outbox = Outbox::new(Rules {
        in_flight: 9,
        at_least_once: false,
    });
    for (open, want) in [
        ("d/v/", vec![(1, Over::Rpc), (2, Over::Rpc)]),
        ("onemap/", vec![(1, Over::Native), (3, Over::Native)]),
        ("g/gw/", vec![(1, Over::Gateway), (2, Over::Gateway)]),
        ("g/other/", vec![]),
    ] {
        let granted = |topic: &str| topic.starts_with(open).then_some(1);
        let due = outbox.due(&book, (&child, Some("阀 1")), at(0), &granted, &HashSet::new());
        // The gateway's own name for it stands in the gateway's messages and nowhere else.
        for due in &due {
            let is_named = String::from_utf8_lossy(&due.payload).contains("阀 1");
            assert_eq!(is_named, due.over == Over::Gateway);
        }
        let got: Vec<_> = due.iter().map(|d| (d.id, d.over)).collect();
        assert_eq!(got, want, "{open}");
    }
    let claimed = HashSet::from([1]);
    let due = outbox.due(&book, (&child, None), at(0), &|_| Some(1), &claimed);
    assert!(due.iter().all(|d| d.id != 1), "it is being taken back");
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        Just(Deed::Sent),
        Just(Deed::SentBlind),
        Just(Deed::Received),
        Just(Deed::Cancelled),
        Just(Deed::Good),
        Just(Deed::Bad),
        Just(Deed::Stranger),
        Just(Deed::TickBefore),
        Just(Deed::TickAfter),
    ];
    proptest::collection::vec(deed, 0..14)
}

proptest! {
    /// Whatever the order of facts: an end is never left (but a received one-way command by its answer), a
    /// command that has ended or run out is never due, and a checkpoint in between changes nothing.
    #[test]
    fn no_order_of_facts_leaves_an_end(two_way: bool, deeds in deeds(), checkpoint in 0usize..14) {
        let mut play = Play::new(two_way);
        let mut twin = Play::new(two_way);
        for (i, deed) in deeds.iter().enumerate() {
            let before = play.state();
            play.play(*deed);
            if i == checkpoint {
                twin.book = Book::restore(&twin.book.snapshot()).unwrap();
            }
            twin.play(*deed);
            let after = play.state();
            let answered = matches!(after, CommandState::Executed | CommandState::Failed);
            prop_assert!(after >= before, "{before:?} -> {after:?}");
            if before.is_final(two_way) {
                prop_assert!(after == before || (before == CommandState::Received && answered));
            }
            for now in [play.now, EXPIRY, EXPIRY + 1] {
                let due = due(&outbox(), &play.book, now, Some(1));
                let command = play.book.get(1).unwrap();
                prop_assert!(due.is_empty() || (now < EXPIRY && !command.is_final() && !command.received));
            }
        }
        prop_assert_eq!(&twin.changes, &play.changes);
        let held = |book: &Book| (book.commands.clone(), book.late.clone(), book.index.ended_bytes);
        prop_assert_eq!(held(&twin.book), held(&play.book));
        let ended = play.book.get(1).unwrap().is_final();
        prop_assert_eq!(play.book.n_waiting("v"), usize::from(!ended));
    }
}
