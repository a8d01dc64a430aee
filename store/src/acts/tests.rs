//! What passes the gate and what does not, against a real journal.
#![allow(clippy::unwrap_used)]
use super::*;
use onemap_log::Config;
use onemap_model::record::LASTING_KINDS;
use onemap_model::{AlertId, Device, DeviceId, EntityKind};
use serde_json::json;
use tempfile::TempDir;

struct Desk {
    _dir: TempDir,
    log: Log,
    acts: Acts,
}

fn desk() -> Desk {
    let dir = TempDir::new().unwrap();
    let mut config = Config::new(dir.path());
    config.lasting_kinds = LASTING_KINDS;
    let (log, _) = Log::open(config).unwrap();
    let acts = Acts::new(log.clone());
    Desk { _dir: dir, log, acts }
}

impl Desk {
    fn kept(&self) -> Vec<Record<'static>> {
        let mut reader = self.log.reader(0).unwrap();
        let mut kept = Vec::new();
        while let Some(entry) = reader.next().unwrap() {
            match Record::decode(entry.kind, entry.body).unwrap() {
                Record::Act(act) => kept.push(Record::Act(act)),
                Record::Register(change) => kept.push(Record::Register(change)),
                Record::Rule(file) => kept.push(Record::Rule(file)),
                other => panic!("{other:?}"),
            }
        }
        kept
    }
}

/// Runs a future that waits for the log's own thread only.
fn wait<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        if let std::task::Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        std::thread::park();
    }
}

fn scope(role: Role, division: Option<&str>) -> Scope {
    Scope {
        actor: "desk".into(),
        role,
        division: division.map(|d| DivisionCode::new(d).unwrap()),
        departments: Vec::new(),
    }
}
fn at(ms: i64) -> Timestamp {
    Timestamp::from_ms(ms)
}
fn close(name: &str, note: &str) -> Verb {
    Verb::Close {
        alert: AlertId::of(&[b"a"]),
        name: name.into(),
        note: note.into(),
    }
}
fn acknowledge(until: i64) -> Verb {
    Verb::Acknowledge {
        alert: AlertId::of(&[b"a"]),
        name: "王队".into(),
        note: String::new(),
        until: at(until),
    }
}
fn device(id: &str, division: Option<&str>) -> Register {
    let device: Device = serde_json::from_value(json!({
        "id": id, "name": id, "kind": "manhole", "division": division,
    }))
    .unwrap();
    Register::Device { device }
}
fn token(role: Role, division: Option<&str>) -> Register {
    Register::AccessToken {
        name: "t".into(),
        sha256: TokenHash::of("t").to_string(),
        role,
        division: division.map(|d| DivisionCode::new(d).unwrap()),
        departments: Vec::new(),
        expires: None,
    }
}

#[test]
fn what_is_recorded_is_durable_and_says_who_and_when() {
    let desk = desk();
    let officer = scope(Role::Officer, Some("630102"));
    let position = wait(desk.acts.record_act(&officer, at(5), close("王队", "已清理"))).unwrap();
    assert_eq!((position, *desk.log.durable().borrow()), (1, 1));
    let integrator = scope(Role::Integrator, None);
    let changes = vec![device("m1", None), device("m2", None)];
    assert_eq!(
        wait(desk.acts.record_register(&integrator, at(6), changes)).unwrap(),
        3
    );
    let file = RuleFile {
        name: "air".into(),
        text: "rules: []".into(),
    };
    assert_eq!(
        wait(desk.acts.record_rule(&integrator, at(7), file.clone())).unwrap(),
        4
    );
    assert_eq!(
        wait(desk.acts.record_register(&integrator, at(8), vec![])).unwrap(),
        4
    );
    let stamped = |at, what| {
        Record::Register(Stamped {
            at,
            by: "desk".into(),
            what,
        })
    };
    let expected = [
        Record::Act(Act {
            at: at(5),
            by: officer,
            verb: close("王队", "已清理"),
        }),
        stamped(at(6), device("m1", None)),
        stamped(at(6), device("m2", None)),
        Record::Rule(Stamped {
            at: at(7),
            by: "desk".into(),
            what: file,
        }),
    ];
    assert_eq!(desk.kept(), expected);
}

#[test]
fn a_long_import_goes_in_pieces() {
    let desk = desk();
    let changes: Vec<_> = (0..20_000).map(|i| device(&format!("d{i}"), None)).collect();
    let integrator = scope(Role::Integrator, None);
    let position = wait(desk.acts.record_register(&integrator, at(0), changes.clone())).unwrap();
    assert_eq!(position, 20_000);
    let kept = desk.kept().into_iter().map(|record| match record {
        Record::Register(stamped) => stamped.what,
        other => panic!("{other:?}"),
    });
    assert!(kept.eq(changes));
}

#[test]
fn what_a_role_may_not_do_leaves_no_record() {
    let desk = desk();
    let until = MAX_ACKNOWLEDGEMENT.as_millis() as i64;
    let act = |role, verb| wait(desk.acts.record_act(&scope(role, None), at(0), verb)).unwrap_err();
    assert!(matches!(
        act(Role::Viewer, close("a", "")),
        ActError::Denied { .. }
    ));
    assert!(matches!(
        act(Role::Integrator, acknowledge(1)),
        ActError::Denied { .. }
    ));
    assert!(matches!(act(Role::Officer, close(" ", "")), ActError::Name));
    assert!(matches!(
        act(Role::Officer, close(&"王".repeat(100), "")),
        ActError::Name
    ));
    assert!(matches!(
        act(Role::Officer, close("a", &"x".repeat(5000))),
        ActError::Note
    ));
    assert!(matches!(act(Role::Officer, acknowledge(0)), ActError::Until));
    assert!(matches!(
        act(Role::Officer, acknowledge(until + 1)),
        ActError::Until
    ));

    let review = |role, more: serde_json::Value| {
        let mut act = json!({
            "at": 0, "by": scope(role, None), "verb": "review", "device": "d", "quantity": "pm2_5", "ch": 0,
            "from": 0, "to": 10, "verdict": "valid", "name": "王", "reason": "校准",
        });
        act.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let act: Act = serde_json::from_value(act).unwrap();
        wait(desk.acts.record_act(&act.by, act.at, act.verb)).unwrap_err()
    };
    for role in [
        Role::Viewer,
        Role::Integrator,
        Role::SystemAdmin,
        Role::AuditAdmin,
    ] {
        assert!(
            matches!(review(role, json!({})), ActError::Denied { .. }),
            "{role:?}"
        );
    }
    for (more, want) in [
        (json!({"to": 0}), "the span from"),
        (json!({"name": " "}), "the name is empty"),
        (json!({"reason": ""}), "a note says why"),
        (
            json!({"verb": "correct", "factor": 0.0, "offset": 1.0}),
            "needs Register",
        ),
    ] {
        let said = review(Role::Officer, more.clone()).to_string();
        assert!(said.contains(want), "{more}: {said}");
    }
    let nothing = json!({"verb": "correct", "factor": 0.0, "offset": 1.0});
    assert!(
        review(Role::Integrator, nothing)
            .to_string()
            .contains("factor 0: its size is from 0.001 to 1000")
    );

    let change = |role, division, change| {
        let scope = scope(role, division);
        // A good change goes before the bad one: nothing of the list may be kept.
        let good = device("good", division);
        let changes = match role {
            Role::SystemAdmin | Role::Integrator => vec![good, change],
            _ => vec![change],
        };
        wait(desk.acts.record_register(&scope, at(0), changes)).unwrap_err()
    };
    assert!(matches!(
        change(Role::Officer, None, device("d", None)),
        ActError::Denied { .. }
    ));
    assert!(matches!(
        change(Role::Integrator, None, token(Role::Viewer, None)),
        ActError::Denied { .. }
    ));
    assert!(matches!(
        change(Role::SystemAdmin, None, token(Role::Admin, None)),
        ActError::Escalation { role: Role::Admin }
    ));
    let district = Some("630102");
    for outside in [None, Some("630103"), Some("630100")] {
        let refused = [
            change(Role::Integrator, district, device("d", outside)),
            change(Role::SystemAdmin, district, token(Role::Viewer, outside)),
        ];
        for error in refused {
            assert!(
                matches!(error, ActError::Outside { .. }),
                "{outside:?}: {error:?}"
            );
        }
    }
    let of_departments = |change: Register| {
        let scope = Scope {
            departments: vec!["水务局".to_owned(), "城管局".to_owned()],
            ..scope(Role::Admin, None)
        };
        wait(desk.acts.record_register(&scope, at(0), vec![change])).unwrap_err()
    };
    let of = |mut change: Register, own: &[&str]| {
        if let Register::AccessToken { departments, .. } = &mut change {
            *departments = own.iter().map(|name| (*name).to_owned()).collect();
        }
        change
    };
    let component = |department: &str| {
        let entity = serde_json::from_value(json!({
            "code": "c", "kind": "component", "name": "", "department": department,
        }));
        Register::Entity {
            entity: entity.unwrap(),
        }
    };
    for foreign in [
        device("d", None),
        component("环保局"),
        component(""),
        of(token(Role::Viewer, None), &[]),
        of(token(Role::Viewer, None), &["水务局", "环保局"]),
    ] {
        let error = of_departments(foreign);
        assert!(matches!(error, ActError::Foreign { .. }), "{error:?}");
    }
    assert!(matches!(
        of_departments(of(token(Role::Viewer, None), &[" "])),
        ActError::Account { .. }
    ));
    let entity = serde_json::from_value(json!({
        "code": "r", "kind": "road", "name": "", "geometry": {"type": "Point", "coordinates": [101.8, 36.6]},
    }));
    let road = Register::Entity {
        entity: entity.unwrap(),
    };
    assert!(matches!(
        change(Role::Integrator, None, road),
        ActError::Entity { index: 1, .. }
    ));
    let bad_hash = Register::DeviceToken {
        device: DeviceId::new("d").unwrap(),
        sha256: "secret itself".into(),
        grace_s: 0,
        expires: None,
    };
    assert!(matches!(
        change(Role::Integrator, None, bad_hash),
        ActError::TokenHash { index: 1, .. }
    ));
    let rule = |scope: &Scope, name: &str| {
        let file = RuleFile {
            name: name.into(),
            text: String::new(),
        };
        wait(desk.acts.record_rule(scope, at(0), file)).unwrap_err()
    };
    assert!(matches!(
        rule(&scope(Role::Officer, None), "air"),
        ActError::Denied { .. }
    ));
    assert!(matches!(
        rule(&scope(Role::Integrator, district), "air"),
        ActError::Outside { .. }
    ));
    assert!(matches!(
        rule(&scope(Role::Integrator, None), "../air"),
        ActError::RuleName { .. }
    ));
    assert_eq!(desk.kept(), []);
    assert_eq!(desk.log.status().next, 1);

    // What is left is allowed.
    let verb = acknowledge(until);
    assert_eq!(
        wait(desk.acts.record_act(&scope(Role::Officer, None), at(0), verb)).unwrap(),
        1
    );
    let removed = Register::EntityRemoved {
        kind: EntityKind::Road,
        code: "r".into(),
    };
    let made = vec![token(Role::Viewer, Some("630102001")), removed];
    let admin = scope(Role::SystemAdmin, district);
    assert_eq!(wait(desk.acts.record_register(&admin, at(0), made)).unwrap(), 3);
}
