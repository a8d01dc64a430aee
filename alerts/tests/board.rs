//! Alerts from their first edge to their last, with the real engine in front of the board.
#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;
use std::time::Duration;

use onemap_alerts::{ActRefused, Alert, AlertState, Board, Condition, Cursor, Filter, StateFilter, Whose};
use onemap_model::{
    Act, AlertId, Belongs, DeviceId, DivisionCode, Edge, Observation, Past, Quality, Quantity, Reading, Role,
    Scope, SeriesKey, Timestamp, Transition, Value, Verb,
};
use onemap_rules::{Engine, RuleSet};
use proptest::prelude::*;

const START: Timestamp = Timestamp::from_ms(1_795_363_200_000);
const RULES: &str = "
version: 1
rules:
  - id: dust
    name: {zh: 扬尘, en: Dust}
    severity: major
    when: {above: {quantity: pm10, raise: 250 ug/m3, clear: 200 ug/m3}}
    advice: {zh: 洒水, en: Spray}
";

/// Engine and board as the pipeline joins them.
struct Desk {
    engine: Engine,
    board: Board,
    s: u64,
    position: u64,
    told: Vec<Transition>,
}

impl Desk {
    fn new() -> Self {
        let mut engine = Engine::new();
        engine.set_file(START, 1, "air", Some(RuleSet::parse("air", RULES).unwrap()));
        Self {
            engine,
            board: Board::new(),
            s: 0,
            position: 1,
            told: Vec::new(),
        }
    }
    fn now(&self) -> Timestamp {
        START + Duration::from_secs(self.s)
    }
    fn take(&mut self, transitions: Vec<Transition>) {
        for transition in transitions {
            self.board.fold(
                &transition,
                &self.engine.info(&transition.rule, &transition.series.device),
            );
            self.told.push(transition);
        }
    }
    fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.s += 1;
            self.position += 1;
            let mut transitions = self.engine.tick(self.now(), self.position);
            transitions.extend(self.board.tick(self.now(), self.position, &|_| false));
            self.take(transitions);
        }
    }
    fn reading(&mut self, device: &str, value: f64) {
        self.reading_in(device, value, "630102001");
    }
    fn reading_in(&mut self, device: &str, value: f64, division: &str) {
        self.wait(1);
        self.position += 1;
        let reading = Reading {
            series: SeriesKey {
                device: DeviceId::new(device).unwrap(),
                quantity: Quantity::named("pm10").unwrap(),
                channel: 0,
            },
            measured_at: self.now(),
            period: Duration::ZERO,
            received_at: self.now(),
            value: Value::Number(value),
            quality: Quality::GOOD,
            position: self.position,
        };
        let division = Some(DivisionCode::new(division).unwrap());
        let kind = Arc::from("air_station");
        let transitions = self.engine.observe(
            self.now(),
            &Observation {
                every_s: 0,
                reading,
                kind,
                division,
            },
        );
        self.take(transitions);
    }
    fn act(&mut self, scope: &Scope, verb: Verb) -> Result<(), ActRefused> {
        self.position += 1;
        let act = Act {
            at: self.now(),
            by: scope.clone(),
            verb,
        };
        let before = self.board.snapshot();
        let asked = self.board.check(&act, &Departments);
        let done = self.board.act(self.position, &act, &Departments);
        assert_eq!(
            asked,
            done.as_ref().map(|_| ()).map_err(Clone::clone),
            "asking and doing agree"
        );
        match done {
            Ok(transitions) => {
                for transition in transitions {
                    if transition.edge == Edge::Closed {
                        assert!(self.engine.closed(&transition.alert));
                    }
                    self.told.push(transition);
                }
                Ok(())
            }
            Err(refused) => {
                assert_eq!(self.board.snapshot(), before, "a refused act changes nothing");
                Err(refused)
            }
        }
    }
    fn ack(&mut self, alert: AlertId, seconds: u64) -> Result<(), ActRefused> {
        let until = self.now() + Duration::from_secs(seconds);
        let (name, note) = (" 王队 ".to_owned(), "已派人".to_owned());
        self.act(
            &Scope::local("desk-1"),
            Verb::Acknowledge {
                alert,
                name,
                note,
                until,
            },
        )
    }
    fn close(&mut self, alert: AlertId) -> Result<(), ActRefused> {
        let (name, note) = ("王队".to_owned(), "误报".to_owned());
        self.act(&Scope::local("desk-1"), Verb::Close { alert, name, note })
    }
    fn alert(&self, i: usize) -> &Alert {
        let raised = self
            .told
            .iter()
            .filter(|t| t.edge == Edge::Raised)
            .nth(i)
            .unwrap();
        self.board.get(&raised.alert).unwrap()
    }
    fn edges(&self) -> Vec<&'static str> {
        self.told.iter().map(|t| t.edge.name()).collect()
    }
}

#[test]
fn an_alert_lives_from_raised_to_cleared() {
    let mut desk = Desk::new();
    desk.reading("a", 612.0);
    let alert = desk.alert(0).clone();
    assert_eq!(
        (alert.state, alert.condition),
        (AlertState::Open, Condition::Abnormal)
    );
    assert_eq!((alert.value, alert.threshold), (Some(612.0), Some(250.0)));
    assert_eq!(
        (alert.rule_name.zh.as_str(), alert.advice.en.as_str()),
        ("扬尘", "Spray")
    );
    assert_eq!(desk.board.open_count(), 1);
    desk.wait(601);
    assert_eq!(
        desk.alert(0).condition,
        Condition::Unknown,
        "silent is not normal"
    );
    assert_eq!(desk.alert(0).state, AlertState::Open);
    desk.reading("a", 500.0);
    assert_eq!(
        (desk.alert(0).condition, desk.alert(0).value),
        (Condition::Abnormal, Some(500.0))
    );
    desk.reading("a", 100.0);
    let alert = desk.alert(0);
    assert_eq!(
        (alert.state, alert.condition),
        (AlertState::Cleared, Condition::Normal)
    );
    assert_eq!(alert.ended_at, Some(desk.now()));
    assert!(alert.message.zh.contains("告警解除"), "{}", alert.message.zh);
    assert_eq!(desk.board.open_count(), 0);
    assert_eq!(desk.edges(), ["raised", "lost", "found", "cleared"]);
}

#[test]
fn an_acknowledgement_has_a_name_and_an_end() {
    let mut desk = Desk::new();
    desk.reading("a", 612.0);
    let id = desk.alert(0).id;
    assert_eq!(desk.board.unacknowledged_count(), 1);
    desk.ack(id, 30).unwrap();
    let by = desk.alert(0).acknowledged.clone().unwrap();
    assert_eq!(
        (by.actor.as_str(), by.name.as_str(), by.note.as_str()),
        ("desk-1", "王队", "已派人")
    );
    assert_eq!(desk.board.unacknowledged_count(), 0);
    desk.wait(29);
    assert!(desk.alert(0).acknowledged.is_some());
    desk.wait(1);
    assert!(desk.alert(0).acknowledged.is_none());
    assert_eq!(
        desk.edges(),
        ["raised", "acknowledged", "acknowledgement_expired"]
    );
    // A second one before the first has run out moves the end.
    desk.ack(id, 30).unwrap();
    desk.ack(id, 60).unwrap();
    desk.wait(58);
    assert!(desk.alert(0).acknowledged.is_some());
    desk.reading("a", 100.0);
    desk.wait(60);
    assert_eq!(
        desk.edges()[3..],
        ["acknowledged", "acknowledged", "cleared"],
        "an ended alert expires nothing"
    );
    assert!(
        desk.alert(0).acknowledged.is_some(),
        "who took care of it stays known"
    );
}

#[test]
fn acts_are_refused_by_name_and_change_nothing() {
    let mut desk = Desk::new();
    desk.reading("a", 612.0);
    let id = desk.alert(0).id;
    let now = desk.now();
    let until = now + Duration::from_secs(60);
    let ack = |name: &str, until| Verb::Acknowledge {
        alert: id,
        name: name.into(),
        note: String::new(),
        until,
    };
    let root = Scope::local("desk-1");
    let elsewhere = Scope {
        role: Role::Officer,
        division: Some(DivisionCode::new("630103").unwrap()),
        ..Scope::local("desk-2")
    };
    let week = Duration::from_secs(7 * 86_400);
    assert_eq!(desk.act(&root, ack(" ", until)), Err(ActRefused::NoName));
    assert_eq!(
        desk.act(&root, ack(&"王".repeat(65), until)),
        Err(ActRefused::TooLong)
    );
    assert_eq!(
        desk.act(&root, ack("王", now)),
        Err(ActRefused::UntilPast { until: now })
    );
    let too_far = now + week + Duration::from_millis(1);
    assert_eq!(
        desk.act(&root, ack("王", too_far)),
        Err(ActRefused::UntilTooFar { until: too_far })
    );
    assert_eq!(
        desk.act(&elsewhere, ack("王", until)),
        Err(ActRefused::OutOfScope(id))
    );
    let of_department = |department: &str| Scope {
        departments: vec![department.to_owned()],
        ..Scope::local("desk-3")
    };
    assert_eq!(
        desk.act(&of_department("b的部门"), ack("王", until)),
        Err(ActRefused::OutOfScope(id))
    );
    assert_eq!(desk.act(&of_department("a的部门"), ack("王", until)), Ok(()));
    let nobody = AlertId::of(&[b"nobody"]);
    assert_eq!(desk.close(nobody), Err(ActRefused::UnknownAlert(nobody)));
    assert_eq!(desk.act(&root, ack("王", now + week)), Ok(()));
    desk.reading("a", 100.0);
    assert_eq!(desk.close(id), Err(ActRefused::Ended(id)), "it cleared meanwhile");
    assert_eq!(desk.ack(id, 60), Err(ActRefused::Ended(id)));
}

#[test]
fn a_closed_alert_ends_and_comes_back_only_after_it_was_normal() {
    let mut desk = Desk::new();
    desk.reading("a", 612.0);
    desk.close(desk.alert(0).id).unwrap();
    assert_eq!(
        (desk.alert(0).state, desk.alert(0).condition),
        (AlertState::Closed, Condition::Abnormal)
    );
    desk.reading("a", 640.0);
    desk.reading("a", 100.0);
    desk.reading("a", 640.0);
    assert_eq!(desk.edges(), ["raised", "closed", "raised"]);
    assert_ne!(desk.alert(0).id, desk.alert(1).id);
    let closed = desk.told.iter().find(|t| t.edge == Edge::Closed).unwrap();
    assert_eq!(closed.act.as_ref().unwrap().note, "误报");
}

#[test]
fn a_withdrawn_rule_ends_its_alert_without_calling_it_normal() {
    let mut desk = Desk::new();
    desk.reading("a", 612.0);
    let transitions = desk.engine.set_file(desk.now(), 999, "air", None);
    desk.take(transitions);
    let alert = desk.alert(0);
    assert_eq!(
        (alert.state, alert.condition),
        (AlertState::Withdrawn, Condition::Abnormal)
    );
    assert_eq!(
        alert.rule_name.zh, "扬尘",
        "an alert keeps the name it was raised with"
    );
}

#[test]
fn lists_are_newest_first_in_pages_that_new_alerts_do_not_shift() {
    let mut desk = Desk::new();
    for i in 0..10 {
        desk.reading_in(
            &format!("d{i}"),
            612.0,
            if i % 2 == 0 { "630102001" } else { "630103001" },
        );
    }
    desk.reading_in("d9", 100.0, "630103001");
    let root = Scope::local("x");
    let filter = |state| Filter {
        state,
        scope: &root,
        whose: &Departments,
        division: None,
    };
    let names = |alerts: &[&Alert]| {
        alerts
            .iter()
            .map(|a| a.series.device.to_string())
            .collect::<Vec<_>>()
    };
    let first = desk.board.list(&filter(StateFilter::All), None, 4);
    assert_eq!(names(&first), ["d9", "d8", "d7", "d6"]);
    let cursor: Cursor = Cursor::of(first[3]).to_string().parse().unwrap();
    desk.reading("new", 612.0);
    let second = desk.board.list(&filter(StateFilter::All), Some(cursor), 4);
    assert_eq!(names(&second), ["d5", "d4", "d3", "d2"]);
    let open = desk.board.list(&filter(StateFilter::Open), Some(cursor), 100);
    assert_eq!(names(&open), ["d5", "d4", "d3", "d2", "d1", "d0"]);
    assert_eq!(
        names(&desk.board.list(&filter(StateFilter::Ended), None, 100)),
        ["d9"]
    );
    let division = DivisionCode::new("630103").unwrap();
    let district = Filter {
        division: Some(&division),
        ..filter(StateFilter::All)
    };
    assert_eq!(
        names(&desk.board.list(&district, None, 100)),
        ["d9", "d7", "d5", "d3", "d1"]
    );
    let officer = Scope {
        role: Role::Officer,
        division: Some(division.clone()),
        ..Scope::local("o")
    };
    let own = Filter {
        state: StateFilter::Open,
        scope: &officer,
        whose: &Departments,
        division: None,
    };
    assert_eq!(names(&desk.board.list(&own, None, 100)), ["d7", "d5", "d3", "d1"]);
    let bound = |department: &str| Scope {
        departments: vec![department.to_owned()],
        ..officer.clone()
    };
    for (department, expected) in [("d5的部门", &["d5"][..]), ("d4的部门", &[]), ("别的部门", &[])]
    {
        let scope = bound(department);
        let own = Filter {
            state: StateFilter::Open,
            scope: &scope,
            whose: &Departments,
            division: None,
        };
        assert_eq!(names(&desk.board.list(&own, None, 100)), expected, "{department}");
    }
    for bad in ["", "1", "x-y", "1-00"] {
        assert!(bad.parse::<Cursor>().is_err(), "{bad}");
    }
}

#[test]
fn the_board_forgets_the_first_that_ended_and_no_open_one() {
    let mut desk = Desk::new();
    desk.reading("stays", 612.0);
    for i in 0..10_001 {
        desk.reading("a", if i % 2 == 0 { 612.0 } else { 100.0 });
        desk.reading("b", if i % 2 == 0 { 612.0 } else { 100.0 });
    }
    let root = Scope::local("x");
    let filter = Filter {
        state: StateFilter::All,
        scope: &root,
        whose: &Departments,
        division: None,
    };
    let all = desk.board.list(&filter, None, usize::MAX);
    assert_eq!(all.len(), 10_000 + desk.board.open_count());
    assert_eq!(desk.alert(0).series.device.as_str(), "stays");
}

/// The departments of devices.
/// Devices lie where their alerts were raised.
struct Departments;

impl Whose for Departments {
    fn belongs<'a>(&'a self, alert: &'a Alert) -> Belongs<'a> {
        let department = match alert.series.device.as_str() {
            "a" => "a的部门",
            "d4" => "d4的部门",
            "d5" => "d5的部门",
            _ => "",
        };
        Belongs::of(alert.division.as_ref(), department)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_board_is_the_fold_of_its_transitions_and_survives_restarts(
        steps in prop::collection::vec((0_u8..6, 0_usize..3, 1_u64..40), 1..60),
    ) {
        let mut desk = Desk::new();
        for (what, which, n) in steps {
            let device = ["a", "b", "c"][which];
            let open: Vec<AlertId> = desk.board.open_alerts().map(|a| a.id).collect();
            match (what, open.get(which)) {
                (0 | 1, _) => desk.reading(device, 612.0),
                (2, _) => desk.reading(device, 100.0),
                (3, Some(alert)) => desk.ack(*alert, n).unwrap(),
                (4, Some(alert)) => desk.close(*alert).unwrap(),
                _ => desk.wait(n * 20),
            }
            let bytes = desk.board.snapshot();
            desk.board = Board::restore(&bytes).unwrap();
            prop_assert_eq!(desk.board.snapshot(), bytes);
        }
        let mut folded = Board::new();
        for transition in desk.told.iter().flat_map(|t| [t, t]) {
            folded.fold(transition, &desk.engine.info(&transition.rule, &transition.series.device));
        }
        prop_assert_eq!(folded.snapshot(), desk.board.snapshot());
        let ids: std::collections::BTreeSet<_> = desk.told.iter().map(|t| t.id).collect();
        prop_assert_eq!(ids.len(), desk.told.len());
    }
}

fn shelve(desk: &mut Desk, alert: AlertId, seconds: u64, note: &str) -> Result<(), ActRefused> {
    let until = desk.now() + Duration::from_secs(seconds);
    let (name, note) = ("王队".to_owned(), note.to_owned());
    desk.act(
        &Scope::local("desk-1"),
        Verb::Shelve {
            alert,
            name,
            note,
            until,
        },
    )
}

fn unshelve(desk: &mut Desk, alert: AlertId) -> Result<(), ActRefused> {
    let (name, note) = ("王队".to_owned(), String::new());
    desk.act(&Scope::local("desk-1"), Verb::Unshelve { alert, name, note })
}

fn in_list(desk: &Desk, state: StateFilter) -> usize {
    let scope = Scope::local("desk-1");
    let filter = Filter {
        state,
        scope: &scope,
        whose: &Departments,
        division: None,
    };
    desk.board.list(&filter, None, 100).len()
}

#[test]
fn a_shelved_alert_leaves_the_list_for_its_while_and_is_recorded() {
    let mut desk = Desk::new();
    desk.reading("a", 300.0);
    let id = desk.alert(0).id;
    assert_eq!(shelve(&mut desk, id, 60, " "), Err(ActRefused::NoReason));
    let refused = shelve(&mut desk, id, 7 * 86_400 + 1, "校准");
    assert!(
        matches!(refused, Err(ActRefused::UntilTooFar { .. })),
        "{refused:?}"
    );
    assert_eq!(unshelve(&mut desk, id), Err(ActRefused::NotShelved(id)));
    shelve(&mut desk, id, 60, "校准").unwrap();
    assert_eq!(
        (
            in_list(&desk, StateFilter::Open),
            in_list(&desk, StateFilter::Shelved),
            in_list(&desk, StateFilter::All)
        ),
        (0, 1, 1)
    );
    assert_eq!((desk.board.open_count(), desk.board.shelved_count()), (1, 1));
    desk.wait(30);
    desk.board = Board::restore(&desk.board.snapshot()).unwrap();
    desk.wait(31);
    assert_eq!(
        in_list(&desk, StateFilter::Open),
        1,
        "it comes back by itself, after a restart too"
    );
    shelve(&mut desk, id, 600, "又在校准").unwrap();
    unshelve(&mut desk, id).unwrap();
    assert_eq!(in_list(&desk, StateFilter::Open), 1);
    shelve(&mut desk, id, 600, "再校准").unwrap();
    desk.reading("a", 100.0);
    let alert = desk.alert(0);
    assert_eq!((alert.state, &alert.shelved), (AlertState::Cleared, &None));
    assert_eq!(
        desk.edges(),
        [
            "raised",
            "shelved",
            "shelf_expired",
            "shelved",
            "unshelved",
            "shelved",
            "cleared"
        ]
    );
    desk.wait(601);
    assert_eq!(desk.edges().len(), 7, "what ended does not come back");
}

#[test]
fn what_becomes_more_severe_comes_off_the_shelf() {
    let mut desk = Desk::new();
    desk.reading("a", 300.0);
    let id = desk.alert(0).id;
    shelve(&mut desk, id, 600, "校准").unwrap();
    let mut worse = desk.told[0].clone();
    worse.edge = Edge::Found;
    worse.severity = onemap_model::Severity::Critical;
    desk.take(vec![worse]);
    let alert = desk.alert(0);
    assert_eq!(
        (alert.severity, &alert.shelved),
        (onemap_model::Severity::Critical, &None)
    );
}

#[test]
fn an_alert_is_assigned_to_a_name() {
    let mut desk = Desk::new();
    desk.reading("a", 300.0);
    let alert = desk.alert(0).id;
    let assign = |to: &str| Verb::Assign {
        alert,
        name: "王队".to_owned(),
        to: to.to_owned(),
        note: "现场查看".to_owned(),
    };
    let scope = Scope::local("desk-1");
    assert_eq!(desk.act(&scope, assign(" ")), Err(ActRefused::NoName));
    desk.act(&scope, assign(" 李工 ")).unwrap();
    let assigned = desk.alert(0).assigned.clone().unwrap();
    assert_eq!(
        (assigned.to.as_str(), assigned.name.as_str(), assigned.at),
        ("李工", "王队", desk.now())
    );
    assert_eq!(desk.told[1].message_zh, "王队已指派给李工");
}

#[test]
fn a_snapshot_of_before_shelves_is_read() {
    let mut desk = Desk::new();
    desk.reading("a", 300.0);
    let id = desk.alert(0).id;
    desk.ack(id, 60).unwrap();
    let text = String::from_utf8(desk.board.snapshot()).unwrap();
    let at = desk.now().to_string();
    let mut old = text.replace(r#""shelved":null,"assigned":null,"#, "");
    for known in [&at, &desk.alert(0).raised_at.to_string()] {
        old = old.replace(&format!(r#""changed_at":"{known}","#), "");
    }
    assert!(!old.contains("changed_at") && !old.contains("shelved"), "{old}");
    let restored = Board::restore(old.as_bytes()).unwrap();
    assert_eq!(restored.get(&id), desk.board.get(&id));
}

/// What is told of an exceedance that was found in data that came late.
fn past(desk: &Desk, from: u64, until: u64, peak: f64) -> Transition {
    let at = |s: u64| START + Duration::from_secs(s);
    let past = Past {
        from: at(from),
        until: at(until),
        peak: Some(peak),
    };
    let like = &desk.told[0];
    // One alert, whatever is known of it by now.
    let alert = Transition::past_alert_of(&like.rule, &like.series, at(10));
    Transition {
        id: Transition::past_id_of(&alert, &like.rule_version, &past),
        alert,
        edge: Edge::Past,
        at: desk.now(),
        position: desk.position,
        inputs: Vec::new(),
        act: None,
        drill: None,
        past: Some(past),
        ..like.clone()
    }
}

#[test]
fn a_historical_event_has_ended_when_it_is_told_and_stands_on_no_desk() {
    let mut desk = Desk::new();
    desk.reading("a", 300.0);
    desk.wait(100);
    let told = past(&desk, 10, 20, 400.0);
    desk.take(vec![told.clone()]);
    let alert = desk.board.get(&told.alert).unwrap().clone();
    assert_eq!(
        (alert.state, alert.condition),
        (AlertState::Cleared, Condition::Normal)
    );
    assert_eq!(
        (alert.raised_at, alert.ended_at),
        (told.past.unwrap().from, Some(told.past.unwrap().until))
    );
    assert_eq!(
        (alert.changed_at, alert.value, alert.past),
        (desk.now(), Some(400.0), told.past)
    );
    assert_eq!(alert.rule_name.zh, "扬尘");
    assert_eq!((desk.board.open_count(), desk.board.past_count()), (1, 1));
    assert_eq!(desk.board.ended_alerts().count(), 0, "on no card");
    let city = Scope::local("desk-1");
    let listed = |board: &Board, state: StateFilter| -> usize {
        let filter = Filter {
            state,
            scope: &city,
            whose: &Departments,
            division: None,
        };
        board.list(&filter, None, 100).len()
    };
    for (state, n) in [
        (StateFilter::Open, 1),
        (StateFilter::Ended, 0),
        (StateFilter::Past, 1),
        (StateFilter::All, 2),
    ] {
        assert_eq!(listed(&desk.board, state), n, "{state:?}");
    }
    // Nobody takes what is over.
    let close = Verb::Close {
        alert: told.alert,
        name: "李".into(),
        note: String::new(),
    };
    assert_eq!(desk.act(&city, close), Err(ActRefused::Ended(told.alert)));
    // Told again it is the same; and wider when more of it came.
    let before = desk.board.snapshot();
    desk.take(vec![told.clone()]);
    assert_eq!(desk.board.snapshot(), before);
    desk.wait(60);
    let wider = past(&desk, 5, 20, 450.0);
    desk.take(vec![wider.clone()]);
    let alert = desk.board.get(&told.alert).unwrap();
    assert_eq!(
        (alert.past, alert.raised_at, alert.value),
        (wider.past, wider.past.unwrap().from, Some(450.0))
    );
    assert_eq!(
        alert.raised_position, told.position,
        "its place in the list stays"
    );
    assert_eq!(desk.board.past_count(), 1);
    let back = Board::restore(&desk.board.snapshot()).unwrap();
    assert_eq!(back.snapshot(), desk.board.snapshot());
    assert_eq!((back.past_count(), listed(&back, StateFilter::Past)), (1, 1));
    assert_eq!(back.get(&told.alert), desk.board.get(&told.alert));
}

#[test]
fn one_device_that_hands_on_years_leaves_room_for_the_events_of_others() {
    let mut desk = Desk::new();
    desk.reading("a", 300.0);
    let like = past(&desk, 10, 20, 400.0);
    let told = |device: &str, n: u64| {
        let mut told = like.clone();
        told.series.device = DeviceId::new(device).unwrap();
        let from = START + Duration::from_secs(n);
        told.alert = Transition::past_alert_of(&told.rule, &told.series, from);
        told.past = told.past.map(|past| Past { from, ..past });
        told
    };
    for n in 0..20 {
        desk.take(vec![told("quiet", n)]);
    }
    let quiet = told("quiet", 0).alert;
    for n in 0..20_000 {
        desk.take(vec![told("loud", n)]);
        assert!(desk.board.past_count() <= 5_000);
    }
    assert!(desk.board.past_count() >= 4_500);
    assert!(desk.board.get(&quiet).is_some(), "the oldest of all stays");
    assert!(desk.board.get(&told("loud", 19_999).alert).is_some());
    assert!(desk.board.get(&told("loud", 0).alert).is_none());
    let own = DeviceId::new("quiet").unwrap();
    assert_eq!(desk.board.of_device(&own).count(), 20);
}
