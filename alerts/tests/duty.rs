//! Whom alerts reach that nobody takes, minute by minute.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use onemap_alerts::{Alert, Board, RuleInfo, Whose};
use onemap_model::{
    Act, AlertId, Belongs, Desk, DeskError, DeskId, DeviceId, DivisionCode, Drill, DrillId, Edge, Quantity,
    RuleId, Scope, SeriesKey, Severity, Timestamp, Transition, Verb,
};
use serde_json::{Value, json};

struct Everybody;

impl Whose for Everybody {
    fn belongs<'a>(&'a self, alert: &'a Alert) -> Belongs<'a> {
        Belongs::of(alert.division.as_ref(), "")
    }
}

fn start() -> Timestamp {
    Timestamp::parse("2026-11-28T08:00:00+08:00").unwrap()
}

fn desk() -> Value {
    json!({
        "name": "市指挥中心", "severity": "major", "remind_min": 15,
        "steps": [{"after_min": 0, "post": "值班员"}, {"after_min": 10, "post": "带班领导"}, {"after_min": 30, "post": "主任"}],
        "shifts": [
            {"from": "2026-11-28T08:00:00+08:00", "to": "2026-11-28T20:00:00+08:00",
             "posts": {"值班员": ["王队", "赵工"], "带班领导": ["李处"]}},
            {"from": "2026-11-28T20:00:00+08:00", "to": "2026-11-29T08:00:00+08:00", "posts": {"值班员": ["夜班小周"]}}],
        "standby": {"主任": ["陈主任"]}
    })
}

/// A board, its clock ticking each second, and what it paged.
struct Room {
    board: Board,
    s: u64,
    position: u64,
    paged: Vec<String>,
    /// Begins again from its own bytes each minute.
    restarts: bool,
}

impl Room {
    fn new(desk: &Value) -> Self {
        let mut room = Self {
            board: Board::new(),
            s: 0,
            position: 0,
            paged: Vec::new(),
            restarts: false,
        };
        room.put("city", desk);
        room
    }
    fn now(&self) -> Timestamp {
        start() + Duration::from_secs(self.s)
    }
    fn act(&self, verb: Verb) -> Act {
        Act {
            at: self.now(),
            by: Scope::local("test"),
            verb,
        }
    }
    fn put(&mut self, id: &str, desk: &Value) {
        let desk: Desk = serde_json::from_value(desk.clone()).unwrap();
        desk.check().unwrap();
        let verb = Verb::PutDesk {
            id: DeskId::new(id).unwrap(),
            desk: Box::new(desk),
        };
        assert!(self.board.man(&self.act(verb)));
    }
    fn raise(&mut self, device: &str, severity: Severity, division: &str) -> AlertId {
        self.position += 1;
        let rule = RuleId::new("dust").unwrap();
        let series = SeriesKey {
            device: DeviceId::new(device).unwrap(),
            quantity: Quantity::named("pm10").unwrap(),
            channel: 0,
        };
        let alert = Transition::alert_of(&rule, &series, self.position);
        let mut raised = Transition {
            id: Transition::id_of(&rule, "v", &series, self.position, Edge::Raised),
            alert,
            edge: Edge::Raised,
            at: self.now(),
            position: self.position,
            rule,
            rule_version: "v".to_owned(),
            series,
            severity,
            division: Some(DivisionCode::new(division).unwrap()),
            inputs: Vec::new(),
            message_zh: String::new(),
            message_en: String::new(),
            act: None,
            drill: None,
            past: None,
        };
        self.board.mark(&mut raised);
        self.board.fold(&raised, &RuleInfo::default());
        alert
    }
    fn edge(&mut self, alert: AlertId, edge: Edge) {
        self.position += 1;
        let of = self.board.get(&alert).unwrap();
        let told = Transition {
            id: Transition::id_of(&of.rule, "v", &of.series, self.position, edge),
            alert,
            edge,
            at: self.now(),
            position: self.position,
            rule: of.rule.clone(),
            rule_version: "v".to_owned(),
            series: of.series.clone(),
            severity: of.severity,
            division: of.division.clone(),
            inputs: Vec::new(),
            message_zh: String::new(),
            message_en: String::new(),
            act: None,
            drill: of.drill.clone(),
            past: None,
        };
        self.board.fold(&told, &RuleInfo::default());
    }
    fn acknowledge(&mut self, alert: AlertId, minutes: u64) {
        self.position += 1;
        let verb = Verb::Acknowledge {
            alert,
            name: "王队".to_owned(),
            note: String::new(),
            until: self.now() + Duration::from_secs(minutes * 60),
        };
        let act = self.act(verb);
        self.board.act(self.position, &act, &Everybody).unwrap();
    }
    fn until_min(&mut self, minute: u64) {
        while self.s < minute * 60 {
            self.s += 1;
            self.position += 1;
            if self.restarts && self.s.is_multiple_of(60) {
                self.board = Board::restore(&self.board.snapshot()).unwrap();
            }
            for told in self.board.tick(self.now(), self.position, &|_| false) {
                if told.edge == Edge::Paged {
                    let at = self.now().to_string();
                    self.paged.push(format!("{} {}", &at[11..16], told.message_zh));
                }
            }
        }
    }
    fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.paged)
    }
}

#[test]
fn an_alert_that_nobody_takes_goes_from_post_to_post_and_then_is_reminded_of() {
    for restarts in [false, true] {
        let mut room = Room::new(&desk());
        room.restarts = restarts;
        room.raise("air-1", Severity::Major, "630102");
        room.until_min(65);
        assert_eq!(
            room.told(),
            [
                "08:00 市指挥中心通知值班员 王队、赵工",
                "08:10 市指挥中心通知带班领导 李处",
                "08:30 市指挥中心通知主任 陈主任",
                "08:45 市指挥中心再次提醒主任 陈主任",
                "09:00 市指挥中心再次提醒主任 陈主任",
            ],
            "restarts: {restarts}"
        );
    }
}

#[test]
fn who_takes_it_stops_the_pages_until_his_time_is_over() {
    let mut room = Room::new(&desk());
    let alert = room.raise("air-1", Severity::Critical, "630102");
    room.until_min(1);
    assert_eq!(room.told().len(), 1);
    room.acknowledge(alert, 60);
    room.until_min(60);
    assert_eq!(room.told(), [] as [&str; 0]);
    room.until_min(72);
    assert_eq!(
        room.told(),
        [
            "09:01 市指挥中心通知值班员 王队、赵工",
            "09:11 市指挥中心通知带班领导 李处"
        ],
        "it begins anew"
    );
}

#[test]
fn a_storm_is_one_page_and_the_worst_of_it_is_named() {
    let mut room = Room::new(&desk());
    for i in 0..400 {
        room.raise(&format!("air-{i}"), Severity::Major, "630102");
    }
    let worst = room.raise("air-worst", Severity::Critical, "630102");
    room.position += 1;
    room.s += 1;
    let told = room.board.tick(room.now(), room.position, &|_| false);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].alert, worst);
    assert_eq!(
        told[0].message_zh,
        "市指挥中心通知值班员 王队、赵工；另有 400 条无人处理"
    );
    assert_eq!(told[0].act.as_ref().unwrap().to.as_deref(), Some("王队、赵工"));
    room.raise("air-more", Severity::Major, "630102");
    room.until_min(3);
    assert_eq!(
        room.told(),
        ["08:01 市指挥中心通知值班员 王队、赵工；另有 401 条无人处理"],
        "what comes after it waits a minute"
    );
}

#[test]
fn an_empty_post_is_passed_over_and_an_empty_desk_is_said_to_be_one() {
    let mut night = desk();
    night["steps"][0]["after_min"] = json!(1);
    let mut room = Room::new(&night);
    room.until_min(12 * 60);
    room.raise("air-1", Severity::Major, "630102");
    room.until_min(12 * 60 + 11);
    assert_eq!(
        room.told(),
        [
            "20:01 市指挥中心通知值班员 夜班小周",
            "20:10 市指挥中心通知带班领导、主任 陈主任"
        ],
        "at night nobody leads: the next post is called at once"
    );
    let mut empty = desk();
    empty["shifts"] = json!([]);
    empty["standby"] = json!({});
    let mut room = Room::new(&empty);
    room.raise("air-1", Severity::Major, "630102");
    room.until_min(1);
    assert_eq!(
        room.told(),
        ["08:00 市指挥中心通知值班员、带班领导、主任（无人值班）"]
    );
}

#[test]
fn a_desk_looks_at_its_own_division_severity_and_rules_and_each_desk_is_paged() {
    let mut room = Room::new(&desk());
    let mut other = desk();
    other["name"] = json!("城东区");
    other["division"] = json!("630102");
    room.put("east", &other);
    let mut river = desk();
    river["name"] = json!("水务");
    river["rules"] = json!(["river-stage"]);
    room.put("river", &river);
    room.raise("air-1", Severity::Minor, "630102");
    room.until_min(2);
    assert_eq!(room.told(), [] as [&str; 0], "it does not matter enough");
    room.raise("air-2", Severity::Major, "630104");
    room.until_min(4);
    assert_eq!(room.told(), ["08:02 市指挥中心通知值班员 王队、赵工"]);
    room.raise("air-3", Severity::Major, "630102001");
    let mut ids = Vec::new();
    room.s += 1;
    room.position += 1;
    for told in room.board.tick(room.now(), room.position, &|_| false) {
        ids.push(told.id);
        assert_eq!(told.series.device.as_str(), "air-3");
    }
    ids.dedup();
    assert_eq!(ids.len(), 2, "one page of each desk, each with an id of its own");
    assert!(room.board.man(&room.act(Verb::RemoveDesk {
        id: DeskId::new("east").unwrap()
    })));
    assert!(!room.board.man(&room.act(Verb::RemoveDesk {
        id: DeskId::new("east").unwrap()
    })));
}

#[test]
fn desks_that_cannot_be_are_refused_by_name() {
    let wrong = |change: &dyn Fn(&mut Value)| {
        let mut text = desk();
        change(&mut text);
        serde_json::from_value::<Desk>(text).unwrap().check().unwrap_err()
    };
    assert_eq!(wrong(&|d| d["steps"] = json!([])), DeskError::Steps);
    assert_eq!(
        wrong(&|d| d["steps"][1]["after_min"] = json!(0)),
        DeskError::Steps
    );
    assert_eq!(
        wrong(&|d| d["steps"][2]["after_min"] = json!(1441)),
        DeskError::Steps
    );
    assert_eq!(wrong(&|d| d["remind_min"] = json!(0)), DeskError::Remind);
    assert_eq!(
        wrong(&|d| d["name"] = json!("  ")),
        DeskError::Name { what: "name" }
    );
    assert_eq!(
        wrong(&|d| d["shifts"][1]["to"] = json!("2026-11-28T20:00:00+08:00")),
        DeskError::Shift { at: 1 }
    );
    assert_eq!(
        wrong(&|d| d["standby"] = json!({"值班長": ["王队"]})),
        DeskError::Post {
            post: "值班長".to_owned()
        }
    );
    assert_eq!(
        wrong(&|d| d["standby"]["主任"] = json!([""])),
        DeskError::Name { what: "people" }
    );
}

fn drill(devices: &[&str], from_min: u64, to_min: u64) -> Box<Drill> {
    let drill = Drill {
        name: "汛前演练".to_owned(),
        division: None,
        devices: devices.iter().map(|id| DeviceId::new(id).unwrap()).collect(),
        rules: Vec::new(),
        from: start() + Duration::from_secs(from_min * 60),
        to: start() + Duration::from_secs(to_min * 60),
    };
    drill.check().unwrap();
    Box::new(drill)
}

#[test]
fn a_drill_calls_nobody_and_what_goes_on_behind_it_is_real() {
    for restarts in [false, true] {
        let mut room = Room::new(&desk());
        room.restarts = restarts;
        let before = room.raise("air-1", Severity::Major, "630102");
        room.acknowledge(before, 600);
        let id = DrillId::new("flood").unwrap();
        let verb = Verb::PutDrill {
            id: id.clone(),
            drill: drill(&["air-1", "air-2", "air-3"], 10, 60),
        };
        assert!(room.board.man(&room.act(verb)));
        room.until_min(20);
        let goes_on = room.raise("air-2", Severity::Major, "630102");
        let ends = room.raise("air-3", Severity::Critical, "630102");
        let other = room.raise("air-4", Severity::Major, "630102");
        let of = |room: &Room, alert| room.board.get(&alert).unwrap().drill.clone();
        assert_eq!(
            [before, goes_on, ends, other].map(|alert| of(&room, alert)),
            [None, Some(id.clone()), Some(id.clone()), None]
        );
        room.acknowledge(other, 600);
        room.edge(ends, Edge::Cleared);
        room.until_min(59);
        let none: [String; 0] = [];
        assert_eq!(room.told(), none, "in the drill nobody is called");
        room.until_min(75);
        assert_eq!(of(&room, goes_on), None);
        assert_eq!(
            of(&room, ends),
            Some(id.clone()),
            "one that ended in it stays its"
        );
        assert_eq!(
            room.told(),
            [
                "09:00 市指挥中心通知值班员 王队、赵工",
                "09:10 市指挥中心通知带班领导 李处"
            ]
        );
        assert!(!room.board.man(&room.act(Verb::EndDrill { id })), "it is over");
    }
}

#[test]
fn a_drill_that_is_ended_early_is_over_and_one_that_has_not_begun_never_was() {
    let mut room = Room::new(&desk());
    let [on, planned] = ["on", "planned"].map(|id| DrillId::new(id).unwrap());
    for (id, from, to) in [(&on, 0, 120), (&planned, 600, 700)] {
        let (id, drill) = (id.clone(), drill(&["air-1"], from, to));
        assert!(room.board.man(&room.act(Verb::PutDrill { id, drill })));
    }
    room.raise("air-1", Severity::Major, "630102");
    room.until_min(5);
    for id in [&on, &planned] {
        assert!(room.board.man(&room.act(Verb::EndDrill { id: id.clone() })));
    }
    assert!(room.board.drills().get(&planned).is_none());
    room.until_min(6);
    assert_eq!(room.told(), ["08:05 市指挥中心通知值班员 王队、赵工"]);
}

#[test]
fn nobody_is_called_for_what_is_under_maintenance() {
    let mut room = Room::new(&desk());
    room.raise("air-1", Severity::Major, "630102");
    let air = |device: &DeviceId| device.as_str() == "air-1";
    room.s = 120;
    assert!(room.board.tick(room.now(), 10, &air).is_empty());
    let told = room.board.tick(room.now(), 11, &|_| false);
    assert_eq!(told.len(), 1, "it waits still when the maintenance is over");
}

#[test]
fn a_drill_lets_go_of_what_it_no_longer_names_and_another_that_is_on_keeps_it() {
    let mut room = Room::new(&desk());
    let [one, two] = ["one", "two"].map(|id| DrillId::new(id).unwrap());
    let put = |room: &mut Room, id: &DrillId, drill: Box<Drill>| {
        let id = id.clone();
        assert!(room.board.man(&room.act(Verb::PutDrill { id, drill })));
    };
    put(&mut room, &one, drill(&["air-1", "air-2"], 0, 30));
    put(&mut room, &two, drill(&["air-1"], 0, 60));
    let [both, let_go] = ["air-1", "air-2"].map(|id| room.raise(id, Severity::Major, "630102"));
    // Taken in the drill is not taken.
    room.acknowledge(let_go, 600);
    room.until_min(10);
    put(&mut room, &one, drill(&["air-1"], 0, 30));
    room.until_min(11);
    assert_eq!(room.told(), ["08:10 市指挥中心通知值班员 王队、赵工"]);
    assert!(room.board.get(&let_go).unwrap().acknowledged.is_none());
    room.acknowledge(let_go, 600);
    room.until_min(59);
    let none: [String; 0] = [];
    assert_eq!(room.told(), none, "the second drill is on");
    assert_eq!(room.board.get(&both).unwrap().drill, Some(two));
    room.until_min(61);
    assert_eq!(room.told(), ["09:00 市指挥中心通知值班员 王队、赵工"]);
}
