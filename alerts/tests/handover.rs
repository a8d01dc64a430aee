//! How shifts hand over: what may follow what, also through a restart, and where a desk stands at each time.
#![allow(clippy::unwrap_used, missing_docs)]

use onemap_alerts::{Board, Change, DutyRefused};
use onemap_model::duty_log::{About, Handed};
use onemap_model::{Act, Desk, DeskId, DivisionCode, DutyEntry, DutyKind, Scope, Timestamp, Verb};
use serde_json::json;

fn at(text: &str) -> Timestamp {
    Timestamp::parse(&format!("2026-11-{text}:00+08:00")).unwrap()
}

fn desk() -> Desk {
    let shift = |from: &str, to: &str| json!({"from": at(from), "to": at(to), "posts": {"值班员": ["王队"]}});
    let desk = json!({
        "name": "城东区", "division": "630102", "severity": "major", "steps": [{"after_min": 0, "post": "值班员"}],
        "shifts": [shift("28T08:00", "28T20:00"), shift("28T20:00", "29T08:00"), shift("29T08:00", "29T09:00"),
                   shift("29T09:00", "29T20:00")],
    });
    let desk: Desk = serde_json::from_value(desk).unwrap();
    desk.check().unwrap();
    desk
}

/// A board that begins again from its own bytes before each act.
struct Log {
    board: Board,
    position: u64,
}

impl Log {
    fn new() -> Self {
        let mut board = Board::new();
        let verb = Verb::PutDesk {
            id: DeskId::new("east").unwrap(),
            desk: Box::new(desk()),
        };
        assert!(board.man(&Act {
            at: at("28T00:00"),
            by: Scope::local("put"),
            verb
        }));
        Self { board, position: 0 }
    }

    fn write(
        &mut self,
        when: &str,
        actor: &str,
        kind: DutyKind,
        handover: Option<u64>,
    ) -> Result<u64, DutyRefused> {
        self.board = Board::restore(&self.board.snapshot()).unwrap();
        let entry = DutyEntry {
            desk: DeskId::new("east").unwrap(),
            division: DivisionCode::new("630102").ok(),
            shift: None,
            name: actor.to_owned(),
            kind,
            text: "…".to_owned(),
            about: About::default(),
            corrects: None,
            handed: (kind == DutyKind::Handover).then(|| Box::new(Handed::default())),
            handover,
        };
        let act = Act {
            at: at(when),
            by: Scope::local(actor),
            verb: Verb::Duty(Box::new(entry)),
        };
        self.position += 1;
        self.board.write_log(self.position, &act)?;
        Ok(self.position)
    }

    fn change(&self, when: &str) -> Option<Change> {
        let (desk, handovers) = self.board.duty().desk(&DeskId::new("east").unwrap()).unwrap();
        handovers.change(desk, at(when))
    }
}

#[test]
fn what_was_handed_over_is_taken_over_once_by_another_person() {
    let mut log = Log::new();
    let take = |log: &mut Log, actor: &str, id| log.write("28T19:50", actor, DutyKind::Takeover, Some(id));
    assert_eq!(take(&mut log, "li", 9), Err(DutyRefused::NotHandedOver(9)));
    let note = log.write("28T19:00", "wang", DutyKind::Note, None).unwrap();
    assert_eq!(take(&mut log, "li", note), Err(DutyRefused::NotHandedOver(note)));
    let first = log.write("28T19:30", "wang", DutyKind::Handover, None).unwrap();
    let newest = log.write("28T19:40", "wang", DutyKind::Handover, None).unwrap();
    assert_eq!(
        take(&mut log, "li", first),
        Err(DutyRefused::Stale { id: first, newest })
    );
    assert_eq!(take(&mut log, "wang", newest), Err(DutyRefused::Own));
    take(&mut log, "li", newest).unwrap();
    let taken = DutyRefused::Taken {
        id: newest,
        by: "li".to_owned(),
        at: at("28T19:50"),
    };
    assert_eq!(take(&mut log, "zhang", newest), Err(taken.clone()));
    assert_eq!(taken.code(), "handover_taken");
    assert!(
        taken.zh().contains("li") && taken.zh().contains("11-28 19:50"),
        "{}",
        taken.zh()
    );
}

#[test]
fn who_does_not_see_the_whole_desk_writes_nothing() {
    let log = Log::new();
    for (division, want) in [
        (None, true),
        (Some("6301"), true),
        (Some("630102"), true),
        (Some("630105"), false),
    ] {
        let entry = json!({"desk": "east", "name": "a", "kind": "note", "text": "a"});
        let mut by = Scope::local("a");
        by.division = division.map(|code| DivisionCode::new(&format!("{code:0<6}")).unwrap());
        let act = Act {
            at: at("28T09:00"),
            by,
            verb: Verb::Duty(Box::new(serde_json::from_value(entry).unwrap())),
        };
        assert_eq!(log.board.duty().check(&act).is_ok(), want, "{division:?}");
    }
}

#[test]
fn a_shift_that_nobody_took_over_is_missing_from_half_an_hour_on() {
    let mut log = Log::new();
    // Nobody hands over to the first shift of a roster, and there is none in the night before it.
    assert_eq!([log.change("28T07:00"), log.change("28T12:00")], [None, None]);
    for (when, want) in [
        ("28T20:00", Change::Waiting),
        ("28T20:30", Change::Waiting),
        ("28T20:31", Change::Missing),
    ] {
        assert_eq!(log.change(when), Some(want), "{when}");
    }
    let id = log.write("28T20:40", "wang", DutyKind::Handover, None).unwrap();
    assert_eq!(log.change("28T20:41"), Some(Change::Missing));
    log.write("28T20:50", "li", DutyKind::Takeover, Some(id)).unwrap();
    assert_eq!(log.change("28T20:51"), Some(Change::Late));
    // Two hours before the next one is early enough, and not for the one of now.
    let id = log.write("29T06:10", "li", DutyKind::Handover, None).unwrap();
    log.write("29T06:20", "zhao", DutyKind::Takeover, Some(id))
        .unwrap();
    assert_eq!(log.change("29T08:01"), Some(Change::Done));
    assert_eq!(log.change("29T07:59"), Some(Change::Late));
    // The shift before is an hour long: half an hour before the next one is the earliest.
    assert_eq!(log.change("29T09:01"), Some(Change::Waiting));
    assert_eq!(log.change("29T09:31"), Some(Change::Missing));
}
