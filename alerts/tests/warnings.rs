//! A warning's life: each edge of it, those refused by name, and that a journal gives the same documents again.
#![allow(clippy::unwrap_used, missing_docs)]

use onemap_alerts::warnings::{MOST_BYTES, MOST_OVER, WarningState, Warnings, faults};
use onemap_model::{
    Act, DivisionCode, Role, Scope, Timestamp, Verb, WarningApproval, WarningArea, WarningColour,
    WarningContent, WarningIssuer, WarningKind, WarningStanding, WarningStep, WarningWords,
};
use proptest::prelude::*;

const HOUR: i64 = 3_600_000;

fn start() -> Timestamp {
    Timestamp::parse("2026-11-23T08:15:00.250+08:00").unwrap()
}
fn after(ms: i64) -> Timestamp {
    Timestamp::from_ms(start().ms() + ms)
}
fn division(code: &str) -> DivisionCode {
    DivisionCode::new(code).unwrap()
}

fn scope(actor: &str, bounds: Option<&str>) -> Scope {
    Scope {
        actor: actor.to_owned(),
        role: Role::Commander,
        division: bounds.map(division),
        departments: vec![],
    }
}

fn words(language: &str) -> WarningWords {
    let text = |name: &str| format!("{name} {language}");
    WarningWords {
        event: text("event"),
        sender_name: text("sender"),
        headline: text("headline"),
        description: text("description"),
        instruction: text("instruction"),
    }
}

fn content() -> WarningContent {
    WarningContent {
        standing: WarningStanding::Actual,
        colour: WarningColour::Orange,
        event_code: "11B03".to_owned(),
        categories: vec![],
        urgency: "Immediate".to_owned(),
        certainty: "Observed".to_owned(),
        response_types: vec!["Prepare".to_owned()],
        effective: None,
        onset: None,
        expires: after(6 * HOUR),
        zh: words("zh"),
        en: words("en"),
        areas: vec![WarningArea {
            zh: "城东区".to_owned(),
            en: "Chengdong".to_owned(),
            divisions: vec![division("630102")],
            ..WarningArea::default()
        }],
        web: None,
        contact: None,
        alert: None,
        about: None,
        division: Some(division("630102")),
        department: String::new(),
    }
}

fn approval() -> WarningApproval {
    WarningApproval {
        authority: "西宁市应急管理局".to_owned(),
        name: "周".to_owned(),
        number: "2026-17".to_owned(),
        at: start(),
    }
}

fn issuer() -> WarningIssuer {
    WarningIssuer {
        sender: "xining.example".to_owned(),
        unit: "63010041600000".to_owned(),
        longest_ms: 7 * 24 * HOUR as u64,
        own_approval: false,
    }
}

fn draft(content: WarningContent) -> WarningStep {
    WarningStep::Draft {
        name: "王".to_owned(),
        content,
    }
}
fn approve(warning: u64, revision: u64) -> WarningStep {
    WarningStep::Approve {
        warning,
        revision,
        approval: approval(),
        issuer: issuer(),
    }
}
fn revise(warning: u64, kind: WarningKind, content: WarningContent) -> WarningStep {
    WarningStep::Revise {
        warning,
        kind,
        name: "王".to_owned(),
        content,
    }
}

/// Plays steps, one position and one second each; gives what became of the last.
struct Desk {
    book: Warnings,
    position: u64,
    journal: Vec<(u64, Act)>,
}

impl Desk {
    fn new() -> Self {
        Self {
            book: Warnings::default(),
            position: 0,
            journal: vec![],
        }
    }
    fn by(&mut self, by: Scope, at: Timestamp, step: WarningStep) -> Result<Option<String>, &'static str> {
        self.position += 1;
        let act = Act {
            at,
            by,
            verb: Verb::Warning(Box::new(step)),
        };
        // As the journal has it.
        let act: Act = serde_json::from_slice(&serde_json::to_vec(&act).unwrap()).unwrap();
        self.journal.push((self.position, act.clone()));
        let checked = self.book.check(&act).map_err(|refused| refused.code());
        let done = self.book.act(self.position, &act);
        let done = done
            .map(|issued| issued.map(|issued| issued.identifier.clone()))
            .map_err(|refused| refused.code());
        assert_eq!(checked, done.clone().map(drop));
        done
    }
    fn officer(&mut self, step: WarningStep) -> Result<Option<String>, &'static str> {
        let at = after(self.position as i64 * 1000);
        self.by(scope("officer", None), at, step)
    }
    fn commander(&mut self, step: WarningStep) -> Result<Option<String>, &'static str> {
        let at = after(self.position as i64 * 1000);
        self.by(scope("commander", None), at, step)
    }
    fn state(&self, id: u64) -> WarningState {
        self.book
            .get(id)
            .unwrap()
            .state(after(self.position as i64 * 1000))
    }
    fn document(&self, identifier: &str) -> onemap_cap::Alert {
        let (_, message) = self.book.message(identifier).unwrap();
        onemap_cap::read(message.document.as_bytes()).unwrap().alert
    }
    /// One that is in force; gives its number and the name of its message.
    fn issued(&mut self) -> (u64, String) {
        self.officer(draft(content())).unwrap();
        let id = self.position;
        let name = self.commander(approve(id, id)).unwrap().unwrap();
        (id, name)
    }
}

#[test]
fn a_draft_is_approved_by_a_second_person_and_then_a_document_exists() {
    let mut desk = Desk::new();
    desk.officer(draft(content())).unwrap();
    assert_eq!(desk.state(1), WarningState::Draft);
    assert!(desk.book.active(start()).is_empty());
    let name = desk.commander(approve(1, 1)).unwrap().unwrap();
    assert_eq!(name, "63010041600000_20261123081501");
    assert_eq!(desk.state(1), WarningState::Issued);
    let alert = desk.document(&name);
    assert_eq!(alert.status.as_str(), "Actual");
    assert_eq!(alert.msg_type.as_str(), "Alert");
    assert_eq!(alert.sent.to_string(), "2026-11-23T08:15:01+08:00");
    assert_eq!(alert.sender, "xining.example");
    let info = alert.info_in("zh-CN").unwrap();
    assert_eq!(
        info.parameter(onemap_cap::draft::APPROVED_BY).next(),
        Some("西宁市应急管理局 周")
    );
    assert_eq!(info.areas[0].geocodes[0].value, "630102000000");
    // It is over by itself, and the feed is another from then on.
    let end = after(6 * HOUR);
    assert_eq!(desk.book.active(Timestamp::from_ms(end.ms() - 1)).len(), 1);
    assert!(desk.book.active(end).is_empty());
    assert_eq!(desk.book.changed_at(end), end);
    assert_eq!(desk.book.get(1).unwrap().state(end), WarningState::Expired);
}

#[test]
fn updates_and_cancellations_reference_what_was_before_each_with_its_approval() {
    let mut desk = Desk::new();
    let (id, first) = desk.issued();
    let red = WarningContent {
        colour: WarningColour::Red,
        ..content()
    };
    desk.officer(revise(id, WarningKind::Update, red)).unwrap();
    // Until it is approved the first one holds.
    assert_eq!(desk.book.active(start())[0].identifier, first);
    let revision = desk.position;
    let second = desk.commander(approve(id, revision)).unwrap().unwrap();
    assert_eq!(desk.book.active(start())[0].identifier, second);
    assert_eq!(desk.book.active(start()).len(), 1);
    desk.officer(revise(id, WarningKind::Cancel, content())).unwrap();
    let revision = desk.position;
    let third = desk.commander(approve(id, revision)).unwrap().unwrap();
    assert_eq!(desk.state(id), WarningState::Cancelled);
    assert!(desk.book.active(start()).is_empty());
    let names = |alert: &onemap_cap::Alert| -> Vec<String> {
        alert.references.iter().map(|r| r.identifier.clone()).collect()
    };
    assert_eq!(names(&desk.document(&second)), std::slice::from_ref(&first));
    let cancel = desk.document(&third);
    assert_eq!(cancel.msg_type.as_str(), "Cancel");
    assert_eq!(names(&cancel), [first.clone(), second]);
    // What was issued is what it was.
    assert_eq!(desk.document(&first).msg_type.as_str(), "Alert");
    assert_eq!(
        desk.officer(revise(id, WarningKind::Update, content())),
        Err("warning_over")
    );
}

#[test]
fn each_step_that_may_not_be_is_refused_by_name() {
    let with = |change: &dyn Fn(&mut WarningContent)| {
        let mut content = content();
        change(&mut content);
        content
    };
    let edit = |warning, revision, name: &str| WarningStep::Edit {
        warning,
        revision,
        name: name.to_owned(),
        content: content(),
    };
    let reject = |note: &str| WarningStep::Reject {
        warning: 1,
        revision: 1,
        name: "李".to_owned(),
        note: note.to_owned(),
    };
    let drop_it = |note: &str| WarningStep::Drop {
        warning: 1,
        name: "王".to_owned(),
        note: note.to_owned(),
    };
    let approved_with = |change: &dyn Fn(&mut WarningApproval, &mut WarningIssuer)| {
        let (mut approval, mut issuer) = (approval(), issuer());
        change(&mut approval, &mut issuer);
        WarningStep::Approve {
            warning: 1,
            revision: 1,
            approval,
            issuer,
        }
    };
    let table: Vec<(WarningStep, &str)> = vec![
        (approve(9, 9), "unknown_warning"),
        (approve(1, 2), "draft_changed"),
        (edit(1, Some(7), "王"), "draft_changed"),
        (edit(1, None, "  "), "no_name"),
        (edit(1, None, &"长".repeat(65)), "too_long"),
        (reject(""), "no_reason"),
        (reject(&"长".repeat(2001)), "too_long"),
        (drop_it(" "), "no_reason"),
        (revise(1, WarningKind::Update, content()), "not_issued"),
        (revise(1, WarningKind::Alert, content()), "no_revision"),
        (approved_with(&|a, _| a.number = " ".into()), "no_approval"),
        (approved_with(&|a, _| a.authority = String::new()), "no_approval"),
        (approved_with(&|a, _| a.at = after(HOUR)), "approval_time"),
        (approved_with(&|a, _| a.name = "王".into()), "own_approval"),
        (approved_with(&|_, i| i.unit = "x".into()), "bad_unit"),
        (approved_with(&|_, i| i.unit = "六三〇一〇〇".into()), "bad_unit"),
        (approved_with(&|_, i| i.longest_ms = 1000), "expires_too_far"),
        (approved_with(&|_, i| i.sender = "a b".into()), "incomplete"),
        (
            draft(with(&|c| c.zh.description = "长".repeat(MOST_BYTES))),
            "too_large",
        ),
    ];
    for (step, code) in table {
        let mut desk = Desk::new();
        desk.officer(draft(content())).unwrap();
        assert_eq!(desk.commander(step.clone()), Err(code), "{step:?}");
        assert_eq!(desk.state(1), WarningState::Draft, "{code}");
    }
    // Who drafted it does not approve it, by another account neither; where the configuration lets him, he does.
    let mut desk = Desk::new();
    desk.officer(draft(content())).unwrap();
    assert_eq!(desk.officer(approve(1, 1)), Err("own_approval"));
    let lenient = approved_with(&|_, issuer| issuer.own_approval = true);
    assert!(desk.officer(lenient).unwrap().is_some());
    // What is over or issued is approved once.
    assert_eq!(desk.commander(approve(1, 1)), Err("no_draft"));
    let late = with(&|c| c.expires = after(10_000));
    desk.officer(draft(late)).unwrap();
    let (id, by) = (desk.position, scope("commander", None));
    assert_eq!(desk.by(by, after(10_400), approve(id, id)), Err("expires_past"));
}

#[test]
fn a_draft_that_lacks_something_waits_and_says_what() {
    type Change = fn(&mut WarningContent);
    let table: Vec<(Change, &str, &str)> = vec![
        (|c| c.event_code = String::new(), "event_code", "event_code"),
        (|c| c.event_code = "11A01".into(), "categories", "missing"),
        (|c| c.categories = vec!["met".into()], "categories[1]", "word"),
        (|c| c.categories = vec!["".into()], "categories[1]", "empty"),
        (|c| c.urgency = "now".into(), "urgency", "word"),
        (|c| c.certainty = "sure".into(), "certainty", "word"),
        (
            |c| c.response_types = vec!["Run".into()],
            "response_types[1]",
            "word",
        ),
        (|c| c.en.headline = " ".into(), "en/headline", "empty"),
        (
            |c| c.zh.headline = "长".repeat(160),
            "alert/info[1]/headline",
            "headline_long",
        ),
        (
            |c| c.zh.event = "\u{1}".into(),
            "alert/info[1]/event",
            "character",
        ),
        (|c| c.areas = vec![], "areas", "no_area"),
        (|c| c.areas[0].en = String::new(), "areas[1]/en", "empty"),
        (|c| c.areas[0].divisions = vec![], "areas[1]", "no_place"),
        (
            |c| c.areas[0].polygons = vec![vec![[101.0, 36.0], [102.0, 37.0], [102.0, 36.0], [101.0, 37.0]]],
            "areas[1]/polygons[1]",
            "polygon_crosses",
        ),
        (|c| c.web = Some("x".into()), "alert/info[1]/web", "uri"),
        (
            |c| c.effective = Some(after(7 * HOUR)),
            "alert/info[1]/expires",
            "expires_before",
        ),
    ];
    for (change, field, code) in table {
        let mut content = content();
        change(&mut content);
        let found = faults(&content);
        let found: Vec<_> = found.iter().map(|f| (f.field.as_str(), f.code)).collect();
        assert_eq!(found, [(field, code)]);
        let mut desk = Desk::new();
        desk.officer(draft(content)).unwrap();
        assert_eq!(desk.commander(approve(1, 1)), Err("incomplete"), "{field}");
    }
    assert_eq!(faults(&content()), []);
}

#[test]
fn a_rejected_draft_is_edited_before_it_is_looked_at_again() {
    let mut desk = Desk::new();
    desk.officer(draft(content())).unwrap();
    let reject = WarningStep::Reject {
        warning: 1,
        revision: 1,
        name: "周".to_owned(),
        note: "无水位依据".to_owned(),
    };
    desk.commander(reject).unwrap();
    assert_eq!(desk.state(1), WarningState::Rejected);
    assert_eq!(desk.commander(approve(1, 1)), Err("rejected"));
    let edit = WarningStep::Edit {
        warning: 1,
        revision: Some(1),
        name: "王".to_owned(),
        content: content(),
    };
    desk.officer(edit).unwrap();
    let revision = desk.position;
    assert!(desk.commander(approve(1, revision)).unwrap().is_some());
}

#[test]
fn an_exercise_stays_one_and_a_dropped_draft_is_gone() {
    let mut desk = Desk::new();
    let exercise = WarningContent {
        standing: WarningStanding::Exercise,
        ..content()
    };
    desk.officer(draft(exercise.clone())).unwrap();
    let name = desk.commander(approve(1, 1)).unwrap().unwrap();
    assert_eq!(desk.document(&name).status.as_str(), "Exercise");
    assert_eq!(
        desk.officer(revise(1, WarningKind::Update, content())),
        Err("standing_differs")
    );
    desk.officer(revise(1, WarningKind::Update, exercise.clone()))
        .unwrap();
    assert_eq!(
        desk.officer(revise(1, WarningKind::Update, exercise)),
        Err("draft_waits")
    );
    let drop_it = WarningStep::Drop {
        warning: 1,
        name: "王".to_owned(),
        note: "不需要".to_owned(),
    };
    desk.officer(drop_it.clone()).unwrap();
    assert_eq!(desk.state(1), WarningState::Issued);
    assert_eq!(desk.officer(drop_it), Err("no_draft"));
    desk.officer(draft(content())).unwrap();
    let id = desk.position;
    desk.officer(WarningStep::Drop {
        warning: id,
        name: "王".to_owned(),
        note: "误".to_owned(),
    })
    .unwrap();
    assert_eq!(desk.state(id), WarningState::Dropped);
    assert_eq!(desk.commander(approve(id, id)), Err("no_draft"));
}

#[test]
fn a_division_has_its_own_warnings_and_names_divisions_in_it() {
    let mut desk = Desk::new();
    let own = |code: &str, area: WarningArea| WarningContent {
        division: Some(division(code)),
        areas: vec![area],
        ..content()
    };
    let area = |code: &str| WarningArea {
        divisions: vec![division(code)],
        ..content().areas[0].clone()
    };
    let drawn = WarningArea {
        polygons: vec![vec![[101.0, 36.0], [102.0, 36.0], [102.0, 37.0]]],
        ..area("630102")
    };
    let here = || scope("here", Some("630102"));
    for (content, said) in [
        (own("630102", area("630102001")), Ok(None)),
        (own("630103", area("630102")), Err("area_out_of_scope")),
        (own("630102", area("630103")), Err("area_out_of_scope")),
        (own("630102", area("630100")), Err("area_out_of_scope")),
        (own("630102", drawn.clone()), Err("area_out_of_scope")),
        (
            WarningContent {
                division: None,
                ..content()
            },
            Err("area_out_of_scope"),
        ),
    ] {
        assert_eq!(desk.by(here(), start(), draft(content)), said);
    }
    assert_eq!(
        desk.by(scope("there", Some("630103")), start(), approve(1, 1)),
        Err("out_of_scope")
    );
    // What somebody of the whole city drew is not a district's to approve.
    desk.officer(draft(own("630102", drawn))).unwrap();
    let id = desk.position;
    assert_eq!(
        desk.by(here(), after(60_000), approve(id, id)),
        Err("area_out_of_scope")
    );
}

#[test]
fn names_are_unique_though_the_clock_stands_or_goes_back() {
    let mut desk = Desk::new();
    let mut names = Vec::new();
    for ms in [0, 100, 400, -5000, 1000, 2000] {
        desk.officer(draft(content())).unwrap();
        let id = desk.position;
        let by = scope("commander", None);
        let mut step = approve(id, id);
        if let WarningStep::Approve { approval, .. } = &mut step {
            approval.at = after(-60_000);
        }
        names.push(desk.by(by, after(ms), step).unwrap().unwrap());
    }
    let short: Vec<&str> = names.iter().map(|name| &name[15..]).collect();
    assert_eq!(
        short,
        [
            "20261123081500",
            "20261123081500_2",
            "20261123081500_3",
            "20261123081500_4",
            "20261123081501",
            "20261123081502"
        ]
    );
}

#[test]
fn what_is_over_is_let_go_and_no_more_than_bounded() {
    let mut desk = Desk::new();
    for _ in 0..MOST_OVER + 10 {
        desk.officer(draft(content())).unwrap();
        let warning = desk.position;
        desk.officer(WarningStep::Drop {
            warning,
            name: "王".to_owned(),
            note: "误".to_owned(),
        })
        .unwrap();
    }
    assert_eq!(desk.book.newest_first().count(), MOST_OVER);
}

#[derive(Clone, Debug)]
enum Move {
    Draft(u8),
    Edit(u8),
    Approve(u8),
    Reject(u8),
    Drop(u8),
    Revise(u8, bool),
}

fn moves() -> impl Strategy<Value = Vec<(Move, i64)>> {
    let one = prop_oneof![
        any::<u8>().prop_map(Move::Draft),
        any::<u8>().prop_map(Move::Edit),
        any::<u8>().prop_map(Move::Approve),
        any::<u8>().prop_map(Move::Approve),
        any::<u8>().prop_map(Move::Reject),
        any::<u8>().prop_map(Move::Drop),
        (any::<u8>(), any::<bool>()).prop_map(|(n, b)| Move::Revise(n, b)),
    ];
    proptest::collection::vec((one, -2000i64..60_000), 1..60)
}

fn text_of(book: &Warnings) -> Vec<u8> {
    book.snapshot()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// The acts folded again, from the start or from a snapshot in the middle, give the same documents.
    #[test]
    fn a_journal_gives_the_same_documents_again(all in moves(), cut in any::<prop::sample::Index>()) {
        let mut desk = Desk::new();
        let mut at = start();
        for (one, ms) in all {
            at = Timestamp::from_ms(at.ms() + ms);
            let known: Vec<u64> = desk.book.newest_first().map(|w| w.id).collect();
            let pick = |n: u8| known.get(usize::from(n) % known.len().max(1)).copied().unwrap_or(1);
            let revision = |id: u64| {
                let pending = desk.book.get(id).and_then(|w| w.pending.as_ref());
                pending.map_or(id, |pending| pending.revision)
            };
            let with = |n: u8| WarningContent { colour: if n.is_multiple_of(2) { WarningColour::Red } else { WarningColour::Blue },
                standing: if n.is_multiple_of(5) { WarningStanding::Test } else { WarningStanding::Actual },
                expires: Timestamp::from_ms(at.ms() + i64::from(n) * 1000), ..content() };
            let name = "王".to_owned();
            let (who, step) = match one {
                Move::Draft(n) => ("officer", draft(with(n))),
                Move::Edit(n) => ("officer", WarningStep::Edit { warning: pick(n), revision: None, name, content: with(n) }),
                Move::Approve(n) => {
                    let mut step = approve(pick(n), revision(pick(n)));
                    if let WarningStep::Approve { approval, .. } = &mut step { approval.at = Timestamp::from_ms(at.ms() - 1); }
                    ("commander", step)
                }
                Move::Reject(n) => ("commander", WarningStep::Reject { warning: pick(n), revision: revision(pick(n)), name, note: "n".to_owned() }),
                Move::Drop(n) => ("officer", WarningStep::Drop { warning: pick(n), name, note: "n".to_owned() }),
                Move::Revise(n, ends) => ("officer", revise(pick(n), if ends { WarningKind::Cancel } else { WarningKind::Update }, with(n))),
            };
            // Refused ones are in the journal, too.
            let _ = desk.by(scope(who, None), at, step);
        }
        let mut again = Warnings::default();
        let cut = cut.index(desk.journal.len());
        for (i, (position, act)) in desk.journal.iter().enumerate() {
            if i == cut {
                again = Warnings::restore(&again.snapshot()).unwrap();
            }
            let _ = again.act(*position, act);
        }
        prop_assert_eq!(text_of(&again), text_of(&desk.book));
        let mut names: Vec<_> = desk.book.newest_first().flat_map(|w| &w.issued).map(|m| m.identifier.clone()).collect();
        let n = names.len();
        names.sort();
        names.dedup();
        prop_assert_eq!(names.len(), n);
    }
}
